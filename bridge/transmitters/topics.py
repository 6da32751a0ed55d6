"""The topics of the bridge and its transmitters, and the payloads of states (TOPICS.md). Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bridge.common.models import ActiveAlarm, AlarmIdentity, NamedAlarm, Request
from bridge.common.text import timestamp

NAME = re.compile(r"[a-z0-9_-]+")
"""A transmitter's name, an alarm's key."""

COMMANDS = ("alarm/raise", "alarm/restore", "alarm/+/set", "ping", "auth/rotate")
"""What follows a transmitter in the filters of its command topics."""
_MISTAKES = ("alarm", "alarm/rise", "alarm/set", "alarm/trigger", "alarm/clear", "raise", "restore", "rotate")
_RESPONSE_TOPICS = {
    Request.ALARM: "alarm/response",
    Request.RESTORE: "alarm/response",
    Request.PING: "ping/response",
    Request.AUTH: "auth/response",
    Request.TEST: "test/response",
}


@dataclass(frozen=True, slots=True)
class Reach:
    """How a transmitter reaches its operator, as its topics name it."""

    receivers: Mapping[str, str] = field(default_factory=lambda: {"primary": ""})
    """Address by name: `primary`, `secondary`."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Interface or source address by the name of a network path; empty: the system's routing."""
    level: float | None = None
    """The heartbeat level in seconds; None: heartbeats are off."""
    tests_each_route: bool = False
    """Whether each test alarm goes over one route."""


_ONE_RECEIVER = Reach()


@dataclass(frozen=True, slots=True)
class Topics:
    """The names below a base topic; `transmitters` has the configured alarms by name and key."""

    base: str
    transmitters: Mapping[str, Mapping[str, NamedAlarm]]
    reaches: Mapping[str, Reach] = field(default_factory=dict)
    """By the name of the transmitter."""
    shard: int = 0
    others: Collection[str] = frozenset()
    """The transmitters of other shards."""

    def reach(self, transmitter: str) -> Reach:
        return self.reaches.get(transmitter, _ONE_RECEIVER)

    def bridge(self, leaf: str) -> str:
        """Return a topic of the bridge itself, such as `state`; of another shard than 0, one of its own."""
        of_all = self.shard == 0 or leaf == "event"
        return f"{self.base}/bridge/{leaf}" if of_all else f"{self.base}/shard/{self.shard}/{leaf}"

    def of(self, transmitter: str, leaf: str) -> str:
        """Return a transmitter's topic, such as `link` or `alarm/active`."""
        return f"{self.base}/transmitter/{transmitter}/{leaf}"

    def response(self, transmitter: str, request: Request) -> str:
        return self.of(transmitter, _RESPONSE_TOPICS[request])

    @property
    def commands(self) -> tuple[str, ...]:
        """The filters of all command topics."""
        return tuple(self.of("+", leaf) for leaf in COMMANDS)

    def to_subscribe(self, pattern: str) -> Iterator[str]:
        """Return what to subscribe to in place of a filter, of which a shard needs its own transmitters only.

        Shard 0 gets unknown ones, too: a wrong name is answered, once.
        """
        leaf = pattern.removeprefix(self.of("+", ""))
        if self.shard == 0 or leaf == pattern:
            yield pattern
            return
        for name in self.transmitters:
            yield self.of(name, leaf)

    def transmitter(self, topic: str) -> str | None:
        """Return the name of the transmitter, configured or not, that a topic belongs to; None if to none."""
        match topic.removeprefix(f"{self.base}/").split("/"):
            case ["transmitter", name, *_]:
                return name
        return None

    def is_elsewhere(self, topic: str) -> bool:
        """Return whether a topic belongs to a transmitter of another shard."""
        return self.transmitter(topic) in self.others

    @property
    def mistakes(self) -> tuple[str, ...]:
        """The filters of likely wrong topics, which are answered; none matches another filter.

        A filter for all wrong topics would match commands too, and a broker may then deliver a command twice.
        """
        return tuple(self.of("+", leaf) for leaf in _MISTAKES)

    @property
    def states(self) -> tuple[str, ...]:
        """The filters of all retained topics that are ours; none of them matches a command topic."""
        alarm = ("alarm/response", "alarm/+/state", "alarm/active")
        line = ("link", *(f"{kind}/+/{leaf}" for kind in ("receiver", "path") for leaf in ("state", "info")))
        responses = ("ping/response", "auth/response", "test/response", "record")
        leaves = (*alarm, *responses, *line, "outbox", "problem", "problem/info")
        bridge = (self.bridge(leaf) for leaf in ("state", "info", "health", "problem", "problem/info"))
        return (*bridge, *(self.of("+", leaf) for leaf in leaves))

    def is_stale(self, topic: str) -> bool:
        """Return whether a retained topic belongs to what is not configured.

        That is a transmitter, an alarm, a receiver or a path.
        """
        match topic.removeprefix(f"{self.base}/").split("/"):
            case ["transmitter", name, *_] if name not in self.transmitters:
                return True
            case ["transmitter", name, "alarm", key, "state"]:
                return key not in self.transmitters[name]
            case ["transmitter", name, "receiver", receiver, _]:
                return receiver not in self.reach(name).receivers
            case ["transmitter", name, "path", path, _]:
                return path not in self.reach(name).paths
        return False


def active_payload(active: Sequence[ActiveAlarm]) -> list[dict[str, object]]:
    return [
        {
            "event_code": alarm.identity.event_code,
            "section": alarm.identity.section or None,
            "detector": alarm.identity.detector or None,
            "since": timestamp(alarm.since),
            "reference": alarm.reference,
        }
        for alarm in active
    ]


def alarm_state(named: NamedAlarm, active: Sequence[ActiveAlarm]) -> str:
    """Return ON where the configured alarm is raised and accepted, else OFF."""
    identity = AlarmIdentity.of(named.alarm)
    return "ON" if any(alarm.identity == identity for alarm in active) else "OFF"
