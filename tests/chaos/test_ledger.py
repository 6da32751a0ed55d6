"""The account that judges a run: what it must find, it finds."""

from __future__ import annotations

import pytest
from chaos.ledger import RECEIVERS, Alarm, Arrived, Ledger, PanelAlarm
from chaos.order import overtaken
from chaos.rotation import Rotations
from chaos.table import faulty, table


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def sent(
    ledger: Ledger, number: int, *, at: float, published: int = 1, subject: str = "", urgent: bool = False
) -> Alarm:
    alarm = ledger.new("t1", number, subject or str(number), urgent=urgent)
    alarm.published = [at] * published
    alarm.acknowledged = at
    return alarm


def had(
    ledger: Ledger, alarm: Alarm, at: float, status: int | None = 0, *, answered: bool = True, by: str = "primary"
) -> None:
    attempt = ledger.arrived(Arrived(alarm.reference, "IK00001", by, status), at)
    attempt.ended, attempt.answered = at, answered


def refused(ledger: Ledger, alarm: Alarm, at: float, status: int = 98) -> None:
    """Let a whole round fail."""
    for receiver in RECEIVERS:
        had(ledger, alarm, at, status, by=receiver)


def delivered(ledger: Ledger, number: int, *, at: float, subject: str = "", urgent: bool = False) -> Alarm:
    alarm = sent(ledger, number, at=0, subject=subject, urgent=urgent)
    had(ledger, alarm, at)
    ledger.told(alarm.reference, "accepted", str(number))
    return alarm


def test_all_is_well_where_each_alarm_arrives_once_in_order(ledger: Ledger) -> None:
    delivered(ledger, 1, at=1)
    delivered(ledger, 2, at=2)
    assert faulty(ledger, Rotations()) == []
    assert "| **lost** | 0 |" in table(ledger, Rotations())


def test_nothing_sent_proves_nothing(ledger: Ledger) -> None:
    assert faulty(ledger, Rotations()) == ["no alarm was sent"]


def test_an_acknowledged_alarm_that_no_receiver_has_is_lost(ledger: Ledger) -> None:
    alarm = sent(ledger, 1, at=1)
    had(ledger, alarm, 2, status=None, answered=False)
    had(ledger, alarm, 3, status=5)
    ledger.told(alarm.reference, "accepted", "a result does not help")
    assert ledger.lost() == [alarm]


def test_a_rejected_alarm_was_answered(ledger: Ledger) -> None:
    alarm = sent(ledger, 1, at=1)
    refused(ledger, alarm, 2, status=7)
    ledger.told(alarm.reference, "rejected", "")
    assert faulty(ledger, Rotations()) == []


def test_an_alarm_that_one_receiver_refused_is_not_rejected(ledger: Ledger) -> None:
    alarm = sent(ledger, 1, at=1)
    had(ledger, alarm, 2, status=7)
    ledger.told(alarm.reference, "rejected", "")
    assert ledger.rejected_early() == [alarm]


def test_an_alarm_without_a_name_is_the_one_that_was_called_invalid(ledger: Ledger) -> None:
    alarm = sent(ledger, 1, at=1)
    refused(ledger, alarm, 2, status=3)
    ledger.arrived(Arrived(None, "IK00001", "primary", 0), 3)
    ledger.told(alarm.reference, "accepted", "")
    assert faulty(ledger, Rotations()) == []


@pytest.mark.parametrize(
    ("answered", "killed", "published", "reason"),
    [
        (True, None, 1, "no reason"),
        (True, 9.0, 1, "no reason"),
        (False, None, 1, "response lost"),
        (True, 1.5, 1, "process killed"),
        (True, None, 2, "published twice"),
    ],
)
def test_an_alarm_comes_twice_for_a_reason_only(
    ledger: Ledger, *, answered: bool, killed: float | None, published: int, reason: str
) -> None:
    alarm = sent(ledger, 1, at=1, published=published)
    had(ledger, alarm, 1, answered=answered)
    had(ledger, alarm, 2, status=10)
    ledger.kills = [killed] if killed else []
    assert list(ledger.twice()) == [(alarm, reason)]


def test_one_kill_explains_one_more_and_no_third(ledger: Ledger) -> None:
    alarm = sent(ledger, 1, at=1)
    for at in (1, 2, 3):
        had(ledger, alarm, at)
    ledger.kills = [1.5]
    assert list(ledger.twice()) == [(alarm, "no reason")]


