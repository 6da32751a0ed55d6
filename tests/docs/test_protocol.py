"""The example messages of the PROTOCOL.md files are what the code reads and writes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support import g90 as peers

from bridge.sos_access.messages import RESPONSE_TO, Response, SOSAccessRequest

BRIDGE = Path(__file__).parents[2] / "bridge"
G90 = (BRIDGE / "g90/PROTOCOL.md").read_text("utf-8")
SOS_ACCESS = (BRIDGE / "sos_access/PROTOCOL.md").read_text("utf-8")
G90_VECTORS = (
    peers.HELLO,
    peers.HELLO_ANSWER,
    peers.DISCOVERY,
    peers.DISCOVERY_ANSWER,
    peers.PING,
    peers.ARMED_AWAY,
    peers.DOOR_OPENED,
    peers.SMOKE_ALARM,
    peers.NOTIFICATION,
    peers.COMMAND_ARM_AWAY,
    peers.COMMAND_STATUS,
)
Message = type[SOSAccessRequest[Any] | Response]
MESSAGES: dict[str, Message] = {kind.ROOT: kind for pair in RESPONSE_TO.items() for kind in pair}


def g90_examples() -> list[bytes]:
    """Return the messages of the hex block: below each title its bytes, quoted text, and `68 x 00`."""
    (block,) = re.findall(r"```hex\n(.*?)```", G90, re.DOTALL)
    messages = re.split(r"^\S.*$", block, flags=re.MULTILINE)[1:]
    return [b"".join(_bytes(match) for match in _PIECE.finditer(message)) for message in messages]


_PIECE = re.compile(r"""'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<count>\d+) x (?P<repeated>..)|(?P<byte>\S+)""")


def _bytes(piece: re.Match[str]) -> bytes:
    if piece["byte"]:
        return bytes.fromhex(piece["byte"])
    if piece["count"]:
        return bytes.fromhex(piece["repeated"]) * int(piece["count"])
    return (piece["single"] or piece["double"]).encode()


def sos_access_examples() -> list[str]:
    blocks = re.findall(r"```xml\n(.*?)```", SOS_ACCESS, re.DOTALL)
    return [block for block in blocks if block.count("\n") > 1]


def _root(example: str) -> str:
    return str(re.findall(r"^<([a-z]+)>", example, re.MULTILINE)[0])


def test_the_g90_examples_are_the_vectors_of_the_tests() -> None:
    assert tuple(g90_examples()) == G90_VECTORS


def test_there_is_an_example_of_each_message_of_sos_access() -> None:
    assert {_root(example) for example in sos_access_examples()} == set(MESSAGES)


@pytest.mark.parametrize("example", sos_access_examples(), ids=_root)
def test_the_sos_access_examples_are_what_is_sent(example: str) -> None:
    head, body = example.strip().split("\n", 1)
    indented = re.sub(r"\s*\n\s*", "", body)
    sent = f"{head}\n{indented}".encode("iso-8859-1")
    assert MESSAGES[_root(example)].from_xml(sent).to_xml() == sent
