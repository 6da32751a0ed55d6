"""Commands to a panel and the data of its responses, over UDP and over TCP (PROTOCOL.md, Commands)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import Final

from bridge.common.errors import BridgeError, FieldError
from bridge.common.text import clean
from bridge.g90.wire.constants import ArmCode, type_name
from bridge.g90.wire.frames import MessageError
from bridge.g90.wire.reports import LAST_SENSOR, dump_json, load_json

GET_STATUS: Final = 100
SET_STATUS: Final = 101
GET_SENSORS: Final = 102
GET_ALERT_FLAGS: Final = 117
SWITCH_RELAY: Final = 137
GET_RELAYS: Final = 138
GET_HISTORY: Final = 200
GET_HOST_INFO: Final = 206
_NAMES: Final = {
    GET_STATUS: "status",
    SET_STATUS: "arm or disarm",
    GET_SENSORS: "sensor list",
    GET_ALERT_FLAGS: "alert flags",
    SWITCH_RELAY: "switch relay",
    GET_RELAYS: "relay list",
    GET_HISTORY: "history",
    GET_HOST_INFO: "panel information",
}
PAGE: Final = 10
"""Records of a sensor list per request (PROTOCOL.md, Pagination)."""
_START, _END = b"ISTART", b"IEND\0"
_HOST_INFO_FIELDS: Final = 13
_MAX_NODES: Final = 64


class PanelCommandError(BridgeError):
    """A panel did not carry out a command."""


class CommandTimeout(PanelCommandError):  # noqa: N818 - the outcome `timeout` (TOPICS.md, Panel commands)
    """No response came: whether the command was carried out is not known."""


class CommandRefused(PanelCommandError):  # noqa: N818 - as above
    """The panel reported a failure or sent an invalid response."""


@dataclass(frozen=True, slots=True)
class HostStatus:
    arm: ArmCode
    product: str


@dataclass(frozen=True, slots=True)
class HostInfo:
    guid: str
    product: str
    firmware: str
    """The versions of the main controller and of the Wi-Fi controller, with a slash between."""
    battery_mv: int | None
    gsm_signal: int | None
    """In percent, like `wifi_signal`."""
    wifi_signal: int | None
    gsm_status: int | None = None
    """A `GsmStatus`, as `wifi_status` is a `WifiStatus`."""
    wifi_status: int | None = None


@dataclass(frozen=True, slots=True)
class SensorRecord:
    """One sensor, or one node of a sensor with several: nodes share the index and differ in `name`."""

    index: int
    name: str
    type: int
    nodes: int = 1
    flags: int | None = None
    """`SensorFlag`s; None where the panel sends none."""

    @property
    def type_name(self) -> str | None:
        return type_name(self.type)


def body(code: int, data: list[object] | None) -> bytes:
    """Return the JSON body of a command, `[code,[data...]]`, or nothing for None."""
    return b"" if data is None else dump_json([code, data])


def local_request(code: int, data: list[object] | None) -> bytes:
    """Return the datagram of a request (PROTOCOL.md, Requests and responses)."""
    return b"%bIEND\0" % b"".join((_START, b"[%d,%d," % (code, code), body(code, data) or b'""', b"]"))


def local_response(code: int, data: list[object]) -> bytes:
    """Return the datagram of a panel's response; empty `data` gives an empty response."""
    return _START + (dump_json([code, data]) if data else b"") + _END


def unwrap(datagram: bytes) -> bytes:
    """Return the content between `ISTART` and `IEND`; raise `MessageError` if one of them is missing."""
    if not (datagram.startswith(_START) and datagram.endswith(_END)):
        raise MessageError(f"a datagram without ISTART and IEND: {clean(repr(datagram))}")
    return datagram[len(_START) : -len(_END)]


def named(code: int) -> str:
    """Return the name of a command for people, in quotes."""
    return f'"{_NAMES.get(code, code)}"'


def answer_data(code: int, text: bytes) -> list[object] | None:
    """Return the data of a response to `code`, None for a response to another command.

    Raises `CommandRefused` if the panel reports a failure, `MessageError` if the response cannot be parsed.
    """
    if not text:
        return []
    if text == b"fail":
        raise CommandRefused(f"the panel answered that the command {named(code)} failed")
    if text.startswith(b"error"):
        raise CommandRefused(
            f"the panel refused the command {named(code)}: {clean(text[5:].decode('utf-8', 'replace'))}"
        )
    match load_json(text):
        case [int(answered), list(data)]:
            return data if answered == code else None
        case [int(answered)]:
            return [] if answered == code else None
    raise MessageError(f"a response of an unknown form: {clean(repr(text))}")


def host_status(data: list[object]) -> HostStatus:
    match data:
        case [1 | 2 | 3 | 4 as state, _phone, product, *_]:
            return HostStatus(ArmCode(state), clean(product))
    raise CommandRefused(f"the panel sent an invalid status: {clean(data)}")


def host_info(data: list[object]) -> HostInfo:
    if len(data) < _HOST_INFO_FIELDS:
        raise CommandRefused(f"the panel sent an invalid host info: {clean(data)}")
    guid, product, _wifi, _cloud, mcu, wifi = (clean(field) for field in data[:6])
    gsm_status, wifi_status, _, _, battery, gsm_signal, wifi_signal = (_number(field) for field in data[6:13])
    return HostInfo(guid, product, f"{mcu}/{wifi}", battery, gsm_signal, wifi_signal, gsm_status, wifi_status)


def expand(record: SensorRecord) -> tuple[SensorRecord, ...]:
    """Return a sensor with several nodes as `name#1`, `name#2`..., any other unchanged."""
    if record.nodes < 2:  # noqa: PLR2004 - several
        return (record,)
    return tuple(replace(record, name=f"{record.name}#{node}") for node in range(1, min(record.nodes, _MAX_NODES) + 1))


def point_datagram(host: str, port: int) -> bytes:
    """Return the datagram that points a panel at a server. Raises FieldError if `host` is not IPv4."""
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError as error:
        raise FieldError("address", f"{clean(host)!r} is not an IPv4 address; panels take no names") from error
    return f'ISTART[0,100,"AT^IWT=1,78={address}&{address}&{port},IWT"]IEND\0'.encode()


def sensor_record(record: object) -> SensorRecord:
    """Read one record of the sensor or relay list; raise `CommandRefused` for anything else."""
    match record:
        case [name, int(index), _room, int(kind), int(), _, flags, _, _, _, nodes, *_] if 0 <= index <= LAST_SENSOR:
            return SensorRecord(
                index,
                clean(name),
                kind,
                nodes if isinstance(nodes, int) else 1,
                flags if isinstance(flags, int) else None,
            )
    raise CommandRefused(f"the panel sent an invalid sensor: {clean(record)}")


def _number(field: object) -> int | None:
    """Return a number that a panel sends as a number or as text; None for anything else."""
    text = str(field)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None  # noqa: PLR2004 - in reason
