"""What users write, for the type checker: every name, argument and result here must be typed as it is used."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import assert_type

from opentelemetry.trace import Span, Tracer

import shmbus
from shmbus import correlation, rpc, tracing
from shmbus.v1.common_pb2 import ProcessRecord
from shmbus.v1.eventbus_pb2 import HeartbeatPayload, ProcessEventData
from shmbus.v1.ipc_pb2 import DetectionResult, DetectionTask
from shmbus.v1.rpc_pb2 import CapabilitiesData, HealthStatus

EVENT = ProcessEventData(process=ProcessRecord(pid=7))


def publish(bus: shmbus.Bus, events: Sequence[ProcessEventData]) -> int:
    with bus.publisher("events.process.start", name="probe", on_full="raise", timeout=None) as publisher:
        assert_type(publisher, shmbus.Publisher)
        assert_type(publisher.publish(EVENT), int)
        publisher.publish(b"bytes", priority=200, ttl=2.5, timeout=None)
        publisher.publish(bytearray(b"bytes"))
        publisher.publish(EVENT, correlation=correlation.new(stage="detect"))
        publisher.publish(EVENT, correlation=False)
        assert_type(publisher.publish_many(events), int)
        assert_type(publisher.try_publish(EVENT), int | None)
    with bus.publisher("lab.heartbeat", type=HeartbeatPayload) as own:
        own.publish(HeartbeatPayload())
    return publisher.published


def read(bus: shmbus.Bus) -> None:
    with bus.subscribe("events.process.+", "events.network.#", lossless=True, start="earliest") as subscription:
        assert_type(subscription, shmbus.Subscription)
        for found in subscription:
            show(found)
        show(subscription.receive(timeout=1.0))
        show(subscription.try_receive())
        for found in subscription.receive_many(limit=10, timeout=0):
            show(found)
        assert_type(subscription.lost, int)
        assert_type(subscription.delivered, int)
        assert_type(subscription.topics, list[str])
    bus.subscribe("a.b", start=17).close()


def settle(bus: shmbus.Bus) -> None:
    durable = shmbus.Durable("agent", ack_deadline=None, max_deliveries=3, dead_letter="dead.letters", window=64)
    with bus.subscribe("events.#", durable=durable) as subscription:
        for found in subscription:
            if isinstance(found, shmbus.Message):
                assert_type(found.deliveries, int)
                assert_type(subscription.ack(found) or subscription.nack(found), bool)
                assert_type(subscription.extend(found), bool)
        assert_type(subscription.ack_many(subscription.receive_many()), int)
    bus.subscribe("a.b", durable="other").close()
    bus.forget("other")


async def settle_later(bus: shmbus.AsyncBus) -> None:
    async with bus.subscribe("events.#", durable="agent") as subscription:
        message = await subscription.receive()
        assert_type(subscription.ack(message) or subscription.nack(message) or subscription.extend(message), bool)
        assert_type(subscription.ack_many([message]), int)
    bus.forget("agent")


def show(found: shmbus.Message | shmbus.Gap | None) -> None:
    if isinstance(found, shmbus.Gap):
        assert_type(found.count, int)
        assert_type(found.last, int)
        print(found.topic, found.pattern, found.reason, found.first)
    elif found is not None:
        assert_type(found.topic, str)
        assert_type(found.sequence, int)
        assert_type(found.payload, bytes)
        assert_type(found.time, datetime)
        print(found.event.process.pid, found.producer.name, bytes(found))


def track(bus: shmbus.Bus, tracer: Tracer) -> None:
    tracker = shmbus.CorrelationTracker(max_workflows=100, max_age=60, keep_messages=True)
    tracing.enable()
    for found in filter(tracker.observe, bus.subscribe("#")):
        if isinstance(found, shmbus.Gap):
            continue
        with tracing.span_of(found, "triage", tracer) as span:
            assert_type(span, Span)
            correlation.child_of(found, stage="triage")
        if (workflow := tracker.workflow(found)) is not None:
            assert_type(workflow.duration, float)
            for depth, entry in workflow.tree(found.envelope.correlation.correlation_id):
                print(depth, entry.stage, entry.time, entry.tags.get("host"), entry.message)
    print(tracker.by_tag("host", ("case", "7"), any=True), tracker.by_stage("triage"), tracker.counts.evicted)
    assert_type([one.missing_numbers for one in tracker.incomplete()], list[list[range]])


def errors() -> None:
    try:
        shmbus.connect("lab", name="me", timeout=1.0)
    except shmbus.BackpressureError as error:
        assert_type(error.behind, int)
    except shmbus.TypeMismatch as error:
        assert_type(error.differences, tuple[str, ...])
    except shmbus.ShmbusError:
        pass


class Mine(rpc.Collector):
    @rpc.operation(rpc.EXECUTE_TASK)
    def execute(self, request: rpc.Request) -> DetectionResult:
        if request.cancelled:
            raise request.refuse("INVALID_STATE", "not now", since="today")
        assert_type(request.left, float)
        return DetectionResult(task_id=request.payload.task_id)

    @rpc.operation(rpc.PAUSE)
    async def pause(self, request: rpc.Request) -> None:
        assert_type(request.operation, rpc.Operation)


def call(bus: shmbus.Bus) -> None:
    with Mine("mine").serving(bus, concurrency=2), rpc.Client(bus, retry=rpc.Retry(attempts=2)) as client:
        assert_type(client.health("mine", timeout=5).status, HealthStatus)
        assert_type(client.call("mine", rpc.PAUSE, key="once"), rpc.Answer)
        pending = client.submit("mine", rpc.EXECUTE_TASK, DetectionTask(task_id="x"))
        assert_type(client.result(pending).performance.processing_time_us, int)
        try:
            client.execute("mine", DetectionTask())
        except shmbus.RpcError as error:
            assert_type(error.context, dict[str, str])


async def call_asynchronously() -> None:
    async with shmbus.embedded() as bus, rpc.AsyncClient(bus, balance="round-robin") as client:
        assert_type(await client.capabilities("mine"), CapabilitiesData)


async def asynchronous() -> None:
    async with shmbus.embedded() as bus:
        assert_type(bus, shmbus.AsyncBus)
        async with bus.publisher("a.b") as publisher, bus.subscribe("a.#") as subscription:
            assert_type(await publisher.publish(EVENT, timeout=1.0), int)
            assert_type(await publisher.publish_many([EVENT, b"bytes"]), int)
            show(await subscription.receive(timeout=1.0))
            for one in await subscription.receive_many():
                show(one)
            async for found in subscription:
                show(found)


def main() -> None:
    with shmbus.embedded(name="me") as bus:
        publish(bus, [EVENT])
        read(bus)
        call(bus)
        bus.resize("a.b", slots=1024)
        print(bus.status().topics, bus.address, bus.name)
    with correlation.handling(correlation.new()):
        pass
    asyncio.run(asynchronous())
    asyncio.run(call_asynchronously())
