"""What others mean: times, ratings, messages and metadata as programs and vendors write them.

Only what has one meaning is read; the rest is returned as it came, and the shapes say what is wrong
with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from services.capture.splitting import read_item
from shared.rules import ROLES

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Seconds and milliseconds pydantic tells apart; OpenTelemetry counts nanoseconds. The year 5138 in
# milliseconds, and 1973 in microseconds or nanoseconds.
MICROSECONDS, NANOSECONDS, NO_TIME = 10**14, 10**17, 10**20
LONGEST = 64
NUMBER = re.compile(r"[0-9]{1,20}")
FRACTION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*/\s*([0-9]+(?:\.[0-9]+)?)")
PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*%")
WORDS = {
    **dict.fromkeys(("up", "thumbs up", "thumbsup", "👍", "like", "liked", "upvote"), True),
    **dict.fromkeys(("positive", "yes", "true", "good", "helpful"), True),
    **dict.fromkeys(("down", "thumbs down", "thumbsdown", "👎", "dislike", "disliked"), False),
    **dict.fromkeys(("downvote", "negative", "no", "false", "bad", "unhelpful"), False),
}
# Skin tones and the mark that asks for a picture.
SHADES = re.compile("[\U0001f3fb-\U0001f3ff\ufe0f]")
SPEAKERS = {"gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "chatbot": "assistant"}
ROLE_KEYS = ("role", "type", "from", "author", "sender")
CONTENT_KEYS = ("value", "text", "message")


def time_of(said: object) -> object:
    """Read nanoseconds, microseconds, RFC 5322, `UTC` behind a time, and MongoDB's `$date`."""
    for wrapper in ("$date", "$numberLong"):
        if isinstance(said, dict) and len(said) == 1 and said.get(wrapper) is not None:
            said = said[wrapper]
    if isinstance(said, str) and len(said) <= LONGEST:
        text = said.strip()
        if NUMBER.fullmatch(text):
            return time_of(int(text))
        if text.endswith((" UTC", " GMT")) and text[:1].isdigit() and text[:4].isdigit():
            return f"{text[:-4]}Z"
        try:
            return parsedate_to_datetime(text) if text[:3].isalpha() else said
        # It is said to raise the first.
        except (ValueError, TypeError, IndexError, OverflowError):
            return said
    if isinstance(said, int) and MICROSECONDS <= said < NO_TIME:
        return EPOCH + timedelta(microseconds=said // 1000 if said >= NANOSECONDS else said)
    return said


def rating_of(said: object) -> tuple[object, object]:
    """Read a thumb, a word, `4/5` and `80 %`; return the rating, and its scale where it has one."""
    if not isinstance(said, str) or len(said) > LONGEST:
        return said, None
    text = SHADES.sub("", said).strip().strip(":").casefold()
    if (word := WORDS.get(re.sub(r"[\s_-]+", " ", text))) is not None:
        return word, None
    if found := FRACTION.fullmatch(text):
        return float(found[1]), {"max": float(found[2])}
    if found := PERCENT.fullmatch(text):
        return float(found[1]), {"max": 100.0}
    return said, None


def message_of(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message as OpenAI and Anthropic write it: of ShareGPT, Cohere, ChatGPT's export and
    LangChain.
    """
    inner = message.get("kwargs", message.get("data"))
    if isinstance(inner, dict) and "content" in inner:
        kind = message.get("id", message.get("type"))
        name = kind[-1] if isinstance(kind, list) and kind else kind
        return message_of(
            {
                "role": str(name).removesuffix("Message").removesuffix("Chunk"),
                **{
                    key: value
                    for key, value in inner.items()
                    if key not in ("id", "type", "kwargs", "data")
                },
            }
        )
    read = dict(message)
    read["role"] = role_of(next((message[key] for key in ROLE_KEYS if message.get(key)), None))
    if not {"content", "parts", "refusal", "tool_calls", "function_call"} & message.keys():
        read["content"] = next((message[key] for key in CONTENT_KEYS if key in message), None)
    content = read.get("content")
    if isinstance(content, dict) and isinstance(content.get("parts"), list):
        read["content"] = content["parts"]
    return read


def role_of(said: object) -> object:
    if isinstance(said, dict):
        said = said.get("role")
    if not isinstance(said, str):
        return said
    name = said.strip().lower()
    return ROLES.get(name) or SPEAKERS.get(name, said)


def unpacked(said: object) -> object:
    """Return the list or the object that a text holds as JSON: many a log has it packed twice."""
    if isinstance(said, str) and said.lstrip()[:1] in ("[", "{"):
        try:
            return read_item(said.encode())
        # Also half a surrogate pair.
        except ValueError:
            pass
    return said


def names_of(said: object) -> object:
    """Read metadata that is packed, or a list of keys and values (OpenTelemetry's attributes)."""
    said = unpacked(said)
    if not isinstance(said, list) or not said:
        return said
    if not all(isinstance(one, dict) and isinstance(one.get("key"), str) for one in said):
        return said
    return {one["key"]: value_in(one.get("value")) for one in said}


def value_in(said: object) -> object:
    """Return what OpenTelemetry says with its kind: `{"intValue": "7"}`."""
    if isinstance(said, Mapping) and len(said) == 1:
        [(kind, value)] = said.items()
        if isinstance(kind, str) and kind in (
            "stringValue",
            "intValue",
            "doubleValue",
            "boolValue",
        ):
            return value
    return said
