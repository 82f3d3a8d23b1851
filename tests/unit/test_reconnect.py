"""A client that loses its coordinator, by histories: when it looks for another, and what it makes of whom it finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shmbus.reconnect import RETRY_SECONDS, Found, Reconnect

RETRY = int(RETRY_SECONDS * 1e9)


def test_it_looks_at_once_and_then_not_before_a_while():
    its = Reconnect()
    assert its.look(5)
    assert not its.found(Found.NOBODY)
    assert [its.look(5 + RETRY - 1), its.look(5 + RETRY), its.look(5 + RETRY + 1)] == [False, True, False]
    assert its.ended is None


def test_it_goes_on_with_whoever_knows_it_and_looks_again_when_that_one_dies_too():
    its = Reconnect()
    for number in range(5):
        assert its.look(number * RETRY)
        assert its.found(Found.RESUMED)
    assert its.ended is None


@pytest.mark.parametrize(
    ("what", "detail", "reason"),
    [(Found.STRANGER, "", "knows nothing of it. Connect again"), (Found.UNLIKE, "2.0.0", "no common protocol: 2.0.0")],
)
def test_it_ends_with_one_that_it_cannot_go_on_with_and_never_looks_again(what, detail, reason):
    its = Reconnect()
    assert its.look(0)
    assert not its.found(what, detail)
    assert its.ended is not None and its.ended.endswith(reason)
    assert not its.look(10 * RETRY)


def test_the_first_reason_counts_and_a_stop_without_one_has_one():
    its = Reconnect()
    its.end("")
    assert its.ended == "the bus was stopped"
    its.end("SIGTERM")
    its.found(Found.STRANGER)
    assert its.ended == "the bus was stopped"


@given(st.lists(st.tuples(st.integers(0, 3 * RETRY), st.sampled_from(Found))))
def test_in_any_history_looks_are_apart_and_none_comes_after_the_end(history):
    its, now, looks, over = Reconnect(), 0, [], False
    for wait, what in history:
        now += wait
        if its.look(now):
            assert not over
            assert not looks or now - looks[-1] >= RETRY
            looks.append(now)
            assert its.found(what) is (what is Found.RESUMED)
            over = what in (Found.STRANGER, Found.UNLIKE)
        assert (its.ended is not None) is over
