"""Groups, dead letters, and what is published twice."""

from collections import Counter
from datetime import UTC, datetime, timedelta, timezone

import pytest

import shmbus
from conformance.reading import numbered, payloads, rest
from shmbus import Durable, Filter
from shmbus.errors import BackpressureError, DurableError, LimitError
from shmbus.v1.delivery_pb2 import DeadLetter

TWICE = Durable("agent", max_deliveries=2)


def refuse(subscription, times):
    """Be given something and give it back, so often."""
    for deliveries in range(1, times + 1):
        message = subscription.receive(timeout=0)
        assert message.deliveries == deliveries and subscription.nack(message)
    return message


def test_each_message_goes_to_one_member(bus):
    members = [bus.subscribe("lab.#", durable="agent") for _ in range(3)]
    with bus.publisher("lab.x") as publisher:
        publisher.publish_many(numbered(0, 12))
        found = [member.receive(timeout=0) for _ in range(4) for member in members]
        assert Counter(payloads(found)) == Counter(numbered(0, 12))
        assert all(member.try_receive() is None for member in members)


def test_what_a_member_gives_back_goes_to_another(bus):
    with bus.subscribe("lab.#", durable="agent") as one, bus.subscribe("lab.#", durable="agent") as two:
        with bus.publisher("lab.x") as publisher:
            publisher.publish_many(numbered(0, 2))
            first, second = one.receive(timeout=0), one.receive(timeout=0)
            assert one.nack(first)
            again = two.receive(timeout=0)
            assert (again.payload, again.deliveries) == (b"0", 2)
            assert two.ack(again) and not one.ack(first)
            one.close()
            again = two.receive(timeout=0)
            assert (again.payload, again.deliveries) == (b"1", 2) and not one.ack(second)


def test_groups_of_different_names_each_get_everything(bus):
    with bus.subscribe("lab.#", durable="one") as one, bus.subscribe("lab.#", durable="two") as two:
        with bus.publisher("lab.x") as publisher:
            publisher.publish_many(numbered(0, 3))
            assert payloads(rest(one)) == payloads(rest(two)) == numbered(0, 3)


def test_publishers_wait_as_long_as_there_is_a_member(bus):
    with bus.publisher("lab.x", timeout=0) as publisher:
        one, two = (bus.subscribe("lab.#", durable="agent") for _ in range(2))
        with pytest.raises(BackpressureError, match="durable subscription 'agent' is 15 messages behind"):
            publisher.publish_many([b"x"] * 20)
        one.close()
        assert publisher.try_publish(b"x") is None
        two.close()
        assert publisher.try_publish(b"x") == 16


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (Durable("agent", ack_deadline=7), "ack_deadline_ms = 30000, not 7000"),
        (Durable("agent", max_deliveries=7), "max_deliveries = 0, not 7"),
        (Durable("agent", window=8), "window = 1024, not 8"),
    ],
)
def test_all_members_want_the_same(bus, other, reason):
    with bus.subscribe("lab.#", durable="agent"):
        with pytest.raises(DurableError, match=reason):
            bus.subscribe("lab.#", durable=other)
        with pytest.raises(DurableError, match="it is being read with other patterns: lab.#"):
            bus.subscribe("lab.x", durable="agent")


PID = Filter(where="event.process.pid == 7")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (Filter(min_priority=5), Filter(min_priority=6), r"Filter\(min_priority=5\), not Filter\(min_priority=6\)"),
        (None, PID, r"none, not Filter\(where='event.process.pid == 7'\)"),
        (PID, None, "not none"),
        (Filter(tags={"a": "1"}), Filter(any_tags={"a": "1"}), "not Filter.any_tags"),
        (Filter(sources=["a"] * 2 + ["b" * 3000]), Filter(sources=["b" * 3001]), r"b\.\.\. \(SHA-256 [0-9a-f]{64}\)"),
    ],
)
def test_all_members_have_the_same_filter(bus, first, second, said):
    with bus.subscribe("lab.#", durable="agent", filter=first):
        with pytest.raises(DurableError, match=f"'agent': it is being read with another filter: .*{said}"):
            bus.subscribe("lab.#", durable="agent", filter=second)
        bus.subscribe("lab.#", durable="agent", filter=first).close()
        bus.subscribe("lab.#", durable="other", filter=second).close()


