"""Real training of a tiny, randomly initialised Llama: what moves, what does not, and what a kill
leaves behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from schemas.events import AdapterTrained
from services.trainer.adapters.child import ENVIRONMENT, ChildExecutor
from services.trainer.order import JOB, TrainingOrder, TrainingProgress, TrainingResult
from services.trainer.ports import Progress
from services.trainer.recipe import TrainingRecipe
from services.trainer.training import check_adapter
from shared.errors import JobFailed
from shared.jobs.worker import run_leased
from shared.storage.blobs import BlobStore, file_digest, folder_digest
from tests import factories
from tests.unit.trainer.tiny import build_dataset, build_model
from tests.unit.trainer.worlds import dataset_event, trainer_service

pytest.importorskip(
    "trl", reason="the trainer's extra is not installed: pip install -e '.[trainer]'"
)

RECIPE = TrainingRecipe(
    name="tiny",
    rank=8,
    alpha=16,
    learning_rate=5e-3,
    epochs=2,
    batch_size=8,
    max_length=256,  # what the tiny model attends to
    precision="fp32",
    attention="eager",
    share_prefix=True,
    keep="last",
    threads=1,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_dataset(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """MLflow's tables take seconds to create: one test has them, the others train without."""
    if "tracked" not in request.node.name:
        monkeypatch.setattr("services.trainer.train.Tracking", lambda order: None)


def order(folder: Path, model: Path, dataset: Path, **recipe: Any) -> TrainingOrder:
    return TrainingOrder(
        job_id="job",
        dataset_id="acme--support-triage@3f9c3f9c3f9c",
        dataset_sha256="ab" * 32,
        dataset=dataset,
        spec=factories.spec(),
        recipe=RECIPE.model_copy(update=recipe),
        base_model=str(model),
        checkpoints=folder / "checkpoints",
        output=folder / "adapter",
        tracking_uri=f"sqlite:///{folder}/mlflow.db",
    )


def train(order: TrainingOrder) -> TrainingResult:
    from services.trainer.train import run

    return run(order)


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, model: Path, dataset: Path) -> TrainingOrder:
    """A run nothing interrupted."""
    from unittest.mock import patch

    done = order(tmp_path_factory.mktemp("straight"), model, dataset)
    with patch("services.trainer.train.Tracking", lambda order: None):
        train(done)
    return done


def test_every_lora_weight_moves(straight: TrainingOrder) -> None:
    first, last = sorted(
        straight.checkpoints.rglob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1])
    )
    early = weights(first)
    late = weights(last)
    final = weights(straight.output)
    assert len(final) == 2 * 7 * 2  # A and B of seven linear layers in two blocks
    assert all((early[name] != late[name]).any() and final[name].abs().sum() > 0 for name in final)
    assert all((late[name] == final[name]).all() for name in final)


def test_the_base_model_is_unchanged(model: Path, dataset: Path, tmp_path: Path) -> None:
    from services.trainer import train as stages

    job = order(tmp_path, model, dataset, epochs=1)
    digest = file_digest(model / "model.safetensors")
    tokenizer, base = stages.load(job)
    before = {name: value.clone() for name, value in base.named_parameters()}
    job.checkpoints.mkdir()
    trainer, _ = stages.train(job, base, tokenizer, stages.prepare(job, tokenizer), None)
    after = {
        name.replace(".base_layer", ""): value
        for name, value in trainer.model.get_base_model().named_parameters()
        if "lora_" not in name
    }
    assert before.keys() == after.keys() and all(
        (before[name] == after[name]).all() for name in before
    )
    assert file_digest(model / "model.safetensors") == digest


def test_a_resumed_run_equals_a_straight_one(straight: TrainingOrder, tmp_path: Path) -> None:
    """Killed in its second epoch: one complete checkpoint, and one that was being written."""
    job = straight.model_copy(
        update={"checkpoints": tmp_path / "checkpoints", "output": tmp_path / "adapter"}
    )
    shutil.copytree(straight.checkpoints, job.checkpoints)
    [folder] = [path for path in job.checkpoints.iterdir() if path.is_dir()]
    (folder / "checkpoint-6" / "_COMPLETE").unlink()
    (folder / "checkpoint-6" / "optimizer.pt").write_bytes(b"half")
    train(job)
    resumed = weights(job.output)
    once = weights(straight.output)
    assert all((resumed[name] - once[name]).abs().max() < 1e-6 for name in once)


