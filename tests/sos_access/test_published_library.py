"""Against the published `sos-access` library: its client to our receiver, our client to one made of its schemas.

Where the library cannot do what the protocol asks, the test says how it fails: a change there shows.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from inspect import signature
from types import ModuleType
from typing import Any

import pytest

import bridge.sos_access as ours
from bridge.common.models import Secret
from bridge.sos_access.client import AsyncSOSAccessClient
from bridge.sos_access.messages import AlarmRequest, AlarmResponse, PingResponse
from bridge.sos_access.simulator.receiver import Accounts, Fault, Receiver
from bridge.sos_access.status import Status


def distutils_version() -> ModuleType:
    """The one class that the library's marshmallow wants of distutils, which Python has no more from 3.12 on."""

    class LooseVersion:
        def __init__(self, text: str) -> None:
            self.version = [int(part) for part in text.split(".")]

    module = ModuleType("distutils.version")
    vars(module)["LooseVersion"] = LooseVersion
    return module


with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
    warnings.simplefilter("ignore", DeprecationWarning)
    patch.setitem(sys.modules, "distutils", ModuleType("distutils"))
    patch.setitem(sys.modules, "distutils.version", distutils_version())
    import sos_access.client as peer
    import sos_access.exceptions as peer_exceptions
    import sos_access.schemas as peer_schemas

PASSWORD = "hxp4x9nnwxjatv8"
PeerClient = Any
"""The library has no types."""


def peer_sends(
    work: Callable[[PeerClient], object], *, fault: Fault | None = None, tls: ssl.SSLContext | None = None
) -> tuple[object, Receiver]:
    """Run `work` with the library's client, in a thread, against our receiver; return its result and the receiver."""

    async def main() -> tuple[object, Receiver]:
        async with Receiver(Accounts({"1234567": PASSWORD}), tls=tls, ping_interval_min=0) as receiver:
            if fault is not None:
                receiver.faults.add(fault, 1)
            client = peer.SOSAccessClient(
                "1234567", "SV300", PASSWORD, "42", receiver.address, use_single_receiver=True, use_tls=tls is not None
            )
            return await asyncio.to_thread(work, client), receiver

    return asyncio.run(main())


@pytest.mark.parametrize(
    "method", ["__init__", "send_alarm", "restore_alarm", "ping", "request_new_auth", "transmit", "MAX_RETRY"]
)
def test_our_client_has_its_parameters_in_its_order(method: str) -> None:
    theirs, mine = getattr(peer.SOSAccessClient, method), getattr(ours.SOSAccessClient, method)
    if callable(theirs):
        theirs, mine = list(signature(theirs).parameters), list(signature(mine).parameters)
        mine = mine[: len(theirs)]
    assert mine == theirs


@pytest.mark.parametrize(
    "name", ["AlarmRequest", "AlarmResponse", "PingRequest", "PingResponse", "NewAuthRequest", "NewAuthResponse"]
)
def test_our_messages_have_its_parameters_in_its_order(name: str) -> None:
    theirs, mine = (list(signature(getattr(module, name)).parameters) for module in (peer_schemas, ours))
    assert mine[: len(theirs)] == theirs
    assert issubclass(getattr(ours, name), ours.SOSAccessRequest) is name.endswith("Request")


def test_our_transport_has_its_parameters_in_its_order() -> None:
    theirs, mine = (list(signature(each.TCPTransport).parameters) for each in (peer, ours))
    assert mine[: len(theirs)] == theirs


