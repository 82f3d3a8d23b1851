"""The life of a supervised collector, told as histories: no process, no clock."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shmbus.coordinator.supervisor import ALIVE, JITTER, Action, Exit, Policy, Restart, State, Supervised, WrongState

CRASH = Exit("killed by SIGSEGV", True, ("last words",))
DONE = Exit("ended by itself", False)


DEFAULT = Policy()


def starting(policy=DEFAULT, now=0.0):
    one = Supervised("procmond", policy)
    assert one.start() is Action.SPAWN
    assert one.spawned(100, now) is Action.WAIT
    return one


def running(policy=DEFAULT, now=0.0):
    one = starting(policy, now)
    assert one.announced()
    return one


def crashed(one, now, how=CRASH):
    """It crashes, and comes back after its delay; when."""
    assert one.exited(how, now, 0.0) is Action.WAIT
    assert one.elapsed(one.due) is Action.SPAWN
    one.spawned(101, one.due)
    one.announced()
    return one.due


def test_a_collector_runs_when_it_has_announced_itself_and_not_before():
    one = Supervised("procmond")
    assert (one.state, one.start()) == (State.STOPPED, Action.SPAWN)
    one.spawned(100, 0.0)
    assert (one.state, one.pid, one.due) == (State.STARTING, 100, 30.0)
    assert one.announced()
    assert one.state is State.RUNNING
    assert not one.announced()
    assert one.start() is Action.NONE


def test_a_start_that_is_never_announced_is_ended_and_is_a_crash():
    one = starting(Policy(start_timeout=5.0))
    assert one.elapsed(4.9) is Action.WAIT
    assert one.elapsed(5.0) is Action.TERMINATE
    assert one.state is State.STOPPING
    assert not one.announced()  # too late
    assert one.exited(DONE, 6.0, 0.0) is Action.WAIT
    assert (one.state, one.reason) == (State.BACKING_OFF, "it did not announce itself within 5 s")


def test_a_crash_is_followed_by_a_wait_and_a_restart_that_counts():
    one = running()
    assert one.exited(CRASH, 5.0, 0.0) is Action.WAIT
    assert (one.state, one.pid, one.reason, one.due) == (State.BACKING_OFF, 0, "killed by SIGSEGV", 6.0)
    assert one.last_lines == ("last words",)
    assert one.elapsed(5.9) is Action.WAIT
    assert one.elapsed(6.0) is Action.SPAWN
    assert (one.state, one.restarts, one.reason) == (State.STARTING, 1, "killed by SIGSEGV")


def test_the_wait_doubles_with_every_restart_in_the_window_up_to_a_bound_and_has_jitter():
    policy = Policy(first_delay=2.0, longest_delay=60.0)
    delays = [policy.delay(restarts, 0.0) for restarts in range(8)]
    assert delays == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert policy.delay(0, 0.999) == pytest.approx(2.0 * (1 + JITTER), rel=0.01)
    assert policy.delay(10_000, 0.0) == 60.0


def test_more_crashes_than_the_budget_in_a_window_are_a_failure_until_somebody_asks():
    one, now = running(Policy(budget=3, window=1000.0)), 0.0
    for _ in range(3):
        now = crashed(one, now)
    assert one.exited(CRASH, now, 0.0) is Action.NONE
    assert (one.state, one.restarts) == (State.FAILED, 3)
    assert one.elapsed(now + 1e6) is Action.NONE
    assert one.start() is Action.SPAWN
    assert (one.state, one.recent) == (State.STARTING, [])


def test_restarts_that_are_older_than_the_window_do_not_count():
    one, now = running(Policy(budget=2, window=100.0, first_delay=1.0)), 0.0
    for _ in range(20):
        now = crashed(one, now + 60.0)
        assert len(one.recent) <= 2
    assert (one.state, one.restarts) == (State.RUNNING, 20)


@pytest.mark.parametrize(
    ("restart", "how", "state"),
    [
        (Restart.NEVER, CRASH, State.FAILED),
        (Restart.NEVER, DONE, State.FAILED),
        (Restart.ON_FAILURE, CRASH, State.BACKING_OFF),
        (Restart.ON_FAILURE, DONE, State.STOPPED),
        (Restart.ALWAYS, CRASH, State.BACKING_OFF),
        (Restart.ALWAYS, DONE, State.BACKING_OFF),
    ],
)
def test_the_policy_says_after_which_ends_it_comes_back(restart, how, state):
    one = running(Policy(restart=restart))
    one.exited(how, 1.0, 0.0)
    assert one.state is state


def test_a_stop_ends_it_and_its_exit_is_no_crash():
    one = running()
    assert one.stop() is Action.TERMINATE
    assert one.stop() is Action.NONE
    assert one.exited(CRASH, 9.0, 0.0) is Action.NONE
    assert (one.state, one.restarts, one.reason) == (State.STOPPED, 0, "")


def test_a_stop_ends_a_back_off_and_a_wait_for_others():
    one = running()
    one.exited(CRASH, 1.0, 0.0)
    assert one.stop() is Action.NONE
    assert (one.state, one.elapsed(100.0)) == (State.STOPPED, Action.NONE)
    one.start(wait=True)
    assert (one.stop(), one.state, one.released()) == (Action.NONE, State.STOPPED, Action.NONE)


def test_one_that_waits_for_others_is_started_when_it_is_released():
    one = Supervised("procmond")
    assert (one.start(wait=True), one.state) == (Action.NONE, State.WAITING)
    assert (one.released(), one.state) == (Action.SPAWN, State.STARTING)
    assert one.released() is Action.NONE


def test_an_asked_for_restart_neither_waits_nor_counts():
    one = running(Policy(budget=0))
    for _ in range(5):
        assert one.restart() is Action.TERMINATE
        assert one.exited(CRASH, 3.0, 0.0) is Action.SPAWN
        assert (one.state, one.restarts, one.recent) == (State.STARTING, 0, [])
        one.spawned(3, 3.0)
        one.announced()
    assert one.stop() is Action.TERMINATE
    assert one.exited(CRASH, 4.0, 0.0) is Action.NONE


def test_a_start_while_it_stops_starts_it_afterwards():
    one = running()
    one.stop()
    assert one.start() is Action.NONE
    assert one.exited(CRASH, 1.0, 0.0) is Action.SPAWN


def test_pause_and_resume_go_to_and_fro_and_ask_for_one_that_runs():
    one = running()
    assert (one.pause(), one.state, one.pause()) == (Action.PAUSE, State.PAUSED, Action.NONE)
    with pytest.raises(WrongState, match="is paused: it cannot be reloaded. Resume it first"):
        one.reload()
    assert (one.resume(), one.state, one.resume()) == (Action.RESUME, State.RUNNING, Action.NONE)
    assert one.reload() is Action.RELOAD
    one.stop()
    with pytest.raises(WrongState, match="is stopping: it cannot be paused"):
        one.pause()


def test_a_paused_one_can_be_stopped_and_can_die():
    one = running()
    one.pause()
    assert one.stop() is Action.TERMINATE
    one = running()
    one.pause()
    assert one.exited(CRASH, 1.0, 0.0) is Action.WAIT


def test_one_that_hangs_is_ended_and_that_is_a_crash():
    one = running()
    assert one.fail("it did not move") is Action.TERMINATE
    assert one.exited(DONE, 2.0, 0.0) is Action.WAIT
    assert (one.state, one.reason) == (State.BACKING_OFF, "it did not move")
    one = running()
    one.pause()
    assert one.fail("it did not move") is Action.NONE  # nobody wants it to


def test_a_stop_of_one_that_is_being_given_up_on_is_a_stop():
    one = running()
    one.fail("it did not move")
    assert one.stop() is Action.NONE
    assert one.exited(CRASH, 2.0, 0.0) is Action.NONE
    assert one.state is State.STOPPED


def test_a_start_of_one_that_is_being_given_up_on_starts_it_at_once_whatever_its_policy():
    one = running(Policy(restart=Restart.NEVER))
    one.fail("it did not move")
    assert one.start() is Action.NONE
    assert one.exited(CRASH, 2.0, 0.0) is Action.SPAWN
    assert one.reason == "it did not move"


def test_another_policy_counts_at_once():
    one = starting(Policy(start_timeout=5.0))
    assert one.change(Policy(start_timeout=50.0), 1.0) is Action.WAIT
    assert one.elapsed(5.0) is Action.WAIT
    assert one.elapsed(50.0) is Action.TERMINATE
    one = running(Policy(first_delay=60.0))
    one.exited(CRASH, 0.0, 0.0)
    assert one.change(Policy(first_delay=1.0, longest_delay=2.0), 1.0) is Action.WAIT
    assert one.due == 1.0 + 2.0 * (1 + JITTER)


@settings(max_examples=300)
@given(st.lists(st.integers(0, 11), max_size=60), st.sampled_from(list(Restart)), st.integers(0, 3))
def test_whatever_happens_there_is_a_process_exactly_in_the_states_that_have_one(history, restart, budget):
    one, now, alive = Supervised("x", Policy(restart=restart, budget=budget, first_delay=1.0)), 0.0, False
    for event in history:
        now += 1.0
        try:
            action = happens(one, event, now, alive)
        except WrongState:
            continue
        alive = alive and event < 10
        if action is Action.SPAWN:
            assert not alive
            one.spawned(1, now)
            alive = True
        if action in (Action.TERMINATE, Action.PAUSE, Action.RESUME, Action.RELOAD):
            assert alive
        assert (one.state in ALIVE) is alive
        assert len(one.recent) <= budget


def happens(one, event, now, alive):
    """The next thing in a history."""
    asked = (one.start, one.stop, one.restart, one.pause, one.resume, one.reload, one.released)
    if event < len(asked):
        return asked[event]()
    if event == 7:
        return one.elapsed(now)
    if event == 8:
        one.announced()
        return Action.NONE
    if event == 9:
        return one.fail("it did not move")
    return one.exited(CRASH if event == 10 else DONE, now, 0.5) if alive else Action.NONE
