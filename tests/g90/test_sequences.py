"""The same frames to pyg90alarm's `G90Alarm` and to our reducer: where they differ, the difference is named.

Both know the same sensor list and hear what a panel sends, forms in any order, then what its history holds.
"""

# ruff: noqa: ANN401 - the peer is not typed
from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from g90.test_reducer import START, arm, at
from pyg90alarm import G90Alarm
from pyg90alarm.cloud import G90CloudNotifications
from pyg90alarm.const import G90ArmDisarmTypes, G90Commands
from pyg90alarm.local.history import G90History
from pyg90alarm.local.paginated_result import G90PaginatedResponse
from support.g90 import GUID, HELLO, NEW_YEAR, alert, run

from bridge.g90.state.model import Elapsed, FlagsRead, HistoryRead, SensorsRead
from bridge.g90.state.reducer import reduce
from bridge.g90.wire.answers import AlertFlag, history_data
from bridge.g90.wire.commands import SensorRecord
from bridge.g90.wire.constants import AlertType, NoticeKind, SensorType, Source
from bridge.g90.wire.events import Alert, Form, Notice, PanelEvent, Report
from bridge.g90.wire.messages import build_report
from bridge.g90.wire.session import PanelSession

A, S, C, P = AlertType.ALARM, AlertType.SENSOR_ACTIVITY, AlertType.STATE_CHANGE, AlertType.PANEL_SOS
DOOR, MOTION, WINDOW, REMOTE, PANIC, KEYPAD, BELL, SMOKE = 1, 2, 3, 4, 5, 11, 12, 9
SENSORS = {
    DOOR: ("Front door", SensorType.DOOR),
    MOTION: ("Hall", SensorType.MOTION),
    WINDOW: ("Window", SensorType.WIRED),
    REMOTE: ("Key fob", SensorType.REMOTE),
    PANIC: ("Panic", SensorType.SOS_BUTTON),
    SMOKE: ("Kitchen smoke", SensorType.SMOKE),
    KEYPAD: ("Keypad", SensorType.RFID),
    BELL: ("Bell", SensorType.DOORBELL),
}
FLAGS = AlertFlag(1023)
RECORDS = tuple(SensorRecord(index, name, kind, flags=1) for index, (name, kind) in SENSORS.items())


@dataclass(frozen=True)
class Sent:
    """Something that happened: at a second, in the forms in which the panel sends it; `lost`: in its history alone."""

    second: float
    what: Report
    forms: str = "js"
    """j: 0x22, s: 0x21, in that order."""
    lost: bool = False


@dataclass
class Outcome:
    """What somebody made of a sequence."""

    armings: list[str] = field(default_factory=list)
    alarms: set[int | None] = field(default_factory=set)
    tampered: set[int] = field(default_factory=set)
    batteries: set[int] = field(default_factory=set)
    on: set[int] = field(default_factory=set)
    open_while_arming: set[int] = field(default_factory=set)
    buttons: list[tuple[int, str]] = field(default_factory=list)
    keypad: list[tuple[int, str]] = field(default_factory=list)

    def armed(self, arming: str) -> None:
        if not self.armings or self.armings[-1] != arming:
            self.armings.append(arming)


def state(second: float, code: int, forms: str = "js", *, lost: bool = False) -> Sent:
    return Sent(second, told(C, code, second, source=Source.PANEL), forms, lost)


def told(kind: AlertType, event: int, second: float, **more: Any) -> Alert:
    name, sensor_type = SENSORS.get(event, ("", None)) if kind in (A, S) else ("", None)
    known = {"source": Source.SENSOR, "name": name, "sensor_type": sensor_type, "guid": GUID}
    return alert(Form.ALERT, kind, event, **{**known, "time": NEW_YEAR + int(second), **more})


def does(second: float, sensor: int, code: int, forms: str = "js", *, lost: bool = False, **more: Any) -> Sent:
    return Sent(second, told(S, sensor, second, state=code, **more), forms, lost)


def alarms(second: float, sensor: int, code: int = 254, forms: str = "js", *, lost: bool = False, **more: Any) -> Sent:
    return Sent(second, told(A, sensor, second, state=code, **more), forms, lost)


