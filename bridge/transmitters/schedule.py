"""What a transmitter does next: a pure function of what is known, what waits, and the time.

Theory of operation
===================

A transmitter has routes: one or two receivers, each over one or more network paths. `routes` keeps their health and
the order in which they are tried: serving, unknown, reachable only, down. An alarm is sent in *rounds*: one attempt per
route, on one after the other until a receiver accepts it. A receiver that has answered is not asked over a second path
in the same round. Connecting is raced by who runs the step; the document goes out on one connection only.

One alarm is on its way at a time. An urgent alarm does not wait behind an exchange that hangs: after `HANGS_S` it goes
to another receiver beside it. Pings, checks and rotations run beside alarms, one at a time, and delay none.

====================  ==============================================  ===========================================
state of an alarm     entered when                                    left when
====================  ==============================================  ===========================================
NEW                   it is stored                                    at once: SENDING
SENDING               an attempt begins                               the attempt ends
NEW or DUE, in round  an attempt failed, the round has routes left    at once, on a route not tried: SENDING
HELD                  a round failed, no receiver answered, or all    a route serves, or the next round begins:
                      answers refuse the password                     SENDING
HUNG                  the same, but a document went out unanswered    a route serves, or the next round begins and
                                                                      nothing else may go, in turn: SENDING
REFUSED               a round failed, a receiver refused it, or       10 s doubling to 5 min, or the receiver
                      others went while it hung                       accepts its first alarm since: DUE
DUE                   it may be sent again                            after those that are NEW: SENDING
BEHIND                what it follows is held or cannot be sent;      that ends: NEW
                      that inherits its urgency
(ended)               0 or 10 from any receiver: delivered
                      1, 2, 3, 7, 100 from every receiver, the last
                      time with mandatory elements only: rejected
====================  ==============================================  ===========================================

======================  =================================================================================
what is bounded         how
======================  =================================================================================
attempts on a route     at most one a second while it does not serve
rounds in an outage     1, 2, 4, then each 5 s, start to start, +-25 %; after 10 min each 30 s unless an
                        urgent alarm waits; a NEW alarm is attempted at once beside them
refused passwords       all candidates after 1, 5, 15, 60 min; between, one login per NEW alarm each 30 s
alarms beside a hang    urgent ones, `MOST_AT_ONCE` in all
pings                   a gap of 2 s, doubled by each 101; none for a day after 9, but commanded ones
======================  =================================================================================
"""

from __future__ import annotations

from typing import NamedTuple

from bridge.transmitters.logins import Login
from bridge.transmitters.rounds import LineState
from bridge.transmitters.routes import Route
from bridge.transmitters.waiting import AlarmState, Waiting

HANGS_S = 1.0
"""A healthy receiver answers within this; an urgent alarm waits no longer behind another's exchange."""
MOST_AT_ONCE = 8
"""Urgent alarms that hang hold up no other until there are so many of them."""
ROUTE_GAP_S = 1.0
"""Between two attempts on a route that does not serve."""
LONGEST_WAIT_S = 30.0
"""Bounds the effect of anything that does not wake the line."""


class Try(NamedTuple):
    """A route to try, with which passwords, and when the next route may begin to connect beside it."""

    route: Route
    login: Login
    race_after_s: float


class Send(NamedTuple):
    """Race connections on `tries`, in order; send the alarm on the first, and on that one only."""

    number: int
    tries: tuple[Try, ...]
    minimal: bool = False


class Ask(NamedTuple):
    """Send a commanded ping or rotation: one exchange per try until one is answered."""

    number: int
    tries: tuple[Try, ...]


class SendPing(NamedTuple):
    """Send a ping on one route, as a heartbeat or a check."""

    route: Route
    heartbeat: bool


class Connect(NamedTuple):
    """Check one route by connecting, TLS included."""

    route: Route


class Report(NamedTuple):
    """Report these alarms as undelivered, once each."""

    numbers: tuple[int, ...]


class Wait(NamedTuple):
    """Do nothing until this time, unless something happens."""

    until: float


Step = Send | Ask | SendPing | Connect | Report | Wait


def next_step(line: LineState, now: float) -> Step:
    """Return what to do next. The caller notes its beginning and end in `line`, and asks again."""
    line.reports += [alarm.number for alarm in line.queue.unreported(now)]
    if line.reports:
        return Report(tuple(line.reports))
    line.queue.make_due(now)
    waits = [now + LONGEST_WAIT_S]
    for decide in (_alarm, _command, _heartbeat, _check):
        step = decide(line, now)
        if not isinstance(step, Wait):
            return step
        waits.append(step.until)
    waits += [at for at in (line.queue.next_due, line.queue.next_report) if at is not None]
    return Wait(max(min(waits), now))


_IDLE = Wait(float("inf"))


