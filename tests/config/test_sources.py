"""The configuration: what goes before what, and what is said about each kind of fault."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from bridge.common.errors import ConfigError
from bridge.config.settings import Settings
from bridge.config.sources import find, load

PASSWORD = "configured-pw-1"
HOME = f"""
[[transmitters]]
name = "home"
transmitter_code = "IK1"
transmitter_type = "SV301"
authentication = "{PASSWORD}"
receiver_id = "OPER"
receiver = "localhost:19000"
use_single_receiver = true
"""
ALARM = """
[[transmitters.alarms]]
key = "{key}"
name = "An alarm"
event_code = "{code}"
"""
FORWARD = '[g90]\n[[forward]]\nevent = "alarm"\ntransmitter = "home"\nevent_code = "FA"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "bridge.toml"
    path.write_text(text, "utf-8")
    return path


def faults(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text), overrides)
    assert PASSWORD not in str(caught.value)
    return str(caught.value).splitlines()


VERIFIED = 'use_tls = true\ntls_verify = "system"\n'
TWO_RECEIVERS = HOME.replace("use_single_receiver = true", 'secondary_receiver = "127.0.0.1:9"')
PATHS = """
[[transmitters.paths]]
name = "fixed"
source = "192.168.8.100"
[[transmitters.paths]]
name = "mobile"
interface = "wwan0"
"""


def password(settings: Settings) -> str:
    return settings.transmitters[0].authentication.reveal()


def test_the_example_loads_with_one_warning_the_second_path(tmp_path: Path) -> None:
    settings = load(written(tmp_path, files("bridge.config").joinpath("example.toml").read_text("utf-8")))
    [warning] = settings.warnings
    assert warning.startswith("home: heartbeat 180s requires a second network path")
    [home] = settings.transmitters
    assert (home.name, home.heartbeat_s, home.max_age) == ("home", 180.0, 86400.0)
    assert settings.mqtt.session_expiry == 7 * 86400
    assert [alarm.key for alarm in home.alarms] == ["burglary"]


def test_without_any_source_the_error_lists_where_it_looked(tmp_path: Path) -> None:
    assert find() is None
    for nothing in ((), ("log.level=debug",)):
        with pytest.raises(ConfigError) as caught:
            load(None, nothing)
        assert str(caught.value) == (
            "no configuration: looked for --config FILE, $SOSBRIDGE_CONFIG, /config/sosbridge.toml, sosbridge.toml in "
            f"{tmp_path}; write one with: sosbridge config example > sosbridge.toml"
        )


def test_one_value_from_anywhere_is_a_configuration() -> None:
    settings = load(None, ["mqtt.host=broker"])
    assert (settings.mqtt.host, settings.mqtt.port, settings.transmitters) == ("broker", 1883, ())


def test_the_file_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = written(tmp_path, '[mqtt]\nhost = "named"')
    (tmp_path / "sosbridge.toml").write_text('[mqtt]\nhost = "here"')
    assert load().mqtt.host == "here"
    monkeypatch.setenv("SOSBRIDGE_CONFIG", str(named))
    assert load().mqtt.host == "named"


def test_precedence_of_a_plain_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(written(tmp_path, "")).mqtt.host == "localhost"
    path = written(tmp_path, '[mqtt]\nhost = "file"\nport = 1884')
    assert load(path).mqtt.host == "file"
    (tmp_path / "secrets" / "mqtt__host").write_text("secret\n")
    assert load(path).mqtt.host == "secret"
    monkeypatch.setenv("SOSBRIDGE_MQTT__HOST", "environment")
    assert load(path).mqtt.host == "environment"
    found = load(path, ["mqtt.host=line"])
    assert (found.mqtt.host, found.mqtt.port) == ("line", 1884)


def test_precedence_of_one_value_of_one_transmitter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, HOME)
    assert password(load(path)) == PASSWORD
    (tmp_path / "secrets" / "transmitters__home__authentication").write_text("2" * 15 + "\n")
    assert password(load(path)) == "2" * 15
    monkeypatch.setenv("SOSBRIDGE_TRANSMITTERS__HOME__AUTHENTICATION", "3" * 15)
    assert password(load(path)) == "3" * 15
    found = load(path, ["transmitters.home.authentication=" + "4" * 15])
    assert password(found) == "4" * 15
    assert found.transmitters[0].receiver_id == "OPER"
    assert len(found.transmitters) == 1


def test_no_password_is_shown(tmp_path: Path) -> None:
    text = f'[mqtt]\npassword = "{PASSWORD}"\n{HOME}[g90]\n[[g90.panels]]\nguid = "GB1"\ncode = "{PASSWORD}"\n'
    settings = load(written(tmp_path, text))
    assert PASSWORD not in f"{settings!r} {settings} {settings.model_dump()!r}"


FAULTS = [
    pytest.param("[mqtt]\nport = 'x'", "mqtt.port: 'x' is not a whole number (1 to 65535)", id="type"),
    pytest.param("[mqtt]\nport = 70000", "mqtt.port: 70000 is out of range (1 to 65535)", id="range"),
    pytest.param("mqtt = 7", "mqtt: ", id="no table"),
    pytest.param("transmitters = 7", "transmitters: ", id="no list"),
    pytest.param("transmitters = [7]", "transmitters.1: is not a table with name, ", id="no table in the list"),
    pytest.param("[mqtt]\nhots = 'x'", "mqtt.hots: unknown setting; did you mean 'host'?", id="key"),
    pytest.param("[mqt]", "mqt: unknown setting; did you mean 'mqtt'?", id="table"),
    pytest.param(
        HOME.replace('receiver_id = "OPER"\n', ""), "transmitters.home.receiver_id: is missing", id="missing"
    ),
    pytest.param(HOME + "max_age = 'soon'", "transmitters.home.max_age: 'soon' is not a duration; use", id="duration"),
    pytest.param(HOME + "max_age = inf", "transmitters.home.max_age: is longer than 36500d", id="for-ever"),
    pytest.param("[store]\nhistory = '999999d'", "store.history: is longer than 36500d", id="past-the-dates"),
    pytest.param(
        HOME + FORWARD + "restore_on = '999999999.9d'", "rule 1: restore_on: is longer than 36500d", id="restore"
    ),
    pytest.param(HOME + "heartbeat = '7s'", "transmitters.home.heartbeat: '7s' is not one of: off, 90s", id="choice"),
    pytest.param(
        HOME.replace("localhost:19000", "localhost"),
        "transmitters.home.receiver: 'localhost' is not an address; use host:port",
        id="address",
    ),
    pytest.param(HOME + "tls_verify = 'sha256:xy'", "transmitters.home.tls_verify: ", id="tls_verify"),
    pytest.param(HOME + "tls_verify = '/nowhere.pem'", "transmitters.home.tls_verify: ", id="tls_verify file"),
    pytest.param(
        "[g90]\nannounce = 'pi.local:5678'",
        "g90.announce: 'pi.local:5678' is not an IPv4 address and a port; use",
        id="announce",
    ),
    pytest.param(
        "[[g90.panels]]\nguid = 'P'\ncode_arm_required = true",
        "g90.panels.p: code is missing; code_arm_required",
        id="no code to arm",
    ),
    pytest.param("[mqtt]\nbase_topic = 'a/+'", "mqtt.base_topic: 'a/+' is not a base topic; use", id="base topic"),
    pytest.param(
        HOME.replace('"home"', '"Ho me"'), "'Ho me' is not a name for a topic; use small letters", id="name"
    ),
    pytest.param(
        HOME.replace(PASSWORD, PASSWORD[1:]),
        "transmitters.home.authentication: has 14 characters; it must have 15",
        id="password length",
    ),
    pytest.param(HOME + HOME, "transmitters: duplicate name 'home'", id="same transmitter"),
    pytest.param(
        HOME + ALARM.format(key="a", code="BA") * 2,
        "alarms: duplicate key 'a'",
        id="same key",
    ),
    pytest.param(
        HOME + ALARM.format(key="a", code="BA") + ALARM.format(key="b", code="BA"),
        "transmitters.home: two alarms have the same event_code",
        id="same identity",
    ),
    pytest.param(
        HOME + ALARM.format(key="a", code="B" * 99), "transmitters.home.alarms.a: event_code: ", id="code too long"
    ),
    pytest.param(
        HOME.replace("use_single_receiver = true", ""),
        "transmitters.home: secondary_receiver is missing; add it, or",
        id="no secondary",
    ),
    pytest.param(
        HOME + 'secondary_receiver = "a:1"', "transmitters.home: use_single_receiver is true, but", id="both"
    ),
    pytest.param(FORWARD, "forward: rule 1: unknown transmitter 'home'; known: none", id="forward to nobody"),
    pytest.param(HOME + FORWARD.replace("[g90]\n", ""), "forward: the [g90] table is missing", id="no g90 table"),
    pytest.param(
        HOME + FORWARD.replace('"alarm"', '"alert"'),
        "forward: rule 1: event: unknown event 'alert'; did you mean 'alarm'?",
        id="forward of an unknown event",
    ),
    pytest.param("[mqtt\n", "not TOML: ", id="not TOML"),
    pytest.param("a = " + "9" * 5000, "not TOML: ", id="a number of 5000 digits"),
    pytest.param("a = " + "[" * 2000 + "]" * 2000, "not TOML: ", id="lists in lists"),
    pytest.param(".".join("a" * 40) + " = 1", "a.a: more than 16 levels of nested tables", id="tables in tables"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), FAULTS)
def test_a_fault_is_one_line_with_file_key_and_words(tmp_path: Path, text: str, words: str) -> None:
    [line] = faults(tmp_path, text)
    assert line.startswith(f"{tmp_path / 'bridge.toml'}: ")
    assert words in line


def test_each_fault_has_a_line(tmp_path: Path) -> None:
    lines = faults(tmp_path, "[mqtt]\nport = 0\nkeepalive = '1s'\n[log]\nlevel = 'loud'\n")
    assert [line.split(": ")[1] for line in lines] == ["mqtt.port", "mqtt.keepalive", "log.level"]


def test_a_fault_names_the_source_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secrets" / "transmitters__home__authentication"
    secret.write_text("short")
    monkeypatch.setenv("SOSBRIDGE_MQTT__KEEPALIVE", "ages")
    lines = faults(tmp_path, HOME, "mqtt.port=x", "nothing.here=1")
    starts = {
        "the command line: mqtt.port: 'x' is not a whole number",
        "the command line: nothing: unknown setting",
        "the environment: mqtt.keepalive: 'ages' is not a duration",
        f"the secret file {secret}: transmitters.home.authentication: ",
    }
    assert {start for start in starts for line in lines if line.startswith(start)} == starts
    assert len(lines) == 4
    assert "short'" not in "".join(lines)


def test_what_lacks_in_a_table_that_only_a_secret_file_names_is_not_the_files(tmp_path: Path) -> None:
    secret = tmp_path / "secrets" / "transmitters__villa__authentication"
    secret.write_text(PASSWORD)
    lines = faults(tmp_path, HOME)
    assert f"the secret file {secret}: transmitters.villa.receiver: is missing; it is required" in lines
    assert all(line.startswith(f"the secret file {secret}: transmitters.villa.") for line in lines)


def test_an_override_without_a_value_is_told(tmp_path: Path) -> None:
    assert faults(tmp_path, "", "mqtt.host") == [
        "the command line: --set mqtt.host: the value is missing; use for example --set mqtt.host=localhost"
    ]


def test_of_overrides_that_contradict_each_other_the_later_one_counts(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    assert load(path, ["mqtt.host=x", "mqtt.host=y"]).mqtt.host == "y"
    assert load(path, ["mqtt=x", "mqtt.host=y"]).mqtt.host == "y"


def test_a_fault_of_a_whole_table_is_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOSBRIDGE_TRANSMITTERS__HOME__AUTHENTICATION", PASSWORD)
    [line] = faults(tmp_path, HOME.replace("use_single_receiver = true", ""), "transmitters.home.use_tls=true")
    assert line.startswith(f"{tmp_path / 'bridge.toml'}: transmitters.home: secondary_receiver is missing")


@pytest.mark.parametrize("overrides", [("mqtt.host=x", "mqtt.host.y=z"), ("mqtt.host=y", "mqtt=x"), ("..=x",)])
def test_overrides_that_cannot_be_are_told(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    assert all(line.startswith("the command line: ") for line in faults(tmp_path, "", *overrides))


def test_secret_files_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    (tmp_path / "secrets" / "mqtt__tls").write_text("x")
    (tmp_path / "secrets" / "mqtt__tls__ca_file").write_text("y")
    assert all("the secret file" in line for line in faults(tmp_path, ""))


def test_a_missing_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file.*sosbridge config example"):
        load(tmp_path / "none.toml")


def test_a_missing_secrets_directory_that_was_asked_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOSBRIDGE_SECRETS_DIR", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"SOSBRIDGE_SECRETS_DIR: .*none: No such file"):
        load(written(tmp_path, ""))


def test_a_secret_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "secrets" / "mqtt__password").write_bytes(b"\xff\xfe")
    assert faults(tmp_path, "") == [f"the secret file {tmp_path / 'secrets' / 'mqtt__password'}: not UTF-8 text"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HOME, "home: use_tls is false: alarms and the password are sent unencrypted"),
        (HOME + VERIFIED + 'heartbeat = "90s"' + PATHS, "home: heartbeat 90s requires a secondary receiver"),
        (TWO_RECEIVERS + VERIFIED + 'heartbeat = "180s"', "home: heartbeat 180s requires a second network path"),
        (
            HOME + 'use_tls = true\ntls_verify = "none"',
            'home: tls_verify is "none": any server can pose as the receiver',
        ),
    ],
)
def test_what_is_allowed_and_should_be_known_is_a_warning(tmp_path: Path, text: str, words: str) -> None:
    [warning] = load(written(tmp_path, text)).warnings
    assert warning.startswith(words)


def test_two_receivers_and_two_paths_are_enough_for_the_fastest_level(tmp_path: Path) -> None:
    text = TWO_RECEIVERS + VERIFIED + 'heartbeat = "90s"' + PATHS
    settings = load(written(tmp_path, text), ["transmitters.home.paths.mobile.interface=wwan1"])
    assert settings.warnings == ()
    [home] = settings.transmitters
    found = [(path.name, path.interface, path.source) for path in home.paths]
    assert found == [("fixed", None, "192.168.8.100"), ("mobile", "wwan1", None)]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('[[transmitters.paths]]\nname = "a"', "home.paths.a: a path has either an interface, such as"),
        ('[[transmitters.paths]]\nname = "a"\ninterface = "x"\nsource = "::1"', "home.paths.a: a path has either"),
        ('[[transmitters.paths]]\nname = "a"\ninterface = "a/b"', "interface: 'a/b' is not the name of a network"),
        ('[[transmitters.paths]]\nname = "a"\nsource = "eth0"', "source: 'eth0' is not an IP address; use for"),
        ('[[transmitters.paths]]\nname = "A"\ninterface = "x"', "name: 'A' is not a name for a topic"),
        ('[[transmitters.paths]]\ninterface = "x"', "paths: table 1: name: is missing; it is required"),
        ('tls_name = "a.example"', "home: tls_name is set, but use_tls is false"),
        ('use_tls = true\ntls_name = "a b"', "tls_name: 'a b' is not a host name; use the name in the certificate"),
        ('check_idle_every = "soon"', "check_idle_every: 'soon' is not a duration"),
    ],
)
def test_a_wrong_path_is_an_error_in_words(tmp_path: Path, lines: str, words: str) -> None:
    [fault] = faults(tmp_path, HOME + lines)
    assert words in fault


def test_one_account_at_one_receiver_is_one_table(tmp_path: Path) -> None:
    shed = HOME.replace('name = "home"', 'name = "shed"')
    [fault] = faults(tmp_path, HOME + shed)
    assert "home and shed have the same transmitter_code, transmitter_type and receiver localhost:19000" in fault
    for other in (shed.replace("IK1", "IK2"), shed.replace("SV301", "SV300"), shed.replace("localhost", "other")):
        assert load(written(tmp_path, HOME + other))


def test_the_secondary_receiver_of_one_table_is_not_the_primary_of_another(tmp_path: Path) -> None:
    shed = (
        TWO_RECEIVERS.replace('"home"', '"shed"')
        .replace("localhost", "other")
        .replace("127.0.0.1:9", "LOCALHOST:19000")
    )
    [fault] = faults(tmp_path, HOME + shed)
    assert "home and shed" in fault
