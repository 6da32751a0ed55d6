"""A burst of alarms over many transmitters, from the first publish to the last XML at the receiver.

Run it: `tests/bench/run burst [--alarms 2000] [--transmitters 20] [--rounds 3] [--answer-ms 20] [--far-alarms 400]`.
The bridge, the bare relay (`relay.py`: one alarm after the other, whoever's it is) and the naive script (`naive.py`) in
turn, on one broker and receiver; the median of the rounds. First the receiver answers at once, which none on earth
does: what counts is what each of the three takes of the processor. Then it answers as one does behind the internet.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from pathlib import Path

from bench.figures import at_least, at_most
from bench.kit import BRIDGE, NAIVE, RELAY, Contender, Desk, Meter, bridge, broker, running

CONTENDERS = (BRIDGE, RELAY, NAIVE)
Times = dict[Contender, float]


async def rounds(desk: Desk, names: list[str], alarms: int, count: int) -> Times:
    """Return the median time of each."""
    taken: dict[Contender, list[float]] = {contender: [] for contender in CONTENDERS}
    for _ in range(count):
        for contender, times in taken.items():
            times.append(await desk.burst(contender, alarms, names))
            await asyncio.sleep(1)  # what it does after it is not the next one's burden
    return {contender: statistics.median(times) for contender, times in taken.items()}


async def measure(given: argparse.Namespace, folder: Path, port: int) -> tuple[Times, Times]:
    names = [f"t{number}" for number in range(given.transmitters)]
    async with Meter().listening() as meter, Desk.open(port, meter) as desk:
        ours = bridge(folder, port, meter.port, names)
        ends = [str(port), str(meter.port)]
        with running(ours, ["bench.relay", *ends, f"{folder}/relay.db"], ["bench.naive", *ends]):
            for topic in ("bench/bridge/state", "relay/state", "naive/state"):
                await desk.hear(topic, b"online")
            for contender in CONTENDERS:
                await desk.client.subscribe(contender.done, qos=1)
            await rounds(desk, names, given.transmitters, 1)  # warm
            near = await rounds(desk, names, given.alarms, given.rounds)
            meter.answer_s = given.answer_ms / 1000
            return near, await rounds(desk, names, given.far_alarms, 1)


def tell(times: Times, alarms: int, receiver: str, transmitters: int) -> None:
    ours, bare, naive = (times[contender] for contender in CONTENDERS)
    figure = f"{alarms} alarms in a burst over {transmitters} transmitters, time to the last; {receiver}"
    at_most(figure, "a bare durable relay", ours / bare, 1.0, f"{{:.2f}} x ({ours:.1f} s, {bare:.1f} s)")
    at_least(figure, "paho callback and `sos-access`", naive / ours, 5, f"{{:.1f}} x as fast ({naive:.1f} s)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alarms", type=int, default=2000)
    parser.add_argument("--far-alarms", type=int, default=400)
    parser.add_argument("--transmitters", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--answer-ms", type=float, default=20.0)
    given = parser.parse_args()
    with broker() as (running_broker, folder):
        near, far = asyncio.run(measure(given, folder, running_broker.port))
    tell(near, given.alarms, "the receiver answers at once", given.transmitters)
    tell(far, given.far_alarms, f"the receiver answers after {given.answer_ms:g} ms", given.transmitters)


if __name__ == "__main__":
    main()
