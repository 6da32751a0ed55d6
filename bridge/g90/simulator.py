"""A simulated panel on real sockets, for `simulate panel`, the demo and tests.

It connects to a server and answers UDP.

It reports each event as a panel does, as 0x22 and as 0x21, and keeps a history of them. It can split its bytes or send
them in one piece, be cut off, have a wrong clock, and answer late, in part or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from bridge.g90.wire.answers import AlertFlag, history_data, page_data, switched
from bridge.g90.wire.commands import (
    GET_ALERT_FLAGS,
    GET_HISTORY,
    GET_HOST_INFO,
    GET_RELAYS,
    GET_SENSORS,
    GET_STATUS,
    SET_STATUS,
    SWITCH_RELAY,
    body,
    local_response,
    unwrap,
)
from bridge.g90.wire.constants import AlertType, ArmCode, NoticeKind, SensorCode, SensorType, Source, StateCode
from bridge.g90.wire.events import Alert, Form, Notice, Report
from bridge.g90.wire.frames import FrameBuffer, MessageError
from bridge.g90.wire.messages import (
    PING,
    CommandRequest,
    CommandResponse,
    Discovery,
    FromCloud,
    Hello,
    build_hello,
    build_report,
    build_response,
    parse_from_cloud,
)
from bridge.g90.wire.reports import load_json

_log = logging.getLogger(__name__)
_CHUNK: Final = 64 * 1024
_MOST_RECORDS: Final = 100
_LISTS: Final = (GET_SENSORS, GET_RELAYS, GET_HISTORY)
_OUTPUT: Final = 128
_POINT: Final = re.compile(rb"AT\^IWT=1,78=([0-9.]+)&[0-9.]+&([0-9]+),IWT")
_STATES: Final[dict[ArmCode, StateCode]] = {
    code: StateCode[code.name] for code in ArmCode if code is not ArmCode.ALARMED
}


@dataclass(frozen=True, slots=True)
class SimulatedSensor:
    index: int
    name: str
    type: int = SensorType.DOOR
    nodes: int = 1
    flags: int = 33

    @property
    def record(self) -> list[object]:
        return [self.name, self.index, 0, int(self.type), 0, 0, self.flags, 0, 0, 16, self.nodes, 0, ""]


class PanelSimulator:
    """One simulated panel. `cloud`: the server to connect to; `local`: the UDP address to answer on.

    Either may be None.

    `interval`: seconds between hellos and between pings. `chop`: the most bytes of a write; `glue`: write all messages
    of an event, and a ping, in one piece.
    """

    clock = 0.0
    """How far the panel's clock is ahead, in seconds."""
    delay = 0.0
    """Seconds until it answers over UDP."""
    lose = 0
    """How many of the next requests over UDP get no answer."""
    truncate = 0
    """How many of the next pages are cut off."""

    def __init__(
        self,
        guid: str = "GB7F20C14D05A91",
        *,
        cloud: tuple[str, int] | None = None,
        local: tuple[str, int] | None = None,
        sensors: Sequence[SimulatedSensor] = (),
        relays: Sequence[SimulatedSensor] = (),
        interval: float = 60.0,
        chop: int | None = None,
        glue: bool = False,
    ) -> None:
        self.guid = guid
        self.cloud = cloud
        self.local = local
        self.sensors = {sensor.index: sensor for sensor in sensors}
        self.relays = {relay.index: replace(relay, type=_OUTPUT) for relay in relays}
        self.switched_on: set[tuple[int, int]] = set()
        """Index and channel of the relays that are on."""
        self.arm_state = ArmCode.DISARMED
        self.history: deque[Alert] = deque(maxlen=_MOST_RECORDS)
        """Newest first."""
        self.flags = AlertFlag(1023)
        self._back = asyncio.Event()
        self._back.set()
        self.received: deque[FromCloud] = deque(maxlen=100)
        self.answered = asyncio.Event()
        """Set once the server sent a message on the current connection."""
        self.listening = asyncio.Event()
        """Set once it answers UDP on `local`."""
        self._interval = interval
        self._chop = chop
        self._glue = glue
        self._writer: asyncio.StreamWriter | None = None
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Run until cancelled; reconnect a second after a connection is lost."""
        async with asyncio.TaskGroup() as tasks:
            if self.local:
                tasks.create_task(self._answer_locally(self.local))
            while True:
                await self._back.wait()
                if self.cloud:
                    await self._one_connection(self.cloud)
                await asyncio.sleep(1)

    def cut(self) -> None:
        """Lose the connection, and what is reported, until `rejoin`."""
        self._back.clear()
        self.answered.clear()
        if self._writer:
            self._writer.close()

    def rejoin(self) -> None:
        """Connect again after `cut`."""
        self._back.set()

    async def gap(self, seconds: float) -> None:
        self.cut()
        await asyncio.sleep(seconds)
        self.rejoin()

    async def arm(self, state: ArmCode) -> None:
        self.arm_state = state
        await self.report(
            Notice(kind=NoticeKind.ARM_DISARM, value=state),
            self._alert(AlertType.STATE_CHANGE, _STATES[state]),
        )

    async def panel_state(self, state: StateCode) -> None:
        """Report the state of mains, battery or Wi-Fi."""
        await self.report(self._alert(AlertType.STATE_CHANGE, state))

    async def activity(self, index: int, state: int = SensorCode.OPEN, source: int | None = None) -> None:
        """Report activity of a sensor. `state`: a `SensorCode`, or a code of the table for `source`."""
        name = self._sensor(index).name
        opens = state == SensorCode.OPEN and source is None
        notices = [Notice(kind=NoticeKind.SENSOR_ACTIVITY, sensor=index, name=name)] if opens else []
        await self.report(*notices, self._alert(AlertType.SENSOR_ACTIVITY, index, state, source))

    async def alarm(self, index: int, state: int = SensorCode.ALARM, source: int | None = None) -> None:
        """Report an alarm of a sensor, or its tamper (`SensorCode.TAMPER`)."""
        self.arm_state = ArmCode.ALARMED
        await self.report(
            Notice(kind=NoticeKind.ARM_DISARM, value=ArmCode.ALARMED),
            self._alert(AlertType.ALARM, index, state, source),
        )

    async def alarmed(self) -> None:
        """Report that the panel is in alarm, without a reason."""
        self.arm_state = ArmCode.ALARMED
        await self.report(Notice(kind=NoticeKind.ARM_DISARM, value=ArmCode.ALARMED))

    async def sos(self) -> None:
        await self.report(self._alert(AlertType.PANEL_SOS, 0, source=Source.PANEL))

    async def report(self, *reports: Report) -> None:
        """Send reports, an alert as JSON and as a status change. Raises ConnectionError if not connected.

        While the connection is `cut`, they are in the history alone.
        """
        self.history.extendleft(report for report in reports if isinstance(report, Alert))
        if not self._back.is_set():
            return
        messages = [build_report(report, as_json=True) for report in reports]
        messages += [build_report(report, as_json=False) for report in reports if isinstance(report, Alert)]
        await self.send([b"".join([*messages, PING])] if self._glue else messages)

    async def send(self, messages: Sequence[bytes]) -> None:
        """Send bytes, in pieces of `chop` bytes. Raises `ConnectionError` if not connected."""
        async with self._sending:
            writer = self._writer
            if writer is None:
                raise ConnectionError("the simulated panel is not connected")
            for message in messages:
                step = self._chop or len(message)
                for start in range(0, len(message), step):
                    writer.write(message[start : start + step])
                    await writer.drain()
                    await asyncio.sleep(0)

    def _sensor(self, index: int) -> SimulatedSensor:
        return self.sensors.get(index) or SimulatedSensor(index, f"Sensor {index}")

    def _alert(self, kind: AlertType, event: int, state: int = 0, source: int | None = None) -> Alert:
        about_sensor = kind in (AlertType.ALARM, AlertType.SENSOR_ACTIVITY)
        sensor = self._sensor(event) if about_sensor else None
        default = Source.SENSOR if about_sensor else Source.PANEL
        return Alert(
            form=Form.ALERT,
            type=kind,
            event=event,
            state=state,
            source=default if source is None else source,
            sensor_type=sensor.type if sensor else None,
            name=sensor.name if sensor else "",
            guid=self.guid,
            time=int(time.time() + self.clock),
        )

    async def _one_connection(self, cloud: tuple[str, int]) -> None:
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(*cloud)
        except (OSError, TimeoutError) as error:
            _log.warning("cannot connect to %s:%d: %s", *cloud, error or "timed out")
            return
        self._writer = writer
        beat = asyncio.create_task(self._beat())
        try:
            await self._listen(reader)
        except (OSError, MessageError) as error:
            _log.warning("connection to %s:%d lost: %s", *cloud, error)
        finally:
            self._writer = None
            self.answered.clear()
            writer.close()
            beat.cancel()
            await asyncio.wait([beat])

    async def _beat(self) -> None:
        """Send a discovery, then hellos and pings while the connection lasts."""
        with contextlib.suppress(OSError):
            await self.send([build_hello(Discovery(self.guid, "206"))])
            while True:
                await self.send([build_hello(Hello(self.guid, "206")), PING])
                await asyncio.sleep(self._interval)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        frames = FrameBuffer()
        while data := await reader.read(_CHUNK):
            frames.feed(data)
            while frame := frames.take():
                message = parse_from_cloud(frame)
                self.received.append(message)
                self.answered.set()
                if isinstance(message, CommandRequest):
                    await self._respond(message)

    async def _respond(self, request: CommandRequest) -> None:
        arming = request.code == SET_STATUS
        data = await self._do(request.code, load_json(request.body) if request.body else None)
        text = b"fail" if data is None else body(request.code, data)
        await self.send([build_response(CommandResponse(request.sequence, request.code, text))])
        if arming and data is not None:
            await self.arm(self.arm_state)

    async def _do(self, code: int, request: object) -> list[object] | None:
        """Carry out a command; return the data of the response, None if it fails."""
        plain: dict[int, list[object]] = {
            GET_STATUS: [int(self.arm_state), "", "Simulated panel", "206", "206"],
            GET_ALERT_FLAGS: [int(self.flags)],
            GET_HOST_INFO: [self.guid, "Simulated panel", "1.2", "1.1", "206", "206", 3, 3, 0, 2, "4100", 70, 90],
        }
        match request:
            case [_, [1 | 2 | 3 as state]] if code == SET_STATUS:
                self.arm_state = ArmCode(state)
                return [state]
            case [_, [int(first), int(last)]] if code in _LISTS:
                return self._page(code, first, last)
            case [_, list(data)] if code == SWITCH_RELAY:
                return self._switch(data)
        return plain.get(code)

    def _page(self, code: int, first: int, last: int) -> list[object]:
        lists = {GET_SENSORS: self.sensors, GET_RELAYS: self.relays}
        every: list[object] = [each.record for each in lists.get(code, {}).values()]
        if code == GET_HISTORY:
            every = [history_data(alert) for alert in self.history]
        found = page_data(every, first, last)
        if self.truncate and len(found) > 1:
            self.truncate -= 1
            found.pop()
        return found

    def _switch(self, data: object) -> list[object] | None:
        index, channel, on = switched(data)
        if index not in self.relays:
            return None
        (self.switched_on.add if on else self.switched_on.discard)((index, channel))
        return []

    async def _answer_locally(self, local: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        requests: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue(100)
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(requests), local_addr=local)
        self.local = transport.get_extra_info("sockname")[:2]
        self.listening.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    request, sender = await requests.get()
                    await asyncio.sleep(self.delay)
                    with contextlib.suppress(MessageError):
                        answer = await self._local(request)
                        if self.lose:
                            self.lose -= 1
                        elif answer:
                            transport.sendto(answer, sender)
                        tasks.create_task(self._after_local(request))
        finally:
            transport.close()

    async def _local(self, request: bytes) -> bytes | None:
        """Return the response to one datagram; None for one that points the panel at a server."""
        if found := _POINT.search(request):
            self.cloud = (found[1].decode(), int(found[2]))
            if self._writer:
                self._writer.close()
            return None
        match load_json(unwrap(request)):
            case [int(code), _, parameters]:
                data = await self._do(code, parameters)
                return b"ISTARTfailIEND\0" if data is None else local_response(code, data)
        return None

    async def _after_local(self, request: bytes) -> None:
        if request.startswith(b"ISTART[%d," % SET_STATUS) and self.arm_state in _STATES:
            with contextlib.suppress(ConnectionError):
                await self.arm(self.arm_state)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, requests: asyncio.Queue[tuple[bytes, tuple[str, int]]]) -> None:
        self._requests = requests

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._requests.put_nowait((data, cast("tuple[str, int]", addr[:2])))
