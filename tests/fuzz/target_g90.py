"""What panels send: the stream of the cloud protocol, what a cloud server sends, answers to local commands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from fuzz.target import MARK, Target

from bridge.common.clock import Clock
from bridge.g90.connections import Connections
from bridge.g90.control import PanelControl, PanelExchange
from bridge.g90.control_cloud import CloudControl
from bridge.g90.state.model import (
    Elapsed,
    FlagsRead,
    Heard,
    HistoryRead,
    InfoRead,
    Input,
    Now,
    PanelState,
    RelaysRead,
    SensorsRead,
    Silent,
    StatusRead,
    Step,
)
from bridge.g90.state.reducer import reduce
from bridge.g90.state.storage import from_json, to_json
from bridge.g90.wire.answers import history_record
from bridge.g90.wire.commands import GET_HISTORY, GET_RELAYS, PanelCommandError, answer_data, unwrap
from bridge.g90.wire.events import Alert, EventType, Notice
from bridge.g90.wire.frames import FrameBuffer, FrameError, MessageError
from bridge.g90.wire.messages import CommandResponse, Discovery, Hello, parse_from_cloud
from bridge.g90.wire.session import PanelSession, ReceivedMessage, Unreadable
from bridge.panels.events import _command
from bridge.panels.forwarding import Forwarded, Rule, forward
from bridge.panels.topics import PanelTopics, state_payloads

GUID = "GB7F20C14D05A91"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = Now(1000.0, NOW)
LATER = Now(1060.0, NOW + timedelta(minutes=1))
_RULES = tuple(
    Rule(event=event, transmitter="home", event_code="BA", restore_on=EventType.DISARMED, section_text="{panel} {name}")
    for event in EventType
)
_LONGEST_LINE = 400
_TOPICS = PanelTopics("sosbridge")
_CLOCK = Clock()
_LOOP = asyncio.new_event_loop()


def stream(data: bytes) -> str:
    """Read a panel's stream, however it is cut, and take what it reports all the way to alarms."""
    random = Random(data)
    readings, end = _readings([data])
    pieces = _pieces(data, random)
    assert _readings(pieces) == (readings, end), "the same stream, cut in other places, reads differently"
    life = _Life()
    for reading in readings:
        life.take(reading)
    life.end()
    return " ".join([*(_kind(reading) for reading in readings[:4]), *life.events[:3], end])


def _readings(pieces: Sequence[bytes]) -> tuple[list[ReceivedMessage], str]:
    session = PanelSession("192.0.2.10", 5678, lambda: 1767225600)
    found: list[ReceivedMessage] = []
    try:
        for piece in pieces:
            session.feed(piece)
            while reading := session.read():
                found.append(reading)
    except FrameError as error:
        return found, str(error)
    return found, "open"


def _pieces(data: bytes, random: Random) -> list[bytes]:
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.randrange(5)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _kind(reading: ReceivedMessage) -> str:
    message = reading.message
    return message.reason.split(":")[0] if isinstance(message, Unreadable) else type(message).__name__


