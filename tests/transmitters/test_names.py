"""Receivers given by name, over real sockets: an alarm gets out although the name server is away."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from support.line import OLD, Recorder
from support.outbox import HOME, clock, command, entry, opened

from bridge.sos_access.client import AsyncSOSAccessClient
from bridge.sos_access.connection import Dialer
from bridge.sos_access.peer import Peer
from bridge.sos_access.resolver import Lookup, Resolver
from bridge.sos_access.simulator.receiver import Accounts, Receiver
from bridge.store.passwords import PasswordFile, Passwords
from bridge.transmitters.line import Line
from bridge.transmitters.network import Network
from bridge.transmitters.routes import Route
from bridge.transmitters.transmitter import Transmitter

pytestmark = pytest.mark.usefixtures("each_store")


async def deliver(folder: Path, lookup: Lookup, port: int) -> None:
    """Start a transmitter whose receiver is at `receiver.test`, deliver one alarm, and stop it."""
    client = AsyncSOSAccessClient("IK1", "SV301", OLD, "OPER", ("localhost", 1), use_single_receiver=True)
    network = Network(Dialer(Resolver(lookup=lookup)))
    peers = {Route("primary"): Peer(("receiver.test", port))}
    line = Line(HOME, client, Passwords(PasswordFile(folder / "passwords"), OLD), peers, network, clock())
    async with opened(folder) as outbox, asyncio.timeout(10):
        transmitter = Transmitter(line, outbox, Recorder(), line.clock)
        running = asyncio.create_task(transmitter.run())
        await outbox.add([entry(command())])
        while not transmitter.delivered:  # noqa: ASYNC110 - no event is set for it
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.5)  # until its state is written
        running.cancel()
        await asyncio.wait([running])
        await network.dialer.aclose()


def test_the_last_address_of_a_name_is_known_after_a_restart(tmp_path: Path) -> None:
    def away(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async def main() -> None:
        async with Receiver(Accounts({"IK1": OLD.reveal()})) as receiver:
            await deliver(tmp_path, lambda host: ["127.0.0.1"], receiver.address[1])
            await deliver(tmp_path, away, receiver.address[1])
            assert [each.kind for each in receiver.arrivals].count("alarm") == 2

    asyncio.run(main())
