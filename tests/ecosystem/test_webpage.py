"""The status page in a real browser, while receivers die.

Light, dark and narrow; with 1, 50 and 1000 transmitters.
No error in the console, no request to elsewhere, nothing serious for axe-core. PICTURES keeps the pictures.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.brokers import free_port

from bridge import __version__
from bridge.common.problems import About, Kind, Problems
from bridge.mqtt.outgoing import Outgoing
from bridge.record.availability import Availability
from bridge.record.figures import Figures, PartFigures
from bridge.record.months import Month
from bridge.web.board import Board
from bridge.web.server import Sources, WebServer

NAMES = ("home", "summer-house", "workshop", "boathouse")
SENSORS = (("Front door", "door", True), ("Kitchen smoke", "smoke", False), ("Hall motion", "motion", False))
DAY_S = 86400.0
MANY = 50
"""From here on transmitters can be filtered."""


class Scene:
    """What a bridge with `count` transmitters would publish."""

    def __init__(self, count: int) -> None:
        self.names = [*NAMES, *(f"object-{number:04}" for number in range(1, count))][:count]
        self.problems = Problems()
        self.outgoing = Outgoing(asyncio.Event())
        self.board = Board("sosbridge", self.problems)
        self.outgoing.follow(self.board.published)
        self.now = datetime.now().astimezone()
        self._publish("bridge/info", {"version": __version__, "started_at": self._ago(hours=71)})
        for name in self.names:
            self._transmitter(name)
        for name in self.names:
            self.board.measured(self._figures(name))
        self._panel()

    def die(self) -> None:
        """Let the receivers of every fourth transmitter die."""
        for name in self.names[::4]:
            for receiver in ("primary", "secondary"):
                error = "connection refused"
                text = f"receiver {receiver} does not answer: {error}"
                self.problems.set(Kind.RECEIVER_DOWN, text, About(name, receiver), self.now)
                self._receiver(name, receiver, "OFF", error)
            self._publish(f"transmitter/{name}/link", "OFF")
            self._publish(
                f"transmitter/{name}/outbox", {"pending": 2, "oldest_at": self._ago(minutes=3), "rejected": 1}
            )
            listed = [{"kind": "receiver_down", "text": "receiver primary does not answer: connection refused"}]
            self._publish(f"transmitter/{name}/problem/info", listed)
            self._event(f"transmitter/{name}", {"type": "receiver_down", "receiver": "primary", "error": error})

    def _transmitter(self, name: str) -> None:
        self._publish(f"transmitter/{name}/link", "ON")
        for receiver in ("primary", "secondary"):
            self._receiver(name, receiver, "ON")
        for path, interface in (("fixed", "eth0"), ("mobile", "wwan0")):
            self._publish(f"transmitter/{name}/path/{path}/state", "ON")
            self._publish(f"transmitter/{name}/path/{path}/info", {"address": interface})
        self._publish(f"transmitter/{name}/outbox", {"pending": 0, "oldest_at": None, "rejected": 0})
        result = {"outcome": "accepted", "receiver": "primary", "path": "fixed"}
        alarm = {**result, "request": "alarm", "event_code": "BA", "completed_at": self._ago(hours=30)}
        self._publish(f"transmitter/{name}/alarm/response", alarm)
        test = {**result, "request": "test", "event_code": "RP", "completed_at": self._ago(hours=9)}
        self._publish(f"transmitter/{name}/test/response", test)
        self._event(f"transmitter/{name}", {"type": "accepted", "event_code": "BA", "section_text": "House"})

    def _receiver(self, name: str, receiver: str, state: str, error: str | None = None) -> None:
        topic = f"transmitter/{name}/receiver/{receiver}"
        self._publish(f"{topic}/info", {"address": f"{receiver}.alarm.example:19100", "last_error": error})
        self._publish(f"{topic}/state", state)

    def _panel(self) -> None:
        topic = "panel/GB7F20C14D05A91"
        self._publish(f"{topic}/availability", "online")
        self._publish(f"{topic}/state", "armed_away")
        info = {"name": "House", "ac_power": True, "battery_low": False, "last_seen": self._ago(seconds=20)}
        self._publish(f"{topic}/info", info)
        for index, (name, kind, on) in enumerate(SENSORS, 1):
            self._publish(f"{topic}/sensor/{index}/state", "ON" if on else "OFF")
            self._publish(f"{topic}/sensor/{index}/info", {"index": index, "name": name, "type": kind})
        self._event(topic, {"type": "door_opened", "name": "Front <b>door</b>", "sensor": 1})

    def _figures(self, name: str) -> Figures:
        month = Month.of(self.now.timestamp())
        days = []
        for day, _, _ in month.days():
            if day <= self.now.date():
                down = 1900.0 if day.day == 9 and name == "home" else 0.0
                unknown = 20000.0 if day.day == 3 else 0.0
                days.append((day, Availability(DAY_S - down - unknown, down, unknown)))
        part = PartFigures(days[-1][1], tuple(days))
        return Figures(name, month, 0.0, 1.0, {"link": part}, {}, None, 0, 30.0, 0, 0, ())

    def _ago(self, **ago: float) -> str:
        return (self.now - timedelta(**ago)).isoformat()

    def _publish(self, topic: str, payload: object) -> None:
        self.outgoing.state(f"sosbridge/{topic}", payload if isinstance(payload, str) else json.dumps(payload))

    def _event(self, topic: str, payload: object) -> None:
        self.outgoing.publish(f"sosbridge/{topic}/event", json.dumps(payload))


async def _nothing_hangs() -> list[str]:
    return []


async def _no_report(_: str, __: Month) -> str | None:
    return None


async def _nothing_sent(*_: object) -> None:
    pass


def _check(found: dict[str, Any]) -> None:
    for name, look in found["looks"].items():
        assert look["console"] == [], name
        assert look["outside"] == [], name
        assert look["axe"] == [], name
        assert look["wide"] <= 0, f"{name}: the page scrolls sideways"


@pytest.mark.parametrize(("count", "held_back"), [(4, False), (50, False), (1000, False), (1, True)])
def test_the_page_in_a_browser(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, held_back: bool) -> None:
    """`held_back`: a proxy lets no event through; then the page asks."""
    if held_back:
        monkeypatch.setattr("bridge.web.server._send", _nothing_sent)
    folder = Path(os.environ.get("PICTURES") or tmp_path)

    async def run() -> None:
        scene = Scene(count)
        sources = Sources(lambda: True, _nothing_hangs, _no_report)
        server = WebServer("127.0.0.1", free_port(), None, scene.board, sources, lambda _: None)
        task = asyncio.create_task(server.run())
        await server.started.wait()
        python, script = os.environ["BROWSER_PYTHON"], Path(__file__).with_name("webpage.py")
        browser = await asyncio.create_subprocess_exec(
            python, str(script), stdin=-1, stdout=-1, limit=1 << 24,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )  # fmt: skip

        async def look(line: str) -> dict[str, Any]:
            assert browser.stdin is not None
            assert browser.stdout is not None
            browser.stdin.write(f"{line}\n".encode())
            answer = await browser.stdout.readline()
            found: dict[str, Any] = json.loads(answer)
            return found

        try:
            assert browser.stdin is not None
            url = f"http://127.0.0.1:{server.address[1]}/"
            settings = {"url": url, "axe": os.environ["AXE"], "folder": str(folder)}
            browser.stdin.write(f"{json.dumps(settings)}\n".encode())
            good = await look(f"web-{count}{'-held' * held_back}")
            _check(good)
            text = good["looks"]["light"]["text"]
            for words in (
                "Everything works",
                "home",
                "link up",
                "Last test",
                "House",
                "broker connected",
                "<b>door</b>",
            ):
                assert words in text
            scene.die()
            bad = await look(f"web-{count}{'-held' * held_back}-down")
            _check(bad)
            for each in bad["looks"].values():
                assert "need a person" in each["text"] or "needs a person" in each["text"]
                assert "connection refused" in each["text"]
                assert "2 waiting" in each["text"]
            assert bad["reached"][0].startswith("A ")
            assert {"SUMMARY ", "INPUT "} & {*bad["reached"], *good["reached"]} or count < MANY
        finally:
            if browser.stdin is not None:
                browser.stdin.close()
            await browser.wait()
            task.cancel()
            await asyncio.wait([task])

    assert sys.platform == "linux"
    asyncio.run(asyncio.wait_for(run(), 240))
