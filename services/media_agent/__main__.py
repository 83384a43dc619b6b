"""`python -m services.media_agent`."""

from millrace.stream.worker import load_settings, run
from services.media_agent.app import build
from services.media_agent.settings import MediaSettings

if __name__ == "__main__":
    run(build(load_settings(MediaSettings)))
