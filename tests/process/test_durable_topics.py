"""What happens to a topic happens to its durable subscriptions: it is resized, and who stalls is demoted on it."""

import pytest

import shmbus
from process.buses import eventually
from process.durables import first_ring_mapped, impatient, payloads, rest
from process.rings import small
from shmbus.errors import (
    BackpressureError,
    LimitError,
)
from shmbus.v1.eventbus_pb2 import AlertPayload


@pytest.fixture
def bus():
    with shmbus.embedded(small()) as bus:
        yield bus


# ---- resize ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [None, "producer"])
@pytest.mark.parametrize(("slots", "resizes"), [(2, 1), (2, 2), (2, 3), (4, 3), (4, 4), (8, 8), (64, 4)])
def test_a_member_that_looks_again_after_many_resizes_finds_the_others(slots, resizes, order):
    # A small ring, and one far behind it, have slots of the same lap as 32 bits count it.
    with (
        shmbus.embedded(small(slots)) as bus,
        bus.subscribe("lab.#", durable="agent", order=order) as late,
        bus.subscribe("lab.#", durable="agent", order=order) as other,
        bus.publisher("lab.x") as publisher,
    ):
        assert late.try_receive() is None
        for number in range(resizes + 4):
            if number >= 4:
                bus.resize("lab.x", slots=slots)
            for _ in range(max(1, number - 2)):
                publisher.publish(b"early")
                assert other.ack(other.receive(timeout=20))
        publisher.publish(b"late")
        found = late.receive(timeout=20)
        assert (found.payload, found.deliveries, late.lost) == (b"late", 1, 0)
        assert late.ack(found) and late.try_receive() is None


def test_a_resize_leaves_what_is_not_settled_where_it_is(bus):
    with bus.publisher("lab.x", timeout=0) as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many([b"old %d" % n for n in range(5)])
        held = rest(subscription)
        bus.resize("lab.x", slots=32)
        publisher.publish_many([b"new %d" % n for n in range(3)])
        assert subscription.try_receive() is None, "the old ring is settled first"
        assert subscription.nack(held[2])
        again = subscription.receive(timeout=0)
        assert (again.payload, again.deliveries) == (b"old 2", 2)
        assert subscription.ack(again) and subscription.ack_many(held) == 4
        new = rest(subscription)
        assert payloads(new) == [b"new 0", b"new 1", b"new 2"] and subscription.lost == 0
        assert subscription.ack_many(new) == 3


def test_who_comes_after_a_ring_was_dropped_of_which_all_was_settled_goes_on_behind_it(bus):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable="agent"):
            for _ in range(3):  # it has looked at none of them when it leaves
                bus.resize("lab.x", slots=32)
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish(b"x")
            assert subscription.receive(timeout=5).payload == b"x"


def test_a_topic_is_resized_under_several_members_and_while_nobody_reads(bus):
    with bus.publisher("lab.x", timeout=0) as publisher:
        with bus.subscribe("lab.#", durable="agent") as one, bus.subscribe("lab.#", durable="agent") as two:
            publisher.publish_many([b"0", b"1"])
            its, theirs = one.receive(timeout=0), two.receive(timeout=0)
            bus.resize("lab.x", slots=32)
            publisher.publish_many([b"2", b"3"])
            assert one.try_receive() is None and two.try_receive() is None
            assert one.ack(its) and one.try_receive() is None
            assert two.ack(theirs)
            found = one.receive(timeout=20), two.receive(timeout=20)
            assert sorted(payloads(found)) == [b"2", b"3"] and one.ack(found[0])
        bus.resize("lab.x", slots=64)
        publisher.publish(b"4")
        with bus.subscribe("lab.#", durable="agent") as three:
            left = three.receive(timeout=0)
            assert left.payload == found[1].payload and left.deliveries == 2 and three.ack(left)
            assert three.receive(timeout=0).payload == b"4" and three.lost == 0


