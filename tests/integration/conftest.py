"""Brokers that the integration tests share: one of each kind for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kafka import KINDS, Broker, apache_missing


@pytest.fixture(scope="session", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "apache" and (reason := apache_missing()):
        pytest.skip(reason)
    return request.param


@pytest.fixture(scope="session")
def broker(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with KINDS[kind](tmp_path_factory.mktemp(kind)) as broker:
        yield broker
