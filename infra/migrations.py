"""`python -m infra.migrations "what changes"`: write the next migration of each service whose
tables are ahead of its migrations.

Alembic compares the tables that the code declares with those that the migrations make. Read what it
writes: it sees added and removed tables, columns and indexes, no renames and no data; and the last
release still writes to the new schema.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sqlalchemy import Connection, MetaData, create_engine

from schemas.topics import SERVICES
from shared.storage.migrations import BASE, Migrations

if TYPE_CHECKING:
    from alembic.operations.ops import MigrationScript

    from shared.service import Service

ROOT = Path(__file__).parents[1]
WIDTH = 150
TEMPLATE = '''"""{message}."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down}
LOSES = "TODO: what a downgrade cannot give back"


def upgrade() -> None:
{up}


def downgrade() -> None:
{down_body}
'''


def folder_of(service: str) -> Path:
    return ROOT / "services" / service.replace("-", "_") / "migrations"


def migrations_of(service: str) -> Migrations:
    return Migrations(folder_of(service))


async def built(service: str, folder: Path) -> Service:
    """A service that never runs; `folder` for the files it names."""
    package = f"services.{service.replace('-', '_')}"
    settings = importlib.import_module(f"{package}.settings").Settings
    values = {
        "database_url": f"sqlite+aiosqlite:///{folder}/{service}.db",
        "artifacts_url": f"file://{folder}",
        "keys_file": folder / "keys.json",
        "base_model": "base",
    }
    made = importlib.import_module(f"{package}.app").build(
        settings(**{name: value for name, value in values.items() if name in settings.model_fields})
    )
    await made.db.close()
    return made


async def metadata_of(service: str, folder: Path) -> MetaData:
    """The tables that a service's code declares."""
    return (await built(service, folder)).metadata


def difference(connection: Connection, metadata: MetaData) -> MigrationScript:
    from alembic.autogenerate import produce_migrations
    from alembic.runtime.migration import MigrationContext

    return produce_migrations(
        MigrationContext.configure(connection, opts={"compare_type": True}), metadata
    )


def write_next(service: str, metadata: MetaData, message: str) -> Path | None:
    migrations = migrations_of(service)
    last = migrations.head if migrations.revisions else BASE
    with create_engine("sqlite://").begin() as scratch:
        if last != BASE:
            migrations.run(scratch, last)
        found = difference(scratch, metadata)
    if not found.upgrade_ops or found.upgrade_ops.is_empty():
        return None
    revision = f"{len(migrations.revisions) + 1:04}"
    path = (
        migrations.folder
        / "versions"
        / f"{revision}_{re.sub(r'[^a-z0-9]+', '_', message.lower()).strip('_')[:40]}.py"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    down = "None" if last == BASE else f'"{last}"'
    path.write_text(
        TEMPLATE.format(
            message=message,
            revision=revision,
            down=down,
            up=rendered(found.upgrade_ops),
            down_body=rendered(found.downgrade_ops),
        ),
        "utf-8",
    )
    return path


def rendered(operations: object) -> str:
    """As Alembic renders them, in our width and quotes and without what is said by default."""
    from alembic.autogenerate import render_python_code

    code = render_python_code(operations, render_as_batch=True)  # type: ignore[arg-type]
    tree = Plain().visit(
        ast.parse(
            "\n".join(
                line
                for line in code.replace("\n    ", "\n").splitlines()
                if not line.lstrip().startswith("#")
            )
        )
    )
    return "\n".join(line for statement in tree.body for line in lines_of(statement, "    "))


class Plain(ast.NodeTransformer):
    DEFAULTS = {"nullable": True, "schema": None, "unique": False}

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name == "f":  # "this name is final": it is without naming conventions, too
            return node.args[0]
        if name == "String" and node.keywords:
            return ast.Call(node.func, [node.keywords[0].value], [])
        node.keywords = [
            word
            for word in node.keywords
            if not (
                word.arg in self.DEFAULTS
                and isinstance(word.value, ast.Constant)
                and word.value.value is self.DEFAULTS[word.arg]
            )
        ]
        return node

    def visit_With(self, node: ast.With) -> ast.AST | list[ast.stmt]:
        """An index needs no batch."""
        self.generic_visit(node)
        calls = [
            statement.value
            for statement in node.body
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
        ]
        if not all(
            ast.unparse(call.func) in ("batch_op.create_index", "batch_op.drop_index")
            for call in calls
        ):
            return node
        table = node.items[0].context_expr.args[0]  # type: ignore[attr-defined]
        return [
            ast.Expr(
                ast.Call(
                    ast.Attribute(ast.Name("op"), call.func.attr),
                    [call.args[0], table, *call.args[1:]],
                    call.keywords,
                )
            )  # type: ignore[attr-defined]
            for call in calls
        ]


def lines_of(statement: ast.stmt, indent: str) -> Iterator[str]:
    if isinstance(statement, ast.With):
        yield f"{indent}with {quoted(ast.unparse(statement.items[0]))}:"
        for inner in statement.body:
            yield from lines_of(inner, indent + "    ")
    elif isinstance(statement, ast.Expr) and isinstance(call := statement.value, ast.Call):
        yield from packed(
            indent + ast.unparse(call.func) + "(",
            [quoted(ast.unparse(part)) for part in (*call.args, *call.keywords)],
        )


def packed(start: str, arguments: list[str]) -> Iterator[str]:
    line = start + arguments[0]
    indent = " " * (len(start) - len(start.lstrip()) + 4)
    for argument in arguments[1:]:
        if len(line) + len(argument) + 3 > WIDTH:
            yield line + ","
            line = indent + argument
        else:
            line += ", " + argument
    yield line + ")"


def quoted(code: str) -> str:
    return re.sub(r"'([^'\"\\]*)'", r'"\1"', code)


async def main(message: str) -> None:
    with TemporaryDirectory() as folder:
        for service in SERVICES:
            if path := write_next(service, await metadata_of(service, Path(folder)), message):
                print(
                    f"wrote {path.relative_to(ROOT)}: read it, say what a downgrade loses, and give"
                    " new columns a server default"
                )


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].strip():
        sys.exit('say what changes: make migration MESSAGE="Who works on a job"')
    asyncio.run(main(sys.argv[1]))
