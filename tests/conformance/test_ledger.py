"""The ledger: published = delivered + lost by reason + filtered + dead + in flight, for each producer, at any time."""

from collections import Counter
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.reading import rest
from process.rings import small
from shmbus import Durable, Filter, Gap
from shmbus.coordinator.settings import Settings, TopicPlan
from shmbus.ledger import LANES

WANTED = Filter(min_priority=5)


def accounts(subscription):
    """By lane and producer: published, delivered, overrun, expired, filtered, dead, in flight."""
    found = {}
    for one in subscription.ledger():
        ends = (one.delivered, one.overrun, one.expired, one.filtered, one.dead, one.in_flight)
        assert one.published == sum(ends) and (one.corrupt, one.repeated, one.topic) == (0, 0, "lab.x")
        assert one.lost == one.overrun + one.expired
        found[one.lane, one.producer.name] = (one.published, *ends)
    return found


def test_it_tells_delivered_lost_and_waiting_of_each_producer(bus):
    one, other = bus.publisher("lab.x", name="one"), bus.publisher("lab.x", name="other")
    one.publish_many([b"before"] * 5)
    with bus.subscribe("lab.x") as subscription:
        assert accounts(subscription) == {("normal", "one"): (0,) * 7, ("normal", "other"): (0,) * 7}
        one.publish_many([b"x"] * 4)
        other.publish_many([b"x"] * 20)
        assert accounts(subscription)["normal", "other"] == (20, 0, 0, 0, 0, 0, 20)
        subscription.receive_many(limit=7)  # two gaps
        assert accounts(subscription) == {
            ("normal", "one"): (4, 0, 4, 0, 0, 0, 0),
            ("normal", "other"): (20, 5, 5, 0, 0, 0, 10),
        }


def test_lanes_filters_and_times_to_live_have_their_columns(bus, world):
    with bus.publisher("lab.x", name="one") as publisher, bus.subscribe("lab.x", filter=WANTED) as subscription:
        publisher.publish_many([b"low"] * 2)
        publisher.publish_many([b"high"] * 3, priority=20)
        publisher.publish_many([b"brief"] * 2, ttl=0.001, priority=20)
        publisher.publish_many([b"urgent"] * 2, priority=200)
        world.pass_time(0.01)
        rest(subscription)
        assert accounts(subscription) == {
            ("normal", "one"): (7, 3, 0, 2, 2, 0, 0),
            ("urgent", "one"): (2, 2, 0, 0, 0, 0, 0),
        }


def test_who_has_nothing_to_tell_of_is_told_of_if_he_was_there_from_the_beginning(bus):
    with bus.publisher("lab.x", name="early"), bus.subscribe("lab.x") as subscription:
        with bus.subscribe("lab.x", durable="agent") as durable, bus.publisher("lab.x", name="late") as late:
            assert accounts(subscription) == {("normal", "early"): (0,) * 7} and accounts(durable) == {}
            late.publish(b"x")
            assert accounts(subscription).keys() == {("normal", "early"), ("normal", "late")}
            assert accounts(durable) == {("normal", "late"): (1, 0, 0, 0, 0, 0, 1)}


def test_who_has_left_is_told_of_if_he_has_published(bus):
    with bus.publisher("lab.x", name="early") as early:
        early.publish(b"x")
    with bus.subscribe("lab.x", start="latest") as subscription:
        for name, count in (("silent", 0), ("late", 3)):
            with bus.publisher("lab.x", name=name) as publisher:
                publisher.publish_many([b"x"] * count)
        assert accounts(subscription) == {("normal", "late"): (3, 0, 0, 0, 0, 0, 3)}
    with bus.subscribe("lab.x", start="earliest") as subscription:
        assert accounts(subscription).keys() == {("normal", "early"), ("normal", "late")}


def test_members_have_one_account_of_what_they_settled_up_to_what_nobody_has(bus):
    one, other = bus.publisher("lab.x", name="one"), bus.publisher("lab.x", name="other")
    with bus.subscribe("lab.x", durable="agent") as first, bus.subscribe("lab.x", durable="agent") as second:
        one.publish_many([b"x"] * 4)
        other.publish_many([b"x"] * 6)
        held = first.receive_many(limit=5)
        second.ack_many(second.receive_many(limit=5))
        assert [entry[-1] for entry in accounts(first).values()] == [4, 6]  # what stands before them is held
        first.ack_many(held[:3])
        first.nack(held[3])
        assert accounts(first) == accounts(second)
        assert accounts(first) == {
            ("normal", "one"): (4, 3, 0, 0, 0, 0, 1),
            ("normal", "other"): (6, 0, 0, 0, 0, 0, 6),
        }
        second.ack(second.receive(timeout=20))
        first.ack(held[4])
        assert [entry[-1] for entry in accounts(second).values()] == [0, 0]


