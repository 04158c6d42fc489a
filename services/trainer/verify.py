"""Is this folder an adapter that vLLM can serve? Read from the files alone, before they get a name
that lasts for ever.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from services.trainer.order import ADAPTER_FILES
from shared.jobs.worker import JobFailed

# vLLM 0.32 refuses an adapter with any of these (reliability page, D2).
REFUSED = {
    "use_dora": True,
    "lora_bias": True,
    "layer_replication": list,
    "modules_to_save": list,
    "alora_invocation_tokens": list,
}


class AdapterUnusable(JobFailed):
    def __init__(self, problem: str) -> None:
        super().__init__(f"training ended with an adapter that cannot be served: {problem}")


def check_adapter(folder: Path, rank: int) -> None:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    if found != set(ADAPTER_FILES):  # nothing half-written, nothing executable
        raise AdapterUnusable(
            f"its folder holds {sorted(found)} instead of {sorted(ADAPTER_FILES)}"
        )
    check_config(json.loads((folder / "adapter_config.json").read_text()), rank)
    check_weights(folder / "adapter_model.safetensors", rank)


def check_config(config: dict[str, Any], rank: int) -> None:
    if config.get("peft_type") != "LORA" or config.get("r") != rank or config.get("bias") != "none":
        raise AdapterUnusable(f"it is not a plain LoRA of rank {rank}")
    for name, refused in REFUSED.items():
        if (
            isinstance(config.get(name), refused)
            if refused is list
            else config.get(name) == refused
        ):
            raise AdapterUnusable(f"vLLM does not serve {name}")
    if Path(config["base_model_name_or_path"]).is_absolute():
        raise AdapterUnusable("it names its base model by a path of this machine")


def check_weights(path: Path, rank: int) -> None:
    """The header of a safetensors file: 8 bytes of length, then JSON with the shape and place of
    each tensor.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        tensors = {
            name: entry
            for name, entry in json.loads(file.read(length)).items()
            if name != "__metadata__"
        }
    wrong = [name for name, entry in tensors.items() if rank not in entry["shape"]]
    if not tensors or wrong:
        raise AdapterUnusable(
            f"its tensors do not have rank {rank}: {wrong[:3] or 'there are none'}"
        )
    if path.stat().st_size != 8 + length + max(
        entry["data_offsets"][1] for entry in tensors.values()
    ):
        raise AdapterUnusable("adapter_model.safetensors is not whole")
