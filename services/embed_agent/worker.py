"""For Faust's own command: `faust -A services.embed_agent.worker worker`."""

from millrace.stream.worker import load_settings
from services.embed_agent.app import build
from services.embed_agent.settings import EmbedSettings

app = build(load_settings(EmbedSettings))
