"""Finds panels in the local network by broadcast (PROTOCOL.md, Discovery)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from bridge.common.errors import ConfigError
from bridge.g90.wire.answers import DISCOVERY_ANSWER_PORT, DISCOVERY_PORT, ProbeAnswer, probe, probe_answer
from bridge.g90.wire.commands import (
    GET_HOST_INFO,
    CommandRefused,
    HostInfo,
    answer_data,
    host_info,
    local_request,
    unwrap,
)
from bridge.g90.wire.constants import LOCAL_PORT
from bridge.g90.wire.frames import MessageError

BROADCAST: Final = "255.255.255.255"
_TIMES: Final = 3


async def discover(
    guids: Sequence[str], wait: float, *, to: str = BROADCAST, port: int = LOCAL_PORT
) -> dict[str, HostInfo | ProbeAnswer]:
    """Return what answered, by address: to a request for the host info, and to probes for `guids`.

    `wait`: seconds. Raises `ConfigError` if nothing can be sent.
    """
    answers, probed = _Answers(), _Answers()
    with contextlib.ExitStack() as sockets:
        sender = await answers.listen(sockets, 0)
        if guids:
            await probed.listen(sockets, DISCOVERY_ANSWER_PORT)
        for _ in range(_TIMES):
            sender.sendto(local_request(GET_HOST_INFO, None), (to, port))
            for guid in guids:
                sender.sendto(probe(guid), (to, DISCOVERY_PORT))
            await asyncio.sleep(wait / _TIMES)
    if answers.fault and not answers.found:
        raise ConfigError(f"cannot send to {to}: {answers.fault}")
    return probed.found | answers.found


class _Answers(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.found: dict[str, HostInfo | ProbeAnswer] = {}
        self.fault: Exception | None = None

    async def listen(self, sockets: contextlib.ExitStack, port: int) -> asyncio.DatagramTransport:
        try:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: self,
                local_addr=("0.0.0.0", port),  # noqa: S104 - answers come from any panel
                allow_broadcast=True,
            )
        except OSError as error:
            raise ConfigError(f"cannot listen on UDP port {port}: {error}") from error
        sockets.callback(transport.close)
        return transport

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        try:
            answer = probe_answer(data) if not data.startswith(b"ISTART") else _host_info(data)
        except (MessageError, CommandRefused):
            return
        self.found[str(addr[0])] = answer

    def error_received(self, exc: Exception) -> None:
        self.fault = exc


def _host_info(data: bytes) -> HostInfo:
    return host_info(answer_data(GET_HOST_INFO, unwrap(data)) or [])
