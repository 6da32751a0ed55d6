"""The decision of what to do next, in simulated time: each fault of a line, and what it may cost an alarm."""

from __future__ import annotations

import itertools
import time

import pytest
from transmitters.schedule_world import DROPS, OK, REFUSES, SILENT, Behaviour, World, answering

from bridge.transmitters.routes import Route

PRIMARY, SECONDARY = Route("primary"), Route("secondary")


def by_receiver(primary: Behaviour, secondary: Behaviour = OK) -> World:
    return World(lambda route, number, now: primary if route.receiver == "primary" else secondary)


def took(world: World, number: int) -> float:
    return world.delivered[number] - world.accepted[number]


def test_schedule_sends_over_the_primary() -> None:
    world = by_receiver(OK)
    number = world.raise_alarm()
    world.run(10)
    assert took(world, number) < 0.1
    assert [route for _, _, route in world.sent] == [PRIMARY]


def test_schedule_refused_connection_fails_over_at_once() -> None:
    world = by_receiver(REFUSES)
    number = world.raise_alarm()
    world.run(10)
    assert took(world, number) < 0.3


def test_schedule_dead_primary_costs_the_first_alarm_a_second_and_the_others_nothing() -> None:
    world = by_receiver(DROPS)
    numbers = [world.raise_alarm() for _ in range(20)]
    world.run(60)
    assert took(world, numbers[0]) < 1.5
    assert all(world.delivered[b] - world.delivered[a] < 0.3 for a, b in itertools.pairwise(numbers))


def test_schedule_silent_primary() -> None:
    world = by_receiver(Behaviour(status=None))
    world.run(30)  # the checks at start find it silent
    first = world.raise_alarm()
    world.run(60)
    assert took(world, first) < 0.3


def test_schedule_primary_that_hangs_on_alarms_only() -> None:
    """20 alarms in 15 s, and an urgent one meanwhile in 2 s."""
    world = World(
        lambda route, number, now: SILENT if route.receiver == "primary" and number is not None else OK, level=18000
    )
    world.run(60)
    numbers = [world.raise_alarm() for _ in range(20)]
    world.run(61.5)
    urgent = world.raise_alarm("FA", urgent=True)
    world.run(200)
    assert took(world, numbers[0]) < 11
    assert max(took(world, number) for number in numbers) < 15
    assert took(world, urgent) < 2
    # It answers pings again, and is not first again for 10 minutes.
    later = world.raise_alarm()
    world.run(400)
    assert took(world, later) < 0.3


@pytest.mark.parametrize("fault", [REFUSES, DROPS])
@pytest.mark.parametrize("minutes", [1, 5])
def test_schedule_outage_of_both(fault: Behaviour, minutes: int) -> None:
    world = World(lambda route, number, now: fault if now < 60 * minutes else OK)
    first = world.raise_alarm()
    world.run(60 * minutes)
    second = world.raise_alarm()
    world.run(60 * minutes + 60)
    assert world.delivered[first] < 60 * minutes + 6
    assert took(world, second) < 1.5


def test_schedule_outage_slows_rounds_after_ten_minutes_unless_an_urgent_alarm_waits() -> None:
    world = World(lambda route, number, now: REFUSES, check_idle_every=1e6)
    world.raise_alarm()
    world.run(1000)
    starts = [at for at, route in world.began if route == PRIMARY]
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    assert gaps[:4] == pytest.approx([1, 2, 4, 5], abs=0.1)
    assert gaps[-1] == pytest.approx(30, abs=0.1)
    world.raise_alarm("FA", urgent=True)
    world.run(1060)
    assert len([at for at, route in world.began if route == PRIMARY and at > 1000]) >= 11


def test_schedule_sixty_refused_alarms_do_not_delay_a_fire_alarm() -> None:
    world = World(lambda route, number, now: OK if number is None or number > 60 else answering(99, 0.25))
    for _ in range(60):
        world.raise_alarm("ZZ", detector="1")
    world.run(90)
    fire = world.raise_alarm("FA")
    world.run(200)
    assert took(world, fire) < 3


def test_schedule_urgent_behind_three_hundred() -> None:
    world = World(lambda route, number, now: answering(0, 0.09))
    for _ in range(300):
        world.raise_alarm()
    world.run(3)
    urgent = world.raise_alarm("FA", urgent=True)
    world.run(60)
    assert took(world, urgent) < 1


def test_schedule_thousands_of_refused_chains_cost_no_time() -> None:
    """No decision looks at all that waits."""
    world = World(lambda route, number, now: answering(98, 0.01))
    for number in range(2000):
        world.raise_alarm(detector=str(number))
        world.raise_alarm(detector=str(number), restore=True)
    began = time.process_time()
    world.run(30)
    fire = world.raise_alarm("FA", urgent=True)
    world.run(31)
    assert fire in [number for _, number, _ in world.sent[-4:]]
    assert (time.process_time() - began) / world.steps < 0.001


