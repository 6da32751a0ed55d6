"""Commands to panels: arm, disarm and switch by MQTT, and their results (TOPICS.md, Panel commands).

A panel carries out one command at a time, so those of one panel wait for each other; how many and how long is bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from bridge.common.clock import Clock
from bridge.common.loop import now
from bridge.common.models import Incoming, Reply
from bridge.common.payloads import CommandError
from bridge.common.text import clean
from bridge.g90.registry import PanelRegistry
from bridge.g90.state.model import Commanded, Relay, Switched
from bridge.g90.wire.commands import CommandTimeout, PanelCommandError
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.routes import TopicRoute
from bridge.panels.code_lock import LOCK_S, MAX_WRONG, Verdict
from bridge.panels.known import ControlledPanel, KnownPanels
from bridge.panels.topics import Action, PanelCommand, PanelTopics, SetOutcome, Switch, set_response

log = logging.getLogger(__name__)

MOST_WAITING = 4
"""The same command to one panel. One more is refused: it would be carried out minutes late, or never.

Each action has its own count, so that a flood of commands to arm does not prevent disarming.
"""
MAX_WAIT_S = 30.0
"""A command that waited longer is not carried out: by now it may be unwanted."""
_TOO_MANY_CODES = f"{MAX_WRONG} wrong codes in a row; commands that need the code are refused for {LOCK_S:.0f} seconds"
_NOT_CONTROLLED = 'this panel is not controlled; see control = "local" in its configuration'
_Result = tuple[SetOutcome, str | None]
_TOO_MANY_WAIT = f"{MOST_WAITING} such commands to this panel are waiting; this one is refused"


class PanelCommands:
    """Takes the commands to all panels and carries each out in a task."""

    def __init__(
        self,
        topics: PanelTopics,
        outgoing: Outgoing,
        panels: KnownPanels,
        *,
        clock: Clock,
        emit: Callable[..., None],
    ) -> None:
        """`emit` publishes on `bridge/event`."""
        self._topics = topics
        self._outgoing = outgoing
        self._panels = panels
        self._clock = clock
        self._emit = emit
        self._accepted: asyncio.Queue[tuple[ControlledPanel, PanelCommand, float]] = asyncio.Queue()
        self._waiting: Counter[tuple[str, str]] = Counter()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def routes(self) -> tuple[TopicRoute, ...]:
        return tuple(TopicRoute(pattern, self.handle, qos=0) for pattern in self._topics.commands)

    async def run(self, registry: PanelRegistry) -> None:
        """Carry out commands until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                panel, command, since = await self._accepted.get()
                work = self._execute(panel, command, since, registry)
                tasks.create_task(work, name=f"{command.action} for panel {command.guid}")

    async def handle(self, batch: Sequence[Incoming]) -> None:
        """Take commands, but none that waited in the broker: it would disarm a panel that was armed since."""
        for message in batch:
            if message.mid is not None or message.duplicate:  # QoS 1: queued for the subscription of an earlier version
                log.warning("ignored a command on %s that waited in the broker", clean(message.topic))
            elif self._topics.leaf(message.topic) == "refresh":
                self._refresh(message)
            else:
                self._take(message)

    def _refresh(self, message: Incoming) -> None:
        guid = self._topics.guid(message.topic) or ""
        if guid in self._panels.configured:
            self._panels.configured[guid].reader.refresh()
        else:
            self._refuse_unknown(message, guid)

    def _take(self, message: Incoming) -> None:
        """Accept or refuse a command; its result goes to `set/response` and to its response topic."""
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
        elif command.relay is not None and self._relay(command) is None:
            self._end(command, SetOutcome.FAILED, f"the panel has no relay {clean(command.relay, 40)}")
        elif fault := self._code_fault(panel, command):
            self._end(command, SetOutcome.WRONG_CODE, fault)
        elif self._waiting[guid, command.action] >= MOST_WAITING:
            self._end(command, SetOutcome.FAILED, _TOO_MANY_WAIT)
        else:
            self._waiting[guid, command.action] += 1
            self._accepted.put_nowait((panel, command, now()))

    def _refuse_unknown(self, message: Incoming, guid: str) -> None:
        """Refuse without a retained response, which nothing would remove."""
        reason = f"unknown panel {clean(guid)!r}; add it under [[g90.panels]]"
        self._emit("command_rejected", topic=clean(message.topic), reason=reason)
        if message.reply is not None:
            payload = set_response(None, SetOutcome.FAILED, reason, self._clock.now())
            self._outgoing.publish_reply(message.reply, payload)

    async def _execute(
        self, panel: ControlledPanel, command: PanelCommand, since: float, registry: PanelRegistry
    ) -> None:
        try:
            async with self._turns[command.guid]:
                waited = now() - since
                result: _Result = SetOutcome.FAILED, f"not carried out: the command had waited for {waited:.0f} s"
                if waited <= MAX_WAIT_S:
                    result = await self._carry_out(panel, command, registry)
        finally:
            self._waiting[command.guid, command.action] -= 1
        self._end(command, *result)

    async def _carry_out(self, panel: ControlledPanel, command: PanelCommand, registry: PanelRegistry) -> _Result:
        control = panel.control
        assert control is not None  # noqa: S101 - checked when it was accepted
        steps = {Action.ARM_AWAY: control.arm_away, Action.ARM_HOME: control.arm_home, Action.DISARM: control.disarm}
        try:
            async with asyncio.timeout(control.patience):
                if control is panel.reader.control:
                    await panel.reader.check(registry)
                if isinstance(command.action, Action):
                    await steps[command.action]()
                elif relay := self._relay(command):
                    await control.switch(relay.index, relay.channel, on=command.action is Switch.ON)
        except TimeoutError:
            return SetOutcome.TIMEOUT, f"the panel did not answer within {control.patience:g} s"
        except CommandTimeout as error:
            return SetOutcome.TIMEOUT, str(error)
        except PanelCommandError as error:
            return SetOutcome.FAILED, str(error)
        done = Switched(command.relay, on=command.action is Switch.ON) if command.relay else Commanded()
        await panel.reader.commanded(registry, done)
        return SetOutcome.DONE, None

    def _relay(self, command: PanelCommand) -> Relay | None:
        state = self._panels.states.get(command.guid)
        return state.relays.get(command.relay or "") if state else None

    def _end(self, command: PanelCommand, outcome: SetOutcome, error: str | None) -> None:
        name, why = self._panels.label(command.guid), f" ({error})" if error else ""
        level = logging.INFO if outcome is SetOutcome.DONE else logging.WARNING
        fields = {"panel": name, "outcome": str(outcome)}
        log.log(level, "panel %s: %s: %s%s", name, command.action, outcome.replace("_", " "), why, extra=fields)
        self._respond(command.guid, command.action, outcome, error, command.reply)

    def _respond(
        self, guid: str, action: str | None, outcome: SetOutcome, error: str | None, reply: Reply | None
    ) -> None:
        payload = set_response(action, outcome, error, self._clock.now())
        self._outgoing.publish(self._topics.of(guid, "set/response"), payload, retain=True, reply=reply)

    def _code_fault(self, panel: ControlledPanel, command: PanelCommand) -> str | None:
        """Return why a command's code does not let it pass; one that locks the panel is an event too."""
        at = now()
        match panel.lock.check(command.code, disarms=command.action is Action.DISARM, now=at):
            case Verdict.OK:
                return None
            case Verdict.LOCKED:
                return f"{_TOO_MANY_CODES}; this code was not checked"
        if not panel.lock.locked(at):
            return "the code is missing or wrong"
        self._emit("panel_locked", guid=command.guid, reason=_TOO_MANY_CODES)
        return f"the code is missing or wrong; {_TOO_MANY_CODES}"
