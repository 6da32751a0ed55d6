"""How soon an alarm is accepted while something is broken: real sockets, a real broker, the bridge as it is installed.

Run it: `tests/bench/run faults [--quick] [--only WORD]`. Beside: the `sos-access` library, called with the same alarm
and the same receivers until it returns or raises, where it can do that at all.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial

from bench.faulty import Receiver, Site, alarms, holds, numbered, refusing
from bench.figures import HEAD, row
from bench.kit import PASSWORD
from bench.peers import sos_access

_APART_S = 4.0
"""Between the beginnings of two that are measured together: a bridge has started by then."""
Fault = Callable[[], Coroutine[None, None, None]]


async def library(site: Site, count: int = 1) -> Library:
    """Let the library send alarms one after the other, until it raises."""
    make = sos_access("client").SOSAccessClient
    addresses = [("127.0.0.1", receiver.port) for receiver in (site.primary, site.secondary)]
    client = make("IK1", "SV300", PASSWORD, "ALARM-OPER", *addresses)
    found = Library()
    for number in range(count):
        began = time.perf_counter()
        try:
            await asyncio.to_thread(partial(client.send_alarm, "FA", reference=f"library{number}"))
        except Exception as error:  # noqa: BLE001 - its errors are its own
            found.raised = f"raises {type(error).__name__} after {time.perf_counter() - began:.1f} s"
            break
        found.times.append(time.perf_counter() - began)
    return found


@dataclass
class Library:
    """What became of the library's alarms."""

    times: list[float] = field(default_factory=list)
    raised: str = ""

    def __str__(self) -> str:
        return f"`sos-access`: {self.raised or f'{self.times[0]:.1f} s'}"

    def of(self, count: int, seconds: Callable[[list[float]], float]) -> str:
        """Return `seconds` of the times; nothing if there are not as many."""
        return f"`sos-access`: {seconds(self.times):.1f} s" if len(self.times) == count else ""


def told(fault: str, seconds: float, goal: float, beside: object = "") -> None:
    row(fault, str(beside), f"{seconds:.2f} s", f"{goal:g} s", met=seconds <= goal)


async def primary_refuses() -> None:
    async with Site.open() as site:
        await site.primary.away()
        await site.publish("r0")
        [took] = await site.took("r0")
        told("primary refuses connections, first alarm", took, 0.3, await library(site))


async def primary_found_dead() -> None:
    async with Site.open(start=False, heartbeat="90s") as site:
        await site.primary.drop()
        await site.start()
        await asyncio.sleep(8)
        await site.publish("r0")
        [took] = await site.took("r0")
        told("primary was found dead by a heartbeat", took, 0.3, await library(site))


async def primary_drops(many: int) -> None:
    async with Site.open() as site:
        await site.primary.drop()
        times = []
        for name in numbered(20):
            await site.publish(name)
            times += await site.took(name)
        beside = await library(site, many)
        told("primary does not accept connections, first alarm", times[0], 1.5, beside)
        told("the twentieth, after the one before", times[-1], 0.3, beside.of(20, lambda found: found[-1]))


async def primary_silent(many: int) -> None:
    async with Site.open() as site:
        site.primary.answer = alarms(None)
        names = numbered(20)
        await site.publish(*names)
        await asyncio.sleep(0.5)
        await site.publish("urgent", urgent=True)
        [urgent] = await site.took("urgent")
        times = await site.took(*names)
        beside = await library(site, many)
        told("primary accepts and is silent, first alarm", min(times), 11, beside)
        told("20 alarms at once, the last", max(times), 15, beside.of(20, sum))
        told("an urgent one 0.5 s after them", urgent, 2)


async def outages(*minutes: float) -> None:
    """All at once: they mostly wait."""
    async with asyncio.TaskGroup() as tasks:
        for what in ("away", "drop"):
            for each in minutes:
                tasks.create_task(waits_in_outage(what, each), name=f"{what} {each}")
                tasks.create_task(new_after_outage(what, each), name=f"{what} {each}, then a new one")


async def waits_in_outage(what: str, minutes: float) -> None:
    async with Site.open() as site:
        await site.both(what)
        await site.publish("r0", code="BA")
        ends = time.perf_counter() + minutes * 60
        beside = await library(site)
        await asyncio.sleep(ends - time.perf_counter())
        await site.both("listen")
        back = time.perf_counter()
        await site.took("r0")
        waited = min(receiver.accepted["r0"] for receiver in _with(site, "r0")) - back
        told(f"both {_WORDS[what]} for {minutes:g} min, then are back: what waited", waited, 6, beside)


async def new_after_outage(what: str, minutes: float) -> None:
    async with Site.open() as site:
        await site.both(what)
        await site.publish("r0", code="BA")
        await asyncio.sleep(minutes * 60)
        await site.both("listen")
        await site.publish("new")
        [took] = await site.took("new")
        figure = f"both {_WORDS[what]} for {minutes:g} min, then are back: a new alarm"
        told(figure, took, 1, await library(site))


_WORDS = {"away": "refuse", "drop": "drop"}


