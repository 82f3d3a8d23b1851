"""Order across topics of what is durable: members together, what comes again, windows, resizes, deaths."""

import asyncio
import itertools
import queue
import threading
import time
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shmbus
from process.buses import python
from process.ordering import SLOTS, Scene, goes_on, play, publishes, raw_of, resizes, stops
from process.rings import small
from shm.memory import CLAIMED, COMMITTED
from shmbus import Durable, Filter, Gap
from shmbus.v1.common_pb2 import ProcessRecord
from shmbus.v1.eventbus_pb2 import CorrelationMetadata, ProcessEventData

EVENT = ProcessEventData(process=ProcessRecord(pid=7))
WINDOW = 1024
PATIENT = {"ack_deadline": None}


# ---- by producer: exact schedules ------------------------------------------------------------------------------------


class Members(Scene):
    """Several members of one durable subscription, each of which may hold messages, give them back, and leave."""

    def __init__(self, stack, members, window=WINDOW, exactly_once=False):
        self.durable = Durable("agent", window=window, exactly_once=exactly_once, **PATIENT)
        super().__init__(stack, durable=self.durable)
        self.members = [self.subscription] + [self.join() for _ in range(members - 1)]
        self.held = []  # (member, message, sent)

    def join(self):
        return self.bus.subscribe("s.#", durable=self.durable, order="producer")

    def take(self, which, count):
        for _ in range(count):
            member = which % len(self.members)
            self.subscription = self.members[member]
            before = list(self.left)
            message = self.try_one(member)
            if message is None:
                return
            (sent,) = set(before) - set(self.left)
            self.held.append((member, message, sent))

    def try_one(self, member):
        message = self.subscription.try_receive()
        if message is None:
            late = [sent for sent in self.left if self.may_come(sent)]
            assert self.moved or self.durable.window < WINDOW or not late, f"{late} is late"
            return None
        (sent,) = (one for one in self.left if one.number == int(message.payload))
        assert self.may_come(sent), f"{sent} came before its turn"
        self.left.remove(sent)
        return message

    def ack(self, which):
        if self.held:
            member, message, _ = self.held.pop(which % len(self.held))
            assert self.members[member].ack(message)

    def nack(self, which):
        if self.held:
            member, message, sent = self.held.pop(which % len(self.held))
            assert self.members[member].nack(message)
            self.left.append(sent)

    def leave(self, which):
        """What it holds is given back, and another comes in its place."""
        member = which % len(self.members)
        self.members[member].close()
        self.left += [sent for whose, _, sent in self.held if whose == member]
        self.held = [one for one in self.held if one[0] != member]
        self.members[member] = self.join()

    def ack_all(self):
        while self.held:
            self.ack(0)

    def finish(self):
        while self.stopped:
            self.go_on(COMMITTED)
        for _ in range(4 * self.number + 8):  # a window or a seal lets a few through at a time
            self.take(0, self.number + 1)
            self.ack_all()
        assert not self.left and self.members[0].try_receive() is None


which = st.integers(0, 15)
takes = st.tuples(st.just("take"), which, st.integers(1, 6))
settles = st.tuples(st.sampled_from(["ack", "ack", "nack", "leave"]), which)
steps_of = st.one_of(publishes, publishes, publishes, takes, takes, settles)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(steps_of, stops, goes_on), max_size=50), st.integers(1, 3), st.booleans())
def test_members_take_in_order_whatever_is_given_back_and_left_open(steps, members, exactly_once):
    play(steps, Members, members=members, exactly_once=exactly_once)


@settings(max_examples=80, deadline=None)
@given(st.lists(steps_of, max_size=50), st.integers(1, 2))
def test_a_full_window_holds_up_what_comes_after_it(steps, members):
    play(steps, Members, members=members, window=2)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(steps_of, resizes, st.just(("ack_all",))), max_size=50), st.integers(1, 2))
def test_topics_that_move_are_in_order_too(steps, members):
    play(steps, Members, members=members)


# ---- one by one ------------------------------------------------------------------------------------------------------


@pytest.fixture
def bus():
    with shmbus.embedded(small(SLOTS), name="lab") as bus:
        yield bus


