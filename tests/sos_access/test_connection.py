"""Connections over real sockets: the race, the paths, names, and what hanging up costs."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import pytest
from support.brokers import free_port

from bridge.sos_access.connection import Dialer
from bridge.sos_access.messages import PingResponse
from bridge.sos_access.peer import Peer
from bridge.sos_access.race import Entrant, Observer, RaceFailed, RaceOutcome, race
from bridge.sos_access.resolver import Resolver
from bridge.sos_access.status import TransportError
from bridge.sos_access.tls import tls_context


def fingerprint_of(certificate: Path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()


ANSWER = PingResponse(0, "OK").to_xml()
T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(main, 30))


@contextlib.asynccontextmanager
async def receiver(
    answer: bytes = ANSWER, *, tls: ssl.SSLContext | None = None, silent: bool = False
) -> AsyncIterator[tuple[tuple[str, int], list[bytes]]]:
    """Serve on a free port; yield the address and what arrives."""
    arrived: list[bytes] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            if data := await reader.read(4096):
                arrived.append(data)
                if silent:
                    await asyncio.sleep(30)
                writer.write(answer)
                await writer.drain()
            await reader.read()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(served(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[:2], arrived
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def full_listener() -> Any:  # noqa: ANN401 - yields an address
    """A port whose queue is full: a connection to it hangs as one to a host that drops packets."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()


@contextlib.contextmanager
def receiver_elsewhere(tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, int]]:
    """A receiver in a thread of its own: it answers while our loop stands still."""
    started: Future[tuple[tuple[str, int], asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        async with receiver(tls=tls) as (address, _):
            ended = asyncio.Event()
            started.set_result((address, asyncio.get_running_loop(), ended))
            await ended.wait()
        await asyncio.sleep(0.05)  # what was aborted is closed by the loop

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    address, loop, ended = started.result(10)
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)


def closed_port() -> tuple[str, int]:
    return "127.0.0.1", free_port()


def dialling(work: Callable[[Dialer], Coroutine[Any, Any, T]], **options: Any) -> T:  # noqa: ANN401
    async def main() -> T:
        dialer = Dialer(**options)
        try:
            return await work(dialer)
        finally:
            await dialer.aclose()
            await asyncio.sleep(0.05)  # what was aborted is closed by the loop

    return run(main())


def test_connection_exchanges_one_document() -> None:
    async def work(dialer: Dialer) -> None:
        async with receiver() as (address, arrived):
            connection = await dialer.connect(Peer(address))
            assert await connection.exchange(b"<pingrequest/>") == ANSWER
            assert arrived == [b"<pingrequest/>"]

    dialling(work)


def test_race_refused_lets_the_next_begin_at_once() -> None:
    async def work(dialer: Dialer) -> None:
        async with receiver() as (address, _):
            begun = time.monotonic()
            winner = await race(dialer, [Entrant(Peer(closed_port())), Entrant(Peer(address))])
            assert time.monotonic() - begun < 0.5
            assert winner.index == 1
            assert [each.index for each in winner.failed] == [0]
            assert "refused" in str(winner.failed[0].error)
            winner.connection.abort()

    dialling(work)


def test_race_document_goes_out_on_one_connection_and_the_loser_is_reported() -> None:
    async def work(dialer: Dialer) -> None:
        lost: list[RaceOutcome] = []
        late: list[int] = []
        with full_listener() as dead:
            async with receiver() as (address, arrived):
                entrants = [Entrant(Peer(dead, connect_timeout=1.0), 0.2), Entrant(Peer(address), 0.2)]
                begun = time.monotonic()
                winner = await race(dialer, entrants, Observer(late=late.append, lost=lost.append))
                assert 0.15 < time.monotonic() - begun < 0.8
                assert winner.index == 1
                assert late == [0]
                await winner.connection.exchange(b"<pingrequest/>")
                assert len(arrived) == 1
                assert not lost
                await asyncio.sleep(1.2)
                assert [each.index for each in lost] == [0]
                assert "within 1 s" in str(lost[0].error)

    dialling(work)


def test_race_loser_that_connects_is_closed_unused() -> None:
    async def work(dialer: Dialer) -> None:
        lost: list[RaceOutcome] = []
        async with receiver() as (slow, arrived_slow), receiver() as (fast, arrived):
            gate = asyncio.Event()
            connect = dialer.connect

            async def delayed(peer: Peer) -> Any:  # noqa: ANN401
                if peer.address == slow:
                    await gate.wait()
                return await connect(peer)

            dialer.connect = delayed  # type: ignore[method-assign]
            winner = await race(dialer, [Entrant(Peer(slow), 0.05), Entrant(Peer(fast))], Observer(lost=lost.append))
            assert winner.index == 1
            gate.set()
            await winner.connection.exchange(b"x>")
            await asyncio.sleep(0.2)
            assert [(each.index, each.error) for each in lost] == [(0, None)]
            assert arrived
            assert not arrived_slow

    dialling(work)


def test_race_that_all_lose() -> None:
    async def work(dialer: Dialer) -> None:
        with pytest.raises(RaceFailed, match="refused") as caught:
            await race(dialer, [Entrant(Peer(closed_port())), Entrant(Peer(closed_port()))])
        assert [each.index for each in caught.value.outcomes] == [0, 1]

    dialling(work)


def test_race_cancelled_leaves_no_connection() -> None:
    async def work(dialer: Dialer) -> None:
        with full_listener() as dead:
            task = asyncio.create_task(race(dialer, [Entrant(Peer(dead))]))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.1)
            assert not [each for each in asyncio.all_tasks() if each.get_name().startswith("connect to")]

    dialling(work)


