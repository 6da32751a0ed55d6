"""The log of the bridge's problems: when they begin, sparsely while they last, and when they are over."""

from __future__ import annotations

import asyncio
import logging

import pytest

from bridge.app import problem_log
from bridge.app.problem_log import ProblemLog
from bridge.common import lasting
from bridge.common.problems import BRIDGE, About, Kind, Problems

PANEL = About(panel="GB7F20")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    caplog.clear()
    return found


@pytest.fixture
def problems(caplog: pytest.LogCaptureFixture) -> Problems:
    caplog.set_level(logging.INFO)
    return Problems()


def test_a_problem_is_logged_as_it_comes_and_goes(problems: Problems, caplog: pytest.LogCaptureFixture) -> None:
    ProblemLog(problems, {"GB7F20": "House"}.__getitem__)
    problems.set(Kind.PANEL_OFFLINE, "panel House: offline", PANEL)
    problems.set(Kind.PANEL_OFFLINE, "panel House: offline since long", PANEL)
    assert said(caplog) == ["WARNING panel House: offline"]
    problems.set(Kind.PANEL_OFFLINE, None, PANEL)
    assert said(caplog) == ["INFO panel House: online again after 0 s"]
    problems.set(Kind.STORE_FAILED, "the disk is full")
    problems.set(Kind.PASSWORD_FILE, "the password file is damaged", About("home"))
    assert said(caplog) == ["ERROR the disk is full", "ERROR home: the password file is damaged"]


def test_what_has_a_line_of_its_own_is_not_logged_twice(problems: Problems, caplog: pytest.LogCaptureFixture) -> None:
    ProblemLog(problems, str)
    for kind in (Kind.LINK_DOWN, Kind.RECEIVER_DOWN, Kind.UNDELIVERED, Kind.REJECTED):
        problems.set(kind, "text", About("home"))
        assert said(caplog) == []


def test_what_lasts_is_repeated(
    problems: Problems, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problem_log, "_EACH_S", 0.001)
    monkeypatch.setattr(lasting, "AGAIN_AFTER_S", (0.01,))

    async def scenario() -> None:
        running = asyncio.create_task(ProblemLog(problems, str).run())
        problems.set(Kind.CLOCK_WRONG, "the clock is wrong", BRIDGE)
        problems.set(Kind.REJECTED, "rejected: 1", About("home"))
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(scenario())
    first, *again = said(caplog)
    assert first == "ERROR the clock is wrong"
    assert sorted(again) == ["ERROR home: rejected: 1", "ERROR the clock is wrong"]
