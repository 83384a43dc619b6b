"""`python -m services.transcribe_agent`."""

from millrace.startup import settings_or_exit
from millrace.stream.worker import run
from services.transcribe_agent.app import build
from services.transcribe_agent.settings import TranscribeSettings

if __name__ == "__main__":
    run(build(settings_or_exit(TranscribeSettings)))
