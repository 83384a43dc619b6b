"""`python -m services.media_agent.replay`: what `millrace replay media` runs."""

from millrace.stream.replay.command import main
from services.media_agent.app import SPEC
from services.media_agent.build import build_handler
from services.media_agent.settings import MediaSettings

if __name__ == "__main__":
    main(SPEC, MediaSettings, build_handler)
