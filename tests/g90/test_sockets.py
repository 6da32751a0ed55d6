"""A simulated panel, a server and a reader on real sockets: what is read, when, and what comes of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support.g90 import GUID, NEW_YEAR, PATIENCE, Recorder, cloud_control, known, run, serving, status
from support.house import DOOR, SENSORS, SMOKE, Simulated, living

from bridge.g90 import reader
from bridge.g90.control_local import LocalControl
from bridge.g90.reader import PanelReader
from bridge.g90.simulator import SimulatedSensor
from bridge.g90.state import effects, plan
from bridge.g90.state.model import Commanded
from bridge.g90.state.plan import Reads
from bridge.g90.wire.answers import AlertFlag
from bridge.g90.wire.commands import GET_ALERT_FLAGS, GET_HISTORY, GET_HOST_INFO, GET_RELAYS, GET_SENSORS, GET_STATUS
from bridge.g90.wire.constants import AlertType, ArmCode, NoticeKind, SensorCode, SensorType, Source
from bridge.g90.wire.events import Alert, Form, Notice
from bridge.g90.wire.messages import build_report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bridge.g90.server import PanelServer
    from bridge.g90.state.model import PanelState

MANY = tuple(SimulatedSensor(index, f"Door {index}") for index in range(23))
WIRED = SimulatedSensor(3, "Window", SensorType.WIRED)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read after each hello, however soon it comes, and give up early where nobody answers."""
    monkeypatch.setattr(plan, "HELLO_S", 0.1)
    monkeypatch.setattr(reader, "_SEEK_S", 0.1)


class Site(Recorder):
    """The handler; it lets the reader read."""

    reader: PanelReader | None = None

    def panel_greeted(self, guid: str, address: str) -> None:
        super().panel_greeted(guid, address)
        if self.reader:
            self.reader.greeted(address)


@dataclass
class Met:
    """A panel that the server knows."""

    panel: Simulated
    site: Site
    server: PanelServer

    @property
    def state(self) -> PanelState:
        return self.server.registry.panels[GUID].state

    async def until(self, holds: Callable[[PanelState], bool], within: float = PATIENCE) -> None:
        async with asyncio.timeout(within), self.site.changed:
            await self.site.changed.wait_for(lambda: GUID in self.site.states and holds(self.site.states[GUID]))

    async def asked(self, *codes: int, within: float = PATIENCE) -> None:
        """Wait until the panel was asked for these."""
        async with asyncio.timeout(within):
            while set(codes) - set(self.panel.asked):  # noqa: ASYNC110 - a panel has no event
                await asyncio.sleep(0.01)


@asynccontextmanager
async def met(
    panel: Simulated | None = None, *, cloud: bool = False, host: bool = True, read: bool = True, port: int = 1
) -> AsyncIterator[Met]:
    """A panel that dialled the server, and a reader of it: over UDP at its `host`, or over its connection (`cloud`)."""
    site = Site()
    panel = panel or Simulated(GUID, sensors=SENSORS, local=("127.0.0.1", 0))
    async with serving(site, panels=known(GUID)) as server:
        panel.cloud = server.address
        async with living(panel):
            if panel.local:
                await asyncio.wait_for(panel.listening.wait(), PATIENCE)
                port = panel.local[1]
            control = cloud_control(server, GUID) if cloud else LocalControl("127.0.0.1", port) if host else None
            reads = (Reads.AT_HELLO if cloud else Reads.REGULARLY) if read else Reads.NOT
            site.reader = PanelReader(GUID, control, reads=reads, follows=not host, port=port)
            task = asyncio.create_task(site.reader.run(server.registry))
            try:
                yield Met(panel, site, server)
            finally:
                task.cancel()
                await asyncio.wait([task])
            assert task.cancelled(), task.exception()


def test_a_simulated_panel_counts_as_answered_on_its_current_connection_alone() -> None:
    async def scenario() -> None:
        async with met(cloud=True, read=False) as here:
            await asyncio.wait_for(here.panel.answered.wait(), PATIENCE)
            for connection in here.server.connections:
                connection.abort()
            async with asyncio.timeout(PATIENCE):
                while here.panel.answered.is_set():  # noqa: ASYNC110 - a panel has no event
                    await asyncio.sleep(0.01)
            with pytest.raises(ConnectionError):
                await here.panel.activity(DOOR)
            await asyncio.wait_for(here.panel.answered.wait(), PATIENCE)
            await here.panel.activity(DOOR)

    asyncio.run(scenario())


# Findings about what panels report


