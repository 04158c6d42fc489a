"""What an adapter's folder may hold before vLLM is pointed at it: data, never code."""

from __future__ import annotations

import json
from pathlib import Path

from schemas.base import JsonObject
from shared.errors import RatchetError
from shared.storage import COMPLETE

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
NEEDED = {WEIGHTS, CONFIG}
# What the trainer publishes, and nothing else.
ADAPTER_FILES = NEEDED | {"README.md", "recipe.yaml", "training.json"}
# Bytes; the header of 1,000 adapted layers takes about 0.2 MB.
MAX_HEADER = 16 * 1024 * 1024
# vLLM 0.32 refuses these when it loads an adapter (vllm/lora/peft_helper.py,
# PEFTHelper.validate_legal); `auto_map` names code that transformers would run.
UNSERVABLE = (
    "use_dora",
    "modules_to_save",
    "layer_replication",
    "lora_bias",
    "alora_invocation_tokens",
    "auto_map",
)


class AdapterFolderRefused(RatchetError):
    """The folder is no plain LoRA adapter; the message says what is wrong with it."""


def examine_adapter(folder: Path) -> None:
    """Raise AdapterFolderRefused unless the folder is a plain LoRA adapter, whole, and no code."""
    _examine_files(folder)
    _examine_config(_config(folder))
    _examine_tensors(_tensors(folder / WEIGHTS))


def examine_new_adapter(folder: Path, rank: int) -> None:
    """Examine an adapter before it is published under its digest, which is for good.

    It must also have every file of the record of its training and the rank that was asked for,
    and name its base model as the world does. Raises AdapterFolderRefused.
    """
    examine_adapter(folder)
    if missing := sorted(ADAPTER_FILES - {path.name for path in folder.iterdir()}):
        raise AdapterFolderRefused(f"its folder lacks {', '.join(missing)}")
    config = _config(folder)
    if config.get("r") != rank:
        raise AdapterFolderRefused(f"it has rank {config.get('r')} instead of {rank}")
    tensors = _tensors(folder / WEIGHTS)
    if wrong := [name for name, entry in tensors.items() if rank not in entry["shape"]]:
        raise AdapterFolderRefused(f"its tensors do not have rank {rank}: {wrong[:3]}")
    base_model = config.get("base_model_name_or_path")
    if not base_model:
        raise AdapterFolderRefused("it names no base model")
    if Path(base_model).is_absolute():
        raise AdapterFolderRefused("it names its base model by a path of this machine")


def _examine_files(folder: Path) -> None:
    entries = list(folder.iterdir())
    strange = sorted(
        entry.name
        for entry in entries
        if entry.name not in ADAPTER_FILES | {COMPLETE} or entry.is_symlink() or not entry.is_file()
    )
    if strange:
        raise AdapterFolderRefused(
            f"its folder holds {', '.join(strange)[:200]}; only weights, configuration and the"
            " record of the training may be there"
        )
    if missing := sorted(NEEDED - {entry.name for entry in entries}):
        raise AdapterFolderRefused(f"its folder lacks {', '.join(missing)}")


def _config(folder: Path) -> JsonObject:
    try:
        config = json.loads((folder / CONFIG).read_text())
    except ValueError as error:
        raise AdapterFolderRefused(f"{CONFIG} is not a JSON object") from error
    if not isinstance(config, dict):
        raise AdapterFolderRefused(f"{CONFIG} is not a JSON object")
    return config


def _examine_config(config: JsonObject) -> None:
    kind = config.get("peft_type")
    bias = config.get("bias", "none")
    extras = [name for name in UNSERVABLE if config.get(name)]
    if kind != "LORA" or bias != "none" or extras:
        raise AdapterFolderRefused(
            f"vLLM serves plain LoRA only; this is {kind} with bias={bias} and"
            f" {', '.join(extras) or 'no extras'}"
        )


def _tensors(path: Path) -> dict[str, JsonObject]:
    """Return what the header of a safetensors file says of each tensor: type, shape, offsets.

    The file begins with the header's length (8 bytes, little endian) and the header as JSON; the
    offsets count from its end. Raises AdapterFolderRefused where the file ends elsewhere.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, MAX_HEADER)))
            tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
            end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
            shaped = all("shape" in entry for entry in tensors.values())
        except (ValueError, AttributeError, LookupError, TypeError) as error:
            raise AdapterFolderRefused(f"{WEIGHTS} has no readable header") from error
    if not shaped:
        raise AdapterFolderRefused(f"{WEIGHTS} has no readable header")
    if size != 8 + length + end:
        raise AdapterFolderRefused(f"{WEIGHTS} is not whole")
    return tensors


def _examine_tensors(tensors: dict[str, JsonObject]) -> None:
    if not tensors or any(".lora_A." not in name and ".lora_B." not in name for name in tensors):
        raise AdapterFolderRefused(f"{WEIGHTS} holds other tensors than LoRA matrices")
