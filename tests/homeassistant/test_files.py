"""What is shipped for Home Assistant and Node-RED parses, and names topics, payloads and entities that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from homeassistant.payloads import CONTROLLED, NAMES, PANEL

from bridge.common.models import Alarm, NamedAlarm, Request
from bridge.config.sources import load
from bridge.homeassistant.devices import _BRIDGE_EVENTS, bridge_device, transmitter_device
from bridge.homeassistant.panel import panel_device
from bridge.panels.topics import Action, PanelTopics
from bridge.transmitters.commands import parse
from bridge.transmitters.topics import Topics

TOP = Path(__file__).parents[2]
OURS = TOP / "homeassistant"
README = (OURS / "README.md").read_text("utf-8")
BLUEPRINTS = sorted((OURS / "blueprints/automation/sosbridge").glob("*.yaml"))
ALARMS = {key: NamedAlarm(key, key, Alarm(code)) for key, code in (("burglary", "BA"), ("fire", "FA"))}
TOPICS = Topics("sosbridge", {"home": ALARMS})
PANELS = PanelTopics("sosbridge")
COMMANDS = (*TOPICS.commands, *PANELS.commands)
EVENTS = (
    TOPICS.bridge("event"),
    TOPICS.of("+", "undelivered"),
    TOPICS.of("+", "event"),
    PANELS.of("+", "event"),
)
STATES = (*TOPICS.states, *PANELS.states, *EVENTS)
FLOW: list[dict[str, Any]] = json.loads((TOP / "deploy/node-red/flows.json").read_text("utf-8"))


class Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML as Home Assistant reads a blueprint: safe, with one tag more."""


class Input(str):
    """`!input name`."""

    __slots__ = ()


Loader.add_constructor("!input", lambda loader, node: Input(loader.construct_scalar(node)))


def parsed(text: str) -> Any:  # noqa: ANN401 - whatever YAML holds
    return yaml.load(text, Loader)


