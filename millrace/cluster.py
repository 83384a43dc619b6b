"""How Kafka is reached: where it is, TLS, and who one is there; said to each client in its own words."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]


@dataclass(frozen=True)
class Cluster:
    """A cluster of Kafka, as one client sees it; as text its addresses alone.

    `address` is host:port, or several with commas between. `ca` is a PEM file of the authorities whose certificates
    brokers may have, None: those that this machine trusts. With a `user`, that is who the client is.
    """

    address: str
    tls: bool = False
    ca: Path | None = None
    user: str | None = None
    password: str = ""
    mechanism: Mechanism = "SCRAM-SHA-512"

    def __str__(self) -> str:
        return self.address

    def __repr__(self) -> str:
        return f"Cluster({self.address!r}, {self.protocol}, user={self.user!r})"

    @property
    def protocol(self) -> Protocol:
        """Kafka's name for how clients connect."""
        if self.user is None:
            return "SSL" if self.tls else "PLAINTEXT"
        return "SASL_SSL" if self.tls else "SASL_PLAINTEXT"

    def librdkafka(self) -> dict[str, str | int | float | bool]:
        """Settings of confluent-kafka's clients. Brokers' names are verified: that is librdkafka's default."""
        found: dict[str, str | int | float | bool] = {"bootstrap.servers": self.address}
        if self.protocol != "PLAINTEXT":
            found["security.protocol"] = self.protocol
        if self.tls and self.ca is not None:
            found["ssl.ca.location"] = str(self.ca)
        if self.user is not None:
            found |= {"sasl.mechanism": self.mechanism, "sasl.username": self.user, "sasl.password": self.password}
        return found

    def aiokafka(self) -> dict[str, Any]:
        """Arguments of aiokafka's clients."""
        found: dict[str, Any] = {"bootstrap_servers": self.address, "security_protocol": self.protocol}
        if self.tls:
            found["ssl_context"] = self.tls_context
        if self.user is not None:
            found |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return found

    @cached_property
    def tls_context(self) -> ssl.SSLContext:
        """Verifies certificates, and that they are those of the hosts that were asked.

        Made once: a client that connects anew does not fail because the file is being replaced just then.

        :raises OSError: the file of authorities cannot be read; `ssl.SSLError` if it holds none.
        """
        return ssl.create_default_context(cafile=self.ca)
