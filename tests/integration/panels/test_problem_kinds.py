"""Each kind of problem: shown over MQTT, by `healthcheck`, by `check` and in the log, until it is over."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.harness import CODE, PASSWORD, live
from support.house import OTHER, House, Simulated, living
from support.postgres import PostgresServer
from support.processes import Bridge
from support.recorder import WAIT_S, retained

from bridge.common.problems import Kind
from bridge.g90.wire.constants import ArmCode
from bridge.sos_access.simulator.receiver import Arrival, Fault
from bridge.store.passwords import password_file

_SUPPORT = Path(__file__).parents[2] / "support"
Trouble = Callable[[House], AsyncIterator[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """How a problem comes, within `trouble`, and goes after it; what the log says then."""

    kind: Kind
    trouble: Callable[[House], Any]
    logged: str
    over: str

    @property
    def topic(self) -> str:
        return "bridge/problem" if self.kind in _OF_THE_BRIDGE else "transmitter/home/problem"


_OF_THE_BRIDGE = frozenset(Kind) - {
    Kind.LINK_DOWN,
    Kind.RECEIVER_DOWN,
    Kind.PATH_DOWN,
    Kind.UNAUTHORIZED,
    Kind.PASSWORD_FILE,
    Kind.HEARTBEAT_DISABLED,
    Kind.REJECTED,
    Kind.UNDELIVERED,
    Kind.TEST_FAILED,
}


async def _started(site: House) -> Simulated:
    """Start the bridge, let its panel connect, and wait until nothing is wrong."""
    await site.start()
    panel = await site.panel(interval=0.3)
    for topic in ("transmitter/home/problem", "bridge/problem"):
        await site.mqtt.holds(topic, "OFF")
        await site.mqtt.holds(f"{topic}/info", [])
    assert (await site.bridge.command("healthcheck", "--strict")).stdout == "healthy\n"
    return panel


@asynccontextmanager
async def dead_receivers(site: House) -> AsyncIterator[None]:
    await _started(site)
    await site.primary.stop()
    await site.secondary.stop()
    await site.send("alarm/raise", "BA")
    yield
    await site.primary.start()
    await site.secondary.start()


@asynccontextmanager
async def dead_path(site: House) -> AsyncIterator[None]:
    site.home["paths"] = [{"name": "fixed", "source": "127.0.0.1"}, {"name": "mobile", "source": "127.0.0.2"}]
    site.home["check_idle_every"] = "30s"
    await _started(site)
    cut = [True]
    for station in (site.primary, site.secondary):
        decide = station._decide

        def dropping(raw: bytes, fault: Fault, peer: str, decide: Any = decide) -> tuple[Arrival, bytes]:  # noqa: ANN401
            found: tuple[Arrival, bytes] = decide(
                raw, Fault(drop=True) if cut[0] and "127.0.0.1" in peer else fault, peer
            )
            return found

        station._decide = dropping  # type: ignore[method-assign]
    assert (await site.do("alarm/raise", "BA"))["path"] == "mobile"
    yield
    cut[0] = False


@asynccontextmanager
async def refused_password(site: House) -> AsyncIterator[None]:
    await _started(site)
    site.set_password("anotherpassword")
    await site.do("ping")
    yield
    site.set_password(PASSWORD)
    await site.do("ping")


@asynccontextmanager
async def damaged_password_file(site: House) -> AsyncIterator[None]:
    path = password_file(site.store, "home", CODE, "SV300")
    path.parent.mkdir()
    path.write_text("{", "ascii")
    await site.start()
    await site.panel()
    yield
    path.unlink()


@asynccontextmanager
async def no_heartbeats(site: House) -> AsyncIterator[None]:
    site.home["heartbeat"] = "25h"
    await _started(site)
    site.primary.faults.add(Fault(status=9), 1)
    await site.do("ping")
    yield
    await site.do("ping")


@asynccontextmanager
async def rejected_alarm(site: House) -> AsyncIterator[None]:
    await _started(site)
    for station in (site.primary, site.secondary):
        station.faults.add(Fault(status=2), 1)
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "rejected"
    yield
    await _drop(site)


@asynccontextmanager
async def failed_test(site: House) -> AsyncIterator[None]:
    site.home["test_event_code"] = "TST"
    await _started(site)
    for station in (site.primary, site.secondary):
        station.faults.add(Fault(status=3), 1)
    failed = await site.bridge.command("test")
    assert (failed.returncode, "home: the test alarm failed, rejected" in failed.stderr) == (4, True)
    yield
    proven = await site.bridge.command("test")
    assert (proven.returncode, proven.stdout.split(" after ")[0]) == (0, "accepted by the primary receiver")
    assert json.loads((await site.retained())["transmitter/home/test/response"])["outcome"] == "accepted"
    assert json.loads((await site.retained())["transmitter/home/alarm/active"]) == []


async def _drop(site: House) -> None:
    number = (await site.bridge.command("outbox", "list")).stdout.split("\t")[0]
    assert (await site.bridge.command("outbox", "drop", number)).returncode == 0


@asynccontextmanager
async def dead_broker(site: House) -> AsyncIterator[None]:
    proxy = await site.behind_proxy()
    await _started(site)
    await proxy.cut()
    yield
    await proxy.open()


@asynccontextmanager
async def full_disk(site: House) -> AsyncIterator[None]:
    await _started(site)
    assert site.bridge.process is not None
    limit, hard = resource.prlimit(site.bridge.process.pid, resource.RLIMIT_FSIZE)
    store = max(path.stat().st_size for path in site.folder.glob("bridge.db*"))
    resource.prlimit(site.bridge.process.pid, resource.RLIMIT_FSIZE, (store + 4096, hard))
    for number in range(100):
        await site.send("alarm/raise", {"event_code": "BA", "reference": f"r{number}", "additional_info": "x" * 2000})
    yield
    resource.prlimit(site.bridge.process.pid, resource.RLIMIT_FSIZE, (limit, hard))


@asynccontextmanager
async def silent_panel(site: House) -> AsyncIterator[None]:
    site.g90["offline_after"] = "1s"
    panel = await _started(site)
    panel.cut()
    yield
    panel.rejoin()


@asynccontextmanager
async def stranger_at_its_address(site: House) -> AsyncIterator[None]:
    local = site.controlled()
    site.bridge.program = (str(_SUPPORT / "hurried.py"),)
    async with living(Simulated(OTHER, local=local)):
        await site.start()
        yield
    await site.panel(local=local)


@asynccontextmanager
async def alarm_without_a_rule(site: House) -> AsyncIterator[None]:
    panel = await _started(site)
    await panel.sos()
    yield
    await panel.arm(ArmCode.DISARMED)


@asynccontextmanager
async def taken_port(site: House) -> AsyncIterator[None]:
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", site.port):
        await site.start()
        assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted", "alarms go out meanwhile"
        yield
    await site.panel()


@asynccontextmanager
async def taken_web_port(site: House) -> AsyncIterator[None]:
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as taken:
        site.settings["web"] = {"listen": f"127.0.0.1:{taken.sockets[0].getsockname()[1]}"}
        await site.start()
        await site.panel()
        yield


@asynccontextmanager
async def former_transmitter(site: House) -> AsyncIterator[None]:
    site.settings["transmitters"].append(site.transmitter("former", "IK00002"))
    site.accounts.accept_unknown = True
    await _started(site)
    await site.primary.stop()
    await site.secondary.stop()
    await site.mqtt.publish("transmitter/former/alarm/raise", "BA")
    await site.mqtt.wait("transmitter/former/undelivered")
    del site.settings["transmitters"][1]
    await site.primary.start()
    await site.secondary.start()
    await site.restart()
    yield
    await _drop(site)


@asynccontextmanager
async def wrong_clock(site: House) -> AsyncIterator[None]:
    error = site.folder / "clock_error"
    error.write_text("0", "ascii")
    site.bridge.program = (str(_SUPPORT / "clocked.py"),)
    site.bridge.variables["CLOCK_ERROR"] = os.environ["CLOCK_ERROR"] = str(error)
    await _started(site)
    _replace(error, 60 - time.time())  # 1970
    yield
    _replace(error, 0)


def _replace(file: Path, error: float) -> None:
    beside = file.with_suffix(".new")
    beside.write_text(str(error), "ascii")
    beside.replace(file)


async def _second_node(site: House) -> Bridge:
    """Let the bridge be one node of two; return the other one, which is to stand by, before its start."""
    server = site.stack.enter_context(PostgresServer())
    site.settings["store"]["url"] = server.url("postgres")
    site.settings["node"] = {"name": "a"}
    other = Bridge(site.folder / "b.toml", site.folder / "b.log")
    site.stack.callback(other.kill)
    await _started(site)
    text = site.bridge.config.read_text("utf-8").replace("bridge.db", "b.db").replace('name = "a"', 'name = "b"')
    other.config.write_text(text, "utf-8")
    return other


@asynccontextmanager
async def standby_that_is_gone(site: House) -> AsyncIterator[None]:
    other = await _second_node(site)
    other.start()
    await other.logs("node b: standby")
    other.kill()
    yield
    other.start()


@asynccontextmanager
async def node_of_another_configuration(site: House) -> AsyncIterator[None]:
    other = await _second_node(site)
    ours = other.config.read_text("utf-8")
    other.config.write_text(f"{ours}homeassistant = {{enabled = false}}\n", "utf-8")
    other.start()
    yield
    other.kill()
    other.config.write_text(ours, "utf-8")
    other.start()


CASES = (
    Case(Kind.LINK_DOWN, dead_receivers, "both receivers refuse connections", "home: back"),
    Case(Kind.RECEIVER_DOWN, dead_receivers, "both receivers refuse connections", "home: back"),
    Case(Kind.UNDELIVERED, dead_receivers, "not delivered", "home: back, 1 alarm delivered"),
    Case(Kind.PATH_DOWN, dead_path, "home: path fixed: every receiver", "home: path fixed works again"),
    Case(Kind.UNAUTHORIZED, refused_password, "refuse the transmitter code or password", "home: back"),
    Case(Kind.PASSWORD_FILE, damaged_password_file, "is damaged", "the password file can be read again"),
    Case(Kind.HEARTBEAT_DISABLED, no_heartbeats, "heartbeats are not enabled", "heartbeats are enabled"),
    Case(Kind.REJECTED, rejected_alarm, "rejected", "no rejected alarms are left"),
    Case(Kind.TEST_FAILED, failed_test, "the last test alarm failed, rejected", "a test alarm was accepted"),
    Case(Kind.BROKER_DOWN, dead_broker, "next try in", "connected to broker"),
    Case(Kind.STORE_FAILED, full_disk, "bridge.db", "the store takes writes again"),
    Case(Kind.PANEL_OFFLINE, silent_panel, "panel House: offline", "panel House: online again"),
    Case(Kind.PANEL_UNREADABLE, stranger_at_its_address, "cannot be read: the panel at", "can be read again"),
    Case(Kind.ALARM_UNMATCHED, alarm_without_a_rule, "no rule forwards sos", "the alarm that no rule forwards is over"),
    Case(Kind.PORT_TAKEN, taken_port, "cannot listen for panels", "listening for panels"),
    Case(Kind.WEB_PORT_TAKEN, taken_web_port, "cannot serve the status page", "the status page is available"),
    Case(Kind.UNCONFIGURED_WAITING, former_transmitter, "1 for former", "no alarms of unconfigured transmitters"),
    Case(Kind.STANDBY_MISSING, standby_that_is_gone, "node b was last seen at", "another node can take over"),
    Case(Kind.CONFIGURATION_DIFFERS, node_of_another_configuration, "node b runs with another", "have the same"),
    Case(Kind.CLOCK_WRONG, wrong_clock, "the clock is wrong", "the clock is right"),
)


def test_each_kind_has_a_case() -> None:
    assert {case.kind for case in CASES} == set(Kind)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.kind) for case in CASES])
@live
async def test_a_problem_is_shown_in_each_place_until_it_is_over(site: House, case: Case) -> None:
    site.settings["log"]["level"] = "info"
    trouble = case.trouble(site)
    async with trouble:
        await _mqtt(site, case, lambda kinds: case.kind in kinds)
        await _said(site, case, 4)
        await site.bridge.logs(case.logged)
        checked = await site.bridge.command("check")
        assert f"{case.kind.replace('_', ' ')} since" in checked.stdout, checked.stdout + checked.stderr
        assert checked.returncode == 1
    mark = len(site.bridge.log)
    await _mqtt(site, case, lambda kinds: case.kind not in kinds)
    await _said(site, case, 0)
    await site.bridge.logs(case.over)
    assert mark


async def _mqtt(site: House, case: Case, fits: Callable[[set[str]], bool]) -> None:
    """Wait until the topics that Home Assistant's sensor reads show it."""
    if case.kind is Kind.BROKER_DOWN:
        return
    shown = f"{case.topic}/info"
    await site.mqtt.holds(shown, lambda found: fits({each["kind"] for each in found}), within=2 * WAIT_S)
    listed = await _listed(site, case)
    await site.mqtt.holds(case.topic, "ON" if listed else "OFF")
    async with asyncio.timeout(WAIT_S):
        while not (sensors := await _sensors(site, case)):  # noqa: ASYNC110 - the broker is asked anew
            await asyncio.sleep(0.2)
    assert [each["json_attributes_topic"] for each in sensors] == [f"{site.base}/{case.topic}/info"]


async def _sensors(site: House, case: Case) -> list[dict[str, str]]:
    """Return the components of Home Assistant's discovery whose state is the problem."""
    return [
        component
        for payload in (await retained(site.broker.port, "homeassistant")).values()
        for component in json.loads(payload)["components"].values()
        if component.get("state_topic") == f"{site.base}/{case.topic}"
    ]


async def _listed(site: House, case: Case) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((await site.retained())[f"{case.topic}/info"])
    assert all({"kind", "since", "text"} <= each.keys() for each in found)
    return found


async def _said(site: House, case: Case, strict: int) -> None:
    """Wait until `healthcheck --strict` exits with `strict`; without it, it exits 0 all the while."""
    async with asyncio.timeout(WAIT_S):
        while True:
            said = await site.bridge.command("healthcheck", "--strict")
            if (f": {case.kind} since " in said.stdout) is (strict == 4) and said.returncode == strict:
                break
            await asyncio.sleep(0.2)
    said = await site.bridge.command("healthcheck")
    assert said.returncode == 0, said
    assert (said.stdout == "healthy\n") is (strict == 0)
