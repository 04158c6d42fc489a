"""Options that say how a data file is to be read, the same for every command that reads one."""

from typing import Annotated

import typer

TextColumn = Annotated[
    str | None,
    typer.Option(
        "--text-column",
        help="The column of the message, by name or number from 1; found by its name or values"
        " when left out.",
    ),
]
LabelColumn = Annotated[
    str | None,
    typer.Option("--label-column", help="The column of its right label, likewise."),
]
AnswerColumn = Annotated[
    str | None,
    typer.Option(
        "--answer-column",
        help="Instead of labels: the column of its right answer as JSON, for an extraction.",
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", help="E.g. cp1252, utf-16, gb18030; found when left out."),
]
Separator = Annotated[
    str | None,
    typer.Option("--separator", help="Between cells: a character, or tab; found when left out."),
]
MissingAreLabels = Annotated[
    bool,
    typer.Option(
        "--missing-are-labels",
        help="Take NaN, None, NA, null, #N/A as labels, not as what programs write for none.",
    ),
]
Labels = Annotated[
    int, typer.Option("--labels", min=2, help="At most so many labels, the most frequent ones.")
]
DEFAULT_LABELS = 10
