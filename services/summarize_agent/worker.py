"""For Faust's own command: `faust -A services.summarize_agent.worker worker`."""

from millrace.startup import settings_or_exit
from services.summarize_agent.app import build
from services.summarize_agent.settings import SummarizeSettings

app = build(settings_or_exit(SummarizeSettings))
