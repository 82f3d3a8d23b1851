"""order="correlation": what belongs to one root comes by sequence_number; what is missing is waited for, then told."""

import asyncio
import contextlib
import random
import signal
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shmbus
from process.buses import python
from process.ordering import NEVER, raw_of
from process.rings import small
from shm.memory import CLAIMED, COMMITTED
from shmbus import Gap
from shmbus.aio import AsyncSubscription
from shmbus.errors import ReceiveTimeout
from shmbus.v1 import common_pb2
from shmbus.v1.eventbus_pb2 import CorrelationMetadata, EventBusMessage, ProcessEventData

EVENT = ProcessEventData(process=common_pb2.ProcessRecord(pid=7))
LONG = 3600.0
HELD, GROUPS = 8192, 4096


@pytest.fixture
def bus():
    with shmbus.embedded(name="lab") as bus:
        yield bus


def placed(number, group="g"):
    return CorrelationMetadata(correlation_id=f"{group}.{number}", root_correlation_id=group, sequence_number=number)


def publish(publisher, *numbers, group="g"):
    for number in numbers:
        publisher.publish(EVENT, correlation=placed(number, group))


def number_of(found):
    return found.envelope.correlation.sequence_number


def shown(found):
    """Numbers of messages; of gaps, (first, count)."""
    return [(one.first, one.count) if isinstance(one, Gap) else number_of(one) for one in found]


def everything(subscription):
    found = []
    while (one := subscription.try_receive()) is not None:
        found.append(one)
    return found


# ---- schedules -------------------------------------------------------------------------------------------------------

LENGTHS = st.lists(st.integers(1, 8), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_groups_shuffled_over_topics_come_by_number_and_as_soon_as_they_can(data):
    lengths = data.draw(LENGTHS)
    doubled = data.draw(st.lists(st.integers(0, 7), max_size=3))
    steps = [(group, number) for group, length in enumerate(lengths) for number in range(length)]
    steps = data.draw(st.permutations(steps + [(0, number) for number in doubled if number < lengths[0]]))
    with shmbus.embedded() as bus, bus.subscribe("c.#", order="correlation", order_wait=LONG) as subscription:
        publishers = [bus.publisher(f"c.t{n}") for n in range(3)]
        came, found = set(), []
        for group, number in steps:
            publish(publishers[data.draw(st.integers(0, 2))], number, group=str(group))
            came.add((group, number))
            if data.draw(st.booleans()):
                found += everything(subscription)
                assert {key(one) for one in found} == due(came)
        found += everything(subscription)
        assert sorted(map(key, found)) == sorted(steps) and subscription.held_back == 0
        for group, length in enumerate(lengths):
            first = [number for its, number in dict.fromkeys(map(key, found)) if its == group]
            assert first == list(range(length)), "the first of each number comes in order"
        assert subscription.delivered == len(steps)


def key(message):
    return int(message.envelope.correlation.root_correlation_id), number_of(message)


def due(came):
    """What has come of each group without a hole."""
    return {(group, number) for group, number in came if all((group, one) in came for one in range(number))}


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(1, 12)), st.sets(st.integers(1, 11), min_size=1, max_size=6))
def test_whatever_is_missing_is_told_once_and_exactly_and_comes_late(order, missing):
    with shmbus.embedded() as bus, bus.subscribe("c.#", order="correlation", order_wait=0.05) as subscription:
        publisher = bus.publisher("c.x")
        publish(publisher, 0, *(number for number in order if number not in missing))
        publish(publisher, 12)
        found = [subscription.receive(timeout=30)]
        while isinstance(found[-1], Gap) or number_of(found[-1]) != 12:
            found.append(subscription.receive(timeout=30))
        place, told = 0, set()
        for one in found:
            first, count = (one.first, one.count) if isinstance(one, Gap) else (number_of(one), 1)
            assert first == place
            told |= set(range(first, first + count)) if isinstance(one, Gap) else set()
            place += count
        assert told == missing and {one.group for one in found if isinstance(one, Gap)} == {"g"}
        publish(publisher, *missing)
        assert sorted(shown(everything(subscription))) == sorted(missing)


# ---- waiting ---------------------------------------------------------------------------------------------------------


