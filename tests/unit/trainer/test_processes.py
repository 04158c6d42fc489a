"""How the processes of a training start, and what is refused before the base model is loaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.trainer.processes import ProcessesUnusable, check_processes, launcher, visible_gpus
from services.trainer.recipe import RecipeUnusable, TrainingRecipe

SHIPPED = Path(__file__).parents[3] / "services" / "trainer" / "recipes"
FSDP2 = {"distributed_type": "FSDP", "fsdp_config": {"fsdp_version": 2}}


def recipe(**changes: Any) -> TrainingRecipe:
    return TrainingRecipe(name="x", **{"launcher": "accelerate", "processes": 2} | changes)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "ACCELERATE_USE_FSDP", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def test_one_process_is_python() -> None:
    assert launcher(TrainingRecipe(name="x"), SHIPPED) == [sys.executable]


def test_several_processes_are_started_also_where_there_is_no_gpu() -> None:
    """accelerate says --multi_gpu to itself only where it finds some, and starts one otherwise."""
    words = launcher(recipe(processes=4), SHIPPED)
    assert words[1:6] == [
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "4",
    ]
    assert "--multi_gpu" not in launcher(recipe(processes=1), SHIPPED)


def test_an_accelerate_config_is_a_file_beside_the_recipe(tmp_path: Path) -> None:
    words = launcher(recipe(accelerate_config="accelerate/fsdp2.yaml"), SHIPPED)
    assert words[3:5] == ["--config_file", str(SHIPPED / "accelerate" / "fsdp2.yaml")]
    elsewhere = tmp_path / "own.yaml"
    elsewhere.write_text(yaml.safe_dump(FSDP2))
    words = launcher(recipe(accelerate_config=str(elsewhere)), SHIPPED)
    assert words[4] == str(elsewhere)


@pytest.mark.parametrize(
    ("changes", "config", "reason"),
    [
        ({"launcher": "python"}, None, "are for launcher: accelerate"),
        ({"launcher": "python", "processes": 1}, FSDP2, "are for launcher: accelerate"),
        ({}, "{", "cannot be read"),
        ({}, "DEEPSPEED", "says distributed_type: None"),
        ({}, {"distributed_type": "DEEPSPEED"}, "says distributed_type: DEEPSPEED"),
        # accelerate would start one process.
        ({}, {"distributed_type": "MULTI_CPU"}, "says distributed_type: MULTI_CPU"),
        ({"processes": 1}, {"distributed_type": "MULTI_GPU"}, "says distributed_type: MULTI_GPU"),
        ({}, FSDP2 | {"fsdp_config": {}}, "says fsdp_version: 1"),
        ({"quantization": "nf4"}, FSDP2, "does not share out nf4 weights"),
    ],
)
def test_what_cannot_work_is_refused_before_it_starts(
    tmp_path: Path, changes: dict[str, Any], config: dict[str, Any] | str | None, reason: str
) -> None:
    if config is not None:
        text = config if isinstance(config, str) else yaml.safe_dump(config)
        (tmp_path / "own.yaml").write_text(text)
        changes = changes | {"accelerate_config": "own.yaml"}
    with pytest.raises(RecipeUnusable, match=f"^recipe 'x': .*{reason}"):
        launcher(recipe(**changes), tmp_path)


def test_a_missing_accelerate_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeUnusable, match=r"nowhere\.yaml cannot be read"):
        launcher(recipe(accelerate_config="nowhere.yaml"), tmp_path)


@pytest.mark.parametrize(
    ("environment", "gpus", "reason"),
    [
        # By hand, or by a launcher that thought better of it.
        ({}, 2, "asks for 2 processes and 1 were started"),
        ({"WORLD_SIZE": "4"}, 4, "asks for 2 processes and 4 were started"),
        ({"WORLD_SIZE": "2"}, 1, "this machine has 1: lower"),
        ({"WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true"}, 0, "this machine has no GPU"),
        ({"WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true"}, 2, None),
        ({"WORLD_SIZE": "2"}, 0, None),
        ({"WORLD_SIZE": "2"}, 8, None),
    ],
)
def test_the_processes_fit_the_recipe_and_the_machine(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], gpus: int, reason: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if reason is None:
        check_processes(recipe(), gpus)
        return
    with pytest.raises(ProcessesUnusable, match=reason):
        check_processes(recipe(), gpus)


@pytest.mark.parametrize(
    ("there", "seen"), [(None, "0"), ("", ""), ("3,5", "3"), ("MIG-1,MIG-2", "MIG-1")]
)
def test_one_process_sees_one_gpu(
    monkeypatch: pytest.MonkeyPatch, there: str | None, seen: str
) -> None:
    if there is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", there)
    assert visible_gpus(TrainingRecipe(name="x")) == {"CUDA_VISIBLE_DEVICES": seen}
    assert visible_gpus(recipe()) == {}
