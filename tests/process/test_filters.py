"""Filters: each criterion, all together against a plain judge, refused nonsense, and what becomes of the rest."""

import asyncio
import fnmatch
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import shmbus
from process.rings import small
from shmbus import Filter, FilterError
from shmbus.filter import tolerant
from shmbus.v1 import common_pb2, eventbus_pb2
from shmbus.v1.eventbus_pb2 import CorrelationMetadata, EventBusMessage, SubscriptionConfig

MT, ET = eventbus_pb2.MessageType, common_pb2.EventType


@pytest.fixture
def bus():
    with shmbus.embedded(name="lab") as bus:
        yield bus


def process(pid):
    return eventbus_pb2.ProcessEventData(process=common_pb2.ProcessRecord(pid=pid, name=f"p{pid}"))


NETWORK = eventbus_pb2.NetworkEventData(network=common_pb2.NetworkRecord())
ALERT = eventbus_pb2.AlertPayload(title="x")


def picked(bus, filter, *events, **options):
    """The numbers of the events that come through."""
    with bus.subscribe("lab.filter", filter=filter) as subscription, bus.publisher("lab.filter") as publisher:
        sequences = [publisher.publish(event, **options) for event in events]
        found = [sequences.index(m.sequence) for m in iter(subscription.try_receive, None)]
        assert subscription.filtered + len(found) == len(events)
        return found


def correlated(**fields):
    return EventBusMessage(correlation=CorrelationMetadata(**fields))


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"message_types": [MT.ALERT]}, [2]),
        ({"message_types": [MT.COLLECTION_EVENT]}, [0, 1]),
        ({"event_types": [ET.NETWORK_EVENT]}, [1]),
        ({"event_types": [ET.PROCESS_EVENT, ET.NETWORK_EVENT]}, [0, 1]),
        ({"event_types": [ET.NETWORK_EVENT], "message_types": [MT.ALERT]}, []),
        ({"sources": ["lab"]}, [0, 1, 2, 3]),
        ({"sources": ["nobody"]}, []),
        ({"where": "event.process.pid == 7"}, [0]),
        ({"where": "topic == 'lab.filter' && producer == 'lab' && pid > 0 && lane == 0"}, [0, 1, 2, 3]),
        ({"where": "metadata.message_type == 5"}, [2]),
        ({"where": "event.title.startsWith('x')"}, [2]),  # the others have no such field: no match
        ({"where": "event.title == 'x' || event.process.pid == 7"}, [0, 2]),  # one side of an or is enough
    ],
)
def test_types_sources_and_expressions(bus, criteria, expected):
    assert picked(bus, Filter(**criteria), process(7), NETWORK, ALERT, b"bytes") == expected


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({"correlation_ids": ["a1"]}, [0, 1]),
        ({"correlation_ids": ["a2"]}, [1]),
        ({"correlation_patterns": ["a*", "?9"]}, [0, 1]),
        ({"correlation_patterns": ["*"]}, [0, 1, 2]),
        ({"tags": {"host": "h1", "case": "4"}}, [1]),
        ({"any_tags": {"host": "h1", "case": "5"}}, [0, 1, 2]),
        ({"stages": ["triage", "analysis"]}, [1, 2]),
        ({"stages": ["triage"], "tags": {"host": "h1"}}, []),
        ({"where": "correlation.correlation_tags['case'] == '4'"}, [1]),
    ],
)
def test_correlation(bus, criteria, expected):
    events = (
        correlated(correlation_id="a1", correlation_tags={"host": "h1"}),
        correlated(correlation_id="a2", root_correlation_id="a1", workflow_stage="analysis",
                   correlation_tags={"host": "h1", "case": "4"}),
        correlated(correlation_id="b1", workflow_stage="triage", correlation_tags={"case": "5"}),
        EventBusMessage(),
        b"bytes",
    )  # fmt: skip
    assert picked(bus, Filter(**criteria), *events) == expected


def test_priorities_in_both_lanes(bus):
    with bus.subscribe("lab.priority", filter=Filter(min_priority=100, max_priority=200)) as subscription:
        with bus.publisher("lab.priority") as publisher:
            for priority in (99, 100, 191, 192, 200, 201):
                publisher.publish(b"x", priority=priority)
        assert sorted(m.priority for m in iter(subscription.try_receive, None)) == [100, 191, 192, 200]


