"""What the summarize agent uses: an extractive summarizer, and OpenAI-compatible APIs."""