def noted(second: float, sensor: int, kind: NoticeKind = NoticeKind.SENSOR_ACTIVITY) -> Sent:
    return Sent(second, Notice(kind=kind, sensor=sensor, name=SENSORS[sensor][0]), "j")


def arms(second: float, value: int) -> Sent:
    return Sent(second, arm(value), "j")


def sos(second: float, forms: str = "js") -> Sent:
    return Sent(second, told(P, 0, second, source=Source.PANEL), forms)


MOTIONLESS = "it takes state 0 of an infrared sensor for a door that closes; it is motion"
UNHEARD = "it knows no low battery of an infrared sensor"
RUNG = "it takes the doorbell for a door that stays open"
TAMPER = "it reports every tamper as an alarm; ours is an event `tamper`, which rules take by that name"
TAMPERED_ON = "it turns a sensor on that is only tampered with"
BUTTON_ON = "it turns remotes, keypads and panic buttons on; they have no state"
REPEATED = "it takes each form of a press for a press"
BEFORE_ARMING = "it clears the mark at the arming that the report is about"
ALARMED = "ALARMED without a reason is an alarm to us alone"
OFF_LATER = "it turns a sensor off by time; to us an alarm ends with the disarm"
REMOTE_STATE = "0x21 has the type and not the source, and it takes button 3 for a tamper"

SEQUENCES: dict[str, tuple[list[Sent], dict[str, str]]] = {
    "armed away in all forms": ([arms(0, 1), state(0.2, 4)], {}),
    "armed home by notice alone": ([arms(0, 2)], {}),
    "armed and disarmed": ([arms(0, 1), state(0.1, 4), arms(30, 3), state(30.1, 3)], {}),
    "armed, disarmed and armed within seconds": (
        [state(0, 4, "s"), state(2, 3, "s"), arms(4, 1)],
        {},
    ),
    "a door opens and closes": ([does(0, DOOR, 1), does(5, DOOR, 0)], {}),
    "a door opens, by notice and both alerts": ([noted(0, DOOR), does(0.1, DOOR, 1)], {}),
    "a door opens by notice alone": ([noted(0, DOOR)], {}),
    "a wired window opens": ([noted(0, WINDOW)], {}),
    "motion by notice": ([noted(0, MOTION)], {}),
    "motion by alert": ([does(0, MOTION, 0, source=Source.INFRARED)], {"on": MOTIONLESS}),
    "a smoke alarm": ([alarms(0, SMOKE)], {}),
    "a smoke alarm, 0x21 first": ([alarms(0, SMOKE, forms="sj")], {}),
    "a smoke alarm with ALARMED before": ([arms(0, 4), alarms(0.1, SMOKE)], {}),
    "a smoke alarm with ALARMED after": ([alarms(0, SMOKE), arms(0.1, 4)], {}),
    "a burglary, disarmed": (
        [arms(0, 1), state(0.1, 4), noted(60, DOOR), arms(60.1, 4), alarms(60.2, DOOR), arms(90, 3), state(90.1, 3)],
        {},
    ),
    "two sensors alarm": ([alarms(0, DOOR), alarms(3, SMOKE)], {}),
    "ALARMED alone": ([arms(0, 4)], {"alarms": ALARMED}),
    "a tamper": ([alarms(0, DOOR, 3)], {"alarms": TAMPER, "on": TAMPERED_ON}),
    "a tamper, disarmed": (
        [alarms(0, DOOR, 3), arms(20, 3), state(20.1, 3)],
        {"alarms": TAMPER, "on": TAMPERED_ON},
    ),
    "an infrared tamper": (
        [alarms(0, MOTION, 1, source=Source.INFRARED)],
        {"alarms": TAMPER, "on": TAMPERED_ON},
    ),
    "a low battery": ([does(0, DOOR, 4)], {}),
    "a low battery and then an opening": ([does(0, DOOR, 4), does(60, DOOR, 1)], {}),
    "an infrared low battery": ([does(0, MOTION, 2, source=Source.INFRARED)], {"batteries": UNHEARD}),
    "SOS on the panel": ([sos(0)], {"alarms": "it reports an SOS on the panel as sensor 0"}),
    "SOS by a remote": (
        [alarms(0, REMOTE, 3, source=Source.REMOTE)],
        {"on": BUTTON_ON, "tampered": REMOTE_STATE, "buttons": "an SOS is no button"},
    ),
    "SOS by a panic button": ([alarms(0, PANIC, 2)], {"on": BUTTON_ON}),
    "a remote disarms": (
        [does(0, REMOTE, 2, source=Source.REMOTE), arms(0.2, 3), state(0.3, 3)],
        {"on": BUTTON_ON, "buttons": REPEATED},
    ),
    "a remote's button once": ([does(0, REMOTE, 1, "j", source=Source.REMOTE)], {"on": BUTTON_ON}),
    "a keypad arms": (
        [does(0, KEYPAD, 0, source=Source.RFID), arms(0.2, 1), state(0.3, 4)],
        {"on": BUTTON_ON, "keypad": REPEATED},
    ),
    "a keypad's card": ([does(0, KEYPAD, 6, "s", source=Source.RFID)], {"on": BUTTON_ON}),
    "a keypad's low battery": ([does(0, KEYPAD, 5, "j", source=Source.RFID)], {"keypad": "a low battery is no press"}),
    "a doorbell": ([does(0, BELL, 0, source=Source.DOORBELL)], {"on": RUNG}),
    "a door open while arming": (
        [noted(0, DOOR, NoticeKind.DOOR_OPEN_WHEN_ARMING), arms(30, 1), state(30.1, 4)],
        {"open_while_arming": BEFORE_ARMING},
    ),
    "a door open while arming, disarmed": (
        [noted(0, DOOR, NoticeKind.DOOR_OPEN_WHEN_ARMING), arms(30, 1), arms(60, 3)],
        {},
    ),
    "mains lost and back": ([state(0, 1), state(60, 2)], {}),
    "a gap with an alarm": ([state(0, 4), alarms(60, DOOR, lost=True)], {}),
    "a gap with an arming": ([state(0, 3), state(60, 5, lost=True)], {}),
    "a gap with an opening": ([state(0, 3), does(60, DOOR, 1, lost=True)], {}),
    "a gap with an alarm that was disarmed": (
        [state(0, 4), alarms(60, SMOKE, lost=True), state(70, 3, lost=True)],
        {"on": OFF_LATER},
    ),
    "a gap, then reports": (
        [state(0, 4), alarms(60, SMOKE, lost=True), state(70, 3)],
        {"on": OFF_LATER},
    ),
}


