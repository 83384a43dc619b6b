"""For Faust's own command: `faust -A services.embed_agent.worker worker`."""

from services.embed_agent.app import AGENT

app = AGENT.from_environment()
