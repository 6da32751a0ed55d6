"""What MQTT brings with it: retained commands, response topics, both protocol versions, redelivery."""

from __future__ import annotations

from support.harness import Site, live

RAISE = "transmitter/home/alarm/raise"
IGNORED = "retained_command_ignored"


@live
async def test_a_retained_command_is_refused_at_each_connect(site: Site) -> None:
    await site.listen()
    await site.mqtt.publish(RAISE, "BA", retain=True)
    for _ in range(2):  # it would fire at each start
        mark = site.mqtt.mark
        await site.start()
        event = (await site.event(IGNORED, mark)).value
        assert event["topic"] == f"{site.base}/{RAISE}"
        assert f"mosquitto_pub -r -n -t '{site.base}/{RAISE}'" in event["reason"]
        assert (await site.do("alarm/raise", "FA"))["outcome"] == "accepted"
        site.bridge.kill()
    assert [each.event_code for each in site.received()] == ["FA", "FA"]


@live
async def test_a_retained_command_is_refused_while_we_listen(site: Site) -> None:
    await site.start()
    await site.mqtt.publish(RAISE, "BA", retain=True)
    await site.event(IGNORED)
    await site.mqtt.publish(RAISE, "", retain=True)  # clearing it is no command
    mark = site.mqtt.mark
    assert (await site.do("alarm/raise", "FA"))["outcome"] == "accepted"
    assert site.mqtt.of("bridge/event", mark) == []
    assert [each.event_code for each in site.received()] == ["FA"]


@live
async def test_with_3_1_1_a_retained_command_is_carried_out_once_while_we_listen(site: Site) -> None:
    """The broker does not say that it is retained, until the next connect."""
    site.settings["mqtt"]["protocol"] = "3.1.1"
    await site.start()
    await site.mqtt.publish(RAISE, "BA", retain=True)
    assert (await site.result())["outcome"] == "accepted"
    mark = site.mqtt.mark
    await site.restart()
    await site.event(IGNORED, mark)
    assert (await site.do("alarm/raise", "FA"))["outcome"] == "accepted"
    assert [each.event_code for each in site.received()] == ["BA", "FA"]


@live
async def test_a_response_topic_gets_the_result(site: Site) -> None:
    await site.start()
    await site.send("alarm/raise", "BA", reply="reply/1", correlation=b"\x00one")
    answer = await site.mqtt.wait("reply/1")
    assert (answer.correlation, answer.retain) == (b"\x00one", False)
    assert answer.value == await site.result()
    await site.send("alarm/raise", "", reply="reply/2", correlation=b"two")
    answer = await site.mqtt.wait("reply/2")
    assert (answer.value["outcome"], answer.correlation) == ("invalid", b"two")
    await site.send("ping", reply="reply/3")
    answer = await site.mqtt.wait("reply/3")
    assert (answer.value["request"], answer.value["outcome"], answer.correlation) == ("ping", "accepted", None)


@live
async def test_a_response_topic_gets_the_result_after_a_restart(site: Site) -> None:
    await site.start()
    await site.primary.stop()
    await site.secondary.stop()
    await site.send("alarm/raise", "BA", reply="reply", correlation=b"later")
    await site.mqtt.wait("transmitter/home/undelivered")
    site.bridge.kill()
    await site.secondary.start()
    await site.start()
    answer = await site.mqtt.wait("reply")
    assert (answer.value["outcome"], answer.value["receiver"]) == ("accepted", "secondary")
    assert answer.correlation == b"later"


@live
async def test_protocol_3_1_1_does_the_same(site: Site) -> None:
    site.settings["mqtt"]["protocol"] = "3.1.1"
    await site.listen()
    await site.mqtt.publish(RAISE, "BA", retain=True)
    await site.start()
    await site.event(IGNORED)
    assert (await site.mqtt.wait("bridge/info")).value["mqtt_protocol"] == "3.1.1"
    assert (await site.do("alarm/raise", {"event_code": "FA", "section": "1"}))["outcome"] == "accepted"
    assert (await site.do("alarm/raise", ""))["outcome"] == "invalid"
    assert (await site.do("alarm/burglary/set", "ON"))["outcome"] == "accepted"
    await site.mqtt.holds("transmitter/home/alarm/burglary/state", "ON")
    mark = site.mqtt.mark
    site.bridge.kill()
    await site.mqtt.wait("bridge/state", lambda value: value == "offline", after=mark)
    await site.send("alarm/raise", {"event_code": "SA"})  # it waits in the broker
    await site.start()
    await site.result(lambda result: result.get("event_code") == "SA")
    assert [each.event_code for each in site.received()] == ["FA", "BA", "SA"]


@live
async def test_a_response_topic_for_which_the_broker_hangs_up_keeps_nothing_from_the_others(site: Site) -> None:
    """It lets pass a command with such a topic, and not what is published there: it has too many levels."""
    await site.start()
    await site.send("alarm/raise", "BA", reply="a" + "/" * 201)
    await site.bridge.logs("no reply on response topic")
    await site.result(lambda result: result.get("event_code") == "BA")
    assert (await site.do("alarm/raise", "FA"))["outcome"] == "accepted"
    assert [each.event_code for each in site.received()] == ["BA", "FA"]