def test_connections_to_one_address_are_bounded() -> None:
    async def work(dialer: Dialer) -> None:
        async with receiver() as (address, _):
            peer = Peer(address, connect_timeout=0.3)
            first, second = await dialer.connect(peer), await dialer.connect(peer)
            with pytest.raises(TransportError, match="no connection"):
                await dialer.connect(peer)
            first.abort()
            third = await dialer.connect(peer)
            second.abort()
            second.abort()
            third.close()

    dialling(work, at_once=2)


def test_tls_peer_that_ignores_the_goodbye_costs_nothing(server_tls: ssl.SSLContext) -> None:
    def serve(listener: socket.socket, kept: list[ssl.SSLSocket]) -> None:
        with contextlib.suppress(OSError):
            while True:
                kept.append(server_tls.wrap_socket(listener.accept()[0], server_side=True))
                kept[-1].recv(4096)
                kept[-1].sendall(ANSWER)

    async def work(dialer: Dialer) -> None:
        kept: list[ssl.SSLSocket] = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, args=(listener, kept))
            thread.start()
            peer = Peer(listener.getsockname(), tls_context("none"))
            begun = time.monotonic()
            for _ in range(3):
                assert await (await dialer.connect(peer)).exchange(b"<pingrequest/>") == ANSWER
            assert time.monotonic() - begun < 0.9
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
        for each in kept:
            each.close()

    dialling(work)


@pytest.mark.parametrize(
    "answer", [b"<pingresponse><status>0</status>", b"\0<pingresponse><status>0</status></pingresponse>", b"nonsense"]
)
def test_answer_that_is_no_proper_xml_is_returned_as_it_came(answer: bytes) -> None:
    async def work(dialer: Dialer) -> None:
        async with receiver(answer) as (address, _):
            connection = await dialer.connect(Peer(address, response_timeout=0.3))
            assert await connection.exchange(b"<pingrequest/>") == answer

    dialling(work)


def test_answer_that_came_while_the_loop_stood_still_is_read() -> None:
    async def work(dialer: Dialer) -> None:
        connection = await dialer.connect(Peer(address, response_timeout=0.3))
        asyncio.get_running_loop().call_soon(time.sleep, 0.6)
        assert await connection.exchange(b"<pingrequest/>") == ANSWER

    with receiver_elsewhere() as address:
        dialling(work)


