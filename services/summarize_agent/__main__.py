"""`python -m services.summarize_agent`."""

from services.summarize_agent.app import AGENT

if __name__ == "__main__":
    AGENT.main()
