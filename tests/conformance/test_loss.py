"""Full topics: who loses what and is told, who is waited for, and how long."""

import threading
import time
from dataclasses import replace

import pytest

import shmbus
from conformance.reading import gaps, numbered, payloads, rest
from process.rings import small
from shmbus.coordinator.settings import Settings, TopicPlan
from shmbus.errors import BackpressureError, LimitError, MessageTooLarge

RING = small().default.ring


def test_a_lossy_reader_is_told_of_every_overrun_exactly(bus):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        seen = lost = 0
        for burst in (3, 40, 15, 16, 100):
            publisher.publish_many([b"x"] * burst)
            for found in rest(subscription):
                if isinstance(found, shmbus.Gap):
                    assert (found.reason, found.first) == ("overrun", seen + lost + 1)
                    assert (found.topic, found.pattern, found.last) == ("lab.x", "lab.x", seen + lost + found.count)
                    lost += found.count
                else:
                    seen += 1
                    assert found.sequence == seen + lost
        assert (seen + lost, subscription.delivered, subscription.lost) == (174, seen, lost)


def test_a_large_topic_makes_room_for_several_at_a_time(world):
    with world.open() as bus, bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish_many([b"x"] * 8192)
        assert gaps([subscription.receive()]) == [(1, 64, "overrun")]


def test_a_lossless_reader_is_waited_for_and_named(bus):
    with bus.subscribe("lab.x", lossless=True) as subscription, bus.publisher("lab.x", timeout=0.01) as publisher:
        with pytest.raises(BackpressureError) as full:
            publisher.publish_many(numbered(0, 100))
        error = full.value
        assert (error.published, error.topic, error.holder, error.behind) == (15, "lab.x", "lab", 15)
        assert (error.messages, error.capacity_bytes, error.unfinished) == (15, 4 << 20, False)
        assert not error.has_moved and "has read nothing since it joined" in str(error) and error.pid
        assert payloads(rest(subscription)) == numbered(0, 15)
        assert publisher.publish(b"15") == 16


@pytest.mark.parametrize("durable", [None, "agent"])
def test_since_when_a_reader_stands_still_is_told_from_its_beginning_on(bus, world, durable):
    with bus.subscribe("lab.#", lossless=True, durable=durable) as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish_many([b"x"] * 15)  # the topic was made now, and so it joined now
        idle, first = held_up(world, publisher, 0.3), subscription.receive(timeout=0)
        assert not idle.has_moved and 0.3 <= idle.since_seconds < 20
        settled = durable is not None and subscription.ack(first)
        publisher.publish(b"x")
        moved = held_up(world, publisher, 0.1)
        assert moved.has_moved and moved.since_seconds >= 0.1
        assert ("last settled" if settled else "last read") in str(moved)


def held_up(world, publisher, seconds):
    """What is told after so many."""
    world.pass_time(seconds)
    with pytest.raises(BackpressureError) as full:
        publisher.publish(b"no room", timeout=0)
    return full.value


def test_a_publisher_raises_waits_or_tries(bus):
    with bus.subscribe("lab.x", lossless=True), bus.publisher("lab.x", on_full="raise") as publisher:
        publisher.publish_many([b"x"] * 15)
        for patience, call in (
            (0, lambda: publisher.publish(b"x")),
            (0.1, lambda: publisher.publish(b"x", timeout=0.1)),
            (0, lambda: bus.publisher("lab.x", timeout=0).publish(b"x")),
            (0.1, lambda: bus.publisher("lab.x", timeout=0.1).publish(b"x")),
        ):
            began = time.monotonic()
            with pytest.raises(BackpressureError):
                call()
            assert time.monotonic() - began >= patience
        assert publisher.try_publish(b"x") is None and publisher.published == 15
    assert bus.publisher("lab.x").try_publish(b"x") == 16


def test_a_waiting_publisher_goes_on_when_its_reader_reads(bus):
    with bus.subscribe("lab.x", lossless=True) as subscription, bus.publisher("lab.x", timeout=20) as publisher:
        publisher.publish_many([b"x"] * 15)
        thread = threading.Thread(target=publisher.publish, args=(b"waits",))
        thread.start()
        time.sleep(0.05)
        assert thread.is_alive()
        assert len(subscription.receive_many(limit=8)) == 8
        thread.join(20)
        assert not thread.is_alive() and payloads(rest(subscription))[-1] == b"waits"


