"""History, relays, alert flags and discovery in the local protocol (PROTOCOL.md, Local protocol)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from bridge.common.text import clean
from bridge.g90.wire.commands import PAGE, CommandRefused, PanelCommandError, SensorRecord, expand
from bridge.g90.wire.constants import AlertType, Source
from bridge.g90.wire.events import Alert, Form
from bridge.g90.wire.frames import MessageError
from bridge.g90.wire.reports import moment

DISCOVERY_PORT: Final = 12900
"""Panels listen for a probe there."""
DISCOVERY_ANSWER_PORT: Final = 12901
"""Answers to a probe, and notifications by broadcast, come here."""
_PROBE: Final = "IWTAC_PROBE_DEVICE"
_PROBE_ANSWER: Final = "IWTAC_PROBE_DEVICE_ACK"
_PROBE_FIELDS: Final = 13
_MOST_CHANNELS: Final = 16
_MOST_FLAGS: Final = 1 << 32


class AlertFlag(IntFlag):
    """Which events the panel reports as alerts: the word that 117 returns."""

    AC_POWER_LOST = 1
    AC_POWER_RESTORED = 2
    ARMING = 4
    PANEL_BATTERY = 8
    SENSOR_BATTERY = 16
    WIFI_CONNECTED = 32
    WIFI_DISCONNECTED = 64
    DOOR_OPEN = 128
    DOOR_CLOSE = 256
    SMS = 512


class SensorFlag(IntFlag):
    """The seventh field of a sensor's record."""

    ENABLED = 1
    ARM_DELAY = 2
    DETECT_DOOR = 4
    CHIME = 8
    INDEPENDENT_ZONE = 16
    ALERT_AWAY_AND_HOME = 32
    ALERT_AWAY = 64


class GsmStatus(IntEnum):
    OFF = 0
    NO_SIM = 1
    NO_SIGNAL = 2
    OPERATIONAL = 3


class WifiStatus(IntEnum):
    OFF = 0
    NOT_CONNECTED = 1
    SERVER_NOT_CONNECTED = 2
    OPERATIONAL = 3


class TruncatedAnswer(PanelCommandError):  # noqa: N818 - beside CommandTimeout and CommandRefused
    """A page holds fewer records than it announces: ask for it again."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `total` records are in the whole list; `first` counts from 1."""

    total: int
    first: int
    records: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What a panel answers to a discovery probe. It does not say its GUID: it answers to its own only."""

    product: str
    firmware: str
    gsm_status: str
    wifi_status: str


def page_request(first: int, count: int = PAGE) -> list[object]:
    return [first, first + count - 1]


def page(data: list[object]) -> Page:
    """Read one page; an empty answer is an empty list.

    Raises `TruncatedAnswer` where records are missing, `CommandRefused` for what is not a page.
    """
    match data:
        case []:
            return Page(0, 1, ())
        case [[int(total), int(first), int(count), *_], *records] if total >= 0 and first >= 0:
            if len(records) < count:
                raise TruncatedAnswer(f"a page has {len(records)} of {count} records")
            return Page(total, first, tuple(records[: max(count, 0)]))
    raise CommandRefused(f"not a page: {clean(data)}")


def page_data(records: list[object], first: int, last: int) -> list[object]:
    """Return the data with which a panel answers a request for `first` to `last` of `records`."""
    chosen = records[first - 1 : last]
    return [[len(records), first, len(chosen)], *chosen]


def history_record(record: object) -> Alert:
    """Read one record of the history. An unreadable one keeps its place as an alert of unknown type 0."""
    match record:
        case [int(kind), int(event), int(source), int(state), name, int(time), *_]:
            return Alert(
                form=Form.HISTORY,
                type=kind,
                event=event,
                source=source,
                state=state,
                name=clean(name),
                time=moment(time),
            )
    return Alert(form=Form.HISTORY, type=0, event=0)


def history_data(alert: Alert) -> list[object]:
    """Return the record that the panel's history holds of `alert`."""
    source = Source.PANEL if alert.source is None or alert.type == AlertType.PANEL_SOS else alert.source
    return [int(alert.type), int(alert.event), int(source), int(alert.state), alert.name, alert.time or 0, ""]


def channels(record: SensorRecord) -> tuple[tuple[int, str], ...]:
    """Return number and name of each channel of a relay; channels count from 1."""
    return tuple((number, node.name) for number, node in enumerate(expand(record)[:_MOST_CHANNELS], start=1))


def switch_request(index: int, channel: int, *, on: bool) -> list[object]:
    """Return the data of command 137; `channel` counts from 1, the panel from 0."""
    return [index, 0 if on else 1, channel - 1]


def switched(data: object) -> tuple[int, int, bool]:
    """Read the data of command 137: index, channel, whether it is switched on."""
    match data:
        case [int(index), (0 | 1) as off, int(channel)]:
            return index, channel + 1, off == 0
    raise MessageError(f"not a switch command: {clean(data)}")


def alert_flags(data: list[object]) -> AlertFlag:
    """Read the answer to 117; bits without a known meaning are kept."""
    match data:
        case [int(word), *_] if 0 <= word < _MOST_FLAGS:
            return AlertFlag(word)
    raise CommandRefused(f"not the alert flags: {clean(data)}")


def probe(guid: str) -> bytes:
    """Return the datagram to broadcast to `DISCOVERY_PORT`; only the panel with that GUID answers it."""
    return f"{_PROBE},{guid}\0".encode()


def probe_answer(datagram: bytes) -> ProbeAnswer:
    """Read the answer to a probe; raise `MessageError` for anything else."""
    fields = datagram.decode(errors="replace").split(",")
    if fields[0] != _PROBE_ANSWER or len(fields) < _PROBE_FIELDS:
        raise MessageError(f"not an answer to a probe: {clean(repr(datagram))}")
    product, _, _, mcu, wifi, gsm_status, wifi_status = (clean(field) for field in fields[1:8])
    return ProbeAnswer(product, f"{mcu}/{wifi}", gsm_status, wifi_status)
