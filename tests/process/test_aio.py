"""The same for asyncio: the loop keeps running, cancelling loses nothing, one thread waits for all."""

import asyncio
import threading
import time

import pytest

import shmbus
from process.rings import small
from shmbus import Gap
from shmbus.correlation import handling, new
from shmbus.errors import BackpressureError, BusyError, ClosedError, ReceiveTimeout
from shmbus.v1 import common_pb2, eventbus_pb2

EVENT = eventbus_pb2.ProcessEventData(process=common_pb2.ProcessRecord(pid=7))


def run(main):
    return asyncio.run(asyncio.wait_for(main(), 60))


def waiters():
    return [thread for thread in threading.enumerate() if thread.name == "shmbus-waiter"]


def test_publish_and_receive():
    async def main():
        async with shmbus.embedded(name="me") as bus:
            assert (bus.name, repr(bus)[:10]) == ("embedded", "<AsyncBus ") and bus.address.startswith("@")
            async with bus.publisher("a.b") as publisher, bus.subscribe("a.+") as subscription:
                assert publisher.topic == "a.b" and subscription.patterns == ("a.+",)
                assert await publisher.publish(b"one") == 1
                assert await publisher.publish_many([b"two", b"three", b"four"]) == 3
                assert (await subscription.receive()).payload == b"one"
                assert subscription.try_receive().payload == b"two"
                assert [m.payload for m in await subscription.receive_many()] == [b"three", b"four"]
                assert subscription.try_receive() is None
                with pytest.raises(ReceiveTimeout, match="within 0.05 s"):
                    await subscription.receive(timeout=0.05)
                with pytest.raises(ReceiveTimeout):
                    await subscription.receive_many(timeout=0)

    run(main)


def test_waiting_leaves_the_loop_running_and_wakes_for_a_message():
    async def main():
        async with shmbus.embedded() as bus:
            publisher, subscription = bus.publisher("a.b"), bus.subscribe("a.b")
            task = asyncio.create_task(subscription.receive())
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert not task.done() and len(waiters()) == 1
            await publisher.publish(b"x")
            began = time.monotonic()
            assert (await task).payload == b"x"
            assert time.monotonic() - began < 2

    run(main)


def test_waiting_wakes_for_a_topic_that_did_not_exist():
    async def main():
        async with shmbus.embedded() as bus:
            subscription = bus.subscribe("new.#")
            task = asyncio.create_task(subscription.receive())
            await asyncio.sleep(0.2)
            async with bus.publisher("new.topic") as publisher:
                await publisher.publish(b"x")
            assert (await task).payload == b"x"

    run(main)


@pytest.mark.parametrize("count", [20, 200])
def test_one_thread_waits_for_all_subscriptions_of_a_loop(count):
    async def main():
        async with shmbus.embedded() as bus:
            publishers = [bus.publisher(f"m.t{n}") for n in range(count)]
            subscriptions = [bus.subscribe(f"m.t{n}") for n in range(count)]
            tasks = [asyncio.create_task(subscription.receive()) for subscription in subscriptions]
            await asyncio.sleep(0.2)
            assert len(waiters()) == 1
            for number, publisher in enumerate(publishers):
                await publisher.publish(b"%d" % number)
            assert [int((await task).payload) for task in tasks] == list(range(count))

    run(main)


def test_cancelling_a_receive_loses_nothing_and_doubles_nothing():
    async def main():
        async with shmbus.embedded(small(64)) as bus:
            subscription = bus.subscribe("a.b", lossless=True)

            async def publish():
                async with bus.publisher("a.b", timeout=30) as publisher:
                    for number in range(1500):
                        await publisher.publish(b"%d" % number)
                        if number % 10 == 0:
                            await asyncio.sleep(0)

            publishing = asyncio.create_task(publish())
            found, cancelled = [], 0
            while len(found) < 1500:
                task = asyncio.create_task(subscription.receive())
                for _ in range(len(found) % 3):
                    await asyncio.sleep(0)
                if task.cancel():
                    cancelled += 1
                try:
                    found.append(int((await task).payload))
                except asyncio.CancelledError:
                    found.append(int((await subscription.receive()).payload))
            await publishing
            assert found == list(range(1500)) and cancelled > 0
            assert subscription.lost == 0

    run(main)


