"""The demo's show: each step waits for what it tells, so what is printed has happened."""

from __future__ import annotations

import json

from bridge.cli.demo_stage import Missing as Failed
from bridge.cli.demo_stage import Stage
from bridge.sos_access.receiver import Receiver

__all__ = ["Failed", "play"]

_HOME = "sosbridge/transmitter/home"


async def play(stage: Stage) -> None:
    """Play all of it. Raises Failed at what did not happen."""
    _tell(f"A broker on port {stage.port}, two receivers, and the bridge with its store on disk. Nothing is real here.")
    await _delivered(stage)
    await _failover(stage)
    await _both_down(stage)
    await _back_again(stage)
    await _restored(stage)
    print("\nAll of this happened on real sockets.", flush=True)


async def _delivered(stage: Stage) -> None:
    _tell("1. An alarm is published, and reaches the receiver.")
    await _raise(stage, "BA", "demo-1")
    await _show_arrival(stage, stage.primary, "primary", "demo-1")
    await _show_answer(stage, "demo-1", "primary")


async def _failover(stage: Stage) -> None:
    _tell("2. The primary receiver dies. The next alarm goes to the secondary.")
    await stage.primary.stop()
    await _raise(stage, "FA", "demo-2")
    await _show_arrival(stage, stage.secondary, "secondary", "demo-2")
    await _show_answer(stage, "demo-2", "secondary")


async def _both_down(stage: Stage) -> None:
    _tell("3. Both receivers are dead. The alarm waits in the outbox on disk, and whoever listens is told.")
    await stage.secondary.stop()
    await _raise(stage, "PA", "demo-3")
    undelivered = await stage.see(f"{_HOME}/undelivered", lambda value: value.get("reference") == "demo-3")
    _message(f"{_HOME}/undelivered", undelivered)
    waiting = await stage.see(f"{_HOME}/outbox", lambda value: value["pending"] == 1)
    _message(f"{_HOME}/outbox", waiting)


async def _back_again(stage: Stage) -> None:
    _tell("4. The primary receiver is back. The alarm is delivered, nothing waits any more.")
    await stage.primary.start()
    await _show_arrival(stage, stage.primary, "primary", "demo-3")
    await _show_answer(stage, "demo-3", "primary")
    _message(f"{_HOME}/outbox", await stage.see(f"{_HOME}/outbox", lambda value: value["pending"] == 0, newest=True))


async def _restored(stage: Stage) -> None:
    _tell("5. The burglary alarm is restored.")
    topic, payload = f"{_HOME}/alarm/restore", json.dumps({"event_code": "BA", "reference": "demo-4"})
    _published(topic, payload)
    await stage.publish(topic, payload)
    await _show_arrival(stage, stage.primary, "primary", "demo-4")
    await _show_answer(stage, "demo-4", "primary")
    active = await stage.see(f"{_HOME}/alarm/active", lambda value: [a["event_code"] for a in value] == ["FA", "PA"])
    _message(f"{_HOME}/alarm/active", active)


async def _raise(stage: Stage, code: str, reference: str) -> None:
    topic, payload = f"{_HOME}/alarm/raise", json.dumps({"event_code": code, "reference": reference})
    _published(topic, payload)
    await stage.publish(topic, payload)


async def _show_arrival(stage: Stage, receiver: Receiver, name: str, reference: str) -> None:
    arrival = await stage.arrival(receiver, reference)
    print(f"   at the {name} receiver, answered {arrival.status}:")
    for line in arrival.masked.splitlines():
        print(f"      {line}", flush=True)


async def _show_answer(stage: Stage, reference: str, receiver: str) -> None:
    answer = await stage.see(f"{_HOME}/alarm/response", lambda value: value.get("reference") == reference)
    _message(f"{_HOME}/alarm/response", answer)
    if answer["outcome"] != "accepted" or answer["receiver"] != receiver:
        raise Failed(f"alarm {reference} accepted by the {receiver} receiver; it was {answer['outcome']}")


def _tell(text: str) -> None:
    print(f"\n{text}", flush=True)


def _published(topic: str, payload: str) -> None:
    print(f"   → {topic} {payload}", flush=True)


def _message(topic: str, value: object) -> None:
    print(f"   ← {topic} {json.dumps(value)}", flush=True)