def test_a_receive_that_waits_wakes_for_the_bound_and_not_before(bus):
    with bus.subscribe("c.#", order="correlation", order_wait=0.3) as subscription:
        publisher = bus.publisher("c.x")
        publish(publisher, 0, 2)
        began = time.monotonic()
        assert number_of(subscription.receive(timeout=20)) == 0
        assert subscription.try_receive() is None and subscription.held_back == 1
        with pytest.raises(ReceiveTimeout):
            subscription.receive(timeout=0.05)
        gap = subscription.receive(timeout=20)
        assert 0.29 <= time.monotonic() - began < 2
        assert gap == Gap("c.x", "c.#", 1, 1, "order", group="g") and gap.last == 1
        assert number_of(subscription.receive(timeout=0)) == 2


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_bound_is_a_deadline_and_not_a_look_now_and_then(bus, asynchronous):
    """The fastest of a few: a sleep that did not know of the bound would take the 0.1 s that every sleep may."""
    with bus.subscribe("c.#", order="correlation", order_wait=0.01) as subscription, bus.publisher("c.x") as publisher:
        loop, took = asyncio.new_event_loop(), []
        for turn in range(10):
            publish(publisher, 0, 2, group=str(turn))
            assert number_of(subscription.receive(timeout=20)) == 0
            began = time.monotonic()
            receive = AsyncSubscription(subscription).receive if asynchronous else subscription.receive
            gap = loop.run_until_complete(receive(timeout=20)) if asynchronous else receive(timeout=20)
            took.append(time.monotonic() - began)
            assert gap.reason == "order" and number_of(subscription.receive(timeout=20)) == 2
        loop.close()
        assert min(took) < 0.09


def test_each_missing_number_is_waited_for_from_when_a_later_one_came(bus):
    with bus.subscribe("c.#", order="correlation", order_wait=0.4) as subscription:
        publisher = bus.publisher("c.x")
        publish(publisher, 0, 2)
        assert shown([subscription.receive()]) == [0] and subscription.try_receive() is None
        time.sleep(0.25)
        publish(publisher, 5)
        assert shown(subscription.receive() for _ in range(2)) == [(1, 1), 2]
        assert subscription.try_receive() is None
        publish(publisher, 3)
        assert shown([subscription.receive(timeout=0.1)]) == [3]
        assert shown(subscription.receive(timeout=20) for _ in range(2)) == [(4, 1), 5]


def test_who_comes_late_to_receive_is_told_no_gap_of_what_is_there(bus):
    with bus.subscribe("c.#", order="correlation", order_wait=0.05) as subscription:
        first, second = bus.publisher("c.x"), bus.publisher("c.y")
        publish(first, 0, 3, 2)
        assert shown(everything(subscription)) == [0]
        time.sleep(0.1)
        first.publish_many([b"other"] * 1000)
        publish(second, *range(100), group="another")
        publish(second, 1)
        found = [one for one in everything(subscription) if isinstance(one, Gap) or "g." in str(one.envelope)]
        assert shown(found) == [1, 2, 3]


def test_what_stands_in_a_successor_is_no_gap_for_who_comes_late(bus):
    with bus.subscribe("c.#", order="correlation", order_wait=0.5) as subscription, bus.publisher("c.x") as publisher:
        publish(publisher, 0, 3)
        assert shown(everything(subscription)) == [0]
        publish(publisher, 1)
        bus.resize("c.x", slots=64)
        publish(publisher, 2, 4)
        time.sleep(0.6)
        assert shown(everything(subscription)) == [1, 2, 3, 4]


def test_what_stands_in_a_topic_that_was_made_meanwhile_is_no_gap_for_who_comes_late(bus):
    with bus.subscribe("c.#", order="correlation", order_wait=0.5) as subscription, bus.publisher("c.x") as publisher:
        publish(publisher, 0, 3)
        assert shown(everything(subscription)) == [0]
        publish(bus.publisher("c.new"), 1, 2)
        time.sleep(0.6)
        assert shown(everything(subscription)) == [1, 2, 3]