def test_what_the_broker_delivers_again_is_one_alarm_more(ledger: Ledger) -> None:
    alarm = delivered(ledger, 1, at=1)
    ledger.delivered_again(b'\x3a...{"event_code": "BA", "reference": "t1-1"}')
    had(ledger, alarm, 2)
    ledger.told(alarm.reference, "accepted", "second")
    assert [reason for _, reason in ledger.twice()] == ["delivered again"]
    assert faulty(ledger, Rotations()) == []
    had(ledger, alarm, 3)
    ledger.told(alarm.reference, "accepted", "third")
    assert len(faulty(ledger, Rotations())) == 2


def test_what_comes_without_a_name_was_refused_by_both(ledger: Ledger) -> None:
    first, second = sent(ledger, 1, at=0), sent(ledger, 2, at=0)
    refused(ledger, first, 1, status=2)
    had(ledger, second, 2, status=2)
    ledger.arrived(Arrived(None, "IK00001", "secondary", 0), 3)
    assert [len(each.treated) for each in (first, second)] == [1, 0]


def test_what_comes_without_a_name_is_of_the_same_kind(ledger: Ledger) -> None:
    burglary, fire = sent(ledger, 1, at=0), sent(ledger, 2, at=0)
    for at, alarm, kind in ((1, burglary, "AL BA"), (2, fire, "AL FA")):
        for by in RECEIVERS:
            ledger.arrived(Arrived(alarm.reference, "IK00001", by, 1, kind), at)
    ledger.arrived(Arrived(None, "IK00001", "secondary", 0, "AL FA"), 3)
    ledger.arrived(Arrived(None, "IK00001", "secondary", 0, "AL BA"), 4)
    assert [[each.begun for each in alarm.treated] for alarm in (burglary, fire)] == [[4], [3]]


def test_what_was_told_while_the_disk_was_full_may_be_told_again(ledger: Ledger) -> None:
    alarm = sent(ledger, 1, at=1)
    had(ledger, alarm, 1)
    ledger.disk(full=True)
    ledger.told(alarm.reference, "accepted", "from memory")
    ledger.told(None, "accepted", "a panel's, from memory")
    ledger.disk(full=False)
    ledger._unsaved_until = 0.0
    ledger.told(alarm.reference, "accepted", "from the store")
    assert faulty(ledger, Rotations()) == []
    ledger.told(alarm.reference, "accepted", "once more")
    assert len(faulty(ledger, Rotations())) == 1


@pytest.mark.parametrize(("acknowledged", "killed", "excused"), [(2, 3, True), (1, 3, False), (2, 6, False)])
def test_a_restore_dies_with_the_memory_of_a_bridge_whose_disk_is_full(
    ledger: Ledger, acknowledged: float, killed: float, *, excused: bool
) -> None:
    alarm = ledger.of_panel("p1", 1, "PA 1")
    restore = ledger.of_panel("p1", 2, "PA 1", alarm)
    had(ledger, alarm, 2)
    alarm.acknowledged = restore.acknowledged = acknowledged
    ledger._full = [(1.5, 5.0)]
    ledger.kills = [killed]
    ledger.unnamed.add("result")
    assert (ledger.lost() == []) is excused
    assert (faulty(ledger, Rotations()) == []) is excused
    assert len(ledger.lost_with_memory()) == excused


def test_a_later_alarm_that_comes_first_breaks_the_order(ledger: Ledger) -> None:
    early = delivered(ledger, 1, at=3)
    delivered(ledger, 2, at=2)
    assert overtaken(ledger) == [early]


def test_an_alarm_that_was_delivered_again_may_be_accepted_after_others(ledger: Ledger) -> None:
    delivered(ledger, 1, at=3).delivered_again = 1
    delivered(ledger, 2, at=2)
    assert overtaken(ledger) == []


def test_an_alarm_whose_round_failed_may_be_overtaken(ledger: Ledger) -> None:
    refused(ledger, delivered(ledger, 1, at=3), 1, status=42)
    delivered(ledger, 2, at=2)
    assert overtaken(ledger) == []


def test_not_one_that_a_single_receiver_refused(ledger: Ledger) -> None:
    early = delivered(ledger, 1, at=3)
    had(ledger, early, 1, status=98)
    delivered(ledger, 2, at=2)
    assert overtaken(ledger) == [early]


def test_nor_one_that_was_refused_only_later(ledger: Ledger) -> None:
    early = delivered(ledger, 1, at=3)
    refused(ledger, early, 2.5)
    delivered(ledger, 2, at=2)
    assert overtaken(ledger) == [early]


