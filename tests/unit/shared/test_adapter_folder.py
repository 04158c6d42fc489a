"""An adapter's folder is data and nothing else, whole, and a plain LoRA."""

from __future__ import annotations

import json
from pathlib import Path
from struct import pack

import pytest

from shared.rules import AdapterFolderRefused, examine_adapter, examine_new_adapter
from shared.rules.adapter_folder import ADAPTER_FILES
from shared.storage import COMPLETE

RANK = 8
CONFIG = {
    "peft_type": "LORA",
    "r": RANK,
    "bias": "none",
    "base_model_name_or_path": "org/model",
    # As peft writes what is not used.
    "use_dora": False,
    "modules_to_save": None,
    "layer_replication": None,
}
TENSORS = {
    f"layer.lora_{half}.weight": {"dtype": "F32", "shape": [RANK, 2], "data_offsets": [at, at + 64]}
    for half, at in (("A", 0), ("B", 64))
}


def write_weights(folder: Path, tensors: dict, size: int = 128) -> None:
    header = json.dumps(tensors | {"__metadata__": {"format": "pt"}}).encode()
    (folder / "adapter_model.safetensors").write_bytes(
        pack("<Q", len(header)) + header + bytes(size)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ADAPTER_FILES:
        (tmp_path / name).write_text("")
    (tmp_path / "adapter_config.json").write_text(json.dumps(CONFIG))
    write_weights(tmp_path, TENSORS)
    return tmp_path


def test_a_plain_adapter_passes_with_and_without_the_record_of_its_training(folder: Path) -> None:
    (folder / COMPLETE).touch()  # as a folder of the artifact store has it
    examine_new_adapter(folder, RANK)
    for name in ADAPTER_FILES - {"adapter_model.safetensors", "adapter_config.json"}:
        (folder / name).unlink()
    examine_adapter(folder)
    with pytest.raises(AdapterFolderRefused, match=r"lacks README\.md"):
        examine_new_adapter(folder, RANK)


@pytest.mark.parametrize(
    "name", ["run_me.py", "chat_template.jinja", "training_args.bin", "x.json"]
)
def test_any_other_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text("")
    with pytest.raises(AdapterFolderRefused, match=name):
        examine_adapter(folder)


def test_links_and_folders_are_refused(folder: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "README.md"
    elsewhere.write_text("")
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(elsewhere)
    with pytest.raises(AdapterFolderRefused, match=r"README\.md"):
        examine_adapter(folder)
    (folder / "README.md").unlink()
    (folder / "README.md").mkdir()
    with pytest.raises(AdapterFolderRefused, match=r"README\.md"):
        examine_adapter(folder)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_weights_and_configuration_are_needed(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(AdapterFolderRefused, match=f"lacks {name}"):
        examine_adapter(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"lora_bias": True}, "lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
        ({"auto_map": {"x": "y"}}, "auto_map"),
        ({"bias": "all"}, "bias=all"),
        ({"peft_type": "LOHA"}, "LOHA"),
    ],
)
def test_what_is_no_plain_lora_is_refused(folder: Path, change: dict, says: str) -> None:
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | change))
    with pytest.raises(AdapterFolderRefused, match=says):
        examine_adapter(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_a_configuration_that_is_no_object_is_refused(folder: Path, text: str) -> None:
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(AdapterFolderRefused, match="not a JSON object"):
        examine_adapter(folder)


@pytest.mark.parametrize(
    ("tensors", "size", "says"),
    [
        (TENSORS, 127, "not whole"),
        (TENSORS, 129, "not whole"),
        ({}, 0, "other tensors"),
        (TENSORS | {"lm_head.weight": TENSORS["layer.lora_A.weight"]}, 128, "other tensors"),
        ({"layer.lora_A.weight": {"shape": [RANK, 2]}}, 128, "no readable header"),
        ({"layer.lora_A.weight": {"data_offsets": [0, 64]}}, 64, "no readable header"),
    ],
)
def test_weights_are_whole_and_nothing_but_lora(
    folder: Path, tensors: dict, size: int, says: str
) -> None:
    write_weights(folder, tensors, size)
    with pytest.raises(AdapterFolderRefused, match=says):
        examine_adapter(folder)


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, pack("<Q", 2) + b"[]"])
def test_weights_without_a_header_are_refused(folder: Path, content: bytes) -> None:
    (folder / "adapter_model.safetensors").write_bytes(content)
    with pytest.raises(AdapterFolderRefused, match="no readable header"):
        examine_adapter(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"r": 16}, "rank 16 instead of 8"),
        ({"base_model_name_or_path": "/models/x"}, "path of this machine"),
        ({"base_model_name_or_path": None}, "names no base model"),
    ],
)
def test_what_is_published_has_the_rank_that_was_asked_for_and_names_its_base_model(
    folder: Path, change: dict, says: str
) -> None:
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | change))
    examine_adapter(folder)
    with pytest.raises(AdapterFolderRefused, match=says):
        examine_new_adapter(folder, RANK)


def test_tensors_of_another_rank_are_refused_where_the_rank_is_known(folder: Path) -> None:
    entry = TENSORS["layer.lora_A.weight"] | {"shape": [4, 4]}
    write_weights(folder, TENSORS | {"layer.lora_A.weight": entry})
    examine_adapter(folder)
    with pytest.raises(AdapterFolderRefused, match="do not have rank 8"):
        examine_new_adapter(folder, RANK)
