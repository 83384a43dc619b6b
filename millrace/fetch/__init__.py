"""Fetching from the public internet, and from nowhere else."""
