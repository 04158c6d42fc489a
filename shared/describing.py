"""What may be said of any error: of ours their words, of others what they are and where."""

from __future__ import annotations

import sqlite3
from traceback import walk_tb

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic_core import ErrorDetails

from shared.errors import RatchetError

# Problems whose message pydantic makes from the input, or our validators from anything.
TOLD_BY_KIND = {"value_error", "assertion_error", "union_tag_invalid"}
OUR_PACKAGES = ("services.", "shared.", "schemas.", "infra.")


def describe(error: BaseException) -> str:
    """Say what went wrong without a value of anybody's: for logs, tables, topics and answers.

    Our errors write messages of their own. Those of others may hold a text that a user wrote (a
    key that is missing, a row that is refused): of them it says what they are, and where.
    """
    if isinstance(error, RatchetError):
        return str(error)
    if isinstance(error, ValidationError):
        return "; ".join(map(_problem, error.errors(include_input=False, include_url=False)))
    name = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    driver = getattr(error, "orig", None)
    if isinstance(driver, BaseException):
        name = f"{name} ({_of_driver(driver)})"
    place = place_of(error)
    return f"{name} at {place}" if place else name


def place_of(error: BaseException) -> str | None:
    """Return the module and line of ours that was reached last."""
    frames = [
        (frame.f_globals.get("__name__", ""), line) for frame, line in walk_tb(error.__traceback__)
    ]
    ours = [frame for frame in frames if frame[0].startswith(OUR_PACKAGES)] or frames
    return f"{ours[-1][0]}:{ours[-1][1]}" if ours else None


def _problem(problem: ErrorDetails) -> str:
    """Say where a value is wrong and why. Names that are nobody's field may be a user's text."""
    known = field_names()
    place = ".".join(
        str(part) if isinstance(part, int) or part in known else "?" for part in problem["loc"]
    )
    kind = problem["type"]
    return f"{place}: {kind if kind in TOLD_BY_KIND else problem['msg']}"


def field_names() -> set[str]:
    """Return the names of all fields of all models that this process knows."""
    names: set[str] = set()
    waiting = [BaseModel]
    while waiting:
        model = waiting.pop()
        waiting += model.__subclasses__()
        for name, field in model.model_fields.items():
            alias = field.validation_alias
            choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
            names |= {name, *(choice for choice in choices if isinstance(choice, str))}
    return names


def _of_driver(error: BaseException) -> str:
    """Say what a database's driver meant; only SQLite's words hold no values."""
    name = type(error).__name__
    if isinstance(error, sqlite3.Error):
        return f"{name}: {error}"
    state = getattr(error, "sqlstate", None)
    return f"{name}, SQLSTATE {state}" if state else name
