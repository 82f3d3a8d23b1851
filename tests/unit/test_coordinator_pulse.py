"""The heartbeat of a collector, told as histories: no process, no clock."""

from shmbus.coordinator.pulse import LOOKS, Pulse
from shmbus.directory import Health


def looks(pulse, history, now=0.0):
    """Look four times an interval at these beats; the healths."""
    found = []
    for beats in history:
        pulse.look(beats, now)
        found.append(pulse.health)
        now += pulse.interval / LOOKS
    return found


def test_one_that_never_beats_is_never_judged():
    assert set(looks(Pulse(1.0), [0] * 100)) == {Health.UNKNOWN}


def test_one_that_beats_once_an_interval_is_healthy():
    assert set(looks(Pulse(30.0), [1 + n // LOOKS for n in range(100)])) == {Health.HEALTHY}


def test_one_that_stops_is_degraded_and_then_unresponsive_within_three_intervals():
    found = looks(Pulse(10.0), [7] * 12)  # the last beat may be one look older than the first of these
    assert found[0] is Health.HEALTHY
    assert found[5] is Health.DEGRADED and found[4] is Health.HEALTHY
    assert found[9] is Health.UNRESPONSIVE and found[8] is Health.DEGRADED
    assert (9 + 1) / LOOKS < 3


def test_a_beat_makes_it_healthy_again():
    pulse = Pulse(1.0)
    assert looks(pulse, [7] * 8)[-1] is Health.DEGRADED
    assert pulse.look(8, 2.1)
    assert pulse.health is Health.HEALTHY
    assert not pulse.look(9, 2.2)


def test_whoever_looks_late_begins_to_count_anew():
    pulse = Pulse(1.0)
    looks(pulse, [7, 7])
    assert not pulse.look(7, 100.0)  # the machine stood still, and the collector with it
    assert pulse.health is Health.HEALTHY
    assert looks(pulse, [7] * 6, 100.25)[-1] is Health.DEGRADED


def test_what_it_did_not_do_while_it_rested_does_not_count():
    pulse = Pulse(1.0)
    looks(pulse, [7] * 4)
    pulse.rest()
    assert not pulse.look(7, 1.9)
    assert looks(pulse, [7] * 4, 2.1)[-1] is Health.HEALTHY


def test_the_last_beat_is_known_before_the_look_that_counts_it():
    pulse = Pulse(1.0)
    pulse.look(0, 0.0)
    assert pulse.silent(0, 0.1) is None  # it never beat
    assert pulse.silent(1, 0.1) == 0.0
    pulse.look(1, 0.25)
    assert pulse.silent(1, 0.5) == 0.25
    assert pulse.silent(2, 0.5) == 0.0


def test_it_is_fresh_while_it_moves_and_has_been_looked_at_in_time():
    pulse, found = Pulse(1.0), []
    for beats, now in ((0, 0.0), (1, 0.25), (1, 0.5), (1, 1.5), (2, 1.75), (2, 5.0), (3, 5.25)):
        pulse.look(beats, now)
        found.append(pulse.fresh)
    assert found == [False, True, True, False, True, False, True]
    pulse.rest()
    pulse.look(4, 5.5)
    assert not pulse.fresh
