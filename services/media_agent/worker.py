"""For Faust's own command: `faust -A services.media_agent.worker worker`."""

from services.media_agent.app import AGENT

app = AGENT.from_environment()
