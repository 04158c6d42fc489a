"""Logs and metrics. Logs carry ids, never content."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from contextvars import ContextVar

import structlog
from prometheus_client import Counter, Gauge, Histogram

from shared.describing import describe

# Of the request that is being answered, for every line that is logged meanwhile.
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
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
    "Events committed here and not yet acknowledged by the broker, up to 10,000",
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
COMMITS_LOST = Counter(
    "ratchet_commits_lost_total",
    "What nobody waited for and the database refused for good; the log says why",
)
BROKER_UP = Gauge("ratchet_broker_up", "1 while the consumers are started")


def configure_logging(level: str, form: str) -> None:
    """`console` for people, `json` for machines; the standard library's loggers go the same way.

    No error's message is printed that is not ours: it may hold what a user wrote.
    """
    print_no_values()
    logging.captureWarnings(True)
    # Where a line cannot be written, logging would print the error that it is about.
    logging.raiseExceptions = False
    renderer = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_request_id,
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
            foreign_pre_chain=[*shared, _without_values],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(_printed),
                renderer,
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # While a topic is missing it says so many times a second; the relay says it once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "aiosqlite"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def print_no_values() -> None:
    """Print errors that nobody caught as the logs do: where, of which kind, without their words.

    A setting that is refused would be printed with all others, a database's password among them.
    """

    def uncaught(_: object, error: BaseException, __: object) -> None:
        sys.stderr.write(quiet_traceback(error) + "\n")

    def in_thread(caught: threading.ExceptHookArgs) -> None:
        if caught.exc_value:
            uncaught(None, caught.exc_value, None)

    def unraisable(caught: sys.UnraisableHookArgs) -> None:
        if caught.exc_value:
            uncaught(None, caught.exc_value, None)

    sys.excepthook = uncaught
    threading.excepthook = in_thread
    sys.unraisablehook = unraisable


def quiet_traceback(error: BaseException) -> str:
    """Return the traceback of an error and of what led to it, with `describe` for their words."""
    parts = []
    for cause in reversed(list(led_to(error))):
        frames = "".join(traceback.format_tb(cause.__traceback__))
        last = f"{type(cause).__name__}: {describe(cause)}"
        parts.append(f"Traceback (most recent call last):\n{frames}{last}")
    return "\n\n".join(parts)


def led_to(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, those of its group, and what they were raised from."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting.append(one.__cause__ or (None if one.__suppress_context__ else one.__context__))
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def _with_request_id(
    _: structlog.typing.WrappedLogger, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    if request_id := REQUEST_ID.get():
        event.setdefault("request_id", request_id)
    return event


def _printed(exc_info: structlog.typing.ExcInfo) -> str:
    return quiet_traceback(exc_info[1])


def _without_values(
    _: structlog.typing.WrappedLogger, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Take from what libraries log the parts that hold the repr of an error, or a value."""
    record: logging.LogRecord = event["_record"]
    text = str(event["event"])
    if record.name == "asyncio":
        # "Task exception was never retrieved" and a repr, "Exception in callback" and arguments.
        text = text.split("\n", maxsplit=1)[0]
        event["event"] = text[:21] if text.startswith("Exception in callback") else text
    if record.name == "py.warnings":
        # A path, a line and a category; then the warning itself.
        event["event"] = ": ".join(text.split(": ", 2)[:2])
    return event


def log(name: str) -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
