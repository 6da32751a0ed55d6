"""From publish to the XML at the receiver: the bridge with PostgreSQL beside the bridge with SQLite, on one machine.

Run it: `tests/bench/run store [--count 500] [--apart-ms 100]`. Both stores sync each commit. Alarms go to the two in
turn, each so long after the one before is through.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench.in_turn import NAME, arguments, in_turn, show
from bench.kit import BRIDGE, Contender, Desk, Meter, bridge, broker, running
from support.postgres import PostgresServer

GOALS = {"median": (50, 2.0), "99 of 100 below": (99, 2.0)}
SHARED = Contender("PostgreSQL", "shared/transmitter/{}/alarm/raise", "shared/transmitter/+/alarm/response")


async def measure(count: int, apart_s: float, folder: Path, port: int, url: str) -> dict[str, list[float]]:
    async with Meter().listening() as meter, Desk.open(port, meter) as desk:
        (folder / "shared").mkdir()
        ours, shared = bridge(folder, port, meter.port, NAME), bridge(folder / "shared", port, meter.port, NAME)
        text = shared.config.read_text("utf-8").replace('"bench"', '"shared"')
        shared.config.write_text(text.replace("store = {", f'store = {{url = "{url}", '), "utf-8")
        with running(ours, shared):
            await desk.hear("bench/bridge/state", b"online")
            await desk.hear("shared/bridge/state", b"online")
            return await in_turn(desk, (SHARED, BRIDGE), count, apart_s)


def main() -> None:
    given = arguments(__doc__)
    lasting = {"fsync": "on", "full_page_writes": "on"}
    with broker() as (running_broker, folder), PostgresServer(lasting) as server:
        url = server.create("bench")
        found = asyncio.run(measure(given.count, given.apart_ms / 1000, folder, running_broker.port, url))
    show("publish to XML at the receiver with PostgreSQL", "SQLite", found, GOALS)


if __name__ == "__main__":
    main()
