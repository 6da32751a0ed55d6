"""Alarms that are all equal, from a broker that gives the lowest free packet id over a network that breaks.

A new one may look like an old one that is delivered again: none may be taken for it.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from chaos.ledger import RECEIVERS, Ledger, now
from chaos.load import Equal, Listener
from chaos.network import Wire
from chaos.packet_ids import PacketIds
from chaos.product import PASSWORD, Product, code, configuration, store_of
from chaos.receivers import Station
from support.brokers import Mosquitto

from bridge.sos_access.simulator.receiver import Accounts

_BASE = "equal"
_NAME = "t1"
_SECONDS = 20.0
_SETTLES_WITHIN_S = 60.0


@dataclass
class EqualAlarms:
    """What came of them: `ended` counts results in the store."""

    acknowledged: int = 0
    ended: int = 0
    reused: int = 0
    """How often a packet id was given again."""

    @property
    def lost(self) -> int:
        return max(self.acknowledged - self.ended, 0)


async def equal_alarms(folder: Path, seed: int) -> EqualAlarms:
    """Publish them while the connection breaks and the bridge is killed, and count what ended."""
    store_of(folder).parent.mkdir(parents=True)
    dice = random.Random(f"{seed} equal")
    ledger = Ledger()
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
            async with asyncio.timeout(_SETTLES_WITHIN_S):
                await listener.online.wait()
            await _trouble(wire, product, sender, dice)
            await _settled(listener)
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
    with closing(sqlite3.connect(store_of(folder))) as store:
        [found.ended] = store.execute("SELECT count(*) FROM history WHERE request = 'alarm'").fetchone()
    return found


async def _trouble(wire: Wire, product: Product, sender: Equal, dice: random.Random) -> None:
    end = now() + _SECONDS
    load = asyncio.create_task(sender.load(dice, end))
    while not load.done():
        await asyncio.sleep(dice.uniform(0.2, 2))
        wire.swallow()
        await asyncio.sleep(dice.uniform(0, 0.3))
        if dice.random() < 0.3:
            product.kill()
            product.start()
        await wire.hang_up()
        wire.release()
    await load


async def _settled(listener: Listener) -> None:
    """Wait until no result has come for a while."""
    with suppress(TimeoutError):
        while True:
            listener.heard.clear()
            async with asyncio.timeout(8):
                await listener.heard.wait()
