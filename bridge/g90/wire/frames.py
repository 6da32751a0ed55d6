"""Frames of the cloud protocol, split from a byte stream by their length (PROTOCOL.md, Headers).

Every frame starts with command, source, flag, destination and its total length. After an invalid length the next frame
cannot be found, so the connection is closed; any other fault concerns one frame only.
"""

from __future__ import annotations

import struct
from typing import Final

from bridge.common.errors import BridgeError
from bridge.common.values import value
from bridge.g90.wire.constants import VERSION

_BASIC: Final = struct.Struct("<BBBBi")
_VERSIONED: Final = struct.Struct("<BBBBiHH")
_VERSION: Final = struct.Struct("<8xHH")
HEADER_SIZE: Final = _BASIC.size
VERSIONED_SIZE: Final = _VERSIONED.size
LONGEST: Final = 64 * 1024
"""Bounds the buffer of a connection; known messages have a few hundred bytes."""


class FrameError(BridgeError):
    """The stream cannot be split into frames any more: close the connection."""


class MessageError(BridgeError):
    """One message cannot be parsed or has no known meaning: skip it."""


@value(frozen=True, slots=True)
class Frame:
    """One complete frame; `raw` holds all of its bytes."""

    command: int
    source: int
    destination: int
    raw: bytes

    @property
    def body(self) -> bytes:
        return self.raw[HEADER_SIZE:]

    def versioned(self) -> tuple[int, bytes]:
        """Return sequence and payload of a frame with the versioned header. Raises MessageError without one."""
        if len(self.raw) < _VERSIONED.size:
            raise MessageError(f"a message of {len(self.raw)} bytes without a versioned header")
        version, sequence = _VERSION.unpack_from(self.raw)
        if version != VERSION:
            raise MessageError(f"a message of version {version}, not {VERSION}")
        return sequence, self.raw[_VERSIONED.size :]


def basic(command: int, source: int, destination: int, payload: bytes = b"") -> bytes:
    return _BASIC.pack(command, source, 0, destination, _BASIC.size + len(payload)) + payload


def versioned(command: int, source: int, destination: int, payload: bytes = b"", sequence: int = 0) -> bytes:
    length = _VERSIONED.size + len(payload)
    return _VERSIONED.pack(command, source, 0, destination, length, VERSION, sequence) + payload


class FrameBuffer:
    """Splits the bytes of one direction of a connection into frames."""

    def __init__(self) -> None:
        self._held = b""
        self._at = 0
        """Where in `_held` the next frame begins."""

    def __len__(self) -> int:
        """Return the number of bytes of frames that are incomplete or not taken yet."""
        return len(self._held) - self._at

    def feed(self, data: bytes) -> None:
        self._held, self._at = self._held[self._at :] + data, 0

    def take(self) -> Frame | None:
        """Return the next complete frame or None; raise `FrameError` for an invalid length."""
        held, begin = self._held, self._at
        if len(held) - begin < HEADER_SIZE:
            return None
        command, source, _flag, destination, length = _BASIC.unpack_from(held, begin)
        if not HEADER_SIZE <= length <= LONGEST:
            raise FrameError(f"message length {length} is out of range ({HEADER_SIZE} to {LONGEST})")
        end = begin + length
        if len(held) < end:
            return None
        if len(held) == end:
            self._held, self._at = b"", 0
        else:
            self._at = end
        return Frame(command, source, destination, held[begin:end])
