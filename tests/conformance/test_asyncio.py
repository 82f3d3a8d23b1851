"""The same for asyncio."""

import asyncio

import pytest

import shmbus
from conformance.reading import numbered, payloads
from process.rings import small
from shmbus import correlation
from shmbus.errors import BackpressureError, ClosedError, ReceiveTimeout
from shmbus.v1.eventbus_pb2 import AlertPayload


def run(main):
    asyncio.run(asyncio.wait_for(main(), 60))


def test_messages_are_published_and_awaited(world):
    async def main():
        async with world.open() as bus, bus.publisher("lab.x") as publisher, bus.subscribe("lab.#") as subscription:
            assert isinstance(bus, shmbus.AsyncBus)
            waiting = asyncio.create_task(subscription.receive(timeout=20))
            await asyncio.sleep(0.02)
            assert not waiting.done()
            assert await publisher.publish(b"0") == 1
            assert (await waiting).payload == b"0"
            assert await publisher.publish_many(numbered(1, 4)) == 3
            assert payloads(await subscription.receive_many()) == numbered(1, 4)
            with pytest.raises(ReceiveTimeout, match="within 0.05 s"):
                await subscription.receive(timeout=0.05)

    run(main)


def test_what_a_loop_has_done_is_told_as_without_one(world):
    async def main():
        async with (
            world.open(small()) as bus,
            bus.publisher("lab.x") as publisher,
            bus.subscribe("lab.#", lossless=True, filter=shmbus.Filter(min_priority=5)) as subscription,
        ):
            assert publisher.try_publish(b"0", priority=5) == 1 and await publisher.publish(b"1") == 2
            assert (await subscription.receive(timeout=20)).payload == b"0"
            assert subscription.try_receive() is None
            assert (subscription.delivered, subscription.filtered, subscription.topics) == (1, 1, ["lab.x"])
            assert await publisher.publish_many([b"x"] * 13) == 13 and publisher.published == 15
            bus.set_limits("lab.x", max_messages=5)
            assert publisher.try_publish(b"x") is None
            assert not (bus.closed or publisher.closed or subscription.closed or subscription.ended)
        assert bus.closed and publisher.closed and subscription.closed

    run(main)


def test_async_for_handles_what_it_gives_out(world):
    async def main():
        async with world.open() as bus, bus.publisher("lab.x") as publisher, bus.subscribe("lab.x") as subscription:
            await publisher.publish(AlertPayload(title="root"), correlation=correlation.new(correlation_id="root"))
            async for message in subscription:
                if message.event.title == "child":
                    assert message.envelope.correlation.parent_correlation_id == "root"
                    break
                await publisher.publish(AlertPayload(title="child"))

    run(main)


def test_waiting_for_room_leaves_the_loop_running(world):
    async def main():
        async with world.open(small()) as bus, bus.subscribe("lab.x", lossless=True) as subscription:
            async with bus.publisher("lab.x", timeout=20) as publisher:
                waiting = asyncio.create_task(publisher.publish_many(numbered(0, 40)))
                found = []
                while len(found) < 40:
                    found += payloads(await subscription.receive_many(timeout=20))
                assert found == numbered(0, 40) and await waiting == 40
            async with bus.publisher("lab.x", on_full="raise") as publisher:
                with pytest.raises(BackpressureError) as full:
                    await publisher.publish_many(numbered(0, 40))
                assert full.value.published == 15

    run(main)


def test_asyncio_settles(world):
    async def main():
        async with world.open() as bus, bus.publisher("lab.x") as publisher:
            async with bus.subscribe("lab.x", durable=shmbus.Durable("agent", ack_deadline=0.2)) as subscription:
                await publisher.publish_many(numbered(0, 2))
                one, two = await subscription.receive_many()
                assert subscription.ack(one) and subscription.nack(two)
                two = await subscription.receive(timeout=20)
                assert two.deliveries == 2 and subscription.extend(two)
                world.pass_time(0.25)
                assert (await subscription.receive(timeout=20)).deliveries == 3
            bus.forget("agent")

    run(main)


def test_a_cancelled_receive_loses_nothing(world):
    async def main():
        async with world.open() as bus, bus.publisher("lab.x") as publisher, bus.subscribe("lab.x") as subscription:
            for number in range(5):
                waiting = asyncio.create_task(subscription.receive())
                await asyncio.sleep(0.01)
                waiting.cancel()
                await publisher.publish(b"%d" % number)
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert payloads(await subscription.receive_many()) == numbered(number, number + 1)

    run(main)


def test_a_loop_ends_when_its_subscription_is_closed(world):
    async def main():
        async with world.open() as bus:
            subscription = bus.subscribe("lab.x")
            asyncio.get_running_loop().call_later(0.05, subscription.close)
            assert [message async for message in subscription] == []
            with pytest.raises(ClosedError):
                await subscription.receive()

    run(main)
