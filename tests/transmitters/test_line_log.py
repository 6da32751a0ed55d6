"""What the log says of a transmitter: shape, number and level of its lines, in virtual time."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.line import DEAD, SILENT, Answer, Bench, FakeDialer, on_bench
from support.outbox import command, moment
from support.outbox import put as store

from bridge.common.models import Request
from bridge.sos_access.connection import Connection
from bridge.sos_access.messages import AnyRequest
from bridge.sos_access.peer import Peer, translated
from bridge.sos_access.status import Failure, TransportError
from bridge.transmitters.causes import _WORDS

BOTH = ("primary", "secondary")
TIME = r"\d\d:\d\d:\d\d"
SPAN = r"\d+ \w+(?: \d+ \w+)?"
LEVEL = 180.0
Body = Callable[[Bench], Awaitable[None]]


async def put(each: Bench, code: str = "FA", request: Request = Request.ALARM) -> None:
    found = replace(command(request, code=code), accepted_at=each.wall, moment=moment(each.wall))
    await store(each.outbox, found)


def all_answer(how: Answer) -> Callable[[str, AnyRequest | None], Answer]:
    return lambda _, __: how


def one_answers(receiver: str, how: Answer) -> Callable[[str, AnyRequest | None], Answer]:
    return lambda asked, _: how if asked == receiver else 0


def said(
    caplog: pytest.LogCaptureFixture, path: Path, body: Body, level: float | None = None, **more: object
) -> list[str]:
    """Return the lines from INFO on of a transmitter that `body` uses, without the one that the link is up."""
    caplog.set_level(logging.INFO, "bridge.transmitters")
    on_bench(path, body, level, **{"receivers": BOTH, **more})
    found = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    assert all(line.split(" ")[1] == "home:" for line in found)
    assert len({getattr(record, "transmitter", None) for record in caplog.records}) <= 1
    return [line for line in found if line != "INFO home: the link is up"]


def fits(found: list[str], *patterns: str) -> None:
    assert len(found) == len(patterns), found
    for line, pattern in zip(found, patterns, strict=True):
        assert re.fullmatch(pattern, line), (line, pattern)


def test_two_alarms_and_two_dead_receivers_for_forty_seconds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = all_answer(DEAD)
        await put(each, "FA")
        await each.settle(5)
        await put(each, "BA")
        await each.settle(35)
        each.dialer.behaves = None
        await each.settle(40)

    still_down = "WARNING home: the secondary receiver refuses connections since"
    fits(
        [line for line in said(caplog, tmp_path, body) if not line.startswith(still_down)],
        rf"ERROR home: FA #1 not delivered, both receivers refuse connections since {TIME}, 1 alarm waiting, "
        rf"next try in {SPAN}",
        rf"ERROR home: BA #2 not delivered, both receivers refuse connections since {TIME}, 2 alarms waiting, "
        rf"next try in {SPAN}",
        rf"INFO home: FA #1 accepted by the \w+ receiver after {SPAN}",
        rf"INFO home: BA #2 accepted by the \w+ receiver after {SPAN}",
        rf"INFO home: back, 2 alarms delivered after {SPAN}",
        rf"INFO home: the \w+ receiver answers again after {SPAN}",
    )


def test_it_is_repeated_after_1_5_and_15_minutes_then_each_hour(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = all_answer(SILENT)
        await put(each)
        await each.settle(3500)

    first, *lines = said(caplog, tmp_path, body)
    assert first.startswith("WARNING home: the primary receiver does not answer since"), "the second is asked still"
    assert len(lines) == 4, lines
    for line in lines:
        assert line.startswith("ERROR home: FA #1 not delivered, both receivers do not answer since 12:"), line


def test_an_alarm_behind_another_gets_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = all_answer(4)
        await put(each, "FA")
        await each.settle(2)
        await put(each, "BA")
        await each.settle(35)

    refused = rf"both receivers refuse the transmitter code or password since {TIME}"
    fits(
        said(caplog, tmp_path, body),
        rf"ERROR home: FA #1 not delivered, {refused}, 1 alarm waiting, next try in {SPAN}; ask the operator",
        rf"ERROR home: BA #2 not delivered, {refused}, 2 alarms waiting, next try in {SPAN}; ask the operator",
    )


def test_one_receiver_that_is_dead_is_a_warning_until_it_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = one_answers("secondary", DEAD)
        await each.settle(4000)
        each.dialer.behaves = None
        await each.settle(400)

    lines = said(caplog, tmp_path, body, LEVEL)
    text = rf"WARNING home: the secondary receiver refuses connections since {TIME} \(connection refused by secondary\)"
    assert 3 <= len(lines) <= 6, lines
    assert all(re.fullmatch(text, line) for line in lines[:-1]), lines
    assert re.fullmatch(rf"INFO home: the secondary receiver answers again after {SPAN}", lines[-1])


def test_a_password_that_one_receiver_refuses_is_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = one_answers("primary", 4)
        await put(each)
        await each.settle(30)

    fits(
        said(caplog, tmp_path, body),
        r"INFO home: FA #1 accepted by the secondary receiver",
        rf"ERROR home: the primary receiver refuses the transmitter code or password since {TIME}; ask the operator",
    )


def test_a_rejected_alarm_is_an_error_and_proves_no_link(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = all_answer(DEAD)
        await put(each)
        await each.settle(20)
        each.dialer.behaves = all_answer(7)
        await each.settle(20)

    lines = said(caplog, tmp_path, body)
    fits(
        lines[1:],
        r"ERROR home: FA #1 rejected: .*primary: answered 7 answer; secondary: answered 7 answer; see sosbridge outbox",
    )
    assert not [line for line in lines if line.startswith("INFO")]


def test_a_ping_that_comes_too_soon_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body(each: Bench) -> None:
        each.answer(101)
        await put(each, request=Request.PING)
        await each.settle(1)

    fits(
        said(caplog, tmp_path, body, receivers=("primary",)),
        r"WARNING home: ping #1 rejected: primary: answered 101 answer",
        rf"WARNING home: pings come too often for a receiver, now at least {SPAN} apart",
    )


def test_heartbeats_that_are_not_enabled_are_one_error_a_day(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = all_answer(9)
        await each.settle(80_000)

    fits(
        said(caplog, tmp_path, body, LEVEL),
        r"ERROR home: heartbeats are not enabled at the operator; the next one is tried a day later",
    )


def test_a_dead_line_without_alarms_says_that_none_could_be_delivered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(each: Bench) -> None:
        await each.settle(60)
        each.dialer.behaves = all_answer(DEAD)
        await each.settle(110)
        each.dialer.behaves = None
        await each.settle(300)

    lines = said(caplog, tmp_path, body, LEVEL)
    errors = [line for line in lines if line.startswith("ERROR")]
    assert 1 <= len(errors) <= 2, lines
    assert re.fullmatch(
        rf"ERROR home: no alarm can be delivered, both receivers refuse connections since {TIME}", errors[0]
    )
    assert [line for line in lines if re.fullmatch(rf"INFO home: back after {SPAN}", line)], lines


def test_what_waits_at_a_start_is_said_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(each: Bench) -> None:
        each.dialer.behaves = all_answer(DEAD)
        await put(each)
        await each.settle(20)

    async def deliver(each: Bench) -> None:
        each.dialer.behaves = None
        await each.settle(60)

    on_bench(tmp_path, fail, receivers=BOTH)
    caplog.clear()
    lines = said(caplog, tmp_path, deliver)
    assert lines[0].startswith("ERROR home: FA #1 not delivered, both receivers refuse connections since"), lines
    assert re.fullmatch(rf"INFO home: back, 1 alarm delivered after {SPAN}", lines[2]), lines


def test_an_attempt_is_a_debug_line_with_fields(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def body(each: Bench) -> None:
        each.dialer.behaves = one_answers("primary", DEAD)
        await put(each)
        await each.settle(1)

    caplog.set_level(logging.DEBUG, "bridge.transmitters.line_log")
    on_bench(tmp_path, body, receivers=BOTH)
    found = [record.__dict__ for record in caplog.records if record.levelname == "DEBUG"]
    names = ("transmitter", "number", "event_code", "receiver", "attempt")
    assert [tuple(each.get(name) for name in names) for each in found] == [
        ("home", 1, "FA", "primary", 1),
        ("home", 1, "FA", "secondary", 2),
    ]
    [accepted] = [record.__dict__ for record in caplog.records if "accepted" in record.getMessage()]
    assert [accepted[name] for name in (*names, "outcome")] == ["home", 1, "FA", "secondary", 2, "accepted"]


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError(), ConnectionResetError(), OSError(113, "No route to host"), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
def test_the_words_of_the_log_know_the_errors_of_connections(error: OSError) -> None:
    """A failure of a connection is described in the words of its kind."""
    with pytest.raises(TransportError) as caught, translated(Peer(("host", 1)), "too late", Failure.NO_CONNECTION):
        raise error
    assert caught.value.failure in _WORDS


def test_a_certificate_that_is_not_trusted_is_an_error_with_the_line_that_pins_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    untrusted = 'certificate of alarm:1 not trusted: self-signed; if it is your operator\'s: tls_verify = "sha256:ab"'

    class Distrusting(FakeDialer):
        async def connect(self, peer: Peer) -> Connection:
            if peer.address[0] == "secondary":
                raise TransportError(untrusted, Failure.CERTIFICATE)
            return await super().connect(peer)

    async def body(each: Bench) -> None:
        await each.settle(60)

    lines = said(caplog, tmp_path, body, dialer=Distrusting())
    what = rf"ERROR home: the secondary receiver has a certificate that is not trusted since {TIME}; {untrusted}"
    assert lines
    assert all(re.fullmatch(what, line) for line in lines), lines
