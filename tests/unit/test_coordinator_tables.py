"""Numbers that the coordinator gives out: none twice, none too early."""

from hypothesis import given
from hypothesis import strategies as st

from shmbus.coordinator.tables import NumberTable, ProducerTable


def test_the_lowest_free_number_is_given_out_first():
    table = NumberTable(3, first=1)
    assert [table.take() for _ in range(4)] == [1, 2, 3, None]
    table.give_back(3)
    table.give_back(1)
    assert (table.used, table.take(), table.take(), table.take()) == (1, 1, 3, None)


def test_a_producer_id_waits_until_the_head_has_passed_its_owners_messages():
    table = ProducerTable(1)
    producer = table.take()
    table.part(producer, tail=100, unfinished=False)
    assert table.reclaim(head=99) == []
    assert table.take() is None
    assert table.reclaim(head=100) == [producer]
    assert table.take() == producer


def test_a_producer_id_that_is_to_be_avoided_stays_free():
    table = ProducerTable(3)
    assert table.take({1, 2}) == 3
    assert table.take({1, 2}) is None and table.active == {3}
    assert [table.take({1}), table.take({7}), table.take()] == [2, 1, None]
    for producer in (2, 1):
        table.part(producer, tail=5, unfinished=False)
    table.reclaim(head=5)
    assert [table.take({1, 2}), table.take({2}), table.take({7})] == [None, 1, 2]


def test_a_producer_id_is_anothers_again_as_late_as_can_be():
    table = ProducerTable(3)
    first, second = table.take(), table.take()
    table.part(second, tail=10, unfinished=False)
    table.part(first, tail=20, unfinished=False)
    assert table.reclaim(head=30) == [second, first]
    assert table.departed == {second: 10, first: 20}
    fresh = table.take()
    assert fresh not in (first, second)
    assert [table.take(), table.take(), table.take()] == [second, first, None]


def test_a_producer_id_with_an_open_claim_waits_until_it_is_settled():
    table = ProducerTable(4)
    producer = table.take()
    table.part(producer, tail=1, unfinished=True)
    assert table.reclaim(head=50) == []
    table.settled(producer)
    assert table.reclaim(head=50) == [producer]


def test_a_producer_id_that_was_settled_late_is_not_behind_those_that_were_left_later():
    table = ProducerTable(2)
    first, second = table.take(), table.take()
    table.part(first, tail=10, unfinished=True)
    table.part(second, tail=20, unfinished=False)
    assert table.reclaim(head=30) == [second]
    table.settled(first)
    assert table.reclaim(head=30) == [first]
    assert [table.take(), table.take(), table.take()] == [first, second, None]


def test_a_successor_has_the_ids_that_were_left_last_of_all():
    before, table = ProducerTable(4), ProducerTable(4)
    for _ in range(4):
        before.take()
    for producer, tail in ((3, 10), (1, 20), (2, 30)):
        before.part(producer, tail, unfinished=False)
    before.reclaim(head=20)  # the messages of the last one are still there
    table.adopt(before.active)
    for producer, tail in before.departed.items():
        table.leave(producer, tail)
    assert [table.take() for _ in range(4)] == [3, 1, 2, None]


def test_a_successor_keeps_the_ids_in_use_and_frees_all_others():
    table = ProducerTable(8)
    table.adopt({2, 5})
    assert table.active == {2, 5}
    assert [table.take() for _ in range(6)] == [1, 3, 4, 6, 7, 8]
    assert table.take() is None


@given(st.lists(st.tuples(st.sampled_from(["take", "part", "move"]), st.integers(0, 5)), max_size=60))
def test_no_producer_id_is_ever_given_to_two_nor_before_it_must_be(history):
    table, head, tail, active, waiting, free = ProducerTable(4), 1, 1, [], {}, []
    for action, number in history:
        tail += number
        if action == "take" and (producer := table.take()) is not None:
            assert producer not in active and producer not in waiting
            seen = {*active, *waiting, *free}
            if producer in free:
                assert len(seen) == table.capacity and producer == free.pop(0)
            active.append(producer)
        elif action == "part" and active:
            producer = active.pop(number % len(active))
            table.part(producer, tail, unfinished=False)
            waiting[producer] = tail
        elif action == "move":
            head = min(head + number * 3, tail)
            for producer in table.reclaim(head):
                assert waiting.pop(producer) <= head
                free.append(producer)
    assert table.active == set(active)
    assert table.parted == len(waiting)