def test_sequences_and_times(bus):
    with bus.publisher("lab.range") as publisher:
        publisher.publish_many([b"x"] * 5)
        time.sleep(0.05)
        moment = datetime.now(UTC)
        time.sleep(0.05)
        publisher.publish_many([b"x"] * 5)
    for criteria, expected in (
        ({"sequences": (3, 4)}, [3, 4]),
        ({"sequences": (None, 2)}, [1, 2]),
        ({"times": (moment, None)}, [6, 7, 8, 9, 10]),
        ({"times": (None, moment), "sequences": (4, None)}, [4, 5]),
        ({"times": (moment - timedelta(days=1), moment + timedelta(days=1))}, [*range(1, 11)]),
    ):
        with bus.subscribe("lab.range", start="earliest", filter=Filter(**criteria)) as subscription:
            assert [m.sequence for m in iter(subscription.try_receive, None)] == expected


def test_a_subscription_config_of_the_schema(bus):
    config = SubscriptionConfig(
        message_type_filters=[MT.COLLECTION_EVENT],
        event_type_filters=[ET.PROCESS_EVENT],
        correlation_filter=eventbus_pb2.CorrelationFilter(
            correlation_patterns=["w-*"], correlation_tags={"host": "h1"}, workflow_stages=["triage"]
        ),
    )
    wanted = Filter.of(config, where="event.process.pid == 7")
    assert wanted == Filter(
        message_types=(0,), event_types=(0,), correlation_patterns=("w-*",), tags={"host": "h1"}, stages=("triage",),
        where="event.process.pid == 7",
    )  # fmt: skip
    its = CorrelationMetadata(
        correlation_id="w-1", root_correlation_id="w-1", workflow_stage="triage", correlation_tags={"host": "h1"}
    )
    assert picked(bus, wanted, process(7), process(8), correlation=its) == [0]


IDS = st.sampled_from(["", "a1", "a2", "b1"])
TAGS = st.dictionaries(st.sampled_from(["k", "l"]), st.sampled_from(["1", "2"]), max_size=2)
STAGES = st.sampled_from(["", "triage", "analysis"])


@st.composite
def envelopes(draw):
    event = draw(st.sampled_from([None, process(7), NETWORK, ALERT]))
    if event is None:
        return draw(st.binary(max_size=5))
    message = EventBusMessage(
        correlation=CorrelationMetadata(
            correlation_id=draw(IDS), root_correlation_id=draw(IDS), workflow_stage=draw(STAGES),
            correlation_tags=draw(TAGS),
        )
    )  # fmt: skip
    message.metadata.source_id = draw(st.sampled_from(["one", "two"]))
    if event is ALERT:
        message.metadata.message_type = MT.ALERT
        message.alert.CopyFrom(event)
    elif event is NETWORK:
        message.collection_event.event_type = ET.NETWORK_EVENT
        message.collection_event.network_event.CopyFrom(event)
    else:
        message.collection_event.process_event.CopyFrom(event)
    return message


FILTERS = st.builds(
    Filter,
    message_types=st.sets(st.sampled_from([MT.COLLECTION_EVENT, MT.ALERT])),
    event_types=st.sets(st.sampled_from([ET.PROCESS_EVENT, ET.NETWORK_EVENT])),
    sources=st.sets(st.sampled_from(["one", "two", "lab"])),
    correlation_ids=st.sets(IDS.filter(bool), max_size=2),
    correlation_patterns=st.sets(st.sampled_from(["a*", "*1"]), max_size=1),
    tags=TAGS,
    any_tags=TAGS,
    stages=st.sets(STAGES.filter(bool), max_size=1),
)


