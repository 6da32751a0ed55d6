"""`panel/P/set` from end to end: over UDP and over the cloud connection, every outcome, codes that nobody reads."""

from __future__ import annotations

import asyncio
import socket

import pytest
from support.harness import live
from support.house import GUID, OTHER, SMOKE, House
from support.recorder import WAIT_S

from bridge.g90.wire.commands import SET_STATUS
from bridge.g90.wire.constants import ArmCode

CODE = "7351944-code"
MUTE, ABSENT, OFF = "GBMUTE", "GBABSENT", "GBOFF"


@live
async def test_the_state_is_what_the_panel_says_or_what_is_read_after_a_command(site: House) -> None:
    local = site.controlled()
    await site.start()
    panel = await site.panel(local=local)
    await site.state("disarmed")
    panel.says.clear()
    mark = site.mqtt.mark
    response = await site.command("ARM_AWAY")
    assert (response["action"], response["outcome"]) == ("ARM_AWAY", "done")
    assert "error" not in response
    assert panel.arm_state == ArmCode.ARMED_AWAY
    await site.state("armed_away")  # read: the panel says nothing
    await site.told("armed_away")
    [event] = [seen.value for seen in site.mqtt.of(f"panel/{GUID}/event", mark)]
    assert (event["type"], event["source"], "missed" in event) == ("armed_away", "status", False)
    panel.says.set()
    assert await site.outcome({"action": "ARM_HOME"}) == "done"
    await site.state("armed_home")
    await panel.alarm(SMOKE)
    await site.state("triggered")
    assert await site.outcome("DISARM") == "done"
    await site.state("disarmed")
    assert await site.arrived(2) == [("AL", "FA", "9", "Kitchen smoke"), ("RE", "FA", "9", "Kitchen smoke")]
    await site.told("disarmed")
    assert site.events()[1:] == ["armed_away", "armed_home", "alarm", "disarmed"]


@live
async def test_the_same_over_the_cloud_connection(site: House) -> None:
    site.controlled(control="cloud")
    await site.start()
    panel = await site.panel(chop=5)
    await site.learnt(panel)
    await site.state("disarmed")
    retained = await site.retained()
    assert '"name": "Kitchen smoke"' in retained[f"panel/{GUID}/sensor/9/info"]
    for action, state in (("ARM_AWAY", "armed_away"), ("ARM_HOME", "armed_home"), ("DISARM", "disarmed")):
        assert await site.outcome(action) == "done"
        await site.state(state)
    assert panel.asked.count(SET_STATUS) == 3


