"""Every input that is kept, and a few hundred changed ones: read, or refused by the reader's own error."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.fuzzing import fuzz
from fuzz.target import CORPUS, Target, TooMuchError, hidden, timed, weighed
from fuzz.targets import TARGETS

KEPT = [
    pytest.param(target, path, id=f"{target.name}/{path.name}")
    for target in TARGETS.values()
    for path in sorted(target.folder.iterdir())
]


@pytest.mark.parametrize(("target", "path"), KEPT)
def test_a_kept_input(target: Target, path: Path) -> None:
    data = path.read_bytes()
    assert timed(target, data)[0]
    assert weighed(target, data)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_changed_inputs(target: Target) -> None:
    tally = fuzz(target, seed=1, inputs=300)
    assert not tally.failures, "\n".join(tally.failures.values())
    assert len(tally.kinds) > 3, "the inputs are all refused for the same reason: nothing is tried"


def test_every_folder_of_the_corpus_belongs_to_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


def _target(check: object, folder: Path) -> Target:
    class Elsewhere(Target):
        @property
        def folder(self) -> Path:
            return folder

    (folder / "seed").write_bytes(b"begin middle end")
    return Elsewhere("elsewhere", check, (b"x",))  # type: ignore[arg-type]  # a check of any kind


def test_a_failure_is_made_small_and_kept(tmp_path: Path) -> None:
    def check(data: bytes) -> str:
        if b"x" in data:
            raise KeyError("x")
        return "read"

    tally = fuzz(_target(check, tmp_path), seed=1, inputs=500)
    assert len(tally.failures) == 1
    assert [path.read_bytes() for path in tmp_path.glob("failed-*")] == [b"x"]


def test_the_same_seed_makes_the_same_inputs(tmp_path: Path) -> None:
    rounds: list[list[bytes]] = [[], []]
    for seen in rounds:

        def check(data: bytes, seen: list[bytes] = seen) -> str:
            seen.append(data)
            return "read"

        fuzz(_target(check, tmp_path), seed=3, inputs=100)
    assert rounds[0] == rounds[1]
    assert len(set(rounds[0])) > 80


def test_an_endless_input_is_a_failure(tmp_path: Path) -> None:
    def check(data: bytes) -> str:
        while True:
            pass

    with pytest.raises(TooMuchError):
        timed(_target(check, tmp_path), b"")


def test_a_bomb_is_a_failure(tmp_path: Path) -> None:
    def check(data: bytes) -> str:
        return "x" * (64 << 20)

    with pytest.raises(TooMuchError):
        weighed(_target(check, tmp_path), b"")


def test_a_secret_shown_is_a_failure() -> None:
    with pytest.raises(AssertionError):
        hidden(b'{"code": "Pl4nted5ecretXy"}', b'"code": "', ValueError("it was Pl4nted5ecretXy"))
    hidden(b'{"name": "Pl4nted5ecretXy"}', b'"code": "', ValueError("it was Pl4nted5ecretXy"))
