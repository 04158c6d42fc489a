"""What each failure of the evaluation's vLLM means for the job: wait, count as wrong, or refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.base import Message
from services.evaluator.adapters.vllm import VllmGenerator
from services.evaluator.ports import AdapterUnfit, EngineAway, NoAnswer
from shared.rules import form_of
from tests import factories
from tests.unit.router.fakes import FakeVllm, served

QUESTION = (Message(role="user", content="Where is my parcel?"),)


async def test_an_answer_is_kept_as_it_is_and_measured() -> None:
    fake = FakeVllm(lambda *_: (" delivery\n", -0.2))
    async with served(fake.app) as url:
        generator = VllmGenerator(url, "", 5.0, 4)
        reply = await generator.ask("base", QUESTION, 16)
        await generator.close()
    assert (reply.answer, reply.logprob) == (" delivery\n", pytest.approx(-0.2))
    assert reply.confidence.tokens == 1 and reply.latency_ms > 0


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 503])
async def test_trouble_that_passes_makes_the_job_wait(status: int, tmp_path: Path) -> None:
    fake = FakeVllm()
    fake.fail_chat["base"] = fake.fail_load = (status, "later")
    async with served(fake.app) as url:
        generator = VllmGenerator(url, "", 5.0, 4)
        with pytest.raises(EngineAway, match=f"status {status}"):
            await generator.ask("base", QUESTION, 16)
        with pytest.raises(EngineAway, match=f"status {status}"):
            await generator.load("a@1", tmp_path)
        await generator.close()


@pytest.mark.parametrize("status", [400, 409, 413, 422])
async def test_a_question_that_is_refused_counts_as_unanswered(status: int) -> None:
    fake = FakeVllm()
    fake.fail_chat["base"] = (status, "too long")
    async with served(fake.app) as url:
        generator = VllmGenerator(url, "", 5.0, 4)
        reply = await generator.ask("base", QUESTION, 16)
        await generator.close()
    assert (reply.answer, reply.confidence.score, reply.confidence.tokens) == ("", 0.0, 0)


async def test_who_was_asked_and_gave_no_answer_is_told_from_who_is_away() -> None:
    fake = FakeVllm()
    fake.slow["base"] = None
    async with served(fake.app) as url:
        generator = VllmGenerator(url, "", 0.2, 4)
        with pytest.raises(NoAnswer):
            await generator.ask("base", QUESTION, 16)
        await generator.close()


async def test_an_engine_that_forgot_its_adapters_or_is_gone_is_waited_for() -> None:
    async with served(FakeVllm().app) as url:
        generator = VllmGenerator(url, "", 5.0, 4)
        with pytest.raises(EngineAway, match="it no longer serves a@1"):
            await generator.ask("a@1", QUESTION, 16)
        await generator.close()
    nowhere = VllmGenerator("http://127.0.0.1:1/v1", "", 5.0, 4)
    with pytest.raises(EngineAway, match=r"http://127\.0\.0\.1:1 does not answer \(NotReached\)"):
        await nowhere.ask("base", QUESTION, 16)


@pytest.mark.parametrize("status", [400, 404, 409])
async def test_an_adapter_that_vllm_refuses_is_unfit(status: int, tmp_path: Path) -> None:
    fake = FakeVllm()
    fake.fail_load = (status, "LoRA rank 64 is greater than max_lora_rank 16")
    async with served(fake.app) as url:
        generator = VllmGenerator(url, "", 5.0, 4)
        with pytest.raises(AdapterUnfit, match="max_lora_rank 16"):
            await generator.load("a@1", tmp_path)
        await generator.unload("a@1")
        await generator.close()


async def test_a_schema_that_the_grammar_cannot_hold_costs_no_answer() -> None:
    fake = FakeVllm(lambda *_: ('{"total": 1}', -0.2))
    fake.release = "0.32.0"
    fake.refuses = lambda body: "json" in (body.get("structured_outputs") or {})
    form = form_of(
        factories.spec(task="extraction", labels=(), output_schema={"properties": {"total": {}}})
    )
    async with served(fake.app) as url:
        generator = VllmGenerator(url, "", 5.0, 4)
        await generator.see()
        reply = await generator.ask("base", QUESTION, 16, form)
        # A question that no form helps is unanswered, as before.
        fake.refuses = lambda _: True
        silent = await generator.ask("base", QUESTION, 16, form)
        await generator.close()
    assert reply.answer == '{"total": 1}'
    assert (generator.grammar.engine, generator.grammar.step(form)) == ("0.32.0", 1)
    assert (silent.answer, silent.confidence.score) == ("", 0.0)


async def test_a_release_may_stay_untold_and_who_is_away_is_waited_for() -> None:
    async with served(FakeVllm().app) as url:
        generator = VllmGenerator(url, "", 5.0, 4)
        await generator.see()
        assert generator.grammar.engine == ""
        await generator.close()
    nowhere = VllmGenerator("http://127.0.0.1:1/v1", "", 5.0, 4)
    with pytest.raises(EngineAway):
        await nowhere.see()
    await nowhere.close()
