"""Says what a mapping makes of records, for `ratchet capture map`: nothing is stored.

    python -m services.capture.preview FILE            the mappings, as one line of JSON
    python -m services.capture.preview FILE --records  what becomes of each record on standard input

A record is a line `{"topic", "partition", "offset", "timestamp", "value": base64}`; so is what is
said of it. Texts are redacted as they would be recorded.
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from pathlib import Path

from aiokafka import ConsumerRecord

from schemas.base import JsonObject
from services.capture.mapping import Mapping, load_mappings
from services.capture.shapes import SentInference
from services.capture.sources import Read, read_record
from shared.errors import RatchetError
from shared.privacy import redact

TEXT_CHARACTERS = 500


def main(arguments: list[str]) -> int:
    try:
        mappings = {mapping.topic: mapping for mapping in load_mappings(Path(arguments[0]))}
    except RatchetError as error:
        sys.stderr.write(str(error))
        return 1
    if arguments[1:] != ["--records"]:
        sys.stdout.write(json.dumps([mapping.model_dump() for mapping in mappings.values()]))
        return 0
    for line in sys.stdin:
        record = record_of(json.loads(line))
        sys.stdout.write(json.dumps(said_of(mappings[record.topic], record)) + "\n")
    return 0


def record_of(line: JsonObject) -> ConsumerRecord:
    value = None if line["value"] is None else b64decode(line["value"])
    place = (line["topic"], line["partition"], line["offset"], line["timestamp"])
    return ConsumerRecord(*place, 0, None, value, 0, 0, len(value or b""), ())


def said_of(mapping: Mapping, record: ConsumerRecord) -> JsonObject:
    read = read_record(mapping, record)
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    if read.refused:
        return place | {"error": read.refused.name, "reason": str(read.refused)}
    return place | shown(read)


def shown(read: Read) -> JsonObject:
    """Return what would be recorded, cut: it is to be looked at."""
    sent = read.sent
    if isinstance(sent, SentInference):
        asked = "\n".join(f"{role}: {content}" for role, content in sent.conversation())
        said: JsonObject = {"asked": asked, "answer": sent.answer, "model": sent.model}
    else:
        said = {"inference_id": sent.inference_id, **sent.judgements()} if sent else {}
    return {
        # Which may be anything, an address as well.
        "id": cut(sent.client_id) if sent else None,
        **{name: cut(value) for name, value in said.items()},
        "left_out": [{"field": field, "reason": reason} for field, reason in read.left_out],
    }


def cut(value: object) -> object:
    return redact(value)[:TEXT_CHARACTERS] if isinstance(value, str) else value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