def test_a_member_follows_another_one_to_the_successor(bus):
    with (
        bus.publisher("s.x") as publisher,
        bus.subscribe("s.#", durable="agent", order="producer") as goes,
        bus.subscribe("s.#", durable="agent", order="producer") as follows,
    ):
        publisher.publish(b"0")
        assert goes.ack(goes.receive(timeout=5))
        bus.resize("s.x", slots=64)
        publisher.publish_many([b"1", b"2"])
        assert goes.receive(timeout=5).payload == b"1"
        assert follows.receive(timeout=5).payload == b"2"


def numbers(found):
    return [int(message.payload) for message in found]


def rest(subscription):
    return list(iter(subscription.try_receive, None))


def test_what_stands_behind_a_resize_holds_up_what_came_after_it_until_all_before_it_is_settled(bus):
    with bus.subscribe("s.#", durable="agent", order="producer") as subscription:
        a, b = bus.publisher("s.a"), bus.publisher("s.b")
        a.publish(b"0")
        (first,) = rest(subscription)
        bus.resize("s.a", slots=SLOTS)
        a.publish(b"1")
        b.publish(b"2")
        a.publish(b"3", priority=shmbus.URGENT)
        assert rest(subscription) == []
        waiting = threading.Timer(0.2, subscription.ack, (first,))
        waiting.start()
        assert numbers([subscription.receive(timeout=20) for _ in range(3)]) == [1, 2, 3]
        waiting.join()


def test_a_full_window_wakes_who_waits_in_order_when_it_opens(bus):
    durable = Durable("agent", window=2)
    with bus.subscribe("s.#", durable=durable, order="producer") as one:
        a, b = bus.publisher("s.a"), bus.publisher("s.b")
        for number in range(3):
            a.publish(b"%d" % number)
        b.publish(b"3")
        first, second = rest(one)
        began = time.monotonic()
        waiting = threading.Timer(0.3, one.ack, (first,))
        waiting.start()
        assert numbers([one.receive(timeout=20)]) == [2] and time.monotonic() - began >= 0.25
        waiting.join()
        assert numbers(rest(one)) == [3] and one.ack(second)


def test_what_is_given_back_comes_again_before_what_came_after_it(bus):
    with bus.subscribe("s.#", durable="agent", order="producer") as subscription:
        publishers = [bus.publisher(f"s.t{number}") for number in range(3)]
        for number in range(9):
            publishers[number % 3].publish(b"%d" % number)
        found = [subscription.receive(timeout=5) for _ in range(6)]
        for message in reversed(found):
            assert subscription.nack(message)
        again = rest(subscription)
        assert numbers(again) == list(range(9))
        assert [message.deliveries for message in again] == [2] * 6 + [1] * 3


def test_what_is_held_too_long_comes_again_in_its_turn(bus):
    durable = Durable("agent", ack_deadline=0.2)
    with bus.subscribe("s.#", durable=durable, order="producer") as subscription:
        a, b = bus.publisher("s.a"), bus.publisher("s.b")
        for number in range(4):
            (a, b)[number % 2].publish(b"%d" % number)
        assert numbers(rest(subscription)) == [0, 1, 2, 3]
        again = [subscription.receive(timeout=20) for _ in range(4)]
        assert numbers(again) == [0, 1, 2, 3] and {message.deliveries for message in again} == {2}
        assert subscription.ack_many(again) == 4


def test_what_was_dropped_while_nobody_was_there_is_told_and_the_rest_is_in_order(bus):
    bus.subscribe("s.#", durable="agent", order="producer").close()
    a, b = bus.publisher("s.a"), bus.publisher("s.b")
    for number in range(100):
        (a, b)[number % 5 == 0].publish(b"%d" % number)
    with bus.subscribe("s.#", durable="agent", order="producer") as subscription:
        found = rest(subscription)
        messages = [one for one in found if not isinstance(one, Gap)]
        gaps = [one for one in found if isinstance(one, Gap)]
        assert sum(gap.count for gap in gaps) + len(messages) == 100 and {gap.topic for gap in gaps} == {"s.a"}
        assert numbers(messages) == sorted(numbers(messages))


def test_what_expires_is_told_once_and_holds_nothing_up(bus):
    with bus.subscribe("s.#", durable="agent", order="producer") as subscription:
        a, b = bus.publisher("s.a"), bus.publisher("s.b")
        for number in range(4):
            a.publish(b"%d" % number, ttl=0.05 if number < 3 else None)
            b.publish(b"%d" % (number + 4))
        time.sleep(0.06)
        found = rest(subscription)
        assert [(gap.count, gap.reason) for gap in found if isinstance(gap, Gap)] == [(3, "expired")]
        assert sorted(numbers(one for one in found if not isinstance(one, Gap))) == [3, 4, 5, 6, 7]


