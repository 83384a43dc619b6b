"""For Faust's own command: `faust -A services.summarize_agent.worker worker`."""

from millrace.stream.worker import load_settings
from services.summarize_agent.app import build
from services.summarize_agent.settings import SummarizeSettings

app = build(load_settings(SummarizeSettings))
