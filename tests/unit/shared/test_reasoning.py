"""What a model thought is kept apart from its answer, and says nothing of how sure it was."""

from __future__ import annotations

import pytest

from shared.rules import Gathered, as_completion
from shared.rules.reasoning import thought_apart, thought_in


def tokens(*pieces: str, logprob: float = -0.1) -> list[dict]:
    return [
        {"token": one, "bytes": list(one.encode()), "logprob": logprob, "top_logprobs": []}
        for one in pieces
    ]


def choice(content: str | None, *pieces: str, **message: object) -> dict:
    return {
        "message": {"content": content, **message},
        "logprobs": {"content": tokens(*pieces)},
        "finish_reason": "stop",
    }


@pytest.mark.parametrize(
    ("said", "thought", "answer"),
    [
        ("<think>\n\n</think>\n\ndelivery", "\n\n", "delivery"),
        ("<think>\nIt is late.\n</think>\n\ndelivery", "\nIt is late.\n", "delivery"),
        ("\n<think></think>\ndelivery", "", "delivery"),
        ("[THINK]hm[/THINK]delivery", "hm", "delivery"),
        # The template opened it, as DeepSeek's does.
        ("It is late.\n</think>\n\ndelivery", "It is late.", "delivery"),
        ("<think>\nIt is late, so I", "\nIt is late, so I", ""),
        ("<think>a <think> within</think>refund", "a <think> within", "refund"),
    ],
)
def test_a_thought_is_taken_from_the_beginning_of_an_answer(said, thought, answer) -> None:
    assert thought_in(said) == (thought, answer)


@pytest.mark.parametrize(
    "said", ["delivery", "Write </think> behind a thought.", "The tag <think> begins one.", "a < b"]
)
def test_who_writes_about_thoughts_has_none(said: str) -> None:
    assert thought_in(said) is None
    assert as_completion({"choices": [choice(said, said)]}, 1.0).answer == said


def test_confidence_is_that_of_the_answer_alone() -> None:
    pieces = ("<think>", "late?", "</think>", "\n\n", "deliv", "ery", "<|im_end|>")
    thinking = choice("<think>late?</think>\n\ndelivery", *pieces)
    for sure in thinking["logprobs"]["content"][:4]:
        sure["logprob"] = -3.0
    found = as_completion({"choices": [thinking]}, 1.0)
    plain = as_completion({"choices": [choice("delivery", *pieces[4:])]}, 1.0)
    assert (found.answer, found.thought) == ("delivery", "late?")
    assert found.confidence == plain.confidence
    assert found.tokens == plain.tokens


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_what_the_engine_took_apart_already_stays_so(name: str) -> None:
    pieces = ("<think>", "late?", "</think>", "delivery", "<|im_end|>")
    found = as_completion({"choices": [choice("delivery", *pieces, **{name: "late?"})]}, 1.0)
    assert (found.answer, found.thought) == ("delivery", "late?")
    assert found.confidence.tokens == 1


def test_a_thought_that_was_cut_is_no_answer() -> None:
    found = as_completion({"choices": [choice("<think>It is", "<think>", "It is")]}, 1.0)
    assert (found.answer, found.thought, found.confidence.score) == ("", "It is", 0.0)


def test_tokens_that_do_not_spell_the_answer_prove_nothing() -> None:
    apart = thought_apart(choice("delivery", "something", "else", reasoning="hm"))
    assert apart.choice["logprobs"]["content"] == []


def piece(text: str | None = None, end: str | None = None, **delta: str) -> dict:
    said = {"delta": {"content": text, **delta}, "finish_reason": end}
    return {"choices": [said | {"logprobs": {"content": tokens(text)} if text else None}]}


@pytest.mark.parametrize(
    ("stream", "given", "thought"),
    [
        (["<th", "ink>", "late", "</think>", "\n\n", "deliv", "ery"], "delivery", "late"),
        (["<think>late</think>deliv", "ery"], "delivery", "late"),
        (["\n", "delivery"], "\ndelivery", ""),
        (["<th", "e> tag"], "<the> tag", ""),
        (["<think>", "late"], "", "late"),
        (["<"], "<", ""),
    ],
)
def test_who_reads_along_reads_no_thought(stream, given, thought) -> None:
    gathered, read = Gathered(), []
    for text in stream[:-1]:
        if gathered.add(piece(text)):
            read.append(gathered.piece)
    if gathered.add(piece(stream[-1], "stop")):
        read.append(gathered.piece)
    assert "".join(read).lstrip("\n") == given.lstrip("\n")
    message = gathered.body["choices"][0]["message"]
    assert ("".join(read), message["reasoning"].strip()) == (message["content"], thought)


def test_a_streamed_thought_that_the_engine_took_apart_is_no_piece() -> None:
    gathered = Gathered()
    assert not gathered.add(piece(None, reasoning="late?"))
    assert gathered.add(piece("delivery", "stop"))
    found = as_completion(gathered.body, 1.0)
    assert (found.answer, found.thought) == ("delivery", "late?")
