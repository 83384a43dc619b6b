"""`python -m services.summarize_agent`."""

from millrace.stream.worker import load_settings, run
from services.summarize_agent.app import build
from services.summarize_agent.settings import SummarizeSettings

if __name__ == "__main__":
    run(build(load_settings(SummarizeSettings)))