def matches(pattern: str, topic: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\+", "[^/]+"), topic) is not None


def is_known(topic: str, filters: tuple[str, ...]) -> bool:
    """Tell whether a topic, or a filter with + for any transmitter or panel, is one of `filters`."""
    return any(matches(each, topic) for each in filters)


def told(value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - whatever YAML holds
    """Every key with its value, however deep."""
    if isinstance(value, dict):
        yield from value.items()
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from told(inner)


# Blueprints


def test_the_blueprints_are_there() -> None:
    assert [path.stem for path in BLUEPRINTS] == [
        "alarm_undelivered",
        "forward_alarm",
        "heartbeat_while_fine",
        "panel_offline",
        "problem",
        "test_failed",
    ]


@pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)
def test_a_blueprint_asks_for_what_it_uses(path: Path) -> None:
    found = parsed(path.read_text("utf-8"))
    asked = found["blueprint"]["input"]
    used = {str(value) for _, value in told(found) if isinstance(value, Input)}
    assert used == set(asked)
    assert found["blueprint"]["domain"] == "automation"
    assert all("name" in each and "selector" in each for each in asked.values())
    defaults = [each for name, each in asked.items() if name not in ("actions", "entities", "event_code", "last_test")]
    assert all("default" in each for each in defaults)


@pytest.mark.parametrize(
    "path", [path for path in BLUEPRINTS if "topic:" in path.read_text()], ids=lambda path: path.stem
)
def test_a_blueprint_speaks_the_contract(path: Path) -> None:
    found = parsed(path.read_text("utf-8"))
    inputs = {"base_topic": "sosbridge", "transmitter": "home"}
    assert inputs["base_topic"] == found["blueprint"]["input"]["base_topic"]["default"]
    published = {str(value["topic"]) for key, value in told(found) if key == "data"}
    topics = {str(value) for key, value in told(found) if key == "topic"}
    assert topics
    for template in topics:
        for verb in ("raise", "restore"):
            topic = template.replace("{{ base_topic }}", "sosbridge").replace("{{ transmitter }}", "home")
            topic = topic.replace("{{ 'raise' if now_is in alarmed else 'restore' }}", verb)
            assert "{" not in topic, topic
            assert is_known(topic, COMMANDS if template in published else STATES), topic
    for publish in (value for key, value in told(found) if key == "data"):
        assert publish["qos"] == 1
        assert publish["retain"] is False


def test_the_blueprints_payloads_are_taken() -> None:
    heartbeat = parsed(BLUEPRINTS[2].read_text("utf-8"))
    publish = next(value for key, value in told(heartbeat) if key == "data")
    assert parse(TOPICS, "sosbridge/transmitter/home/ping", publish["payload"].encode()).request is Request.PING
    # The fields that the forwarding blueprint builds its alarm of.
    text = BLUEPRINTS[1].read_text("utf-8")
    fields = re.findall(r"(?:dict\(found, |^ {10})(\w+)=", text, re.MULTILINE)
    assert set(fields) == {"event_code", "section", "detector", "detector_text", "section_text"}
    alarm = json.dumps(dict.fromkeys(fields, "1")).encode()
    for verb, request in (("raise", Request.ALARM), ("restore", Request.RESTORE)):
        assert parse(TOPICS, f"sosbridge/transmitter/home/alarm/{verb}", alarm).request is request


def test_the_results_that_are_told_are_event_types() -> None:
    result = transmitter_device(NAMES, "home", ALARMS, "TST")["components"]["result"]
    asked = parsed(BLUEPRINTS[0].read_text("utf-8"))["blueprint"]["input"]["results"]
    options = asked["selector"]["select"]["options"]
    assert set(asked["default"]) <= set(options) <= {*result["event_types"], *_BRIDGE_EVENTS}


# Discovery


def test_discovery_names_topics_that_the_bridge_has() -> None:
    devices = (
        bridge_device(NAMES),
        transmitter_device(NAMES, "home", ALARMS, "TST"),
        panel_device(NAMES, PANEL, CONTROLLED),
    )
    for component in (each for device in devices for each in device["components"].values()):
        topics = {value for key, value in told(component) if key in ("state_topic", "json_attributes_topic", "topic")}
        assert topics or "command_topic" in component
        assert [topic for topic in topics if not is_known(topic, STATES)] == []
        assert is_known(component.get("command_topic", TOPICS.of("home", "ping")), COMMANDS)


# By hand


def by_hand() -> list[tuple[str, dict[str, Any]]]:
    blocks = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 1
    return [(platform, entity) for entry in parsed(blocks[0])["mqtt"] for platform, entity in entry.items()]


@pytest.mark.parametrize(("platform", "entity"), by_hand(), ids=lambda value: value if isinstance(value, str) else "")
def test_an_entity_by_hand_speaks_the_contract(platform: str, entity: dict[str, Any]) -> None:
    for key in ("state_topic", "json_attributes_topic", "availability_topic"):
        assert is_known(entity.get(key, TOPICS.bridge("state")), STATES), entity[key]
    assert all(is_known(each["topic"], STATES) for each in entity.get("availability", ()))
    assert "availability_topic" in entity or "availability" in entity
    assert entity["qos"] == 1
    assert "retain" not in entity
    if "command_topic" in entity:
        assert is_known(entity["command_topic"], COMMANDS)
    if "payload_press" in entity:
        parse(TOPICS, entity["command_topic"], entity["payload_press"].encode())


def plain(value: Any) -> Any:  # noqa: ANN401 - any option
    """Return a template without spaces and brackets."""
    return re.sub(r"[\s()]+", "", value) if isinstance(value, str) else value


def test_by_hand_is_as_it_is_discovered() -> None:
    """The same platform on the same topic has the same templates and classes."""
    devices = (transmitter_device(NAMES, "home", ALARMS, "TST"), panel_device(NAMES, PANEL, CONTROLLED))
    discovered = {
        (each["platform"], each.get("command_topic") or each["state_topic"], each.get("payload_press", "PRESS")): each
        for device in devices
        for each in device["components"].values()
    }
    compared = ("value_template", "device_class", "options", "state_class", "supported_features")
    for platform, entity in by_hand():
        topic = entity.get("command_topic") or entity["state_topic"]
        twin = discovered[platform, topic, entity.get("payload_press", "PRESS")]
        assert {key: plain(twin.get(key)) for key in compared} == {key: plain(entity.get(key)) for key in compared}
        assert set(entity.get("event_types", ())) == set(twin.get("event_types", ()))


def test_a_code_by_hand_is_a_command_that_is_taken() -> None:
    panel = next(entity for platform, entity in by_hand() if platform == "alarm_control_panel")
    for code in ("1234", 'a "quoted" one', None):
        payload = rendered(panel["command_template"], action="DISARM", code=code)
        command = PANELS.parse(panel["command_topic"], payload.encode())
        assert command.action is Action.DISARM
        assert (command.code.reveal() if command.code else None) == code


class _ToJson:
    """The filter `to_json` of Home Assistant."""

    def __ror__(self, value: object) -> str:
        return json.dumps(value)


def rendered(template: str, **variables: object) -> str:
    """Return what a template becomes whose one expression reads the same in Python."""
    (expression,) = re.fullmatch(r"\{\{(.*)\}\}", template.strip()).groups()  # type: ignore[union-attr]
    return str(eval(expression.strip(), {"__builtins__": {}, "dict": dict, "to_json": _ToJson(), **variables}))


# The guide


def test_the_guide_names_files_that_there_are() -> None:
    files = re.findall(r"\]\(([^)#:]+?)(?:#[a-z-]+)?\)", README)
    pictures = [file for file in files if file.startswith("pictures/")]
    assert pictures == [f"pictures/{name}.png" for name in ("dashboard", "bridge", "transmitter", "panel")]
    assert [file for file in files if not (OURS / file).exists()] == []
    assert {path.name for path in BLUEPRINTS} <= {Path(file).name for file in files}


def test_the_switches_of_the_guide_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets := tmp_path / "secrets").mkdir()
    (secrets / "transmitters__home__authentication").write_text("012345678912345")
    monkeypatch.setenv("SOSBRIDGE_SECRETS_DIR", str(secrets))
    block = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)[0]
    shipped = (TOP / "deploy/sosbridge.toml").read_text("utf-8")
    assert "\n[g90]\n" in shipped
    file = tmp_path / "sosbridge.toml"
    file.write_text(shipped.replace("\n[g90]\n", f"\n{block}\n[g90]\n"))
    assert [alarm.key for alarm in load(file).transmitters[0].alarms] == list(ALARMS)


