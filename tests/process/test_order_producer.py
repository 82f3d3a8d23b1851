"""order="producer": what one client published comes in the order in which it published it, across topics and lanes."""

import asyncio
import os
import signal
import threading
import time
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shmbus
from process.buses import coordinator, python
from process.ordering import ARENA, SLOTS, goes_on, play, publishes, raw_of, receives, resizes, stops
from process.rings import small
from shmbus import URGENT, Gap, _core, segment
from shmbus.aio import AsyncSubscription


@settings(max_examples=250, deadline=None)
@given(st.lists(st.one_of(publishes, publishes, publishes, receives, stops, goes_on), max_size=40), st.booleans())
def test_any_schedule_with_claims_left_open_comes_in_order_and_at_once(steps, lossless):
    play(steps, lossless=lossless)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(publishes, publishes, publishes, receives, resizes), max_size=40), st.booleans())
def test_any_schedule_with_topics_that_move_comes_in_order(steps, lossless):
    play(steps, lossless=lossless)


# ---- one by one ------------------------------------------------------------------------------------------------------


@pytest.fixture
def bus():
    with shmbus.embedded(small(SLOTS, arena_bytes=ARENA), name="lab") as bus:
        yield bus


def numbers(found):
    return [int(message.payload) for message in found]


def test_without_it_topics_are_not_in_order_so_these_tests_can_fail(bus):
    with bus.subscribe("o.#") as unordered, bus.subscribe("o.#", order="producer") as ordered:
        publishers = [bus.publisher(f"o.t{n}") for n in range(3)]
        for number in range(30):
            publishers[number % 3].publish(b"%d" % number)
        assert numbers(unordered.receive_many()) != list(range(30))
        assert numbers(ordered.receive_many()) == list(range(30))


def test_a_batch_shares_its_time_and_keeps_its_order_among_others(bus):
    with bus.subscribe("o.#", order="producer") as subscription:
        first, second = bus.publisher("o.a"), bus.publisher("o.b")
        first.publish_many(b"%d" % n for n in range(40))
        second.publish_many(b"%d" % n for n in range(40, 50))
        first.publish_many(b"%d" % n for n in range(50, 60))
        assert numbers(subscription.receive_many()) == list(range(60))


def test_what_is_urgent_overtakes_others_and_never_its_own_producer(bus):
    with shmbus.connect(bus.address) as other, bus.subscribe("o.#", order="producer") as subscription:
        mine, its = bus.publisher("o.a"), other.publisher("o.b")
        for number in range(5):
            mine.publish(b"%d" % number)
        its.publish(b"100", priority=URGENT)
        assert numbers(subscription.receive_many(limit=1)) == [100]
        mine.publish(b"5", priority=URGENT)
        mine.publish(b"6")
        its.publish(b"101", priority=URGENT)
        assert numbers(subscription.receive_many()) == [101, 0, 1, 2, 3, 4, 5, 6]
        mine.publish_many(b"%d" % n for n in range(7, 12))
        assert numbers(subscription.receive_many(limit=2)) == [7, 8]
        its.publish(b"102", priority=URGENT)
        assert numbers(subscription.receive_many()) == [102, 9, 10, 11]


