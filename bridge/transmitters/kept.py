"""What a line knows of its routes, as it is kept over a restart. Times are kept as ages."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from bridge.common.clock import Clock
from bridge.common.models import Moment, Secret
from bridge.sos_access.peer import Peer
from bridge.transmitters.rounds import LineState
from bridge.transmitters.routes import Route

Addresses = Mapping[str, tuple[str, ...]]


class Setup(NamedTuple):
    """The configuration that the state was found with: what was found with another one does not count."""

    transmitter_code: str
    transmitter_type: str
    password: Secret
    """The configured one."""
    peers: Mapping[Route, Peer]

    def place(self, route: Route) -> list[object]:
        """Return where `route` goes, and as whom."""
        peer = self.peers[route]
        tls = [peer.tls is not None, peer.tls_name]
        return [self.transmitter_code, self.transmitter_type, *peer.address, peer.interface, peer.source, *tls]

    def login(self, receiver: str, salt: str) -> str:
        """Return a hash that shows whether another password, account or address is configured for `receiver`."""
        addresses = sorted({peer.address for route, peer in self.peers.items() if route.receiver == receiver})
        login = [salt, self.transmitter_code, self.transmitter_type, addresses, self.password.reveal()]
        return hashlib.sha256(json.dumps(login).encode()).hexdigest()


def dump(line: LineState, setup: Setup, addresses: Addresses, clock: Clock, now: float) -> str:
    """Return what `load` reads."""
    moment, salt = clock.moment(), secrets.token_hex(16)
    content = {
        "at": [clock.now().timestamp(), moment.boot, moment.steady, moment.sure],
        "routes": [each | {"place": setup.place(_route(each))} for each in line.routes.as_json(now)],
        "logins": line.logins.as_json(now),
        "salt": salt,
        "logged_in_as": {receiver: setup.login(receiver, salt) for receiver in line.logins.refusals},
        "supervision": line.supervision.as_json(now),
        "addresses": addresses,
    }
    return json.dumps(content)


def load(text: str, line: LineState, setup: Setup, clock: Clock, now: float) -> Addresses:
    """Restore into `line` what `dump` returned, as far as it was found with the same setup.

    Return the addresses of names. Raises ValueError.
    """
    try:
        content: Mapping[str, Any] = json.loads(text)
        at, boot, steady, sure = content["at"]
        elapsed = max(clock.age_s(Moment(boot, float(steady), sure=sure), datetime.fromtimestamp(at).astimezone()), 0.0)
        routes = [each for each in content["routes"] if _route(each) in setup.peers and _is_same(each, setup)]
        line.routes.load(routes, now, elapsed)
        salt, marks = str(content.get("salt")), content.get("logged_in_as", {})  # without them: of an older version
        logins = {name: each for name, each in content["logins"].items() if marks.get(name) == setup.login(name, salt)}
        line.logins.load(logins, now, elapsed)
        line.supervision.load(content["supervision"], now, elapsed)
        addresses = {str(host): tuple(map(str, found)) for host, found in content["addresses"].items()}
    except (LookupError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise ValueError(f"the state of the routes cannot be read ({type(error).__name__})") from None
    _continue(line)
    return addresses


def _route(stored: Mapping[str, Any]) -> Route:
    return Route(stored["receiver"], stored["path"])


def _is_same(stored: Mapping[str, Any], setup: Setup) -> bool:
    place = setup.place(_route(stored))
    return bool(stored.get("place", place) == place)  # older versions stored none


def _continue(line: LineState) -> None:
    """Continue the link's count. Successes are not written, so the stored one was not the last."""
    failing = [h.failing_since for h in line.routes.health.values() if h.failing_since is not None]
    if not line.routes.serving and failing:
        line.started = min(line.started, *failing)
        return
    for health in line.routes.health.values():
        health.last_success = None


def edges(line: LineState, addresses: Addresses) -> tuple[object, ...]:
    """Return what makes the state worth writing when it changes."""
    routes: Iterable[object] = (
        (h.reachable, h.served, h.unconnected, h.down, h.demoted, h.demoted_s, h.failing_since is None)
        for h in line.routes.health.values()
    )
    logins = tuple((receiver, each.step) for receiver, each in line.logins.refusals.items())
    supervision = line.supervision
    return (
        *routes, logins, supervision.gap_s, supervision.too_often_at, supervision.paused_until, tuple(addresses.items())
    )  # fmt: skip
