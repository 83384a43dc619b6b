"""`python -m services.transcribe_agent`."""

from services.transcribe_agent.app import AGENT

if __name__ == "__main__":
    AGENT.main()
