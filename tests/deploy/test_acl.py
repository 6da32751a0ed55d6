"""What each user of the shipped access list may read and write, tried on a real broker with the shipped files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest
from deploy.kit import ShippedBroker, password, prepared, run
from homeassistant.payloads import devices

BRIDGE = {
    "sosbridge/bridge/state",
    "sosbridge/bridge/event",
}
HOME = {
    "sosbridge/transmitter/home/alarm/response",
    "sosbridge/transmitter/home/alarm/burglary/state",
    "sosbridge/transmitter/home/undelivered",
}
GARAGE = {"sosbridge/transmitter/garage/alarm/response"}
PANEL = {
    "sosbridge/panel/P/availability",
    "sosbridge/panel/P/state",
    "sosbridge/panel/P/info",
    "sosbridge/panel/P/event",
    "sosbridge/panel/P/sensor/9/state",
    "sosbridge/panel/P/set/response",
}
COMMAND_HOME = {
    "sosbridge/transmitter/home/alarm/raise",
    "sosbridge/transmitter/home/alarm/restore",
    "sosbridge/transmitter/home/alarm/burglary/set",
    "sosbridge/transmitter/home/ping",
}
ROTATE_HOME = {"sosbridge/transmitter/home/auth/rotate"}
COMMAND_GARAGE = {topic.replace("home", "garage") for topic in COMMAND_HOME | ROTATE_HOME}
COMMAND_PANEL = {"sosbridge/panel/P/set"}
DISCOVERY = {"homeassistant/device/sosbridge/config"}
BIRTH = {"homeassistant/status"}
ELSEWHERE = {"homeassistant/light/lamp/config", "zigbee2mqtt/lamp/set", "sosbridge2/transmitter/home/alarm/raise"}
USERS = ("bridge", "reader", "button", "homeassistant", "nodered")
ANSWERS = {user: f"sosbridge-answer/{user}/1" for user in USERS}

STATES = BRIDGE | HOME | GARAGE | PANEL
COMMANDS = COMMAND_HOME | ROTATE_HOME | COMMAND_GARAGE | COMMAND_PANEL
ALL = STATES | COMMANDS | DISCOVERY | BIRTH | ELSEWHERE | set(ANSWERS.values())

READS = {
    "bridge": STATES | COMMANDS | DISCOVERY | BIRTH,
    "reader": STATES | (COMMANDS - COMMAND_PANEL),
    "button": {"sosbridge/bridge/state"} | HOME | COMMAND_HOME | ROTATE_HOME,
    "homeassistant": STATES | (COMMANDS - COMMAND_PANEL) | DISCOVERY | BIRTH | {"homeassistant/light/lamp/config"},
    "nodered": STATES | (COMMANDS - COMMAND_PANEL),
    "stranger": set[str](),
}
WRITES = {
    "bridge": STATES | COMMANDS | DISCOVERY | set(ANSWERS.values()),
    "reader": set[str](),
    "button": COMMAND_HOME,
    "homeassistant": COMMANDS | BIRTH,
    "nodered": COMMANDS - COMMAND_PANEL,
    "stranger": set[str](),
}


@pytest.fixture(scope="module")
def deploy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped files; the access list has one more user for the test, the password file one that has no rights."""
    deploy = prepared(tmp_path_factory.mktemp("acl"))
    with (deploy / "site/mosquitto/secrets/acl").open("a") as acl:
        acl.write("\nuser tester\ntopic readwrite #\n")
    run(deploy / "up", "--prepare")
    secret = deploy / "site/passwords/stranger"
    secret.write_text("x")
    run("mosquitto_passwd", "-b", deploy / "site/mosquitto/secrets/passwords", "stranger", "x")
    return deploy


@pytest.fixture(scope="module")
def broker(deploy: Path) -> Iterator[ShippedBroker]:
    with ShippedBroker(deploy) as broker:
        yield broker


def client(broker: ShippedBroker, deploy: Path, user: str) -> aiomqtt.Client:
    return aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        username=user,
        password=password(deploy, user),
        protocol=aiomqtt.ProtocolVersion.V5,
        timeout=20,
    )


@asynccontextmanager
async def watching(broker: ShippedBroker, deploy: Path, user: str) -> AsyncIterator[aiomqtt.Client]:
    async with asyncio.timeout(30), client(broker, deploy, user) as watcher:
        await watcher.subscribe("#", qos=1)
        yield watcher


