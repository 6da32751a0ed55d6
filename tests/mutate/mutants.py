"""Mutants of a module: each differs from it in one place, which a test should notice.

Left alone are docstrings, annotations, decorators, imports, and what is only read by people: the texts of errors and
of log lines.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

N = TypeVar("N", bound=ast.AST)

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_LOGGERS = ("log", "logger", "logging", "LOG", "_LOG", "warnings")
_SKIPPED = (ast.Import, ast.ImportFrom, ast.JoinedStr, ast.Global, ast.Nonlocal)


@dataclass(frozen=True)
class Mutant:
    """One changed place of a module."""

    module: str
    scope: str
    """The class and function, as `Frame.parse`; empty at the top of the module."""
    line: int
    before: str
    after: str
    source: str
    """The whole module, changed."""

    @property
    def key(self) -> str:
        """What names it whatever its line: equivalents are listed by it."""
        return f"{self.module}:{self.scope}: {self.before} -> {self.after}"


@dataclass(frozen=True)
class _Place:
    path: tuple[tuple[str, int | None], ...]
    """How to get from the module to the node: a field, and the place in it where it is a list."""
    scope: str
    node: ast.AST
    new: ast.AST


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, in the order of its lines."""
    tree = ast.parse(source)
    for place in _places(tree, (), ""):
        changed = copy.deepcopy(tree)
        _put(changed, place.path, place.new)
        before, after = (_short(node) for node in (place.node, place.new))
        line = getattr(place.node, "lineno", 0)
        yield Mutant(module, place.scope, line, before, after, ast.unparse(ast.fix_missing_locations(changed)))


def _short(node: ast.AST) -> str:
    if isinstance(node, ast.Pass):
        return "nothing"
    if isinstance(node, ast.If):
        return f"if {_short(node.test)}"
    text = " ".join(ast.unparse(ast.fix_missing_locations(node)).split())
    return text if len(text) <= 100 else f"{text[:60]}...{text[-37:]}"


def _put(tree: ast.AST, path: tuple[tuple[str, int | None], ...], new: ast.AST) -> None:
    for field, index in path[:-1]:
        tree = getattr(tree, field) if index is None else getattr(tree, field)[index]
    field, index = path[-1]
    if index is None:
        setattr(tree, field, new)
    else:
        getattr(tree, field)[index] = new


def _places(node: ast.AST, path: tuple[tuple[str, int | None], ...], scope: str) -> Iterator[_Place]:
    for new in _changes(node) if path else ():
        yield _Place(path, scope, node, new)
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        scope = f"{scope}.{node.name}".lstrip(".")
    if isinstance(node, ast.Raise):
        return
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases", "type_params"):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            if isinstance(child, ast.AST) and not _left_alone(child):
                yield from _places(child, (*path, (field, index)), scope)


def _left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or _logs(node.value)
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in ("TypeVar", "cast")
    if isinstance(node, ast.Subscript):
        return isinstance(node.value, ast.Name) and node.value.id == "Literal"
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id in ("__all__", "__slots__") for target in node.targets)
    return isinstance(node, _SKIPPED)


def _logs(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in _LOGGERS
    )


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in place of a node."""
    match node:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                yield _with(node, ops=[*ops[:index], _COMPARE[type(op)](), *ops[index + 1 :]])
        case ast.BoolOp(op=op):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(op=op) if type(op) in _BINARY and not _type_union(node):
            yield _with(node, op=_BINARY[type(op)]())
        case ast.AugAssign(op=op) if type(op) in _BINARY:
            yield _with(node, op=_BINARY[type(op)]())
            yield ast.Pass()
        case ast.IfExp(test=test):
            yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.Constant(value=value):
            yield from _other_constant(value)
        case _:
            yield from _other_statement(node)


def _other_constant(value: object) -> Iterator[ast.AST]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, str):
        yield ast.Constant(f"{value}~" if value else "~")
    elif isinstance(value, bytes):
        yield ast.Constant(value + b"~")


def _other_statement(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.If(test=test):
            yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Expr() | ast.Raise():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _type_union(node: ast.BinOp) -> bool:
    """Whether this is `int | None` in `isinstance` or an alias."""
    return isinstance(node.op, ast.BitOr) and all(
        _is_none(side) or (isinstance(side, ast.Name) and side.id.lower() != side.id.upper() and not side.id.isupper())
        for side in (node.left, node.right)
        if not isinstance(side, ast.BinOp)
    )


def _with(node: N, **fields: object) -> N:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new
