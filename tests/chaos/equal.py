"""Alarms that are all equal, from a broker that gives the lowest free packet id over a network that breaks.

A new one may look like an old one that is delivered again. It may be taken for that as long as the old one waits:
after each alarm a receiver gets one that is equal.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chaos.ledger import RECEIVERS, Arrived, Attempt, Ledger, now
from chaos.load import Equal, Listener
from chaos.network import Wire
from chaos.packet_ids import PacketIds
from chaos.product import PASSWORD, Product, code, configuration, store_of
from chaos.receivers import Station
from support.brokers import Mosquitto

from bridge.sos_access.simulator.receiver import Accounts

_BASE = "equal"
_NAME = "t1"
_ROUNDS = 12
_KILLED = 0.4
"""How often the bridge is killed as well; else it waits longer each time before it connects again."""
_STARTS_WITHIN_S = 60.0
_ARRIVES_WITHIN_S = 40.0


@dataclass
class EqualAlarms:
    """What came of them."""

    acknowledged: int = 0
    lost: int = 0
    """Rounds whose last alarm no receiver got."""
    reused: int = 0
    """How often a packet id was given again."""


class _Arrivals(Ledger):
    """Notes when receivers last took an alarm, whichever it was."""

    last = 0.0

    def arrived(self, arrived: Arrived, begun: float) -> Attempt:
        self.last = begun
        return Attempt(begun, arrived.status, arrived.receiver)


async def equal_alarms(folder: Path, seed: int) -> EqualAlarms:
    """Publish them while the connection breaks and the bridge is killed, and count what ended."""
    store_of(folder).parent.mkdir(parents=True)
    dice = random.Random(f"{seed} equal")
    ledger = _Arrivals()
    accounts = Accounts({code(_NAME): PASSWORD})
    receivers = [Station(accounts, ledger, name) for name in RECEIVERS]
    product = Product(folder, ledger)
    found = EqualAlarms()
    with Mosquitto(folder) as broker:
        wire = Wire("network of the broker", lambda: broker.port)
        wire.ids = PacketIds()
        for receiver in receivers:
            await receiver.start()
        await wire.start()
        ports = [receiver.address[1] for receiver in receivers]
        product.config.write_text(configuration(folder, _BASE, wire.port, ports, [_NAME]), "utf-8")
        listener, sender = Listener(broker.port, _BASE, Ledger()), Equal(broker.port, _BASE, _NAME)
        clients = [asyncio.create_task(each.run()) for each in (listener, sender)]
        try:
            product.start()
            async with asyncio.timeout(_STARTS_WITHIN_S):
                await listener.online.wait()
            for _ in range(_ROUNDS):
                found.lost += not await _round(wire, product, sender, ledger, dice)
            await product.stop()
        finally:
            product.end()
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
            await wire.stop()
            for receiver in receivers:
                await receiver.stop()
    found.acknowledged, found.reused = sender.acknowledged, wire.ids.reused
    return found


async def _round(wire: Wire, product: Product, sender: Equal, ledger: _Arrivals, dice: random.Random) -> bool:
    """Publish two alarms, and break the connection into which the second one goes; return whether one came after it."""
    await sender.publish()
    await asyncio.sleep(dice.choice((0, 0.01, 0.02, 0.05, 0.2)))
    wire.swallow()
    last = now()
    await sender.publish()
    await asyncio.sleep(dice.uniform(0, 0.2))
    if dice.random() < _KILLED:
        product.kill()
        product.start()
    await wire.hang_up()
    wire.release()
    with suppress(TimeoutError):
        async with asyncio.timeout(_ARRIVES_WITHIN_S):
            while ledger.last < last:  # noqa: ASYNC110 - receivers of another module
                await asyncio.sleep(0.05)
    return ledger.last >= last