class Slow(Simulated):
    """Its answers are of the moment when it was asked, and come `old` seconds later."""

    old = 0.0

    async def _local(self, request: bytes) -> bytes | None:
        answer = await super()._local(request)
        await asyncio.sleep(self.old)
        return answer


def test_p3_an_answer_that_is_older_than_a_report_ends_no_alarm() -> None:
    async def scenario() -> None:
        panel = Slow(GUID, sensors=SENSORS, local=("127.0.0.1", 0))
        async with met(panel) as here:
            await here.until(lambda state: state.state == "disarmed" and SMOKE in state.sensors)
            panel.old = 0.8
            panel.asked.clear()
            assert here.site.reader
            here.site.reader.refresh()
            await here.asked(GET_STATUS)
            await panel.arm(ArmCode.ARMED_AWAY)
            await panel.alarm(SMOKE)
            await here.site.told("armed_away", "alarm")
            panel.old = 0.0
            await here.asked(GET_HISTORY, GET_SENSORS)  # the status was answered
            assert here.state.state == "triggered"
            assert "disarmed" not in here.site.types()

    run(scenario())


@pytest.mark.parametrize("wired", [True, False])
def test_p8_a_door_whose_closing_is_not_reported_and_a_wired_sensor_go_off(
    monkeypatch: pytest.MonkeyPatch,
    wired: bool,  # noqa: FBT001 - a case
) -> None:
    monkeypatch.setattr(effects, "DOOR_OFF_S", 0.5)

    async def scenario() -> None:
        index = WIRED.index if wired else DOOR
        panel = Simulated(GUID, sensors=(*SENSORS, WIRED), local=("127.0.0.1", 0))
        panel.flags = AlertFlag(1023 if wired else 1023 & ~AlertFlag.DOOR_CLOSE)
        async with met(panel) as here:
            await here.until(lambda state: state.hardware.alert_flags is not None and index in state.sensors)
            await panel.report(Notice(kind=NoticeKind.SENSOR_ACTIVITY, sensor=index, name=panel.sensors[index].name))
            await here.until(lambda state: state.sensors[index].on)
            await here.until(lambda state: not state.sensors[index].on)
            assert here.site.types() == ["panel_online", "door_opened"]

    run(scenario())


def test_p8_a_door_whose_closing_is_reported_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "DOOR_OFF_S", 0.2)

    async def scenario() -> None:
        async with met() as here:
            await here.until(lambda state: state.hardware.alert_flags is not None and DOOR in state.sensors)
            await here.panel.activity(DOOR)
            await here.site.told("door_opened")
            await asyncio.sleep(1.2)
            assert here.state.sensors[DOOR].on

    run(scenario())


def test_p11_an_arming_in_another_form_after_a_disarm_is_an_arming() -> None:
    async def scenario() -> None:
        async with met(read=False) as here:
            await here.site.told("panel_online")
            await here.panel.send([status(2, 4), status(2, 3, time=NEW_YEAR + 1)])
            await asyncio.sleep(1)
            await here.panel.send([build_report(Notice(kind=NoticeKind.ARM_DISARM, value=1), as_json=True)])
            await here.until(lambda state: state.state == "armed_away" and len(here.site.events) == 4)
            assert here.site.types() == ["panel_online", "armed_away", "disarmed", "armed_away"]

    run(scenario())


def test_p13_what_a_command_changed_is_read_back() -> None:
    async def scenario() -> None:
        async with met() as here:
            await here.until(lambda state: state.state == "disarmed")
            here.panel.says.clear()
            assert here.site.reader
            control = here.site.reader.control
            assert control
            await control.arm_away()
            await here.site.reader.commanded(here.server.registry, Commanded())
            await here.until(lambda state: state.state == "armed_away")
            assert here.state.partition.changed_by == "mqtt"

    run(scenario())


def test_p14_activity_clears_a_low_battery() -> None:
    async def scenario() -> None:
        async with met(read=False) as here:
            await here.site.told("panel_online")
            await here.panel.activity(DOOR, SensorCode.BATTERY_LOW)
            await here.until(lambda state: bool(state.sensors.get(DOOR) and state.sensors[DOOR].battery_low))
            await here.panel.activity(DOOR)
            await here.until(lambda state: state.sensors[DOOR].battery_low is False)

    run(scenario())


def test_p15_eighty_alarms_within_a_second_are_eighty() -> None:
    async def scenario() -> None:
        async with met(read=False) as here:
            await here.site.told("panel_online")
            for sensor in range(100, 180):
                alert = Alert(
                    form=Form.ALERT, type=AlertType.ALARM, event=sensor, source=1, state=254, guid=GUID, time=NEW_YEAR
                )
                await here.panel.send([build_report(alert, as_json=True)])
            await here.until(lambda _: here.site.types().count("alarm") == 80)
            assert len({event.sensor for event in here.site.events if event.type == "alarm"}) == 80

    run(scenario())


