"""The processes of a training as accelerate starts them, forked from one that has its imports.

Those take 12 s of CPU a process. The environment is accelerate's own, made from what the product's
launcher says.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from services.trainer.order import TrainingOrder
from services.trainer.processes import launcher

RECIPES = Path(__file__).parents[2] / "services" / "trainer" / "recipes"
SECONDS = 240.0
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["services.trainer.train"])


def train(job: TrainingOrder, late: int | None = None) -> str:
    """Train in the recipe's processes; return what they said. The rank `late` is slow to save."""
    environment = environment_of(job)
    log = job.output.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    ranks = [
        CONTEXT.Process(target=run_rank, args=(rank, environment, job, log, rank == late))
        for rank in range(job.recipe.processes)
    ]
    for rank in ranks:
        rank.start()
    until = time.monotonic() + SECONDS
    for rank in ranks:
        rank.join(max(0.0, until - time.monotonic()))
    for rank in ranks:
        rank.kill()
    said = log.read_text()
    assert [rank.exitcode for rank in ranks] == [0] * len(ranks), said[-3000:]
    return said


def environment_of(job: TrainingOrder) -> dict[str, str]:
    """Return what accelerate tells each of the processes, as it reads our arguments."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    arguments = launcher(job.recipe, RECIPES)[3:]
    if not arguments:
        return {}
    parsed = launch_command_parser().parse_args([*arguments, "-m", "services.trainer.train"])
    before = dict(os.environ)
    found = prepare_multi_gpu_env(_validate_launch_command(parsed)[0])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {name: value for name, value in found.items() if before.get(name) != value} | {
        "WORLD_SIZE": str(job.recipe.processes),
        "LOCAL_WORLD_SIZE": str(job.recipe.processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def run_rank(
    rank: int, environment: dict[str, str], job: TrainingOrder, log: Path, late: bool
) -> None:
    if environment:
        os.environ.update(environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
    out = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    from services.trainer import train as stages

    stages.Tracking = lambda order: None
    if environment.get("ACCELERATE_USE_FSDP") == "true":
        stages.check_processes = lambda recipe, gpus: None
        let_processors_share()
    if late:
        save_late()
    try:
        stages.run(job)
    except Exception:  # noqa: BLE001
        # Not by way of torch, which would wait for the others.
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def let_processors_share() -> None:
    """Let accelerate share a model out among processors: it does that for GPUs alone, torch does
    it for both.
    """
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    begin = AcceleratorState.__init__

    def init(self: Any, *args: Any, **named: Any) -> None:
        begin(self, *args, **named)
        plugin = named.get("fsdp_plugin")
        if plugin and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.FSDP
            if self._mixed_precision != "no":
                plugin.set_mixed_precision(self._mixed_precision)
            self.fsdp_plugin = plugin

    AcceleratorState.__init__ = init


def save_late() -> None:
    from transformers import Trainer

    save = Trainer._save_rng_state

    def late(self: Any, folder: str) -> None:
        time.sleep(1.0)
        save(self, folder)

    Trainer._save_rng_state = late
