"""Commands over MQTT, from the message to the receiver and back: what the contract promises a flow's author."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

from support.harness import CODE, Site, live

WHOLE_ALARM = {
    "event_code": "FA",
    "reference": "ref-1",
    "transmitter_time": "2026-01-31 06:30:00.123",
    "transmitter_area": "12345",
    "section": "2",
    "section_text": "Hall",
    "detector": "7",
    "detector_text": "Smoke \N{EN DASH} café",
    "additional_info": {"temperature": "71", "room": "north"},
    "position": {"lat": 59.3293, "lon": 18.0686},
}


@live
async def test_mosquitto_pub_raises_an_alarm(site: Site) -> None:
    await site.start()
    topic = f"{site.base}/transmitter/home/alarm/raise"
    command = ["mosquitto_pub", "-p", str(site.broker.port), "-q", "1", "-t", topic, "-m", "BA"]
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=30)
    result = await site.result()
    assert result["outcome"] == "accepted"
    assert (result["request"], result["event_code"], result["status"]) == ("alarm", "BA", 0)
    assert (result["receiver"], result["attempts"]) == ("primary", 1)
    assert abs(result["clock_offset_s"]) < 5
    assert {"info", "arrival_time", "accepted_at", "completed_at"} <= result.keys()
    assert not {"error", "warnings", "reference"} & result.keys()
    assert [(each.event_code, each.transmitter_code) for each in site.received()] == [("BA", CODE)]
    assert '"outcome": "accepted"' in (await site.retained())["transmitter/home/alarm/response"]
    listed = await site.bridge.command("outbox", "list")
    assert (listed.returncode, listed.stdout, listed.stderr) == (0, "", "the outbox is empty\n")


@live
async def test_every_field_arrives(site: Site) -> None:
    await site.start()
    result = await site.do("alarm/raise", WHOLE_ALARM)
    assert (result["outcome"], result["reference"]) == ("accepted", "ref-1")
    [alarm] = site.received()
    assert (alarm.reference, alarm.transmitter_area, alarm.event_code) == ("ref-1", "12345", "FA")
    assert (alarm.section, alarm.section_text, alarm.detector) == ("2", "Hall", "7")
    assert str(alarm.transmitter_time).startswith("2026-01-31 06:30:00.123")
    assert b"temperature: 71\r\nroom: north" in site.arrivals[0].raw  # a reader of XML makes one line feed of it
    assert alarm.position is not None
    # What the character set lacks is spelled as near as can be, and said.
    assert alarm.detector_text == "Smoke - café"
    assert any("detector_text" in warning for warning in result["warnings"])
    await site.mqtt.holds("transmitter/home/alarm/active", lambda active: len(active) == 1)
    [active] = site.mqtt.of("transmitter/home/alarm/active")[-1].value
    assert {k: active[k] for k in ("event_code", "section", "detector", "reference")} == {
        "event_code": "FA",
        "section": "2",
        "detector": "7",
        "reference": "ref-1",
    }


@live
async def test_a_named_alarm_is_switched(site: Site) -> None:
    await site.start()
    states = "transmitter/home/alarm/burglary/state", "transmitter/home/alarm/fire/state"
    for state in states:
        await site.mqtt.holds(state, "OFF")
    for key, state in zip(("burglary", "fire"), states, strict=True):
        assert (await site.do(f"alarm/{key}/set", "ON"))["request"] == "alarm"
        await site.mqtt.holds(state, "ON")
        assert (await site.do(f"alarm/{key}/set", "OFF"))["request"] == "restore"
        await site.mqtt.holds(state, "OFF")
    assert [(each.event_code, each.section) for each in site.received()] == [("BA", "1"), ("FA", None)]
    # The fire alarm's restore has a code of its own.
    assert [(each.event_code, each.section) for each in site.received("restore")] == [("BA", "1"), ("FR", None)]
    assert (await site.retained())[states[0]] == "OFF"


@live
async def test_a_restore_ends_one_alarm_or_all_of_its_code(site: Site) -> None:
    await site.start()
    alarms: list[dict[str, Any]] = [
        {"event_code": "BA", "section": "1"},
        {"event_code": "BA", "section": "1", "detector": "4"},
        {"event_code": "BA", "section": "2"},
        {"event_code": "FA", "section": "1"},
    ]
    for alarm in alarms:
        assert (await site.do("alarm/raise", alarm))["outcome"] == "accepted"
    assert await _active(site, 4) == [("BA", "1", None), ("BA", "1", "4"), ("BA", "2", None), ("FA", "1", None)]
    await site.mqtt.holds("transmitter/home/alarm/burglary/state", "ON")
    await site.do("alarm/restore", alarms[0])
    assert await _active(site, 3) == [("BA", "1", "4"), ("BA", "2", None), ("FA", "1", None)]
    await site.mqtt.holds("transmitter/home/alarm/burglary/state", "OFF")
    await site.do("alarm/restore", "BA")
    assert await _active(site, 1) == [("FA", "1", None)]
    await site.restart()  # it remembers
    assert [each["event_code"] for each in site.mqtt.of("transmitter/home/alarm/active")[-1].value] == ["FA"]


async def _active(site: Site, count: int) -> list[tuple[str, str | None, str | None]]:
    topic = "transmitter/home/alarm/active"
    await site.mqtt.holds(topic, lambda active: len(active) == count)
    found = site.mqtt.of(topic)[-1].value
    return [(each["event_code"], each["section"], each["detector"]) for each in found]


INVALID: tuple[tuple[str, str | bytes, str], ...] = (
    ("alarm/raise", "", "empty"),
    ("alarm/raise", b"\xff\xfe", "UTF-8"),
    ("alarm/raise", "X" * 200, "event_code"),
    ("alarm/raise", '{"section": "1"}', "event_code"),
    ("alarm/raise", '{"event_code": "BA"', "JSON"),
    ("alarm/raise", '["BA"]', "event code"),
    ("alarm/raise", '{"event_code": "BA", "event_code": "FA"}', "duplicate field"),
    ("alarm/restore", '{"event_code": "B\\u0000A"}', "event_code"),
    ("alarm/burglary/set", "MAYBE", "ON"),
    ("alarm/burglary/set", "", "ON"),
)


@live
async def test_a_wrong_command_is_answered_in_words(site: Site) -> None:
    await site.start()
    for leaf, payload, word in INVALID:
        mark = site.mqtt.mark
        await site.send(leaf, payload)
        result = await site.result(after=mark)
        assert result["outcome"] == "invalid"
        assert word in result["error"], (payload, result["error"])
        event = await site.event("command_rejected", mark)
        assert event.value["topic"] == f"{site.base}/transmitter/home/{leaf}"
        assert event.value["reason"] == result["error"]
        assert not event.retain
    for kind, leaf in (("ping", "ping"), ("auth", "auth/rotate")):
        mark = site.mqtt.mark
        await site.send(leaf, '{"reference": "1", "mood": "good"}')
        result = await site.result(kind=kind, after=mark)
        assert (result["request"], result["outcome"]) == (kind, "invalid")
        assert "mood" in result["error"]
    assert site.arrivals == []
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"


BROKEN_DETAILS: tuple[tuple[str, str], ...] = (
    ('{"event_code": "BA", "colour": "red"}', "colour"),
    ('{"event_code": "BA", "section": ["1"]}', "section"),
    ('{"event_code": "BA", "section": "123456789"}', "section"),
    ('{"event_code": "BA", "transmitter_time": "now"}', "transmitter_time"),
    ('{"event_code": "BA", "position": "57.7N"}', "position"),
    ('{"event_code": "BA", "reference": "' + "x" * 51 + '"}', "reference"),
)


@live
async def test_a_broken_detail_does_not_drop_an_alarm(site: Site) -> None:
    await site.start()
    for payload, word in BROKEN_DETAILS:
        result = await site.do("alarm/raise", payload)
        assert result["outcome"] == "accepted"
        assert any(word in warning for warning in result["warnings"]), result
    assert (await site.do("alarm/raise", '"BA"'))["event_code"] == "BA"
    assert len(site.received()) == len(BROKEN_DETAILS) + 1


@live
async def test_a_wrong_name_is_answered(site: Site) -> None:
    await site.start()
    await site.mqtt.publish("transmitter/hoem/alarm/raise", "BA", reply="reply", correlation=b"7")
    assert "hoem" in (await site.event("command_rejected")).value["reason"]
    answer = await site.mqtt.wait("reply")
    assert (answer.value["outcome"], answer.correlation) == ("invalid", b"7")
    mark = site.mqtt.mark
    await site.send("alarm/flood/set", "ON")
    assert "flood" in (await site.event("command_rejected", mark)).value["reason"]
    assert "burglary" in (await site.event("command_rejected", mark)).value["reason"]
    assert site.arrivals == []


@live
async def test_a_likely_wrong_topic_is_answered_with_the_right_one(site: Site) -> None:
    await site.start()
    for leaf, right in (("alarm/rise", "alarm/raise"), ("alarm/set", "alarm/+/set"), ("rotate", "auth/rotate")):
        mark = site.mqtt.mark
        await site.send(leaf, "BA")
        event = await site.event("command_rejected", mark)
        assert event.value["topic"].endswith(leaf)
        assert f"did you mean '{right}'?" in event.value["reason"]
    assert site.arrivals == []
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    assert len(site.received()) == 1


@live
async def test_two_identical_alarms_are_two(site: Site) -> None:
    await site.start()
    for _ in range(2):
        await site.send("alarm/raise", "BA")
    results = await site.mqtt.wait_all("transmitter/home/alarm/response", 2)
    assert [each.value["outcome"] for each in results] == ["accepted", "accepted"]
    assert len(site.received()) == 2


@live
async def test_ping_and_rotation(site: Site) -> None:
    await site.start()
    for payload, reference in (("", None), ("PRESS", None), ("r7", "r7"), ('{"reference": "r8"}', "r8")):
        result = await site.do("ping", payload)
        assert (result["request"], result["outcome"], result.get("reference")) == ("ping", "accepted", reference)
        assert [each.reference for each in site.received("ping")][-1] == reference
    await site.mqtt.holds("transmitter/home/link", "ON")
    result = await site.do("auth/rotate", "PRESS")
    assert (result["request"], result["outcome"]) == ("auth", "accepted")
    assert (await site.do("ping"))["outcome"] == "accepted"
    assert site.received("ping")[-1].authentication != site.received("ping")[0].authentication


@live
async def test_what_the_bridge_tells_of_itself(site: Site) -> None:
    await site.start()
    info = (await site.mqtt.wait("bridge/info")).value
    assert info["mqtt_protocol"] == "5"
    assert (info["transmitters"], info["panels"]) == (["home"], [])
    assert {"version", "started_at"} <= info.keys()
    health = (await site.mqtt.wait("bridge/health")).value
    expected = {"uptime_s", "rss_bytes", "outbox_pending", "outbox_rejected", "alarms_delivered", "send_failures"}
    assert expected | {"mqtt_reconnects", "panels_online"} == health.keys()
    outbox = (await site.mqtt.wait("transmitter/home/outbox")).value
    assert outbox == {"pending": 0, "oldest_at": None, "rejected": 0, "unauthorized": 0}
    held = await site.retained()
    assert {"bridge/state", "bridge/info", "bridge/health"} <= held.keys()
    assert held["bridge/state"] == "online"
    for topic in ("alarm/active", "outbox", "alarm/burglary/state", "alarm/fire/state"):
        assert f"transmitter/home/{topic}" in held
