"""From what is published to what the page shows and what the metrics count."""

from __future__ import annotations

import json
from datetime import date, datetime

import pytest

from bridge.common.problems import About, Kind, Problems
from bridge.mqtt.outgoing import Outgoing
from bridge.record.availability import Availability
from bridge.record.figures import Figures, PartFigures
from bridge.record.months import Month
from bridge.web.board import Board, Key
from bridge.web.metrics import Metrics

RESULT = {
    "request": "alarm",
    "outcome": "accepted",
    "event_code": "BA",
    "accepted_at": "2026-11-21T10:00:00.000+00:00",
    "completed_at": "2026-11-21T10:00:00.700+00:00",
}


class _Signal:
    def set(self) -> None: ...
    def clear(self) -> None: ...
    async def wait(self) -> bool:
        return True


@pytest.fixture
def outgoing() -> Outgoing:
    return Outgoing(_Signal())


@pytest.fixture
def board(outgoing: Outgoing) -> Board:
    found = Board("house/alarm", Problems())
    outgoing.follow(found.published)
    return found


def home(outgoing: Outgoing, leaf: str, payload: object) -> None:
    outgoing.state(f"house/alarm/transmitter/home/{leaf}", payload if isinstance(payload, str) else json.dumps(payload))


def test_a_transmitter_is_shown_as_its_topics_are(board: Board, outgoing: Outgoing) -> None:
    home(outgoing, "link", "ON")
    home(outgoing, "receiver/primary/state", "OFF")
    home(outgoing, "receiver/primary/info", {"address": "a:1", "last_error": "refused"})
    home(outgoing, "path/fixed/state", "ON")
    home(outgoing, "path/fixed/info", {"address": "eth0"})
    home(outgoing, "outbox", {"pending": 2, "oldest_at": "2026-11-21T10:00:00+00:00", "rejected": 1})
    home(outgoing, "test/response", {**RESULT, "request": "test"})
    outgoing.publish("house/alarm/transmitter/home/alarm/response", json.dumps(RESULT), retain=True)
    found = board.since(-1)["transmitters"]["home"]  # type: ignore[index]
    assert found["link"] is True
    assert found["receivers"]["primary"]["up"] is False
    assert found["receivers"]["primary"]["last_error"] == "refused"
    assert found["paths"]["fixed"]["up"] is True
    assert (found["pending"], found["rejected"]) == (2, 1)
    assert found["last_alarm"]["outcome"] == "accepted"
    assert found["last_test"]["completed_at"] == RESULT["completed_at"]


def test_a_panel_is_shown_with_its_sensors_in_their_order(board: Board, outgoing: Outgoing) -> None:
    for index, on in ((2, "OFF"), (10, "ON")):
        outgoing.state(f"house/alarm/panel/G1/sensor/{index}/state", on)
        outgoing.state(f"house/alarm/panel/G1/sensor/{index}/info", json.dumps({"name": f"S{index}", "type": "door"}))
    outgoing.state("house/alarm/panel/G1/availability", "online")
    outgoing.state("house/alarm/panel/G1/state", "armed_away")
    found = board.since(-1)["panels"]["G1"]  # type: ignore[index]
    assert (found["online"], found["state"]) == (True, "armed_away")
    assert [(each["name"], each["on"]) for each in found["sensors"]] == [("S2", False), ("S10", True)]


def test_only_what_has_changed_is_sent_again(board: Board, outgoing: Outgoing) -> None:
    for name in ("one", "two"):
        outgoing.state(f"house/alarm/transmitter/{name}/link", "ON")
    mark = board.sequence
    outgoing.state("house/alarm/transmitter/one/link", "ON")
    assert board.since(mark)["transmitters"] == {}
    outgoing.state("house/alarm/transmitter/two/link", "OFF")
    assert list(board.since(mark)["transmitters"]) == ["two"]  # type: ignore[call-overload]


def test_the_last_hundred_events_are_kept_and_each_is_sent_once(board: Board, outgoing: Outgoing) -> None:
    for number in range(150):
        outgoing.publish("house/alarm/transmitter/home/event", json.dumps({"type": "accepted", "event_code": number}))
    events = board.since(-1)["events"]
    assert [each["text"] for each in events] == [str(number) for number in range(50, 150)]  # type: ignore[attr-defined]
    mark = board.sequence
    outgoing.publish("house/alarm/panel/G1/event", json.dumps({"type": "door_opened", "name": "Front door"}))
    (last,) = list(board.since(mark)["events"])  # type: ignore[call-overload]
    assert (last["from"], last["name"], last["type"], last["text"]) == ("panel", "G1", "door_opened", "Front door")


def test_devices_of_home_assistant_are_kept_for_the_dashboard(board: Board, outgoing: Outgoing) -> None:
    outgoing.state("homeassistant/device/x/config", '{"components": {}}')
    outgoing.publish("homeassistant/device/y/config", "{}", retain=True)  # what removes a component is no device
    assert board.devices == {"homeassistant/device/x/config": '{"components": {}}'}


def test_other_topics_and_broken_payloads_change_nothing(board: Board, outgoing: Outgoing) -> None:
    outgoing.state("homeassistant/device/x/config", "{}")
    outgoing.publish("elsewhere", "{")
    assert board.sequence == 0
    home(outgoing, "outbox", "{")
    home(outgoing, "test/response", "[1]")
    outgoing.publish("house/alarm/transmitter/home/event", "{")
    assert board.since(-1)["transmitters"]["home"]["pending"] is None  # type: ignore[index]