class Peer(G90Alarm):
    """`G90Alarm` whose panel answers from memory."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 1)
        self.out = Outcome()
        self.cloud = G90CloudNotifications(lambda: self, "127.0.0.1", 0, "127.0.0.1", 5678)
        wire: Any = Wire()
        self.cloud.connection_made(wire)

    async def command(self, code: Any, data: Any = None) -> Any:
        assert (code, data) == (G90Commands.GETNOTICEFLAG, None)
        return [int(FLAGS)]

    async def paginated_result(self, code: Any, start: int = 1, end: int | None = None) -> Any:
        assert code == G90Commands.GETSENSORLIST
        for place, (index, (name, kind)) in enumerate(SENSORS.items()):
            record: Any = [name, index, 0, int(kind), 0, 0, 1, 0, 0, 16, 1, 0, ""]
            yield G90PaginatedResponse(place, record)

    def listen_to_itself(self) -> None:
        names = {G90ArmDisarmTypes.ARM_AWAY: "armed_away", G90ArmDisarmTypes.ARM_HOME: "armed_home"}
        names[G90ArmDisarmTypes.DISARM] = "disarmed"
        self.armdisarm_callback = lambda state: self.out.armed(names[state]) if state in names else None
        self.alarm_callback = lambda index, _name, _extra: self.out.alarms.add(index)
        self.remote_button_press_callback = lambda i, _, b: self.out.buttons.append((i, b.name.lower()))
        self.rfid_keypad_callback = lambda i, _, b: self.out.keypad.append((i, b.name.lower()))

    async def outcome(self) -> Outcome:
        for sensor in await self.sensors:
            marks = (
                (sensor.occupancy, self.out.on),
                (sensor.is_tampered, self.out.tampered),
                (sensor.is_low_battery, self.out.batteries),
                (sensor.is_door_open_when_arming, self.out.open_while_arming),
            )
            for mark, indexes in marks:
                if mark:
                    indexes.add(sensor.index)
        return self.out


class Wire:
    """A transport that swallows what is written."""

    def get_extra_info(self, _: str) -> tuple[str, int]:
        return ("127.0.0.1", 1)

    def write(self, _: bytes) -> None:
        pass


def frames(sent: Sent) -> list[bytes]:
    if sent.lost:
        return []
    if isinstance(sent.what, Notice):
        return [build_report(sent.what, as_json=True)]
    return [build_report(sent.what, as_json=form == "j") for form in sent.forms]


def history(sequence: list[Sent]) -> tuple[Alert, ...]:
    """Return the panel's history, newest first."""
    happened = [sent.what for sent in sequence if isinstance(sent.what, Alert)]
    return tuple(replace(what, form=Form.HISTORY, sensor_type=None, guid=None) for what in reversed(happened))


