"""Who stands in the way of a full ring for too long, told as histories: no process, no ring, no clock."""

from shmbus.coordinator.stalls import StallWatch

LIMIT = 10


def judged(*history):
    """What came of each (now, full, head, where the gates hold)."""
    watch = StallWatch()
    return [watch.judge(now, LIMIT, full=full, head=head, held=held) for now, full, head, held in history]


def test_a_gate_that_holds_the_head_of_a_full_ring_for_the_limit():
    assert judged((0, True, 5, {1: 5}), (9, True, 5, {1: 5}), (10, True, 5, {1: 5})) == [{}, {}, {1: 10}]


def test_every_gate_at_the_head_is_in_the_way_and_no_gate_beyond_it():
    assert judged((0, True, 5, {1: 5, 2: 5, 3: 6}), (12, True, 5, {1: 5, 2: 5, 3: 6})) == [{}, {1: 12, 2: 12}]


def test_progress_starts_the_time_anew():
    assert judged((0, True, 5, {1: 5}), (9, True, 6, {1: 6}), (18, True, 6, {1: 6}), (19, True, 6, {1: 6})) == [
        {}, {}, {}, {1: 10},
    ]  # fmt: skip


def test_time_in_which_the_ring_is_not_full_does_not_count():
    assert judged((0, True, 5, {1: 5}), (9, False, 5, {1: 5}), (12, True, 5, {1: 5}), (22, True, 5, {1: 5})) == [
        {}, {}, {}, {1: 10},
    ]  # fmt: skip


def test_a_head_that_an_unfinished_claim_holds_is_nobodys_fault():
    assert judged((0, True, 4, {1: 5}), (100, True, 4, {1: 5})) == [{}, {}]


def test_a_gate_that_is_used_again_begins_anew():
    assert judged((0, True, 5, {1: 5}), (5, True, 5, {}), (10, True, 5, {1: 5}), (19, True, 5, {1: 5})) == [{}] * 4
