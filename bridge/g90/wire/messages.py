"""Messages of the cloud protocol as values, parsed and built (PROTOCOL.md, Messages)."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bridge.common.text import clean
from bridge.g90.wire.constants import Direction, FrameCommand
from bridge.g90.wire.events import Alert, Notice, Report
from bridge.g90.wire.frames import VERSIONED_SIZE, Frame, MessageError, basic, versioned
from bridge.g90.wire.reports import build_notification, build_status, parse_notification, parse_status

_IDENTITY: Final = struct.Struct("<15sx4i3sx")
_DISCOVERY_ANSWER: Final = struct.Struct("<16s4i")
_PORT: Final = struct.Struct("<i")
_RESPONSE: Final = struct.Struct("<HiHi2H")
_COMMAND: Final = struct.Struct("<HHHi")
_GUID: Final = re.compile(r"[A-Za-z0-9_-]{1,15}")
PING: Final = basic(FrameCommand.HELLO, Direction.DEVICE, Direction.UNSPECIFIED)
"""A ping, and the answer to one."""


_D = Direction
_KEY_PING: Final = (int(FrameCommand.HELLO), int(_D.DEVICE), int(_D.UNSPECIFIED))
_KEY_RESPONSE: Final = (int(FrameCommand.HELLO), int(_D.UNSPECIFIED), int(_D.CLOUD))


@dataclass(frozen=True, slots=True)
class Ping:
    pass


_PING: Final = Ping()


@dataclass(frozen=True, slots=True)
class Hello:
    guid: str
    firmware: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """A panel that looks for its server (PROTOCOL.md, Hello discovery)."""

    guid: str
    firmware: str


@dataclass(frozen=True, slots=True)
class CommandResponse:
    sequence: int
    code: int
    body: bytes
    """JSON, `fail`, `error...` or empty."""


@dataclass(frozen=True, slots=True)
class CommandRequest:
    sequence: int
    code: int
    body: bytes


@dataclass(frozen=True, slots=True)
class HelloInfo:
    port: int


@dataclass(frozen=True, slots=True)
class DiscoveryAnswer:
    host: str
    port: int
    time: int


@dataclass(frozen=True, slots=True)
class HelloAck:
    pass


FromPanel = Ping | Hello | Discovery | Alert | Notice | CommandResponse
FromCloud = Ping | HelloAck | HelloInfo | DiscoveryAnswer | CommandRequest


def parse(frame: Frame) -> FromPanel:
    """Parse one frame of a panel; raise `MessageError` for an unknown or invalid one."""
    key = (frame.command, frame.source, frame.destination)
    if key == _KEY_PING:
        return _PING
    reader = _PAYLOADS.get(key)
    if reader is None and key == _KEY_RESPONSE:
        return _response(frame.body)
    _sequence, payload = frame.versioned()
    if reader is None:
        raise MessageError("a message of unknown kind {:02x}/{:02x}/{:02x}".format(*key))
    return reader(payload)


def parse_from_cloud(frame: Frame) -> FromCloud:
    """Parse one frame of a cloud server; raise `MessageError` for an unknown or invalid one."""
    if (frame.command, frame.source, frame.destination) == _KEY_PING:
        return Ping()
    sequence, payload = frame.versioned()
    try:
        return _from_cloud((frame.command, frame.source), sequence, payload)
    except struct.error as error:
        raise MessageError(f"a message with only {len(payload)} bytes") from error


def _from_cloud(key: tuple[int, int], sequence: int, payload: bytes) -> FromCloud:
    match key:
        case (FrameCommand.HELLO_ACK | FrameCommand.HELLO, _D.CLOUD):
            return HelloAck()
        case (FrameCommand.HELLO_INFO, _D.CLOUD):
            return HelloInfo(*_PORT.unpack_from(payload))
        case (FrameCommand.HELLO, _D.CLOUD_DISCOVERY):
            host, _, _, port, time = _DISCOVERY_ANSWER.unpack_from(payload)
            return DiscoveryAnswer(host.partition(b"\0")[0].decode(errors="replace"), port, time)
        case (FrameCommand.COMMAND, _):
            _two, code, _subcommand, _five = _COMMAND.unpack_from(payload)
            return CommandRequest(sequence, code, payload[_COMMAND.size :].partition(b"\0")[0])
    raise MessageError("a message of unknown kind {:02x}/{:02x}".format(*key))


def answer_hello(port: int) -> bytes:
    """Return the three messages that answer a hello (PROTOCOL.md, Hello); `port` is the announced one."""
    way = (Direction.CLOUD, Direction.DEVICE)
    return (
        versioned(FrameCommand.HELLO_ACK, *way, b"\x01", sequence=1)
        + versioned(FrameCommand.HELLO, *way, b"\x1f", sequence=2)
        + versioned(FrameCommand.HELLO_INFO, *way, _PORT.pack(port), sequence=3)
    )


def answer_discovery(host: str, port: int, now: int) -> bytes:
    """Return the answer to a discovery: announced IPv4 address and port; `now` is Unix time in seconds."""
    payload = _DISCOVERY_ANSWER.pack(host.encode(), 0, 0, port, now)
    return versioned(FrameCommand.HELLO, Direction.CLOUD_DISCOVERY, Direction.DEVICE, payload)


def asks_for(message: object) -> str:
    """Return the kind of answer that a panel's message asks for, empty if none."""
    return {Ping: "ping", Hello: "hello", Discovery: "discovery"}.get(type(message), "")


