"""Months and days in local time, as Unix times: a day has 23 to 25 hours where clocks change. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

_MONTH = re.compile("([0-9]{4})-(0[1-9]|1[0-2])")


def midnight(day: date, zone: tzinfo | None = None) -> float:
    """Return when `day` begins, in seconds; `zone` None is the time zone of the system."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month, written `2026-11`."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Month:
        """Raises ValueError."""
        found = _MONTH.fullmatch(text)
        if found is None or found[1] == "0000":
            raise ValueError(f'"{text}" is not a month; use for example 2026-11')
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of(cls, at: float, zone: tzinfo | None = None) -> Month:
        """Return the month of a Unix time."""
        moment = datetime.fromtimestamp(at, zone)
        return cls(moment.year, moment.month)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"

    @property
    def first(self) -> date:
        return date(self.year, self.number, 1)

    @property
    def next(self) -> Month:
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    def start(self, zone: tzinfo | None = None) -> float:
        return midnight(self.first, zone)

    def end(self, zone: tzinfo | None = None) -> float:
        return self.next.start(zone)

    def days(self, zone: tzinfo | None = None) -> list[tuple[date, float, float]]:
        """Return each day with its beginning and its end."""
        count = (self.next.first - self.first).days
        dates = [self.first + timedelta(days=number) for number in range(count + 1)]
        starts = [midnight(day, zone) for day in dates]
        return list(zip(dates, starts, starts[1:], strict=False))
