"""Four megabytes of the worst JSON, with a key, hold a service up for a moment and not for seconds.

Before: 7.5 to 10 s for lists of wrong members, each of which cost an error. The bound here is for a
machine that does much else; alone it takes 0.3 s at most
(docs/decisions/0022-limits-at-the-door.md).
"""

from __future__ import annotations

import gzip
import time

import pytest

from services.capture.parsing import items_of, parse, unpack
from services.capture.shapes import SentInference
from services.router.chat import ChatLimits, question_of, read
from services.router.openai_errors import BadRequest
from shared.errors import RatchetError

SIZE = 4 * 1024 * 1024
# Takes 1.3 to 1.9 of CPU on two busy cores, and would take minutes.
BOUND_SECONDS = 4.0


def filled(unit: bytes, size: int = SIZE) -> bytes:
    return (unit * (size // len(unit))).rstrip(b",")


def names(rest: bytes) -> bytes:
    return b",".join(b'"%x":%b' % (number, rest) for number in range(SIZE // 10))


HOSTILE = {
    "numbers for messages": b'{"model":"a/b","messages":[' + filled(b"0,") + b"]}",
    "lists for messages": b'{"model":"a/b","messages":[' + filled(b"[],") + b"]}",
    "objects for messages": b'{"model":"a/b","messages":[' + filled(b"{},") + b"]}",
    "unknown fields": b"{" + names(b"0") + b"}",
    "metadata": b'{"metadata":{' + names(b"0") + b"}}",
    "parts": b'{"model":"a/b","messages":[{"role":"user","content":[' + filled(b"0,") + b"]}]}",
    "items": b'{"inferences":[' + filled(b"0,") + b"]}",
    "a thousand such items": b'{"inferences":['
    + b",".join([b'{"messages":[' + filled(b"0,", 4000) + b"]}"] * 1000)
    + b"]}",
    "a long number": b'{"messages":' + b"9" * SIZE + b"}",
    "deep": filled(b"["),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_reading_it_takes_a_moment(body: bytes) -> None:
    started = time.process_time()
    try:
        parsed = parse(body, SentInference, "inferences", 1000)
        assert not parsed.items
    except RatchetError:
        pass
    with pytest.raises(BadRequest):
        question_of(read(body), None, ChatLimits(200, 400_000))
    assert time.process_time() - started < BOUND_SECONDS


def test_a_little_gzip_is_no_way_around_it() -> None:
    packed = gzip.compress(b'{"inferences":[' + filled(b"[],", 16 * 1024 * 1024 - 100) + b"]}")
    assert len(packed) < 20_000
    started = time.process_time()
    with pytest.raises(RatchetError):
        items_of(unpack(packed, "gzip", 16 * 1024 * 1024), "inferences", 1000)
    assert time.process_time() - started < BOUND_SECONDS


def test_brackets_in_texts_do_not_count() -> None:
    code = b'{"route":"r","input":"' + filled(b"a[{", 3 * 1024 * 1024) + b'","answer":"a"}'
    assert len(parse(code, SentInference, "inferences", 1000).items) == 1