def test_what_comes_in_time_during_the_look_that_ends_too_late_is_no_gap(bus):
    """One topic has been looked at, and found empty; then the reader is stopped, or its filter takes long."""
    with bus.subscribe("c.#", order="correlation", order_wait=2) as subscription:
        first, second = bus.publisher("c.x"), bus.publisher("c.y")
        publish(second, 0, group="other")
        assert shown(everything(subscription)) == [0]
        publish(first, 0, 2)
        assert shown(everything(subscription)) == [0] and subscription.held_back == 1
        looked = []

        def judge(message):
            if message.topic == "c.y":
                looked.append(message)
                publish(first, 1)
                time.sleep(2.1)
                return False
            return True

        subscription._set_filter(judge)
        publish(second, 1, group="other")
        found = [subscription.receive(timeout=20) for _ in range(2)]
        assert shown(found) == [1, 2] and len(looked) == 1


def test_a_claim_that_is_left_open_does_not_hold_back_what_is_due_while_another_topic_is_busy():
    with shmbus.embedded(small(64, claim_timeout_ns=NEVER)) as bus:
        with bus.subscribe("c.#", order="correlation", order_wait=0.5) as subscription:
            busy, stopped = bus.publisher("c.x"), bus.publisher("c.y")
            publish(busy, 0, 2)
            publish(stopped, 0, group="other")
            assert sorted(shown(everything(subscription))) == [0, 0]
            publish(stopped, 1, group="other")
            raw, at = raw_of(bus, stopped._ring), stopped._ring.tail - 1
            try:
                raw.set_state(at, CLAIMED)
                time.sleep(0.6)
                found = []
                for _ in range(10):  # never at rest
                    busy.publish_many([b"busy"] * 2)
                    found.append(subscription.try_receive())
                assert shown(one for one in found if isinstance(one, Gap) or one.envelope) == [(1, 1), 2]
            finally:
                raw.set_state(at, COMMITTED)
                raw.close()


def test_what_begins_in_the_middle_begins_with_the_lowest_that_comes_in_time(bus):
    with bus.subscribe("c.#", order="correlation", order_wait=0.2) as subscription:
        publisher = bus.publisher("c.x")
        publish(publisher, 7, 6, 9)
        assert subscription.try_receive() is None
        publish(publisher, 5)
        found = [subscription.receive(timeout=20) for _ in range(5)]
        assert shown(found) == [5, 6, 7, (8, 1), 9]
        publish(publisher, 4, 10)
        assert shown(everything(subscription)) == [4, 10]


def test_asyncio_wakes_for_the_bound_and_cancelling_loses_nothing():
    async def main():
        async with shmbus.embedded() as bus:
            subscription = bus.subscribe("c.#", order="correlation", order_wait=0.2)
            publisher = bus.publisher("c.x")
            await publisher.publish(EVENT, correlation=placed(0))
            await publisher.publish(EVENT, correlation=placed(3))
            assert number_of(await subscription.receive()) == 0
            began = time.monotonic()
            task = asyncio.create_task(subscription.receive())
            await asyncio.sleep(0.05)
            assert subscription.held_back == 1 and not task.done()
            task.cancel()
            await asyncio.wait([task])
            assert shown([await subscription.receive(timeout=20), await subscription.receive()]) == [(1, 2), 3]
            assert 0.15 <= time.monotonic() - began < 2 and subscription.released_early == 0

    asyncio.run(asyncio.wait_for(main(), 60))


# ---- what takes part -------------------------------------------------------------------------------------------------


def test_what_has_no_correlation_passes_at_once(bus):
    with bus.subscribe("c.#", order="correlation", order_wait=LONG) as subscription:
        publisher = bus.publisher("c.x")
        publish(publisher, 1)
        publisher.publish(EVENT, correlation=False)
        publisher.publish(b"bytes")
        found = everything(subscription)
        assert [one.kind for one in found] == [1, 0] and subscription.held_back == 1


@pytest.mark.parametrize("root", [EVENT, b"bytes"])
def test_children_of_a_message_without_correlation_are_in_its_group(bus, root):
    with bus.subscribe("c.#", order="correlation", order_wait=LONG) as subscription:
        first, second = bus.publisher("c.x"), bus.publisher("c.y")
        first.publish(root)
        for _ in subscription:
            first.publish(EVENT)
            second.publish(EVENT)
            break
        assert shown(everything(subscription)) == [1, 2]


