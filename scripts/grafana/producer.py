"""From a request to Kafka: the gateway, its producer, the brokers."""

from __future__ import annotations

from typing import Final

from scripts.grafana.panels import Ask, Limit, Row, board, graph, quantiles, stat

RED_AT_ONE: Final = [Limit(1, "red")]

NOW: Final = Row(
    "Now",
    [
        stat(
            "Connection",
            "The state of each gateway's connection to Kafka.",
            "none",
            Ask("ml_producer_connection_state == 1", "{{instance}}: {{state}}"),
            names=True,
        ),
        stat(
            "Breaker",
            "Closed: messages are sent. Open: Kafka has not answered ten times in a row, and nothing is sent.",
            "none",
            Ask("ml_producer_breaker_state == 1", "{{instance}}: {{state}}"),
            names=True,
        ),
        stat(
            "Alarm",
            "Whether ten attempts in a row to connect have failed.",
            "none",
            Ask("max(ml_producer_alarm)", "alarm"),
            limits=RED_AT_ONE,
            words=[(0, "none"), (1, "alarm")],
        ),
        stat(
            "Outbox",
            "Messages that are in PostgreSQL and not confirmed by Kafka yet.",
            "short",
            Ask("millrace:ml_producer_retry_queue_size:max", "messages"),
            limits=[Limit(100, "red")],
        ),
        stat(
            "Brokers",
            "Brokers that answer Prometheus.",
            "none",
            Ask('sum(up{job="kafka"})', "brokers"),
        ),
        stat(
            "Partitions without a leader",
            "Nobody can write to or read from them.",
            "none",
            Ask("max(kafka_controller_offlinepartitionscount)", "partitions"),
            limits=RED_AT_ONE,
        ),
    ],
)

MESSAGES: Final = Row(
    "Messages",
    [
        graph(
            "Confirmed",
            "Messages that Kafka has confirmed, by topic.",
            "mps",
            Ask("sum by (topic) (rate(ml_producer_success_total[$__rate_interval]))", "{{topic}}"),
        ),
        graph(
            "Not confirmed",
            "Sendings that failed, by reason, and messages that were sent again.",
            "mps",
            Ask("sum by (reason) (rate(ml_producer_failure_total[$__rate_interval]))", "{{reason}}"),
            Ask("sum(rate(ml_producer_retry_total[$__rate_interval]))", "sent again"),
        ),
        graph(
            "Publish latency",
            "From handing a batch to the client until its last message was confirmed, or given up.",
            "s",
            *quantiles("ml_producer_publish_latency_seconds", parts=(0.5, 0.95, 0.99)),
        ),
        graph(
            "Outbox and in flight",
            "Messages that wait in the outbox, and those of them that are sent and not confirmed yet.",
            "short",
            Ask("millrace:ml_producer_retry_queue_size:max", "outbox"),
            Ask("sum(ml_producer_in_flight)", "in flight"),
            limits=[Limit(100, "red")],
        ),
        graph(
            "Connection trouble",
            "Messages not confirmed in time, probes without an answer, and times that the connection came back.",
            "short",
            Ask("sum(increase(ml_producer_confirm_timeouts_total[$__rate_interval]))", "confirm time-outs"),
            Ask("sum(increase(ml_producer_probe_failures_total[$__rate_interval]))", "probe failures"),
            Ask("sum(increase(ml_producer_reconnects_total[$__rate_interval]))", "reconnects"),
        ),
    ],
)

REQUESTS: Final = Row(
    "Requests",
    [
        graph(
            "Requests",
            "By path and method.",
            "reqps",
            Ask(
                "sum by (handler, method) (rate(ml_http_request_duration_seconds_count[$__rate_interval]))",
                "{{method}} {{handler}}",
            ),
        ),
        graph(
            "Latency",
            "Until an answer begins, by path; streams are left out.",
            "s",
            *quantiles("ml_http_request_duration_seconds", by="handler", parts=(0.95,)),
        ),
        graph(
            "Errors",
            "Part of the answers within ten minutes that are 5xx.",
            "percentunit",
            Ask("millrace:ml_http_errors:ratio10m", "5xx"),
            limits=[Limit(0.05, "red")],
        ),
    ],
)

BROKERS: Final = Row(
    "Brokers",
    [
        graph(
            "Messages in",
            "By broker.",
            "mps",
            Ask("sum by (service) (rate(kafka_broker_messagesin_total[$__rate_interval]))", "{{service}}"),
        ),
        graph(
            "Bytes",
            "What clients write and read, by broker; replication is left out.",
            "Bps",
            Ask("sum by (service) (rate(kafka_broker_bytesin_total[$__rate_interval]))", "{{service}} in"),
            Ask("sum by (service) (rate(kafka_broker_bytesout_total[$__rate_interval]))", "{{service}} out"),
        ),
        graph(
            "Replicas",
            "Partitions with too few replicas in sync; below the minimum nothing is confirmed.",
            "short",
            Ask("kafka_broker_underreplicatedpartitions", "{{service}} under-replicated"),
            Ask("kafka_broker_underminisrpartitioncount", "{{service}} below the minimum"),
            Ask("sum(kafka_controller_activecontrollercount)", "active controllers"),
        ),
        graph(
            "Heap",
            "Part of the heap that stays in use after collections.",
            "percentunit",
            Ask("instance:kafka_heap:ratio15m", "{{service}}"),
            limits=[Limit(0.6, "red")],
        ),
        graph(
            "Free disk",
            "Of machines with a broker's data.",
            "decbytes",
            Ask("device:node_filesystem_avail_bytes:min", "{{instance}} {{device}}"),
        ),
        graph(
            "Largest topics",
            "Bytes on the disks of all brokers.",
            "decbytes",
            Ask("topk(10, sum by (topic) (kafka_log_size_bytes))", "{{topic}}"),
        ),
    ],
)

BOARD: Final = board(
    "producer",
    "Millrace: producer",
    "From a request to Kafka: the gateway, its outbox and producer, the brokers.",
    [NOW, MESSAGES, REQUESTS, BROKERS],
)
