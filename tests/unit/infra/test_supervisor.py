"""The supervisor as a library, where it must say no."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from infra.local import broker
from infra.local.home import AlreadyRunning
from infra.local.part import PartUnknown
from infra.local.plan import LocalConfig
from infra.local.ports import free_port
from infra.local.supervisor import NotReadyInTime, PartFailed, Supervisor


def config(home: Path, servers: str) -> LocalConfig:
    return LocalConfig(
        home=home,
        port_base=22000,
        vllm=False,
        base_model="x",
        only=frozenset({"capture"}),
        environment={"KAFKA_BOOTSTRAP_SERVERS": servers},
    )


async def test_an_event_log_that_is_away_is_said_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "PATIENCE_SECONDS", 0.5)
    servers = f"127.0.0.1:{free_port()}"
    with pytest.raises(PartFailed, match=f"no Kafka answers at {servers}"):
        async with Supervisor(config(tmp_path, servers)) as system:
            await system.wait_ready(seconds=20)
    assert not system.home.is_running()
    assert not (tmp_path / "state.json").exists()


async def test_what_is_not_ready_in_time_is_named(tmp_path: Path) -> None:
    async with Supervisor(config(tmp_path, f"127.0.0.1:{free_port()}")) as system:
        with pytest.raises(NotReadyInTime, match="broker, capture"):
            await system.wait_ready(seconds=0.2)
        with pytest.raises(PartUnknown, match="choose from broker, capture"):
            system.kill("captain")


async def test_a_home_has_one_supervisor(tmp_path: Path) -> None:
    servers = f"127.0.0.1:{free_port()}"
    async with Supervisor(config(tmp_path, servers)):
        started = time.monotonic()
        with pytest.raises(AlreadyRunning):
            await Supervisor(config(tmp_path, servers)).__aenter__()
        assert time.monotonic() - started < 10
