"""`sosbridge check`: a row for each thing that the service needs, with what is wrong with it and nothing else."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support.brokers import free_port
from support.commands import Output, alone, aside, at, configure, receivers, table
from support.config import HOME, PASSWORD
from support.outbox import command, put

from bridge.app import health
from bridge.app.health_client import socket_path
from bridge.cli import call
from bridge.common.problems import About, Kind, Problems
from bridge.g90.simulator import PanelSimulator
from bridge.store.outbox import Outbox
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.lock import hold

__all__ = ["alone"]

GUID = "GB7F20C14D05A91"
V4, V5 = 4, 5


def checked(capsys: Output, status: int = 1) -> dict[str, list[str]]:
    """Run `check`; return what it says by row."""
    assert call(["check"]) == status
    return {row[0]: row[1:] for row in table(capsys)}


def store(folder: Path, *transmitters: str) -> None:
    """Make the store, with an alarm for each of these."""

    async def fill() -> None:
        async with await SqliteStore.open(folder / "store.db") as opened:
            for name in transmitters:
                await put(Outbox(opened), command(transmitter=name))

    asyncio.run(fill())


def panels(listen: int, host: str | None = None) -> str:
    line = f'host = "{host}"\n' if host else ""
    rule = f'[[forward]]\npanel = "{GUID}"\nevent = "alarm"\ntransmitter = "home"\nevent_code = "BA"\n'
    return f'[g90]\nlisten = "127.0.0.1:{listen}"\n[[g90.panels]]\nguid = "{GUID}"\nname = "House"\n{line}{rule}'


def test_each_row_says_what_works_and_names_what_is_its_own(tmp_path: Path, capsys: Output) -> None:
    store(tmp_path, "home")
    with receivers(PASSWORD, "9" * 15) as (primary, secondary):
        configure(tmp_path, at(primary.address[1], secondary.address[1]))
        assert call(["check"]) == 1
        rows = table(capsys)
    assert [row[:2] for row in rows] == [
        ["configuration", "ok"],
        ["configuration", "warning"],
        ["service", "-"],
        ["store", "ok"],
        ["broker", "FAILED"],
        ["home, password", "ok"],
        [f"home, primary receiver 127.0.0.1:{primary.address[1]}", "ok"],
        [f"home, secondary receiver 127.0.0.1:{secondary.address[1]}", "FAILED"],
    ]
    assert rows[0][2] == f"{tmp_path / 'bridge.toml'}: 1 transmitter"
    assert rows[3][2] == f"{tmp_path / 'store.db'}: 1 alarm waiting, 0 rejected"
    assert rows[4][2] == "127.0.0.1:9, MQTT 5: Connection refused"
    assert "receiver clock minus local clock: " in rows[6][2]
    assert rows[7][2] == "answered 4 NOT_AUTHORIZED: it refuses the configured password"
    assert [arrival.kind for arrival in primary.arrivals + secondary.arrivals] == ["ping", "ping"]


@pytest.mark.parametrize("dead", ["primary", "secondary"])
def test_the_error_of_one_receiver_is_in_its_row_alone(tmp_path: Path, capsys: Output, dead: str) -> None:
    with receivers(PASSWORD) as (alive,):
        live, gone = alive.address[1], free_port()
        ports = (gone, live) if dead == "primary" else (live, gone)
        configure(tmp_path, at(*ports))
        rows = checked(capsys)
    for name, port in zip(("primary", "secondary"), ports, strict=True):
        works, details = rows[f"home, {name} receiver 127.0.0.1:{port}"]
        assert works == ("FAILED" if name == dead else "ok")
        assert (f"refused by 127.0.0.1:{gone}" in details) is (name == dead)


def test_heartbeats_that_are_not_enabled_are_a_warning(tmp_path: Path, capsys: Output) -> None:
    with receivers(PASSWORD, heartbeats=False) as (only,):
        configure(tmp_path, at(only.address[1]))
        works, details = checked(capsys)[f"home, primary receiver 127.0.0.1:{only.address[1]}"]
    assert (works, "heartbeats are not enabled" in details) == ("warning", True)


def test_each_receiver_is_asked_over_each_path(tmp_path: Path, capsys: Output) -> None:
    with receivers(PASSWORD) as (only,):
        paths = '\n[[transmitters.paths]]\nname = "{}"\nsource = "{}"\n'
        text = at(only.address[1]) + paths.format("here", "127.0.0.1") + paths.format("nowhere", "192.0.2.1")
        configure(tmp_path, text)
        rows = checked(capsys)
    receiver = f"home, primary receiver 127.0.0.1:{only.address[1]}"
    assert rows[f"{receiver} over here"][0] == "ok"
    assert rows[f"{receiver} over nowhere"][0] == "FAILED"
    assert "no path over 192.0.2.1" in rows[f"{receiver} over nowhere"][1]


# The store and its passwords


def test_no_store_is_made_at_a_mistyped_path(tmp_path: Path, capsys: Output) -> None:
    configure(tmp_path, at(9))
    before = sorted(tmp_path.iterdir())
    works, details = checked(capsys)["store"]
    assert (works, "is store.path right?" in details) == ("warning", True)
    assert sorted(tmp_path.iterdir()) == before
    text = (tmp_path / "bridge.toml").read_text().replace("store.db", "missing/store.db")
    (tmp_path / "bridge.toml").write_text(text)
    works, details = checked(capsys)["store"]
    assert (works, "create it, or correct store.path" in details) == ("FAILED", True)


def test_a_refusal_says_which_password_was_used_and_that_the_store_is_new(tmp_path: Path, capsys: Output) -> None:
    with receivers(PASSWORD) as (only,):
        receiver = f"home, primary receiver 127.0.0.1:{only.address[1]}"
        configure(tmp_path, at(only.address[1]))
        store(tmp_path)
        assert call(["rotate"]) == 0
        assert call(["ping"]) == 0
        capsys.readouterr()
        assert checked(capsys)["home, password"] == ["ok", "the rotated password, from the store"]
        for path in [*tmp_path.glob("store.*"), *tmp_path.glob("store.passwords/*")]:
            if path.is_file():
                path.unlink()
        rows = checked(capsys)
    assert rows["home, password"] == ["ok", "the configured password, as the store is new"]
    works, details = rows[receiver]
    assert (works, details.partition(";")[0]) == (
        "FAILED",
        "answered 4 NOT_AUTHORIZED: it refuses the configured password, as the store is new",
    )
    assert details.endswith("; if it was rotated, restore the store and its passwords from a backup")


def test_a_damaged_password_file_is_a_row(tmp_path: Path, capsys: Output) -> None:
    configure(tmp_path, at(9))
    (tmp_path / "store.passwords").mkdir()
    (tmp_path / "store.passwords" / "home.json").write_text(f'{{"passwords": "{PASSWORD}"')
    works, details = checked(capsys)["home, password"]
    assert (works, "is damaged" in details) == ("FAILED", True)


def test_a_file_that_is_no_store_is_a_row(tmp_path: Path, capsys: Output) -> None:
    configure(tmp_path)
    (tmp_path / "store.db").write_text("notes " * 1000)
    works, details = checked(capsys)["store"]
    assert (works, "not a SQLite file" in details) == ("FAILED", True)


def test_alarms_of_a_transmitter_that_is_gone_are_a_row(tmp_path: Path, capsys: Output) -> None:
    configure(tmp_path, at(9))
    store(tmp_path, "former")
    works, details = checked(capsys)["store"]
    assert (works, "1 for former" in details) == ("FAILED", True)


# The broker


@pytest.mark.parametrize(("speaks", "works"), [({V4, V5}, "ok"), ({V4}, "FAILED"), (set(), "FAILED")])
def test_a_broker_of_another_protocol_version_is_named(
    tmp_path: Path, capsys: Output, speaks: set[int], works: str
) -> None:
    ready, port = threading.Event(), free_port()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        level = (await reader.read(1000))[8]
        good = b"\x20\x03\0\0\0" if level == V5 else b"\x20\x02\0\0"
        writer.write(good if level in speaks else b"\x20\x02\0\x01")
        await reader.read()
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(connected, "127.0.0.1", port) as server:
            ready.set()
            await server.serve_forever()

    configure(tmp_path, at(9))
    text = (tmp_path / "bridge.toml").read_text().replace("port = 9\n", f"port = {port}\n")
    (tmp_path / "bridge.toml").write_text(text)
    with aside(serve):
        assert ready.wait(10)
        found = checked(capsys)["broker"]
    assert found[0] == works
    assert ('set mqtt.protocol = "3.1.1"' in found[1]) is (speaks == {V4})


# Panels and their port


def test_the_port_for_panels_is_free_or_taken(tmp_path: Path, capsys: Output) -> None:
    port = free_port()
    configure(tmp_path, HOME + panels(port))
    row = f"port 127.0.0.1:{port} for panels"
    assert checked(capsys)[row] == ["ok", "free"]
    with socket.create_server(("127.0.0.1", port)):
        assert checked(capsys)[row] == ["FAILED", "the service could not listen: Address already in use"]
        store(tmp_path)
        with hold(tmp_path / "store.db"):
            assert checked(capsys)[row] == ["ok", "in use, as the service runs"]
    with hold(tmp_path / "store.db"):
        assert checked(capsys)[row] == ["FAILED", "the service runs and does not listen there"]


@pytest.mark.parametrize(("guid", "works"), [(GUID, "ok"), ("ANOTHER", "FAILED")])
def test_a_panel_is_read_at_its_host_and_has_to_be_the_right_one(
    tmp_path: Path, capsys: Output, guid: str, works: str
) -> None:
    port = free_port()
    configure(tmp_path, HOME + panels(free_port(), f"127.0.0.1:{port}"))
    simulator = PanelSimulator(guid, local=("127.0.0.1", port))
    with aside(simulator.run):
        rows = checked(capsys)
    assert rows["panel House"][0] == works
    assert ("disarmed" if works == "ok" else "there is panel ANOTHER") in rows["panel House"][1]
    assert rows["panel House, rules"][0] == "warning"
    assert "no rule forwards sos" in rows["panel House, rules"][1]


def test_a_panel_without_a_host_is_not_asked_and_one_that_is_silent_failed(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.cli.check._PANEL_S", 0.05)
    configure(tmp_path, HOME + panels(free_port()))
    assert checked(capsys)["panel House"][0] == "-"
    configure(tmp_path, HOME + panels(free_port(), f"127.0.0.1:{free_port()}"))
    assert checked(capsys)["panel House"][0] == "FAILED"


# The running service


@pytest.mark.parametrize("problems", [0, 1, 2])
def test_the_problems_of_the_running_service_are_rows(tmp_path: Path, capsys: Output, problems: int) -> None:
    configure(tmp_path, at(9))
    store(tmp_path)
    raised = Problems()
    for kind in [Kind.RECEIVER_DOWN, Kind.REJECTED][:problems]:
        raised.set(kind, f"text of {kind}", About("home"))

    async def nothing() -> list[str]:
        return []

    hanging: Callable[[], Awaitable[list[str]]] = nothing
    path = tmp_path / "store.db"
    with hold(path), aside(lambda: health.serve(path, hanging, raised)):
        waited = threading.Event()
        while not Path(socket_path(path)).exists():
            waited.wait(0.01)
        assert call(["check"]) == 1
        rows = [row for row in table(capsys) if row[0].startswith("service") or row[0] == "store"]
    counts = ["no problems", "1 problem", "2 problems"]
    assert rows[0] == ["service", "FAILED" if problems else "ok", f"running, {counts[problems]}"]
    assert [row[0] for row in rows[1:-1]] == ["service, home"] * problems
    assert all("text of receiver_down" in row[2] for row in rows[1:2] if problems)
    assert rows[-1][2].endswith(", in use by the running service")


def test_a_service_that_does_not_answer_has_failed(tmp_path: Path, capsys: Output) -> None:
    configure(tmp_path, at(9))
    store(tmp_path)
    with hold(tmp_path / "store.db"):
        assert checked(capsys)["service"] == ["FAILED", f"no bridge runs on {tmp_path / 'store.db'}"]
