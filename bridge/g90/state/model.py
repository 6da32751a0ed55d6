"""What is known of one panel, as frozen values, and the inputs and outputs of the reducer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from bridge.common.values import value
from bridge.g90.state.ledger import Ledger
from bridge.g90.wire.answers import SensorFlag
from bridge.g90.wire.commands import HostInfo, HostStatus, SensorRecord
from bridge.g90.wire.constants import type_name
from bridge.g90.wire.events import Alert, EventType, Notice, PanelEvent

T = TypeVar("T")
Signature = tuple[int, int, int | None, int, int | None]
"""A record of the history without its name, which may change: type, event, source, state, time."""


@value(frozen=True, slots=True)
class Now:
    """One moment by both clocks: the steady clock is for deadlines, the wall clock for people."""

    steady: float
    wall: datetime

    def ago(self, steady: float) -> datetime:
        """Return the wall clock's time of a moment of the steady clock."""
        return self.wall - timedelta(seconds=self.steady - steady)


@dataclass(frozen=True, slots=True)
class Options:
    """How long a sensor that may not report its end stays on, in seconds.

    `door_off` None: as the alert flags say.
    """

    motion_off: float = 30.0
    door_off: float | None = None


@value(frozen=True, kw_only=True)
class Sensor:
    index: int
    name: str = ""
    type: int | None = None
    flags: int | None = None
    """`SensorFlag`s; None until read."""
    on: bool = False
    off_at: float | None = None
    """When it goes off by itself, by the steady clock."""
    tamper: bool | None = None
    """None: never reported; the same of `battery_low`."""
    battery_low: bool | None = None
    open_since: float | None = None
    """When it was reported open while the panel was being armed, by the steady clock."""
    last_activity: datetime | None = None

    @property
    def type_name(self) -> str | None:
        return type_name(self.type)

    @property
    def enabled(self) -> bool:
        return self.flags is None or bool(self.flags & SensorFlag.ENABLED)

    @property
    def open_while_arming(self) -> bool:
        return self.open_since is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """One channel of a socket, siren or other output."""

    index: int
    channel: int = 1
    name: str = ""
    type: int | None = None
    on: bool | None = None
    """As we switched it last: panels do not report it."""

    @property
    def number(self) -> str:
        """What names it in topics: the index, and the channel from the second on."""
        return str(self.index) if self.channel == 1 else f"{self.index}-{self.channel}"


@value(frozen=True, kw_only=True)
class Link:
    """The connection to a panel, and its signs of life."""

    online: bool | None = None
    address: str | None = None
    firmware: str | None = None
    """As its hello names it."""
    connected_since: datetime | None = None
    last_seen: datetime | None = None
    last_read: datetime | None = None
    upstream_connected: bool | None = None
    """Not stored."""


@value(frozen=True, kw_only=True)
class Hardware:
    """What a panel says of itself."""

    product: str | None = None
    info: HostInfo | None = None
    alert_flags: int | None = None
    ac_power: bool | None = None
    battery_low: bool | None = None
    wifi: bool | None = None


@value(frozen=True, kw_only=True)
class Partition:
    """Whether a panel is armed or in alarm."""

    arm: EventType | None = None
    """`armed_away`, `armed_home` or `disarmed`."""
    triggered: bool = False
    changed_by: str | None = None
    actor: tuple[str, float] | None = None
    """Who operated a remote or a keypad last, and when by the steady clock. Not stored: it counts for seconds."""
    moved: float = field(default=float("-inf"), compare=False)
    """When a report last armed, disarmed or alarmed, by the steady clock. Not stored."""


@dataclass(frozen=True, slots=True)
class KnownHistory:
    """What was read of a panel's history."""

    records: tuple[Signature, ...] = ()
    """Newest first."""
    read_at: datetime | None = None
    """When it was read last: what is new in it happened later."""