def test_filters_that_ask_for_the_same_are_the_same(bus):
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for one, other in (
        (None, Filter()),
        (Filter(sources=["a", "b"]), Filter(sources=("b", "a", "b"))),
        (Filter(tags={"a": "1", "b": "2"}), Filter(tags={"b": "2", "a": "1"})),
        (Filter(times=(moment, None)), Filter(times=(moment.astimezone(timezone(timedelta(hours=2))), None))),
    ):
        with bus.subscribe("lab.#", durable="agent", filter=one):
            bus.subscribe("lab.#", durable="agent", filter=other).close()


def test_who_comes_when_nobody_reads_may_bring_another_filter_which_counts_from_then_on(bus):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable="agent", filter=Filter(min_priority=5)) as subscription:
            for priority in (1, 6, 2, 9):
                publisher.publish(b"%d" % priority, priority=priority)
            assert subscription.receive(timeout=0).payload == b"6"  # which settles what was not wanted before it
        with bus.subscribe("lab.#", durable="agent", filter=Filter(max_priority=5)) as subscription:
            assert payloads(rest(subscription)) == [b"2"] and subscription.filtered == 2
            with pytest.raises(DurableError, match="max_priority=5.*not Filter.min_priority=5"):
                bus.subscribe("lab.#", durable="agent", filter=Filter(min_priority=5))


def test_there_are_sixty_four_members_and_a_place_that_was_left_is_taken_again(bus):
    members = [bus.subscribe("lab.#", durable="agent") for _ in range(64)]
    with pytest.raises(LimitError, match="members of 'agent': 65, the limit is 64"):
        bus.subscribe("lab.#", durable="agent")
    members.pop(7).close()
    bus.subscribe("lab.#", durable="agent")


# ---- dead letters ----------------------------------------------------------------------------------------------------


def test_after_so_many_deliveries_a_message_is_a_dead_letter(bus):
    with (
        bus.publisher("lab.x", name="source") as publisher,
        bus.subscribe("dead.agent") as dead,
        bus.subscribe("lab.#", durable=TWICE) as subscription,
    ):
        publisher.publish(b"good")
        assert subscription.ack(subscription.receive(timeout=0))
        publisher.publish(b"bad", priority=7)
        message = refuse(subscription, 2)
        assert subscription.try_receive() is None
        letter = dead.receive(timeout=0).event
        assert letter == DeadLetter(
            durable="agent", topic="lab.x", lane=0, sequence=2, deliveries=2, producer="source",
            producer_pid=message.producer.pid, producer_sequence=2, timestamp=letter.timestamp, priority=7, kind=0,
            type_name=message.type_name, payload=b"bad",
        )  # fmt: skip
        assert abs(letter.timestamp - message.time.timestamp() * 1e3) < 50
    with bus.subscribe("lab.#", durable=TWICE) as subscription:
        assert subscription.try_receive() is None


def test_a_deadline_counts_as_a_delivery(bus, world):
    wanted = Durable("agent", ack_deadline=0.1, max_deliveries=2)
    with (
        bus.publisher("lab.x") as publisher,
        bus.subscribe("letters.#") as letters,
        bus.subscribe("dead.agent") as dead,
        bus.subscribe("lab.#", durable=wanted) as subscription,
    ):
        publisher.publish(b"x")
        for deliveries in (1, 2):
            assert subscription.receive(timeout=5).deliveries == deliveries
            world.pass_time(0.2)
        assert subscription.try_receive() is None
        assert dead.receive(timeout=5).event.deliveries == 2 and letters.try_receive() is None


