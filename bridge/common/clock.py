"""The wall clock and the steady clock, and whether the wall clock is right.

A machine without a clock battery boots in 1970, or at the time of its shutdown, and jumps later. So the age of pending
alarms is measured by the steady clock, which counts from the boot. The wall clock is wrong before this was written, and
in the first minutes after a boot while no time service has set it, on a machine that is known to have one.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from bridge.common.kernel import is_synchronised, steady_clock
from bridge.common.models import AlarmT, Moment

_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""When this was written; an earlier time is wrong."""
_SET_WITHIN_S = 900.0
"""So long after a boot a time service may need; one that is unreachable for longer makes no clock wrong."""
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S.%f"
_MICROSECONDS = -3
"""Digits of %f that a transmitter time does not have (sos_access/PROTOCOL.md, Times)."""


def wall() -> float:
    return time.time()


@dataclass(frozen=True, slots=True)
class Cutoff:
    """Selects what is older than an age: by the steady clock within a boot, else by a sure wall clock."""

    boot: str
    steady: float
    """Everything of this boot before this time."""
    earlier: bool
    """Whether everything of earlier boots of this machine is that old."""
    wall: float | None
    """Unix time; None while the wall clock is not sure."""


class Clock:
    """Wall clock and steady clock, in seconds, and how far the clocks of receivers are off.

    `boot` identifies the run of the steady clock. `shared`: other machines note moments as well, as nodes of a cluster
    do. Then, and where a moment names no boot, another boot is not an earlier one of this machine.
    """

    def __init__(
        self,
        wall: Callable[[], float] = lambda: wall(),  # noqa: PLW0108 - looked up late, so that tests can replace it
        steady: Callable[[], float] | None = None,
        boot: str | None = None,
        synchronised: Callable[[], bool | None] = is_synchronised,
        *,
        shared: bool = False,
    ) -> None:
        self._wall = wall
        self._boot, self._steady = (boot, steady) if boot is not None and steady is not None else steady_clock()
        self._synchronised = synchronised
        self._shared = shared
        self.was_synchronised = False
        """Whether this machine is known to have a time service."""
        self.offsets: dict[str, float] = {}
        """The time of receivers minus ours, by receiver, as last heard."""

    def now(self) -> datetime:
        """Return the time of the wall clock, aware."""
        return datetime.fromtimestamp(self._wall(), UTC).astimezone()

    def moment(self) -> Moment:
        """Return the present moment, from which `age_s` computes an age later."""
        return Moment(self._boot, self._steady(), sure=self.is_sure)

    def heard(self, receiver: str, offset_s: float | None) -> None:
        """Note a receiver's time minus ours, measured just now; None if it gave no time. It proves nothing."""
        if offset_s is not None:
            self.offsets[receiver] = offset_s

    @property
    def is_synchronised(self) -> bool:
        """Whether a time service keeps the wall clock right now."""
        return self._synchronised() is True

    @property
    def is_wrong(self) -> bool:
        """Whether the wall clock is known to be wrong, or not set yet after the boot."""
        if self._is_early:
            return True
        return self.was_synchronised and self._steady() < _SET_WITHIN_S and self._synchronised() is False

    @property
    def is_sure(self) -> bool:
        return not self._is_early and self.is_synchronised

    @property
    def _is_early(self) -> bool:
        return self._wall() < _EARLIEST.timestamp()

    def cutoff(self, age: timedelta) -> Cutoff:
        """Return the selection of what is older than `age`."""
        seconds = age.total_seconds()
        steady, wall = self._steady() - seconds, self._wall() - seconds if self.is_sure else None
        return Cutoff(self._boot, steady, not self._shared and steady > 0, wall)

    def age_s(self, moment: Moment, at: datetime) -> float:
        """Return the least age in seconds of `at`; `moment` was taken at the same time."""
        if moment.boot == self._boot:
            return self._steady() - moment.steady
        least = self._steady() if moment.boot and not self._shared else 0.0
        return max(self._wall() - at.timestamp(), least) if moment.sure and self.is_sure else least

    def timed(self, alarm: AlarmT, at: datetime) -> tuple[AlarmT, tuple[str, ...]]:
        """Return `alarm` with `at` as its time, and warnings (sos_access/PROTOCOL.md, alarmrequest).

        Its time distinguishes it from the same alarm raised again; while the clock is wrong, a reference does.
        """
        if not self.is_wrong:
            return replace(alarm, transmitter_time=at.strftime(_TIME_FORMAT)[:_MICROSECONDS]), ()
        reference = alarm.reference or f"no-clock-{secrets.token_hex(4)}"
        warning = "transmitter_time: omitted because the clock of this machine is wrong"
        return replace(alarm, transmitter_time=None, reference=reference), (warning,)
