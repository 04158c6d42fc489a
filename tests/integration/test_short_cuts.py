"""The short cuts of a training on model families for which they were not written: where they
compute something else they are not taken, and it is said.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from services.trainer.order import TrainingOrder
from services.trainer.proof import without_short_cuts_because
from tests.integration.test_training import dataset, model, order, train, untracked, weights

__all__ = ["dataset", "model", "untracked"]

SIZE = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# Of each: its own numbers, and on what layer first adapted the short cuts are wrong.
FAMILIES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "Llama": ({}, ()),
    "Qwen2": ({}, ()),
    "Qwen3": ({"head_dim": 8}, ()),
    "Gemma": ({"head_dim": 8}, ()),
    # What comes in place of embeddings is multiplied as if it were one.
    "Granite": ({"embedding_multiplier": 12.0, "logits_scaling": 2.0}, (1,)),
    # Rows laid out one behind the other leave the window.
    "Mistral": ({"sliding_window": 4}, (0, 1)),
}


def family(name: str, other: Path, folder: Path) -> Path:
    """Make a small model of a family, drawn at random, with the tokenizer of another."""
    made = folder / name
    shutil.copytree(other, made, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    own, _ = FAMILIES[name]
    config = getattr(transformers, f"{name}Config")(**SIZE | own)
    torch.manual_seed(0)
    getattr(transformers, f"{name}ForCausalLM")(config).save_pretrained(made)
    return made


def against(job: TrainingOrder) -> str | None:
    from services.trainer import train as stages

    tokenizer, base = stages.load(job)
    before = {name: value.clone() for name, value in base.named_parameters()}
    found = without_short_cuts_because(job.recipe, base, stages.prepare(job, tokenizer).training)
    after = dict(base.named_parameters())
    assert before.keys() == after.keys(), "the model is left as it was"
    assert all((before[name] == after[name]).all() for name in before)
    return found


@pytest.mark.parametrize("first_layer", [0, 1])
@pytest.mark.parametrize("name", FAMILIES)
def test_short_cuts_are_taken_where_they_are_right(
    name: str, first_layer: int, model: Path, dataset: Path, tmp_path: Path
) -> None:
    job = order(
        tmp_path,
        family(name, model, tmp_path),
        dataset,
        first_layer=first_layer,
        target_modules=SEVEN,
    )
    why = against(job)
    assert (why is not None) == (first_layer in FAMILIES[name][1]), why


def test_without_short_cuts_it_is_trained_as_peft_would(
    model: Path, dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = family("Mistral", model, tmp_path)
    with_them = order(tmp_path / "with", base, dataset, epochs=1)
    train(with_them)
    said = "trained without short cuts on this base model: they give other gradients"
    assert said in capfd.readouterr().out
    without = order(tmp_path / "without", base, dataset, epochs=1, share_prefix=False)
    train(without)
    assert said not in capfd.readouterr().out
    mine, theirs = weights(with_them.output), weights(without.output)
    assert all((mine[name] - theirs[name]).abs().max() < 1e-4 for name in mine)
