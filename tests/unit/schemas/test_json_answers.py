"""JSON by value and by the route's schema, however a model wrote it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from schemas.answers import (
    canonical_fields,
    normalise,
    read_json,
    same_answer,
    schema_flaw,
    well_formed,
    why_malformed,
)
from tests import factories

INVOICE = {
    "type": "object",
    "required": ["customer", "total"],
    "properties": {
        "customer": {"type": "string", "minLength": 1},
        "total": {"type": "number"},
        "currency": {"enum": ["EUR", "USD"]},
        "lines": {"type": "array", "items": {"type": "object", "required": ["sku"]}},
    },
    "additionalProperties": False,
}
TREE = {
    "$defs": {"node": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
    "$ref": "#/$defs/node",
}


def spec(schema: dict[str, Any] | None = None, **changes: Any):
    return factories.spec(
        **{"task": "extraction", "labels": (), "output_schema": schema or {}} | changes
    )


ANY = spec()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"),
        ("1e2", "100"),
        ("1E+2", "100.00"),
        ("0.1", "1e-1"),
        ("-0", "0"),
        ("-0.0", "0e5"),
        ("12345678901234567890123", "12345678901234567890123.0"),
        ("120e-1", "12"),
        ('{"a": 1, "b": [1.50]}', '{"b":[1.5],"a":1.0}'),
        ('{"a": "l\\u00e9"}', '{"a": "lé"}'),
        ('{"a": "le\u0301"}', '{"a": "l\u00e9"}'),
        (' {"a":\n null}\n', '{"a":null}'),
        ('"a\\/b"', '"a/b"'),
        ("1e400", "10e399"),
    ],
)
def test_equal_values_are_equal_however_written(one: str, other: str) -> None:
    assert same_answer(one, other, ANY)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "2"),
        ("1", '"1"'),
        ("1", "true"),
        ("0", "false"),
        ("null", '""'),
        ("12345678901234567890123", "12345678901234567890124"),
        ("9007199254740993", "9007199254740992"),
        ("0.1000000000000000000001", "0.1"),
        ("1e400", "1e401"),
        ("[1, 2]", "[2, 1]"),
        ('{"a": null}', "{}"),
        ('{"a": " x"}', '{"a": "x"}'),
        ('{"a": "x²"}', '{"a": "x2"}'),
        ('{"a": "１"}', '{"a": "1"}'),
        ('{"A": 1}', '{"a": 1}'),
        ("[]", "{}"),
    ],
)
def test_other_values_are_not(one: str, other: str) -> None:
    assert not same_answer(one, other, ANY)


@pytest.mark.parametrize(
    "answer",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        '{"customer": "a", "total": NaN}',
        '{"customer": "a", "total": 1, "total": 2}',
        '{"l\u00e9": 1, "le\u0301": 2}',
        "",
        "sorry",
        '{"customer": "a", "total": 1',
        "{'customer': 'a'}",
        '{"customer": "a", "total": 1,}',
        '{"a": "\\ud800"}',
        '{"a": "\ud800"}',
        "[" * 2000,
        "[" * 202 + "]" * 202,
        '{"a":' * 2000,
        '{"a":' * 50_000 + "1" + "}" * 50_000,
        "01",
        '"\x07"',
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_what_is_no_json_is_malformed_and_equal_to_itself_alone(answer: str) -> None:
    assert not well_formed(answer, ANY)
    assert "JSON" in (why_malformed(answer, ANY) or "")
    assert same_answer(answer, answer, ANY)
    assert not same_answer(answer, '{"customer": "a", "total": 1}', ANY)


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        ("[]", "type"),
        ("null", "type"),
        ('"sorry"', "type"),
        ("{}", "required"),
        ('{"customer": "a"}', "required"),
        ('{"customer": "", "total": 1}', "customer/minLength"),
        ('{"customer": "a", "total": "1"}', "total/type"),
        ('{"customer": "a", "total": true}', "total/type"),
        ('{"customer": "a", "total": 1, "currency": "GBP"}', "currency/enum"),
        ('{"customer": "a", "total": 1, "SECRET": 0}', "additionalProperties"),
        ('{"customer": "a", "total": 1, "lines": [{"sku": 1}, {}]}', "lines/items/required"),
    ],
)
def test_what_breaks_the_schema_is_malformed_and_says_where(answer: str, where: str) -> None:
    flaw = why_malformed(answer, spec(INVOICE))
    assert flaw and where in flaw
    assert "SECRET" not in flaw and "GBP" not in flaw
    assert not well_formed(answer, spec(INVOICE))


@pytest.mark.parametrize(
    "answer",
    [
        '{"customer": "a", "total": 1}',
        '{"total": 1e2, "customer": "a", "currency": "EUR"}',
        '{"customer": "a", "total": 123456789012345678901234567890}',
        '{"customer": "a", "total": -0.10, "lines": [{"sku": null}]}',
    ],
)
def test_what_keeps_the_schema_is_well_formed(answer: str) -> None:
    assert why_malformed(answer, spec(INVOICE)) is None


def test_a_whole_number_is_an_integer_however_written() -> None:
    whole = spec({"type": "integer"})
    assert all(well_formed(text, whole) for text in ("1", "1.0", "1e2", "9" * 40))
    assert not any(well_formed(text, whole) for text in ("1.5", "1e-1", '"1"'))


def test_200_levels_are_compared_and_checked_from_a_deep_stack() -> None:
    deep = "[" * 200 + "]" * 200
    spaced = "[ " * 200 + "]" * 200

    def at(frames: int) -> None:
        if frames:
            return at(frames - 1)
        assert same_answer(deep, spaced, spec(TREE))
        assert well_formed(deep, spec(TREE))
        assert not well_formed("[" * 200 + "1" + "]" * 200, spec(TREE))
        return None

    at(500)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "thing"}, "is no JSON Schema"),
        ({"required": "customer"}, "is no JSON Schema"),
        ({"properties": []}, "is no JSON Schema"),
        ({"minimum": "1"}, "is no JSON Schema"),
        ({"properties": {"a": {"enum": "x"}}}, "is no JSON Schema"),
        ({"$ref": "https://example.com/invoice.json"}, "example.com"),
        ({"items": {"$ref": "file:///etc/passwd"}}, "file:"),
        ({"$ref": "invoice.json"}, "invoice.json"),
        ({"$ref": "#/$defs/none"}, "/$defs/none"),
        ({"$schema": "https://example.com/my-dialect"}, "example.com"),
        ({"pattern": "(unclosed"}, "pattern"),
        ({"pattern": r"^(?=.*a)\1$"}, "pattern"),
        ({"patternProperties": {"(": {}}}, "pattern"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_schema_that_cannot_be_used_is_refused_in_words(schema: dict, says: str) -> None:
    flaw = schema_flaw(schema)
    assert flaw and says in flaw
    # One that was stored before is read, and answers are only checked for being JSON.
    assert well_formed("{}", spec(schema)) and not well_formed("{", spec(schema))


@pytest.mark.parametrize(
    "schema",
    [
        {},
        INVOICE,
        TREE,
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"},
        {"$id": "https://example.com/a", "$defs": {"b": {"type": "null"}}, "$ref": "#/$defs/b"},
        {"pattern": r"^\d{4}-\d{2}-\d{2}$", "format": "date"},
        {"patternProperties": {"^x-": True}, "unevaluatedProperties": False},
        {"properties": {"next": {"$ref": "#"}}},
        {"anyOf": [{"type": "null"}, {"items": {"$ref": "#"}}]},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"const": {"$ref": "https://example.com/only-a-value"}},
        {"properties": {"$ref": {"type": "string"}}},
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_schema_that_can_is_not(schema: dict) -> None:
    assert schema_flaw(schema) is None
    # One that refers to itself neither hangs nor ends the process.
    why_malformed("{}", spec(schema))


def test_no_pattern_takes_the_services_time() -> None:
    began = time.process_time()
    for pattern in (r"^(a+)+$", r"^(a|a)*$", r"(x+x+)+y", r"^(([a-z])+.)+[A-Z]([a-z])+$"):
        schema = {"type": "string", "pattern": pattern}
        if schema_flaw(schema) is None:
            assert not well_formed(json.dumps("a" * 50_000 + "!"), spec(schema))
    assert time.process_time() - began < 3.0


def test_the_contracts_are_imported_with_pydantic_alone() -> None:
    probe = "import sys, schemas.answers, schemas.events; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "jsonschema" not in done.stdout and "'referencing'" not in done.stdout


def test_fields_are_compared_by_value() -> None:
    assert canonical_fields('{"a": 1.0, "b": {"y": 2, "x": 1}}') == {
        "a": "1",
        "b": '{"x": 1, "y": 2}',
    }
    with pytest.raises(ValueError):
        canonical_fields("[1]")
    assert read_json(normalise('{"b": 1e2, "a": 0.5}', ANY)) == {"a": 0.5, "b": 100}
