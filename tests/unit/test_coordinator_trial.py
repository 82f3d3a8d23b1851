"""Whether a changed collector does well, told by histories: what it looks like when, and what is concluded."""

import pytest

from shmbus.condition import Condition
from shmbus.coordinator.supervisor import State, Supervised
from shmbus.coordinator.trial import HOLD_SECONDS, Outcome, Sight, Trial
from shmbus.directory import Health

STOPPING = Sight(State.STOPPING, Health.HEALTHY, again=True)
STARTING = Sight(State.STARTING, Health.UNKNOWN)
WELL = Sight(State.RUNNING, Health.HEALTHY)
SLOW = Sight(State.RUNNING, Health.DEGRADED)
CRASHED = Sight(State.BACKING_OFF, Health.UNHEALTHY, reason="out of luck")
STOPPED = Sight(State.STOPPED, Health.UNKNOWN)


def played(*history, within=2.0):
    """What comes of (time, sight), ...; the conclusion has to come with the last."""
    trial = Trial(within)
    outcomes = [trial.look(sight, now) for now, sight in history]
    assert outcomes[:-1] == [None] * (len(history) - 1)
    return outcomes[-1], trial.why


def test_one_that_starts_and_stays_healthy_is_kept():
    assert played((0, STOPPING), (9, STARTING), (10, WELL), (10 + HOLD_SECONDS, WELL)) == (Outcome.KEPT, "")


def test_how_long_the_one_before_takes_to_end_does_not_count():
    trial = Trial(2.0)
    assert trial.look(STOPPING, 0) is None and trial.due is None
    assert trial.look(STARTING, 100) is None and trial.due == 102


def test_a_change_of_one_that_goes_on_running_is_judged_from_now():
    assert played((5, WELL), (5 + HOLD_SECONDS, WELL)) == (Outcome.KEPT, "")


def test_one_that_says_it_is_not_well_is_not_and_that_is_the_reason():
    its = Sight.of(Supervised("x", state=State.RUNNING), Condition(Health.HEALTHY, Health.DEGRADED))
    outcome, why = played((0, STARTING), (1, its), (2, its))
    assert outcome is Outcome.FAILED
    assert why == "it was not healthy within 2 s: it is running, degraded, it says so itself"


def test_one_that_crashes_has_failed_at_once_and_why():
    assert played((0, STOPPING), (1, STARTING), (1.1, CRASHED)) == (Outcome.FAILED, "out of luck")
    assert played((0, WELL), (0.1, Sight(State.FAILED, Health.UNHEALTHY, reason="x"))) == (Outcome.FAILED, "x")
    assert played((0, STOPPING), (1, CRASHED)) == (Outcome.FAILED, "out of luck")  # it could not be started


def test_one_that_crashes_while_it_has_to_hold_has_failed():
    assert played((0, STARTING), (1, WELL), (1.2, CRASHED))[0] is Outcome.FAILED


def test_one_that_is_not_healthy_in_time_has_failed():
    assert played((0, STARTING), (1, STARTING), (2, STARTING)) == (
        Outcome.FAILED, "it was not healthy within 2 s: it is starting",
    )  # fmt: skip
    told = played((0, STARTING), (1, SLOW), (2, SLOW))
    assert told == (Outcome.FAILED, "it was not healthy within 2 s: it is running, degraded")


def test_it_has_to_be_healthy_on_end():
    half = HOLD_SECONDS / 2
    history = ((0, WELL), (half, SLOW), (1, WELL), (1 + half, WELL), (1 + HOLD_SECONDS, WELL))
    assert played(*history) == (Outcome.KEPT, "")


def test_one_that_hangs_or_never_announces_itself_has_failed():
    hung = Sight(State.STOPPING, Health.UNRESPONSIVE, fault="it did not move for 2 s")
    assert played((0, STARTING), (1, WELL), (1.1, hung)) == (Outcome.FAILED, "it did not move for 2 s")
    assert Trial(2.0).look(hung, 0) is None  # the one before hung, and is ended for that


@pytest.mark.parametrize("before", [(), ((0.0, STARTING),), ((0.0, WELL),)])
def test_one_that_somebody_stops_or_pauses_says_nothing(before):
    stopping, paused = Sight(State.STOPPING, Health.HEALTHY), Sight(State.PAUSED, Health.DEGRADED)
    assert played(*before, (0.1, stopping)) == (Outcome.ABANDONED, "it was stopped meanwhile")
    assert played(*before, (0.1, paused)) == (Outcome.ABANDONED, "it was paused meanwhile")


def test_one_that_ends_by_itself_does_not_do_well_and_one_that_never_started_says_nothing():
    assert played((0, STARTING), (1, STOPPED)) == (Outcome.FAILED, "it ended by itself")
    assert played((0, STOPPING), (1, STOPPED)) == (Outcome.ABANDONED, "it was stopped meanwhile")


def test_one_that_is_restarted_by_hand_is_judged_on():
    history = ((0, STARTING), (0.1, WELL), (0.2, STOPPING), (0.3, STARTING), (0.4, WELL), (0.4 + HOLD_SECONDS, WELL))
    assert played(*history) == (Outcome.KEPT, "")


def test_one_that_waits_for_others_has_time():
    waiting = Sight(State.WAITING, Health.UNKNOWN)
    trial = Trial(2.0)
    assert trial.look(waiting, 0) is None and trial.look(waiting, 50) is None and trial.due is None
