"""Traces over the bus, with the real OpenTelemetry SDK."""

import asyncio
import json
import subprocess
import sys
import threading
from contextlib import ExitStack
from contextvars import ContextVar
from pathlib import Path

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

import shmbus
from shmbus import _core, correlation, tracing
from shmbus.correlation import new
from shmbus.v1.eventbus_pb2 import AlertPayload, CorrelationMetadata, EventBusMessage

EVENT = AlertPayload(title="x")
HOP = Path(__file__).with_name("traced_hop.py")
IDS = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}


@pytest.fixture
def bus():
    with shmbus.embedded(name="lab") as bus:
        yield bus


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter):
    tracing.enable()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test")
    provider.shutdown()
    tracing.disable()


@pytest.fixture
def publisher(bus):
    with bus.publisher("lab.x") as publisher:
        yield publisher


@pytest.fixture
def subscription(bus, publisher):
    with bus.subscribe("lab.x") as subscription:
        yield subscription


def ids(span):
    its = span.get_span_context()
    return trace.format_trace_id(its.trace_id), trace.format_span_id(its.span_id)


def carried(message):
    its = message.envelope.correlation
    return its.trace_id, its.span_id


def test_what_is_published_in_a_span_carries_its_ids(tracer, publisher, subscription):
    with tracer.start_as_current_span("outer") as outer:
        publisher.publish(EVENT)
        with tracer.start_as_current_span("inner") as inner:
            publisher.publish_many([EVENT, EVENT])
            publisher.publish(EVENT, correlation=new(stage="detect"))
            publisher.publish(EVENT, correlation=new(trace_id="mine"))
            publisher.publish(EVENT, correlation=False)
    publisher.publish(EVENT)
    first, *rest = subscription.receive_many()
    assert carried(first) == ids(outer)
    assert [carried(one) for one in rest[:3]] == [ids(inner)] * 3
    assert rest[2].envelope.correlation.workflow_stage == "detect"
    assert carried(rest[3]) == ("mine", "")
    assert not rest[4].envelope.HasField("correlation") and not rest[5].envelope.HasField("correlation")
    roots = [one.envelope.correlation for one in (first, *rest[:2])]
    assert len({one.correlation_id for one in roots}) == 3
    assert all(one.root_correlation_id == one.correlation_id and one.trace_flags & 1 for one in roots)


def test_nothing_is_carried_before_tracing_is_enabled_or_after_it_was_disabled(tracer, publisher, subscription):
    tracing.disable()
    with tracer.start_as_current_span("x"):
        publisher.publish(EVENT)
        tracing.enable()
        tracing.enable()
        publisher.publish(EVENT)
        tracing.disable()
        publisher.publish(EVENT)
    assert [one.envelope.HasField("correlation") for one in subscription.receive_many()] == [False, True, False]


def test_a_context_without_a_span_says_nothing(tracer, publisher, subscription):
    token = context.attach(baggage.set_baggage("key", "value"))
    publisher.publish(EVENT)
    context.detach(token)
    assert not subscription.receive().envelope.HasField("correlation")


def test_spans_of_one_thread_are_not_those_of_another(tracer, publisher, subscription):
    with tracer.start_as_current_span("x"):
        thread = threading.Thread(target=publisher.publish, args=(EVENT,))
        thread.start()
        thread.join()
    assert not subscription.receive().envelope.HasField("correlation")


def test_the_core_is_shown_where_opentelemetry_keeps_its_context(tracer):
    variable = tracing._context_variable()
    assert not variable.get()
    with tracer.start_as_current_span("x"):
        assert variable.get() is context.get_current()


def test_a_context_that_is_kept_elsewhere_is_asked_for_each_time(monkeypatch, tracer, publisher, subscription):
    tracing.disable()
    with monkeypatch.context() as patched:
        patched.setattr(tracing.context, "attach", lambda its: None)
        patched.setattr(tracing.context, "detach", lambda token: None)
        tracing.enable()
    publisher.publish(EVENT)
    with tracer.start_as_current_span("x") as span:
        publisher.publish(EVENT)
    first, second = subscription.receive_many()
    assert not first.envelope.HasField("correlation") and carried(second) == ids(span)


