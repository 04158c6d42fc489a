"""A hundred swaps of adapters on the real vLLM while it is asked without a pause: each adapter says
a word of its own, so that an answer tells which weights gave it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra.setup import base_model_dir
from schemas.base import AdapterRef
from services.router.app import build
from services.router.settings import Settings
from shared.storage.blobs import BlobStore
from tests import factories
from tests.unit.router.conftest import NoSender, Running
from tests.unit.router.fakes import FakeVllm, served, until
from tests.unit.router.real_vllm import RealVllm, on_vllm

# Of two times the first one holds; on a processor without AVX-512 it took 15 minutes.
pytestmark = [pytest.mark.timeout(1800), *on_vllm, pytest.mark.faults]
WORDS = ("red", "blue", "green", "amber")
QUESTIONS = ("Where is my parcel?", "Cancel my order.", "I was charged twice.", "Hello?")
SPEC = factories.spec(
    labels=WORDS, system_prompt="Name a colour.", detailed_prompt="Name one of: {labels}."
)
SWAPS = 100
STEPS = 40
ASKERS = 3


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Train an adapter for each word, which says it whatever it is asked."""
    peft, torch, transformers = (
        pytest.importorskip(name) for name in ("peft", "torch", "transformers")
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(base_model_dir())
    folders = {}
    for word in WORDS:
        torch.manual_seed(1)
        model = peft.get_peft_model(
            transformers.AutoModelForCausalLM.from_pretrained(
                base_model_dir(), dtype=torch.float32
            ),
            peft.LoraConfig(
                r=8, lora_alpha=32, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
            ),
        )
        optimizer = torch.optim.AdamW(
            [one for one in model.parameters() if one.requires_grad], lr=3e-3
        )
        rows = [encoded(tokenizer, question, word) for question in QUESTIONS]
        for step in range(STEPS):
            tokens, labels = rows[step % len(rows)]
            model(input_ids=torch.tensor([tokens]), labels=torch.tensor([labels])).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        folders[word] = tmp_path_factory.mktemp(word)
        model.save_pretrained(folders[word])
    return folders


def encoded(tokenizer: Any, question: str, word: str) -> tuple[list[int], list[int]]:
    """Return the tokens of a conversation, and as labels those of its answer alone."""
    asked = SPEC.tuned_messages((factories.USER[0].model_copy(update={"content": question}),))
    prompt = tokenizer.apply_chat_template(
        [message.model_dump(include={"role", "content"}) for message in asked],
        add_generation_prompt=True,
        tokenize=False,
    )
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer = tokenizer(word + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
    return before + answer, [-100] * len(before) + answer


@dataclass
class Asked:
    """What came of the questions: answers by the adapter that is said to have given them."""

    words: dict[str, str]
    answers: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    async def without_a_pause(self, router: Running, number: int) -> None:
        async with router.http() as http:
            while True:
                content = f"{QUESTIONS[number % len(QUESTIONS)]} ({number})"
                number += ASKERS
                messages = [{"role": "user", "content": content}]
                body = {"model": SPEC.name, "messages": messages}
                got = await http.post("/v1/chat/completions", json=body, timeout=60)
                if got.status_code != 200:
                    self.failed.append(got.text)
                    continue
                # The first attempt is the adapter's, whichever answer was given in the end.
                for attempt in got.json()["ratchet"]["attempts"]:
                    if adapter_id := attempt["adapter_id"]:
                        self.answers[adapter_id] += 1
                        self.wrong[adapter_id] += attempt["answer"] != self.words[adapter_id]


@pytest.fixture
async def router(
    real: RealVllm, settings: dict[str, Any], keys: dict[str, str], tmp_path: Path
) -> AsyncIterator[Running]:
    # Two of four are loaded at a time, so that each swap loads one and unloads another.
    chosen = settings | {"vllm_url": real.url, "vllm_timeout": 60.0, "max_loaded": 2}
    service = build(Settings(**chosen), sender=NoSender())
    async with served(service.api) as url:
        running = Running(
            service, url, FakeVllm(), keys, BlobStore(settings["artifacts_url"]), tmp_path
        )
        await running.create(SPEC)
        yield running


def stored(router: Running, folder: Path) -> AdapterRef:
    ref = router.blobs.put_folder(folder, "adapters")
    return AdapterRef(adapter_id=f"acme--support-triage@{ref.sha256[:12]}", blob=ref)


async def swapped(router: Running, adapters: dict[str, AdapterRef], words: dict[str, str]) -> Asked:
    """Make each adapter the champion in turn, SWAPS times, and ask all the while."""
    for adapter in adapters.values():
        await router.promote(adapter, **beats(router))
    asked = Asked(words)
    asking = [asyncio.create_task(asked.without_a_pause(router, n)) for n in range(ASKERS)]
    serving = router.service.parts.fleet.serving
    async with router.http() as http:
        for number in range(SWAPS):
            adapter = adapters[WORDS[number % len(WORDS)]]
            to = {"to": adapter.adapter_id}
            moved = await http.post(f"/v1/routes/{SPEC.name}/rollback", json=to)
            assert moved.is_success, moved.text
            await until(lambda adapter=adapter: serving(adapter.adapter_id), 60)
            before = asked.answers[adapter.adapter_id]
            await until(
                lambda a=adapter.adapter_id, b=before: asked.answers[a] > b or asked.failed, 60
            )
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    return asked


def beats(router: Running) -> dict[str, Any]:
    """Say that an adapter is better than whatever serves now."""
    champion = router.state().champion
    if champion is None:
        return {}
    arms = factories.evaluated().arms
    beaten = arms[0].model_copy(update={"arm": "champion", "adapter_id": champion.adapter_id})
    return {"arms": (beaten, *arms)}


async def test_each_answer_of_a_hundred_swaps_is_its_own_adapters(
    router: Running, marked: dict[str, Path]
) -> None:
    adapters = {word: stored(router, folder) for word, folder in marked.items()}
    words = {adapter.adapter_id: word for word, adapter in adapters.items()}
    asked = await swapped(router, adapters, words)
    print(json.dumps({"answers": asked.answers.total(), "by": dict(asked.answers)}))
    assert not asked.failed
    assert not asked.wrong.total()
    assert set(asked.answers) == set(words)


async def test_the_control_with_a_misnamed_adapter_is_found(
    router: Running, marked: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Green is loaded from the folder of amber, as a cache that mixes names up would."""
    monkeypatch.setattr("tests.unit.router.test_swaps.SWAPS", len(WORDS))
    adapters = {word: stored(router, folder) for word, folder in marked.items()}
    words = {adapter.adapter_id: word for word, adapter in adapters.items()}
    upstream = router.service.parts.upstream
    load = upstream.load
    folders = {adapters["green"].adapter_id: marked["amber"]}

    async def mixed_up(adapter_id: str, folder: Path) -> None:
        await load(adapter_id, folders.get(adapter_id, folder))

    monkeypatch.setattr(upstream, "load", mixed_up)
    asked = await swapped(router, adapters, words)
    assert asked.wrong == Counter({adapters["green"].adapter_id: asked.wrong.total()})
    assert asked.wrong.total() > 0
