"""The shipped files fit each other, the settings and the lock; `up` makes what is missing, once."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.kit import DEPLOY, TOP, password, prepared, run
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bridge.config.sources import load

PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name in SERVICES if name != "homeassistant")  # that image has to run as root


# The lock


def locked(file: str) -> dict[str, str]:
    """Return the versions in a lock; each has hashes."""
    text = (DEPLOY / file).read_text()
    found = re.findall(
        r"^([a-z0-9-]+)==(\S+)(?: ;[^\\\n]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE
    )
    assert len(found) == len(re.findall(r"^\S+==", text, re.MULTILINE)), "a version without a hash"
    return {name: version for name, version, _ in found}


def needed(requirements: list[str], extra: str = "") -> dict[str, Requirement]:
    """Return everything that is installed with `requirements`, as the packages installed here say."""
    found: dict[str, Requirement] = {}
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra, "python_version": "3.13"}):
            name = canonicalize_name(requirement.name)
            found[name] = requirement
            for inner in requirement.extras or {""}:
                found = needed(requires(name) or [], inner) | found
    return found


@pytest.mark.parametrize(
    ("file", "requirements"),
    [
        (
            "requirements.txt",
            [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["web"]],
        ),
        (
            "requirements-cluster.txt",
            [
                *PROJECT["project"]["dependencies"],
                *(each for name in ("web", "postgres") for each in PROJECT["project"]["optional-dependencies"][name]),
            ],
        ),
        ("requirements-build.txt", PROJECT["build-system"]["requires"]),
    ],
)
def test_the_lock_is_what_pyproject_asks_for(file: str, requirements: list[str]) -> None:
    """Where it is not: deploy/lock."""
    versions, everything = locked(file), needed(requirements)
    assert set(versions) == set(everything)
    asked = {canonicalize_name(Requirement(text).name): Requirement(text) for text in requirements}
    assert {name for name, each in asked.items() if not each.specifier.contains(versions[name])} == set()


# Compose


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "${SOSBRIDGE_UID:?run deploy/up}:${SOSBRIDGE_GID:?run deploy/up}"
    assert service["restart"] == "unless-stopped"
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["logging"]["options"] == {"max-size": "1m", "max-file": "3"}
    assert "privileged" not in service
    assert service.get("network_mode") is None


def test_the_bridge_has_96_mib_and_its_secrets_as_files() -> None:
    bridge = SERVICES["bridge"]
    assert bridge["mem_limit"] == "96m"
    targets = {each["target"]: COMPOSE["secrets"][each["source"]]["file"] for each in bridge["secrets"]}
    assert targets == {
        "mqtt__password": "${SOSBRIDGE_SITE:-./site}/passwords/bridge",
        "transmitters__home__authentication": "${SOSBRIDGE_SITE:-./site}/passwords/authentication",
    }
    assert "PASSWORD" not in json.dumps(COMPOSE["services"]).upper().replace("PASSWORDS", "").replace("__PASSWORD", "")


def test_what_is_started_without_a_profile() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == {"mosquitto", "bridge"}
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {
        "receiver": ["demo"],
        "panel": ["demo"],
        "homeassistant": ["homeassistant"],
        "nodered": ["nodered"],
    }


def test_what_has_no_login_is_open_to_this_machine_alone() -> None:
    ports = {name: service.get("ports") for name, service in SERVICES.items()}
    assert ports["nodered"] == ["127.0.0.1:1880:1880"]
    assert ports["mosquitto"] == ["${MQTT_BIND:-127.0.0.1}:1883:1883"]
    assert ports["receiver"] is ports["panel"] is None


@pytest.mark.parametrize("file", ["compose.yaml", "compose.tls.yaml"])
def test_what_is_mounted_is_there(tmp_path: Path, file: str) -> None:
    deploy = prepared(tmp_path)
    services = yaml.safe_load((deploy / file).read_text())["services"]
    volumes = [volume for service in services.values() for volume in service.get("volumes", ())]
    assert volumes
    sources = [volume.replace("${SOSBRIDGE_SITE:-./site}", "./site").split(":")[0] for volume in volumes]
    assert [source for source in sources if not (deploy / source).exists()] == []


# up


def test_up_makes_what_is_missing_and_keeps_what_is_there(tmp_path: Path) -> None:
    deploy = prepared(tmp_path)
    made = {path: path.read_bytes() for path in (deploy / "site").rglob("*") if path.is_file()}
    users = re.findall(r"^user (\S+)$", (deploy / "site/mosquitto/secrets/acl").read_text(), re.MULTILINE)
    assert users == ["bridge", "reader", "button", "homeassistant", "nodered"]
    hashes = (deploy / "site/mosquitto/secrets/passwords").read_text().splitlines()
    assert [line.split(":")[0] for line in hashes] == users
    assert len({password(deploy, user) for user in users}) == len(users)
    assert all(len(password(deploy, user)) == 32 and password(deploy, user) not in "".join(hashes) for user in users)
    run(deploy / "up", "--prepare")
    assert made == {path: path.read_bytes() for path in (deploy / "site").rglob("*") if path.is_file()}


def fresh(folder: Path) -> Path:
    copy = folder / "deploy"
    shutil.copytree(DEPLOY, copy, ignore=shutil.ignore_patterns("site", ".env"))
    return copy


def test_up_says_what_it_made(tmp_path: Path) -> None:
    up = fresh(tmp_path) / "up"
    first, again = run(up, "--prepare"), run(up, "--prepare")
    assert "created deploy/.env\n" in first
    assert "created deploy/site/config/sosbridge.toml\n" in first
    assert "created" not in again
    assert first.endswith(again)
    assert "nothing was started" in again


def test_up_explains_itself(tmp_path: Path) -> None:
    deploy = fresh(tmp_path)
    said = run(deploy / "up", "--help")
    assert "--prepare" in said
    assert "set -eu" not in said
    assert not (deploy / ".env").exists()


def test_up_says_that_the_compose_plugin_is_missing(tmp_path: Path) -> None:
    deploy = fresh(tmp_path)
    (tmp_path / "docker").write_text("#!/bin/sh\necho unknown command: docker compose >&2; exit 1\n")
    (tmp_path / "docker").chmod(0o755)
    done = subprocess.run(
        [deploy / "up", "--profile", "demo"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "docker compose does not work here: unknown command: docker compose" in done.stderr
    assert "Install Docker and its compose plugin" in done.stderr
    assert not (deploy / ".env").exists()


def test_what_up_makes_is_for_its_owner_alone(tmp_path: Path) -> None:
    deploy = prepared(tmp_path)
    assert [path for path in (deploy / "site").rglob("*") if path.stat().st_mode & 0o077] == []
    settings = dict(line.split("=", 1) for line in (deploy / ".env").read_text().splitlines())
    owner = (deploy / "site/passwords/bridge").stat()
    assert (settings["SOSBRIDGE_UID"], settings["SOSBRIDGE_GID"]) == (str(owner.st_uid), str(owner.st_gid))
    assert owner.st_uid != 0


@pytest.mark.parametrize("link", ["/usr/share/zoneinfo/Europe/Stockholm", "/etc/localtime"])
def test_the_containers_have_the_time_zone_of_the_machine(tmp_path: Path, link: str) -> None:
    """Newer systems have the link alone; where it is a file, the name stands in another, or nowhere."""
    for name, words in {
        "readlink": f"echo {link}",
        "cat": '[ "$1" != /etc/timezone ] || exec echo Asia/Tokyo; exec /bin/cat "$@"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{words}\n")
        (tmp_path / name).chmod(0o755)
    deploy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, deploy, ignore=shutil.ignore_patterns("site", ".env"))
    run(deploy / "up", "--prepare", PATH=f"{tmp_path}:{os.environ['PATH']}:/usr/sbin")
    zone = "Europe/Stockholm" if "zoneinfo" in link else "Asia/Tokyo"
    assert f"TZ={zone}\n" in (deploy / ".env").read_text()


def test_up_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    deploy = prepared(tmp_path)
    secrets = deploy / "site/mosquitto/secrets"
    hashes = (secrets / "passwords").read_text().splitlines(keepends=True)
    (secrets / "passwords").write_text("".join(hashes[:2]))
    (secrets / "plain").write_text("button:left in plain\n")
    (deploy / "site/passwords/homeassistant").unlink()
    run(deploy / "up", "--prepare")
    again = (secrets / "passwords").read_text().splitlines(keepends=True)
    assert again[:2] == hashes[:2]
    assert [line.split(":")[0] for line in again[2:]] == ["button", "homeassistant", "nodered"]
    assert not (secrets / "plain").exists()


def test_up_keeps_its_site_elsewhere(tmp_path: Path) -> None:
    deploy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, deploy, ignore=shutil.ignore_patterns("site", ".env"))
    run(deploy / "up", "--prepare", SOSBRIDGE_SITE=str(tmp_path / "disk"))
    run(deploy / "up", "--prepare")  # it remembers
    assert (tmp_path / "disk/config/sosbridge.toml").exists()
    assert not (deploy / "site").exists()


def test_up_takes_a_site_beside_it_by_its_bare_name(tmp_path: Path) -> None:
    deploy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, deploy, ignore=shutil.ignore_patterns("site", ".env"))
    run(deploy / "up", "--prepare", SOSBRIDGE_SITE="house")
    assert "SOSBRIDGE_SITE=./house\n" in (deploy / ".env").read_text()
    assert (deploy / "house/config/sosbridge.toml").exists()


def test_node_red_begins_with_the_flow_logged_in(tmp_path: Path) -> None:
    deploy = prepared(tmp_path)
    shipped, placed = (
        json.loads((deploy / path).read_text()) for path in ("node-red/flows.json", "site/nodered/flows.json")
    )
    broker = next(node for node in placed if node["type"] == "mqtt-broker")
    assert broker["broker"] in SERVICES
    assert [node for node in shipped if node["type"] != "mqtt-broker"] == [n for n in placed if n is not broker]
    login = json.loads((deploy / "site/nodered/flows_cred.json").read_text())
    assert login == {broker["id"]: {"user": "nodered", "password": password(deploy, "nodered")}}


def test_a_flow_that_is_there_stays(tmp_path: Path) -> None:
    deploy = prepared(tmp_path)
    (deploy / "site/nodered/flows.json").write_text("[]")
    (deploy / "site/nodered/flows_cred.json").write_text('{"$": "encrypted"}')
    run(deploy / "up", "--prepare")
    assert (deploy / "site/nodered/flows.json").read_text() == "[]"
    assert (deploy / "site/nodered/flows_cred.json").read_text() == '{"$": "encrypted"}'


def test_a_site_whose_access_list_has_no_node_red(tmp_path: Path) -> None:
    deploy = prepared(tmp_path)
    shutil.rmtree(deploy / "site")
    (deploy / "site/mosquitto/secrets").mkdir(parents=True)
    (deploy / "site/mosquitto/secrets/acl").write_text("user bridge\ntopic readwrite #\n")
    run(deploy / "up", "--prepare")
    assert (deploy / "site/passwords/bridge").exists()
    assert list((deploy / "site/nodered").iterdir()) == []


# Settings


def test_the_first_configuration_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = prepared(tmp_path) / "site"
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    shutil.copy(site / "passwords/authentication", secrets / "transmitters__home__authentication")
    monkeypatch.setenv("SOSBRIDGE_SECRETS_DIR", str(secrets))
    settings = load(site / "config/sosbridge.toml")
    assert settings.mqtt.host in SERVICES
    home = settings.transmitters[0]
    assert (home.receiver, home.secondary_receiver) == ("receiver:19000", "receiver:19001")
    assert SERVICES["receiver"]["command"][:3] == ["simulate", "receiver", "--pair"]
    assert settings.store.path == Path("/data/sosbridge.db")
    assert not any("no rule forwards" in line for line in settings.warnings)


def test_the_service_names_files_and_settings_that_there_are() -> None:
    unit = (DEPLOY / "systemd/sosbridge.service").read_text()
    credentials = re.findall(r"^LoadCredential=(\S+):(\S+)$", unit, re.MULTILINE)
    assert [name for name, _ in credentials] == ["mqtt__password", "transmitters__home__authentication"]
    assert all(path == f"/etc/sosbridge/secrets/{name}" for name, path in credentials)
    assert "\nType=notify\n" in unit
    watchdog = int(re.findall(r"^WatchdogSec=(\d+)$", unit, re.MULTILINE)[0])
    assert watchdog < 180  # before the bridge ends itself


# Workflows


@pytest.mark.parametrize("name", ["tests", "publish"])
def test_a_workflow_names_files_and_jobs_that_there_are(name: str) -> None:
    text = (TOP / f".github/workflows/{name}.yaml").read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert {need for job in jobs.values() for need in job.get("needs", ())} <= set(jobs)
    named = re.findall(r"(?:run: |file: |uses: \./)((?:tests|deploy|\.github)/[\w./-]+)", text)
    assert named
    assert [path for path in named if not (TOP / path).exists()] == []


def test_every_python_that_is_promised_is_tested() -> None:
    workflow = yaml.safe_load((TOP / ".github/workflows/tests.yaml").read_text())
    promised = [each.rsplit(" ", 1)[1] for each in PROJECT["project"]["classifiers"] if "Python :: 3." in each]
    assert workflow["jobs"]["tests"]["strategy"]["matrix"]["python"] == promised
