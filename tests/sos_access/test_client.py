"""Attempt rounds over two receivers, each on a real socket with the faults that receivers have."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from bridge.common.errors import ConfigError, FieldError
from bridge.common.models import Alarm, Secret
from bridge.sos_access.client import AsyncSOSAccessClient, Exchange
from bridge.sos_access.messages import AlarmResponse, NewAuthResponse, PingResponse
from bridge.sos_access.simulator.receiver import Accounts, Fault, Receiver
from bridge.sos_access.status import (
    Failover,
    MalformedMessage,
    NotAuthorized,
    PingTooOften,
    ReceiversUnavailable,
    Rejected,
    ServiceUnavailable,
    SOSAccessError,
    Status,
    Unauthorized,
)

PASSWORD = "hxp4x9nnwxjatv8"
DEAD = ("127.0.0.1", 1)  # a port that nobody listens on
Step = Callable[[AsyncSOSAccessClient, Receiver, Receiver], Awaitable[None]]


@asynccontextmanager
async def line() -> AsyncIterator[tuple[AsyncSOSAccessClient, Receiver, Receiver]]:
    """Yield a client, its primary and its secondary receiver."""
    accounts = Accounts({"1234567": PASSWORD})
    async with (
        Receiver(accounts, ping_interval_min=0) as primary,
        Receiver(accounts, ping_interval_min=0) as secondary,
    ):
        yield client_of(primary.address, secondary.address), primary, secondary


def client_of(
    primary: tuple[str, int],
    secondary: tuple[str, int] | None = None,
    kind: type[AsyncSOSAccessClient] = AsyncSOSAccessClient,
) -> AsyncSOSAccessClient:
    return kind(
        "1234567",
        "SV300",
        PASSWORD,
        "42",
        primary,
        secondary,
        secondary is None,
        connect_timeout=2,
        response_timeout=0.5,
    )


def run(step: Step) -> None:
    async def main() -> None:
        async with line() as (client, primary, secondary):
            await step(client, primary, secondary)

    asyncio.run(main())


def test_an_alarm_arrives_with_all_its_fields() -> None:
    async def step(client: AsyncSOSAccessClient, primary: Receiver, secondary: Receiver) -> None:
        response = await client.send_alarm(
            "BA",
            datetime(2002, 5, 28, 11, 35, 20, 22000),  # noqa: DTZ001 - local time
            "my_first_alarm",
            "12345",
            "1",
            "my_section",
            "1",
            "my_detector",
            {"key": "test"},
            {"lat": 59.3293, "lon": 18.0686},
        )
        assert response == AlarmResponse(0, "OK", response.arrival_time, "my_first_alarm")
        assert response.arrival_time is not None
        [arrival] = primary.arrivals
        alarm = client.alarm_request(
            Alarm(
                "BA",
                "2002-05-28 11:35:20.022",
                "my_first_alarm",
                "12345",
                "1",
                "my_section",
                "1",
                "my_detector",
                "key: test",
                "N591976E0180412",
            ),
            "AL",
        )
        assert (arrival.request, arrival.kind, arrival.status) == (alarm, "alarm", 0)
        assert secondary.arrivals == []

    run(step)


def test_restore_ping_and_new_password() -> None:
    async def step(client: AsyncSOSAccessClient, primary: Receiver, secondary: Receiver) -> None:
        assert (await client.restore_alarm("BA")).accepted
        assert (await client.ping("p")).reference == "p"
        response = await client.request_new_auth("")
        assert response.new_authentication is not None
        client.authentication = response.new_authentication
        assert (await client.ping()).accepted
        assert [arrival.kind for arrival in primary.arrivals] == ["restore", "ping", "auth", "ping"]

    run(step)


@pytest.mark.parametrize("status", [5, 98, 99, 42])
def test_codes_that_fail_over(status: int) -> None:
    async def step(client: AsyncSOSAccessClient, primary: Receiver, secondary: Receiver) -> None:
        primary.faults.add(Fault(status=status))
        exchange = await client.exchange(client.ping_request())
        assert (exchange.receiver, exchange.attempts) == ("secondary", 2)
        assert len(primary.arrivals) == len(secondary.arrivals) == 1

    run(step)


@pytest.mark.parametrize(
    "fault",
    [Fault(drop=True), Fault(lose=True), Fault(garbage="random"), Fault(garbage="truncated"), Fault(delay=5)],
    ids=str,
)
def test_faults_of_the_line_that_fail_over(fault: Fault) -> None:
    async def step(client: AsyncSOSAccessClient, primary: Receiver, secondary: Receiver) -> None:
        primary.faults.add(fault)
        exchange = await client.exchange(client.ping_request())
        assert (exchange.receiver, exchange.attempts) == ("secondary", 2)

    run(step)


def test_a_primary_that_refuses_connections_is_failed_over() -> None:
    async def step(client: AsyncSOSAccessClient, primary: Receiver, secondary: Receiver) -> None:
        await primary.stop()
        assert (await client.exchange(client.ping_request())).receiver == "secondary"

    run(step)


def test_an_answer_in_segments_is_one_answer() -> None:
    async def step(client: AsyncSOSAccessClient, primary: Receiver, secondary: Receiver) -> None:
        primary.faults.add(Fault(segment=0))
        assert (await client.exchange(client.ping_request())).attempts == 1

    run(step)


@pytest.mark.parametrize("status", [1, 2, 3, 4, 6, 7, 9, 100, 101])
def test_codes_that_no_other_receiver_can_help(status: int) -> None:
    async def step(client: AsyncSOSAccessClient, primary: Receiver, secondary: Receiver) -> None:
        primary.faults.add(Fault(drop=True), 1)
        secondary.faults.add(Fault(status=status))
        with pytest.raises(SOSAccessError) as caught:
            await client.send_alarm("BA", reference="r")
        error = caught.value
        assert isinstance(error, Unauthorized if status in {4, 6} else Rejected)
        assert (error.status, error.receiver, error.attempts) == (status, "secondary", 2)
        assert error.info == Status(status).info
        assert error.arrival_time is not None
        assert len(primary.arrivals) == len(secondary.arrivals) == 1

    run(step)


def test_a_lost_answer_makes_the_same_alarm_arrive_twice_which_is_delivered() -> None:
    async def step(client: AsyncSOSAccessClient, primary: Receiver, secondary: Receiver) -> None:
        primary.faults.add(Fault(lose=True))
        response = await client.send_alarm("BA")
        assert response.duplicate
        assert not response.accepted
        assert [arrival.status for arrival in primary.arrivals + secondary.arrivals] == [0, 10]

    run(step)


@pytest.mark.parametrize(("retries", "first", "second"), [(1, 1, 1), (3, 3, 3), (4, 4, 4)])
def test_a_round_alternates_so_often_on_each(retries: int, first: int, second: int) -> None:
    class Patient(AsyncSOSAccessClient):
        MAX_RETRY = retries

    async def main() -> None:
        async with line() as (_, primary, secondary):
            client = client_of(primary.address, secondary.address, Patient)
            primary.faults.add(Fault(status=5))
            secondary.faults.add(Fault(drop=True))
            with pytest.raises(ReceiversUnavailable) as caught:
                await client.ping()
        assert (len(primary.arrivals), len(secondary.arrivals)) == (first, second)
        assert [receiver for receiver, _ in caught.value.failures] == ["primary", "secondary"] * retries
        assert [error.attempts for _, error in caught.value.failures] == list(range(1, 2 * retries + 1))
        assert caught.value.answered
        assert caught.value.status == 5

    asyncio.run(main())


def test_with_one_receiver_all_attempts_are_its() -> None:
    async def main() -> None:
        async with line() as (_, primary, _secondary):
            primary.faults.add(Fault(status=5), 2)
            exchange = await client_of(primary.address).exchange(client_of(primary.address).ping_request())
            assert (exchange.receiver, exchange.attempts) == ("primary", 3)
        with pytest.raises(ReceiversUnavailable) as caught:
            await client_of(DEAD).ping()
        assert len(caught.value.failures) == 3
        assert not caught.value.answered
        assert "connection refused by 127.0.0.1:1" in str(caught.value)

    asyncio.run(main())


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[str, int]]:
    """Yield the address of a peer that answers anything with `answer`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()


