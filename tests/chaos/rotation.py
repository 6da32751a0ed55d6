"""A rotation with a kill at each of its steps, one after the other: the transmitter is never locked out.

The receivers share the account, or each has its own: then the secondary learns nothing of the new password.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from chaos.ledger import RECEIVERS, Ledger
from chaos.product import PASSWORD, Product, code, command, configuration, store_of
from chaos.receivers import Station
from support.brokers import Mosquitto
from support.recorder import Recorder

from bridge.common.models import Secret
from bridge.sos_access.simulator.receiver import Accounts, Fault
from bridge.store.passwords import password_file

FAULTS = {"all goes well": None, "the request is lost": Fault(drop=True), "the answer is lost": Fault(lose=True)}
"""What happens to the first request for a new password."""
_NAME = "t1"
_LINE = f"transmitter/{_NAME}"
_AT_ONCE = 4
_DIES_WITHIN_S = 30.0
_SETTLES_WITHIN_S = 20.0
"""After a rotation each receiver is checked, and pings keep a gap."""


class Case:
    """One rotation that dies at step `number` (0: at none), and what the transmitter can do afterwards."""

    def __init__(
        self, broker: Mosquitto, folder: Path, fault: Fault | None, number: int, *, out_of_step: bool = False
    ) -> None:
        store_of(folder).parent.mkdir(parents=True)
        self.names = folder / "steps"
        self._number = number
        self._accounts = [Accounts({code(_NAME): PASSWORD})] * 2
        if out_of_step:
            self._accounts[1] = Accounts({code(_NAME): PASSWORD})
        self._out_of_step = out_of_step
        self._receivers = [
            Station(accounts, Ledger(), name) for accounts, name in zip(self._accounts, RECEIVERS, strict=True)
        ]
        if fault is not None:
            self._receivers[0].faults.add(fault, 1)
        self._mqtt = Recorder(broker.port, folder.name)
        self._product = Product(folder, Ledger())
        self._passwords = password_file(store_of(folder), _NAME, code(_NAME), "SV300")
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
            with suppress(TimeoutError):  # then what runs beside the rotation has taken fewer steps this time
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
        wrong = await self._settles()
        return wrong or (await self._secondary_alone() if self._out_of_step else "")

    async def _settles(self) -> str:
        """Wait until the passwords that receivers take are kept, and no other where they share an account."""
        accounts = [each.account(code(_NAME)) for each in self._accounts]
        found: list[Secret] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLES_WITHIN_S):
                while True:
                    taken = [account.current for account in accounts if account is not None]
                    found = [Secret(each["value"]) for each in json.loads(self._passwords.read_text())["passwords"]]
                    if found == taken[:1] or (self._out_of_step and all(each in found for each in taken)):
                        return ""
                    await asyncio.sleep(0.2)
        return f"{len(found)} passwords are kept, after all was settled"

    async def _secondary_alone(self) -> str:
        await self._receivers[0].stop()
        await self._mqtt.publish(f"{_LINE}/ping", "alone")
        told = await self._mqtt.wait(f"{_LINE}/ping/response", _is("alone"))
        return "" if told.value["outcome"] == "accepted" else f"secondary alone: {told.payload}"


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

        kinds = [(name, fault, False) for name, fault in FAULTS.items()]
        kinds += [(f"{name}, one receiver out of step", fault, True) for name, fault in FAULTS.items()]
        for kind, (name, fault, apart) in enumerate(kinds):
            whole = Case(broker, folder / f"rotation{kind}", fault, 0, out_of_step=apart)
            await judge(whole, name)
            steps = whole.names.read_text("utf-8").splitlines()
            async with asyncio.TaskGroup() as tasks:
                for number, step in enumerate(steps, 1):
                    case = Case(broker, folder / f"rotation{kind}-{number}", fault, number, out_of_step=apart)
                    tasks.create_task(judge(case, f"{name}, killed {step}, step {number}"))
            found.killed += len(steps)
    return found
