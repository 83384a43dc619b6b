"""For Faust's own command: `faust -A services.media_agent.worker worker`."""

from millrace.startup import settings_or_exit
from services.media_agent.app import build
from services.media_agent.settings import MediaSettings

app = build(settings_or_exit(MediaSettings))
