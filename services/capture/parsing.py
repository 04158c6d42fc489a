"""From the bytes of a request to valid items and rejected ones; one bad item harms no other."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import cache
from typing import Generic

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from services.capture.mending import LeftOut, Unusable, look
from services.capture.shapes import Shape, is_swollen
from services.capture.splitting import Inseparable, Unreadable, read_item, split
from shared.errors import Invalid, RatchetError
from shared.http import is_too_dense

# zlib's window bits for a gzip member
GZIP = 31
# Each member costs a copy of the rest of the body: 200,000 empty ones fit into 4 MiB and would
# take a minute.
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
    """An item that was not taken; `is_conflict`: its id was taken before, for other content."""

    index: int
    error: str
    is_conflict: bool = False


@dataclass(frozen=True)
class Parsed(Generic[Shape]):
    """The valid items of a request by their index in it, what was left out of them, and the
    rejected ones.
    """

    items: dict[int, Shape] = field(default_factory=dict)
    rejected: list[Rejection] = field(default_factory=list)
    left_out: dict[int, tuple[LeftOut, ...]] = field(default_factory=dict)


def parse(body: bytes, shape: type[Shape], name: str, max_items: int) -> Parsed[Shape]:
    """Read one object or the list `name` of them, each of `shape`.

    Raises MalformedBody, WrongShape, TooManyItems: the body as a whole is unusable then.
    """
    try:
        sent = items_of(body, name, max_items)
    except MalformedBody as error:
        return apart(body, shape, name, max_items, error)
    if any(map(is_swollen, sent)):
        return one_by_one(sent, shape)
    try:
        return Parsed(dict(enumerate(together(shape).validate_python(sent))))
    except ValidationError:
        return one_by_one(sent, shape)


def apart(
    body: bytes, shape: type[Shape], name: str, max_items: int, refused: MalformedBody
) -> Parsed[Shape]:
    """Read a body that is no JSON item by item; raise `refused` where it has none."""
    try:
        pieces = split(body, name)
    except Inseparable:
        raise refused from None
    if len(pieces) > max_items:
        raise TooManyItems(len(pieces), max_items)
    if not pieces:
        raise WrongShape(name)
    unreadable = []
    sent: dict[int, object] = {}
    for index, piece in enumerate(pieces):
        try:
            sent[index] = read_item(piece)
        except Unreadable as error:
            unreadable.append(Rejection(index, str(error)))
    if not sent:
        raise refused
    parsed: Parsed[Shape] = Parsed(rejected=unreadable)
    for index, item in sent.items():
        take(parsed, index, item, shape)
    return parsed


@cache
def together(shape: type[Shape]) -> TypeAdapter[list[Shape]]:
    """Validate a whole batch in one call: a third cheaper than a call for each item."""
    # A type that is only known at run time.
    return TypeAdapter(list[shape])  # type: ignore[valid-type]


def one_by_one(sent: list[object], shape: type[Shape]) -> Parsed[Shape]:
    parsed: Parsed[Shape] = Parsed()
    for index, item in enumerate(sent):
        take(parsed, index, item, shape)
    return parsed


def take(parsed: Parsed[Shape], index: int, item: object, shape: type[Shape]) -> None:
    """Enter an item: as it is, or mended, or as rejected."""
    try:
        parsed.items[index], left_out = look(item, shape)
    except Unusable as error:
        parsed.rejected.append(Rejection(index, str(error)))
    else:
        if left_out:
            parsed.left_out[index] = left_out


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
