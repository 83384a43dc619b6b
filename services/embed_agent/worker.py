"""For Faust's own command: `faust -A services.embed_agent.worker worker`."""

from millrace.startup import settings_or_exit
from services.embed_agent.app import build
from services.embed_agent.settings import EmbedSettings

app = build(settings_or_exit(EmbedSettings))
