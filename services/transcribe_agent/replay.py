"""`python -m services.transcribe_agent.replay`: what `millrace replay transcribe` runs."""

from millrace.stream.replay.command import main
from services.transcribe_agent.app import SPEC
from services.transcribe_agent.build import build_handler
from services.transcribe_agent.settings import TranscribeSettings

if __name__ == "__main__":
    main(SPEC, TranscribeSettings, build_handler)
