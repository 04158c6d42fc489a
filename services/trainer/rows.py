"""The rows of a dataset as a training takes them. Runs in the training process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from transformers import GenerationConfig, PreTrainedTokenizerBase

from services.trainer.order import TrainingOrder
from services.trainer.processes import is_main_process
from services.trainer.refusals import NoRows
from services.trainer.rendering import (
    TokenizedRow,
    Tokenizer,
    check_uncut,
    fitting,
    read_split,
    render_all,
)
from shared.child import say


@dataclass(frozen=True)
class TrainingRows:
    """The rows of a dataset that fit the recipe's max_length."""

    training: list[TokenizedRow]
    validation: list[TokenizedRow]
    # Training rows that were too long.
    dropped: int


def prepare(order: TrainingOrder, tokenizer: PreTrainedTokenizerBase) -> TrainingRows:
    """Tokenise the rows to train on and to validate on.

    Test and audit rows are the evaluator's: they are not even read here. Raises NoRows,
    DatasetUnreadable, AnswersCut, TooManyTooLong, RowsUnusable, PromptNotKept or AnswerWrapped.
    """
    recipe = order.recipe
    ends = ends_of(order.base_model)

    def split(name: str, most_dropped: float) -> tuple[list[TokenizedRow], int]:
        read = read_split(order.dataset, name)
        taken = cast(Tokenizer, tokenizer)
        rendered = render_all(taken, order.spec, read, ends, most_dropped)
        check_uncut(order.spec, rendered.answers, rendered.rows)
        kept, too_long = fitting(rendered.rows, recipe.max_length, most_dropped)
        return kept, too_long + rendered.unusable

    training, dropped = split("train", recipe.max_dropped_share)
    # What is validated on decides nothing that a few rows less could spoil.
    validation, _ = split("validation", 1.0)
    if not training:
        raise NoRows(order.dataset_id)
    if dropped and is_main_process():
        say(detail=f"{dropped} rows left out: too long, or refused by the chat template")
    return TrainingRows(training, validation, dropped)


def ends_of(base_model: str) -> list[int]:
    """Return the tokens at which vLLM stops, beside the tokenizer's: the generation config's."""
    try:
        found = GenerationConfig.from_pretrained(base_model).eos_token_id
    except OSError:
        return []
    return found if isinstance(found, list) else [found] if isinstance(found, int) else []
