"""The transport over real sockets: what goes wrong there is a `TransportError` that says what."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from bridge.common.errors import ConfigError
from bridge.sos_access.messages import PingResponse
from bridge.sos_access.peer import peer_name
from bridge.sos_access.status import Failure, MalformedMessage, TransportError
from bridge.sos_access.tls import tls_context
from bridge.sos_access.transport import AsyncTCPTransport

if TYPE_CHECKING:
    from pathlib import Path

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ANSWER = PingResponse(0, "OK").to_xml()


@asynccontextmanager
async def serving(
    behaviour: Behaviour, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, int]]:
    """Serve each connection with `behaviour`, then hang up; yield the address."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behaviour(reader, writer)
            writer.close()
        except OSError:
            pass
        finally:
            writer.transport.abort()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(connected, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(ANSWER)
    await reader.read()


async def exchange(transport: AsyncTCPTransport) -> bytes:
    async with transport:
        await transport.send(b"<pingrequest/>")
        return await transport.receive()


def exchanged(
    behaviour: Behaviour, host: str = "127.0.0.1", server_tls: ssl.SSLContext | None = None, **kwargs: object
) -> bytes:
    """Return what one exchange with a server of that behaviour brings."""

    async def main() -> bytes:
        async with serving(behaviour, host, server_tls) as address:
            return await exchange(AsyncTCPTransport(address, server_tls is not None, **kwargs))  # type: ignore[arg-type]

    return asyncio.run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_exchange_over_ipv4_and_ipv6(host: str) -> None:
    assert exchanged(answer, host) == ANSWER


def test_an_exchange_with_a_name() -> None:
    async def main() -> bytes:
        async with serving(answer) as (_, port):
            return await exchange(AsyncTCPTransport(("localhost", port)))

    assert asyncio.run(main()) == ANSWER


def test_an_answer_in_single_bytes_with_junk_behind() -> None:
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in ANSWER + b"^":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    assert exchanged(dribble) == ANSWER


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)


async def cut_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(ANSWER[:-5])


async def talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await reader.read()


async def never_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"<pingresponse>" + b"x" * 100_000)
    await reader.read()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize(
    ("behaviour", "said", "failure"),
    [
        (say_nothing, "no complete response from 127.0.0.1:.* within 0.2 s", Failure.NO_RESPONSE),
        (hang_up, "connection closed by 127.0.0.1:.* without a response", Failure.HUNG_UP),
        (cut_off, f"cut off after {len(ANSWER) - 5} characters", Failure.OTHER),
        (talk_nonsense, "not XML: HTTP/1.1", Failure.MALFORMED),
        (never_end, "longer than 100000", Failure.MALFORMED),
        (reset, "connection reset by 127.0.0.1", Failure.RESET),
    ],
)
def test_no_readable_answer_is_a_transport_error_that_says_why(
    behaviour: Behaviour, said: str, failure: Failure
) -> None:
    with pytest.raises(TransportError, match=said) as caught:
        exchanged(behaviour, response_timeout=0.2 if behaviour is say_nothing else 10.0)
    assert isinstance(caught.value, MalformedMessage) == (behaviour in {talk_nonsense, never_end})
    assert caught.value.failure is failure
    assert caught.value.status is None


def test_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
    with pytest.raises(TransportError, match=rf"connection refused by 127.0.0.1:{address[1]}") as caught:
        asyncio.run(exchange(AsyncTCPTransport(address)))
    assert caught.value.failure is Failure.REFUSED


@pytest.mark.parametrize("host", ["no such host", "x" * 70, "a..b", "nothing.invalid"])
def test_a_host_that_is_not_there(host: str) -> None:
    with pytest.raises(TransportError, match=r"no address found|no connection") as caught:
        asyncio.run(exchange(AsyncTCPTransport((host, 1))))
    assert caught.value.failure in (Failure.NO_ADDRESS, Failure.NO_CONNECTION)


