"""A durable subscription outlives who reads for it: what is not settled comes again, and publishers wait for it."""

import threading
import time
from datetime import timedelta

import pytest

import shmbus
from process.buses import eventually
from process.durables import payloads, rest
from process.rings import small
from shmbus.coordinator.settings import Settings, TopicPlan
from shmbus.errors import (
    BackpressureError,
    ReceiveTimeout,
)
from shmbus.v1.eventbus_pb2 import AlertPayload


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
        assert (caught.value.holder, caught.value.behind, caught.value.has_moved) == ("agent", 15, False)
        assert "'agent' is 15 messages behind, has settled nothing in order since it began " in str(caught.value)
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
