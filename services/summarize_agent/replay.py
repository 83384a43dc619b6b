"""`python -m services.summarize_agent.replay`: what `millrace replay summarize` runs."""

from millrace.stream.replay.command import main
from services.summarize_agent.app import SPEC
from services.summarize_agent.build import build_handler
from services.summarize_agent.settings import SummarizeSettings

if __name__ == "__main__":
    main(SPEC, SummarizeSettings, build_handler)