def test_wait_for_around_a_receive_loses_nothing():
    async def main():
        async with shmbus.embedded() as bus:
            publisher, subscription = bus.publisher("a.b"), bus.subscribe("a.b", lossless=True)
            found = []

            async def publish():
                for number in range(300):
                    await publisher.publish(b"%d" % number)
                    await asyncio.sleep(0.0007)

            task = asyncio.create_task(publish())
            while len(found) < 300:
                try:
                    message = await asyncio.wait_for(subscription.receive(), 0.001)
                except TimeoutError:
                    continue
                found.append(int(message.payload))
            await task
            assert found == list(range(300))

    run(main)


def test_a_publisher_that_waits_for_room_leaves_the_loop_running():
    async def main():
        async with shmbus.embedded(small()) as bus:
            subscription, publisher = bus.subscribe("a.b", lossless=True), bus.publisher("a.b", timeout=20)
            task = asyncio.create_task(publisher.publish_many([b"%d" % n for n in range(500)]))
            found = [int((await subscription.receive()).payload) for _ in range(500)]
            assert await task == 500 and found == list(range(500))
            await publisher.publish_many([b"x"] * 15)
            with pytest.raises(BackpressureError, match="is 15 messages behind"):
                await publisher.publish(b"y", timeout=0.05)
            blocked = asyncio.create_task(publisher.publish(b"z"))
            await asyncio.sleep(0.15)
            assert not blocked.done()
            blocked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await blocked
            assert [m.payload for m in await subscription.receive_many()] == [b"x"] * 15
            assert subscription.try_receive() is None

    run(main)


def test_overruns_come_as_gaps():
    async def main():
        async with shmbus.embedded(small()) as bus:
            subscription, publisher = bus.subscribe("a.b"), bus.publisher("a.b")
            await publisher.publish_many([b"x"] * 100)
            gap, *rest = await subscription.receive_many()
            assert isinstance(gap, Gap) and gap.count + len(rest) == 100 and subscription.lost == gap.count

    run(main)


def test_two_tasks_in_one_subscription_are_told():
    async def main():
        async with shmbus.embedded() as bus:
            subscription = bus.subscribe("a.b")
            task = asyncio.create_task(subscription.receive(timeout=0.3))
            await asyncio.sleep(0.05)
            with pytest.raises(BusyError, match="another task is receiving from it"):
                await subscription.receive()
            with pytest.raises(ReceiveTimeout):
                await task

    run(main)


def test_closing_ends_a_loop_and_a_receive():
    async def main():
        async with shmbus.embedded() as bus:
            looped, received = bus.subscribe("a.b"), bus.subscribe("a.b")

            async def loop():
                return [message async for message in looped]

            async def receive():
                with pytest.raises(ClosedError):
                    await received.receive()
                return True

            tasks = [asyncio.create_task(loop()), asyncio.create_task(receive())]
            await asyncio.sleep(0.15)
            looped.close()
            received.close()
            began = time.monotonic()
            assert await asyncio.gather(*tasks) == [[], True]
            assert time.monotonic() - began < 2

    run(main)


def test_the_end_of_the_bus_ends_a_loop():
    async def main():
        with shmbus.embedded() as keeper:
            async with shmbus.connect(keeper.address) as bus:
                subscription = bus.subscribe("a.b")

                async def loop():
                    return [message.payload async for message in subscription]

                task = asyncio.create_task(loop())
                async with bus.publisher("a.b") as publisher:
                    await publisher.publish(b"last")
                await asyncio.sleep(0.1)
                keeper.stop()
                assert await task == [b"last"]

    run(main)