class _Life:
    """A panel that its reports change, with the rules that make alarms of its events."""

    def __init__(self) -> None:
        self.state = PanelState(guid=GUID, name="House")
        self.active: tuple[Forwarded, ...] = ()
        self.events: list[str] = []

    def take(self, reading: ReceivedMessage) -> None:
        match reading.message:
            case Alert() | Notice() as report:
                try:
                    self._step(reduce(self.state, report, MOMENT))
                except MessageError as error:
                    _line(error)
                self._step(reduce(self.state, Elapsed(), LATER))
            case Hello() | Discovery() as hello:
                assert set(hello.guid) <= set("-_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
                self._step(reduce(self.state, Heard("192.0.2.1", hello.firmware), MOMENT))
            case Unreadable(reason):
                _line(reason)
            case _:
                self._step(reduce(self.state, Silent(), MOMENT))

    def _step(self, step: Step) -> None:
        self.state = step.state
        for event in step.events:
            self.events.append(event.type)
            json.dumps(event.as_json()).encode()
            taken = forward(_RULES, self.active, event, step.state.name)
            for sending in taken.sendings:
                assert _command(sending, _CLOCK).alarm is not None
            self.active = taken.active

    def end(self) -> None:
        """The state can be stored, and published."""
        if self.state.link.last_seen or self.state.ledger or self.state.sensors:
            link = replace(self.state.link, upstream_connected=None)
            partition = replace(self.state.partition, actor=None)
            kept = replace(self.state, link=link, partition=partition)  # without what counts for this run only
            assert _stored(self.state) == kept
            for leaf, payload in state_payloads(self.state).items():
                assert _TOPICS.of(GUID, leaf).isprintable(), leaf
                payload.encode()


def _stored(state: PanelState) -> PanelState:
    return from_json(json.loads(json.dumps(to_json(state, MOMENT))), MOMENT)


def _line(text: object) -> None:
    """Whatever a peer sent, the log gets one bounded line of it."""
    assert str(text).isprintable(), f"not one line: {text!r}"
    assert len(str(text)) <= _LONGEST_LINE, f"a line of {len(str(text))} characters"


def cloud(data: bytes) -> str:
    """Read what a cloud server sends."""
    buffer, found = FrameBuffer(), []
    buffer.feed(data)
    try:
        while frame := buffer.take():
            try:
                found.append(type(parse_from_cloud(frame)).__name__)
            except MessageError as error:
                _line(error)
                found.append(str(error).split(":")[0])
    except FrameError as error:
        _line(error)
        found.append(str(error).split(":")[0])
    return " ".join(found)


class _Answers(PanelControl):
    """A control whose panel answers everything with the same datagram."""

    def __init__(self, datagram: bytes) -> None:
        super().__init__("192.0.2.1:12901", timeout=60, retries=0)
        self._datagram = datagram

    @asynccontextmanager
    async def _exchange(self, code: int, data: list[object] | None) -> AsyncIterator[PanelExchange]:
        found = answer_data(code, unwrap(self._datagram))
        if found is None:
            raise PanelCommandError("the answer to another command")
        yield _Given(found)


class _Given:
    def __init__(self, found: list[object]) -> None:
        self.answer: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()
        self.answer.set_result(found)

    async def send(self) -> None:
        pass


class _Wire(Connections):
    """A panel's connection whose every answer has the same body."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body

    def newest(self, guid: str) -> Any:  # noqa: ANN401 - this stands for a connection
        return self

    def write(self, data: bytes) -> None:
        self.responded(GUID, CommandResponse(*_request(data), self._body))


def _request(data: bytes) -> tuple[int, int]:
    buffer = FrameBuffer()
    buffer.feed(data)
    frame = buffer.take()
    assert frame is not None
    request = parse_from_cloud(frame)
    return request.sequence, request.code  # type: ignore[union-attr]  # what was written is a command


def local(data: bytes) -> str:
    """Take one datagram for the answer to everything that is asked, over UDP and over the connection."""
    return " ".join(_LOOP.run_until_complete(_ask(data)))


async def _ask(data: bytes) -> list[str]:
    found = []
    ways: tuple[PanelControl, ...] = (_Answers(data), CloudControl(GUID, _Wire(data[6:-5]), timeout=60))
    for control in ways:
        state = PanelState(guid=GUID)
        for ask in (control.status, control.host_info, control.sensors, control.disarm):
            try:
                answer = await ask()
            except (PanelCommandError, MessageError) as error:
                _line(error)
                found.append(str(error).split(":")[0])
            else:
                found.append(type(answer).__name__)
        found.append(await _told(control, state))
    return found


async def _history(control: PanelControl) -> Input:
    found = await control.page(GET_HISTORY, 1)
    return HistoryRead(tuple(history_record(each) for each in found.records), MOMENT.steady)


async def _sensors(control: PanelControl) -> Input:
    return SensorsRead(await control.records())


async def _relays(control: PanelControl) -> Input:
    return RelaysRead(await control.records(GET_RELAYS))


async def _flags(control: PanelControl) -> Input:
    return FlagsRead(await control.alert_flags())


async def _info(control: PanelControl) -> Input:
    return InfoRead(await control.host_info())


async def _status(control: PanelControl) -> Input:
    return StatusRead(await control.status(), MOMENT.steady)


async def _told(control: PanelControl, state: PanelState) -> str:
    """Take answers into the state, as far as they can be read."""
    try:
        for read in (_history, _sensors, _relays, _flags, _info, _status):
            state = reduce(state, await read(control), MOMENT).state
    except (PanelCommandError, MessageError) as error:
        _line(error)
    json.dumps(state_payloads(state)).encode()
    assert _stored(state) == state
    return f"{len(state.sensors)} sensors"


def _one_frame(data: bytes, random: Random) -> bytes:
    """Make the length true of the first frame, or of all bytes as one."""
    length = random.choice((len(data), max(8, len(data) - 8), len(data)))
    return data[:4] + length.to_bytes(4, "little") + data[8:]


def _marked(data: bytes, _: Random) -> bytes:
    return b"ISTART" + data.removeprefix(b"ISTART").removesuffix(b"IEND\0") + b"IEND\0"


_FRAMES = (
    b"\x01\x10\x00\x00\x08\x00\x00\x00",
    b"\x01\x10\x00\x20",
    b"\x21\x10\x00\x20",
    b"\x22\x10\x00\x20",
    b"\x01\x30\x00\x20",
    b"\x01\x00\x00\x20",
    b"\x01\x00\x00\x00",
)
_JSON = (b"[170,[", b"[208,[", b"[1,[", b"[5,[", b"[6,[", b"[4,[", b"]]\0", b'"', b",", b"[", b"]", GUID.encode())
_ANSWERS = (
    b"[100,",
    b"[102,",
    b"[117,",
    b"[138,",
    b"[200,",
    b"[206,",
    b"[101]",
    b"fail",
    b"error",
    b"[[1,1,1],",
    b"ISTART",
    b"IEND\0",
    MARK.encode(),
)
TARGETS = (
    Target("g90-stream", stream, (*_FRAMES, *_JSON), _one_frame),
    Target(
        "g90-cloud",
        cloud,
        (b"\x41\x20\x00\x10", b"\x63\x20\x00\x10", b"\x01\xd0\x00\x10", b"\x29\x20\x00\x10"),
        _one_frame,
    ),
    Target("g90-local", local, (*_ANSWERS, *_JSON[-5:]), _marked),
)