def test_an_envelope_in_pieces_is_read_as_the_parser_reads_it(bus):
    pieces = [EventBusMessage(correlation=placed(9, "other")), EventBusMessage(correlation=placed(1))]
    envelope = EventBusMessage.FromString(b"".join(piece.SerializeToString() for piece in pieces))
    assert number_of(type("M", (), {"envelope": envelope})) == 1
    with bus.subscribe("c.#", order="correlation", order_wait=LONG) as subscription, bus.publisher("c.x") as publisher:
        publish(publisher, 2)
        publisher.publish(envelope)
        publish(publisher, 0)
        assert shown(everything(subscription)) == [0, 1, 2]


def test_what_a_filter_rejects_is_not_missing(bus):
    keep = shmbus.Filter(min_priority=1)
    with bus.subscribe("c.#", order="correlation", order_wait=LONG, filter=keep) as subscription:
        publisher = bus.publisher("c.x")
        for number in (3, 1, 4, 0, 2):
            publisher.publish(EVENT, correlation=placed(number), priority=number % 2)
        assert shown(everything(subscription)) == [1, 3]
        assert (subscription.filtered, subscription.held_back, subscription.delivered) == (3, 0, 2)


def test_other_gaps_are_told_when_they_are_met():
    with shmbus.embedded(small()) as bus:
        with bus.subscribe("c.#", order="correlation", order_wait=0.1) as subscription:
            publish(bus.publisher("c.x"), *range(40))
            gap = subscription.receive(timeout=20)
            assert (gap.reason, gap.first) == ("overrun", 1) and gap.count == subscription.lost
            rest = [subscription.receive(timeout=20) for _ in range(40 - gap.count)]
            assert shown(rest) == list(range(gap.count, 40))


def test_a_number_at_the_end_of_all_numbers_harms_nobody(bus):
    with bus.subscribe("c.#", order="correlation", order_wait=0.05) as subscription, bus.publisher("c.x") as publisher:
        publish(publisher, 0, 2**64 - 1, 2**64 - 1, 2**64 - 2)
        found = [subscription.receive(timeout=20) for _ in range(5)]
        assert shown(found) == [0, (1, 2**64 - 3), 2**64 - 2, 2**64 - 1, 2**64 - 1]
        publish(publisher, 2**64 - 1, 1)
        assert shown(everything(subscription)) == [2**64 - 1, 1]


# ---- bounds and ends -------------------------------------------------------------------------------------------------


def test_beyond_the_bound_what_came_first_goes_early_told_and_counted(bus):
    with bus.subscribe("c.#", order="correlation", order_wait=LONG) as subscription:
        publisher, found = bus.publisher("c.x"), []
        publish(publisher, 0, 2, group="old")
        for number in range(1, HELD + 1):
            publish(publisher, number, group="new")
            found += everything(subscription)
        old, gap, freed = found
        assert shown([old, gap, freed]) == [0, (1, 1), 2] and gap.group == "old"
        assert (subscription.released_early, subscription.held_back) == (1, HELD)
        publish(publisher, 0, group="new")
        assert shown(everything(subscription)) == list(range(HELD + 1))


def test_beyond_the_bound_of_bytes_too(bus):
    with bus.subscribe("c.#", order="correlation", order_wait=LONG) as subscription:
        publisher, found = bus.publisher("c.x"), []
        large = ProcessEventData(process=common_pb2.ProcessRecord(name="x" * 900_000))
        for number in range(1, 81):
            publisher.publish(large, correlation=placed(number))
            found += everything(subscription)
        held = subscription.held_back
        assert shown(found) == list(range(1, 81))[: len(found)] and subscription.released_early >= 1
        assert held + len(found) == 80 and held * 900_000 < 64 << 20


def test_beyond_the_bound_of_groups_the_quietest_is_forgotten_and_what_it_holds_comes(bus):
    with bus.subscribe("c.#", order="correlation", order_wait=LONG) as subscription:
        publisher, found = bus.publisher("c.x"), []
        publish(publisher, 0, 2, group="old")
        for number in range(GROUPS + 5):
            publish(publisher, 0, group=str(number))
            found += everything(subscription)
        mine = [
            one for one in found if getattr(one, "group", "") == "old" or "old" in str(getattr(one, "envelope", ""))
        ]
        assert shown(mine) == [0, (1, 1), 2]
        assert (subscription.released_early, subscription.held_back, len(found)) == (1, 0, GROUPS + 8)


