"""Files to open: panels get what the rest does not need."""

from __future__ import annotations

import resource

import pytest

from bridge.app.file_limits import reserve, share


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """The limits of the process, soft and hard, as a test says."""
    now = {"files": (1024, 1024)}

    def change(_: int, wanted: tuple[int, int]) -> None:
        if wanted[0] > now["files"][1] >= 0:
            raise ValueError("more than the hard limit")
        now["files"] = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda _: now["files"])
    monkeypatch.setattr(resource, "setrlimit", change)
    return now


def test_the_limit_is_raised_as_far_as_is_needed(limits: dict[str, tuple[int, int]]) -> None:
    limits["files"] = (1024, 524288)
    assert share(5000, files_each=1, others=40, burst=1024) == (5000, 1024)
    assert limits["files"] == (5000 + 40 + 64 + 4 * 1024, 524288)


def test_transmitters_have_files_without_panels_too(limits: dict[str, tuple[int, int]]) -> None:
    limits["files"] = (1024, 524288)
    reserve(40_000)
    assert limits["files"] == (40_064, 524288)


def test_a_limit_that_is_high_stays(limits: dict[str, tuple[int, int]]) -> None:
    for limit in ((65536, 65536), (-1, -1)):
        limits["files"] = limit
        assert share(5000, files_each=2, others=40, burst=1024) == (5000, 1024)
        assert limits["files"] == limit


def test_panels_leave_what_the_rest_needs(caplog: pytest.LogCaptureFixture) -> None:
    connections, burst = share(5000, files_each=1, others=40, burst=1024)
    assert (connections, burst) == (1024 - 40 - 64 - 4 * 64, 64)
    assert "664 connections instead of 5000: at most 1024 files" in caplog.text


def test_with_an_upstream_each_takes_two() -> None:
    assert share(5000, files_each=2, others=40, burst=1024)[0] == 332


def test_there_is_room_for_one_panel_at_least(limits: dict[str, tuple[int, int]]) -> None:
    limits["files"] = (64, 64)
    assert share(5000, files_each=1, others=400, burst=1024) == (1, 4)
