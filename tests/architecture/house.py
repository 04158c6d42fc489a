"""The figures the house is kept by: `make house`, or `make house ARGS=FOLDER` for another checkout.

Counted over services, shared, schemas and infra, without migrations (frozen history). A figure is
only printed; what must hold is in test_house_rules.py and in `make check`.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("services", "shared", "schemas", "infra")
BIN = Path(sys.executable).parent
# Pages that a reader of the repository cannot open, and the numbers of their sections.
UNREADABLE = re.compile(
    r"(reliability|methods|requirements|style|measured[- ]facts) page|DESIGN section|\[[A-E]\d+\]"
)
# Words that begin a docstring whose subject is not the function.
NO_VERB = re.compile(
    r"(?:The|A|An|What|One|For|How|Of|Where|Whether|Who|Those|These|Only|By|In|As|All|Also|At|On"
    r"|Not|No|Nothing|With|Within|From|None|False|True|It|Its|After|Before|Until|Every|Each)\b"
)


@dataclass(frozen=True)
class Module:
    """One file, read once."""

    path: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.path.split("/", 1)[0]

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def modules(root: Path) -> list[Module]:
    paths = sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))
    texts = {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in paths}
    return [
        Module(path, text, ast.parse(text))
        for path, text in texts.items()
        if "/migrations/" not in path
    ]


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def spread(values: list[int]) -> str:
    return f"{statistics.median(values):.0f} / {percentile(values, 0.9)} / {max(values)}"


def percentile(values: list[int], share: float) -> int:
    return sorted(values)[int(share * (len(values) - 1))]


def shape_of(package: str, found: list[Module]) -> list[str]:
    """Return the columns of one package."""
    lines = [line for module in found for line in module.lines]
    full = [line for line in lines if line.strip()]
    return [
        package,
        f"{len(lines):,}",
        spread([len(module.lines) for module in found]),
        spread([length(node) for module in found for node in functions(module)]),
        f"{statistics.mean(len(line) for line in full):.1f}",
        f"{100 * sum(len(line) > 100 for line in lines) / len(lines):.1f} %",
        f"{100 * sum(len(line) > 120 for line in lines) / len(lines):.1f} %",
    ]


def tuple_to_tuple(module: Module) -> int:
    return sum(
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Tuple)
        and isinstance(node.value, ast.Tuple)
        for node in ast.walk(module.tree)
    )


def private_attributes(module: Module) -> int:
    """Count attributes of others that begin with an underscore: seams of libraries, mostly."""
    return sum(
        isinstance(node, ast.Attribute)
        and re.match(r"_[a-z]", node.attr) is not None
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "os"))
        and not (isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()")
        and not ast.unparse(node.value).startswith(("self.", "cls."))
        for node in ast.walk(module.tree)
    )


def passes_on(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Say whether a handler does nothing but call one other function."""
    body = [statement for statement in node.body if not is_docstring(statement)]
    return len(body) == 1 and isinstance(body[0], ast.Expr | ast.Return)


def is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def ports(module: Module) -> int:
    """Count the Protocols that a service declares for what stands outside."""
    return sum(
        isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases)
        for node in ast.walk(module.tree)
    )


def figures(root: Path, found: list[Module]) -> Iterator[tuple[str, object]]:
    services = [module for module in found if module.package == "services"]
    documented = [
        text for module in found for node in functions(module) if (text := ast.get_docstring(node))
    ]
    handlers = [
        node
        for module in services
        if module.path.endswith("handlers.py")
        for node in functions(module)
        if node.name.startswith("on_")
    ]
    everything = "\n".join(module.text for module in found)
    yield "files that ruff format would change", unformatted(root)
    yield "fmt: skip", everything.count("fmt: skip")
    yield "assignments of a tuple to a tuple", sum(map(tuple_to_tuple, found))
    yield "errors of mypy --strict", type_errors(root)
    yield "type: ignore", everything.count("type: ignore")
    yield (
        "lines with app.state or api.state",
        len(re.findall(r"\b(?:app|api)\.state\b", everything)),
    )
    yield "Any in services", sum(words(module.text, "Any") for module in services)
    yield "Any everywhere", words(everything, "Any")
    yield "functions in handlers.py", len(handlers)
    yield "of those that only pass their event on", sum(map(passes_on, handlers))
    yield "Protocols in services", sum(map(ports, services))
    yield "private attributes of others", sum(map(private_attributes, found))
    yield "references to pages one cannot open", len(UNREADABLE.findall(everything))
    yield "docstrings of functions", len(documented)
    yield "of those that begin with no verb", sum(bool(NO_VERB.match(text)) for text in documented)


def words(text: str, word: str) -> int:
    return len(re.findall(rf"\b{word}\b", text))


def unformatted(root: Path) -> int:
    said = run(root, "ruff", "format", "--check", *there(root))
    found = re.search(r"(\d+) files? would be reformatted", said)
    return int(found[1]) if found else 0


def type_errors(root: Path) -> str:
    said = run(root, "mypy", "--strict", "--no-incremental", *there(root))
    return said.strip().splitlines()[-1]


def there(root: Path) -> list[str]:
    return [package for package in PACKAGES if (root / package).exists()]


def run(root: Path, tool: str, *arguments: str) -> str:
    command = [str(BIN / tool), *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True).stdout


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]).resolve()
    found = modules(root)
    head = ["package", "lines", "module med/p90/max", "function med/p90/max"]
    rows = [[*head, "characters a line", "> 100", "> 120"]]
    rows += [shape_of(name, [each for each in found if each.package == name]) for name in PACKAGES]
    for row in rows:
        print("".join(f"{cell:<24}" for cell in row).rstrip())
    print()
    for name, value in figures(root, found):
        print(f"{name:<42} {value}")


if __name__ == "__main__":
    main()
