"""From reviewed rows to training sequences: as served, with an end, uncut, and with the shared
beginning once.
"""

from __future__ import annotations

import pytest
from jinja2 import TemplateError

from schemas.base import Message, ToolCall
from schemas.route import RouteSpec
from services.trainer.packing import common_prefix, lay_out
from services.trainer.refusals import (
    AnswersCut,
    AnswerWrapped,
    PromptNotKept,
    RowsUnusable,
    TooManyTooLong,
)
from services.trainer.rendering import (
    IGNORED,
    TokenizedRow,
    check_uncut,
    fitting,
    render,
    render_all,
)
from tests.factories import spec

TURN = (Message(role="user", content="late"),)


class Characters:
    """A tokenizer of one token a character; `$` ends an answer."""

    eos_token_id = ord("$")

    def __init__(self, end: str = "$\n", rewrites: bool = False) -> None:
        self.end = end
        self.rewrites = rewrites

    def apply_chat_template(
        self, messages: list[dict], tokenize: bool, add_generation_prompt: bool = False
    ) -> str:
        if self.rewrites and messages[-1]["role"] == "assistant":
            messages = messages[1:]
        text = "".join(
            f"{m['role'][0]}:{m['content']}{self.end if m['role'] == 'assistant' else ';'}"
            for m in messages
        )
        return text + ("a:" if add_generation_prompt else "")

    def __call__(
        self, text: str, add_special_tokens: bool, split_special_tokens: bool = False
    ) -> dict:
        return {"input_ids": [ord(letter) for letter in text]}


def text(ids: list[int]) -> str:
    return "".join(map(chr, ids))


def test_calls_in_a_conversation_reach_the_template_as_the_engine_hands_them_on() -> None:
    seen: list[list[dict]] = []

    class Watched(Characters):
        def apply_chat_template(self, messages: list[dict], **how: bool) -> str:
            seen.append(messages)
            return super().apply_chat_template(messages, **how)

    call = ToolCall(id="c1", name="find", arguments='{"id": 7}')
    turns = (
        *TURN,
        Message(role="assistant", content="", tool_calls=(call,)),
        Message(role="tool", content="Hamburg", tool_call_id="c1", name="find"),
    )
    render(Watched(), spec(system_prompt="Sort"), turns, "delivery")
    function = {"name": "find", "arguments": {"id": 7}}
    assert seen[0][2:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "Hamburg", "tool_call_id": "c1", "name": "find"},
    ]
    assert seen[0][1] == {"role": "user", "content": "late"}, "as before where nothing is called"


def test_the_loss_is_at_the_answer_and_its_end_alone() -> None:
    row = render(Characters(), spec(system_prompt="Sort"), TURN, "delivery")
    assert text(row.prompt) == "s:Sort;u:late;a:"
    # not the line break the template adds: it is never generated
    assert text(row.answer) == "delivery$"
    assert row.labelled()["labels"] == [IGNORED] * len(row.prompt) + row.answer


def test_an_answer_ends_where_the_engine_stops() -> None:
    row = render(Characters(end="#\n"), spec(), TURN, "delivery", ends=[ord("#")])
    assert text(row.answer) == "delivery#"


def test_an_answer_that_the_template_does_not_end_learns_the_tokenizers_end() -> None:
    assert text(render(Characters(end="\n"), spec(), TURN, "delivery").answer) == "delivery$"


def test_what_a_template_puts_before_the_end_is_not_learned() -> None:
    enveloped = Characters(end="</response>$")
    assert text(render(enveloped, spec(), TURN, "delivery").answer) == "delivery$"


def test_an_answer_that_names_the_end_is_learned_whole() -> None:
    answer = "say $ to end"
    assert text(render(Characters(), spec(), TURN, answer).answer) == f"{answer}$"


class Thinking(Characters):
    """It puts an empty thought before an answer, as Qwen3's template does."""

    def apply_chat_template(self, messages: list[dict], **how: bool) -> str:
        thought = [
            m | {"content": f"<think></think>{m['content']}"} if m["role"] == "assistant" else m
            for m in messages
        ]
        return super().apply_chat_template(thought, **how)


def test_an_answer_in_an_envelope_is_not_trained_on() -> None:
    with pytest.raises(AnswerWrapped, match="<think></think>"):
        render(Thinking(), spec(), TURN, "delivery")


