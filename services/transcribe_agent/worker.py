"""For Faust's own command: `faust -A services.transcribe_agent.worker worker`."""

from millrace.startup import settings_or_exit
from services.transcribe_agent.app import build
from services.transcribe_agent.settings import TranscribeSettings

app = build(settings_or_exit(TranscribeSettings))
