"""What the transcribe agent uses: ffmpeg, a voice detector, models."""
