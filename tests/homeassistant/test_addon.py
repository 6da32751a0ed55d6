"""The add-on: its options, whatever they hold, become the settings that the bridge reads, and secrets stay secret."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from bridge import __version__
from bridge.common.errors import ConfigError
from bridge.common.models import Secret
from bridge.config.panels import ForwardSettings, G90Settings, PanelSettings
from bridge.config.settings import LogSettings, MqttSettings, Settings
from bridge.config.sources import load
from bridge.config.transmitters import AlarmSettings, TransmitterSettings
from bridge.config.types import seconds

TOP = Path(__file__).parents[2]
ADDON = TOP / "homeassistant/addon"
CONFIG: dict[str, Any] = yaml.safe_load((ADDON / "config.yaml").read_text("utf-8"))
SCHEMA: dict[str, Any] = CONFIG["schema"]
ODD = 'å"\\\t#\x7f\x01\'${x}🔥="""\r\n]'
NOWHERE = "http://127.0.0.1:1"

FULL: dict[str, Any] = {
    "log_level": "debug",
    "mqtt": {
        "host": "broker.example",
        "port": 8883,
        "username": f"u{ODD}",
        "password": f"p{ODD}",
        "tls": True,
        "ca_file": "/ssl/ca.pem",
    },
    "transmitters": [
        {
            "name": "home",
            "transmitter_code": "IK00001",
            "transmitter_type": "SV301",
            "authentication": ODD[:15],
            "receiver_id": "ALARM-OPER",
            "receiver": "alarm.example.com:19100",
            "secondary_receiver": "alarm2.example.com:19100",
            "use_single_receiver": False,
            "use_tls": True,
            "tls_verify": "system",
            "tls_name": "alarm.example.com",
            "heartbeat": "180s",
            "check_idle_every": "30m",
            "max_age": "12h",
            "undelivered_after": "20s",
            "test_event_code": "TST",
            "test_every": "24h",
            "test_at": "03:20",
            "test_every_route": True,
        }
    ],
    "alarms": [
        {
            "transmitter": "home",
            "key": "burglary",
            "name": f"Inbrott {ODD}",
            "event_code": "BA",
            "restore_event_code": "BR",
            "section": "1",
            "section_text": "Källare",
            "detector": "2",
            "detector_text": 'Dörr "A"',
            "transmitter_area": "7",
            "additional_info": "nyckel hos granne",
            "urgent": True,
        }
    ],
    "announce": "192.168.1.10:5678",
    "panels": [
        {
            "guid": "GB7F20C14D05A91",
            "name": f"Hus {ODD}",
            "control": "local",
            "host": "192.168.1.50",
            "address": "192.168.1.0/24",
            "code": f"12{ODD}",
            "code_arm_required": True,
        }
    ],
    "forward": [
        {
            "event": "alarm",
            "transmitter": "home",
            "event_code": "FA",
            "panel": "GB7F20C14D05A91",
            "sensor_type": "smoke",
            "sensor": "Kitchen*",
            "restore_on": "disarmed",
            "restore_event_code": "FR",
            "section": "3",
            "section_text": "Kök",
            "detector": "{sensor}",
            "detector_text": "{name}",
            "transmitter_area": "8",
            "additional_info": "brand",
        }
    ],
}
LEAST = {"transmitters": [FULL["transmitters"][0]], "mqtt": {"host": "broker.example"}}
OFFERED = {"host": "core-mosquitto", "port": 1884, "ssl": False, "username": "addons", "password": f"s{ODD}"}


