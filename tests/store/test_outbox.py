"""The outbox: what is taken, what becomes of it, and that all of it survives a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from support.outbox import HOME, NOW, clock, command, entry, opened, put, result, with_outbox

from bridge.common.models import ActiveAlarm, AlarmIdentity, Command, Outcome, Reply, Request
from bridge.store.outbox import Outbox
from bridge.store.records import Counts, InvalidEntry, LastKnown, LineStatus

pytestmark = pytest.mark.usefixtures("each_store")

ALARM, RESTORE, PING = Request.ALARM, Request.RESTORE, Request.PING


def over_restarts(path: Path, *steps: Callable[[Outbox], Awaitable[None]]) -> None:
    """Run each step with the store newly opened."""
    for step in steps:
        with_outbox(path, step)


def test_a_full_outbox_refuses_what_is_new_and_says_so(tmp_path: Path) -> None:
    reply = Reply("answers/me", b"id")

    async def body(outbox: Outbox) -> None:
        await put(outbox, command(), command(code="FA"))
        touched = await outbox.add([entry(command(code="PA", reference="9", reply=reply))])
        assert touched == {HOME}
        assert [queued.command.identity.event_code for queued in await outbox.list()] == ["BA", "FA"]
        [owed] = (await outbox.to_publish()).results
        told = json.loads(owed.payload)
        assert (told["outcome"], told["event_code"], told["reference"]) == ("invalid", "PA", "9")
        assert "full (2 commands)" in told["error"]
        assert (owed.reply, owed.transmitter) == (reply, HOME)
        first, _ = await outbox.pending(HOME)
        await outbox.complete(first, result(first))
        await outbox.add([entry(command(code="PA"))])
        assert len(await outbox.list()) == 2

    with_outbox(tmp_path, body, max_commands=2)


def test_an_invalid_entry_is_a_result_and_no_command(tmp_path: Path) -> None:
    async def body(outbox: Outbox) -> None:
        [ping] = await put(outbox, command(PING))
        wrong = InvalidEntry(HOME, result(ping, Outcome.INVALID, error="no"), Reply("there"))
        assert await outbox.add([wrong]) == {HOME}
        assert await outbox.list() == [ping]
        [owed] = (await outbox.to_publish()).results
        assert (owed.request, owed.reply) == (PING, Reply("there"))

    with_outbox(tmp_path, body)


async def _complete(outbox: Outbox, wanted: Command, outcome: Outcome) -> None:
    [queued] = await put(outbox, wanted)
    await outbox.complete(queued, result(queued, outcome))


RAISED = (command(section="1"), command(section="1", detector="2"), command(area="3"), command(code="FA"))


@pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, Outcome.DUPLICATE])
@pytest.mark.parametrize(
    ("restore", "left"),
    [
        pytest.param(command(RESTORE), [3], id="the whole code"),
        pytest.param(command(RESTORE, section="1"), [1, 2, 3], id="a section is not its detectors"),
        pytest.param(command(RESTORE, section="1", detector="2"), [0, 2, 3], id="a detector"),
        pytest.param(command(RESTORE, area="3"), [0, 1, 3], id="an area"),
        pytest.param(command(RESTORE, section="9"), [0, 1, 2, 3], id="another section"),
        pytest.param(command(RESTORE, code="PA"), [0, 1, 2, 3], id="another code"),
        pytest.param(command(RESTORE, transmitter="other"), [0, 1, 2, 3], id="another transmitter"),
    ],
)
def test_what_is_delivered_changes_the_active_alarms(
    tmp_path: Path, outcome: Outcome, restore: Command, left: list[int]
) -> None:
    async def body(outbox: Outbox) -> None:
        for wanted in RAISED:
            await _complete(outbox, wanted, outcome)
        await _complete(outbox, restore, outcome)

    async def then(outbox: Outbox) -> None:
        identities = {alarm.identity for alarm in (await outbox.status(HOME)).active}
        assert identities == {RAISED[index].identity for index in left}
        assert (await outbox.status("other")).active == []
        assert await outbox.list() == []

    over_restarts(tmp_path, body, then)


def test_an_alarm_raised_twice_is_active_since_the_first(tmp_path: Path) -> None:
    async def body(outbox: Outbox) -> None:
        await _complete(outbox, command(reference="1"), Outcome.ACCEPTED)
        await _complete(outbox, command(reference="2", at=NOW + timedelta(hours=1)), Outcome.ACCEPTED)
        assert (await outbox.status(HOME)).active == [ActiveAlarm(AlarmIdentity("BA"), NOW, "1")]

    with_outbox(tmp_path, body)


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.EXPIRED, Outcome.INVALID])
def test_what_is_not_delivered_changes_no_active_alarm(tmp_path: Path, outcome: Outcome) -> None:
    async def body(outbox: Outbox) -> None:
        await _complete(outbox, command(), Outcome.ACCEPTED)
        await _complete(outbox, command(RESTORE), outcome)
        await _complete(outbox, command(code="FA"), outcome)
        assert [alarm.identity.event_code for alarm in (await outbox.status(HOME)).active] == ["BA"]
        assert len(await outbox.list()) == (2 if outcome is Outcome.REJECTED else 0)

    with_outbox(tmp_path, body)


def test_a_rejected_alarm_is_set_aside_and_a_rejected_ping_is_not(tmp_path: Path) -> None:
    async def body(outbox: Outbox) -> None:
        alarm, ping = await put(outbox, command(), command(PING))
        await outbox.complete(alarm, result(alarm, Outcome.REJECTED, attempts=2, error="unknown code"))
        await outbox.complete(ping, result(ping, Outcome.REJECTED, error="no"))

    async def then(outbox: Outbox) -> None:
        [aside] = await outbox.list(HOME)
        assert (aside.state, aside.error, aside.attempts) == ("rejected", "unknown code", 2)
        assert await outbox.pending(HOME) == []
        assert await outbox.older_than(HOME, clock(lambda: NOW + timedelta(days=9)).cutoff(timedelta())) == []
        assert (await outbox.status(HOME)).counts == Counts(rejected=1)

    over_restarts(tmp_path, body, then)


def test_a_result_is_owed_until_it_is_published(tmp_path: Path) -> None:
    reply = Reply("answers/me", b"\x00id")

    async def complete(outbox: Outbox) -> None:
        await _complete(outbox, command(reference="1", reply=reply), Outcome.ACCEPTED)
        await _complete(outbox, command(PING), Outcome.ACCEPTED)

    async def publish(outbox: Outbox) -> None:
        first, second = (await outbox.to_publish()).results
        assert json.loads(first.payload)["reference"] == "1"
        assert (first.request, first.reply, second.reply) == (ALARM, reply, None)
        assert (await outbox.to_publish(but={first.id})).results == [second]
        assert (await outbox.last_known([HOME], 1))[HOME].results == {}
        await outbox.published([first])

    async def then(outbox: Outbox) -> None:
        [left] = (await outbox.to_publish()).results
        assert left.request is PING
        found = await outbox.last_known([HOME, "other"], 1)
        assert [(request, json.loads(last)["outcome"]) for request, last in found[HOME].results.items()] == [
            (ALARM, "accepted")
        ]
        assert found["other"] == LastKnown({}, [], LineStatus([], Counts()))

    over_restarts(tmp_path, complete, publish, then)


def test_a_start_reads_what_was_last(tmp_path: Path) -> None:
    async def work(outbox: Outbox) -> None:
        for name in (HOME, "other"):
            for number in range(4):
                tested = command(Request.TEST, reference=f"{name}{number}", transmitter=name)
                await _complete(outbox, tested, Outcome.ACCEPTED)
            for request, reference in ((RESTORE, "r"), (ALARM, "a"), (ALARM, "b")):
                sent = command(request, reference=f"{name} {reference}", transmitter=name)
                await _complete(outbox, sent, Outcome.ACCEPTED)
        await outbox.published((await outbox.to_publish()).results)
        await put(outbox, command(code="FA"))

    async def then(outbox: Outbox) -> None:
        found = await outbox.last_known([HOME, "other", "third"], 3)
        assert [*found] == [HOME, "other", "third"]
        for name in (HOME, "other"):
            results, tests, _ = found[name]
            assert [(request, json.loads(last)["reference"]) for request, last in results.items()] == [
                (Request.TEST, f"{name}3"), (RESTORE, f"{name} r"), (ALARM, f"{name} b")
            ], "oldest first: they have one topic"  # fmt: skip
            assert [each["reference"] for each in tests] == [f"{name}1", f"{name}2", f"{name}3"]
        assert [found[name].status.counts.pending for name in found] == [1, 0, 0]
        assert [len(found[name].status.active) for name in found] == [1, 1, 0]

    over_restarts(tmp_path, work, then)


def test_a_result_cannot_be_owed_without_its_command_having_ended(tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(tmp_path) as outbox:
            [queued] = await put(outbox, command())
            await outbox._store.write(lambda db: db.execute("DROP TABLE history"))
            with pytest.raises(Exception, match=r"no such table: history|relation \"history\" does not exist"):
                await outbox.complete(queued, result(queued))
            assert await outbox.list() == [queued]
            assert (await outbox.status(HOME)).active == []

    asyncio.run(body())
