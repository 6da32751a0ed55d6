"""What every store promises of its jobs: batches, faults that concern one alone, texts of any character."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.outbox import HOME, command, entry, opened, result
from support.stores import held, open_store, together

from bridge.common.errors import StoreError
from bridge.common.models import AlarmIdentity, Command, Outcome, PreparedAlarm, Reply
from bridge.store.database import Db, Store

T = TypeVar("T")

pytestmark = pytest.mark.usefixtures("each_store")


def with_store(path: Path, body: Callable[[Store], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await open_store(path / "store.sqlite") as store:
            return await body(store)

    return asyncio.run(run())


def put_panel(guid: str) -> Callable[[Db], int]:
    return lambda db: db.execute("INSERT INTO panel (guid, content) VALUES (?, 'x')", (guid,)).rowcount


def count(db: Db) -> int:
    return int(db.execute("SELECT count(*) AS n FROM panel").fetchone()["n"])


def bad(error: Exception | None) -> Callable[[Db], None]:
    """Return a job that writes, and fails: with `error`, or with one of the database."""

    def work(db: Db) -> None:
        put_panel("undone")(db)
        if error:
            raise error
        db.execute("INSERT INTO nowhere VALUES (1)")

    return work


def test_a_failing_job_undoes_only_itself(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        jobs = [
            put_panel("a"),
            bad(None),
            put_panel("b"),
            bad(ValueError("mine")),
            bad(StoreError("words")),
            put_panel("c"),
        ]
        answers = await together(store, *jobs)
        assert [answer for answer in answers if answer == 1] == [1, 1, 1]
        assert isinstance(answers[1], StoreError)
        assert "nowhere" in str(answers[1])
        assert [repr(answer) for answer in answers[3:5]] == ["ValueError('mine')", "StoreError('words')"]
        names = await store.read(lambda db: [row["guid"] for row in db.execute("SELECT guid FROM panel ORDER BY guid")])
        assert names == ["a", "b", "c"]

    with_store(tmp_path, body)


@pytest.mark.parametrize("error", [OverflowError("too large"), TypeError("odd"), AssertionError("never"), KeyError(1)])
@pytest.mark.parametrize("others", [0, 2])
def test_no_fault_of_a_job_ends_the_store(tmp_path: Path, error: Exception, others: int) -> None:
    def unreadable(_: Db) -> None:
        raise error

    async def body(store: Store) -> None:
        answers = await together(store, *(put_panel(f"GB{number}") for number in range(others)), bad(error))
        assert answers == [1] * others + [error]
        with pytest.raises(type(error)):
            await store.write(bad(error))
        with pytest.raises(type(error)):
            await store.read(unreadable)
        await store.write(put_panel("after"))
        assert await store.read(count) == others + 1

    with_store(tmp_path, body)


def test_a_read_that_fails_in_a_batch_concerns_no_writer(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        async with held(store):
            writes = [asyncio.create_task(store.write(put_panel("a")))]
            fails = asyncio.create_task(store.read(lambda db: db.execute("SELECT nothing FROM nowhere")))
            writes.append(asyncio.create_task(store.write(put_panel("b"))))
            await asyncio.sleep(0)
        assert await asyncio.gather(*writes) == [1, 1]
        with pytest.raises(StoreError):
            await fails
        assert await store.read(count) == 2

    with_store(tmp_path, body)


def test_a_job_that_hides_a_fault_of_the_database_writes_all_or_fails(tmp_path: Path) -> None:
    def hides(db: Db) -> str:
        put_panel("a")(db)
        try:
            db.execute("INSERT INTO nowhere VALUES (1)")
        except Exception:  # noqa: BLE001 - of either database
            return "hidden"
        return "none"

    async def body(store: Store) -> None:
        try:
            assert await store.write(hides) == "hidden"
        except StoreError:
            assert await store.read(count) == 0
        else:
            assert await store.read(count) == 1

    with_store(tmp_path, body)


def test_close_finishes_what_is_queued(tmp_path: Path) -> None:
    async def run() -> None:
        store = await open_store(tmp_path / "store.sqlite")
        tasks = [asyncio.create_task(store.write(put_panel(f"GB{number}"))) for number in range(50)]
        await asyncio.sleep(0)
        await store.close()
        assert await asyncio.gather(*tasks) == [1] * 50
        for work in (store.write(put_panel("late")), store.read(count)):
            with pytest.raises(StoreError, match="closed"):
                await work
        await store.close()

    asyncio.run(run())
    assert with_store(tmp_path, lambda store: store.read(count)) == 50


def test_what_a_cancelled_waiter_wrote_stays_written(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        task = asyncio.create_task(store.write(put_panel("a")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await store.read(count) == 1

    with_store(tmp_path, body)


# Texts: what comes by MQTT may have any character; PostgreSQL takes no NUL.

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20) | st.text(
    st.sampled_from("\0\1\x02a01'%?\\\U0001f525"), max_size=20
)


def _command(texts: list[str], correlation: bytes) -> Command:
    one, two, three, four, five = texts
    alarm = PreparedAlarm(one, section=two, detector=three, transmitter_area=four, section_text=five, reference=two)
    plain = command(reference=five, reply=Reply(one or "topic", correlation))
    return replace(plain, alarm=alarm, identity=AlarmIdentity(one, four, two, three), warnings=(three,))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS, min_size=5, max_size=5), st.binary(max_size=8))
def test_texts_come_back_as_they_were_and_harm_no_other(tmp_path: Path, texts: list[str], correlation: bytes) -> None:
    odd = _command(texts, correlation)

    async def body() -> None:
        async with opened(tmp_path) as outbox:
            before = len(await outbox.list())
            await asyncio.gather(outbox.add([entry(odd)]), outbox.add([entry(command())]))
            added = (await outbox.list())[before:]
            assert len(added) == 2
            [queued] = [each for each in added if each.command != command()]
            assert queued.command == odd
            await outbox.failed(queued, attempts=1, error=texts[0])
            assert (await outbox.get(queued.id) or queued).error == texts[0]
            await outbox.keep_fact(texts[1], texts[2])
            assert await outbox.fact(texts[1]) == texts[2]
            await outbox.complete(queued, result(queued, Outcome.ACCEPTED, error=texts[3]))
            assert queued.command.identity in [each.identity for each in await outbox.active(HOME)]
            assert (await outbox.owed_results())[-1].reply == odd.reply

    asyncio.run(body())


def test_a_text_that_is_no_unicode_fails_alone(tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(tmp_path) as outbox:
            sound = outbox.add([entry(command())])
            broken = outbox.keep_fact("name", "\ud800")
            answers = await asyncio.gather(sound, broken, return_exceptions=True)
            assert answers[0] == {HOME}
            assert isinstance(answers[1], UnicodeEncodeError)
            assert len(await outbox.list()) == 1

    asyncio.run(body())
