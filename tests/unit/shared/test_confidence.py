"""The score is read from the answer's own tokens: never from the end token, never from nothing."""

from math import exp, isclose

from shared.rules.confidence import read_answer


def token(text: str, logprob: float, *others: tuple[str, float]) -> dict:
    top = [{"token": text, "logprob": logprob}, *({"token": t, "logprob": p} for t, p in others)]
    return {"token": text, "logprob": logprob, "bytes": list(text.encode()), "top_logprobs": top}


def choice(text: str, *tokens: dict) -> dict:
    return {
        "message": {"role": "assistant", "content": text},
        "logprobs": {"content": list(tokens)},
    }


def test_the_end_token_does_not_count() -> None:
    found = read_answer(
        choice(
            "late refund",
            token("late", -0.1, ("lost", -2.1)),
            token(" refund", -0.3),
            token("<|im_end|>", -5.0),
        )
    ).confidence
    assert isclose(found.score, exp(-0.4)) and found.tokens == 2
    assert isclose(found.min_logprob, -0.3) and isclose(found.first_margin, 2.0)


def test_a_letter_split_over_two_tokens_is_read_whole() -> None:
    first = "ü".encode()[:1]
    second = "ü".encode()[1:]
    pieces = [
        {"token": "�", "logprob": -0.2, "bytes": list(part), "top_logprobs": []}
        for part in (first, second)
    ]
    assert read_answer(choice("ü", *pieces, token("<|im_end|>", -1.0))).confidence.tokens == 2


def test_an_empty_answer_is_never_confident() -> None:
    assert read_answer(choice("", token("<|im_end|>", -0.01))).confidence.score == 0.0
    assert read_answer({"message": {"content": "refund"}, "logprobs": None}).confidence.score == 0.0
