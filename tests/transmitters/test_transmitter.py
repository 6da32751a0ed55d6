"""A transmitter: what becomes of a command by what its receivers answer."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from support import virtual
from support.line import BUSY, DEAD, LOST, NEW, OLD, SILENT, Bench, bench, on_bench
from support.outbox import HOME, command, entry, opened, put
from support.stores import sqlite_only

from bridge.common.errors import FieldError, StoreError
from bridge.common.models import Command, Request, Result
from bridge.sos_access.messages import AlarmRequest, NewAuthResponse, PingResponse
from bridge.store.maintenance import maintain
from bridge.store.records import Queued
from bridge.transmitters.line import Line

pytestmark = pytest.mark.usefixtures("each_store")

LEVEL = 180.0
PING = "PingRequest"


async def results(each: Bench) -> list[dict[str, object]]:
    return [json.loads(owed.payload) for owed in (await each.outbox.to_publish()).results]


@pytest.mark.parametrize(
    ("status", "outcome", "sent", "left"),
    [
        (0, "accepted", 1, None),
        (10, "duplicate", 1, None),
        *((status, "rejected", 1, "rejected") for status in (2, 7, 100)),
        *((status, "rejected", 2, "rejected") for status in (1, 3)),
        *((status, "unauthorized", 1, "pending") for status in (4, 6)),
    ],
)
def test_an_answer_is_an_outcome(tmp_path: Path, status: int, outcome: str, sent: int, left: str | None) -> None:
    async def body(each: Bench) -> None:
        each.answer(*[status] * sent)
        await put(each.outbox, command())
        await each.settle(1.5)
        assert await each.outcomes() == [outcome]
        assert [queued.state for queued in await each.outbox.list()] == ([left] if left else [])
        assert len((await each.outbox.status(HOME)).active) == (0 if left else 1)
        assert each.sent == ["BA"] * sent
        assert each.transmitter.delivered == (0 if left else 1)

    on_bench(tmp_path, body)


@pytest.mark.parametrize("status", [1, 3])
def test_an_alarm_that_is_refused_for_an_element_goes_once_more_without_it(tmp_path: Path, status: int) -> None:
    async def body(each: Bench) -> None:
        each.answer(status)
        await put(each.outbox, command(section="1", reference="r1"))
        await each.settle()
        whole, minimal = (document.request for document in each.dialer.sent)
        assert isinstance(whole, AlarmRequest)
        assert isinstance(minimal, AlarmRequest)
        assert (whole.section, minimal.section, minimal.alarm_type) == ("1", None, "AL")
        [result] = (await each.outbox.to_publish()).results
        assert result.fields["outcome"] == "accepted"
        assert "with its mandatory elements only" in result.fields["warnings"][-1]

    on_bench(tmp_path, body)


@pytest.mark.parametrize("request_", [Request.PING, Request.AUTH])
@pytest.mark.parametrize("status", [4, 5])
def test_a_receiver_that_has_answered_is_not_asked_again_over_another_path(
    tmp_path: Path, request_: Request, status: int
) -> None:
    async def body(each: Bench) -> None:
        each.passwords.add(NEW)
        each.dialer.behaves = lambda _receiver, request: status if request is not None else 0
        await put(each.outbox, command(request_, reference="asked"))
        await each.settle(60)
        passwords = ["2", "1"] if status == 4 else ["2"]
        asked = [document for document in each.dialer.sent if document.request.reference == "asked"]
        assert [document.password for document in asked] == passwords * 2

    on_bench(tmp_path, body, receivers=["primary", "secondary"], paths=["eth0", "wwan0"])


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(0, "accepted"), (9, "rejected"), (4, "unauthorized"), (5, "unreachable"), (DEAD, "unreachable")],
)
def test_a_ping_is_tried_once(tmp_path: Path, status: int | str, outcome: str) -> None:
    async def body(each: Bench) -> None:
        await each.settle()
        each.answer(status)
        await put(each.outbox, command(Request.PING))
        await each.settle()
        assert each.sent.count(PING) == (0 if status == DEAD else 1)
        assert await each.outcomes() == [outcome]
        assert await each.outbox.list() == []

    on_bench(tmp_path, body)


def test_an_unreachable_receiver_is_tried_at_growing_intervals(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await each.settle()
        each.dialer.behaves = lambda receiver, request: DEAD
        await put(each.outbox, command())
        await each.settle(20)
        tried = [at - each.dialer.connects[0][0] for at, _ in each.dialer.connects]
        assert [round(at) for at in tried] == [0, 1, 3, 7, 12, 17]
        assert each.recorder.links == [True, False]
        each.dialer.behaves = None
        assert await each.settle(5) == ["BA"]
        assert await each.outcomes() == ["accepted"]
        assert each.recorder.links == [True, False, True]
        assert each.transmitter.failures == 6

    on_bench(tmp_path, body)


@pytest.mark.parametrize("status", [*BUSY, 9, 101])
def test_an_alarm_that_is_answered_and_not_taken_lets_others_pass(tmp_path: Path, status: int) -> None:
    async def body(each: Bench) -> None:
        await each.settle()
        each.answer(status)
        await put(each.outbox, command())
        await each.settle()
        await put(each.outbox, command(code="FA"), command(Request.RESTORE))
        await each.settle(1)
        assert each.sent == ["BA", "FA", "BA", "BA"]  # FA showed that the receiver takes alarms again
        assert await each.outcomes() == ["accepted"] * 3
        assert [alarm.identity.event_code for alarm in (await each.outbox.status(HOME)).active] == ["FA"]

    on_bench(tmp_path, body)


def test_a_refused_password_is_reported_once_and_tried_rarely(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = lambda receiver, request: 4
        await put(each.outbox, command())
        await each.settle()
        assert each.sent == ["BA"]
        assert await each.settle(59) == []
        assert len(await each.settle(2)) == 1
        assert await each.settle(290) == []
        assert await each.outcomes() == ["unauthorized"]
        assert each.recorder.events == ["unauthorized"]
        assert list(each.recorder.problems) == [("unauthorized", "primary")]
        each.dialer.behaves = None
        await each.settle(20)
        assert await each.outcomes() == ["unauthorized", "accepted"]
        assert each.recorder.problems == {}
        each.dialer.behaves = lambda receiver, request: 4
        await put(each.outbox, command())
        await each.settle()
        assert each.recorder.events == ["unauthorized", "unauthorized"]

    on_bench(tmp_path, body)


def test_a_rejected_alarm_counts_each_attempt_once(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = lambda receiver, request: 0 if request is None else 99
        await put(each.outbox, command())
        await each.settle(60)
        [waiting] = await each.outbox.list()
        assert waiting.attempts == len([what for what in each.sent if what == "BA"]) > 1
        each.dialer.behaves = lambda receiver, request: 0 if request is None else 2
        await each.settle(400)
        [rejected] = await each.outbox.list()
        assert rejected.state == "rejected"
        assert rejected.attempts == len([what for what in each.sent if what == "BA"])

    on_bench(tmp_path, body)


def test_a_rotation_stores_the_new_password_and_it_counts_next(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await each.settle()
        await put(each.outbox, command(Request.AUTH))
        await each.settle()
        assert each.passwords.candidates()[0] == NEW
        await put(each.outbox, command())
        await each.settle()
        found = {document.what: document.password for document in each.dialer.sent}
        assert found == {PING: "2", "NewAuthRequest": "1", "BA": "2"}  # the ping asks which one the receiver takes
        assert await each.outcomes() == ["accepted", "accepted"]

    on_bench(tmp_path, body)


def test_a_rotation_that_brings_no_password_is_no_duplicate(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = lambda receiver, request: 10
        await put(each.outbox, command(Request.AUTH))
        await each.settle()
        assert await each.outcomes() == ["rejected"]
        assert each.passwords.candidates() == (OLD,)

    on_bench(tmp_path, body)


def test_no_rotation_is_asked_for_that_could_not_be_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    async def body(each: Bench) -> None:
        await each.settle()
        monkeypatch.setattr("bridge.store.passwords.write_private", full)
        await put(each.outbox, command(Request.AUTH))
        assert await each.settle() == []
        assert await each.outcomes() == ["invalid"]

    on_bench(tmp_path, body)


def test_no_rotation_is_asked_for_while_the_store_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its result would be lost with the process, and the command repeated."""

    async def body(each: Bench) -> None:
        monkeypatch.setattr(type(each.outbox), "failure", StoreError("disk full"))
        await put(each.outbox, command(Request.AUTH))
        await each.settle()
        assert each.sent == []
        monkeypatch.undo()
        [result] = await results(each)
        assert (result["outcome"], result["error"]) == ("invalid", "disk full")

    on_bench(tmp_path, body)


