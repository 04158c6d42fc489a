"""A mapping says where the fields of an app's records stand, and whose they are; what cannot be
meant is refused when it is read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka import ConsumerRecord

from services.capture.mapping import (
    NOTHING,
    Mapping,
    MappingRefused,
    TopicTwice,
    at,
    load_mappings,
    tokens_of,
)
from services.capture.preview import shown
from services.capture.shapes import SentFeedback, SentInference
from services.capture.sources import read_record

EXAMPLE = Path(__file__).parents[3] / "examples/sources/chat-completions.yaml"
GOOD = {
    "topic": "shop.chat",
    "route": "acme/support-triage",
    "fields": {"input": "/q", "answer": "/a"},
}


def record(value: object, timestamp: int = 5) -> ConsumerRecord:
    body = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return ConsumerRecord("shop.chat", 0, 7, timestamp, 0, None, body, 0, 1, 1, ())


def mapping(**changes: Any) -> Mapping:
    return Mapping.model_validate(GOOD | changes)


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        # RFC 6901, section 5
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/m~0n", 8),
        ("/ ", 7),
        ("/~01", 9),
        ("/foo/2", NOTHING),
        ("/foo/-", NOTHING),
        ("/foo/-1", NOTHING),
        ("/foo/٣", NOTHING),
        ("/foo/bar", NOTHING),
        ("/missing/0", NOTHING),
        ("/null", None),
        ("/foo/0/b", NOTHING),
    ],
)
def test_a_pointer_finds_what_the_rfc_says(pointer: str, found: object) -> None:
    document = {
        "foo": ["bar", "baz"],
        "": 0,
        "a/b": 1,
        "c%d": 2,
        " ": 7,
        "m~n": 8,
        "~1": 9,
        "null": None,
    }
    assert at(document, tokens_of(pointer)) == found


def test_the_example_reads_the_common_shape() -> None:
    text = EXAMPLE.read_text()
    lines = [line.removeprefix("#") for line in text.splitlines() if line.startswith("#   ")]
    [example] = load_mappings(EXAMPLE)
    read = read_record(example, record(json.loads("".join(lines))))
    assert isinstance(read.sent, SentInference)
    assert read.sent.conversation() == [("user", "Where is my parcel?")]
    said = read.sent.model_dump(exclude={"messages", "occurred_at"}, exclude_none=True)
    assert said == {
        "client_id": "chat-4711",
        "route": "acme/support-triage",
        "answer": "delivery",
        "model": "gpt-5",
        "latency_ms": 412.0,
        "prompt_tokens": 12,
        "completion_tokens": 1,
        "metadata": {"team": "web"},
    }
    assert (read.sent.occurred_at.timestamp(), read.left_out) == (1764115200, ())


def test_nothing_in_a_record_says_whose_it_is() -> None:
    read = read_record(
        mapping(), record({"q": "a", "a": "b", "route": "globex/x", "tenant": "globex"})
    )
    assert read.sent.route == "acme/support-triage"


@pytest.mark.parametrize(
    ("said", "client_id"),
    [
        ("chat-1", "chat-1"),
        (7, "7"),
        (7.5, "7.5"),
        ("", "shop.chat/0/7/5"),
        (None, "shop.chat/0/7/5"),
        (True, "shop.chat/0/7/5"),
        ("x" * 129, None),
        ("Müller 7", None),
        ("a\0b", None),
        ("\ud800", None),
        ({"$oid": "65f"}, None),
    ],
)
def test_the_id_is_the_apps_own_or_the_place(said: object, client_id: str | None) -> None:
    read = read_record(mapping(id="/id"), record({"q": "a", "a": "b", "id": said}))
    assert read.refused is None
    if client_id is None:
        assert read.sent.client_id.startswith("sha256:")
    else:
        assert read.sent.client_id == client_id


def test_an_id_is_shown_redacted_as_all_is() -> None:
    """An app's own id may be anything: an address, too."""
    sent = {"q": "zoe@example.com", "a": "b", "id": "zoe@example.com"}
    said = shown(read_record(mapping(id="/id"), record(sent)))
    assert (said["id"], said["asked"]) == ("[EMAIL]", "user: [EMAIL]")


def test_a_log_that_was_lost_gives_its_places_out_again() -> None:
    """The same offset at another time is another record."""
    ids = [
        read_record(mapping(), record({"q": "a", "a": "b"}, timestamp)).sent.client_id
        for timestamp in (5, 6)
    ]
    assert len(set(ids)) == 2


def test_feedback_is_mapped_as_well() -> None:
    fields = {"inference_id": "/for", "rating": "/stars", "scale": {"min": "/from", "max": "/to"}}
    read = read_record(
        mapping(records="feedback", fields=fields),
        record({"for": "inf_1", "stars": 1, "from": 1, "to": 5}),
    )
    assert isinstance(read.sent, SentFeedback)
    assert read.sent.judgements() == {"rating": -1.0}


