"""What an adapter's folder says, and what is refused before it gets a digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from services.trainer.card import model_card
from services.trainer.order import TrainingOrder
from services.trainer.recipe import TrainingRecipe
from services.trainer.training import AdapterUnusable, check_adapter
from tests import factories
from tests.unit.trainer.worlds import result_of, write_adapter


@pytest.fixture
def order(tmp_path: Path) -> TrainingOrder:
    base = tmp_path / "models" / "Some-Model"
    base.mkdir(parents=True)
    return TrainingOrder(
        job_id="j",
        dataset_id="acme--support-triage@3f9c3f9c3f9c",
        dataset_sha256="ab" * 32,
        dataset=tmp_path,
        spec=factories.spec(),
        recipe=TrainingRecipe(name="t", rank=8),
        base_model=str(base),
        checkpoints=tmp_path / "c",
        output=tmp_path / "out",
        tracking_uri="sqlite://",
    )


def test_the_card_is_readable_by_hubs_and_names_no_path_of_this_machine(
    order: TrainingOrder, tmp_path: Path
) -> None:
    card = model_card(order, result_of(order))
    header = yaml.safe_load(card.split("---")[1])
    assert (header["base_model"], header["library_name"], header["datasets"]) == (
        "Some-Model",
        "peft",
        [order.dataset_id],
    )
    assert (
        str(tmp_path) not in card
        and order.recipe.sha256 in card
        and order.spec.system_prompt in card
    )


def test_time_and_tracking_do_not_change_the_digest(order: TrainingOrder) -> None:
    slow = result_of(order).model_copy(update={"tokens_per_second": 1.0, "run_id": "another"})
    assert slow.facts() == result_of(order).facts()


@pytest.mark.parametrize(
    "change",
    [
        {"use_dora": True},
        {"bias": "all"},
        {"r": 16},
        {"modules_to_save": ["lm_head"]},
        {"base_model_name_or_path": "/models/x"},
    ],
)
def test_what_vllm_would_refuse_is_refused_here(order: TrainingOrder, change: dict) -> None:
    write_adapter(order, result_of(order))
    check_adapter(order.output, 8)
    path = order.output / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AdapterUnusable):
        check_adapter(order.output, 8)


def test_cut_off_weights_and_extra_files_are_refused(order: TrainingOrder) -> None:
    write_adapter(order, result_of(order))
    weights = order.output / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(AdapterUnusable, match="not whole"):
        check_adapter(order.output, 8)
    weights.write_bytes(whole)
    (order.output / "run_me.py").write_text("")
    with pytest.raises(AdapterUnusable, match=r"run_me\.py"):
        check_adapter(order.output, 8)
