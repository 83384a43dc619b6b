"""Settings of the gateway, besides those of every service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from millrace.models.settings import EmbeddingSettings
from millrace.settings import CoreSettings, Folder
from millrace.tokens import LEAST_SECRET_BYTES
from services.api_gateway.guard import ANY_HOST, LOOPBACK
from services.api_gateway.rate import readable

Rate = Annotated[str, AfterValidator(readable)]


class GatewaySettings(EmbeddingSettings, CoreSettings):
    """Read from `MILLRACE_…`; documented in docs/configuration.md."""

    http_host: str = Field(
        default="127.0.0.1",
        description="Address the API listens on; other ones than loopback need a sign-in (a secret or public keys)",
    )
    http_port: int = Field(default=8080, ge=0, le=65535, description="Port of the API; 0: any free one")
    allowed_hosts: str = Field(
        default="",
        description="Host names the API answers under, joined by commas; by default those of loopback, or any (*) "
        "when it listens elsewhere",
    )
    owner: str = Field(default="local", min_length=1, description="Whose shares these are where nobody signs in")
    jwt_secret: SecretStr | None = Field(
        default=None,
        min_length=LEAST_SECRET_BYTES,
        description="Secret that tokens are signed with (HS256), of 32 bytes or more: `openssl rand -hex 32`. "
        "Without it and without public keys nobody signs in, and the API is for this machine alone",
    )
    jwks_url: str | None = Field(
        default=None, description="URL of the public keys (JWKS) of whoever issues tokens, such as Keycloak"
    )
    jwt_issuer: str | None = Field(default=None, description="The issuer (iss) that tokens must name")
    jwt_audience: str | None = Field(default=None, description="The audience (aud) that tokens must name")
    jwt_roles_claim: str = Field(
        default="roles", min_length=1, description="Where a token says its roles, with dots: realm_access.roles"
    )
    rate_limit: Rate = Field(
        default="100/second", description="Requests of one person or program, as 100/second or 3000/minute"
    )
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
    def has_sign_in(self) -> bool:
        """Whether requests need a token."""
        return self.jwt_secret is not None or self.jwks_url is not None

    @property
    def uploads(self) -> Path:
        """Folder of uploads that are being received."""
        return self.upload_folder or self.blobs / ".uploads"
