"""docker-compose.yml, infra/Dockerfile and .env.example against the services' own settings. Needs
no Docker.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from infra.local.env_example import env_example
from schemas.topics import SERVICES
from tests.settings_names import known_names, required_names, settings_of

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
VLLM = ("vllm-serving", "vllm-evaluation")


def compose(**values: str) -> dict:
    """As `docker compose config` reads it: variables replaced, a required one that is missing is an
    error.
    """

    def value_of(match: re.Match) -> str:
        name, kind, rest = match.groups()
        if kind == "?" and name not in values:
            raise AssertionError(f"{name} is required: {rest}")
        return values.get(name) or (rest if kind == "-" else "")

    return yaml.safe_load(VARIABLE.sub(value_of, (ROOT / "docker-compose.yml").read_text()))


@pytest.fixture(scope="module")
def stack() -> dict:
    return compose(
        BASE_MODEL="org/model",
        POSTGRES_PASSWORD="pw",  # pragma: allowlist secret
        REVIEW_SALT="salt",
        REVIEW_SESSION_SECRET="secret",  # pragma: allowlist secret
    )


def flag(command: list[str], name: str) -> str:
    return next(
        word.removeprefix(f"--{name}=") for word in command if word.startswith(f"--{name}=")
    )


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_given_settings_it_knows_and_all_it_needs(
    service: str, stack: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(service)
    environment = stack["services"][service]["environment"]
    assert set(environment) <= known_names(settings)
    assert required_names(settings) <= set(environment)
    for name, value in environment.items():
        assert isinstance(value, str), f"{name}: quote it, YAML reads a number or a truth"
        monkeypatch.setenv(name, value)
    made = settings()
    assert (made.host, made.port, made.kafka_bootstrap_servers) == ("0.0.0.0", 8000, "kafka:9092")


def test_one_secret_makes_surrogates_and_only_who_records_texts_has_it() -> None:
    services = compose(
        BASE_MODEL="org/model",
        POSTGRES_PASSWORD="pw",  # pragma: allowlist secret
        REVIEW_SALT="salt",
        REVIEW_SESSION_SECRET="secret",  # pragma: allowlist secret
        SURROGATE_SECRET="one-for-three-of-them",  # pragma: allowlist secret
    )["services"]
    secrets = {name: services[name]["environment"].get("SURROGATE_SECRET") for name in SERVICES}
    having = {name for name, secret in secrets.items() if secret}
    assert having == {"capture", "review", "router"}
    assert {secret for name, secret in secrets.items() if name not in having} == {None}


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_built_from_its_own_extra_and_runs_without_privileges(
    service: str, stack: dict
) -> None:
    part = stack["services"][service]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert part["build"] | {"args": part["build"]["args"]["SERVICE"]} == {
        "context": ".",
        "dockerfile": "infra/Dockerfile",
        "target": "service",
        "args": service,
    }
    assert service in extras
    assert (part["read_only"], part["cap_drop"], part["stop_grace_period"]) == (
        True,
        ["ALL"],
        "45s",
    )


def test_the_dockerfile_has_every_target_and_does_not_run_as_root(stack: dict) -> None:
    stages = re.findall(
        r"^FROM \S+ AS (\w+)$|^FROM (\w+) AS (\w+)$",
        (ROOT / "infra/Dockerfile").read_text(),
        re.MULTILINE,
    )
    names = {name for stage in stages for name in stage if name}
    assert {
        part["build"]["target"] for part in stack["services"].values() if "build" in part
    } <= names
    text = (ROOT / "infra/Dockerfile").read_text()
    assert re.search(r"^USER ratchet$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in source.split())


def test_each_service_has_its_own_database_and_all_of_them_are_created(stack: dict) -> None:
    names = [
        stack["services"][service]["environment"]["DATABASE_URL"].rpartition("/")[2]
        for service in SERVICES
    ]
    assert sorted(names) == sorted(
        re.findall(r"CREATE DATABASE (\w+);", stack["configs"]["databases"]["content"])
    )
    assert len(set(names)) == len(SERVICES)


def test_vllm_is_reached_by_its_one_client_alone(stack: dict) -> None:
    for name, client in zip(VLLM, ("router", "evaluator"), strict=True):
        networks = stack["services"][name]["networks"]
        assert "ports" not in stack["services"][name]
        assert [
            other
            for other, part in stack["services"].items()
            if set(networks) & set(part.get("networks", ()))
        ] == [name, client]


def test_vllm_serves_what_its_client_asks_for_and_sees_the_same_adapters(stack: dict) -> None:
    router, evaluator = (stack["services"][name] for name in ("router", "evaluator"))
    for name, client, folder in (
        ("vllm-serving", router, "ROUTER_ADAPTER_CACHE"),
        ("vllm-evaluation", evaluator, "EVALUATOR_CACHE_DIR"),
    ):
        shared = client["environment"][folder]
        volume = next(
            entry.split(":")[0] for entry in client["volumes"] if entry.split(":")[1] == shared
        )
        assert f"{volume}:{shared}:ro" in stack["services"][name]["volumes"]
        command = stack["services"][name]["command"]
        assert (
            flag(command, "served-model-name")
            == settings_of("router").model_fields["base_model"].default
        )
        assert (
            flag(command, "model")
            == stack["services"]["trainer"]["environment"]["TRAINER_BASE_MODEL"]
        )
        assert stack["services"][name]["environment"]["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert int(router["environment"]["ROUTER_MAX_LOADED"]) <= int(
        flag(stack["services"]["vllm-serving"]["command"], "max-cpu-loras")
    )


def test_what_is_waited_for_exists_and_can_be_waited_for(stack: dict) -> None:
    for part in stack["services"].values():
        for name, how in part.get("depends_on", {}).items():
            needed = stack["services"][name]
            assert how["condition"] == "service_completed_successfully" or "healthcheck" in needed
    assert stack["services"]["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_every_volume_and_network_is_declared(stack: dict) -> None:
    for part in stack["services"].values():
        named = {
            entry.split(":")[0]
            for entry in part.get("volumes", ())
            if not entry.startswith((".", "/"))
        }
        assert named <= set(stack["volumes"])
        assert set(part.get("networks", ())) <= set(stack["networks"])


def test_a_secret_that_nobody_chose_is_refused() -> None:
    with pytest.raises(AssertionError, match="is required"):
        compose(BASE_MODEL="org/model")


def test_env_example_is_what_the_settings_say_now() -> None:
    assert (ROOT / ".env.example").read_text() == env_example(), (
        "run: python -m infra.local.env_example > .env.example"
    )


def test_env_example_names_every_variable_of_compose_and_of_the_command() -> None:
    named = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert {
        name for name, _, _ in VARIABLE.findall((ROOT / "docker-compose.yml").read_text())
    } <= named
    sources = "".join(
        path.read_text()
        for folder in ("cli", "local")
        for path in (ROOT / "infra" / folder).glob("*.py")
    )
    read = set(
        re.findall(
            r'(?:envvar=|environ(?:ment)?(?:\.get\(|\[)|in os\.environ)\s*"([A-Z_]+)"', sources
        )
    )
    assert read - {"PYTHONPATH", "NO_PROXY", "JAVA_HOME", "CI"} <= named
