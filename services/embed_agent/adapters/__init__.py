"""What the embed agent uses: PostgreSQL with pgvector, a sentence splitter."""
