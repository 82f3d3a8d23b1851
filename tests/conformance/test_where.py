"""Expressions of filters: what can match nothing is refused with its place, what fails for one message is told."""

import logging

import pytest
from google.protobuf.type_pb2 import Field as OwnType

from conformance.reading import rest
from shmbus import Filter, FilterError
from shmbus.v1 import common_pb2
from shmbus.v1.eventbus_pb2 import AlertPayload, NetworkEventData, ProcessEventData
from shmbus.where import MOST_CAUSES

EVENTS = (
    ProcessEventData(process=common_pb2.ProcessRecord(pid=7, name="seven")),
    NetworkEventData(),
    AlertPayload(title="look"),
    b"bytes",
)


@pytest.mark.parametrize(
    ("where", "column", "said"),
    [
        ("event.nosuch == 1", 6, "no message that may come has a field 'nosuch'"),
        ("priority > 3 || event.nosuch == 1", 22, "no message that may come has a field 'nosuch'"),
        ("event.process.nosuch == 1", 14, "undefined field 'nosuch' not found in struct 'shmbus.v1.ProcessRecord'"),
        ("has(event.process.nosuch)", 4, "undefined field 'nosuch'"),
        ("event.title == 5", 13, r"'_==_' applied to '\(string, int\)'"),
        ("event.title == 'x' && event.process.pid == 7", 20, "no type of message has all"),
        ("event.process.command_line.exists(x, x.nosuch == 1)", 39, "type 'string' cannot be the operand"),
        ("event.process.pid", 14, "it gives UINT, not true or false"),
        ("metadata.nosuch == 1", 9, "undefined field 'nosuch'"),
        ("correlation.nosuch == 1", 12, "undefined field 'nosuch'"),
        ("metadata.priority == '5'", 19, r"'\(uint, string\)'"),
        ("metadata.priority + 1 == 6", 19, r"write 1u or uint\(x\) beside a uint"),
        ("priority > 'high'", 10, r"'\(int, string\)'"),
        ("nobody == 1", 1, "undeclared reference to 'nobody'"),
        ("event.process.pid == 1 &&\n  event.title.nosuch == 1", 14, "type 'string' cannot be the operand"),
    ],
)
def test_what_no_message_can_have_is_refused_with_its_place(bus, where, column, said):
    with pytest.raises(FilterError, match=said) as refused:
        bus.subscribe("lab.#", filter=Filter(where=where))
    assert (refused.value.line, refused.value.column) == (1 + where.count("\n"), column)
    assert f"at line {refused.value.line}, column {column}" in str(refused.value)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("event.process.pid == 7 || event.title == 'look'", [0, 2]),
        ("(has(event.title) ? event.title : event.process.name) == 'look'", [2]),
        ("metadata.priority == 5", [0, 1, 2]),
        ("metadata.priority >= 5 && priority == 5u && priority < 5.5 && metadata.priority in [4, 5]", [0, 1, 2]),
        ("metadata.priority + 1u == 6u", [0, 1, 2]),
        ("!(event.process.pid == 8)", [0]),
        ("event == b'bytes'", [3]),
        ("dyn(event).nosuch == 1 || event.title == 'look'", [2]),
    ],
)
def test_what_some_message_can_have_picks_it(bus, where, expected):
    with bus.subscribe("lab.x", filter=Filter(where=where)) as subscription, bus.publisher("lab.x") as publisher:
        sequences = [publisher.publish(event, priority=5) for event in EVENTS]
        assert [sequences.index(message.sequence) for message in rest(subscription)] == expected
        assert subscription.filtered == len(EVENTS) - len(expected)


def test_a_type_of_ones_own_is_judged_by_its_own_fields(bus):
    where = Filter(where="event.type_url == 'x'")  # which no type of the schema has
    with pytest.raises(FilterError, match=r"import its module first, or write dyn\(event\)"):
        bus.subscribe("lab.own", filter=where)
    with bus.publisher("lab.own", type=OwnType) as publisher:
        for pattern in ("lab.own", "lab.+"):
            with bus.subscribe(pattern, filter=where) as subscription:
                publisher.publish(OwnType(type_url="x"))
                publisher.publish(OwnType(type_url="y"))
                assert [message.event.type_url for message in rest(subscription)] == ["x"]
                assert (subscription.filtered, subscription.filter_faults) == (1, ())
        with pytest.raises(FilterError, match="'title'"):  # of this topic all is known
            bus.subscribe("lab.own", filter=Filter(where="event.title == 'x'"))
        with bus.subscribe("lab.+", filter=Filter(where="event.title == 'x'")):
            pass


def test_what_has_no_value_for_a_message_is_filtered_counted_and_told_once(bus, caplog):
    where = "correlation.correlation_tags['case'] == '4' ||\n event.process.pid == 7"
    with bus.subscribe("lab.x", filter=Filter(where=where)) as subscription, bus.publisher("lab.x") as publisher:
        with caplog.at_level(logging.WARNING, "shmbus"):
            for event in EVENTS * 3:
                publisher.publish(event)
            assert [message.event for message in rest(subscription)] == [EVENTS[0]] * 3
        (fault,) = subscription.filter_faults
        assert (fault.line, fault.column, fault.topic, fault.messages) == (1, 29, "lab.x", 9)
        assert fault.reason == 'Key not found in map : "case"' and subscription.filtered == 9
        (told,) = caplog.messages
        assert "at line 1, column 29: Key not found" in told and "message 2 of 'lab.x'" in told


def test_each_cause_has_its_place_and_count(bus):
    where = "event.title.startsWith('l') ? 1 / int(event.severity) > 0 : false"
    with bus.subscribe("lab.x", filter=Filter(where=where)) as subscription, bus.publisher("lab.x") as publisher:
        for event in EVENTS:
            publisher.publish(event)
        assert rest(subscription) == [] and subscription.filtered == len(EVENTS)
        found = {(fault.column, fault.messages): fault.reason for fault in subscription.filter_faults}
        assert found.keys() == {(6, 2), (6, 1), (33, 1)}
        assert found[6, 2] == "no_such_field : title" and found[33, 1] == "divide by zero"


def test_what_is_neither_true_nor_false_is_told(bus):
    with bus.subscribe("lab.x", filter=Filter(where="dyn(event).title")) as subscription:
        with bus.publisher("lab.x") as publisher:
            publisher.publish(EVENTS[2])
        assert rest(subscription) == []
        (fault,) = subscription.filter_faults
        assert fault.reason == "it gives a value of type STRING, not true or false"


def test_causes_beyond_count_are_counted_together(bus):
    with bus.subscribe("lab.x", filter=Filter(where="{'a': 1}[event.title] == 1")) as subscription:
        with bus.publisher("lab.x") as publisher:
            for number in range(MOST_CAUSES + 3):
                publisher.publish(AlertPayload(title=f"{number}"))
                assert rest(subscription) == []
        *_, others = subscription.filter_faults
        assert (others.reason, others.messages, len(subscription.filter_faults)) == ("other causes", 3, MOST_CAUSES + 1)