class Strict(Characters):
    """Its template wants turns to alternate."""

    def apply_chat_template(self, messages: list[dict], **how: bool) -> str:
        if [m["role"] for m in messages].count("user") > 1:
            raise TemplateError("Conversation roles must alternate")
        return super().apply_chat_template(messages, **how)


def test_a_row_that_the_template_refuses_is_left_out_and_counted() -> None:
    good, odd = (TURN, "delivery"), ((*TURN, *TURN), "refund")
    found = render_all(Strict(), spec(), [good] * 19 + [odd], (), 0.05)
    assert (len(found.rows), found.answers, found.unusable) == (19, ["delivery"] * 19, 1)
    with pytest.raises(RowsUnusable, match=r"2 of 20 rows .* alternate"):
        render_all(Strict(), spec(), [good] * 18 + [odd] * 2, (), 0.05)
    with pytest.raises(PromptNotKept):
        render_all(Characters(rewrites=True), spec(), [good] * 3, (), 0.05)


def test_a_template_that_rewrites_the_prompt_is_fatal() -> None:
    with pytest.raises(PromptNotKept):
        render(Characters(rewrites=True), spec(), TURN, "delivery")


def test_long_rows_are_dropped_and_counted_never_cut() -> None:
    rows = [TokenizedRow([1] * 5, [2])] * 19 + [TokenizedRow([1] * 50, [2])]
    assert fitting(rows, 10, 0.05) == (rows[:19], 1)
    with pytest.raises(TooManyTooLong, match="2 of 20"):
        fitting(rows[:18] + rows[19:] * 2, 10, 0.05)


def tokenised(answers: list[str], route: RouteSpec) -> list[TokenizedRow]:
    return [render(Characters(), route, TURN, answer) for answer in answers]


@pytest.mark.parametrize("label", ["退款申请进度查询", "طلب استرداد", "refund/progress", "धनवापसी"])
def test_a_label_that_serving_would_cut_ends_the_training_in_words(label: str) -> None:
    answers = ["ok"] * 99 + [label]
    route = spec(labels=("ok", label), max_tokens=len(label))
    with pytest.raises(AnswersCut, match=f"'{label}' takes {len(label)} tokens") as refused:
        check_uncut(route, answers, tokenised(answers, route))
    assert f"max_tokens to at least {len(label) + 1}" in str(refused.value)
    fits = spec(labels=("ok", label), max_tokens=len(label) + 1)
    check_uncut(fits, answers, tokenised(answers, fits))


def test_a_label_that_no_row_has_ends_none() -> None:
    route = spec(labels=("ok", "no", "a label far too long"), max_tokens=4)
    check_uncut(route, ["ok", "no"], tokenised(["ok", "no"], route))


def test_other_tasks_end_only_where_every_answer_would_be_cut() -> None:
    route = spec(task="extraction", labels=(), max_tokens=8)
    check_uncut(route, ['{"a":1}', "SECRET " * 9], tokenised(['{"a":1}', "SECRET " * 9], route))
    check_uncut(route, [], [])
    with pytest.raises(AnswersCut, match="62 tokens") as refused:
        check_uncut(route, ["SECRET " * 9], tokenised(["SECRET " * 9], route))
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        ([[1, 2, 3, 4], [1, 2, 9, 4]], 2),
        ([[1, 2, 3], [1, 2, 3]], 2),
        ([[1, 2], [1, 2, 3, 4]], 1),
        ([[5], [6]], 0),
        ([[1, 2, 3]], 2),
        ([[1, 5, 9], [1, 4, 9], [1, 4, 8]], 1),
    ],
)
def test_the_prefix_leaves_each_row_a_token_of_its_own(
    prompts: list[list[int]], expected: int
) -> None:
    assert common_prefix(prompts) == expected


def test_rows_share_a_prefix_and_keep_their_positions() -> None:
    rows = [
        TokenizedRow([1, 2, 3], [4, 9]).labelled(),
        TokenizedRow([1, 2, 5, 6], [7, 9]).labelled(),
    ]
    layout = lay_out(rows, 2)
    assert layout.input_ids == [1, 2, 3, 4, 9, 5, 6, 7, 9]
    assert layout.positions == [0, 1, 2, 3, 4, 2, 3, 4, 5]
    assert layout.segments == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert layout.labels == [IGNORED, IGNORED, IGNORED, 4, 9, IGNORED, IGNORED, 7, 9]
