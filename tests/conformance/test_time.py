"""Messages whose time is over, and topics that retain only so long."""

import shmbus
from conformance.reading import gaps, numbered, payloads, rest

SHORT, LONG = 0.05, 0.1


def test_what_is_past_its_time_comes_as_one_gap(bus, world):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish_many([b"x"] * 5, ttl=SHORT)
        publisher.publish(b"y", ttl=100)
        world.pass_time(LONG)
        found = rest(subscription)
        assert found[0] == shmbus.Gap("lab.x", "lab.x", 1, 5, "expired", found[1].producer) and payloads(found) == [
            b"y"
        ]
        assert (subscription.lost, subscription.delivered) == (5, 1)


def test_runs_of_it_are_told_where_they_were(bus, world):
    with bus.subscribe("lab.x", lossless=True) as subscription, bus.publisher("lab.x") as publisher:
        for number in range(8):
            publisher.publish(b"%d" % number, ttl=SHORT if number in (0, 1, 4, 7) else None)
        world.pass_time(LONG)
        told = [one.count if isinstance(one, shmbus.Gap) else one.payload for one in rest(subscription)]
        assert told == [2, b"2", b"3", 1, b"5", b"6", 1]


def test_a_message_in_time_is_handed_out_and_tells_when_it_would_have_expired(bus):
    with bus.subscribe("lab.x") as subscription, bus.publisher("lab.x") as publisher:
        publisher.publish(b"x", ttl=100)
        message = subscription.receive()
        assert message.expires_ns - message.time_ns == 100_000_000_000


def test_a_topic_retains_only_so_long(bus, world):
    with bus.publisher("lab.x") as publisher, bus.subscribe("lab.x") as subscription:
        bus.set_limits("lab.x", retention=0.2)
        publisher.publish_many(numbered(0, 3))
        world.pass_time(0.3)
        publisher.publish(b"3")
        found = rest(subscription)
        assert gaps(found) == [(1, 3, "expired")] and payloads(found) == [b"3"]


def test_a_limit_by_time_drops_what_is_older_for_good(bus, world):
    with bus.publisher("lab.x") as publisher:
        publisher.publish_many([b"old"] * 5)
        world.pass_time(LONG)
        bus.set_limits("lab.x", retention=SHORT)
        publisher.publish(b"new")
        bus.set_limits("lab.x", retention=0)
        assert payloads(rest(bus.subscribe("lab.x", start="earliest"))) == [b"new"]
        world.pass_time(LONG)
        assert payloads(rest(bus.subscribe("lab.x", start="earliest"))) == [b"new"]


def test_the_last_so_many_leave_out_what_is_past_its_time(bus, world):
    with bus.publisher("lab.x") as publisher:
        publisher.publish(b"0")
        publisher.publish_many([b"x"] * 3, ttl=SHORT)
        publisher.publish(b"4")
        world.pass_time(LONG)
        found = rest(bus.subscribe("lab.x", start=shmbus.Last(2)))
        assert payloads(found) == [b"0", b"4"] and gaps(found) == [(2, 3, "expired")]


def test_what_a_lossless_reader_has_not_read_holds_its_room_when_it_is_past_its_time(bus, world):
    with bus.subscribe("lab.x", lossless=True) as subscription, bus.publisher("lab.x", timeout=0) as publisher:
        publisher.publish_many([b"x"] * 15, ttl=SHORT)
        world.pass_time(LONG)
        assert publisher.try_publish(b"y") is None
        assert gaps(rest(subscription)) == [(1, 15, "expired")]
        assert publisher.try_publish(b"y") == 16
