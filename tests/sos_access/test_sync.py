"""The blocking client: the same exchanges for callers without an event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from bridge.common.models import Secret
from bridge.sos_access.messages import PingResponse
from bridge.sos_access.simulator.receiver import Accounts, Receiver
from bridge.sos_access.status import ReceiversUnavailable
from bridge.sos_access.sync import SOSAccessClient

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD = "hxp4x9nnwxjatv8"


def at_a_receiver(work: Callable[[SOSAccessClient], None]) -> Receiver:
    """Run `work` in a thread, as a program without an event loop would, against a receiver."""

    async def main() -> Receiver:
        with ThreadPoolExecutor(1) as pool:
            async with Receiver(Accounts({"1": PASSWORD}), ping_interval_min=0) as receiver:
                client = SOSAccessClient("1", "SV300", PASSWORD, "42", receiver.address, use_single_receiver=True)
                await asyncio.get_running_loop().run_in_executor(pool, work, client)
                return receiver

    return asyncio.run(main())


def test_all_methods() -> None:
    def work(client: SOSAccessClient) -> None:
        assert client.send_alarm("BA", section_text="House").accepted
        assert client.restore_alarm("BA", reference="r").reference == "r"
        assert client.ping().accepted
        assert client.transmit(client.ping_request("p").to_xml(), PingResponse).reference == "p"
        assert client.exchange(client.ping_request()).attempts == 1
        password = client.request_new_auth().new_authentication
        assert password is not None
        client.authentication = password
        assert client.ping().accepted
        assert client.authentication == password

    receiver = at_a_receiver(work)
    assert [arrival.kind for arrival in receiver.arrivals] == [
        "alarm",
        "restore",
        "ping",
        "ping",
        "ping",
        "auth",
        "ping",
    ]


def test_a_subclass_may_try_more_often() -> None:
    class ManyRetryClient(SOSAccessClient):
        MAX_RETRY = 5

    client = ManyRetryClient("1", "SV300", PASSWORD, "42", ("127.0.0.1", 1), ("127.0.0.1", 1))
    with pytest.raises(ReceiversUnavailable) as caught:
        client.ping()
    assert caught.value.attempts == 10


def test_where_an_event_loop_runs_it_says_what_to_use() -> None:
    async def main() -> None:
        client = SOSAccessClient("1", "SV300", PASSWORD, "42", ("127.0.0.1", 1), use_single_receiver=True)
        with pytest.raises(RuntimeError, match="an event loop is running"):
            client.ping()

    asyncio.run(main())


def test_its_repr_keeps_the_password() -> None:
    client = SOSAccessClient("1", "SV300", Secret(PASSWORD), "42", ("127.0.0.1", 1), use_single_receiver=True)
    assert PASSWORD not in repr(client)
    assert "SV300" in repr(client)
