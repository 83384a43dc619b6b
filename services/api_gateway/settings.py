"""Settings of the gateway, besides those of every service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from millrace.models.settings import EmbeddingSettings
from millrace.settings import CoreSettings, Folder
from services.api_gateway.guard import ANY_HOST, LOOPBACK


class GatewaySettings(EmbeddingSettings, CoreSettings):
    """Read from `MILLRACE_…`; documented in docs/configuration.md."""

    http_host: str = Field(
        default="127.0.0.1",
        description="Address the API listens on. There is no sign-in yet: whoever reaches it may use it",
    )
    http_port: int = Field(default=8080, ge=0, le=65535, description="Port of the API; 0: any free one")
    allowed_hosts: str = Field(
        default="",
        description="Host names the API answers under, joined by commas; by default those of loopback, or any (*) "
        "when it listens elsewhere",
    )
    owner: str = Field(default="local", min_length=1, description="Whose shares these are, until there is sign-in")
    max_upload_bytes: int = Field(default=500_000_000, gt=0, description="Largest file of a share")
    max_text_bytes: int = Field(
        default=512 << 10,
        gt=0,
        le=1 << 20,
        description="Longest text share, in bytes of UTF-8; it travels in an event",
    )
    upload_folder: Folder | None = Field(
        default=None, description="Where uploads are received; by default a folder beside the media store"
    )
    search_grant_s: float = Field(
        default=3.0, gt=0, description="How long a search waits for the ledger before it goes by words alone"
    )

    cap_change_s: float = Field(
        default=10.0, gt=0, description="How long the change of a cap and a reconciliation wait for the ledger"
    )

    @property
    def hosts(self) -> frozenset[str]:
        """The host names to answer under."""
        named = frozenset(name.strip().lower() for name in self.allowed_hosts.split(",") if name.strip())
        if named:
            return named
        return LOOPBACK if self.http_host in LOOPBACK else frozenset({ANY_HOST})

    @property
    def uploads(self) -> Path:
        """Folder of uploads that are being received."""
        return self.upload_folder or self.blobs / ".uploads"
