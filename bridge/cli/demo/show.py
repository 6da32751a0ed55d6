"""The steps of the demo. Each waits for its outcome, so what is printed has happened."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from bridge.cli.common import say
from bridge.cli.demo.stage import GUID, SMOKE, Failed, Stage
from bridge.sos_access.simulator.receiver import Arrival

_READ_S = 0.3
"""The bridge reads the panel after a command; an alarm meanwhile could be found there before it is reported."""
_HOME = "sosbridge/transmitter/home"
_PANEL = f"sosbridge/panel/{GUID}"


async def play(stage: Stage) -> None:
    """Run all steps. Raises Failed at the first that does not work."""
    _announce(f"Started: a broker on port {stage.port}, two receivers, a panel and the bridge. All of them are local.")
    await _panel(stage)
    await _delivered(stage)
    await _failover(stage)
    await _both_down(stage)
    await _back_again(stage)
    await _restored(stage)
    await _missed(stage)
    say("\nDone. All messages went over real sockets.")


async def _panel(stage: Stage) -> None:
    _announce("The panel is armed over MQTT. Its state changes when the panel confirms it.")
    await _see(stage, f"{_PANEL}/availability", lambda value: value == "online")
    await _command(stage, "ARM_AWAY", "armed_away")
    _announce("Its smoke sensor triggers. The fire alarm goes to the receiver, with the sensor's name.")
    await asyncio.sleep(_READ_S)
    await stage.panel.alarm(SMOKE)
    await _see(stage, f"{_PANEL}/state", lambda value: value == "triggered")
    await _see(stage, f"{_PANEL}/event", lambda value: value["type"] == "alarm")
    await _arrived(stage, "primary", "FA of the panel (alarm)", lambda each: each.kind == "alarm")
    await _see(stage, f"{_HOME}/alarm/active", lambda value: _codes(value) == ["FA"])
    _announce("Disarming the panel restores the fire alarm.")
    await _command(stage, "DISARM", "disarmed")
    await _arrived(stage, "primary", "FA of the panel (restore)", lambda each: each.kind == "restore")
    await _see(stage, f"{_HOME}/alarm/active", lambda value: value == [], newest=True)


async def _command(stage: Stage, action: str, state: str) -> None:
    await _publish(stage, f"{_PANEL}/set", action)
    response = await _see(stage, f"{_PANEL}/set/response", lambda value: value["action"] == action)
    if response["outcome"] != "done":
        raise Failed(f"{action} done by the panel; it was {response['outcome']}")
    await _see(stage, f"{_PANEL}/state", lambda value: value == state, newest=True)


async def _delivered(stage: Stage) -> None:
    _announce("1. An alarm is published over MQTT and delivered to the receiver.")
    await _alarm(stage, "raise", "BA", "demo-1")
    await _accepted(stage, "primary", "demo-1")


async def _failover(stage: Stage) -> None:
    _announce("2. The primary receiver is down. The next alarm goes to the secondary.")
    await stage.primary.stop()
    await _alarm(stage, "raise", "FA", "demo-2")
    await _accepted(stage, "secondary", "demo-2")
    await _see(stage, f"{_HOME}/receiver/primary/state", lambda value: value == "OFF", newest=True)
    await _see(stage, f"{_HOME}/problem/info", lambda value: "receiver_down" in [each["kind"] for each in value])
    _announce("   The primary is known to be down. The next alarm makes no attempt on it.")
    await _alarm(stage, "raise", "GA", "demo-2b")
    answer = await _accepted(stage, "secondary", "demo-2b")
    if answer["attempts"] != 1:
        raise Failed(f"alarm demo-2b accepted at the first attempt; it took {answer['attempts']}")


async def _both_down(stage: Stage) -> None:
    _announce("3. Both receivers are down. The alarm stays in the outbox on disk, and `undelivered` is published.")
    await stage.secondary.stop()
    await _alarm(stage, "raise", "PA", "demo-3")
    await _see(stage, f"{_HOME}/undelivered", lambda value: value.get("reference") == "demo-3")
    await _see(stage, f"{_HOME}/outbox", lambda value: value["pending"] == 1)


async def _back_again(stage: Stage) -> None:
    _announce("4. The primary receiver is up again. The alarm is delivered and the outbox is empty.")
    await stage.primary.start()
    await _accepted(stage, "primary", "demo-3")
    await _see(stage, f"{_HOME}/receiver/primary/state", lambda value: value == "ON", newest=True)
    await _see(stage, f"{_HOME}/outbox", lambda value: value["pending"] == 0, newest=True)


async def _restored(stage: Stage) -> None:
    _announce("5. The burglary alarm is restored.")
    await _alarm(stage, "restore", "BA", "demo-4")
    await _accepted(stage, "primary", "demo-4")
    await _see(stage, f"{_HOME}/alarm/active", lambda value: _codes(value) == ["FA", "GA", "PA"])


async def _missed(stage: Stage) -> None:
    _announce("6. The panel has lost its connection, and its smoke sensor triggers. It reports nothing.")
    stage.forget()
    stage.panel.cut()
    await stage.panel.alarm(SMOKE)
    _announce(
        "   The bridge finds it in the panel's history: at the next connection, or at once when it is asked to look."
    )
    await _publish(stage, f"{_PANEL}/refresh", "PRESS")
    await _see(stage, f"{_PANEL}/event", lambda value: value["type"] == "alarm" and value["missed"])
    await _see(stage, f"{_HOME}/alarm/response", lambda value: value["event_code"] == "FA")
    stage.panel.rejoin()


async def _alarm(stage: Stage, kind: str, code: str, reference: str) -> None:
    await _publish(stage, f"{_HOME}/alarm/{kind}", json.dumps({"event_code": code, "reference": reference}))


def _codes(active: list[dict[str, str]]) -> list[str]:
    return [alarm["event_code"] for alarm in active]


async def _accepted(stage: Stage, receiver: str, reference: str) -> dict[str, Any]:
    """Show the arrival of an alarm at `receiver`; return its result on MQTT."""
    await _arrived(stage, receiver, reference, lambda each: bool(each.request and each.request.reference == reference))
    answer: dict[str, Any] = await _see(
        stage, f"{_HOME}/alarm/response", lambda value: value.get("reference") == reference
    )
    if answer["outcome"] != "accepted" or answer["receiver"] != receiver:
        raise Failed(f"alarm {reference} accepted by the {receiver} receiver; it was {answer['outcome']}")
    return answer


async def _arrived(stage: Stage, receiver: str, name: str, wanted: Callable[[Arrival], bool]) -> None:
    arrival = await stage.arrived(stage.primary if receiver == "primary" else stage.secondary, name, wanted)
    say(f"   at the {receiver} receiver, answered {arrival.status}:")
    for line in arrival.masked.splitlines():
        say(f"      {line}")


async def _see(stage: Stage, topic: str, wanted: Callable[[Any], bool], *, newest: bool = False) -> Any:  # noqa: ANN401
    value = await stage.see(topic, wanted, newest=newest)
    say(f"   ← {topic} {json.dumps(value)}")
    return value


async def _publish(stage: Stage, topic: str, payload: str) -> None:
    say(f"   → {topic} {payload}")
    await stage.publish(topic, payload)


def _announce(text: str) -> None:
    say(f"\n{text}")
