"""The wall clock and the steady clock, and whether the wall clock is right.

A machine without a clock battery boots in 1970, or at the time of its shutdown, and jumps later. So the age of pending
alarms is measured by the steady clock, which counts from the boot. The wall clock is known to be wrong before 2026, and
while the time of every receiver is far from it (sos_access/PROTOCOL.md, Clock offset).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bridge.common.models import AlarmT, Moment

_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""When this was written; an earlier time is wrong."""
_FAR_S = 300.0
"""Offset from a receiver from which the wall clock counts as wrong."""
_ZONE_S = 900.0
"""Time zones differ by multiples of this."""
_FARTHEST_ZONE_S = 14 * 3600.0
"""The largest offset of a time zone from UTC."""
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S.%f"
_MICROSECONDS = -3
"""Digits of %f that a transmitter time does not have (sos_access/PROTOCOL.md, Times)."""


def wall() -> float:
    """Return Unix time in seconds."""
    return time.time()


@dataclass(frozen=True, slots=True)
class Cutoff:
    """Selects what is older than an age: by the steady clock within a boot, else by a sure wall clock."""

    boot: str
    steady: float
    """Everything of this boot before this time; everything of earlier boots if this is positive."""
    wall: float | None
    """Unix time; None while the wall clock is not sure."""


class Clock:
    """Both clocks and the offsets to receivers, in seconds; `boot` is the run of the steady clock."""

    def __init__(
        self,
        wall: Callable[[], float] = lambda: wall(),  # noqa: PLW0108 - looked up late, so that tests can replace it
        steady: Callable[[], float] | None = None,
        boot: str | None = None,
    ) -> None:
        self._wall = wall
        self._boot, self._steady = (boot, steady) if boot is not None and steady is not None else _machine_clock()
        self._true_at_0: dict[str, float] = {}
        """By receiver: its Unix time when the steady clock was 0."""

    def now(self) -> datetime:
        """Return the time of the wall clock, aware."""
        return datetime.fromtimestamp(self._wall(), UTC).astimezone()

    def moment(self) -> Moment:
        """Return the present moment, from which `age_s` computes an age later."""
        return Moment(self._boot, self._steady(), sure=self.is_sure)

    def heard(self, receiver: str, offset_s: float | None) -> None:
        """Store a receiver's time minus ours, measured just now; None if it gave no time."""
        if offset_s is not None:
            self._true_at_0[receiver] = self._wall() + offset_s - self._steady()

    @property
    def offset_s(self) -> float | None:
        """The time of the receiver closest to ours minus ours; None if no receiver gave a time."""
        ahead = self._steady() - self._wall()
        return min((true + ahead for true in self._true_at_0.values()), key=abs, default=None)

    @property
    def is_wrong(self) -> bool:
        """Whether the local time is known to be wrong, also if only the time zone is."""
        return self._is_early or abs(self.offset_s or 0.0) > _FAR_S

    @property
    def is_off(self) -> bool:
        """Whether the time is known to be wrong and no time zone explains it."""
        return self.is_wrong and not self.is_in_another_zone

    @property
    def is_in_another_zone(self) -> bool:
        """Whether a wrong time zone explains the offset."""
        offset = self.offset_s or 0.0
        beside = abs(offset - round(offset / _ZONE_S) * _ZONE_S)
        return not self._is_early and _FAR_S < abs(offset) <= _FARTHEST_ZONE_S and beside < _ZONE_S / 15

    @property
    def is_sure(self) -> bool:
        """Whether a receiver's time confirms ours."""
        return bool(self._true_at_0) and not self.is_wrong

    @property
    def _is_early(self) -> bool:
        return self._wall() < _EARLIEST.timestamp()

    def cutoff(self, age: timedelta) -> Cutoff:
        """Return the selection of what is older than `age`."""
        seconds = age.total_seconds()
        return Cutoff(self._boot, self._steady() - seconds, self._wall() - seconds if self.is_sure else None)

    def age_s(self, moment: Moment, at: datetime) -> float:
        """Return the least age in seconds of `at`; `moment` was taken at the same time."""
        if moment.boot == self._boot:
            return self._steady() - moment.steady
        if moment.sure and self.is_sure:
            return max(self._wall() - at.timestamp(), self._steady())
        return self._steady()

    def timed(self, alarm: AlarmT, at: datetime) -> tuple[AlarmT, tuple[str, ...]]:
        """Return `alarm` with `at` as its time, and warnings (sos_access/PROTOCOL.md, alarmrequest).

        Its time distinguishes it from the same alarm raised again; while the clock is wrong, a reference does.
        """
        if not self.is_wrong:
            return replace(alarm, transmitter_time=at.strftime(_TIME_FORMAT)[:_MICROSECONDS]), ()
        reference = alarm.reference or f"no-clock-{secrets.token_hex(4)}"
        warning = "transmitter_time: omitted because the clock of this machine is wrong"
        return replace(alarm, transmitter_time=None, reference=reference), (warning,)


def _machine_clock() -> tuple[str, Callable[[], float]]:
    """Return the id of the boot and the steady clock; without a boot id, those of this process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip(), _since_boot
    except (OSError, ValueError):
        began = time.monotonic()
        return secrets.token_hex(16), lambda: time.monotonic() - began


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
