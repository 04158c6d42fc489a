"""Why a training cannot go on, in sentences; trying again cannot help."""

from __future__ import annotations

from shared.errors import JobFailed


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


class BaseModelMissing(JobFailed):
    def __init__(self, name: str, cause: Exception) -> None:
        super().__init__(
            f"the base model '{name}' could not be loaded: {cause}. Set TRAINER_BASE_MODEL to a"
            " folder that has it, or allow the hub"
        )


class NoChatTemplate(JobFailed):
    def __init__(self, base_model: str) -> None:
        super().__init__(
            f"the base model '{base_model}' has no chat template, so it was not made to answer"
            " messages: use its instruct version, or put a chat_template into its"
            " tokenizer_config.json"
        )


class TemplateUnfit(JobFailed):
    """The base model's chat template writes rows that cannot be trained on."""

    def __init__(self, problem: str, cure: str) -> None:
        super().__init__(f"{problem}. {cure}")
        self.problem = problem


class AnswerWrapped(TemplateUnfit):
    def __init__(self, envelope: str) -> None:
        super().__init__(
            f"the chat template puts {envelope[:60]!r} before an answer that is not in the prompt:"
            " an adapter would learn to say it, and apps would get it",
            "Use a base model that does not think, or a template with thinking switched off",
        )


class PromptDated(TemplateUnfit):
    def __init__(self) -> None:
        super().__init__(
            "the chat template writes the day into the prompt: what was trained would be asked"
            " otherwise tomorrow",
            "Put a template that does not into the base model's tokenizer_config.json",
        )


class PromptNotKept(TemplateUnfit):
    def __init__(self) -> None:
        super().__init__(
            "the chat template renders the prompt differently once the answer follows, so training"
            " would differ from serving",
            "Use a base model whose template does not rewrite earlier turns",
        )


class RowsUnusable(JobFailed):
    def __init__(self, unusable: int, rows: int, first: Exception) -> None:
        super().__init__(
            f"{unusable} of {rows} rows cannot be written by the base model's chat template, the"
            f" first because: {first}"
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
