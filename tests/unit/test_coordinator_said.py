"""What a collector says of itself, told as histories: no process, no clock."""

import pytest

from shmbus.condition import Condition, reason_by
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


def test_a_reason_belongs_to_what_is_said_with_it_and_only_the_ill_have_one():
    said = Said()
    assert said.look(2, True, 0.0, "disk full") and said.reason == "disk full"
    assert not said.look(2, True, 1.0, "disk at 99 %") and said.reason == "disk at 99 %"
    assert said.look(1, True, 2.0, "left over") and said.reason == ""
    assert not said.overdue(0.0, 2.0)
    said.look(3, True, 3.0, "a")
    said.look(3, True, 4.0, "b")  # it has been unhealthy since 3.0 all the same
    assert said.overdue(1.0, 4.0)


def test_any_bytes_are_a_reason_on_one_line():
    assert reason_by(b"disk\n full\x1b[31m\xff\0") == "disk  full [31m"
    assert reason_by("€".encode() * 90) == "€" * 37


def test_a_reason_is_shown_with_the_word():
    well, ill = Condition(Health.HEALTHY, Health.HEALTHY), Condition(Health.HEALTHY, Health.DEGRADED, "disk full")
    assert (well.complaint, well.why()) == ("", "")
    assert (ill.complaint, ill.why(), ill.says) == ("degraded: disk full", "it says so itself: disk full", "degraded")
    frozen = ill._replace(seen=Health.UNRESPONSIVE)
    assert frozen.why() == "it does not move; before that it said that it is degraded: disk full"


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