def test_schedule_primary_that_always_refuses_the_password() -> None:
    world = by_receiver(answering(4))
    numbers = [world.raise_alarm() for _ in range(3)]
    world.run(3)
    assert len(world.delivered) == len(numbers)
    world.run(7200)
    # The steps at 1, 5, 15 and 60 min, not the checks each 30 s.
    assert len(world.logins) <= 6


def test_schedule_single_receiver_that_refuses_the_password_gets_one_login_each_thirty_seconds() -> None:
    world = World(lambda route, number, now: answering(4), receivers=("primary",))
    for second in range(1, 300):
        world.at(float(second), world.raise_alarm)
    world.run(300)
    assert 8 <= len(world.logins) <= 16


def test_schedule_first_success_releases_what_was_held() -> None:
    world = World(lambda route, number, now: DROPS if now < 100 else OK)
    numbers = [world.raise_alarm() for _ in range(50)]
    world.run(120)
    assert len(world.delivered) == len(numbers)
    assert max(world.delivered.values()) < 110


def test_schedule_refused_alarm_is_due_once_its_receiver_accepts_another() -> None:
    world = World(lambda route, number, now: answering(98) if now < 200 else OK)
    old = world.raise_alarm()
    world.run(200)
    new = world.raise_alarm()
    world.run(300)
    assert took(world, new) < 1.5
    assert world.delivered[old] < 203


def test_schedule_refused_alarm_is_tried_once_per_receiver_and_ever_more_slowly() -> None:
    world = World(lambda route, number, now: OK if number in (None, 2) else answering(99))
    world.raise_alarm("ZZ")
    world.run(3600)
    tries = [at for at, number, route in world.sent if route == PRIMARY]
    gaps = [b - a for a, b in itertools.pairwise(tries)]
    assert gaps[:5] == pytest.approx([10, 20, 40, 80, 160], abs=3)
    assert max(gaps) < 305


def test_schedule_invalid_at_both_goes_once_more_with_the_mandatory_elements() -> None:
    world = World(lambda route, number, now: answering(3))
    number = world.raise_alarm()
    world.run(10)
    assert number in world.rejected
    assert world.minimal == {number}
    assert len(world.sent) == 4
    assert number in world.reported


def test_schedule_invalid_at_both_is_rejected_at_once_where_less_would_not_help() -> None:
    world = World(lambda route, number, now: answering(2))
    number = world.raise_alarm()
    world.run(10)
    assert number in world.rejected
    assert len(world.sent) == 2


def test_schedule_invalid_here_and_no_answer_there_waits_for_the_other() -> None:
    world = World(lambda route, number, now: answering(2) if route == PRIMARY else (DROPS if now < 100 else OK))
    number = world.raise_alarm()
    world.run(400)
    assert number in world.delivered


def test_schedule_nine_and_too_often_to_an_alarm_are_retried() -> None:
    world = World(lambda route, number, now: answering(9) if number and now < 15 else OK)
    number = world.raise_alarm()
    world.run(60)
    assert number in world.delivered


def test_schedule_undelivered_is_reported_once_when_the_first_round_failed_or_after_thirty_seconds() -> None:
    world = World(lambda route, number, now: SILENT)
    first, second = world.raise_alarm(), world.raise_alarm()
    world.run(600)
    assert world.reported[first] < 20.5
    assert world.reported[second] <= 30.5


def test_schedule_restore_goes_after_its_alarm_and_makes_it_due() -> None:
    world = World(lambda route, number, now: answering(99) if number == 1 and now < 30 else OK)
    alarm = world.raise_alarm("BA", detector="7")
    world.run(31)
    restore = world.raise_alarm("BA", detector="7", restore=True)
    world.run(32)
    assert world.delivered[alarm] < world.delivered[restore]


def test_schedule_urgent_restore_lends_its_urgency_to_its_alarm() -> None:
    world = World(lambda route, number, now: answering(0, 0.5))
    for _ in range(10):
        world.raise_alarm("XX")
    world.raise_alarm("BA")
    restore = world.raise_alarm("BA", restore=True, urgent=True)
    world.run(60)
    assert took(world, restore) < 2
    assert world.delivered[11] < world.delivered[restore]


def test_schedule_alarm_that_hangs_alone_is_slowed_down() -> None:
    world = World(lambda route, number, now: SILENT if number == 1 else OK)
    world.raise_alarm("ZZ")
    for second in range(20, 600, 20):
        world.at(float(second), world.raise_alarm)
    world.run(700)
    assert len(world.delivered) == 29
    assert len([number for _, number, _ in world.sent if number == 1]) < 20