def test_a_filters_rejects_are_settled_and_the_order_stays(bus):
    wanted = Filter(min_priority=5)
    with bus.subscribe("s.#", durable="agent", order="producer", filter=wanted) as subscription:
        publishers = [bus.publisher(f"s.t{number}") for number in range(3)]
        for number in range(30):
            publishers[number % 3].publish(b"%d" % number, priority=number % 2 * 9)
        found = rest(subscription)
        assert numbers(found) == list(range(1, 30, 2)) and subscription.filtered == 15
        assert subscription.ack_many(found) == 15


def test_asyncio_takes_in_order_and_settles(bus):
    async def main():
        async with shmbus.connect(bus.address) as other:
            subscription = other.subscribe("s.#", durable="agent", order="producer")
            publishers = [other.publisher(f"s.t{number}") for number in range(3)]

            async def publish():
                for number in range(300):
                    await publishers[number % 3].publish(b"%d" % number)

            publishing = asyncio.ensure_future(publish())
            for number in range(300):
                message = await subscription.receive(timeout=30)
                assert int(message.payload) == number and subscription.ack(message)
            await publishing

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_borrowed_message_keeps_its_place_in_the_order(bus):
    with bus.subscribe("s.#", durable="agent", order="producer") as subscription:
        a, b = bus.publisher("s.a"), bus.publisher("s.b")
        for number in range(4):
            (a, b)[number % 2].publish(b"%d" % number)
        for number in range(4):
            with subscription.borrow(5) as message:
                assert bytes(message.data) == b"%d" % number
            assert subscription.ack(message)


def test_a_claim_that_is_left_open_holds_up_who_published_behind_it_and_nobody_else(bus):
    with shmbus.connect(bus.address) as stopped, shmbus.connect(bus.address) as free:
        with bus.subscribe("s.#", durable="agent", order="producer") as subscription:
            a, b, theirs = bus.publisher("s.a"), bus.publisher("s.b"), stopped.publisher("s.a")
            sequence = theirs.publish(b"0")
            raw = raw_of(bus, theirs._ring)
            raw.set_state(sequence, CLAIMED)
            a.publish(b"1")
            b.publish(b"2")
            free.publisher("s.c").publish(b"3")
            assert numbers(rest(subscription)) == [3]
            raw.set_state(sequence, COMMITTED)
            raw.close()
            assert numbers(rest(subscription)) == [0, 1, 2]


# ---- by correlation group --------------------------------------------------------------------------------------------


def publish_group(publisher, *numbers, root="g"):
    for number in numbers:
        its = CorrelationMetadata(correlation_id=f"{root}{number}", root_correlation_id=root, sequence_number=number)
        publisher.publish(EVENT, correlation=its)


def shown(found):
    """Numbers of messages; of gaps, (first, count)."""
    return [
        (one.first, one.count) if isinstance(one, Gap) else one.envelope.correlation.sequence_number for one in found
    ]


def test_a_window_full_of_what_is_held_back_opens_when_the_wait_is_over(bus):
    durable = Durable("agent", window=4)
    with bus.subscribe("s.#", durable=durable, order="correlation", order_wait=0.2) as subscription:
        with bus.publisher("s.a") as publisher:
            publish_group(publisher, 0, 2, 3, 4, 5, 1)  # 1 stands behind the window
        found = []
        while shown(found)[-1:] != [1]:
            message = subscription.receive(timeout=20)
            found.append(message)
            if not isinstance(message, Gap):
                assert subscription.ack(message)
        assert shown(found) in ([0, (1, 1), 2, 3, 4, 5, 1], [0, 1, 2, 3, 4, 5])


def test_a_flood_elsewhere_does_not_keep_a_full_window_shut(bus):
    durable = Durable("agent", window=2)
    with bus.subscribe("s.#", durable=durable, order="correlation", order_wait=0.05) as subscription:
        with bus.publisher("s.a") as publisher, bus.publisher("s.b") as flood:
            publish_group(publisher, 1, 2, 3)
            flood.publish(b"flood")
            assert subscription.ack(subscription.receive(timeout=5)) and subscription.held_back == 2
            time.sleep(0.06)  # the time that it is held for
            found = []
            for _ in range(100):
                flood.publish(b"flood")
                found.append(subscription.receive(timeout=5))
                assert subscription.ack(found[-1])
            assert shown(one for one in found if one.topic == "s.a") == [1, 2, 3]