def test_a_closed_reader_holds_nobody(bus):
    with bus.publisher("lab.x", timeout=0) as publisher:
        with bus.subscribe("lab.x", lossless=True):
            publisher.publish_many([b"x"] * 15)
        assert publisher.publish_many([b"x"] * 15) == 15


def test_a_reader_that_nobody_keeps_holds_nobody(bus):
    with bus.publisher("lab.x", timeout=0) as publisher:
        publisher.publish(b"0")
        for message in bus.subscribe("lab.x", lossless=True, start="earliest"):
            assert message.payload == b"0"
            break
        assert publisher.publish_many([b"x"] * 30) == 30


def test_a_full_topic_drops_its_oldest_for_a_lossless_reader_that_begins_in_the_past(bus):
    with bus.publisher("lab.x", timeout=0) as publisher, bus.subscribe("lab.x") as lossy:
        publisher.publish_many(numbered(0, 15))
        with bus.subscribe("lab.x", lossless=True, start="earliest") as subscription:
            assert publisher.try_publish(b"15") == 16 and publisher.try_publish(b"16") is None
            assert payloads(rest(subscription)) == numbered(1, 16)
        assert gaps(rest(lossy)) == [(1, 1, "overrun")]


def test_only_lossless_readers_of_the_topic_are_waited_for(bus):
    with bus.subscribe("lab.y", lossless=True), bus.subscribe("lab.#"), bus.publisher("lab.x", timeout=0) as publisher:
        assert publisher.publish_many([b"x"] * 100) == 100


def test_a_topic_that_sheds_waits_for_nobody_and_tells_its_lossless_reader(world):
    plans = {"lab.sheds": TopicPlan(RING, on_full="shed")}
    with world.open(Settings(topics=plans)) as bus, bus.subscribe("lab.#", lossless=True) as subscription:
        with bus.publisher("lab.sheds") as publisher:
            publisher.publish_many(numbered(0, 40))
            found = rest(subscription)
            assert gaps(found) == [(1, 25, "overrun")] and payloads(found) == numbered(25, 40)


def test_what_a_topic_does_when_full_is_configured_and_a_publisher_may_ask_for_another(world):
    plans = {
        "lab.raises": TopicPlan(RING, on_full="raise"),
        "lab.waits": TopicPlan(RING, block_timeout_ns=50_000_000),
    }
    with world.open(Settings(topics=plans)) as bus, bus.subscribe("lab.#", lossless=True):
        for topic, options, least in (
            ("lab.raises", {}, 0),
            ("lab.raises", {"on_full": "block", "timeout": 0.1}, 0.1),
            ("lab.waits", {}, 0.05),
            ("lab.waits", {"on_full": "raise"}, 0),
        ):
            with bus.publisher(topic, **options) as publisher:
                began = time.monotonic()
                with pytest.raises(BackpressureError):
                    publisher.publish_many([b"x"] * 40)
                assert time.monotonic() - began >= least
        with pytest.raises(ValueError, match="not 'shed'"):
            bus.publisher("lab.raises", on_full="shed")


@pytest.mark.parametrize("durable", [None, "agent"])
def test_who_holds_a_full_topic_up_for_too_long_is_waited_for_no_more_and_told(world, durable):
    plan = TopicPlan(RING, max_stall_ns=200_000_000)
    with world.open(Settings(default=plan)) as bus, bus.publisher("lab.x", timeout=0) as publisher:
        with bus.subscribe("lab.+", lossless=True, durable=durable) as subscription:
            publisher.publish_many(numbered(0, 15))
            assert publisher.try_publish(b"15") is None
            world.pass_time(2.5)  # the real one is judged once a second
            assert publisher.publish_many(numbered(15, 40)) == 25
            told, *found = rest(subscription)
            assert told == shmbus.Gap("lab.x", "lab.+", 1, 0, "demoted")
            assert gaps(found) == [(1, 25, "overrun")] and payloads(found) == numbered(25, 40)
        with bus.subscribe("lab.+", lossless=True, durable=durable) as subscription:
            subscription.ack_many(rest(subscription)) if durable else None
            publisher.publish_many(numbered(0, 15))
            assert publisher.try_publish(b"15") is None


# ---- limits ----------------------------------------------------------------------------------------------------------


