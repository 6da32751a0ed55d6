"""`tests/chaos/run panels`: panels whose connections have gaps, with a bridge that is killed.

The ledger is the panel's own history: every alarm in it is at the receiver once, and no restore that it does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from chaos.ledger import now
from chaos.lives import CODES, Key, Life, rules
from support.brokers import Mosquitto, free_port
from support.processes import Bridge
from support.recorder import Recorder

from bridge.sos_access.messages import AlarmRequest
from bridge.sos_access.simulator.receiver import Accounts, Arrival, Receiver

STATE_WITHIN_S, ALARM_WITHIN_S = 15.0, 20.0
_STARTS_WITHIN_S, _SETTLES_WITHIN_S, _QUIET_S = 30.0, 120.0, 10.0
_CODE, _PASSWORD = "IK00001", "firstpassword15"
_UNEXPLAINED = ("AL", CODES[""], None)


class Run:
    """One run: a broker, a receiver, a bridge and some panels."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self._options = options
        self._broker = Mosquitto(folder)
        self._bridge = Bridge(folder / "bridge.toml", folder / "bridge.log")
        self._receiver = Receiver(Accounts({_CODE: _PASSWORD}), ping_interval_min=0, on_arrival=self._arrived)
        self._mqtt = Recorder(self._broker.port, "chaos")
        self._folder = folder
        self._listen = free_port()
        self._dice = random.Random(options.seed)
        self.panels = {guid: self._panel(guid) for guid in (f"GBGAPS{n}" for n in range(options.panels))}
        self.arrived: defaultdict[str, Counter[Key]] = defaultdict(Counter)
        self.active: defaultdict[str, set[tuple[str, str | None]]] = defaultdict(set)
        """Raised and not restored at the receiver."""
        self.faults: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._times: list[tuple[datetime, str]] = []
        self.states: list[float] = []
        self.alarms: list[float] = []

    def _panel(self, guid: str) -> Life:
        dice = random.Random(f"{self._options.seed} {guid}")
        return Life(guid, ("127.0.0.1", self._listen), ("127.0.0.1", free_port()), dice)

    def _arrived(self, arrival: Arrival) -> None:
        request = arrival.request
        if not isinstance(request, AlarmRequest):
            return
        if arrival.status != 0:
            self._times.append((datetime.now(UTC), f"{request.section_text} {arrival.status}: {request.event_code}"))
            return
        guid, key = request.section_text or "", (request.alarm_type or "AL", request.event_code, request.detector)
        self.arrived[guid][key] += 1
        (self.active[guid].add if key[0] == "AL" else self.active[guid].discard)(key[1:])
        self._times.append((datetime.now(UTC), f"{guid} arrived: {key} of {request.transmitter_time}"))
        if key != _UNEXPLAINED and self.arrived[guid][key] > self.panels[guid].due()[key]:
            self.wrong.append(f"{now():.1f}: {guid}: {key} is not in the panel's history")

    async def run(self) -> None:
        with self._broker:
            async with self._receiver, self._mqtt:
                self._configure()
                lives = [asyncio.create_task(panel.run()) for panel in self.panels.values()]
                try:
                    await self._start()
                    for guid, panel in self.panels.items():
                        await self._mqtt.wait(f"panel/{guid}/info", lambda info: "battery_mv" in info, within=60)
                        await self._mqtt.wait_all(f"panel/{guid}/sensor/{max(panel.sensors)}/info", 1)
                    await self._go()
                    await self._settle()
                finally:
                    self._bridge.kill()
                    for life in lives:
                        life.cancel()
                    await asyncio.wait(lives)

    def _configure(self) -> None:
        panels = [{"guid": g, "host": "{}:{}".format(*p.local)} for g, p in self.panels.items() if p.local]
        receiver = f"127.0.0.1:{self._receiver.address[1]}"
        home = {
            "name": "home", "transmitter_code": _CODE, "transmitter_type": "SV300", "authentication": _PASSWORD,
            "receiver_id": "ALARM-OPER", "receiver": receiver, "use_single_receiver": True,
        }  # fmt: skip
        settings = {
            "mqtt": {"host": "127.0.0.1", "port": self._broker.port, "base_topic": "chaos"},
            "homeassistant": {"enabled": False},
            "store": {"path": str(self._folder / "bridge.db")},
            "transmitters": [home],
            "g90": {"listen": f"127.0.0.1:{self._listen}", "panels": panels},
            "forward": list(rules()),
        }
        self._bridge.config.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in settings.items()))

    async def _start(self) -> None:
        mark = self._mqtt.mark
        self._bridge.start()
        await self._mqtt.wait("bridge/state", lambda value: value == "online", after=mark, within=_STARTS_WITHIN_S)

    async def _go(self) -> None:
        until = now() + self._options.minutes * 60
        longest = self._options.longest
        each = max(longest / 2, 10.0)
        faults = [self._kills()]
        for guid, panel in self.panels.items():
            faults += [panel.gaps(longest, each, self.faults), self._watch(guid, panel)]
        for panel in list(self.panels.values())[1:]:
            faults += [panel.mumble(15.0, self.faults), panel.hold(longest, 2 * each, self.faults)]
        tasks = [asyncio.create_task(fault) for fault in faults]
        try:
            await asyncio.gather(*(panel.live(until, self._options.each) for panel in self.panels.values()))
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    async def _kills(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._dice.expovariate(1 / 25))
                self.faults["kills of the bridge"] += 1
                self._bridge.kill()
                await asyncio.sleep(self._dice.choice((0, 0, self._dice.uniform(0, 10))))
                await self._start()
        finally:
            if self._bridge.process is None:
                self._bridge.start()

    async def _watch(self, guid: str, panel: Life) -> None:
        """Measure how soon after each connection the state is right and what was missed is at the receiver."""
        while True:
            await _until(panel.answered.is_set)
            missed = _alarms(panel.due())
            state = asyncio.create_task(_until(lambda: self._state(guid) == panel.state))
            alarms = asyncio.create_task(_until(partial(self._has, guid, missed)))
            gone = asyncio.create_task(_until(partial(_is_gone, panel, panel._writer)))
            try:
                await asyncio.wait([gone], timeout=ALARM_WITHIN_S)
                if not (panel.disturbed or gone.done()):
                    self._measured(guid, state, alarms)
                await asyncio.wait([gone])
            finally:
                for task in (state, alarms, gone):
                    task.cancel()

    def _measured(self, guid: str, state: asyncio.Task[float], alarms: asyncio.Task[float]) -> None:
        for task, within, found, what in (
            (state, STATE_WITHIN_S, self.states, "its state is right"),
            (alarms, ALARM_WITHIN_S, self.alarms, "its missed alarms are at the receiver"),
        ):
            if task.done():
                found.append(task.result())
            if not task.done() or task.result() > within:
                self.wrong.append(f"{now():.1f}: {guid}: not {within:g} s after it connected until {what}")

    def _has(self, guid: str, wanted: Counter[Key]) -> bool:
        return not wanted - self.arrived[guid]

    def _state(self, guid: str) -> object:
        seen = self._mqtt.of(f"panel/{guid}/state")
        return seen[-1].value if seen else None

    async def _settle(self) -> None:
        """Wait until everything arrived, and then for what should not."""
        end = now() + _SETTLES_WITHIN_S
        while now() < end and any(self._missing().values()):  # noqa: ASYNC110 - a receiver has no event
            await asyncio.sleep(0.5)
        await asyncio.sleep(_QUIET_S)
        for guid, panel in self.panels.items():
            await asyncio.gather(*panel.late)
            for key, count in self._missing()[guid].items():
                self.wrong.append(f"{guid}: {key} lost {count} times")
            for alarm in panel.active() - self.active[guid]:
                self.wrong.append(f"{guid}: {alarm} was restored and is not over")
            if self.arrived[guid][_UNEXPLAINED] > sum(each.alarm is not None for each in panel.happened):
                self.wrong.append(f"{guid}: more alarms without a reason than alarms")
            if self._state(guid) != panel.state:
                self.wrong.append(f"{guid}: its state is {panel.state}, published is {self._state(guid)}")
            self._events(guid, panel)
        if self.wrong:
            self._tell()
        if "Traceback" in self._bridge.log:
            self.wrong.append("the log has a traceback")

    def _tell(self) -> None:
        """Write beside the log what happened and what arrived, by time."""
        lines = [(each.wall, f"{guid} {each.what}") for guid, panel in self.panels.items() for each in panel.happened]
        text = "".join(f"{wall:%H:%M:%S.%f} {line}\n" for wall, line in sorted([*lines, *self._times]))
        (self._folder / "course.txt").write_text(text)

    def _events(self, guid: str, panel: Life) -> None:
        """Check that no event was published twice."""
        seen = [each.value for each in self._mqtt.of(f"panel/{guid}/event")]
        events = Counter(str(e["sensor"]) for e in seen if e["type"] in ("alarm", "tamper") and "sensor" in e)
        happened = Counter(each.alarm[1] for each in panel.happened if each.alarm and each.alarm[1])
        for sensor, count in (events - happened).items():
            self.wrong.append(f"{guid}: sensor {sensor}: {count} events more than it had alarms")

    def _missing(self) -> dict[str, Counter[Key]]:
        """Return the alarms that are not at the receiver, and the restores without which it is wrong."""
        missing = {guid: _alarms(panel.due()) - self.arrived[guid] for guid, panel in self.panels.items()}
        for guid, panel in self.panels.items():
            left = {alarm for alarm in self.active[guid] if alarm[0] != CODES[""]} - panel.active()
            missing[guid].update(("RE", *alarm) for alarm in left)
        return missing

    def table(self) -> str:
        """Return the table, ready for a README."""
        happened = [each for panel in self.panels.values() for each in panel.happened]
        count: Counter[str] = Counter()
        for found in self.arrived.values():
            for (kind, code, _), number in found.items():
                count["without a reason" if code == CODES[""] else kind] += number
        rows = {
            "records in the panels' histories": len(happened),
            "of them alarms; reported on a connection": f"{sum(each.alarm is not None for each in happened)}; "
            f"{sum(panel.reports for panel in self.panels.values())} of all",
            "alarms at the receiver; restores": f"{count['AL']}; {count['RE']}",
            "alarms whose reason came later": count["without a reason"],
            "**wrong**": len(self.wrong),
            "connected until the state is right, longest": f"{max(self.states, default=0):.1f} s ({len(self.states)})",
            "connected until missed alarms arrived, longest": f"{max(self.alarms, default=0):.1f} s",
            **dict(sorted(self.faults.items())),
        }
        return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _alarms(due: Counter[Key]) -> Counter[Key]:
    return Counter({key: count for key, count in due.items() if key[0] == "AL"})


