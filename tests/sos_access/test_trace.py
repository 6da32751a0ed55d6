"""Debug lines of the steps on the wire: which, in which order, and how each ended."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest

from bridge.sos_access.connection import Dialer
from bridge.sos_access.peer import Peer
from bridge.sos_access.status import TransportError

SECRET = "documentwithapassword"


def said(caplog: pytest.LogCaptureFixture, port: int) -> list[str]:
    found = [re.sub(r"after [0-9.]+ ms", "after N ms", record.getMessage()) for record in caplog.records]
    prefix = f"home: primary localhost:{port}: "
    assert all(line.startswith(prefix) for line in found if "primary" in line)
    return [line.removeprefix(prefix) for line in found if "primary" in line]


def exchanged(answer: bytes | None) -> int:
    """Exchange a document with a receiver that answers so, or with None is not there; return its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer or b"")
        writer.close()
        await writer.wait_closed()

    async def main() -> int:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port: int = server.sockets[0].getsockname()[1]
        if answer is None:
            server.close()
        dialer = Dialer()
        try:
            connection = await dialer.connect(Peer(("localhost", port), label="home: primary"))
            await connection.exchange(SECRET.encode())
            await asyncio.gather(*dialer._tasks)  # it hangs up in the background
        except TransportError:
            pass
        finally:
            server.close()
            await dialer.aclose()
        return port

    return asyncio.run(main())


def test_each_step_is_started_and_complete(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    port = exchanged(b"<pingresponse><status>0</status></pingresponse>")
    steps = said(caplog, port)
    assert steps[:2] == ["resolve started", steps[1]]
    assert steps[1].startswith("resolve complete after N ms, ")
    assert steps[-6:] == [
        "connect to 127.0.0.1 started",
        "connect to 127.0.0.1 complete after N ms",
        f"send {len(SECRET)} bytes started",
        f"send {len(SECRET)} bytes complete after N ms",
        "answer started",
        "answer complete after N ms, 47 bytes",
    ]
    assert SECRET not in caplog.text


def test_the_step_that_fails_says_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    steps = said(caplog, exchanged(None))
    assert steps[-2] == "connect to 127.0.0.1 started"
    assert re.match(r"connect to 127.0.0.1 failed after N ms: .*Connect call failed", steps[-1])


def test_there_are_no_lines_at_other_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert said(caplog, exchanged(b"<pingresponse><status>0</status></pingresponse>")) == []
