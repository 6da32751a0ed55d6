"""Why receivers and network paths do not take alarms, in the words of a log line. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.common.text import clean
from bridge.sos_access.status import Failure, Status
from bridge.transmitters.logins import Refusal
from bridge.transmitters.rounds import LineState
from bridge.transmitters.routes import Part

_REFUSES = "the transmitter code or password"
_WORDS: dict[int | str | None, tuple[str, str]] = {
    Failure.REFUSED: ("refuses connections", "refuse connections"),
    Failure.RESET: ("resets connections", "reset connections"),
    Failure.NO_CONNECTION: ("does not accept connections in time", "do not accept connections in time"),
    Failure.UNREACHABLE: ("cannot be reached", "cannot be reached"),
    Failure.NO_RESPONSE: ("does not answer", "do not answer"),
    Failure.HUNG_UP: ("closes connections without an answer", "close connections without an answer"),
    Failure.NO_ADDRESS: ("is not found in DNS", "are not found in DNS"),
    Failure.CERTIFICATE: ("has a certificate that is not trusted", "have certificates that are not trusted"),
    Failure.TLS: ("fails the TLS handshake", "fail the TLS handshake"),
    Failure.MALFORMED: ("sends malformed answers", "send malformed answers"),
}
"""What a failure says of one receiver and of two."""
_NEEDS_A_PERSON = (Failure.CERTIFICATE, Failure.TLS)


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
    newest = max(found, key=lambda health: health.last_exchange or 0.0)
    failure, error = newest.last_failure, newest.last_error
    if refusal is not None and (not error or isinstance(failure, int)):  # else it does not even answer by now
        one, two = f"refuses {_REFUSES}", f"refuse {_REFUSES}"
        return Cause(one, two, refusal.since, hint="ask the operator", good="accepts the password")
    since = max((health.failing_since for health in found if health.failing_since is not None), default=now)
    if isinstance(failure, int):
        status = f"{failure}{_name(failure)}"
        return Cause(f"answers {status}", f"answer {status}", since)
    one, two = _WORDS.get(failure, ("", ""))
    if not one:
        return Cause(f"fails ({clean(error)})", f"fail ({clean(error)})", since)
    return Cause(one, two, since, *(("", error) if failure in _NEEDS_A_PERSON else (error, "")))


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
