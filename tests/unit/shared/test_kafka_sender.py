"""What a row's headers become; the rest of the sender is tested on real brokers (tests/integration/test_sender.py)."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from shared.kafka_sender import headers_of


@pytest.mark.parametrize(
    ("said", "sent"), [("plain", b"plain"), ("zwölf", "zwölf".encode()), ("half of a pair: \ud800", b"half of a pair: ?")], ids=["plain", "utf-8", "surrogate"]
)  # fmt: skip
def test_headers_are_bytes_whatever_was_in_them(said: str, sent: bytes) -> None:
    row = SimpleNamespace(id="event-1", headers=json.dumps({"x-error": said, "id": "another"}))
    assert headers_of(row) == [("id", b"event-1"), ("x-error", sent)]
