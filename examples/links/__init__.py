"""A stage that finds the web addresses which a transcript names."""
