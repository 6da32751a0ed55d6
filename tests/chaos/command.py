"""`tests/chaos/run`: alarms through the installed bridge while everything around it fails; nothing may be lost."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path

from chaos.faults import kill, trouble_receivers
from chaos.ledger import Ledger, now
from chaos.load import Listener, Publisher
from chaos.product import PASSWORD, Product, code, configuration
from chaos.receivers import Station
from chaos.table import faulty, table
from integration.brokers import Mosquitto

from bridge.sos_access.receiver import Accounts

_BASE = "chaos"
_SETTLES_WITHIN_S = 90.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if nothing was lost, nothing came twice without a reason, and order was kept."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"seed {options.seed}, {options.minutes:g} minutes, {options.transmitters} transmitters", flush=True)
    ledger = asyncio.run(_Run(folder, options).run())
    print(table(ledger), flush=True)
    faults = faulty(ledger)
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        print(f"configuration, logs and stores are kept in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return int(bool(faults))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests/chaos/run", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="of load; then all has to settle (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same schedule (default: 1)")
    parser.add_argument("--rate", type=float, default=20.0, help="alarms a second, in the mean (default: 20)")
    parser.add_argument("--transmitters", type=int, default=6, help="default: 6")
    parser.add_argument("--kill-each", type=float, default=4.0, metavar="S", help="in the mean (default: 4)")
    return parser


class _Run:
    """One run: the load and the faults together, then the faults end and all settles."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder = folder
        self.options = options
        self.ledger = Ledger()
        self.transmitters = [f"t{number}" for number in range(1, options.transmitters + 1)]

    async def run(self) -> Ledger:
        accounts = Accounts({code(name): PASSWORD for name in self.transmitters})
        self.receivers = [Station(accounts, self.ledger) for _ in range(2)]
        self.product = Product(self.folder, self.ledger)
        with Mosquitto(self.folder) as self.broker:
            self.listener = Listener(self.broker.port, _BASE, self.ledger)
            self.publisher = Publisher(self.broker.port, _BASE, self.ledger)
            for receiver in self.receivers:
                await receiver.start()
            clients = [asyncio.create_task(each.run()) for each in (self.listener, self.publisher)]
            try:
                await self._chaos()
                await self._settle()
            finally:
                self.product.end()
                await _end([*clients])
                for receiver in self.receivers:
                    await receiver.stop()
        return self.ledger

    async def _chaos(self) -> None:
        ports = [receiver.address[1] for receiver in self.receivers]
        self.product.config.write_text(
            configuration(self.folder, _BASE, self.broker.port, ports, self.transmitters), "utf-8"
        )
        self.product.start()
        async with asyncio.timeout(_SETTLES_WITHIN_S):
            await self.listener.online.wait()
        until = now() + self.options.minutes * 60
        rate = self.options.rate / len(self.transmitters)
        async with asyncio.TaskGroup() as tasks:
            faults = [tasks.create_task(each) for each in self._faults()]
            load = [
                tasks.create_task(self.publisher.load(name, self._dice(name), rate, until))
                for name in self.transmitters
            ]
            await asyncio.wait(load)
            for fault in faults:
                fault.cancel()

    def _faults(self) -> list[Coroutine[None, None, None]]:
        return [
            kill(self.product, self._dice("kill"), self.options.kill_each),
            trouble_receivers(self.receivers, self.ledger, self._dice("receivers")),
        ]

    def _dice(self, name: str) -> random.Random:
        return random.Random(f"{self.options.seed} {name}")

    async def _settle(self) -> None:
        """Start the bridge afresh, so that no line waits any longer than it must, and let every alarm end."""
        self.product.kill()
        self.product.start()
        end = now() + _SETTLES_WITHIN_S
        while self.ledger.open() and now() < end:
            self.listener.heard.clear()
            try:
                async with asyncio.timeout(1):
                    await self.listener.heard.wait()
            except TimeoutError:
                pass
        await self.product.stop()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    sys.exit(main())
