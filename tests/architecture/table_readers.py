"""Finds which tables of a service some query reads, from the code alone.

A table is followed from where it is made (`Table("items", ...)`, or a function that returns one)
through the attribute, keyword or variable that holds it, into the arguments of `select`, `exists`
and `join`. What only housekeeping reads does not count: it deletes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

READING = {"select", "exists", "join", "join_from", "select_from"}
WRITING = {"insert", "update", "delete", "insert_once", "insert_many", "update_many", "upsert"}
Scope = dict[str, str]
"""What holds a table here (`table`, `self.table`, `.outcomes` of anything) to the table's name."""


def parsed(folders: Iterable[Path]) -> list[ast.Module]:
    paths = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [
        ast.parse(path.read_text("utf-8"))
        for path in paths
        if "migrations" not in path.parts and path.stem != "housekeeping"
    ]


def tables_read(folders: Iterable[Path]) -> set[str]:
    """Return the names of the tables that a query in these folders reads."""
    modules = parsed(folders)
    makers = {name: table for module in modules for name, table in made_by_functions(module)}
    parameters = {name: names for module in modules for name, names in constructors(module)}
    everywhere = {
        name: table for module in modules for name, table in fields(module, makers, parameters)
    }
    for module in modules:
        everywhere |= attributes(module, makers, everywhere)
    return {
        table
        for module in modules
        for scope, function in functions(module, makers, everywhere)
        for table in read_in(function, scope)
    }


def made(node: ast.expr, makers: Scope) -> str | None:
    """Return the table's name where `node` makes a table."""
    if not isinstance(node, ast.Call):
        return None
    called = ast.unparse(node.func).rpartition(".")[2]
    if called == "Table" and node.args and isinstance(node.args[0], ast.Constant):
        return str(node.args[0].value)
    return makers.get(called)


def made_by_functions(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the functions that return one table."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and ast.unparse(node.returns or node) == "Table":
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and (table := made(call, {})):
                    yield node.name, table


def constructors(module: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Yield each class with the names of its constructor's arguments, in order."""
    for node in ast.walk(module):
        if not isinstance(node, ast.ClassDef):
            continue
        declared = [
            each.target.id
            for each in node.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        ]
        for each in node.body:
            if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                declared = [argument.arg for argument in each.args.args[1:]]
        yield node.name, declared


def fields(
    module: ast.Module, makers: Scope, parameters: dict[str, list[str]]
) -> Iterator[tuple[str, str]]:
    """Yield fields of objects that hold tables: `Tables(outcomes=outcomes_table(metadata))`."""
    held = assigned(module, makers, {}, "")
    bases = {  # super().__init__(...) calls the constructor of the first base
        id(call): ast.unparse(owner.bases[0])
        for owner in ast.walk(module)
        if isinstance(owner, ast.ClassDef) and owner.bases
        for call in ast.walk(owner)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__"
    }
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        names = parameters.get(bases.get(id(node)) or ast.unparse(node.func), [])
        given = [*zip(names, node.args, strict=False)]
        given += [(word.arg, word.value) for word in node.keywords if word.arg]
        for name, value in given:
            if table := made(value, makers) or held.get(ast.unparse(value)):
                yield f".{name}", table


def attributes(module: ast.Module, makers: Scope, everywhere: Scope) -> Scope:
    """Return what a class keeps for others to use: `outbox.table` of any `Outbox`."""
    return {
        f"{owner.name.lower()}.{name.removeprefix('self.')}": table
        for owner in ast.walk(module)
        if isinstance(owner, ast.ClassDef)
        for name, table in assigned(owner, makers, everywhere, "self.").items()
    }


def functions(
    module: ast.Module, makers: Scope, everywhere: Scope
) -> Iterator[tuple[Scope, ast.AST]]:
    """Yield each function of a module with what holds a table inside it."""
    for owner in ast.walk(module):
        if isinstance(owner, ast.ClassDef):
            own = assigned(owner, makers, everywhere, "self.")
            for node in owner.body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield with_locals(node, makers, everywhere | own), node
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield with_locals(node, makers, everywhere), node


def with_locals(node: ast.AST, makers: Scope, scope: Scope) -> Scope:
    return scope | assigned(node, makers, scope, "")


def assigned(node: ast.AST, makers: Scope, scope: Scope, prefix: str) -> Scope:
    found: Scope = {}
    for statement in ast.walk(node):
        if not isinstance(statement, ast.Assign):
            continue
        table = made(statement.value, makers) or held_by(statement.value, scope)
        for target in statement.targets:
            name = ast.unparse(target)
            if table and name.startswith(prefix):
                found[name] = table
    return found


def held_by(node: ast.expr, scope: Scope) -> str | None:
    """Return the table that an expression stands for, by its full name or its last attribute."""
    name = ast.unparse(node)
    if name in scope:
        return scope[name]
    if not isinstance(node, ast.Attribute):
        return None
    kept = ".".join(name.rsplit(".", 2)[-2:])  # outbox.table, of self.outbox.table
    return scope.get(kept) or scope.get(f".{node.attr}")


def read_in(function: ast.AST, scope: Scope) -> Iterator[str]:
    for node in ast.walk(function):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func).rpartition(".")[2]
        arguments = [*node.args, *(word.value for word in node.keywords)]
        if called in READING:
            arguments = [part for each in arguments for part in ast.walk(each)]
        elif called in WRITING:
            continue
        elif called == "where" and begins_with(node) in READING:
            arguments = [part for each in arguments for part in ast.walk(each)]
        for part in arguments:  # else it is handed as a whole to a function that reads it
            if isinstance(part, ast.expr) and (table := held_by(part, scope)):
                yield table


def begins_with(node: ast.Call) -> str:
    """Return the first call of a chain: `select` of `select(...).where(...).limit(...)`."""
    inner: ast.expr = node
    while isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
        inner = inner.func.value
    return ast.unparse(inner.func) if isinstance(inner, ast.Call) else ""
