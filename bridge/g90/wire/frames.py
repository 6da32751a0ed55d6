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
        version, sequence = _VERSIONED.unpack_from(self.raw)[-2:]
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
        self._bytes = bytearray()

    def __len__(self) -> int:
        """Return the number of bytes of frames that are incomplete or not taken yet."""
        return len(self._bytes)

    def feed(self, data: bytes) -> None:
        self._bytes += data

    def take(self) -> Frame | None:
        """Return the next complete frame or None; raise `FrameError` for an invalid length."""
        held = self._bytes
        if len(held) < HEADER_SIZE:
            return None
        command, source, _flag, destination, length = _BASIC.unpack_from(held)
        if not HEADER_SIZE <= length <= LONGEST:
            raise FrameError(f"message length {length} is out of range ({HEADER_SIZE} to {LONGEST})")
        if len(held) < length:
            return None
        raw = bytes(held[:length])
        del held[:length]
        return Frame(command, source, destination, raw)
