"""Filters: what is not wanted is counted, and never handed out."""

from datetime import timedelta

import pytest

import shmbus
from conformance.reading import numbered, payloads, rest
from shmbus import Filter, correlation
from shmbus.errors import FilterError
from shmbus.v1 import common_pb2
from shmbus.v1.eventbus_pb2 import AlertPayload, MessageType, ProcessEventData

EVENT = ProcessEventData(process=common_pb2.ProcessRecord(pid=7))
ALERT = AlertPayload(title="look")


def test_a_filter_picks_by_priority_and_counts_the_rest(bus):
    with bus.subscribe("lab.x", filter=Filter(min_priority=5, max_priority=8)) as subscription:
        with bus.publisher("lab.x") as publisher:
            for priority in range(12):
                publisher.publish(b"%d" % priority, priority=priority)
        assert payloads(rest(subscription)) == numbered(5, 9)
        assert (subscription.filtered, subscription.delivered, subscription.lost) == (8, 4, 0)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(message_types=[MessageType.ALERT]), [ALERT]),
        (Filter(event_types=[common_pb2.PROCESS_EVENT]), [EVENT]),
        (Filter(sources=["probe"]), [EVENT, ALERT, b"bytes"]),
        (Filter(sources=["nobody"]), []),
        (Filter(tags={"case": "7"}), [ALERT]),
        (Filter(correlation_ids=["c-1"]), [EVENT]),
        (Filter(correlation_patterns=["c-*"], stages=["detect"]), [ALERT]),
        (Filter(sequences=(2, None)), [ALERT, b"bytes"]),
        (Filter(where="event.title == 'look'"), [ALERT]),
        (Filter(where="sequence == 1 || producer == 'other'"), [EVENT]),
    ],
)
def test_a_filter_picks_by_what_a_message_says(bus, wanted, expected):
    with bus.subscribe("lab.x", filter=wanted) as subscription, bus.publisher("lab.x", name="probe") as publisher:
        publisher.publish(EVENT, correlation=correlation.new(correlation_id="c-1"))
        related = correlation.new(correlation_id="c-2", stage="detect", tags={"case": "7"})
        publisher.publish(ALERT, correlation=related)
        publisher.publish(b"bytes")
        assert [message.event for message in rest(subscription)] == expected
        assert subscription.filtered == 3 - len(expected)


def test_a_filter_picks_by_time(bus, world):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.x") as subscription:
        publisher.publish(b"0")
        world.pass_time(0.2)
        publisher.publish(b"1")
        border = rest(subscription)[1].time - timedelta(seconds=0.1)
        with bus.subscribe("lab.x", start="earliest", filter=Filter(times=(border, None))) as late:
            assert payloads(rest(late)) == [b"1"]


def test_what_is_not_wanted_holds_nobody_up(bus):
    with bus.subscribe("lab.x", lossless=True, filter=Filter(min_priority=9)) as subscription:
        with bus.publisher("lab.x", timeout=0) as publisher:
            publisher.publish_many([b"x"] * 15)
            assert subscription.try_receive() is None
            assert publisher.publish_many([b"x"] * 15) == 15


def test_a_filter_that_makes_no_sense_is_refused(bus):
    with pytest.raises(FilterError, match="put it into brackets"):
        bus.subscribe("lab.x", filter=Filter(sources="probe"))
    with pytest.raises(FilterError) as refused:
        bus.subscribe("lab.x", filter=Filter(where="event.("))
    assert refused.value.line == 1


@pytest.mark.parametrize(
    ("field", "present", "said"),
    [
        ("tags", "a", "a mapping of texts to texts"),
        ("any_tags", ["a"], "a mapping of texts to texts"),
        ("event_types", 5, "a collection of numbers"),
        ("event_types", ["PROCESS_EVENT"], "goes by numbers: write EventType.PROCESS_EVENT"),
        ("sequences", 5, r"it is \(first, last\)"),
        ("sequences", (1, 2, 3), r"it is \(first, last\)"),
        ("min_priority", "high", "a number from 0 to 255"),
        ("where", 5, "an expression, as text"),
    ],
)
def test_a_field_of_another_kind_is_told_by_its_name(bus, field, present, said):
    with pytest.raises(FilterError, match=said) as refused:
        bus.subscribe("lab.x", filter=Filter(**{field: present}))
    assert refused.value.field == field


def test_what_is_no_filter_is_refused(bus):
    with pytest.raises(TypeError, match=r"filter is a shmbus.Filter\(...\), not {'min_priority': 5}"):
        bus.subscribe("lab.x", filter={"min_priority": 5})


def test_gaps_pass_every_filter(bus):
    with bus.subscribe("lab.x", filter=Filter(min_priority=9)) as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish_many([b"x"] * 20)
        found = rest(subscription)
        assert [(type(one), one.count) for one in found] == [(shmbus.Gap, 5)] and subscription.filtered == 15
