"""The sources of the configuration: the contract's example, one value of one table from anywhere, wrong sources."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.config import CONTRACT, HOME, PASSWORD

from bridge.common.errors import ConfigError
from bridge.config.settings import Settings
from bridge.config.sources import _put, load

GUID = "GB7F20C14D05A91"


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    path = tmp_path / "contract.toml"
    path.write_text(CONTRACT, "utf-8")
    return path


def fault(*given: Any) -> str:  # noqa: ANN401 - what load takes
    with pytest.raises(ConfigError) as caught:
        load(*given)
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def test_the_contracts_example_means_what_it_says(contract: Path) -> None:
    found = load(contract)
    assert [warning.split(":")[1][:11] for warning in found.warnings] == [" heartbeat ", " tls_verify", " no rule fo"]
    missing = "alarm (other), alarm (gas), alarm (water), sos, tamper, panel_offline, ac_power_lost"
    assert found.warnings[-1] == f"panel House: no rule forwards {missing}"
    mqtt = found.mqtt
    assert (mqtt.host, mqtt.port, mqtt.protocol, mqtt.base_topic, mqtt.client_id) == (
        "localhost", 1883, "5", "sosbridge", "sosbridge",
    )  # fmt: skip
    assert mqtt.password
    assert mqtt.password.reveal() == "secret"
    assert (mqtt.session_expiry, mqtt.tls) == (7 * 86400, None)
    assert (found.homeassistant.enabled, found.homeassistant.discovery_prefix) == (True, "homeassistant")
    assert found.store.path == Path("/data/sosbridge.db")
    [home] = found.transmitters
    assert (home.name, home.transmitter_code, home.transmitter_type) == ("home", "IK00001", "SV001")
    assert (home.receiver, home.secondary_receiver) == ("alarm.example.com:19100", "alarm2.example.com:19100")
    assert (home.use_tls, home.tls_verify, home.heartbeat_s, home.max_age) == (True, "none", 180.0, 86400.0)
    [burglary] = [alarm.named() for alarm in home.alarms]
    assert (burglary.key, burglary.name) == ("burglary", "Burglary")
    assert (burglary.alarm.event_code, burglary.alarm.section, burglary.alarm.section_text) == ("BA", "1", "House")
    assert found.g90
    assert (found.g90.listen, found.g90.announce, found.g90.upstream) == ("0.0.0.0:5678", "192.168.1.10:5678", None)
    [panel] = found.g90.panels
    assert (panel.guid, panel.name, panel.control, panel.host) == (GUID, "House", "local", "192.168.1.50")
    [rule] = found.forward
    assert (rule.panel, rule.event, rule.sensor_type, rule.event_code) == (GUID, "alarm", "smoke", "FA")


KEYS = [
    ("mqtt.port", "2883", lambda found: found.mqtt.port == 2883),
    ("mqtt.tls.ca_file", "/ca.pem", lambda found: found.mqtt.tls.ca_file == Path("/ca.pem")),
    ("homeassistant.enabled", "false", lambda found: found.homeassistant.enabled is False),
    ("store.history", "1d", lambda found: found.store.history == 86400),
    ("transmitters.home.max_age", "5m", lambda found: found.transmitters[0].max_age == 300),
    ("transmitters.home.use_tls", "0", lambda found: found.transmitters[0].use_tls is False),
    ("transmitters.home.alarms.burglary.section", "7", lambda found: found.transmitters[0].alarms[0].section == "7"),
    ("g90.max_connections", "7", lambda found: found.g90.max_connections == 7),
    (f"g90.panels.{GUID}.code", "1234", lambda found: found.g90.panels[0].code.reveal() == "1234"),
]


@pytest.mark.parametrize(("key", "value", "holds"), KEYS)
@pytest.mark.parametrize("source", ["line", "environment", "secret file"])
def test_any_value_can_come_from_any_source(
    contract: Path,
    secrets: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    key: str,
    value: str,
    holds: Any,  # noqa: ANN401
) -> None:
    overrides = []
    if source == "line":
        overrides = [f"{key}={value}"]
    elif source == "environment":
        monkeypatch.setenv(f"SOSBRIDGE_{key.replace('.', '__').upper()}", value)
    else:
        (secrets / key.replace(".", "__")).write_text(f"{value}\n")
    found = load(contract, overrides)
    assert holds(found)
    assert (len(found.transmitters), len(found.transmitters[0].alarms)) == (1, 1)
    assert found.g90
    assert [panel.guid for panel in found.g90.panels] == [GUID]


def test_a_whole_table_can_come_from_the_environment(contract: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOSBRIDGE_MQTT", '{"host": "there", "port": 7}')
    monkeypatch.setenv("SOSBRIDGE_MQTT__PORT", "8")
    found = load(contract)
    assert (found.mqtt.host, found.mqtt.port, found.mqtt.username) == ("there", 8, "bridge")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SOSBRIDGE_MQTT", "host", "SOSBRIDGE_MQTT: not JSON"),
        ("SOSBRIDGE_MQTT", "[]", "mqtt: is not a table; write its settings below [mqtt]"),
        ("SOSBRIDGE_TRANSMITTERS", f'[{{"authentication": "{PASSWORD}"', "SOSBRIDGE_TRANSMITTERS: not JSON"),
        ("SOSBRIDGE_TRANSMITTERS__HOME", "7", "transmitters.home: "),
        ("SOSBRIDGE_TRANSMITTERS__HOME__ALARMS", "[{", "transmitters.home.alarms: "),
        ("SOSBRIDGE_G90", "{", "g90: "),
        ("SOSBRIDGE_G90__PANELS__X", "[", "g90.panels.x: "),
        ("SOSBRIDGE_MQTT__TLS", "yes", "mqtt.tls: "),
        ("SOSBRIDGE_MQTT__PASSWRD", PASSWORD, "mqtt.passwrd: unknown setting"),
        ("SOSBRIDGE_MQTT__PORT", "", "mqtt.port: "),
    ],
)
def test_a_wrong_environment_is_a_line(
    contract: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    said = fault(contract).splitlines()
    assert any(line.startswith(f"the environment: {words}") for line in said), said


def test_a_password_of_the_wrong_kind_is_not_repeated(contract: Path, tmp_path: Path) -> None:
    for value in (PASSWORD, f'["{PASSWORD}"]', f'{{value = "{PASSWORD}"}}'):
        path = tmp_path / "wrong.toml"
        path.write_text(HOME.replace(f'authentication = "{PASSWORD}"', f"authentication = {value.lstrip('0')}"))
        assert "transmitters.home.authentication: " in fault(path)
    assert "mqtt.password: " in fault(contract, ["mqtt.password.x=" + PASSWORD])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ('name = "home"\n', "transmitters: table 1: name: is missing"),
        ('key = "burglary"\n', "alarms: table 1: key: is missing"),
        ('guid = "GB7F20C14D05A91"\n', "panels: table 1: guid: is missing"),
    ],
)
def test_a_table_without_its_name_is_told(tmp_path: Path, name: str, words: str) -> None:
    path = tmp_path / "nameless.toml"
    path.write_text(CONTRACT.replace(name, "", 1))
    assert fault(path).startswith(f"{path}: {words}")


_leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just(PASSWORD)
_values = st.recursive(
    _leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def _paths(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:  # noqa: ANN401 - what TOML may hold
    if isinstance(tree, list):
        tree = {str(number): each for number, each in enumerate(tree)}
    if not isinstance(tree, dict):
        return [path]
    found = [path] if path else []
    for key, value in tree.items():
        found += _paths(value, (*path, key))
    return found


def _changed(tree: Any, path: tuple[str, ...], value: object) -> Any:  # noqa: ANN401 - the same
    """Return `tree` with `value` at `path`, or without it for the value None."""
    if not path:
        return value
    key: Any = int(path[0]) if isinstance(tree, list) else path[0]
    copy = list(tree) if isinstance(tree, list) else dict(tree)
    if len(path) == 1 and value is None:
        del copy[key]
    else:
        copy[key] = _changed(copy[key], path[1:], value)
    return copy


_WHOLE = tomllib.loads(CONTRACT)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_a_file_holds_is_settings_or_words(monkeypatch: pytest.MonkeyPatch, data: st.DataObject) -> None:
    tree = _WHOLE
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(_paths(tree)))
        tree = _changed(tree, path, data.draw(_values))
        if not isinstance(tree, dict) or not tree:
            return
    monkeypatch.setattr("tomllib.load", lambda _: tree)
    try:
        found = load(Path(__file__))
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - most are wrong, some are not
        for line in str(error).splitlines():
            assert line.startswith(f"{__file__}: "), line
            assert line.isprintable()
    else:
        assert isinstance(found, Settings)


_parts = st.sampled_from(
    ["mqtt", "host", "tls", "transmitters", "home", "alarms", "burglary", "g90", "panels", "0", ""]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.lists(_parts, min_size=1, max_size=4), st.text(max_size=9)), max_size=3))
def test_whatever_is_set_on_the_command_line_is_settings_or_words(
    contract: Path, wanted: list[tuple[list[str], str]]
) -> None:
    overrides = [f"{'.'.join(path)}={value}" for path, value in wanted]
    try:
        load(contract, overrides)
    except ConfigError as error:
        assert all(": " in line for line in str(error).splitlines())  # noqa: PT017


def test_of_two_values_at_one_place_the_later_one_counts() -> None:
    values: dict[str, Any] = {}
    _put(values, ["a", "b"], 1)
    _put(values, ["a"], 2)
    _put(values, ["a", "c"], 3)
    assert values == {"a": {"c": 3}}