@pytest.mark.parametrize(("learned", "rounds"), [(1e9, 1), (0.0, 3)])
def test_a_training_goes_on_by_rounds_while_rows_are_not_learned(
    model: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    learned: float,
    rounds: int,
) -> None:
    """What is learned after a round has the steps of a recipe without rounds, also where it is
    resumed at its end.
    """
    monkeypatch.setattr("services.trainer.rounds.LEARNED", learned)
    one = train(order(tmp_path / "one", model, dataset))
    several = order(tmp_path / "several", model, dataset, rounds=3)
    assert train(several).steps == rounds * one.steps
    assert train(several).steps == rounds * one.steps


def test_two_runs_give_the_same_digest(
    straight: TrainingOrder, model: Path, dataset: Path, tmp_path: Path
) -> None:
    again = order(tmp_path, model, dataset)
    train(again)
    assert folder_digest(again.output) == folder_digest(straight.output)


def test_the_manifest_is_written_last_and_the_folder_can_be_served(straight: TrainingOrder) -> None:
    check_adapter(straight.output, RECIPE.rank)
    written = sorted(straight.output.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert written[-1].name == "training.json"


def test_sharing_the_prefix_changes_neither_loss_nor_gradients(
    model: Path, dataset: Path, tmp_path: Path
) -> None:
    import torch

    from services.trainer import train as stages
    from services.trainer.batches import PrefixCollator
    from services.trainer.packing import common_prefix

    job = order(tmp_path, model, dataset)
    tokenizer, base = stages.load(job)
    rows = stages.prepare(job, tokenizer).training
    prefix = common_prefix([row.prompt for row in rows])
    assert prefix > 5
    shared = PrefixCollator(prefix, torch.float32)([row.labelled() for row in rows])
    labels = shared.pop("labels")[0, 1:]
    at = (labels != -100).nonzero().flatten()
    torch.nn.functional.cross_entropy(
        base(**shared, logits_to_keep=at).logits[0], labels[at], reduction="sum"
    ).backward()
    together = {name: value.grad.clone() for name, value in base.named_parameters()}
    base.zero_grad()
    for row in rows:
        one = {name: torch.tensor([value]) for name, value in row.labelled().items()}
        (base(**one).loss * len(row.answer)).backward()
    assert all(
        torch.allclose(together[name], value.grad, atol=2e-4, rtol=1e-3)
        for name, value in base.named_parameters()
    )


SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def adapted(job: TrainingOrder) -> Any:
    """The base model with an adapter that already says something: B begins as zeros, and zeros hide
    mistakes.
    """
    import torch
    from peft import get_peft_model

    from services.trainer import train as stages

    _, base = stages.load(job)
    model = get_peft_model(base, stages.lora_config(job.recipe, base, shortcuts=True))
    generator = torch.Generator().manual_seed(1)
    for name, value in model.named_parameters():
        if "lora_" in name:
            value.data.normal_(std=0.1, generator=generator)
    return model


def gradients(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    from torch.nn.functional import cross_entropy

    labels = batch.pop("labels")[0, 1:]
    cross_entropy(model(**batch).logits[0, :-1], labels).backward()
    return {name: value.grad for name, value in model.named_parameters() if value.requires_grad}


def test_lean_layers_learn_what_those_of_peft_learn(
    model: Path, dataset: Path, tmp_path: Path
) -> None:
    import torch

    from services.trainer import train as stages
    from services.trainer.batches import PrefixCollator
    from services.trainer.lean import LeanLinear

    job = order(tmp_path, model, dataset)
    tokenizer, _ = stages.load(job)
    rows = [row.labelled() for row in stages.prepare(job, tokenizer).training[:8]]
    lean = adapted(job)
    assert sum(isinstance(module, LeanLinear) for module in lean.modules()) == 2 * 7
    # any dropout asks for peft's own layers
    stock = adapted(order(tmp_path, model, dataset, dropout=1e-9))
    assert not any(isinstance(module, LeanLinear) for module in stock.modules())
    ours, theirs = (
        gradients(each, PrefixCollator(3, torch.float32)(rows)) for each in (lean, stock.eval())
    )
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5, rtol=1e-3) for name in theirs)


