"""What transmitters share: connections, TLS contexts, and how connecting to an address went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from bridge.sos_access.connection import Dialer
from bridge.sos_access.peer import Peer
from bridge.sos_access.tls import TlsPolicy, tls_context
from bridge.transmitters.attempts import Attempt
from bridge.transmitters.routes import Route

Key = tuple[object, ...]
Heard = Callable[[Route, Attempt | None], None]


class Network:
    """A receiver that one transmitter finds dead is known to others of the same address, path and TLS."""

    def __init__(
        self,
        dialer: Dialer | None = None,
        answered: Callable[[float], None] = lambda _: None,
        permit: Callable[[], bool] = lambda: True,
    ) -> None:
        """`answered` is called with the seconds from sending each message to its answer."""
        self.answered = answered
        self.permit = permit
        """Whether this process may send now: another node may own the transmitters by now."""
        self.stored_first = False
        """Whether a transmitter sends nothing until the results before are stored: the next owner sends them again."""
        self.dialer = dialer or Dialer()
        self._policies: dict[str, TlsPolicy] = {}
        self._followers: dict[Key, list[tuple[object, Route, Heard]]] = defaultdict(list)
        self._doubted: set[Key] = set()
        """Where one more connection is news: of a new follower, or after a failure."""

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
        """Note how connecting ended for `line`; None: it takes long."""
        key = _key(peer)
        if attempt is None or attempt.error:
            self._doubted.add(key)
        elif key in self._doubted:
            self._doubted.discard(key)
        else:
            return
        for other, route, heard in self._followers[key]:
            if other is not line:
                heard(route, attempt)


def _key(peer: Peer) -> Key:
    return peer.address, peer.tls, peer.tls_name, peer.interface, peer.source
