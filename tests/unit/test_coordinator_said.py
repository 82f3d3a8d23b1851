"""What a collector says of itself, told as histories: no process, no clock."""

import pytest

from shmbus.condition import Condition
from shmbus.coordinator.said import Said
from shmbus.directory import Health


def history(*looks, patience=3.0):
    """A look a second at (word, fresh); at which of them it was overdue."""
    said, found = Said(), []
    for now, (word, fresh) in enumerate(looks):
        said.look(word, fresh, float(now))
        if said.overdue(patience, float(now)):
            found.append(now)
    return found


def test_every_other_word_than_before_is_news_and_nothing_is_said_at_first():
    said = Said()
    assert said.health is Health.UNKNOWN
    assert [said.look(word, True, 0.0) for word in (0, 1, 1, 3, 2, 2, 0)] == [
        False, True, False, True, True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("word", [4, 5, 2**32 - 1])
def test_a_word_that_is_none_says_nothing(word):
    said = Said()
    assert not said.look(word, True, 0.0)
    said.look(3, True, 1.0)
    assert said.look(word, True, 2.0) and said.health is Health.UNKNOWN


def test_unhealthy_is_overdue_when_it_has_been_said_for_so_long_and_degraded_never():
    assert history(*[(3, True)] * 6) == [3, 4, 5]
    assert history(*[(2, True)] * 9) == history(*[(1, True)] * 9) == history(*[(0, True)] * 9) == []
    assert history(*[(3, True)] * 9, patience=None) == []
    assert history((1, True), (3, True), patience=0.0) == [1]


def test_a_better_word_in_between_begins_the_time_anew():
    assert history((3, True), (3, True), (2, True), *[(3, True)] * 5) == [6, 7]


def test_the_time_in_which_it_stood_still_does_not_count():
    assert history((3, True), (3, True), *[(3, False)] * 20, *[(3, True)] * 4) == [24, 25]
    assert history(*[(3, False)] * 20) == []


def test_the_worse_of_what_is_seen_and_said_counts():
    healths = list(Health)
    for seen in healths:
        for said in healths:
            assert Condition(seen, said).health is max(seen, said)


def test_what_one_said_that_stands_still_is_stale_and_says_so():
    assert Condition(Health.HEALTHY, Health.HEALTHY).says == "healthy"
    assert Condition(Health.HEALTHY, Health.UNHEALTHY).why() == "it says so itself"
    frozen = Condition(Health.DEGRADED, Health.UNHEALTHY)
    assert (frozen.stale, frozen.health, frozen.says) == (True, Health.UNHEALTHY, "unhealthy (stale)")
    assert frozen.why() == "it does not move; before that it said that it is unhealthy"
    assert Condition(Health.UNRESPONSIVE, Health.HEALTHY).why() == "it does not move"
    assert Condition(Health.DEGRADED).says == "" and not Condition(Health.DEGRADED).stale
    assert Condition(Health.HEALTHY).why() == Condition().why() == ""
