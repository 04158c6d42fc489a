"""When a training goes on for another round of its epochs, and when it is over."""

from types import SimpleNamespace

import pytest

from services.trainer.recipe import TrainingRecipe

pytest.importorskip(
    "transformers", reason="the trainer's extra is not installed: pip install -e '.[trainer]'"
)

from services.trainer.callback import RunCallback
from services.trainer.rounds import LEARNED, Rounds

RECIPE = TrainingRecipe(name="tiny", epochs=3, rounds=3)


def history(*losses: float) -> list[dict[str, float]]:
    """Two logged steps for each epoch."""
    return [
        {"step": 2 * epoch + part, "epoch": epoch + part / 2, "loss": loss}
        for epoch, loss in enumerate(losses)
        for part in (1, 2)
    ]


@pytest.mark.parametrize(
    ("tokens", "epoch", "losses", "over"),
    [
        # the demo's first version: short labels, learned in one round
        (2.5, 3, (5.0, 0.4, 0.12), True),
        # Chinese labels of ten tokens: the same loss a token is a guess between five labels
        (9.6, 3, (3.0, 0.2, 0.12), False),
        (9.6, 6, (3.0, 0.2, 0.12, 0.12, 0.08, 0.03), True),
        # two labels, told by a coin
        (3.0, 3, (3.0, 0.3, 0.23), False),
        # in the middle of a round nothing ends, however well it goes
        (2.5, 1, (0.001,), False),
        (2.5, 2, (5.0, 0.001), False),
        (2.5, 4, (5.0, 0.4, 0.3, 0.001), False),
    ],
)
def test_a_round_is_the_last_when_rows_are_learned(
    tokens: float, epoch: int, losses: tuple[float, ...], over: bool
) -> None:
    assert Rounds(RECIPE, tokens).is_over(epoch, history(*losses)) is over


def test_it_is_the_loss_of_a_row_that_counts() -> None:
    """The control: by the token the plateau of long labels passes for learned."""
    assert not Rounds(RECIPE, 9.6).is_over(3, history(3.0, 0.2, 0.12))
    assert Rounds(RECIPE, 1.0).is_over(3, history(3.0, 0.2, 0.12))
    assert 0.12 < LEARNED < 0.12 * 9.6


def test_progress_is_told_against_the_end_of_the_present_round() -> None:
    callback = RunCallback(100, 3, None)
    ends = [
        callback.planned(SimpleNamespace(global_step=step, max_steps=225))
        for step in (0, 1, 75, 76, 150, 151, 225)
    ]
    assert ends == [75, 75, 75, 150, 150, 225, 225]


def test_rounds_of_another_schedule_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds are for schedule: cosine"):
        TrainingRecipe(name="x", rounds=2, schedule="linear")
