"""Commands to panels: arm and disarm by MQTT, and their results (TOPICS.md, Panel commands).

A panel carries out one command at a time, so those of one panel wait for each other; the number that waits is bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence

from bridge.common.clock import Clock
from bridge.common.models import Reply
from bridge.common.payloads import CommandError
from bridge.common.text import clean
from bridge.g90.control import PanelControl
from bridge.g90.wire.commands import CommandTimeout, PanelCommandError
from bridge.mqtt.client import Incoming
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.routes import Route
from bridge.panels.code_lock import LOCK_S, MAX_WRONG, Verdict
from bridge.panels.known import ControlledPanel, KnownPanels
from bridge.panels.topics import Action, PanelCommand, PanelTopics, SetOutcome, set_response
from bridge.store.deliveries import Deliveries

log = logging.getLogger(__name__)

MOST_WAITING = 4
"""The same command to one panel. One more is refused: it would be carried out minutes late, or never.

Each action has its own count, so that a flood of commands to arm keeps nobody from disarming.
"""
_TOO_MANY_CODES = f"{MAX_WRONG} wrong codes in a row: nothing that needs the code is taken for {LOCK_S:.0f} seconds"
_NOT_CONTROLLED = 'this panel is not controlled; see control = "local" in its configuration'
_TOO_MANY_WAIT = f"{MOST_WAITING} commands like this one wait for the panel already, this one is not carried out"


class PanelCommands:
    """Those of all panels, carried out in tasks of its own."""

    def __init__(
        self,
        topics: PanelTopics,
        outgoing: Outgoing,
        panels: KnownPanels,
        deliveries: Deliveries,
        *,
        clock: Clock,
        emit: Callable[..., None],
    ) -> None:
        """`emit` publishes on `bridge/event`."""
        self._topics = topics
        self._outgoing = outgoing
        self._panels = panels
        self._deliveries = deliveries
        self._clock = clock
        self._emit = emit
        self._accepted: asyncio.Queue[tuple[PanelControl, PanelCommand]] = asyncio.Queue()
        self._waiting: Counter[tuple[str, Action]] = Counter()

    @property
    def routes(self) -> tuple[Route, ...]:
        return tuple(Route(pattern, self.handle) for pattern in self._topics.commands)

    async def run(self) -> None:
        """Carry out commands until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                control, command = await self._accepted.get()
                tasks.create_task(self._execute(control, command), name=f"{command.action} for panel {command.guid}")

    async def handle(self, batch: Sequence[Incoming]) -> None:
        """Take each command once: a repeated one would disarm a panel that was armed since."""
        deliveries = [self._deliveries.of(message) for message in batch]
        repeated = await self._deliveries.repeated(deliveries)
        for message, delivery in zip(batch, deliveries, strict=True):
            if delivery is None or delivery not in repeated:
                self._take(message)
        await self._deliveries.note([delivery for delivery in deliveries if delivery is not None])

    def _take(self, message: Incoming) -> None:
        """Accept a command or refuse it; its result goes to `set/response`, and to the command's response topic."""
        guid = self._topics.guid(message.topic) or ""
        if guid not in self._panels:
            self._refuse_unknown(message, guid)
            return
        try:
            command = self._topics.parse(message.topic, message.payload, message.reply)
        except CommandError as error:
            self._emit("command_rejected", topic=clean(message.topic), reason=str(error))
            self._respond(guid, None, SetOutcome.FAILED, str(error), message.reply)
            return
        panel = self._panels.configured.get(guid)
        if panel is None:
            self._end(command, SetOutcome.FAILED, "this panel is not configured")
        elif panel.control is None:
            self._end(command, SetOutcome.DISABLED, _NOT_CONTROLLED)
        elif fault := self._code_fault(panel, command):
            self._end(command, SetOutcome.WRONG_CODE, fault)
        elif self._waiting[guid, command.action] >= MOST_WAITING:
            self._end(command, SetOutcome.FAILED, _TOO_MANY_WAIT)
        else:
            self._waiting[guid, command.action] += 1
            self._accepted.put_nowait((panel.control, command))

    def _refuse_unknown(self, message: Incoming, guid: str) -> None:
        """Refuse without a retained response: nothing would ever remove that."""
        reason = f"there is no panel {clean(guid)!r} in the configuration"
        self._emit("command_rejected", topic=clean(message.topic), reason=reason)
        if message.reply is not None:
            payload = set_response(None, SetOutcome.FAILED, reason, self._clock.now())
            self._outgoing.publish_reply(message.reply, payload)

    async def _execute(self, control: PanelControl, command: PanelCommand) -> None:
        try:
            outcome, error = await _carry_out(control, command.action)
        finally:
            self._waiting[command.guid, command.action] -= 1
        self._end(command, outcome, error)

    def _end(self, command: PanelCommand, outcome: SetOutcome, error: str | None) -> None:
        log.info("panel %s: %s: %s%s", command.guid, command.action, outcome, f" ({error})" if error else "")
        self._respond(command.guid, command.action, outcome, error, command.reply)

    def _respond(
        self, guid: str, action: str | None, outcome: SetOutcome, error: str | None, reply: Reply | None
    ) -> None:
        payload = set_response(action, outcome, error, self._clock.now())
        self._outgoing.publish(self._topics.of(guid, "set/response"), payload, retain=True, reply=reply)

    def _code_fault(self, panel: ControlledPanel, command: PanelCommand) -> str | None:
        """Return why a command's code does not let it pass; one that locks the panel is an event too."""
        now = asyncio.get_running_loop().time()
        match panel.lock.check(command.code, disarms=command.action is Action.DISARM, now=now):
            case Verdict.OK:
                return None
            case Verdict.LOCKED:
                return f"{_TOO_MANY_CODES}, and this code was not even looked at"
        if not panel.lock.locked(now):
            return "the code is missing or wrong"
        log.warning("panel %s: %s", command.guid, _TOO_MANY_CODES)
        self._emit("panel_locked", guid=command.guid, reason=_TOO_MANY_CODES)
        return f"the code is missing or wrong; {_TOO_MANY_CODES}"


async def _carry_out(control: PanelControl, action: Action) -> tuple[SetOutcome, str | None]:
    steps = {Action.ARM_AWAY: control.arm_away, Action.ARM_HOME: control.arm_home, Action.DISARM: control.disarm}
    try:
        await steps[action]()
    except CommandTimeout as error:
        return SetOutcome.TIMEOUT, str(error)
    except PanelCommandError as error:
        return SetOutcome.FAILED, str(error)
    return SetOutcome.DONE, None
