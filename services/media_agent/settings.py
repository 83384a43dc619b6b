"""Settings of the media agent, besides those of every agent."""

from __future__ import annotations

from pydantic import Field

from millrace.models.settings import SpeechSettings
from millrace.settings import StageSettings


class MediaSettings(StageSettings, SpeechSettings):
    """Read from `MILLRACE_…`; documented in docs/configuration.md."""

    fetch_allow: str = Field(
        default="",
        description="host:port, separated by commas, that media may be fetched from though they are not public. "
        "Whoever may share can make this agent read from them.",
    )
    fetch_max_bytes: int = Field(default=500_000_000, ge=1, description="Largest media, in bytes")
    fetch_timeout_s: float = Field(default=300.0, gt=0, description="Longest that fetching may take")
    extract_timeout_s: float = Field(
        default=30.0, gt=0, description="Longest that looking for the video of a web page may take"
    )
    fetch_idle_s: float = Field(default=20.0, gt=0, description="Longest silence of a server")
    probe_timeout_s: float = Field(default=30.0, gt=0, description="Longest that probing may take")
    max_media_s: int = Field(default=1800, ge=1, description="Longest media, in seconds")

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """`fetch_allow` as a set of `host:port`, in lower case."""
        return frozenset(host.strip().lower() for host in self.fetch_allow.split(",") if host.strip())
