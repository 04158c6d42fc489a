"""The real service on an empty database of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.review.app import build
from services.review.settings import Settings
from tests import factories
from tests.unit.review.harness import Review


@pytest.fixture
async def review(database_url: str, keys: dict[str, str], tmp_path: Path) -> AsyncIterator[Review]:
    settings = Settings(
        database_url=database_url,
        keys_file=keys["file"],
        artifacts_url=f"file://{tmp_path}/artifacts",
        surrogate_secret=factories.SURROGATE_SECRET,
    )
    service = build(settings)
    await service.db.create_tables(service.metadata)
    yield Review(service, keys)
    await service.db.close()


@pytest.fixture
async def reviewing_all(review: Review) -> Review:
    """A route of which every answer is reviewed, each by one person."""
    rates = {"rate": 1.0, "overlap_rate": 0.0}
    await review.hears(factories.route_changed(spec=factories.spec(review=rates)))
    return review