def test_a_receiver_that_is_away_or_refuses_the_password_fails_a_round(ledger: Ledger) -> None:
    delivered(ledger, 1, at=3)
    delivered(ledger, 2, at=2)
    ledger.accounts["t1"] = {"IK00001"}
    ledger.troubles["primary"].append((0.5, 1))
    assert overtaken(ledger)
    ledger.logged_in("IK00001", "secondary", 4)
    assert overtaken(ledger), "it refused the password long after all that"
    ledger.troubles["secondary"].append((0.5, 1))
    assert not overtaken(ledger)


def test_a_password_that_was_taken_is_remembered_as_refused_if_that_was_lost(ledger: Ledger) -> None:
    account = "IK00001", "primary"
    ledger.refused[account].append(10)
    assert not ledger.seems_refused(*account, 5, 9)
    assert ledger.seems_refused(*account, 5, 11)
    ledger.served[account].append(20)
    assert ledger.seems_refused(*account, 19, 30)
    assert not ledger.seems_refused(*account, 25, 30)
    ledger.cuts.append((19.9, 20.1))
    assert ledger.seems_refused(*account, 25, 30), "its answer may be lost"
    ledger.cuts.clear()
    ledger.kills.append(21)
    assert ledger.seems_refused(*account, 25, 30), "it was not on the disk yet"
    ledger.served[account].append(24)
    assert not ledger.seems_refused(*account, 27, 30)
    ledger._full.append((23, 40))
    assert not ledger.seems_refused(*account, 27, 30)
    ledger.kills.append(26)
    assert ledger.seems_refused(*account, 27, 30), "the disk was full"


def test_an_urgent_alarm_overtakes_the_others_and_no_urgent_one(ledger: Ledger) -> None:
    delivered(ledger, 1, at=5)
    early = delivered(ledger, 2, at=4, urgent=True)
    delivered(ledger, 3, at=3, urgent=True)
    assert overtaken(ledger) == [early]
    ledger.troubles["primary"].append((1, 2))
    assert overtaken(ledger) == [], "it goes beside an exchange that hangs"


def test_so_is_what_waits_before_an_urgent_alarm_that_was_delivered_again(ledger: Ledger) -> None:
    early = delivered(ledger, 1, at=5)
    urgent = delivered(ledger, 2, at=1, subject="TA", urgent=True)
    delivered(ledger, 3, at=3, subject="TA")
    urgent.delivered_again = 1
    assert overtaken(ledger) == [early], "it was sent before the other"
    had(ledger, urgent, 4, status=10)
    assert overtaken(ledger) == []


def test_an_alarm_is_not_urgent_for_one_that_was_delivered_again_and_has_ended(ledger: Ledger) -> None:
    """A restore of an alarm raised long ago waits its turn; urgent ones that came later go first."""
    urgent = delivered(ledger, 1, at=1, subject="TA", urgent=True)
    had(ledger, urgent, 2, status=10)
    urgent.delivered_again = 1
    delivered(ledger, 3, at=5, subject="TA").published = [3.0]
    delivered(ledger, 4, at=4, urgent=True).published = [3.0]
    assert overtaken(ledger) == []


def test_an_alarm_is_as_urgent_as_what_waits_for_it(ledger: Ledger) -> None:
    delivered(ledger, 1, at=5)
    delivered(ledger, 2, at=3, subject="BA")
    delivered(ledger, 3, at=4, subject="BA", urgent=True)
    assert overtaken(ledger) == []


def test_it_is_so_once_the_bridge_has_that(ledger: Ledger) -> None:
    """Many alarms waited in the broker: one that was not here yet makes none urgent."""
    early = delivered(ledger, 1, at=5, subject="BA")
    delivered(ledger, 2, at=4, urgent=True).taken = 3.0
    behind = delivered(ledger, 3, at=6, subject="BA", urgent=True)
    assert overtaken(ledger) == [early]
    behind.taken = 4.5
    assert overtaken(ledger) == []


def test_what_waits_behind_a_refused_one_may_be_overtaken(ledger: Ledger) -> None:
    refused(ledger, delivered(ledger, 1, at=3, subject="BA"), 1)
    delivered(ledger, 2, at=4, subject="BA")
    delivered(ledger, 3, at=2)
    assert overtaken(ledger) == []


def test_but_a_restore_never_overtakes_its_alarm(ledger: Ledger) -> None:
    early = delivered(ledger, 1, at=3, subject="BA")
    refused(ledger, early, 1)
    delivered(ledger, 2, at=2, subject="BA", urgent=True)
    assert overtaken(ledger) == [early]


