"""What a line knows of its routes, as it is kept over a restart. Times are kept as ages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from bridge.common.clock import Clock
from bridge.common.models import Moment
from bridge.transmitters.rounds import LineState

Addresses = Mapping[str, tuple[str, ...]]


def dump(line: LineState, addresses: Addresses, clock: Clock, now: float) -> str:
    """Return what `load` reads."""
    moment = clock.moment()
    content = {
        "at": [clock.now().timestamp(), moment.boot, moment.steady, moment.sure],
        "routes": line.routes.as_json(now),
        "logins": line.logins.as_json(now),
        "supervision": line.supervision.as_json(now),
        "addresses": addresses,
    }
    return json.dumps(content)


def load(text: str, line: LineState, clock: Clock, now: float) -> Addresses:
    """Restore into `line` what `dump` returned; return the addresses of names. Raises ValueError."""
    try:
        content: Mapping[str, Any] = json.loads(text)
        at, boot, steady, sure = content["at"]
        elapsed = max(clock.age_s(Moment(boot, float(steady), sure=sure), datetime.fromtimestamp(at).astimezone()), 0.0)
        line.routes.load(content["routes"], now, elapsed)
        line.logins.load(content["logins"], now, elapsed)
        line.supervision.load(content["supervision"], now, elapsed)
        addresses = {str(host): tuple(map(str, found)) for host, found in content["addresses"].items()}
    except (LookupError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise ValueError(f"the state of the routes cannot be read ({type(error).__name__})") from None
    _continue(line)
    return addresses


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