def test_connection_made_while_the_loop_stood_still_counts(server_tls: ssl.SSLContext) -> None:
    async def work(dialer: Dialer) -> None:
        peer = Peer(address, tls_context("none"), connect_timeout=0.3)
        asyncio.get_running_loop().call_later(0, time.sleep, 0.6)
        assert await (await dialer.connect(peer)).exchange(b"<pingrequest/>") == ANSWER

    with receiver_elsewhere(server_tls) as address:
        dialling(work)


def test_name_found_while_the_loop_stood_still_counts() -> None:
    async def work() -> None:
        asyncio.get_running_loop().call_soon(time.sleep, 0.6)
        assert await Resolver(lookup=lambda _: ["192.0.2.1"]).resolve("receiver.example", 0.3) == ("192.0.2.1",)

    run(work())


def test_no_answer() -> None:
    async def work(dialer: Dialer) -> None:
        async with receiver(silent=True) as (address, _):
            connection = await dialer.connect(Peer(address, response_timeout=0.3))
            with pytest.raises(TransportError, match=r"no complete response from .* within 0.3 s"):
                await connection.exchange(b"<pingrequest/>")

    dialling(work)


def test_tls_name_is_what_the_certificate_has_to_name(server_tls: ssl.SSLContext, certificate: Path) -> None:
    async def work(dialer: Dialer) -> None:
        async with receiver(tls=server_tls) as ((_, port), _):
            policy = tls_context(str(certificate))
            (await dialer.connect(Peer(("127.0.0.1", port), policy, tls_name="localhost"))).abort()
            with pytest.raises(TransportError, match="not trusted"):
                await dialer.connect(Peer(("127.0.0.1", port), policy, tls_name="elsewhere.example"))

    dialling(work)


def test_certificate_that_is_not_trusted_is_shown_with_the_line_that_pins_it(
    server_tls: ssl.SSLContext, certificate: Path
) -> None:
    async def work(dialer: Dialer) -> None:
        async with receiver(tls=server_tls) as (address, arrived):
            pin = f'tls_verify = "sha256:{fingerprint_of(certificate)}"'
            with pytest.raises(TransportError) as refused:
                await dialer.connect(Peer(address, tls_context("system")))
            assert str(refused.value) == (
                f"certificate of 127.0.0.1:{address[1]} not trusted: self-signed certificate; "
                f"if it is your operator's: {pin} (for localhost, 127.0.0.1, ::1, issued by receiver)"
            )
            (await dialer.connect(Peer(address, tls_context(pin.split('"')[1])))).abort()
            other = "sha256:" + "0" * 64
            with pytest.raises(TransportError, match="does not match the pin") as refused:
                await dialer.connect(Peer(address, tls_context(other)))
            both = str(refused.value).split('"')[1]
            assert both == f"{other},sha256:{fingerprint_of(certificate)}"
            (await dialer.connect(Peer(address, tls_context(both)))).abort()
            assert not arrived

    dialling(work)


def test_certificate_for_another_name_is_shown_with_tls_name(server_tls: ssl.SSLContext, certificate: Path) -> None:
    async def work(dialer: Dialer) -> None:
        async with receiver(tls=server_tls) as (address, _):
            peer = Peer(address, tls_context(str(certificate)), tls_name="elsewhere.example")
            with pytest.raises(
                TransportError, match='if it is your operator\'s: tls_name = "localhost", or tls_verify'
            ):
                await dialer.connect(peer)

    dialling(work)


def test_certificate_is_read_once_a_minute(server_tls: ssl.SSLContext) -> None:
    handshakes: list[float] = []

    async def work(dialer: Dialer) -> None:
        async with receiver(tls=server_tls) as (address, _):
            server_tls.sni_callback = lambda *_: handshakes.append(time.monotonic())
            peer = Peer(address, tls_context("system"), tls_name="localhost")
            for _ in range(3):
                with pytest.raises(TransportError, match="tls_verify = "):
                    await dialer.connect(peer)

    dialling(work)
    assert len(handshakes) == 4


