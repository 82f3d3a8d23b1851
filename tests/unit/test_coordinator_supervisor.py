"""The life of a supervised collector, told as histories: no process, no clock."""

import pytest

from shmbus.coordinator.supervisor import (
    FIRST_DELAY_SECONDS,
    JITTER,
    LONGEST_DELAY_SECONDS,
    MAX_CRASHES_IN_A_ROW,
    STABLE_SECONDS,
    Action,
    State,
    Supervised,
    back_off,
)


def running(now=0.0):
    one = Supervised("procmond")
    assert one.start() is Action.SPAWN
    one.spawned(100, now)
    one.connected()
    return one


def test_a_collector_runs_when_it_has_said_hello():
    one = Supervised("procmond")
    assert (one.state, one.start()) == (State.STOPPED, Action.SPAWN)
    one.spawned(100, 0.0)
    assert (one.state, one.pid) == (State.STARTING, 100)
    one.connected()
    assert one.state is State.RUNNING
    assert one.start() is Action.NONE


def test_a_crash_is_followed_by_a_wait_and_a_restart_that_counts():
    one = running()
    assert one.exited("killed by SIGSEGV", 5.0, 0.0) is Action.WAIT
    assert (one.state, one.pid, one.reason, one.due) == (State.BACKING_OFF, 0, "killed by SIGSEGV", 6.0)
    assert one.elapsed(5.9) is Action.WAIT
    assert one.elapsed(6.0) is Action.SPAWN
    assert (one.state, one.restarts, one.reason) == (State.STARTING, 1, "killed by SIGSEGV")


def test_the_wait_doubles_with_every_crash_in_a_row_up_to_a_bound():
    delays = [back_off(crashes, 0.0) for crashes in range(1, 12)]
    assert delays[:3] == [FIRST_DELAY_SECONDS, 2 * FIRST_DELAY_SECONDS, 4 * FIRST_DELAY_SECONDS]
    assert max(delays) == LONGEST_DELAY_SECONDS
    assert back_off(1, 0.999) == pytest.approx(FIRST_DELAY_SECONDS * (1 + JITTER), rel=0.01)


def test_too_many_crashes_in_a_row_are_a_failure_until_somebody_asks():
    one, now = running(), 0.0
    for _ in range(MAX_CRASHES_IN_A_ROW):
        assert one.exited("x", now, 0.0) is Action.WAIT
        now = one.due
        assert one.elapsed(now) is Action.SPAWN
        one.spawned(1, now)
    assert one.exited("x", now, 0.0) is Action.NONE
    assert one.state is State.FAILED
    assert one.start() is Action.SPAWN
    assert one.crashes == 0


def test_a_long_run_makes_up_for_earlier_crashes():
    one = running()
    one.exited("x", 1.0, 0.0)
    one.elapsed(one.due)
    one.spawned(2, 2.0)
    one.exited("x", 2.0 + STABLE_SECONDS, 0.0)
    assert one.crashes == 1


def test_a_stop_ends_it_and_its_exit_is_no_crash():
    one = running()
    assert one.stop() is Action.TERMINATE
    assert one.stop() is Action.NONE
    assert one.exited("killed by SIGTERM", 9.0, 0.0) is Action.NONE
    assert (one.state, one.crashes, one.reason) == (State.STOPPED, 0, "")


def test_a_stop_ends_a_back_off():
    one = running()
    one.exited("x", 1.0, 0.0)
    assert one.stop() is Action.NONE
    assert (one.state, one.elapsed(100.0)) == (State.STOPPED, Action.NONE)


def test_an_asked_for_restart_neither_waits_nor_counts():
    one = running()
    assert one.restart() is Action.TERMINATE
    assert one.exited("killed by SIGTERM", 3.0, 0.0) is Action.SPAWN
    assert (one.state, one.restarts, one.crashes) == (State.STARTING, 0, 0)
    one.spawned(3, 3.0)
    assert one.stop() is Action.TERMINATE
    assert one.exited("x", 4.0, 0.0) is Action.NONE


def test_a_start_while_it_stops_starts_it_afterwards():
    one = running()
    one.stop()
    assert one.start() is Action.NONE
    assert one.exited("x", 1.0, 0.0) is Action.SPAWN
