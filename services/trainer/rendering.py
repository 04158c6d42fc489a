"""A reviewed row as tokens to train on: what serving will ask, then the answer and its end.

Knows no model library: the tokenizer is passed in.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict

from jinja2 import TemplateError
from pyarrow import parquet

from schemas.answers import label_of
from schemas.base import JsonObject, Message
from schemas.route import RouteSpec
from shared.errors import JobFailed
from shared.rules import as_turn

# torch's label of a position that is not in the loss.
IGNORED = -100


class Tokenizer(Protocol):
    """The part of a tokenizer of transformers that is used here."""

    eos_token_id: int

    def apply_chat_template(
        self,
        conversation: list[JsonObject],
        *,
        tokenize: bool,
        add_generation_prompt: bool = False,
    ) -> str: ...

    def __call__(
        self, text: str, *, add_special_tokens: bool, split_special_tokens: bool = False
    ) -> dict[str, list[int]]: ...


class LabelledRow(TypedDict):
    """One row as trainers take it; both lists are equally long."""

    input_ids: list[int]
    labels: list[int]


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


class NoChatTemplate(JobFailed):
    def __init__(self, base_model: str) -> None:
        super().__init__(
            f"the base model '{base_model}' has no chat template, so it was not made to answer"
            " messages: use its instruct version, or put a chat_template into its"
            " tokenizer_config.json"
        )


class AnswerWrapped(JobFailed):
    def __init__(self, envelope: str) -> None:
        super().__init__(
            f"the chat template puts {envelope[:60]!r} before an answer that is not in the prompt:"
            " an adapter would learn to say it, and apps would get it. Use a base model that does"
            " not think, or a template with thinking switched off"
        )


class RowsUnusable(JobFailed):
    def __init__(self, unusable: int, rows: int, first: Exception) -> None:
        super().__init__(
            f"{unusable} of {rows} rows cannot be written by the base model's chat template, the"
            f" first because: {first}"
        )


class PromptNotKept(JobFailed):
    def __init__(self) -> None:
        super().__init__(
            "the chat template renders the prompt differently once the answer follows, so training"
            " would differ from serving; use a base model whose template does not rewrite earlier"
            " turns"
        )


class AnswersCut(JobFailed):
    def __init__(self, what: str, tokens: int, max_tokens: int) -> None:
        """Make the error: `tokens` with the one that ends the answer."""
        super().__init__(
            f"{what} takes {tokens - 1} tokens and one that ends it, and the route has"
            f" max_tokens={max_tokens}: serving would cut it, so that no adapter could be right."
            f" Set max_tokens to at least {tokens} and build the dataset again"
        )


class TooManyTooLong(JobFailed):
    def __init__(self, dropped: int, rows: int, max_length: int) -> None:
        super().__init__(
            f"{dropped} of {rows} rows are longer than max_length={max_length} tokens; raise"
            " max_length in the recipe or shorten the prompt"
        )


@dataclass(frozen=True)
class TokenizedRow:
    prompt: list[int]
    # Ends with the end token.
    answer: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)

    def labelled(self) -> LabelledRow:
        """Return the row with labels that put the loss at the answer alone."""
        return {
            "input_ids": self.prompt + self.answer,
            "labels": [IGNORED] * len(self.prompt) + self.answer,
        }


def read_split(dataset: Path, split: str) -> list[tuple[tuple[Message, ...], str]]:
    """Return the messages and the answer of each row. Raises DatasetUnreadable."""
    try:
        table = parquet.read_table(dataset / f"{split}.parquet", columns=["messages", "answer"])
        return [
            (tuple(Message(**turn) for turn in json.loads(row["messages"])), str(row["answer"]))
            for row in table.to_pylist()
        ]
    # The folder's digest was checked: reading it again cannot help.
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise DatasetUnreadable(split, error) from error


def render(
    tokenizer: Tokenizer,
    spec: RouteSpec,
    messages: tuple[Message, ...],
    answer: str,
    ends: Collection[int] = (),
) -> TokenizedRow:
    """Tokenise what an adapter will be asked, and the answer up to its end token.

    `ends` are the tokens at which the engine stops, beside the tokenizer's own. Raises
    PromptNotKept or AnswerWrapped where the chat template cannot be trained on, and what the
    template raises.
    """
    asked = [as_templates_take(message) for message in spec.tuned_messages(messages)]
    prompt = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(
        [*asked, {"role": "assistant", "content": answer}], tokenize=False
    )
    if not whole.startswith(prompt):
        raise PromptNotKept
    said = whole[len(prompt) :]
    start = said.find(answer.strip())
    if start < 0 or said[:start].strip():
        raise AnswerWrapped(said[:start] if start > 0 else said)
    # The prompt is tokenised alone, as the serving engine does: a merge across the border would not
    # exist there. What an answer says is text, also where it names an end token.
    end = start + len(answer.strip())
    text = tokenizer(said[:end], add_special_tokens=False, split_special_tokens=True)["input_ids"]
    rest = tokenizer(said[end:], add_special_tokens=False)["input_ids"]
    return TokenizedRow(
        tokenizer(prompt, add_special_tokens=False)["input_ids"],
        [*text, *ended(rest, tokenizer.eos_token_id, ends)],
    )


def ended(ids: list[int], eos: int, ends: Collection[int]) -> list[int]:
    """Return what follows an answer up to the first token at which the engine stops.

    Templates add a line break after it, which is never generated. Some end an answer with nothing,
    as the next turn would: there it learns to say the tokenizer's end token.
    """
    stops = {eos, *ends}
    return next((ids[: at + 1] for at, token in enumerate(ids) if token in stops), [*ids, eos])


def as_templates_take(message: Message) -> JsonObject:
    """Return a message as the engine hands it to the chat template: it reads the arguments of calls
    (vllm/renderers/chat_utils.py, _postprocess_messages).
    """
    turn = as_turn(message)
    for call in turn.get("tool_calls", ()):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"] or "{}")
    return turn


def check_uncut(spec: RouteSpec, answers: Sequence[str], rows: Sequence[TokenizedRow]) -> None:
    """Raise AnswersCut where serving would cut what the rows teach: a label, or every answer of
    another task.
    """
    # With the end token, as the router counts: without room for it the engine says that it cut.
    sizes = [len(row.answer) for row in rows]
    cut = [size > spec.max_tokens for size in sizes]
    if not any(cut) or (spec.task != "classification" and not all(cut)):
        return
    longest, answer = max(zip(sizes, answers, strict=True))
    label = label_of(answer, spec) if spec.task == "classification" else None
    raise AnswersCut(f"the label '{label}'" if label else "an answer", longest, spec.max_tokens)


@dataclass(frozen=True)
class Rendered:
    """The rows of a split that can be used, with their answers, and how many could not."""

    rows: list[TokenizedRow]
    answers: list[str]
    unusable: int


def render_all(
    tokenizer: Tokenizer,
    spec: RouteSpec,
    read: Sequence[tuple[tuple[Message, ...], str]],
    ends: Collection[int],
    max_dropped_share: float,
) -> Rendered:
    """Render rows; one that the template refuses is left out and counted.

    Raises RowsUnusable where they are more than `max_dropped_share`, or what all of them raise.
    """
    rows, answers, refused = [], [], []
    for messages, answer in read:
        try:
            rows.append(render(tokenizer, spec, messages, answer, ends))
        except (JobFailed, TemplateError) as error:
            refused.append(error)
        else:
            answers.append(answer)
    if refused and not rows and isinstance(refused[0], JobFailed):
        raise refused[0]
    if len(refused) > max_dropped_share * len(read):
        raise RowsUnusable(len(refused), len(read), refused[0])
    return Rendered(rows, answers, len(refused))


def fitting(
    rows: Iterable[TokenizedRow], max_length: int, max_dropped_share: float
) -> tuple[list[TokenizedRow], int]:
    """Return the rows that fit, and how many did not: nothing is ever cut.

    Raises TooManyTooLong.
    """
    rows = list(rows)
    kept = [row for row in rows if len(row) <= max_length]
    dropped = len(rows) - len(kept)
    if dropped > max_dropped_share * len(rows):
        raise TooManyTooLong(dropped, len(rows), max_length)
    return kept, dropped
