"""`python -m services.summarize_agent`."""

from millrace.startup import settings_or_exit
from millrace.stream.worker import run
from services.summarize_agent.app import build
from services.summarize_agent.settings import SummarizeSettings

if __name__ == "__main__":
    run(build(settings_or_exit(SummarizeSettings)))
