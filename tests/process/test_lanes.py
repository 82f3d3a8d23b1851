"""Two lanes: what is urgent comes before any flood, has room of its own, and keeps its own order."""

import asyncio
import os
import signal
import threading
import time
from dataclasses import replace

import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.rings import small
from shmbus import URGENT, segment
from shmbus.errors import BackpressureError, MessageTooLarge
from shmbus.v1.eventbus_pb2 import AlertPayload

ALERT = AlertPayload(title="look at this")


@pytest.fixture
def bus():
    with shmbus.embedded(small(), name="lab") as bus:
        yield bus


def payloads(messages):
    return [m.payload for m in messages if isinstance(m, shmbus.Message)]


@pytest.mark.parametrize("lossless", [False, True])
def test_an_alert_in_a_flooded_topic_comes_before_the_flood(bus, lossless):
    with bus.subscribe("lab.#", lossless=lossless) as subscription, bus.publisher("lab.x") as publisher:
        for number in range(10):
            publisher.publish(b"%d" % number)
        assert subscription.receive().payload == b"0"
        publisher.publish(ALERT, priority=URGENT)
        publisher.publish(b"10")
        alert = subscription.receive()
        assert (alert.event, alert.lane, alert.priority, alert.sequence) == (ALERT, 1, URGENT, 1)
        assert alert.envelope.metadata.priority == URGENT
        normal = subscription.receive_many()
        assert [int(m.payload) for m in normal] == [*range(1, 11)] and {m.lane for m in normal} == {0}
        assert publisher.published == 12


def test_the_border_is_where_it_is_said_to_be(bus):
    with bus.subscribe("lab.#") as subscription, bus.publisher("lab.x") as publisher:
        for priority in (0, URGENT - 1, URGENT, 255):
            publisher.publish(b"x", priority=priority)
            found = subscription.receive()
            assert (found.priority, found.lane) == (priority, int(priority >= 192))


def test_a_flood_neither_evicts_what_is_urgent_nor_holds_it_up(bus):
    with bus.subscribe("lab.x", lossless=True) as slow, bus.publisher("lab.x", timeout=0) as publisher:
        with pytest.raises(BackpressureError):
            publisher.publish_many([b"flood"] * 100)
        assert publisher.publish_many([b"urgent"] * 5, priority=255) == 5  # the normal lane is full; this one is not
        assert payloads(slow.receive_many()) == [b"urgent"] * 5 + [b"flood"] * 15
    with bus.subscribe("lab.x") as lossy, bus.publisher("lab.x") as publisher:
        publisher.publish(b"urgent", priority=URGENT)
        publisher.publish_many([b"flood"] * 1000)
        assert lossy.receive().payload == b"urgent"
        assert lossy.receive().reason == "overrun"


def test_its_capacity_is_its_own():
    settings = small()
    settings = replace(settings, default=replace(settings.default, urgent_slots=4))
    with shmbus.embedded(settings) as bus, bus.subscribe("lab.x", lossless=True) as subscription:
        with bus.publisher("lab.x", timeout=0) as publisher:
            with pytest.raises(BackpressureError, match=r"'.*' of pid \d+ is 3 messages behind") as full:
                publisher.publish_many([b"urgent"] * 10, priority=URGENT)
            assert full.value.published == 3 and publisher.published == 3
            assert publisher.publish_many([b"normal"] * 15) == 15
            assert payloads(subscription.receive_many()) == [b"urgent"] * 3 + [b"normal"] * 15


def test_order_is_total_in_each_lane_whoever_publishes(bus):
    """Four publishers in both lanes at once, a reader that falls behind now and then: each lane comes in its order, and
    never a normal message while one that is urgent was there before."""
    count, publishers = 500, 4

    def publish(who):
        with bus.publisher("lab.x", timeout=60) as publisher:
            for number in range(count):
                publisher.publish(b"%d %d" % (who, number), priority=URGENT if number % 3 == 0 else 0)

    with bus.subscribe("lab.x", lossless=True) as subscription:
        threads = [threading.Thread(target=publish, args=(who,)) for who in range(publishers)]
        for thread in threads:
            thread.start()
        last, seen = {}, {}
        for number in range(count * publishers):
            if number % 100 == 0:
                time.sleep(0.002)
            message = subscription.receive(timeout=60)
            assert message.sequence == seen.get(message.lane, 0) + 1
            seen[message.lane] = message.sequence
            who, its = map(int, message.payload.split())
            assert its > last.get((who, message.lane), -1)
            last[who, message.lane] = its
        for thread in threads:
            thread.join()
        assert subscription.lost == 0 and subscription.try_receive() is None