def _alarm(line: LineState, now: float) -> Step:
    hangs_at = _hangs_at(line)
    if hangs_at > now:
        return Wait(hangs_at) if line.queue.has_urgent else _IDLE
    if not len(line.queue) or len(line.sending) >= MOST_AT_ONCE:
        return _IDLE
    alarm = line.queue.first(_sendable(line, now), urgent_only=bool(line.sending))
    if alarm is None and not line.sending and _is_round(line, now):
        alarm = line.queue.longest_hung()
    if alarm is None:
        return _IDLE if line.sending else Wait(_retry_at(line, now))
    if alarm.round is not None and not line.left(alarm, now):
        alarm.round = None  # what was left refuses the password since
    left = line.left(alarm, now)
    busy = {sending.route.receiver for sending in line.sending.values() if sending.route is not None}
    routes = [route for route in left if route.receiver not in busy] or left
    ready = [route for route in routes if _ready_at(line, route, now) <= now]
    if ready:
        return Send(alarm.number, tuple(_try(line, route, alarm, now) for route in ready), alarm.minimal)
    if routes:
        return Wait(min(_ready_at(line, route, now) for route in routes))
    return Wait(_login_at(line, new_alarm=not alarm.tried))


def _hangs_at(line: LineState) -> float:
    """Return when the last exchange to begin counts as hanging; in the past where none is on its way."""
    return max((sending.since + HANGS_S for sending in line.sending.values()), default=float("-inf"))


def _sendable(line: LineState, now: float) -> tuple[AlarmState, ...]:
    """Return the states whose alarms may go; while every receiver refuses the password, only what is new."""
    if not any(line.logins.allowed(receiver, now, new_alarm=False) for receiver in line.routes.receivers):
        return (AlarmState.NEW,)
    if line.routes.serving:
        return (AlarmState.NEW, AlarmState.DUE, AlarmState.HELD, AlarmState.HUNG)
    if _is_round(line, now):
        return (AlarmState.NEW, AlarmState.DUE, AlarmState.HELD)
    return (AlarmState.NEW, AlarmState.DUE)


def _is_round(line: LineState, now: float) -> bool:
    """Return whether the next round may begin while no route serves."""
    return not line.routes.serving and _round_at(line, now) <= now


def _retry_at(line: LineState, now: float) -> float:
    """Return when what was tried before may go, where something waits for that."""
    if line.queue.has(AlarmState.DUE):
        return _login_at(line, new_alarm=False)
    return _round_at(line, now) if line.queue.has(AlarmState.HELD, AlarmState.HUNG) else float("inf")


def next_try_at(line: LineState, now: float) -> float | None:
    """Return when the first of the alarms that wait is tried; None while one is on its way."""
    if line.sending:
        return None
    new = _login_at(line, new_alarm=True) if line.queue.has(AlarmState.NEW) else float("inf")
    at = min(new, _retry_at(line, now), line.queue.next_due or float("inf"))
    return None if at == float("inf") else max(at, now)


def _round_at(line: LineState, now: float) -> float:
    """Return when what is held may go, as long as no route serves."""
    return max(line.outage.next_at(now, urgent=line.queue.has_urgent), _login_at(line, new_alarm=False))


def _login_at(line: LineState, *, new_alarm: bool) -> float:
    return min(line.logins.allowed_at(receiver, new_alarm=new_alarm) for receiver in line.routes.receivers)


def _ready_at(line: LineState, route: Route, now: float) -> float:
    health = line.routes[route]
    if health.serving or health.attempted_at is None:
        return now
    return health.attempted_at + ROUTE_GAP_S


def _try(line: LineState, route: Route, alarm: Waiting, now: float) -> Try:
    login = line.logins.allowed(route.receiver, now, new_alarm=not alarm.tried)
    return Try(route, login or Login.LIKELIEST, line.routes[route].race_after_s)


def _command(line: LineState, now: float) -> Step:
    if line.busy or not line.commands:
        return _IDLE
    number, is_ping = line.commands[0]
    if is_ping and (ping_at := line.supervision.ping_at(now)) > now:
        return Wait(ping_at)
    order = line.routes.order(now)
    return Ask(number, tuple(Try(route, Login.ALL, line.routes[route].race_after_s) for route in order))


def _heartbeat(line: LineState, now: float) -> Step:
    due = line.supervision.heartbeat_at(now)
    if line.busy or due is None:
        return _IDLE
    route = line.routes.in_use(now)
    at = max(due, line.supervision.ping_at(now), line.logins.allowed_at(route.receiver, new_alarm=False))
    return SendPing(route, heartbeat=True) if at <= now else Wait(at)


def _check(line: LineState, now: float) -> Step:
    if line.busy:
        return _IDLE
    waits = []
    for route in line.routes.order(now):
        at = line.supervision.check_at(route, line.routes, now)
        if at is None:
            continue
        by_ping = at <= now and line.supervision.checks_by_ping(route, line.routes, now)
        if by_ping:
            at = max(at, line.supervision.ping_at(now), line.logins.allowed_at(route.receiver, new_alarm=False))
        if at <= now:
            return SendPing(route, heartbeat=False) if by_ping else Connect(route)
        waits.append(at)
    return Wait(min(waits, default=float("inf")))
