"""Lineage joins the services' answers, over real HTTP requests to a small server of recorded
facts.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
from rich.console import Console

from infra.cli.client import Client, Refused
from infra.cli.tree import lineage_tree
from infra.lineage import gather
from tests import factories

ADAPTER = factories.adapter().adapter_id
ROWS = [
    {
        "row_id": f"row-{n}",
        "messages": json.dumps([{"role": "user", "content": f"[bold]parcel {n}[/]"}]),
        "answer": "delivery",
        "label_source": "corrected",
        "reviewer": "ada" if n % 3 else "ben",
    }
    for n in range(250)
]


@pytest.fixture
def facts() -> dict:
    answered = factories.inference(
        inference_id="by-adapter",
        arm="champion",
        adapter_id=ADAPTER,
        model=ADAPTER,
        route_version=3,
    )
    dataset = factories.trained().dataset_id
    return {
        "/v1/inferences/by-adapter": answered.model_dump(mode="json"),
        "/v1/inferences/by-base": (
            factories.inference(inference_id="by-base").model_dump(mode="json")
        ),
        f"/v1/adapters/{ADAPTER}": factories.trained().model_dump(mode="json"),
        "/v1/evaluations": {"items": [factories.evaluated().model_dump(mode="json")], "next": None},
        f"/v1/datasets/{dataset}": {
            "manifest": {"counts": {"train": 250, "audit": 3}, "dropped": {"duplicate": 4}}
        },
        f"/v1/datasets/{dataset}/rows": ROWS,
    }


@pytest.fixture
def client(facts: dict) -> Iterator[Client]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            found = facts.get(urlsplit(self.path).path)
            if isinstance(found, list):
                offset = int(parse_qs(url.query).get("offset", ["0"])[0])
                found = {
                    "items": found[offset : offset + 200],
                    "next": offset + 200 if offset + 200 < len(found) else None,
                }
            self.send_response(200 if found is not None else 404)
            self.end_headers()
            self.wfile.write(
                json.dumps(
                    found if found is not None else {"error": "NotFound", "detail": "no such thing"}
                ).encode()
            )

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    yield Client(dict.fromkeys(("router", "trainer", "evaluator", "dataset-builder"), url), "rk_x")
    server.shutdown()


def test_an_adapters_answer_leads_back_to_every_reviewer(client: Client) -> None:
    found = gather(client, "by-adapter", rows=2)
    assert found["adapter"]["recipe_sha256"] == "cd" * 32
    assert found["evaluation"]["tests"][0]["p_value"] == 0.0001
    assert (len(found["rows"]), found["training_rows"], found["reviewers"]) == (
        2,
        250,
        {"ada": 166, "ben": 84},
    )


def test_the_tree_shows_each_link_and_no_markup_of_users_acts(client: Client) -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(lineage_tree(gather(client, "by-adapter", rows=1)))
    text = console.export_text()
    for fact in (
        ADAPTER,
        "ab" * 32,
        "cd" * 32,
        "50 wins, 2 losses, mid-p 0.0001",
        "[bold]parcel 0[/]",
        "ben",
        "gave 84 of them",
        "train 250",
        "duplicate 4",
    ):
        assert fact in text


def test_a_base_models_answer_ends_at_the_base_model(client: Client) -> None:
    found = gather(client, "by-base")
    assert (found["adapter_id"], found["rows"]) == (None, [])
    lineage_tree(found)


def test_what_a_service_no_longer_has_ends_the_chain_without_an_error(
    client: Client, facts: dict
) -> None:
    del facts[f"/v1/adapters/{ADAPTER}"]
    found = gather(client, "by-adapter")
    assert (found["adapter"], found["dataset_id"]) == (None, None)
    lineage_tree(found)


def test_an_unknown_inference_is_said_in_the_services_words(client: Client) -> None:
    with pytest.raises(Refused, match=r"router said no \(404\): no such thing"):
        gather(client, "absent")
