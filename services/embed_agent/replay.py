"""`python -m services.embed_agent.replay`: what `millrace replay embed` runs."""

from millrace.stream.replay.command import main
from services.embed_agent.app import SPEC
from services.embed_agent.build import build_handler
from services.embed_agent.settings import EmbedSettings

if __name__ == "__main__":
    main(SPEC, EmbedSettings, build_handler)
