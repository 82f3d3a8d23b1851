"""Names, settings and limits of durable subscriptions: what cannot be is refused, and leaves nothing behind."""

from dataclasses import replace

import pytest

import shmbus
from process.durables import payloads, rest
from process.rings import small
from shmbus.errors import (
    DurableError,
    LimitError,
    ShmbusError,
)


@pytest.fixture
def bus():
    with shmbus.embedded(small()) as bus:
        yield bus


@pytest.mark.parametrize(
    "wrong, reason",
    [
        (shmbus.Durable("Agent"), "no name"),
        (shmbus.Durable("a" * 65), "no name"),
        (shmbus.Durable(""), "no name"),
        (shmbus.Durable("agent", window=3), "power of two"),
        (shmbus.Durable("agent", window=1), "power of two"),
        (shmbus.Durable("agent", window=1 << 17), "power of two"),
        (shmbus.Durable("agent", max_deliveries=255), "less than 255"),
        (shmbus.Durable("agent", max_deliveries=3, dead_letter="lab.dead"), "come back to it"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(bus, wrong, reason):
    with pytest.raises(DurableError, match=reason) as caught:
        bus.subscribe("lab.#", durable=wrong)
    assert caught.value.name == wrong.name
    with pytest.raises(ShmbusError, match="there is no durable subscription"):
        bus.forget("agent")


@pytest.mark.parametrize(
    "wrong",
    [{"ack_deadline": 0}, {"ack_deadline": -1.0}, {"max_deliveries": -1}, {"max_deliveries": True}, {"window": 2**32}],
)
def test_what_makes_no_sense_anywhere_is_refused_at_once(wrong):
    (field,) = wrong
    with pytest.raises(ValueError, match=field):
        shmbus.Durable("agent", **wrong)


@pytest.mark.parametrize(
    "other, field",
    [
        ({"ack_deadline": 1.0}, "ack_deadline_ms"),
        ({"max_deliveries": 3}, "max_deliveries"),
        ({"exactly_once": True}, "exactly_once"),
        ({"window": 8}, "window"),
    ],
)
def test_all_members_want_the_same(bus, other, field):
    with bus.subscribe("lab.#", durable="agent"):
        with pytest.raises(DurableError, match=f"it is being read with {field} = "):
            bus.subscribe("lab.#", durable=shmbus.Durable("agent", **other))
        with pytest.raises(DurableError, match=r"other patterns: lab\.#"):
            bus.subscribe("lab.x", durable="agent")


def test_who_comes_when_nobody_reads_may_change_all_but_what_decides_of_the_segment(bus):
    with bus.publisher("lab.x") as publisher, bus.publisher("other.x") as other:
        bus.subscribe("lab.#", durable="agent").close()
        publisher.publish(b"lab")
        other.publish(b"other")
        changed = shmbus.Durable("agent", ack_deadline=0.1, max_deliveries=5)
        with bus.subscribe("lab.#", "other.#", durable=changed, start="earliest") as subscription:
            assert sorted(payloads(rest(subscription))) == [b"lab", b"other"]
            assert subscription.receive(timeout=20).deliveries == 2
        with bus.subscribe("other.#", durable=changed) as subscription:
            assert payloads(rest(subscription)) == [b"other"]
        for fixed in ({"window": 8}, {"exactly_once": True}):
            with pytest.raises(DurableError, match="since it was made"):
                bus.subscribe("lab.#", durable=shmbus.Durable("agent", **fixed))
        bus.forget("agent")
        bus.subscribe("lab.#", durable=shmbus.Durable("agent", window=8)).close()


def test_what_is_forgotten_begins_anew(bus):
    with bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable="agent") as subscription:
            publisher.publish(b"x")
            with pytest.raises(DurableError, match="1 members read it"):
                bus.forget("agent")
            assert subscription.receive(timeout=0).payload == b"x"
        bus.forget("agent")
        with bus.subscribe("lab.#", durable="agent") as subscription:
            assert rest(subscription) == []
        with pytest.raises(ShmbusError, match="no durable subscription 'other'; there are: agent"):
            bus.forget("other")


def test_there_are_so_many_durable_subscriptions_and_no_more():
    with shmbus.embedded(replace(small(), max_durables=3)) as bus:
        for number in range(3):
            bus.subscribe("lab.#", durable=f"agent{number}").close()
        with pytest.raises(LimitError, match="bus.max_durables"):
            bus.subscribe("lab.#", durable="agent3")
        bus.forget("agent1")
        bus.subscribe("lab.#", durable="agent3").close()


def test_a_refused_one_leaves_nothing_behind():
    settings = small(gates=1)
    with shmbus.embedded(settings) as bus, bus.publisher("lab.x") as publisher:
        with bus.subscribe("lab.#", durable="first") as first:
            with pytest.raises(LimitError, match="Raise `gates`"):
                bus.subscribe("lab.#", durable="second")
            with pytest.raises(ShmbusError, match="there are: first"):
                bus.forget("second")
            publisher.publish(b"x")
            assert first.ack(first.receive(timeout=0))
        with bus.subscribe("lab.#", durable="second") as second:
            publisher.publish(b"y")
            assert payloads(rest(second)) == [b"y"]


def test_a_new_topic_without_a_gate_left_is_read_as_a_lossy_one_does_and_that_is_told():
    with shmbus.embedded(small(gates=1)) as bus:
        with bus.subscribe("lab.#", durable="first"), bus.subscribe("lab.#", durable="second") as second:
            with bus.publisher("lab.x", timeout=0) as publisher:
                publisher.publish(b"x")
                told = []
                while not told or not isinstance(told[-1], shmbus.Message):
                    try:
                        told.append(second.receive(timeout=20))
                    except LimitError as error:
                        told.append(error)
                assert [type(one) for one in told] == [LimitError, shmbus.Message]
                assert second.ack(told[-1])
