"""`ratchet datasets lost`: a list for people, JSON for scripts, and back to the reviewers."""

import json

import pytest
from typer.testing import CliRunner

from infra.cli import datasets
from infra.cli.client import Refused

LOST = [
    {
        "review_id": review_id,
        "reason": "ambiguous",
        "answer": "refund",
        "twin": "another",
        "messages": [{"role": "user", "content": "where is my parcel " * 9}],
    }
    for review_id in ("one", "two.1", "other-reviewer")
]


class FakeClient:
    """Answers as the services would."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.queries: list[str | None] = []
        self.lacks = ""

    def items(self, service: str, path: str, **query: str):
        self.asked.append((service, path))
        self.queries.append(query.get("reason"))
        return iter([row for row in LOST if query.get("reason") in (None, row["reason"])])

    def get(self, service: str, path: str):
        doubt = {"review_id": "one", "label": "refund", "others_say": "delivery", "ahead_by": 0.2}
        return {"manifest": {"label_noise": [doubt] if "doubtful" in path else []}}

    def post(self, service: str, path: str) -> None:
        if self.lacks:
            raise Refused(service, 403, f"this key lacks the scope '{self.lacks}'")
        if "other-reviewer" in path:
            raise Refused(service, 409, "ada decided this item: only they can take it back")
        self.asked.append((service, path))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    fake = FakeClient()
    monkeypatch.setattr(datasets, "find_client", lambda _: fake)
    return fake


def run(*arguments: str, command: str = "lost"):
    return CliRunner().invoke(datasets.app, [command, *arguments], terminal_width=200)


def test_it_is_shown_with_counts(client: FakeClient) -> None:
    said = run("acme/support")
    assert said.exit_code == 0
    assert client.asked == [("dataset-builder", "/v1/routes/acme/support/lost")]
    assert "3 ambiguous" in said.output and "…" in said.output


def test_a_dataset_has_its_own(client: FakeClient) -> None:
    assert json.loads(run("acme--support@0123", "--json").output) == LOST
    assert client.asked == [("dataset-builder", "/v1/datasets/acme--support@0123/lost")]


def test_nothing_lost_is_said(client: FakeClient) -> None:
    assert (
        "no verdict of acme/support was left out as 'audited'"
        in run("acme/support", "--reason", "audited").output
    )


def test_what_is_unsettled_goes_back_to_reviewers(client: FakeClient) -> None:
    said = run("acme/support", "--review-again")
    assert client.asked[1:] == [
        ("review", "/v1/items/one/undo"),
        ("review", "/v1/items/one/release"),
        ("review", "/v1/items/two/undo"),
        ("review", "/v1/items/two/release"),
    ]
    assert "2 verdicts are taken back" in said.output
    assert "other-reviewer stays" in said.output and said.exit_code == 1
    # Without --reason no other reason's: what was audited stays out whatever is said of it.
    assert client.queries == ["ambiguous"]


def test_a_key_that_may_not_is_told_so_once(client: FakeClient) -> None:
    client.lacks = "review"
    said = run("acme/support", "--review-again")
    assert said.exit_code == 1 and "lacks the scope 'review'" in str(said.exception)
    assert "stays" not in said.output and client.asked[1:] == []


@pytest.mark.parametrize(
    ("command", "which"),
    [("lost", ""), ("lost", "acme/triage/x"), ("lost", "../keys"), ("doubts", "acme/triage")],
)
def test_what_is_neither_a_dataset_nor_a_route_is_said(
    client: FakeClient, command: str, which: str
) -> None:
    said = run(which, command=command)
    assert said.exit_code == 2 and "is not a dataset's id" in said.output
    assert client.asked == []


def test_ids_are_never_cut(client: FakeClient) -> None:
    long = "01a21a2d-6003-7e20-a109-6b95e5675879"
    narrow = CliRunner(env={"COLUMNS": "60"})
    client.items = lambda *_, **__: iter([LOST[0] | {"review_id": long, "twin": long}])
    assert narrow.invoke(datasets.app, ["lost", "acme/support"]).output.count(long) == 2


def test_doubtful_labels_are_listed_and_go_back(client: FakeClient) -> None:
    assert "delivery" in run("doubtful", command="doubts").output
    assert "no label of clean is in doubt" in run("clean", command="doubts").output
    run("doubtful", "--review-again", command="doubts")
    assert client.asked == [
        ("review", "/v1/items/one/undo"),
        ("review", "/v1/items/one/release"),
    ]