def test_a_message_is_handled_in_a_child_of_the_span_that_published_it(tracer, exporter, bus, publisher, subscription):
    out = bus.subscribe("lab.out")
    with bus.publisher("lab.out") as sink:
        with tracer.start_as_current_span("publish") as publishing:
            publisher.publish(EVENT, correlation=new(correlation_id="root", tags={"case": "7"}))
        for message in subscription:
            with tracing.span_of(message, "triage", tracer) as span:
                sink.publish(EVENT)
                sink.publish(EVENT)
            break
        first, second = (one.envelope.correlation for one in out.receive_many())
    triage = exporter.get_finished_spans()[-1]
    assert (triage.name, triage.kind, triage.status.status_code) == ("triage", SpanKind.CONSUMER, StatusCode.UNSET)
    assert triage.parent.span_id == publishing.get_span_context().span_id and triage.parent.is_remote
    assert triage.context.trace_id == publishing.get_span_context().trace_id
    assert triage.attributes["messaging.destination.name"] == "lab.x"
    assert triage.attributes["messaging.message.conversation_id"] == "root"
    assert (first.trace_id, first.span_id) == (second.trace_id, second.span_id) == ids(span)
    assert (first.parent_correlation_id, first.sequence_number, second.sequence_number) == ("root", 1, 2)
    assert dict(first.correlation_tags) == {"case": "7"}


def test_outside_of_a_loop_what_is_published_is_a_child_of_the_message_too(tracer, publisher, subscription):
    publisher.publish(EVENT)
    message = subscription.receive()
    with tracing.span_of(message, tracer=tracer) as span:
        publisher.publish(EVENT)
    child = subscription.receive().envelope.correlation
    assert child.parent_correlation_id == message.envelope.metadata.message_id
    assert (child.trace_id, child.span_id) == ids(span) and span.name == "process lab.x"
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_without_a_tracer_the_publishers_span_is_current(tracer, exporter, publisher, subscription):
    publisher.publish(EVENT, correlation=new(**IDS))
    with tracing.span_of(subscription.receive()) as span:
        assert trace.get_current_span() is span and ids(span) == tuple(IDS.values())
        with tracer.start_as_current_span("mine"):
            pass
        publisher.publish(EVENT)
    assert carried(subscription.receive()) == tuple(IDS.values())
    assert trace.format_span_id(exporter.get_finished_spans()[0].parent.span_id) == IDS["span_id"]


def test_async_for_with_tasks_that_interleave(tracer, exporter):
    async def handle(message, sink):
        with tracing.span_of(message, message.topic, tracer):
            await asyncio.sleep(0.01)
            await sink.publish(EVENT)

    async def main():
        async with shmbus.embedded() as bus, bus.subscribe("in.+") as work, bus.subscribe("out.x") as out:
            async with bus.publisher("in.a") as a, bus.publisher("in.b") as b, bus.publisher("out.x") as sink:
                for publisher in (a, b):
                    with tracer.start_as_current_span("publish"):
                        await publisher.publish(EVENT)
                tasks = []
                async for message in work:
                    tasks.append(asyncio.create_task(handle(message, sink)))
                    if len(tasks) == 2:
                        break
                await asyncio.gather(*tasks)
                return [carried(await out.receive()) for _ in tasks]

    found = asyncio.run(asyncio.wait_for(main(), 60))
    spans = exporter.get_finished_spans()
    handled = {ids(one): one.parent.span_id for one in spans if one.name.startswith("in.")}
    assert set(found) == set(handled) and len({trace_id for trace_id, _ in found}) == 2
    assert set(handled.values()) == {one.context.span_id for one in spans if one.name == "publish"}


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"trace_id": IDS["trace_id"]},
        {"span_id": IDS["span_id"]},
        {**IDS, "trace_id": "0" * 32},
        {**IDS, "span_id": "0" * 16},
        {**IDS, "trace_id": IDS["trace_id"][:-1]},
        {**IDS, "span_id": IDS["span_id"] + "0"},
        {**IDS, "trace_id": "0x" + IDS["trace_id"][2:]},
        {**IDS, "trace_id": "1_" * 16},
        {**IDS, "span_id": " " * 15 + "1"},
        {**IDS, "span_id": "٣" * 16},
        {**IDS, "span_id": "1" * 15 + "\n"},
    ],
)
@pytest.mark.parametrize("traced", [True, False])
def test_ids_that_are_none_give_no_parent_and_no_error(tracer, exporter, publisher, subscription, broken, traced):
    publisher.publish(EVENT, correlation=new(**broken))
    message = subscription.receive()
    assert tracing.parent_of(message) is None
    with tracing.span_of(message, "x", tracer if traced else None) as span:
        publisher.publish(EVENT)
    child = subscription.receive()
    if traced:
        assert exporter.get_finished_spans()[0].parent is None and carried(child) == ids(span)
    else:
        assert span is trace.INVALID_SPAN and carried(child) == (broken.get("trace_id", ""), broken.get("span_id", ""))


