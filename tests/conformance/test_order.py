"""Order across topics, of producers and of correlation groups."""

import pytest

from conformance.reading import gaps, payloads, rest
from shmbus import URGENT, Durable, Filter, Gap
from shmbus.v1.eventbus_pb2 import CorrelationMetadata, ProcessEventData

TOPICS = ("lab.x", "lab.y", "lab.z.a")


def publish(bus, *numbers):
    """Each to a topic of its own, in turn."""
    publishers = [bus.publisher(topic) for topic in TOPICS]
    for number in numbers:
        publishers[number % 3].publish(b"%d" % number)


def place(number, root="g"):
    return CorrelationMetadata(correlation_id=f"{root}{number}", root_correlation_id=root, sequence_number=number)


def publish_group(bus, *numbers, root="g", **options):
    publishers = [bus.publisher(topic) for topic in TOPICS]
    for count, number in enumerate(numbers):
        publishers[count % 3].publish(ProcessEventData(), correlation=place(number, root), **options)


def shown(found):
    """Numbers of messages; of gaps, (first, count, group)."""
    return [
        (one.first, one.count, one.group) if isinstance(one, Gap) else one.envelope.correlation.sequence_number
        for one in found
    ]


# ---- by producer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [{}, {"lossless": True}, {"durable": "agent"}])
def test_a_producers_messages_come_as_it_published_them(bus, kind):
    with bus.subscribe("lab.#", order="producer", **kind) as subscription:
        publish(bus, 2, 1, 0, 5, 3, 4, 7, 8, 6)
        assert payloads(rest(subscription)) == [b"%d" % number for number in (2, 1, 0, 5, 3, 4, 7, 8, 6)]


def test_without_an_order_each_topic_has_its_own(bus):
    with bus.subscribe("lab.#") as subscription:
        publish(bus, 2, 1, 0, 5)
        assert payloads(rest(subscription)) != [b"2", b"1", b"0", b"5"]


def test_what_is_urgent_overtakes_nothing_of_its_own_producer(bus):
    with bus.subscribe("lab.#", order="producer") as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish(b"first")
        bus.publisher("lab.y").publish(b"urgent", priority=URGENT)
        publisher.publish(b"last")
        assert payloads(rest(subscription)) == [b"first", b"urgent", b"last"]


def test_a_loss_is_told_before_what_was_published_after_it(bus):
    with bus.subscribe("lab.#", order="producer") as subscription:
        publish(bus, *range(0, 90, 3))
        publish(bus, 1)
        found = rest(subscription)
        assert gaps(found) == [(1, 15, "overrun")] and payloads(found)[-1] == b"1"


def test_a_filter_picks_and_the_order_stays(bus):
    with bus.subscribe("lab.#", order="producer", filter=Filter(min_priority=5)) as subscription:
        publishers = [bus.publisher(topic) for topic in TOPICS]
        for number in (2, 1, 0, 5, 3, 4):
            publishers[number % 3].publish(b"%d" % number, priority=9 * (number > 1))
        assert payloads(rest(subscription)) == [b"2", b"5", b"3", b"4"] and subscription.filtered == 2


def test_what_is_given_back_comes_again_in_its_turn(bus):
    with bus.subscribe("lab.#", order="producer", durable="agent") as subscription:
        publish(bus, 2, 1, 0, 5, 3, 4)
        found = [subscription.receive() for _ in range(4)]
        assert [subscription.nack(message) for message in reversed(found)] == [True] * 4
        again = rest(subscription)
        assert payloads(again) == [b"2", b"1", b"0", b"5", b"3", b"4"]
        assert [message.deliveries for message in again] == [2, 2, 2, 2, 1, 1]


def test_members_take_in_order_together(bus):
    members = [bus.subscribe("lab.#", order="producer", durable="agent") for _ in range(3)]
    publish(bus, 2, 1, 0, 5, 3, 4)
    assert payloads(members[number % 3].receive() for number in range(6)) == [b"2", b"1", b"0", b"5", b"3", b"4"]


def test_a_full_window_holds_up_what_the_same_producer_published_after_it(bus):
    durable = Durable("agent", window=2)
    with bus.subscribe("lab.#", order="producer", durable=durable) as subscription:
        publish(bus, 0, 3, 6, 1)
        found = rest(subscription)
        assert payloads(found) == [b"0", b"3"]
        assert subscription.ack(found[0])
        assert payloads(rest(subscription)) == [b"6", b"1"]


# ---- by correlation group --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [{}, {"lossless": True}, {"durable": "agent"}])
def test_a_group_comes_by_its_numbers(bus, kind):
    with bus.subscribe("lab.#", order="correlation", **kind) as subscription:
        publish_group(bus, 0, 2, 1, 4, 5, 3)
        assert shown(rest(subscription)) == [0, 1, 2, 3, 4, 5]
        assert (subscription.held_back, subscription.delivered) == (0, 6)


