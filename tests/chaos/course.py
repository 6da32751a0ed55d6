"""The course of a run: everything is started, load and faults go on together, then the faults end and all settles."""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path

from chaos import faults, machine, network
from chaos.ledger import RECEIVERS, Ledger, now
from chaos.load import Listener, Publisher
from chaos.machine import Clock, Disk
from chaos.network import Wire
from chaos.packet_ids import PacketIds
from chaos.panels import Panel
from chaos.product import PASSWORD, Product, code, configuration, forwarding, store_of
from chaos.receivers import Station
from support.brokers import Mosquitto, free_port

from bridge.sos_access.simulator.receiver import Accounts

_BASE = "chaos"
_SETTLES_WITHIN_S = 120.0
_QUIET_S = 5.0
"""Nothing waits in the bridge and no result has come for so long: what has none yet was lost by the broker."""


class Run:
    """One run over the life of one broker, two receivers and one bridge with a wire to each of them."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.options = options
        self.ledger = Ledger()
        self.transmitters = [f"t{number}" for number in range(1, options.transmitters + 1)]
        accounts = Accounts({code(name): PASSWORD for name in self.transmitters})
        self.receivers = [Station(accounts, self.ledger, name) for name in RECEIVERS]
        self.broker = Mosquitto(folder)
        to_broker = Wire("network of the broker", lambda: self.broker.port)
        to_broker.ids = PacketIds()
        to_broker.ids.repeated, to_broker.ids.acknowledged = self.ledger.delivered_again, self.ledger.taken
        self.wires = [to_broker, *map(_wire_to, self.receivers)]
        self.product = Product(folder, self.ledger)
        self.disk = Disk(store_of(folder).parent)
        self.clock = Clock(folder)
        self.product.environment |= self.clock.environment
        self.listener = Listener(self.broker.port, _BASE, self.ledger)
        self.publisher = Publisher(self.broker.port, _BASE, self.ledger)
        ports = [wire.port for wire in self.wires]
        listen = free_port()
        names = {f"p{number}": self.transmitters[number % len(self.transmitters)] for number in range(options.panels)}
        self.panels = [
            Panel(name, Wire(f"network of the panels: {name}", lambda: listen), self.ledger, self._dice(name))
            for name in names
        ]
        self.ledger.accounts = {line: {code(names.get(line, line))} for line in (*self.transmitters, *names)}
        text = configuration(folder, _BASE, ports[0], ports[1:], self.transmitters) + forwarding(listen, names)
        self.product.config.write_text(text, "utf-8")

    async def run(self) -> Ledger:
        with self.disk, self.broker:
            for receiver in self.receivers:
                await receiver.start()
            for wire in self._all_wires:
                await wire.start()
            clients = [asyncio.create_task(each.run()) for each in (self.listener, self.publisher)]
            try:
                await self._go()
                await self._settle()
            finally:
                self.product.end()
                await _end(clients)
                for wire in self._all_wires:
                    await wire.stop()
                for receiver in self.receivers:
                    await receiver.stop()
        return self.ledger

    @property
    def _all_wires(self) -> list[Wire]:
        return [*self.wires, *(panel.wire for panel in self.panels)]

    async def _go(self) -> None:
        self.product.start()
        async with asyncio.timeout(_SETTLES_WITHIN_S):
            await self.listener.online.wait()
        until = now() + self.options.minutes * 60
        rate = self.options.rate / len(self.transmitters)
        async with asyncio.TaskGroup() as tasks:
            faults = [tasks.create_task(each) for each in self._faults()]
            loads = [self.publisher.load(name, self._dice(name), rate, until) for name in self.transmitters]
            loads += [panel.load(rate, until) for panel in self.panels]
            await asyncio.wait([tasks.create_task(load) for load in loads])
            await _end(faults)

    def _faults(self) -> list[Coroutine[None, None, None]]:
        ends = faults.end_bridge(self.product, self._dice("bridge"), self.options.kill_each)
        receivers = faults.trouble_receivers(self.receivers, self.ledger, self._dice("receivers"))
        broker = faults.restart_broker(self.broker, self.listener, self.ledger, self._dice("broker"))
        wires = [network.trouble(wire, self.ledger, self._dice(wire.name)) for wire in self._all_wires]
        disk = machine.trouble_disk(self.disk, self.product, self.ledger, self._dice("disk"))
        clock = machine.trouble_clock(self.clock, self.ledger, self._dice("clock"))
        return [ends, receivers, broker, *wires, disk, clock]

    def _dice(self, name: str) -> random.Random:
        return random.Random(f"{self.options.seed} {name}")

    async def _settle(self) -> None:
        """Start the bridge afresh, so that no line waits any longer than it must, and let every alarm end.

        What the broker has lost is published again, as whoever sent it would. A commanded ping has refused passwords
        tried again at once, as a person would.
        """
        self.product.kill()
        self.clock.set("+0")
        self.product.start()
        for name in self.transmitters:
            await self.publisher.ping(name)
        quiet_since = now()
        while self.ledger.open() and now() - quiet_since < _SETTLES_WITHIN_S:
            self.listener.heard.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self.listener.heard.wait()
                    quiet_since = now()
            if now() - quiet_since > _QUIET_S and not any(self.listener.pending.values()):
                await self.publisher.publish_all(self.ledger.lost_by_broker())
        await self.product.stop()


def _wire_to(receiver: Station) -> Wire:
    return Wire(f"network of the {receiver.name}", lambda: receiver.address[1], receiver=receiver.name)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
