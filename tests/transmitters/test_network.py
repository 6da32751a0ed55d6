"""What transmitters with the same receiver learn from each other's connections."""

from __future__ import annotations

import asyncio

from support import virtual

from bridge.sos_access.peer import Peer
from bridge.transmitters.attempts import Attempt
from bridge.transmitters.network import CHECKS_AT_ONCE, Network, Pace
from bridge.transmitters.routes import Route

PEER, ROUTE = Peer(("192.0.2.1", 1)), Route("primary")
CONNECTED, FAILED = Attempt(ROUTE, took_s=0.1), Attempt(ROUTE, error="refused", connected=False)


class Lines:
    """Lines at one receiver, and what each heard."""

    def __init__(self, *names: str) -> None:
        self.network = Network()
        self.heard: list[tuple[str, Attempt | None]] = []
        for name in names:
            self.follow(name)

    def follow(self, name: str) -> None:
        self.network.follow(PEER, ROUTE, name, lambda _, attempt: self.heard.append((name, attempt)))

    def heard_of(self, attempt: Attempt | None) -> list[str]:
        """Return who hears of an attempt of line `one`."""
        self.heard.clear()
        self.network.tell(PEER, "one", attempt)
        assert all(found == attempt for _, found in self.heard)
        return [name for name, _ in self.heard]


def test_each_failure_is_heard_by_all_others_and_the_first_connection_after_it() -> None:
    lines = Lines("one", "two", "three")
    for attempt in (FAILED, FAILED, None, CONNECTED):
        assert lines.heard_of(attempt) == ["two", "three"]
    assert lines.heard_of(CONNECTED) == [], "each alarm would cost something at every other line"


def test_who_comes_later_hears_of_the_next_connection() -> None:
    lines = Lines("one", "two")
    lines.heard_of(CONNECTED)
    lines.follow("three")
    assert lines.heard_of(CONNECTED) == ["two", "three"]
    assert lines.heard_of(CONNECTED) == []


def test_news_of_one_address_reach_thousands_in_intervals() -> None:
    async def main() -> list[int]:
        lines = Lines("one", *map(str, range(1999)))
        counts = [len(lines.heard_of(each)) for each in (FAILED, FAILED, CONNECTED, FAILED, CONNECTED)]
        await asyncio.sleep(2)
        return counts + [len(lines.heard_of(each)) for each in (CONNECTED, CONNECTED, FAILED)]

    assert virtual.run(main()) == [1999, 0, 1999, 0, 0, 1999, 0, 1999]


def test_heartbeats_wait_as_long_as_others_get_through() -> None:
    async def main() -> float:
        network, loop = Network(), asyncio.get_running_loop()
        began = loop.time()

        async def check() -> None:
            async with network.check_place(PEER):
                await asyncio.sleep(2)
            network.served(PEER)

        await asyncio.gather(*(check() for _ in range(10 * CHECKS_AT_ONCE)))
        return loop.time() - began

    assert virtual.run(main()) == 20, "more than any may wait for a connection, and never more at once"


def test_heartbeats_do_not_wait_for_a_receiver_that_answers_none() -> None:
    async def main() -> float:
        network, loop = Network(), asyncio.get_running_loop()
        began = loop.time()

        async def check() -> float:
            async with network.check_place(PEER):
                waited = loop.time() - began
                await asyncio.sleep(60)
            return waited

        return max(await asyncio.gather(*(check() for _ in range(3 * CHECKS_AT_ONCE))))

    assert virtual.run(main()) == PEER.connect_timeout, "each finds out, and tries another route"


def test_thousands_begin_one_after_the_other() -> None:
    async def main() -> list[float]:
        pace = Network().pace
        return [pace.begin_after() for _ in range(20_000)]

    times = virtual.run(main())
    assert times[0] == 0
    assert times == sorted(times)
    assert times[9_999] > 10
    assert times[-1] == 60, "within the time after which a transmitter counts as one that hangs"


def test_the_transmitters_of_a_later_shard_begin_after_those_of_the_first_and_wait_for_nothing_else() -> None:
    async def main() -> list[float]:
        pace = Pace()
        first, second, third = (Network(pace=pace) for _ in range(3))
        last = max(first.pace.begin_after() for _ in range(1000))
        await asyncio.sleep(1)
        second_waits = second.pace.begin_after()
        await asyncio.sleep(last)
        return [1 + second_waits - last, third.pace.begin_after()]

    after_the_first, waits = virtual.run(main())
    assert 0 < after_the_first < 0.1
    assert waits == 0