async def by_the_peer(sequence: list[Sent]) -> Outcome:
    peer = Peer()
    peer.listen_to_itself()
    await peer.get_sensors()
    peer.cloud.data_received(HELLO)
    for sent in sequence:
        for frame in frames(sent):
            peer.cloud.data_received(frame)
            await settled()
    # What it does itself each five seconds: the records that are newer than what it saw last.
    for sent, record in zip(
        [s for s in sequence if isinstance(s.what, Alert)], reversed(history(sequence)), strict=True
    ):
        if sent.lost:
            peer.cloud.handle_alert(G90History(*history_data(record)).as_device_alert(), verify_device_id=False)
            await settled()
    return await peer.outcome()


async def settled() -> None:
    """Let its callbacks run, which are tasks that start tasks."""
    for _ in range(30):
        await asyncio.sleep(0)


def by_us(sequence: list[Sent]) -> Outcome:
    session, out = PanelSession("127.0.0.1", 5678, lambda: 0), Outcome()
    known = reduce(reduce(START, SensorsRead(RECORDS), at(-9)).state, FlagsRead(int(FLAGS)), at(-9)).state
    known = reduce(known, HistoryRead((), at(-9).steady), at(-9)).state
    events: list[PanelEvent] = []
    for sent in sequence:
        for frame in frames(sent):
            session.feed(frame)
            read = session.read()
            assert read is not None
            assert isinstance(read.message, Alert | Notice)
            step = reduce(known, read.message, at(sent.second))
            known, events = step.state, [*events, *step.events]
    last = sequence[-1].second + 6
    read_now = reduce(known, HistoryRead(history(sequence), at(last).steady), at(last))
    step = reduce(read_now.state, Elapsed(), at(last))
    for event in [*events, *read_now.events, *step.events]:
        note(out, event)
    for sensor in step.state.sensors.values():
        marks = (
            (sensor.on, out.on),
            (sensor.tamper, out.tampered),
            (sensor.battery_low, out.batteries),
            (sensor.open_while_arming, out.open_while_arming),
        )
        for mark, indexes in marks:
            if mark:
                indexes.add(sensor.index)
    return out


def note(out: Outcome, event: PanelEvent) -> None:
    match event.type.value:
        case "armed_away" | "armed_home" | "disarmed":
            out.armed(event.type.value)
        case "alarm" | "sos":
            out.alarms.add(event.sensor)
        case "remote_button":
            out.buttons.append((event.sensor or 0, event.action or ""))
        case "rfid":
            out.keypad.append((event.sensor or 0, event.action or ""))


def test_there_are_at_least_thirty() -> None:
    assert len(SEQUENCES) >= 30


@pytest.mark.parametrize("name", SEQUENCES)
def test_the_peer_agrees_or_differs_for_a_named_reason(name: str) -> None:
    sequence, differences = SEQUENCES[name]
    theirs, ours = vars(run(by_the_peer(sequence))), vars(by_us(sequence))
    found = {aspect: (theirs[aspect], ours[aspect]) for aspect in ours if theirs[aspect] != ours[aspect]}
    assert found.keys() == differences.keys(), found
