"""Settings of the embed agent, besides those of every agent."""

from __future__ import annotations

from millrace.models.settings import ChildSettings, EmbeddingSettings
from millrace.settings import StageSettings


class EmbedSettings(StageSettings, EmbeddingSettings, ChildSettings):
    """Read from `MILLRACE_…`; documented in docs/configuration.md."""
