"""Durable subscriptions in asyncio."""

import asyncio

import shmbus
from process.rings import small
from shmbus.aio import AsyncSubscription
from shmbus.coordinator.settings import Settings, TopicPlan


def run(main):
    return asyncio.run(asyncio.wait_for(main(), 60))


def test_asyncio_settles_as_the_other_does():
    async def main():
        async with shmbus.embedded(small()) as bus:
            impatient = shmbus.Durable("agent", ack_deadline=0.2)
            async with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable=impatient) as subscription:
                assert isinstance(subscription, AsyncSubscription)
                await publisher.publish_many([b"%d" % n for n in range(15)])
                found = await subscription.receive_many()
                assert subscription.ack(found[0]) and subscription.ack_many(found[1:13]) == 12
                assert subscription.nack(found[13]) and not subscription.ack(found[13])
                again = await subscription.receive()
                assert (again.payload, again.deliveries) == (b"13", 2) and subscription.extend(again)
                assert subscription.ack(again)
                async for message in subscription:
                    assert (message.payload, message.deliveries) == (b"14", 2) and subscription.ack(message)
                    break
            bus.forget("agent")

    run(main)


def test_asyncio_waits_for_room_until_something_is_settled_and_the_loop_runs_on():
    async def main():
        async with shmbus.embedded(small()) as bus:
            async with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
                await publisher.publish_many([b"x"] * 15)
                waits = asyncio.create_task(publisher.publish(b"waited"))
                found = await subscription.receive_many()
                await asyncio.sleep(0.05)
                assert not waits.done() and subscription.ack_many(found) == 15
                await asyncio.wait_for(waits, 20)
                assert (await subscription.receive()).payload == b"waited"

    run(main)


def test_asyncio_is_told_of_an_overrun_behind_a_full_window():
    async def main():
        settings = Settings(default=TopicPlan(small().default.ring, on_full="shed"))
        async with shmbus.embedded(settings) as bus:
            narrow = shmbus.Durable("agent", window=4)
            async with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable=narrow) as subscription:
                await publisher.publish_many([b"x"] * 4)
                held = await subscription.receive_many()
                waits = asyncio.create_task(subscription.receive())
                await asyncio.sleep(0.05)
                await publisher.publish_many([b"y"] * 40)
                gap = await asyncio.wait_for(waits, 20)
                assert (gap.reason, gap.first, gap.count) == ("overrun", 5, 25)
                assert subscription.ack_many(held) == 4 and len(await subscription.receive_many()) == 4

    run(main)


def test_a_cancelled_receive_holds_no_message():
    async def main():
        async with shmbus.embedded(small()) as bus:
            async with bus.publisher("lab.x") as publisher, bus.subscribe("lab.#", durable="agent") as subscription:
                for number in range(100):
                    task = asyncio.create_task(subscription.receive())
                    await asyncio.sleep(0)
                    await publisher.publish(b"%d" % number)
                    if number % 2:
                        await asyncio.sleep(0)
                    if task.cancel():
                        await asyncio.wait([task])
                    message = await subscription.receive(timeout=20) if task.cancelled() else task.result()
                    assert (message.payload, message.deliveries) == (b"%d" % number, 1)
                    assert subscription.ack(message) and subscription.try_receive() is None

    run(main)
