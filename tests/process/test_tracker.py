"""The tracker fed by a real bus."""

import asyncio

import shmbus
from process.rings import small
from shmbus.correlation import child_of, new
from shmbus.v1.eventbus_pb2 import AlertPayload

EVENT = AlertPayload(title="x")


def test_both_lanes_bytes_and_gaps():
    tracker = shmbus.CorrelationTracker()
    with shmbus.embedded(small(), name="lab") as bus, bus.subscribe("a.b") as subscription:
        with bus.publisher("a.b", name="probe") as publisher:
            publisher.publish_many([b"x"] * 20)
            publisher.publish(EVENT, correlation=new(correlation_id="root"), priority=shmbus.URGENT)
            found = list(filter(tracker.observe, iter(subscription.try_receive, None)))
    (entry,) = tracker.workflow("root").timeline
    assert (entry.topic, entry.lane, entry.sequence, entry.source) == ("a.b", 1, 1, "probe")
    gap = next(one for one in found if isinstance(one, shmbus.Gap))
    assert tracker.counts.lost == gap.count == 5 and tracker.counts.observed == tracker.counts.kept == 16


def test_what_a_kept_message_takes_is_counted():
    small_one, large_one = (shmbus.CorrelationTracker(keep_messages=keep) for keep in (False, True))
    with shmbus.embedded() as bus, bus.subscribe("a.b") as subscription, bus.publisher("a.b") as publisher:
        publisher.publish(AlertPayload(title="x" * 50_000), correlation=new(correlation_id="root"))
        message = subscription.receive()
    for tracker in (small_one, large_one):
        tracker.observe(message)
    assert small_one.workflow("root").timeline[0].size < 1500
    kept = large_one.workflow("root").timeline[0]
    assert 50_000 < kept.size < 53_000 and kept.message.event.title.startswith("x")


def test_async_for():
    async def main():
        tracker = shmbus.CorrelationTracker()
        async with shmbus.embedded() as bus, bus.subscribe("a.+") as subscription:
            async with bus.publisher("a.b") as first, bus.publisher("a.c") as second:
                await first.publish(EVENT)
                async for message in subscription:
                    tracker.observe(message)
                    if message.topic == "a.c":
                        break
                    await second.publish(EVENT, correlation=child_of(message, stage="next"))
        workflow = tracker.workflow(message)
        assert [(depth, one.topic) for depth, one in workflow.tree()] == [(0, "a.b"), (1, "a.c")]
        assert [one.topic for one in tracker.by_stage("next")] == ["a.c"] and workflow.duration > 0

    asyncio.run(asyncio.wait_for(main(), 60))
