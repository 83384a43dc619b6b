"""For Faust's own command: `faust -A services.summarize_agent.worker worker`."""

from services.summarize_agent.app import AGENT

app = AGENT.from_environment()
