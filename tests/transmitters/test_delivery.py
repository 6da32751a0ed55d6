"""What a transmitter does while half of it is broken: an alarm gets out over what works, and soon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import virtual
from support.line import DEAD, DROPS, NEW, OLD, SILENT, Answer, Bench, FakeDialer, bench, on_bench
from support.outbox import HOME, command, entry, opened, put

from bridge.common.models import Request
from bridge.sos_access.messages import AlarmRequest, AnyRequest

pytestmark = pytest.mark.usefixtures("each_store")

BOTH = ("primary", "secondary")
LEVEL = 90.0
PING = "PingRequest"
Receiver = Callable[[AnyRequest | None], Answer]


def silent(request: AnyRequest | None) -> Answer:
    return 0 if request is None else SILENT


def always(answer: Answer, *, pings: Answer = 0) -> Receiver:
    """A receiver that gives one answer to alarms and another to pings; a word without a connection, to both."""

    def behaves(request: AnyRequest | None) -> Answer:
        if answer in (DEAD, DROPS):
            return answer
        if request is None:
            return 0
        return answer if isinstance(request, AlarmRequest) else pings

    return behaves


def code(bad: str, answer: Answer) -> Receiver:
    """A receiver that gives `answer` to one event code and takes every other one."""
    return lambda request: answer if isinstance(request, AlarmRequest) and request.event_code == bad else 0


def behave(each: Bench, primary: Receiver, secondary: Receiver) -> None:
    found = {"primary": primary, "secondary": secondary}
    each.dialer.behaves = lambda receiver, request: found[receiver](request)


async def raised(each: Bench, event_code: str = "FA", *, urgent: bool = False, within: float = 600.0) -> float:
    """Raise an alarm and return the seconds until it is accepted."""
    loop = asyncio.get_running_loop()
    began, before = loop.time(), each.transmitter.delivered
    await each.outbox.add([entry(command(code=event_code, at=each.wall, urgent=urgent))])
    while each.transmitter.delivered == before:
        assert loop.time() - began < within, f"{event_code} is not accepted"
        await asyncio.sleep(0.05)
    return loop.time() - began


def sent_to(each: Bench, receiver: str, what: str = "FA") -> list[float]:
    return [document.at for document in each.dialer.sent if (document.receiver, document.what) == (receiver, what)]


@pytest.mark.parametrize("secondary", [always(SILENT), always(DEAD), code("ZZ", 99)])
def test_alarms_that_receivers_refuse_do_not_starve_the_others(tmp_path: Path, secondary: Receiver) -> None:
    """Finding: one event code that the operator has not configured held every later alarm for minutes."""

    async def body(each: Bench) -> None:
        behave(each, code("ZZ", 5), secondary)
        await put(each.outbox, *[command(code="ZZ", detector=str(number), at=each.wall) for number in range(3)])
        await each.settle(20)
        assert await raised(each) < 11  # a silent receiver holds one alarm that is not urgent
        assert await raised(each, urgent=True) < 3

    on_bench(tmp_path, body, receivers=BOTH)


def test_sixty_refused_alarms_do_not_starve_a_new_one_or_flood_the_receivers(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.dialer.answer_s = 0.25
        behave(each, code("ZZ", 99), code("ZZ", 99))
        await put(each.outbox, *[command(code="ZZ", detector=str(number), at=each.wall) for number in range(60)])
        await each.settle(90)
        assert await raised(each) < 3
        before = len(each.dialer.sent)
        await each.settle(600)
        assert len(each.dialer.sent) - before < 60 * 2 * 8

    on_bench(tmp_path, body, receivers=BOTH)


@pytest.mark.parametrize("cut", [DEAD, DROPS])
def test_a_network_path_that_is_cut_is_left(tmp_path: Path, cut: str) -> None:
    async def body(each: Bench) -> None:
        assert await raised(each) < 0.3
        assert each.dialer.sent[-1].receiver == "primary over fixed"
        each.dialer.behaves = lambda receiver, request: cut if receiver.endswith("fixed") else 0
        took = [await raised(each) for _ in range(5)]
        assert took[0] < 6
        assert max(took[1:]) < 0.3
        [found] = {document.receiver for document in each.dialer.sent[-4:]}
        assert found.endswith("over mobile")
        last = (await each.outbox.to_publish()).results[-1].fields
        assert (last["path"], last["receiver"] in BOTH) == ("mobile", True)

    on_bench(tmp_path, body, receivers=BOTH, paths=("fixed", "mobile"))


def test_a_receiver_that_refuses_the_password_is_failed_over(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        behave(each, always(4, pings=4), always(0))
        assert await raised(each) < 3
        assert each.recorder.problems.keys() == {("unauthorized", "primary")}
        await each.settle(180)
        assert len([d for d in each.dialer.sent if d.receiver == "primary"]) <= 4

    on_bench(tmp_path, body, receivers=BOTH)


def test_one_refused_heartbeat_delays_no_alarm(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await each.settle()
        await each.settle(20)
        each.answer(4)
        await each.settle(3)
        assert await raised(each) < 3

    on_bench(tmp_path, body, LEVEL)


def test_a_primary_that_takes_alarms_and_is_silent_is_remembered(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        behave(each, always(SILENT), always(0))
        took = [await raised(each, within=15) for _ in range(12)]
        assert took[0] < 11
        assert max(took[1:]) < 0.3
        await each.settle(300)  # the pings that it answers prove nothing about alarms
        assert await raised(each) < 0.3

    on_bench(tmp_path, body, receivers=BOTH)


def test_a_primary_that_takes_no_connections_costs_a_second_once(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        behave(each, always(DROPS), always(0))
        took = [await raised(each) for _ in range(20)]
        assert took[0] < 1.5
        assert max(took[1:]) < 0.3

    on_bench(tmp_path, body, receivers=BOTH)


@pytest.mark.parametrize("away", [DEAD, DROPS])
@pytest.mark.parametrize("minutes", [1, 5, 50])
def test_after_an_outage_what_waits_goes_soon_and_what_is_new_at_once(tmp_path: Path, minutes: int, away: str) -> None:
    async def body(each: Bench) -> None:
        behave(each, always(away), always(away))
        await put(each.outbox, command(code="BA", at=each.wall))
        await each.settle(minutes * 60)
        assert len(await each.outbox.owed_undelivered([HOME])) == 1
        behave(each, always(0), always(0))
        new = asyncio.create_task(raised(each))
        await each.settle(1.5)
        assert new.done()
        await each.settle(30 if minutes > 10 else 6)
        assert await each.outcomes() == ["accepted", "accepted"]

    on_bench(tmp_path, body, receivers=BOTH)


def test_what_was_refused_goes_when_a_receiver_takes_an_alarm_again(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        behave(each, always(98), always(98))
        await put(each.outbox, command(code="BA", at=each.wall))
        await each.settle(140)
        behave(each, always(0), always(0))
        await raised(each)
        await each.settle(0.5)
        assert await each.outcomes() == ["accepted", "accepted"]

    on_bench(tmp_path, body, receivers=BOTH)


@pytest.mark.parametrize("status", [9, 101, 5, 99, 77])
def test_a_passing_refusal_ends_no_alarm(tmp_path: Path, status: int) -> None:
    async def body(each: Bench) -> None:
        behave(each, always(status), always(status))
        await put(each.outbox, command(code="FA", at=each.wall))
        await each.settle(5)
        assert await each.outcomes() == []
        behave(each, always(0), always(0))
        await each.settle(15)
        assert await each.outcomes() == ["accepted"]

    on_bench(tmp_path, body, receivers=BOTH)


def test_a_message_is_invalid_only_where_both_receivers_say_so(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        behave(each, always(2), always(0))
        assert await raised(each) < 1
        behave(each, always(2), always(2))
        await put(each.outbox, command(code="BA", at=each.wall))
        await each.settle(3)
        assert await each.outcomes() == ["accepted", "rejected"]
        assert [queued.undelivered for queued in await each.outbox.list()] == [True]

    on_bench(tmp_path, body, receivers=BOTH)


def test_an_urgent_alarm_does_not_wait_behind_others(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.dialer.answer_s = 0.09
        await each.outbox.add([entry(command(code="IN", detector=str(n), at=each.wall)) for n in range(300)])
        await each.settle(0.2)
        await each.outbox.add([entry(command(at=each.wall, code="FA", urgent=True))])
        began = asyncio.get_running_loop().time()
        await each.settle(2)
        assert sent_to(each, "primary")[0] - began < 1

    on_bench(tmp_path, body, receivers=BOTH)


def test_an_urgent_alarm_does_not_wait_for_an_exchange_that_hangs(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        behave(each, code("IN", SILENT), always(0))
        await each.outbox.add([entry(command(code="IN", at=each.wall))])
        await each.settle(0.2)
        assert await raised(each, urgent=True) < 2

    on_bench(tmp_path, body, receivers=BOTH)


def test_it_is_reported_soon_that_an_alarm_does_not_get_out_and_once(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        behave(each, always(SILENT, pings=SILENT), always(SILENT, pings=SILENT))
        await put(each.outbox, command(code="FA", at=each.wall))
        await each.settle(31)
        owed = await each.outbox.owed_undelivered([HOME])
        assert len(owed) == 1
        await each.outbox.published([], [owed[0]])
        await each.settle(600)
        assert await each.outbox.owed_undelivered([HOME]) == []

    on_bench(tmp_path, body, receivers=BOTH)


# Heartbeats


def test_heartbeats_are_sent_at_start_and_four_in_a_level(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await each.settle()
        assert await each.settle(22) == []
        assert await each.settle(1) == [PING]
        assert each.recorder.heartbeats == ["accepted", "accepted"]
        assert each.recorder.links == [True]
        assert await each.outcomes() == []

    on_bench(tmp_path, body, LEVEL)


@pytest.mark.parametrize("status", [4, 6])
def test_a_heartbeat_whose_password_is_refused(tmp_path: Path, status: int) -> None:
    """It is reported, and asked again no sooner than the schedule of logins allows."""

    async def body(each: Bench) -> None:
        await each.settle()
        each.dialer.behaves = lambda receiver, request: 0 if request is None else status
        await each.settle(22.5)
        assert each.recorder.heartbeats == ["accepted", "unauthorized"]
        assert each.recorder.events == ["unauthorized"]
        assert each.recorder.problems.keys() == {("unauthorized", "primary")}
        assert await each.settle(59) == []
        assert await each.settle(2) == [PING]
        assert await each.settle(295) == []
        assert each.transmitter.failures == 2
        each.dialer.behaves = None
        await each.settle(10)
        assert each.recorder.heartbeats[-1] == "accepted"
        assert each.recorder.problems == {}

    on_bench(tmp_path, body, LEVEL)


def test_code_9_pauses_heartbeats_for_a_day_with_the_link_up(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await each.settle()
        each.answer(9)
        await each.settle(22.5)
        assert each.recorder.heartbeats == ["accepted", "rejected"]
        assert each.recorder.events == ["heartbeat_disabled"]
        assert await each.settle(86000) == []
        assert each.recorder.problems.keys() == {("heartbeat_disabled", None)}
        each.answer(9)
        assert await each.settle(400) == [PING]
        assert each.recorder.problems.keys() == {("heartbeat_disabled", None)}, "the day is over, and nothing is better"
        assert each.recorder.events == ["heartbeat_disabled"], "once while it lasts"
        assert await each.settle(86000) == []
        assert await each.settle(400) == [PING]
        assert each.recorder.problems == {}

    on_bench(tmp_path, body, LEVEL)


def test_code_101_is_learnt_from(tmp_path: Path) -> None:
    """Finding: ok and 101 took turns for ever."""

    async def body(each: Bench) -> None:
        last = float("-inf")

        def behaves(receiver: str, request: AnyRequest | None) -> Answer:
            nonlocal last
            if request is None:
                return 0
            now = asyncio.get_running_loop().time()
            early, last = now - last < 3.0, now
            return 101 if early else 0

        each.dialer.behaves = behaves
        for _ in range(6):
            await put(each.outbox, command(Request.PING, at=each.wall))
            await each.settle(0.1)
        await each.settle(60)
        outcomes = await each.outcomes()
        assert outcomes.count("rejected") <= 1
        assert outcomes[-4:] == ["accepted"] * 4
        assert each.recorder.links == [True]

    on_bench(tmp_path, body, 180.0)


def test_a_monitored_link_is_down_only_after_a_whole_level(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await each.settle()
        each.dialer.behaves = lambda receiver, request: DEAD
        await each.settle(89)
        assert each.recorder.links == [True]
        await each.settle(1.1)
        assert each.recorder.links == [True, False]
        each.dialer.behaves = None
        await each.settle(40)
        assert each.recorder.links == [True, False, True]

    on_bench(tmp_path, body, LEVEL)


def test_the_link_is_down_after_a_level_although_the_bridge_restarts(tmp_path: Path) -> None:
    """Finding: each restart began the level anew."""

    async def main() -> None:
        dialer = FakeDialer()
        async with bench(tmp_path, LEVEL, dialer=dialer) as each:
            await each.settle(30)
            assert each.recorder.links == [True]
            dialer.behaves = lambda receiver, request: DEAD
            await each.settle(30)
        async with bench(tmp_path, LEVEL, dialer=dialer) as each:
            await each.settle(45)
            assert each.recorder.links == [True]
        found = []
        async with bench(tmp_path, LEVEL, dialer=dialer) as each:
            await each.settle(45)
            found = each.recorder.links
        assert found == [True, False]

    virtual.run(main())


def test_the_link_that_never_worked_is_down_after_a_level_although_the_bridge_restarts(tmp_path: Path) -> None:
    async def main() -> None:
        dialer = FakeDialer()
        dialer.behaves = lambda receiver, request: DEAD
        found = []
        for _ in range(3):
            async with bench(tmp_path, LEVEL, dialer=dialer) as each:
                await each.settle(40)
                found.append(each.recorder.links[-1:])
        assert found == [[], [], [False]]

    virtual.run(main())


def test_a_restart_while_all_is_well_makes_no_link_down(tmp_path: Path) -> None:
    async def main() -> None:
        dialer = FakeDialer()
        async with bench(tmp_path, LEVEL, dialer=dialer) as each:
            dialer.behaves = lambda receiver, request: DEAD
            await each.settle(200)
            dialer.behaves = None
            await each.settle(1000)
        async with bench(tmp_path, LEVEL, dialer=dialer) as each:
            await each.settle(100)
            assert each.recorder.links == [True]

    virtual.run(main())


# What is kept and shared


def test_what_is_known_of_the_routes_counts_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        dialer = FakeDialer()
        async with bench(tmp_path, receivers=BOTH, dialer=dialer) as each:
            behave(each, always(SILENT), always(0))
            await each.settle(5)
            await raised(each)
            await each.settle(2)
        async with bench(tmp_path, receivers=BOTH, dialer=dialer) as each:
            assert await raised(each) < 0.3

    virtual.run(main())


def test_what_another_address_brought_does_not_count(tmp_path: Path) -> None:
    """A secondary at a mistyped address did not stay ON."""

    async def main() -> None:
        dialer = FakeDialer()
        async with bench(tmp_path, receivers=BOTH, dialer=dialer) as each:
            behave(each, always(DEAD), always(0))
            await each.settle(60)
        for port, up in ((1, True), (2, None)):
            async with bench(tmp_path, receivers=BOTH, dialer=dialer, port=port) as each:
                behave(each, silent, silent)
                await each.settle(1)
                assert dict(each.recorder.receivers).get("secondary") is up

    virtual.run(main())


@pytest.mark.parametrize("change", [{"configured": NEW}, {"port": 2}])
def test_refusals_end_when_password_or_address_is_corrected(tmp_path: Path, change: dict[str, Any]) -> None:
    """No rotation happened, so no password file shows that the configured password has changed."""

    async def main() -> None:
        dialer = FakeDialer()
        async with bench(tmp_path, dialer=dialer) as each:
            dialer.behaves = lambda receiver, request: 4
            await put(each.outbox, command())
            await each.settle(900)
        dialer.behaves = None
        async with bench(tmp_path, dialer=dialer) as each:
            assert await each.settle(60) == []
            assert NEW.reveal() not in (text := await each.outbox.fact("line home") or "")
            assert OLD.reveal() not in text
        async with bench(tmp_path, dialer=dialer, **change) as each:
            assert "BA" in await each.settle(10)
            assert each.recorder.problems == {}

    virtual.run(main())


def test_a_state_of_an_older_version_is_read(tmp_path: Path) -> None:
    """It has no word of where it was found: the routes count, the refusals do not."""

    async def main() -> None:
        dialer = FakeDialer()
        async with bench(tmp_path, receivers=BOTH, dialer=dialer) as each:
            behave(each, always(4, pings=4), always(0))
            await each.settle(60)
            content = json.loads(await each.outbox.fact("line home") or "")
            assert content["logins"]
        async with opened(tmp_path) as outbox:
            del content["salt"], content["logged_in_as"]
            for route in content["routes"]:
                del route["place"]
            await outbox.keep_fact("line home", json.dumps(content))
        async with bench(tmp_path, receivers=BOTH, dialer=dialer) as each:
            behave(each, silent, silent)
            await each.settle(1)
            assert dict(each.recorder.receivers)["secondary"] is True
            assert each.recorder.problems == {}

    virtual.run(main())


def test_nothing_is_written_while_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(each: Bench) -> None:
        await each.settle(60)
        kept: list[str] = []

        async def keep(name: str, value: str) -> None:
            assert name == "line home"
            kept.append(value)

        monkeypatch.setattr(each.outbox, "keep_fact", keep)
        for _ in range(20):
            await raised(each)
            await each.settle(30)
        assert kept == []
        each.dialer.behaves = lambda receiver, request: DEAD
        await each.settle(60)
        assert 0 < len(kept) < 5
        assert OLD.reveal() not in "".join(kept)

    on_bench(tmp_path, body, LEVEL)


def test_an_alarm_of_one_transmitter_wakes_no_other_with_the_same_receivers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        dialer, beats = FakeDialer(), list[float]()
        async with opened(tmp_path / "one") as one, opened(tmp_path / "two") as two:
            first = Bench(tmp_path / "one", one, None, BOTH, dialer)
            second = Bench(tmp_path / "two", two, None, BOTH, dialer, network=first.line.network)
            await first.settle(10)
            monkeypatch.setattr(second.transmitter.pulse, "beat", lambda: beats.append(0.0))
            for _ in range(20):
                await raised(first)
            await first.stop()
            await second.stop()
        assert len(beats) < 5

    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    virtual.run(main())


def test_transmitters_with_the_same_receivers_learn_from_each_other(tmp_path: Path) -> None:
    async def main() -> None:
        dialer = FakeDialer()
        async with opened(tmp_path / "one") as one, opened(tmp_path / "two") as two:
            first = Bench(tmp_path / "one", one, None, BOTH, dialer)
            second = Bench(tmp_path / "two", two, None, BOTH, dialer, network=first.line.network)
            await first.settle(10)
            behave(first, always(DROPS), always(0))
            assert await raised(first) < 1.5
            assert await raised(second) < 0.3
            await first.stop()
            await second.stop()

    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    virtual.run(main())
