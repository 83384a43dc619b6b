"""`python -m services.embed_agent`."""

from millrace.stream.worker import load_settings, run
from services.embed_agent.app import build
from services.embed_agent.settings import EmbedSettings

if __name__ == "__main__":
    run(build(load_settings(EmbedSettings)))
