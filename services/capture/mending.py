"""Takes an item that its shape refused, without what is unusable and not the main fact of it.

The main facts are who asked what, and which answer was given or judged how. A time, a model's name
or a note beside them is worth nothing without them, and never costs them. What was left out or
changed is said in the receipt, by the name of its field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from services.capture import dialects
from services.capture.shapes import (
    MAX_MESSAGES,
    Sent,
    Shape,
    is_swollen,
)
from shared.http import MAX_METADATA, printable, read_metadata
from shared.rules import NoContent, Said, read_calls, read_message

# Names that are given; a receipt is no copy of the request.
MOST_UNKNOWN = 5
MOST_LEFT_OUT = 20
METADATA = "metadata."
# What only the result of a tool has.
RESULT = ("tool_call_id", "name")
TIME = TypeAdapter(datetime)
# What pydantic says of half a surrogate pair.
WORDS = {"string_unicode": "contains half of a surrogate pair; send valid Unicode"}
INSTEAD = {
    "model": "'external' is recorded",
    "occurred_at": "the time of arrival is recorded",
}


class LeftOut(NamedTuple):
    """A field, or a part of one, that was left out or changed, and why."""

    field: str
    reason: str


class Unusable(ValueError):
    """An item without its main fact; says where and why, never with a value."""


def look(sent: object, shape: type[Shape]) -> tuple[Shape, tuple[LeftOut, ...]]:
    """Return an item as it is where it is flawless, else mended. Raises Unusable."""
    try:
        # Of so many fields most are unknown, and each would cost an error.
        if not is_swollen(sent):
            return shape.model_validate(sent), ()
    # Also where half a surrogate pair cannot be looked at.
    except ValueError:
        pass
    return mend(sent, shape)


def mend(sent: object, shape: type[Shape]) -> tuple[Shape, tuple[LeftOut, ...]]:
    """Return an item without what cannot be used of it, and what that was. Raises Unusable."""
    if not isinstance(sent, dict):
        raise Unusable("an item is an object")
    item = dict(sent)
    left_out = list(_without_unknown(item, shape))
    for field, taken_closely in LOOKS.items():
        if field in item and field in shape.model_fields:
            left_out += taken_closely(item, field)
    for _ in range(len(shape.SIDE) + 1):
        try:
            return shape.model_validate(item), tuple(left_out[:MOST_LEFT_OUT])
        except ValidationError as error:
            wrong = _wrong_sides(error, shape, item)
            if not wrong:
                raise Unusable(_and_before(left_out, explain(error))) from error
        for field, reason in wrong.items():
            del item[field]
            left_out.append(LeftOut(field, reason))
    raise Unusable("nothing of it can be used")


def explain(error: ValidationError) -> str:
    """Say where an item is wrong and why, never with its value: it may be personal."""
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    said = []
    for problem in problems[:3]:
        where = printable(".".join(map(str, problem["loc"])))
        why = WORDS.get(problem["type"], problem["msg"])
        said.append(f"{where}: {why}" if where else why)
    return "; ".join(said).replace("Value error, ", "")


def _and_before(left_out: list[LeftOut], said: str) -> str:
    """Say, too, what was left out before nothing was left.

    Names of metadata are an app's own words: a receipt may say them, a dead letter may not.
    """
    before = [f"{field}: {reason}" for field, reason in left_out if not field.startswith(METADATA)]
    return "; ".join([*before[:3], said])


def _wrong_sides(error: ValidationError, shape: type[Sent], item: dict[str, Any]) -> dict[str, str]:
    """Return the side fields that are wrong, each with the reason; none where a main fact is."""
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    found: dict[str, str] = {}
    for problem in problems:
        field = problem["loc"][0] if problem["loc"] else None
        if not isinstance(field, str) or field not in shape.SIDE or field not in item:
            return {}
        why = WORDS.get(problem["type"], problem["msg"]).replace("Value error, ", "")
        instead = INSTEAD.get(field)
        found.setdefault(field, f"{why}: {instead}" if instead else why)
    if "scale" in found and "rating" in item:
        # 1 of 5 is bad, and 1 alone is good.
        found.setdefault("rating", "without its scale nobody knows what it says")
    return found


def _without_unknown(item: dict[str, Any], shape: type[Sent]) -> Iterator[LeftOut]:
    unknown = [name for name in item if name not in shape.model_fields]
    for name in unknown:
        del item[name]
    for name in unknown[:MOST_UNKNOWN]:
        yield LeftOut(printable(name), f"is no field of {shape.NAME}")
    if (more := len(unknown) - MOST_UNKNOWN) > 0:
        yield LeftOut("...", f"and {more} more that are no fields of {shape.NAME}")


def _look_at_time(item: dict[str, Any], field: str) -> Iterator[LeftOut]:
    """Take a time without a zone as UTC: what else an app may mean nobody knows."""
    item[field] = dialects.time_of(item[field])
    try:
        at = TIME.validate_python(item[field])
    # What is no time at all is found by its shape.
    except ValueError:
        return
    if at.tzinfo is None:
        item[field] = at.replace(tzinfo=UTC)
        yield LeftOut(field, "has no time zone: taken as UTC")


def _look_at_metadata(item: dict[str, Any], field: str) -> Iterator[LeftOut]:
    """Keep of metadata what is a name with a text; other values as the JSON that they are."""
    given = dialects.names_of(item.pop(field))
    if not isinstance(given, dict):
        reason = "is null" if given is None else "is no object of names and texts"
        yield LeftOut(field, reason)
        return
    read = read_metadata(given)
    for name, why in read.left_out:
        yield LeftOut(f"{field}.{name}", why)
    if read.more:
        why = f"{read.more} of {len(given)} left out: at most {MAX_METADATA} are kept"
        yield LeftOut(field, why)
    item[field] = read.kept


def _look_at_messages(item: dict[str, Any], field: str) -> Iterator[LeftOut]:
    """Read each message as text; what is no text is named, and mostly has a placeholder there."""
    messages = item[field] = dialects.unpacked(item[field])
    if messages == [] and item.get("input") is not None:
        del item[field]
        yield LeftOut(field, "is empty: 'input' is read")
        return
    if not isinstance(messages, list) or len(messages) > MAX_MESSAGES:
        return
    read = []
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            return
        where = f"{field}.{number}"
        plain = dialects.message_of(message)
        calls = read_calls(plain.get("tool_calls"))
        said = _said(plain | {"tool_calls": None} if calls else plain, f"{where}.content")
        turn = {"role": plain["role"], "content": said.text}
        if calls:
            turn["tool_calls"] = [call.model_dump() for call in calls]
        read.append({name: plain[name] for name in RESULT if name in plain} | turn)
        yield from _named(said, where)
    item[field] = read


def _look_at_input(item: dict[str, Any], field: str) -> Iterator[LeftOut]:
    """Read OpenAI's newer `input`: a text, its parts, or the messages of a conversation."""
    given = item[field]
    if given == "" and item.get("messages"):
        del item[field]
        yield LeftOut(field, "is empty: 'messages' are read")
        return
    if isinstance(given, list) and all(isinstance(one, dict) and "role" in one for one in given):
        if given and item.get("messages") is None:
            item["messages"] = item.pop(field)
            yield from _look_at_messages(item, "messages")
        return
    yield from _look_at_text(item, field)


