"""Every field of a route and every setting is read somewhere: what has no effect does not exist.

By type, not by name: the fields are taken out of a copy of their classes, and mypy then names each
place that misses one.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.migrations import built
from schemas.topics import SERVICES
from tests.architecture.table_readers import tables_read

ROOT = Path(__file__).parents[2]
PACKAGES = ("services", "shared", "schemas", "infra")
ROUTE = "schemas/route.py"
ROUTE_CLASSES = ("RouteSpec", "ReviewRule", "RetrainRule", "DriftRule", "CanaryChoice", "Targets")
MISSED = re.compile(r'^(\S+?):\d+: error: .*"(\w+)"(?: of [^:]+)? has no attribute "(\w+)"')
# The common name of a field that is read of other classes, planted where nobody reads it.
PLANTED = ("ReviewRule", "name")


@dataclass(frozen=True)
class Field:
    """A field and the class that declares it; `path` is the file of the class."""

    path: str
    owner: str
    name: str


def is_field(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and "ClassVar" not in ast.unparse(statement.annotation)
        and ast.unparse(statement.annotation) not in ROUTE_CLASSES  # it stands for its own fields
    )


def is_validator(statement: ast.stmt) -> bool:
    """Say whether a method only checks fields against each other, which is no effect."""
    return isinstance(statement, ast.FunctionDef) and any(
        "validator" in ast.unparse(decorator) for decorator in statement.decorator_list
    )


def classes_of(tree: ast.Module) -> Iterator[ast.ClassDef]:
    return (node for node in tree.body if isinstance(node, ast.ClassDef))


def take_fields_out(path: Path, root: Path, wanted: tuple[str, ...] | None) -> list[Field]:
    """Remove the fields of some classes (None: of all) from a file; return them."""
    tree = ast.parse(path.read_text("utf-8"))
    fields = []
    for owner in classes_of(tree):
        if wanted is not None and owner.name not in wanted:
            continue
        fields += [
            Field(path.relative_to(root).as_posix(), owner.name, statement.target.id)
            for statement in owner.body
            if is_field(statement)
        ]
        kept = [each for each in owner.body if not is_field(each) and not is_validator(each)]
        owner.body = kept or [ast.Pass()]
    path.write_text(ast.unparse(tree), "utf-8")
    return fields


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lived-in")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    if (ROOT / ".mypy_cache").exists():  # then only what changed is looked at
        shutil.copytree(ROOT / ".mypy_cache", folder / ".mypy_cache")
    return folder


def settings_files(root: Path) -> list[Path]:
    return sorted([root / "shared" / "settings.py", *root.glob("services/*/settings.py")])


@pytest.fixture(scope="module")
def unread(copy: Path) -> set[tuple[str, str]]:
    """(class or service, field) of everything that no typed code reads."""
    route = copy / ROUTE
    source = route.read_text("utf-8")
    planted = f"class {PLANTED[0]}(Value):\n    {PLANTED[1]}: str = ''"
    route.write_text(source.replace(f"class {PLANTED[0]}(Value):", planted), "utf-8")
    fields = take_fields_out(route, copy, ROUTE_CLASSES)
    for path in settings_files(copy):
        fields += take_fields_out(path, copy, None)
    said = subprocess.run(
        [str(Path(sys.executable).with_name("mypy")), *PACKAGES],
        cwd=copy,
        capture_output=True,
        text=True,
    ).stdout
    read = {found.groups() for line in said.splitlines() if (found := MISSED.match(line))}
    common = {field.name for field in fields if field.path == "shared/settings.py"}
    return {
        (label(field), field.name)
        for field in fields
        if not is_read(field, read)
        # A service's own default for what all have is read where all are.
        and not (field.path.startswith("services/") and field.name in common)
    }


def label(field: Field) -> str:
    return field.owner if field.path == ROUTE else field.path.removesuffix("/settings.py")


def is_read(field: Field, read: set[tuple[str, ...]]) -> bool:
    if field.path == ROUTE:
        return any(
            (owner, name) == (field.owner, field.name) and not path.startswith("infra/cli/")
            for path, owner, name in read
        )
    room = field.path.removesuffix("settings.py")  # a service's own, or shared by all
    return any(
        name == field.name
        and owner in ("Settings", "ServiceSettings")
        and (room == "shared/" or path.startswith(room))
        for path, owner, name in read
    )


def test_every_field_of_a_route_and_every_setting_is_read(unread: set[tuple[str, str]]) -> None:
    """And the planted one is reported, as would be any other."""
    assert unread == {PLANTED}


# Written, and read by nobody yet: each has its reader in a coming change.
TABLES_NOT_YET_READ = {
    ("evaluator", "feedback"): "what users said: the monitors will use it",
    ("trainer", "routes"): "what serves: training in turns will ask it",
}
# Read by the statement that changes it: `update ... where remaining > 0` says whether one was left.
READ_BY_ITS_UPDATE = {("review", "drift_batches")}
ASKING_ROUTES = re.compile(r"(?:routes|book)\.(?:get|names|all)\(")


async def tables_without_readers(folder: Path) -> set[tuple[str, str]]:
    shared_read = tables_read([ROOT / "shared", ROOT / "infra" / "operations"])
    found = set()
    for service in SERVICES:
        package = ROOT / "services" / service.replace("-", "_")
        read = tables_read([package]) | tables_read([package, ROOT / "shared"]) | shared_read
        sources = [path.read_text("utf-8") for path in package.rglob("*.py")]
        if service != "router" and not any(map(ASKING_ROUTES.search, sources)):
            read.discard("routes")  # all share the class that could ask it
        declared = (await built(service, folder)).metadata.tables
        found |= {(service, name) for name in declared if name not in read}
    return found


async def test_every_table_is_read_by_some_query(tmp_path: Path) -> None:
    found = await tables_without_readers(tmp_path)
    assert found - READ_BY_ITS_UPDATE == TABLES_NOT_YET_READ.keys()


def test_a_table_that_is_only_written_is_noticed(tmp_path: Path) -> None:
    """The control, beside one that is read under the same name of a variable."""
    source = """
class Store:
    def __init__(self, metadata):
        self.table = Table("read", metadata)
        self.other = written_table(metadata)

    async def one(self, tx):
        table = self.table
        return await tx.execute(select(table.c.id).where(table.c.id == 1))

    async def add(self, tx):
        table = self.other
        await tx.execute(insert(table).values(id=1))
        await tx.execute(delete(table).where(table.c.id == 1))


def written_table(metadata) -> Table:
    return Table("written", metadata)
"""
    (tmp_path / "store.py").write_text(source)
    assert tables_read([tmp_path]) == {"read"}