def test_schedule_first_path_cut() -> None:
    world = World(lambda route, number, now: DROPS if route.path == "fixed" else OK, paths=("fixed", "mobile"))
    numbers = [world.raise_alarm(), world.raise_alarm()]
    world.run(60)
    assert took(world, numbers[0]) < 6
    assert world.delivered[numbers[1]] - world.delivered[numbers[0]] < 0.3


def test_schedule_heartbeats_go_over_the_next_route_when_one_fails() -> None:
    world = World(lambda route, number, now: SILENT if route == PRIMARY and now > 100 else OK, level=90)
    world.run(400)
    beats = [at for at, route, heartbeat in world.pings if heartbeat and route == SECONDARY]
    assert beats[0] < 140
    assert world.line.routes.link_up(90, 0.0, world.now)
    assert world.line.routes.up(("receiver", "primary")) is False
    assert world.line.routes.up(("receiver", "secondary")) is True


def test_schedule_dead_secondary_is_noticed_within_the_idle_check_and_a_minute() -> None:
    world = World(lambda route, number, now: DROPS if route == SECONDARY and now > 100 else OK, level=18000)
    world.run(100)
    assert world.line.routes.up(("receiver", "secondary")) is True
    world.run(100 + 3600 + 60)
    assert world.line.routes.up(("receiver", "secondary")) is False


def test_schedule_pings_stay_at_six_a_level() -> None:
    world = World(lambda route, number, now: OK, level=90, check_idle_every=15)
    world.run(3600)
    times = [at for at, _, _ in world.pings]
    assert max(sum(0 <= at - start < 90 for at in times) for start in times) <= 6
    assert world.connects


def test_schedule_pings_keep_a_gap_that_101_doubles() -> None:
    world = World(lambda route, number, now: answering(101), level=90)
    world.run(600)
    times = [at for at, _, _ in world.pings]
    assert min(b - a for a, b in itertools.pairwise(times)) >= 2
    assert times[-1] - times[-2] >= 22.5


def test_schedule_nine_pauses_pings_for_a_day() -> None:
    world = World(lambda route, number, now: answering(9), level=18000)
    world.run(86000)
    assert len(world.pings) <= 2
    world.run(90000)
    assert len(world.pings) >= 2


def after_an_outage(fault: Behaviour, number: int = 1, *, level: float | None = None) -> World:
    """Both receivers refuse for a minute, and are good after it but for one alarm."""
    return World(
        lambda route, each, now: REFUSES if now < 60 else fault if each == number else OK,
        level=level,
    )


@pytest.mark.parametrize("level", [None, 90.0])
@pytest.mark.parametrize("urgent", [False, True])
@pytest.mark.parametrize("followed", [False, True])
def test_schedule_alarm_that_hangs_after_an_outage_holds_up_no_other(
    level: float | None, *, urgent: bool, followed: bool
) -> None:
    world = after_an_outage(SILENT, level=level)
    world.raise_alarm("FA", detector="1", urgent=urgent)
    if followed:
        world.raise_alarm("FA", detector="1", restore=True)
    others = [world.raise_alarm() for _ in range(4)]
    world.run(59)
    later = world.raise_alarm("ZZ")
    world.run(3600)
    assert set(world.delivered) == {*others, later}
    assert max(world.delivered.values()) < 60 + 45
    assert sorted(world.delivered, key=world.delivered.__getitem__)[-5:] == sorted(world.delivered)


def test_schedule_alarms_that_hang_after_an_outage_take_turns() -> None:
    """Each costs the others 20 s, once; urgent ones as well."""
    hang = {1, 2, 3, 4}
    world = World(lambda route, number, now: REFUSES if now < 60 else SILENT if number in hang else OK)
    for each in sorted(hang):
        world.raise_alarm("FA", urgent=each % 2 == 0)
    others = [world.raise_alarm() for _ in range(5)]
    world.run(3600)
    assert set(world.delivered) == set(others)
    assert max(world.delivered.values()) < 60 + 4 * 20 + 15


@pytest.mark.parametrize("fault", [REFUSES, DROPS])
def test_schedule_outage_keeps_the_order_of_acceptance(fault: Behaviour) -> None:
    world = World(lambda route, number, now: fault if now < 300 else OK)
    numbers = [world.raise_alarm() for _ in range(5)]
    world.run(100)
    urgent = world.raise_alarm("FA", urgent=True)
    world.run(400)
    assert list(world.delivered) == [urgent, *numbers]