def kept(bus):
    return payloads(rest(bus.subscribe("lab.x", start="earliest")))


def test_lower_limits_hold_at_once(world):
    with world.open() as bus, bus.publisher("lab.x") as publisher:
        publisher.publish_many(numbered(100, 600))
        bus.set_limits("lab.x", max_messages=100)
        assert kept(bus) == numbered(500, 600)
        bus.set_limits("lab.x", max_bytes=10 * 64)
        assert kept(bus) == numbered(590, 600)
        bus.set_limits("lab.x", max_messages=8192, max_bytes=4 << 20)
        publisher.publish_many([b"x"] * 5000)
        assert len(kept(bus)) == 5010


def test_limits_by_size_count_what_messages_take_of_the_memory(bus):
    with bus.publisher("lab.x") as publisher:
        bus.set_limits("lab.x", max_bytes=640)
        for size in (1, 16, 17, 80, 81, 200):
            publisher.publish_many([bytes(size)] * 20)
            assert len(kept(bus)) == 640 // (64 * -(-(48 + size) // 64))


def test_what_a_lossless_reader_has_not_read_stays_above_the_limit(bus):
    with bus.publisher("lab.x", timeout=0) as publisher, bus.subscribe("lab.#", lossless=True) as subscription:
        publisher.publish_many(numbered(0, 12))
        bus.set_limits("lab.x", max_messages=10)
        with pytest.raises(BackpressureError, match="12 messages behind"):
            publisher.publish(b"no room")
        assert payloads(rest(subscription)) == numbered(0, 12)
        publisher.publish(b"room")
        assert len(kept(bus)) == 10


def test_higher_limits_let_a_waiting_publisher_go_on(bus):
    bus.publisher("lab.x").close()
    bus.set_limits("lab.x", max_messages=5)
    with bus.subscribe("lab.#", lossless=True) as subscription, bus.publisher("lab.x", timeout=20) as publisher:
        publisher.publish_many([b"x"] * 5)
        thread = threading.Thread(target=publisher.publish, args=(b"waits",))
        thread.start()
        time.sleep(0.05)
        bus.set_limits("lab.x", max_messages=10)
        thread.join(20)
        assert not thread.is_alive() and len(rest(subscription)) == 6


def test_the_size_of_a_message_is_a_limit_too(bus):
    with bus.publisher("lab.x") as publisher:
        with pytest.raises(
            MessageTooLarge, match="bytes of a message for topic 'lab.x': 1048577, the limit is 1048576"
        ):
            publisher.publish(bytes((1 << 20) + 1))
        bus.set_limits("lab.x", max_bytes=640)
        with pytest.raises(MessageTooLarge, match="593, the limit is 592"):
            publisher.publish(bytes(593))
        assert publisher.publish(bytes(592)) == 1


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"max_messages": 0}, "max_messages is a whole number from 1 up"),
        ({"max_messages": 1.5}, "not 1.5"),
        ({"retention": -0.1}, "retention is a number of seconds from 0 up"),
    ],
)
def test_limits_that_make_no_sense_are_refused(bus, limits, said):
    bus.publisher("lab.x").close()
    with pytest.raises(ValueError, match=said):
        bus.set_limits("lab.x", **limits)


def test_limits_beyond_the_memory_of_the_topic_and_of_no_topic_are_refused(bus):
    bus.publisher("lab.x").close()
    with pytest.raises(LimitError, match="max_messages of topic 'lab.x'.*Resize the topic first"):
        bus.set_limits("lab.x", max_messages=17)
    with pytest.raises(shmbus.ShmbusError, match="no topic 'lab.nowhere'"):
        bus.set_limits("lab.nowhere", max_messages=1)


def test_a_topic_is_made_with_the_limits_of_its_most_specific_pattern(world):
    plans = {"lab.#": TopicPlan(RING), "lab.x": TopicPlan(replace(RING, max_messages=3))}
    with world.open(Settings(topics=plans)) as bus, bus.publisher("lab.x") as one, bus.publisher("lab.y") as other:
        one.publish_many(numbered(0, 30))
        other.publish_many(numbered(0, 30))
        assert payloads(rest(bus.subscribe("lab.x", start="earliest"))) == numbered(27, 30)
        assert payloads(rest(bus.subscribe("lab.y", start="earliest"))) == numbered(15, 30)
