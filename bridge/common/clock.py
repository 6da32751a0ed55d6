"""Is the wall clock right? A machine without a battery boots in 1970, or where it was switched off, and jumps later.

What waits is aged by the steady clock, which counts from the machine's boot whatever the wall clock does. The wall
clock is known to be wrong before 2026, and while every receiver's own time is far from it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bridge.common.models import Alarm, Moment

_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""When this was written: no clock that is right tells less."""
_FAR_S = 300.0
_ZONE_S = 900.0
"""Time zones lie apart by multiples of this."""
_FARTHEST_ZONE_S = 14 * 3600.0
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S.%f"
_MICROSECONDS = -3
"""What a transmitter time has not: its last three digits."""


def wall() -> float:
    """Return Unix time in seconds."""
    return time.time()


@dataclass(frozen=True, slots=True)
class Cutoff:
    """What is older than a certain age: by the steady clock within a boot, else by the wall clock if that is sure."""

    boot: str
    steady: float
    """Of this boot, what came before; of an earlier boot everything, once this is past the boot's beginning."""
    wall: float | None
    """Unix time; None: the wall clock proves nothing."""


class Clock:
    """The two clocks, and what receivers say of one of them. Seconds; `boot` names the run of the steady clock."""

    def __init__(
        self,
        wall: Callable[[], float] = lambda: wall(),  # noqa: PLW0108 - looked up late, for tests of the whole
        steady: Callable[[], float] | None = None,
        boot: str | None = None,
    ) -> None:
        self._wall = wall
        self._boot, self._steady = (boot, steady) if boot is not None and steady is not None else _of_the_machine()
        self._ahead = self._wall() - self._steady()
        self._told: dict[str, float] = {}
        """By receiver: the true Unix time when the steady clock was at 0."""

    def now(self) -> datetime:
        """Return the time that the wall clock shows, aware."""
        return datetime.fromtimestamp(self._wall(), UTC).astimezone()

    def moment(self) -> Moment:
        """Return what later tells how long ago this was."""
        return Moment(self._boot, self._steady(), sure=self.is_sure)

    def heard(self, receiver: str, offset_s: float | None) -> None:
        """Take what a receiver's time was minus ours just now; None: it told none."""
        if offset_s is not None:
            self._told[receiver] = self._wall() + offset_s - self._steady()

    def jump(self) -> timedelta:
        """Return by how much the wall clock was set since this was asked last."""
        before, self._ahead = self._ahead, self._wall() - self._steady()
        return timedelta(seconds=self._ahead - before)

    @property
    def offset_s(self) -> float | None:
        """The true time minus that of the wall clock, by the receiver that agrees with us best; None: none told any."""
        ahead = self._steady() - self._wall()
        return min((true + ahead for true in self._told.values()), key=abs, default=None)

    @property
    def is_wrong(self) -> bool:
        """Whether the local time is known to be wrong, be it for the time zone."""
        return self._is_early or abs(self.offset_s or 0.0) > _FAR_S

    @property
    def is_off(self) -> bool:
        """Whether the time is known to be wrong whatever the time zone."""
        return self.is_wrong and not self.is_in_another_zone

    @property
    def is_in_another_zone(self) -> bool:
        """Whether a wrong time is such as a wrong time zone makes it."""
        offset = self.offset_s or 0.0
        beside = abs(offset - round(offset / _ZONE_S) * _ZONE_S)
        return not self._is_early and _FAR_S < abs(offset) <= _FARTHEST_ZONE_S and beside < _ZONE_S / 15

    @property
    def is_sure(self) -> bool:
        """Whether a receiver's time proves ours right."""
        return bool(self._told) and not self.is_wrong

    @property
    def _is_early(self) -> bool:
        return self._wall() < _EARLIEST.timestamp()

    def cutoff(self, age: timedelta) -> Cutoff:
        """Return what is older than `age`."""
        seconds = age.total_seconds()
        return Cutoff(self._boot, self._steady() - seconds, self._wall() - seconds if self.is_sure else None)

    def age_s(self, moment: Moment, at: datetime) -> float:
        """Return how long ago `at` was for certain; `moment` was taken then."""
        if moment.boot == self._boot:
            return self._steady() - moment.steady
        if moment.sure and self.is_sure:
            return max(self._wall() - at.timestamp(), self._steady())
        return self._steady()

    def timed(self, alarm: Alarm, at: datetime) -> tuple[Alarm, tuple[str, ...]]:
        """Return `alarm` with the time `at` when it happened, and what is to be said of it.

        That is what tells it from the same alarm raised again; while the clock is wrong, its reference does.
        """
        if not self.is_wrong:
            return replace(alarm, transmitter_time=at.strftime(_TIME_FORMAT)[:_MICROSECONDS]), ()
        reference = alarm.reference or f"no-clock-{secrets.token_hex(4)}"
        warning = "transmitter_time: left out, the clock of this machine is wrong"
        return replace(alarm, transmitter_time=None, reference=reference), (warning,)


def _of_the_machine() -> tuple[str, Callable[[], float]]:
    """Return the name of the machine's boot and the seconds since; where it tells none, those of this process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip(), _since_boot
    except (OSError, ValueError):
        began = time.monotonic()
        return secrets.token_hex(16), lambda: time.monotonic() - began


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