async def seen(watcher: aiomqtt.Client, last: str) -> set[str]:
    """Return the topics that came before `last`."""
    found: set[str] = set()
    async for message in watcher.messages:
        if str(message.topic) == last:
            break
        found.add(str(message.topic))
    return found


@pytest.mark.parametrize("user", READS)
def test_what_a_user_reads(broker: ShippedBroker, deploy: Path, user: str) -> None:
    async def scenario() -> set[str]:
        last = f"sosbridge-answer/{user}/last"
        async with watching(broker, deploy, user) as watcher, client(broker, deploy, "tester") as tester:
            for topic in [*sorted(ALL), last]:
                await tester.publish(topic, "x", qos=1)
            return await seen(watcher, last)

    assert asyncio.run(scenario()) == READS[user] | {topic for topic in ANSWERS.values() if f"/{user}/" in topic}


@pytest.mark.parametrize("user", WRITES)
def test_what_a_user_writes(broker: ShippedBroker, deploy: Path, user: str) -> None:
    async def scenario() -> set[str]:
        async with (
            watching(broker, deploy, "tester") as watcher,
            client(broker, deploy, user) as writer,
            client(broker, deploy, "tester") as tester,
        ):
            for topic in sorted(ALL):
                await writer.publish(topic, "x", qos=1)
            await tester.publish("last", "x", qos=1)
            return await seen(watcher, "last")

    assert asyncio.run(scenario()) == WRITES[user]


def test_home_assistant_may_do_all_that_its_entities_need(broker: ShippedBroker, deploy: Path) -> None:
    payload = json.dumps(devices())
    assert '"command_topic": "sosbridge/panel/' in payload
    entities = [entity for device in devices().values() for entity in device["components"].values()]
    commands = {entity["command_topic"] for entity in entities if "command_topic" in entity}
    states = {value for entity in entities for key, value in entity.items() if key in _STATES}
    states |= {each["topic"] for entity in entities for each in entity.get("availability", ())}

    async def scenario() -> None:
        async with (
            watching(broker, deploy, "homeassistant") as home,
            watching(broker, deploy, "tester") as tester,
        ):
            for topic in sorted(states):
                await tester.publish(topic, "x", qos=1)
            await tester.publish("sosbridge-answer/homeassistant/last", "x", qos=1)
            assert await seen(home, "sosbridge-answer/homeassistant/last") == states
            for topic in sorted(commands):
                await home.publish(topic, "x", qos=1)
            await tester.publish("last", "x", qos=1)
            assert await seen(tester, "last") >= commands

    asyncio.run(scenario())


_STATES = ("state_topic", "json_attributes_topic")


@pytest.mark.parametrize(
    "options", [[], ["-u", "bridge"], ["-u", "bridge", "-P", "wrong"], ["-u", "nobody", "-P", "x"]]
)
def test_nobody_comes_in_without_a_password(broker: ShippedBroker, options: list[str]) -> None:
    # Status 5 is what the health check of compose.yaml takes for a broker that is well.
    run("mosquitto_sub", "-p", broker.port, "-t", "health", "-C", 1, "-W", 5, *options, status=5)


def test_the_broker_has_nothing_to_complain_of(broker: ShippedBroker) -> None:
    found = [line for line in broker.log.splitlines() if "Error" in line or "Warning" in line]
    # The tests may run as root, the broker of compose.yaml never does.
    assert [line for line in found if "should not be run as root" not in line] == []


def test_what_waits_outlives_a_restart(deploy: Path, broker: ShippedBroker) -> None:
    """A command for a bridge that is away is there after the broker was started anew."""

    async def scenario() -> str:
        def bridge() -> aiomqtt.Client:
            return aiomqtt.Client(
                "127.0.0.1",
                broker.port,
                username="bridge",
                password=password(deploy, "bridge"),
                identifier="sosbridge",
                clean_session=False,
            )

        async with bridge() as away:
            await away.subscribe("sosbridge/transmitter/+/alarm/raise", qos=1)
        async with client(broker, deploy, "button") as button:
            await button.publish("sosbridge/transmitter/home/alarm/raise", "BA", qos=1)
        broker.stop()
        broker.start()
        async with asyncio.timeout(30), bridge() as back:
            message = await anext(aiter(back.messages))
            assert isinstance(message.payload, bytes)
            return message.payload.decode()

    assert asyncio.run(scenario()) == "BA"
