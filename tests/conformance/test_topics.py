"""Topics and patterns: what matches, by which pattern it is reported, and what is made later."""

import pytest

from conformance.reading import payloads, rest
from shmbus.errors import LimitError, PatternError, TopicNameError, TypeMismatch
from shmbus.v1.eventbus_pb2 import AlertPayload, HeartbeatPayload


def publish(bus, topic, payload=b"x"):
    with bus.publisher(topic) as publisher:
        publisher.publish(payload)


def test_a_plus_is_one_segment_and_a_hash_any_number(bus):
    one, many = bus.subscribe("lab.+"), bus.subscribe("lab.#")
    for topic in ("lab", "lab.x", "lab.x.y", "other.x"):
        publish(bus, topic, topic.encode())
    assert payloads(rest(one)) == [b"lab.x"]
    assert sorted(payloads(rest(many))) == [b"lab", b"lab.x", b"lab.x.y"]


def test_several_patterns_that_match_give_a_message_once_by_the_most_specific(bus):
    with bus.subscribe("lab.#", "lab.+", "lab.b", "other.y") as subscription:
        for topic in ("lab.b", "lab.c", "lab.c.d"):
            publish(bus, topic)
        assert [(m.topic, m.pattern) for m in rest(subscription)] == [
            ("lab.b", "lab.b"),
            ("lab.c", "lab.+"),
            ("lab.c.d", "lab.#"),
        ]


@pytest.mark.parametrize("lossless", [False, True])
def test_a_topic_that_is_made_later_is_read_from_its_first_message(bus, lossless):
    with bus.subscribe("lab.#", lossless=lossless) as subscription:
        publish(bus, "lab.new", b"first")
        publish(bus, "lab.newer", b"second")
        assert payloads(rest(subscription)) == [b"first", b"second"]
        assert subscription.topics == ["lab.new", "lab.newer"]


def test_a_topic_that_does_not_exist_yet_can_be_named(bus):
    with bus.subscribe("lab.new") as subscription:
        publish(bus, "lab.new", b"first")
        assert payloads(rest(subscription)) == [b"first"]


def test_topics_take_turns(bus):
    with bus.subscribe("lab.#") as subscription:
        with bus.publisher("lab.a") as one, bus.publisher("lab.b") as two:
            one.publish_many([b"a"] * 3)
            two.publish_many([b"b"] * 3)
            assert payloads(rest(subscription)) == [b"a"] * 3 + [b"b"] * 3


def test_sequences_are_of_a_topic(bus):
    with bus.subscribe("lab.#") as subscription:
        publish(bus, "lab.a")
        publish(bus, "lab.b")
        publish(bus, "lab.a")
        assert sorted((m.topic, m.sequence) for m in rest(subscription)) == [("lab.a", 1), ("lab.a", 2), ("lab.b", 1)]


@pytest.mark.parametrize("topic", ["", "Lab", "lab..x", "lab.+", "lab.#", "lab.x y", "system.x", "a.b.c.d.e.f.g.h.i"])
def test_no_topic_is_refused_with_the_reason(bus, topic):
    with pytest.raises(TopicNameError) as refused:
        bus.publisher(topic)
    assert refused.value.topic == topic and refused.value.reason


@pytest.mark.parametrize("pattern", ["", "lab.#.x", "A", "lab..x", "lab.+x", "#.lab"])
def test_no_pattern_is_refused_with_the_reason(bus, pattern):
    with pytest.raises(PatternError) as refused:
        bus.subscribe("fine.#", pattern)
    assert refused.value.pattern == pattern and refused.value.reason


def test_a_subscription_has_one_to_sixty_four_patterns(bus):
    with pytest.raises(TypeError, match="at least one pattern"):
        bus.subscribe()
    with pytest.raises(LimitError, match="65, the limit is 64"):
        bus.subscribe(*(f"lab.t{number}" for number in range(65)))


def test_a_topic_carries_one_type(bus):
    with bus.publisher("lab.alerts", type=AlertPayload):
        with pytest.raises(TypeMismatch) as refused:
            bus.publisher("lab.alerts", type=HeartbeatPayload)
        assert (refused.value.topic, refused.value.found) == ("lab.alerts", AlertPayload.DESCRIPTOR.full_name)
        with pytest.raises(TypeMismatch):
            bus.publisher("lab.alerts")
