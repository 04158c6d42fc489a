"""python -m benchmarks.trainer        Ratchet's recipe and stock TRL on the same rows, one after
the other; needs `make setup` first.

Both get the base model, the same tokens, epochs, batch size, learning rate and seed. Stock is
`SFTTrainer` with peft's LoRA of rank 16 on all linear layers, bf16, as its documentation shows it.
Each runs in a process of its own; loading is not counted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.trainer.orders import RECIPES, order_in
from benchmarks.trainer.runs import Figures, ratchet, stock_trl
from infra.demo.data import BUNDLED, bundled
from schemas.route import RouteSpec
from services.trainer.order import TrainingOrder
from services.trainer.recipe import load_recipe


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument(
        "--rows", type=int, default=160, help="rows to train on; a quarter as many to validate on"
    )
    arguments.add_argument("--recipe", default="tiny-cpu")
    asked = arguments.parse_args()
    # as the trainer's child has it
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
    }
    folder = Path(tempfile.mkdtemp(prefix="benchmark-trainer-"))
    try:
        order = make_order(folder, asked.rows, asked.recipe)
        stock, ours = (in_its_own_process(measure, order) for measure in (stock_trl, ratchet))
    finally:
        shutil.rmtree(folder)
    show(stock, ours, asked.rows)


def make_order(folder: Path, rows: int, recipe: str) -> TrainingOrder:
    messages = bundled(seed=7).take(rows + rows // 4)
    spec = RouteSpec.model_validate(yaml.safe_load((BUNDLED / "route.yaml").read_text()))
    # Both train as long as each other.
    once = load_recipe(RECIPES, recipe).model_copy(update={"rounds": 1})
    return order_in(folder, messages, rows, spec, once)


def in_its_own_process(
    measure: Callable[[TrainingOrder], Figures], order: TrainingOrder
) -> Figures:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (order,))


def show(stock: Figures, ours: Figures, rows: int) -> None:
    table = Table(
        "",
        "tokens/s",
        "seconds",
        "CPU seconds",
        "training loss",
        "validation loss",
        title=f"{rows} rows",
    )
    for one in (stock, ours):
        table.add_row(
            one.name,
            f"{one.tokens_per_second:.0f}",
            f"{one.seconds:.1f}",
            f"{one.cpu_seconds:.1f}",
            f"{one.train_loss:.3f}",
            f"{one.validation_loss:.3f}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"{ours.tokens_per_second / stock.tokens_per_second:.1f} times stock TRL's tokens/s; load"
        f" while it ran: {os.getloadavg()[0]:.1f}",
        highlight=False,
    )


if __name__ == "__main__":
    main()