def _look_at_text(item: dict[str, Any], field: str) -> Iterator[LeftOut]:
    """Read an answer that is the whole message of a model, or its parts."""
    given = item[field]
    if isinstance(given, dict) and "role" in given:
        said = _said(given, field)
    elif isinstance(given, list) and given:
        said = _said({"content": given}, field)
    else:
        return
    item[field] = said.text
    yield from _named(said, field)


def _said(message: dict[str, Any], where: str) -> Said:
    """Read a message of any vendor. Raises Unusable."""
    content = message.get("content")
    if content is None:
        # Gemini says `parts`; a model of OpenAI that refuses says so beside its content.
        content = message.get("parts", message.get("refusal"))
    calls = message.get("tool_calls") or message.get("function_call")
    try:
        return read_message(content, calls)
    except NoContent as error:
        raise Unusable(f"{where}: {error}") from error


def _named(said: Said, where: str) -> Iterator[LeftOut]:
    for kind in dict.fromkeys(said.left_out):
        yield LeftOut(where, f"{kind} is not kept")


def _look_at_rating(item: dict[str, Any], field: str) -> Iterator[LeftOut]:
    """Read a thumb, a word and a share; what it is a share of is its scale unless one is sent."""
    item[field], scale = dialects.rating_of(item[field])
    if scale is not None and item.get("scale") is None:
        item["scale"] = scale
    yield from ()


def _look_at_model(item: dict[str, Any], field: str) -> Iterator[LeftOut]:
    if item[field] is None:
        del item[field]
        yield LeftOut(field, f"is null: {INSTEAD['model']}")


LOOKS: dict[str, Callable[[dict[str, Any], str], Iterator[LeftOut]]] = {
    "model": _look_at_model,
    "occurred_at": _look_at_time,
    "rating": _look_at_rating,
    "metadata": _look_at_metadata,
    "input": _look_at_input,
    "answer": _look_at_text,
    "messages": _look_at_messages,
}