@live
async def test_how_commands_end_that_are_not_done(site: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        site.controlled(control="cloud")
        site.g90["panels"] += [
            {"guid": MUTE, "control": "local", "host": f"127.0.0.1:{deaf.getsockname()[1]}"},
            {"guid": ABSENT, "control": "cloud"},
            {"guid": OFF},
        ]
        await site.start()
        panel = await site.panel()
        unanswered = asyncio.create_task(site.command("DISARM", MUTE, within=2 * WAIT_S))
        absent = await site.command("ARM_AWAY", ABSENT)
        assert absent["outcome"] == "failed"
        assert "not connected" in absent["error"]
        assert await site.outcome("ARM_AWAY", OFF) == "disabled"
        await site.learnt(panel)

        async def refuse(code: int, request: object) -> None:
            panel.asked.append(code)

        monkeypatch.setattr(panel, "_do", refuse)
        refused = await site.command("ARM_AWAY")
        assert refused["outcome"] == "failed"
        assert 'the command "arm or disarm" failed' in refused["error"]
        # A panel that does not answer holds up nobody, and its own result comes.
        response = await unanswered
        assert (response["action"], response["outcome"]) == ("DISARM", "timeout")
        assert "did not answer" in response["error"]
        retained = await site.retained()
        assert retained[f"panel/{GUID}/state"] == "disarmed"
        assert not any(topic.startswith(f"panel/{MUTE}/state") for topic in retained)


@live
async def test_codes_are_asked_for_lock_and_are_read_by_nobody(site: House) -> None:
    site.codes |= {CODE, "9999991", "9999992"}
    local = site.controlled(code=CODE)
    other = site.controlled(OTHER, code=CODE, code_arm_required=True)
    await site.start()
    panel, second = await site.panel(local=local), await site.panel(OTHER, local=other)
    assert await site.outcome("ARM_AWAY") == "done"
    await site.state("armed_away")
    assert await site.outcome("DISARM") == "wrong_code"
    assert await site.outcome({"action": "DISARM", "code": "9999991"}) == "wrong_code"
    assert panel.arm_state == ArmCode.ARMED_AWAY
    assert await site.outcome({"action": "DISARM", "code": CODE}) == "done"
    await site.state("disarmed")
    # What is no command may hold a code, too.
    mark = site.mqtt.mark
    for bad in (f"DISARM {CODE}", CODE, f'{{"action": "DISARM", "code": "{CODE}"', {"action": CODE}):
        assert await site.outcome(bad) == "failed"
    await site.mqtt.wait_all("bridge/event", 4, lambda value: value["type"] == "command_rejected", after=mark)
    # The other panel asks for it to arm, too, and is locked after five.
    for _ in range(5):
        assert await site.outcome({"action": "ARM_AWAY", "code": "9999992"}, OTHER) == "wrong_code"
    assert (await site.event("panel_locked")).value["guid"] == OTHER
    locked = await site.command({"action": "ARM_AWAY", "code": CODE}, OTHER)
    assert locked["outcome"] == "wrong_code"
    assert "in a row" in locked["error"]
    assert SET_STATUS not in second.asked
    assert await site.outcome({"action": "DISARM", "code": CODE}) == "done"
    listed = await site.bridge.command("config", "show")
    assert CODE not in listed.stdout + listed.stderr


@live
async def test_a_retained_command_is_refused_and_nothing_is_commanded_at_start(site: House) -> None:
    local = site.controlled()
    await site.listen()
    await site.mqtt.publish(f"panel/{GUID}/set", "ARM_AWAY", retain=True)
    try:
        mark = site.mqtt.mark
        await site.start()
        seen = await site.event("retained_command_ignored", mark)
        assert seen.value["topic"] == f"{site.base}/panel/{GUID}/set"
        assert "mosquitto_pub -r -n" in seen.value["reason"]
        panel = await site.panel(local=local)
        mark = site.mqtt.mark
        await site.mqtt.publish(f"panel/{GUID}/set", "ARM_HOME", retain=True)
        await site.event("retained_command_ignored", mark)
        await site.back()
        await site.state("disarmed")
        assert SET_STATUS not in panel.asked
        assert panel.asked
        assert not site.mqtt.of(f"panel/{GUID}/set/response")
    finally:
        await site.mqtt.publish(f"panel/{GUID}/set", "", retain=True)
    assert await site.outcome("ARM_AWAY") == "done"


@live
async def test_a_command_for_a_panel_that_there_is_not(site: House) -> None:
    await site.start()
    await site.mqtt.publish(f"panel/{OTHER}/set", "DISARM")
    seen = await site.event("command_rejected")
    assert OTHER in seen.value["reason"]
    assert not site.of_panels(0)


@live
async def test_a_command_published_while_the_bridge_is_away_is_never_obeyed(site: House) -> None:
    """Somebody may have disarmed the panel meanwhile."""
    local = site.controlled()
    proxy = await site.behind_proxy()
    await site.start()
    panel = await site.panel(local=local)
    assert await site.outcome("ARM_AWAY") == "done"
    mark = site.mqtt.mark
    await proxy.cut()
    await site.mqtt.wait("bridge/state", lambda value: value == "offline", after=mark)
    await site.mqtt.publish(f"panel/{GUID}/set", "ARM_HOME")
    mark = site.mqtt.mark
    await proxy.open()
    await site.mqtt.wait("bridge/state", lambda value: value == "online", after=mark)
    site.bridge.kill()
    await site.mqtt.publish(f"panel/{GUID}/set", "ARM_HOME")
    await site.start()
    assert await site.outcome("DISARM") == "done"
    assert panel.asked.count(SET_STATUS) == 2


@live
async def test_a_response_topic_gets_the_response_too(site: House) -> None:
    site.controlled(control="off")
    await site.start()
    for guid, payload, outcome in ((GUID, "DISARM", "disabled"), (GUID, "", "failed"), (OTHER, "DISARM", "failed")):
        mark = site.mqtt.mark
        await site.mqtt.publish(f"panel/{guid}/set", payload, reply="reply", correlation=b"one")
        answer = await site.mqtt.wait("reply", after=mark)
        assert (answer.value["outcome"], answer.correlation, answer.retain) == (outcome, b"one", False)
        assert answer.value["error"]