def answered_by(frame: Frame) -> tuple[str, bool]:
    """Return the kind of answer that a message of a cloud server belongs to, and whether it is the last."""
    key = (frame.command, frame.source)
    if key == (FrameCommand.HELLO, _D.DEVICE):
        return "ping", True
    if key == (FrameCommand.HELLO, _D.CLOUD_DISCOVERY):
        return "discovery", True
    hello = (FrameCommand.HELLO_ACK, FrameCommand.HELLO, FrameCommand.HELLO_INFO)
    return ("hello", key[0] == FrameCommand.HELLO_INFO) if key[1] == _D.CLOUD and key[0] in hello else ("", False)


def readdressed(frame: Frame, host: str, port: int) -> bytes:
    """Return a message of a cloud server with `host` and `port` where it names the server."""
    raw, start = frame.raw, VERSIONED_SIZE
    match answered_by(frame):
        case "hello", True if len(raw) >= start + _PORT.size:
            return raw[:start] + _PORT.pack(port) + raw[start + _PORT.size :]
        case "discovery", True if len(raw) >= start + _DISCOVERY_ANSWER.size:
            _, *between, _, time = _DISCOVERY_ANSWER.unpack_from(raw, start)
            address = _DISCOVERY_ANSWER.pack(host.encode(), *between, port, time)
            return raw[:start] + address + raw[start + _DISCOVERY_ANSWER.size :]
    return raw


def build_command(request: CommandRequest) -> bytes:
    """Return a command to a panel (PROTOCOL.md, Cloud commands; experimental)."""
    payload = _COMMAND.pack(2, request.code, request.code, 5) + request.body + b"\0"
    return versioned(FrameCommand.COMMAND, Direction.COMMANDS, Direction.DEVICE, payload, request.sequence)


def build_hello(hello: Hello | Discovery) -> bytes:
    """Return a panel's hello or discovery with the numbers that real panels send."""
    discovery = isinstance(hello, Discovery)
    first = (0, 0, 1, 0x7000) if discovery else (1, 0, 2, 0x7000)
    last = (0x05050505, 0x06060030, 0x07070707) if discovery else (0x2000BA58, 0x30, 0, 7, 30, 30)
    payload = _IDENTITY.pack(hello.guid.encode(), *first, hello.firmware.encode())
    payload += struct.pack(f"<{len(last)}i", *last)
    source = Direction.DEVICE_DISCOVERY if discovery else Direction.DEVICE
    return versioned(FrameCommand.HELLO, source, Direction.CLOUD, payload)


def build_report(report: Report, *, as_json: bool) -> bytes:
    """Return a panel's report as 0x22 if `as_json` or if it is a notice, else as 0x21."""
    if as_json or isinstance(report, Notice):
        payload = build_notification(report)
        return versioned(FrameCommand.NOTIFICATION, Direction.DEVICE, Direction.CLOUD, payload)
    return versioned(FrameCommand.STATUS_CHANGE, Direction.DEVICE, Direction.CLOUD, build_status(report))


def build_response(response: CommandResponse) -> bytes:
    payload = _RESPONSE.pack(1, response.sequence, 0, response.sequence, response.code, response.code)
    return basic(FrameCommand.HELLO, Direction.UNSPECIFIED, Direction.CLOUD, payload + response.body + b"\0")


def _identity(payload: bytes) -> tuple[str, str]:
    if len(payload) < _IDENTITY.size:
        raise MessageError(f"a hello of {len(payload)} bytes, expected at least {_IDENTITY.size}")
    guid, *_flags, firmware = _IDENTITY.unpack_from(payload)
    name = guid.rstrip(b"\0 ").decode(errors="replace")
    if not is_guid(name):
        raise MessageError(f"an invalid GUID: {clean(name)}")
    return name, clean(firmware.rstrip(b"\0").decode(errors="replace"))


def is_guid(text: str) -> bool:
    """Return whether `text` is a GUID that fits into a topic."""
    return bool(_GUID.fullmatch(text))


def _response(payload: bytes) -> CommandResponse:
    if len(payload) < _RESPONSE.size:
        raise MessageError(f"a command response of {len(payload)} bytes, expected at least {_RESPONSE.size}")
    _one, first, _zero, second, code, _subcommand = _RESPONSE.unpack_from(payload)
    if first != second:
        raise MessageError(f"a command response with different sequences, {first} and {second}")
    return CommandResponse(first, code, payload[_RESPONSE.size :].partition(b"\0")[0])


_PAYLOADS: Final[dict[tuple[int, int, int], Callable[[bytes], FromPanel]]] = {
    (FrameCommand.HELLO, _D.DEVICE, _D.CLOUD): lambda payload: Hello(*_identity(payload)),
    (FrameCommand.HELLO, _D.DEVICE_DISCOVERY, _D.CLOUD): lambda payload: Discovery(*_identity(payload)),
    (FrameCommand.STATUS_CHANGE, _D.DEVICE, _D.CLOUD): parse_status,
    (FrameCommand.NOTIFICATION, _D.DEVICE, _D.CLOUD): parse_notification,
}
