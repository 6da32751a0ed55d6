"""Why receivers and network paths do not take alarms, in the words of a log line. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bridge.common.text import clean
from bridge.sos_access.status import Status
from bridge.transmitters.logins import Refusal
from bridge.transmitters.rounds import LineState
from bridge.transmitters.routes import Part

_ANSWERED = re.compile(r"answered (\d+)")
_REFUSES = "the transmitter code or password"
_WORDS = (
    ("connection refused by ", "refuses connections", "refuse connections"),
    ("connection reset by ", "breaks off connections", "break off connections"),
    ("no connection to ", "does not accept connections in time", "do not accept connections in time"),
    ("no connection with ", "cannot be reached", "cannot be reached"),
    ("no complete response from ", "does not answer", "do not answer"),
    ("connection closed by ", "hangs up without an answer", "hang up without an answer"),
    ("no address found for ", "is not found in DNS", "are not found in DNS"),
    ("certificate of ", "has a certificate that is not trusted", "have certificates that are not trusted"),
    ("TLS with ", "fails in TLS", "fail in TLS"),
    ("malformed response from ", "sends malformed answers", "send malformed answers"),
)
"""The beginning of an error of `sos_access`, and what it says of one receiver and of two."""
_NEEDS_A_PERSON = ("certificate of ", "TLS with ")


@dataclass(frozen=True, slots=True)
class Cause:
    """What is wrong with a part, said of one and of two, and since when by the clock of the line's state."""

    one: str
    two: str
    since: float
    error: str = ""
    """The last error in full."""
    hint: str = ""
    """What a person has to do; '' where it may heal."""
    good: str = "answers again"
    """What is said when it is over."""


def causes(line: LineState, now: float) -> dict[Part, Cause]:
    """Return what is wrong with the receivers, and with the paths where there are several."""
    routes = line.routes
    parts: list[Part] = [("receiver", name) for name in routes.receivers]
    parts += [("path", name) for name in routes.paths if len(routes.paths) > 1]
    failing = [part for part in parts if routes.up(part) is False or _refusal(line, part)]
    return {part: _cause(line, part, now) for part in failing}


def _refusal(line: LineState, part: Part) -> Refusal | None:
    return line.logins.refusals.get(part[1]) if part[0] == "receiver" else None


def _cause(line: LineState, part: Part, now: float) -> Cause:
    found, refusal = line.routes.of(part), _refusal(line, part)
    error = max(found, key=lambda health: health.last_exchange or 0.0).last_error
    if refusal is not None and (not error or _ANSWERED.match(error)):  # else it does not even answer by now
        one, two = f"refuses {_REFUSES}", f"refuse {_REFUSES}"
        return Cause(one, two, refusal.since, hint="ask the operator", good="accepts the password")
    since = max((health.failing_since for health in found if health.failing_since is not None), default=now)
    if answered := _ANSWERED.match(error):
        status = f"{answered[1]}{_name(int(answered[1]))}"
        return Cause(f"answers {status}", f"answer {status}", since)
    for begins, one, two in _WORDS:
        if error.startswith(begins):
            needs_a_person = error.startswith(_NEEDS_A_PERSON)
            return Cause(one, two, since, *(("", error) if needs_a_person else (error, "")))
    return Cause(f"fails ({clean(error)})", f"fail ({clean(error)})", since)


def _name(status: int) -> str:
    return next((f" {each.name}" for each in Status if each == status), "")


def of_all_receivers(line: LineState, found: dict[Part, Cause]) -> Cause | None:
    """Return what is wrong with every receiver, with its subject; None where one is not known to fail."""
    receivers = line.routes.receivers
    failing = [found[part] for each in receivers if (part := ("receiver", each)) in found]
    if len(failing) < len(receivers):
        return None
    text = ", ".join(f"the {name} receiver {cause.one}" for name, cause in zip(receivers, failing, strict=True))
    if len(failing) == 1:
        text = f"the receiver {failing[0].one}"
    elif len({each.one for each in failing}) == 1:
        text = f"both receivers {failing[0].two}"
    hints = dict.fromkeys(each.hint for each in failing if each.hint)
    return Cause(text, text, max(each.since for each in failing), hint="; ".join(hints))