def test_what_is_given_back_in_the_successor_is_not_looked_for_in_the_old_ring(bus):
    with bus.publisher("lab.x", timeout=0) as publisher:
        with bus.subscribe("lab.#", durable="agent") as one, bus.subscribe("lab.#", durable="agent") as two:
            publisher.publish(b"old")
            bus.resize("lab.x", slots=32)
            publisher.publish(b"new")
            assert one.ack(one.receive(timeout=0))
            new = one.receive(timeout=20)
            assert new.payload == b"new" and one.nack(new)
            again = two.receive(timeout=20)
            assert (again.payload, again.deliveries) == (b"new", 2) and two.ack(again) and two.lost == 0


def test_what_is_not_settled_is_kept_through_many_resizes_and_then_they_are_refused(bus):
    with bus.publisher("lab.x", timeout=0) as publisher, bus.subscribe("lab.#", durable="agent") as holds:
        with pytest.raises(LimitError, match="Wait until its durable subscriptions have settled"):
            for number in range(20):
                publisher.publish(b"%d" % number)
                bus.resize("lab.x", slots=32 if number % 2 else 64)
        assert number >= 3
        with bus.subscribe("lab.#", durable="agent") as late:
            for expected in range(number + 1):
                message = late.receive(timeout=20)
                assert message.payload == b"%d" % expected and late.ack(message)
            assert late.lost == holds.lost == 0
        bus.resize("lab.x", slots=32)


def test_a_generation_that_is_given_up_while_nobody_reads_is_counted(bus):
    with bus.publisher("lab.x", timeout=0) as publisher:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish_many([b"x"] * 5)
            assert subscription.ack(subscription.receive(timeout=0))
        bus.resize("lab.x", slots=32)
        publisher.publish_many([b"%d" % n for n in range(100)])  # the new ring goes round, and the old one is given up
        eventually(lambda: not first_ring_mapped())
        with bus.subscribe("lab.#", durable="agent") as subscription:
            told = rest(subscription)
            gaps = [one for one in told if isinstance(one, shmbus.Gap)]
            lost = sum(gap.count for gap in gaps)
            assert lost + len(told) - len(gaps) == 4 + 100 and lost > 60


# ---- demotion --------------------------------------------------------------------------------------------------------


def test_past_the_bound_it_is_demoted_on_that_topic_told_and_told_of_and_publishers_go_on():
    with shmbus.embedded(impatient()) as bus, bus.subscribe("control.health.status") as health:
        with (
            bus.subscribe("lab.#", durable="agent") as one,
            bus.subscribe("lab.#", durable="agent") as two,
            bus.publisher("lab.x", timeout=30) as publisher,
        ):
            publisher.publish_many([b"%d" % n for n in range(15)])
            held = one.receive(timeout=0)
            publisher.publish_many([b"%d" % n for n in range(15, 40)])
            alert = health.receive(timeout=20)
            assert isinstance(alert.event, AlertPayload) and alert.event.affected_resources == ["lab.x", "agent"]
            assert "'agent'" in alert.event.description and "15 messages behind" in alert.event.description
            told = [one.receive(timeout=20), two.receive(timeout=20)]
            assert [(gap.topic, gap.reason, gap.count) for gap in told] == [("lab.x", "demoted", 0)] * 2
            found = [*rest(one), *rest(two)]
            gaps = [one for one in found if isinstance(one, shmbus.Gap)]
            assert [(gap.reason, gap.count) for gap in gaps] == [("overrun", 24)]
            assert payloads(m for m in found if isinstance(m, shmbus.Message)) == [b"%d" % n for n in range(25, 40)]
            assert one.ack(held) is True


def test_it_is_held_again_when_all_have_gone_and_one_comes_back():
    with shmbus.embedded(impatient()) as bus, bus.publisher("lab.x", timeout=30) as publisher:
        with bus.subscribe("lab.#", durable="agent"):
            publisher.publish_many([b"x"] * 40)
        with bus.subscribe("lab.#", durable="agent") as subscription:
            subscription.ack_many(rest(subscription))
            publisher.publish_many([b"y"] * 15)
            with pytest.raises(BackpressureError):
                publisher.publish(b"no room", timeout=0)
