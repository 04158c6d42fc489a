"""A reviewed row as tokens to train on: what serving will ask, then the answer and its end.

Knows no model library: the tokenizer is passed in.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypedDict, cast

from jinja2 import TemplateError
from pyarrow import parquet

from schemas.answers import label_of
from schemas.base import JsonObject, Message
from schemas.route import RouteSpec
from services.trainer.refusals import (
    AnswersCut,
    AnswerWrapped,
    DatasetUnreadable,
    PromptDated,
    PromptNotKept,
    RowsUnusable,
    TemplateUnfit,
    TooManyTooLong,
)
from shared.errors import JobFailed
from shared.rules import as_turn

# What templates of thinking and of dated models can be told, the day being the one that Llama 3.1
# takes for granted.
NO_THINKING: tuple[JsonObject, ...] = ({}, {"enable_thinking": False}, {"thinking": False})
COMMON_ARGUMENTS = (*NO_THINKING, *({**one, "date_string": "26 Jul 2024"} for one in NO_THINKING))
# In the place of the function by which templates ask what day it is.
NO_CLOCK = "not to be called"
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
        **template_arguments: object,
    ) -> str: ...

    def __call__(
        self, text: str, *, add_special_tokens: bool, split_special_tokens: bool = False
    ) -> dict[str, list[int]]: ...


class LabelledRow(TypedDict):
    """One row as trainers take it; both lists are equally long."""

    input_ids: list[int]
    labels: list[int]


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
    TemplateUnfit where the chat template cannot be trained on, and what the template raises.
    """
    asked = [as_templates_take(message) for message in spec.tuned_messages(messages)]
    prompt, said, start = written_by(tokenizer, asked, answer, spec.template_arguments)
    # The prompt is tokenised alone, as the serving engine does: a merge across the border would not
    # exist there. What an answer says is text, also where it names an end token; white space before
    # it (Mistral's, GLM's) is nothing that a grammar of labels or of JSON lets a model say.
    end = start + len(answer.strip())
    text = tokenizer(answer.strip(), add_special_tokens=False, split_special_tokens=True)
    rest = tokenizer(said[end:], add_special_tokens=False)["input_ids"]
    return TokenizedRow(
        tokenizer(prompt, add_special_tokens=False)["input_ids"],
        [*text["input_ids"], end_in(rest, tokenizer.eos_token_id, ends)],
    )


class Written(NamedTuple):
    """What a chat template makes of a row."""

    prompt: str
    # What follows the prompt, once the answer does.
    rest: str
    # Where in it the answer begins.
    start: int


def written_by(
    tokenizer: Tokenizer,
    asked: list[JsonObject],
    answer: str,
    template_arguments: Mapping[str, object],
) -> Written:
    """Write a row by the chat template. Raises TemplateUnfit, which says what a route could tell
    the template.
    """
    try:
        return _written(tokenizer, asked, answer, template_arguments)
    except TemplateUnfit as unfit:
        helping = helping_arguments(tokenizer, asked, answer, template_arguments)
        if helping is None:
            raise
        cure = f"Set the route's template_arguments to {json.dumps(helping)}"
        raise TemplateUnfit(unfit.problem, cure) from unfit


def helping_arguments(
    tokenizer: Tokenizer,
    asked: list[JsonObject],
    answer: str,
    template_arguments: Mapping[str, object],
) -> JsonObject | None:
    """Return the fewest arguments with which a template writes rows that can be trained on; None
    where none of those that are common do.
    """
    for more in COMMON_ARGUMENTS:
        told = {**template_arguments, **more}
        try:
            _written(tokenizer, asked, answer, told)
        except (TemplateUnfit, TemplateError, TypeError):
            continue
        return told
    return None


def _written(
    tokenizer: Tokenizer, asked: list[JsonObject], answer: str, template_arguments: object
) -> Written:
    told = cast("dict[str, Any]", template_arguments)
    asks_the_day = "strftime_now" in str(getattr(tokenizer, "chat_template", ""))
    without_clock = {**told, "strftime_now": NO_CLOCK} if asks_the_day else told
    try:
        prompt = tokenizer.apply_chat_template(
            asked, tokenize=False, add_generation_prompt=True, **without_clock
        )
    except TypeError as error:
        if "not callable" in str(error):
            raise PromptDated from error
        raise
    whole = tokenizer.apply_chat_template(
        [*asked, {"role": "assistant", "content": answer}], tokenize=False, **told
    )
    if not whole.startswith(prompt):
        raise PromptNotKept
    rest = whole[len(prompt) :]
    start = rest.find(answer.strip())
    if start < 0 or rest[:start].strip():
        raise AnswerWrapped(rest[:start] if start > 0 else rest)
    return Written(prompt, rest, start)


def end_in(ids: list[int], eos: int, ends: Collection[int]) -> int:
    """Return the first token at which the engine stops of those that follow an answer.

    What a template puts before it (a line break, Command R7B's end of the response) is no part of
    the answer, and no grammar of labels lets a model say it. Some end an answer with nothing, as
    the next turn would: there it learns to say the tokenizer's end token.
    """
    stops = {eos, *ends}
    return next((token for token in ids if token in stops), eos)


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
        # A template that adds a text to nothing, say, raises TypeError.
        except (JobFailed, TemplateError, TypeError) as error:
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
