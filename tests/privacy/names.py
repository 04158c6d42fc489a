"""How many names and street addresses a model would find in the corpus: none is installed (0058).

`python -m tests.privacy.names en=en_core_web_sm fr=fr_core_news_md` measures Presidio with these
models of spaCy, behind our rules. It needs an environment of its own, with Ratchet,
presidio-analyzer and the models.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable

from shared.privacy import redact
from tests.privacy.corpus import Line, lines_of
from tests.privacy.measure import PLACEHOLDER, Redactor, score
from tests.privacy.page import markdown, ratio

# Where each name or address begins and ends, and which of the two it is.
Recogniser = Callable[[str], Iterable[tuple[int, int, str]]]
KINDS = {"PERSON": "NAME", "LOCATION": "ADDRESS"}
HEAD = [
    "language",
    "`NAME`",
    "`NAME` in a JSON answer",
    "`ADDRESS`",
    "harmless",
    "wrong",
    "ms a line",
]


def behind_our_rules(recogniser: Recogniser) -> Redactor:
    """Return what redacts by our rules, and then what a recogniser finds in the rest."""

    def redacted(text: str) -> str:
        text = redact(text)
        ours = [place.span() for place in PLACEHOLDER.finditer(text)]
        for start, end, kind in sorted(recogniser(text), reverse=True):
            if all(end <= first or last <= start for first, last in ours):
                text = f"{text[:start]}[{kind}]{text[end:]}"
        return text

    return redacted


def measured(language: str, redactor: Redactor) -> list[str]:
    """Return a row of the table: what is found of a language, what it takes and what it costs."""
    lines = tuple(lines_of(language))
    began = time.perf_counter()
    found = score(redactor, lines)
    took = (time.perf_counter() - began) / len(lines)
    names = [name for line in lines for name in names_in(line)]
    answers = [json.dumps({"name": name}, ensure_ascii=False) for name in names]
    gone = sum(name not in redactor(answer) for name, answer in zip(names, answers, strict=True))
    return [
        language,
        ratio(found, "NAME"),
        f"{gone}/{len(names)}",
        ratio(found, "ADDRESS"),
        f"{found.kept.total()}/{found.harmless.total()}",
        str(sum(n for (kind, _), n in found.wrongly.items() if kind in KINDS.values())),
        f"{1000 * took:.1f}",
    ]


def names_in(line: Line) -> list[str]:
    return [line.text[mark.start : mark.end] for mark in line.marks if mark.kind == "NAME"]


def presidio(language: str, model: str) -> Recogniser:
    """Return Presidio's recogniser of one language, with a model of spaCy."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    models = [{"lang_code": language, "model_name": model}]
    engine = NlpEngineProvider(
        nlp_configuration={"nlp_engine_name": "spacy", "models": models}
    ).create_engine()
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=[language])

    def recogniser(text: str) -> list[tuple[int, int, str]]:
        found = analyzer.analyze(text, language=language, entities=list(KINDS))
        return [(one.start, one.end, KINDS[one.entity_type]) for one in found]

    return recogniser


if __name__ == "__main__":
    models = [argument.split("=", 1) for argument in sys.argv[1:]]
    rows = [measured(lang, behind_our_rules(presidio(lang, model))) for lang, model in models]
    print(markdown(HEAD, rows))