def test_a_connection_that_does_not_come_about_ends_in_time() -> None:
    async def main() -> None:
        async with serving(say_nothing) as address:  # silent where a TLS handshake should begin
            await exchange(AsyncTCPTransport(address, secure=True, timeout=0.2))

    with pytest.raises(TransportError, match=r"no connection to 127.0.0.1:.* within 0.2 s") as caught:
        asyncio.run(main())
    assert caught.value.failure is Failure.NO_CONNECTION


def test_a_peer_that_takes_no_data_ends_in_time() -> None:
    async def main() -> None:
        async with serving(say_nothing) as address, AsyncTCPTransport(address, timeout=0.2) as transport:
            while True:
                await transport.send(b"x" * 1_000_000)

    with pytest.raises(TransportError, match=r"read no data for 0.2 s"):
        asyncio.run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_cancelling_at_any_moment_loses_no_socket(host: str) -> None:
    async def main() -> None:
        async with serving(answer) as (_, port):
            for steps in range(40):
                task = asyncio.create_task(exchange(AsyncTCPTransport((host, port))))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])

    asyncio.run(main())
    gc.collect()  # what was lost is warned of here


def test_a_dead_first_address_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> bytes:
        async with serving(answer) as (_, port):
            loop = asyncio.get_running_loop()
            connect = loop.sock_connect

            async def connected(sock: socket.socket, address: tuple[str, int]) -> None:
                if address[0] == "192.0.2.1":
                    await asyncio.Event().wait()
                await connect(sock, address)

            found = [(0, 0, 0, "", ("192.0.2.1", 0)), (0, 0, 0, "", ("127.0.0.1", 0))]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
            monkeypatch.setattr(loop, "sock_connect", connected)
            return await exchange(AsyncTCPTransport(("receiver.example", port), timeout=1))

    assert asyncio.run(main()) == ANSWER


def test_what_was_sent_goes_out_before_it_hangs_up() -> None:
    """`send` returns while the system has not taken all yet."""

    async def main() -> None:
        full, received = asyncio.Event(), asyncio.Queue[int]()

        async def read_later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await full.wait()
            received.put_nowait(len(await reader.read(-1)))

        sent = 0
        async with serving(read_later) as address:
            async with AsyncTCPTransport(address) as transport:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        while True:
                            await transport.send(b"x" * 10_000)
                            sent += 10_000
            full.set()
            async with asyncio.timeout(10):
                assert await received.get() >= sent

    asyncio.run(main())


def test_cancelling_is_not_swallowed() -> None:
    async def main() -> bool:
        async with serving(say_nothing) as address:
            task = asyncio.create_task(exchange(AsyncTCPTransport(address)))
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled()

    assert asyncio.run(main())


def test_nothing_is_sent_without_a_connection() -> None:
    with pytest.raises(TransportError, match="not connected to"):
        asyncio.run(AsyncTCPTransport(("127.0.0.1", 1)).send(b""))


def pin_of(certificate: Path) -> str:
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    return hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("verify", ["none", "ca", "pin", "pins", "pin with colons"])
def test_tls_with_a_receiver_that_is_trusted(
    host: str, verify: str, certificate: Path, server_tls: ssl.SSLContext
) -> None:
    pin = pin_of(certificate)
    value = {
        "none": "none",
        "ca": str(certificate),
        "pin": f"sha256:{pin}",
        "pins": f"sha256:{'0' * 64}, sha256:{pin}",
        "pin with colons": "SHA256:" + ":".join(pin[i : i + 2] for i in range(0, 64, 2)).upper(),
    }[verify]
    assert exchanged(answer, host, server_tls, tls_verify=value) == ANSWER
    assert exchanged(answer, host, server_tls, tls_verify=tls_context(value)) == ANSWER