def test_late_joiners_get_what_both_lanes_retain_and_a_resize_moves_the_normal_one(bus):
    with bus.publisher("lab.x") as publisher:
        publisher.publish_many([b"normal"] * 3)
        publisher.publish_many([b"urgent"] * 3, priority=URGENT)
        bus.resize("lab.x", slots=32)
        publisher.publish(b"normal")
        publisher.publish(b"urgent", priority=URGENT)
        with bus.subscribe("lab.x", start="earliest") as subscription:
            assert payloads(subscription.receive_many()) == [b"urgent"] * 4 + [b"normal"] * 4
        with bus.subscribe("lab.x", start=shmbus.Last(2), lossless=True) as subscription:
            assert payloads(subscription.receive_many()) == [b"urgent"] * 2 + [b"normal"] * 2


def test_the_urgent_lane_goes_by_the_limits_that_the_topic_has(bus):
    with bus.publisher("lab.x") as publisher:
        bus.set_limits("lab.x", max_message_bytes=100)
        with pytest.raises(MessageTooLarge, match="101, the limit is 100"):
            publisher.publish(bytes(101), priority=URGENT)


def test_an_expired_alert_is_told(bus):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish(ALERT, priority=URGENT, ttl=0.001)
        time.sleep(0.01)
        gap = subscription.receive()
        assert (gap.reason, gap.count) == ("expired", 1)


def test_a_type_of_ones_own_goes_both_ways():
    with shmbus.embedded() as bus, bus.subscribe("lab.x") as subscription:
        with bus.publisher("lab.x", type=AlertPayload) as publisher:
            publisher.publish(ALERT)
            publisher.publish(ALERT, priority=URGENT)
            assert [(m.lane, m.event) for m in subscription.receive_many()] == [(1, ALERT), (0, ALERT)]


def test_where_no_lane_can_be_made_what_is_urgent_goes_the_normal_way(bus_name):
    with coordinator(bus_name) as running, shmbus.connect(bus_name) as bus:
        with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
            publisher.publish(b"before")
            running.end(signal.SIGKILL)
            publisher.publish(b"urgent", priority=URGENT)
            assert [(m.lane, m.payload) for m in subscription.receive_many()] == [(0, b"before"), (0, b"urgent")]
    for found in segment.list_segments(bus=bus_name):
        segment.remove(found.name)


FLOODS = """
import sys
import shmbus
with shmbus.connect(sys.argv[1], name="flood") as bus, bus.publisher("lab.x") as publisher:
    print("ready", flush=True)
    number = 0
    while True:
        publisher.publish(b"%d" % number, priority=255 if number % 10 == 0 else 0)
        number += 1
"""


def test_a_publisher_killed_in_either_lane_holds_neither_up(bus):
    with bus.subscribe("lab.x", lossless=True) as subscription, bus.publisher("lab.x", timeout=30) as publisher:
        for _ in range(5):
            with python(FLOODS, bus.address) as flood:
                assert flood.stdout.readline() == "ready\n"
                for _ in range(200):
                    assert isinstance(subscription.receive(timeout=30), shmbus.Message)
                os.kill(flood.pid, signal.SIGKILL)
                flood.wait(30)
            for _ in range(40):
                publisher.publish(b"after", priority=255)
                while subscription.receive(timeout=30).payload != b"after":
                    pass
        while subscription.try_receive() is not None:
            pass  # what the flood left in the normal lane, which may be full
        publisher.publish(b"last")
        while subscription.receive(timeout=30).payload != b"last":
            pass


def test_a_dead_urgent_reader_holds_nobody(bus):
    reads = """
import sys, time
import shmbus
with shmbus.connect(sys.argv[1], name="reader") as bus, bus.subscribe("lab.#", lossless=True) as subscription:
    print("ready", flush=True)
    time.sleep(1000)
"""
    with bus.publisher("lab.x", timeout=0) as publisher, python(reads, bus.address) as reader:
        assert reader.stdout.readline() == "ready\n"
        with pytest.raises(BackpressureError):
            publisher.publish_many([b"x"] * 2000, priority=URGENT)
        reader.kill()
        reader.wait()
        eventually(lambda: publisher.try_publish(b"x", priority=URGENT) is not None)


def test_async_has_lanes_too():
    async def main():
        async with shmbus.embedded(small()) as bus, bus.subscribe("lab.x", lossless=True) as subscription:
            async with bus.publisher("lab.x", timeout=30) as publisher:
                await publisher.publish_many([b"normal"] * 10)
                await publisher.publish(b"urgent", priority=URGENT)
                assert (await subscription.receive()).payload == b"urgent"
                task = asyncio.create_task(publisher.publish_many([b"u"] * 3000, priority=URGENT))
                got = 0
                while got < 3000:
                    got += sum(m.lane for m in await subscription.receive_many(timeout=30))
                assert await task == 3000

    asyncio.run(asyncio.wait_for(main(), 60))
