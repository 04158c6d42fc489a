"""From the bytes of a request to valid items and rejected ones. Pure; one bad item harms no
other.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import cache
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from services.capture.shapes import Sent
from shared.errors import Invalid, RatchetError

Item = TypeVar("Item", bound=Sent)
GZIP = 31  # zlib's window bits for a gzip member
# each costs a copy of the rest of the body: 200,000 empty ones fit into 4 MiB and would take a
# minute
MAX_MEMBERS = 500


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
class Parsed(Generic[Item]):
    """`items` by their index in the request."""

    items: dict[int, Item] = field(default_factory=dict)
    rejected: list[Rejection] = field(default_factory=list)


def parse(
    body: bytes, encoding: str, model: type[Item], name: str, max_items: int, max_bytes: int
) -> Parsed[Item]:
    sent = items_of(unpack(body, encoding, max_bytes), name, max_items)
    try:
        return Parsed(dict(enumerate(together(model).validate_python(sent))))
    except ValidationError:
        return one_by_one(sent, model)


@cache
def together(model: type[Item]) -> TypeAdapter[list[Item]]:
    """One call for the whole batch: a third cheaper than a call for each item."""
    return TypeAdapter(list[model])  # type: ignore[valid-type]


def one_by_one(sent: list[object], model: type[Item]) -> Parsed[Item]:
    parsed: Parsed[Item] = Parsed()
    for index, item in enumerate(sent):
        try:
            parsed.items[index] = model.model_validate(item)
        except ValidationError as error:
            parsed.rejected.append(Rejection(index, explain(error)))
    return parsed


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """The body itself, or what its gzip members hold; stops at `limit`, so that a bomb costs no
    more than that.
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
    try:
        sent = from_json(body, allow_inf_nan=False)
    except ValueError as error:  # also for nesting beyond 200 levels and lone surrogates
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
    """Where and why, never the value: it may be personal."""
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    said = [
        f"{'.'.join(map(str, e['loc']))}: {e['msg']}" if e["loc"] else e["msg"]
        for e in problems[:3]
    ]
    return "; ".join(said).replace("Value error, ", "")
