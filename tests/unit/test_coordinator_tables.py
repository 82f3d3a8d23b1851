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


def test_a_producer_id_with_an_open_claim_waits_until_it_is_settled():
    table = ProducerTable(4)
    producer = table.take()
    table.part(producer, tail=1, unfinished=True)
    assert table.reclaim(head=50) == []
    table.settled(producer)
    assert table.reclaim(head=50) == [producer]


def test_a_successor_keeps_the_ids_in_use_and_frees_all_others():
    table = ProducerTable(8)
    table.adopt({2, 5})
    assert table.active == {2, 5}
    assert [table.take() for _ in range(6)] == [1, 3, 4, 6, 7, 8]
    assert table.take() is None


@given(st.lists(st.tuples(st.sampled_from(["take", "part", "move"]), st.integers(0, 5)), max_size=60))
def test_no_producer_id_is_ever_given_to_two(history):
    table, head, tail, active, waiting = ProducerTable(4), 1, 1, [], {}
    for action, number in history:
        tail += number
        if action == "take" and (producer := table.take()) is not None:
            assert producer not in active and producer not in waiting
            active.append(producer)
        elif action == "part" and active:
            producer = active.pop(number % len(active))
            table.part(producer, tail, unfinished=False)
            waiting[producer] = tail
        elif action == "move":
            head = min(head + number * 3, tail)
            for producer in table.reclaim(head):
                assert waiting.pop(producer) <= head
    assert table.active == set(active)
    assert table.parted == len(waiting)
