"""What an adapter folder may hold before vLLM is pointed at it (reliability page, C2): data, never
code. Pure but for reading.
"""

from __future__ import annotations

import json
from pathlib import Path

from services.router.ports import AdapterUnfit
from shared.storage.blobs import COMPLETE

NEEDED = {"adapter_model.safetensors", "adapter_config.json"}
ALLOWED = NEEDED | {"README.md", "recipe.yaml", "training.json", COMPLETE}
MAX_HEADER = 16 * 1024 * 1024
UNSERVABLE = (
    "use_dora",
    "modules_to_save",
    "layer_replication",
    "lora_bias",
    "alora_invocation_tokens",
    "auto_map",
)  # vLLM 0.32 refuses these


def inspect(adapter_id: str, folder: Path) -> None:
    """Raise AdapterUnfit unless the folder is a plain LoRA adapter."""
    entries = list(folder.iterdir())
    if strange := sorted(
        entry.name
        for entry in entries
        if entry.name not in ALLOWED or entry.is_symlink() or not entry.is_file()
    ):
        raise AdapterUnfit(
            adapter_id,
            f"its folder holds {', '.join(strange)[:200]}; only weights, configuration and the"
            " record of the training may be there",
        )
    if missing := sorted(NEEDED - {entry.name for entry in entries}):
        raise AdapterUnfit(adapter_id, f"its folder lacks {', '.join(missing)}")
    _inspect_config(adapter_id, folder / "adapter_config.json")
    _inspect_weights(adapter_id, folder / "adapter_model.safetensors")


def _inspect_config(adapter_id: str, path: Path) -> None:
    try:
        config = json.loads(path.read_text())
        kind = config.get("peft_type")
        bias = config.get("bias", "none")
        extras = [key for key in UNSERVABLE if config.get(key)]
    except (ValueError, AttributeError) as error:
        raise AdapterUnfit(adapter_id, "adapter_config.json is not a JSON object") from error
    if kind != "LORA" or bias != "none" or extras:
        raise AdapterUnfit(
            adapter_id,
            f"vLLM serves plain LoRA only; this is {kind} with bias={bias} and"
            f" {', '.join(extras) or 'no extras'}",
        )


def _inspect_weights(adapter_id: str, path: Path) -> None:
    """The header of a safetensors file is its length (8 bytes, little endian) and JSON: names,
    types and offsets.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            names = [
                name
                for name in json.loads(file.read(min(length, MAX_HEADER)))
                if name != "__metadata__"
            ]
        except ValueError as error:
            raise AdapterUnfit(
                adapter_id, "adapter_model.safetensors has no readable header"
            ) from error
    if not names or any(".lora_A." not in name and ".lora_B." not in name for name in names):
        raise AdapterUnfit(
            adapter_id, "adapter_model.safetensors holds other tensors than LoRA matrices"
        )
