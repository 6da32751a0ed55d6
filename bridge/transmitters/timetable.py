"""When test alarms are due: at a local time, each once, even in nights when clocks change. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from hashlib import sha256

_DAY_S = 86400
_NIGHT = (60, 240)
"""First minute and length of the time in which test alarms are sent by default: 1:00 to 5:00."""


def default_at(transmitter_code: str) -> time:
    """Return a time of the night that follows from the code: so that not all transmitters test at once."""
    first, length = _NIGHT
    minutes = first + int.from_bytes(sha256(transmitter_code.encode()).digest()[:4]) % length
    return time(minutes // 60, minutes % 60)


@dataclass(frozen=True, slots=True)
class Due:
    """A time at which a test alarm is due; `number` counts them without end, over restarts."""

    at: float
    number: int


@dataclass(frozen=True, slots=True)
class Timetable:
    """Test alarms each `every_s` seconds, a part of a day or whole days; one of them at local time `at`."""

    every_s: int
    at: time
    zone: tzinfo | None = None
    """None: that of the system."""

    @property
    def key(self) -> str:
        """What distinguishes this timetable from another."""
        return f"{self.every_s} {self.at:%H:%M}"

    def latest(self, now: float) -> Due:
        """Return the last one that was due at `now`."""
        return max((due for due in self._near(now, -1) if due.at <= now), key=lambda due: due.at)

    def next_at(self, now: float) -> float:
        """Return when one is due next."""
        return min(due.at for due in self._near(now, 1) if due.at > now)

    def _near(self, now: float, direction: int) -> Iterator[Due]:
        """Yield those of today and of more days than an interval has, before (-1) or after it (1)."""
        today = datetime.fromtimestamp(now, self.zone).date()
        for number in range(self._days + 2):
            yield from self._of(today + timedelta(days=direction * number))

    @property
    def _days(self) -> int:
        return max(self.every_s // _DAY_S, 1)

    def _of(self, day: date) -> list[Due]:
        """Return those of one day. A skipped time moves with the clock; of a repeated one, the first counts."""
        if day.toordinal() % self._days:
            return []
        count = max(_DAY_S // self.every_s, 1)
        first = datetime.combine(day, self.at)
        local = sorted((first + timedelta(seconds=number * self.every_s)).time() for number in range(count))
        number = day.toordinal() // self._days * count
        moments = (datetime.combine(day, each, self.zone).timestamp() for each in local)
        return [Due(at, number + each) for each, at in enumerate(sorted(set(moments)))]
