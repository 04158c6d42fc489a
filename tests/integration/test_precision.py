"""A training computes in what the processor multiplies, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from services.trainer import train as stages
from tests.integration.test_training import dataset, model, order, untracked

__all__ = ["dataset", "model", "untracked"]


@pytest.mark.parametrize(("multiplies", "precision"), [(False, "fp32"), (True, "bf16")])
def test_it_computes_in_what_the_processor_multiplies(
    multiplies: bool,
    precision: str,
    model: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(stages, "multiplies_bf16", lambda: multiplies)
    asked = order(tmp_path, model, dataset, precision="bf16", epochs=1)
    stages.run(asked)
    ran = yaml.safe_load((asked.output / "recipe.yaml").read_text())
    assert ran["precision"] == precision
    assert ("trained in fp32" in capsys.readouterr().out) is not multiplies
