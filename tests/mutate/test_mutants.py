"""The program that changes the product: what it changes, what it leaves alone, and that each pure module has tests."""

from __future__ import annotations

import pytest
from mutate.mutants import mutants
from mutate.rooms import TOP, pure_modules, room, rooms


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("a = b < 1", ["b < 1 -> b <= 1", "1 -> 2"]),
        ("a = b is None and c", ["b is None and c -> b is None or c", "b is None -> b is not None"]),
        ("a = not b", ["not b -> b"]),
        ("a = b'x' + c", ["b'x' + c -> b'x' - c", "b'x' -> b'x~'"]),
        ("a.b = c", ["a.b = c -> nothing"]),
        ("a += True", ["a += True -> a -= True", "a += True -> nothing", "True -> False"]),
        ("if a:\n    f()", ["if a -> if not a", "f() -> nothing"]),
        ("for a in b:\n    continue", ["continue -> break"]),
        ("a = 'x' if b else ''", ["'x' if b else '' -> 'x' if not b else ''", "'x' -> 'x~'", "'' -> '~'"]),
        ("if a:\n    raise ValueError('text')", ["if a -> if not a", "raise ValueError('text') -> nothing"]),
    ],
)
def test_each_change_is_made_alone(source: str, changes: list[str]) -> None:
    found = {f"{each.before} -> {each.after}": each.source for each in mutants("m", source)}
    assert sorted(found) == sorted(changes)
    assert len({*found.values(), source}) == len(changes) + 1


@pytest.mark.parametrize(
    "source",
    [
        "'''A docstring.'''",
        "import a",
        "T = TypeVar('T')",
        "Way = Literal['a', 'b']",
        "def f(a: int | None) -> int | None: ...",
        "@dataclass(frozen=True)\nclass A: ...",
        "log.info('text %s', 1)",
        "__all__ = ['a']",
    ],
)
def test_what_no_test_should_notice_is_left_alone(source: str) -> None:
    assert list(mutants("m", source)) == []


def test_a_change_is_named_by_its_function() -> None:
    (mutant,) = mutants("m", "class A:\n    def f(self):\n        return self.b")
    assert mutant.key == "m:A.f: return self.b -> return None"
    assert mutant.line == 3


def test_each_pure_module_has_tests() -> None:
    modules = pure_modules()
    assert modules
    assert {room(module) for module in modules} == set(rooms())
    tests = [test for listed in rooms().values() for test in listed]
    assert [test for test in tests if not (TOP / test).exists()] == []
