"""The losses of a training, read from its log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Curve = list[dict[str, float]]


@dataclass(frozen=True)
class Losses:
    # The mean over the last epoch.
    training: float
    # Of the epoch that was kept; None without validation rows.
    validation: float | None
    # What was logged, step by step.
    curve: Curve


def read_losses(history: Curve, keep: Literal["best", "last"]) -> Losses:
    """Read the losses of a training from what transformers logged."""
    curve: Curve = [
        {
            name: round(entry[name], 6)
            for name in ("step", "epoch", "loss", "eval_loss")
            if name in entry
        }
        for entry in history
        if "loss" in entry or "eval_loss" in entry
    ]
    training = [entry for entry in curve if "loss" in entry]
    last = [entry["loss"] for entry in training if entry["epoch"] > training[-1]["epoch"] - 1]
    validation = [entry["eval_loss"] for entry in curve if "eval_loss" in entry]
    kept = (min(validation) if keep == "best" else validation[-1]) if validation else None
    return Losses(sum(last) / len(last), kept, curve)