def plainly(its, message):
    """The same in the plainest words."""
    if isinstance(message, bytes):
        envelope = SimpleNamespace(event=None, types=None, ids=[], tags={}, stage=None, sources={"lab"})
        by_envelope = its.message_types or its.event_types or its.correlation_ids or its.correlation_patterns
        if by_envelope or its.tags or its.any_tags or its.stages:
            return False
    else:
        c = message.correlation
        kind = message.collection_event.event_type if message.HasField("collection_event") else None
        envelope = SimpleNamespace(
            event=kind, types=message.metadata.message_type, ids=[c.correlation_id, c.root_correlation_id],
            tags=dict(c.correlation_tags), stage=c.workflow_stage, sources={message.metadata.source_id, "lab"},
        )  # fmt: skip
    if its.sources and not its.sources & envelope.sources:
        return False
    if its.message_types and envelope.types not in its.message_types:
        return False
    if its.event_types and envelope.event not in its.event_types:
        return False
    if its.correlation_ids or its.correlation_patterns:
        named = [i for i in envelope.ids if i in its.correlation_ids]
        globbed = [i for i in envelope.ids if i and any(fnmatch.fnmatchcase(i, p) for p in its.correlation_patterns)]
        if not named and not globbed:
            return False
    if any(envelope.tags.get(k) != v for k, v in its.tags.items()):
        return False
    if its.any_tags and not any(envelope.tags.get(k) == v for k, v in its.any_tags.items()):
        return False
    return not its.stages or envelope.stage in its.stages


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(its=FILTERS, messages=st.lists(envelopes(), max_size=8))
def test_all_criteria_against_a_plain_judge(bus, its, messages):
    assert picked(bus, its, *messages) == [n for n, message in enumerate(messages) if plainly(its, message)]


@pytest.mark.parametrize(
    ("criteria", "said"),
    [
        ({"where": "event.process.pid >"}, "at line 1, column 20: Syntax error"),
        ({"where": "true &&\n nosuch == 1"}, "at line 2, column 2: undeclared reference to 'nosuch'"),
        ({"where": "priority + 1"}, "it gives INT, not true or false"),
        ({"where": ""}, "Syntax error"),
        ({"message_types": [99]}, "message_types = 99: it is none of COLLECTION_EVENT"),
        ({"event_types": [-1]}, "event_types = -1"),
        ({"sources": "procmond"}, "put it into brackets"),
        ({"min_priority": 9, "max_priority": 8}, "0 to 255, in order"),
        ({"max_priority": 256}, "0 to 255"),
        ({"sequences": (5, 4)}, "the last comes before the first"),
        ({"times": (datetime(2026, 1, 1), None)}, "no time zone"),
    ],
)
def test_nonsense_is_refused_before_anything_is_subscribed(bus, criteria, said):
    with pytest.raises(FilterError, match=said):
        bus.subscribe("lab.#", filter=Filter(**criteria))


def test_what_is_not_wanted_holds_no_publisher_up():
    with shmbus.embedded(small()) as bus, bus.publisher("lab.x", timeout=30) as publisher:
        with bus.subscribe("lab.x", lossless=True, filter=Filter(min_priority=1)) as subscription:
            thread = threading.Thread(target=publisher.publish_many, args=([b"x"] * 1000,))
            thread.start()
            with pytest.raises(shmbus.ReceiveTimeout):
                subscription.receive(timeout=0.5)
            thread.join(30)
            assert subscription.filtered == 1000 and subscription.lost == subscription.delivered == 0
            publisher.publish(b"wanted", priority=1)
            assert subscription.receive(timeout=30).payload == b"wanted"


def test_a_flood_of_what_is_not_wanted_does_not_outlast_the_deadline():
    with shmbus.embedded() as bus, bus.publisher("lab.x", timeout=30) as publisher:
        with bus.subscribe("lab.x", lossless=True, filter=Filter(min_priority=1)) as subscription:
            end = threading.Event()

            def flood():
                while not end.is_set():
                    publisher.publish_many([b"x"] * 100)

            thread = threading.Thread(target=flood)
            thread.start()
            try:
                with pytest.raises(shmbus.ReceiveTimeout):
                    subscription.receive(timeout=0.3)
                assert subscription.filtered > 100
            finally:
                end.set()
                subscription.close()
                thread.join()


def test_gaps_are_told_whatever_the_filter_says():
    with shmbus.embedded(small()) as bus, bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.x", filter=Filter(min_priority=1)) as subscription:
            publisher.publish_many([b"x"] * 40)
            assert subscription.receive().count == 25
            assert subscription.try_receive() is None and subscription.filtered == 15


def test_an_envelope_that_cannot_be_parsed_is_handed_out():
    def judge(message):
        raise DecodeError

    assert tolerant(judge)(None) is True


def test_async_filters_too():
    async def main():
        async with shmbus.embedded() as bus, bus.subscribe("lab.x", filter=Filter(where="priority > 5")) as wanted:
            async with bus.publisher("lab.x") as publisher:
                for priority in range(10):
                    await publisher.publish(b"x", priority=priority)
                assert [m.priority for m in await wanted.receive_many()] == [6, 7, 8, 9]

    asyncio.run(asyncio.wait_for(main(), 60))
