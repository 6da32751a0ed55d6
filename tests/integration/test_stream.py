"""The long runs: crashes and faults in mid-stream, and yet nothing lost, out of order or locked out."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from functools import partial
from typing import Any

from support.harness import CODE, Site, live

from bridge.sos_access.simulator.faults import NO_FAULT
from bridge.sos_access.simulator.receiver import Arrival, Fault, Faults

ALARMS = 400
LINES = 4
KILLS = 10
ROTATIONS = 15


class _Chance(Faults):
    """Three of a hundred exchanges are lost, refused or never treated."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self.met = 0

    def take(self) -> Fault:
        if self._random.random() >= 0.03:
            return NO_FAULT
        self.met += 1
        return self._random.choice((Fault(lose=True), Fault(drop=True), Fault(status=5), Fault(garbage="truncated")))


class _Tally:
    """Notes the first arrival of each alarm by transmitter, and kills the bridge whenever so many have come.

    An alarm whose message the broker delivers again after a kill may be sent twice (TOPICS.md, Rules).
    """

    def __init__(self, site: Site) -> None:
        self.firsts: dict[str, list[str]] = defaultdict(list)
        self.crashes: asyncio.Queue[int] = asyncio.Queue()
        self.complete = asyncio.Event()
        self._site = site
        self._kill_at = [ALARMS * number // (KILLS + 1) for number in range(KILLS, 0, -1)]

    def __call__(self, arrival: Arrival) -> None:
        if arrival.status != 0 or arrival.request is None or arrival.kind != "alarm":
            return
        firsts, reference = self.firsts[arrival.request.transmitter_code], str(arrival.request.reference)
        if reference in firsts:
            return
        firsts.append(reference)
        count = sum(map(len, self.firsts.values()))
        if self._kill_at and count >= self._kill_at[-1] and self._site.bridge.process is not None:
            self._kill_at.pop()
            self._site.bridge.kill()  # wherever it is just then
            self.crashes.put_nowait(count)
        if count >= ALARMS:
            self.complete.set()


@live
async def test_400_alarms_10_crashes_and_lost_exchanges(site: Site) -> None:
    names = {f"line{number}": f"IK1000{number}" for number in range(LINES)}
    alarms = {name: [f"{name}-{number}" for number in range(ALARMS // LINES)] for name in names}
    site.accounts.accept_unknown = True
    site.settings["transmitters"] = [site.transmitter(name, code) for name, code in names.items()]
    site.settings["log"]["level"] = "warning"
    site.primary.faults, site.secondary.faults = chances = _Chance(1), _Chance(2)
    site.primary.on_treated = site.secondary.on_treated = tally = _Tally(site)

    async def publish() -> None:
        for references in zip(*alarms.values(), strict=True):
            for name, reference in zip(names, references, strict=True):
                alarm = json.dumps({"event_code": "BA", "reference": reference})
                await site.mqtt.publish(f"transmitter/{name}/alarm/raise", alarm)

    async with asyncio.TaskGroup() as tasks, asyncio.timeout(90):
        await site.start()
        tasks.create_task(publish())
        for _ in range(KILLS):
            await tally.crashes.get()
            site.launch()
        await tally.complete.wait()
    # Not in order: what failed on both receivers goes behind what is new.
    assert {name: sorted(tally.firsts[code]) for name, code in names.items()} == {
        name: sorted(references) for name, references in alarms.items()
    }
    for name, references in alarms.items():
        results = f"transmitter/{name}/alarm/response"
        for reference in references:
            result = await site.mqtt.wait(results, partial(_is_of, reference))
            assert result.value["outcome"] in ("accepted", "duplicate")
        await site.mqtt.holds(f"transmitter/{name}/outbox", lambda outbox: outbox["pending"] == 0)
    assert sum(chance.met for chance in chances) > 3
    assert (await site.bridge.command("outbox", "list")).stdout == ""


def _is_of(reference: str, result: Any) -> bool:  # noqa: ANN401 - JSON
    return bool(result.get("reference") == reference)


class _PowerCut:
    """Kills the bridge at the next request of a kind that is treated, before its answer."""

    def __init__(self, site: Site, kind: str) -> None:
        self.happened = asyncio.Event()
        self._site = site
        self._kind = kind

    def __call__(self, arrival: Arrival) -> None:
        if arrival.kind == self._kind and not self.happened.is_set():
            self._site.bridge.kill()
            self.happened.set()


@live
async def test_15_rotations_with_crashes_and_lost_responses(site: Site) -> None:
    await site.start()
    chance = random.Random(3)
    used: set[str] = set()
    for number in range(ROTATIONS):
        cut = None
        if number % 3 == 0:  # the power fails while the new password is on its way, or in use
            site.primary.on_treated = site.secondary.on_treated = cut = _PowerCut(site, chance.choice(("auth", "ping")))
        elif number % 3 == 1:  # responses are lost, of the rotation and of what comes after it
            for station in (site.primary, site.secondary):
                station.faults.add(Fault(lose=True), chance.randint(1, 3))
        await site.send("auth/rotate", f"r{number}")
        await site.send("ping", f"p{number}")
        if cut is not None:
            async with asyncio.timeout(30):
                await cut.happened.wait()
            await site.start()
        for kind, reference in (("auth", f"r{number}"), ("ping", f"p{number}")):
            result = await site.result(partial(_is_of, reference), kind=kind)
            assert result["outcome"] in ("accepted", "unreachable"), result
        for station in (site.primary, site.secondary):
            station.faults.clear()
        result = await site.do("alarm/raise", {"event_code": "BA", "reference": f"a{number}"})
        assert (result["outcome"], result["reference"]) == ("accepted", f"a{number}")
        account = site.accounts.account(CODE)
        assert account is not None
        used.add(account.current.reveal())
    assert len(used) > ROTATIONS / 2, "hardly any rotation took effect"
    assert not [seen for seen in site.mqtt.of("bridge/event") if seen.value["type"] == "unauthorized"]
