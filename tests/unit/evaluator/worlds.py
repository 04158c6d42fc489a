"""A dataset folder, an adapter folder and an engine that answers as it is told: what the
evaluator's tests stand on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import log
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import MetaData

from schemas.base import AdapterRef, BlobRef, Confidence, Message
from services.evaluator.contests import Contests
from services.evaluator.handlers import EventHandlers
from services.evaluator.judging import Judging
from services.evaluator.ports import AdapterUnfit, EngineAway, Judge, NoAnswer
from services.evaluator.store.comparisons import ComparisonStore
from services.evaluator.store.contests import ContestStore
from services.evaluator.store.evaluations import EvaluationStore
from shared.events.outbox import Outbox
from shared.jobs.worker import JobStore
from shared.rules import ANYTHING, Completion, Form, Grammar
from shared.rules.routes import RouteBook
from shared.storage.blobs import BlobStore
from shared.storage.db import Database
from tests import factories

LABELS = factories.spec().labels


def held_out_texts(n: int) -> list[tuple[str, str]]:
    """(text, right label): the text names its number, so that a fake engine can look its answer
    up.
    """
    return [(f"message {i} <script>alert({i})</script>", LABELS[i % len(LABELS)]) for i in range(n)]


def store_dataset(
    blobs: BlobStore,
    folder: Path,
    rows: Sequence[tuple[str, str]],
    audit: int = 60,
    rejected: int = 0,
) -> BlobRef:
    """Store the rows, the first of them audited, and the first of these `rejected`."""
    folder.mkdir(parents=True)
    for split, part in (("audit", rows[:audit]), ("test", rows[audit:])):
        table = pa.table(
            {
                "row_id": [f"{split}-{i}" for i in range(len(part))],
                "answer": [label for _, label in part],
                "label_source": [
                    "rejected" if split == "audit" and i < rejected else "approved"
                    for i in range(len(part))
                ],
                "messages": [json.dumps([{"role": "user", "content": text}]) for text, _ in part],
            }
        )
        pq.write_table(table, folder / f"{split}.parquet")
    return blobs.put_folder(folder, "datasets")


def store_adapter(blobs: BlobStore, folder: Path, weights: bytes = b"weights") -> AdapterRef:
    """Store the smallest folder that is an adapter in form."""
    folder.mkdir(parents=True)
    tensor = {"dtype": "U8", "shape": [len(weights)], "data_offsets": [0, len(weights)]}
    header = json.dumps({f"q_proj.lora_{half}.weight": tensor for half in "AB"}).encode()
    file = len(header).to_bytes(8, "little") + header + weights
    (folder / "adapter_model.safetensors").write_bytes(file)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    ref = blobs.put_folder(folder, "adapters")
    return AdapterRef(adapter_id=f"acme--support-triage@{ref.sha256[:12]}", blob=ref)


class ScriptedEngine:
    """Answers `right[model]` of every ten rows rightly, surely so where it is right."""

    def __init__(self, rows: Sequence[tuple[str, str]], right: dict[str, int]) -> None:
        self.rows = dict(rows)
        self.right = right
        self.loaded: list[str] = []
        self.asked = 0
        self.away = False
        self.breaks_after: int | None = None
        self.unfit = ""
        # Of a model, every how many questions it does not answer.
        self.silent: dict[str, int] = {}
        self.grammar = Grammar()
        self.release = ""
        self.forms: set[tuple[str, Form]] = set()

    async def see(self) -> None:
        if self.away:
            raise EngineAway("http://127.0.0.1:9/v1", "ConnectError")
        self.grammar.runs(self.release)

    async def load(self, adapter_id: str, folder: Path) -> None:
        assert folder.is_absolute() and (folder / "adapter_model.safetensors").exists()
        if self.unfit:
            raise AdapterUnfit(adapter_id, self.unfit)
        self.loaded.append(adapter_id)

    async def unload(self, adapter_id: str) -> None:
        # It need not be loaded.
        if adapter_id in self.loaded:
            self.loaded.remove(adapter_id)

    async def ask(
        self, model: str, messages: Sequence[Message], max_tokens: int, form: Form = ANYTHING
    ) -> Completion:
        if self.away or self.breaks_after == self.asked:
            raise EngineAway("http://127.0.0.1:9/v1", "ConnectError")
        assert model == "base" or model in self.loaded
        self.asked += 1
        if self.asked % self.silent.get(model, self.asked + 1) == 0:
            raise NoAnswer("http://127.0.0.1:9/v1", "ReadTimeout")
        self.forms.add((model, form))
        text = messages[-1].content
        number = int(text.split()[1])
        label = self.rows[text]
        is_right = number % 10 < self.right[model]
        score = 0.97 - number % 7 / 100 if is_right else 0.5
        answer = (
            label
            if is_right
            else "no idea"
            if model == "base"
            else LABELS[(LABELS.index(label) + 1) % len(LABELS)]
        )
        return Completion(
            answer,
            Confidence(score=score, min_logprob=log(score), first_margin=1.0, tokens=1),
            log(score),
            10.0,
        )


def handlers(world: SimpleNamespace) -> EventHandlers:
    """The handlers over what a test's world has."""
    parts = ("jobs", "routes", "streams", "monitors", "answered")
    looks = getattr(world, "looks", NoLooks())
    return EventHandlers(**{name: getattr(world, name, None) for name in parts}, looks=looks)


class NoLooks:
    """What two people said of one answer is tested on its own."""

    async def add(self, *_: object) -> None:
        pass


class NoReports:
    """Reports are tested on their own, with the real children."""

    def __init__(self) -> None:
        self.contents: list[dict] = []

    async def evaluation(self, content: dict) -> BlobRef | None:
        self.contents.append(content)
        return None

    async def drift(self, content: dict) -> BlobRef | None:
        self.contents.append(content)
        return None


def contests_over(
    metadata: MetaData,
    db: Database,
    jobs: JobStore,
    outbox: Outbox,
    routes: RouteBook,
    evaluations: EvaluationStore,
    blobs: BlobStore,
    reports: NoReports,
    judge: Judge | None = None,
) -> Contests:
    """People who are asked about free text, and maybe a model beside them."""
    return Contests(
        db=db,
        jobs=jobs,
        outbox=outbox,
        routes=routes,
        evaluations=evaluations,
        comparisons=ComparisonStore(metadata),
        store=ContestStore(metadata),
        blobs=blobs,
        reports=reports,
        judging=Judging(judge, concurrency=4),
        days=28.0,
    )
