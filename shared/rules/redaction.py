"""Personal data and secrets out of text, before it is stored or published: no model, no network.

It knows e-mail addresses, phone numbers, payment cards (Luhn), IBANs (mod 97) and API keys. It does
not know names or street addresses.
"""

from __future__ import annotations

import re

from shared.rules.personal_data import PEM, RULES, Rule

# A replacement may give its neighbour a clean edge; ordinary text is stable after the second round.
MAX_ROUNDS = 8

# Everything below but a key in PEM armour holds a digit or an @, and none spans lines: half of all
# texts need no closer look.
_WORTH_A_LOOK = re.compile(r"[@\d]")


def redact(text: str) -> str:
    """`text` with every find replaced by [EMAIL], [PHONE], [CARD], [IBAN] or [SECRET]. Redacting
    twice changes nothing.
    """
    return redact_counted(text)[0]


def redact_counted(text: str) -> tuple[str, dict[str, int]]:
    """Return the redacted text, and how many of each kind were replaced."""
    counts: dict[str, int] = {}
    if "-----BEGIN" in text:
        text, found = PEM.subn("[SECRET]", text)
        counts |= {"SECRET": found} if found else {}
    if rules := _suspicious(text):
        if "\n" in text:
            text = "\n".join(
                _redact_line(line, _suspicious(line), counts) for line in text.split("\n")
            )
        else:
            text = _redact_line(text, rules, counts)
    return text, counts


def _suspicious(text: str) -> list[Rule]:
    """Return the rules that may find something."""
    if not _WORTH_A_LOOK.search(text):
        return []
    return [rule for sign, rules in RULES if sign(text) for rule in rules]


def _redact_line(line: str, rules: list[Rule], counts: dict[str, int]) -> str:
    for _ in range(MAX_ROUNDS):
        before = line
        # a replacement is longer than any gap in a number: it gives no other rule a sign
        for rule in rules:
            line = _apply(rule, line, counts)
        if line == before:
            break
        rules = _suspicious(line)
    return line


def _apply(rule: Rule, text: str, counts: dict[str, int]) -> str:
    def replace(match: re.Match[str]) -> str:
        length = rule.length(match)
        if not length:
            return match[0]
        counts[rule.kind] = counts.get(rule.kind, 0) + 1
        return f"{match.groupdict().get('keep') or ''}[{rule.kind}]{match[0][length:]}"

    return rule.pattern.sub(replace, text)
