"""Evidently's drift report of a window, made in a child process: python -m
services.evaluator.evidence IN.json OUT.html

It shows people what moved; alarms come from our own tests (Evidently's default thresholds raise
false alarms in up to 84 % of unchanged windows: docs/methods.md, section 5). Importing it takes
2.6 s and 286 MB, and it needs pandas < 3: hence a child.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

CATEGORIES = ("label", "outcome", "correct")


def main(source: Path, target: Path) -> None:
    """Draw the report. The source is {"reference": [rows], "current": [rows]}: rows of numbers and
    labels, no text.
    """
    content = json.loads(source.read_text())
    reference, current = (pd.DataFrame(content[part]) for part in ("reference", "current"))
    categories = [column for column in reference.columns if column in CATEGORIES]
    definition = DataDefinition(
        numerical_columns=[column for column in reference.columns if column not in CATEGORIES],
        categorical_columns=categories,
    )
    run = Report([DataDriftPreset()], include_tests=True).run(
        Dataset.from_pandas(current, data_definition=definition),
        Dataset.from_pandas(reference, data_definition=definition),
    )
    run.save_html(str(target))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
