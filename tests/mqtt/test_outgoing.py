"""States and events that wait for the broker."""

from __future__ import annotations

import pytest

from bridge.common.models import Reply
from bridge.mqtt.outgoing import Event, Outgoing


class Work:
    """Counts how often work was announced."""

    def __init__(self) -> None:
        self.announced = 0

    def set(self) -> None:
        self.announced += 1

    def clear(self) -> None: ...

    async def wait(self) -> bool:
        return True


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def outgoing(work: Work) -> Outgoing:
    return Outgoing(work)


def publish_due(outgoing: Outgoing, most: int = 100) -> dict[str, str]:
    """Publish what is due, as the session does, and return it."""
    topics, payloads = outgoing.due_states(most)
    outgoing.states_published(topics, payloads)
    return payloads


def test_a_state_is_published_where_the_broker_holds_something_else(outgoing: Outgoing, work: Work) -> None:
    assert outgoing.is_empty
    outgoing.state("a", "1")
    outgoing.state("b", "1")
    assert (work.announced, outgoing.waiting_states, outgoing.is_empty) == (2, 2, False)
    outgoing.hold("b", "1")
    assert publish_due(outgoing) == {"a": "1"}
    assert outgoing.is_empty
    assert outgoing.held == {"a": "1", "b": "1"}
    outgoing.state("a", "1")
    assert (work.announced, outgoing.is_empty) == (2, True)


def test_states_are_published_a_few_at_a_time_those_due_longest_first(outgoing: Outgoing) -> None:
    for topic in "abc":
        outgoing.state(topic, "1")
    assert publish_due(outgoing, 2) == {"a": "1", "b": "1"}
    assert publish_due(outgoing, 2) == {"c": "1"}


def test_what_changes_while_it_is_published_is_due_again(outgoing: Outgoing) -> None:
    outgoing.state("a", "1")
    topics, payloads = outgoing.due_states(1)
    outgoing.state("a", "2")
    outgoing.states_published(topics, payloads)
    assert publish_due(outgoing) == {"a": "2"}
    assert outgoing.is_empty


def test_a_new_connection_compares_everything_anew(outgoing: Outgoing) -> None:
    outgoing.state("a", "1")
    outgoing.state("b", "1")
    publish_due(outgoing)
    outgoing.forget_held()
    outgoing.hold("a", "1")
    outgoing.hold("b", "1")
    outgoing.hold("b", None)
    outgoing.check_all()
    assert publish_due(outgoing) == {"b": "1"}


def test_a_state_is_published_again_on_request(outgoing: Outgoing, work: Work) -> None:
    outgoing.state("a", "1")
    publish_due(outgoing)
    outgoing.state_again("a")
    assert work.announced == 2
    assert publish_due(outgoing) == {"a": "1"}


def test_events_go_out_in_order_and_say_when_they_are_out(outgoing: Outgoing, work: Work) -> None:
    done: list[str] = []
    reply = Reply("answers", b"1")
    outgoing.publish("a", "1", done=lambda: done.append("a"))
    outgoing.publish("b", "2", reply=reply)
    outgoing.publish_reply(reply, "3")
    assert (work.announced, outgoing.waiting_events, outgoing.is_empty) == (3, 3, False)
    found: list[tuple[str, str, Reply | None]] = []
    while not outgoing.is_empty:
        event = outgoing.next_event()
        assert outgoing.next_event() is event
        outgoing.event_published(event)
        outgoing.event_done()
        found.append((event.topic, event.payload, event.reply))
    assert found == [("a", "1", None), ("b", "2", reply), ("", "3", reply)]
    assert done == ["a"]
    assert outgoing.held == {}


def test_ten_thousand_events_wait_and_more_where_the_sender_bounds_them(
    outgoing: Outgoing, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10_001):
        outgoing.publish("a", "1")
    assert outgoing.waiting_events == 10_000
    assert caplog.text.count("dropped an event for a") == 1
    outgoing.publish("a", "1", done=lambda: None)
    assert outgoing.waiting_events == 10_001


def test_a_retained_event_is_the_state_from_then_on(outgoing: Outgoing) -> None:
    outgoing.state("a", "1")
    publish_due(outgoing)
    outgoing.publish("a", "2", retain=True)
    event = outgoing.next_event()
    assert not outgoing.is_held(event)
    outgoing.event_published(event)
    outgoing.event_done()
    assert outgoing.is_held(event)
    assert not outgoing.is_held(Event("a", "2"))
    outgoing.check_all()
    assert publish_due(outgoing) == {}
    assert outgoing.held == {"a": "2"}


def test_a_state_that_was_declared_after_a_retained_event_has_the_last_word(outgoing: Outgoing) -> None:
    outgoing.publish("a", "1", retain=True)
    outgoing.state("a", "2")
    publish_due(outgoing)
    outgoing.event_published(outgoing.next_event())
    outgoing.event_done()
    assert publish_due(outgoing) == {"a": "2"}
