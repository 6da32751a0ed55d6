"""Simulated panels that live through gaps, and what their own history says that the receiver must get."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from chaos.ledger import now

from bridge.g90.simulator import PanelSimulator, SimulatedSensor
from bridge.g90.wire.constants import AlertType, ArmCode, SensorCode, SensorType, StateCode
from bridge.g90.wire.events import Alert, Notice, Report
from bridge.g90.wire.messages import build_report

DOOR, SIDE, SMOKE, WATER = 7, 8, 9, 10
SENSORS = (
    SimulatedSensor(DOOR, "Front door"),
    SimulatedSensor(SIDE, "Side door"),
    SimulatedSensor(SMOKE, "Kitchen smoke", SensorType.SMOKE),
    SimulatedSensor(WATER, "Cellar water", SensorType.WATER),
)
CODES = {"smoke": "FA", "water": "WA", "door": "BA", "sos": "PA", "tamper": "TA", "": "UA"}
"""What is raised by what; UA: an alarm without a reason."""
_TYPES = {DOOR: "door", SIDE: "door", SMOKE: "smoke", WATER: "water"}
_LATE_S = (0, 0, 0, 0.2, 1, 3, 10, 30, 60)
"""How long after 0x22 the panel sends 0x21."""
_SAME_S = 4.0
"""Between two alarms of a sensor: forms of one are at most two seconds apart by the panel's clock."""
_MOST_IN_A_GAP = 40
"""The bridge reads fifty records back."""
_ARMINGS = {StateCode.ARMED_AWAY: "armed_away", StateCode.ARMED_HOME: "armed_home", StateCode.DISARMED: "disarmed"}
Key = tuple[str, str, str | None]
"""An alarm at the receiver: `AL` or `RE`, event code, detector."""


@dataclass(frozen=True)
class Happened:
    """One record of a panel's history. `alarm`: its event code and detector."""

    wall: datetime
    what: str
    alarm: tuple[str, str | None] | None
    arming: str | None


