"""Logs and metrics. Logs carry ids, never content: of an error that is not ours, its type and its
place in the code, for its message may hold what a user sent (pydantic's `input_value=`, a driver's
parameters, the key of a KeyError).
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType

import structlog
from prometheus_client import Counter, Gauge, Histogram

from shared.errors import RatchetError

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


def described(error: BaseException) -> str:
    """Name an error for a log: with its message where that quotes our code and no value."""
    name = type(error).__name__
    if isinstance(error, RatchetError | AttributeError | NameError | ImportError):
        return f"{name}: {error}"
    if isinstance(error, OSError):
        return f"{name}: {error.strerror}" if error.strerror else name
    # of a database's error its code; its text quotes the row
    driver = getattr(error, "orig", None)
    code = getattr(driver, "sqlstate", None) or getattr(driver, "sqlite_errorname", None)
    return f"{name}: {code}" if code else name


def trace_of(error: BaseException) -> str:
    """Return the traceback of an error and of its causes, described in place of their messages."""
    parts = [f"{described(one)}\n{frames(one.__traceback__)}" for one in chain(error)]
    return "\ncaused by ".join(parts)


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it, the last first."""
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def frames(trace: TracebackType | None) -> str:
    return "".join(traceback.format_tb(trace)).rstrip()


def without_values(
    _: object, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Put the traceback into a line of the log (a processor of structlog)."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = trace_of(error)
    return event


def first_line(record: logging.LogRecord) -> bool:
    """Cut what asyncio says of a task nobody waited for: the lines below show its exception whole
    (a filter of logging).
    """
    record.msg = str(record.msg).partition("\n")[0]
    return True


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
    logging.getLogger("asyncio").addFilter(first_line)
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                without_values,
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
