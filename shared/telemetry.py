"""Logs and metrics. Logs carry ids, never content."""

import logging

import structlog
from prometheus_client import Counter, Gauge, Histogram

EVENTS_HANDLED = Counter("ratchet_events_handled_total", "Events by outcome", ["topic", "outcome"])
EVENT_SECONDS = Histogram("ratchet_event_seconds", "Time from receipt to commit", ["topic"])
EVENTS_PUBLISHED = Counter(
    "ratchet_events_published_total", "Events acknowledged by the broker", ["topic"]
)
EVENTS_RESENT = Counter(
    "ratchet_events_resent_total", "Events sent again because the log had lost them", ["topic"]
)
LOG_REWINDS = Counter(
    "ratchet_log_rewinds_total",
    "Partitions read from their beginning again because the log had lost events",
    ["topic"],
)
COMMIT_FAILURES = Counter(
    "ratchet_commit_failures_total",
    "Offsets that could not be committed; the events come again and are absorbed",
    ["topic"],
)
CONSUMER_LAG = Gauge(
    "ratchet_consumer_lag",
    "Events in the log that this consumer has not read",
    ["topic", "partition"],
)
CONSUMER_PAUSED = Gauge(
    "ratchet_consumer_paused", "1 while our own code's failures keep a consumer paused", ["topic"]
)
OUTBOX_PENDING = Gauge(
    "ratchet_outbox_pending",
    "Events of the next batch: committed here, not yet acknowledged by the broker",
)
OUTBOX_HELD = Gauge(
    "ratchet_outbox_topic_closed",
    "1 while a topic is missing or forbidden, so that its events wait here",
    ["topic"],
)
OUTBOX_PARKED = Gauge(
    "ratchet_outbox_parked", "Events that the log refuses for good and that wait for a person"
)
EVENTS_PARKED = Counter(
    "ratchet_events_parked_total", "Events that were parked because the log refused them", ["topic"]
)
OUTBOX_AGE = Gauge(
    "ratchet_outbox_oldest_seconds",
    "Age of the oldest event committed here and not yet acknowledged by the broker",
)
BROKER_UP = Gauge("ratchet_broker_up", "1 while the consumers are started")


def configure_logging(level: str, form: str) -> None:
    """`console` for people, `json` for machines; the standard library's loggers go the same way."""
    renderer = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # While a topic is missing it says so many times a second; the relay says it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "aiosqlite"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def log(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
