"""The answer's tokens are found again in whatever a server prints for them."""

import math
import random

import pytest

from shared.rules.confidence import answer_tokens, read_answer

ALPHABET = [*'abc XYZ\n"{}:,1', "é", "ß", "日", "本", "😀", "👩‍🚀", "🦄", "<|x|>"]
SPECIAL = ("<|im_end|>", "</s>", "<|endoftext|>")


def choice(content: str, tokens: list[dict]) -> dict:
    return {
        "message": {"content": content},
        "logprobs": {"content": [{"bytes": None, "top_logprobs": []} | token for token in tokens]},
    }


def answer_sum(content: str, tokens: list[dict]) -> float:
    return math.fsum(token["logprob"] for token in answer_tokens(choice(content, tokens)))


def stream(random_: random.Random, unfinished: str) -> tuple[str, list[dict], float]:
    """A random answer cut into tokens at random bytes, as a byte-level tokenizer may; then special
    tokens.
    """
    content = "".join(random_.choices(ALPHABET, k=random_.randint(1, 30)))
    raw = content.encode()
    tokens = []
    pending = b""
    exact = []
    while raw:
        size = random_.randint(1, 5)
        piece = raw[:size]
        raw = raw[size:]
        token = printed(pending, piece, unfinished)
        tokens.append(
            {
                "token": token,
                "bytes": list(piece if unfinished else token.encode()),
                "logprob": -random_.expovariate(1.0),
            }
        )
        exact.append(tokens[-1]["logprob"])
        pending = unfinished_tail(pending + piece)
    for _ in range(random_.randint(0, 2)):
        tokens.append({"token": random_.choice(SPECIAL), "logprob": -random_.expovariate(0.1)})
    if tokens[0]["token"] and random_.random() < 0.3:
        tokens.insert(0, {"token": "<|start|>", "logprob": -3.0})
    return content, tokens, math.fsum(exact)


def unfinished_tail(raw: bytes) -> bytes:
    for keep in range(min(4, len(raw) + 1)):
        head = raw[: len(raw) - keep]
        if is_whole(head):
            return raw[len(head) :]
    return raw[-3:]


def is_whole(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def printed(pending: bytes, piece: bytes, unfinished: str) -> str:
    """What vLLM prints: nothing for a part of a character, the whole character once its last byte
    is there.
    """
    tail = unfinished_tail(pending + piece)
    whole = (pending + piece)[: len(pending + piece) - len(tail)]
    if unfinished:  # OpenAI prints the replacement character and gives the raw bytes beside it
        return piece.decode("utf-8", errors="replace")
    return whole.decode()


@pytest.mark.parametrize("unfinished", ["", "\ufffd"])
def test_recovered_sum_is_exact_over_random_streams(unfinished: str) -> None:
    random_ = random.Random(7)
    for _ in range(1000):
        content, tokens, exact = stream(random_, unfinished)
        assert answer_sum(content, tokens) == pytest.approx(exact, abs=1e-9), (
            content,
            [t["token"] for t in tokens],
        )


def test_features_of_a_label() -> None:
    tokens = [
        {
            "token": "ref",
            "logprob": -0.2,
            "top_logprobs": [{"token": "ref", "logprob": -0.2}, {"token": "del", "logprob": -1.7}],
        },
        {"token": "und", "logprob": -0.1, "top_logprobs": []},
        {"token": "<|im_end|>", "logprob": -5.0, "top_logprobs": []},
    ]
    confidence = read_answer(choice("refund", tokens)).confidence
    assert confidence.score == pytest.approx(math.exp(-0.3))
    assert (confidence.min_logprob, confidence.tokens) == (-0.2, 2)
    assert confidence.first_margin == pytest.approx(1.5)


def test_an_answer_cut_by_a_stop_string_and_a_dropped_first_space() -> None:
    tokens = [
        {"token": " yes", "logprob": -1.0},
        {"token": ", sir", "logprob": -1.0},
        {"token": "</s>", "logprob": -1.0},
    ]
    assert answer_sum("yes,", tokens) == -2.0


def test_an_empty_answer_is_not_trusted() -> None:
    assert read_answer(choice("", [{"token": "</s>", "logprob": 0.0}])).confidence.score == 0.0