@value(frozen=True, kw_only=True)
class PanelState:
    """What the panel's topics publish, and what distinguishes new events from old. None: not known yet.

    What changes together is a value of its own: an input replaces the few that it changes.
    """

    guid: str
    name: str | None = None
    """The user's name for it."""
    link: Link = Link()
    hardware: Hardware = Hardware()
    partition: Partition = Partition()
    sensors: Mapping[int, Sensor] = field(default_factory=dict)
    relays: Mapping[str, Relay] = field(default_factory=dict)
    ledger: Ledger = Ledger()
    history: KnownHistory = KnownHistory()
    contact: datetime | None = None
    """Since when nothing was missed: the last report or the last reading of the history."""
    clock_offset: float | None = None
    """Our clock minus the panel's in seconds, as of the last report that had a time."""
    due: float | None = field(default=None, compare=False)
    """No deadline comes before this, by the steady clock; None: nothing waits."""

    @property
    def state(self) -> str | None:
        """The payload of the panel's `state` topic; None until anything reported it."""
        if self.partition.triggered:
            return "triggered"
        return self.partition.arm.value if self.partition.arm else None


READ_EVERY: Final = timedelta(minutes=10)
"""How old `last_read` may get while nothing else changes: it is stored and published with the state."""


def read_at(state: PanelState, now: Now) -> PanelState:
    """Return `state` with the moment of the last answer noted, unless that is recent."""
    last = state.link.last_read
    recent = last is not None and abs(now.wall - last) < READ_EVERY
    return state if recent else evolve(state, link=evolve(state.link, last_read=now.wall))


def evolve(old: T, **changes: Any) -> T:  # noqa: ANN401 - fields of any type
    """Return a copy with `changes`, ten times as fast as `dataclasses.replace`."""
    copy: T = object.__new__(type(old))
    copy.__dict__ = {**old.__dict__, **changes}
    return copy


def updated(old: T, **changes: Any) -> T:  # noqa: ANN401 - fields of any type
    """Return `old` itself where the changes are none."""
    return evolve(old, **changes) if any(getattr(old, name) != new for name, new in changes.items()) else old


# Inputs of the reducer beside the reports, `Alert` and `Notice`. `asked`: when the first attempt was sent, by the
# steady clock: what a report changed later is newer than the answer.


@dataclass(frozen=True, slots=True)
class StatusRead:
    status: HostStatus
    asked: float
    missed: bool = True
    """False: it was asked for after a command of ours."""


@dataclass(frozen=True, slots=True)
class HistoryRead:
    records: tuple[Alert, ...]
    """Newest first, from the newest on."""
    asked: float
    whole: bool = True
    """False: the reading failed after these; the same of the lists."""


@dataclass(frozen=True, slots=True)
class SensorsRead:
    records: tuple[SensorRecord, ...]
    whole: bool = True


@dataclass(frozen=True, slots=True)
class RelaysRead:
    records: tuple[SensorRecord, ...]
    whole: bool = True


@dataclass(frozen=True, slots=True)
class FlagsRead:
    word: int


@dataclass(frozen=True, slots=True)
class InfoRead:
    info: HostInfo


@dataclass(frozen=True, slots=True)
class Switched:
    """A relay did as we commanded."""

    number: str
    on: bool


@dataclass(frozen=True, slots=True)
class Commanded:
    """The panel carried out a command of ours to arm or disarm."""


@dataclass(frozen=True, slots=True)
class UpstreamLink:
    """Whether the vendor's cloud is connected."""

    connected: bool


@value(frozen=True, slots=True)
class Heard:
    """A sign of life. `firmware`: as a hello names it."""

    address: str
    firmware: str | None = None


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing was heard for too long."""


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Time passed."""


Input = (
    Alert
    | Notice
    | StatusRead
    | HistoryRead
    | SensorsRead
    | RelaysRead
    | FlagsRead
    | InfoRead
    | Switched
    | Commanded
    | UpstreamLink
    | Heard
    | Silent
    | Elapsed
)


@value(frozen=True, slots=True)
class Step:
    """What an input led to; `state` is the very same object where nothing changed."""

    state: PanelState
    events: tuple[PanelEvent, ...] = ()
