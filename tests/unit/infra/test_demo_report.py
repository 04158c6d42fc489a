"""The report's plot, also of a story of one act."""

from types import SimpleNamespace

import pytest

from infra.demo.report import accuracy_plot
from infra.demo.traffic import AnsweredMessage


def answered(at: float, late: bool) -> AnsweredMessage:
    return AnsweredMessage("id", at, "phase", None, "answer", True, late, "base", "", None, 0.1)


@pytest.mark.parametrize(("late", "lines"), [(0, 1), (1, 2), (40, 2)])
@pytest.mark.parametrize("early", [1, 9, 60])
def test_a_line_for_each_kind_of_request_there_was(early: int, late: int, lines: int) -> None:
    rows = [answered(float(n), late=n >= early) for n in range(early + late)]
    story = SimpleNamespace(app=SimpleNamespace(answered=rows), record=SimpleNamespace(happened=[]))
    drawn = accuracy_plot(story)
    assert drawn.startswith("<svg")
    assert drawn.count("moving average of") == lines