def test_a_panic_buttons_tamper_and_low_battery_are_no_panic() -> None:
    async def scenario() -> None:
        button = SimulatedSensor(5, "Panic", SensorType.SOS_BUTTON)
        panel = Simulated(GUID, sensors=[button], local=("127.0.0.1", 0))
        async with met(panel) as here:
            await here.until(lambda state: 5 in state.sensors)
            await panel.alarm(5, SensorCode.TAMPER)
            await here.site.told("tamper")
            await panel.activity(5, SensorCode.BATTERY_LOW)
            await here.site.told("low_battery")
            await panel.alarm(5, SensorCode.SOS)
            await here.site.told("sos")
            assert here.site.types().count("sos") == 1

    run(scenario())


def test_a_long_name_and_an_index_above_what_a_status_change_holds() -> None:
    async def scenario() -> None:
        long = SimulatedSensor(1300, "A door with a name of more than thirty-two bytes")
        panel = Simulated(GUID, sensors=[SimulatedSensor(1300 % 256, "Side door"), long], local=("127.0.0.1", 0))
        async with met(panel) as here:
            await here.until(lambda state: len(state.sensors) == 2)
            await panel.send([status(4, 1300 % 256, Source.SENSOR, 1, name=long.name[:32])])
            await here.until(lambda state: state.sensors[1300].on)
            alert = Alert(
                form=Form.ALERT, type=4, event=1300, source=1, state=0, name=long.name, guid=GUID, time=NEW_YEAR + 9
            )
            await panel.send([build_report(alert, as_json=True)])
            await here.until(lambda state: not state.sensors[1300].on)
            assert {index: sensor.name for index, sensor in here.state.sensors.items()} == {
                1300: long.name,
                1300 % 256: "Side door",
            }

    run(scenario())


# Reading


class Shifting(Simulated):
    """A panel whose lists change while they are read: `change` is called before the second page."""

    pages = 0
    change: Callable[[], object] = staticmethod(lambda: None)
    fails_from: int | None = None

    def _page(self, code: int, first: int, last: int) -> list[object]:
        self.pages += first > 1
        if first > 1 and self.pages == 1:
            self.change()
        if self.fails_from is not None and first >= self.fails_from:
            self.truncate = 1
        return super()._page(code, first, last)


@pytest.mark.usefixtures("at_once")
def test_a_history_that_grows_while_it_is_read_is_read_whole() -> None:
    async def scenario() -> None:
        panel = Shifting(GUID, sensors=SENSORS, local=("127.0.0.1", 0))
        async with met(panel) as here:
            await here.until(lambda state: state.history.read_at is not None and SMOKE in state.sensors)
            panel.cut()
            for number in range(14):
                await panel.activity(DOOR, (number + 1) % 2)
            panel.change = lambda: panel.history.appendleft(panel._alert(AlertType.ALARM, SMOKE, SensorCode.ALARM))
            panel.pages = 0
            panel.rejoin()
            await here.site.told("alarm")
            assert here.site.types().count("alarm") == 1
            assert [event.type.value for event in here.site.events if event.missed].count("door_opened") == 7

    run(scenario())


def test_a_sensor_that_is_deleted_while_the_list_is_read_hides_no_other() -> None:
    async def scenario() -> None:
        panel = Shifting(GUID, sensors=MANY, local=("127.0.0.1", 0))
        panel.change = lambda: panel.sensors.pop(0)
        async with met(panel) as here:
            await here.until(lambda state: len(state.sensors) > 0)
            assert list(here.state.sensors) == list(range(1, 23))

    run(scenario())


@pytest.mark.usefixtures("at_once")
def test_what_was_read_before_a_failure_counts() -> None:
    async def scenario() -> None:
        panel = Shifting(GUID, sensors=MANY, local=("127.0.0.1", 0))
        async with met(panel) as here:
            await here.until(lambda state: len(state.sensors) == 23 and state.history.read_at is not None)
            panel.fails_from = 2
            panel.cut()
            await panel.alarm(1)
            for number in range(12):
                await panel.activity(2, (number + 1) % 2)
            await panel.alarm(3)
            panel.sensors[0] = SimulatedSensor(0, "Gate")
            panel.rejoin()
            await here.site.told("alarm")
            assert here.site.reader
            here.site.reader.refresh()
            await here.until(lambda state: state.sensors[0].name == "Gate")
            assert len(here.state.sensors) == 23
            panel.fails_from = None
            await here.until(lambda _: here.site.types().count("alarm") == 2)
            alarms = [event.sensor for event in here.site.events if event.type == "alarm"]
            assert alarms == [3, 1]

    run(scenario())


