"""One connection of a panel without its socket: bytes in, what was said and the bytes that answer it out.

Feed what arrives, then take readings until there is none. A message that cannot be understood is a reading, too; only a
stream that cannot be cut into messages any more ends in an error. The GUID is that of the last hello, before any hello
that of the first alert, which names it as well.
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
    parse,
    valid_guid,
)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that was skipped."""

    reason: str


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    message: FromPanel | Unreadable
    raw: bytes
    """The whole message as it came, for the upstream."""
    answer: bytes = b""


class Session:
    """The protocol of one connection. `host` and `port` are what the panel is told to dial."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._hello_answer = answer_hello(port)
        self._buffer = FrameBuffer()
        self.guid: str | None = None
        self.skipped = 0

    def feed(self, data: bytes) -> None:
        self._buffer.feed(data)

    def is_whole_ping(self, data: bytes) -> bool:
        """Whether `data`, if fed now, is one ping and nothing else: most of what panels send."""
        return data == PING and not self._buffer

    def read(self, now: int) -> ReceivedMessage | None:
        """Return the next message, None until it is whole. `now`: Unix time in seconds.

        Raises `FrameError` where no further message can be found in the stream.
        """
        frame = self._buffer.take()
        if frame is None:
            return None
        try:
            message = parse(frame)
            self._identify(message)
        except MessageError as error:
            self.skipped += 1
            return ReceivedMessage(Unreadable(str(error)), frame.raw)
        return ReceivedMessage(message, frame.raw, self._answer(message, now))

    def _identify(self, message: FromPanel) -> None:
        if isinstance(message, Hello | Discovery):
            self.guid = message.guid
        elif isinstance(message, Alert) and message.guid:
            guid = valid_guid(message.guid)
            self.guid = self.guid or guid

    def _answer(self, message: FromPanel, now: int) -> bytes:
        if isinstance(message, Ping):
            return PING
        if isinstance(message, Hello):
            return self._hello_answer
        return answer_discovery(self._host, self._port, now) if isinstance(message, Discovery) else b""
