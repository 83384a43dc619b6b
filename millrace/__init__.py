"""Millrace: event-streaming ML services on Kafka, with a cost ledger that grants money before it is spent."""

__version__ = "0.1.0.dev0"
