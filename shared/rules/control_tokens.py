"""Control tokens of chat templates that stand in what somebody wrote, as text.

A template puts messages between tokens like `<|im_end|>`, and the tokenizer finds those wherever
they stand: who writes one into a message ends their turn and begins another's. Neither the engine
nor a template can be told which part of a prompt is text, so a character that nobody sees comes
between: alike in training and in serving, for what differs there costs accuracy.
"""

from __future__ import annotations

import re

# U+200B has no width, and stands in no token.
BETWEEN = "\u200b"
# Of the families in docs/models.md, and what is published of others. Placeholders of redaction,
# `[EMAIL]` say, are none.
CONTROL = re.compile(
    rf"<(?!{BETWEEN})"
    r"(?=[|｜][^<>\s]{1,64}>|[^<>\s|｜]{1,64}[|｜]>"
    r"|/?(?:s|think|tool_call|tool_response|sop|eop)>"
    r"|(?:bos|eos|pad|unk|mask|(?:start|end)_of_(?:turn|image)|image_soft_token)>"
    r"|(?:SPECIAL_|extra_id_|unused)\d+>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CONTENT|THINK)\]"
    r"|/?MODEL_SETTINGS\]|(?:TOOL_CALLS|CALL_ID|ARGS|IMG|IMG_BREAK|IMG_END|AUDIO|BEGIN_AUDIO)\]"
    r"|(?:BOS|EOS|PAD|UNK|CLS|SEP|MASK|gMASK|PREFIX|MIDDLE|SUFFIX)\]"
    r"|\|[^\[\]\s]{1,64}\|\]|e~\[)"
    r"|\](?=~!?b[\[\]])"
)
BROKEN_UP = re.compile(f"(?<=[<[\\]]){BETWEEN}")


def as_text(said: str) -> str:
    """Return what was said, with every control token in it broken up."""
    if "<" not in said and "[" not in said and "]~" not in said:
        return said
    return CONTROL.sub(r"\g<0>" + BETWEEN, said)


def as_said(text: str) -> str:
    """Return a text as it was before `as_text`: a model may have copied a part of its prompt."""
    return BROKEN_UP.sub("", text) if BETWEEN in text else text
