"""The outbox: what is sent when."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.outbox import HOME, command, drain, opened, put, with_outbox

from bridge.common.models import Command, Request
from bridge.store.outbox import _NEXT_ALARM, _NEXT_OTHER, Outbox

ALARM, RESTORE, PING, AUTH = Request.ALARM, Request.RESTORE, Request.PING, Request.AUTH


def order(path: Path, *commands: Command) -> list[int]:
    """Put commands, and return their places in the order they are sent."""

    async def body(outbox: Outbox) -> list[int]:
        first = (await put(outbox, *commands))[0].id
        return [queued.id - first for queued in await drain(outbox)]

    return with_outbox(path, body)


def test_alarms_in_order_then_pings_and_rotations(tmp_path: Path) -> None:
    assert order(tmp_path, command(PING), command(), command(AUTH), command(code="FA")) == [1, 3, 0, 2]


def test_a_restore_does_not_wait_for_an_alarm_that_has_ended_and_is_only_not_written_down(tmp_path: Path) -> None:
    async def body(outbox: Outbox) -> list[int | None]:
        alarm, restore = await put(outbox, command(), command(RESTORE))
        found = [await outbox.next(HOME, [alarm.id]), await outbox.next(HOME, ended=[alarm.id])]
        found.append(await outbox.next(HOME, ended=[alarm.id, restore.id]))
        return [queued.id - alarm.id if queued else None for queued in found]

    assert with_outbox(tmp_path, body) == [None, 1, None]


def test_the_next_alarm_is_the_first_of_the_index_and_not_sorted_out_of_all_that_wait(tmp_path: Path) -> None:
    values = {"transmitter": HOME, "later": "[]", "ended": "[]"}

    async def body(outbox: Outbox) -> list[str]:
        plans = [f"EXPLAIN QUERY PLAN {sql}" for sql in (_NEXT_ALARM, _NEXT_OTHER)]
        return await outbox._store.read(
            lambda db: [row["detail"] for plan in plans for row in db.execute(plan, values)]
        )

    steps = with_outbox(tmp_path, body)
    assert [step for step in steps if "command_order" in step]
    assert not [step for step in steps if "ORDER BY" in step]


async def _next_without(outbox: Outbox, commands: list[Command], later: list[int]) -> int | None:
    first = (await put(outbox, *commands))[0].id
    found = await outbox.next(HOME, [first + each for each in later])
    return found.id - first if found else None


@pytest.mark.parametrize(
    ("commands", "later", "expected"),
    [
        pytest.param([command(), command(code="FA")], [0], 1, id="another code passes"),
        pytest.param([command(), command(RESTORE)], [0], None, id="the restore waits for its alarm"),
        pytest.param([command(section="1"), command(RESTORE)], [0], None, id="a restore of the code waits for all"),
        pytest.param([command(section="1"), command(RESTORE, section="2")], [0], 1, id="another section's passes"),
        pytest.param([command(section="1"), command(RESTORE, section="1")], [0], None, id="same section's waits"),
        pytest.param(
            [command(section="1", detector="2"), command(RESTORE, section="1", detector="3")], [0], 1, id="detectors"
        ),
        pytest.param([command(area="1"), command(RESTORE, area="2")], [0], 1, id="areas"),
        pytest.param([command(RESTORE), command(section="1")], [0], None, id="a new alarm waits for the restore"),
        pytest.param([command(), command(section="1")], [0], 1, id="alarms of a code do not wait for each other"),
        pytest.param([command(), command(transmitter="other"), command(PING)], [0], 2, id="a ping waits for none"),
        pytest.param([command(), command(PING)], [0, 1], None, id="all left out"),
    ],
)
def test_what_is_left_out_holds_only_its_own_alarm(
    tmp_path: Path, commands: list[Command], later: list[int], expected: int | None
) -> None:
    assert with_outbox(tmp_path, lambda outbox: _next_without(outbox, commands, later)) == expected


def test_without_alarms_only_pings_and_rotations_are_next(tmp_path: Path) -> None:
    async def body(outbox: Outbox) -> None:
        alarm, ping = await put(outbox, command(), command(PING))
        found = await outbox.next(HOME, alarms=False)
        assert found
        assert found.id == ping.id
        assert await outbox.next(HOME, [ping.id], alarms=False) is None
        assert (await outbox.next(HOME, [ping.id])) == alarm

    with_outbox(tmp_path, body)


def test_transmitters_have_queues_of_their_own(tmp_path: Path) -> None:
    async def body(outbox: Outbox) -> None:
        await put(outbox, command(transmitter="other"), command(RESTORE))
        found = await outbox.next(HOME)
        assert found
        assert found.command.request is RESTORE
        assert await outbox.next("nobody") is None

    with_outbox(tmp_path, body)


def test_the_order_survives_reopening(tmp_path: Path) -> None:
    wanted = [command(reference=str(number)) for number in range(5)]
    with_outbox(tmp_path, lambda outbox: put(outbox, *wanted))
    sent = with_outbox(tmp_path, drain)
    assert [queued.command for queued in sent] == wanted
    assert with_outbox(tmp_path, lambda outbox: outbox.next(HOME)) is None


_commands = st.builds(
    command,
    st.sampled_from([ALARM, RESTORE, PING, AUTH]),
    st.sampled_from(["BA", "FA"]),
    section=st.sampled_from(["", "1", "2"]),
    detector=st.sampled_from(["", "", "7"]),
)


def _same_alarm(one: Command, other: Command) -> bool:
    a, b = one.identity, other.identity
    return a.event_code == b.event_code and (a.whole_code or b.whole_code or a == b)


def _model_next(pending: list[tuple[int, Command]], later: set[int]) -> int | None:
    """What the rule says, written plainly."""
    for number, wanted in pending:
        if wanted.request not in (ALARM, RESTORE) or number in later:
            continue
        before = [each for other, each in pending if other < number and each.request in (ALARM, RESTORE)]
        if not any(each.request is not wanted.request and _same_alarm(each, wanted) for each in before):
            return number
    return next((number for number, wanted in pending if wanted.request in (PING, AUTH) and number not in later), None)


async def _follow_model(path: Path, wanted: list[Command], held: set[int]) -> None:
    async with opened(path) as outbox:
        queued = await put(outbox, *wanted)
        later = {queued[index].id for index in held if index < len(queued)}
        pending = [(each.id, each.command) for each in queued]
        while pending:
            found = await outbox.next(HOME, later)
            assert (found.id if found else None) == _model_next(pending, later)
            if found:
                await outbox.drop(found.id)
                pending = [each for each in pending if each[0] != found.id]
            else:
                assert later
                later.clear()
        assert await outbox.next(HOME) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(_commands, min_size=1, max_size=8), st.sets(st.integers(0, 7), max_size=4))
def test_any_queue_is_sent_as_the_model_says(wanted: list[Command], held: set[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_follow_model(Path(folder), wanted, held))
