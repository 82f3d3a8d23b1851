"""Order across topics: by producer and by correlation group, whatever the interleaving."""

import asyncio
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shmbus
from process.buses import coordinator, python
from shmbus import correlation
from shmbus.v1.common_pb2 import ProcessRecord
from shmbus.v1.eventbus_pb2 import ProcessEventData

TOPICS = ("o.a", "o.b", "o.c.d")
EVENT = ProcessEventData(process=ProcessRecord(pid=1))


@pytest.fixture
def bus():
    with shmbus.embedded() as bus:
        yield bus


def take(subscription, number, timeout=5):
    return [subscription.receive(timeout=timeout) for _ in range(number)]


# ---- by producer -----------------------------------------------------------------------------------------------------


def test_a_producers_messages_come_as_it_published_them_whatever_topics_they_went_to(bus):
    with bus.subscribe("o.#", order="producer", lossless=True) as subscription:
        publishers = [bus.publisher(topic) for topic in TOPICS]
        for number in range(2000):
            publishers[number * 7 % 3].publish(b"%d" % number)
        assert [int(message.payload) for message in take(subscription, 2000)] == list(range(2000))


def test_the_other_topics_oldest_message_is_waited_for_even_behind_another_producers(bus):
    with shmbus.connect(bus.address, name="other") as other, bus.publisher("o.a") as a, bus.publisher("o.b") as b:
        with bus.subscribe("o.+", order="producer") as subscription, other.publisher("o.a") as theirs:
            theirs.publish(b"theirs")
            a.publish(b"1")
            b.publish(b"2")
            found = [message.payload for message in take(subscription, 3)]
            assert found.index(b"1") < found.index(b"2") and b"theirs" in found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), min_size=1, max_size=120))
def test_no_schedule_puts_a_producers_messages_or_a_rings_out_of_order(schedule):
    with shmbus.embedded() as bus:
        buses = [shmbus.connect(bus.address, name=f"p{number}") for number in range(3)]
        try:
            publishers = [[one.publisher(topic) for topic in TOPICS] for one in buses]
            with bus.subscribe("o.#", order="producer", lossless=True) as subscription:
                found = []
                for number, (who, topic, look) in enumerate(schedule):
                    priority = 200 if number % 11 == 0 else 0
                    publishers[who][topic].publish(b"%d %d" % (who, number), priority=priority)
                    if look and (message := subscription.try_receive()) is not None:
                        found.append(message)
                found += take(subscription, len(schedule) - len(found))
            for who in range(3):
                numbers = [int(m.payload.split()[1]) for m in found if m.payload.split()[0] == b"%d" % who]
                assert numbers == sorted(numbers)
            for topic in TOPICS:
                for lane in (0, 1):
                    sequences = [m.sequence for m in found if (m.topic, m.lane) == (topic, lane)]
                    assert sequences == sorted(sequences)
        finally:
            for one in buses:
                one.close()


PUBLISHER = """
import sys, shmbus
with shmbus.connect(sys.argv[1], name=sys.argv[2]) as bus:
    publishers = [bus.publisher(f"o.{number}") for number in range(4)]
    sys.stdin.readline()
    for number in range(20_000):
        publishers[number * 5 % 4].publish(b"%s %d" % (sys.argv[2].encode(), number))
"""


def test_processes_at_full_speed_are_put_in_order(bus_name):
    with (
        coordinator(bus_name),
        shmbus.connect() as bus,
        python(PUBLISHER, bus_name, "p") as p,
        python(PUBLISHER, bus_name, "q") as q,
    ):
        with bus.subscribe("o.+", order="producer", lossless=True) as subscription:
            for child in (p, q):
                child.stdin.write("\n")
                child.stdin.flush()
            expected = {b"p": 0, b"q": 0}
            for _ in range(40_000):
                name, number = subscription.receive(timeout=30).payload.split()
                assert int(number) == expected[name]
                expected[name] += 1


def test_a_topic_that_is_new_is_in_order_from_its_first_message(bus):
    with bus.subscribe("o.#", order="producer", lossless=True) as subscription:
        old = bus.publisher("o.old")
        for number in range(30):
            with bus.publisher(f"o.new.n{number}") as new:
                new.publish(b"%d" % (2 * number))
            old.publish(b"%d" % (2 * number + 1))
        assert [int(message.payload) for message in take(subscription, 60)] == list(range(60))


def test_order_lasts_across_a_resize(bus):
    with bus.subscribe("o.+", order="producer", lossless=True) as subscription:
        a, b = bus.publisher("o.a"), bus.publisher("o.b")
        found = []
        for number in range(0, 200, 2):
            if number == 100:
                bus.resize("o.a", slots=64)
            a.publish(b"%d" % number)
            b.publish(b"%d" % (number + 1))
            if number % 40 == 0 and (message := subscription.try_receive()) is not None:
                found.append(message)
        found += take(subscription, 200 - len(found))
        assert [int(message.payload) for message in found] == list(range(200))


def test_one_that_waits_is_woken_by_nothing_but_a_message(bus):
    with bus.subscribe("o.a", order="producer") as subscription:
        publisher = bus.publisher("o.a")
        timer = threading.Timer(0.2, publisher.publish, (b"1",))
        timer.start()
        assert subscription.receive(timeout=5).payload == b"1"
        timer.join()
        with pytest.raises(shmbus.ReceiveTimeout):
            subscription.receive(timeout=0.05)


# ---- by correlation group --------------------------------------------------------------------------------------------


def metadata(root, number):
    its = correlation.new(correlation_id=root)
    its.sequence_number = number
    return its


