"""The table of keys: executed once, answered again, bounded."""

from hypothesis import given
from hypothesis import strategies as st

from shmbus.rpc.once import Once


def test_who_asks_with_a_known_key_waits_for_its_answer_and_later_gets_it_again():
    table: Once[str, str, str] = Once()
    assert table.begin("k", "it")
    assert not table.begin("k", "it") and table.answer("k") is None
    table.join("k", "second")
    table.join("k", "third")
    assert table.finish("k", "done", 4) == ["second", "third"]
    assert not table.begin("k", "it") and table.answer("k") == "done"


def test_what_was_not_executed_is_executed_when_it_comes_again():
    table: Once[str, str, str] = Once()
    assert table.begin("k", "it")
    table.join("k", "second")
    assert table.abandon("k") == ["second"]
    assert table.begin("k", "it")


def test_the_oldest_answers_are_forgotten_by_count_and_by_size():
    table: Once[str, int, str] = Once(entries=3, size=100)
    for number in range(5):
        assert table.begin(number, "it")
        table.finish(number, number, 10)
    assert [table.answer(number) for number in range(5)] == [None, None, 2, 3, 4]
    table.begin("large", "it")
    table.finish("large", 9, 90)
    assert table.answer("large") == 9 and table.used_bytes == 100 and len(table) == 2
    table.begin("larger than all", "it")
    table.finish("larger than all", 9, 101)
    assert table.answer("larger than all") is None and table.answer("large") == 9


def test_what_runs_is_never_forgotten():
    table: Once[str, int, str] = Once(entries=1)
    assert table.begin("running", "it")
    for number in range(10):
        table.begin(number, "it")
        table.finish(number, number, 1)
    assert not table.begin("running", "it")


def test_what_was_asked_is_known_as_long_as_the_key_is():
    table: Once[str, int, str] = Once(entries=1)
    assert table.begin("k", "this")
    assert table.asked("k") == "this"
    table.finish("k", 1, 1)
    assert not table.begin("k", "that") and table.asked("k") == "this"
    table.begin("another", "it")
    table.finish("another", 2, 1)
    assert table.begin("k", "that") and table.asked("k") == "that"
    table.abandon("k")
    assert table.begin("k", "yet another")


@given(st.lists(st.tuples(st.sampled_from("bfa"), st.integers(0, 5), st.integers(0, 60))))
def test_in_every_history_a_key_runs_once_at_a_time_and_the_bounds_hold(history):
    table: Once[int, int, str] = Once(entries=3, size=100)
    running: set[int] = set()
    for what, key, size in history:
        if what == "b":
            assert table.begin(key, "it") or key in running or table.answer(key) is not None
            if table.answer(key) is None:
                running.add(key)
        elif key in running:
            running.discard(key)
            table.finish(key, key, size) if what == "f" else table.abandon(key)
        assert table.used_bytes <= 100 and len(table) <= 3 + len(running)
