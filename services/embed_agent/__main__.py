"""`python -m services.embed_agent`."""

from services.embed_agent.app import AGENT

if __name__ == "__main__":
    AGENT.main()