def test_pinned_certificate_that_is_another(server_tls: ssl.SSLContext) -> None:
    async def work(dialer: Dialer) -> None:
        async with receiver(tls=server_tls) as (address, arrived):
            with pytest.raises(TransportError, match="does not match the pin"):
                await dialer.connect(Peer(address, tls_context("sha256:" + "0" * 64)))
            assert not arrived

    dialling(work)


def test_path_by_source_address() -> None:
    async def work(dialer: Dialer) -> None:
        seen: list[str] = []

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(writer.get_extra_info("peername")[0])
            writer.transport.abort()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        async with server:
            address = server.sockets[0].getsockname()
            (await dialer.connect(Peer(address, source="127.0.0.7"))).abort()
            await asyncio.sleep(0.1)
            assert seen == ["127.0.0.7"]
            with pytest.raises(TransportError, match=r"no path over 192\.0\.2\.1"):
                await dialer.connect(Peer(address, source="192.0.2.1"))

    dialling(work)


def test_path_by_interface() -> None:
    async def work(dialer: Dialer) -> None:
        async with receiver() as (address, _):
            (await dialer.connect(Peer(address, interface="lo"))).abort()
            with pytest.raises(TransportError, match="no path over nope0"):
                await dialer.connect(Peer(address, interface="nope0"))

    dialling(work)


def test_name_that_no_longer_resolves_has_its_last_address() -> None:
    def lookup(host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "no name server")

    async def work(dialer: Dialer) -> None:
        async with receiver() as ((_, port), _):
            (await dialer.connect(Peer(("alarm.example", port)))).abort()
            with pytest.raises(TransportError, match=r"no address found for other\.example"):
                await dialer.connect(Peer(("other.example", port)))

    dialling(work, resolver=Resolver({"alarm.example": ["127.0.0.1"]}, lookup))


def test_name_server_that_hangs_blocks_its_own_name_only_and_once() -> None:
    hang = threading.Event()
    asked: list[str] = []

    def lookup(host: str) -> list[str]:
        asked.append(host)
        if host == "hangs.example":
            hang.wait(20)
        return ["127.0.0.1"]

    async def work(dialer: Dialer) -> None:
        async with receiver() as ((_, port), _):
            begun = time.monotonic()
            (await dialer.connect(Peer(("alarm.example", port)))).abort()
            assert time.monotonic() - begun < 0.5
            for _ in range(3):  # two seconds once, then at once
                (await dialer.connect(Peer(("hangs.example", port)))).abort()
            assert time.monotonic() - begun < 3
            assert asked == ["alarm.example", "hangs.example"]

    try:
        dialling(work, resolver=Resolver({"hangs.example": ["127.0.0.1"]}, lookup))
    finally:
        hang.set()


def test_name_is_not_looked_up_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def work(dialer: Dialer) -> None:
        async with receiver() as ((_, port), _):
            monkeypatch.setattr(threading.Thread, "start", start)
            (await dialer.connect(Peer(("alarm.example", port)))).abort()
            with pytest.raises(TransportError, match="can't start new thread"):
                await dialer.connect(Peer(("other.example", port)))
            monkeypatch.undo()

    dialling(work, resolver=Resolver({"alarm.example": ["127.0.0.1"]}))


def test_address_that_worked_is_known_and_the_next_is_tried() -> None:
    async def work(dialer: Dialer) -> None:
        async with receiver() as ((_, port), _):
            (await dialer.connect(Peer(("alarm.example", port)))).abort()
            assert dialer.resolver.known == {"alarm.example": ("127.0.0.1",)}

    dialling(work, resolver=Resolver(lookup=lambda host: ["127.0.0.9", "127.0.0.1"]))
