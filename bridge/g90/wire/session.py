"""The protocol of one panel connection, without a socket: bytes in; messages and the bytes that answer them out.

Feed what arrives, then read messages until there is none. A message that cannot be parsed is returned as `Unreadable`;
only a stream that cannot be split into messages raises. The GUID is that of the last hello, or before the first hello
that of the first alert that has a valid one (PROTOCOL.md, Attribution of reports).
"""

from __future__ import annotations

from dataclasses import dataclass

from bridge.g90.wire.events import Alert
from bridge.g90.wire.frames import FrameBuffer, MessageError
from bridge.g90.wire.messages import (
    PING,
    Discovery,
    FromPanel,
    Hello,
    Ping,
    answer_discovery,
    answer_hello,
    is_guid,
    parse,
)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that cannot be parsed and is skipped."""

    reason: str


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    message: FromPanel | Unreadable
    raw: bytes
    """The complete message as received, for the upstream."""
    answer: bytes = b""


class PanelSession:
    """The protocol of one connection. `host` and `port` are sent to the panel as its server."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._hello_answer = answer_hello(port)
        self._buffer = FrameBuffer()
        self.guid: str | None = None

    def feed(self, data: bytes) -> None:
        self._buffer.feed(data)

    @property
    def at_boundary(self) -> bool:
        """Whether what is fed next begins a message."""
        return not self._buffer

    def read(self, now: int) -> ReceivedMessage | None:
        """Return the next message, None until it is complete. `now`: Unix time in seconds.

        Raises `FrameError` if the stream cannot be split into messages any more.
        """
        frame = self._buffer.take()
        if frame is None:
            return None
        try:
            message = parse(frame)
            self._identify(message)
        except MessageError as error:
            return ReceivedMessage(Unreadable(str(error)), frame.raw)
        return ReceivedMessage(message, frame.raw, self._answer(message, now))

    def _identify(self, message: FromPanel) -> None:
        if isinstance(message, Hello | Discovery):
            self.guid = message.guid
        elif isinstance(message, Alert) and message.guid and is_guid(message.guid):
            self.guid = self.guid or message.guid

    def _answer(self, message: FromPanel, now: int) -> bytes:
        if isinstance(message, Ping):
            return PING
        if isinstance(message, Hello):
            return self._hello_answer
        return answer_discovery(self._host, self._port, now) if isinstance(message, Discovery) else b""
