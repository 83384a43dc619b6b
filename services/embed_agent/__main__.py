"""`python -m services.embed_agent`."""

from millrace.startup import settings_or_exit
from millrace.stream.worker import run
from services.embed_agent.app import build
from services.embed_agent.settings import EmbedSettings

if __name__ == "__main__":
    run(build(settings_or_exit(EmbedSettings)))
