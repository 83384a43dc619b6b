"""For Faust's own command: `faust -A services.transcribe_agent.worker worker`."""

from services.transcribe_agent.app import AGENT

app = AGENT.from_environment()
