"""Cancelled at each suspension of an operation in turn, before what it waits for has come and after: nothing is lost.

An operation is driven to its n-th `await` that suspends; there CancelledError is thrown in, as a task's `cancel` does.
"""

import asyncio
import itertools

import pytest

import shmbus
from shmbus import aio
from shmbus.rpc import EXECUTE_TASK, AsyncClient, Collector, operation
from shmbus.v1.ipc_pb2 import DetectionResult, DetectionTask

SECONDS = 20


class CancelledAt:
    """An awaitable that runs a coroutine as far as its n-th suspension. `suspensions` says how many there were."""

    def __init__(self, coroutine, at, *, when_it_has_come):
        self.coroutine, self.at, self.when_it_has_come = coroutine, at, when_it_has_come
        self.suspensions = 0
        self.cancelled = False

    def __await__(self):
        what, send, value = self.coroutine, self.coroutine.send, None
        while True:
            try:
                awaited = send(value)
            except StopIteration as done:
                return done.value
            self.suspensions += 1
            if self.suspensions != self.at:
                send, value = what.send, (yield awaited)
                continue
            self.cancelled = True
            if self.when_it_has_come:
                yield awaited
            elif awaited is not None:
                awaited._asyncio_future_blocking = False
            send, value = what.throw, asyncio.CancelledError()


async def cancelled_at(coroutine, at, when_it_has_come):
    """Whether it was cancelled; and what it answered, if it was not."""
    run = CancelledAt(coroutine, at, when_it_has_come=when_it_has_come)
    try:
        return run.cancelled, await run
    except asyncio.CancelledError:
        assert run.cancelled
        return True, None


def later(what, *arguments):
    """So that the operation has to wait for it."""
    asyncio.get_running_loop().call_later(0.02, what, *arguments)


async def each_suspension(act):
    """Call `act(at, when_it_has_come)` until it says that nothing was cancelled any more."""
    for when_it_has_come in (False, True):
        count = 0
        for at in itertools.count(1):
            if not await act(at, when_it_has_come):
                break
            count += 1
        assert count > 0  # else it never waited
        await asyncio.sleep(0)
        assert not aio._Waits.of(asyncio.get_running_loop())._futures


RECEIVES = {
    "receive": lambda subscription: subscription.receive(timeout=SECONDS),
    "receive_many": lambda subscription: subscription.receive_many(timeout=SECONDS),
    "next": lambda subscription: subscription.__anext__(),
}


@pytest.mark.parametrize("receive", RECEIVES.values(), ids=RECEIVES)
@pytest.mark.parametrize("kind", [{}, {"lossless": True}, {"durable": "agent"}, {"order": "producer"}], ids=str)
def test_a_receive_that_is_cancelled_anywhere_loses_nothing(receive, kind):
    async def main():
        with shmbus.embedded() as bus, bus.publisher("a.x") as publisher:
            subscription = aio.AsyncBus(bus).subscribe("a.#", **kind)
            sent, found = itertools.count(), []

            async def act(at, when_it_has_come):
                number = next(sent)
                later(publisher.publish, b"%d" % number)
                cancelled, got = await cancelled_at(receive(subscription), at, when_it_has_come)
                found.extend(got if isinstance(got, list) else [got] if got else [])
                while len(found) <= number:
                    found.append(await subscription.receive(timeout=SECONDS))
                return cancelled

            await each_suspension(act)
            assert [one.payload for one in found] == [b"%d" % number for number in range(next(sent))]
            assert "durable" not in kind or subscription.ack_many(found) == len(found)
            subscription.close()

    asyncio.run(main())


def test_a_borrow_that_is_cancelled_anywhere_keeps_nothing():
    async def main():
        with shmbus.embedded() as bus, bus.publisher("a.x") as publisher:
            subscription = aio.AsyncBus(bus).subscribe("a.#", lossless=True)

            async def act(at, when_it_has_come):
                later(publisher.publish, b"%d" % at)
                cancelled, got = await cancelled_at(subscription.borrow(timeout=SECONDS), at, when_it_has_come)
                with got or await subscription.borrow(timeout=SECONDS) as message:
                    assert bytes(message.data) == b"%d" % at
                return cancelled

            await each_suspension(act)
            subscription.close()

    asyncio.run(main())


@pytest.mark.parametrize("many", [False, True], ids=["publish", "publish_many"])
def test_a_publish_that_is_cancelled_anywhere_is_out_or_not(many):
    """What went out of a batch is its beginning, and each message of it is there once."""

    async def main():
        with shmbus.embedded() as bus:
            publisher = aio.AsyncBus(bus).publisher("full.x")
            with bus.subscribe("full.x", lossless=True) as reader:
                found = []

                async def act(at, when_it_has_come):
                    while publisher._publisher.try_publish(b"filling") is not None:
                        pass
                    later(lambda: found.extend(reader.receive_many(limit=1_000_000)))
                    batch = [b"%d.%d" % (at, number) for number in range(3)]
                    coroutine = publisher.publish_many(batch) if many else publisher.publish(batch[0])
                    cancelled, got = await cancelled_at(coroutine, at, when_it_has_come)
                    await publisher.publish(b"end")
                    while not found or found[-1].payload != b"end":
                        found.append(reader.receive(timeout=SECONDS))
                    out = [one.payload for one in found if one.payload not in (b"filling", b"end")]
                    assert out == batch[: len(out)] and (cancelled or len(out) == (3 if many else 1))
                    found.clear()
                    return cancelled

                await each_suspension(act)
            publisher.close()

    asyncio.run(main())


class Slow(Collector):
    @operation(EXECUTE_TASK)
    def execute(self, request):
        request.wait(0.02)
        return DetectionResult(task_id=request.payload.task_id, success=True)


def test_a_call_that_is_cancelled_anywhere_leaves_the_client_usable():
    async def main():
        with shmbus.embedded() as bus, Slow("slow").serving(bus):
            async with AsyncClient(aio.AsyncBus(bus)) as client:

                async def act(at, when_it_has_come):
                    call = client.call("slow", EXECUTE_TASK, DetectionTask(task_id="1"), timeout=SECONDS)
                    cancelled, _ = await cancelled_at(call, at, when_it_has_come)
                    answer = await client.call("slow", EXECUTE_TASK, DetectionTask(task_id="2"), timeout=SECONDS)
                    assert answer.payload.task_id == "2"
                    return cancelled

                for when_it_has_come in (False, True):
                    at = 1
                    while await act(at, when_it_has_come):
                        at += 1
                    assert at > 1

    asyncio.run(main())
