"""What callers see, and what another tenant does not."""

from pathlib import Path

import httpx
import pytest

from schemas.base import Message
from tests import factories
from tests.unit.dataset_builder.corpus import messages
from tests.unit.dataset_builder.rig import Rig, known_route, verdicts

ROUTE = f"/v1/routes/{factories.ROUTE}"


@pytest.fixture
async def rig(database_url: str, tmp_path: Path, keys: dict[str, str]):
    rig = await Rig(database_url, tmp_path, keys["file"]).start()
    yield rig
    await rig.db.close()


@pytest.fixture
async def acme(rig: Rig, keys: dict[str, str]):
    transport = httpx.ASGITransport(rig.service.api)
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://test",
        headers={"authorization": f"Bearer {keys['acme']}"},
    ) as client:
        yield client


async def test_datasets_rows_and_jobs_can_be_read(rig: Rig, acme: httpx.AsyncClient) -> None:
    await rig.hear(known_route(), *verdicts(0, 4, audit=True), *verdicts(4, 34))
    await rig.work()
    await rig.hear(*verdicts(34, 64))
    await rig.work()
    listed = (await acme.get("/v1/datasets", params={"route": factories.ROUTE, "limit": 1})).json()
    older = (await acme.get("/v1/datasets", params={"limit": 1, "offset": listed["next"]})).json()
    assert listed["items"][0]["parent"] == older["items"][0]["dataset_id"]
    dataset_id = listed["items"][0]["dataset_id"]
    shown = (await acme.get(f"/v1/datasets/{dataset_id}")).json()
    assert shown["event"]["dataset_id"] == dataset_id
    assert shown["manifest"]["counts"] == shown["event"]["rows"]
    rows = (
        await acme.get(
            f"/v1/datasets/{dataset_id}/rows", params={"split": "train", "limit": 5, "offset": 2}
        )
    ).json()
    assert len(rows["items"]) == 5 and rows["next"] == 7
    assert rows["items"][0]["reviewer"] == "ada"
    assert rows["items"][0]["messages"][0]["role"] == "user"
    assert rows["items"][0]["reviewed_at"].endswith("+00:00")
    assert (
        len(
            (await acme.get(f"/v1/datasets/{dataset_id}/rows", params={"split": "audit"})).json()[
                "items"
            ]
        )
        == 4
    )
    jobs = (await acme.get("/v1/jobs")).json()["items"]
    assert [(job["build"], job["state"]) for job in jobs] == [(2, "finished"), (1, "finished")]


async def test_readiness_says_what_is_missing(rig: Rig, acme: httpx.AsyncClient) -> None:
    assert (await acme.get(f"{ROUTE}/readiness")).status_code == 404
    await rig.hear(known_route(minimum_per_label=6))
    assert (await acme.get(f"{ROUTE}/readiness")).json()["new_verdicts"] == 0
    await rig.hear(
        *verdicts(0, 29), factories.drift(), factories.feedback(kind="correction", text="refund")
    )
    ready = (await acme.get(f"{ROUTE}/readiness")).json()
    assert (ready["new_verdicts"], ready["needed"], ready["building"], ready["refusal"]) == (
        29,
        30,
        None,
        None,
    )
    assert ready["drift"]["new_verdicts"] == 0 and ready["drift"]["needed"] == 10
    assert sum(label["verdicts"] for label in ready["labels"].values()) == 29
    assert ready["feedback"] == {"received": 1, "corrections_awaiting_review": 1}
    await rig.hear(*verdicts(29, 30))
    assert (await acme.get(f"{ROUTE}/readiness")).json()["building"] == 1
    await rig.work()
    refusal = (await acme.get(f"{ROUTE}/readiness")).json()["refusal"]
    assert (
        refusal["error"] == "TooFewRows"
        and "review at least" in refusal["detail"]
        and refusal["verdicts_until_retry"] > 0
    )


