"""For Faust's own command: `faust -A services.media_agent.worker worker`."""

from millrace.stream.worker import load_settings
from services.media_agent.app import build
from services.media_agent.settings import MediaSettings

app = build(load_settings(MediaSettings))
