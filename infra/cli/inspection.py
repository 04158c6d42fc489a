"""What runs, seen from outside: the state file, each part's own word, the consumers' lag, what
serves each route.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from infra.cli.client import Client
from infra.local.home import Home
from infra.topics import lag
from schemas.topics import SERVICES
from shared.errors import RatchetError


def system_status(home: Home) -> dict[str, Any]:
    state = home.state()
    parts = asyncio.run(all_health(state["parts"]))
    behind, trouble = consumer_lag(state["kafka"])
    routes, no_routes = served_routes(
        state["urls"].get("router"), home.credentials().get("admin", "")
    )
    problems = [
        *trouble,
        *no_routes,
        *(f"{part['name']} is {part['state']}" for part in parts if part["state"] != "ready"),
    ]
    return {
        "ok": not problems,
        "home": str(home.path),
        "pid": state["pid"],
        "started": state["started"],
        "parts": parts,
        "lag": behind,
        "routes": routes,
        "problems": problems,
    }


async def all_health(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(trust_env=False, timeout=3) as client:
        words = await asyncio.gather(*(health(client, part) for part in parts))
    return [
        {
            **part,
            "health": word,
            "state": "unhealthy" if part["state"] == "ready" and word is None else part["state"],
        }
        for part, word in zip(parts, words, strict=True)
    ]


async def health(client: httpx.AsyncClient, part: dict[str, Any]) -> dict[str, Any] | None:
    """What the part says of itself; None when it does not answer. The event log is asked for its
    lag instead.
    """
    if part["name"] == "broker":
        return {}
    path = "/health/ready" if part["name"] in SERVICES else "/health"
    try:
        response = await client.get(f"{part['url']}{path}")
        response.raise_for_status()
        return response.json() if response.content and path == "/health/ready" else {}
    except (httpx.HTTPError, ValueError):
        return None


def consumer_lag(servers: str) -> tuple[dict[str, dict[str, int]], list[str]]:
    try:
        return lag(servers), []
    except RatchetError as error:
        return {}, [str(error)]


def served_routes(router: str | None, key: str) -> tuple[list[dict[str, Any]], list[str]]:
    if not router:
        return [], []
    try:
        return [
            summary(route)
            for route in Client({"router": router}, key).items("router", "/v1/routes")
        ], []
    except RatchetError as error:
        return [], [str(error)]


def summary(route: dict[str, Any]) -> dict[str, Any]:
    champion = route.get("champion")
    challenger = route.get("challenger")
    return {
        "route": route["route"],
        "version": route["version"],
        "champion": champion and champion["adapter_id"],
        "challenger": challenger and challenger["adapter"]["adapter_id"],
        "challenger_share": challenger and challenger["share"],
    }
