"""Panels whose rules raise alarms: what they tell they tell again, until they know that the bridge has heard it.

A report has no answer, but a ping has one, and the bridge takes what comes on a connection in its order. So a panel
pings after its events. If the answer does not come, it connects anew and says the same again: the same events, at the
same time by its clock, perhaps in another form.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from chaos.ledger import Ledger, PanelAlarm, now
from chaos.network import Wire
from chaos.product import guid

from bridge.g90.wire.constants import AlertType, ArmCode, NoticeKind, SensorCode, SensorType, Source
from bridge.g90.wire.events import Alert, Form, Notice
from bridge.g90.wire.frames import FrameBuffer
from bridge.g90.wire.messages import PING, Hello, build_hello, build_report

_SENSORS = 20
_RESTS_S = 5.0
"""The forms of one event may lie two seconds apart; so long after it the next one of that sensor is surely another."""
_ANSWERS_WITHIN_S = 4.0
_AGAIN_S = 0.1
_MOST_AT_ONCE = 4
_ALARM = Notice(kind=NoticeKind.ARM_DISARM, value=ArmCode.ALARMED)
_KINDS = {
    "FA": (SensorType.SMOKE, AlertType.ALARM, SensorCode.ALARM),
    "PA": (SensorType.SOS_BUTTON, AlertType.ALARM, SensorCode.SOS),
    "BA": (SensorType.DOOR, AlertType.SENSOR_ACTIVITY, SensorCode.OPEN),
}
"""By the event code that its rule gives: the sensor, and what it does."""
_URGENT = ("FA", "PA")
"""The bridge takes smoke and SOS as urgent."""


@dataclass
class _Sensor:
    index: int
    code: str
    made: list[PanelAlarm] = field(default_factory=list)
    """What came of its last events."""
    opened: PanelAlarm | None = None
    typed: bool = False
    """The bridge knows what kind it is: an alarm that does not tell that does not wait for another form any more."""
    at: float = 0.0

    @property
    def ready(self) -> bool:
        rested = now() - self.at > _RESTS_S and all(alarm.ended for alarm in self.made)
        return rested or self.opened is not None


@dataclass
class _Event:
    sensor: _Sensor
    alert: Alert
    late: int
    """By how many seconds 0x21 is later than 0x22, in the panel's own eyes."""
    made: list[PanelAlarm]