# Node-RED


def nodes(kind: str) -> list[dict[str, Any]]:
    found = [node for node in FLOW if node["type"] == kind]
    assert found, kind
    return found


def test_the_flow_speaks_mqtt_5_and_retains_no_command() -> None:
    (broker,) = nodes("mqtt-broker")
    assert broker["protocolVersion"] == "5"
    # What comes while Node-RED is away waits for it at the broker.
    assert (broker["cleansession"], broker["autoUnsubscribe"]) == (False, False)
    assert broker["clientid"]
    assert int(broker["sessionExpiry"]) > 0
    for node in nodes("mqtt out"):
        assert is_known(node["topic"], COMMANDS), node["topic"]
        assert (node["qos"], node["retain"]) == ("1", "false")
    for node in nodes("mqtt in"):
        assert is_known(node["topic"], STATES) or node["topic"].startswith("sosbridge-answer/nodered/")
        assert node["qos"] == "1"


def test_the_flow_explains_itself_and_hangs_together() -> None:
    assert len(nodes("comment")) >= 3
    ids = {node["id"] for node in FLOW}
    assert len(ids) == len(FLOW)
    assert {wire for node in FLOW for output in node.get("wires", ()) for wire in output} <= ids
    assert {node["broker"] for kind in ("mqtt in", "mqtt out") for node in nodes(kind)} <= ids


def test_the_flow_asks_for_its_answer_where_it_listens() -> None:
    asked = {found for node in nodes("function") for found in re.findall(r'responseTopic = "(.*?)"', node["func"])}
    assert asked == {node["topic"] for node in nodes("mqtt in") if node["topic"].startswith("sosbridge-answer/")}


def test_the_alarm_of_the_flow_is_taken() -> None:
    commands = {node["id"]: node["topic"] for node in nodes("mqtt out")}
    tried = 0
    for node in nodes("function"):
        for target in node["wires"][0]:
            if target in commands:
                found = re.findall(r"msg\.payload = (\{.*?\});", node["func"], re.DOTALL)[0]
                payload = re.sub(r"(\w+):", r'"\1":', found)
                assert parse(TOPICS, commands[target], payload.encode()).alarm is not None
                tried += 1
    assert tried == len(commands) == 2
