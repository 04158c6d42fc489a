"""A reviewed row as the tokens a model is trained on: exactly what serving will ask, then the
answer, then the end.

Knows no model library: the tokenizer is passed in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import parquet

from schemas.base import Message
from schemas.route import RouteSpec
from shared.jobs.worker import JobFailed

IGNORED = -100  # torch's label of a position that is not in the loss


class NoRows(JobFailed):
    def __init__(self, dataset_id: str) -> None:
        super().__init__(
            f"dataset {dataset_id} has no training rows; build one with more reviewed answers"
        )


class DatasetUnreadable(JobFailed):
    def __init__(self, split: str, cause: Exception) -> None:
        super().__init__(
            f"{split}.parquet is not a table of messages and answers ({type(cause).__name__});"
            " build the dataset again"
        )


class EndNotLearned(JobFailed):
    def __init__(self) -> None:
        super().__init__(
            "the chat template does not end an assistant's answer with the tokenizer's end token:"
            " the adapter would never learn to stop. Use a base model whose template does, or"
            " correct its tokenizer_config.json"
        )


class PromptNotKept(JobFailed):
    def __init__(self) -> None:
        super().__init__(
            "the chat template renders the prompt differently once the answer follows, so training"
            " would differ from serving; use a base model whose template does not rewrite earlier"
            " turns"
        )


class TooManyTooLong(JobFailed):
    def __init__(self, dropped: int, rows: int, max_length: int) -> None:
        super().__init__(
            f"{dropped} of {rows} rows are longer than max_length={max_length} tokens; raise"
            " max_length in the recipe or shorten the prompt"
        )


@dataclass(frozen=True)
class Row:
    prompt: list[int]
    answer: list[int]  # ends with the end token

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)

    def labelled(self) -> dict[str, list[int]]:
        """As a trainer takes it: the loss is at the answer alone."""
        return {
            "input_ids": self.prompt + self.answer,
            "labels": [IGNORED] * len(self.prompt) + self.answer,
        }


def read_split(dataset: Path, split: str) -> list[tuple[tuple[Message, ...], str]]:
    try:
        table = parquet.read_table(dataset / f"{split}.parquet", columns=["messages", "answer"])
        return [
            (tuple(Message(**turn) for turn in json.loads(row["messages"])), str(row["answer"]))
            for row in table.to_pylist()
        ]
    except (
        OSError,
        ValueError,
        TypeError,
        LookupError,
    ) as error:  # the folder's digest was checked: reading it again cannot help
        raise DatasetUnreadable(split, error) from error


def render(tokenizer: Any, spec: RouteSpec, messages: tuple[Message, ...], answer: str) -> Row:
    asked = [message.model_dump() for message in spec.tuned_messages(messages)]
    prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(
        [*asked, {"role": "assistant", "content": answer}], tokenize=False
    )
    if not whole.startswith(prompt):
        raise PromptNotKept
    # The prompt is tokenised alone, as the serving engine does: a merge across the border would not
    # exist there.
    ids = tokenizer(whole[len(prompt) :], add_special_tokens=False)["input_ids"]
    if tokenizer.eos_token_id not in ids:
        raise EndNotLearned
    end = (
        ids.index(tokenizer.eos_token_id) + 1
    )  # templates add a line break after it, which is never generated
    return Row(tokenizer(prompt, add_special_tokens=False)["input_ids"], ids[:end])


def fitting(
    rows: Iterable[Row], max_length: int, max_dropped_share: float
) -> tuple[list[Row], int]:
    """The rows that fit, and how many did not: nothing is ever cut."""
    rows = list(rows)
    kept = [row for row in rows if len(row) <= max_length]
    dropped = len(rows) - len(kept)
    if dropped > max_dropped_share * len(rows):
        raise TooManyTooLong(dropped, len(rows), max_length)
    return kept, dropped
