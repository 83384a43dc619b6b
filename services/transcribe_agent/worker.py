"""For Faust's own command: `faust -A services.transcribe_agent.worker worker`."""

from millrace.stream.worker import load_settings
from services.transcribe_agent.app import build
from services.transcribe_agent.settings import TranscribeSettings

app = build(load_settings(TranscribeSettings))
