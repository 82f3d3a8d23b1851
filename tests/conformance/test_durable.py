"""Durable subscriptions: what is not settled comes again, and publishers wait for it."""

import threading
import time

import pytest

import shmbus
from conformance.reading import gaps, numbered, payloads, rest
from process.rings import small
from shmbus import Durable, Filter
from shmbus.coordinator.settings import Settings, TopicPlan
from shmbus.errors import BackpressureError, DurableError, ReceiveTimeout, ShmbusError

IMPATIENT = Durable("agent", ack_deadline=0.2)


def tries(found):
    return [(one.payload, one.deliveries) for one in found]


def test_what_is_acked_never_comes_again_and_the_rest_does(bus):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish_many(numbered(0, 3))
            found = subscription.receive_many()
            assert tries(found) == [(b"0", 1), (b"1", 1), (b"2", 1)]
            assert subscription.ack(found[1]) is True
        with bus.subscribe("lab.#", durable="agent") as subscription:
            again = rest(subscription)
            assert tries(again) == [(b"0", 2), (b"2", 2)] and subscription.ack_many(again) == 2
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert subscription.try_receive() is None


def test_a_nack_gives_it_out_again_at_once(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many(numbered(0, 2))
        for deliveries in range(1, 5):
            message = subscription.receive(timeout=0)
            assert (message.payload, message.deliveries) == (b"0", deliveries)
            assert subscription.nack(message) is True
        assert subscription.ack(message) is False and subscription.nack(message) is False
        assert subscription.ack(subscription.receive(timeout=0)) is True
        assert subscription.receive(timeout=0).payload == b"1"


def test_what_is_settled_is_settled_once(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish(b"x")
        message = subscription.receive(timeout=0)
        assert [subscription.ack(message), subscription.ack(message)] == [True, False]
        assert [subscription.nack(message), subscription.extend(message)] == [False, False]
        assert subscription.ack_many([message, message]) == 0


def test_a_deadline_gives_it_out_again_and_who_comes_late_is_told(bus, world):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable=IMPATIENT) as subscription:
        publisher.publish(b"x")
        message = subscription.receive(timeout=0)
        assert subscription.try_receive() is None
        world.pass_time(0.35)
        again = subscription.receive(timeout=5)
        assert tries([again]) == [(b"x", 2)]
        assert subscription.ack(message) is False and subscription.ack(again) is True
        world.pass_time(0.35)
        assert subscription.try_receive() is None


def test_an_extended_deadline_begins_anew(bus, world):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable=Durable("agent", ack_deadline=1)) as subscription:
            publisher.publish(b"x")
            message = subscription.receive(timeout=0)
            for _ in range(4):
                world.pass_time(0.4)
                assert subscription.try_receive() is None and subscription.extend(message) is True
            assert subscription.ack(message) is True


def test_without_a_deadline_it_is_held_for_good(bus, world):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable=Durable("agent", ack_deadline=None)) as subscription:
            publisher.publish(b"x")
            message = subscription.receive(timeout=0)
            world.pass_time(0.2)
            assert subscription.try_receive() is None and subscription.ack(message) is True


def test_only_the_oldest_that_is_not_settled_holds_the_topic(bus):
    with bus.publisher("lab.x", timeout=0) as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many(numbered(0, 15))
        found = rest(subscription)
        subscription.ack_many(found[1:])
        with pytest.raises(BackpressureError) as full:
            publisher.publish(b"no room")
        assert (full.value.holder, full.value.pid, full.value.behind) == ("agent", 0, 15)
        assert subscription.ack(found[0])
        assert publisher.publish_many(numbered(15, 30)) == 15