def test_how_messages_of_a_durable_subscription_ended(bus, world):
    durable = Durable("agent", max_deliveries=1)
    with bus.publisher("lab.x", name="one") as publisher:
        with bus.subscribe("lab.x", durable=durable, filter=WANTED) as subscription:
            publisher.publish_many([b"low"] * 2)
            publisher.publish_many([b"high"] * 3, priority=20)
            publisher.publish_many([b"brief"] * 2, ttl=0.001, priority=20)
            world.pass_time(0.01)
            *good, bad = [one for one in rest(subscription) if not isinstance(one, Gap)]
            subscription.ack_many(good)
            assert subscription.nack(bad) and subscription.try_receive() is None
            assert accounts(subscription) == {("normal", "one"): (7, 2, 0, 2, 2, 1, 0)}


def test_what_is_held_while_the_ring_goes_past_it_is_delivered_until_it_is_given_back(bus):
    with bus.publisher("lab.x", name="one") as publisher:
        with bus.subscribe("lab.x", durable="agent") as subscription:
            publisher.publish_many([b"x"] * 5)
        publisher.publish_many([b"x"] * 15)  # nobody is waited for
        with bus.subscribe("lab.x", durable="agent") as subscription:
            found = rest(subscription)
            assert sum(one.count for one in found if isinstance(one, Gap)) == 5
            assert accounts(subscription) == {("normal", "one"): (20, 0, 5, 0, 0, 0, 15)}


def test_what_is_held_when_the_ring_goes_past_it_counts_as_delivered_until_it_is_given_back(world):
    plan = TopicPlan(small().default.ring, on_full="shed")
    with world.open(Settings(default=plan)) as bus, bus.publisher("lab.x", name="one") as publisher:
        with bus.subscribe("lab.x", durable="agent") as subscription:
            publisher.publish_many([b"x"] * 10)
            first, second, third = (subscription.receive(timeout=0) for _ in range(3))
            publisher.publish_many([b"x"] * 20)
            assert accounts(subscription) == {("normal", "one"): (30, 0, 0, 0, 0, 0, 30)}
            assert subscription.receive(timeout=0).count == 12
            assert accounts(subscription) == {("normal", "one"): (30, 3, 12, 0, 0, 0, 15)}
            assert subscription.nack(second) and subscription.ack(first)
            assert accounts(subscription) == {("normal", "one"): (30, 2, 13, 0, 0, 0, 15)}
            assert subscription.ack(third) and accounts(subscription)["normal", "one"][1] == 2


NAMES = ("one", "other")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(NAMES), st.integers(1, 20), st.sampled_from([0, 9, 200])),
        st.tuples(st.just("take"), st.integers(1, 12)),
        st.tuples(st.just("ack"), st.integers(0, 8)),
        st.tuples(st.just("nack"), st.integers(0, 8)),
    ),
    max_size=12,
)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"durable": "agent"}], ids=str)
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_it_adds_up_after_every_step_and_says_what_was_handed_out(world, options, steps):
    with world.open(small()) as bus, ExitStack() as stack:
        publishers = {name: bus.publisher("lab.x", name=name, timeout=0) for name in NAMES}
        for publisher in publishers.values():
            publisher.publish(b"makes the urgent lane", priority=255)
        subscription = stack.enter_context(bus.subscribe("lab.x", filter=WANTED, **options))
        published, got, lost, held = Counter(), Counter(), Counter(), []
        for step, *of in steps:
            if step == "publish":
                name, count, priority = of
                tried = [publishers[name].try_publish(b"x", priority=priority) for _ in range(count)]
                published[name] += count - tried.count(None)
            elif step == "take":
                for found in [subscription.try_receive() for _ in range(*of)]:
                    if isinstance(found, Gap):
                        lost[found.producer.name] += found.count
                    elif found is not None:
                        got[found.producer.name] += 1
                        held.append(found)
            elif "durable" in options and held:
                message = held.pop(of[0] % len(held))
                assert subscription.ack(message) if step == "ack" else subscription.nack(message)
            told = accounts(subscription)
            for name in NAMES:
                lanes = [told.get((lane, name), (0,) * 7) for lane in LANES]
                total, delivered, overrun, *_ = map(sum, zip(*lanes, strict=True))
                assert total == published[name]
                assert "durable" in options or (delivered, overrun) == (got[name], lost[name])
