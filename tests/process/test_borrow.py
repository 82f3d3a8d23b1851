"""Messages that are read where they stand in the ring: protected while they are borrowed, and never other bytes."""

import asyncio
import gc
import threading

import pytest

import shmbus
from shmbus.v1.common_pb2 import ProcessRecord
from shmbus.v1.eventbus_pb2 import ProcessEventData

RING = 8 << 20  # more than a topic holds by default


@pytest.fixture
def bus():
    with shmbus.embedded() as bus:
        yield bus


def flood(publisher, size=RING):
    publisher.publish_many([bytes([7]) * 60_000] * (size // 60_000), timeout=0)


def test_a_borrowed_message_says_what_a_received_one_does(bus):
    publisher = bus.publisher("a.b", name="source")
    event = ProcessEventData(process=ProcessRecord(pid=4711))
    with bus.subscribe("a.+", lossless=True) as borrowing, bus.subscribe("a.+", lossless=True) as copying:
        publisher.publish(event, priority=3, ttl=60)
        copy = copying.receive(timeout=5)
        with borrowing.borrow(timeout=5) as message:
            for name in ("topic", "pattern", "sequence", "time_ns", "expires_ns", "priority", "kind", "lane", "payload",
                         "producer", "event", "envelope", "deliveries", "type_name", "producer_sequence"):  # fmt: skip
                assert getattr(message, name) == getattr(copy, name), name
            assert bytes(message.data) == copy.payload and message.data.readonly
        assert borrowing.delivered == 1 and borrowing.lost == 0


def test_publishers_wait_for_a_borrowed_message_and_for_nothing_else(bus):
    publisher = bus.publisher("a.b")
    with bus.subscribe("a.b", lossless=True) as subscription:
        publisher.publish(b"first" * 1000)
        with subscription.borrow(timeout=5) as message:
            with pytest.raises(shmbus.BackpressureError):
                flood(publisher)
            assert bytes(message.data) == b"first" * 1000
        publisher.publish(b"there is room", timeout=5)


def test_a_durable_subscription_protects_what_it_borrowed_until_it_is_settled(bus):
    publisher = bus.publisher("a.b")
    with bus.subscribe("a.b", durable="agent") as subscription:
        publisher.publish(b"first" * 1000)
        with subscription.borrow(timeout=5) as message:
            pass
        with pytest.raises(shmbus.BackpressureError):
            flood(publisher)
        assert subscription.ack(message)
        publisher.publish(b"there is room", timeout=5)


def test_nothing_else_is_received_meanwhile(bus):
    publisher = bus.publisher("a.b")
    with bus.subscribe("a.b", lossless=True) as subscription:
        publisher.publish_many([b"1", b"2"])
        with subscription.borrow(timeout=5):
            for receive in (subscription.receive, subscription.try_receive, subscription.borrow):
                with pytest.raises(BufferError, match="is borrowed: give it back"):
                    receive()
        assert subscription.receive(timeout=5).payload == b"2"


def test_a_view_that_outlives_the_block_raises(bus):
    publisher = bus.publisher("a.b")
    with bus.subscribe("a.b", lossless=True) as subscription:
        publisher.publish(b"first")
        with subscription.borrow(timeout=5) as message:
            view = message.data
        with pytest.raises(ValueError, match="released memoryview"):
            bytes(view)
        with pytest.raises(BufferError, match="has been given back"):
            _ = message.data
        with pytest.raises(BufferError, match="has been given back"):
            _ = message.event


def test_a_part_of_a_view_that_outlives_the_block_keeps_the_message_where_it_is(bus):
    publisher = bus.publisher("a.b")
    with bus.subscribe("a.b", lossless=True) as subscription:
        publisher.publish(b"first")
        with pytest.raises(BufferError, match="1 views of message 1 of 'a.b' are still in use"):
            with subscription.borrow(timeout=5) as message:
                part = message.data[1:3]
        with pytest.raises(shmbus.BackpressureError):
            flood(publisher)
        assert bytes(part) == b"ir"
        with pytest.raises(BufferError, match="views of borrowed messages are in use"):
            subscription.close()
        part.release()
        publisher.publish(b"there is room", timeout=5)
        assert len(subscription.receive_many(timeout=5)) > 1


def test_an_exception_inside_the_block_is_not_hidden_by_a_view_in_use(bus):
    publisher = bus.publisher("a.b")
    with bus.subscribe("a.b", lossless=True) as subscription:
        publisher.publish(b"first")
        with pytest.raises(ZeroDivisionError):
            with subscription.borrow(timeout=5) as message:
                part = message.data[1:3]
                _ = 1 // 0
        part.release()


def test_what_is_borrowed_and_forgotten_is_given_back(bus):
    publisher = bus.publisher("a.b")
    with bus.subscribe("a.b", lossless=True) as subscription:
        publisher.publish_many([b"1", b"2"])
        subscription.borrow(timeout=5)
        gc.collect()
        assert subscription.receive(timeout=5).payload == b"2"


def test_a_lossy_subscription_is_refused(bus):
    with bus.subscribe("a.b") as subscription:
        with pytest.raises(shmbus.BorrowError, match="lossless=True or durable=..., receive a copy, or borrow"):
            subscription.borrow()


def test_unprotected_it_is_told_whether_it_stood_to_the_end(bus):
    publisher = bus.publisher("a.b")
    with bus.subscribe("a.b") as subscription:
        publisher.publish(b"first")
        with subscription.borrow(timeout=5, unprotected=True) as message:
            assert bytes(message.data) == b"first"
        publisher.publish(b"second")
        with pytest.raises(BufferError, match="message 2 of 'a.b' was overwritten while it was borrowed"):
            with subscription.borrow(timeout=5, unprotected=True):
                flood(publisher)
        assert isinstance(subscription.receive(timeout=5), shmbus.Gap)


def test_a_gap_is_handed_out_as_it_is(bus):
    publisher = bus.publisher("a.b")
    with bus.subscribe("a.b", lossless=True, start="earliest") as subscription:
        publisher.publish(b"short-lived", ttl=0.001)
        publisher.publish(b"first")
        threading.Event().wait(0.01)
        gap = subscription.borrow(timeout=5)
        assert isinstance(gap, shmbus.Gap) and gap.reason == "expired"
        with subscription.borrow(timeout=5) as message:
            assert message.payload == b"first"


def test_nobody_borrows_longer_than_the_timeout(bus):
    with bus.subscribe("a.b", lossless=True) as subscription:
        with pytest.raises(shmbus.ReceiveTimeout):
            subscription.borrow(timeout=0.01)


def test_filters_and_acknowledgements_work_on_what_is_borrowed(bus):
    publisher = bus.publisher("a.b")
    with bus.subscribe("a.b", durable="agent", filter=shmbus.Filter(min_priority=5)) as subscription:
        publisher.publish(b"no")
        publisher.publish(b"yes", priority=7)
        with subscription.borrow(timeout=5) as message:
            assert message.payload == b"yes"
            with pytest.raises(BufferError, match="is in use"):
                view = message.data
                subscription.ack(message)
            del view
        assert subscription.ack(message) and not subscription.ack(message)
        assert subscription.filtered == 1


def test_borrowing_in_asyncio_waits_past_what_is_for_others_and_what_the_filter_does_not_want():
    async def main():
        async with shmbus.embedded() as bus, bus.publisher("a.b") as publisher:
            async with bus.subscribe("a.b", lossless=True, filter=shmbus.Filter(min_priority=5)) as subscription:
                borrowing = asyncio.create_task(subscription.borrow())
                await asyncio.sleep(0)
                with pytest.raises(shmbus.BusyError):
                    await subscription.borrow()
                for _ in range(3):
                    await publisher.publish(b"unwanted")
                    bus.publisher(f"other.t{_}").close()  # rings this client's bell
                    await asyncio.sleep(0.05)
                assert not borrowing.done()
                await publisher.publish(b"wanted", priority=7)
                with await borrowing as message:
                    assert bytes(message.data) == b"wanted"
                with pytest.raises(shmbus.ReceiveTimeout):
                    await subscription.borrow(timeout=0.01)

    asyncio.run(main())
