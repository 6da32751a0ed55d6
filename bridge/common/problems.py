"""What needs a person: one list for MQTT, log, `healthcheck` and `check` (TOPICS.md, Problems).

The part that finds a fault calls `Problems.set(kind, text, about)`, with text None when it is over. The kind and what
it is about identify a problem; calls that change nothing are free. What was not checked yet is noted with `doubt`,
until the first `set`: while there are doubts and no problem, nothing is reported as good.

`follow` registers a function that gets each change as (about, before, after): `before` is None where a problem is
raised, `after` where it is cleared, both where a doubt is over and there is no problem; else the text has changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bridge.common.text import LONGEST_ERROR, clean, timestamp


class Kind(StrEnum):
    """What is wrong: with a transmitter, then with the bridge itself."""

    LINK_DOWN = "link_down"
    RECEIVER_DOWN = "receiver_down"
    PATH_DOWN = "path_down"
    UNAUTHORIZED = "unauthorized"
    PASSWORD_FILE = "password_file"  # noqa: S105 - a name
    HEARTBEAT_DISABLED = "heartbeat_disabled"
    REJECTED = "rejected"
    UNDELIVERED = "undelivered"
    TEST_FAILED = "test_failed"
    BROKER_DOWN = "broker_down"
    """Not published: it could not be read there."""
    STORE_FAILED = "store_failed"
    PANEL_OFFLINE = "panel_offline"
    PANEL_UNREADABLE = "panel_unreadable"
    ALARM_UNMATCHED = "alarm_unmatched"
    PORT_TAKEN = "port_taken"
    UNCONFIGURED_WAITING = "unconfigured_waiting"
    CLOCK_WRONG = "clock_wrong"
    WEB_PORT_TAKEN = "web_port_taken"
    STANDBY_MISSING = "standby_missing"
    CONFIGURATION_DIFFERS = "configuration_differs"


@dataclass(frozen=True, slots=True)
class About:
    """What a problem is about: a transmitter, maybe its receiver or path; a panel by GUID; or the bridge."""

    transmitter: str | None = None
    receiver: str | None = None
    path: str | None = None
    panel: str | None = None


BRIDGE = About()


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem; `text` is for people."""

    kind: Kind
    since: datetime
    text: str
    about: About = BRIDGE

    def as_json(self) -> dict[str, str]:
        """Return it with what it is about; fields that do not apply are absent."""
        about = {name: getattr(self.about, name) for name in About.__slots__}
        found = {"kind": self.kind, "since": timestamp(self.since), "text": self.text}
        return found | {name: value for name, value in about.items() if value is not None}


Follower = Callable[[About, Problem | None, Problem | None], None]


class Problems:
    """The present problems of one bridge, in the order in which they were raised."""

    def __init__(self) -> None:
        self._raised: dict[tuple[Kind, About], Problem] = {}
        self._raised_of: defaultdict[str | None, dict[tuple[Kind, About], Problem]] = defaultdict(dict)
        """The same by transmitter: to look for one's among those of thousands takes long."""
        self._doubts_of: defaultdict[str | None, set[tuple[Kind, About]]] = defaultdict(set)
        self._followers: list[Follower] = []

    def follow(self, follower: Follower) -> None:
        """Call `follower` with (about, before, after) at each change from now on."""
        self._followers.append(follower)

    def set(self, kind: Kind, text: str | None, about: About = BRIDGE, since: datetime | None = None) -> None:
        """Raise a problem, or clear it with the text None. One that is raised already keeps its `since`."""
        raised, doubts = self._raised_of[about.transmitter], self._doubts_of[about.transmitter]
        doubted = (kind, about) in doubts
        doubts.discard((kind, about))
        before, after = self._raised.get((kind, about)), None
        if text is not None:
            began = before.since if before else since or datetime.now().astimezone()
            after = Problem(kind, began, clean(text, LONGEST_ERROR), about)
            self._raised[kind, about] = raised[kind, about] = after
        elif before:
            del self._raised[kind, about], raised[kind, about]
        if before != after or doubted:
            for follower in self._followers:
                follower(about, before, after)

    def doubt(self, kind: Kind, about: About = BRIDGE) -> None:
        """Note that it is not known yet whether there is such a problem, unless it is raised."""
        if (kind, about) not in self._raised:
            self._doubts_of[about.transmitter].add((kind, about))

    def get(self, kind: Kind, about: About = BRIDGE) -> Problem | None:
        return self._raised.get((kind, about))

    def __iter__(self) -> Iterator[Problem]:
        return iter([*self._raised.values()])

    @property
    def doubts(self) -> list[tuple[Kind, About]]:
        return sorted((each for found in self._doubts_of.values() for each in found), key=lambda doubt: doubt[0])

    def published(self, transmitter: str | None) -> list[Problem] | None:
        """Return what MQTT shows of a transmitter, with None of the bridge; None: nothing is known yet."""
        found = [each for each in self._raised_of[transmitter].values() if each.kind is not Kind.BROKER_DOWN]
        doubted = any(kind is not Kind.BROKER_DOWN for kind, _ in self._doubts_of[transmitter])
        return None if doubted and not found else found


class NodeProblems(Problems):
    """The problems of a process, with those of the bridges that it runs."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[Problems] = []

    def include(self, part: Problems) -> None:
        self._parts.append(part)
        for follower in self._followers:
            part.follow(follower)

    def exclude(self, part: Problems) -> None:
        self._parts.remove(part)

    def follow(self, follower: Follower) -> None:
        super().follow(follower)
        for part in self._parts:
            part.follow(follower)

    def __iter__(self) -> Iterator[Problem]:
        return iter([*super().__iter__(), *(problem for part in self._parts for problem in part)])

    @property
    def doubts(self) -> list[tuple[Kind, About]]:
        return [*super().doubts, *(doubt for part in self._parts for doubt in part.doubts)]
