"""What the log says of one transmitter: a line for each change, and few while something lasts.

Attempts are logged at DEBUG. An alarm that is not delivered is an ERROR with the reason, what waits and the next try;
the line comes again after 1, 5 and 15 minutes, then hourly, until a line says how long it took.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from bridge.common.clock import Clock
from bridge.common.lasting import Lasting
from bridge.common.models import Outcome, Request, Result
from bridge.common.text import LONGEST_ERROR, clean, counted, lasted
from bridge.transmitters.causes import Cause, causes, of_all_receivers
from bridge.transmitters.line import Sent
from bridge.transmitters.results import Item
from bridge.transmitters.rounds import LineState
from bridge.transmitters.routes import Part
from bridge.transmitters.schedule import next_try_at

log = logging.getLogger(__name__)

_NOW_S = 0.5
_ROUND_S = 15.0
"""A round usually takes less."""
_SOON_S = 5.0
"""A delivery that took longer is logged with its duration."""
_ALARMS = (Request.ALARM, Request.RESTORE)
_BY_RECEIVERS = (Outcome.REJECTED, Outcome.UNAUTHORIZED, Outcome.UNREACHABLE)
_ENDED_WELL = (Outcome.ACCEPTED, Outcome.DUPLICATE)
_TODAY = timedelta(hours=12)


class LineLog:
    """Writes the lines of one transmitter. `now` is the clock of the line's state, in seconds."""

    def __init__(self, name: str, level: float | None, clock: Clock) -> None:
        """`level`: of the heartbeats, in seconds."""
        self._name = name
        self._level = level
        self._clock = clock
        self._undelivered: dict[int, Item] = {}
        self._delivered = 0
        """Of those, since the outage began."""
        self._outage = Lasting()
        self._outage_since = 0.0
        self._line_failed = False
        """Whether the outage is one of the line, not of single alarms."""
        self._greeted = False
        """Whether the log says that the link is up."""
        self._parts: dict[Part, tuple[Lasting, Cause]] = {}
        self._tried_since: float | None = None
        self.next_at = float("inf")
        """When something that lasts is to be logged again."""
        self._paused = False
        self._too_often: float | None = None

    # Alarms and other commands

    def attempted(self, item: Item, sent: Sent) -> None:
        if not log.isEnabledFor(logging.DEBUG):
            return
        for number, attempt in enumerate(sent.attempts, item.attempts - len(sent.attempts) + 1):
            found = clean(attempt.error, LONGEST_ERROR) or f"answered {attempt.status}"
            path = f" over {attempt.route.path}" if attempt.route.path else ""
            fields = {**self._fields(item), "attempt": number, "receiver": attempt.route.receiver}
            text = "%s: %s, attempt %d, %s receiver%s: %s"
            log.debug(text, self._name, item, number, attempt.route.receiver, path, found, extra=fields)

    def undelivered(self, items: Sequence[Item], line: LineState, now: float) -> None:
        """Log alarms that were not delivered in their first round or in time, once each."""
        waiting = [item for item in items if item.queued.id in line.queue]
        self._undelivered |= {item.queued.id: item for item in waiting}
        if waiting:
            self._log_outage(waiting, line, now)

    def restored(self, item: Item) -> None:
        """Note an alarm that was undelivered before this start."""
        self._undelivered[item.queued.id] = item

    def dropped(self, number: int) -> None:
        if (item := self._undelivered.pop(number, None)) is not None:
            log.info("%s: %s dropped", self._name, item, extra=self._fields(item))

    def ended(self, item: Item, found: Result) -> None:
        before = self._undelivered.pop(item.queued.id, None)
        well = found.outcome in _ENDED_WELL
        self._delivered += before is not None and well
        text = self._delivery(item, found) if well else _failure(item, found)
        fields = {**self._fields(item), "outcome": str(found.outcome), "receiver": found.receiver}
        log.log(_level(found), "%s: %s %s", self._name, item, text, extra={**fields, "attempt": item.attempts or None})

    def _delivery(self, item: Item, found: Result) -> str:
        command = item.queued.command
        as_one = " as a duplicate" if found.outcome is Outcome.DUPLICATE else ""
        path = f" over {found.path}" if found.path else ""
        took = self._clock.age_s(command.moment, command.accepted_at)
        after = f" after {lasted(took)}" if took >= _SOON_S else ""
        return f"accepted{as_one} by the {found.receiver} receiver{path}{after}"

    def _fields(self, item: Item | None = None) -> dict[str, object]:
        if item is None:
            return {"transmitter": self._name}
        alarm = item.queued.command.alarm
        code = alarm.event_code if alarm else None
        return {"transmitter": self._name, "number": item.queued.id, "event_code": code}

    # What lasts

    def look(self, line: LineState, now: float) -> None:
        """Log what has changed, and what lasts when it is due again."""
        if line.reports or self._is_tried(line, now):  # `undelivered` or `ended` follow, and say why
            return
        found = causes(line, now)
        self._look_at_outage(line, found, now)
        self._look_at_parts(line, found, now)
        self._look_at_heartbeats(line, now)
        due = (self._outage.next_at, *(each.next_at for each, _ in self._parts.values()))
        self.next_at = min((at for at in due if at > now), default=float("inf"))

    def _is_tried(self, line: LineState, now: float) -> bool:
        """Return whether an alarm is in its first round; what that finds out is worth one line, not several."""
        if self._undelivered or not len(line.queue):
            self._tried_since = None
            return False
        self._tried_since = self._tried_since or now
        self.next_at = self._tried_since + _ROUND_S
        return now < self.next_at

    def _look_at_outage(self, line: LineState, found: dict[Part, Cause], now: float) -> None:
        failing = of_all_receivers(line, found) or self._silence(line, now)
        if self._undelivered or failing is not None:
            if self._outage.since is None or now >= self._outage.next_at:
                self._log_outage(list(self._undelivered.values()), line, now)
        elif self._outage.since is not None:
            self._end_outage(line, found, now)
        elif not self._greeted and _answered_since(line, line.started):
            self._greeted = True
            log.info("%s: the link is up", self._name, extra=self._fields())

    def _end_outage(self, line: LineState, found: dict[Part, Cause], now: float) -> None:
        """Log that the receivers take alarms again, once one has shown it: a connection alone proves nothing."""
        began = self._outage.since or now
        shown = _answered_since(line, began) or line.supervision.is_paused(now)
        if self._line_failed and not shown:
            return
        self._outage.end(now)
        took = lasted(now - self._outage_since)
        if self._delivered:
            what = f"{counted(self._delivered, 'alarm')} delivered after {took}"
            log.info("%s: back, %s", self._name, what, extra=self._fields())
        elif self._line_failed:
            log.info("%s: back after %s", self._name, took, extra=self._fields())
        self._parts = {part: each for part, each in self._parts.items() if part in found}
        self._delivered, self._line_failed, self._greeted = 0, False, True

    def _log_outage(self, alarms: Sequence[Item], line: LineState, now: float) -> None:
        found = causes(line, now)
        failing = of_all_receivers(line, found) or self._silence(line, now)
        if self._outage.since is None:
            oldest = min((each.accepted_at for each in line.queue), default=now)
            self._outage_since = failing.since if failing else oldest
        self._line_failed = self._line_failed or failing is not None
        self._outage.is_due(now)
        reason = next((each.error for each in alarms if each.error), "no attempt has ended yet")
        words = [_subject(alarms), f"{failing.one} since {self._time(failing.since, now)}" if failing else reason]
        if waiting := len(line.queue):
            words.append(f"{counted(waiting, 'alarm')} waiting")
        if waiting and (at := next_try_at(line, now)) is not None:
            words.append(f"next try in {lasted(at - now)}" if at - now >= _NOW_S else "next try now")
        hint = f"; {failing.hint}" if failing and failing.hint else ""
        fields = self._fields(alarms[0] if alarms else None)
        log.error("%s: %s%s", self._name, ", ".join(words), hint, extra=fields)
        for part in found.keys() - self._parts.keys() if failing else ():  # the line has said it of each receiver
            self._parts[part] = Lasting(), found[part]
            self._parts[part][0].is_due(now)

    def _silence(self, line: LineState, now: float) -> Cause | None:
        """Return that no receiver answered within the heartbeat level, where that is so."""
        paused = line.supervision.paused_until is not None  # only connections show then whether receivers are there
        if paused or line.routes.link_up(self._level, line.started, now) is not False:
            return None
        last = line.routes.last_success
        level = f" (heartbeat level {lasted(self._level)})" if self._level is not None else ""
        return Cause(text := f"no receiver has answered{level}", text, line.started if last is None else last)

    def _look_at_parts(self, line: LineState, found: dict[Part, Cause], now: float) -> None:
        """Log receivers and paths that fail or are good again while others take the alarms."""
        everything = of_all_receivers(line, found) is not None
        for part, cause in found.items():
            lasting, before = self._parts.get(part, (Lasting(), cause))
            worse = cause.hint != "" and before.hint == ""
            self._parts[part] = lasting, cause
            if (lasting.is_due(now) or worse) and not everything:
                self._log_part(part, cause, now)
        for part in self._parts.keys() - found.keys() if self._outage.since is None else ():
            lasting, cause = self._parts.pop(part)
            what = f"the {part[1]} receiver {cause.good}" if part[0] == "receiver" else f"path {part[1]} works again"
            log.info("%s: %s after %s", self._name, what, lasted(now - cause.since), extra=self._of(part))

    def _log_part(self, part: Part, cause: Cause, now: float) -> None:
        level = logging.ERROR if cause.hint else logging.WARNING
        error = f" ({cause.error})" if cause.error else ""
        who = f"the {part[1]} receiver" if part[0] == "receiver" else f"path {part[1]}: every receiver"
        text = f"{who} {cause.one} since {self._time(cause.since, now)}{error}"
        log.log(level, "%s: %s%s", self._name, text, f"; {cause.hint}" if cause.hint else "", extra=self._of(part))

    def _of(self, part: Part) -> dict[str, object]:
        return {"transmitter": self._name, part[0]: part[1]}

    def _look_at_heartbeats(self, line: LineState, now: float) -> None:
        too_often = line.supervision.too_often_at
        if too_often is not None and too_often != self._too_often:
            text = "%s: pings come too often for a receiver, now at least %s apart"
            log.warning(text, self._name, lasted(line.supervision.gap(now)), extra=self._fields())
        self._too_often = too_often
        paused = self._level is not None and line.supervision.is_paused(now)
        if paused and not self._paused:
            text = "%s: heartbeats are not enabled at the operator; the next one is tried a day later"
            log.error(text, self._name, extra=self._fields())
        elif self._paused and not paused and line.supervision.paused_until is None:
            log.info("%s: heartbeats are enabled at the operator", self._name, extra=self._fields())
        self._paused = paused

    def _time(self, at: float, now: float) -> str:
        """Return a time of the line's clock as the time of day, with the date where that was long ago."""
        wall = self._clock.now().astimezone()
        moment = wall - timedelta(seconds=now - at)
        return moment.strftime("%H:%M:%S" if wall - moment < _TODAY else "%Y-%m-%d %H:%M")


def _subject(alarms: Sequence[Item]) -> str:
    if not alarms:
        return "no alarm can be delivered"
    more = f" and {counted(len(alarms) - 1, 'other alarm')}" if len(alarms) > 1 else ""
    return f"{alarms[0]}{more} not delivered"


def _answered_since(line: LineState, at: float) -> bool:
    return (line.routes.last_success or float("-inf")) >= at


def _failure(item: Item, found: Result) -> str:
    newest = {fault.partition(": ")[0]: fault for fault in item.faults}  # by receiver
    faults = "; ".join(newest.values()) if found.outcome in _BY_RECEIVERS else ""
    hint = "; see sosbridge outbox" if found.outcome is Outcome.REJECTED and found.request in _ALARMS else ""
    return f"{found.outcome}: {faults or clean(found.error or '', LONGEST_ERROR)}{hint}"


def _level(found: Result) -> int:
    """Return the level of a result: an undelivered alarm needs a person, a failed ping may heal."""
    if found.outcome in _ENDED_WELL:
        return logging.INFO
    return logging.ERROR if found.request in _ALARMS or found.outcome is Outcome.UNAUTHORIZED else logging.WARNING
