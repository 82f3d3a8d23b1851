"""Two lanes: what is urgent comes first, and has room of its own."""

from dataclasses import replace

import pytest

import shmbus
from conformance.reading import gaps, numbered, payloads, rest
from process.rings import small
from shmbus import URGENT
from shmbus.errors import BackpressureError, MessageTooLarge


def test_what_is_urgent_comes_before_what_was_there_before(bus):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish_many(numbered(0, 5))
        assert subscription.receive().payload == b"0"
        assert publisher.publish(b"urgent", priority=URGENT) == 1
        publisher.publish(b"5")
        found = rest(subscription)
        assert payloads(found) == [b"urgent", *numbered(1, 6)]
        assert [(m.lane, m.priority, m.sequence) for m in found[:2]] == [(1, URGENT, 1), (0, 0, 2)]


def test_the_border_of_the_urgent_lane_is_its_priority(bus):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        for priority in (0, URGENT - 1, URGENT, 255):
            publisher.publish(b"x", priority=priority)
            found = subscription.receive()
            assert (found.priority, found.lane) == (priority, int(priority >= 192))


def test_a_flood_does_not_evict_what_is_urgent(bus):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish(b"urgent", priority=255)
        publisher.publish_many(numbered(0, 100))
        found = rest(subscription)
        assert payloads(found) == [b"urgent", *numbered(85, 100)] and gaps(found) == [(1, 85, "overrun")]


def test_a_full_normal_lane_holds_nothing_urgent_up(bus):
    with bus.subscribe("lab.x", lossless=True) as slow, bus.publisher("lab.x", timeout=0) as publisher:
        with pytest.raises(BackpressureError):
            publisher.publish_many([b"flood"] * 100)
        assert publisher.publish_many([b"urgent"] * 5, priority=255) == 5
        assert payloads(rest(slow)) == [b"urgent"] * 5 + [b"flood"] * 15


def test_the_urgent_lane_has_a_capacity_of_its_own(world):
    settings = small()
    with (
        world.open(replace(settings, default=replace(settings.default, urgent_slots=4))) as bus,
        bus.subscribe("lab.x", lossless=True) as subscription,
        bus.publisher("lab.x", timeout=0) as publisher,
    ):
        with pytest.raises(BackpressureError, match="is 3 messages behind") as full:
            publisher.publish_many([b"urgent"] * 10, priority=URGENT)
        assert full.value.published == publisher.published == 3 and publisher.last_number == 0
        assert publisher.publish_many([b"normal"] * 15) == 15
        assert payloads(rest(subscription)) == [b"urgent"] * 3 + [b"normal"] * 15


def test_the_urgent_lane_takes_over_the_limits_that_the_topic_has(bus):
    with bus.publisher("lab.x") as publisher:
        bus.set_limits("lab.x", max_message_bytes=100)
        with pytest.raises(MessageTooLarge, match="101, the limit is 100"):
            publisher.publish(bytes(101), priority=URGENT)


def test_a_late_joiner_gets_what_both_lanes_retain(bus):
    with bus.publisher("lab.x") as publisher:
        publisher.publish_many([b"normal"] * 3)
        publisher.publish_many([b"urgent"] * 3, priority=URGENT)
        assert payloads(rest(bus.subscribe("lab.x", start="earliest"))) == [b"urgent"] * 3 + [b"normal"] * 3
        assert payloads(rest(bus.subscribe("lab.x", start=shmbus.Last(1)))) == [b"urgent", b"normal"]
