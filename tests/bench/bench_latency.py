"""From publish to the XML at the receiver: the bridge beside a bare relay (`relay.py`), on one broker and receiver.

Run it: `tests/bench/run latency [--count 500] [--apart-ms 100]`. Only the ratios mean anything elsewhere. Alarms go to
the two in turn, each so long after the one before is through. What the bridge does after an alarm, telling its states
after 30 ms and noting each half second on disk what it told, falls on those that come sooner than that.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench.in_turn import NAME, arguments, in_turn, show
from bench.kit import BRIDGE, RELAY, Desk, Meter, bridge, broker, running

GOALS = {"median": (50, 1.3), "99 of 100 below": (99, 1.5)}


async def measure(count: int, apart_s: float, folder: Path, port: int) -> dict[str, list[float]]:
    async with Meter().listening() as meter, Desk.open(port, meter) as desk:
        ours = bridge(folder, port, meter.port, NAME)
        with running(ours, ["bench.relay", str(port), str(meter.port), f"{folder}/relay.db"]):
            await desk.hear("bench/bridge/state", b"online")
            await desk.hear("relay/state", b"online")
            return await in_turn(desk, (BRIDGE, RELAY), count, apart_s)


def main() -> None:
    given = arguments(__doc__)
    with broker() as (running_broker, folder):
        found = asyncio.run(measure(given.count, given.apart_ms / 1000, folder, running_broker.port))
    figure = f"publish to XML at the receiver, alarms {given.apart_ms:g} ms apart"
    show(figure, "a bare durable relay", found, GOALS)


if __name__ == "__main__":
    main()
