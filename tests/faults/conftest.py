"""One zygote for the whole run, brokers of each kind, and worlds that are gone after their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.forking import Zygote
from tests.faults.world import World
from tests.kafka import KINDS, ApacheKafka, Broker, EmbeddedBroker, apache_missing


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(tmp_path_factory.mktemp("zygote") / "zygote.log") as zygote:
        yield zygote


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.faults)])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    if request.param == "apache" and (reason := apache_missing()):
        pytest.skip(reason)
    with KINDS[request.param](tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Broker]:
    with EmbeddedBroker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def apache(tmp_path: Path) -> Iterator[Broker]:
    """Where two replicas share a group: the embedded log keeps dead members for ever, so that one
    replica is all it serves well.
    """
    if reason := apache_missing():
        pytest.skip(reason)
    with ApacheKafka(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def new_world(tmp_path: Path, zygote: Zygote) -> Callable[..., World]:
    return lambda servers, postgres=None: World(tmp_path / "world", servers, zygote, postgres)