def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("addon_run", ADDON / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RUN = program()


class Supervisor:
    """Answers as the Supervisor does, and remembers what it was asked."""

    def __init__(self, status: int, answer: bytes) -> None:
        self.status, self.answer = status, answer
        self.asked: list[tuple[str, str | None]] = []
        self.url = ""


@contextmanager
def supervisor(status: int = 200, answer: object = None) -> Iterator[Supervisor]:
    content = answer if isinstance(answer, bytes) else json.dumps({"result": "ok", "data": answer}).encode()
    told = Supervisor(status, content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append((self.path, self.headers["Authorization"]))
            self.send_response(told.status)
            self.end_headers()
            self.wfile.write(told.answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the overridden name
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join(30)


def started(data: Path, options: Mapping[str, Any], url: str = NOWHERE) -> Settings:
    """Return the settings that the bridge reads where these are the options."""
    (data / "options.json").write_text(json.dumps(options))
    file = data / "sosbridge.toml"
    read = RUN.read(data / "options.json")
    RUN.write(file, RUN.translate(read, RUN.broker(read, url, file), data))
    return load(file)


def plain(value: object) -> object:
    return value.reveal() if isinstance(value, Secret) else value


def differing(written: Mapping[str, Any], read: BaseModel, *without: str) -> dict[str, object]:
    """Return what of `written` did not reach `read`."""
    found = {name: plain(getattr(read, name)) for name in written if name not in without}
    return {name: value for name, value in found.items() if value != written[name]}


# Options


def test_every_option_of_the_schema_is_tried() -> None:
    tried = {name: set(value[0]) if isinstance(value, list) else value for name, value in FULL.items()}
    there = {name: set(value[0]) if isinstance(value, list) else value for name, value in SCHEMA.items()}
    assert tried.keys() == there.keys()
    assert {name: value for name, value in tried.items() if isinstance(value, set)} == {
        name: value for name, value in there.items() if isinstance(value, set)
    }
    assert FULL["mqtt"].keys() == SCHEMA["mqtt"].keys()


def test_every_value_reaches_the_bridge(tmp_path: Path) -> None:
    settings = started(tmp_path, FULL)
    assert settings.log.level == "debug"
    assert differing(FULL["mqtt"], settings.mqtt, "tls", "ca_file") == {}
    assert settings.mqtt.tls is not None
    assert settings.mqtt.tls.ca_file == Path("/ssl/ca.pem")
    home = settings.transmitters[0]
    durations = ("max_age", "check_idle_every", "undelivered_after", "test_every")
    assert differing(FULL["transmitters"][0], home, *durations) == {}
    assert (home.check_idle_every, home.undelivered_after, home.test_every) == (1800.0, 20.0, 86400.0)
    assert home.max_age == seconds("12h")
    assert differing(FULL["alarms"][0], home.alarms[0], "transmitter") == {}
    assert settings.g90 is not None
    assert settings.g90.announce == "192.168.1.10:5678"
    assert differing(FULL["panels"][0], settings.g90.panels[0]) == {}
    assert differing(FULL["forward"][0], settings.forward[0]) == {}
    assert settings.store.path == tmp_path / "sosbridge.db"


def test_the_page_is_for_the_ingress_alone(tmp_path: Path) -> None:
    found = [started(tmp_path, FULL).web for _ in range(2)]
    assert CONFIG["ingress"] is True
    assert {each.listen for each in found} == {f"0.0.0.0:{CONFIG['ingress_port']}"}
    passwords = {plain(each.password) for each in found}
    assert len(passwords) == 2
    assert all(len(str(password)) >= 32 for password in passwords)
    assert f"{CONFIG['ingress_port']}/tcp" not in CONFIG["ports"]


@settings(deadline=None)
@given(username=st.text(min_size=1), password=st.text(min_size=1), authentication=st.text(min_size=15, max_size=15))
def test_whatever_a_password_holds(username: str, password: str, authentication: str) -> None:
    mqtt = {"host": "broker.example", "username": username, "password": password}
    with TemporaryDirectory() as folder:
        transmitter = {**FULL["transmitters"][0], "authentication": authentication}
        settings = started(Path(folder), {"mqtt": mqtt, "transmitters": [transmitter]})
    assert differing(mqtt, settings.mqtt) == {}
    assert plain(settings.transmitters[0].authentication) == authentication


def test_an_emptied_field_is_not_given(tmp_path: Path) -> None:
    emptied = ("test_event_code", "test_every", "test_at", "tls_verify")
    transmitter = {**FULL["transmitters"][0], **dict.fromkeys(emptied, ""), "max_age": None, "test_every_route": False}
    settings = started(tmp_path, {"mqtt": {"host": "b", "password": ""}, "transmitters": [transmitter], "announce": ""})
    assert settings.mqtt.password is None
    assert settings.transmitters[0].test_event_code is None
    assert settings.transmitters[0].tls_verify == "system"


def test_each_alarm_goes_to_its_transmitter(tmp_path: Path) -> None:
    transmitters = [{**FULL["transmitters"][0], "name": name, "transmitter_code": name} for name in ("home", "garage")]
    alarms = [
        {"transmitter": name, "key": key, "name": key, "event_code": code}
        for name, key, code in (("garage", "fire", "FA"), ("home", "fire", "FA"), ("garage", "panic", "PA"))
    ]
    settings = started(tmp_path, {**LEAST, "transmitters": transmitters, "alarms": alarms})
    found = {each.name: [alarm.key for alarm in each.alarms] for each in settings.transmitters}
    assert found == {"home": ["fire"], "garage": ["fire", "panic"]}


def test_panels_alone_are_enough(tmp_path: Path) -> None:
    panels = {"announce": "192.168.1.10:5678", "panels": [{"guid": "GX1", "control": "off"}]}
    settings = started(tmp_path, {"mqtt": {"host": "b"}, **panels})
    assert settings.g90 is not None
    assert settings.transmitters == ()


def changed(table: str, **values: object) -> dict[str, Any]:
    return {**FULL, table: [{**FULL[table][0], **values}]}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "transmitters and panels are empty"),
        ([], "is not a JSON object"),
        ({**LEAST, "transmitters": "home"}, "transmitters: expected a list"),
        ({**LEAST, "alarms": ["burglary"]}, "alarms: expected a list"),
        ({**LEAST, "mqtt": "broker"}, "mqtt: expected host"),
        ({**LEAST, "transmitters": FULL["transmitters"] * 2}, "transmitters: each needs its own name"),
        (changed("alarms", transmitter="hem"), "alarms: entry 1: transmitter: unknown name 'hem'; use one of: home"),
        ({**LEAST, "forward": FULL["forward"]}, "forward: requires a panel"),
        ({**LEAST, "announce": "192.168.1.10:5678"}, "announce: requires a panel"),
        ({**FULL, "announce": ""}, "announce: is required with panels"),
        (changed("panels", name="\ud800"), "a lone surrogate"),
    ],
)
def test_what_makes_no_sense_is_told(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    options = {"mqtt": {"host": "b"}, **options} if isinstance(options, dict) else options
    with pytest.raises(RUN.OptionsError, match=re.escape(named)):
        started(tmp_path, options)


def test_options_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(RUN.OptionsError, match=r"options\.json cannot be read"):
        RUN.read(tmp_path / "options.json")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (changed("transmitters", receiver="alarm.example.com"), "transmitters.home.receiver: "),
        (changed("transmitters", receiver_id=""), "transmitters.home.receiver_id: is missing"),
        (changed("transmitters", secondary_receiver=""), "secondary_receiver is missing"),
        (changed("transmitters", name=""), "transmitters: table 1: name: is missing"),
        (changed("transmitters", authentication="short"), "transmitters.home.authentication: "),
        (changed("alarms", section="123456"), "transmitters.home.alarms.burglary: section: "),
        (changed("panels", host=""), "g90.panels.gb7f20c14d05a91: host is missing"),
        (changed("forward", event="fire"), "unknown event 'fire'"),
        ({**FULL, "announce": "here"}, "g90.announce: "),
    ],
)
def test_what_the_bridge_refuses_names_the_option(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    if "alarms" in options and options["transmitters"][0]["name"] == "":
        options = {**options, "alarms": [], "forward": []}
    with pytest.raises(ConfigError, match=re.escape(named)):
        started(tmp_path, options)


# The broker


def test_the_supervisor_tells_the_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERVISOR_TOKEN", "the-token")
    with supervisor(answer=OFFERED) as told:
        settings = started(tmp_path, {**LEAST, "mqtt": {}}, told.url)
    assert told.asked == [("/services/mqtt", "Bearer the-token")]
    assert differing({name: value for name, value in OFFERED.items() if name != "ssl"}, settings.mqtt) == {}
    assert settings.mqtt.tls is None


def test_a_broker_with_tls(tmp_path: Path) -> None:
    with supervisor(answer={**OFFERED, "ssl": True}) as told:
        assert started(tmp_path, {**LEAST, "mqtt": {}}, told.url).mqtt.tls is not None


@pytest.mark.parametrize(("tls", "given"), [({}, None), ({"tls": True}, True), ({"ca_file": "/ssl/ca.pem"}, True)])
def test_a_broker_of_ones_own_with_tls(tmp_path: Path, tls: dict[str, Any], *, given: bool | None) -> None:
    found = started(tmp_path, {**LEAST, "mqtt": {"host": "b", "tls": False, **tls}}).mqtt.tls
    assert (found and found.enabled) is given


def test_what_the_options_say_goes_before(tmp_path: Path) -> None:
    with supervisor(answer=OFFERED) as told:
        settings = started(tmp_path, {**LEAST, "mqtt": {"username": "me", "password": "mine"}}, told.url)
    assert (settings.mqtt.host, settings.mqtt.username, plain(settings.mqtt.password)) == (
        "core-mosquitto",
        "me",
        "mine",
    )


def test_with_a_host_of_its_own_nobody_is_asked(tmp_path: Path) -> None:
    with supervisor(answer=OFFERED) as told:
        assert started(tmp_path, LEAST, told.url).mqtt.username is None
    assert told.asked == []


@pytest.mark.parametrize(
    ("status", "answer", "named"),
    [
        (400, b'{"result": "error", "message": "Service not enabled"}', "Home Assistant offers no broker (HTTP 400)"),
        (200, {}, "mqtt: Home Assistant offers no broker"),
        (200, None, "mqtt: the Supervisor gave no valid broker address"),
        (200, ["core-mosquitto"], "mqtt: the Supervisor gave no valid broker address"),
        (200, b"<html>", "mqtt: the Supervisor gave no valid broker address"),
    ],
)
def test_no_broker_is_told(tmp_path: Path, status: int, answer: object, named: str) -> None:
    with supervisor(status, answer) as told, pytest.raises(RUN.OptionsError, match=re.escape(named)) as error:
        started(tmp_path, {**LEAST, "mqtt": {}}, told.url)
    assert "or set mqtt: host" in str(error.value)


def test_a_broker_once_known_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Panels' alarms need no broker: the bridge starts."""
    with supervisor(answer=OFFERED) as told:
        before = started(tmp_path, {**LEAST, "mqtt": {}}, told.url)
    assert started(tmp_path, {**LEAST, "mqtt": {}}).mqtt == before.mqtt
    said = capsys.readouterr().err
    assert "using core-mosquitto" in said
    assert str(OFFERED["password"]) not in said


# The start


START = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("run", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.main(pathlib.Path(sys.argv[2]), sys.argv[3])
"""
STAND_IN = """#!/bin/sh
echo "started: $(id -u) $*"
env
"""
"""In the place of sosbridge; the interpreter may be where the add-on's user cannot reach."""


def run(data: Path, url: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the program as the add-on does; in the place of sosbridge is one that shows what it was given."""
    folder = data.parent / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "sosbridge").write_text(STAND_IN)
    (folder / "sosbridge").chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-I", "-c", START, ADDON / "run.py", data, url],
        env={"PATH": f"{folder}:{os.environ['PATH']}", "SUPERVISOR_TOKEN": "the-token"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done


def starts(done: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"^started: \d+ (.*)$", done.stdout, re.MULTILINE)


@pytest.fixture
def data() -> Iterator[Path]:
    """A directory that the add-on's user, too, can reach."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        data.mkdir()
        yield data


def test_the_start(data: Path) -> None:
    (data / "options.json").write_text(json.dumps({**FULL, "mqtt": {}}))
    (data / "sosbridge.db").touch()
    with supervisor(answer=OFFERED) as told:
        done = run(data, told.url)
    assert starts(done) == ["run"]
    assert f"SOSBRIDGE_CONFIG={data / 'sosbridge.toml'}\n" in done.stdout
    secrets = [OFFERED["password"], FULL["transmitters"][0]["authentication"], FULL["panels"][0]["code"], "the-token"]
    assert [secret for secret in secrets if str(secret) in done.stdout + done.stderr] == []
    assert (data / "sosbridge.toml").stat().st_mode & 0o777 == 0o600
    assert load(data / "sosbridge.toml").mqtt.host == "core-mosquitto"
    user = RUN.USER if os.geteuid() == 0 else os.geteuid()
    assert f"started: {user} " in done.stdout
    assert {path.stat().st_uid for path in (data, data / "sosbridge.toml", data / "sosbridge.db")} == {user}
    assert (data / "options.json").stat().st_uid == os.geteuid()


def test_bad_options_end_it_with_a_line(data: Path) -> None:
    (data / "options.json").write_text("{}")
    with supervisor(answer=OFFERED) as told:
        done = run(data, told.url, status=1)
    assert done.stderr == (
        "sosbridge: the add-on's configuration: transmitters and panels are empty: add at least one\n"
    )
    assert done.stdout == ""


def test_a_restored_backup_is_put_back_once(data: Path) -> None:
    (data / "options.json").write_text(json.dumps(FULL))
    (data / "backup.tar").touch()
    assert starts(run(data, NOWHERE)) == [f"restore-backup {data / 'backup.tar'}", "run"]
    assert not (data / "backup.tar").exists()


def test_a_backup_beside_a_store_is_not_put_back(data: Path) -> None:
    (data / "options.json").write_text(json.dumps(FULL))
    (data / "backup.tar").touch()
    (data / "sosbridge.db").touch()
    assert starts(run(data, NOWHERE)) == ["run"]


# The files


def test_the_schema_knows_settings_of_ours() -> None:
    models: dict[str, type[BaseModel]] = {
        "mqtt": MqttSettings,
        "transmitters": TransmitterSettings,
        "alarms": AlarmSettings,
        "panels": PanelSettings,
        "forward": ForwardSettings,
    }
    for name, model in models.items():
        options = SCHEMA[name][0] if isinstance(SCHEMA[name], list) else SCHEMA[name]
        others = {"alarms": {"transmitter"}, "mqtt": {"ca_file"}}
        assert options.keys() - model.model_fields.keys() == others.get(name, set())
        required = {field for field, each in model.model_fields.items() if each.is_required()}
        given_always = {option for option, kind in options.items() if not kind.endswith("?")}
        assert required <= given_always, name
    assert "announce" in G90Settings.model_fields
    levels = LogSettings.model_json_schema()["properties"]["level"]["enum"]
    assert SCHEMA["log_level"] == f"list({'|'.join(levels)})"
    for name, model in (("heartbeat", TransmitterSettings), ("control", PanelSettings)):
        kinds = next(each[0] for each in SCHEMA.values() if isinstance(each, list) and name in each[0])
        assert kinds[name] == f"list({'|'.join(model.model_json_schema()['properties'][name]['enum'])})"


def test_the_schema_is_one_that_home_assistant_takes() -> None:
    """Two deep, of types that there are. No lengths of texts: the Supervisor refuses every value then."""
    kinds = re.compile(r"(?:str|bool|port|password|match\(\^.+\$\)|list\([a-z0-9|]+\))\??")
    for value in SCHEMA.values():
        inner = value[0] if isinstance(value, list) else value
        for kind in inner.values() if isinstance(inner, dict) else [inner]:
            assert isinstance(kind, str)
            assert kinds.fullmatch(kind), kind
    assert {name for name in SCHEMA if name not in CONFIG["options"]} == {"announce"}
    assert SCHEMA["announce"].endswith("?")


def named(translation: Mapping[str, Any]) -> dict[str, set[str]]:
    assert all(each["name"] for each in translation["configuration"].values())
    return {name: set(each.get("fields", ())) for name, each in translation["configuration"].items()}


@pytest.mark.parametrize("language", ["en", "sv"])
def test_a_translation_names_every_option(language: str) -> None:
    translation = yaml.safe_load((ADDON / f"translations/{language}.yaml").read_text("utf-8"))
    inner = {name: value[0] if isinstance(value, list) else value for name, value in SCHEMA.items()}
    assert named(translation) == {n: set(value) if isinstance(value, dict) else set() for n, value in inner.items()}
    fields = [field for each in translation["configuration"].values() for field in each.get("fields", {}).values()]
    assert all(field["name"] and field.get("description", "-") for field in fields)
    assert translation["network"].keys() == CONFIG["ports"].keys() == CONFIG["ports_description"].keys()


def test_the_image_is_the_product_of_this_release() -> None:
    dockerfile = (ADDON / "Dockerfile").read_text("utf-8")
    assert CONFIG["version"] == __version__
    # The Supervisor passes its version; a build.yaml would have it pass a base image as well.
    assert "ARG BUILD_VERSION=latest\nARG IMAGE=ghcr.io/sosbridge/sosbridge:${BUILD_VERSION}\n" in dockerfile
    assert not (ADDON / "build.yaml").exists()
    assert "ENV SOSBRIDGE_CONFIG=/data/sosbridge.toml\n" in dockerfile
    assert f"useradd --uid {RUN.USER} --user-group" in (TOP / "deploy/Dockerfile").read_text("utf-8")


def test_the_example_of_the_documentation_loads(tmp_path: Path) -> None:
    text = re.findall(r"```yaml\n(.*?)```", (ADDON / "DOCS.md").read_text("utf-8"), re.DOTALL)
    settings = started(tmp_path, {"mqtt": {"host": "b"}, **yaml.safe_load(text[0])})
    [network] = settings.warnings
    assert "requires a second network path" in network  # an add-on has one
    assert settings.forward[0].event_code == "FA"
