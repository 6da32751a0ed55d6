"""The outbox: rounds that failed, what a person does about it, what a panel adds, what is thrown away."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from support.outbox import HOME, NOW, clock, command, entry, moment, put, result, with_outbox

from bridge.common.errors import StoreError
from bridge.common.models import Outcome, Request
from bridge.store.outbox import Outbox
from bridge.store.records import Counts

pytestmark = pytest.mark.usefixtures("each_store")

NONE = timedelta()
LATER = NOW + timedelta(hours=1)


def test_a_failed_round_is_told_once(tmp_path: Path) -> None:
    async def fail(outbox: Outbox) -> None:
        [queued] = await put(outbox, command())
        assert await outbox.owed_undelivered([HOME]) == []
        await outbox.failed(queued, attempts=2, error="no route")
        [owed] = await outbox.owed_undelivered([HOME])
        assert (owed.error, owed.attempts, owed.undelivered) == ("no route", 2, True)

    async def tell(outbox: Outbox) -> None:
        [owed] = await outbox.owed_undelivered([HOME])
        await outbox.published([], [owed])
        assert await outbox.owed_undelivered([HOME]) == []

    async def fail_again(outbox: Outbox) -> None:
        [queued] = await outbox.list()
        await outbox.failed(queued, attempts=4, error="still none")
        assert await outbox.owed_undelivered([HOME]) == []
        [queued] = await outbox.list()
        assert (queued.attempts, queued.error, queued.state) == (4, "still none", "pending")
        assert (await outbox.to_publish()).results == []

    for step in (fail, tell, fail_again):
        with_outbox(tmp_path, step)


def test_a_refused_password_is_a_result_once(tmp_path: Path) -> None:
    async def refuse(outbox: Outbox) -> None:
        [queued] = await outbox.pending(HOME)
        told = result(queued, Outcome.UNAUTHORIZED, status=1)
        await outbox.failed(queued, attempts=1, error="code 1", unauthorized=told)

    with_outbox(tmp_path, lambda outbox: put(outbox, command()))
    with_outbox(tmp_path, refuse)
    with_outbox(tmp_path, refuse)

    async def then(outbox: Outbox) -> None:
        [owed] = (await outbox.to_publish()).results
        assert json.loads(owed.payload)["outcome"] == "unauthorized"
        assert (await outbox.status(HOME)).counts == Counts(pending=1, oldest_at=NOW, unauthorized=1, undelivered=1)
        [queued] = await outbox.list()
        await outbox.failed(queued, attempts=1, error="no route")
        assert (await outbox.status(HOME)).counts.unauthorized == 0

    with_outbox(tmp_path, then)


def test_counts_are_of_alarms_and_restores_of_one_transmitter(tmp_path: Path) -> None:
    async def body(outbox: Outbox) -> None:
        assert (await outbox.status(HOME)).counts == Counts()
        _, _, rejected, *_ = await put(
            outbox,
            command(at=LATER),
            command(Request.RESTORE, at=NOW),
            command(code="FA", at=NOW - timedelta(hours=1)),
            command(Request.PING, at=NOW - timedelta(hours=2)),
            command(transmitter="other", at=NOW - timedelta(hours=2)),
        )
        await outbox.complete(rejected, result(rejected, Outcome.REJECTED))
        assert (await outbox.status(HOME)).counts == Counts(pending=2, oldest_at=NOW, rejected=1)

    with_outbox(tmp_path, body)


def test_only_alarms_grow_too_old(tmp_path: Path) -> None:
    async def body(outbox: Outbox) -> None:
        old, _, _ = await put(outbox, command(), command(Request.PING), command(code="FA", at=LATER))
        assert await outbox.older_than(HOME, clock().cutoff(NONE)) == []
        assert await outbox.older_than(HOME, clock(lambda: LATER).cutoff(NONE)) == [old]
        assert await outbox.older_than("other", clock(lambda: LATER).cutoff(NONE)) == []

    with_outbox(tmp_path, body)


def test_retry_puts_a_rejected_command_back_as_new(tmp_path: Path) -> None:
    async def reject(outbox: Outbox) -> None:
        [queued] = await put(outbox, command())
        told = result(queued, Outcome.UNAUTHORIZED)
        await outbox.failed(queued, attempts=1, error="code 1", unauthorized=told)
        assert not await outbox.retry(queued.id, LATER, moment(LATER))
        await outbox.complete(queued, result(queued, Outcome.REJECTED, error="code 4"))
        assert await outbox.retry(queued.id, LATER, moment(LATER))
        assert not await outbox.retry(queued.id + 1, LATER, moment(LATER))

    async def then(outbox: Outbox) -> None:
        [found] = await outbox.pending(HOME)
        assert (found.command.accepted_at, found.state, found.error) == (LATER, "pending", "")
        assert not found.undelivered
        assert not found.unauthorized
        assert await outbox.owed_undelivered([HOME]) == []
        assert (await outbox.status(HOME)).counts == Counts(pending=1, oldest_at=LATER)

    with_outbox(tmp_path, reject)
    with_outbox(tmp_path, then)


def test_drop_deletes_for_good(tmp_path: Path) -> None:
    async def body(outbox: Outbox) -> None:
        kept, dropped = await put(outbox, command(), command(code="FA"))
        assert await outbox.drop(dropped.id, LATER)
        assert not await outbox.drop(dropped.id, LATER)
        assert await outbox.get(dropped.id) is None
        assert await outbox.get(kept.id) == kept
        [new] = (await put(outbox, command(code="PA")))[-1:]
        assert new.id > dropped.id

    with_outbox(tmp_path, body)


def test_prune_drops_what_is_published_and_old(tmp_path: Path) -> None:
    async def left(outbox: Outbox) -> list[str]:
        rows = await outbox._store.read(lambda db: db.execute("SELECT result FROM history ORDER BY id").fetchall())
        return [json.loads(row["result"])["reference"] for row in rows]

    async def body(outbox: Outbox) -> None:
        for name, at in (("owed", NOW), ("old", NOW), ("new", NOW + timedelta(days=20))):
            [queued] = await put(outbox, command(reference=name, at=at))
            await outbox.complete(queued, result(queued))
        await outbox.published((await outbox.to_publish()).results[1:])
        await outbox.prune(NOW + timedelta(days=30))
        assert await left(outbox) == ["owed", "old", "new"]
        await outbox.prune(NOW + timedelta(days=31))
        assert await left(outbox) == ["owed", "new"]

    with_outbox(tmp_path, body)


def test_prune_keeps_no_more_results_than_commands_are_taken(tmp_path: Path) -> None:
    async def body(outbox: Outbox) -> None:
        for number in range(5):
            [queued] = await put(outbox, command(reference=str(number)))
            await outbox.complete(queued, result(queued))
        await outbox.published((await outbox.to_publish()).results)
        await outbox.prune(NOW)
        count = await outbox._store.read(lambda db: db.execute("SELECT count(*) AS n FROM history").fetchone()["n"])
        assert count == 2

    with_outbox(tmp_path, body, max_commands=2)


def test_one_physical_event_is_one_alarm(tmp_path: Path) -> None:
    async def first(outbox: Outbox) -> None:
        touched = await outbox.keep_panel("GB1", {"armed": True}, {"GB1:1": entry(command())})
        assert list(touched) == [HOME]

    async def again(outbox: Outbox) -> None:
        entries = {"GB1:1": entry(command()), "GB1:2": entry(command(code="FA"))}
        await outbox.keep_panel("GB1", {"armed": False}, entries)
        assert await outbox.keep_panel("GB2", {}, entries) == set()
        assert [queued.command.identity.event_code for queued in await outbox.list()] == ["BA", "FA"]
        assert await outbox.panels() == {"GB1": {"armed": False}, "GB2": {}}

    with_outbox(tmp_path, first)
    with_outbox(tmp_path, again)


def test_a_panel_that_cannot_be_read_is_told_in_words(tmp_path: Path) -> None:
    async def body(outbox: Outbox) -> None:
        await outbox._store.write(lambda db: db.execute("INSERT INTO panel VALUES ('GB1', '{')"))
        with pytest.raises(StoreError, match="a panel's state cannot be read"):
            await outbox.panels()

    with_outbox(tmp_path, body)


def test_a_command_that_cannot_be_read_is_told_in_words(tmp_path: Path) -> None:
    async def body(outbox: Outbox) -> None:
        [queued] = await put(outbox, command())
        await outbox._store.write(lambda db: db.execute("UPDATE command SET body = '[]'"))
        with pytest.raises(StoreError, match=f"command {queued.id} cannot be read"):
            await outbox.pending(HOME)
        assert await outbox.drop(queued.id, NOW)
        assert await outbox.pending(HOME) == []

    with_outbox(tmp_path, body)