def test_layers_computed_once_change_neither_loss_nor_gradients(
    model: Path, dataset: Path, tmp_path: Path
) -> None:
    import torch

    from services.trainer import train as stages
    from services.trainer.batches import PrefixCollator, make_collator
    from services.trainer.packing import common_prefix

    job = order(tmp_path, model, dataset, first_layer=1, target_modules=SEVEN)
    tokenizer, _ = stages.load(job)
    rows = stages.prepare(job, tokenizer)
    everything = [*rows.training, *rows.validation]
    batch = [row.labelled() for row in (*rows.training[3:9], *rows.validation[:2])]
    prefix = common_prefix([row.prompt for row in everything])
    every_time = gradients(adapted(job), PrefixCollator(prefix, torch.float32)(batch))
    cut = adapted(job)
    once = gradients(cut, make_collator(job.recipe, cut.get_base_model(), everything)(batch))
    assert len(once) == 7 * 2 and all(".layers.1." in name for name in once)
    assert all(
        torch.allclose(once[name], every_time[name], atol=1e-5, rtol=1e-3) for name in every_time
    )


def test_half_the_layers_train_resume_and_can_be_served(
    model: Path, dataset: Path, tmp_path: Path
) -> None:
    job = order(tmp_path / "once", model, dataset, first_layer=1, target_modules=SEVEN)
    train(job)
    check_adapter(job.output, RECIPE.rank)
    assert len(weights(job.output)) == 7 * 2 and all(
        ".layers.1." in name for name in weights(job.output)
    )
    again = job.model_copy(update={"output": tmp_path / "again"})
    newest = max(
        job.checkpoints.rglob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1])
    )
    (newest / "_COMPLETE").unlink()
    train(again)
    once = weights(job.output)
    resumed = weights(again.output)
    assert all((resumed[name] - once[name]).abs().max() < 1e-6 for name in once)


