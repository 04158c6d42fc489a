"""Any event that a model allows: Hypothesis strategies drawn from its fields, their types and their
limits.
"""

from __future__ import annotations

import types
from datetime import UTC
from typing import Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

from schemas.route import RouteSpec

PLAIN: dict[Any, st.SearchStrategy] = {
    bool: st.booleans(),
    AwareDatetime: st.datetimes(timezones=st.just(UTC)),
    Any: st.none() | st.integers() | st.text(max_size=4),
    dict: st.dictionaries(st.text(max_size=6), st.integers() | st.text(max_size=6), max_size=3),
    type(None): st.none(),
}
PATTERNS = {  # a tenth of what from_regex takes for 64 characters
    r"^[0-9a-f]{64}$": st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}"),
}
LIMITS = {
    "ge": "min_value",
    "gt": "min_value",
    "le": "max_value",
    "lt": "max_value",
    "min_length": "min_size",
    "max_length": "max_size",
}


def bodies(model: type[BaseModel], full: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """Keyword arguments; `full` gives every optional field a value."""
    required = {
        name: values(field, full)
        for name, field in model.model_fields.items()
        if full or field.is_required()
    }
    optional = {
        name: values(field, full)
        for name, field in model.model_fields.items()
        if name not in required
    }
    return st.fixed_dictionaries(required, optional=optional)


def instances(model: type[BaseModel], full: bool = False) -> st.SearchStrategy[BaseModel]:
    drawn = bodies(model, full)
    if issubclass(model, RouteSpec):  # its labels depend on each other
        drawn = drawn.map(
            lambda body: (
                body
                | {
                    "labels": ("delivery", "refund"),
                    "label_descriptions": {"refund": "wants money"} if full else {},
                }
            )
        )
    return drawn.map(model.model_validate)


def values(field: FieldInfo, full: bool) -> st.SearchStrategy[Any]:
    limits: dict[str, Any] = {}
    for rule in field.metadata:
        rules = (
            vars(rule)
            if hasattr(rule, "__dict__")
            else {name: getattr(rule, name) for name in LIMITS if hasattr(rule, name)}
        )
        limits |= {name: value for name, value in rules.items() if value is not None}
    return of_type(field.annotation, limits, full)


def of_type(kind: Any, limits: dict[str, Any], full: bool) -> st.SearchStrategy[Any]:
    origin = get_origin(kind)
    inside = get_args(kind)
    if origin is Literal:
        return st.sampled_from(inside)
    if origin in (Union, types.UnionType):
        alternatives = [part for part in inside if not (full and part is type(None))]
        return st.one_of(*(of_type(part, limits, full) for part in alternatives))
    if origin is tuple:
        return st.lists(of_type(inside[0], {}, full), min_size=int(full), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(
            of_type(inside[0], {}, full),
            of_type(inside[1], {}, full),
            min_size=int(full),
            max_size=3,
        )
    if hasattr(kind, "__metadata__"):  # Annotated
        return of_type(inside[0], limits, full)
    return alone(kind, limits, full)


def alone(kind: Any, limits: dict[str, Any], full: bool) -> st.SearchStrategy[Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return instances(kind, full)
    known = {LIMITS[name]: value for name, value in limits.items() if name in LIMITS}
    if kind is str and (pattern := limits.get("pattern")):
        return (
            PATTERNS[pattern]
            if pattern in PATTERNS
            else st.from_regex(pattern, fullmatch=True).map(str.strip)
        )
    if kind is str:
        return st.text(**({"max_size": 12} | known))
    if kind is float:
        return st.floats(
            **known,
            exclude_min="gt" in limits,
            exclude_max="lt" in limits,
            allow_nan=False,
            allow_infinity=False,
        )
    return st.integers(**known) if kind is int else PLAIN[kind]
