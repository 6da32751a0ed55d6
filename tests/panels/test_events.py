"""What panels report: the alarms on disk first, together with the state, each once; then MQTT."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.panels import GUID, NEW_YEAR, OTHER, Joined, Machine, event, fire, joined, now, run, smoke

from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.common.problems import About
from bridge.g90.registry import PanelConfig, PanelRegistry, Refused
from bridge.g90.state.model import Link, Now, PanelState, Partition, Sensor
from bridge.g90.state.storage import from_json
from bridge.g90.wire.events import EventType, PanelEvent

pytestmark = pytest.mark.usefixtures("each_store")

TRIGGERED = PanelState(
    guid=GUID,
    name="House",
    link=Link(online=True),
    partition=Partition(arm=EventType.ARMED_AWAY, triggered=True),
    sensors={9: Sensor(index=9, name="Kitchen smoke", type=4, on=True)},
)
DISARMED = replace(TRIGGERED, partition=Partition(arm=EventType.DISARMED))


def stored_state(stored: dict[str, Any]) -> PanelState:
    """Return what a restart finds."""
    return from_json(stored["state"], Now(time.monotonic(), now()))


def test_an_alarm_and_the_state_are_stored_then_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path, [fire()]) as site:
            await site.panels.panel_changed(TRIGGERED, (smoke(),))
            assert await site.queued() == [("alarm", "FA", "9")]
            [queued] = await site.queue()
            assert queued.command.alarm
            assert queued.command.alarm.detector_text == "Kitchen smoke"
            assert site.outbox.wakes.take() == {"home"}
            assert site.outgoing.states[f"b/panel/{GUID}/state"] == "triggered"
            assert site.outgoing.states[f"b/panel/{GUID}/sensor/9/state"] == "ON"
            [told] = site.outgoing.of("event")
            assert (told["type"], told["sensor"], told["name"]) == ("alarm", 9, "Kitchen smoke")
            stored = (await site.outbox.panels())[GUID]
            assert stored_state(stored) == TRIGGERED
            assert [each["raised_code"] for each in stored["forwarded"]] == ["FA"]
            assert site.known.online == 1

    run(scenario())


def test_what_has_nothing_to_restore_in_time_lets_nobody_look_at_all_panels(tmp_path: Path) -> None:
    """What is looked at costs a reading of the clock, of which there are as many as alarms with a time."""
    machine, readings = Machine(), 0
    plain = machine.clock()

    def steady() -> float:
        nonlocal readings
        readings += 1
        return machine.lived.total_seconds()

    clock = Clock(lambda: plain.now().timestamp(), steady, "this boot")
    late = fire(sensor_type="gas", restore_on=timedelta(days=1))
    soon = fire(sensor_type="door", restore_on=timedelta(seconds=1))

    async def scenario() -> None:
        async with joined(tmp_path, [late, soon, fire()], clock=clock) as site:

            async def cost(sensor_type: str, number: int) -> int:
                before = readings
                alarm = replace(smoke(NEW_YEAR + number, sensor_type=sensor_type), sensor=number)
                await site.panels.panel_changed(TRIGGERED, (alarm,))
                for _ in range(10):  # whoever was woken has looked by then
                    await asyncio.sleep(0)
                return readings - before

            await cost("gas", 1)
            few = await cost("smoke", 100)
            for number in range(2, 60):
                await cost("gas", number)
            assert await cost("smoke", 101) - few < 2 * 58
            assert await cost("door", 102) - few > 2 * 58

    run(scenario())


def test_what_cannot_be_stored_is_not_told_and_is_taken_when_it_is_offered_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path, [fire()]) as site:
            site.outbox.broken = True
            for _ in range(2):
                with pytest.raises(StoreError):
                    await site.panels.panel_changed(TRIGGERED, (smoke(),))
            assert (site.outgoing.states, site.outgoing.published, site.outbox.wakes.take()) == ({}, [], set())
            assert await site.outbox.panels() == {}
            site.outbox.broken = False
            await site.panels.panel_changed(TRIGGERED, (smoke(),))
            await site.panels.panel_changed(DISARMED, (event(EventType.DISARMED),))
            assert await site.queued() == [("alarm", "FA", "9"), ("restore", "FA", "9")]
            assert len(site.outgoing.of("event")) == 2

    run(scenario())


def test_one_event_is_one_alarm_also_when_it_is_offered_again_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path, [fire()]) as site:
            for woken in ({"home"}, set()):
                await site.panels.panel_changed(TRIGGERED, (smoke(),))
                assert site.outbox.wakes.take() == woken
        async with joined(tmp_path, [fire()]) as site:
            assert site.restored == {GUID: TRIGGERED}
            assert site.outgoing.states[f"b/panel/{GUID}/state"] == "triggered"
            assert site.outgoing.published == []
            await site.panels.panel_changed(TRIGGERED, (smoke(),))
            assert await site.queued() == [("alarm", "FA", "9")]
            await site.panels.panel_changed(TRIGGERED, (smoke(panel_time=1767225700),))
            assert await site.queued() == [("alarm", "FA", "9")] * 2

    run(scenario())


def test_a_disarm_after_a_restart_restores_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path, [fire(restore_event_code="FR")]) as site:
            await site.panels.panel_changed(TRIGGERED, (smoke(),))
        async with joined(tmp_path, []) as site:  # the rule may be gone: what it raised is ended all the same
            for _ in range(2):
                await site.panels.panel_changed(DISARMED, (event(EventType.DISARMED),))
            raised, restored = await site.queue()
            assert restored.command.alarm
            assert (restored.command.request, restored.command.alarm.event_code) == ("restore", "FR")
            assert restored.command.identity == raised.command.identity

    run(scenario())


@pytest.mark.parametrize("days", [-20000, -3, 0, 5])
def test_what_is_due_while_the_bridge_is_away_is_restored_when_it_is_back(tmp_path: Path, days: int) -> None:
    """Also where the clock is set meanwhile, and nobody is there to see it."""
    rule, machine = fire(restore_on=timedelta(minutes=5)), Machine()

    async def scenario() -> None:
        async with joined(tmp_path, [rule], clock=machine.clock()) as site:
            await site.panels.panel_changed(TRIGGERED, (smoke(),))
            machine.lived += timedelta(minutes=4)
            late = smoke(name="Hall", panel_time=NEW_YEAR + 240)
            await site.panels.panel_changed(TRIGGERED, (replace(late, sensor=7),))
        machine.lived += timedelta(minutes=2)
        machine.error = timedelta(days=days)
        async with joined(tmp_path, [rule], clock=machine.clock()) as site:

            async def restored() -> bool:
                return len(await site.queued()) == 3

            await site.until(restored)
            assert (await site.queued())[-1] == ("restore", "FA", "9")
            stored = (await site.outbox.panels())[GUID]
            assert [each["sensor"] for each in stored["forwarded"]] == [7]
            assert stored_state(stored) == TRIGGERED

    run(scenario())


@pytest.mark.parametrize("days", [-20000, -1, 1])
def test_a_clock_that_is_set_neither_restores_nor_delays(tmp_path: Path, days: int) -> None:
    machine, jump = Machine(), timedelta(days=days)

    async def scenario() -> None:
        async with joined(tmp_path, [fire(restore_on=timedelta(minutes=5))], clock=machine.clock()) as site:
            await site.panels.panel_changed(TRIGGERED, (smoke(),))
            machine.error = jump
            for minutes, kinds in ((4, ["alarm"]), (1, ["alarm", "restore"])):
                machine.lived += timedelta(minutes=minutes)
                await site.panels.panel_changed(TRIGGERED, (event(EventType.DOOR_OPENED, 3),))  # it looks at the clock
                for _ in range(10):
                    await asyncio.sleep(0)
                assert [kind for kind, *_ in await site.queued()] == kinds

    run(scenario())


def test_a_restore_that_time_brings_waits_for_a_store_that_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with joined(tmp_path, [fire(restore_on=timedelta(seconds=0.2))]) as site:
            await site.panels.panel_changed(TRIGGERED, (smoke(),))
            site.outbox.broken = True

            async def failed() -> bool:
                return any(record.levelname == "ERROR" for record in caplog.records)

            await site.until(failed)
            assert len(await site.queued()) == 1
            site.outbox.broken = False

            async def restored() -> bool:
                return len(await site.queued()) == 2

            await site.until(restored)

    run(scenario())


def test_codes_that_cannot_be_sent_become_warnings_and_no_alarm_is_lost(tmp_path: Path) -> None:
    rule = fire(detector="Detector {sensor}", section="{panel} of mine", transmitter_area="{name}")

    async def scenario() -> None:
        async with joined(tmp_path, [rule]) as site:
            await site.panels.panel_changed(TRIGGERED, (smoke(),))
            [queued] = await site.queue()
            alarm = queued.command.alarm
            assert alarm
            assert (alarm.event_code, alarm.detector_text) == ("FA", "Kitchen smoke")
            assert (alarm.detector, alarm.section, alarm.transmitter_area) == (None, None, None)
            told = " ".join(queued.command.warnings)
            assert all(name in told for name in ("detector: has", "section: has", "transmitter_area: has"))
            await site.panels.panel_changed(DISARMED, (event(EventType.DISARMED),))
            raised, restored = await site.queue()
            assert restored.command.identity == raised.command.identity

    run(scenario())


def test_two_rules_bring_one_event_to_two_transmitters(tmp_path: Path) -> None:
    rules = [fire(), fire(transmitter="office", event_code="BA"), fire(event_code="XX")]

    async def scenario() -> None:
        async with joined(tmp_path, rules) as site:
            await site.panels.panel_changed(TRIGGERED, (smoke(),))
            assert site.outbox.wakes.take() == {"home", "office"}
            assert await site.queued("home") == [("alarm", "FA", "9")]
            assert await site.queued("office") == [("alarm", "BA", "9")]
            await site.panels.panel_changed(DISARMED, (event(EventType.DISARMED),))
            assert await site.queued("office") == [("alarm", "BA", "9"), ("restore", "BA", "9")]

    run(scenario())


def test_events_that_come_together_restore_and_raise_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path, [fire()]) as site:
            await site.panels.panel_changed(
                DISARMED, (smoke(), event(EventType.DISARMED), smoke(panel_time=1767225700))
            )
            assert [each[0] for each in await site.queued()] == ["alarm", "restore", "alarm"]

    run(scenario())


def test_a_sensor_that_there_is_no_more_leaves_no_topics(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path) as site:
            await site.panels.panel_changed(TRIGGERED, ())
            await site.panels.panel_changed(replace(TRIGGERED, sensors={}), ())
            assert site.outgoing.states[f"b/panel/{GUID}/sensor/9/state"] == ""
            assert site.outgoing.states[f"b/panel/{GUID}/sensor/9/info"] == ""
            assert site.outgoing.states[f"b/panel/{GUID}/state"] == "triggered"

    run(scenario())


def test_panels_that_are_not_configured_are_taken_up_only_where_all_are(tmp_path: Path) -> None:
    stranger = PanelState(guid=OTHER, link=Link(online=True))

    async def scenario() -> None:
        async with joined(tmp_path, accept_unknown=True) as site:
            await site.panels.panel_changed(stranger, ())
            assert site.known.guids == [GUID, OTHER]
        async with joined(tmp_path, accept_unknown=True) as site:
            assert site.restored == {OTHER: stranger}
        async with joined(tmp_path) as site:
            assert (site.restored, site.known.guids) == ({}, [GUID])
            assert site.outgoing.states == {}

    run(scenario())


def test_a_state_that_cannot_be_read_is_an_error_of_the_store(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path) as site:
            await site.outbox.keep_panel(GUID, {"state": {}, "forwarded": []}, {})
        with pytest.raises(StoreError):
            async with joined(tmp_path):
                raise AssertionError("it was taken")

    run(scenario())


def test_a_name_of_the_configuration_holds_for_a_restored_panel_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path) as site:
            await site.panels.panel_changed(
                replace(TRIGGERED, name="Before", link=Link(online=True, connected_since=now())), ()
            )
        async with joined(tmp_path) as site:
            assert json.loads(site.outgoing.states[f"b/panel/{GUID}/info"])["name"] == "House"
            assert site.restored[GUID].link.connected_since is None

    run(scenario())


SOS = event(EventType.SOS)


def problems(site: Joined) -> dict[str, str]:
    assert all(problem.about == About(panel=GUID) for problem in site.problems)
    return {problem.kind: problem.text for problem in site.problems}


def test_an_alarm_that_no_rule_forwards_is_a_problem_over_a_restart_until_the_panel_is_disarmed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path, [fire()]) as site:
            await site.panels.panel_changed(TRIGGERED, (SOS,))
            expected = {"alarm_unmatched": "panel House: no rule forwards sos"}
            assert problems(site) == expected
            [since] = [problem.since for problem in site.problems]
        async with joined(tmp_path, [fire()]) as site:
            assert problems(site) == expected
            [again] = [problem.since for problem in site.problems]
            assert abs(again - since) < timedelta(milliseconds=1)
            await site.panels.panel_changed(TRIGGERED, (smoke(),))
            assert problems(site) == expected
            await site.panels.panel_changed(DISARMED, (event(EventType.DISARMED),))
            assert problems(site) == {}
        async with joined(tmp_path, [fire()]) as site:
            assert problems(site) == {}

    run(scenario())


def test_a_panel_is_offline_once_it_is_silent_and_unknown_before_it_was_heard(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path) as site:
            assert (problems(site), site.problems.published(None)) == ({}, None)
            await site.panels.panel_changed(TRIGGERED, ())
            assert (problems(site), site.problems.published(None)) == ({}, [])
            silent = now() - timedelta(minutes=4)
            await site.panels.panel_changed(replace(TRIGGERED, link=Link(online=False, last_seen=silent)), ())
            assert problems(site) == {"panel_offline": "panel House: offline"}
            assert [problem.since for problem in site.problems] == [silent]
            info = json.loads(site.outgoing.states[f"b/panel/{GUID}/info"])
            assert info["problems"] == ["panel House: offline"]
            await site.panels.panel_changed(TRIGGERED, ())
            assert problems(site) == {}

    run(scenario())


def test_a_panel_that_is_not_configured_may_go_offline(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path, accept_unknown=True) as site:
            await site.panels.panel_changed(replace(TRIGGERED, guid=OTHER, link=Link(online=False)), ())
            assert problems(site) == {}

    run(scenario())


def test_refusals_are_told_on_the_bridges_event_topic(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with joined(tmp_path) as site:
            await site.panels.panel_refused(Refused.UNKNOWN_PANEL, OTHER, "192.0.2.9")
            assert site.events == [("unknown_panel", {"guid": OTHER, "address": "192.0.2.9"})]
            assert site.outgoing.published == []

    run(scenario())


def test_a_minutes_hello_is_stored_and_told_every_ten_minutes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the steady clock: the wall clock is set meanwhile."""
    steady = SimpleNamespace(minutes=0)
    steady.monotonic = lambda: steady.minutes * 60.0

    async def scenario() -> list[int]:
        told: list[int] = []

        class Handler:
            async def panel_changed(self, state: PanelState, events: tuple[PanelEvent, ...]) -> None:
                assert state.link.last_seen
                told.append(steady.minutes)

            async def panel_refused(self, reason: Refused, guid: str | None, address: str) -> None:
                raise AssertionError(reason)

            def panel_greeted(self, guid: str, address: str) -> None:
                raise AssertionError((guid, address))

        wall = now()
        registry = PanelRegistry(
            Handler(), {GUID: PanelConfig(guid=GUID)}, {}, clock=lambda: wall - timedelta(days=steady.minutes > 5)
        )
        panel = await registry.admit(GUID, "192.0.2.7")
        assert panel
        for address in [*["192.0.2.7"] * 25, "192.0.2.8"]:
            if rest := registry.alive(panel, address, "206"):
                await rest()
            steady.minutes += 1
        return told

    monkeypatch.setattr("bridge.g90.registry.time", steady)
    assert run(scenario()) == [0, 10, 20, 25]