def test_what_is_missing_is_told_after_the_wait_and_comes_late(world):
    with world.open() as bus, bus.subscribe("lab.#", order="correlation", order_wait=0.2) as subscription:
        publish_group(bus, 0, 3, 4)
        assert shown(rest(subscription)) == [0]
        assert (subscription.held_back, subscription.delivered) == (2, 1)
        world.pass_time(0.25)
        found = rest(subscription)
        assert shown(found) == [(1, 2, "g"), 3, 4] and (found[0].topic, found[0].reason) == ("lab.y", "order")
        publish_group(bus, 1, 5)
        assert shown(rest(subscription)) == [1, 5]


def test_who_begins_in_the_middle_begins_with_the_lowest_that_comes_in_time(world):
    with world.open() as bus, bus.subscribe("lab.#", order="correlation", order_wait=0.2) as subscription:
        publish_group(bus, 9, 7, 8)
        assert rest(subscription) == []
        world.pass_time(0.25)
        assert shown(rest(subscription)) == [7, 8, 9]


def test_what_has_no_correlation_passes_and_its_children_follow(bus):
    with bus.subscribe("lab.#", order="correlation", order_wait=100) as subscription:
        with bus.publisher("lab.x") as publisher, bus.subscribe("lab.x") as first:
            publisher.publish(ProcessEventData(), correlation=False)
            publisher.publish(b"bytes")
            root = first.receive().envelope.metadata.message_id
        publish_group(bus, 2, 1, root=root)
        assert shown(rest(subscription)[2:]) == [1, 2]


def test_a_filters_rejects_are_not_missing(bus):
    wanted = Filter(min_priority=5)
    with bus.subscribe("lab.#", order="correlation", order_wait=100, filter=wanted) as subscription:
        publish_group(bus, 2, priority=9)
        publish_group(bus, 1)
        publish_group(bus, 0, priority=9)
        assert shown(rest(subscription)) == [0, 2] and subscription.filtered == 1


def test_what_is_given_back_passes_at_once(bus):
    with bus.subscribe("lab.#", order="correlation", durable="agent") as subscription:
        publish_group(bus, 0, 2, 1)
        found = rest(subscription)
        assert subscription.nack(found[1])
        (again,) = rest(subscription)
        assert shown([again]) == [1] and again.deliveries == 2


def test_what_is_held_back_is_its_readers_until_it_leaves(bus):
    with bus.subscribe("lab.#", order="correlation", durable="agent") as subscription:
        publish_group(bus, 0, 2)
        (root,) = rest(subscription)
        assert subscription.ack(root) and subscription.held_back == 1
    with bus.subscribe("lab.#", order="correlation", durable="agent") as subscription:
        publish_group(bus, 0, 1)  # the root once more: this one knows nothing of the group
        found = rest(subscription)
        assert shown(found) == [0, 1, 2] and found[2].deliveries == 2


def test_the_deadline_of_what_was_held_back_begins_when_it_is_handed_out(world):
    durable = Durable("agent", ack_deadline=0.8)
    with world.open() as bus:
        with bus.subscribe("lab.#", order="correlation", order_wait=0.5, durable=durable) as subscription:
            publish_group(bus, 0, 2)
            assert shown(rest(subscription)) == [0]
            world.pass_time(0.6)
            gap, message = rest(subscription)
            assert (gap.first, shown([message])) == (1, [2])
            world.pass_time(0.5)
            assert subscription.ack(message)


def test_a_dead_letter_is_not_missing(bus):
    durable = Durable("agent", max_deliveries=1)
    with bus.subscribe("lab.#", order="correlation", order_wait=20, durable=durable) as subscription:
        publish_group(bus, 0, 1)
        root, one = rest(subscription)
        assert subscription.ack(root) and subscription.nack(one)
        publish_group(bus, 2)
        assert shown(rest(subscription)) == [2]


def test_closing_drops_what_is_held_back(bus):
    with bus.subscribe("lab.#", order="correlation", order_wait=100) as subscription:
        publish_group(bus, 2)
        assert rest(subscription) == [] and subscription.held_back == 1
    assert subscription.held_back == 0


# ---- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "time"}, "not 'time'"),
        ({"order": "correlation", "order_wait": -1}, "from 0 up, not -1"),
        ({"order": "correlation", "order_wait": 30.0, "durable": "agent"}, "below the ack_deadline"),
    ],
)
def test_an_order_that_cannot_be_is_refused(bus, options, message):
    with pytest.raises(ValueError, match=message):
        bus.subscribe("lab.#", **options)
    bus.subscribe("lab.#", order="correlation", order_wait=40, durable=Durable("patient", ack_deadline=None)).close()
