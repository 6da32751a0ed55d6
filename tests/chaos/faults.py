"""What goes wrong, and when: each fault has dice of its own, so a seed makes the same schedule in every run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence

from chaos.ledger import Ledger, now
from chaos.load import EVENTS, Listener
from chaos.product import Product
from chaos.receivers import RESPONSE_TIMEOUT_S, Station
from support.brokers import Mosquitto

from bridge.sos_access.simulator.receiver import Fault
from bridge.sos_access.status import Status

_STOPPED = 0.2
"""How often the bridge is not killed but told to end."""
_BROKER_EACH_S = 15.0
_REFUSED = (Status.NOT_AUTHORIZED, Status.NOT_AUTHORIZED_6)
_UNSEEN = ("dead", "resetting", "silent")
"""Faults that let attempts fail which the receiver does not note."""
FAULTS: dict[str, Fault | None] = {
    "dead": None,
    "resetting": None,
    "silent": None,
    "refuses one event code": None,
    "refuses passwords": Fault(status=Status.NOT_AUTHORIZED),
    "slow": Fault(delay=0.3),
    "too slow": Fault(delay=RESPONSE_TIMEOUT_S + 1),
    "hangs up before": Fault(drop=True),
    "hangs up after": Fault(lose=True),
    "garbage": Fault(garbage="random"),
    "truncated": Fault(garbage="truncated"),
    "byte by byte": Fault(segment=0.001),
} | {f"status {int(status)}": Fault(status=status) for status in (*Status, 42)}


async def end_bridge(product: Product, dice: random.Random, mean_s: float) -> None:
    """End the bridge at random moments, also while it is starting, and start it again at once or a little later."""
    while True:
        await asyncio.sleep(0.05 + dice.expovariate(1 / mean_s))
        async with product.control:
            if dice.random() < _STOPPED:
                await product.stop()
            else:
                product.kill()
            await asyncio.sleep(dice.choice((0, 0, dice.random())))
            product.start()


async def restart_broker(broker: Mosquitto, listener: Listener, ledger: Ledger, dice: random.Random) -> None:
    """Restart the broker now and then, with what it held and without."""
    while True:
        await asyncio.sleep(dice.uniform(0.5, 1.5) * _BROKER_EACH_S)
        forget = dice.random() < 0.4
        ledger.faults[f"broker: restarted{' without its store' if forget else ''}"] += 1
        await asyncio.to_thread(broker.stop)
        try:
            if forget:
                broker.forget()
                listener.forgotten = True
            await asyncio.sleep(dice.choice((0, dice.uniform(0, 3))))
        finally:
            broker.start()


async def trouble_receivers(receivers: Sequence[Station], ledger: Ledger, dice: random.Random) -> None:
    """Let one receiver or both show one fault after the other, all of them before any comes again."""
    for name in shuffled(list(FAULTS), dice):
        chosen = dice.choice(([receivers[0]], [receivers[1]], receivers))
        ledger.faults[f"receiver: {name}"] += 1
        begun = now()
        try:
            for receiver in chosen:
                await _begin(receiver, name, dice)
            await asyncio.sleep(dice.uniform(0.2, 2))
        finally:
            for receiver in chosen:
                await _end(receiver, name)
                if name in _UNSEEN:
                    ledger.troubles[receiver.name].append((begun, now()))
        await asyncio.sleep(dice.uniform(0, 1.5))


def shuffled(names: list[str], dice: random.Random) -> Iterator[str]:
    """Give all of them before any comes again, without end."""
    while True:
        dice.shuffle(names)
        yield from names


async def _begin(receiver: Station, name: str, dice: random.Random) -> None:
    fault = FAULTS[name]
    if name == "dead":
        await receiver.stop()
    elif name == "resetting":
        receiver.reset = True
    elif name == "silent":
        receiver.silent = True
    elif name == "refuses one event code":
        receiver.refuses = dice.choice(EVENTS)
    elif fault is not None and name.startswith("status"):
        # A few only: a refused password holds a line for a minute, and what is rejected is not sent again.
        receiver.faults.add(fault, 1 if fault.status in _REFUSED else dice.randint(1, 5))
    elif fault is not None:
        receiver.faults.add(fault)


async def _end(receiver: Station, name: str) -> None:
    receiver.faults.clear()
    receiver.reset = receiver.silent = False
    receiver.refuses = ""
    if name == "dead":
        await receiver.start()
