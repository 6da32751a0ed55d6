"""`sosbridge report` and `sosbridge history`: over a store with a month in it, also while the service runs."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.outbox import HOME, command, put, result

from bridge.cli import call
from bridge.common.models import Outcome, Request
from bridge.common.runs import Edge
from bridge.store.edges import Edges, OpenRun
from bridge.store.outbox import Outbox
from bridge.store.sqlite.database import SqliteStore
from bridge.store.sqlite.lock import hold

Output = pytest.CaptureFixture[str]
NOW = datetime.now().astimezone()
BEGIN = NOW - timedelta(minutes=90)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    store = tmp_path / "store.sqlite"
    path = tmp_path / "sosbridge.toml"
    table = (
        'transmitter_code = "IK1"\ntransmitter_type = "SV301"\nauthentication = "012345678912345"\n'
        'receiver_id = "OPER"\nreceiver = "127.0.0.1:{}"\nuse_single_receiver = true\n'
    )
    tables = [f'[[transmitters]]\nname = "{name}"\n{table.format(port)}' for name, port in (("home", 1), ("shop", 2))]
    path.write_text(f'[store]\npath = "{store}"\n' + "".join(tables), "utf-8")
    monkeypatch.setenv("SOSBRIDGE_CONFIG", str(path))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield store
    root.handlers[:] = handlers
    root.setLevel(level)


def fill(store: Path) -> None:
    """Store a run that began 90 minutes ago and was written last half an hour ago, and commands with results."""

    async def body() -> None:
        async with await SqliteStore.open(store) as opened:
            edges = [
                Edge(HOME, "link", BEGIN.timestamp(), up=True),
                Edge(HOME, "link", BEGIN.timestamp() + 600, up=False),
                Edge(HOME, "link", BEGIN.timestamp() + 660, up=True),
            ]
            await Edges(opened).save(OpenRun(BEGIN.timestamp(), BEGIN.timestamp() + 3600, edges))
            outbox = Outbox(opened)
            for seconds, outcome, request in (
                (1, Outcome.ACCEPTED, Request.ALARM),
                (2, Outcome.REJECTED, Request.ALARM),
                (3, Outcome.ACCEPTED, Request.PING),
            ):
                at = BEGIN + timedelta(seconds=seconds)
                (queued,) = await put(outbox, command(request, at=at, reference=f"r{seconds}"))
                receiver = "primary" if outcome is Outcome.ACCEPTED else None
                ended = result(queued, outcome, receiver=receiver, completed_at=at + timedelta(seconds=2))
                await outbox.complete(queued, ended)
            await put(outbox, command(code="FA", at=BEGIN + timedelta(seconds=10)))

    asyncio.run(body())


def ran(capsys: Output, *arguments: str) -> str:
    assert call(arguments) == 0
    found = capsys.readouterr()
    assert found.err == ""
    return found.out


def month() -> str:
    """The month that most of the stored hour is in: the tests also run in the night of a month's end."""
    return f"{BEGIN:%Y-%m}"


def test_a_report_as_json(config: Path, capsys: Output) -> None:
    fill(config)
    home, shop = json.loads(ran(capsys, "report", "--json", "--month", month()))
    assert (home["transmitter"], shop["transmitter"]) == ("home", "shop")
    assert home["alarms"] == {"accepted": 1, "rejected": 1, "pending": 1}
    assert home["transmission"] == {"mean_s": 2.0, "p95_s": 2.0, "max_s": 2.0}
    assert {each["outcome"] for each in home["late"]} == {"rejected", "pending"}
    assert (shop["alarms"], shop["link"]["availability"]) == ({}, None)
    if NOW.month == BEGIN.month:
        assert home["link"]["down_s"] == 60
        assert home["link"]["availability"] == pytest.approx(98.333, abs=0.002)


def test_what_the_running_service_has_not_written_is_not_measured_yet(config: Path, capsys: Output) -> None:
    fill(config)
    with hold(config):
        running = json.loads(ran(capsys, "report", "--json", "-t", "home"))[0]
    stopped = json.loads(ran(capsys, "report", "--json", "-t", "home"))[0]
    if NOW.month == BEGIN.month:
        assert datetime.fromisoformat(running["until"]).timestamp() == pytest.approx(BEGIN.timestamp() + 3600, abs=0.01)
        until, later = (datetime.fromisoformat(each["until"]) for each in (running, stopped))
        unknown = stopped["link"]["unknown_s"] - running["link"]["unknown_s"]
        assert unknown == pytest.approx((later - until).total_seconds(), abs=2)


def test_a_report_as_csv_and_for_people(config: Path, capsys: Output) -> None:
    fill(config)
    rows = list(csv.DictReader(io.StringIO(ran(capsys, "report", "--csv", "-t", "home", "--month", month()))))
    assert {"transmitter": "home", "month": month(), "figure": "alarms.accepted", "value": "1"} in rows
    shown = ran(capsys, "report", "-t", "shop", "--month", month())
    assert f"shop\t{month()}\tlink.availability\tunknown" in shown
    assert "days." not in shown


def test_a_report_as_a_page(config: Path, capsys: Output, tmp_path: Path) -> None:
    fill(config)
    page = tmp_path / "report.html"
    assert ran(capsys, "report", "--html", str(page), "--month", month()) == f"wrote {page}\n"
    assert "Transmission record: shop" in page.read_text("utf-8")
    assert call(["report", "--html", str(tmp_path / "none" / "report.html")]) == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_history(config: Path, capsys: Output) -> None:
    fill(config)
    found: list[dict[str, Any]] = json.loads(ran(capsys, "history", "--json"))
    assert [(each["request"], each["outcome"], each.get("seconds")) for each in found] == [
        ("alarm", "accepted", 2.0), ("alarm", "rejected", None), ("ping", "accepted", 2.0),
    ]  # fmt: skip
    assert found[0]["reference"] == "r1"
    rows = list(csv.DictReader(io.StringIO(ran(capsys, "history", "--csv"))))
    assert [row["event_code"] for row in rows] == ["BA", "BA", ""]
    assert len(ran(capsys, "history").splitlines()) == 3
    assert len(json.loads(ran(capsys, "history", "--json", "--since", "3h"))) == 3
    assert (
        len(json.loads(ran(capsys, "history", "--json", "--since", (BEGIN + timedelta(seconds=4.5)).isoformat()))) == 1
    )


@pytest.mark.parametrize("arguments", [("--since", "1m"), ("-t", "shop")])
def test_nothing_in_the_history(config: Path, capsys: Output, arguments: tuple[str, ...]) -> None:
    fill(config)
    assert call(["history", *arguments]) == 0
    assert capsys.readouterr() == ("", "no command has ended\n")


@pytest.mark.parametrize("name", ["report", "history"])
def test_without_a_store(config: Path, capsys: Output, name: str) -> None:
    assert call([name]) == 1
    assert f"no store at {config}; the service creates it" in capsys.readouterr().err
    assert not config.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("report", "--month", "11"), '"11" is not a month; use for example 2026-11'),
        (("history", "--since", "yesterday"), "'yesterday' is neither a duration such as 24h nor a date"),
        (("report", "--csv", "--json"), "not allowed with argument"),
    ],
)
def test_wrong_usage(capsys: Output, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(SystemExit) as caught:
        call(arguments)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err
