"""The log's formats, and what is written of a fault that a loop meets again and again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from bridge.cli.logs import setup_logging
from bridge.common.lasting import LASTS

log = logging.getLogger("bridge.test")


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_json_lines_have_the_fields_that_apply(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging("info", "json")
    fields = {"transmitter": "home", "number": 29, "event_code": "FA", "outcome": "accepted", "receiver": "primary"}
    log.info("home: FA #29 accepted", extra={**fields, "attempt": 2, "panel": None, "secret": "x"})
    [line] = written(capsys)
    found = json.loads(line)
    assert found.pop("time")
    assert found == {
        "level": "info",
        "logger": "bridge.test",
        "message": "home: FA #29 accepted",
        **fields,
        "attempt": 2,
    }


def test_a_line_that_lasts_is_written_at_once_and_then_rarely(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup_logging("info", "human")
    now = 1000
    make = logging.getLogger().makeRecord

    def record(*args: object, **kwargs: object) -> logging.LogRecord:
        found = make(*args, **kwargs)  # type: ignore[arg-type]
        found.created = now
        return found

    monkeypatch.setattr(log, "makeRecord", record)
    for second in range(1000, 1901, 5):
        now = second
        log.error("the store %s: the disk is full", "S", extra=LASTS)
    assert len(written(capsys)) == 4
    log.error("another", extra=LASTS)
    log.error("another")
    assert len(written(capsys)) == 2, "another text, and a line that is not marked"
    now = 3000
    log.error("the store %s: the disk is full", "S", extra=LASTS)
    assert len(written(capsys)) == 1, "it was over"
