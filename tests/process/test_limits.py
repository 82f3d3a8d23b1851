"""What a topic retains and does when it is full: changed while it runs, and as it is configured."""

import asyncio
import threading
import time

import pytest

import shmbus
from process.rings import small
from shmbus.coordinator.settings import Settings, TopicPlan
from shmbus.errors import BackpressureError, LimitError, MessageTooLarge
from shmbus.start import Last


def configured(slots=16, **topics):
    """Topics "lab.<name>" with `on_full` and `block_timeout_ns` as given."""
    ring = small(slots).default.ring
    return Settings(
        default=TopicPlan(ring), topics={f"lab.{name}": TopicPlan(ring, **plan) for name, plan in topics.items()}
    )


def kept(bus, topic="lab.limits"):
    with bus.subscribe(topic, start=Last(2**62)) as subscription:
        return [m.payload for m in iter(subscription.try_receive, None)]


@pytest.fixture
def bus():
    with shmbus.embedded(name="lab") as bus:
        yield bus


def test_lower_limits_hold_at_once_without_another_publish(bus):
    with bus.publisher("lab.limits") as publisher:
        publisher.publish_many([b"%03d" % n for n in range(500)])
        bus.set_limits("lab.limits", max_messages=100)
        assert kept(bus) == [b"%03d" % n for n in range(400, 500)]
        bus.set_limits("lab.limits", max_bytes=10 * 64)
        assert kept(bus) == [b"%03d" % n for n in range(490, 500)]
        publisher.publish(b"new")
        assert len(kept(bus)) == 10
        bus.set_limits("lab.limits", max_messages=8192, max_bytes=4 << 20)
        publisher.publish_many([b"x"] * 5000)
        assert len(kept(bus)) == 5010


def test_retention_by_time_can_be_set_and_taken_back(bus):
    with bus.publisher("lab.limits") as publisher:
        publisher.publish_many([b"old"] * 5)
        time.sleep(0.06)
        publisher.publish(b"new")
        bus.set_limits("lab.limits", retention=0.05)
        assert b"old" not in kept(bus)
        bus.set_limits("lab.limits", retention=0)
        publisher.publish(b"stays")
        time.sleep(0.06)
        assert kept(bus)[-1] == b"stays"


def test_what_a_lossless_reader_has_not_read_stays_above_the_limit(bus):
    with bus.publisher("lab.limits", timeout=0) as publisher, bus.subscribe("lab.#", lossless=True) as subscription:
        publisher.publish_many([b"%03d" % n for n in range(50)])
        bus.set_limits("lab.limits", max_messages=10)
        with pytest.raises(BackpressureError, match="50 messages behind"):
            publisher.publish(b"no room")
        assert [m.payload for m in subscription.receive_many()] == [b"%03d" % n for n in range(50)]
        publisher.publish(b"room")
        assert len(kept(bus)) == 10


def test_higher_limits_let_a_waiting_publisher_go_on(bus):
    bus.publisher("lab.limits").close()
    bus.set_limits("lab.limits", max_messages=5)
    with bus.subscribe("lab.#", lossless=True) as subscription, bus.publisher("lab.limits", timeout=20) as publisher:
        publisher.publish_many([b"x"] * 5)
        thread = threading.Thread(target=publisher.publish, args=(b"waits",))
        thread.start()
        time.sleep(0.05)
        assert thread.is_alive()
        bus.set_limits("lab.limits", max_messages=50)
        thread.join(20)
        assert not thread.is_alive() and len(subscription.receive_many()) == 6


def test_the_size_of_a_message_is_a_limit_too(bus):
    with bus.publisher("lab.limits") as publisher:
        bus.set_limits("lab.limits", max_message_bytes=100)
        with pytest.raises(MessageTooLarge, match="101, the limit is 100"):
            publisher.publish(bytes(101))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"max_messages": 0}, "max_messages is a whole number from 1 up"),
        ({"max_messages": 1.5}, "not 1.5"),
        ({"max_bytes": -1}, "not -1"),
        ({"max_message_bytes": 2**32}, "below 2"),
        ({"retention": -0.1}, "retention is a number of seconds from 0 up"),
        ({"claim_timeout": 0}, "claim_timeout is a number of seconds from 0.001 up"),
    ],
)
def test_nonsense_is_refused(bus, limits, said):
    bus.publisher("lab.limits").close()
    with pytest.raises(ValueError, match=said):
        bus.set_limits("lab.limits", **limits)


