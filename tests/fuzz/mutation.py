"""Inputs made of other inputs: seeded, so that a run with the same seed makes the same ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

LONGEST: Final = 8192
"""Bytes of most inputs; what is long on purpose is in the corpus."""
_NUMBERS: Final = (0, 1, 7, 8, 12, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_WORDS: Final = (b"0", b"-1", b"999", b"1e999", b"9" * 30, b"9" * 5000, b"NaN", b"null", b"true", b'""', b"[]", b"{}")
_BYTES: Final = (
    b"\0",
    b"\n",
    b"\r\n",
    b"\x1b[31m",
    b"\x7f",
    b"\xff",
    b"\xc3\xa5",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\\u0000",
)


class Mutator:
    """Makes inputs from `pool`, which the caller may add to, and from the target's own `tokens`."""

    def __init__(self, random: Random, pool: Sequence[bytes], tokens: Sequence[bytes]) -> None:
        self._random = random
        self._pool = pool
        self._tokens = (*tokens, *_BYTES)
        self._ways: tuple[Callable[[bytes], bytes], ...] = (
            self._flip, self._set, self._number, self._cut, self._cut, self._repeat, self._insert, self._insert,
            self._replace, self._word, self._splice, self._nest,
        )  # fmt: skip

    def make(self) -> bytes:
        """Return an input of the pool, changed in one to eight places."""
        data = self._random.choice(self._pool)
        for _ in range(self._random.choice((1, 1, 2, 2, 3, 4, 8))):
            data = self._random.choice(self._ways)(data)
        return data[: max(LONGEST, len(data) if self._random.random() < 0.01 else 0)]

    def _place(self, data: bytes) -> int:
        return self._random.randint(0, len(data))

    def _piece(self, data: bytes) -> tuple[int, int]:
        start = self._place(data)
        return start, min(len(data), start + self._random.choice((1, 1, 2, 4, 8, 16, 64, 256)))

    def _flip(self, data: bytes) -> bytes:
        start, end = self._piece(data)
        return (
            data[:start]
            + bytes(byte ^ 1 << self._random.randrange(8) for byte in data[start:end][:1])
            + data[start + 1 :]
        )

    def _set(self, data: bytes) -> bytes:
        start = self._place(data)
        return data[:start] + bytes([self._random.randrange(256)]) + data[start + 1 :]

    def _number(self, data: bytes) -> bytes:
        start, size = self._place(data), self._random.choice((1, 2, 4))
        number = self._random.choice((*_NUMBERS, len(data))) % (1 << 8 * size)
        return data[:start] + number.to_bytes(size, "little") + data[start + size :]

    def _cut(self, data: bytes) -> bytes:
        start, end = self._piece(data)
        return data[:start] + data[end:]

    def _repeat(self, data: bytes) -> bytes:
        start, end = self._piece(data)
        return data[:end] + data[start:end] * self._random.choice((1, 1, 1, 2, 10, 300)) + data[end:]

    def _insert(self, data: bytes) -> bytes:
        start = self._place(data)
        return data[:start] + self._random.choice(self._tokens) + data[start:]

    def _replace(self, data: bytes) -> bytes:
        """Put one token for another that is there."""
        there = [token for token in self._tokens if token in data]
        if not there:
            return self._insert(data)
        return data.replace(self._random.choice(there), self._random.choice(self._tokens), self._random.choice((1, -1)))

    def _word(self, data: bytes) -> bytes:
        """Put an odd value for what stands between two marks."""
        start, end = self._piece(data)
        return data[:start] + self._random.choice(_WORDS) + data[end:]

    def _splice(self, data: bytes) -> bytes:
        other = self._random.choice(self._pool)
        return data[: self._place(data)] + other[self._place(other) :]

    def _nest(self, data: bytes) -> bytes:
        opening = self._random.choice((b"[", b"{", b"(", b"<a>", b'{"a":', *self._tokens))
        start = self._place(data)
        return data[:start] + opening * self._random.choice((10, 100, 1000)) + data[start:]