def _with(site: Site, reference: str) -> list[Receiver]:
    return [each for each in (site.primary, site.secondary) if reference in each.accepted]


async def sixty_refused() -> None:
    """Refused alarms are tried once a second at most, so the first attempts with sixty of them take a minute.

    Until then an alarm that is not urgent is one more that was never tried, behind those accepted before it.
    """
    async with Site.open() as site:
        for receiver in (site.primary, site.secondary):
            receiver.answer, receiver.answer_s = refusing("ZZ", 99), 0.25
        refused = numbered(60, "z")
        await site.publish(*refused, code="ZZ")
        await asyncio.sleep(20)
        await site.publish("urgent", urgent=True)
        [took] = await site.took("urgent")
        told("60 alarms refused with 99 after 250 ms; an urgent one among their first attempts", took, 3)
        await holds(lambda: {reference for _, _, reference in site.secondary.messages}.issuperset(refused))
        await site.publish("r0")
        [took] = await site.took("r0")
        told("one that is not urgent after them, while they are retried", took, 3, await library(site))


async def unauthorized() -> None:
    async with Site.open(heartbeat="90s") as site:
        site.primary.answer = lambda kind, _: 4 if kind == "ping" else 0
        count = len(site.primary.messages)
        await holds(lambda: len(site.primary.messages) > count)
        site.primary.answer = alarms(0)
        await site.publish("r0")
        [took] = await site.took("r0")
        told("one 4 to a heartbeat, then an alarm", took, 3, await library(site))
    async with Site.open() as site:
        site.primary.answer = lambda *_: 4
        await site.publish("r0")
        [took] = await site.took("r0")
        told("primary always answers 4", took, 3, await library(site))


async def disk_full() -> None:
    async with Site.open() as site:
        assert site.bridge.process is not None
        size = max(path.stat().st_size for path in site.folder.glob("bridge.db*"))
        resource.prlimit(site.bridge.process.pid, resource.RLIMIT_FSIZE, (size + 4096, resource.RLIM_INFINITY))
        names = numbered(60)
        await site.publish(*names)
        told("the disk is full, 60 alarms", max(await site.took(*names, within=120)), 6)


async def urgent() -> None:
    async with Site.open() as site:
        for receiver in (site.primary, site.secondary):
            receiver.answer_s = 0.09
        await site.publish(*numbered(300), code="IN")
        await site.publish("urgent", urgent=True)
        [took] = await site.took("urgent")
        told("urgent behind 300 others at 90 ms each", took, 1)


async def routes_die() -> None:
    """One after the other: the secondary, then the primary, over which heartbeats go."""
    async with Site.open(heartbeat="90s", check_idle_every="30s") as site:
        figure = "a route that is not in use dies, checked each 30 s: reported"
        told(figure, await _reported_off(site, site.secondary, "secondary"), 90)
        figure = "then the route in use dies, heartbeats of 90 s: reported"
        told(figure, await _reported_off(site, site.primary, "primary"), 90)


async def _reported_off(site: Site, receiver: Receiver, name: str) -> float:
    mark = len(site.seen)
    await receiver.drop()
    began = time.perf_counter()
    topic = f"receiver/{name}/state"
    return await site.until(lambda found, payload: found.endswith(topic) and payload == "OFF", mark) - began


async def path_cut() -> None:
    """In a process of its own, which may make network namespaces: as root, or in a user namespace."""
    for options in (["-n"], ["-Urn"]):
        command = ["unshare", *options, sys.executable, "-P", "-m", "bench.paths"]
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, error = await process.communicate()
        if process.returncode == 0:
            return
    reason = error.decode().strip().splitlines()[-1:]
    row("first path cut (network namespaces)", "", f"not possible here: {' '.join(reason)}")


def faults(*, quick: bool) -> dict[str, Fault]:
    """Return all faults by name, those that take long first."""
    many = 1 if quick else 20
    return {
        "routes": routes_die,
        "outages": partial(outages, *((1,) if quick else (1, 5))),
        "sixty": sixty_refused,
        "refuses": primary_refuses,
        "dead": primary_found_dead,
        "drops": partial(primary_drops, many),
        "silent": partial(primary_silent, many),
        "unauthorized": unauthorized,
        "path": path_cut,
        "full": disk_full,
        "urgent": urgent,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="together, outages of a minute only")
    parser.add_argument("--only", default="", metavar="WORD", help="those whose name has this")
    given = parser.parse_args()
    print(HEAD)
    chosen = {name: fault for name, fault in faults(quick=given.quick).items() if given.only in name}
    asyncio.run(measure(chosen, together=given.quick))


async def measure(chosen: dict[str, Fault], *, together: bool) -> None:
    """Measure one after the other, or `together`: they mostly wait, and share nothing but the machine."""
    async with asyncio.TaskGroup() as tasks:
        for name, fault in chosen.items():
            task = tasks.create_task(measured(name, fault), name=name)
            await (asyncio.sleep(_APART_S) if together else asyncio.wait([task]))


async def measured(name: str, fault: Fault) -> None:
    try:
        await fault()
    except TimeoutError:
        row(name, "", "no alarm came", met=False)


if __name__ == "__main__":
    main()
