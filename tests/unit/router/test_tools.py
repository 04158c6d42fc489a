"""Functions that a model calls of its own choice, or because it must."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from schemas.tool_calls import Called, Turn, why_unusable, written
from services.router.app import build
from services.router.settings import Settings
from tests import factories
from tests.unit.router.conftest import NoSender, Running
from tests.unit.router.fakes import served, until

QUESTION = [{"role": "user", "content": "Where is parcel 7?"}]
CHAT = factories.spec(task="conversation", labels=(), max_tokens=200, system="append")
PARCEL = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}


def tool(name: str = "find", parameters: dict | None = None, **more: Any) -> dict[str, Any]:
    function = {"name": name, "parameters": PARCEL if parameters is None else parameters} | more
    return {"type": "function", "function": function}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def listed(*calls: tuple[str, dict]) -> str:
    return json.dumps([{"name": name, "arguments": arguments} for name, arguments in calls])


async def ask(router: Running, **body: Any) -> dict[str, Any]:
    answer = await router.chat(**body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_call_is_given_recorded_and_its_result_is_asked_about(router: Running) -> None:
    await router.create(CHAT)
    router.vllm.calls_of = lambda body: (
        None if len(body["messages"]) > 2 else [("find", '{"id":7}')]
    )
    said = await ask(router, tools=[tool(description="Find a parcel.")])
    [choice] = said["choices"]
    [call] = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    assert call["function"] == {"name": "find", "arguments": '{"id":7}'}
    assert said["ratchet"]["outcome"] == "unsure" and said["ratchet"]["ignored"] == []
    [asked] = router.vllm.asked
    assert asked["tool_choice"] == "auto" and asked["parallel_tool_calls"] is True
    assert asked["tools"] == [tool(description="Find a parcel.")]

    result = {"role": "tool", "tool_call_id": call["id"], "name": "find", "content": "Hamburg"}
    router.vllm.answers = lambda *_: ("In Hamburg.", -0.1)
    history = [*QUESTION, choice["message"], result]
    again = await ask(router, messages=history, tools=[tool()], tool_choice="auto")
    assert again["choices"][0]["message"]["content"] == "In Hamburg."
    _, _, assistant, answered = router.vllm.asked[1]["messages"]
    assert assistant["tool_calls"] == [call] and assistant["content"] == ""
    assert answered == {
        "role": "tool",
        "content": "Hamburg",
        "tool_call_id": call["id"],
        "name": "find",
    }
    first, second = await router.events("InferenceRecorded")
    assert json.loads(first["answer"]) == {"tool_calls": [{"name": "find", "arguments": {"id": 7}}]}
    assert first["tools"] == [tool(description="Find a parcel.")]
    assert second["messages"][1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": call["id"], "name": "find", "arguments": '{"id":7}'}],
    }
    assert second["messages"][2]["tool_call_id"] == call["id"]


@pytest.mark.parametrize(
    ("choice", "given", "schema", "calls"),
    [
        ("required", listed(("find", {"id": 7}), ("other", {})), "array", ["find", "other"]),
        (named("find"), '{"id": 7}', "object", ["find"]),
        (named("other"), "{}", "object", ["other"]),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [named("find")]},
            },
            listed(("find", {"id": 7})),
            "array",
            ["find"],
        ),
    ],
)
async def test_calls_that_must_come_need_no_parser_of_the_engine(
    router: Running, choice: Any, given: str, schema: str, calls: list[str]
) -> None:
    await router.create(CHAT)
    router.vllm.answers = lambda *_: (given, -0.1)
    other = {"type": "function", "function": {"name": "other"}}
    said = await ask(router, tools=[tool(), other], tool_choice=choice)
    [asked] = router.vllm.asked
    assert asked["tool_choice"] == "none" and "parallel_tool_calls" not in asked
    assert asked["structured_outputs"]["json"]["type"] == schema
    made = said["choices"][0]["message"]["tool_calls"]
    assert [call["function"]["name"] for call in made] == calls
    assert len({call["id"] for call in made}) == len(made)
    assert json.loads(made[0]["function"]["arguments"]) in ({"id": 7}, {})


async def test_one_call_at_a_time_is_held_to_that(router: Running) -> None:
    await router.create(CHAT)
    router.vllm.answers = lambda *_: (listed(("find", {"id": 7})), -0.1)
    await ask(router, tools=[tool()], tool_choice="required", parallel_tool_calls=False)
    await ask(router, tools=[tool()], parallel_tool_calls=False)
    forced, free = router.vllm.asked
    assert forced["structured_outputs"]["json"]["maxItems"] == 1
    assert free["parallel_tool_calls"] is False


@pytest.mark.parametrize("word", ["$defs", "definitions"])
async def test_definitions_of_several_functions_stand_where_they_are_looked_for(
    router: Running, word: str
) -> None:
    await router.create(CHAT)
    address = {"type": "object", "properties": {"city": {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {"to": {"$ref": f"#/{word}/Address"}},
        word: {"Address": address},
    }
    router.vllm.answers = lambda *_: (listed(("send", {"to": {"city": "Kiel"}})), -0.1)
    tools = [tool("send", schema), tool("move", schema)]
    await ask(router, tools=tools, tool_choice="required")
    held = router.vllm.asked[0]["structured_outputs"]["json"]
    assert held[word] == {"Address": address}
    assert all(word not in one["properties"]["arguments"] for one in held["items"]["anyOf"])
    other = schema | {word: {"Address": {"type": "string"}}}
    tools = [tool("send", schema), tool("move", other)]
    refused = await router.chat(tools=tools, tool_choice="required")
    assert refused.status_code == 400 and f"different {word}" in refused.text
    assert (await router.chat(tools=tools)).status_code == 200


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"tools": [{"type": "web_search"}]}, "only functions"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "only functions"),
        ({"tools": [tool("a b")]}, "1 to 64 characters"),
        ({"tools": [tool(), tool()]}, "one name"),
        (
            {"tools": [tool(parameters={"type": "nothing"})], "tool_choice": "required"},
            "parameters",
        ),
        (
            {"tools": [tool(parameters={"$defs": []}), tool("b")], "tool_choice": "required"},
            "is no object",
        ),
        ({"tools": [tool(parameters=7)]}, "a JSON schema is needed"),  # type: ignore[arg-type]
        ({"tools": [tool(description=7)]}, "a text is needed"),
        ({"tools": [tool()], "tool_choice": named("other")}, "not in tools"),
        ({"tools": [tool()], "tool_choice": "sometimes"}, "tool_choice is one of"),
        ({"tools": [tool()], "tool_choice": {"type": "mcp"}}, "tool_choice is one of"),
        ({"tool_choice": named("find")}, "tool_choice needs tools"),
        ({"tools": [tool()], "response_format": {"type": "json_object"}}, "send one of them"),
        ({"tools": [tool(description="x" * 400_001)]}, "at most 400000"),
        ({"tools": [tool(description="\0")]}, "NUL"),
    ],
)
async def test_what_cannot_be_called_is_refused_in_words(
    router: Running, body: dict, says: str
) -> None:
    await router.create(CHAT)
    refused = await router.chat(**body)
    assert refused.status_code == 400 and says in refused.json()["error"]["message"]
    assert router.vllm.asked == []


async def test_tools_that_must_not_be_called_are_not_shown(router: Running) -> None:
    await router.create(CHAT)
    said = await ask(router, tools=[tool()], tool_choice="none")
    assert "tools" not in router.vllm.asked[0] and said["ratchet"]["ignored"] == []


async def test_an_engine_without_a_parser_says_so(router: Running) -> None:
    await router.create(CHAT)
    said = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    router.vllm.fail_chat["base"] = (400, said)
    refused = await router.chat(tools=[tool()])
    assert refused.status_code == 400 and "--tool-call-parser" in refused.text


@pytest.mark.parametrize(
    "calls",
    [
        [("find", '{"id": "seven"}')],
        [("find", '{"id": 7')],
        [("find", "[7]")],
        [("lose", '{"id": 7}')],
        [("find", '{"id": 7}'), ("find", "{}")],
    ],
)
def test_a_call_that_cannot_be_made_is_malformed(calls: list) -> None:
    called = tuple(Called(name, arguments) for name, arguments in calls)
    assert why_unusable(written(Turn("", called)), CHAT, (tool(),)) is not None
    fine = written(Turn("", (Called("find", '{"id": 7}'),)))
    assert why_unusable(fine, CHAT, (tool(),)) is None


async def test_tools_are_the_base_models_business(router: Running) -> None:
    """An adapter for free text is neither trained nor judged with them."""
    await router.create(CHAT)
    await router.promote(router.adapter(), probe=None)
    name = router.state().champion.adapter_id
    await until(lambda: router.service.parts.fleet.serving(name))
    said = await ask(router)
    assert said["ratchet"]["arm"] == "champion"
    router.vllm.calls_of = lambda _: [("find", '{"id":7}')]
    said = await ask(router, tools=[tool()])
    assert said["ratchet"]["arm"] == "base"
    [call] = said["choices"][0]["message"]["tool_calls"]
    assert call["function"]["arguments"] == '{"id":7}'


async def test_calls_that_were_cut_are_given_as_text(router: Running) -> None:
    await router.create(CHAT)
    router.vllm.answers = lambda *_: ('[{"name": "find", "argum', -0.1)
    router.vllm.bend = lambda _, answer: answer["choices"][0].update(finish_reason="length")
    said = await ask(router, tools=[tool()], tool_choice="required")
    [choice] = said["choices"]
    assert choice["finish_reason"] == "length" and "tool_calls" not in choice["message"]
    assert choice["message"]["content"] == '[{"name": "find", "argum'


async def test_personal_data_is_redacted_where_it_stands_and_json_stays_json(
    router: Running,
) -> None:
    await router.create(CHAT)
    arguments = '{"mail": "ada@example.com", "phone": 4915112345678, "id": 7}'
    router.vllm.calls_of = lambda body: [("find", arguments)] if "tools" in body else None
    said = await ask(router, tools=[tool(description="Ask ada@example.com.", parameters={})])
    [call] = said["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == json.loads(arguments), "the app has it all"
    message = said["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "ada@example.com"}
    await ask(router, messages=[*QUESTION, message, result])
    first, second = await router.events("InferenceRecorded")
    assert "ada@example.com" not in json.dumps([first, second])
    [kept] = json.loads(first["answer"])["tool_calls"]
    assert kept["arguments"]["mail"] == "[EMAIL]" and kept["arguments"]["id"] == 7
    in_history = json.loads(second["messages"][1]["tool_calls"][0]["arguments"])
    assert in_history == kept["arguments"]


async def test_large_tools_are_kept_beside_the_event(router: Running) -> None:
    await router.create(CHAT)
    router.vllm.calls_of = lambda _: [("find", '{"id":7}')]
    await ask(router, tools=[tool(description="x" * 300_000)])
    [event] = await router.events("InferenceRecorded")
    assert event["content"] and "tools" not in event and event["answer"] == ""


async def test_streams_of_calls_are_read_by_the_official_client(router: Running) -> None:
    await router.create(CHAT)
    router.vllm.calls_of = lambda _: [("find", '{"id":7}'), ("find", '{"id": 8}')]
    async with router.openai() as client:
        async with client.chat.completions.stream(
            model=factories.ROUTE, messages=QUESTION, tools=[tool(strict=True)]
        ) as stream:
            completion = await stream.get_final_completion()
        [choice] = completion.choices
        assert choice.finish_reason == "tool_calls"
        calls = choice.message.tool_calls or []
        assert [call.function.arguments for call in calls] == ['{"id":7}', '{"id":8}']
        assert len({call.id for call in calls}) == 2


RESPONSES_TOOL = {"type": "function", "name": "find", "parameters": PARCEL, "strict": False}


async def test_responses_call_and_are_told_the_result(router: Running) -> None:
    await router.create(CHAT)
    router.vllm.calls_of = lambda body: (
        None if body["messages"][-1]["role"] == "tool" else [("find", '{"id":7}'), ("find", "{}")]
    )
    async with router.openai() as client:
        first = await client.responses.create(
            model=factories.ROUTE, input="Where is 7?", tools=[RESPONSES_TOOL]
        )
        assert [item.type for item in first.output] == ["function_call"] * 2
        outputs = [
            {"type": "function_call_output", "call_id": item.call_id, "output": "Hamburg"}
            for item in first.output
        ]
        router.vllm.answers = lambda *_: ("In Hamburg.", -0.1)
        second = await client.responses.create(
            model=factories.ROUTE,
            input=[{"role": "user", "content": "Where is 7?"}, *first.output, *outputs],
            tools=[RESPONSES_TOOL],
        )
        assert second.output_text == "In Hamburg."
        _, user, assistant, *results = router.vllm.asked[1]["messages"]
        assert [one["role"] for one in (user, assistant, *results)] == [
            "user",
            "assistant",
            "tool",
            "tool",
        ]
        assert len(assistant["tool_calls"]) == 2
        stream = await client.responses.create(
            model=factories.ROUTE, input="Where?", tools=[RESPONSES_TOOL], stream=True
        )
        kinds = [event async for event in stream]
    done = [one for one in kinds if one.type == "response.function_call_arguments.done"]
    assert [one.arguments for one in done] == ['{"id":7}', "{}"]
    assert [one.output_index for one in done] == [0, 1]
    assert [one.sequence_number for one in kinds] == list(range(len(kinds)))
    assert [item.type for item in kinds[-1].response.output] == ["function_call"] * 2


async def test_a_named_function_of_responses_must_be_called(router: Running) -> None:
    await router.create(CHAT)
    router.vllm.answers = lambda *_: ('{"id": 7}', -0.1)
    async with router.openai() as client:
        for choice in (
            {"type": "function", "name": "find"},
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "find"}],
            },
        ):
            await client.responses.create(
                model=factories.ROUTE, input="Hi", tools=[RESPONSES_TOOL], tool_choice=choice
            )
    forced, free = router.vllm.asked
    assert forced["structured_outputs"] == {"json": PARCEL} and free["tool_choice"] == "auto"


async def test_a_repeat_gets_the_same_calls_after_a_restart(
    router: Running, settings: dict[str, Any]
) -> None:
    await router.create(CHAT)
    router.vllm.calls_of = lambda _: [("find", '{"id":7}'), ("find", '{"id":8}')]
    request = {"model": factories.ROUTE, "messages": QUESTION, "tools": [tool()]}
    kept = router.service.settings.vllm_url
    service = build(Settings(**(settings | {"vllm_url": kept})), sender=NoSender())
    async with served(service.api) as url:
        again = Running(service, url, router.vllm, router.secrets, router.blobs, router.folder)
        answers = []
        for one in (router, again):
            async with one.http() as http:
                http.headers["idempotency-key"] = "one"
                answers.append((await http.post("/v1/chat/completions", json=request)).json())
    first, second = answers
    assert second["choices"] == first["choices"] and len(router.vllm.asked) == 1
    assert len(first["choices"][0]["message"]["tool_calls"]) == 2


async def test_a_history_with_calls_is_kept_where_the_answer_is_a_label(router: Running) -> None:
    await router.create()
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": ""}}
    history = [
        *QUESTION,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "Hamburg"}]},
    ]
    said = await ask(router, messages=history, tools=[tool()])
    assert said["choices"][0]["message"]["content"] == "delivery"
    assert said["ratchet"]["ignored"] == ["tools"]
    [event] = await router.events("InferenceRecorded")
    assert event["messages"][1]["tool_calls"] == [{"id": "c1", "name": "find", "arguments": "{}"}]
    assert "tools" not in event and "cut" not in event
    assert set(event["messages"][0]) == {"role", "content"}, "an event is as small as before"


async def test_the_official_clients_say_what_is_wrong(router: Running) -> None:
    await router.create(CHAT)
    async with router.openai() as client:
        with pytest.raises(openai.BadRequestError, match="only functions") as refused:
            await client.responses.create(
                model=factories.ROUTE, input="Hi", tools=[{"type": "web_search"}]
            )
    assert refused.value.param == "tools.0.type"
