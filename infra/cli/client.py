"""Asks the services' HTTP APIs, and says in one sentence what to do when that does not work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from infra.local.home import Home
from schemas.base import JsonObject
from shared.errors import RatchetError

PAGE = 200
Query = str | int | None


class Unreachable(RatchetError):
    def __init__(self, service: str, url: str) -> None:
        super().__init__(
            f"{service} does not answer at {url}: 'ratchet status' shows what runs, 'ratchet logs"
            f" {service}' why it does not"
        )


class Refused(RatchetError):
    def __init__(self, service: str, status: int, detail: str) -> None:
        super().__init__(f"{service} said no ({status}): {detail}")
        self.code = status


class NoKey(RatchetError):
    def __init__(self, home: Home) -> None:
        super().__init__(
            f"no key to ask with: {home.credentials_file} has no 'admin'; run 'ratchet up' once, or"
            " set RATCHET_API_KEY"
        )


def find_client(folder: Path) -> Client:
    """Return a client of the running system of this home, or of one elsewhere.

    The latter is named by RATCHET_API_KEY with RATCHET_URL and RATCHET_<SERVICE>_URL.
    """
    home = Home(folder)
    urls = {"router": os.environ["RATCHET_URL"]} if "RATCHET_URL" in os.environ else {}
    for service in ("router", "capture", "review", "dataset-builder", "trainer", "evaluator"):
        if url := os.environ.get(f"RATCHET_{service.replace('-', '_').upper()}_URL"):
            urls[service] = url
    key = os.environ.get("RATCHET_API_KEY") or home.credentials().get("admin")
    if not key:
        raise NoKey(home)
    return Client(urls if "router" in urls else home.state()["urls"] | urls, key)


class Client:
    def __init__(self, urls: dict[str, str], key: str) -> None:
        self.urls = {service: url.rstrip("/") for service, url in urls.items()}
        local = all(
            "//127.0.0.1" in url or "//localhost" in url
            for url in self.urls.values()
            if url.startswith("http")
        )
        self._http = httpx.Client(
            headers={"authorization": f"Bearer {key}"}, timeout=30, trust_env=not local
        )

    def get(self, service: str, path: str, **query: Query) -> JsonObject:
        return self._ask(
            "GET",
            service,
            path,
            params={name: value for name, value in query.items() if value is not None},
        )

    def post(self, service: str, path: str, body: JsonObject | None = None) -> JsonObject:
        return self._ask("POST", service, path, body=body)

    def items(self, service: str, path: str, **query: Query) -> Iterator[JsonObject]:
        """Yield every item of a listing, page by page."""
        offset: int | str | None = None
        while True:
            page = self.get(service, path, limit=PAGE, offset=offset, **query)
            yield from page["items"]
            offset = page.get("next")
            if offset is None:
                return

    def _ask(
        self,
        method: str,
        service: str,
        path: str,
        params: Mapping[str, Query] | None = None,
        body: JsonObject | None = None,
    ) -> JsonObject:
        if service not in self.urls:
            raise RatchetError(
                f"where {service} listens is not known: set"
                f" RATCHET_{service.replace('-', '_').upper()}_URL"
            )
        try:
            response = self._http.request(
                method, f"{self.urls[service]}{path}", params=params, json=body
            )
        except httpx.HTTPError as error:
            raise Unreachable(service, self.urls[service]) from error
        if response.is_error:
            raise Refused(service, response.status_code, detail_of(response))
        answer: JsonObject = response.json() if response.content else {}
        return answer


def detail_of(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return response.reason_phrase or "no reason given"
    error = body.get("error") if isinstance(body, dict) else None
    return str(
        body.get("detail")
        or (error.get("message") if isinstance(error, dict) else error)
        or str(body)[:300]
    )
