"""The house rules that a linter does not know, each with a planted violation that must be
reported.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for package in ("services", "shared", "schemas", "infra")
    for path in (ROOT / package).rglob("*.py")
)
LONGEST_FUNCTION = 60
LONGEST_HANDLER = 15
LONGEST_MODULE = 300
VAGUE = {"utils", "util", "helpers", "common", "misc", "manager"}
READS_ENVIRONMENT = {
    "shared/child.py",  # hands its own environment on to the child
    "shared/workers.py",  # tells the processes of a service which of them they are
    "services/trainer/processes.py",  # the launcher of several GPUs says which one it is
}

Rule = Callable[[str, ast.Module], Iterator[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> Iterator[tuple[Function, int]]:
    """Every function with its number of lines, signature and docstring included, decorators not."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node, (node.end_lineno or node.lineno) - node.lineno + 1


def says_what_it_is_for(_: str, tree: ast.Module) -> Iterator[str]:
    if not ast.get_docstring(tree):
        yield "has no docstring"


def functions_are_short(path: str, tree: ast.Module) -> Iterator[str]:
    if "/migrations/versions/" in path:  # a list of statements
        return
    for function, lines in functions(tree):
        if lines > LONGEST_FUNCTION:
            yield f"{function.name} has {lines} lines; at most {LONGEST_FUNCTION}"


def modules_are_short(path: str, tree: ast.Module) -> Iterator[str]:
    lines = max((getattr(node, "end_lineno", 0) or 0 for node in tree.body), default=0)
    if lines > LONGEST_MODULE:
        yield f"has {lines} lines; at most {LONGEST_MODULE}"


def handlers_are_thin(path: str, tree: ast.Module) -> Iterator[str]:
    if not path.endswith("handlers.py"):
        return
    for function, lines in functions(tree):
        if lines > LONGEST_HANDLER:
            yield f"{function.name} has {lines} lines; a handler has at most {LONGEST_HANDLER}"
    if any(isinstance(node, ast.Try | ast.TryStar) for node in ast.walk(tree)):
        yield "catches errors: the bus decides what is retried"


def names_say_what_is_inside(path: str, _: ast.Module) -> Iterator[str]:
    if Path(path).stem in VAGUE:
        yield "is named after nothing"


def settings_alone_read_the_environment(path: str, tree: ast.Module) -> Iterator[str]:
    if path.startswith("infra/") or path.endswith("settings.py") or path in READS_ENVIRONMENT:
        return
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in ("environ", "getenv")
            and ast.unparse(node.value) == "os"
        ):
            yield f"reads the environment on line {node.lineno}"


def services_do_not_print(path: str, tree: ast.Module) -> Iterator[str]:
    if path.startswith("infra/"):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            yield f"prints on line {node.lineno}"


def nothing_is_unfinished(_: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Raise)
            and node.exc is not None
            and "NotImplementedError" in ast.unparse(node.exc)
        ):
            yield f"is unfinished on line {node.lineno}"


RULES: tuple[Rule, ...] = (
    says_what_it_is_for,
    functions_are_short,
    modules_are_short,
    handlers_are_thin,
    names_say_what_is_inside,
    settings_alone_read_the_environment,
    services_do_not_print,
    nothing_is_unfinished,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_house_rule(rule: Rule) -> None:
    found = [f"{path} {problem}" for path, tree in parsed() for problem in rule(path, tree)]
    assert not found, "\n".join(found)


PLANTED: dict[Rule, tuple[str, str]] = {
    says_what_it_is_for: ("services/x/sampling.py", "x = 1"),
    functions_are_short: (
        "services/x/sampling.py",
        "def f():\n" + "    x = 1\n" * LONGEST_FUNCTION,
    ),
    modules_are_short: ("services/x/sampling.py", "x = 1\n" * (LONGEST_MODULE + 1)),
    handlers_are_thin: (
        "services/x/handlers.py",
        "async def on_x():\n    try:\n        x = 1\n    except ValueError:\n        x = 2\n",
    ),
    names_say_what_is_inside: ("shared/utils.py", ""),
    settings_alone_read_the_environment: (
        "services/x/app.py",
        "import os\nurl = os.environ['URL']",
    ),
    services_do_not_print: ("services/x/app.py", "print('hello')"),
    nothing_is_unfinished: (
        "services/x/app.py",
        "def f():\n    raise NotImplementedError('later')",
    ),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_planted_violation_is_reported(rule: Rule) -> None:
    path, source = PLANTED[rule]
    assert list(rule(path, ast.parse(source)))


def parsed() -> Iterator[tuple[str, ast.Module]]:
    for path in SOURCES:
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))