def numbers(found):
    return [one.envelope.correlation.sequence_number for one in found]


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(8)), st.permutations(range(5)))
def test_groups_come_by_their_numbers_across_topics(first, second):
    with shmbus.embedded() as bus:
        publishers = [bus.publisher(topic) for topic in TOPICS]
        with bus.subscribe("o.#", order="correlation", order_wait=5, lossless=True) as subscription:
            for turn in range(8):
                publishers[turn % 3].publish(EVENT, correlation=metadata("first", first[turn]))
                if turn < 5:
                    publishers[(turn + 1) % 3].publish(EVENT, correlation=metadata("second", second[turn]))
            found = take(subscription, 13)
        for root, many in (("first", 8), ("second", 5)):
            group = [one for one in found if one.envelope.correlation.root_correlation_id == root]
            assert numbers(group) == list(range(many))


def test_a_gap_is_told_after_the_wait_and_what_comes_late_is_handed_out(bus):
    publisher = bus.publisher("o.a")
    with bus.subscribe("o.a", order="correlation", order_wait=0.1) as subscription:
        for number in (0, 3, 4):
            publisher.publish(EVENT, correlation=metadata("g", number))
        assert numbers(take(subscription, 1)) == [0]
        started = time.monotonic()
        gap = subscription.receive(timeout=5)
        assert time.monotonic() - started >= 0.09
        assert (gap.reason, gap.first, gap.count, gap.topic) == ("order", 1, 2, "o.a")
        assert numbers(take(subscription, 2)) == [3, 4]
        publisher.publish(EVENT, correlation=metadata("g", 1))
        publisher.publish(EVENT, correlation=metadata("g", 5))
        assert numbers(take(subscription, 2)) == [1, 5]


def test_who_begins_in_the_middle_of_a_group_begins_with_the_lowest_it_sees(bus):
    publisher = bus.publisher("o.a")
    with bus.subscribe("o.a", order="correlation", order_wait=0.1) as subscription:
        for number in (9, 7, 8):
            publisher.publish(EVENT, correlation=metadata("g", number))
        assert numbers(take(subscription, 3)) == [7, 8, 9]


def test_equal_numbers_and_messages_of_no_group_are_not_held(bus):
    publisher = bus.publisher("o.a")
    with bus.subscribe("o.a", order="correlation", order_wait=60) as subscription:
        publisher.publish(EVENT, correlation=metadata("g", 0))
        publisher.publish(EVENT, correlation=metadata("g", 1))
        publisher.publish(EVENT, correlation=metadata("g", 1))
        publisher.publish(EVENT, correlation=False)
        publisher.publish(b"bytes")
        assert len(take(subscription, 5)) == 5


def test_at_the_end_of_the_bus_what_is_held_comes_still():
    with shmbus.embedded() as bus, bus.publisher("o.a") as publisher:
        with shmbus.connect(bus.address) as reading:
            subscription = reading.subscribe("o.a", order="correlation", order_wait=60, lossless=True)
            publisher.publish(EVENT, correlation=metadata("g", 4))
            assert subscription.try_receive() is None
            bus.stop()
            assert numbers(take(subscription, 1)) == [4]
            with pytest.raises(shmbus.ClosedError):
                subscription.receive(timeout=5)


# ---- both ------------------------------------------------------------------------------------------------------------


def test_a_loop_over_it_makes_children_of_what_it_handles_and_only_inside(bus):
    publisher, out = bus.publisher("o.a"), bus.publisher("out")
    with bus.subscribe("out") as children:
        with bus.subscribe("o.a", order="producer") as subscription:
            publisher.publish(EVENT, correlation=metadata("root", 0))
            for message in subscription:
                assert message.topic == "o.a"
                out.publish(EVENT)
                break
        out.publish(EVENT)
        first, second = take(children, 2)
        assert first.envelope.correlation.root_correlation_id == "root"
        assert not second.envelope.HasField("correlation")


def test_acknowledgements_pass_through(bus):
    publisher = bus.publisher("o.a")
    with bus.subscribe("o.a", order="producer", durable="agent") as subscription:
        publisher.publish(b"1")
        message = subscription.receive(timeout=5)
        assert subscription.ack(message) and not subscription.ack(message)


def test_what_is_held_back_is_not_lent_and_what_waits_in_its_ring_is(bus):
    with bus.subscribe("o.a", order="correlation", durable="agent") as subscription:
        with pytest.raises(shmbus.BorrowError, match="lends nothing"):
            subscription.borrow()
    with bus.subscribe("o.+", order="producer", lossless=True) as subscription:
        for number in range(6):
            bus.publisher(f"o.{'ab'[number % 2]}").publish(b"%d" % number)
        for number in range(6):
            with subscription.borrow(5) as message:
                assert bytes(message.data) == b"%d" % number


def test_asyncio_does_the_same(bus):
    async def both():
        async with shmbus.connect(bus.address) as other:
            ordered = other.subscribe("o.#", order="producer", lossless=True)
            grouped = other.subscribe("g.#", order="correlation", order_wait=0.05)
            publishers = [bus.publisher(topic) for topic in TOPICS]
            for number in range(300):
                publishers[number * 2 % 3].publish(b"%d" % number)
            assert [int((await ordered.receive(5)).payload) for _ in range(300)] == list(range(300))
            bus.publisher("g.a").publish(EVENT, correlation=metadata("g", 2))
            assert numbers([await grouped.receive(5)]) == [2]
            waiting = asyncio.ensure_future(ordered.receive())
            await asyncio.sleep(0)
            waiting.cancel()
            publishers[0].publish(b"last")
            assert (await ordered.receive(5)).payload == b"last"

    asyncio.run(both())


@pytest.mark.parametrize("options", [{"order": "time"}, {"order": "correlation", "order_wait": -1}])
def test_nonsense_is_refused(bus, options):
    with pytest.raises(ValueError, match="order"):
        bus.subscribe("o.#", **options)