@pytest.mark.parametrize("flags", [None, 1, 0, 2**32 - 1])
def test_a_message_that_could_not_be_published_here_has_no_parent_either(flags, tracer):
    class Received:
        topic, sequence = "a.b", 1
        envelope = EventBusMessage(correlation=CorrelationMetadata(correlation_id="x", trace_flags=flags, **IDS))

    its = tracing.parent_of(Received())
    assert its.is_valid and its.is_remote and bool(its.trace_flags.sampled) is (flags != 0) and its.trace_flags <= 255
    Received.envelope.correlation.trace_id = "x" * 5000
    assert tracing.parent_of(Received()) is None
    with tracing.span_of(Received()):
        assert correlation.resolve(None).trace_id == ""


def test_without_usable_ids_the_span_is_a_child_of_what_is_current(tracer, exporter, publisher, subscription):
    publisher.publish(EVENT)
    with tracer.start_as_current_span("agent") as agent, tracing.span_of(subscription.receive(), "x", tracer):
        pass
    assert exporter.get_finished_spans()[0].parent.span_id == agent.get_span_context().span_id


def test_a_trace_that_is_not_sampled_stays_so_at_the_next_hop(tracer, exporter, publisher, subscription):
    with TracerProvider(sampler=ALWAYS_OFF).get_tracer("off").start_as_current_span("x") as unsampled:
        publisher.publish(EVENT)
    message = subscription.receive()
    assert carried(message) == ids(unsampled) and not message.envelope.correlation.trace_flags & 1
    with tracing.span_of(message, "y", tracer) as span:
        assert not span.is_recording() and ids(span)[0] == ids(unsampled)[0]
    assert exporter.get_finished_spans() == ()


def test_an_error_in_a_span_is_recorded_and_passed_on(tracer, exporter, publisher, subscription):
    publisher.publish(EVENT)
    with pytest.raises(RuntimeError), tracing.span_of(subscription.receive(), "x", tracer):
        raise RuntimeError("no")
    assert exporter.get_finished_spans()[0].status.status_code == StatusCode.ERROR
    assert correlation.current() is None


def test_bytes_and_messages_of_another_type_carry_nothing_and_are_handled_all_the_same(tracer, exporter, bus):
    own = bus.publisher("own.x", type=AlertPayload)
    with own, bus.publisher("raw.x") as raw, bus.subscribe("#") as subscription:
        with tracer.start_as_current_span("x"):
            own.publish(EVENT)
            raw.publish(b"bytes")
        for message in (subscription.receive(), subscription.receive()):
            with tracing.span_of(message, "handle", tracer):
                pass
    assert [one.parent for one in exporter.get_finished_spans()] == [None] * 3


def test_what_is_watched_is_a_context_variable():
    with pytest.raises(TypeError, match="takes a ContextVar or None"):
        _core.watch_trace("x")
    _core.watch_trace(ContextVar("x"))
    _core.watch_trace(None)


def start(bus, *arguments):
    hop = subprocess.Popen(
        [sys.executable, HOP, bus.address, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert hop.stdout.readline() == "ready\n"
    return hop


def spans_of(hop):
    text, _ = hop.communicate("go\n" if hop.args[3] == "scan" else None, timeout=60)
    assert hop.returncode == 0
    return [json.loads(line) for line in text.splitlines()]


def test_a_trace_over_four_processes_is_one_trace_even_if_one_of_them_does_not_know(bus):
    with ExitStack() as stack:
        hops = [
            stack.enter_context(start(bus, *arguments))
            for arguments in (
                ("respond", "lab.c", "-"),
                ("plain", "lab.b", "lab.c"),
                ("triage", "lab.a", "lab.b"),
                ("scan", "-", "lab.a"),
            )
        ]
        (scan,), (seen_by_triage, triage), (seen_by_plain,), (seen, respond) = map(spans_of, reversed(hops))
    assert [scan["name"], triage["name"], respond["name"]] == ["scan", "triage", "respond"]
    assert len({one["context"]["trace_id"] for one in (scan, triage, respond)}) == 1
    assert scan["parent_id"] is None
    assert triage["parent_id"] == scan["context"]["span_id"] == "0x" + seen_by_triage["received"]
    assert respond["parent_id"] == triage["context"]["span_id"] == "0x" + seen["received"]
    assert seen_by_plain == seen


def test_without_opentelemetry_the_rest_works_and_tracing_says_what_to_install():
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import shmbus\n"
        "with shmbus.embedded() as bus: bus.publisher('a.b').publish(b'x')\n"
        "try: from shmbus import tracing\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "needs OpenTelemetry: pip install 'shmbus[otel]'" in done.stdout
