"""Notifications to the service manager over $NOTIFY_SOCKET (sd_notify), and our own watchdog.

A process that hangs is ended by systemd or, in a container, by itself, and is started again.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping

from bridge.common.loop import within

log = logging.getLogger(__name__)

_TURN_S = 20.0
"""Interval of notifications if it sets no watchdog: well within its usual 90 s for a start."""
_ENDED_AFTER_S = 180.0
"""How long we may hang: longer than an outside watchdog, which leaves a better trace."""
_STDERR = 2
_MICROSECONDS = 1_000_000


class Manager:
    """The service manager that started us, if any listens."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        watchdog_us = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = ours and watchdog_us.isdecimal() and int(watchdog_us) > 0
        self.turn_s = int(watchdog_us) / _MICROSECONDS / 2 if watched else _TURN_S
        """Seconds between notifications."""

    @property
    def listens(self) -> bool:
        return self._address.startswith(("/", "@"))

    def notify(self, **news: object) -> bool:
        if not self.listens:
            return False
        address = self._address.replace("@", "\0", 1) if self._address.startswith("@") else self._address
        message = "\n".join(f"{name}={value}" for name, value in news.items()).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(0)
                sender.sendto(message, address)
        except OSError as error:
            log.warning("cannot notify the service manager: %s", error.strerror or type(error).__name__)
            return False
        return True


async def watch(
    manager: Manager,
    online: asyncio.Event,
    hanging: Callable[[], Awaitable[list[str]]],
    state: Callable[[], str] | None = None,
) -> None:
    """Notify that we live while nothing is `hanging`, and once that we are online, until cancelled.

    Being online may take as long as the broker is away: until then the time that a start may take is extended.
    `state` says what we do, by default whether we are online.
    """
    state = state or (lambda: "online" if online.is_set() else "the broker is away")
    ready = False
    try:
        while True:
            hangs = await found(hanging, manager.turn_s / 2)
            if hangs:
                log.critical("hanging: %s; unless that changes this process is ended", ", ".join(hangs))
            else:
                faulthandler.dump_traceback_later(_ENDED_AFTER_S, exit=True, file=_STDERR)
                extended = {} if ready else {"EXTEND_TIMEOUT_USEC": int(4 * manager.turn_s * _MICROSECONDS)}
                manager.notify(WATCHDOG=1, STATUS=state(), **extended)
            if online.is_set() and not ready:
                ready = manager.notify(READY=1)
            await within(manager.turn_s, (asyncio.Event() if online.is_set() else online).wait())
    finally:
        faulthandler.cancel_dump_traceback_later()


async def found(hanging: Callable[[], Awaitable[list[str]]], within: float) -> list[str]:
    """Return what hangs; the store if it does not answer `within` so many seconds."""
    try:
        async with asyncio.timeout(within):
            return await hanging()
    except TimeoutError:
        return ["the store"]
