"""Which verdicts can become rows at all, and the form in which they are compared.

What is trained on stays as reviewed, except that a label takes the route's spelling and left-over
personal data is redacted.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.answers import is_free_text, normalise, well_formed
from schemas.base import JsonObject
from schemas.labels import folded
from schemas.route import RouteSpec
from schemas.tool_calls import read_turn
from services.dataset_builder.rows import Candidate, DatasetRow, Lost, Question
from services.dataset_builder.turns import encode, said_in
from shared.privacy import redact, redact_but
from shared.rules import cleaned_turn

# ASCII, as other scripts need no blank before what follows. And bounded: by any run without
# blanks a Chinese text of 10,000 characters took 0.5 s, and one of 20,000 four times as long.
_ADDRESS = re.compile(
    r"(?<![a-z0-9._+-])[a-z0-9._+-]{1,64}@[a-z0-9.-]{1,255}"
    r"|(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,30}://[a-z0-9/._~%?#&=:@+-]+"
)
# An id by its shape, between characters that are no letters of any script: ASCII letters, digits
# and dashes, six digits or more in all. Fewer may be an error code, a model, a year, a score.
_ID = re.compile(r"(?<!\w)(?=(?:[a-z-]{0,40}\d){6})[a-z\d-]{1,128}+(?![\w-])")
_RAISED = re.compile("[\u00b9\u00b2\u00b3\u2070\u2074-\u2079]+")

NOT_APPROVED = "reviewer_not_approved"
CALLS = "calls_tools"


@dataclass(frozen=True)
class Usable:
    # Oldest first.
    candidates: list[Candidate] = field(default_factory=list)
    # Audited questions to which every answer is wrong.
    unanswerable: list[Candidate] = field(default_factory=list)
    # The rows that do not fit the route.
    lost: list[Lost] = field(default_factory=list)


def usable(rows: Iterable[DatasetRow], spec: RouteSpec) -> Usable:
    """Return the rows that fit the route, ready to be compared."""
    found = Usable()
    questions = Questions(spec)
    answers = Answers(spec)
    for row in sorted(rows, key=lambda row: row.order):
        question = questions.of(row.messages)
        answer, form, label, is_known = answers.of(row.answer)
        misfit = CALLS if answers.are_calls(row.answer) else None if is_known else answers.misfit
        if not question.text:
            found.lost.append(Lost(row, "empty"))
        elif row.label_source == "rejected":
            found.unanswerable.append(Candidate(row, question, answer="", form="", label=""))
        elif misfit:
            found.lost.append(Lost(row, misfit))
        elif spec.approved_reviewers and row.reviewer not in spec.approved_reviewers:
            found.lost.append(Lost(row, NOT_APPROVED))
        else:
            found.candidates.append(Candidate(row, question, answer, form, label))
    return found


class Questions:
    """Reads each conversation once: real traffic repeats itself."""

    def __init__(self, spec: RouteSpec) -> None:
        self.spec = spec
        self._redact = redact_but(spec.personal.chosen)
        self._known: dict[str, Question] = {}

    def of(self, messages: str) -> Question:
        question = self._known.get(messages)
        if question is None:
            question = self._known[messages] = self._read(json.loads(messages))
        return question

    def _read(self, turns: list[JsonObject]) -> Question:
        # Served with the app's system turn, a question is another one under another turn.
        whole = self.spec.system != "replace"
        asked = [turn for turn in turns if whole or turn["role"] != "system"]
        cleaned = [cleaned_turn(turn, self._redact) for turn in asked]
        matched = matched_form(cleaned)
        *earlier, key = keys_of(matched)
        if self._redact is not redact:
            # One question is like another whatever number each holds.
            matched = matched_form([cleaned_turn(turn, redact) for turn in asked])
        text = " ".join(content for role, content in matched if role != "system").strip()
        if not folded(text[:1]) and not folded(text):
            text = ""  # zero widths and bidi marks show nothing
        return Question(
            asked=encode(cleaned),
            unserved="\n".join(turn["content"] for turn in turns if turn not in asked),
            key=key,
            earlier=tuple(earlier),
            text=without_ids(text) if self.spec.task == "classification" else text,
            was_redacted=cleaned != asked,
        )


class Answers:
    """Reads each answer once; `misfit` is the reason of those that do not fit the route."""

    def __init__(self, spec: RouteSpec) -> None:
        self.spec = spec
        self._redact = redact_but(spec.personal.chosen)
        self.labels = {normalise(label, spec): label for label in spec.labels}
        self.misfit = "unknown_label" if spec.task == "classification" else "malformed"
        self._known: dict[str, tuple[str, str, str, bool]] = {}

    def of(self, answer: str) -> tuple[str, str, str, bool]:
        """Return an answer as trained on, as compared, its label, and whether it fits."""
        known = self._known.get(answer)
        if known is None:
            known = self._known[answer] = self._read(self._redact(answer))
        return known

    def are_calls(self, answer: str) -> bool:
        """Say whether an answer calls tools: learned as a text it would be none that is called."""
        return is_free_text(self.spec) and bool(read_turn(answer).calls)

    def _read(self, answer: str) -> tuple[str, str, str, bool]:
        form = normalise(answer, self.spec)
        if self.spec.task == "classification":
            label = self.labels.get(form, "")
            return label, form, label, bool(label)
        return answer, form, "", well_formed(answer, self.spec)


def matched_form(turns: list[JsonObject]) -> list[tuple[str, str]]:
    return [(turn["role"], matching_form(said_in(turn))) for turn in turns]


def matching_form(content: str) -> str:
    """Return a text as it is matched: case, blanks and the width of characters do not count.

    Small letters, not `casefold`: in Maßen is the opposite of in Massen. A raised digit stays
    raised, since 10² is not 102, and the Turkish İ is an i.
    """
    raised = content if content.isascii() else _RAISED.sub(r"^\g<0>", content)
    small = unicodedata.normalize("NFKC", raised).lower().replace("i\u0307", "i")
    return " ".join(small.split())


def without_ids(text: str) -> str:
    """Return a text as similarity sees it: one order number is like another.

    Nothing else goes by this form, so a label may hang on a number all the same.
    """
    return _ID.sub("0", _ADDRESS.sub("@", text))


def keys_of(matched: list[tuple[str, str]]) -> list[bytes]:
    """Return the key of each beginning of a conversation, the whole last; the first is empty."""
    digest = hashlib.sha256()
    keys = [digest.digest()]
    for turn in matched:
        digest.update(json.dumps(turn).encode())
        keys.append(digest.digest())
    return keys