class Life(PanelSimulator):
    """A panel whose history is the truth. `latest`: how long a form may be late."""

    def __init__(self, guid: str, cloud: tuple[str, int], local: tuple[str, int], dice: random.Random) -> None:
        super().__init__(guid, cloud=cloud, local=local, sensors=SENSORS, interval=10.0)
        self.happened: list[Happened] = []
        self.reports = 0
        self.late: set[asyncio.Task[None]] = set()
        self.disturbed = False
        """Its answers get lost or come late, so that it takes longer to read."""
        self._held: list[bytes] | None = None
        """What it sends while the network swallows it."""
        self._dice = dice
        self._alarmed_at: Counter[int] = Counter()
        self._since_gap = 0

    # What happens

    async def live(self, until: float, each: float) -> None:
        """Let something happen each few seconds."""
        while now() < until:
            await asyncio.sleep(self._dice.expovariate(1 / each))
            if self._back.is_set():
                self._since_gap = 0
            if self._since_gap < _MOST_IN_A_GAP:
                with contextlib.suppress(ConnectionError):
                    await self._happens()

    async def _happens(self) -> None:
        chance = self._dice.random()
        if chance < 0.35:
            await self.arm(self._dice.choice((ArmCode.ARMED_AWAY, ArmCode.ARMED_HOME, ArmCode.DISARMED)))
        elif chance < 0.5:
            await self.activity(
                self._dice.choice((DOOR, SIDE)), self._dice.choice((SensorCode.OPEN, SensorCode.CLOSED))
            )
        elif chance < 0.58 and self._rested(0):
            await self.sos()
        else:
            index = self._dice.choice(tuple(_TYPES))
            if self._rested(index):
                tampered = index == SIDE and self._dice.random() < 0.3
                await self.alarm(index, SensorCode.TAMPER if tampered else SensorCode.ALARM)

    def _rested(self, index: int) -> bool:
        rested = now() - self._alarmed_at[index] > _SAME_S
        if rested:
            self._alarmed_at[index] = cast("int", now())
        return rested

    async def report(self, *reports: Report) -> None:
        """Note what happens; report it in one form or both, the second perhaps late."""
        alerts = [report for report in reports if isinstance(report, Alert)]
        self.history.extendleft(alerts)
        self._since_gap += len(alerts)
        told = " reported" if self._writer and self._back.is_set() else ""
        for each in alerts:
            what = f"{_alarm(each) or _arming(each) or each.event} at {each.time}{told}"
            self.happened.append(Happened(datetime.now(UTC), what, _alarm(each), _arming(each)))
        if self._writer is None or not self._back.is_set():
            return
        self.reports += 1
        notices = [build_report(each, as_json=True) for each in reports if isinstance(each, Notice)]
        first = [build_report(each, as_json=True) for each in alerts]
        second = [build_report(each, as_json=False) for each in alerts]
        if self._dice.random() < 0.1:
            first, second = second, first
        await self.send([*notices, *first])
        if self._dice.random() < 0.8:
            task = asyncio.create_task(self._later(self._dice.choice(_LATE_S), second))
            self.late.add(task)
            task.add_done_callback(self.late.discard)

    async def _later(self, seconds: float, messages: list[bytes]) -> None:
        await asyncio.sleep(seconds)
        with contextlib.suppress(ConnectionError):
            await self.send(messages)

    async def send(self, messages: Sequence[bytes]) -> None:
        if self._held is None or self._writer is None:
            await super().send(messages)
        else:
            self._held += messages

    # What goes wrong

    async def hold(self, longest: float, each: float, faults: Counter[str]) -> None:
        """Let the network hold back what is sent, and deliver it in order, or never."""
        while True:
            await asyncio.sleep(self._dice.expovariate(1 / each))
            if self._writer is None:
                continue
            faults["connections held back"] += 1
            held = self._held = list[bytes]()
            connection = self._writer
            try:
                await asyncio.sleep(self._dice.uniform(1, longest))
            finally:
                self._held = None
            with contextlib.suppress(ConnectionError):
                if self._writer is connection and self._dice.random() < 0.7:
                    await self.send(held)
                elif self._writer is connection:
                    connection.close()

    async def gaps(self, longest: float, each: float, faults: Counter[str]) -> None:
        """Lose the connection now and then, half of the times with its UDP, and set the clock."""
        try:
            while True:
                await asyncio.sleep(self._dice.expovariate(1 / each))
                seconds = self._dice.choice((1, 3, 10, self._dice.uniform(1, longest), self._dice.uniform(1, longest)))
                jammed = self._dice.random() < 0.5
                faults["gaps, jammed" if jammed else "gaps"] += 1
                self.lose = 1_000_000 if jammed else self.lose
                if self._dice.random() < 0.2:
                    faults["clocks set"] += 1
                    self.clock = self._dice.choice((0, 1, -1)) * self._dice.uniform(60, 400 * 86400)
                await self.gap(seconds)
                self.lose = 0
        finally:
            self.lose = 0
            self.rejoin()

    async def mumble(self, each: float, faults: Counter[str]) -> None:
        """Lose answers over UDP, cut them off, or give them late."""
        try:
            while True:
                await asyncio.sleep(self._dice.expovariate(1 / each))
                self.disturbed = True
                what = self._dice.choice(("lose", "truncate", "delay"))
                faults[f"answers: {what}"] += 1
                if self.lose == 0:
                    setattr(self, what, self._dice.randint(1, 3))
                await asyncio.sleep(self._dice.uniform(1, 10))
                self.delay = self.truncate = 0
        finally:
            self.delay = self.truncate = 0

    # What is true

    @property
    def state(self) -> str | None:
        """The state by its history; None before anything."""
        for each in reversed(self.happened):
            if each.alarm:
                return "triggered"
            if each.arming:
                return each.arming
        return None

    def due(self) -> Counter[Key]:
        """Return what the receiver may have at most: each alarm, and a restore of each that was disarmed after it."""
        found: Counter[Key] = Counter()
        active: list[tuple[str, str | None]] = []
        for each in self.happened:
            if each.alarm:
                found["AL", *each.alarm] += 1
                active.append(each.alarm)
            elif each.arming == "disarmed":
                found.update(("RE", *alarm) for alarm in active)
                active.clear()
        return found

    def active(self) -> set[tuple[str, str | None]]:
        """Return the alarms since the last disarm."""
        found: set[tuple[str, str | None]] = set()
        for each in self.happened:
            found = set() if each.arming == "disarmed" else found | ({each.alarm} if each.alarm else set())
        return found


def _alarm(alert: Alert) -> tuple[str, str | None] | None:
    if alert.type == AlertType.PANEL_SOS:
        return CODES["sos"], None
    if alert.type != AlertType.ALARM:
        return None
    kind = "tamper" if alert.state == SensorCode.TAMPER else _TYPES[alert.event]
    return CODES[kind], str(alert.event)


def _arming(alert: Alert) -> str | None:
    return _ARMINGS.get(cast("StateCode", alert.event)) if alert.type == AlertType.STATE_CHANGE else None


def rules() -> Iterator[dict[str, Any]]:
    """Return the rules of the configuration; the one without a type comes last."""
    for name, code in CODES.items():
        about: dict[str, Any] = {"event": name} if name in ("sos", "tamper") else {"event": "alarm"}
        if name and len(about) == 1 and about["event"] == "alarm":
            about["sensor_type"] = name
        restore = {"restore_on": "disarmed"} if name else {}
        yield {**about, **restore, "transmitter": "home", "event_code": code, "section_text": "{guid}"}