@pytest.mark.parametrize(
    "answer",
    [
        b"<pingresponse><status>0</status></pingresponse>",
        b"<alarmresponse><status>0</status></alarmresponse>",
        b"<requestnewauthenticationresponse><status>0</status></requestnewauthenticationresponse>",
        NewAuthResponse(0, "", "8usedlb54a234md").to_xml().replace(b"8used", b"short"[:2]),
        NewAuthResponse(0, "", "8usedlb54a234md").to_xml().replace(b"status>", b"state>"),
    ],
)
def test_nonsense_for_a_new_password_is_failed_over(answer: bytes) -> None:
    async def main() -> None:
        async with line() as (_, primary, _secondary), answering(answer) as odd:
            client = client_of(odd, primary.address)
            exchange = await client.exchange(client.new_auth_request())
            assert (exchange.receiver, exchange.attempts) == ("secondary", 2)
            with pytest.raises(MalformedMessage, match=rf"malformed response from 127.0.0.1:{odd[1]}") as caught:
                await client.transmit(b"<x/>", NewAuthResponse)
            assert isinstance(caught.value, Failover)

    asyncio.run(main())


def test_transmit_is_one_exchange_with_one_receiver() -> None:
    async def step(client: AsyncSOSAccessClient, primary: Receiver, secondary: Receiver) -> None:
        data = client.ping_request("å").to_xml()
        assert (await client.transmit(data, PingResponse)).accepted
        assert (await client.transmit(data.decode("iso-8859-1"), PingResponse, secondary=True)).reference == "å"
        secondary.faults.add(Fault(status=5))
        assert (await client.transmit(data, PingResponse, secondary=True)).status == 5
        assert (len(primary.arrivals), len(secondary.arrivals)) == (1, 2)

    run(step)