def test_a_panel_with_cloud_control_is_read_over_udp_where_it_answers() -> None:
    async def scenario() -> None:
        async with met(cloud=True, host=False) as here:
            await here.asked(GET_STATUS, GET_HISTORY)
            await here.until(lambda state: state.hardware.info is not None and DOOR in state.sensors)
            await here.asked(GET_ALERT_FLAGS, GET_RELAYS, GET_HOST_INFO)
            assert here.site.reader
            async with asyncio.timeout(PATIENCE):
                while not isinstance(here.site.reader.control, LocalControl):  # noqa: ASYNC110 - a reader has no event
                    await asyncio.sleep(0.01)
            here.panel.asked.clear()
            here.site.reader.refresh()
            await here.asked(GET_STATUS)

    run(scenario())


@pytest.mark.parametrize("local", [None, "GBSTRANGER00001"])
@pytest.mark.usefixtures("at_once")
def test_a_panel_with_cloud_control_that_does_not_answer_there_is_read_over_its_connection(local: str | None) -> None:
    async def scenario() -> None:
        stranger = Simulated(local or "", cloud=None, local=("127.0.0.1", 0) if local else None)
        async with living(stranger):
            if local:
                await stranger.listening.wait()
            port = stranger.local[1] if stranger.local else 1
            async with met(Simulated(GUID, sensors=SENSORS), cloud=True, host=False, port=port) as here:
                await here.until(lambda state: state.state == "disarmed" and DOOR in state.sensors)
                here.panel.cut()
                await here.panel.alarm(SMOKE)
                here.panel.rejoin()
                await here.site.told("alarm")
                assert here.site.reader
                assert not isinstance(here.site.reader.control, LocalControl)
                assert GET_STATUS not in stranger.asked

    run(scenario())


@pytest.mark.usefixtures("at_once")
def test_what_does_not_change_is_read_at_the_first_hello_alone_over_a_connection() -> None:
    async def scenario() -> None:
        async with met(Simulated(GUID, sensors=SENSORS), cloud=True, host=False) as here:
            await here.asked(GET_STATUS, GET_HISTORY, GET_SENSORS, GET_ALERT_FLAGS, GET_HOST_INFO, GET_RELAYS)
            await asyncio.sleep(0.5)  # until it was looked for
            here.panel.asked.clear()
            here.panel.cut()
            here.panel.rejoin()
            await here.asked(GET_STATUS, GET_HISTORY)
            await asyncio.sleep(0.3)
            assert set(here.panel.asked) == {GET_STATUS, GET_HISTORY}

    run(scenario())


@pytest.mark.parametrize("cloud", [True, False])
def test_a_panel_that_is_not_to_be_read_is_not_read(cloud: bool) -> None:  # noqa: FBT001 - a case
    async def scenario() -> None:
        async with met(cloud=cloud, host=False, read=False) as here:
            await here.site.told("panel_online")
            await asyncio.sleep(0.5)
            assert here.panel.asked == []

    run(scenario())


def test_a_connection_that_flaps_costs_six_requests() -> None:
    async def scenario() -> None:
        async with met() as here:
            await here.until(lambda state: state.history.read_at is not None)
            await here.asked(GET_STATUS, GET_HISTORY, GET_SENSORS, GET_ALERT_FLAGS, GET_HOST_INFO, GET_RELAYS)
            await asyncio.sleep(0.2)
            here.panel.asked.clear()
            for _ in range(8):
                here.panel.cut()
                here.panel.rejoin()
                await asyncio.sleep(1.5)
            assert len(here.site.greeted) >= 6
            assert 2 <= len(here.panel.asked) <= 6, Counter(here.panel.asked)

    run(scenario())


def test_a_status_is_read_again_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "FIRST_RETRY_S", 0.05)

    async def scenario() -> None:
        panel = Simulated(GUID, sensors=SENSORS, local=("127.0.0.1", 0))
        panel.lose = 4
        site: Any = None
        async with met(panel) as here:
            site = here.site
            assert site.reader
            site.reader.control = LocalControl("127.0.0.1", panel.local[1] if panel.local else 0, timeout=0.1)
            await here.until(lambda state: state.state == "disarmed")
        assert panel.arm_state is ArmCode.DISARMED

    run(scenario())
