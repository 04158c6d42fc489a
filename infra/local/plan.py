"""Turns what the user asked for into parts: what runs, where, with which environment."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.broker import broker_part
from infra.local.databases import database_urls
from infra.local.home import Home
from infra.local.part import Part, PartUnknown, answers, service_is_alive, service_is_ready
from infra.local.ports import DEFAULT_BASE, HOST, plan_ports
from infra.setup import base_model_dir, vllm_python
from infra.vllm import MAX_RANK, vllm_command
from schemas.topics import SERVICES
from shared.errors import RatchetError

VLLM = ("vllm-serving", "vllm-evaluation")
PART_NAMES = ("broker", *VLLM, *SERVICES)
# Neither may slow the answers that production waits for
NICE = {
    "trainer": 5,
    "vllm-evaluation": 5,
}
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class LocalConfig:
    """What the user asked for.

    `base_model` is a folder or a hub id, None for the laptop's own; `engine` is the URL of a vLLM
    elsewhere that serves router and evaluator; `only` names the parts to run beside the event log,
    empty for all.
    """

    home: Path = Path(".ratchet")
    port_base: int = DEFAULT_BASE
    vllm: bool = True
    base_model: str | None = None
    engine: str | None = None
    only: frozenset[str] = frozenset()
    # What new routes tell the base model's chat template.
    template_arguments: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def wants(self, part: str) -> bool:
        if part in VLLM and (self.engine or not self.vllm):
            return False
        return not self.only or part in self.only or part == "broker"


@dataclass(frozen=True)
class Plan:
    parts: tuple[Part, ...]
    urls: dict[str, str]
    databases: dict[str, str]

    @property
    def event_log(self) -> str:
        return self.parts[0].kind

    @property
    def names(self) -> list[str]:
        return [part.name for part in self.parts]


def make_plan(config: LocalConfig, home: Home) -> Plan:
    for unknown in sorted(config.only - set(PART_NAMES)):
        raise PartUnknown(unknown, list(PART_NAMES))
    ports = plan_ports(config.port_base)
    environment = dict(config.environment) | {
        "RATCHET_HOME": str(home.path),
        "PYTHONUNBUFFERED": "1",
        **loopback_without_proxy(config.environment),
    }
    urls = {
        name: f"http://{HOST}:{port}" for name, port in ports.items() if name != "broker"
    } | vllm_elsewhere(config)
    databases = database_urls(home, config.environment.get("RATCHET_DATABASE_URL"))
    broker = broker_part(home, ports["broker"], environment)
    served = [
        vllm_part(name, config, urls[name], ports[name], environment)
        for name in VLLM
        if config.wants(name)
    ]
    services = []
    for name in (service for service in SERVICES if config.wants(service)):
        own = service_environment(
            name,
            home,
            urls | {"broker": broker.url},
            databases[name],
            ports[name],
            base_model_of(config),
            broker.kind,
            config.environment.get("CAPTURE_SOURCES"),
            config.template_arguments,
        )
        services.append(service_part(name, urls[name], ports[name], environment | own))
    return Plan((broker, *served, *services), {**urls, "broker": broker.url}, databases)


def service_part(name: str, url: str, port: int, environment: dict[str, str]) -> Part:
    package = f"services.{name.replace('-', '_')}"
    paths = os.pathsep.join([*filter(None, [environment.get("PYTHONPATH")]), str(ROOT)])
    return Part(
        name,
        (sys.executable, "-P", "-m", package),
        url,
        lambda: service_is_ready(url),
        {**environment, "PYTHONPATH": paths},
        (port,),
        alive=lambda: service_is_alive(url),
        after="broker",
        nice=NICE.get(name, 0),
    )


def service_environment(
    name: str,
    home: Home,
    urls: Mapping[str, str],
    database: str,
    port: int,
    base_model: str,
    event_log: str,
    sources: str | None = None,
    told: Mapping[str, object] | None = None,
) -> dict[str, str]:
    """Return what the service is told; a test compares the names with its settings."""
    common = {
        "KAFKA_BOOTSTRAP_SERVERS": urls["broker"],
        "KAFKA_INSTANCE_ID": instance_id(home),
        "KAFKA_KIND": event_log,
        "DATABASE_URL": database,
        "ARTIFACTS_URL": f"file://{home.path}/artifacts",
        "RATCHET_KEYS_FILE": str(home.keys_file),
        "HOST": HOST,
        "PORT": str(port),
    }
    surrogates = {"SURROGATE_SECRET": home.secret("surrogates")}
    own = {
        # Wherever its process is started.
        "capture": {
            **({"CAPTURE_SOURCES": str(Path(sources).expanduser().absolute())} if sources else {}),
            **surrogates,
        },
        # Who knows the salt can tell which answers are audited.
        "review": {"REVIEW_SALT": home.secret("review-salt"), **surrogates},
        "router": {
            "ROUTER_VLLM_URL": urls["vllm-serving"],
            "ROUTER_ADAPTER_CACHE": str(home.path / "serving"),
            **({"ROUTER_TEMPLATE_ARGUMENTS": json.dumps(told)} if told else {}),
            **surrogates,
        },
        "evaluator": {
            "EVALUATOR_VLLM_URL": urls["vllm-evaluation"],
            "EVALUATOR_CACHE_DIR": str(home.path / "evaluator"),
        },
        "trainer": {
            "TRAINER_BASE_MODEL": base_model,
            "TRAINER_WORK_DIR": str(home.path / "trainer"),
            "MAX_LORA_RANK": str(MAX_RANK),
        },
    }
    return common | own.get(name, {})


def instance_id(home: Home) -> str:
    """Return a name that stays from start to start, and differs between homes on one log."""
    return f"{socket.gethostname()}-{hashlib.sha256(str(home.path).encode()).hexdigest()[:8]}"


class VllmMissing(RatchetError):
    def __init__(self, python: Path) -> None:
        super().__init__(
            f"vLLM is not set up (there is no {python}): run 'make setup', or use one elsewhere"
            " with --engine URL"
        )


class EngineWrong(RatchetError):
    def __init__(self, url: str) -> None:
        super().__init__(f"--engine {url} is no address: name a vLLM that runs, as http://gpu:8000")


class ModelMissing(RatchetError):
    def __init__(self, model: str, ours: bool) -> None:
        super().__init__(
            f"there is no base model at {model}: "
            + ("run 'make setup'" if ours else "name a folder or a hub id with --base-model")
        )


def vllm_part(
    name: str, config: LocalConfig, url: str, port: int, environment: Mapping[str, str]
) -> Part:
    if not vllm_python().exists():
        raise VllmMissing(vllm_python())
    model = base_model_of(config)
    if model.startswith(("/", ".", "~")) and not Path(model).expanduser().is_dir():
        raise ModelMissing(model, ours=not config.base_model)
    parser = config.environment.get("TOOL_CALL_PARSER")
    argv, env = vllm_command(model, port, tool_parser=parser)
    # Its virtual environment is another.
    clean = {key: value for key, value in environment.items() if key != "PYTHONPATH"}
    return Part(
        name,
        tuple(argv),
        url,
        lambda: answers(f"{url}/health"),
        {**clean, **env},
        (port,),
        after=(
            "vllm-serving" if name == "vllm-evaluation" and config.wants("vllm-serving") else None
        ),
        nice=NICE.get(name, 0),
        stage=1,
        chatty=True,
    )


def base_model_of(config: LocalConfig) -> str:
    if config.base_model:
        folder = Path(config.base_model).expanduser()
        return str(folder.absolute()) if folder.is_dir() else config.base_model
    return str(base_model_dir())


def vllm_elsewhere(config: LocalConfig) -> dict[str, str]:
    """Return the vLLM servers that --engine or, where --no-vllm was said, the environment names."""
    if config.engine:
        if not config.engine.startswith(("http://", "https://")):
            raise EngineWrong(config.engine)
        return dict.fromkeys(VLLM, config.engine.rstrip("/").removesuffix("/v1"))
    named = {
        "vllm-serving": config.environment.get("ROUTER_VLLM_URL"),
        "vllm-evaluation": config.environment.get("EVALUATOR_VLLM_URL"),
    }
    return {} if config.vllm else {name: url for name, url in named.items() if url}


def loopback_without_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Keep a company's proxy out of what our parts say to each other on loopback."""
    listed = [
        name
        for name in environment.get("NO_PROXY", environment.get("no_proxy", "")).split(",")
        if name
    ]
    value = ",".join(dict.fromkeys([*listed, HOST, "localhost"]))
    return {"NO_PROXY": value, "no_proxy": value}