def test_one_program_with_its_client_and_with_ours() -> None:
    """What arrives and what is returned is the same; only passwords and times differ."""

    class Recording:
        """Mixed into a client, records what goes through `transmit`."""

        def transmit(self, data: str, response_schema: Any, secondary: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002
            sent.append(data[:5])
            return super().transmit(data, response_schema, secondary=secondary)  # type: ignore[misc]

    sent: list[str] = []
    found: list[Any] = []
    for library in (peer, ours):
        kind = type("Client", (Recording, library.SOSAccessClient), {"MAX_RETRY": 2})

        def work(given: PeerClient, kind: Any = kind) -> None:  # noqa: ANN401
            client = kind("1234567", "SV300", PASSWORD, "42", given.receiver_address, use_single_receiver=True)
            details = {"section": "1", "additional_info": {"key": "test"}}
            responses = [client.send_alarm("AL", None, "r", "12345", **details), client.restore_alarm("AL", **details)]
            responses += [client.ping(reference="p"), client.request_new_auth()]
            client.authentication = responses[-1].new_authentication
            assert client.authentication == responses[-1].new_authentication
            responses.append(client.ping())
            assert isinstance(client.authentication, str)
            found.append([(each.status, each.info, each.reference or None) for each in responses])

        _, receiver = peer_sends(work, fault=Fault(status=5))
        requests = [arrival.request for arrival in receiver.arrivals]
        found.append([replace(each, authentication=Secret(PASSWORD)) for each in requests if each])
    assert found[:2] == found[2:]
    assert len(sent) == 2 * 6  # the first alarm again after the 5
    assert set(sent) == {"<?xml"}


def test_its_alarm_with_all_options_but_the_time() -> None:
    result, receiver = peer_sends(
        lambda client: client.send_alarm(
            event_code="AL",
            reference="my_first_alarm",
            transmitter_area="12345",
            section="1",
            section_text="my_section å",
            detector="1",
            detector_text="my_detector",
            additional_info={"key": "test"},
            position={"pos": "N597295E0176288"},
        )
    )
    assert result.status == 0  # type: ignore[attr-defined]
    assert result.reference == "my_first_alarm"  # type: ignore[attr-defined]
    assert result.arrival_time is not None  # type: ignore[attr-defined]
    assert receiver.arrivals[0].request == AlarmRequest(
        "AL",
        "SV300",
        "1234567",
        Secret(PASSWORD),
        "42",
        "AL",
        None,
        "my_first_alarm",
        "12345",
        "1",
        "my_section å",
        "1",
        "my_detector",
        "key: test",
        "N597295E0176288",
    )


def test_its_minimal_alarm_has_empty_elements_and_the_word_none() -> None:
    result, receiver = peer_sends(lambda client: client.send_alarm(event_code="AL"))
    assert result.status == 0  # type: ignore[attr-defined]
    [arrival] = receiver.arrivals
    assert b"<reference></reference>" in arrival.raw
    assert isinstance(arrival.request, AlarmRequest)
    assert arrival.request.reference is None
    assert arrival.request.additional_info == "None"


def test_its_time_has_another_form_and_is_wrong_content() -> None:
    def work(client: PeerClient) -> None:
        with pytest.raises(peer_exceptions.WrongContent):
            client.send_alarm(event_code="AL", transmitter_time=datetime(2024, 5, 5, 10, 0, 0, 123456))  # noqa: DTZ001

    _, receiver = peer_sends(work)
    assert receiver.arrivals[0].status == Status.WRONG_CONTENT
    assert b"<transmittertime>2024-05-05T10:00:00.123456</transmittertime>" in receiver.arrivals[0].raw  # 26 characters


def test_its_restore_ping_and_new_password() -> None:
    def work(client: PeerClient) -> str:
        assert client.restore_alarm(event_code="BA").status == 0
        assert client.ping(reference="p").reference == "p"
        response = client.request_new_auth()
        client.authentication = response.new_authentication
        assert client.ping().status == 0
        return str(response.new_authentication)

    password, receiver = peer_sends(work)
    assert [arrival.kind for arrival in receiver.arrivals] == ["restore", "ping", "auth", "ping"]
    account = receiver.accounts.account("1234567")
    assert account is not None
    assert account.current == Secret(str(password))


def test_it_fails_over_from_5_and_reads_an_answer_in_segments() -> None:
    result, receiver = peer_sends(lambda client: client.ping(), fault=Fault(status=5))
    assert result.status == 0  # type: ignore[attr-defined]
    assert len(receiver.arrivals) == 2
    result, receiver = peer_sends(lambda client: client.ping(), fault=Fault(segment=0.001))
    assert result.status == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (1, "InvalidLength"),
        (2, "InvalidXML"),
        (3, "WrongContent"),
        (4, "NotAuthorized"),
        (7, "MandatoryDataMissing"),
        (9, "ServiceUnavailable"),
        (10, "DuplicateAlarm"),
        (98, "ServerSystemError"),
        (100, "XMLHeaderError"),
        (101, "PingToOften"),
    ],
)
def test_it_knows_our_codes(status: int, kind: str) -> None:
    def work(client: PeerClient) -> None:
        with pytest.raises(getattr(peer_exceptions, kind)):
            client.ping()

    _, receiver = peer_sends(work, fault=Fault(status=status))
    assert len(receiver.arrivals) == 1