def _is_gone(panel: Life, connection: object) -> bool:
    return panel._writer is not connection


async def _until(holds: Callable[[], bool]) -> float:
    begun = now()
    while not holds():  # noqa: ASYNC110 - a panel has no event
        await asyncio.sleep(0.05)
    return now() - begun


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if nothing was lost, came twice or was made up."""
    parser = argparse.ArgumentParser(prog="tests/chaos/run panels", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="of load; then all has to settle (default: 1)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same schedule (default: 1)")
    parser.add_argument("--panels", type=int, default=3, help="default: 3")
    parser.add_argument("--longest", type=float, default=30.0, metavar="S", help="gap (default: 30)")
    parser.add_argument("--each", type=float, default=4.0, metavar="S", help="between two events (default: 4)")
    options = parser.parse_args(arguments)
    logging.disable()
    folder = Path(tempfile.mkdtemp(prefix="chaos-panels-"))
    print(f"seed {options.seed}, {options.minutes:g} minutes, {options.panels} panels", flush=True)
    run = Run(folder, options)
    asyncio.run(run.run())
    print(run.table(), flush=True)
    for fault in run.wrong:
        print(fault, file=sys.stderr)
    if run.wrong:
        print(f"configuration, log and store are kept in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return int(bool(run.wrong))


if __name__ == "__main__":
    sys.exit(main())
