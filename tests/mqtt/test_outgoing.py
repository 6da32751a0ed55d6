"""What waits for the broker: states that it does not hold, events once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bridge.common.models import Reply
from bridge.mqtt.outgoing import Event, Outgoing

MOST = "bridge.mqtt.outgoing._MOST_EVENTS"


@pytest.fixture
def outgoing() -> Outgoing:
    return Outgoing(asyncio.Event())


def publish_events(outgoing: Outgoing) -> list[tuple[str, str]]:
    """Publish the waiting events as the session does; return those that went out."""
    sent = []
    for _ in range(outgoing.waiting_events):
        event = outgoing.next_event()
        if event.topic and not outgoing.is_held(event):
            sent.append((event.topic, event.payload))
        outgoing.event_published(event)
        outgoing.event_done()
    return sent


def publish_states(outgoing: Outgoing, most: int = 10) -> dict[str, str]:
    topics, changed = outgoing.due_states(most)
    outgoing.states_published(topics, changed)
    return changed


def test_a_state_is_published_until_the_broker_holds_it(outgoing: Outgoing) -> None:
    assert outgoing.is_empty
    outgoing.state("a", "1")
    assert (outgoing.is_empty, outgoing.waiting_states) == (False, 1)
    assert outgoing.due_states(10) == (["a"], {"a": "1"})
    assert publish_states(outgoing) == {"a": "1"}  # still due: a connection that broke before publishes nothing
    assert outgoing.is_empty
    assert outgoing.held == {"a": "1"}
    outgoing.state("a", "1")
    assert outgoing.is_empty
    outgoing.state_again("a")
    assert publish_states(outgoing) == {"a": "1"}


def test_states_go_a_few_at_a_time_those_due_longest_first(outgoing: Outgoing) -> None:
    for topic in "abc":
        outgoing.state(topic, "1")
    outgoing.state("a", "2")
    assert publish_states(outgoing, 2) == {"a": "2", "b": "1"}
    assert publish_states(outgoing, 2) == {"c": "1"}


def test_a_state_that_changes_while_it_is_published_is_due_again_after_the_others(outgoing: Outgoing) -> None:
    for topic in "ab":
        outgoing.state(topic, "1")
    topics, changed = outgoing.due_states(1)
    outgoing.state("a", "2")
    outgoing.states_published(topics, changed)
    assert outgoing.due_states(10) == (["b", "a"], {"b": "1", "a": "2"})


def test_after_a_reconnect_only_what_the_broker_does_not_hold_is_published(outgoing: Outgoing) -> None:
    for topic in "abc":
        outgoing.state(topic, "1")
    publish_states(outgoing)
    outgoing.forget_held()
    assert outgoing.held == {}
    for topic, payload in (("a", "1"), ("b", "0"), ("stale", "x")):
        outgoing.hold(topic, payload)
    outgoing.hold("stale", None)
    outgoing.hold("stale", None)
    assert outgoing.held == {"a": "1", "b": "0"}
    outgoing.check_all()
    assert publish_states(outgoing) == {"b": "1", "c": "1"}
    assert outgoing.is_empty


def test_events_go_out_once_in_order_and_say_when_the_broker_has_them(outgoing: Outgoing) -> None:
    done: list[str] = []
    for name in ("first", "second"):
        outgoing.publish("event", name, done=lambda name=name: done.append(name))  # type: ignore[misc]
    reply = Reply("answers", b"7")
    outgoing.publish_reply(reply, "{}")
    assert outgoing.next_event().payload == "first"
    assert outgoing.next_event().payload == "first"
    assert outgoing.waiting_events == 3
    assert publish_events(outgoing) == [("event", "first"), ("event", "second")]
    assert done == ["first", "second"]
    assert outgoing.is_empty
    outgoing.publish_reply(reply, "{}")
    assert outgoing.next_event() == Event("", "{}", reply=reply)


def test_an_event_that_is_not_retained_is_published_whatever_the_broker_holds(outgoing: Outgoing) -> None:
    for _ in range(2):
        outgoing.publish("event", "{}")
    assert len(publish_events(outgoing)) == 2
    assert outgoing.held == {}
    outgoing.check_all()
    assert outgoing.is_empty


def test_a_retained_event_that_the_broker_holds_is_not_published_again(outgoing: Outgoing) -> None:
    """Such as one whose reply the broker did not take: only that is tried again."""
    for _ in range(2):
        outgoing.publish("result", "1", retain=True)
    assert publish_events(outgoing) == [("result", "1")]


def test_a_retained_event_is_a_state_from_then_on(outgoing: Outgoing) -> None:
    outgoing.publish("result", "1", retain=True)
    publish_events(outgoing)
    outgoing.forget_held()
    outgoing.check_all()
    assert publish_states(outgoing) == {"result": "1"}


@pytest.mark.parametrize("state_first", [True, False])
def test_the_last_word_on_a_topic_counts(outgoing: Outgoing, *, state_first: bool) -> None:
    if state_first:
        outgoing.state("device", "state")
    outgoing.publish("device", "event", retain=True)
    if not state_first:
        outgoing.state("device", "state")
    publish_events(outgoing)
    publish_states(outgoing)
    assert outgoing.held == {"device": "event" if state_first else "state"}
    assert outgoing.is_empty


def test_events_are_bounded_but_for_those_that_say_when_they_are_done(
    outgoing: Outgoing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(MOST, 2)
    for number in range(3):
        outgoing.publish("event", str(number))
    outgoing.publish("result", "kept", done=lambda: None)
    assert publish_events(outgoing) == [("event", "0"), ("event", "1"), ("result", "kept")]
    assert "dropped an event for event: 2 are waiting" in caplog.text


def test_each_of_them_wakes_the_session() -> None:
    work = asyncio.Event()
    outgoing = Outgoing(work)
    outgoing.state("a", "1")
    publishers: tuple[Callable[[], None], ...] = (
        lambda: outgoing.state("a", "2"),
        lambda: outgoing.state_again("a"),
        lambda: outgoing.publish("event", "{}"),
        lambda: outgoing.publish_reply(Reply("answers"), "{}"),
    )
    for put in publishers:
        work.clear()
        put()
        assert work.is_set()
    work.clear()
    outgoing.state("a", "2")
    assert not work.is_set()


def test_at_most_ten_thousand_events_wait(outgoing: Outgoing) -> None:
    for _ in range(10_001):
        outgoing.publish("event", "{}")
    assert outgoing.waiting_events == 10_000


def test_a_follower_learns_of_changed_states_and_of_each_event(outgoing: Outgoing) -> None:
    seen: list[tuple[str, str, bool]] = []
    outgoing.follow(lambda *message: seen.append(message))
    outgoing.state("a", "1")
    outgoing.state("a", "1")
    outgoing.publish("b", "2")
    outgoing.publish("b", "2")
    assert seen == [("a", "1", False), ("b", "2", True), ("b", "2", True)]