def test_there_is_no_secondary_to_transmit_to() -> None:
    with pytest.raises(ConfigError, match="secondary"):
        asyncio.run(client_of(DEAD).transmit(b"", PingResponse, secondary=True))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"secondary_receiver_address": None}, "use_single_receiver"),
        ({"transmitter_code": "1" * 16}, "transmitter_code"),
        ({"transmitter_type": "SV"}, "transmitter_type"),
        ({"authentication": "a secret"}, "authentication: has 8 characters"),
        ({"receiver_id": ""}, "receiver"),
        ({"receiver_address": ("receiver.example", 0)}, "port 0 of receiver.example:0 is out of range"),
        ({"secondary_receiver_address": ("::1", 65536)}, "port 65536 of .* is out of range"),
        ({"use_tls": True, "tls_verify": "maybe"}, "tls_verify"),
    ],
)
def test_what_can_never_work_is_refused_at_once(wrong: dict[str, object], said: str) -> None:
    parameters: dict[str, object] = {
        "transmitter_code": "1",
        "transmitter_type": "SV300",
        "authentication": PASSWORD,
        "receiver_id": "42",
        "receiver_address": DEAD,
        "secondary_receiver_address": DEAD,
    }
    with pytest.raises(ConfigError, match=said) as caught:
        AsyncSOSAccessClient(**(parameters | wrong))  # type: ignore[arg-type]
    assert "a secret" not in str(caught.value)


def test_a_bad_field_is_refused_before_anything_is_sent() -> None:
    async def step(client: AsyncSOSAccessClient, primary: Receiver, secondary: Receiver) -> None:
        with pytest.raises(FieldError, match="section"):
            await client.send_alarm("BA", section="too long")
        with pytest.raises(FieldError, match="reference"):
            await client.ping("€")
        assert primary.arrivals == secondary.arrivals == []

    run(step)


def test_a_wrong_password_an_unknown_transmitter_and_heartbeats_refused() -> None:
    async def step(client: AsyncSOSAccessClient, primary: Receiver, secondary: Receiver) -> None:
        primary.rules.ping_interval_min = 3600
        await client.ping()
        with pytest.raises(PingTooOften):
            await client.ping()
        primary.rules.heartbeats = False
        with pytest.raises(ServiceUnavailable, match="SERVICE_UNAVAIVABLE"):
            await client.ping()
        client.authentication = Secret("another-passwor")
        with pytest.raises(NotAuthorized, match="answered 4 NOT_AUTHORIZED"):
            await client.ping()
        client.authentication = Secret(PASSWORD)
        client.transmitter_code = "unknown"
        with pytest.raises(NotAuthorized):
            await client.ping()

    run(step)


def test_the_clocks_are_compared_at_the_middle_of_the_exchange() -> None:
    sent = datetime(2024, 5, 5, 10, tzinfo=UTC)
    arrival = (sent + timedelta(seconds=8)).astimezone().replace(tzinfo=None)
    exchange = Exchange(PingResponse(0, "", arrival), "primary", 1, sent, sent + timedelta(seconds=4, microseconds=400))
    assert exchange.clock_offset_s == 6.0
    assert Exchange(PingResponse(0), "primary", 1, sent, sent).clock_offset_s is None


def test_a_receiver_whose_clock_is_wrong() -> None:
    def ahead() -> datetime:
        return datetime.now().astimezone() + timedelta(hours=1)

    async def main() -> float | None:
        async with Receiver(Accounts(accept_unknown=True), now=ahead) as receiver:
            client = client_of(receiver.address)
            return (await client.exchange(client.ping_request())).clock_offset_s

    assert asyncio.run(main()) == pytest.approx(3600, abs=5)


def test_no_password_in_logs_reprs_and_errors(caplog: pytest.LogCaptureFixture) -> None:
    async def step(client: AsyncSOSAccessClient, primary: Receiver, secondary: Receiver) -> None:
        primary.faults.add(Fault(garbage="truncated"), 1)
        secondary.faults.add(Fault(status=4), 1)
        with pytest.raises(Unauthorized) as caught:
            await client.send_alarm("BA")
        response = await client.request_new_auth()
        assert response.new_authentication is not None
        shown = caplog.text + repr(client) + repr(caught.value) + repr(primary.arrivals) + repr(response)
        shown += repr(client.ping_request()) + repr(primary.accounts) + repr(primary.accounts.account("1234567"))
        for password in (PASSWORD, response.new_authentication):
            assert password not in shown
        assert "attempt 2: answered 4 NOT_AUTHORIZED" in caplog.text
        assert "requestnewauthentication to primary 127.0.0.1" in caplog.text

    with caplog.at_level(logging.DEBUG):
        run(step)


def test_cancelling_an_exchange_ends_it() -> None:
    async def step(client: AsyncSOSAccessClient, primary: Receiver, secondary: Receiver) -> None:
        client.response_timeout = 60
        waiting = asyncio.Event()
        take = primary.faults.take
        primary.faults.take = lambda: waiting.set() or take()  # type: ignore[func-returns-value, method-assign]
        primary.faults.add(Fault(delay=60))
        task = asyncio.create_task(client.ping())
        await asyncio.wait_for(waiting.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert secondary.arrivals == []

    run(step)
