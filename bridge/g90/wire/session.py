"""The protocol of one panel connection, without a socket: bytes in, messages and answers out.

Feed what arrives, then read messages until there is none. A message that cannot be parsed is returned as `Unreadable`;
only a stream that cannot be split into messages raises. The GUID is that of the last hello, or before the first hello
that of the first alert that has a valid one (PROTOCOL.md, Attribution of reports).
"""

from __future__ import annotations

from collections.abc import Callable

from bridge.common.values import value
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


@value(frozen=True, slots=True)
class Unreadable:
    """A message that cannot be parsed and is skipped."""

    reason: str


@value(frozen=True, slots=True)
class ReceivedMessage:
    message: FromPanel | Unreadable
    raw: bytes
    """The complete message as received, for the upstream."""
    answer: bytes = b""


class PanelSession:
    """The protocol of one connection. `host` and `port` are sent to the panel as its server.

    `now` returns the Unix time to send to the panel, in seconds.
    """

    def __init__(self, host: str, port: int, now: Callable[[], int]) -> None:
        self._host = host
        self._port = port
        self._now = now
        self._hello_answer = answer_hello(port)
        self._buffer = FrameBuffer()
        self.guid: str | None = None

    def feed(self, data: bytes) -> None:
        self._buffer.feed(data)

    def read(self) -> ReceivedMessage | None:
        """Return the next message, None until it is complete.

        Raises `FrameError` if the stream cannot be split into messages any more.
        """
        frame = self._buffer.take()
        if frame is None:
            return None
        try:
            message = parse(frame)
        except MessageError as error:
            return ReceivedMessage(Unreadable(str(error)), frame.raw)
        return ReceivedMessage(message, frame.raw, self._answer(message))

    def _answer(self, message: FromPanel) -> bytes:
        match message:
            case Alert():
                if self.guid is None and is_guid(message.guid or ""):
                    self.guid = message.guid
            case Ping():
                return PING
            case Hello():
                self.guid = message.guid
                return self._hello_answer
            case Discovery():
                self.guid = message.guid
                return answer_discovery(self._host, self._port, self._now())
        return b""