def test_what_was_received_elsewhere_or_is_no_message_is_refused(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        with bus.subscribe("lab.#", durable="other") as other, bus.subscribe("lab.#") as lossy:
            publisher.publish(b"x")
            with pytest.raises(ValueError, match="received by another subscription: settle it there"):
                subscription.ack(other.receive(timeout=0))
            message = lossy.receive(timeout=0)
            for settle in (lossy.ack, lossy.nack, lossy.extend, subscription.ack):
                with pytest.raises(ValueError, match='nothing is settled here: subscribe with durable="a name"'):
                    settle(message)
            for wrong in (None, b"x", shmbus.Gap("lab.x", "lab.#", 1, 1, "overrun")):
                with pytest.raises(TypeError, match="a Message can be settled, not a"):
                    subscription.ack(wrong)
            assert subscription.ack_many([shmbus.Gap("lab.x", "lab.#", 1, 1, "overrun")]) == 0


def test_what_a_closed_subscription_had_is_its_own_no_more(bus):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish(b"x")
            message = subscription.receive(timeout=0)
        assert subscription.ack(message) is False
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert tries(rest(subscription)) == [(b"x", 2)]


def test_what_one_that_nobody_keeps_held_comes_again(bus):
    with bus.publisher("lab.x") as publisher:
        bus.subscribe("lab.#", durable="agent").close()
        publisher.publish(b"x")
        for message in bus.subscribe("lab.#", durable="agent"):
            assert message.deliveries == 1
            break
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert tries(rest(subscription)) == [(b"x", 2)]


def test_the_first_begins_where_it_says_and_later_ones_where_it_stands(bus):
    with bus.publisher("lab.x") as publisher:
        publisher.publish_many(numbered(0, 4))
        with bus.subscribe("lab.#", durable="agent", start=3) as subscription:
            assert payloads(rest(subscription)) == numbered(2, 4)
        with bus.subscribe("lab.#", durable="agent", start="latest") as subscription:
            assert payloads(rest(subscription)) == numbered(2, 4)


def test_who_begins_before_what_is_retained_is_told_and_holds_the_rest(bus):
    with bus.publisher("lab.x", timeout=0) as publisher:
        publisher.publish_many(numbered(0, 20))
        with bus.subscribe("lab.#", durable="agent", start=1) as subscription:
            assert publisher.try_publish(b"20") is None
            found = rest(subscription)
            assert gaps(found) == [(1, 5, "overrun")] and payloads(found) == numbered(5, 20)


def test_without_members_the_topic_drops_as_usual_and_the_next_one_is_told(bus):
    with bus.publisher("lab.x", timeout=0) as publisher:
        bus.subscribe("lab.#", durable="agent").close()
        assert publisher.publish_many(numbered(0, 40)) == 40
        with bus.subscribe("lab.#", durable="agent") as subscription:
            found = rest(subscription)
            assert gaps(found) == [(1, 25, "overrun")] and payloads(found) == numbered(25, 40)
            assert subscription.lost == 25


def test_topics_made_while_nobody_reads_are_read_from_their_first_message(bus):
    bus.subscribe("lab.#", durable="agent").close()
    with bus.publisher("lab.x") as publisher:
        publisher.publish_many(numbered(0, 3))
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert payloads(rest(subscription)) == numbered(0, 3)


def test_a_full_window_stops_and_settling_resumes(bus):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable=Durable("agent", window=4)) as subscription:
            publisher.publish_many(numbered(0, 10))
            found = rest(subscription)
            assert payloads(found) == numbered(0, 4)
            subscription.ack(found[2])
            assert subscription.try_receive() is None
            subscription.ack(found[0])
            assert payloads(rest(subscription)) == numbered(4, 5)


def test_expired_messages_are_told_and_settled(bus, world):
    with bus.publisher("lab.x", timeout=0) as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many([b"x"] * 5, ttl=0.05)
        publisher.publish(b"y")
        world.pass_time(0.1)
        found = rest(subscription)
        assert gaps(found) == [(1, 5, "expired")] and payloads(found) == [b"y"] and subscription.lost == 5
        assert publisher.publish_many([b"z"] * 14) == 14


def test_what_expires_while_it_is_held_does_not_come_again(bus, world):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish(b"x", ttl=0.1)
        message = subscription.receive(timeout=0)
        world.pass_time(0.2)
        assert subscription.nack(message) is True
        assert gaps(rest(subscription)) == [(1, 1, "expired")]


def test_what_a_filter_does_not_want_is_settled(bus):
    with bus.publisher("lab.x", timeout=0) as publisher:
        with bus.subscribe("lab.#", durable="agent", filter=Filter(min_priority=5)) as subscription:
            for number in range(14):
                publisher.publish(b"%d" % number, priority=number)
            assert subscription.ack_many(rest(subscription)) == 9 and subscription.filtered == 5
            assert publisher.publish_many([b"x"] * 15) == 15


def test_the_urgent_lane_is_settled_on_its_own(bus):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many(numbered(0, 2))
        publisher.publish(b"urgent", priority=255)
        found = rest(subscription)
        assert payloads(found) == [b"urgent", *numbered(0, 2)]
        assert subscription.nack(found[0]) and subscription.ack_many(found[1:]) == 2
        assert tries(rest(subscription)) == [(b"urgent", 2)]


