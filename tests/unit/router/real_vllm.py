"""The real vLLM with the base model on this machine: one for all tests that ask it (about a minute
until it is there).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infra.setup import base_model_dir, vllm_python
from infra.vllm import vllm_command

on_vllm = [
    pytest.mark.vllm,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (vllm_python().exists() and base_model_dir().exists()),
        reason="needs vLLM and the base model: run 'make setup'",
    ),
]


class RealVllm:
    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "vllm.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv, env = vllm_command(base_model_dir(), self.port)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["nice", *argv],
                env=os.environ | env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(480):
            if self._answers():
                return
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.5)
        pytest.fail(f"vLLM did not start: {self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/v1/models", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealVllm]:
    server = RealVllm(tmp_path_factory.mktemp("vllm"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random adapter that acts: peft starts with B = 0, which would be the base model again."""
    peft, torch, transformers = (
        pytest.importorskip(name) for name in ("peft", "torch", "transformers")
    )
    folder = tmp_path_factory.mktemp("lora")
    torch.manual_seed(1)
    model = peft.get_peft_model(
        transformers.AutoModelForCausalLM.from_pretrained(base_model_dir(), dtype=torch.bfloat16),
        peft.LoraConfig(
            r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
        ),
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    model.save_pretrained(folder)
    return folder