def test_dead_letters_go_where_they_are_told_to_and_hide_nothing_behind_them(bus):
    wanted = Durable("agent", max_deliveries=1, dead_letter="letters.of.agent")
    with bus.subscribe("letters.#") as dead, bus.subscribe("lab.#", durable=wanted) as subscription:
        with bus.publisher("lab.x") as publisher:
            publisher.publish_many(numbered(0, 5))
            assert all(subscription.nack(message) for message in rest(subscription))
            publisher.publish(b"new")
            assert payloads(rest(subscription)) == [b"new"]
            assert [message.event.payload for message in rest(dead)] == numbered(0, 5)


def test_a_letter_that_cannot_be_published_is_given_out_once_more(bus):
    with bus.publisher("dead.agent", type=shmbus.v1.eventbus_pb2.AlertPayload), bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable=TWICE) as subscription:
            publisher.publish(b"x")
            assert refuse(subscription, 4).payload == b"x"


# ---- published twice -------------------------------------------------------------------------------------------------


def test_what_a_durable_publisher_publishes_again_after_a_restart_comes_once(bus):
    once = Durable("agent", exactly_once=True)
    with bus.subscribe("lab.#", durable=once) as subscription:
        for begun, until in ((0, 3), (3, 5)):
            with bus.publisher("lab.x", name="source", durable=True) as publisher:
                assert publisher.last_number == begun
                for number in range(1, until + 1):
                    publisher.publish(b"%d" % number, number=number)
        found = rest(subscription)
        assert payloads(found) == numbered(1, 6) and [m.producer_sequence for m in found] == [1, 2, 3, 4, 5]
        assert subscription.ack_many(found) == 5
    with bus.subscribe("lab.#", durable=once) as subscription:
        assert subscription.try_receive() is None


def test_numbers_may_have_holes_but_do_not_go_back(bus):
    with bus.publisher("lab.x", durable=True) as publisher, bus.subscribe("lab.x") as subscription:
        assert publisher.publish(b"10", number=10) == 1
        assert publisher.publish(b"7", number=7) == 0
        assert publisher.publish(b"12", number=12) == 2
        assert publisher.publish_many(numbered(11, 15), number=11) == 4
        assert payloads(rest(subscription)) == [b"10", b"12", b"13", b"14"] and publisher.last_number == 14


def test_a_durable_publisher_keeps_its_name_for_itself(bus):
    with bus.publisher("lab.x", name="source", durable=True):
        with pytest.raises(DurableError, match="publishes to 'lab.x' under this name. Close that one"):
            bus.publisher("lab.x", name="source", durable=True)
        with bus.publisher("lab.y", name="source", durable=True), bus.publisher("lab.x", name="source"):
            pass


@pytest.mark.parametrize("number", [0, -1, 2**48, "1"])
def test_nonsense_numbers_are_refused(bus, number):
    with bus.publisher("lab.x", durable=True) as publisher:
        with pytest.raises((ValueError, OverflowError, TypeError)):
            publisher.publish(b"x", number=number)
        assert publisher.last_number == 0
    with bus.publisher("lab.x") as publisher, pytest.raises(ValueError, match="open it with durable=True"):
        publisher.publish(b"x", number=1)


@pytest.mark.parametrize("many", [False, True])
def test_a_message_that_found_no_room_has_not_used_its_number(bus, many):
    with bus.publisher("lab.x", durable=True, timeout=0) as publisher, bus.subscribe("lab.x", lossless=True) as reader:
        publisher.publish_many([b"x"] * 15)
        with pytest.raises(BackpressureError):
            publisher.publish_many([b"y"], number=20) if many else publisher.publish(b"y", number=20)
        assert publisher.last_number == 15
        rest(reader)
        assert publisher.publish(b"z", number=17) == 16
