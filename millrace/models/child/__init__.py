"""Local models in child processes: killed when they take too long, and never the agent's own end."""
