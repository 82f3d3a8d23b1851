"""A durable subscription outlives who reads for it: what is not settled comes again, and publishers wait for it."""

import asyncio
import gc
import os
import queue
import signal
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.rings import small
from shmbus.aio import AsyncSubscription
from shmbus.coordinator.settings import Settings, TopicPlan
from shmbus.errors import (
    BackpressureError,
    ClosedError,
    DurableError,
    ForkedError,
    LimitError,
    ReceiveTimeout,
    ShmbusError,
)
from shmbus.v1.eventbus_pb2 import AlertPayload


def payloads(messages):
    return [message.payload for message in messages]


def maps():
    """What is mapped into this process."""
    return Path("/proc/self/maps").read_text().splitlines()


def first_ring_mapped():
    """How many pieces of the first generation of the first topic are mapped into this process."""
    gc.collect()
    return sum(".ring.1.0.0" in line for line in maps())


def rest(subscription):
    """What is there at once."""
    return list(iter(subscription.try_receive, None))


@pytest.fixture
def bus():
    with shmbus.embedded(small()) as bus:
        yield bus


# ---- settling --------------------------------------------------------------------------------------------------------


def test_what_is_acked_never_comes_again_and_the_rest_does(bus):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish_many([b"0", b"1", b"2"])
            found = subscription.receive_many()
            assert [(m.payload, m.deliveries) for m in found] == [(b"0", 1), (b"1", 1), (b"2", 1)]
            assert subscription.ack(found[1]) is True
        with bus.subscribe("lab.#", durable="agent") as subscription:
            again = rest(subscription)
            assert [(m.payload, m.deliveries) for m in again] == [(b"0", 2), (b"2", 2)]
            assert subscription.ack_many(again) == 2
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert subscription.try_receive() is None


def test_a_nack_gives_it_out_again_at_once(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish(b"x")
        for deliveries in range(1, 5):
            message = subscription.receive(timeout=0)
            assert message.deliveries == deliveries
            assert subscription.nack(message) is True
        assert subscription.ack(message) is False and subscription.nack(message) is False
        assert subscription.ack(subscription.receive(timeout=0)) is True


def test_what_is_settled_is_settled_once(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish(b"x")
        message = subscription.receive(timeout=0)
        assert [subscription.ack(message), subscription.ack(message)] == [True, False]
        assert [subscription.nack(message), subscription.extend(message)] == [False, False]
        assert subscription.ack_many([message, message]) == 0


def test_a_deadline_gives_it_out_again_and_who_comes_late_is_told(bus):
    impatient = shmbus.Durable("agent", ack_deadline=0.1)
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable=impatient) as subscription:
        publisher.publish(b"x")
        message = subscription.receive(timeout=0)
        began = time.monotonic()
        again = subscription.receive(timeout=20)
        assert 0.05 < time.monotonic() - began < 5
        assert (again.payload, again.deliveries) == (b"x", 2)
        assert subscription.ack(message) is False and subscription.ack(again) is True
        with pytest.raises(ReceiveTimeout):
            subscription.receive(timeout=0.3)


def test_an_extended_deadline_begins_anew(bus):
    impatient = shmbus.Durable("agent", ack_deadline=0.5)
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable=impatient) as subscription:
        publisher.publish(b"x")
        message = subscription.receive(timeout=0)
        for _ in range(8):
            with pytest.raises(ReceiveTimeout):
                subscription.receive(timeout=0.2)
            assert subscription.extend(message) is True
        assert subscription.ack(message) is True


def test_without_a_deadline_it_is_held_for_good(bus):
    patient = shmbus.Durable("agent", ack_deadline=None)
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable=patient) as subscription:
        publisher.publish(b"x")
        message = subscription.receive(timeout=0)
        with pytest.raises(ReceiveTimeout):
            subscription.receive(timeout=1.5)
        assert subscription.ack(message) is True


def test_messages_may_be_settled_in_any_order_and_after_others_came(bus):
    with bus.publisher("lab.x", timeout=0) as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        found = []
        for lap in range(10):
            publisher.publish_many([b"%d" % n for n in range(15)])
            with pytest.raises(BackpressureError):
                publisher.publish(b"no room")
            found = subscription.receive_many()
            assert len(found) == 15
            order = sorted(found, key=lambda m, lap=lap: (m.sequence * 7 + lap) % 15)
            assert all(subscription.ack(message) for message in order)
        assert subscription.try_receive() is None and subscription.lost == 0


def test_only_the_oldest_that_is_not_settled_holds_the_ring(bus):
    with bus.publisher("lab.x", timeout=0) as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many([b"x"] * 15)
        found = subscription.receive_many()
        assert subscription.ack_many(found[1:]) == 14
        with pytest.raises(BackpressureError):
            publisher.publish(b"no room")
        assert subscription.ack(found[0])
        assert publisher.publish_many([b"x"] * 15) == 15


