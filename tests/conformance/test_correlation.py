"""Correlation follows the work."""

import threading

import pytest

from conformance.reading import rest
from shmbus import correlation
from shmbus.errors import CorrelationError
from shmbus.v1.eventbus_pb2 import AlertPayload

ALERT = AlertPayload(title="look")


def relation(message):
    return message.envelope.correlation


def test_what_is_published_in_a_loop_is_a_child_of_what_it_handles(bus):
    with bus.subscribe("lab.in") as inner, bus.publisher("lab.in") as source:
        with bus.subscribe("lab.out") as outer, bus.publisher("lab.out") as sink:
            source.publish(ALERT, correlation=correlation.new(correlation_id="root", tags={"case": "7"}, stage="see"))
            for _ in inner:
                sink.publish(ALERT)
                sink.publish(ALERT)
                break
            one, two = map(relation, rest(outer))
            assert one.parent_correlation_id == two.parent_correlation_id == "root"
            assert (one.root_correlation_id, one.workflow_stage, dict(one.correlation_tags)) == (
                "root", "see", {"case": "7"},
            )  # fmt: skip
            assert (one.sequence_number, two.sequence_number) == (1, 2)
            assert one.correlation_id != two.correlation_id


def test_a_message_without_correlation_is_the_root_of_its_children(bus):
    with bus.subscribe("lab.in") as inner, bus.publisher("lab.in") as source:
        with bus.subscribe("lab.out") as outer, bus.publisher("lab.out") as sink:
            source.publish(b"bytes")
            source.publish(ALERT)
            ids = []
            for message in inner:
                sink.publish(ALERT)
                ids.append(message.envelope.metadata.message_id if message.envelope else "lab.in:1")
                if len(ids) == 2:
                    break
            assert [relation(message).root_correlation_id for message in rest(outer)] == ids


def test_a_publisher_may_say_otherwise(bus):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish(ALERT, correlation=correlation.new(correlation_id="given"))
        for message in subscription:
            publisher.publish(ALERT, correlation=False)
            publisher.publish(ALERT, correlation=message)
            publisher.publish(ALERT, correlation=correlation.new(correlation_id="own"))
            break
        none, child, own = map(relation, rest(subscription))
        assert not none.correlation_id and own.correlation_id == "own"
        assert child.parent_correlation_id == "given"


def test_a_loop_is_over_when_its_subscription_is_closed(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.x") as outer:
        with bus.subscribe("lab.x") as subscription:
            publisher.publish(ALERT)
            next(subscription)
            assert correlation.current() is not None
        assert correlation.current() is None
        publisher.publish(ALERT)
        assert [relation(message).correlation_id for message in rest(outer)] == ["", ""]


def test_a_loop_in_a_loop_gives_back_to_the_one_around_it(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.x") as outer, bus.subscribe("lab.x") as inner:
        publisher.publish(ALERT, correlation=correlation.new(correlation_id="first"))
        publisher.publish(ALERT, correlation=correlation.new(correlation_id="second"))
        next(outer)
        next(inner), next(inner)
        assert correlation.current().metadata.correlation_id == "second"
        inner.close()
        assert correlation.current().metadata.correlation_id == "first"


def test_receive_handles_nothing_and_another_thread_handles_its_own(bus):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish_many([ALERT] * 2)
        subscription.receive()
        assert correlation.current() is None
        next(subscription)
        found = []
        thread = threading.Thread(target=lambda: found.append(correlation.current()))
        thread.start()
        thread.join()
        assert found == [None] and correlation.current() is not None


def test_a_block_of_handling_counts_before_a_loop(bus):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish(ALERT)
        with correlation.handling(correlation.new(correlation_id="block")):
            next(subscription)
            publisher.publish(ALERT)
        assert relation(subscription.receive()).root_correlation_id == "block"


def test_bytes_carry_no_correlation_and_what_is_too_long_is_refused(bus):
    with bus.publisher("lab.x") as publisher:
        with pytest.raises(TypeError, match="bytes have no envelope to carry a correlation"):
            publisher.publish(b"x", correlation=correlation.new())
        with pytest.raises(CorrelationError):
            publisher.publish(ALERT, correlation=correlation.CorrelationMetadata(correlation_id="c" * 300))
        assert publisher.published == 0