def test_each_alarm_ends_once(ledger: Ledger) -> None:
    twice = delivered(ledger, 1, at=1)
    ledger.told(twice.reference, "accepted", "1")  # the same result, told again after a kill
    assert not ledger.told_twice()
    ledger.told(twice.reference, "rejected", "another")
    never = sent(ledger, 2, at=2)
    ledger.told(never.reference, "unauthorized", "it goes on waiting")
    assert (ledger.told_twice(), ledger.open()) == ([twice], [never])


def told(ledger: Ledger, number: int, *, at: float | None, heard: bool = True) -> PanelAlarm:
    """One event of a panel: whether the panel knows that it was heard, and when a receiver had its alarm."""
    alarm = ledger.of_panel("p1", number, f"FA {number}")
    alarm.published = [0.0]
    alarm.acknowledged = 0.5 if heard else None
    if at is not None:
        had(ledger, alarm, at)
    return alarm


def test_an_event_that_a_panel_knows_to_be_heard_is_delivered_or_lost(ledger: Ledger) -> None:
    told(ledger, 1, at=1)
    lost = told(ledger, 2, at=None)
    assert (ledger.lost(), ledger.open()) == ([lost], [lost])
    assert "| **lost** events of panels | 1 |" in table(ledger, Rotations())


def test_an_event_told_to_a_bridge_that_is_dead_is_not_lost_by_it(ledger: Ledger) -> None:
    told(ledger, 1, at=None, heard=False)
    assert ledger.lost() == []


def test_a_panels_alarm_that_a_receiver_rejects_was_answered(ledger: Ledger) -> None:
    refused(ledger, told(ledger, 1, at=None), 1, status=7)
    assert faulty(ledger, Rotations()) == []


def test_that_a_panel_tells_its_event_again_is_no_reason_for_a_second_alarm(ledger: Ledger) -> None:
    alarm = told(ledger, 1, at=1)
    alarm.tellings = 3
    had(ledger, alarm, 2)
    assert list(ledger.twice()) == [(alarm, "no reason")]
    ledger.kills = [1.5]
    assert list(ledger.twice()) == [(alarm, "process killed")]


def test_an_event_that_became_two_alarms_has_two_results(ledger: Ledger) -> None:
    told(ledger, 1, at=1)
    ledger.told(None, "unauthorized", "it goes on waiting")
    ledger.told("no-clock-1f", "accepted", "1")
    ledger.told("no-clock-1f", "accepted", "1")
    assert faulty(ledger, Rotations()) == []
    ledger.told(None, "accepted", "2")
    assert faulty(ledger, Rotations()) == ["1 alarms of panels have 2 results"]


def test_no_alarm_of_a_panel_expires(ledger: Ledger) -> None:
    told(ledger, 1, at=1)
    ledger.told(None, "expired", "1")
    assert faulty(ledger, Rotations()) == ["an alarm of a panel ended as expired"]


def test_a_panels_alarms_are_in_order_whatever_it_says_again(ledger: Ledger) -> None:
    early = told(ledger, 1, at=3)
    early.tellings = 2
    told(ledger, 2, at=2)
    assert overtaken(ledger) == [early]


def test_a_restore_after_a_time_comes_after_its_alarm_and_anywhere_among_others(ledger: Ledger) -> None:
    alarm = told(ledger, 1, at=3)
    restore = ledger.of_panel("p1", 2, alarm.subject, alarm)
    restore.in_order, restore.acknowledged = False, 0.5
    had(ledger, restore, 9)
    told(ledger, 3, at=4)
    assert overtaken(ledger) == []
    restore.attempts[0].begun = 2
    assert overtaken(ledger) == [alarm]


def test_what_a_panel_told_is_not_published_again_for_it(ledger: Ledger) -> None:
    told(ledger, 1, at=None)
    never = sent(ledger, 2, at=2)
    ledger.at_risk = 5
    assert ledger.lost_by_broker() == [never]


def test_what_nobody_sent_is_strange(ledger: Ledger) -> None:
    delivered(ledger, 1, at=1)
    ledger.arrived(Arrived("x", "IK00001", "primary", 0), 1)
    ledger.told("y", "accepted", "")
    assert len(faulty(ledger, Rotations())) == 2


def test_a_lock_out_is_told(ledger: Ledger) -> None:
    delivered(ledger, 1, at=1)
    assert faulty(ledger, Rotations(1, ["locked out"])) == ["locked out"]
