"""What transmitters share: connections, TLS contexts, and how connecting to an address went."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

from bridge.sos_access.connection import AT_ONCE, Dialer
from bridge.sos_access.peer import Peer
from bridge.sos_access.tls import TlsPolicy, tls_context
from bridge.transmitters.attempts import Attempt
from bridge.transmitters.routes import Route

Key = tuple[object, ...]
Address = tuple[str, int]
Heard = Callable[[Route, Attempt | None], None]

CHECKS_AT_ONCE = AT_ONCE // 2
"""Heartbeats and checks at one address at once: alarms find the other places free."""
_BEGIN_EACH_S, _LONGEST_BEGIN_S = 0.005, 60.0
"""Between two transmitters that begin. Thousands at once keep the loop busy for longer than a connection may take."""
_FEW = 100
"""Transmitters at one address that hear everything at once."""
_TELL_EACH_S = 0.001
"""Between two news of one kind, for each of more followers. To hear of it takes a tenth of that."""


class Pace:
    """Lets transmitters begin one after the other: those of all shards that one process owns."""

    def __init__(self) -> None:
        self._next_at = float("-inf")

    def begin_after(self) -> float:
        """Return the seconds after which the next transmitter begins, unless it has something to send."""
        now = _now()
        wait = min(max(self._next_at - now, 0.0), _LONGEST_BEGIN_S)
        self._next_at = now + wait + _BEGIN_EACH_S
        return wait


class Network:
    """A receiver that one transmitter finds dead is known to others of the same address, path and TLS."""

    def __init__(
        self,
        dialer: Dialer | None = None,
        answered: Callable[[float], None] = lambda _: None,
        permit: Callable[[], bool] = lambda: True,
        pace: Pace | None = None,
    ) -> None:
        """`answered` is called with the seconds from sending each message to its answer."""
        self.answered = answered
        self.pace = pace or Pace()
        self.permit = permit
        """Whether this process may send now: another node may own the transmitters by now."""
        self.stored_first = False
        """Whether a transmitter sends nothing until the results before are stored: the next owner sends them again."""
        self.dialer = dialer or Dialer()
        self._policies: dict[str, TlsPolicy] = {}
        self._followers: dict[Key, list[tuple[object, Route, Heard]]] = defaultdict(list)
        self._doubted: set[Key] = set()
        """Where one more connection is news: of a new follower, or after a failure."""
        self._next_at: dict[tuple[Key, str], float] = {}
        """When the followers of an address hear the next news of a kind."""
        self._places: defaultdict[Address, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(CHECKS_AT_ONCE))
        self._served_at: dict[Address, float] = {}
        """When a heartbeat or check at an address succeeded last."""

    def policy(self, verify: str) -> TlsPolicy:
        """Return the policy for a `tls_verify`, the same for all. Raises ConfigError."""
        if verify not in self._policies:
            self._policies[verify] = tls_context(verify)
        return self._policies[verify]

    def follow(self, peer: Peer, route: Route, line: object, heard: Heard) -> None:
        """Call `heard` with what other lines find out about connecting to `peer`, which is `route` of `line`."""
        self._followers[_key(peer)].append((line, route, heard))
        self._doubted.add(_key(peer))

    def tell(self, peer: Peer, line: object, attempt: Attempt | None) -> None:
        """Note how connecting ended for `line`; None: it takes long.

        Where a receiver fails for thousands, each failure is not told to each of them: what they would do about it is
        much the same from one second to the next.
        """
        key = _key(peer)
        good = attempt is not None and not attempt.error
        if not good:
            self._doubted.add(key)
        elif key not in self._doubted:
            return
        if not self._is_due((key, "late" if attempt is None else "connected" if good else "failed")):
            return
        if good:
            self._doubted.discard(key)
        for other, route, heard in self._followers[key]:
            if other is not line:
                heard(route, attempt)

    def _is_due(self, news: tuple[Key, str]) -> bool:
        """Return whether the followers of an address hear such news now."""
        followers = len(self._followers[news[0]])
        if followers <= _FEW:
            return True
        now = _now()
        if now < self._next_at.get(news, now):
            return False
        self._next_at[news] = now + _TELL_EACH_S * followers
        return True

    @contextlib.asynccontextmanager
    async def check_place(self, peer: Peer) -> AsyncIterator[None]:
        """Wait for a place for a heartbeat or a check, as long as others succeed at this address.

        Else the first heartbeats of thousands would wait for each other until they count as failed.
        """
        places, held = self._places[peer.address], False
        while not held:
            try:
                async with asyncio.timeout(peer.connect_timeout):
                    held = await places.acquire()
            except TimeoutError:
                if _now() - self._served_at.get(peer.address, float("-inf")) > peer.connect_timeout:
                    break  # it hangs: each has to find out, and to try another route
        try:
            yield
        finally:
            if held:
                places.release()

    def served(self, peer: Peer) -> None:
        """Note that a heartbeat or check succeeded."""
        self._served_at[peer.address] = _now()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _key(peer: Peer) -> Key:
    return peer.address, peer.tls, peer.tls_name, peer.interface, peer.source
