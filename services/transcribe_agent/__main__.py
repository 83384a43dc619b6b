"""`python -m services.transcribe_agent`."""

from millrace.stream.worker import load_settings, run
from services.transcribe_agent.app import build
from services.transcribe_agent.settings import TranscribeSettings

if __name__ == "__main__":
    run(build(load_settings(TranscribeSettings)))
