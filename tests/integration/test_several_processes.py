"""Two processes learn what one learns, save it, and go on after a kill. On processors (gloo)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from services.trainer.adapters import child
from services.trainer.adapters.child import ChildExecutor
from services.trainer.order import TrainingOrder, TrainingProgress, TrainingResult
from services.trainer.recipe import load_recipe
from services.trainer.training import check_adapter
from shared.errors import JobFailed
from shared.jobs import TurnOver
from tests.integration import ranks
from tests.integration.test_training import RECIPE
from tests.integration.test_training import order as order_of
from tests.unit.trainer.tiny import build_dataset, build_model

pytest.importorskip(
    "trl", reason="the trainer's extra is not installed: pip install -e '.[trainer]'"
)

# None is DDP.
KINDS = {"ddp": None, "fsdp": "accelerate/fsdp2.yaml"}
# Of weights and of the loss. Found: 1.4e-6.
TOLERANCE = 1e-5
# It is the mean over batches of their means, and half as large ones have other tokens. Found: 7e-4.
VALIDATION_TOLERANCE = 2e-3
# Half of what one process takes: the rows of a step are the same.
TWO = {"launcher": "accelerate", "processes": 2, "batch_size": RECIPE.batch_size // 2}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model and rows; those to validate on fill their batches, which are filled up otherwise."""
    folder = tmp_path_factory.mktemp("base")
    return build_model(folder / "model", hidden=64), build_dataset(folder / "rows", validation=4)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, base: tuple[Path, Path]) -> TrainingOrder:
    job = order_of(tmp_path_factory.mktemp("alone"), *base)
    ranks.train(job)
    return job


def two(folder: Path, base: tuple[Path, Path], kind: str, **recipe: Any) -> TrainingOrder:
    return order_of(folder, *base, **TWO | {"accelerate_config": KINDS[kind]} | recipe)


def result_of(job: TrainingOrder) -> TrainingResult:
    return TrainingResult.model_validate_json(job.result_file.read_text())


def difference(one: TrainingOrder, other: TrainingOrder) -> float:
    """Return by how much the weights of two adapters differ at most."""
    mine, theirs = (load_file(job.output / "adapter_model.safetensors") for job in (one, other))
    assert mine.keys() == theirs.keys()
    return max(float(abs(mine[name] - theirs[name]).max()) for name in mine)


def check_equal(job: TrainingOrder, alone: TrainingOrder, resumed: bool = False) -> None:
    check_adapter(job.output, RECIPE.rank)
    assert difference(job, alone) < TOLERANCE
    mine, theirs = result_of(job), result_of(alone)
    assert mine.steps == theirs.steps
    # What is logged after a checkpoint is the mean over the steps since it.
    assert resumed or abs(mine.train_loss - theirs.train_loss) < TOLERANCE
    assert abs(mine.validation_loss - theirs.validation_loss) < VALIDATION_TOLERANCE


@pytest.mark.parametrize(
    ("kind", "shares"),
    [
        ("ddp", True),
        ("fsdp", False),
        pytest.param("ddp", False, marks=pytest.mark.faults),
        pytest.param("fsdp", True, marks=pytest.mark.faults),
    ],
)
def test_two_processes_learn_what_one_learns_and_resume(
    kind: str, shares: bool, base: tuple[Path, Path], alone: TrainingOrder, tmp_path: Path
) -> None:
    job = two(tmp_path / "once", base, kind, share_prefix=shares, keep="best")
    ranks.train(job, late=1)
    check_equal(job, alone)
    newest = max(job.checkpoints.rglob("checkpoint-*"), key=lambda path: path.stat().st_mtime_ns)
    marked = (newest / "_COMPLETE").stat().st_mtime_ns
    assert all(path.stat().st_mtime_ns <= marked for path in newest.rglob("*") if path.is_file())
    # Killed while it wrote the last checkpoint.
    (newest / "_COMPLETE").unlink()
    shutil.rmtree(job.output)
    said = ranks.train(job)
    assert '"step": 1,' not in said
    assert '"step": 6,' in said
    check_equal(job, alone, resumed=True)


def test_other_batches_would_be_noticed(
    base: tuple[Path, Path], alone: TrainingOrder, tmp_path: Path
) -> None:
    job = two(tmp_path, base, "ddp", batch_size=RECIPE.batch_size, epochs=3)
    ranks.train(job)
    assert result_of(job).steps == result_of(alone).steps
    assert difference(job, alone) > 100 * TOLERANCE


@pytest.mark.faults
@pytest.mark.parametrize("kind", KINDS)
def test_the_shipped_recipe_for_two_gpus_trains(
    kind: str, base: tuple[Path, Path], tmp_path: Path
) -> None:
    shipped = load_recipe(ranks.RECIPES, "lora-32b")
    assert shipped.processes == 2
    assert shipped.accelerate_config == KINDS["fsdp"]
    smaller = {"rank": RECIPE.rank, "batch_size": 2, "accelerate_config": KINDS[kind]}
    job = order_of(tmp_path, *base).model_copy(
        update={"recipe": shipped.model_copy(update=smaller)}
    )
    ranks.train(job)
    check_adapter(job.output, RECIPE.rank)
    learned = load_file(job.output / "adapter_model.safetensors")
    assert all(abs(value).sum() > 0 for value in learned.values())


class Listener:
    """Has the training stopped at its first checkpoint."""

    async def say(self, progress: TrainingProgress) -> None: ...

    async def saved(self, step: int) -> None:
        raise TurnOver


@pytest.mark.faults
async def test_a_launcher_that_is_killed_takes_its_processes_along(
    base: tuple[Path, Path], alone: TrainingOrder, tmp_path: Path
) -> None:
    job = two(tmp_path, base, "ddp")
    with pytest.raises(TurnOver):
        await ChildExecutor(ranks.RECIPES).train(job, Listener())
    await check_gone(job)
    said = ranks.train(job)
    assert '"step": 1,' not in said
    check_equal(job, alone, resumed=True)


async def test_what_one_process_refuses_ends_all_of_them_in_its_words(
    base: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "MODULE", "tests.integration.refusing")
    job = two(tmp_path, base, "ddp")
    with pytest.raises(JobFailed, match=r"^no room on the second GPU$"):
        await ChildExecutor(ranks.RECIPES).train(job, Listener())
    await check_gone(job)


async def check_gone(job: TrainingOrder) -> None:
    """Fail unless the processes of this order have ended, or end within seconds."""
    for _ in range(50):
        if not processes_of(job):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(processes_of(job))


def processes_of(job: TrainingOrder) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().replace("\0", " ")
        # It ended meanwhile.
        except OSError:
            continue
        if str(job.output) in words:
            found.append(words)
    return found
