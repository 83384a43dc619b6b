"""`python -m services.media_agent`."""

from services.media_agent.app import AGENT

if __name__ == "__main__":
    AGENT.main()