def test_what_is_the_same_for_all_records_stands_in_the_mapping() -> None:
    """Stars without their scale would look good, one of them too."""
    stars = mapping(
        records="feedback",
        fields={"inference_id": "/for", "rating": "/stars"},
        values={"scale": {"min": 1, "max": 5}},
    )
    read = read_record(stars, record({"for": "inf_1", "stars": 1}))
    assert read.sent.judgements() == {"rating": -1.0}
    read = read_record(mapping(values={"model": "gpt-5"}), record({"q": "a", "a": "b"}))
    assert read.sent.model == "gpt-5"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"values": {"answer": "b"}}, "'answer' is in 'fields' and in 'values'"),
        ({"values": {"route": "globex/x"}}, "no field 'route'"),
        ({"topic": "inference-recorded"}, "a topic of Ratchet itself"),
        ({"topic": "capture-dlq"}, "a topic of Ratchet itself"),
        ({"topic": "a b"}, "topic"),
        ({"topic": "x" * 81}, "at most 80"),
        ({"route": "support-triage"}, "route"),
        ({"tenant": "globex"}, "tenant: Extra inputs"),
        ({"id": "id"}, "id: String should match"),
        ({"id": "/a~2"}, "id: String should match"),
        ({"fields": {"answer": "/a"}}, "either 'messages' or 'input'"),
        ({"fields": {"input": "/q"}}, "needs 'answer'"),
        ({"fields": {"input": "/q", "messages": "/m", "answer": "/a"}}, "either"),
        ({"fields": {"input": "/q", "answer": "/a", "route": "/r"}}, "no field 'route'"),
        ({"fields": {"input": "/q", "answer": "/a", "client_id": "/r"}}, "no field 'client_id'"),
        ({"fields": {"input": "/q", "answr": "/a"}}, "no field 'answr'"),
        ({"fields": {"input": "/q", "answer": {"x": "/a"}}}, "'answer' has one place"),
        ({"fields": {"input": "q", "answer": "/a"}}, "fields.input"),
        ({"records": "feedback"}, "no field"),
    ],
    ids=str,
)
def test_a_mapping_that_cannot_be_meant_is_refused(
    change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(yaml.safe_dump(GOOD | change))
    with pytest.raises(MappingRefused, match=f"m.yaml is no mapping.*{says}"):
        load_mappings(file)


@pytest.mark.parametrize("content", [b"", b"- 1", b"a: [", b"\xff\xfe", b"7", b"&a [*a]"])
def test_a_file_that_is_no_mapping_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_bytes(content)
    with pytest.raises(MappingRefused, match=r"m\.yaml"):
        load_mappings(file)


def test_a_folder_holds_several_and_none_of_a_topic_twice(tmp_path: Path) -> None:
    assert load_mappings(tmp_path) == []
    (tmp_path / "a.yaml").write_text(yaml.safe_dump_all([GOOD, GOOD | {"topic": "desk.chat"}]))
    assert [one.topic for one in load_mappings(tmp_path)] == ["shop.chat", "desk.chat"]
    (tmp_path / "b.yml").write_text(yaml.safe_dump(GOOD))
    with pytest.raises(TopicTwice, match=r"shop\.chat"):
        load_mappings(tmp_path)
    with pytest.raises(MappingRefused, match="does not exist"):
        load_mappings(tmp_path / "nowhere")


SAID = {"q": "a", "a": "b"}
FRAMES = {
    "plain": json.dumps(SAID).encode(),
    "a schema registry": b"\0\0\0\x02\x9a" + json.dumps(SAID).encode(),
    "packed twice": json.dumps(json.dumps(SAID)).encode(),
    "a mark of the byte order": b"\xef\xbb\xbf" + json.dumps(SAID).encode(),
    "UTF-16": json.dumps(SAID).encode("utf-16"),
}


@pytest.mark.parametrize("body", FRAMES.values(), ids=FRAMES)
def test_json_in_its_frame_is_json(body: bytes) -> None:
    read = read_record(mapping(), record(body))
    assert read.refused is None
    assert (read.sent.conversation(), read.sent.answer) == ([("user", "a")], "b")


@pytest.mark.parametrize(
    "body", [b"\0", b"\0\0\0\0\1", b"\0\0\0\0\1\x02H\x04ab", b'"plain"', b"[1]", b'"{not json}"']
)
def test_what_is_no_json_in_a_frame_is_refused(body: bytes) -> None:
    """Avro in the same frame among it."""
    assert read_record(mapping(), record(body)).refused is not None


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"payload": json.dumps({"a": {"b": "yes"}})}, "/payload/a/b"),
        ({"payload": json.dumps({"a": json.dumps(["no", "yes"])})}, "/payload/a/1"),
        ({"after": {"row": ' [{"x": "yes"}]'}}, "/after/row/0/x"),
    ],
    ids=["Debezium's outbox", "twice", "a column of JSON"],
)
def test_a_pointer_leads_into_packed_json(said: object, pointer: str) -> None:
    read = read_record(
        mapping(fields={"input": "/q", "answer": pointer}), record(said | {"q": "a"})
    )
    assert read.sent.answer == "yes"
    other = read_record(
        mapping(fields={"input": "/q", "answer": "/q/0"}), record(said | {"q": "a"})
    )
    assert "answer: Field required" in str(other.refused), "a text is no list of letters"
