"""The simulated receiver: every code it answers, the rule of rotation, its faults, over real sockets."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from bridge.common.errors import BridgeError, FieldError, StoreError
from bridge.common.models import Secret
from bridge.sos_access.client import AsyncSOSAccessClient
from bridge.sos_access.messages import AlarmRequest, AlarmResponse, NewAuthRequest, NewAuthResponse, PingRequest
from bridge.sos_access.simulator.receiver import Accounts, Arrival, Fault, Faults, Receiver
from bridge.sos_access.status import Failover, NotAuthorized, TransportError

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

PASSWORD = "hxp4x9nnwxjatv8"
ALARM = AlarmRequest("BA", "SV300", "1234567", Secret(PASSWORD), "42", "AL")
PING = PingRequest(Secret(PASSWORD), "1234567", "SV300")


@asynccontextmanager
async def receiving(**kwargs: object) -> AsyncIterator[Receiver]:
    async with Receiver(Accounts({"1234567": PASSWORD}), **kwargs) as receiver:  # type: ignore[arg-type]
        yield receiver


async def say(receiver: Receiver, data: bytes, *, end: bool = False) -> bytes:
    """Send `data` in one connection and return all that comes back."""
    reader, writer = await asyncio.open_connection(*receiver.address)
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.transport.abort()


def status_of(answer: bytes) -> int:
    return int(answer.partition(b"<status>")[2].partition(b"<")[0])


def sent(*requests: bytes, end: bool = False, **kwargs: object) -> list[int]:
    """Return the status of each answer."""

    async def main() -> list[int]:
        async with receiving(**kwargs) as receiver:
            return [status_of(await say(receiver, request, end=end)) for request in requests]

    return asyncio.run(main())


XML = ALARM.to_xml()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (XML, 0),
        (b"  " + XML + b"^", 0),
        (XML.replace(b"ISO-8859-1", b"iso-8859-1"), 0),
        (XML.replace(b"<eventcode>", b"<reference></reference><position/><other>1</other><eventcode>"), 0),
        (XML.replace(b"BA", b"BA" + b" " * 100_000), 1),
        (b"<alarmrequest>" + b"x" * 200_000, 1),
        (b"hello", 2),
        (XML.replace(b"</eventcode>", b"</wrong>"), 2),
        (XML.replace(b"alarmrequest", b"otherrequest"), 2),
        (XML.replace(b"<alarm", b'<!DOCTYPE a [<!ENTITY b "c">]><alarm'), 2),
        (XML.replace(b"BA", b"B" * 26), 3),
        (XML.replace(b"BA", b"B\x01"), 2),
        (XML.replace(b"BA", b"B\x81"), 3),
        (XML.replace(b">AL<", b">XX<"), 3),
        (XML.replace(b"<eventcode>", b"<section>123456</section><eventcode>"), 3),
        (XML.replace(b"<eventcode>", b"<transmittertime>2002-05-28 11:35:20</transmittertime><eventcode>"), 3),
        (XML.replace(b"<eventcode>", b"<position><pos>here</pos></position><eventcode>"), 3),
        (XML.replace(PASSWORD.encode(), b"another-passwor"), 4),
        (XML.replace(b"1234567", b"7654321"), 4),
        (XML.replace(b"<eventcode>BA</eventcode>", b""), 7),
        (XML.replace(b"BA", b""), 7),
        (XML.replace(b"<receiver>42</receiver>", b""), 7),
        (XML.partition(b"\n")[2], 100),
        (XML.replace(b"ISO-8859-1", b"UTF-8"), 100),
    ],
)
def test_each_alarm_gets_its_code(data: bytes, status: int) -> None:
    assert sent(data) == [status]


def test_an_unfinished_request_is_judged_when_the_transmitter_stops() -> None:
    assert sent(XML[:-3], end=True) == [2]


def test_the_answer_is_of_the_kind_that_was_asked_for() -> None:
    async def main() -> None:
        async with receiving() as receiver:
            reference = replace(PING, reference="r").to_xml()
            assert b"<pingresponse><reference>r</reference><status>0</status><info>OK</info><arrivaltime>" in (
                await say(receiver, reference)
            )
            refused = NewAuthRequest(Secret("another-passwor"), "1234567", "SV300", "n").to_xml()
            response = NewAuthResponse.from_xml(await say(receiver, refused))
            assert (response.status, response.reference, response.new_authentication) == (4, "n", None)
            broken = await say(receiver, b"<requestnewauthentication><", end=True)
            assert b"<requestnewauthenticationresponse><status>2</status><info>INVALID_XML</info>" in broken

    asyncio.run(main())


def test_the_same_alarm_again_is_a_duplicate_until_the_window_has_passed() -> None:
    clock = [datetime(2024, 5, 5).astimezone()]

    async def main() -> list[int]:
        async with receiving(now=lambda: clock[0]) as receiver:
            other = replace(ALARM, reference="2").to_xml()
            statuses = [status_of(await say(receiver, data)) for data in (XML, XML, other)]
            clock[0] += timedelta(hours=2)
            return [*statuses, status_of(await say(receiver, XML))]

    assert asyncio.run(main()) == [0, 10, 0, 0]


def test_two_receivers_of_one_operator_share_what_they_know() -> None:
    async def main() -> None:
        accounts = Accounts({"1234567": PASSWORD})
        async with Receiver(accounts) as primary, Receiver(accounts) as secondary:
            assert status_of(await say(primary, XML)) == 0
            assert status_of(await say(secondary, XML)) == 10

    asyncio.run(main())


def test_heartbeats_too_often_and_not_enabled() -> None:
    ping = PING.to_xml()
    assert sent(ping, ping, ping_interval_min=3600) == [0, 101]
    assert sent(ping, ping, ping_interval_min=0) == [0, 0]
    assert sent(ping, XML, heartbeats=False) == [9, 0]


def test_rotation_as_the_seed_has_it() -> None:
    async def main() -> None:
        async with receiving(ping_interval_min=0) as receiver:
            client = AsyncSOSAccessClient(
                "1234567", "SV300", PASSWORD, "42", receiver.address, use_single_receiver=True
            )
            first = (await client.request_new_auth()).new_authentication
            await client.ping()  # the old one is still valid
            second = (await client.request_new_auth()).new_authentication
            assert first is not None
            assert second is not None
            assert len({PASSWORD, first, second}) == 3
            client.authentication = first  # replaced before it was used
            with pytest.raises(NotAuthorized):
                await client.ping()
            client.authentication = second
            await client.ping()
            client.authentication = Secret(PASSWORD)  # over since the new one was used
            with pytest.raises(NotAuthorized):
                await client.ping()

    asyncio.run(main())


def test_a_rotation_whose_answer_is_lost_leaves_the_old_password() -> None:
    async def main() -> None:
        async with receiving() as receiver:
            client = AsyncSOSAccessClient(
                "1234567", "SV300", PASSWORD, "42", receiver.address, use_single_receiver=True
            )
            receiver.faults.add(Fault(lose=True), 1)
            exchange = await client.exchange(client.new_auth_request())
            assert exchange.attempts == 2
            account = receiver.accounts.account("1234567")
            assert account is not None
            assert account.pending == Secret(exchange.response.new_authentication or "")

    asyncio.run(main())


def test_types_and_unknown_transmitters() -> None:
    known = Accounts({("1", "SV300"): PASSWORD})
    assert known.authorize("1", "SV300", Secret(PASSWORD))
    assert not known.authorize("1", "SV301", Secret(PASSWORD))
    assert not known.authorize("2", "SV300", Secret(PASSWORD))
    taking = Accounts(accept_unknown=True)
    assert taking.authorize("2", "SV300", Secret(PASSWORD))
    assert not taking.authorize("2", "SV300", Secret("another-passwor"))
    assert taking.account("3") is None


@pytest.mark.parametrize("wrong", [{"1" * 16: PASSWORD}, {"1": "short"}, {"": PASSWORD}])
def test_accounts_that_cannot_be(wrong: dict[str | tuple[str, str], str | Secret]) -> None:
    with pytest.raises(FieldError) as caught:
        Accounts(wrong)
    assert "short" not in str(caught.value)


def test_accounts_outlive_the_receiver_in_a_file_that_others_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    first = Accounts(accept_unknown=True, path=path)
    first.authorize("1", "SV300", Secret(PASSWORD))
    new = first.rotate("1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
    second = Accounts({"1": "first-password1"}, path=path)  # the file has what happened since
    assert second.authorize("1", "SV300", Secret(PASSWORD))
    assert second.authorize("1", "SV300", new)
    third = Accounts(path=path)
    assert not third.authorize("1", "SV300", Secret(PASSWORD))
    assert third.authorize("1", "SV300", new)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"1": {}}', '{"1": 5}', '{"1": {"current": "c", "pending": null, "type": null}}']
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(content)
    with pytest.raises(StoreError, match="is not an account file of the simulated receiver"):
        Accounts(path=path)
    assert path.read_text() == content


def test_a_state_that_cannot_be_kept_is_answered_98(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    async def main() -> int:
        async with Receiver(Accounts({"1234567": PASSWORD}, path=folder / "state.json")) as receiver:
            folder.rmdir()
            request = NewAuthRequest(Secret(PASSWORD), "1234567", "SV300")
            return status_of(await say(receiver, request.to_xml()))

    assert asyncio.run(main()) == 98


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        Accounts(path=tmp_path)


def test_faults_queue_up() -> None:
    faults = Faults()
    one, two = Fault(status=5), Fault(drop=True)
    faults.add(one, 2)
    faults.add(two)
    faults.add(one, 0)
    assert [faults.take() for _ in range(5)] == [one, one, two, two, two]
    faults.clear()
    assert faults.take() == Fault()


def test_faults_happen_together_and_are_noted() -> None:
    async def main() -> None:
        async with receiving() as receiver:
            receiver.faults.add(Fault(status=5, segment=0, delay=0.01), 1)
            receiver.faults.add(Fault(drop=True), 1)
            receiver.faults.add(Fault(lose=True), 1)
            receiver.faults.add(Fault(garbage="truncated"), 1)
            receiver.faults.add(Fault(garbage="random"), 1)
            answers = [await say(receiver, XML) for _ in range(6)]
            assert AlarmResponse.from_xml(answers[0]).info == "NOT_TREATED_NOT_DISTRIBUTED"
            assert answers[1:3] == [b"", b""]
            for garbage in answers[3:5]:
                with pytest.raises(Failover):
                    AlarmResponse.from_xml(garbage)
            noted = [(arrival.status, arrival.answered) for arrival in receiver.arrivals]
            # Neither the answer 5 nor the dropped one counts as received, the lost one does.
            assert noted == [(5, True), (None, False), (0, False), (10, False), (10, False), (10, True)]

    asyncio.run(main())


def test_a_status_without_treatment_leaves_rotation_alone() -> None:
    async def main() -> None:
        async with receiving() as receiver:
            receiver.faults.add(Fault(status=0), 1)
            request = NewAuthRequest(Secret(PASSWORD), "1234567", "SV300")
            assert status_of(await say(receiver, request.to_xml())) == 99  # 0 would need a new password
            account = receiver.accounts.account("1234567")
            assert account is not None
            assert account.pending is None
            receiver.faults.add(Fault(status=42), 1)
            assert b"<status>42</status><info>UNKNOWN</info>" in await say(receiver, XML)

    asyncio.run(main())


def test_arrivals_are_waited_for_and_told() -> None:
    told: list[Arrival] = []

    async def main() -> None:
        async with receiving(on_arrival=told.append) as receiver:
            waiting = asyncio.create_task(receiver.wait_for(2))
            fitting = asyncio.create_task(receiver.wait_for(lambda arrival: arrival.kind == "ping"))
            await say(receiver, XML)
            await say(receiver, PING.to_xml())
            assert await waiting == told == receiver.arrivals
            assert [arrival.request for arrival in await fitting] == [PING]
            with pytest.raises(TimeoutError):
                await receiver.wait_for(3, timeout=0.01)
        assert [arrival.kind for arrival in told] == ["alarm", "ping"]
        assert PASSWORD.encode() in told[0].raw
        assert PASSWORD not in told[0].masked + repr(told)
        assert "<authentication>***</authentication>" in told[0].masked

    asyncio.run(main())


@pytest.mark.parametrize(
    "odd", [b"<authentication>secret", b"<authentication a='b'><![CDATA[secret]]></authentication>"]
)
def test_even_what_is_no_request_is_masked(odd: bytes) -> None:
    arrival = Arrival(datetime.now().astimezone(), "unknown", None, odd, 2, answered=True, peer="")
    assert "secret" not in arrival.masked


def test_it_stops_and_starts_again_on_its_port() -> None:
    async def main() -> None:
        async with receiving() as receiver:
            await say(receiver, XML)
            address = receiver.address
            idle = await asyncio.open_connection(*address)
            await receiver.stop()
            assert await asyncio.wait_for(idle[0].read(), 10) == b""
            idle[1].close()
            client = AsyncSOSAccessClient("1234567", "SV300", PASSWORD, "42", address, use_single_receiver=True)
            with pytest.raises(TransportError, match="refused"):
                await client.transmit(XML, AlarmResponse)
            await receiver.start()
            assert receiver.address == address
            assert (await client.transmit(XML, AlarmResponse)).duplicate
            await receiver.stop()
            await receiver.stop()

    asyncio.run(main())


def test_a_port_in_use_is_one_line() -> None:
    async def main() -> None:
        async with receiving() as receiver:
            with pytest.raises(BridgeError, match=rf"cannot listen on 127\.0\.0\.1:{receiver.address[1]}: .*in use"):
                async with receiving(port=receiver.address[1]):
                    pass

    asyncio.run(main())


def test_who_does_not_finish_is_left() -> None:
    async def main() -> None:
        async with receiving(idle_timeout=0.05) as receiver:
            assert await say(receiver, b"") == b""
            assert await say(receiver, XML[:-3]) == b""
            assert await say(receiver, b"", end=True) == b""
            assert receiver.arrivals == []

    asyncio.run(main())


def test_too_many_at_once_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with receiving() as receiver:
            monkeypatch.setattr("bridge.sos_access.simulator.receiver._CONNECTIONS", 1)
            idle = await asyncio.open_connection(*receiver.address)
            client = AsyncSOSAccessClient(
                "1234567", "SV300", PASSWORD, "42", receiver.address, use_single_receiver=True
            )
            with pytest.raises(TransportError, match=r"closed|reset"):
                await client.transmit(XML, AlarmResponse)
            idle[1].write(XML)
            assert status_of(await idle[0].read()) == 0
            idle[1].close()

    asyncio.run(main())


def test_over_tls(server_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with receiving(tls=server_tls, host="::1", ping_interval_min=0) as receiver:
            client = AsyncSOSAccessClient(
                "1234567", "SV300", PASSWORD, "42", receiver.address, use_single_receiver=True, use_tls=True,
                tls_verify="none",
            )  # fmt: skip
            assert (await client.send_alarm("BA")).accepted
            receiver.faults.add(Fault(lose=True), 1)
            assert (await client.exchange(client.ping_request())).attempts == 2
            assert receiver.arrivals[0].peer.startswith("[::1]:")

    asyncio.run(main())


def test_the_state_file_is_plain_json(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    Accounts(accept_unknown=True, path=path).authorize("1", "SV300", Secret(PASSWORD))
    assert json.loads(path.read_text()) == {"1": {"current": PASSWORD, "pending": None, "type": "SV300"}}
