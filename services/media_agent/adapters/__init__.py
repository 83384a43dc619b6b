"""What the media agent uses: HTTP with checked addresses, and PyAV in a child process."""