def test_what_a_shedding_topic_dropped_while_it_was_held_is_told_when_it_is_given_back(world):
    plans = {"lab.x": TopicPlan(small().default.ring, on_full="shed")}
    with world.open(Settings(topics=plans)) as bus, bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish_many(numbered(0, 5))
            held = [subscription.receive(timeout=0) for _ in range(3)]
            publisher.publish_many(numbered(5, 40))
            found = rest(subscription)
            assert gaps(found) == [(4, 22, "overrun")] and payloads(found) == numbered(25, 40)
            assert subscription.nack(held[0]) and subscription.ack(held[1])
            (gap,) = rest(subscription)
            assert (gap.count, gap.reason) == (1, "overrun") and subscription.lost == 23


def test_a_waiting_publisher_goes_on_when_something_is_settled(bus):
    with bus.publisher("lab.x", timeout=20) as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
        publisher.publish_many(numbered(0, 15))
        found = rest(subscription)
        thread = threading.Thread(target=publisher.publish, args=(b"waits",))
        thread.start()
        time.sleep(0.05)
        assert thread.is_alive()
        subscription.ack_many(found)
        thread.join(20)
        assert not thread.is_alive() and payloads(rest(subscription)) == [b"waits"]


def test_a_waiting_receive_wakes_for_what_is_given_back_and_for_a_deadline(world):
    with world.open() as bus, bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable=IMPATIENT) as subscription:
            publisher.publish(b"x")
            timer = threading.Timer(0.05, subscription.nack, (subscription.receive(timeout=0),))
            timer.start()
            assert subscription.receive(timeout=20).deliveries == 2
            timer.join()
            timer = threading.Timer(0.05, world.pass_time, (0.25,))
            timer.start()
            assert subscription.receive(timeout=20).deliveries == 3
            timer.join()


def test_lossless_says_nothing_more_of_a_durable_one(bus):
    with bus.subscribe("lab.#", durable="agent", lossless=True) as subscription:
        assert subscription.durable == Durable("agent") and "durable 'agent'" in repr(subscription)


# ---- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (Durable("A name"), "that is no name"),
        (Durable("agent", window=3), "its window is 3"),
        (Durable("agent", max_deliveries=255), "max_deliveries is 255"),
        (Durable("agent", max_deliveries=3, dead_letter="lab.dead"), "would come back to it by 'lab.#'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(bus, wrong, reason):
    with pytest.raises(DurableError, match=reason):
        bus.subscribe("lab.#", durable=wrong)
    with pytest.raises(ShmbusError, match="there is no durable subscription 'agent'; there are: none"):
        bus.forget("agent")


def test_what_is_forgotten_begins_anew(bus):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish(b"x")
            with pytest.raises(DurableError, match="1 members read it"):
                bus.forget("agent")
            assert payloads(rest(subscription)) == [b"x"]
        bus.forget("agent")
        with bus.subscribe("lab.#", durable="agent") as subscription:
            with pytest.raises(ReceiveTimeout):
                subscription.receive(timeout=0)


def test_who_comes_when_nobody_reads_may_change_all_but_the_window_and_exactly_once(bus):
    with bus.publisher("lab.x") as publisher, bus.publisher("lab.y") as other:
        bus.subscribe("lab.x", "lab.y", durable="agent").close()
        publisher.publish(b"x")
        other.publish(b"y")
        for wrong, reason in (
            (Durable("agent", window=8), "window is 1024 since it was made"),
            (Durable("agent", exactly_once=True), "exactly_once is False since it was made"),
        ):
            with pytest.raises(DurableError, match=reason):
                bus.subscribe("lab.x", durable=wrong)
        with bus.subscribe("lab.x", durable=Durable("agent", ack_deadline=5)) as subscription:
            assert payloads(rest(subscription)) == [b"x"]
        with bus.subscribe("lab.x", "lab.y", durable="agent") as subscription:
            assert tries(rest(subscription)) == [(b"x", 2)]


def test_settings_that_would_do_nothing_or_are_none_are_refused():
    with pytest.raises(ValueError, match="dead_letter takes max_deliveries above 0"):
        Durable("agent", dead_letter="lab.dead")
    with pytest.raises(ValueError, match="ack_deadline is a number of seconds from 0.001 up, or None; not '5'"):
        Durable("agent", ack_deadline="5")  # type: ignore[arg-type]
    assert Durable("agent", max_deliveries=3, dead_letter="lab.dead").dead_letter_topic == "lab.dead"