def test_one_that_waits_in_asyncio_wakes_for_the_bound(bus):
    async def main():
        async with shmbus.connect(bus.address) as other:
            subscription = other.subscribe("s.#", durable="agent", order="correlation", order_wait=0.2)
            with bus.publisher("s.a") as publisher:
                publish_group(publisher, 0, 2)
            assert shown([await subscription.receive(timeout=20)]) == [0]
            assert shown(await subscription.receive_many(timeout=20)) == [(1, 1), 2]
            assert subscription.held_back == 0

    asyncio.run(asyncio.wait_for(main(), 60))


# ---- processes -------------------------------------------------------------------------------------------------------

PUBLISHES = """
import random, sys, shmbus
who, count = int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(who)
with shmbus.connect(sys.argv[1], name=f"p{who}") as bus:
    publishers = [bus.publisher(f"s.t{n}", timeout=60) for n in range(4)]
    number = 0
    while number < count:
        batch = min(chance.choice((1, 1, 1, 5, 20)), count - number)
        payloads = [b"%d %d" % (who, number + n) for n in range(batch)]
        chance.choice(publishers).publish_many(payloads, priority=255 if chance.random() < 0.1 else 0)
        number += batch
"""
READS = """
import sys, shmbus
with shmbus.connect(sys.argv[1]) as bus, bus.subscribe("s.#", durable="agent", order="producer") as subscription:
    print("ready", flush=True)
    while True:
        found = subscription.receive_many(limit=int(sys.argv[2]))
        for one in found:
            print("gap" if isinstance(one, shmbus.Gap) else one.payload.decode(), getattr(one, "deliveries", 0))
        sys.stdout.flush()
        subscription.ack_many(found)
"""


class Readers:
    """Reading processes, and what each of them said until it was killed."""

    def __init__(self, bus, several):
        self.bus, self.lines = bus, queue.SimpleQueue()
        self.said, self.running = [], []
        for _ in range(several):
            self.start()

    def start(self):
        opened = ExitStack()
        child = opened.enter_context(python(READS, self.bus.address, str(1 + 10 * (len(self.said) % 3))))
        assert child.stdout.readline() == "ready\n"
        lines = []
        self.said.append(lines)
        thread = threading.Thread(target=self.listen, args=(child, lines))
        thread.start()
        self.running.append((opened, child, thread))

    def listen(self, child, lines):
        for line in child.stdout:
            if line.endswith("\n"):  # the last one may be half a line
                lines.append(line.split())
                self.lines.put(line.split())

    def kill_oldest(self):
        opened, child, thread = self.running.pop(0)
        child.kill()
        thread.join(30)
        opened.close()


@pytest.mark.parametrize("several", [1, 3])
def test_readers_that_are_killed_miss_nothing_and_each_was_given_all_in_order(several):
    count, processes = 1500, 2
    left = {(str(who), str(number)) for who in range(processes) for number in range(count)}
    with shmbus.embedded(small(256, arena_bytes=1 << 18)) as bus, ExitStack() as stack:
        stack.enter_context(bus.subscribe("s.#", durable="agent"))  # so that publishers wait while nobody reads
        readers = Readers(bus, several)
        children = [stack.enter_context(python(PUBLISHES, bus.address, str(n), str(count))) for n in range(processes)]
        for number in itertools.count(1):
            left.discard(tuple(readers.lines.get(timeout=60)[:2]))
            if not left:
                break
            if number % 400 == 0:
                readers.kill_oldest()
                readers.start()
        while readers.running:
            readers.kill_oldest()
        assert [child.wait(30) for child in children] == [0] * processes
    assert len(readers.said) > several + 3
    for lines in readers.said:
        # What a killed member held comes to one of several others when they are past it already.
        judged = [line for line in lines if several == 1 or line[2] == "1"]
        for who in range(processes):
            numbers = [int(number) for name, number, _ in judged if name == str(who)]
            assert numbers == sorted(set(numbers))
