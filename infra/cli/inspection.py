"""What runs, seen from outside: state file, health, the consumers' lag, what serves each route."""

from __future__ import annotations

import asyncio

import httpx

from infra.cli.client import Client
from infra.local.home import Home, PartEntry
from infra.topics import describe, lag
from schemas.base import JsonObject
from schemas.topics import SERVICES
from shared.errors import RatchetError
from shared.event_log import EMBEDDED, too_full


def system_status(home: Home) -> JsonObject:
    """Say what runs in this home and whether all is well; `problems` are sentences."""
    state = home.state()
    parts = asyncio.run(all_health(state["parts"]))
    behind, trouble = consumer_lag(state["kafka"], topics_of_apps(parts))
    event_log = state.get("event_log", "")
    routes, no_routes = served_routes(
        state["urls"].get("router"), home.credentials().get("admin", "")
    )
    evaluator, key = state["urls"].get("evaluator"), home.credentials().get("admin", "")
    accuracy, contests = live_accuracy(evaluator, key), open_contests(evaluator, key)
    problems = [
        *trouble,
        *no_routes,
        *(f"{part['name']} is {part['state']}" for part in parts if part["state"] != "ready"),
        *(
            f"{part['name']} has paused reading {topic}: {because}"
            for part in parts
            for topic, because in paused(part).items()
        ),
        *(problem for part in parts for problem in outbox_problems(part)),
    ]
    return {
        "ok": not problems,
        "home": str(home.path),
        "pid": state["pid"],
        "started": state["started"],
        "event_log": event_log,
        "advice": log_advice(event_log, state["kafka"]),
        "parts": parts,
        "lag": behind,
        "routes": [
            route | {"accuracy": accuracy.get(name), "contest": contests.get(name)}
            for route in routes
            for name in (route["route"],)
        ],
        "problems": problems,
    }


def paused(part: JsonObject) -> dict[str, str]:
    """Return why its consumers are paused, by topic; `ratchet consumers resume` lets them go on."""
    topics: dict[str, str] = (part["health"] or {}).get("paused", {})
    return topics


def outbox_problems(part: JsonObject) -> list[str]:
    """Say which of a service's events wait for a person."""
    said: JsonObject = part["health"] or {}
    closed = [f"{part['name']}: {because}" for because in said.get("topics_closed", {}).values()]
    parked = said.get("outbox_parked")
    return closed + (
        [f"{part['name']} has {parked} parked events: 'ratchet dlq parked list'"] if parked else []
    )


async def all_health(parts: list[PartEntry]) -> list[JsonObject]:
    async with httpx.AsyncClient(trust_env=False, timeout=3) as client:
        found = await asyncio.gather(*(health(client, part) for part in parts))
    return [
        {
            **part,
            "health": said,
            "state": "unhealthy" if part["state"] == "ready" and said is None else part["state"],
        }
        for part, said in zip(parts, found, strict=True)
    ]


async def health(client: httpx.AsyncClient, part: PartEntry) -> JsonObject | None:
    """Ask a part how it is; return None when it does not answer.

    The event log is asked for its lag instead.
    """
    if part["name"] == "broker":
        return {}
    path = "/health/ready" if part["name"] in SERVICES else "/health"
    try:
        response = await client.get(f"{part['url']}{path}")
        response.raise_for_status()
        answer: JsonObject = response.json() if response.content and path == "/health/ready" else {}
    except (httpx.HTTPError, ValueError):
        return None
    return answer


def topics_of_apps(parts: list[JsonObject]) -> list[str]:
    """Return the apps' own topics that are read here, as their reader says."""
    return [topic for part in parts for topic in (part["health"] or {}).get("sources", {})]


def consumer_lag(servers: str, of_apps: list[str]) -> tuple[dict[str, dict[str, int]], list[str]]:
    try:
        return lag(servers, of_apps), []
    except RatchetError as error:
        return {}, [str(error)]


def log_advice(event_log: str, servers: str) -> str | None:
    """Say what to do where the embedded event log holds too much."""
    if event_log != EMBEDDED:
        return None
    try:
        return too_full(sum(topic["events"] for topic in describe(servers)))
    # That it is away is a problem by itself.
    except RatchetError:
        return None


def served_routes(router: str | None, key: str) -> tuple[list[JsonObject], list[str]]:
    if not router:
        return [], []
    try:
        return [
            summary(route)
            for route in Client({"router": router}, key).items("router", "/v1/routes")
        ], []
    except RatchetError as error:
        return [], [str(error)]


def live_accuracy(evaluator: str | None, key: str) -> dict[str, JsonObject]:
    """Return how often each route was right lately, by its name; none where nobody can say: that
    the evaluator is away is a problem by itself.
    """
    if not evaluator:
        return {}
    try:
        found = Client({"evaluator": evaluator}, key).get("evaluator", "/v1/accuracy")
    except RatchetError:
        return {}
    return {each["route"]: each["estimate"] for each in found["items"] if each["arm"] == "all"}


def undecided_audits(client: Client, route: str) -> JsonObject | None:
    """Return how many audited answers of a route nobody has decided: no certificate counts them.
    None where review is away, or its key is no admin's.
    """
    try:
        found = client.get("review", "/v1/stats").get("undecided_audits")
    except RatchetError:
        return None
    return found and found.get(route, {"open": 0, "skipped": 0})


def open_contests(evaluator: str | None, key: str) -> dict[str, JsonObject]:
    """Return what people are asked about each route's free text, by its name; as live accuracy."""
    if not evaluator:
        return {}
    try:
        found = Client({"evaluator": evaluator}, key).get("evaluator", "/v1/evaluations", limit=1)
    except RatchetError:
        return {}
    return {each["route"]: each for each in found.get("contests", [])}


def summary(route: JsonObject) -> JsonObject:
    champion = route.get("champion")
    challenger = route.get("challenger")
    return {
        "route": route["route"],
        "version": route["version"],
        "champion": champion and champion["adapter_id"],
        "challenger": challenger and challenger["adapter"]["adapter_id"],
        "challenger_share": challenger and challenger["share"],
        # None said by a router of the last release.
        "warnings": route.get("warnings", []),
    }
