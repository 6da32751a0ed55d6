"""A broker that gives each message the lowest free packet id, as it may: a wire renumbers what mosquitto sends.

With it a new message soon has the id of one that was acknowledged, and DUP if it went into a broken connection first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

_CONNACK, _PUBLISH, _PUBACK, _PUBREC, _PUBREL, _PUBCOMP = 2, 3, 4, 5, 6, 7
_QOS, _DUP = 0b0110, 0b1000


class PacketIds:
    """The ids of one session, over its connections."""

    def __init__(self) -> None:
        self._given: dict[int, int] = {}
        """By the id of the broker; those in use."""
        self._last: dict[int, int] = {}
        """Those that were in use: the broker may not have read the acknowledgement, and repeats the message."""
        self.reused = 0
        """How often an id was given again."""
        self.repeated: Callable[[bytes], None] = lambda _: None
        """Called with each message that the broker delivers again."""
        self.acknowledged: Callable[[bytes], None] = lambda _: None
        """Called with each message whose acknowledgement passes."""
        self._messages: dict[int, bytes] = {}
        """By our id; not acknowledged yet."""

    def to_client(self, packet: bytes) -> bytes:
        """Return a packet of the broker with our id."""
        kind = packet[0] >> 4
        at = _body(packet)
        if kind == _CONNACK and not packet[at] & 1:
            self._given.clear()
            self._last.clear()
        elif kind == _PUBREL:
            return _with_id(packet, at, self._given_to(_id(packet, at)))
        elif kind == _PUBLISH and packet[0] & _QOS:
            if packet[0] & _DUP:
                self.repeated(packet)
            at += 2 + _id(packet, at)  # past the topic
            given = self._given_to(_id(packet, at))
            self._messages[given] = packet
            return _with_id(packet, at, given)
        return packet

    def to_broker(self, packet: bytes) -> bytes:
        """Return a packet of the client with the broker's id."""
        kind = packet[0] >> 4
        if kind not in (_PUBACK, _PUBREC, _PUBCOMP):
            return packet
        at = _body(packet)
        given = _id(packet, at)
        own = next((own for own, each in self._given.items() if each == given), given)
        if kind != _PUBREC and self._given.pop(own, None) is not None:
            self._last[own] = given
            self.acknowledged(self._messages.pop(given, b""))
        return _with_id(packet, at, own)

    def _given_to(self, own: int) -> int:
        if own not in self._given:
            used = set(self._given.values())
            before = self._last.pop(own, None)
            free = next(each for each in range(1, 1 << 16) if each not in used)
            self._given[own] = free if before is None or before in used else before
            self.reused += free in self._last.values()
        return self._given[own]


def packets(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Return what changes the packets of one direction of a connection: it takes any bytes and gives whole packets."""
    held = bytearray()

    def feed(data: bytes) -> bytes:
        held.extend(data)
        return b"".join(change(packet) for packet in _taken(held))

    return feed


def _taken(held: bytearray) -> Iterator[bytes]:
    while (length := _length(held)) is not None and len(held) >= length:
        yield bytes(held[:length])
        del held[:length]


def _length(held: bytearray) -> int | None:
    """Return how long the first packet is, if that can be told yet."""
    value, shift = 0, 0
    for number, byte in enumerate(held[1:5], 2):
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return number + value
    return None


def _body(packet: bytes) -> int:
    return next(number for number in range(1, 5) if not packet[number] & 0x80) + 1


def _id(packet: bytes, at: int) -> int:
    return int.from_bytes(packet[at : at + 2], "big")


def _with_id(packet: bytes, at: int, number: int) -> bytes:
    return packet[:at] + number.to_bytes(2, "big") + packet[at + 2 :]