def test_problems_are_shown_though_the_broker_is_away(board: Board) -> None:
    board.problems.set(Kind.BROKER_DOWN, "connection refused")
    for number in range(300):
        board.problems.set(Kind.LINK_DOWN, "no answer", About(f"t{number}"))
    found = board.since(-1)["problems"]
    assert found["count"] == 301  # type: ignore[index]
    assert len(found["first"]) == 200  # type: ignore[index]
    assert found["first"][0]["kind"] == "broker_down"  # type: ignore[index]


def test_days_are_those_of_the_record(board: Board) -> None:
    day = Availability(up_s=86300.0, down_s=100.0, unknown_s=0.0, outages=1, longest_outage_s=100.0)
    part = PartFigures(day, ((date(2026, 11, 1), day),))
    figures = Figures("home", Month(2026, 11), 0.0, 1.0, {"link": part}, {}, None, 0, 30.0, 0, 0, ())
    board.measured(figures)
    found = board.since(-1)["transmitters"]["home"]  # type: ignore[index]
    assert (found["month"], found["days"][0]) == (
        "2026-11", {"day": "2026-11-01", "percent": 99.884, "up_s": 86300.0, "down_s": 100.0, "unknown_s": 0.0}
    )  # fmt: skip


def test_the_metrics_are_those_that_are_documented(board: Board, outgoing: Outgoing) -> None:
    home(outgoing, "link", "ON")
    home(outgoing, "receiver/primary/info", {})
    home(outgoing, "receiver/primary/state", "OFF")
    home(outgoing, "path/fixed/info", {})
    home(outgoing, "path/fixed/state", "ON")
    home(outgoing, "outbox", {"pending": 3, "oldest_at": datetime.now().astimezone().isoformat(), "rejected": 0})
    outgoing.state("house/alarm/panel/G1/availability", "offline")
    outgoing.publish("house/alarm/panel/G1/event", json.dumps({"type": "alarm"}))
    outgoing.publish("house/alarm/bridge/event", json.dumps({"type": "store_failed"}))
    outgoing.publish("house/alarm/transmitter/home/alarm/response", json.dumps(RESULT), retain=True)
    board.problems.set(Kind.RECEIVER_DOWN, "refused", About("home", "primary"))
    board.problems.set(Kind.RECEIVER_DOWN, "refused", About("home", "secondary"))
    board.exchanges.add(0.3)
    lines = Metrics(board, lambda: 2).text().decode().splitlines()
    expected = """
        sosbridge_alarms_total{outcome="accepted",transmitter="home"} 1.0
        sosbridge_exchange_duration_seconds_bucket{le="0.1"} 0.0
        sosbridge_exchange_duration_seconds_bucket{le="0.5"} 1.0
        sosbridge_exchange_duration_seconds_count 1.0
        sosbridge_exchange_duration_seconds_sum 0.3
        sosbridge_transmission_seconds_bucket{le="0.5"} 0.0
        sosbridge_transmission_seconds_bucket{le="1.0"} 1.0
        sosbridge_transmission_seconds_bucket{le="+Inf"} 1.0
        sosbridge_transmission_seconds_sum 0.7
        sosbridge_link_up{transmitter="home"} 1.0
        sosbridge_receiver_up{receiver="primary",transmitter="home"} 0.0
        sosbridge_path_up{path="fixed",transmitter="home"} 1.0
        sosbridge_outbox_pending{transmitter="home"} 3.0
        sosbridge_problem{kind="receiver_down",transmitter="home"} 1.0
        sosbridge_panel_online{panel="G1"} 0.0
        sosbridge_panel_events_total{type="alarm"} 1.0
        sosbridge_mqtt_reconnects_total 2.0
        sosbridge_store_errors_total 1.0
    """
    assert {line.strip() for line in expected.strip().splitlines()} - {_sorted(line) for line in lines} == set()
    assert any(line.startswith('sosbridge_build_info{version="') for line in lines)
    assert any(line.startswith('sosbridge_outbox_oldest_seconds{transmitter="home"} 0.') for line in lines)
    assert len([line for line in lines if line.startswith("sosbridge_problem{")]) == 1
    board.problems.set(Kind.RECEIVER_DOWN, None, About("home", "primary"))
    board.problems.set(Kind.RECEIVER_DOWN, None, About("home", "secondary"))
    assert "sosbridge_problem{" not in Metrics(board, lambda: 2).text().decode()


def _sorted(line: str) -> str:
    name, brace, rest = line.partition("{")
    labels, _, value = rest.partition("}")
    return f"{name}{{{','.join(sorted(labels.split(',')))}}}{value}" if brace else line


def test_a_leaf_is_an_object_or_empty(board: Board) -> None:
    assert board.leaf(Key("bridge"), "info") == {}


class _Names(list[str]):
    """Counts the searches, each of which reads the list."""

    searches = 0

    def __contains__(self, name: object) -> bool:
        self.searches += 1
        return super().__contains__(name)


def test_states_of_a_lost_shard_are_forgotten_without_a_search_for_each(board: Board, outgoing: Outgoing) -> None:
    for name in ("home", "shed", "shop"):
        outgoing.state(f"house/alarm/transmitter/{name}/link", "ON")
    lost = _Names(["home", "shop"])
    board.forget(lost, bridge=False)
    assert [key.name for key in board.states] == ["shed"]
    assert lost.searches == 0
