"""A home that release 0.1.0 left behind, unpacked."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.faults import forking

HOME = Path(__file__).with_name("home-0.1.0.tar.xz")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tarfile.open(HOME) as archive:
        archive.extractall(tmp_path, filter="data")
    # Artifacts are named from the folder that the services run in.
    monkeypatch.setattr(forking, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path