def test_its_tls_never_connects(server_tls: ssl.SSLContext) -> None:
    """It makes a server's context and wraps its client socket in it, which Python refuses."""

    def work(client: PeerClient) -> None:
        with pytest.raises(peer_exceptions.AlarmReceiverConnectionError):
            client.ping()
        with pytest.raises(peer_exceptions.TCPTransportError) as caught:
            client.transmit("<pingrequest/>", client.ping_response_schema)
        assert "Cannot create a client socket with a PROTOCOL_TLS_SERVER context" in str(caught.value.__cause__)

    _, receiver = peer_sends(work, tls=server_tls)
    assert receiver.arrivals == []


SCHEMAS = {
    b"<alarmrequest>": (peer_schemas.AlarmRequestSchema, peer_schemas.AlarmResponse, peer_schemas.AlarmResponseSchema),
    b"<pingrequest>": (peer_schemas.PingRequestSchema, peer_schemas.PingResponse, peer_schemas.PingResponseSchema),
    b"<requestnewauthentication>": (
        peer_schemas.NewAuthRequestSchema,
        peer_schemas.NewAuthResponse,
        peer_schemas.NewAuthResponseSchema,
    ),
}
ARRIVAL_TIME = datetime(2024, 5, 5, 10, 0, 0, 123456)  # noqa: DTZ001 - local time


class PeerReceiver:
    """A receiver whose reading and writing is all the library's; it can send part of what the library wrote."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.written = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read(100_000)
        [(reading, response, writing)] = [schemas for root, schemas in SCHEMAS.items() if root in data]
        request = reading().load(data)
        self.requests.append(request)
        more = {"new_authentication": "8usedlb54a234md"} if response is peer_schemas.NewAuthResponse else {}
        answer = response(status=0, info="OK", arrival_time=ARRIVAL_TIME, reference=request.reference, **more)
        self.written = writing().dump(answer).encode("iso-8859-1")
        writer.write(self.written)
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def sending_to_peer() -> AsyncIterator[tuple[AsyncSOSAccessClient, PeerReceiver]]:
    receiver = PeerReceiver()
    async with await asyncio.start_server(receiver.serve, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()
        yield AsyncSOSAccessClient("1234567", "SV300", PASSWORD, "42", address, use_single_receiver=True), receiver


def test_it_reads_our_alarm_and_we_its_answer() -> None:
    async def main() -> None:
        async with sending_to_peer() as (client, receiver):
            response = await client.send_alarm(
                "BA",
                "2002-05-28 11:35:20.022",
                "my_first_alarm",
                "12345",
                "1",
                "my_section å",
                "1",
                "my_detector",
                {"key": "test", "n": 1},
                "N597295E0176288",
            )
            # Its times are ISO 8601 with T and six decimals; ours read that.
            assert b"<arrivaltime>2024-05-05T10:00:00.123456</arrivaltime>" in receiver.written
            assert response == AlarmResponse(0, "OK", ARRIVAL_TIME, "my_first_alarm")
            [request] = receiver.requests
            assert request.transmitter_time == datetime(2002, 5, 28, 11, 35, 20, 22000)  # noqa: DTZ001 - local time
            assert request.additional_info == "key: test\nn: 1"
            assert request.section_text == "my_section å"
            assert request.position == {"pos": "N597295E0176288"}
            assert request.authentication == PASSWORD

    asyncio.run(main())


def test_it_reads_our_restore_ping_and_request_for_a_password() -> None:
    async def main() -> None:
        async with sending_to_peer() as (client, receiver):
            # Without a reference it answers with an empty element.
            assert await client.restore_alarm("BA") == AlarmResponse(0, "OK", ARRIVAL_TIME)
            assert b"<reference></reference>" in receiver.written
            assert await client.ping("p") == PingResponse(0, "OK", ARRIVAL_TIME, "p")
            assert (await client.request_new_auth()).new_authentication == "8usedlb54a234md"
            kinds = [peer_schemas.AlarmRequest, peer_schemas.PingRequest, peer_schemas.NewAuthRequest]
            assert [type(request) for request in receiver.requests] == kinds
            assert receiver.requests[0].alarm_type == "RE"

    asyncio.run(main())


def test_it_refuses_the_answers_that_its_table_lacks_where_we_do_not() -> None:
    for status in (6, 42):
        answer = PingResponse(status, "WHAT").to_xml()
        assert PingResponse.from_xml(answer).status == status
        with pytest.raises(peer_schemas.marshmallow.ValidationError):
            peer_schemas.PingResponseSchema().load(answer)
