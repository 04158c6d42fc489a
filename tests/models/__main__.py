"""Writes docs/models.md."""

from __future__ import annotations

from pathlib import Path

from tests.models.page import page

Path("docs/models.md").write_text(page())
