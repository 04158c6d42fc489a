"""From the bytes of a request to valid items and rejected ones; one bad item harms no other."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import cache
from typing import Generic

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from services.capture.shapes import MAX_FIELDS, Shape, is_swollen
from shared.errors import Invalid, RatchetError
from shared.http import is_too_dense

# zlib's window bits for a gzip member
GZIP = 31
# Each member costs a copy of the rest of the body: 200,000 empty ones fit into 4 MiB and would
# take a minute.
MAX_MEMBERS = 500
SWOLLEN = f"has more than {MAX_FIELDS} fields; an item has fewer than that"


class MalformedBody(RatchetError):
    status = 400

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the body is not valid JSON ({why}); send UTF-8 JSON without NaN or Infinity"
        )


class BodyTooLarge(RatchetError):
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body unpacks to more than {limit} bytes; send smaller batches")


class UnknownEncoding(RatchetError):
    status = 415

    def __init__(self, encoding: str) -> None:
        super().__init__(f"content-encoding '{encoding[:40]}' is not understood; send gzip or none")


class BadGzip(RatchetError):
    status = 400

    def __init__(self) -> None:
        super().__init__("content-encoding says gzip, but the body is not a complete gzip stream")


class TooManyMembers(RatchetError):
    status = 400

    def __init__(self) -> None:
        super().__init__(f"the body has more than {MAX_MEMBERS} gzip members; send one")


class WrongShape(Invalid):
    def __init__(self, name: str) -> None:
        super().__init__(f'send one object, or {{"{name}": [...]}} with at least one object')


class TooManyItems(Invalid):
    def __init__(self, found: int, limit: int) -> None:
        super().__init__(
            f"{found} items in one request; at most {limit} are taken: split the batch"
        )


@dataclass(frozen=True)
class Rejection:
    index: int
    error: str


@dataclass(frozen=True)
class Parsed(Generic[Shape]):
    """The valid items of a request by their index in it, and the rejected ones."""

    items: dict[int, Shape] = field(default_factory=dict)
    rejected: list[Rejection] = field(default_factory=list)


def parse(body: bytes, shape: type[Shape], name: str, max_items: int) -> Parsed[Shape]:
    """Read one object or the list `name` of them, each of `shape`.

    Raises MalformedBody, WrongShape, TooManyItems: the body as a whole is unusable then.
    """
    sent = items_of(body, name, max_items)
    if any(map(is_swollen, sent)):
        return one_by_one(sent, shape)
    try:
        return Parsed(dict(enumerate(together(shape).validate_python(sent))))
    except ValidationError:
        return one_by_one(sent, shape)


@cache
def together(shape: type[Shape]) -> TypeAdapter[list[Shape]]:
    """Validate a whole batch in one call: a third cheaper than a call for each item."""
    # A type that is only known at run time.
    return TypeAdapter(list[shape])  # type: ignore[valid-type]


def one_by_one(sent: list[object], shape: type[Shape]) -> Parsed[Shape]:
    parsed: Parsed[Shape] = Parsed()
    for index, item in enumerate(sent):
        if is_swollen(item):
            parsed.rejected.append(Rejection(index, SWOLLEN))
            continue
        try:
            parsed.items[index] = shape.model_validate(item)
        except ValidationError as error:
            parsed.rejected.append(Rejection(index, explain(error)))
    return parsed


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """Return the body, or what its gzip members hold. Stops at `limit` bytes, so that a bomb costs
    no more than that.

    Raises UnknownEncoding, BadGzip, BodyTooLarge, TooManyMembers.
    """
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise UnknownEncoding(encoding)
    unpacked = bytearray()
    for _ in range(MAX_MEMBERS):
        member = zlib.decompressobj(GZIP)
        try:
            unpacked += member.decompress(body, limit + 1 - len(unpacked))
        except zlib.error as error:
            raise BadGzip from error
        if len(unpacked) > limit:
            raise BodyTooLarge(limit)
        if not member.eof:
            raise BadGzip
        body = member.unused_data
        if not body:
            return bytes(unpacked)
    raise TooManyMembers


def items_of(body: bytes, name: str, limit: int) -> list[object]:
    """Return the items of a request, not yet validated; an object without `name` is one item."""
    if is_too_dense(body):
        raise MalformedBody("more lists and objects than a request has")
    try:
        sent = from_json(body, allow_inf_nan=False)
    # Also for nesting beyond 200 levels and lone surrogates.
    except ValueError as error:
        raise MalformedBody(str(error)) from error
    items = sent[name] if isinstance(sent, dict) and name in sent else [sent]
    if (
        not isinstance(items, list)
        or not items
        or (len(items) == 1 and not isinstance(items[0], dict))
    ):
        raise WrongShape(name)
    if len(items) > limit:
        raise TooManyItems(len(items), limit)
    return items


def explain(error: ValidationError) -> str:
    """Say where an item is wrong and why, never with its value: it may be personal."""
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    said = [
        f"{'.'.join(map(str, e['loc']))}: {e['msg']}" if e["loc"] else e["msg"]
        for e in problems[:3]
    ]
    return "; ".join(said).replace("Value error, ", "")