def test_roots_without_children_crowd_out_no_group(bus):
    with bus.subscribe("c.#", order="correlation", order_wait=LONG) as subscription:
        publisher, found = bus.publisher("c.x"), 0
        publish(publisher, 0, 2)
        for _ in range(GROUPS + 5):
            publisher.publish(b"plain")
            found += len(everything(subscription))
        publish(publisher, 1)
        assert shown(everything(subscription)) == [1, 2] and found == GROUPS + 6


def test_what_is_held_back_when_the_bus_ends_comes_first():
    with shmbus.embedded() as keeper, shmbus.connect(keeper.address) as bus:
        subscription = bus.subscribe("c.#", order="correlation", order_wait=LONG)
        publish(bus.publisher("c.x"), 0, 2, 5)
        assert number_of(subscription.receive()) == 0
        found = []
        thread = threading.Thread(target=lambda: found.extend(subscription))
        thread.start()
        time.sleep(0.1)
        keeper.stop()
        thread.join(20)
        assert shown(found) == [(1, 1), 2, (3, 2), 5]


def test_closing_drops_what_is_held_back(bus):
    subscription = bus.subscribe("c.#", order="correlation", order_wait=LONG)
    publish(bus.publisher("c.x"), 1, 2)
    assert subscription.try_receive() is None and subscription.held_back == 2
    subscription.close()
    assert subscription.held_back == 0 and list(subscription) == []


# ---- processes and signals -------------------------------------------------------------------------------------------

CHAINS = """
import sys, shmbus
from shmbus.v1.eventbus_pb2 import CorrelationMetadata, ProcessEventData
who, of, groups, length = map(int, sys.argv[2:])
with shmbus.connect(sys.argv[1]) as bus, bus.publisher(f"c.t{who}", timeout=60) as publisher:
    for group in range(groups):
        for number in range(who, length, of):
            publisher.publish(ProcessEventData(), correlation=CorrelationMetadata(
                correlation_id=f"{group}.{number}", root_correlation_id=str(group), sequence_number=number))
"""


def test_processes_that_share_groups_come_by_number():
    groups, length, processes = 300, 9, 3
    with shmbus.embedded(small(256)) as bus:
        subscription = bus.subscribe("c.#", lossless=True, order="correlation", order_wait=60)
        arguments = [bus.address, str(processes), str(groups), str(length)]
        with (
            python(CHAINS, arguments[0], "0", *arguments[1:]) as a,
            python(CHAINS, arguments[0], "1", *arguments[1:]) as b,
            python(CHAINS, arguments[0], "2", *arguments[1:]) as c,
        ):
            next_of = dict.fromkeys(range(groups), 0)
            for _ in range(groups * length):
                group, number = key(subscription.receive(timeout=60))
                assert number == next_of[group]
                next_of[group] += 1
            assert [child.wait(30) for child in (a, b, c)] == [0, 0, 0]
        assert subscription.try_receive() is None and subscription.held_back == 0


class Tick(BaseException):
    """What the signal raises."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may fall into a finalizer, too
def test_a_signal_that_raises_at_any_moment_loses_and_doubles_nothing(bus):
    """Of what has been taken from a ring, and is not where it belongs yet."""

    def tick(number, frame):
        raise Tick

    count, found, chance = 4000, [], random.Random(7)
    keep = shmbus.Filter(where="true", min_priority=0)
    with bus.subscribe("c.#", order="correlation", order_wait=0.001, filter=keep) as subscription:
        publisher = bus.publisher("c.x")
        publish(publisher, 0, *(number for number in range(2, count) if number % 5))
        found.append(subscription.receive(timeout=20))  # the topic is there: its arrival is not what this is about
        before = signal.signal(signal.SIGALRM, tick)
        try:
            while not found or isinstance(found[-1], Gap) or number_of(found[-1]) != count - 1:
                with contextlib.suppress(Tick):
                    signal.setitimer(
                        signal.ITIMER_REAL, chance.uniform(0.0001, 0.001), 1
                    )  # and again: one may be ignored
                    found.extend(subscription)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        place = 0
        for one in found:
            first, last = (one.first, one.last) if isinstance(one, Gap) else (number_of(one), number_of(one))
            assert first == place
            place = last + 1