def test_gaps_are_passed_over_by_ack_many_and_refused_by_the_others(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish(b"x")
        gap = shmbus.Gap("lab.x", "lab.#", 1, 1, "overrun")
        message = subscription.receive(timeout=0)
        for settle in (subscription.ack, subscription.nack, subscription.extend):
            with pytest.raises(TypeError, match="a Message can be settled, not a Gap"):
                settle(gap)
        assert subscription.ack_many(iter([gap, message])) == 1
        with pytest.raises(TypeError, match="iterable of messages"):
            subscription.ack_many(7)


def test_a_message_of_another_subscription_is_refused(bus):
    with (
        bus.publisher("lab.x") as publisher,
        bus.subscribe("lab.#", durable="agent") as agent,
        bus.subscribe("lab.#", durable="other") as other,
        bus.subscribe("lab.#") as lossy,
    ):
        publisher.publish(b"x")
        its, theirs, plain = (one.receive(timeout=0) for one in (agent, other, lossy))
        for settle in (agent.ack, agent.nack, agent.extend, lambda m: agent.ack_many([its, m])):
            with pytest.raises(ValueError, match="received by another subscription"):
                settle(theirs)
        for settle in (lossy.ack, lossy.nack, lossy.extend, agent.ack):
            with pytest.raises(ValueError, match='durable="a name"'):
                settle(plain)
        assert other.ack(theirs) is True and plain.deliveries == 1


def test_a_message_of_a_closed_subscription_is_not_its_own_any_more(bus):
    with bus.publisher("lab.x") as publisher:
        publisher.publish(b"x")
        subscription = bus.subscribe("lab.#", durable="agent", start="earliest")
        message = subscription.receive(timeout=0)
        subscription.close()
        assert (subscription.ack(message), subscription.nack(message)) == (False, False)
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert subscription.receive(timeout=0).deliveries == 2


def test_a_loop_settles_as_it_goes_and_what_it_publishes_is_a_child(bus):
    with (
        bus.publisher("lab.x") as publisher,
        bus.publisher("out.x") as out,
        bus.subscribe("out.x") as results,
        bus.subscribe("lab.#", durable="agent") as subscription,
    ):
        publisher.publish_many([AlertPayload(title="a"), AlertPayload(title="b")])
        for number, message in enumerate(subscription):
            out.publish(AlertPayload(title="about " + message.event.title))
            assert subscription.ack(message)
            if number == 1:
                break
        for message in results.receive_many():
            assert message.envelope.correlation.parent_correlation_id


# ---- what is kept, and what is not -----------------------------------------------------------------------------------


def test_the_first_member_begins_where_it_says_and_later_ones_where_it_stands(bus):
    with bus.publisher("lab.x") as publisher:
        publisher.publish_many([b"0", b"1", b"2"])
        for name, start, expected in (
            ("latest", "latest", []),
            ("earliest", "earliest", [b"0", b"1", b"2"]),
            ("second", 2, [b"1", b"2"]),
            ("last", shmbus.Last(1), [b"2"]),
            ("since", timedelta(hours=1), [b"0", b"1", b"2"]),
        ):
            with bus.subscribe("lab.#", durable=name, start=start) as subscription:
                assert payloads(rest(subscription)) == expected, name
            with bus.subscribe("lab.#", durable=name, start="latest") as subscription:
                assert payloads(rest(subscription)) == expected, name


def test_publishers_wait_while_there_are_members_and_are_told_of_whom(bus):
    with bus.publisher("lab.x", timeout=0) as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many([b"x"] * 15)
        with pytest.raises(BackpressureError) as caught:
            publisher.publish(b"no room")
        assert (caught.value.holder, caught.value.behind, caught.value.since_seconds) == ("agent", 15, None)
        assert "durable subscription 'agent' is 15 messages behind, has settled nothing yet" in str(caught.value)
        message = subscription.receive(timeout=0)
        with pytest.raises(BackpressureError):
            publisher.publish(b"it was handed out, and not settled")
        assert subscription.ack(message)
        eventually(lambda: publisher.try_publish(b"room"))
        with pytest.raises(BackpressureError, match=r"'agent' is 15 messages behind, last settled 0\.\d s ago"):
            publisher.publish(b"no room")


def test_a_publisher_that_waits_goes_on_when_something_is_settled(bus):
    with bus.publisher("lab.x", timeout=30) as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many([b"x"] * 15)
        waits = threading.Thread(target=publisher.publish, args=(b"waited",))
        waits.start()
        found = subscription.receive_many()
        assert waits.is_alive()
        began = time.monotonic()
        assert subscription.ack_many(found) == 15
        waits.join(20)
        assert time.monotonic() - began < 5
        assert subscription.receive(timeout=0).payload == b"waited"


def test_without_members_the_ring_drops_as_usual_and_the_next_one_is_told_exactly(bus):
    with bus.publisher("lab.x", timeout=0) as publisher:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish_many([b"%d" % n for n in range(10)])
            assert subscription.ack_many(subscription.receive_many()[:4]) == 4
        publisher.publish_many([b"%d" % n for n in range(10, 40)])
        with bus.subscribe("lab.#", durable="agent") as subscription:
            gap, *found = rest(subscription)
            assert (gap.topic, gap.reason, gap.first, gap.count, gap.last) == ("lab.x", "overrun", 5, 21, 25)
            assert payloads(found) == [b"%d" % n for n in range(25, 40)]
            assert subscription.ack_many(found) == 15 and subscription.lost == 21
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert rest(subscription) == []


def test_what_fits_is_kept_while_nobody_reads(bus):
    with bus.publisher("lab.x", timeout=0) as publisher:
        bus.subscribe("lab.#", durable="agent").close()
        publisher.publish_many([b"%d" % n for n in range(15)])
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert payloads(rest(subscription)) == [b"%d" % n for n in range(15)]


def test_topics_made_while_nobody_reads_are_read_from_their_first_message(bus):
    bus.subscribe("lab.#", durable="agent").close()
    with bus.publisher("lab.new") as publisher:
        publisher.publish_many([b"first", b"second"])
    with bus.subscribe("lab.#", durable="agent") as subscription:
        assert payloads(rest(subscription)) == [b"first", b"second"]


def test_topics_made_while_it_is_read_are_read_and_held_from_their_first_message(bus):
    with bus.subscribe("lab.#", durable="agent") as subscription:
        with bus.publisher("lab.new", timeout=0) as publisher:
            with pytest.raises(BackpressureError):
                publisher.publish_many([b"%d" % n for n in range(16)])
        found = subscription.receive_many(timeout=20)
        assert payloads(found) == [b"%d" % n for n in range(15)] and subscription.topics == ["lab.new"]


def test_more_topics_than_one_segment_has_lanes_are_read_by_the_members_of_before_and_after(bus):
    names = [f"lab.t{n}" for n in range(30)]  # 8 lanes in the first segment, 16 in the second
    with bus.subscribe("lab.#", durable="agent") as before:
        for name in names:
            with bus.publisher(name) as publisher:
                publisher.publish(name.encode())
        found = rest(before)
        assert sorted(payloads(found)) == sorted(name.encode() for name in names)
        with bus.subscribe("lab.#", durable="agent") as after:
            assert before.ack_many(found[:10]) == 10
            assert all(before.nack(message) for message in found[10:])
            again = rest(after)
            assert sorted(payloads(again)) == sorted(payloads(found[10:])) and after.ack_many(again) == 20
    with bus.subscribe("lab.#", durable="agent") as later:
        assert rest(later) == []


def test_the_urgent_lane_comes_first_and_is_settled_on_its_own(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many([b"normal"] * 3)
        publisher.publish(b"urgent", priority=shmbus.URGENT)
        first, *others = rest(subscription)
        assert (first.payload, first.lane, first.sequence) == (b"urgent", 1, 1) and len(others) == 3
        assert subscription.nack(first) and subscription.nack(others[0])
        again = rest(subscription)
        assert [(m.payload, m.deliveries) for m in again] == [(b"urgent", 2), (b"normal", 2)]
        assert subscription.ack_many([*again, *others[1:]]) == 4


def test_an_urgent_lane_that_is_made_while_nobody_reads_is_read_from_its_first_message(bus):
    with bus.publisher("lab.x") as publisher:
        bus.subscribe("lab.#", durable="agent").close()
        publisher.publish(b"normal")
        publisher.publish(b"urgent", priority=shmbus.URGENT)
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert payloads(rest(subscription)) == [b"urgent", b"normal"]


def test_lossy_lossless_and_durable_subscribers_of_one_topic_each_get_what_is_theirs(bus):
    with (
        bus.publisher("lab.x", timeout=0) as publisher,
        bus.subscribe("lab.#") as lossy,
        bus.subscribe("lab.#", lossless=True) as lossless,
        bus.subscribe("lab.#", durable="agent") as durable,
    ):
        for _ in range(3):
            publisher.publish_many([b"x"] * 15)
            assert len(rest(lossless)) == 15
            with pytest.raises(BackpressureError, match="durable subscription 'agent'"):
                publisher.publish(b"no room")
            assert durable.ack_many(rest(durable)) == 15
        gap, *found = rest(lossy)
        assert gap.count + len(found) == 45


def test_lossless_says_nothing_more_of_a_durable_one(bus):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable="agent", lossless=True) as subscription:
            publisher.publish(b"x")
            assert subscription.ack(subscription.receive(timeout=0))
            assert repr(subscription) == "<Subscription lab.#, durable 'agent'>"


def test_expired_messages_are_told_settled_and_never_handed_out(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many([b"gone"] * 3, ttl=0.05)
        publisher.publish(b"stays")
        time.sleep(0.1)
        gap, message = rest(subscription)
        assert (gap.reason, gap.first, gap.count) == ("expired", 1, 3)
        assert message.payload == b"stays" and subscription.ack(message) and subscription.lost == 3
    with bus.subscribe("lab.#", durable="agent") as subscription:
        assert rest(subscription) == []


def test_what_expires_while_it_is_held_does_not_come_again(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish(b"x", ttl=0.3)
        message = subscription.receive(timeout=0)
        time.sleep(0.4)
        assert subscription.nack(message)
        (gap,) = rest(subscription)
        assert (gap.reason, gap.count) == ("expired", 1) and subscription.try_receive() is None


def test_retention_by_time_ends_what_nobody_came_for():
    with shmbus.embedded(small(retention_ns=200_000_000)) as bus, bus.publisher("lab.x") as publisher:
        bus.subscribe("lab.#", durable="agent").close()
        publisher.publish_many([b"x"] * 5)
        time.sleep(0.3)
        with bus.subscribe("lab.#", durable="agent") as subscription:
            (gap,) = rest(subscription)
            assert gap.reason in ("expired", "overrun") and (gap.first, gap.count) == (1, 5)


def test_what_a_filter_does_not_want_is_settled(bus):
    wanted = shmbus.Filter(where="priority > 3")
    with bus.publisher("lab.x", timeout=0) as publisher:
        with bus.subscribe("lab.#", durable="agent", filter=wanted) as subscription:
            for number in range(60):
                publisher.publish(b"%d" % number, priority=number % 8)
                if number % 10 == 9:
                    subscription.ack_many(rest(subscription))
            assert subscription.filtered == 32 and subscription.lost == 0
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert rest(subscription) == []


def test_a_filter_that_fails_gives_the_message_back(bus):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            subscription._set_filter(lambda message: 1 // 0)
            publisher.publish(b"x")
            with pytest.raises(ZeroDivisionError):
                subscription.receive(timeout=0)
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert subscription.receive(timeout=0).deliveries == 2


def test_a_full_window_stops_and_settling_resumes():
    with shmbus.embedded(small(256)) as bus, bus.publisher("lab.x") as publisher:
        narrow = shmbus.Durable("agent", window=8)
        with bus.subscribe("lab.#", durable=narrow) as subscription:
            publisher.publish_many([b"%d" % n for n in range(100)])
            seen = []
            while len(seen) < 100:
                found = rest(subscription)
                assert len(found) == min(8, 100 - len(seen)) and subscription.try_receive() is None
                assert subscription.ack_many(found[1:]) == len(found) - 1
                assert subscription.try_receive() is None, "the oldest holds the window"
                assert subscription.ack(found[0])
                seen += payloads(found)
            assert seen == [b"%d" % n for n in range(100)]


def test_who_waits_for_the_window_is_woken_by_another_members_ack():
    with shmbus.embedded(small(256)) as bus, bus.publisher("lab.x") as publisher:
        narrow = shmbus.Durable("agent", window=4)
        with bus.subscribe("lab.#", durable=narrow) as holds, bus.subscribe("lab.#", durable=narrow) as waits:
            publisher.publish_many([b"%d" % n for n in range(5)])
            found = rest(holds)
            later = threading.Timer(0.2, lambda: holds.ack_many(found))
            later.start()
            assert waits.receive(timeout=20).payload == b"4"
            later.join()


def test_a_topic_that_sheds_does_not_wait_and_what_is_missing_is_told():
    ring = small().default.ring
    settings = Settings(default=TopicPlan(ring, on_full="shed"))
    with shmbus.embedded(settings) as bus, bus.publisher("lab.x", timeout=0) as publisher:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish_many([b"%d" % n for n in range(40)])
            gap, *found = rest(subscription)
            assert (gap.reason, gap.first, gap.count) == ("overrun", 1, 25)
            assert payloads(found) == [b"%d" % n for n in range(25, 40)]
            publisher.publish_many([b"x"] * 40)  # over what is held
            assert subscription.ack_many(found) == 15, "what it has is its own, dropped by the ring or not"
            gap, *found = rest(subscription)
            assert (gap.count, len(found)) == (25, 15)


def test_what_the_ring_dropped_while_it_was_held_is_counted_when_it_is_given_back():
    ring = small().default.ring
    settings = Settings(default=TopicPlan(ring, on_full="shed"))
    with shmbus.embedded(settings) as bus, bus.publisher("lab.x", timeout=0) as publisher:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish_many([b"x"] * 3)
            found = rest(subscription)
            publisher.publish_many([b"y"] * 40)
            assert subscription.ack(found[0]) and subscription.nack(found[1]) and subscription.nack(found[2])
            told = rest(subscription)
            gaps = [one for one in told if isinstance(one, shmbus.Gap)]
            assert sum(gap.count for gap in gaps) == 2 + 25 and len(told) - len(gaps) == 15


# ---- resize ----------------------------------------------------------------------------------------------------------


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


def impatient(max_stall_ns=200_000_000):
    settings = small()
    return replace(settings, default=replace(settings.default, max_stall_ns=max_stall_ns))


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


# ---- names, settings, limits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong, reason",
    [
        (shmbus.Durable("Agent"), "no name"),
        (shmbus.Durable("a" * 65), "no name"),
        (shmbus.Durable(""), "no name"),
        (shmbus.Durable("agent", window=3), "power of two"),
        (shmbus.Durable("agent", window=1), "power of two"),
        (shmbus.Durable("agent", window=1 << 17), "power of two"),
        (shmbus.Durable("agent", max_deliveries=255), "less than 255"),
        (shmbus.Durable("agent", max_deliveries=3, dead_letter="lab.dead"), "come back to it"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(bus, wrong, reason):
    with pytest.raises(DurableError, match=reason) as caught:
        bus.subscribe("lab.#", durable=wrong)
    assert caught.value.name == wrong.name
    with pytest.raises(ShmbusError, match="there is no durable subscription"):
        bus.forget("agent")


@pytest.mark.parametrize(
    "wrong",
    [{"ack_deadline": 0}, {"ack_deadline": -1.0}, {"max_deliveries": -1}, {"max_deliveries": True}, {"window": 2**32}],
)
def test_what_makes_no_sense_anywhere_is_refused_at_once(wrong):
    (field,) = wrong
    with pytest.raises(ValueError, match=field):
        shmbus.Durable("agent", **wrong)


@pytest.mark.parametrize(
    "other, field",
    [
        ({"ack_deadline": 1.0}, "ack_deadline_ms"),
        ({"max_deliveries": 3}, "max_deliveries"),
        ({"exactly_once": True}, "exactly_once"),
        ({"window": 8}, "window"),
    ],
)
def test_all_members_want_the_same(bus, other, field):
    with bus.subscribe("lab.#", durable="agent"):
        with pytest.raises(DurableError, match=f"it is being read with {field} = "):
            bus.subscribe("lab.#", durable=shmbus.Durable("agent", **other))
        with pytest.raises(DurableError, match=r"other patterns: lab\.#"):
            bus.subscribe("lab.x", durable="agent")


def test_who_comes_when_nobody_reads_may_change_all_but_what_decides_of_the_segment(bus):
    with bus.publisher("lab.x") as publisher, bus.publisher("other.x") as other:
        bus.subscribe("lab.#", durable="agent").close()
        publisher.publish(b"lab")
        other.publish(b"other")
        changed = shmbus.Durable("agent", ack_deadline=0.1, max_deliveries=5)
        with bus.subscribe("lab.#", "other.#", durable=changed, start="earliest") as subscription:
            assert sorted(payloads(rest(subscription))) == [b"lab", b"other"]
            assert subscription.receive(timeout=20).deliveries == 2
        with bus.subscribe("other.#", durable=changed) as subscription:
            assert payloads(rest(subscription)) == [b"other"]
        for fixed in ({"window": 8}, {"exactly_once": True}):
            with pytest.raises(DurableError, match="since it was made"):
                bus.subscribe("lab.#", durable=shmbus.Durable("agent", **fixed))
        bus.forget("agent")
        bus.subscribe("lab.#", durable=shmbus.Durable("agent", window=8)).close()


def test_what_is_forgotten_begins_anew(bus):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish(b"x")
            with pytest.raises(DurableError, match="1 members read it"):
                bus.forget("agent")
            assert subscription.receive(timeout=0).payload == b"x"
        bus.forget("agent")
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert rest(subscription) == []
        with pytest.raises(ShmbusError, match="no durable subscription 'other'; there are: agent"):
            bus.forget("other")


def test_there_are_so_many_durable_subscriptions_and_no_more():
    with shmbus.embedded(replace(small(), max_durables=3)) as bus:
        for number in range(3):
            bus.subscribe("lab.#", durable=f"agent{number}").close()
        with pytest.raises(LimitError, match="bus.max_durables"):
            bus.subscribe("lab.#", durable="agent3")
        bus.forget("agent1")
        bus.subscribe("lab.#", durable="agent3").close()


def test_a_refused_one_leaves_nothing_behind():
    settings = small(gates=1)
    with shmbus.embedded(settings) as bus, bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable="first") as first:
            with pytest.raises(LimitError, match="max_gates"):
                bus.subscribe("lab.#", durable="second")
            with pytest.raises(ShmbusError, match="there are: first"):
                bus.forget("second")
            publisher.publish(b"x")
            assert first.ack(first.receive(timeout=0))
        with bus.subscribe("lab.#", durable="second") as second:
            publisher.publish(b"y")
            assert payloads(rest(second)) == [b"y"]


def test_a_new_topic_without_a_gate_left_is_read_as_a_lossy_one_does_and_that_is_told():
    with shmbus.embedded(small(gates=1)) as bus:
        with bus.subscribe("lab.#", durable="first"), bus.subscribe("lab.#", durable="second") as second:
            with bus.publisher("lab.x", timeout=0) as publisher:
                publisher.publish(b"x")
                told = []
                while not told or not isinstance(told[-1], shmbus.Message):
                    try:
                        told.append(second.receive(timeout=20))
                    except LimitError as error:
                        told.append(error)
                assert [type(one) for one in told] == [LimitError, shmbus.Message]
                assert second.ack(told[-1])


# ---- life ------------------------------------------------------------------------------------------------------------


def test_one_that_nobody_keeps_gives_back_what_it_held(bus):
    with bus.publisher("lab.x") as publisher:
        publisher.publish_many([b"0", b"1"])
        for message in bus.subscribe("lab.#", durable="agent", start="earliest"):
            assert message.payload == b"0"
            break
        gc.collect()
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert [(m.payload, m.deliveries) for m in rest(subscription)] == [(b"0", 2), (b"1", 1)]


def test_other_threads_may_settle_while_one_receives(bus):
    received, settled = queue.SimpleQueue(), []
    with bus.publisher("lab.x", timeout=30) as publisher, bus.subscribe("lab.#", durable="agent") as subscription:

        def settle():
            for message in iter(received.get, None):
                settled.append(subscription.ack(message))

        def publish():
            publisher.publish_many([b"x"] * 3000)

        threads = [threading.Thread(target=one) for one in (settle, settle, publish)]
        for thread in threads:
            thread.start()
        for _ in range(3000):
            received.put(subscription.receive(timeout=20))
        received.put(None), received.put(None)
        for thread in threads:
            thread.join(20)
        assert settled == [True] * 3000 and subscription.lost == 0


def test_a_demoted_one_counts_what_went_with_a_generation_that_was_given_up():
    with shmbus.embedded(impatient()) as bus, bus.publisher("lab.x", timeout=30) as publisher:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish_many([b"%d" % n for n in range(15)])
            held = subscription.receive(timeout=0)
            publisher.publish_many([b"%d" % n for n in range(15, 40)])  # demoted
            mapped = first_ring_mapped()  # by the coordinator, the publisher, and this one
            bus.resize("lab.x", slots=32)
            publisher.publish_many([b"%d" % n for n in range(40, 200)])
            eventually(lambda: first_ring_mapped() == mapped // 3)
            told = rest(subscription)
            gaps = [one for one in told if isinstance(one, shmbus.Gap)]
            # The one that is held counts, too: nobody can be given it again, and it cannot be settled any more.
            assert held.payload == b"0" and sum(gap.count for gap in gaps) + len(told) - len(gaps) == 200
            assert not subscription.ack(held)


def groups_mapped():
    """How often segments of durable subscriptions are mapped here."""
    return sum(".group." in line for line in maps())


def test_opening_and_closing_many_times_leaks_nothing(bus):
    gc.collect()
    before = groups_mapped()
    with bus.publisher("lab.x", timeout=0) as publisher:
        for number in range(300):
            with bus.subscribe("lab.#", durable="agent") as subscription:
                publisher.publish(b"%d" % number)
                message = subscription.receive(timeout=20)
                assert message.payload == b"%d" % number and subscription.ack(message)
        del subscription, message
        gc.collect()
        mapped = groups_mapped()
        assert mapped <= before + 2, "the coordinator's, and the publisher's, which waited for it"
        for number in range(100):
            bus.subscribe("lab.#", durable=f"other{number}").close()
            bus.forget(f"other{number}")
        bus.subscribe("lab.#").close()  # takes in what was pushed last
        gc.collect()
        assert groups_mapped() <= mapped
        publisher.publish_many([b"x"] * 40)  # no gate was left


def test_a_forked_child_can_neither_read_nor_settle(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many([b"0", b"1"])
        message = subscription.receive(timeout=0)
        child = os.fork()
        if child == 0:
            failed = 0
            for what in (
                lambda: subscription.ack(message),
                lambda: subscription.nack(message),
                lambda: subscription.extend(message),
                lambda: subscription.ack_many([message]),
                subscription.try_receive,
            ):
                try:
                    what()
                    failed = 1
                except ForkedError:
                    pass
            subscription.close()
            os._exit(failed)
        assert os.waitpid(child, 0)[1] == 0
        assert subscription.ack(message) is True, "the child gave nothing back"
        assert subscription.receive(timeout=0).payload == b"1"


def test_the_end_of_the_bus_is_told():
    with shmbus.embedded(small()) as bus:
        with shmbus.connect(bus.address) as other, other.subscribe("lab.#", durable="agent") as subscription:
            with bus.publisher("lab.x") as publisher:
                publisher.publish(b"x")
            message = subscription.receive(timeout=20)
            bus.stop()
            with pytest.raises(ClosedError, match="asked for by"):
                for _ in range(2):  # what it holds may come again before the end is told
                    assert subscription.receive(timeout=20).payload == message.payload


READS = """
import os, signal, sys
import shmbus
with shmbus.connect(sys.argv[1], name="member") as bus, bus.subscribe("lab.#", durable="agent") as subscription:
    print("ready", flush=True)
    for message in subscription:
        print(message.payload.decode(), message.deliveries, flush=True)
        if message.payload == b"ack":
            print(subscription.ack(message), flush=True)
        if message.payload == b"kill":
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_held_comes_again_to_the_next(bus):
    with bus.publisher("lab.x") as publisher:
        with python(READS, bus.address) as member:
            assert member.stdout.readline() == "ready\n"
            publisher.publish_many([b"ack", b"held", b"kill", b"after"])
            assert [line.strip() for line in member.stdout] == ["ack 1", "True", "held 1", "kill 1"]
        with bus.subscribe("lab.#", durable="agent") as subscription:
            found = [subscription.receive(timeout=20) for _ in range(3)]
            assert [(m.payload, m.deliveries) for m in found] == [(b"held", 2), (b"kill", 2), (b"after", 1)]


def test_a_killed_process_holds_publishers_no_more(bus):
    with bus.publisher("lab.x", timeout=30) as publisher, python(READS, bus.address) as member:
        assert member.stdout.readline() == "ready\n"
        publisher.publish_many([b"held"] * 15)
        for _ in range(15):
            assert member.stdout.readline() == "held 1\n"
        with pytest.raises(BackpressureError):
            publisher.publish(b"no room", timeout=0)
        member.kill()
        assert publisher.publish_many([b"x"] * 40) == 40


def test_what_a_killed_publisher_committed_comes_and_what_it_did_not_is_stepped_over(bus):
    program = """
import os, signal, sys
import shmbus
bus = shmbus.connect(sys.argv[1])
publisher = bus.publisher("lab.x")
publisher.publish_many([b"%d" % n for n in range(10)])
os.kill(os.getpid(), signal.SIGKILL)
"""
    with bus.subscribe("lab.#", durable="agent") as subscription, python(program, bus.address) as child:
        child.wait(20)
        assert payloads(rest(subscription)) == [b"%d" % n for n in range(10)]


def test_a_stopped_process_keeps_what_it_has_until_its_deadline():
    program = READS.replace('durable="agent"', 'durable=shmbus.Durable("agent", ack_deadline=1.0)')
    with shmbus.embedded(small()) as bus, bus.publisher("lab.x") as publisher, python(program, bus.address) as member:
        assert member.stdout.readline() == "ready\n"
        publisher.publish(b"held")
        assert member.stdout.readline() == "held 1\n"
        os.kill(member.pid, signal.SIGSTOP)
        eventually(lambda: psutil.Process(member.pid).status() == psutil.STATUS_STOPPED)
        with bus.subscribe("lab.#", durable=shmbus.Durable("agent", ack_deadline=1.0)) as subscription:
            again = subscription.receive(timeout=20)
            assert again.payload == b"held" and again.deliveries >= 2 and subscription.ack(again)


def test_it_goes_on_without_a_coordinator(bus_name):
    with coordinator(bus_name) as running, shmbus.connect(bus_name) as bus:
        with (
            bus.publisher("lab.x") as publisher,
            bus.subscribe("lab.#", durable="agent") as one,
            bus.subscribe("lab.#", durable="agent") as two,
        ):
            publisher.publish_many([b"0", b"1"])
            held = one.receive(timeout=0)
            running.end(signal.SIGKILL)
            assert one.nack(held)
            again = two.receive(timeout=20)
            assert (again.payload, again.deliveries) == (b"0", 2) and two.ack(again)
            held = one.receive(timeout=20)
            assert held.payload == b"1"
            one.close()
            again = two.receive(timeout=20)
            assert (again.payload, again.deliveries) == (b"1", 2) and two.ack(again)
        with coordinator(bus_name):
            pass  # removes what was left


def test_a_member_that_dies_after_the_coordinator_keeps_its_messages_until_their_deadline(bus_name):
    program = READS.replace('durable="agent"', 'durable=shmbus.Durable("agent", ack_deadline=1.0)')
    with coordinator(bus_name) as running, shmbus.connect(bus_name) as bus:
        with (
            bus.publisher("lab.x") as publisher,
            python(program, bus_name) as member,
        ):
            assert member.stdout.readline() == "ready\n"
            publisher.publish(b"held")
            assert member.stdout.readline() == "held 1\n"
            with bus.subscribe("lab.#", durable=shmbus.Durable("agent", ack_deadline=1.0)) as subscription:
                running.end(signal.SIGKILL)
                member.kill()
                member.wait(20)
                again = subscription.receive(timeout=20)
                assert again.payload == b"held" and again.deliveries >= 2 and subscription.ack(again)
            publisher.publish_many([b"x"] * 20_000)  # nobody is a member any more, so nobody is waited for
        with coordinator(bus_name):
            pass  # removes what was left


# ---- asyncio ---------------------------------------------------------------------------------------------------------


def run(main):
    return asyncio.run(asyncio.wait_for(main(), 60))


def test_asyncio_settles_as_the_other_does():
    async def main():
        async with shmbus.embedded(small()) as bus:
            impatient = shmbus.Durable("agent", ack_deadline=0.2)
            async with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable=impatient) as subscription:
                assert isinstance(subscription, AsyncSubscription)
                await publisher.publish_many([b"%d" % n for n in range(15)])
                found = await subscription.receive_many()
                assert subscription.ack(found[0]) and subscription.ack_many(found[1:13]) == 12
                assert subscription.nack(found[13]) and not subscription.ack(found[13])
                again = await subscription.receive()
                assert (again.payload, again.deliveries) == (b"13", 2) and subscription.extend(again)
                assert subscription.ack(again)
                async for message in subscription:
                    assert (message.payload, message.deliveries) == (b"14", 2) and subscription.ack(message)
                    break
            bus.forget("agent")

    run(main)


def test_asyncio_waits_for_room_until_something_is_settled_and_the_loop_runs_on():
    async def main():
        async with shmbus.embedded(small()) as bus:
            async with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
                await publisher.publish_many([b"x"] * 15)
                waits = asyncio.create_task(publisher.publish(b"waited"))
                found = await subscription.receive_many()
                await asyncio.sleep(0.05)
                assert not waits.done() and subscription.ack_many(found) == 15
                await asyncio.wait_for(waits, 20)
                assert (await subscription.receive()).payload == b"waited"

    run(main)


def test_asyncio_is_told_of_an_overrun_behind_a_full_window():
    async def main():
        settings = Settings(default=TopicPlan(small().default.ring, on_full="shed"))
        async with shmbus.embedded(settings) as bus:
            narrow = shmbus.Durable("agent", window=4)
            async with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable=narrow) as subscription:
                await publisher.publish_many([b"x"] * 4)
                held = await subscription.receive_many()
                waits = asyncio.create_task(subscription.receive())
                await asyncio.sleep(0.05)
                await publisher.publish_many([b"y"] * 40)
                gap = await asyncio.wait_for(waits, 20)
                assert (gap.reason, gap.first, gap.count) == ("overrun", 5, 25)
                assert subscription.ack_many(held) == 4 and len(await subscription.receive_many()) == 4

    run(main)


def test_a_cancelled_receive_holds_no_message():
    async def main():
        async with shmbus.embedded(small()) as bus:
            async with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
                for number in range(100):
                    task = asyncio.create_task(subscription.receive())
                    await asyncio.sleep(0)
                    await publisher.publish(b"%d" % number)
                    if number % 2:
                        await asyncio.sleep(0)
                    if task.cancel():
                        await asyncio.wait([task])
                    message = await subscription.receive(timeout=20) if task.cancelled() else task.result()
                    assert (message.payload, message.deliveries) == (b"%d" % number, 1)
                    assert subscription.ack(message) and subscription.try_receive() is None

    run(main)
