"""A look at a base model tells its size and what its template must be told, without weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from infra.local import base_model
from infra.local.base_model import BaseModelRefused, template_arguments_of
from services.trainer.look import facts_of
from services.trainer.refusals import BaseModelMissing, NoChatTemplate
from tests.models.families import FAMILIES

SMALL = LlamaConfig(
    vocab_size=400,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
)


def folder_of(name: str, folder: Path) -> str:
    """Write a base model of a family without its weights; return where."""
    [family] = [one for one in FAMILIES if one.name == name]
    SMALL.save_pretrained(folder)
    family.tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("family", "told"),
    [
        ("SmolLM2, Yi, other ChatML", {}),
        ("Qwen3", {"enable_thinking": False}),
        ("Llama 3.2", {"date_string": "26 Jul 2024"}),
    ],
)
def test_what_a_template_must_be_told_is_found_out(
    family: str, told: dict[str, object], tmp_path: Path
) -> None:
    found = facts_of(folder_of(family, tmp_path))
    assert (found.template_arguments, found.refused) == (told, None)


@pytest.mark.parametrize(
    ("family", "why"), [("gpt-oss", "the day"), ("Gemma 1, 2", "System role not supported")]
)
def test_what_nothing_cures_is_said(family: str, why: str, tmp_path: Path) -> None:
    assert why in (facts_of(folder_of(family, tmp_path)).refused or "")


def test_the_size_is_that_of_the_model(tmp_path: Path) -> None:
    found = facts_of(folder_of("Qwen2.5", tmp_path))
    assert found.parameters == LlamaForCausalLM(SMALL).num_parameters()
    assert (found.layers, found.context) == (3, 512)
    assert {"q_proj", "down_proj"} < set(found.linear)


def test_a_model_without_a_template_and_no_model_are_refused_in_words(tmp_path: Path) -> None:
    folder = folder_of("Qwen2.5", tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(NoChatTemplate, match="instruct version"):
        facts_of(folder)
    with pytest.raises(BaseModelMissing, match="TRAINER_BASE_MODEL"):
        facts_of(str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"refused": "no chat template"}, "no chat template"),
        ({"facts": {"refused": "the day", "template_arguments": {}}}, "the day"),
        (None, "could not be looked at"),
    ],
)
def test_up_refuses_it_before_anything_starts(
    said: dict[str, object] | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_model, "LOOK", telling(said))
    with pytest.raises(BaseModelRefused, match=why):
        template_arguments_of("a/model")


def test_up_hears_what_new_routes_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"refused": None, "template_arguments": {"enable_thinking": False}}
    monkeypatch.setattr(base_model, "LOOK", telling({"facts": facts}))
    assert template_arguments_of("a/model") == {"enable_thinking": False}


def telling(said: dict[str, object] | None) -> tuple[str, ...]:
    """Return a look that says this, among what libraries print."""
    printed = "" if said is None else f"print({json.dumps(json.dumps(said))})"
    return (sys.executable, "-c", f"print('loading'); {printed}")