def test_what_a_thread_published_after_another_comes_after_it(bus):
    with bus.subscribe("o.#", order="producer") as subscription:
        turn = threading.Semaphore(1), threading.Semaphore(0)

        def publish(which):
            with bus.publisher(f"o.t{which}") as publisher:
                for number in range(which, 50, 2):
                    assert turn[which].acquire(timeout=30)
                    publisher.publish(b"%d" % number)
                    turn[1 - which].release()

        threads = [threading.Thread(target=publish, args=(which,)) for which in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert numbers(subscription.receive_many()) == list(range(50))


def test_a_topic_that_is_made_meanwhile_is_in_the_order_from_its_first_message(bus):
    with bus.subscribe("o.#", order="producer") as subscription, bus.publisher("o.t") as publisher:
        for number in range(0, 20, 2):
            publisher.publish(b"%d" % number)
            with bus.publisher(f"o.new{number}") as other:
                other.publish(b"%d" % (number + 1))
        assert numbers(subscription.receive_many()) == list(range(20))


def test_what_is_urgent_waits_for_what_its_producer_published_in_a_successor(bus):
    with shmbus.connect(bus.address) as other, bus.subscribe("o.#", order="producer") as subscription:
        mine, its, urgent = bus.publisher("o.a"), other.publisher("o.a"), bus.publisher("o.b")
        its.publish_many([b"0", b"1"])
        bus.resize("o.a", slots=SLOTS)
        mine.publish(b"2")
        urgent.publish(b"3", priority=URGENT)
        its.publish(b"4", priority=URGENT)
        assert [n for n in numbers(subscription.receive_many()) if n in (2, 3)] == [2, 3]


def test_an_overrun_is_told_in_its_place(bus):
    with bus.subscribe("o.#", order="producer") as subscription:
        many, few = bus.publisher("o.many"), bus.publisher("o.few")
        many.publish_many(b"%d" % n for n in range(SLOTS + 10))
        few.publish(b"%d" % (SLOTS + 10))
        gap, *rest = subscription.receive_many()
        assert (gap.topic, gap.first, gap.reason) == ("o.many", 1, "overrun") and gap.count == subscription.lost
        assert numbers(rest) == list(range(gap.count, SLOTS + 11))


def test_what_expires_while_it_waits_for_its_turn_is_told(bus):
    with bus.subscribe("o.#", order="producer") as subscription:
        first, second = bus.publisher("o.a"), bus.publisher("o.b")
        first.publish(b"0")
        second.publish_many([b"x"] * 3, ttl=0.000_001)
        first.publish(b"1")
        time.sleep(0.001)
        found = subscription.receive_many()
        (gap,) = [one for one in found if isinstance(one, Gap)]
        assert gap == Gap("o.b", "o.#", 1, 3, "expired", gap.producer) and gap.producer.pid == os.getpid()
        assert numbers(one for one in found if not isinstance(one, Gap)) == [0, 1]


def test_a_filter_picks_and_the_order_stays(bus):
    keep = shmbus.Filter(min_priority=5)
    with bus.subscribe("o.#", order="producer", filter=keep) as subscription:
        publishers = [bus.publisher(f"o.t{n}") for n in range(3)]
        for number in range(60):
            publishers[number % 3].publish(b"%d" % number, priority=number % 7)
        assert numbers(subscription.receive_many()) == [n for n in range(60) if n % 7 >= 5]
        assert subscription.filtered == sum(n % 7 < 5 for n in range(60))


def test_a_frame_from_the_future_counts_as_now(bus):
    with shmbus.connect(bus.address) as other, bus.subscribe("o.#", order="producer") as subscription:
        first, second, liar = bus.publisher("o.a"), bus.publisher("o.b"), other.publisher("o.b")
        liar.publish(b"0")
        raw = raw_of(bus, liar._ring)
        header = bytearray(raw.bytes[raw.arena_at : raw.arena_at + 48])
        header[8:16], header[36:40] = bytes([255] * 8), bytes(4)
        header[36:40] = _core.crc32c(b"0", _core.crc32c(header)).to_bytes(4, "little")
        raw.bytes[raw.arena_at : raw.arena_at + 48] = bytes(header)
        raw.close()
        first.publish(b"1")
        assert numbers(subscription.receive_many()) == [1, 0]
        second.publish(b"2")
        first.publish(b"3")
        assert numbers(subscription.receive_many()) == [2, 3]


def test_a_lossless_one_holds_publishers_and_lets_them_go(bus):
    count = 1000

    def publish():
        with bus.publisher("o.a", timeout=30) as first, bus.publisher("o.b", timeout=30) as second:
            for number in range(count):
                (second if number % 5 == 0 else first).publish(b"%d" % number)

    with bus.subscribe("o.#", lossless=True, order="producer") as subscription:
        thread = threading.Thread(target=publish)
        thread.start()
        assert numbers(subscription.receive(timeout=30) for _ in range(count)) == list(range(count))
        thread.join()
        assert subscription.try_receive() is None and (subscription.lost, subscription.delivered) == (0, count)


@pytest.mark.parametrize("wrong", [{"order": "time"}, {"order": "correlation", "order_wait": -1.0}])
def test_an_order_that_is_none_is_refused(bus, wrong):
    with pytest.raises(ValueError, match="order"):
        bus.subscribe("o.#", **wrong)


def test_asyncio_has_the_same_and_cancelling_loses_nothing():
    async def main():
        async with shmbus.embedded(small(SLOTS)) as bus:
            subscription = bus.subscribe("o.#", lossless=True, order="producer")
            publishers = [bus.publisher(f"o.t{n}", timeout=30) for n in range(3)]

            async def publish():
                for number in range(600):
                    await publishers[number * 7 % 3].publish(b"%d" % number, priority=number * 5 % 256)
                    if number % 10 == 0:
                        await asyncio.sleep(0)

            publishing, found = asyncio.create_task(publish()), []
            while len(found) < 600:
                task = asyncio.create_task(subscription.receive())
                for _ in range(len(found) % 3):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    found.append(await task)
                except asyncio.CancelledError:
                    found.append(await subscription.receive(timeout=30))
            await publishing
            assert numbers(found) == list(range(600))

    asyncio.run(asyncio.wait_for(main(), 60))


# ---- processes -------------------------------------------------------------------------------------------------------

AT_SPEED = """
import random, sys, shmbus
who, count = int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(who)
with shmbus.connect(sys.argv[1], name=f"p{who}") as bus:
    publishers = [bus.publisher(f"o.t{n}", timeout=60) for n in range(6)]
    number = 0
    while number < count:
        if chance.random() < 0.002:
            publishers[chance.randrange(6)] = bus.publisher(f"o.p{who}.n{number}", timeout=60)
        batch = min(chance.choice((1, 1, 1, 5, 40)), count - number)
        try:
            chance.choice(publishers).publish_many(
                [b"%d %d" % (who, number + n) for n in range(batch)], priority=255 if chance.random() < 0.1 else 0
            )
        except shmbus.errors.PublishRevoked:  # it was stopped inside, and goes on after that batch
            pass
        number += batch
"""


@pytest.mark.parametrize("lossless", [True, False])
def test_processes_at_speed_come_in_the_order_in_which_each_published(lossless):
    count, processes = 8000, 3
    settings = small(128, arena_bytes=1 << 18)
    with shmbus.embedded(settings) as bus, ExitStack() as stack:
        subscription = bus.subscribe("o.#", lossless=lossless, order="producer")
        children = [stack.enter_context(python(AT_SPEED, bus.address, str(n), str(count))) for n in range(processes)]
        last, lanes, got, lost = dict.fromkeys(range(processes), -1), {}, 0, 0
        while got + lost < processes * count:
            for found in subscription.receive_many(timeout=60):
                if isinstance(found, Gap):
                    assert found.reason == "overrun" and not lossless
                    lost += found.count
                    continue
                who, number = map(int, found.payload.split())
                assert found.sequence > lanes.get((found.topic, found.lane), 0)
                assert number == last[who] + 1 if lossless else number > last[who]
                lanes[found.topic, found.lane], last[who] = found.sequence, number
                got += 1
        assert [child.wait(30) for child in children] == [0] * processes
        assert subscription.try_receive() is None and subscription.lost == lost


DIES = """
import sys
from process import killcore
core = killcore.load()
import shmbus
with shmbus.connect(sys.argv[1]) as bus, bus.publisher("o.a") as publisher:
    print("ready", flush=True)
    sys.stdin.readline()
    core.arm_killpoint("write.half", 1)
    publisher.publish(b"never")
"""


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_publisher_that_dies_in_a_message_holds_up_nobody_even_without_a_coordinator(bus_name, asynchronous):
    with coordinator(bus_name) as running, shmbus.connect(bus_name) as bus:
        with python(DIES, bus_name, PYTHONPATH=os.path.dirname(os.path.dirname(__file__))) as dies:
            subscription = bus.subscribe("o.#", order="producer")
            first, second = bus.publisher("o.a"), bus.publisher("o.b")
            first.publish(b"0")
            assert dies.stdout.readline() == "ready\n"
            running.end(signal.SIGKILL)
            dies.stdin.write("now\n")
            dies.stdin.flush()
            assert dies.wait(60) == -signal.SIGKILL
            first.publish(b"1")
            second.publish(b"2")
            found = asyncio.run(receive_all(subscription, 3)) if asynchronous else receive_three(subscription)
            assert numbers(found) == [0, 1, 2]
    for found in segment.list_segments(bus=bus_name):
        segment.remove(found.name)


def receive_three(subscription):
    return [subscription.receive(timeout=20) for _ in range(3)]


async def receive_all(subscription, count):
    return [await AsyncSubscription(subscription).receive(timeout=20) for _ in range(count)]


def test_a_publisher_that_is_stopped_at_random_holds_up_nobody_for_ever():
    with shmbus.embedded(small(128, claim_timeout_ns=50_000_000)) as bus, ExitStack() as stack:
        subscription = bus.subscribe("o.#", order="producer")
        children = [stack.enter_context(python(AT_SPEED, bus.address, str(n), "1000000")) for n in range(2)]
        last = [-1, -1]

        def look():
            for found in subscription.receive_many(limit=300, timeout=30):
                if not isinstance(found, Gap):
                    who, number = map(int, found.payload.split())
                    assert number > last[who]
                    last[who] = number

        while -1 in last:  # one that is stopped while it starts may hold what the other one needs to start
            look()
        for turn in range(60):
            child = children[turn % 2]
            child.send_signal(signal.SIGSTOP)
            look()
            child.send_signal(signal.SIGCONT)
        assert min(last) > 0