def contested(count: int):
    """Return verdicts of two reviewers who never agree, asked days apart."""
    texts = [text for text, _ in messages()[:count]]
    return [
        factories.review(
            review_id=f"contested-{who}-{n:04}",
            inference_id=f"inference-{who}-{n:04}",
            messages=(Message(role="user", content=text),),
            answer=answer,
            verdict="corrected",
            audit=False,
            reviewer=who,
        )
        for who, answer in (("ada", "refund"), ("bob", "delivery"))
        for n, text in enumerate(texts)
    ]


async def test_what_was_lost_is_listed_and_accepted_on_command(
    rig: Rig, acme: httpx.AsyncClient
) -> None:
    """The refusal, readiness and the list say the same numbers."""
    # before their route: one build of all of them
    await rig.hear(*verdicts(100, 200), *contested(30), known_route(minimum_per_label=1))
    await rig.work()
    ready = (await acme.get(f"{ROUTE}/readiness")).json()
    refusal = ready["refusal"]
    assert refusal["error"] == "TooMuchLost"
    assert "'ambiguous'" in refusal["detail"] and "--accept-losses" in refusal["detail"]
    assert len(refusal["largest"]) == 3
    assert refusal["largest"][0]["answers"] == {"refund": 1, "delivery": 1}
    lost = (await acme.get(f"{ROUTE}/lost", params={"limit": 100})).json()["items"]
    assert len(lost) == sum(label["left_out"] for label in ready["labels"].values())
    assert {row["reason"] for row in lost} == {"ambiguous"}
    one = next(row for row in lost if row["review_id"] == "contested-ada-0029")
    assert one["twin"] == "contested-bob-0029"
    assert one["messages"][0]["content"] == messages()[29][0]
    few = (await acme.get(f"{ROUTE}/lost", params={"reason": "audited"})).json()
    assert few == {"items": [], "next": None}

    accepted = {"reason": "we know", "accept_losses": True}
    assert (await acme.post(f"{ROUTE}/datasets", json=accepted)).status_code == 202
    await rig.work()
    (event,) = await rig.announced()
    of_dataset = (await acme.get(f"/v1/datasets/{event.dataset_id}/lost?limit=100")).json()
    assert of_dataset["items"] == lost
    labels = (await acme.get(f"{ROUTE}/readiness")).json()["labels"]
    manifest = await rig.manifest(event.dataset_id)
    trained = {name: found["verdicts"] for name, found in manifest["balance"]["labels"].items()}
    assert {name: found["verdicts"] for name, found in labels.items() if name in trained} == trained


async def test_build_on_command(rig: Rig, acme: httpx.AsyncClient) -> None:
    await rig.hear(known_route(), *verdicts(0, 25))
    answer = await acme.post(f"{ROUTE}/datasets", json={"reason": "board meeting"})
    assert (answer.status_code, answer.json()["build"]) == (202, 1)
    again = await acme.post(f"{ROUTE}/datasets", json={"reason": "board meeting"})
    assert (again.status_code, again.json()["error"]) == (409, "BuildRunning")
    await rig.work()
    assert (await rig.announced())[0].because == "asked for by acme-all: board meeting"
    assert (await acme.post(f"{ROUTE}/datasets", json={})).status_code == 422


async def test_another_tenant_sees_nothing(
    rig: Rig, acme: httpx.AsyncClient, keys: dict[str, str]
) -> None:
    await rig.hear(known_route(), *verdicts(0, 30))
    await rig.work()
    (event,) = await rig.announced()
    acme.headers["authorization"] = f"Bearer {keys['globex']}"
    for path in (
        f"/v1/datasets/{event.dataset_id}",
        f"/v1/datasets/{event.dataset_id}/rows",
        f"/v1/datasets/{event.dataset_id}/lost",
        f"{ROUTE}/lost",
        f"{ROUTE}/readiness",
        f"/v1/datasets?route={factories.ROUTE}",
    ):
        assert (await acme.get(path)).status_code == 404, path
    assert (await acme.post(f"{ROUTE}/datasets", json={"reason": "x"})).status_code == 404
    assert (await acme.get("/v1/datasets")).json()["items"] == []
    assert (await acme.get("/v1/jobs")).json()["items"] == []
    del acme.headers["authorization"]
    assert (await acme.get("/v1/datasets")).status_code == 401
