"""The circuit breaker, fed with histories: time is a number that the test moves on."""

from hypothesis import given
from hypothesis import strategies as st

from shmbus.rpc.breaker import Breaker, State

FIRST, LONGEST = 100, 1000


def breaker() -> Breaker:
    return Breaker(failures_to_open=3, first_pause_ns=FIRST, longest_pause_ns=LONGEST)


def opened(now: int = 0) -> Breaker:
    its = breaker()
    for _ in range(3):
        assert its.admits(now)
        its.failed(now)
    assert its.state is State.OPEN
    return its


def test_it_opens_after_so_many_failures_in_a_row_and_not_before():
    its = breaker()
    for outcome in "ffsff":
        assert its.admits(0) and its.state is State.CLOSED
        its.succeeded() if outcome == "s" else its.failed(0)
    assert its.state is State.CLOSED
    its.failed(0)
    assert its.state is State.OPEN and not its.admits(FIRST - 1)


def test_one_call_tries_when_the_pause_is_over():
    its = opened()
    assert its.admits(FIRST) and its.state is State.HALF_OPEN
    assert not its.admits(FIRST) and not its.admits(10 * FIRST)
    its.succeeded()
    assert its.state is State.CLOSED and its.admits(FIRST) and its.admits(FIRST)


def test_a_failed_trial_makes_the_next_pause_twice_as_long_up_to_the_longest():
    its, now, pauses = opened(), 0, []
    for _ in range(6):
        pauses.append(its.until_ns - now)
        now = its.until_ns
        assert not its.admits(now - 1) and its.admits(now)
        its.failed(now)
    assert pauses == [100, 200, 400, 800, 1000, 1000]


def test_after_it_has_closed_the_pause_is_the_first_one_again():
    its = opened()
    assert its.admits(FIRST)
    its.failed(FIRST)
    assert its.admits(its.until_ns)
    its.succeeded()
    for _ in range(3):
        its.failed(5000)
    assert its.until_ns == 5000 + FIRST


def test_a_trial_that_tells_nothing_leaves_it_to_another():
    its = opened()
    assert its.admits(FIRST)
    its.withdrawn()
    assert its.state is State.HALF_OPEN and its.admits(FIRST) and not its.admits(FIRST)


def test_failures_of_calls_that_went_out_before_it_opened_do_not_make_the_pause_longer():
    its = opened()
    until = its.until_ns
    for now in range(50):
        its.failed(now)
    assert its.until_ns == until


@given(st.lists(st.tuples(st.sampled_from("asfw"), st.integers(0, 300))))
def test_in_every_history_an_open_one_admits_nobody_and_comes_to_an_end(history):
    its, now = breaker(), 0
    for what, later in history:
        now += later
        if what == "a":
            was = its.state
            admitted = its.admits(now)
            assert admitted or was is not State.CLOSED
            assert not admitted or its.state is not State.OPEN
        elif what == "s":
            its.succeeded()
        elif what == "f":
            its.failed(now)
        else:
            its.withdrawn()
        assert its.until_ns <= now + LONGEST
    its.withdrawn()
    assert its.admits(now + LONGEST)
