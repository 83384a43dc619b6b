"""Metrics of the gateway's producer: what became of messages, and how the connection to Kafka stands."""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import Counter, Gauge, Histogram

PRODUCED = Counter("ml_producer_success", "Messages that Kafka has confirmed.", ["topic"])
PRODUCE_FAILURES = Counter("ml_producer_failure", "Sendings of a message that were not confirmed.", ["reason"])
PRODUCE_RETRIES = Counter("ml_producer_retry", "Messages that were sent again after a sending without confirmation.")
PUBLISH_SECONDS = Histogram(
    "ml_producer_publish_latency_seconds",
    "Seconds from handing a batch to the client until its last message was confirmed, or given up.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CONFIRM_TIMEOUTS = Counter("ml_producer_confirm_timeouts", "Messages that were not confirmed in time.")
PROBE_FAILURES = Counter("ml_producer_probe_failures", "Health probes that Kafka did not answer.")
RECONNECTS = Counter("ml_producer_reconnects", "Times that the connection was there again after it had been lost.")
CONNECTION_STATE = Gauge("ml_producer_connection_state", "1 for the state it is in, 0 for others.", ["state"])
BREAKER_STATE = Gauge("ml_producer_breaker_state", "1 for the state it is in, 0 for others.", ["state"])
ALARM = Gauge("ml_producer_alarm", "1 after ten attempts in a row to connect that failed.")
RETRY_QUEUE = Gauge("ml_producer_retry_queue_size", "Messages in the outbox, as last counted.")
IN_FLIGHT = Gauge("ml_producer_in_flight", "Messages that were sent and are not confirmed yet.")


def show_state(gauge: Gauge, state: str, states: Collection[str]) -> None:
    """Set a gauge with the label `state` to 1 for one state and to 0 for the others."""
    for known in states:
        gauge.labels(known).set(known == state)