def test_a_loss_that_is_not_a_number_stops_with_a_reason(dataset: Path, tmp_path: Path) -> None:
    broken = build_model(tmp_path / "broken", weight=float("inf"))
    with pytest.raises(JobFailed, match="NaN or infinite at step 1"):
        train(order(tmp_path, broken, dataset))


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"recipe": {"max_length": 16}}, "longer than max_length=16"),
        ({"recipe": {"first_layer": 2, "target_modules": SEVEN}}, "has only 2"),
        ({"base": "no/such-model"}, "could not be loaded"),
        ({"rows": 0}, "no training rows"),
        ({"recipe": {"target_modules": ("c_attn", "q_proj")}}, "no layers called c_attn"),
    ],
)
def test_bad_input_is_refused_with_a_reason(
    model: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: dict,
    reason: str,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    data = build_dataset(tmp_path / "data", train=case["rows"]) if "rows" in case else dataset
    job = order(tmp_path, model, data, **case.get("recipe", {})).model_copy(
        update={"base_model": case.get("base", str(model))}
    )
    with pytest.raises(JobFailed, match=reason):
        train(job)


def test_a_base_model_without_a_chat_template_is_refused(
    model: Path, dataset: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(model, bare)
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(JobFailed, match="has no chat template"):
        train(order(tmp_path, bare, dataset))


def test_a_long_row_to_validate_on_is_left_out(model: Path, tmp_path: Path) -> None:
    from services.trainer import train as stages

    data = build_dataset(tmp_path / "data")
    long = {"messages": json.dumps([{"role": "user", "content": "late " * 99}]), "answer": "refund"}
    table = parquet.read_table(data / "validation.parquet")
    longer = pa.Table.from_pylist([*table.to_pylist(), long], schema=table.schema)
    parquet.write_table(longer, data / "validation.parquet")
    job = order(tmp_path, model, data, max_length=64)
    tokenizer, _ = stages.load(job)
    assert len(stages.prepare(job, tokenizer).validation) == len(table)


def test_qlora_trains_on_four_bit_weights(dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    wide = build_model(tmp_path / "wide", hidden=64)  # bitsandbytes quantises in blocks of 64
    job = order(
        tmp_path,
        wide,
        dataset,
        quantization="nf4",
        precision="bf16",
        share_prefix=False,
        attention="sdpa",
        epochs=1,
    )
    train(job)
    check_adapter(job.output, RECIPE.rank)
    assert all(value.abs().sum() > 0 for value in weights(job.output).values())


def test_each_process_loads_four_bits_on_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from services.trainer import train as stages

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert stages.four_bits(torch.bfloat16)["device_map"] == {"": 0}
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert stages.four_bits(torch.bfloat16)["device_map"] == {"": 1}


class KillsOnce(ChildExecutor):
    """Kills the child with SIGKILL in the middle of its first attempt, as the kernel would."""

    def __init__(self, recipes: Path) -> None:
        super().__init__(recipes)
        self.killed: list[int] = []

    async def train(self, order: TrainingOrder, progress: Progress) -> TrainingResult:
        say = progress.say

        async def hear(message: TrainingProgress) -> None:
            await say(message)
            if not self.killed and any(order.checkpoints.rglob("_COMPLETE")):
                self.killed = [
                    int(pid)
                    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
                    if is_training(pid)
                ]
                for pid in self.killed:
                    os.kill(pid, signal.SIGKILL)
                    await asyncio.sleep(0)

        progress.say = hear
        return await super().train(order, progress)


def is_training(pid: str) -> bool:
    return b"services.trainer.train" in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.faults
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the child through /proc")
async def test_a_killed_child_is_retried_resumes_and_is_tracked(
    model: Path, tmp_path: Path, keys: dict[str, str]
) -> None:
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "tiny.yaml").write_text(
        RECIPE.model_copy(update={"epochs": 6}).as_yaml().replace("name: tiny\n", "")
    )
    executor = KillsOnce(recipes)
    service = trainer_service(
        tmp_path,
        f"sqlite+aiosqlite:///{tmp_path}/t.db",
        keys["file"],
        executor,
        base_model=str(model),
        recipes_dir=recipes,
    )
    await service.db.create_tables(service.metadata)
    jobs = service.parts.jobs
    training = service.parts.training
    async with service.db.transaction() as tx:
        await training.on_dataset_built(tx, dataset_event(tmp_path, recipe="tiny"))
    for _ in range(2):
        await run_leased(jobs, await jobs.claim(JOB), training.run, training.failed)
    [job] = await jobs.all()
    assert executor.killed and job.state == "finished" and job.attempt == 2
    # the first attempt's steps were not done again
    assert job.result["curve"][0]["step"] == 1 and job.result["epochs"] == 6
    async with service.db.read() as connection:
        [trained] = await service.parts.adapters.page(connection, "acme", None, 10, 0)
    BlobStore(f"file://{tmp_path}/artifacts").get_folder(trained.adapter.blob, tmp_path / "copy")
    assert trained.base_model == "tiny-llama" and trained.run_id
    check_mlflow(tmp_path, trained)
    await service.db.close()


def check_mlflow(folder: Path, trained: AdapterTrained) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/work/mlflow.db")
    run = client.get_run(trained.run_id)
    assert run.data.tags["adapter"] == trained.adapter.blob.sha256 and run.info.status == "FINISHED"
    assert (
        run.data.params["rank"] == "8"
        and len(client.get_metric_history(trained.run_id, "loss")) > 1
    )
    assert len(client.search_runs([run.info.experiment_id])) == 1  # both attempts are one run


def test_the_child_never_waits_for_a_tracking_server_that_is_away() -> None:
    assert (
        ENVIRONMENT["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
        and ENVIRONMENT["OMP_WAIT_POLICY"] == "PASSIVE"
    )