def test_what_is_published_in_a_loop_is_a_child_of_the_message_at_hand():
    async def main():
        root = new()
        async with shmbus.embedded() as bus:
            out, work = bus.subscribe("out.x"), bus.subscribe("in.x")
            async with bus.publisher("in.x") as source, bus.publisher("out.x") as sink:
                await source.publish(EVENT, correlation=root)
                async for _ in work:
                    await sink.publish(EVENT)
                    await asyncio.create_task(sink.publish(EVENT))
                    await sink.publish(EVENT, correlation=False)
                    break
                first, second, third = [(await out.receive()).envelope for _ in range(3)]
                assert first.correlation.parent_correlation_id == root.correlation_id
                assert second.correlation.parent_correlation_id == root.correlation_id
                assert (first.correlation.sequence_number, second.correlation.sequence_number) == (1, 2)
                assert not third.HasField("correlation")

    run(main)


@pytest.mark.parametrize("batch", [1, 50])
def test_children_that_wait_for_room_leave_no_number_out(batch):
    async def main():
        async with shmbus.embedded(small()) as bus, bus.subscribe("out.x", lossless=True) as out:
            async with bus.publisher("out.x") as sink:

                async def publish():
                    with handling(new()):
                        for _ in range(0, 200, batch):
                            await (sink.publish(EVENT) if batch == 1 else sink.publish_many([EVENT] * batch))

                publishing = asyncio.create_task(publish())
                found = [(await out.receive(timeout=30)).envelope.correlation for _ in range(200)]
                await publishing
                assert [one.sequence_number for one in found] == [*range(1, 201)]
                assert len({one.correlation_id for one in found}) == 200

    run(main)


def test_tasks_do_not_see_each_others_messages():
    async def main():
        async with shmbus.embedded() as bus:
            out = bus.subscribe("out.x")
            sink = bus.publisher("out.x")
            roots = {f"in.t{n}": new() for n in range(3)}

            async def work(topic):
                subscription = bus.subscribe(topic)
                async with bus.publisher(topic) as source:
                    await source.publish(EVENT, correlation=roots[topic])
                async for _ in subscription:
                    await asyncio.sleep(0.02)
                    await sink.publish(EVENT, priority=int(topic[-1]) + 1)
                    return

            await asyncio.gather(*map(work, roots))
            for _ in range(3):
                message = await out.receive(timeout=5)
                root = roots[f"in.t{message.priority - 1}"]
                assert message.envelope.correlation.parent_correlation_id == root.correlation_id

    run(main)


def test_the_waiting_thread_ends_with_the_last_wait():
    async def main():
        async with shmbus.embedded() as bus:
            with pytest.raises(ReceiveTimeout):
                await bus.subscribe("a.b").receive(timeout=0.05)
            for _ in range(100):
                if not waiters():
                    return
                await asyncio.sleep(0.02)
            assert waiters() == []

    run(main)


def test_loop_after_loop_in_one_process():
    for number in range(5):

        async def main(number=number):
            async with shmbus.embedded() as bus:
                subscription, publisher = bus.subscribe("a.b"), bus.publisher("a.b")
                asyncio.get_running_loop().call_later(
                    0.05, lambda: asyncio.create_task(publisher.publish(b"%d" % number))
                )
                return int((await subscription.receive()).payload)

        assert run(main) == number


def test_the_ledger_sizes_and_the_end_are_had_on_a_loop_too():
    async def main():
        async with shmbus.embedded(small()) as bus, bus.publisher("a.b") as publisher:
            async with bus.subscribe("a.#", lossless=True) as subscription:
                await publisher.publish_many([b"x"] * 3)
                await subscription.receive(timeout=20)
                (entry,) = subscription.ledger()
                assert (entry.published, entry.delivered, entry.in_flight) == (3, 1, 2)
                bus.resize("a.b", slots=64)
                assert await publisher.publish_many([b"x"] * 50) == 50
                assert bus.status().clients and not bus.closed
                with pytest.raises(shmbus.ShmbusError, match="no configuration that could be read again"):
                    bus.reload_config()
                bus.stop()
                with pytest.raises(ClosedError):
                    while True:
                        await subscription.receive_many(timeout=20)
                assert subscription.ended

    run(main)
