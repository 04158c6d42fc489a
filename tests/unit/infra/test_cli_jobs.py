"""`ratchet jobs` against three services that answer as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.cli.main import app

FIRST = "01a210df-207e-7aeb-a536-aa2f01856b97"
SECOND = "01a210ff-0000-7000-8000-000000000000"


def job(job_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "kind": "train",
        "route": "acme/support",
        "state": "running",
        "attempt": 2,
        "progress": {"step": 5, "steps": 20},
        "age_seconds": 75.0,
        "heartbeat_age_seconds": 12.0,
        "error": "disk: No space left on device",
        "created_at": f"2026-01-0{1 + (job_id == SECOND)}T00:00:00+00:00",
    } | changes


JOBS = {
    "trainer": [job(FIRST)],
    "evaluator": [
        job(SECOND, kind="evaluate", state="finished", progress={"asked": 9, "of": 9}, error=None)
    ],
    "dataset-builder": [],
}
HISTORY = [
    {
        "attempt": 1,
        "began_at": "2026-01-01T00:00:00+00:00",
        "ended_at": "2026-01-01T00:01:00+00:00",
        "worker": "pod:7",
        "outcome": "died",
        "reason": "its worker stopped renewing the lease",
    }
]


class Services:
    """One server for all three: the service is the first part of the path."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, Any]] = []
        services = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service, _, path = self.path.partition("?")[0].lstrip("/").partition("/")
                job_id = path.removeprefix("v1/jobs").lstrip("/")
                found = [item for item in JOBS[service] if item["job_id"] == job_id]
                body = (
                    found[0] | {"history": HISTORY}
                    if found
                    else (
                        {"error": "JobUnknown"}
                        if job_id
                        else {"items": JOBS[service], "next": None}
                    )
                )
                self.say(body, 404 if job_id and not found else 200)

            def do_POST(self) -> None:
                services.commands.append(
                    (self.path, json.loads(self.rfile.read(int(self.headers["content-length"]))))
                )
                self.say(job(self.path.split("/")[4]))

            def say(self, body: Any, status: int = 200) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def services() -> Iterator[Services]:
    services = Services()
    threading.Thread(target=services.server.serve_forever, daemon=True).start()
    yield services
    services.server.shutdown()
    services.server.server_close()


def run(services: Services, folder: Path, *arguments: str, **environment: str):
    urls = {
        f"RATCHET_{name.replace('-', '_').upper()}_URL": f"{services.url}/{name}" for name in JOBS
    }
    everything = {
        "NO_COLOR": "1",
        "COLUMNS": "220",
        "RATCHET_HOME": str(folder),
        "RATCHET_API_KEY": "rk_x",  # pragma: allowlist secret
        "RATCHET_URL": services.url,
    } | urls
    return CliRunner().invoke(app, ["jobs", *arguments], env=everything | environment)


def test_all_jobs_are_listed_newest_first_with_why_they_wait(
    services: Services, tmp_path: Path
) -> None:
    lines = run(services, tmp_path, "list").stdout.splitlines()
    assert lines[0].split() == [
        "job",
        "kind",
        "route",
        "state",
        "attempt",
        "progress",
        "age",
        "why",
    ]
    assert lines[1].startswith(SECOND) and "finished" in lines[1] and "9/9" in lines[1]
    assert (
        lines[2].startswith(FIRST)
        and "5/20 (silent for 12 s)" in lines[2]
        and "disk: No space left" in lines[2]
    )
    assert [
        item["service"] for item in json.loads(run(services, tmp_path, "list", "--json").stdout)
    ] == ["evaluator", "trainer"]


def test_a_service_that_is_away_is_named_and_the_others_are_listed(
    services: Services, tmp_path: Path
) -> None:
    result = run(services, tmp_path, "list", RATCHET_EVALUATOR_URL="http://127.0.0.1:1")
    assert (
        "evaluator does not answer" in result.stderr
        and FIRST in result.stdout
        and result.exit_code == 0
    )


def test_one_job_is_shown_with_its_attempts(services: Services, tmp_path: Path) -> None:
    shown = run(services, tmp_path, "show", FIRST[:13]).stdout
    assert (
        "2026-01-01 00:01:00" in shown
        and "pod:7" in shown
        and "its worker stopped renewing" in shown
    )
    assert json.loads(run(services, tmp_path, "show", FIRST, "--json").stdout)["history"] == HISTORY


def test_it_is_cancelled_and_retried_in_its_own_service(services: Services, tmp_path: Path) -> None:
    assert (
        "is cancelled"
        in run(services, tmp_path, "cancel", FIRST[:13], "--reason", "wrong recipe").stdout
    )
    assert "is queued again" in run(services, tmp_path, "retry", SECOND).stdout
    assert services.commands == [
        (f"/trainer/v1/jobs/{FIRST}/cancel", {"reason": "wrong recipe"}),
        (f"/evaluator/v1/jobs/{SECOND}/retry", {"reason": "asked on the command line"}),
    ]


@pytest.mark.parametrize(
    ("beginning", "words"),
    [("01a210", "2 jobs begin with '01a210'"), ("ffff", "there is no job 'ffff'")],
)
def test_a_job_that_is_not_one_is_said_in_one_sentence(
    services: Services, tmp_path: Path, beginning: str, words: str
) -> None:
    result = run(services, tmp_path, "cancel", beginning)
    assert result.exit_code == 1 and words in result.stderr and not services.commands
