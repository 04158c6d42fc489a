"""How an attempt goes on from where an earlier one stopped, without sharing a folder with it.

A worker that was taken for dead may still be writing: its successor copies its complete checkpoints
and writes elsewhere. An attempt that ended by itself hands its checkpoints over, and they are
moved: a full disk must not be asked for copies.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

CHECKPOINTS = "checkpoints"
HANDED_OVER = "handed-over"
COMPLETE = "_COMPLETE"  # as `train.py` marks them
STATE = "trainer_state.json"
RUN = "mlflow-run"  # its id, as `tracking.py` keeps it: all attempts are one run


def hand_over(attempt: Path) -> None:
    """Nobody writes here any more."""
    if (attempt / CHECKPOINTS).exists():
        (attempt / CHECKPOINTS).rename(attempt / HANDED_OVER)


def inherit(folder: Path, attempt: Path) -> None:
    """Take over the checkpoints of the earlier attempt in `folder` that came furthest, and the run
    that mirrors them all.
    """
    for run in list(folder.glob(f"attempt-*/*/{RUN}"))[:1]:
        (attempt / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run, attempt / CHECKPOINTS / RUN)
    earlier = [
        path for path in folder.glob("attempt-*/*/*/checkpoint-*") if (path / COMPLETE).exists()
    ]
    if not earlier:
        return
    furthest = max(earlier, key=step_of).parent
    for checkpoint in sorted((path for path in earlier if path.parent == furthest), key=step_of):
        take(checkpoint, attempt / CHECKPOINTS / furthest.name / checkpoint.name)


def take(checkpoint: Path, target: Path) -> None:
    """Under another name first: killed in between, a half copy would look complete. One that
    vanishes meanwhile is left out.
    """
    partial = target.with_name(f".{target.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        if checkpoint.parts[-3] == HANDED_OVER:
            checkpoint.rename(partial)
        else:
            shutil.copytree(checkpoint, partial)
        name_best_checkpoint(partial / STATE, target.parent)
        partial.rename(target)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        if (checkpoint / COMPLETE).exists():
            raise


def name_best_checkpoint(state: Path, folder: Path) -> None:
    """The best one is known by its path: the one taken over is meant, since the original may go at
    any time.
    """
    if state.exists() and (known := json.loads(state.read_text())).get("best_model_checkpoint"):
        known["best_model_checkpoint"] = str(folder / Path(known["best_model_checkpoint"]).name)
        state.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.partition("-")[2])
