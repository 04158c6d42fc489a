"""The plot of all promises: whole, and the same bytes for the same figures."""

from __future__ import annotations

from pathlib import Path

from tests.simulations.catalogue import PROMISES
from tests.simulations.plot import BROKEN, HELD, draw
from tests.simulations.promise import Measured
from tests.simulations.table import Tried


def test_each_promise_is_drawn_with_its_control(tmp_path: Path) -> None:
    tried = [
        Tried(promise, [Measured("a world", 3, 100)] * 2, [Measured("a world", 40, 100)])
        for promise in PROMISES[:3]
    ]
    draw(tried, tmp_path / "first.svg")
    draw(tried, tmp_path / "second.svg")
    svg = (tmp_path / "first.svg").read_text("utf-8")
    assert svg == (tmp_path / "second.svg").read_text("utf-8")
    assert all(one.promise.name.replace("-", " ") in svg for one in tried)
    assert HELD in svg and BROKEN in svg