def test_schedule_urgent_alarm_goes_first_when_silent_receivers_are_good_again() -> None:
    world = World(lambda route, number, now: SILENT if now < 300 else OK)
    for _ in range(20):
        world.raise_alarm()
    world.run(100)
    urgent = world.raise_alarm("FA", urgent=True)
    world.run(400)
    assert len(world.delivered) == 21
    assert list(world.delivered).index(urgent) <= 1, "one alarm finds out that a receiver is good again"
    assert max(world.delivered.values()) < 300 + 25


@pytest.mark.parametrize("level", [None, 90.0, 18000.0])
def test_schedule_rotation_has_every_receiver_pinged_at_once(level: float | None) -> None:
    """Only an answer shows which password a receiver takes, however many pings there were."""
    world = World(lambda route, number, now: OK, level=level)
    world.run(7 * 3600 + 7)
    began = len(world.pings)
    world.line.check_all()
    world.run(world.now + 10)
    assert {route.receiver for _, route, _ in world.pings[began:]} == {"primary", "secondary"}
    pinged = len(world.pings)
    world.run(world.now + 60)
    assert len([heartbeat for _, _, heartbeat in world.pings[pinged:] if not heartbeat]) == 0


def test_schedule_rotation_has_a_receiver_pinged_when_it_answers_again() -> None:
    until = 7 * 3600.0
    world = World(lambda route, number, now: DROPS if until < now < until + 400 and route == SECONDARY else OK)
    world.run(until)
    began = len(world.pings)
    world.line.check_all()
    world.run(until + 400)
    tries = [at for at, route, _ in world.pings[began:] if route == SECONDARY]
    assert 2 <= len(tries) <= 12
    world.run(until + 400 + 310)
    assert [route for _, route, _ in world.pings[-1:]] == [SECONDARY]
    assert world.line.supervision.to_ping == set()


def test_schedule_rotation_pings_over_the_next_path() -> None:
    cut = 7 * 3600.0
    world = World(
        lambda route, number, now: DROPS if now > cut and route.path == "fixed" else OK, paths=("fixed", "mobile")
    )
    world.run(cut + 1)
    world.line.check_all()
    world.run(cut + 60)
    answered = {route for at, route, _ in world.pings if at > cut and route.path == "mobile"}
    assert answered == {Route("primary", "mobile"), Route("secondary", "mobile")}


@pytest.mark.parametrize(("status", "gap"), [(9, 86400), (101, 22.5)])
def test_schedule_rotation_keeps_the_limits_of_pings(status: int, gap: float) -> None:
    world = World(lambda route, number, now: answering(status), level=90)
    world.run(600)
    before = [at for at, *_ in world.pings]
    world.line.check_all()
    world.run(700)
    after = [at for at, *_ in world.pings[len(before) :]]
    assert after == [] or status == 101
    assert min((b - a for a, b in itertools.pairwise([before[-1], *after])), default=gap) >= gap


@pytest.mark.parametrize("hanging", [4, 7])
def test_schedule_urgent_alarm_goes_beside_urgent_ones_that_hang(hanging: int) -> None:
    world = World(lambda route, number, now: SILENT if number and number <= hanging else OK, level=18000)
    world.run(60)
    for _ in range(hanging):
        world.raise_alarm("FA", urgent=True)
    world.run(60.5)
    last = world.raise_alarm("FA", urgent=True)
    world.run(200)
    assert took(world, last) < hanging + 1.5


def test_schedule_refused_alarm_is_due_whenever_its_receiver_is_good_again() -> None:
    """Not only at the first such time."""
    good = ((100.0, 101.0), (1000.0, 9999.0))

    def how(route: Route, number: int | None, now: float) -> Behaviour:
        accepts = any(start <= now < end for start, end in good) and (number != 1 or now >= 1000)
        return OK if number is None or accepts else answering(98)

    world = World(how)
    old = world.raise_alarm()
    world.at(100.0, lambda: world.raise_alarm("ZZ"))
    world.at(1000.5, lambda: world.raise_alarm("ZZ"))
    world.run(1100)
    assert 2 in world.delivered
    assert world.delivered[old] < 1002


def test_schedule_alarm_refused_for_good_is_not_retried_with_each_success() -> None:
    world = World(lambda route, number, now: answering(99) if number == 1 else OK)
    world.raise_alarm()
    for second in range(5, 7200, 5):
        world.at(float(second), lambda: world.raise_alarm("ZZ"))
    world.run(7200)
    tries = [at for at, number, route in world.sent if number == 1 and route == PRIMARY]
    assert len(world.delivered) == 1439
    assert len(tries) < 60
    assert len([at for at in tries if at > 3600]) <= 2 * 3600 / 300 + 1
