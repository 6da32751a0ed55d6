"""Frames of the cloud protocol: cut by length from a stream that arrives in any pieces (protocol page, Headers).

Every frame begins with command, source, flag, destination and its whole length. A length that cannot be leaves no way
to find the next frame, so it ends the connection; anything else inside a frame concerns that frame alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from bridge.common.errors import BridgeError
from bridge.g90.wire.constants import VERSION

_BASIC: Final = struct.Struct("<BBBBi")
_VERSIONED: Final = struct.Struct("<BBBBiHH")
HEADER_SIZE: Final = _BASIC.size
LONGEST: Final = 64 * 1024
"""No message seen is longer than a few hundred bytes; 64 KiB bounds the buffer of a connection."""


class FrameError(BridgeError):
    """The stream cannot be cut into frames any more: close the connection."""


class MessageError(BridgeError):
    """One message cannot be understood: skip it and count it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame; `raw` holds all of its bytes."""

    command: int
    source: int
    destination: int
    raw: bytes

    @property
    def body(self) -> bytes:
        """What follows the basic header."""
        return self.raw[HEADER_SIZE:]

    def versioned(self) -> tuple[int, bytes]:
        """Return sequence and payload of a frame with the versioned header; raise `MessageError` without one."""
        if len(self.raw) < _VERSIONED.size:
            raise MessageError(f"{len(self.raw)} bytes are too few for a versioned header")
        version, sequence = _VERSIONED.unpack_from(self.raw)[-2:]
        if version != VERSION:
            raise MessageError(f"version {version} instead of {VERSION}")
        return sequence, self.raw[_VERSIONED.size :]


def basic(command: int, source: int, destination: int, payload: bytes = b"") -> bytes:
    """Return the bytes of a frame with the basic header."""
    return _BASIC.pack(command, source, 0, destination, _BASIC.size + len(payload)) + payload


def versioned(command: int, source: int, destination: int, payload: bytes = b"", sequence: int = 0) -> bytes:
    """Return the bytes of a frame with the versioned header."""
    length = _VERSIONED.size + len(payload)
    return _VERSIONED.pack(command, source, 0, destination, length, VERSION, sequence) + payload


class FrameBuffer:
    """Bytes of one direction of one connection, in; whole frames, out."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __len__(self) -> int:
        """Bytes of a frame that is not whole yet, and frames not taken yet."""
        return len(self._bytes)

    def feed(self, data: bytes) -> None:
        self._bytes += data

    def take(self) -> Frame | None:
        """Return the next whole frame, None until there is one; raise `FrameError` on an impossible length."""
        held = self._bytes
        if len(held) < HEADER_SIZE:
            return None
        command, source, _flag, destination, length = _BASIC.unpack_from(held)
        if not HEADER_SIZE <= length <= LONGEST:
            raise FrameError(f"a message claims {length} bytes, {HEADER_SIZE} to {LONGEST} are possible")
        if len(held) < length:
            return None
        raw = bytes(held[:length])
        del held[:length]
        return Frame(command, source, destination, raw)