@pytest.mark.parametrize("name", ["max_messages", "max_bytes", "max_message_bytes"])
def test_what_the_ring_could_not_hold_is_refused(bus, name):
    bus.publisher("lab.limits").close()
    with pytest.raises(LimitError, match=f"{name} of topic 'lab.limits'.*Resize the topic first"):
        bus.set_limits("lab.limits", **{name: 2**31})


def test_no_such_topic(bus):
    with pytest.raises(shmbus.ShmbusError, match="no topic 'lab.nowhere'"):
        bus.set_limits("lab.nowhere", max_messages=1)


# ---- when it is full -------------------------------------------------------------------------------------------------


def test_a_topic_that_sheds_drops_the_oldest_and_tells_its_lossless_reader():
    with shmbus.embedded(configured(sheds={"on_full": "shed"})) as bus:
        with bus.subscribe("lab.sheds", lossless=True) as subscription, bus.publisher("lab.sheds") as publisher:
            publisher.publish_many([b"%d" % n for n in range(40)])
            gap, *messages = subscription.receive_many()
            assert (gap.reason, gap.count) == ("overrun", 25)
            assert [int(m.payload) for m in messages] == [*range(25, 40)]
            bus.resize("lab.sheds", slots=32)  # nobody holds the successor either
            publisher.publish_many([b"%d" % n for n in range(60)])
            gap, *messages = subscription.receive_many()
            assert gap.count >= 29 and gap.count + len(messages) == 60


def test_a_new_topic_that_sheds_is_not_held_by_a_running_lossless_subscription():
    with shmbus.embedded(configured(sheds={"on_full": "shed"})) as bus:
        with bus.subscribe("lab.#", lossless=True) as subscription, bus.publisher("lab.sheds") as publisher:
            publisher.publish_many([b"x"] * 40)
            assert subscription.receive().count == 25


def test_what_a_topic_does_when_it_is_full_is_configured_and_a_publisher_may_ask_for_another():
    waits = {"on_full": "block", "block_timeout_ns": 50_000_000}
    with shmbus.embedded(configured(raises={"on_full": "raise"}, waits=waits)) as bus:
        with bus.subscribe("lab.#", lossless=True):
            for topic, options, least in (
                ("lab.raises", {}, 0),
                ("lab.raises", {"on_full": "block", "timeout": 0.1}, 0.1),
                ("lab.waits", {}, 0.05),
                ("lab.waits", {"on_full": "raise"}, 0),
                ("lab.waits", {"timeout": 0.1}, 0.1),
            ):
                with bus.publisher(topic, **options) as publisher:
                    began = time.monotonic()
                    with pytest.raises(BackpressureError):
                        publisher.publish_many([b"x"] * 40)
                    waited = time.monotonic() - began
                    assert waited >= least and (least or waited < 0.05)


def test_an_async_publisher_goes_by_the_topic_as_well():
    async def main():
        async with shmbus.embedded(configured(raises={"on_full": "raise"})) as bus:
            async with bus.subscribe("lab.#", lossless=True) as subscription, bus.publisher("lab.raises") as publisher:
                with pytest.raises(BackpressureError) as full:
                    await publisher.publish_many([b"x"] * 40)
                assert full.value.published == 15
                with pytest.raises(BackpressureError):
                    await publisher.publish(b"x")
                async with bus.publisher("lab.raises", on_full="block", timeout=20) as patient:
                    task = asyncio.create_task(patient.publish(b"y"))
                    await asyncio.sleep(0.05)
                    assert not task.done()
                    assert len(await subscription.receive_many()) == 15
                    assert await task == 16
                with pytest.raises(ValueError, match="not 'shed'"):
                    bus.publisher("lab.raises", on_full="shed")

    asyncio.run(asyncio.wait_for(main(), 60))
