"""`python -m services.media_agent`."""

from millrace.startup import settings_or_exit
from millrace.stream.worker import run
from services.media_agent.app import build
from services.media_agent.settings import MediaSettings

if __name__ == "__main__":
    run(build(settings_or_exit(MediaSettings)))