class _Connection:
    """One connection to the bridge; `greeted`: it began with a hello."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, greeted: bool) -> None:
        self._reader = reader
        self.writer = writer
        self.greeted = greeted
        self._frames = FrameBuffer()

    async def pong(self) -> None:
        """Wait for the answer to a ping."""
        while True:
            while frame := self._frames.take():
                if frame.raw == PING:
                    return
            if not (data := await self._reader.read(4096)):
                raise ConnectionResetError("the bridge hung up")
            self._frames.feed(data)

    def end(self, dice: random.Random) -> None:
        """Hang up, in order or with a reset."""
        if dice.random() < 0.5:
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        self.writer.close()


class Panel:
    """One panel behind a wire of its own."""

    def __init__(self, name: str, wire: Wire, ledger: Ledger, dice: random.Random) -> None:
        self.name = name
        self.wire = wire
        self._ledger = ledger
        self._dice = dice
        self._sensors = [_Sensor(index, dice.choice(list(_KINDS))) for index in range(1, _SENSORS + 1)]
        self._number = 0
        self._connection: _Connection | None = None
        self._left: list[_Connection] = []

    async def load(self, rate: float, until: float) -> None:
        """Tell events, so many a second in the mean, and end when all are heard."""
        try:
            while now() < until:
                if events := self._happens():
                    await self._tell(events)
                await asyncio.sleep(self._dice.expovariate(rate / (1 + _MOST_AT_ONCE) * 2))
        finally:
            self._hang_up()

    def _happens(self) -> list[_Event]:
        ready = [sensor for sensor in self._sensors if sensor.ready]
        chosen = self._dice.sample(ready, min(len(ready), self._dice.randint(1, _MOST_AT_ONCE)))
        return [self._event(sensor) for sensor in chosen]

    def _event(self, sensor: _Sensor) -> _Event:
        kind, alert, state = _KINDS[sensor.code]
        subject = f"{sensor.code} {sensor.index}"
        if sensor.opened:
            made = [self._note(subject, sensor.opened)]
            name, state, sensor.opened = sensor.opened.reference, SensorCode.CLOSED, None
        else:
            sensor.made = []
            made = [self._note(subject, urgent=sensor.code in _URGENT)]
            name = made[0].reference
            if sensor.code == "PA":  # restored after a time: how much comes before that is not known here
                made.append(self._note(subject, made[0]))
                made[1].in_order = False
            elif sensor.code == "BA":
                sensor.opened = made[0]
        sensor.made += made
        sensor.at = now()
        told = Alert(
            form=Form.ALERT,
            type=alert,
            event=sensor.index,
            state=state,
            source=Source.SENSOR,
            sensor_type=kind,
            name=name,
            guid=guid(self.name),
            time=int(time.time()),
        )
        return _Event(sensor, told, self._dice.choice((0, 0, 1)), made)

    def _note(self, subject: str, restores: PanelAlarm | None = None, *, urgent: bool = False) -> PanelAlarm:
        self._number += 1
        return self._ledger.of_panel(self.name, self._number, subject, restores, urgent=urgent)

    async def _tell(self, events: Sequence[_Event]) -> None:
        """Tell events until the bridge has heard them, and now and then all of them once more."""
        for _ in range(2 if self._dice.random() < 0.1 else 1):
            while not await self._heard(events):
                self._hang_up()
                await asyncio.sleep(_AGAIN_S)
            for event in events:
                event.sensor.typed = True
                for alarm in event.made:
                    alarm.acknowledged = alarm.acknowledged or now()

    async def _heard(self, events: Sequence[_Event]) -> bool:
        for event in events:
            for alarm in event.made:
                alarm.tellings += 1
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                await self._say(events)
        except (OSError, TimeoutError):
            return False
        return True

    async def _say(self, events: Sequence[_Event]) -> None:
        connection = await self._connect()
        for segment in self._segments([*self._messages(events, connection), PING]):
            connection.writer.write(segment)
            await connection.writer.drain()
            await asyncio.sleep(self._dice.choice((0, 0, 0.01)))
        if self._dice.random() < 0.1:
            self._ledger.faults["panels: hung up before the answer"] += 1
            raise ConnectionAbortedError
        await connection.pong()

    async def _connect(self) -> _Connection:
        """Return the connection that there is, or a new one, which does not always end the one before."""
        if self._connection is not None and self._dice.random() < 0.1:
            self._ledger.faults["panels: one more connection"] += 1
            self._left.append(self._connection)
            self._connection = None
        if self._connection is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.wire.port)
            self._connection = _Connection(reader, writer, greeted=self._dice.random() < 0.8)
            if self._connection.greeted:
                writer.write(build_hello(Hello(guid(self.name), "206")))
        return self._connection

    def _messages(self, events: Sequence[_Event], connection: _Connection) -> list[bytes]:
        found: list[bytes] = []
        for event in events:
            if event.alert.type == AlertType.ALARM and self._dice.random() < 0.3:
                found.append(build_report(_ALARM, as_json=True))
            as_json = build_report(event.alert, as_json=True)
            later = (event.alert.time or 0) + event.late
            status = build_report(replace(event.alert, time=later), as_json=False)
            forms = [[as_json, status]]
            if connection.greeted:  # else only 0x22 says who tells it
                forms += [[status], [status, as_json], [status, as_json, status]]
            if event.sensor.typed:
                forms.append([as_json])
            found += self._dice.choice(forms)
        return found

    def _segments(self, messages: Sequence[bytes]) -> list[bytes]:
        """Return them one by one, in one piece, or cut anywhere."""
        whole = b"".join(messages)
        cuts = sorted(self._dice.sample(range(1, len(whole)), self._dice.randint(1, 8)))
        pieces = [whole[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        return self._dice.choice(([*messages], [whole], pieces))

    def _hang_up(self) -> None:
        for connection in (*self._left, *([self._connection] if self._connection else [])):
            with contextlib.suppress(OSError):
                connection.end(self._dice)
        self._left, self._connection = [], None
