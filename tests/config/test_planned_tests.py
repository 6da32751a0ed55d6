"""The settings of scheduled test alarms."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from bridge.app.build import planned_tests
from bridge.common.errors import ConfigError
from bridge.config.settings import Settings
from bridge.config.sources import load
from bridge.transmitters.routes import Route
from bridge.transmitters.timetable import default_at


def settings(folder: Path, *lines: str) -> Settings:
    table = (
        '[[transmitters]]\nname = "home"\ntransmitter_code = "IK1"\ntransmitter_type = "SV301"\n'
        'authentication = "012345678912345"\nreceiver_id = "OPER"\nreceiver = "a.example:1"\n'
        'secondary_receiver = "b.example:1"\n'
    )
    path = folder / "sosbridge.toml"
    path.write_text(table + "\n".join(lines), "utf-8")
    return load(path, [])


PATHS = (
    '[[transmitters.paths]]\nname = "fixed"\ninterface = "eth0"',
    '[[transmitters.paths]]\nname = "mobile"\ninterface = "wwan0"',
)


@pytest.mark.parametrize("written", ['"03:20"', '"3:20"', "03:20:00"])
def test_a_schedule(tmp_path: Path, written: str) -> None:
    (plan,) = planned_tests(
        settings(tmp_path, 'test_event_code = "TST"', 'test_every = "24h"', f"test_at = {written}")
    ).values()
    assert (plan.event_code, plan.timetable.every_s, plan.timetable.at, plan.routes) == ("TST", 86400, time(3, 20), ())


def test_by_default_at_a_time_of_the_night(tmp_path: Path) -> None:
    (plan,) = planned_tests(settings(tmp_path, 'test_event_code = "TST"', 'test_every = "7d"')).values()
    assert plan.timetable.at == default_at("IK1")


def test_each_route(tmp_path: Path) -> None:
    lines = ('test_event_code = "TST"', 'test_every = "24h"', "test_every_route = true")
    (plan,) = planned_tests(settings(tmp_path, *lines)).values()
    assert plan.routes == (Route("primary"), Route("secondary"))
    (plan,) = planned_tests(settings(tmp_path, *lines, *PATHS)).values()
    assert plan.routes == tuple(Route(name, path) for path in ("fixed", "mobile") for name in ("primary", "secondary"))


def test_none_by_default(tmp_path: Path) -> None:
    assert planned_tests(settings(tmp_path, 'test_event_code = "TST"')) == {}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (('test_every = "24h"',), "test_event_code is missing"),
        (('test_event_code = "TST"', 'test_at = "03:20"'), "test_at: no test alarm is sent"),
        (('test_event_code = "TST"', "test_every_route = true"), "test_every_route: no test alarm is sent"),
        (('test_event_code = "TST"', 'test_every = "25h"'), "neither a part of a day, such as 6h, nor whole days"),
        (('test_event_code = "TST"', 'test_every = "5m"'), r"test_every: '5m' is out of range \(1h to 31d\)"),
        (
            ('test_event_code = "TST"', 'test_every = "24h"', 'test_at = "24:00"'),
            "is not a time of day; use for example 03:20",
        ),
        (
            ('test_event_code = "TST"', 'test_every = "24h"', "test_at = 320"),
            "is not a time of day; use for example 03:20",
        ),
    ],
)
def test_mistakes(tmp_path: Path, lines: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        settings(tmp_path, *lines)
