"""What transmitters with the same receiver learn from each other's connections."""

from __future__ import annotations

from bridge.sos_access.peer import Peer
from bridge.transmitters.attempts import Attempt
from bridge.transmitters.network import Network
from bridge.transmitters.routes import Route

PEER, ROUTE = Peer(("192.0.2.1", 1)), Route("primary")
CONNECTED, FAILED = Attempt(ROUTE, took_s=0.1), Attempt(ROUTE, error="refused", connected=False)


class Lines:
    """Lines at one receiver, and what each heard."""

    def __init__(self, *names: str) -> None:
        self.network = Network()
        self.heard: list[tuple[str, Attempt | None]] = []
        for name in names:
            self.follow(name)

    def follow(self, name: str) -> None:
        self.network.follow(PEER, ROUTE, name, lambda _, attempt: self.heard.append((name, attempt)))

    def heard_of(self, attempt: Attempt | None) -> list[str]:
        """Return who hears of an attempt of line `one`."""
        self.heard.clear()
        self.network.tell(PEER, "one", attempt)
        assert all(found == attempt for _, found in self.heard)
        return [name for name, _ in self.heard]


def test_each_failure_is_heard_by_all_others_and_the_first_connection_after_it() -> None:
    lines = Lines("one", "two", "three")
    for attempt in (FAILED, FAILED, None, CONNECTED):
        assert lines.heard_of(attempt) == ["two", "three"]
    assert lines.heard_of(CONNECTED) == [], "each alarm would cost something at every other line"


def test_who_comes_later_hears_of_the_next_connection() -> None:
    lines = Lines("one", "two")
    lines.heard_of(CONNECTED)
    lines.follow("three")
    assert lines.heard_of(CONNECTED) == ["two", "three"]
    assert lines.heard_of(CONNECTED) == []
