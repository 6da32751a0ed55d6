"""Mistakes that people make: each is answered with one line that names the setting and what to write instead."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.common.errors import ConfigError
from bridge.config.faults import fields_at, settings_at
from bridge.config.sources import load

EXAMPLE = files("bridge.config").joinpath("example.toml").read_text("utf-8")
SECOND_PATH = "home: heartbeat 180s requires a second network path"


def changed(old: str, new: str, *, count: int = -1) -> str:
    assert old in EXAMPLE
    return EXAMPLE.replace(old, new, count)


def lines(text: str, *overrides: str) -> list[str]:
    Path("sosbridge.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(None, overrides)
    return [line.removeprefix("sosbridge.toml: ") for line in str(caught.value).splitlines()]


def warnings(text: str) -> list[str]:
    Path("sosbridge.toml").write_text(text, "utf-8")
    return [line for line in load().warnings if not line.startswith(SECOND_PATH)]


MISTAKES = {
    "header of mqtt deleted": (
        changed("[mqtt]\n", "", count=1),
        "host, port, username, password, protocol, base_topic, session_expiry: unknown settings; put them below [mqtt]",
    ),
    "transmitters in single brackets": (
        changed("[[transmitters]]", "[transmitters]"),
        "transmitters: write [[transmitters]], in double brackets",
    ),
    "panels in single brackets": (
        changed("[[g90.panels]]", "[g90.panels]"),
        "panels: write [[g90.panels]], in double brackets",
    ),
    "alarms in single brackets": (
        changed("[[transmitters.alarms]]", "[transmitters.alarms]"),
        "alarms: write [[transmitters.alarms]], in double brackets",
    ),
    "forward in single brackets": (
        '[g90]\n[forward]\nevent = "alarm"\n',
        "forward: is not a table; write its settings below [[forward]], in double brackets",
    ),
    "two transmitters in single brackets": (
        "[transmitters]\n[transmitters]\n",
        (
            "not TOML: Cannot declare ('transmitters',) twice (at line 2, column 14); "
            "tables in lists have double brackets, such as [[transmitters]]"
        ),
    ),
    "mqtt in double brackets": (
        changed("[mqtt]", "[[mqtt]]"),
        "mqtt: is not a table; write its settings below [mqtt], in single brackets",
    ),
    "no quotes": (
        '[mqtt]\nhost = "a"\nusername = bridge',
        "not TOML: Invalid value (at line 3, column 12); texts need quotes",
    ),
    "another protocol": (changed('protocol = "5"', "protocol = 4"), "mqtt.protocol: '4' is not one of: 5, 3.1.1"),
    "a port in words": (changed("port = 1883", 'port = "abc"'), "mqtt.port: 'abc' is not a whole number (1 to 65535)"),
    "a port too high": (changed("port = 1883", "port = 70000"), "mqtt.port: 70000 is out of range (1 to 65535)"),
    "a port in the host": (
        changed('host = "localhost"', 'host = "localhost:1883"'),
        "mqtt.host: 'localhost:1883' is not a host; use a name or an address, and mqtt.port for the port",
    ),
    "a duration without a unit": (
        changed('restore_on = "disarmed" ', 'restore_on = "5" '),
        "forward: rule 1: restore_on: '5' is not a duration; use for example 5s or 5m, or an event such as disarmed",
    ),
    "a duration out of range": (
        changed('# poll = "60s"', 'poll = "5s"'),
        "g90.poll: 5s is out of range (at least 10s)",
    ),
    "a listening port alone": (
        changed('"0.0.0.0:5678"', '"5678"'),
        "g90.listen: '5678' is not an address; use host:port, such as 0.0.0.0:5678",
    ),
    "an announced port alone": (
        changed('announce = "192.168.1.10:5678"', 'announce = "5678"'),
        "g90.announce: '5678' is not an IPv4 address and a port; use for example 192.168.1.10:5678",
    ),
    "a typo": (changed("username", "usrname"), "mqtt.usrname: unknown setting; did you mean 'username'?"),
    "a typo in what is required": (
        changed("receiver_id", "reciever_id"),
        "transmitters.home.reciever_id: unknown setting; did you mean 'receiver_id'?",
    ),
    "a typo in a name": (
        changed('name = "home"', 'nam = "home"'),
        "transmitters: table 1: name: is missing; 'nam' looks like a typo of it",
    ),
    "a typo in a header": (changed("[store]", "[stor]"), "stor: unknown setting; did you mean 'store'?"),
    "a setting below another header": (
        changed("[log]", '[log]\nkeepalive = "30s"'),
        "log.keepalive: unknown setting; put it below [mqtt]",
    ),
    "an unknown setting": (
        changed("[log]", "[log]\nxyz = 1"),
        "log.xyz: unknown setting; known here: level, format",
    ),
    "an unknown event": (
        changed('event = "sos"', 'event = "soss"'),
        "forward: rule 5: event: unknown event 'soss'; did you mean 'sos'?",
    ),
    "an unknown event that restores": (
        changed('restore_on = "disarmed" ', 'restore_on = "disarm" '),
        "forward: rule 1: restore_on: unknown event 'disarm'; did you mean 'disarmed'?",
    ),
    "an unknown sensor type": (
        changed('"smoke"', '"smok"'),
        "forward: rule 1: sensor_type: unknown sensor type 'smok'; did you mean 'smoke'?",
    ),
    "an unknown transmitter in every rule": (
        changed('transmitter = "home"', 'transmitter = "hme"'),
        "forward: rules 1, 2, 3, 4, 5, 6, 7, 8: unknown transmitter 'hme'; did you mean 'home'?",
    ),
    "an unknown panel": (
        changed('panel = "GB7F20C14D05A91"', 'panel = "GB7F20C14D05A92"'),
        "forward: rule 1: unknown panel 'GB7F20C14D05A92'; did you mean 'GB7F20C14D05A91'?",
    ),
    "a panel by its name": (
        changed('panel = "GB7F20C14D05A91"', 'panel = "House"'),
        "forward: rule 1: unknown panel 'House'; did you mean 'GB7F20C14D05A91'?",
    ),
    "a misspelt way to verify": (
        changed('tls_verify = "system"', 'tls_verify = "sytem"'),
        "transmitters.home.tls_verify: 'sytem' is not a file; use system, a CA file, sha256:... or none",
    ),
    "a number for a text": (
        changed('section = "1"', "section = 1"),
        "transmitters.home.alarms.burglary.section: 1 is not a text in quotes",
    ),
    "a text for a switch": (
        changed("use_tls = true", 'use_tls = "ja"'),
        "transmitters.home.use_tls: 'ja' is not true or false",
    ),
    "a value of several kinds": (
        changed('section = "1"', "additional_info = {a = 1}"),
        (
            "transmitters.home.alarms.burglary.additional_info: "
            "is not a text in quotes, a table of texts or a list of texts"
        ),
    ),
    "a database that is no PostgreSQL": (
        changed('# url = "postgresql://', 'url = "mysql://'),
        "store.url: is not the address of a PostgreSQL; use postgresql://USER@HOST/DATABASE",
    ),
    "a lease shorter than a commit may take": (
        changed('# lease = "5s"', 'lease = "3s"'),
        "store.lease: 3s is out of range (4s to 1m)",
    ),
    "a node's name with a space": (
        changed('# name = "bridge-a"', 'name = "bridge a"'),
        "node.name: 'bridge a' is not a name of a node; use up to 40 letters, digits, ., - and _, such as bridge-a",
    ),
    "a password of another kind": (
        changed('authentication = "012345678912345"', "authentication = 12345"),
        "transmitters.home.authentication: is not a text in quotes",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str) -> None:
    text, line = MISTAKES[mistake]
    assert lines(text) == [line]


def test_of_two_mistakes_each_is_a_line() -> None:
    text = changed('receiver = "alarm.example.com:19100"', 'receiver = "here"\nreciever = "alarm.example.com:19100"')
    assert lines(text.replace("port = 1883", "port = 0")) == [
        "transmitters.home.reciever: unknown setting; did you mean 'receiver'?",
        "mqtt.port: 0 is out of range (1 to 65535)",
        ("transmitters.home.receiver: 'here' is not an address; use host:port, such as alarm.example.com:19100"),
    ]


ACCEPTED: list[tuple[str, str, Callable[[Any], bool]]] = [
    ('protocol = "5"', "protocol = 5", lambda found: found.mqtt.protocol == "5"),
    ('level = "info"', 'level = "INFO"', lambda found: found.log.level == "info"),
    ('event = "sos"', 'event = "SOS"', lambda found: found.forward[4].rule().event == "sos"),
    ('sensor_type = "smoke"', 'sensor_type = "Smoke"', lambda found: found.forward[0].rule().sensor_type == "smoke"),
    ('tls_verify = "system"', "", lambda found: found.transmitters[0].tls_verify == "system"),
]


@pytest.mark.parametrize(("old", "new", "holds"), ACCEPTED)
def test_what_can_only_mean_one_thing_is_accepted(old: str, new: str, holds: Callable[[Any], bool]) -> None:
    assert warnings(changed(old, new)) == []
    assert holds(load())


RISKS = {
    "secondary = primary": (
        changed("alarm2.example", "Alarm.example"),
        "home: secondary_receiver: Alarm.example.com:19100 is also the primary receiver; ask for the second address",
    ),
    "relative store": (
        changed("/data/sosbridge.db", "sosbridge.db"),
        "store.path: 'sosbridge.db' is relative, here it means ",
    ),
    "GUID": (
        changed("GB7F20C14D05A91", "xyz"),
        "panel xyz: a GUID has 15 capital letters and digits; this one does not",
    ),
    "nobody is verified": (
        changed('tls_verify = "system"', 'tls_verify = "none"'),
        'home: tls_verify is "none": any server can pose as the receiver; use "system", a CA file or sha256:...',
    ),
    "MQTT's port for TLS": (
        changed("port = 1883", "port = 8883"),
        "mqtt.port: 8883 usually needs TLS; add a [mqtt.tls]",
    ),
    "MQTT's password alone": (changed("username", "# username"), "mqtt.password: has no effect without mqtt.username"),
    "MQTT's key alone": (
        changed("[homeassistant]", '[mqtt.tls]\nkey_file = "/x"\n[homeassistant]'),
        "mqtt.tls.key_file: has no effect without mqtt.tls.cert_file",
    ),
    "shards of nothing": (changed("# shards = 1 ", "shards = 8 "), "store.shards: has no effect without store.url"),
    "a node alone": (changed('# name = "bridge-a"', 'name = "a"'), "node.name: has no effect without store.url"),
    "a cluster with MQTT 3.1.1": (
        changed("# url", "url").replace('protocol = "5"', 'protocol = "3.1.1"'),
        "mqtt.protocol: with 3.1.1 each take-over turns the bridge unavailable for a moment",
    ),
    "a cluster whose commands do not wait": (
        changed("# url", "url").replace('session_expiry = "7d"', 'session_expiry = "0s"'),
        "mqtt.session_expiry: commands published during a take-over are lost; use for example 7d",
    ),
    "nothing to do": ("", "there is neither a [[transmitters]] nor a [g90] table: nothing to do"),
}


@pytest.mark.parametrize("risk", RISKS)
def test_what_is_allowed_and_likely_wrong_is_one_warning(risk: str) -> None:
    text, line = RISKS[risk]
    [warning] = warnings(text)
    assert warning.startswith(line)


VARIABLES = {
    "SOSBRIDGE_MQTT_PASSWORD": "SOSBRIDGE_MQTT__PASSWORD",
    "SOSBRIDGE_MQTT_TLS_CA_FILE": "SOSBRIDGE_MQTT__TLS__CA_FILE",
    "SOSBRIDGE_TRANSMITTERS_HOME_AUTHENTICATION": "SOSBRIDGE_TRANSMITTERS__HOME__AUTHENTICATION",
    "SOSBRIDGE_MQT__HOST": "SOSBRIDGE_MQTT__HOST",
}


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_that_nothing_is_read_from_is_a_warning(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "a-password-1234")
    assert warnings(EXAMPLE) == [f"{name} is ignored; did you mean {VARIABLES[name]}?"]
    Path("sosbridge.toml").unlink()
    with pytest.raises(ConfigError, match=r"no configuration: looked for .*\n.* is ignored; did you mean "):
        load()


def test_other_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOSBRIDGE_COLOUR", "blue")
    monkeypatch.setenv("SOSBRIDGE_MQTT__USERNAME", "bridge")
    assert warnings(EXAMPLE) == ["SOSBRIDGE_COLOUR is ignored; no such setting"]


def test_a_secret_file_that_nothing_is_read_from_is_a_warning(secrets: Path) -> None:
    (secrets / "mqtt_password").write_text("x")
    (secrets / "something_else").write_text("x")
    assert warnings(EXAMPLE) == [
        f"the secret file {secrets / 'mqtt_password'} is ignored; did you mean mqtt__password?"
    ]


_WHOLE = tomllib.loads(EXAMPLE)
_WHOLE["transmitters"][0]["paths"] = [{"name": "fixed", "interface": "eth0"}]
_WHOLE["mqtt"]["tls"] = {}
_RAW = ("pydantic", "nput should be", "alue error", "validation", "type=")
"""Words of the library that checks settings."""
_VALUES = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9).filter(lambda text: not any(raw in text for raw in _RAW))
    | st.lists(st.integers() | st.text(max_size=3), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2)
    | st.dates()
)


@contextmanager
def put(key: tuple[str | int, ...], value: object) -> Iterator[None]:
    """Have `value` at `key` of the example."""
    table: Any = _WHOLE
    for part in key[:-1]:
        table = table[part]
    missing = object()
    before = table.get(key[-1], missing)
    table[key[-1]] = value
    try:
        yield
    finally:
        table[key[-1]] = before
        if before is missing:
            del table[key[-1]]


@pytest.mark.parametrize("key", sorted(settings_at(), key=str), ids=lambda key: ".".join(map(str, key)))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_wrong_value_of_any_setting_is_answered_in_our_words(
    monkeypatch: pytest.MonkeyPatch, key: tuple[str | int, ...], data: st.DataObject
) -> None:
    with put(key, data.draw(_VALUES)):
        monkeypatch.setattr("tomllib.load", lambda _: _WHOLE)
        try:
            load(Path(os.devnull))
        except ConfigError as error:
            text = str(error)
        else:
            return
    for raw in _RAW:
        assert raw not in text
    assert all(line.startswith(f"{os.devnull}: ") for line in text.splitlines())
    assert any(str(name) in text for name in key[-1:] if name in fields_at(key[:-1]))
