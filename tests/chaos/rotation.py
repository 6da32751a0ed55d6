"""A rotation with a kill at each of its steps, one after the other: the transmitter is never locked out."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from chaos.ledger import Ledger
from chaos.product import PASSWORD, Product, code, command, configuration, store_of
from chaos.receivers import Station
from support.brokers import Mosquitto
from support.recorder import Recorder

from bridge.common.models import Secret
from bridge.sos_access.simulator.receiver import Accounts, Fault
from bridge.store.credentials import directory

FAULTS = {"all goes well": None, "the request is lost": Fault(drop=True), "the answer is lost": Fault(lose=True)}
"""What happens to the first request for a new password."""
_NAME = "t1"
_LINE = f"transmitter/{_NAME}"
_AT_ONCE = 4
_DIES_WITHIN_S = 30.0


class Case:
    """One rotation that dies at step `number` (0: at none), and what the transmitter can do afterwards."""

    def __init__(self, broker: Mosquitto, folder: Path, fault: Fault | None, number: int) -> None:
        store_of(folder).parent.mkdir(parents=True)
        self.names = folder / "steps"
        self._number = number
        self._accounts = Accounts({code(_NAME): PASSWORD})
        self._receivers = [Station(self._accounts, Ledger()) for _ in range(2)]
        if fault is not None:
            self._receivers[0].faults.add(fault, 1)
        self._mqtt = Recorder(broker.port, folder.name)
        self._product = Product(folder, Ledger())
        self._passwords = directory(store_of(folder)) / f"{_NAME}.json"
        self._broker = broker
        self._folder = folder

    async def run(self) -> str:
        """Return what is wrong afterwards, if anything is."""
        for receiver in self._receivers:
            await receiver.start()
        ports = [receiver.address[1] for receiver in self._receivers]
        text = configuration(self._folder, self._folder.name, self._broker.port, ports, [_NAME])
        self._product.config.write_text(text, "utf-8")
        try:
            async with self._mqtt:
                await self._rotate()
                return await self._locked_out()
        finally:
            self._product.end()
            for receiver in self._receivers:
                await receiver.stop()

    async def _rotate(self) -> None:
        product = self._product
        product.program = [sys.executable, "-P", str(Path(__file__).with_name("step.py"))]
        product.environment |= {"CHAOS_STEP": str(self._number), "CHAOS_STEPS": str(self.names)}
        await self._start()
        await self._mqtt.publish(f"{_LINE}/auth/rotate", "rotate")
        await self._mqtt.publish(f"{_LINE}/ping", "first")  # the first message with the new password
        if self._number:
            async with asyncio.timeout(_DIES_WITHIN_S):
                while product.alive:  # noqa: ASYNC110 - a process of another kind of waiting
                    await asyncio.sleep(0.01)
        else:
            await self._mqtt.wait(f"{_LINE}/ping/response", lambda result: result["reference"] == "first")
        product.end()

    async def _start(self) -> None:
        mark = self._mqtt.mark
        self._product.start()
        await self._mqtt.wait("bridge/state", lambda state: state == "online", after=mark)

    async def _locked_out(self) -> str:
        """The true command takes over: two pings and one more rotation have to be accepted."""
        self._product.program = command()
        await self._start()
        for leaf, reference in (("ping", "second"), ("ping", "third"), ("auth/rotate", "again"), ("ping", "last")):
            await self._mqtt.publish(f"{_LINE}/{leaf}", reference)
            kind = leaf.partition("/")[0]
            told = await self._mqtt.wait(f"{_LINE}/{kind}/response", _is(reference))
            if told.value["outcome"] != "accepted":
                return f"{reference}: {told.payload}"
        account = self._accounts.account(code(_NAME))
        assert account is not None
        known = [Secret(each["value"]) for each in json.loads(self._passwords.read_text("utf-8"))["passwords"]]
        return "" if known == [account.current] else f"{len(known)} passwords are kept, after all was settled"


def _is(reference: str) -> Callable[[dict[str, str]], bool]:
    return lambda result: result.get("reference") == reference


@dataclass
class Rotations:
    """What came of all of them."""

    killed: int = 0
    wrong: list[str] = field(default_factory=list)


async def rotations(folder: Path) -> Rotations:
    """Rotate once for each step and each fault, and die there."""
    found = Rotations()
    at_once = asyncio.Semaphore(_AT_ONCE)
    with Mosquitto(folder) as broker:

        async def judge(case: Case, where: str) -> None:
            async with at_once:
                if wrong := await case.run():
                    found.wrong.append(f"rotation ({where}): {wrong}")

        for kind, (name, fault) in enumerate(FAULTS.items()):
            whole = Case(broker, folder / f"rotation{kind}", fault, 0)
            await judge(whole, name)
            steps = whole.names.read_text("utf-8").splitlines()
            async with asyncio.TaskGroup() as tasks:
                for number, step in enumerate(steps, 1):
                    case = Case(broker, folder / f"rotation{kind}-{number}", fault, number)
                    tasks.create_task(judge(case, f"{name}, killed {step}, step {number}"))
            found.killed += len(steps)
    return found
