"""Who is above a budget and for how long, told as histories: no process, no ring, no clock."""

import pytest

from shmbus.coordinator.settings import Budget
from shmbus.coordinator.spending import Judgement, Spending

FINE, OVER, STILL, REVOKE = Judgement.FINE, Judgement.OVER, Judgement.STILL_OVER, Judgement.REVOKE
SECOND = 10**9


def judged(budget, *published, size=0, step=1.0, grace=3.0):
    """What came of each look, `step` seconds apart, at so many messages."""
    spending = Spending(budget, int(grace * SECOND), 0)
    return [
        spending.judge(int((place + 1) * step * SECOND), messages, messages * size, size * (messages > 0))
        for place, messages in enumerate(published)
    ]


def test_a_second_s_worth_at_once_and_then_the_rate_is_fine_for_ever():
    assert judged(Budget(1000), 2000, *[1000] * 50) == [FINE] * 51


def test_what_was_saved_up_longer_than_a_second_does_not_count():
    assert judged(Budget(1000), 0, 0, 0, 3000) == [FINE, FINE, FINE, OVER]


def test_twice_the_rate_is_told_at_once_and_ended_after_the_grace():
    assert judged(Budget(1000), 2000, *[2000] * 5) == [FINE, OVER, STILL, STILL, REVOKE, REVOKE]


def test_whoever_comes_back_to_the_rate_begins_anew():
    assert judged(Budget(1000), 5000, 5000, 900, 5000, 5000, 5000) == [OVER, STILL, FINE, OVER, STILL, STILL]


def test_bytes_count_as_messages_do():
    assert judged(Budget(bytes_per_second=1000), 20, 10, 10, 12, size=100) == [FINE, FINE, FINE, OVER]
    assert judged(Budget(10**6, 1000), 22, size=100) == [OVER], "the tighter one"


def test_one_message_larger_than_a_second_s_worth_is_no_offence():
    assert judged(Budget(bytes_per_second=1000), 1, 0, 0, 0, 0, 1, size=5000) == [FINE] * 6
    assert judged(Budget(bytes_per_second=1000), 1, 1, size=5000) == [FINE, OVER], (
        "but another one before it is made good"
    )


@pytest.mark.parametrize("step", [0.25, 1.0, 3.7])
def test_how_often_it_is_looked_makes_no_difference_to_an_honest_one(step):
    assert set(judged(Budget(1000), int(1000 + 1000 * step), *[int(1000 * step)] * 40, step=step)) == {FINE}


def test_without_a_limit_nothing_is_too_much():
    assert judged(Budget(), 10**9, 10**9, size=10**6) == [FINE, FINE]