def test_rotations_do_not_begin_the_login_schedule_anew(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = lambda _receiver, _request: 4
        for _ in range(4):
            await put(each.outbox, command(Request.AUTH))
            await each.settle()
        assert each.sent == ["NewAuthRequest"]
        assert await each.outcomes() == ["unauthorized"] * 4
        assert "ask the operator" in str((await results(each))[-1]["error"])
        await put(each.outbox, command(Request.PING))
        await each.settle()
        assert each.sent == ["NewAuthRequest", PING]

    on_bench(tmp_path, body)


def test_the_event_of_a_refused_password_is_not_repeated_at_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path) as each:
            each.dialer.behaves = lambda _receiver, _request: 4
            await put(each.outbox, command())
            await each.settle(10)
            assert each.recorder.events == ["unauthorized"]
            began = each.recorder.began["unauthorized", "primary"]
        async with bench(tmp_path, dialer=each.dialer) as each:
            await each.settle(10)
            assert abs(each.recorder.began["unauthorized", "primary"] - began) < timedelta(seconds=1)
            assert each.recorder.events == []
            assert list(each.recorder.problems) == [("unauthorized", "primary")]
            each.dialer.behaves = None
            await each.settle(1200)
            assert each.recorder.problems == {}
            each.dialer.behaves = lambda _receiver, _request: 4
            await put(each.outbox, command())
            await each.settle(10)
            assert each.recorder.events == ["unauthorized"]

    virtual.run(main())


