"""The face of the library: the calls that the documentation of `sos-access` shows, and the examples of our own."""

from __future__ import annotations

import asyncio
import datetime  # noqa: ICN001 - as the documentation has it
import json
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bridge.sos_access
from bridge.sos_access import (
    AlarmRequest,
    AlarmResponse,
    AsyncSOSAccessClient,
    NewAuthResponse,
    PingResponse,
    ReceiversUnavailable,
    Secret,
    SOSAccessClient,
    TCPTransport,
)
from bridge.sos_access.simulator.receiver import Accounts, Fault, Receiver

PASSWORD = "012345678912345"
PROTOCOL = (Path(__file__).parents[2] / "bridge/sos_access/PROTOCOL.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PROTOCOL, re.DOTALL)
DEAD = ("127.0.0.1", 1)


@pytest.fixture
def host(operator: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address of this process alone, which alarm.example.com has; its certificate is trusted by the system."""
    own = f"127.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250 + 1}.77"
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (own, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setenv("SSL_CERT_FILE", str(operator))
    return own


def serving(work: Callable[[Receiver], Any], host: str, port: int, tls: ssl.SSLContext | None) -> Receiver:
    """Run `work` in a thread, as a program without an event loop would, while a receiver listens."""

    async def main() -> Receiver:
        accounts = Accounts({"IK00001": PASSWORD})
        async with Receiver(accounts, host, port, tls=tls, ping_interval_min=0) as receiver:
            await asyncio.to_thread(work, receiver)
            return receiver

    return asyncio.run(main())


def test_what_the_documentation_of_sos_access_shows(host: str, operator_tls: ssl.SSLContext) -> None:
    saved: list[str] = []
    my_save_pass_func = saved.append

    def work(receiver: Receiver) -> None:
        client = SOSAccessClient(
            transmitter_code="IK00001",
            transmitter_type="SV001",
            authentication="012345678912345",
            receiver_address=("alarm.example.com", 1234),
            receiver_id="ALARM-OPER",
            use_single_receiver=True,
            use_tls=True,
        )
        response = client.send_alarm(event_code="AL")
        assert isinstance(response, AlarmResponse)
        assert response.status == 0
        response = client.send_alarm(
            event_code="AL",
            transmitter_time=datetime.datetime.now(),  # noqa: DTZ005 - as it is shown
            reference="my_first_alarm",
            transmitter_area="12345",
            section="1",
            section_text="my_section",
            detector="1",
            detector_text="my_detector",
            additional_info={"key": "test"},
            position=None,
        )
        assert (response.status, response.reference) == (0, "my_first_alarm")
        assert client.restore_alarm(event_code="AL").status == 0
        assert isinstance(client.ping(reference="my-ping"), PingResponse)

        new_auth_response = client.request_new_auth()
        assert isinstance(new_auth_response, NewAuthResponse)
        assert new_auth_response.new_authentication
        my_save_pass_func(new_auth_response.new_authentication)
        assert saved[0] not in f"{new_auth_response!r} {client!r}"
        client.authentication = json.loads(json.dumps(saved[0]))  # what is stored is the password
        assert client.ping().status == 0

    receiver = serving(work, host, 1234, operator_tls)
    assert [each.kind for each in receiver.arrivals] == ["alarm", "alarm", "restore", "ping", "auth", "ping"]
    alarm = receiver.arrivals[1].request
    assert isinstance(alarm, AlarmRequest)
    assert alarm.additional_info == "key: test"
    account = receiver.accounts.account("IK00001")
    assert account is not None
    assert account.current == Secret(saved[0])


def test_more_retries_by_a_subclass_or_an_instance() -> None:
    class ManyRetryClient(SOSAccessClient):
        MAX_RETRY = 100

    def attempts(client: SOSAccessClient) -> int:
        with pytest.raises(ReceiversUnavailable) as caught:
            client.ping()
        return caught.value.attempts

    client = ManyRetryClient("IK00001", "SV001", PASSWORD, "OPER", DEAD, use_single_receiver=True)
    assert attempts(client) == 100
    client.MAX_RETRY = 2
    assert attempts(client) == 2
    assert attempts(SOSAccessClient("IK00001", "SV001", PASSWORD, "OPER", DEAD, DEAD)) == 6


def test_an_overridden_transmit_makes_each_attempt() -> None:
    seen: list[tuple[str, type, bool]] = []

    class Canned(SOSAccessClient):
        def transmit(self, data: Any, response_schema: Any, secondary: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002
            seen.append((data, response_schema, secondary))
            return response_schema(99 if len(seen) == 1 else 0, "said")

    client = Canned("IK00001", "SV001", PASSWORD, "OPER", DEAD, DEAD)
    assert client.send_alarm("AL") == AlarmResponse(0, "said")
    assert [(kind, secondary) for _, kind, secondary in seen] == [(AlarmResponse, False), (AlarmResponse, True)]
    assert "<eventcode>AL</eventcode>" in seen[0][0]
    assert client.ping() == PingResponse(0, "said")


def test_the_attributes_are_those_that_were_given() -> None:
    given = {
        "transmitter_code": "IK00001",
        "transmitter_type": "SV001",
        "authentication": PASSWORD,
        "receiver_id": "OPER",
        "receiver_address": DEAD,
        "secondary_receiver_address": ("127.0.0.1", 2),
        "use_single_receiver": True,
        "use_tls": True,
    }
    for kind in (SOSAccessClient, AsyncSOSAccessClient):
        client = kind(**given)  # type: ignore[arg-type]
        assert {name: getattr(client, name) for name in given} == given
        assert PASSWORD not in repr(client)


def test_an_attribute_that_is_changed_counts(host: str) -> None:
    def work(receiver: Receiver) -> None:
        client = SOSAccessClient("unknown", "SV001", PASSWORD, "OPER", DEAD, use_single_receiver=True)
        client.receiver_address = receiver.address
        client.transmitter_code = "IK00001"
        assert client.ping().accepted
        client.use_tls = True
        with pytest.raises(ReceiversUnavailable, match="no TLS on that port"):
            client.ping()
        client.use_tls = False
        assert client.ping().accepted

    serving(work, host, 0, None)


def test_an_alarm_made_by_hand() -> None:
    at = datetime.datetime(2002, 5, 28, 11, 35, 20, 22000)  # noqa: DTZ001 - local time
    made = AlarmRequest("AL", "SV001", "IK00001", PASSWORD, "OPER", "AL", at, additional_info={"key": "test", "n": 1})  # type: ignore[arg-type]
    assert (made.transmitter_time, made.additional_info_text) == ("2002-05-28 11:35:20.022", "key: test\r\nn: 1")
    assert AlarmRequest.from_xml(made.to_xml()).transmitter_time == "2002-05-28 11:35:20.022"
    assert PASSWORD not in repr(made)
    response = NewAuthResponse(0, "OK", "8usedlb54a234md", at, "46")
    assert (response.new_authentication, response.arrival_time, response.reference) == ("8usedlb54a234md", at, "46")


@pytest.mark.parametrize("given", [["a", "b"], ("a", "b"), {"b", "a"}])
def test_additional_info_of_lines(given: Any) -> None:  # noqa: ANN401
    made = AlarmRequest("AL", "SV001", "IK00001", Secret(PASSWORD), "OPER", additional_info=given)
    assert made.additional_info_text == "a\r\nb"


def test_a_transport_sends_and_returns_text(host: str) -> None:
    def work(receiver: Receiver) -> None:
        receiver.faults.add(Fault(segment=0.001), 1)
        request = AlarmRequest("AL", "SV001", "IK00001", Secret(PASSWORD), "OPER", section_text="å")
        with TCPTransport(receiver.address, secure=False, timeout=5) as transport:
            transport.send(request.to_xml().decode("iso-8859-1"))
            answer = transport.receive()
        assert AlarmResponse.from_xml(answer.encode("iso-8859-1")).accepted

    [arrival] = serving(work, host, 0, None).arrivals
    assert isinstance(arrival.request, AlarmRequest)
    assert arrival.request.section_text == "å"


def test_a_transport_that_cannot_connect_leaves_nothing_open() -> None:
    transport = TCPTransport(DEAD)
    with pytest.raises(bridge.sos_access.TransportError, match="refused"):
        transport.__enter__()


@pytest.fixture
def namespace(host: str) -> Iterator[dict[str, Any]]:
    """What the examples of PROTOCOL.md share, each after the ones before it."""
    saved: list[str] = []
    yield {"save": saved.append, "saved": saved}
    assert len(saved) == 1


def test_the_examples_of_our_documentation(
    host: str, operator_tls: ssl.SSLContext, namespace: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def work(receiver: Receiver) -> None:
        for example in EXAMPLES:
            if "AlarmRequest" in example:  # sends with the first password again
                example = example.replace(PASSWORD, namespace["saved"][0])  # noqa: PLW2901
            exec(compile(example, "PROTOCOL.md", "exec"), namespace)
        client = namespace["client"]
        counting = namespace["Counting"]("IK00001", "SV301", client.authentication, "OPER", DEAD, DEAD)
        with pytest.raises(ReceiversUnavailable):
            counting.ping()
        assert counting.attempts == 10
        assert namespace["response"].accepted

    receiver = serving(work, host, 19100, operator_tls)
    kinds = [each.kind for each in receiver.arrivals]
    assert kinds == ["ping", "alarm", "restore", "auth", "alarm"]
    assert capsys.readouterr().out.startswith("0 OK 2")
    client = AsyncSOSAccessClient("IK00001", "SV301", PASSWORD, "OPER", DEAD, use_single_receiver=True)
    assert asyncio.run(namespace["report_fire"](client)) is False


def test_the_face_has_every_name_and_loads_none_before_it_is_used() -> None:
    names = [name for names in bridge.sos_access._NAMES.values() for name in names.split()]
    assert [name for name in names if not hasattr(bridge.sos_access, name)] == []
    assert set(names) <= set(dir(bridge.sos_access))
    everything: dict[str, Any] = {}
    exec("from bridge.sos_access import *", everything)
    assert set(names) == everything.keys() - {"__builtins__"}
    with pytest.raises(AttributeError, match="Schema"):
        bridge.sos_access.AlarmRequestSchema  # noqa: B018
    code = (
        "import sys, bridge.sos_access; print(sorted(name for name in sys.modules if name[:6] in ('bridge', 'asynci')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['bridge', 'bridge.sos_access']"
