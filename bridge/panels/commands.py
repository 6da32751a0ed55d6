"""What panels are told: arm and disarm by MQTT, and what is asked of them; the result of a command on MQTT.

A panel carries out one order at a time, so those of one panel wait for each other; the number that waits is bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.common.clock import Clock
from bridge.common.models import Reply
from bridge.common.payloads import CommandError
from bridge.common.text import clean
from bridge.g90.control import PanelControl
from bridge.g90.registry import PanelConfig
from bridge.g90.server import PanelServer
from bridge.g90.state.panel import PanelState
from bridge.g90.state.reducer import Step
from bridge.g90.state.responses import with_info, with_sensors, with_status
from bridge.g90.wire.commands import CommandTimeout, PanelCommandError
from bridge.mqtt.session import Door
from bridge.panels.code_lock import LOCK_S, MAX_WRONG, CodeLock, Verdict
from bridge.panels.topics import Action, PanelCommand, PanelTopics, SetOutcome, set_response

log = logging.getLogger(__name__)

MOST_WAITING = 4
"""The same command to one panel. One more is refused: it would be carried out minutes late, or never.

Each action has its own count, so that who floods a panel with orders to arm keeps nobody from disarming it.
"""
_TOO_MANY_CODES = f"{MAX_WRONG} wrong codes in a row: nothing that needs the code is taken for {LOCK_S:.0f} seconds"
_NOT_CONTROLLED = 'this panel is not controlled; see control = "local" in its configuration'
_TOO_MANY_WAIT = f"{MOST_WAITING} commands like this one wait for the panel already, this one is not carried out"
Order = Callable[[PanelServer], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Controlled:
    """A panel with the way to command it; `control` None: off."""

    config: PanelConfig
    control: Callable[[PanelServer], PanelControl] | None
    lock: CodeLock


class Orders:
    """Those of all panels, carried out in tasks of its own."""

    def __init__(
        self,
        topics: PanelTopics,
        door: Door,
        panels: Mapping[str, Controlled],
        *,
        clock: Clock,
        tell: Callable[..., None],
    ) -> None:
        """`tell` publishes on `bridge/event`."""
        self._topics = topics
        self._door = door
        self._panels = panels
        self._clock = clock
        self._tell = tell
        self._queue: asyncio.Queue[Order] = asyncio.Queue()
        self._commands: Counter[tuple[str, Action]] = Counter()
        self._asked: set[str] = set()
        self._reading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def run(self, server: PanelServer) -> None:
        """Carry out until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                order = await self._queue.get()
                tasks.create_task(order(server))

    def put(self, order: Order) -> None:
        self._queue.put_nowait(order)

    def ask(self, guid: str) -> None:
        """Read status, sensors and host info of a panel, where it has a control path; once if that is not begun yet."""
        if guid not in self._asked:
            self._asked.add(guid)
            self.put(lambda server: self._read(server, guid))

    def take(self, topic: str, payload: bytes, reply: Reply | None = None) -> None:
        """Carry out what a command topic asks for; its result goes to `set/response`, and to `reply`."""
        try:
            command = self._topics.parse(topic, payload, reply)
        except CommandError as error:
            self._tell("command_rejected", topic=clean(topic), reason=str(error))
            self._respond(self._topics.guid(topic) or "", None, SetOutcome.FAILED, str(error), reply)
            return
        panel = self._panels.get(command.guid)
        if panel is None:
            self._end(command, SetOutcome.FAILED, "this panel is not configured")
        elif panel.control is None:
            self._end(command, SetOutcome.DISABLED, _NOT_CONTROLLED)
        elif fault := self._code_fault(panel, command):
            self._end(command, SetOutcome.WRONG_CODE, fault)
        elif self._commands[command.guid, command.action] >= MOST_WAITING:
            self._end(command, SetOutcome.FAILED, _TOO_MANY_WAIT)
        else:
            control = panel.control
            self._commands[command.guid, command.action] += 1
            self.put(lambda server: self._obey(control(server), command))

    async def _obey(self, control: PanelControl, command: PanelCommand) -> None:
        try:
            outcome, error = await _carry_out(control, command.action)
        finally:
            self._commands[command.guid, command.action] -= 1
        self._end(command, outcome, error)

    def _end(self, command: PanelCommand, outcome: SetOutcome, error: str | None) -> None:
        log.info("panel %s: %s: %s%s", command.guid, command.action, outcome, f" ({error})" if error else "")
        self._respond(command.guid, command.action, outcome, error, command.reply)

    def _respond(
        self, guid: str, action: str | None, outcome: SetOutcome, error: str | None, reply: Reply | None
    ) -> None:
        payload = set_response(action, outcome, error, self._clock.now())
        self._door.publish(self._topics.of(guid, "set/response"), payload, retain=True, reply=reply)

    def _code_fault(self, panel: Controlled, command: PanelCommand) -> str | None:
        """Return why a command's code does not let it pass; the wrong one that locks the panel is told as an event."""
        now = asyncio.get_running_loop().time()
        match panel.lock.check(command.code, disarms=command.action is Action.DISARM, now=now):
            case Verdict.OK:
                return None
            case Verdict.LOCKED:
                return f"{_TOO_MANY_CODES}, and this code was not even looked at"
        if not panel.lock.locked(now):
            return "the code is missing or wrong"
        log.warning("panel %s: %s", command.guid, _TOO_MANY_CODES)
        self._tell("panel_locked", guid=command.guid, reason=_TOO_MANY_CODES)
        return f"the code is missing or wrong; {_TOO_MANY_CODES}"

    async def _read(self, server: PanelServer, guid: str) -> None:
        async with self._reading[guid]:
            self._asked.discard(guid)
            if control := self._panels[guid].control:
                await self._read_all(server, guid, control(server))

    async def _read_all(self, server: PanelServer, guid: str, control: PanelControl) -> None:
        try:
            # The status last: what it says is taken before it can have changed.
            records, info, status = await control.records(), await control.host_info(), await control.status()
        except PanelCommandError as error:
            log.warning("panel %s: status and sensors are not read: %s", guid, error)
            return
        now = self._clock.now()
        await server.apply(guid, lambda state: with_status(state, status, now))
        await server.apply(guid, lambda state: _with_state(state, with_sensors(state, records)))
        await server.apply(guid, lambda state: _with_state(state, with_info(state, info)))


async def _carry_out(control: PanelControl, action: Action) -> tuple[SetOutcome, str | None]:
    steps = {Action.ARM_AWAY: control.arm_away, Action.ARM_HOME: control.arm_home, Action.DISARM: control.disarm}
    try:
        await steps[action]()
    except CommandTimeout as error:
        return SetOutcome.TIMEOUT, str(error)
    except PanelCommandError as error:
        return SetOutcome.FAILED, str(error)
    return SetOutcome.DONE, None


def _with_state(before: PanelState, after: PanelState) -> Step:
    return Step(before if before == after else after)