def test_what_was_found_just_before_a_stop_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path) as each:
            each.dialer.behaves = lambda _receiver, _request: 4
            await put(each.outbox, command())
            await each.settle(40)
            each.dialer.behaves = None
            await put(each.outbox, command())
            await each.settle(0.2)
            assert (await each.outcomes())[-1] == "accepted"
        async with bench(tmp_path, dialer=each.dialer) as each:
            await each.settle()
            assert list(each.recorder.problems) == []

    virtual.run(main())


def test_every_password_that_is_kept_is_tried(tmp_path: Path) -> None:
    """The configured one is wrong, so is the newest: an older one is right."""

    async def body(each: Bench) -> None:
        each.passwords.add(NEW)
        each.passwords.add(type(NEW)("3" * 15))
        each.dialer.behaves = lambda receiver, request: 0 if _password(request) in (None, "2") else 4
        await put(each.outbox, command())
        await each.settle()
        assert [document.password for document in each.dialer.sent if document.what == "BA"] == ["3", "2"]
        assert await each.outcomes() == ["accepted"]
        await put(each.outbox, command())
        await each.settle()
        assert each.dialer.sent[-1].password == "2"

    on_bench(tmp_path, body)


def _password(request: object) -> str | None:
    return request.authentication.reveal()[0] if request is not None else None  # type: ignore[attr-defined]


def test_a_damaged_password_file_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "passwords").mkdir()
    (tmp_path / "passwords" / HOME).write_text("{")

    async def body(each: Bench) -> None:
        await put(each.outbox, command())
        await each.settle()
        assert each.dialer.sent[-1].password == OLD.reveal()[0]
        assert await each.outcomes() == ["accepted"]
        assert ("password_file", None) in each.recorder.problems
        (tmp_path / "passwords" / HOME).unlink()
        await each.settle(11)
        assert each.recorder.problems == {}

    on_bench(tmp_path, body)


