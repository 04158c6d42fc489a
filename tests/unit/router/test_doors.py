"""The other APIs of OpenAI that are doors to a route, through its official client."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from services.router import completions, responses
from services.router.openai_errors import BadRequest
from tests import factories
from tests.unit.router.conftest import Running
from tests.unit.router.test_safety_net import cut

TEXT = "Ihre Sendung kommt\nmorgen — 明日到着します。"
SUMMARY = factories.spec(task="summarisation", labels=(), max_tokens=200, system="append")
INVOICE = factories.spec(
    task="extraction",
    labels=(),
    max_tokens=200,
    output_schema={
        "additionalProperties": False,
        "properties": {"total": {"title": "Total", "type": "number"}},
        "required": ["total"],
        "title": "Invoice",
        "type": "object",
    },
)


class Invoice(BaseModel):
    total: float


async def test_responses_answer_as_chats_do(router: Running) -> None:
    router.vllm.answers = lambda *_: (TEXT, -0.1)
    await router.create(SUMMARY)
    async with router.openai() as client:
        answer = await client.responses.create(
            model=factories.ROUTE, instructions="Be brief.", input="Where is my parcel?"
        )
    assert (answer.output_text, answer.status) == (TEXT, "completed")
    assert answer.usage.total_tokens == 12
    assert answer.model_extra["ratchet"]["inference_id"] == answer.id
    said = [message["content"] for message in router.vllm.asked[-1]["messages"]]
    assert said[0].endswith("\n\nBe brief.") and said[1] == "Where is my parcel?"
    [recorded] = await router.events("InferenceRecorded")
    assert (recorded["inference_id"], recorded["answer"]) == (answer.id, TEXT)


async def test_a_conversation_of_items_is_read(router: Running) -> None:
    await router.create()
    items: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Hello!"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "My parcel?"}]},
    ]
    async with router.openai() as client:
        await client.responses.create(model=factories.ROUTE, input=items)
    assert [(m["role"], m["content"]) for m in router.vllm.asked[-1]["messages"][1:]] == [
        ("user", "Hi"),
        ("assistant", "Hello!"),
        ("user", "My parcel?"),
    ]


async def test_responses_stream_in_openais_order(router: Running) -> None:
    router.vllm.answers = lambda *_: (TEXT, -0.1)
    await router.create(SUMMARY)
    async with (
        router.openai() as client,
        client.responses.stream(model=factories.ROUTE, input="Where?") as stream,
    ):
        seen = [event async for event in stream]
        final = await stream.get_final_response()
    assert final.output_text == TEXT
    assert [event.sequence_number for event in seen if hasattr(event, "sequence_number")] == list(
        range(len(seen))
    )
    kinds = [event.type for event in seen]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert "".join(e.delta for e in seen if e.type == "response.output_text.delta") == TEXT


async def test_parsing_into_the_routes_own_schema_works_at_both_doors(router: Running) -> None:
    router.vllm.answers = lambda *_: ('{"total": 12.5}', -0.1)
    await router.create(INVOICE)
    async with router.openai() as client:
        chat = await client.chat.completions.parse(
            model=factories.ROUTE,
            messages=[{"role": "user", "content": "12.50"}],
            response_format=Invoice,
        )
        answer = await client.responses.parse(
            model=factories.ROUTE, input="12.50", text_format=Invoice
        )
    assert chat.choices[0].message.parsed == answer.output_parsed == Invoice(total=12.5)


async def test_an_object_is_given_to_the_function_that_takes_it(router: Running) -> None:
    """As pydantic-ai and instructor ask for objects by their defaults."""
    said = '{"total": 12.5}'
    router.vllm.answers = lambda *_: (said, -0.1)
    await router.create(INVOICE)
    takes = {"name": "final_result", "parameters": Invoice.model_json_schema()}
    asked: dict[str, Any] = {
        "model": factories.ROUTE,
        "messages": [{"role": "user", "content": "12.50"}],
        "tools": [{"type": "function", "function": takes}],
        "tool_choice": "required",
    }
    async with router.openai() as client:
        whole = await client.chat.completions.create(**asked)
        parts = await client.chat.completions.create(**asked, stream=True)
        chunks = [chunk.choices[0] async for chunk in parts]
        flat: list[Any] = [{"type": "function"} | takes]
        answer = await client.responses.create(
            model=factories.ROUTE, input="12.50", tools=flat, tool_choice="required"
        )
        async with client.responses.stream(
            model=factories.ROUTE, input="12.50", tools=flat, tool_choice="required"
        ) as stream:
            kinds = [event.type async for event in stream]
            streamed = await stream.get_final_response()
    [call] = whole.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("final_result", said)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (
        None,
        "tool_calls",
    )
    calls = [one.delta.tool_calls[0] for one in chunks if one.delta.tool_calls]
    assert calls[0].function.name == "final_result" and calls[0].id.startswith("call_")
    assert "".join(one.function.arguments for one in calls) == said
    assert chunks[-1].finish_reason == "tool_calls"
    for one in (answer, streamed):
        assert (one.output[0].type, one.output[0].name, one.output[0].arguments) == (
            "function_call",
            "final_result",
            said,
        )
    assert "response.function_call_arguments.done" in kinds
    recorded = await router.events("InferenceRecorded")
    assert [one["answer"] for one in recorded] == [said] * 4


async def test_what_was_cut_is_incomplete(router: Running) -> None:
    router.vllm.bend = cut
    await router.create(SUMMARY)
    async with router.openai() as client:
        answer = await client.responses.create(model=factories.ROUTE, input="Where?")
        parts = await client.responses.create(model=factories.ROUTE, input="Where?", stream=True)
        kinds = [event.type async for event in parts]
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert kinds[-1] == "response.incomplete"


async def test_log_probabilities_come_with_responses(router: Running) -> None:
    await router.create()
    async with router.openai() as client:
        answer = await client.responses.create(
            model=factories.ROUTE,
            input="Where?",
            include=["message.output_text.logprobs"],
            top_logprobs=2,
        )
    [first, *_] = answer.output[0].content[0].logprobs
    assert (first.token, first.logprob, len(first.top_logprobs)) == ("delivery", -0.2, 2)


@pytest.mark.parametrize(
    ("sent", "says", "param"),
    [
        ({"previous_response_id": "resp_1"}, "send the whole conversation", "previous_response_id"),
        ({"conversation": "conv_1"}, "send the whole conversation", "conversation"),
        ({"background": True}, "leave background out", "background"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "calls no", "tool_choice"),
        ({"extra_body": {"n": 2}}, "leave n out", "n"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "function calls", "input.0"),
        ({"input": 7}, "a text, or a list of messages", "input"),
        ({"input": []}, "a text, or a list of messages", "input"),
        ({"input": [{"type": "function_call_output"}]}, "only messages", "input.0"),
        ({"input": [{"role": "king", "content": "x"}]}, "input.0.role", "input.0.role"),
        ({"max_output_tokens": 0}, "max_completion_tokens", "max_completion_tokens"),
    ],
)
async def test_what_responses_cannot_do_is_refused_by_its_name(
    router: Running, sent: dict, says: str, param: str
) -> None:
    await router.create()
    async with router.openai() as client:
        with pytest.raises(openai.BadRequestError, match=says) as refused:
            await client.responses.create(**{"model": factories.ROUTE, "input": "Hi"} | sent)
    assert refused.value.param == param


async def test_the_older_completions_answer_too(router: Running) -> None:
    router.vllm.answers = lambda *_: (TEXT, -0.1)
    await router.create(SUMMARY)
    async with router.openai() as client:
        answer = await client.completions.create(model=factories.ROUTE, prompt="Where is it?")
        parts = await client.completions.create(
            model=factories.ROUTE, prompt=["Where is it?"], stream=True
        )
        streamed = [chunk.choices[0].text async for chunk in parts]
    assert answer.choices[0].text == "".join(streamed) == TEXT
    assert router.vllm.asked[-1]["messages"][-1] == {"role": "user", "content": "Where is it?"}


@pytest.mark.parametrize(
    "sent",
    [
        {"prompt": ["a", "b"]},
        {"prompt": [1, 2]},
        {"prompt": None},
        {"prompt": "x", "logprobs": 2},
        {"prompt": "x", "echo": True},
        {"prompt": "x", "suffix": "y"},
        {"prompt": "x", "best_of": 3},
    ],
)
def test_what_completions_cannot_do_is_refused(sent: dict) -> None:
    with pytest.raises(BadRequest):
        completions.read(json.dumps({"model": factories.ROUTE} | sent).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{", b'{"input": "\\ud800"}', b"\xff"])
def test_what_is_no_object_is_a_400_at_every_door(body: bytes) -> None:
    for door in (responses, completions):
        with pytest.raises(BadRequest):
            door.read(body)
