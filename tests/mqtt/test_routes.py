"""From a topic to its handler: each message to one, in order, retained commands to none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bridge.common.models import Incoming
from bridge.mqtt.routes import Router, TopicRoute


class Table:
    """Two routes of commands to one handler, one of notices; it notes what comes."""

    def __init__(self) -> None:
        self.handled: list[tuple[str, list[bytes]]] = []
        self.events: list[tuple[str, dict[str, object]]] = []
        routes = (
            TopicRoute("home/status", self.notices, retained=True),
            TopicRoute("b/+/ping", self.commands),
            TopicRoute("b/+/alarm/raise", self.commands),
        )
        self.router = Router(routes, self.emit)

    def emit(self, kind: str, **details: object) -> None:
        self.events.append((kind, details))

    async def commands(self, batch: Sequence[Incoming]) -> None:
        self.handled.append(("commands", [message.payload for message in batch]))

    async def notices(self, batch: Sequence[Incoming]) -> None:
        self.handled.append(("notices", [message.payload for message in batch]))


def message(topic: str, payload: bytes, *, retained: bool = False) -> Incoming:
    return Incoming(topic, payload, retained=retained, duplicate=False, mid=1, reply=None)


def dispatched(*batch: Incoming) -> Table:
    table = Table()
    asyncio.run(table.router.dispatch(batch))
    return table


def test_the_filters_are_those_of_all_routes() -> None:
    router = Table().router
    assert {qos: [*filters] for qos, filters in router.filters.items()} == {
        1: ["home/status", "b/+/ping", "b/+/alarm/raise"]
    }
    assert router.takes("b/x/alarm/raise")
    assert not router.takes("b/x/alarm/restore")
    assert not router.takes("b/ping")


def test_what_arrives_together_is_handled_together_in_the_order_of_the_routes() -> None:
    table = dispatched(
        message("b/x/alarm/raise", b"1"),
        message("home/status", b"online"),
        message("b/x/ping", b"2"),
        message("b/y/alarm/raise", b"3"),
    )
    assert table.handled == [("notices", [b"online"]), ("commands", [b"1", b"2", b"3"])]
    assert table.events == []


def test_a_topic_of_no_route_is_passed_over() -> None:
    """An earlier version may have subscribed to it in this session."""
    assert dispatched(message("b/x/link", b"ON")).handled == []


def test_a_retained_command_is_refused_and_a_retained_notice_is_not() -> None:
    table = dispatched(
        message("b/x/ping", b"now", retained=True),
        message("b/x/ping", b"later"),
        message("home/status", b"online", retained=True),
    )
    assert table.handled == [("notices", [b"online"]), ("commands", [b"later"])]
    [(kind, details)] = table.events
    assert (kind, details["topic"]) == ("retained_command_ignored", "b/x/ping")
    assert "mosquitto_pub -r -n -t 'b/x/ping'" in str(details["reason"])


def test_clearing_a_retained_command_is_not_reported() -> None:
    table = dispatched(message("b/x/ping", b"", retained=True))
    assert (table.handled, table.events) == ([], [])
