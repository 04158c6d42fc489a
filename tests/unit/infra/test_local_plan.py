"""What `ratchet up` would start, without starting it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from infra.kafka import KafkaUnusable
from infra.local.databases import DatabaseUrlWrong, create_missing_databases, database_urls
from infra.local.home import Home
from infra.local.part import PartUnknown
from infra.local.plan import EngineWrong, LocalConfig, make_plan, service_environment
from infra.local.ports import BadPortBase, PortBusy, free_port, plan_ports, require_free
from schemas.topics import SERVICES
from tests.settings_names import known_names, required_names, settings_of

MODEL = "/models/tiny"


@pytest.fixture(autouse=True)
def no_kafka_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET_CACHE", str(tmp_path / "cache"))


def config(tmp_path: Path, **changes) -> LocalConfig:
    return LocalConfig(
        **(
            {
                "home": tmp_path,
                "port_base": 21000,
                "vllm": False,
                "base_model": MODEL,
                "environment": {"PATH": "/bin"},
            }
            | changes
        )
    )


def plan(tmp_path: Path, **changes):
    return make_plan(config(tmp_path, **changes), Home(tmp_path))


@pytest.mark.parametrize("service", SERVICES)
def test_every_name_passed_to_a_service_is_one_of_its_settings(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(service)
    urls = {
        "broker": "127.0.0.1:9092",
        "vllm-serving": "http://127.0.0.1:8200",
        "vllm-evaluation": "http://127.0.0.1:8201",
    }
    passed = service_environment(
        service,
        Home(tmp_path),
        urls,
        f"sqlite+aiosqlite:///{tmp_path}/x.db",
        8107,
        MODEL,
        "embedded",
        f"{tmp_path}/sources",
    )
    (tmp_path / "sources").mkdir()
    assert set(passed) <= known_names(settings)
    assert required_names(settings) <= set(passed)
    for name, value in passed.items():
        monkeypatch.setenv(name, value)
    made = settings()
    assert (made.port, made.kafka_bootstrap_servers, made.keys_file) == (
        8107,
        "127.0.0.1:9092",
        tmp_path / "keys.json",
    )


def test_services_come_after_the_event_log_and_stop_before_it(tmp_path: Path) -> None:
    parts = {part.name: part for part in plan(tmp_path).parts}
    assert set(parts) == {"broker", *SERVICES}
    assert all(
        parts[service].after == "broker" and parts[service].stage < parts["broker"].stage
        for service in SERVICES
    )


def test_each_service_has_its_own_database_and_port(tmp_path: Path) -> None:
    parts = [part for part in plan(tmp_path).parts if part.name != "broker"]
    assert (
        len({part.env["DATABASE_URL"] for part in parts})
        == len({part.ports for part in parts})
        == len(SERVICES)
    )


def test_one_secret_makes_surrogates_and_only_who_records_texts_has_it(tmp_path: Path) -> None:
    first, again = (
        {part.name: part.env.get("SURROGATE_SECRET") for part in plan(tmp_path).parts}
        for _ in range(2)
    )
    having = {name for name, secret in first.items() if secret}
    assert having == {"capture", "review", "router"} and first == again
    assert len({first[name] for name in having}) == 1


def test_a_part_nobody_knows_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PartUnknown, match=r"rooter.*choose from"):
        plan(tmp_path, only=frozenset({"rooter"}))


def test_only_starts_what_was_named_and_the_event_log(tmp_path: Path) -> None:
    assert plan(tmp_path, only=frozenset({"review"})).names == ["broker", "review"]


def test_a_running_kafka_is_used_and_not_started(tmp_path: Path) -> None:
    parts = plan(tmp_path, environment={"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"}).parts
    assert parts[0].argv == ()
    assert {part.env["KAFKA_BOOTSTRAP_SERVERS"] for part in parts[1:]} == {"kafka:9092"}


def test_a_kafka_home_that_is_none_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(KafkaUnusable, match="no libs/"):
        plan(tmp_path, environment={"KAFKA_HOME": str(tmp_path)})


def test_without_vllm_the_named_servers_are_used(tmp_path: Path) -> None:
    parts = {
        part.name: part
        for part in plan(tmp_path, environment={"ROUTER_VLLM_URL": "http://gpu:8000"}).parts
    }
    assert parts["router"].env["ROUTER_VLLM_URL"] == "http://gpu:8000"
    assert parts["evaluator"].env["EVALUATOR_VLLM_URL"] == "http://127.0.0.1:21101"


@pytest.mark.parametrize("url", ["http://gpu:8000", "http://gpu:8000/", "http://gpu:8000/v1"])
def test_an_engine_elsewhere_serves_router_and_evaluator(tmp_path: Path, url: str) -> None:
    parts = {part.name: part for part in plan(tmp_path, vllm=True, engine=url).parts}
    assert set(parts) == {"broker", *SERVICES}
    assert parts["router"].env["ROUTER_VLLM_URL"] == "http://gpu:8000"
    assert parts["evaluator"].env["EVALUATOR_VLLM_URL"] == "http://gpu:8000"


def test_an_engine_that_is_no_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineWrong, match="http://gpu:8000"):
        plan(tmp_path, engine="gpu:8000")


def test_the_mappings_of_apps_topics_are_handed_to_capture_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parts = plan(tmp_path, environment={"CAPTURE_SOURCES": "sources/shop.yaml"}).parts
    given = {part.name: part.env["CAPTURE_SOURCES"] for part in parts}
    assert given["capture"] == f"{tmp_path}/sources/shop.yaml"
    assert "CAPTURE_SOURCES" not in plan(tmp_path).parts[1].env


def test_a_proxy_is_not_asked_for_loopback(tmp_path: Path) -> None:
    part = plan(tmp_path, environment={"NO_PROXY": "corp.example"}).parts[-1]
    assert part.env["NO_PROXY"] == "corp.example,127.0.0.1,localhost"


def test_a_busy_port_is_named_with_its_part() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortBusy, match=f"port {port}, which review needs.*--port-base"):
            require_free(port, "review")
    require_free(port, "review")


def test_the_event_log_moves_to_a_free_port_when_its_own_is_taken() -> None:
    base = free_port() - 992
    with socket.socket() as other:
        other.bind(("127.0.0.1", base + 992))
        other.listen()
        assert plan_ports(base)["broker"] != base + 992


@pytest.mark.parametrize("base", [80, 65000])
def test_a_port_base_out_of_range_is_refused(base: int) -> None:
    with pytest.raises(BadPortBase, match="1024"):
        plan_ports(base)


@pytest.mark.parametrize("url", ["mysql://x", "nonsense", "postgresql://me@host"])
def test_a_database_url_of_another_kind_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUrlWrong, match=r"postgresql\+asyncpg"):
        database_urls(Home(tmp_path), url)


async def test_missing_postgres_databases_are_created_once(postgres_server, tmp_path: Path) -> None:
    urls = database_urls(
        Home(tmp_path), f"postgresql+asyncpg://ratchet@127.0.0.1:{postgres_server.port}/mine"
    )
    assert urls["dataset-builder"].endswith("/mine_dataset_builder")
    for _ in range(2):
        await create_missing_databases(urls)