def test_an_alarm_that_is_too_old_expires_and_is_not_sent(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await each.settle()
        each.dialer.behaves = lambda receiver, request: DEAD
        await put(each.outbox, command())
        await each.settle()
        each.wall += timedelta(hours=1, seconds=1)
        await each.settle(11)
        assert await each.outcomes() == ["expired"]
        each.dialer.behaves = None
        await put(each.outbox, command(code="FA", at=each.wall))
        await each.settle(2)
        assert each.sent == ["FA"]
        assert await each.outcomes() == ["expired", "accepted"]
        [expired, _] = await results(each)
        assert "older than 1:00:00, not delivered: no receiver took it in " in str(expired["error"])

    on_bench(tmp_path, body)


def test_an_alarm_that_became_too_old_while_the_bridge_was_off_is_not_sent(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as outbox:
            await put(outbox, command())
            async with Bench(tmp_path, outbox) as each:
                each.wall += timedelta(hours=2)
                await each.settle(1)
                assert "BA" not in each.sent
                assert await each.outcomes() == ["expired"]

    virtual.run(main())


def test_a_store_that_fails_resends_nothing_and_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(each: Bench) -> None:
        complete, failures = each.outbox.complete, [1]

        async def failing(queued: Queued, result: Result) -> None:
            if failures:
                failures.pop()
                raise StoreError("the disk is full")
            await complete(queued, result)

        monkeypatch.setattr(each.outbox, "complete", failing)
        await put(each.outbox, command(), command(code="FA"), command(code="PA"))
        await each.settle(60)
        assert each.sent == ["BA", "FA", "PA"]
        assert sorted(await each.outcomes()) == ["accepted"] * 3
        assert await each.outbox.list() == []
        assert len((await each.outbox.status(HOME)).active) == 3
        errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert errors == ["the disk is full"]  # the same text from each of ten thousand transmitters is one line

    on_bench(tmp_path, body)


def test_a_command_that_makes_no_message_ends_invalid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored by another version, or the configuration has changed since."""
    true_message = Line.message

    def message(self: Line, wanted: Command, *, minimal: bool = False) -> object:
        if wanted.reference == "bad":
            raise FieldError("section", "is too long")
        return true_message(self, wanted, minimal=minimal)

    monkeypatch.setattr(Line, "message", message)

    async def body(each: Bench) -> None:
        await put(each.outbox, command(reference="bad"), command(Request.PING, reference="bad"), command())
        await each.settle()
        assert each.sent == ["BA"]
        found = {(str(each["request"]), each.get("reference")): each["outcome"] for each in await results(each)}
        assert found == {("alarm", "bad"): "invalid", ("ping", "bad"): "invalid", ("alarm", None): "accepted"}
        assert await each.outbox.list() == []

    on_bench(tmp_path, body)


def test_an_alarm_goes_before_a_ping_of_the_same_batch(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await each.settle()
        before = len(each.sent)
        each.dialer.behaves = lambda receiver, request: SILENT if type(request).__name__ == PING else 0
        await each.outbox.add([entry(command(Request.PING)), entry(command())])
        await each.settle(0.1)
        assert "BA" in each.sent[before:]
        assert await each.outcomes() == ["accepted"]

    on_bench(tmp_path, body)


def test_an_accepted_alarm_is_not_sent_again_however_odd_the_answer(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        each.dialer.answers.append(b"<alarmresponse><status>0</status><info>Larm & tak</info></alarmresponse>")
        await put(each.outbox, command())
        await each.settle(1000)
        assert [what for what in each.sent if what == "BA"] == ["BA"]
        assert await each.outcomes() == ["accepted"]

    on_bench(tmp_path, body)


def test_an_answer_to_another_message_is_no_answer(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await each.settle()
        other = PingResponse(0, reference="other")
        each.dialer.behaves = lambda receiver, request: 0 if request is None else other
        await put(each.outbox, command(Request.PING, reference="ours"))
        await each.settle()
        assert await each.outcomes() == ["unreachable"]

    on_bench(tmp_path, body)


def test_an_alarm_goes_out_at_once(tmp_path: Path) -> None:
    """As soon as it is stored: no time passes, and no tick of any clock is waited for."""

    async def body(each: Bench) -> None:
        await each.settle(100)
        for code in ("BA", "FA", "PA"):
            before = asyncio.get_running_loop().time()
            await each.outbox.add([entry(command(code=code))])
            await each.settle()
            assert each.dialer.sent[-1].what == code
            assert each.dialer.sent[-1].at == before
        assert await each.outcomes() == ["accepted"] * 3

    on_bench(tmp_path, body)


@sqlite_only
def test_what_another_program_took_out_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as `sosbridge outbox drop`; and what it put back is sent."""

    async def body(each: Bench) -> None:
        maintaining = asyncio.create_task(maintain(each.outbox._store, each.outbox, each.clock, lambda _: None))
        await each.settle(5)
        each.dialer.behaves = lambda receiver, request: 0 if request is None else 98
        await put(each.outbox, command())
        await each.settle(1)
        async with opened(tmp_path) as other:
            [waiting] = await other.list()
            await other.drop(waiting.id, each.wall)
        await each.settle(5)
        sent = len([what for what in each.sent if what == "BA"])
        await each.settle(1000)
        assert len([what for what in each.sent if what == "BA"]) == sent
        assert await each.outcomes() == ["rejected"]
        maintaining.cancel()
        await asyncio.wait([maintaining])

    on_bench(tmp_path, body)


@pytest.mark.parametrize("answer", [0, SILENT])
def test_a_stop_waits_for_an_answer_on_its_way(tmp_path: Path, answer: int | str) -> None:
    async def main() -> None:
        async with bench(tmp_path) as each:
            await each.settle()
            each.dialer.answer_s = 3.0
            each.dialer.behaves = lambda receiver, request: 0 if request is None else answer
            await put(each.outbox, command())
            await each.settle(0.5)
            began = asyncio.get_running_loop().time()
            await each.stop()
            took = asyncio.get_running_loop().time() - began
            assert each.running.cancelled()
            if answer == 0:
                assert took < 2.6
                assert await each.outcomes() == ["accepted"]
                assert await each.outbox.list() == []
            else:
                assert 3.9 < took < 4.1
                assert len(await each.outbox.list()) == 1

    virtual.run(main())


def test_a_stop_finishes_a_rotation_on_its_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with bench(tmp_path) as each:
            await each.settle()
            each.dialer.answer_s = 3.0
            await put(each.outbox, command(Request.AUTH))
            await each.settle(0.5)
            await each.stop()
            assert each.passwords.candidates()[0] == NEW

    virtual.run(main())


def test_a_lost_answer_to_a_rotation_leaves_the_old_password(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        await each.settle()
        each.dialer.behaves = lambda receiver, request: 0 if request is None else LOST
        await put(each.outbox, command(Request.AUTH))
        await each.settle()
        each.dialer.behaves = None
        assert each.passwords.candidates() == (OLD,)
        assert await each.outcomes() == ["unreachable"]
        assert not isinstance(each.dialer.sent[-1].request, NewAuthResponse)

    on_bench(tmp_path, body)


def test_a_node_that_may_not_send_sends_nothing(tmp_path: Path) -> None:
    """Another node may own the transmitter by now. What waits goes out once the permit is back."""

    async def body(each: Bench) -> None:
        permitted = [False]
        each.line.network.permit = lambda: permitted[0]
        await put(each.outbox, command())
        assert await each.settle(60) == []
        assert each.dialer.connects == []
        permitted[0] = True
        assert await each.settle(1) == ["BA"]
        assert await each.outcomes() == ["accepted"]

    on_bench(tmp_path, body)


def test_in_a_cluster_a_result_is_stored_before_the_next_alarm_is_sent(tmp_path: Path) -> None:
    """The next owner sends again what has no result: one alarm of each transmitter at most."""

    async def body(each: Bench) -> None:
        each.line.network.stored_first = True
        complete, may_store = each.outbox.complete, asyncio.Event()

        async def slowly(queued: Queued, result: Result) -> None:
            await may_store.wait()
            await complete(queued, result)

        each.outbox.complete = slowly  # type: ignore[method-assign]
        for code in ("BA", "FA", "PA"):
            await put(each.outbox, command(code=code))
        await each.settle(30)
        assert each.sent == ["BA"]
        may_store.set()
        assert await each.settle(1) == ["FA", "PA"]

    on_bench(tmp_path, body)


def test_a_node_that_may_not_send_ends_without_the_answer(tmp_path: Path) -> None:
    """It could not store it."""

    async def body(each: Bench) -> None:
        each.dialer.answer_s = 30
        await put(each.outbox, command())
        await each.settle(0.5)
        assert each.sent == ["BA"]
        each.line.network.permit = lambda: False
        began = asyncio.get_running_loop().time()
        await each.stop()
        assert asyncio.get_running_loop().time() - began < 1

    on_bench(tmp_path, body)


def test_a_permit_that_ends_while_it_connects_stops_the_document(tmp_path: Path) -> None:
    async def body(each: Bench) -> None:
        denied: list[bool] = []

        def permit() -> bool:
            if each.dialer.connects and not denied:
                denied.append(True)
                return False
            return True

        each.line.network.permit = permit
        await put(each.outbox, command())
        assert await each.settle(0.5) == []
        assert await each.settle(30) == ["BA"], "the next round sends it"

    on_bench(tmp_path, body)
