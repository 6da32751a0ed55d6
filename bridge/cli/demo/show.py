"""The steps of the demo. Each waits for its outcome, so what is printed has happened."""

from __future__ import annotations

import json

from bridge.cli.demo.panel import GUID
from bridge.cli.demo.stage import Missing as Failed
from bridge.cli.demo.stage import Stage
from bridge.sos_access.simulator.receiver import Arrival, Receiver

__all__ = ["Failed", "play"]

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
    print("\nDone. All messages went over real sockets.", flush=True)


async def _panel(stage: Stage) -> None:
    _announce("The panel is armed over MQTT. Its state changes when the panel confirms it.")
    _message(f"{_PANEL}/availability", await stage.see(f"{_PANEL}/availability", lambda value: value == "online"))
    await _command(stage, "ARM_AWAY", "armed_away")
    _announce("Its smoke sensor triggers. The fire alarm goes to the receiver, with the sensor's name.")
    await stage.panel.smoke()
    _message(f"{_PANEL}/state", await stage.see(f"{_PANEL}/state", lambda value: value == "triggered"))
    _message(f"{_PANEL}/event", await stage.see(f"{_PANEL}/event", lambda value: value["type"] == "alarm"))
    await _forwarded(stage, "alarm")
    active = await stage.see(f"{_HOME}/alarm/active", lambda value: [a["event_code"] for a in value] == ["FA"])
    _message(f"{_HOME}/alarm/active", active)
    _announce("Disarming the panel restores the fire alarm.")
    await _command(stage, "DISARM", "disarmed")
    await _forwarded(stage, "restore")
    _message(f"{_HOME}/alarm/active", await stage.see(f"{_HOME}/alarm/active", lambda value: value == [], newest=True))


async def _command(stage: Stage, action: str, state: str) -> None:
    await _publish(stage, f"{_PANEL}/set", action)
    response = await stage.see(f"{_PANEL}/set/response", lambda value: value["action"] == action)
    _message(f"{_PANEL}/set/response", response)
    if response["outcome"] != "done":
        raise Failed(f"{action} done by the panel; it was {response['outcome']}")
    _message(f"{_PANEL}/state", await stage.see(f"{_PANEL}/state", lambda value: value == state, newest=True))


async def _forwarded(stage: Stage, kind: str) -> None:
    """Show the alarm or restore that was forwarded from the panel."""
    _show(await stage.arrived(stage.primary, f"FA of the panel ({kind})", lambda each: each.kind == kind), "primary")


async def _delivered(stage: Stage) -> None:
    _announce("1. An alarm is published over MQTT and delivered to the receiver.")
    await _raise(stage, "BA", "demo-1")
    await _show_arrival(stage, stage.primary, "primary", "demo-1")
    await _show_answer(stage, "demo-1", "primary")


async def _failover(stage: Stage) -> None:
    _announce("2. The primary receiver is down. The next alarm goes to the secondary.")
    await stage.primary.stop()
    await _raise(stage, "FA", "demo-2")
    await _show_arrival(stage, stage.secondary, "secondary", "demo-2")
    await _show_answer(stage, "demo-2", "secondary")


async def _both_down(stage: Stage) -> None:
    _announce("3. Both receivers are down. The alarm stays in the outbox on disk, and `undelivered` is published.")
    await stage.secondary.stop()
    await _raise(stage, "PA", "demo-3")
    undelivered = await stage.see(f"{_HOME}/undelivered", lambda value: value.get("reference") == "demo-3")
    _message(f"{_HOME}/undelivered", undelivered)
    waiting = await stage.see(f"{_HOME}/outbox", lambda value: value["pending"] == 1)
    _message(f"{_HOME}/outbox", waiting)


async def _back_again(stage: Stage) -> None:
    _announce("4. The primary receiver is up again. The alarm is delivered and the outbox is empty.")
    await stage.primary.start()
    await _show_arrival(stage, stage.primary, "primary", "demo-3")
    await _show_answer(stage, "demo-3", "primary")
    _message(f"{_HOME}/outbox", await stage.see(f"{_HOME}/outbox", lambda value: value["pending"] == 0, newest=True))


async def _restored(stage: Stage) -> None:
    _announce("5. The burglary alarm is restored.")
    topic, payload = f"{_HOME}/alarm/restore", json.dumps({"event_code": "BA", "reference": "demo-4"})
    await _publish(stage, topic, payload)
    await _show_arrival(stage, stage.primary, "primary", "demo-4")
    await _show_answer(stage, "demo-4", "primary")
    active = await stage.see(f"{_HOME}/alarm/active", lambda value: [a["event_code"] for a in value] == ["FA", "PA"])
    _message(f"{_HOME}/alarm/active", active)


async def _raise(stage: Stage, code: str, reference: str) -> None:
    topic, payload = f"{_HOME}/alarm/raise", json.dumps({"event_code": code, "reference": reference})
    await _publish(stage, topic, payload)


async def _show_arrival(stage: Stage, receiver: Receiver, name: str, reference: str) -> None:
    _show(await stage.arrival(receiver, reference), name)


def _show(arrival: Arrival, name: str) -> None:
    print(f"   at the {name} receiver, answered {arrival.status}:")
    for line in arrival.masked.splitlines():
        print(f"      {line}", flush=True)


async def _show_answer(stage: Stage, reference: str, receiver: str) -> None:
    answer = await stage.see(f"{_HOME}/alarm/response", lambda value: value.get("reference") == reference)
    _message(f"{_HOME}/alarm/response", answer)
    if answer["outcome"] != "accepted" or answer["receiver"] != receiver:
        raise Failed(f"alarm {reference} accepted by the {receiver} receiver; it was {answer['outcome']}")


def _announce(text: str) -> None:
    print(f"\n{text}", flush=True)


async def _publish(stage: Stage, topic: str, payload: str) -> None:
    print(f"   → {topic} {payload}", flush=True)
    await stage.publish(topic, payload)


def _message(topic: str, value: object) -> None:
    print(f"   ← {topic} {json.dumps(value)}", flush=True)
