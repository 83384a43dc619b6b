"""Kafka, a schema registry and PostgreSQL as child processes, from packages alone."""

from millrace.embedded.stack import EmbeddedStack

__all__ = ["EmbeddedStack"]
