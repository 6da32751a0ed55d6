"""`simulate receiver`: its options, what it prints, how it ends."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import socket
from pathlib import Path

import pytest
from support.brokers import free_port

from bridge.cli.parser import parser
from bridge.cli.simulate import receiver as simulate_receiver
from bridge.common.errors import BridgeError, ConfigError
from bridge.sos_access.client import AsyncSOSAccessClient
from bridge.sos_access.messages import NewAuthResponse, PingResponse
from bridge.sos_access.simulator.faults import Fault
from bridge.sos_access.simulator.receiver import Receiver
from bridge.sos_access.status import TransportError

PASSWORD = "hxp4x9nnwxjatv8"


def parsed(*words: str) -> argparse.Namespace:
    return parser("simulate").parse_args(["simulate", "receiver", *words])


def single(args: argparse.Namespace) -> Receiver:
    [found] = simulate_receiver.receivers(args).values()
    return found


def test_without_options_it_takes_anybody_on_port_19000() -> None:
    args = parsed()
    assert args.command.run == "simulate.receiver.run"
    receiver = single(args)
    assert receiver.address == ("127.0.0.1", 19000)
    assert receiver.accounts.accept_unknown
    assert receiver.faults.take() == Fault()


def test_options_are_taken_over(tmp_path: Path) -> None:
    words = f"--host ::1 --port 0 --transmitter 1:{PASSWORD} --transmitter 2:with:two:colons --ping-interval 15"
    words += f" --no-heartbeat --state {tmp_path / 'state.json'}"
    words += " --status 5 --lose --delay 0.5 --garbage truncated --segment 0.1 --times 2"
    receiver = single(parsed(*words.split()))
    assert receiver.address == ("::1", 0)
    assert not receiver.accounts.accept_unknown
    assert receiver.accounts.account("2") is not None
    assert (receiver.rules.ping_interval_min, receiver.rules.heartbeats) == (15, False)
    fault = Fault(status=5, lose=True, delay=0.5, garbage="truncated", segment=0.1)
    assert [receiver.faults.take() for _ in range(3)] == [fault, fault, Fault()]


@pytest.mark.parametrize(
    ("words", "fault"),
    [("--drop", Fault(drop=True)), ("--garbage", Fault(garbage="random")), ("--segment", Fault(segment=0.01))],
)
def test_faults_without_a_value(words: str, fault: Fault) -> None:
    assert single(parsed(words)).faults.take() == fault


@pytest.mark.parametrize(
    "words",
    [
        "--port 65536",
        "--port x",
        "--transmitter 1",
        "--delay -1",
        "--delay nan",
        "--times 0",
        "--garbage other",
        "--status x",
    ],
)
def test_wrong_options_are_usage_errors(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(*words.split())
    assert caught.value.code == 2
    assert words.split(maxsplit=1)[0] in capsys.readouterr().err


def test_tls_needs_files_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--tls needs --cert and --key"):
        asyncio.run(simulate_receiver.run(parsed("--tls")))
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(ConfigError, match="No such file"):
        asyncio.run(simulate_receiver.run(parsed("--tls", "--cert", missing, "--key", missing)))


def test_a_bad_password_is_not_repeated() -> None:
    with pytest.raises(BridgeError, match="authentication: has 5 characters") as caught:
        asyncio.run(simulate_receiver.run(parsed("--transmitter", "1:sesam")))
    assert "sesam" not in str(caught.value)


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BridgeError, match="cannot listen on 127"):
        asyncio.run(simulate_receiver.run(parsed("--port", str(taken.getsockname()[1]))))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_shows_what_arrives_until_it_is_told_to_stop(
    number: signal.Signals, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: asyncio.Queue[str] = asyncio.Queue()
    monkeypatch.setattr(simulate_receiver, "say", shown.put_nowait)

    async def main() -> int:
        running = asyncio.create_task(simulate_receiver.run(parsed("--port", "0", "--transmitter", f"1:{PASSWORD}")))
        first = await asyncio.wait_for(shown.get(), 10)
        port = int(first.rpartition(":")[2])
        assert first == f"receiving on 127.0.0.1:{port}"
        client = AsyncSOSAccessClient("1", "SV300", PASSWORD, "42", ("127.0.0.1", port), use_single_receiver=True)
        await client.send_alarm("BA", section_text="Häll")
        line, header, document = (await asyncio.wait_for(shown.get(), 10)).splitlines()
        assert re.fullmatch(r"\d\d:\d\d:\d\d 127\.0\.0\.1:\d+ alarm 1 BA: 0 OK", line)
        assert header == '    <?xml version="1.0" encoding="ISO-8859-1"?>'
        assert "<sectiontext>Häll</sectiontext>" in document
        assert "<authentication>***</authentication>" in document
        with pytest.raises(TransportError):
            await client.transmit(b"nonsense", PingResponse)
        assert "unknown: 2 INVALID_XML" in await asyncio.wait_for(shown.get(), 10)
        os.kill(os.getpid(), number)
        return await asyncio.wait_for(running, 10)

    assert asyncio.run(main()) == 0


def test_what_was_kept_back_is_said_to_be() -> None:
    async def main() -> list[str]:
        shown: list[str] = []
        args = parsed("--port", "0", "--lose", "--times", "1")
        async with single(args) as receiver:
            receiver._on_arrival = lambda arrival: shown.append(simulate_receiver.describe(arrival))
            client = AsyncSOSAccessClient("1", "SV300", PASSWORD, "42", receiver.address, use_single_receiver=True)
            await client.exchange(client.new_auth_request())
            receiver.faults.add(Fault(drop=True))
            with pytest.raises(TransportError):
                await client.transmit(client.new_auth_request().to_xml(), NewAuthResponse)
        return [each.partition(": ")[2].splitlines()[0] for each in shown]

    assert asyncio.run(main()) == ["0 OK (not sent)", "0 OK", "dropped"]


def test_a_pair_shares_its_accounts_and_only_the_primary_has_faults(tmp_path: Path) -> None:
    port = free_port(following=1)
    words = f"--pair --port {port} --transmitter 1:{PASSWORD} --state {tmp_path / 'state.json'} --status 5 --times 1"

    async def main() -> None:
        pair = simulate_receiver.receivers(parsed(*words.split()))
        async with pair["primary: "] as primary, pair["secondary: "] as secondary:
            assert (primary.address[1], secondary.address[1]) == (port, port + 1)
            client = AsyncSOSAccessClient("1", "SV300", PASSWORD, "42", primary.address, secondary.address)
            assert (await client.exchange(client.ping_request())).receiver == "secondary"
            rotated = await client.request_new_auth()
            assert [primary.arrivals[0].status, rotated.new_authentication is None] == [5, False]
            for address in (secondary.address, primary.address):
                new = rotated.new_authentication
                assert new is not None
                each = AsyncSOSAccessClient("1", "SV300", new, "42", address, use_single_receiver=True)
                await each.send_alarm("BA")

    asyncio.run(main())
    again = simulate_receiver.receivers(parsed(*words.split()))
    assert {id(each.accounts) for each in again.values()} == {id(again["primary: "].accounts)}
