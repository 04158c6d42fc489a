"""How an attempt goes on from where an earlier one stopped, without sharing a folder with it.

A worker that was taken for dead may still be writing, so that its successor copies the complete
checkpoints and writes elsewhere. Those of an attempt that ended by itself are moved instead,
because a full disk has no room for copies.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

CHECKPOINTS = "checkpoints"
HANDED_OVER = "handed-over"
# A file that is written last into a checkpoint.
COMPLETE = "_COMPLETE"
STATE = "trainer_state.json"
# A file with the id of the MLflow run, which all attempts share.
RUN = "mlflow-run"


def hand_over(attempt: Path) -> None:
    """Say that nobody writes here any more: the next attempt may move the checkpoints."""
    if (attempt / CHECKPOINTS).exists():
        (attempt / CHECKPOINTS).rename(attempt / HANDED_OVER)


def inherit(folder: Path, attempt: Path) -> None:
    """Take over the checkpoints of the earlier attempt in `folder` that came furthest.

    The MLflow run of the attempts before is taken over too.
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
    """Move or copy one checkpoint. One that vanishes meanwhile is left out.

    It gets its name last: if we are killed in between, a half copy must not look complete.
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
    """Let the state of the trainer name the best checkpoint in `folder`.

    It names it by its path, and the original may go at any time.
    """
    if state.exists() and (known := json.loads(state.read_text())).get("best_model_checkpoint"):
        known["best_model_checkpoint"] = str(folder / Path(known["best_model_checkpoint"]).name)
        state.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


def last_complete(folder: Path) -> str | None:
    """Return the path of the newest complete checkpoint."""
    complete = [path for path in folder.glob("checkpoint-*") if (path / COMPLETE).exists()]
    return str(max(complete, key=step_of)) if complete else None


def remove_half_written(folder: Path) -> None:
    """Remove the checkpoints that were being written when the attempt was killed."""
    for path in folder.glob("checkpoint-*"):
        if not (path / COMPLETE).exists():
            shutil.rmtree(path)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.partition("-")[2])