@pytest.mark.parametrize(
    ("verify", "said"),
    [
        ("system", "certificate of 127.0.0.1:.* not trusted: self-signed certificate"),
        ("", "certificate of 127.0.0.1:.* not trusted: self-signed certificate"),
        (f"sha256:{'0' * 64}", "certificate of 127.0.0.1:.* does not match the pin"),
    ],
)
def test_tls_with_a_stranger_sends_nothing(verify: str, said: str, server_tls: ssl.SSLContext) -> None:
    received: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(4096))  # up to the end it would lose what came before a reset

    with pytest.raises(TransportError, match=said) as caught:
        exchanged(listen, "127.0.0.1", server_tls, **({"tls_verify": verify} if verify else {}))
    assert caught.value.failure is Failure.CERTIFICATE
    assert not any(received)


def test_a_ca_file_does_not_excuse_another_name(certificate: Path, server_tls: ssl.SSLContext) -> None:
    """The certificate is for 127.0.0.1, not for the rest of the loopback network."""

    async def main() -> bytes:
        async with serving(answer, "127.0.0.2", server_tls) as address:
            return await exchange(AsyncTCPTransport(address, secure=True, tls_verify=str(certificate)))

    with pytest.raises(TransportError, match=r"not trusted: IP address mismatch"):
        asyncio.run(main())


def test_tls_to_a_receiver_without_tls() -> None:
    async def main() -> bytes:
        async with serving(talk_nonsense) as address:
            return await exchange(AsyncTCPTransport(address, secure=True))

    with pytest.raises(TransportError, match=r"TLS with 127.0.0.1:.* failed: no TLS on that port\?$") as caught:
        asyncio.run(main())
    assert caught.value.failure is Failure.TLS


def test_tls_to_a_receiver_that_hangs_up_on_it() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.close()

    async def main() -> bytes:
        async with serving(hang_up) as address:
            return await exchange(AsyncTCPTransport(address, secure=True))

    with pytest.raises(TransportError, match=r"TLS with 127.0.0.1:.* failed: it closed the connection; no TLS"):
        asyncio.run(main())


def test_an_old_receiver_is_spoken_to_only_where_nothing_is_verified(certificate: Path) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.set_ciphers("AES128-SHA:@SECLEVEL=0")  # no forward secrecy
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_cert_chain(certificate, certificate.with_name("key.pem"))
    assert exchanged(answer, "127.0.0.1", old, tls_verify="none") == ANSWER


def test_a_tls_peer_that_never_says_goodbye_is_left(server_tls: ssl.SSLContext) -> None:
    async def keep_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(ANSWER)
        await writer.drain()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async def main() -> bytes:
        async with asyncio.timeout(9):  # asyncio itself would wait 30 s
            async with serving(keep_open, tls=server_tls) as address:
                return await exchange(AsyncTCPTransport(address, secure=True, tls_verify="none"))

    assert asyncio.run(main()) == ANSWER


@pytest.mark.parametrize(
    ("verify", "said"),
    [
        ("", "is not a file"),
        ("nothing", "'nothing' is not a file; use system, a CA file, sha256:... or none"),
        ("sha256:", "64 hexadecimal digits"),
        ("sha256:" + "g" * 64, "64 hexadecimal digits"),
        (f"sha256:{'0' * 64},{'1' * 64}", "64 hexadecimal digits"),
        ("/dev/null", "is not a file"),
        ("/" + "n" * 5000, "is not a file"),
    ],
)
def test_a_bad_tls_verify_is_a_configuration_error(verify: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"tls_verify: .*{said}"):
        AsyncTCPTransport(("127.0.0.1", 1), secure=True, tls_verify=verify)


def test_a_file_without_certificates_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="has no CA certificates"):
        tls_context(str(tmp_path / "ca.pem"))


def test_peers_are_named_so_that_they_can_be_read() -> None:
    assert peer_name(("::1", 5)) == "[::1]:5"
    assert peer_name(("a\nb", 5)) == r"a\nb:5"
