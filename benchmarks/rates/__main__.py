"""python -m benchmarks.rates        The learning rate that the rule gives beside a third and three
times of it, on three data sets of the demo; needs `make setup` first.

The rule is in services/trainer/rates.py. Each training has the rows of an act and one seed, and
runs in a process of its own. Right is an answer of which every token is the most probable one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.own_data.__main__ import write
from benchmarks.rates.training import trained
from benchmarks.trainer.orders import RECIPES, order_in
from infra.data.reading import Reading, read_file
from infra.demo.data import DemoData, bundled
from infra.demo.own import from_file
from services.trainer.order import TrainingOrder
from services.trainer.rates import learning_rate
from services.trainer.recipe import load_recipe

TIMES = (1 / 3, 1.0, 3.0)
# SmolLM2's.
WIDTH = 576


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rows", type=int, default=200, help="rows to train on")
    arguments.add_argument("--held-out", type=int, default=150, help="rows to judge by")
    arguments.add_argument("--recipe", default="cpu")
    asked = arguments.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    table = Table("data", "rate", "of the rule", "held-out loss", "right", title=asked.recipe)
    folder = Path(tempfile.mkdtemp(prefix="benchmark-rates-"))
    try:
        for name, data in data_sets(folder):
            order = make_order(folder / name, data, asked.rows, asked.held_out, asked.recipe)
            for times in TIMES:
                rate = learning_rate(order.recipe, WIDTH, asked.rows) * times
                loss, right = in_its_own_process(at(order, rate))
                told = (name, f"{rate:.1e}", f"{times:.2f}", f"{loss:.3f}", f"{right:.0%}")
                table.add_row(*told)
                Console(stderr=True).print(" ".join(told), style="dim")
    finally:
        shutil.rmtree(folder)
    Console().print(table)


def data_sets(folder: Path) -> Iterator[tuple[str, DemoData]]:
    yield "support", bundled(seed=7)
    for path in write(folder / "files")[1:3]:
        yield path.stem, from_file(read_file(path, Reading()), [], 12, seed=7)


def make_order(
    folder: Path, data: DemoData, rows: int, held_out: int, recipe: str
) -> TrainingOrder:
    folder.mkdir()
    rule = {"learning_rate": "auto", "rounds": 1, "keep": "last"}
    by_rule = load_recipe(RECIPES, recipe).model_copy(update=rule)
    return order_in(folder, data.take(rows + held_out), rows, data.spec, by_rule)


def at(order: TrainingOrder, rate: float) -> TrainingOrder:
    recipe = order.recipe.model_copy(update={"learning_rate": rate})
    return order.model_copy(update={"recipe": recipe})


def in_its_own_process(order: TrainingOrder) -> tuple[float, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(trained, (order,))


if __name__ == "__main__":
    main()
