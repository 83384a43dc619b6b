"""The child process in which strangers' pages are read: nothing of it is imported by the agent."""
