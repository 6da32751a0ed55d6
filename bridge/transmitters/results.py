"""Results of commands from what receivers answered (TOPICS.md, Results). Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bridge.common.models import Command, Outcome, Request, Result
from bridge.common.text import clean, counted
from bridge.sos_access.client import Exchange
from bridge.sos_access.messages import Response
from bridge.sos_access.status import Status
from bridge.store.records import Queued
from bridge.transmitters.line import Sent
from bridge.transmitters.routes import Answer, answer_of

_MOST_FAULTS = 4
"""What went wrong in the last attempts; a result holds no story of a night."""

_MINIMAL = "every receiver refused the whole alarm; delivered with its mandatory elements only"

_NAMES = {Request.RESTORE: "restore of {code}", Request.PING: "ping", Request.AUTH: "password rotation"}


@dataclass(slots=True)
class Item:
    """A command of the outbox, and what happened to it since this start."""

    queued: Queued
    attempts: int = 0
    """All, also those before this start."""
    faults: list[str] = field(default_factory=list)
    minimal: bool = False
    """Whether it goes with its mandatory elements only."""

    def add(self, sent: Sent) -> None:
        self.attempts += len(sent.attempts)
        self.faults = (self.faults + sent.faults)[-_MOST_FAULTS:]

    @property
    def error(self) -> str:
        reasons = "; ".join(dict.fromkeys(self.faults))
        return (
            f"no receiver took it in {counted(self.attempts, 'attempt')} ({reasons})" if reasons else self.queued.error
        )

    def __str__(self) -> str:
        """The command's name in a log line."""
        command = self.queued.command
        what = _NAMES.get(command.request, "{code}").format(
            code=clean(command.alarm.event_code if command.alarm else "")
        )
        return f"{what} #{self.queued.id}"


def outcome_of(sent: Sent) -> Outcome:
    answers = {attempt.answer for attempt in sent.attempts}
    response = sent.exchange.response if sent.exchange else None
    if response is not None and answer_of(response.status) is Answer.ACCEPTED:
        return Outcome.ACCEPTED
    if Answer.UNAUTHORIZED in answers:
        return Outcome.UNAUTHORIZED
    recognised = response is not None and response.status in (Status.SERVICE_UNAVAILABLE, Status.PING_TOO_OFTEN)
    return Outcome.REJECTED if recognised or Answer.INVALID in answers else Outcome.UNREACHABLE


def result(item: Item, outcome: Outcome, now: datetime, sent: Sent | None = None, error: str | None = None) -> Result:
    """Return the result of a command; `error` replaces what the last answers say."""
    command = item.queued.command
    fields: dict[str, Any] = {"attempts": item.attempts or None, "error": error}
    if command.route is not None:
        fields |= {"receiver": command.route[0], "path": command.route[1] or None}
    if sent is not None:
        fields |= _answer(sent) | ({"error": error} if error is not None else {})
        if sent.exchange is None or (outcome is Outcome.REJECTED and error is None):
            fields["error"] = error or item.error or None
    delivered = outcome in (Outcome.ACCEPTED, Outcome.DUPLICATE)
    shortened = (_MINIMAL,) if item.minimal and delivered else ()
    return command.ended(outcome, now, warnings=warnings(command, sent) + shortened, **fields)


def heartbeat_result(sent: Sent, now: datetime) -> Result:
    fields = {"attempts": len(sent.attempts)} | _answer(sent)
    return Result(request=Request.PING, outcome=outcome_of(sent), completed_at=now, **fields)


def warnings(command: Command, sent: Sent | None) -> tuple[str, ...]:
    response = sent.exchange.response if sent and sent.exchange else None
    return command.warnings + ((response.warning,) if response and response.warning else ())


def _answer(sent: Sent) -> dict[str, Any]:
    exchange: Exchange[Response] | None = sent.exchange
    error = "; ".join(sent.faults) or None
    if exchange is None:
        return {"error": error}
    response = exchange.response
    accepted = answer_of(response.status) is Answer.ACCEPTED
    return {
        "status": response.status,
        "info": clean(response.info) if response.info else None,
        "receiver": exchange.receiver,
        "path": sent.path or None,
        "arrival_time": response.arrival_time,
        "clock_offset_s": exchange.clock_offset_s if accepted else None,
        "error": None if accepted else error,
    }
