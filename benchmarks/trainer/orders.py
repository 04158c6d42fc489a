"""An order to train on samples of the demo, as the trainer's child takes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from infra.data.reading import Sample
from infra.setup import base_model_dir
from schemas.route import RouteSpec
from services.trainer.order import TrainingOrder
from services.trainer.recipe import TrainingRecipe

RECIPES = Path(__file__).parents[2] / "services/trainer/recipes"
COLUMNS = pa.schema({"messages": pa.string(), "answer": pa.string()})


def order_in(
    folder: Path, samples: Sequence[Sample], rows: int, spec: RouteSpec, recipe: TrainingRecipe
) -> TrainingOrder:
    """Write the samples into a folder, `rows` to train on and the others to validate on."""
    for split, part in (("train", samples[:rows]), ("validation", samples[rows:])):
        table = [
            {
                "messages": json.dumps([{"role": "user", "content": sample.text}]),
                "answer": sample.answer,
            }
            for sample in part
        ]
        parquet.write_table(
            pa.Table.from_pylist(table, schema=COLUMNS), folder / f"{split}.parquet"
        )
    return TrainingOrder(
        job_id="benchmark",
        dataset_id="benchmark",
        dataset_sha256="0" * 64,
        dataset=folder,
        spec=spec,
        tracking_uri="",
        recipe=recipe,
        base_model=str(base_model_dir()),
        checkpoints=folder / "checkpoints",
        output=folder / "out",
    )
