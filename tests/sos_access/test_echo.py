"""A receiver that repeats passwords in its answers: none of them reaches a result, an error or the log."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from bridge.common.clock import Clock
from bridge.common.models import Secret
from bridge.sos_access.client import AsyncSOSAccessClient
from bridge.sos_access.peer import Peer
from bridge.sos_access.status import SOSAccessError
from bridge.store.passwords import PasswordFile, Passwords
from bridge.transmitters.line import Line
from bridge.transmitters.network import Network
from bridge.transmitters.routes import Route

OLD, NEW = "oldpass-echoed1", "n3wpass-echoed2"
HEADER = '<?xml version="1.0" encoding="ISO-8859-1"?>\n'


def answer_of(status: str, info: str) -> str:
    return f"{HEADER}<pingresponse><status>{status}</status><info>{info}</info></pingresponse>"


def asked(answer: str, folder: Path, *, rotated: bool = False, auth: bool = False) -> str:
    """Return all that one exchange shows of `answer`: its response, or its error."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer.encode("iso-8859-1"))
        writer.close()
        await writer.wait_closed()

    async def main() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            address = server.sockets[0].getsockname()
            passwords = Passwords(PasswordFile(folder / "store.passwords" / "home.json"), Secret(OLD))
            if rotated:
                passwords.add(Secret(NEW))
            client = AsyncSOSAccessClient("IK1", "SV301", OLD, "OPER", address, use_single_receiver=True)
            line = Line("home", client, passwords, {Route("primary"): Peer(address)}, Network(), Clock())
            request = client.new_auth_request() if auth else client.ping_request("r1")
            try:
                return repr((await line.exchange(request)).response)
            except SOSAccessError as error:
                return f"{error} {error.info}"

    return asyncio.run(main())


@pytest.mark.parametrize(
    "answer",
    [
        answer_of("0", f"welcome {OLD}"),
        answer_of("0", "OK").replace("<status>", f"<reference>{OLD}</reference><status>"),
        answer_of("3", f"value {OLD} {OLD} is wrong"),
        answer_of("4", f"password {OLD}, expected another"),
        answer_of("98", f"failed at authentication={OLD}"),
        answer_of("0", "x" * 245 + OLD),
        answer_of(OLD, "OK"),
        f"{HEADER}<{OLD}/>",
        f"HTTP/1.1 400 Bad password {OLD}",
        f"refused: this password {OLD}: is wrong, and more",
        f"the password that you sent was {OLD}",
    ],
)
def test_a_password_that_a_receiver_repeats_is_masked(
    answer: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        shown = asked(answer, tmp_path)
    for text in (shown, caplog.text):
        assert OLD[:8] not in text
    assert "***" in shown


def test_the_password_of_an_open_rotation_is_masked_although_another_was_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shown = asked(answer_of("4", f"expected {OLD}, not {NEW}"), tmp_path, rotated=True)
    assert "expected ***, not ***" in shown
    assert OLD not in caplog.text
    assert NEW not in caplog.text


def test_a_new_password_is_masked_in_the_info_that_comes_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = "requestnewauthenticationresponse"
    answer = (
        f"{HEADER}<{root}><status>0</status><info>use {NEW} now</info>"
        f"<newauthentication>{NEW}</newauthentication></{root}>"
    )
    with caplog.at_level(logging.DEBUG):
        shown = asked(answer, tmp_path, auth=True)
    assert "use *** now" in shown
    assert NEW not in shown + caplog.text


def test_other_text_of_a_receiver_stays_as_it_is(tmp_path: Path) -> None:
    assert "info='OK, oldpass welcome'" in asked(answer_of("0", "OK, oldpass welcome"), tmp_path)
