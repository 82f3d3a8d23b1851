"""The ledger: by subscription, topic and producer published = delivered + lost by reason + in flight, whoever dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress

import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.durables import impatient
from process.rings import small
from shmbus import segment
from shmbus.errors import ConnectionLost, ReceiveTimeout
from shmbus.tools.snapshot import Probe

PUBLISHES = """
import sys
import shmbus
with shmbus.connect(sys.argv[1], name="collector") as bus, bus.publisher("lab.x", name=sys.argv[2]) as publisher:
    print("ready", flush=True)
    count = int(sys.argv[3])
    while True:
        number = 0
        while number != count:
            number += 1
            publisher.publish(b"%d" % number, priority=200 if number % 7 == 0 else 0)
        print("done", flush=True)
        sys.stdin.readline()  # once more, then
"""
READS = """
import sys
import shmbus
with shmbus.connect(sys.argv[1], name="reader") as bus, bus.subscribe("lab.#") as subscription:
    print("ready", flush=True)
    while True:
        subscription.receive()
"""

CROWD = """
import sys
import shmbus
with shmbus.connect(sys.argv[1], name="crowd") as bus:
    crowd = [bus.publisher("lab.x", name=f"p{n}") for n in range(int(sys.argv[2]))]
    print("ready", flush=True)
    while sys.stdin.readline():
        for publisher in crowd * 5:
            publisher.publish(b"x")
        print("done", flush=True)
"""


def adds_up(entry):
    accounted = entry.delivered + entry.overrun + entry.expired + entry.corrupt + entry.filtered
    accounted += entry.dead + entry.in_flight
    return entry.published == accounted


def by_producer(entries):
    return {entry.producer.name: entry for entry in entries}


def ledger_of(bus_name, client):
    """As somebody who asks nobody finds it."""
    with Probe(bus_name) as probe:
        reading = probe.read()
        found = probe.ledger(reading)
    return [entry for account in found if account.reader == client for entry in account.entries]


@pytest.fixture
def bus():
    with shmbus.embedded(small(), name="lab") as bus:
        yield bus


def test_it_tells_delivered_lost_and_waiting_of_each_producer(bus):
    one, other = bus.publisher("lab.x", name="one"), bus.publisher("lab.x", name="other")
    one.publish_many([b"before"] * 5)
    with bus.subscribe("lab.x") as subscription:
        one.publish_many([b"x"] * 4)
        other.publish_many([b"x"] * 20)
        gaps = [found for found in subscription.receive_many(limit=7) if isinstance(found, shmbus.Gap)]
        assert [(gap.producer.name, gap.count) for gap in gaps] == [("one", 4), ("other", 5)]
        found = by_producer(subscription.ledger())
        assert set(found) == {"one", "other"} and all(map(adds_up, found.values()))
        assert (found["one"].published, found["one"].overrun, found["one"].in_flight) == (4, 4, 0)
        assert found["other"][3:] == (20, 5, 5, 0, 0, 0, 0, 0, 10)
        assert (subscription.delivered, subscription.lost) == (5, 9)
        one.close()
        other.close()


def test_a_claim_that_came_to_nothing_is_no_message():
    with shmbus.embedded(small(), name="lab") as bus, bus.subscribe("lab.x") as subscription:
        with python(PUBLISHES, bus.address, "one", "3") as child:
            child.stdout.readline()
            child.stdout.readline()
            child.kill()
            child.wait(20)
        with bus.publisher("lab.x", name="other") as publisher:
            publisher.publish_many([b"x"] * 40)
            found = subscription.receive_many(limit=100)
        gaps = {gap.producer.name: gap.count for gap in found if isinstance(gap, shmbus.Gap)}
        messages = Counter(message.producer.name for message in found if isinstance(message, shmbus.Message))
        assert {name: gaps.get(name, 0) + messages[name] for name in ("one", "other")} == {"one": 3, "other": 40}


STRIDES = """
import sys
import shmbus
with (
    shmbus.connect(sys.argv[1], name=sys.argv[2]) as bus,
    bus.publisher("lab.x", name=sys.argv[2], durable=True) as publisher,
):
    print(publisher.last_number, flush=True)
    stride, count = int(sys.argv[3]), int(sys.argv[4])
    for _ in range(count):
        publisher.publish(b"x", number=publisher.last_number + stride)
    print("done", flush=True)
    if sys.argv[5:]:
        sys.stdin.readline()
"""


@pytest.mark.parametrize("durable", [None, "agent"])
def test_nobody_is_blamed_for_what_another_lost_whose_numbers_have_gaps_as_well(bus_name, durable, tmp_path):
    (tmp_path / "bus.toml").write_text("[defaults]\nslots = 16\n")
    published, told = Counter(), Counter()

    def publish(name, stride, count, *how):
        with python(STRIDES, bus_name, name, str(stride), str(count), *how) as child:
            child.stdout.readline()
            assert child.stdout.readline() == "done\n"
            published[name] += count
            if how:
                child.kill()
            child.wait(20)

    def read(subscription):
        while (one := subscription.try_receive()) is not None:
            told[one.producer.name] += one.count if isinstance(one, shmbus.Gap) else 1
            if durable:
                subscription.ack_many([one])

    with (
        coordinator(bus_name, "--config", str(tmp_path / "bus.toml")),
        shmbus.connect(bus_name, name="reader") as bus,
        ExitStack() as stack,
    ):
        publish("one", 50, 2)
        published.clear()  # that was before
        subscription = stack.enter_context(bus.subscribe("lab.x", durable=durable))
        publish("one", 100, 3)
        publish("other", 7, 2)
        read(subscription)
        if durable:
            subscription.close()
        publish("one", 5, 4, "is killed")
        publish("other", 900, 21, "is killed")
        publish("one", 2, 3)
        if durable:
            subscription = stack.enter_context(bus.subscribe("lab.x", durable=durable))
        read(subscription)
        assert told == published
        bus.resize("lab.x", slots=8)
        publish("other", 3, 2)
        if durable:
            read(subscription)  # it is not left behind while it is there
        publish("one", 11, 9 if durable is None else 4)
        read(subscription)
        assert told == published
        for entry in subscription.ledger():
            assert adds_up(entry) and entry.in_flight == 0 and entry.published == published[entry.producer.name]


def test_what_waits_is_counted_in_messages_whatever_numbers_they_have(bus):
    with (
        bus.publisher("lab.x", name="one", durable=True) as publisher,
        bus.subscribe("lab.x") as lossy,
        bus.subscribe("lab.x", durable="agent") as durable,
    ):
        for number in (3, 50, 51, 700):
            publisher.publish(b"x", number=number)
        for subscription in (lossy, durable):
            (entry,) = subscription.ledger()
            assert (entry.published, entry.in_flight) == (4, 4)
        assert lossy.try_receive() is not None
        assert lossy.ledger()[0].in_flight == 3 and adds_up(lossy.ledger()[0])


def test_what_is_filtered_expired_or_published_again_is_told_apart(bus):
    with (
        bus.publisher("lab.x", name="one", durable=True) as publisher,
        bus.subscribe("lab.x", filter=shmbus.Filter(min_priority=10)) as subscription,
    ):
        publisher.publish_many([b"low"] * 2)
        publisher.publish_many([b"high"] * 3, priority=20)
        publisher.publish_many([b"brief"] * 2, ttl=0.000_001, priority=20)
        time.sleep(0.001)
        publisher.publish(b"last", number=100, priority=20)
        found = subscription.receive_many()
        assert [type(one).__name__ for one in found] == ["Message"] * 3 + ["Gap", "Message"]
        assert (found[3].reason, found[3].count, found[3].producer.name) == ("expired", 2, "one")
        (entry,) = subscription.ledger()
        assert (entry.delivered, entry.filtered, entry.expired, entry.overrun, entry.in_flight) == (4, 2, 2, 0, 0)
        assert entry.published == 8 and adds_up(entry) and entry.lost == 2  # 92 numbers were never used


def test_both_lanes_and_all_generations_of_a_topic_are_in_it(bus):
    with bus.publisher("lab.x", name="one") as publisher, bus.subscribe("lab.x") as subscription:
        publisher.publish_many([b"x"] * 3)
        publisher.publish_many([b"x"] * 2, priority=200)
        assert len(subscription.receive_many()) == 5
        bus.resize("lab.x", slots=32)
        publisher.publish_many([b"x"] * 40)
        found = subscription.receive_many(limit=5)
        assert isinstance(found[0], shmbus.Gap) and found[0].producer.name == "one"
        lanes = {entry.lane: entry for entry in subscription.ledger()}
        assert (lanes["urgent"].published, lanes["urgent"].delivered) == (2, 2)
        assert lanes["normal"].published == 43 and adds_up(lanes["normal"])
        assert lanes["normal"].delivered == 3 + 4 and lanes["normal"].overrun == found[0].count


def test_whoever_begins_in_a_successor_is_told_of_no_messages_before_it(bus):
    with (
        bus.publisher("lab.x", name="early") as early,
        bus.publisher("lab.x", name="late") as late,
        bus.subscribe("lab.x", lossless=True) as keeper,
    ):
        early.publish_many([b"before"] * 5)
        keeper.receive_many()
        bus.resize("lab.x", slots=64)
        with bus.subscribe("lab.x") as subscription:
            late.publish(b"dropped")
            keeper.receive_many()
            bus.set_limits("lab.x", max_messages=1)
            for _ in range(2):
                early.publish(b"here")
                keeper.receive_many()
            *gaps, message = subscription.receive_many()
            assert [(gap.producer.name, gap.count) for gap in gaps] == [("early", 1), ("late", 1)]
            assert message.payload == b"here"
            assert {entry.producer.name: entry.published for entry in subscription.ledger()} == {"early": 2, "late": 1}


def test_whoever_joins_late_has_nothing_to_do_with_what_was_before(bus):
    with bus.publisher("lab.x", name="one") as publisher:
        publisher.publish_many([b"x"] * 100)
        with bus.subscribe("lab.x") as latest, bus.subscribe("lab.x", start="earliest") as earliest:
            kept = len(earliest.receive_many())
            publisher.publish(b"x")
            latest.receive()
            assert [(entry.published, entry.delivered) for entry in latest.ledger()] == [(1, 1)]
            assert [(entry.published, entry.delivered) for entry in earliest.ledger()] == [(kept + 1, kept)]
        with bus.subscribe("lab.x", start=2) as before:  # who had published that was not known by then
            gap = before.receive()
            assert (gap.reason, gap.producer) == ("overrun", None) and gap.count > 80


def test_an_id_that_was_anothers_is_a_producer_of_its_own(bus):
    with bus.subscribe("lab.x") as subscription:
        for _ in range(200):  # more than there are ids
            with bus.publisher("lab.x", name="brief") as publisher:
                publisher.publish_many([b"x"] * 3)
        told = Counter()
        for found in subscription.receive_many(limit=1000):
            told[type(found).__name__] += found.count if isinstance(found, shmbus.Gap) else 1
        assert told.total() == 600 and told["Message"] > 0


@pytest.mark.parametrize("victim", ["reader", "publisher"])
def test_it_is_right_at_any_moment_also_of_who_was_killed(victim, bus_name):
    with coordinator(bus_name) as running, ExitStack() as stack:
        reader = stack.enter_context(python(READS, bus_name))
        assert reader.stdout.readline() == "ready\n"
        publishers = [stack.enter_context(python(PUBLISHES, bus_name, f"p{n}", "-1")) for n in range(2)]
        for publisher in publishers:
            assert publisher.stdout.readline() == "ready\n"
        eventually(lambda: any(entry.delivered > 1000 for entry in ledger_of(bus_name, "reader")))
        if victim == "reader":
            os.kill(reader.pid, signal.SIGSTOP)  # as good as killed, and its page is still listed
            time.sleep(0.2)
            for publisher in publishers:
                publisher.kill()
                publisher.wait(20)
            first, second = ledger_of(bus_name, "reader"), ledger_of(bus_name, "reader")
            assert first == second and len(first) >= 4 and all(map(adds_up, first))
            os.kill(reader.pid, signal.SIGCONT)
        else:
            publishers[0].kill()
            publishers[0].wait(20)
            publishers[1].kill()
            publishers[1].wait(20)
        eventually(lambda: not any(entry.in_flight for entry in ledger_of(bus_name, "reader")))
        entries = ledger_of(bus_name, "reader")
        assert all(map(adds_up, entries)) and sum(entry.published for entry in entries) > 1000
        assert "Traceback" not in "".join(running.lines)


def come_and_go(bus_name, name, count):
    """A publisher that publishes so many and is killed."""
    with python(PUBLISHES, bus_name, name, str(count)) as child:
        assert [child.stdout.readline() for _ in range(2)] == ["ready\n", "done\n"]
        kill(child)


def told_by(subscription, settle=lambda found: None):
    """What was handed out and what was told as lost, by publisher, to the end: a batch may end where a ring was sealed,
    and members of a durable subscription go on behind that when all before it is settled."""
    got, lost = Counter(), Counter()
    with suppress(ReceiveTimeout):
        while True:
            every = subscription.receive_many(limit=5000, timeout=1)
            for found in every:
                name = found.producer and found.producer.name
                if isinstance(found, shmbus.Gap):
                    lost[name] += found.count
                else:
                    got[name] += 1
            settle(every)
    return got, lost


def test_losses_of_publishers_that_came_and_went_have_their_names(bus_name, tmp_path):
    config = tmp_path / "bus.toml"
    config.write_text("[defaults]\nproducers = 6\nslots = 16\n")
    with coordinator(bus_name, "--config", str(config)), shmbus.connect(bus_name) as bus:
        with bus.subscribe("lab.#", start="earliest") as subscription, bus.publisher("lab.x", name="stays") as stays:
            for n in range(4):
                come_and_go(bus_name, f"brief{n}", 5)
                stays.publish_many([b"x"] * 30)  # nothing of it is in the ring any more
            got, lost = told_by(subscription)
            assert lost.pop("stays") + got["stays"] == 120
            assert lost == {f"brief{n}": 5 for n in range(4)}
            entries = by_producer(subscription.ledger())
            assert all((entries[f"brief{n}"].published, entries[f"brief{n}"].overrun) == (5, 5) for n in range(4))
            assert all(map(adds_up, entries.values()))
            for n in range(4, 9):  # more than there are ids
                come_and_go(bus_name, f"brief{n}", 5)
                stays.publish_many([b"x"] * 30)
            got, lost = told_by(subscription)
            assert lost.pop("stays") + got["stays"] == 150
            assert lost.pop(None, 0) + sum(lost.values()) == 25 and {f"brief{n}" for n in range(5, 9)} <= {*lost}


def test_a_durable_subscription_is_told_the_names_of_publishers_that_came_and_went(bus_name, tmp_path):
    config = tmp_path / "bus.toml"
    config.write_text("[defaults]\nproducers = 8\nslots = 16\n")
    with coordinator(bus_name, "--config", str(config)), shmbus.connect(bus_name) as bus:
        bus.subscribe("lab.#", durable="agent").close()
        with bus.publisher("lab.x", name="stays") as stays:
            for n in range(6):
                come_and_go(bus_name, f"brief{n}", 5)
                stays.publish_many([b"x"] * 30)
                if n == 2:
                    bus.resize("lab.x", slots=32)
            with bus.subscribe("lab.#", durable="agent") as subscription:
                got, lost = told_by(subscription, subscription.ack_many)
            assert got + lost == {"stays": 180} | {f"brief{n}": 5 for n in range(6)}


def test_who_has_left_is_known_to_the_next_coordinator(bus_name, tmp_path):
    config = tmp_path / "bus.toml"
    config.write_text("[defaults]\nproducers = 4\nslots = 16\n")
    with ExitStack() as stack:
        first = stack.enter_context(coordinator(bus_name, "--config", str(config)))
        bus = stack.enter_context(shmbus.connect(bus_name))
        subscription = stack.enter_context(bus.subscribe("lab.#", start="earliest"))
        stays = stack.enter_context(bus.publisher("lab.x", name="stays"))
        for name in ("one", "two"):
            come_and_go(bus_name, name, 5)
            stays.publish_many([b"x"] * 30)
        first.process.kill()
        first.rest()
        stack.enter_context(coordinator(bus_name, "--config", str(config)))
        for name in ("three", "four"):  # they get the id that nobody has had, and that of "one" (or a new ring)
            come_and_go(bus_name, name, 5)
            stays.publish_many([b"x"] * 30)
        got, lost = told_by(subscription)
        assert lost.pop("stays") + got["stays"] == 120
        assert lost.pop(None, 0) + lost.pop("one", 0) == 5
        assert lost == {"two": 5, "three": 5, "four": 5}


DIES_RESIZING = """
import os, sys
from shmbus.coordinator import __main__, topics
topics.killpoint = lambda site: os._exit(9) if site == "successor.told" else None
sys.exit(__main__.main())
"""


def test_who_has_left_is_known_after_a_resize_that_its_coordinator_did_not_survive(bus_name, tmp_path):
    config = tmp_path / "bus.toml"
    config.write_text("[defaults]\nproducers = 8\nslots = 16\n")
    arguments = "--bus", bus_name, "--config", str(config), "--collectors", ","
    with ExitStack() as stack:
        command = [sys.executable, "-c", DIES_RESIZING, *arguments]
        first = stack.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        assert any("ready" in line for line in first.stderr)
        bus = stack.enter_context(shmbus.connect(bus_name))
        bus.subscribe("lab.#", durable="agent").close()
        stays = stack.enter_context(bus.publisher("lab.x", name="stays"))
        for n in range(2):
            come_and_go(bus_name, f"brief{n}", 5)
            stays.publish_many([b"x"] * 30)
        with pytest.raises(ConnectionLost):
            bus.resize("lab.x", slots=32)
        assert first.wait(20) == 9
        stack.enter_context(coordinator(bus_name, "--config", str(config)))
        for n in range(2, 5):
            come_and_go(bus_name, f"brief{n}", 5)
            stays.publish_many([b"x"] * 40)
        with bus.subscribe("lab.#", durable="agent") as subscription:
            got, lost = told_by(subscription, subscription.ack_many)
        assert got + lost == {"stays": 180} | {f"brief{n}": 5 for n in range(5)}


def test_who_had_left_before_is_nobodys_loss(bus):
    brief = bus.publisher("lab.x", name="brief")  # has the lower id
    with bus.publisher("lab.x", name="stays") as stays:
        brief.publish_many([b"x"] * 20)
        brief.close()
        stays.publish_many([b"x"] * 30)
        with bus.subscribe("lab.x") as subscription, bus.subscribe("lab.x", durable="agent") as durable:
            for _ in range(3):
                stays.publish_many([b"x"] * 10)
                durable.ack_many(durable.receive_many())
            assert [entry.producer.name for entry in subscription.ledger()] == ["stays"]
            got, lost = told_by(subscription)
            assert {*lost} == {"stays"} and lost["stays"] + got["stays"] == 30
            assert [entry.producer.name for entry in subscription.ledger()] == ["stays"]
            assert [entry.producer.name for entry in durable.ledger()] == ["stays"]


def test_each_of_very_many_publishers_is_told_by_name(bus_name, tmp_path):
    config, count = tmp_path / "bus.toml", 200
    config.write_text("[bus]\nsession_cursors = 16\n[defaults]\nproducers = 256\nslots = 64\n")
    with coordinator(bus_name, "--config", str(config)), ExitStack() as stack:
        bus = stack.enter_context(shmbus.connect(bus_name, name="reader"))
        names = [one.name for one in segment.list_segments(bus=bus_name) if "session" in one.what]
        pages = [os.stat(segment.ROOT + name) for name in names]
        assert pages and all(page.st_blocks * 512 <= 8192 < page.st_size for page in pages)  # room that takes no memory
        crowd = stack.enter_context(python(CROWD, bus_name, str(count)))
        assert crowd.stdout.readline() == "ready\n"
        one, other = bus.subscribe("lab.x"), bus.subscribe("lab.x")
        told = {subscription: Counter() for subscription in (one, other)}
        for _ in range(2):
            crowd.stdin.write("\n")
            crowd.stdin.flush()
            assert crowd.stdout.readline() == "done\n"
            for subscription, its in told.items():
                for found in subscription.receive_many(limit=5000):
                    its[found.producer.name] += found.count if isinstance(found, shmbus.Gap) else 1
        for subscription, its in told.items():
            assert its == {f"p{n}": 10 for n in range(count)}
            entries = by_producer(subscription.ledger())
            assert len(entries) == count and all(map(adds_up, entries.values()))
            assert all((entry.published, entry.in_flight) == (10, 0) for entry in entries.values())
        assert sorted(ledger_of(bus_name, "reader")) == sorted(one.ledger() + other.ledger())


def test_what_a_flooded_reader_was_told_is_what_its_ledger_says():
    with shmbus.embedded(small(64), name="lab") as bus, ExitStack() as stack, bus.subscribe("lab.#") as subscription:
        count = 20_000
        for n in range(3):
            child = stack.enter_context(python(PUBLISHES, bus.address, f"p{n}", str(count)))
            assert child.stdout.readline() == "ready\n"
        told, ends = Counter(), 0
        with suppress(ReceiveTimeout):
            while True:
                found = subscription.receive(timeout=3)
                if isinstance(found, shmbus.Gap):
                    told[found.producer.name, "lost"] += found.count
                else:
                    told[found.producer.name, "got"] += 1
                ends += 1
                if ends % 100 == 0:
                    assert all(map(adds_up, subscription.ledger()))
        for n in range(3):
            assert told[f"p{n}", "got"] + told[f"p{n}", "lost"] == count
            its = [entry for entry in subscription.ledger() if entry.producer.name == f"p{n}"]
            assert sum(entry.overrun for entry in its) == told[f"p{n}", "lost"] > 0
            assert sum(entry.delivered for entry in its) == told[f"p{n}", "got"]
            assert sum(entry.published for entry in its) == count


def test_the_command_prints_it(bus_name):
    with (
        coordinator(bus_name),
        shmbus.connect(bus_name, name="agent") as bus,
        bus.publisher("lab.x", name="one") as publisher,
        bus.subscribe("lab.x") as subscription,
    ):
        publisher.publish_many([b"x"] * 20)
        subscription.receive_many(limit=4)
        assert ledger_of(bus_name, "agent") == subscription.ledger()
        command = [sys.executable, "-m", "shmbus.tools", "ledger", "--bus", bus_name]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        titles = "topic, reader/publisher pid publ. deliv. overrun expired corrupt filtered dead waiting"
        assert shown[0].split() == titles.split()
        pid = str(os.getpid())
        assert shown[1].split() == ["lab.x", "agent", pid]
        assert shown[2].split() == ["one", pid, "20", "4", "0", "0", "0", "0", "0", "16"]
        said = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
        (fact,) = map(json.loads, said.splitlines())
        assert (fact["subscriber"], fact["publisher"], fact["delivered"], fact["in_flight"]) == ("agent", "one", 4, 16)
        none = subprocess.run([*command, "--lost"], capture_output=True, text=True, check=True).stdout
        assert none == f"nobody on the bus '{bus_name}' lost anything\n"


# ---- durable subscriptions: what their members settle together ----

MEMBER = """
import sys, time
import shmbus
with shmbus.connect(sys.argv[1], name="member") as bus, bus.subscribe("lab.#", durable=DURABLE) as subscription:
    print("ready", flush=True)
    for count in range(1_000_000_000):
        found = subscription.receive_many(limit=7, timeout=30)
        if count % 5 == 4:
            for message in found:
                isinstance(message, shmbus.Message) and subscription.nack(message)
        else:
            subscription.ack_many(found)
"""


def member(stack, bus_name, durable='shmbus.Durable("agent", window=64)'):
    child = stack.enter_context(python(MEMBER.replace("DURABLE", durable), bus_name))
    assert child.stdout.readline() == "ready\n"
    return child


def kill(*children):
    for child in children:
        child.kill()
        child.wait(20)


def in_flight(bus_name):
    return sum(entry.in_flight for entry in ledger_of(bus_name, "agent"))


def test_members_of_a_durable_subscription_have_one_account_of_what_they_settled(bus):
    one, other = bus.publisher("lab.x", name="one"), bus.publisher("lab.x", name="other")
    with bus.subscribe("lab.x", durable="agent") as first, bus.subscribe("lab.x", durable="agent") as second:
        one.publish_many([b"x"] * 4)
        other.publish_many([b"x"] * 6)
        held = first.receive_many(limit=5)
        second.ack_many(second.receive_many(limit=5))
        assert all(entry.in_flight == entry.published for entry in first.ledger())  # what stands before them is held
        first.ack_many(held[:3])
        first.nack(held[3])
        found = by_producer(first.ledger())
        assert second.ledger() == first.ledger() and all(map(adds_up, found.values()))
        assert [(found[name].delivered, found[name].in_flight) for name in ("one", "other")] == [(3, 1), (0, 6)]
        second.ack(second.receive())
        first.ack(held[4])
        assert {name: entry[3:5] for name, entry in by_producer(first.ledger()).items()} == {
            "one": (4, 4),
            "other": (6, 6),
        }
    one.close()
    other.close()


def test_how_a_message_of_a_durable_subscription_ended_is_told_by_producer(bus):
    durable = shmbus.Durable("agent", max_deliveries=1, exactly_once=True)
    wanted = shmbus.Filter(min_priority=10)
    with (
        bus.publisher("lab.x", name="one", durable=True) as publisher,
        bus.subscribe("lab.x", durable=durable, filter=wanted) as subscription,
    ):
        publisher.publish_many([b"low"] * 2)
        publisher.publish_many([b"high"] * 3, priority=20)
        publisher.publish_many([b"brief"] * 2, ttl=0.000_001, priority=20)
        publisher.publish(b"last", number=100, priority=20)
        time.sleep(0.001)
        *found, bad = [one for one in subscription.receive_many() if isinstance(one, shmbus.Message)]
        subscription.ack_many(found)
        subscription.nack(bad)
        assert subscription.try_receive() is None
        (entry,) = subscription.ledger()
        assert (entry.delivered, entry.filtered, entry.expired, entry.dead) == (3, 2, 2, 1)
        assert (entry.published, entry.in_flight) == (8, 0) and adds_up(entry)  # 92 numbers were never used


def test_gaps_of_a_durable_subscription_name_whose_messages_were_dropped(bus):
    with ExitStack() as stack:
        publishers = [stack.enter_context(bus.publisher("lab.x", name=name)) for name in ("one", "other", "quiet")]
        with bus.subscribe("lab.x", durable="agent") as subscription:
            publishers[0].publish_many([b"x"] * 2)
            subscription.ack(subscription.receive())
        publishers[2].publish(b"x")
        for _ in range(10):
            publishers[0].publish_many([b"x"] * 2)
            publishers[1].publish(b"x")
        with bus.subscribe("lab.x", durable="agent") as subscription:
            found = subscription.receive_many(limit=100)
            gaps = {gap.producer.name: gap.count for gap in found if isinstance(gap, shmbus.Gap)}
            messages = Counter(message.producer.name for message in found if isinstance(message, shmbus.Message))
            assert gaps.keys() == {"one", "other", "quiet"} and gaps["quiet"] == 1
            assert {name: gaps[name] + messages[name] for name in gaps} == {"one": 21, "other": 10, "quiet": 1}
            subscription.ack_many(found)
            for entry in subscription.ledger():
                assert adds_up(entry) and entry.in_flight == 0 and entry.overrun == gaps[entry.producer.name]


def test_a_demoted_durable_subscription_is_told_whose_messages_it_missed():
    with (
        shmbus.embedded(impatient(), name="lab") as bus,
        bus.publisher("lab.x", name="one") as one,
        bus.publisher("lab.x", name="other") as other,
        bus.subscribe("lab.x", durable="agent") as subscription,
    ):
        one.publish_many([b"x"] * 10)
        held = subscription.receive_many(limit=4)
        for _ in range(30):
            other.publish(b"x", timeout=20)
        assert all(subscription.ack(message) for message in held)
        told = Counter()
        for found in subscription.receive_many(limit=100):
            if isinstance(found, shmbus.Message):
                subscription.ack(found)
            elif found.reason == "overrun":
                told[found.producer.name] += found.count
        entries = by_producer(subscription.ledger())
        assert entries["one"][3:6] == (10, 4, 6) == (10, 4, told["one"])
        assert entries["other"].overrun == told["other"] > 0 and entries["other"].published == 30
        assert all(adds_up(entry) and entry.in_flight == 0 for entry in entries.values())


def test_an_id_that_another_gets_while_nobody_reads_is_counted_to_the_last_message(bus):
    bus.subscribe("lab.x", durable="agent").close()
    for _ in range(200):  # more than there are ids
        with bus.publisher("lab.x", name="brief") as publisher:
            publisher.publish_many([b"x"] * 3)
    with bus.subscribe("lab.x", durable="agent") as subscription:
        told = Counter()
        for found in subscription.receive_many(limit=1000):
            told[type(found).__name__] += found.count if isinstance(found, shmbus.Gap) else 1
            isinstance(found, shmbus.Message) and subscription.ack(found)
        assert told.total() == 600 and told["Message"] > 0
        assert all(adds_up(entry) and entry.in_flight == 0 for entry in subscription.ledger())


def test_the_account_of_a_durable_subscription_goes_on_in_the_topics_successor(bus):
    with bus.publisher("lab.x", name="one") as publisher, bus.subscribe("lab.x", durable="agent") as subscription:
        publisher.publish_many([b"x"] * 3)
        publisher.publish_many([b"x"] * 2, priority=200)
        bus.resize("lab.x", slots=32)
        publisher.publish_many([b"x"] * 20)
        subscription.ack(subscription.receive())  # by now it knows of the new ring
        lanes = {entry.lane: entry for entry in subscription.ledger()}
        assert (lanes["normal"].published, lanes["normal"].in_flight) == (23, 23)
        for _ in range(24):
            subscription.ack(subscription.receive(timeout=5))
        lanes = {entry.lane: entry for entry in subscription.ledger()}
        assert lanes["urgent"][3:5] == (2, 2) and lanes["normal"][3:5] == (23, 23)
    for _ in range(3):  # and is given up with nobody there
        with bus.publisher("lab.x", name="next") as publisher:
            publisher.publish_many([b"x"] * 40)
        bus.resize("lab.x", slots=16)
    with bus.publisher("lab.x", name="last") as publisher:
        publisher.publish_many([b"x"] * 40)
        with bus.subscribe("lab.x", durable="agent") as subscription:
            told = Counter()
            with suppress(ReceiveTimeout):
                while True:
                    found = subscription.receive(timeout=0.5)
                    told[type(found).__name__] += found.count if isinstance(found, shmbus.Gap) else 1
                    isinstance(found, shmbus.Message) and subscription.ack(found)
            assert told.total() == 160 and all(map(adds_up, subscription.ledger()))
            assert not any(entry.in_flight for entry in subscription.ledger())


@pytest.mark.parametrize("exactly_once", [False, True])
def test_it_ends_exact_whichever_members_are_killed_in_the_middle(bus_name, exactly_once):
    durable = f'shmbus.Durable("agent", window=64, exactly_once={exactly_once})'
    with coordinator(bus_name) as running, ExitStack() as stack:
        members = [member(stack, bus_name, durable) for _ in range(3)]
        publishers = [stack.enter_context(python(PUBLISHES, bus_name, f"p{n}", "20000")) for n in range(2)]
        for publisher in publishers:
            assert publisher.stdout.readline() == "ready\n"
        for _ in range(4):
            time.sleep(0.05)
            os.kill(members[0].pid, signal.SIGSTOP)
            first, second = ledger_of(bus_name, "agent"), ledger_of(bus_name, "agent")
            assert all(map(adds_up, first)) and all(map(adds_up, second))
            kill(members.pop(0))
            members.append(member(stack, bus_name, durable))
        for publisher in publishers:
            assert publisher.stdout.readline() == "done\n"
        eventually(lambda: in_flight(bus_name) == 0)
        entries = ledger_of(bus_name, "agent")
        assert Counter((entry.producer.name, entry.lane) for entry in entries).total() == 4
        for n in range(2):
            its = [entry for entry in entries if entry.producer.name == f"p{n}"]
            assert sum(entry.published for entry in its) == 20_000
            assert all(entry.delivered == entry.published and adds_up(entry) for entry in its)
        assert "Traceback" not in "".join(running.lines)


def test_it_ends_exact_when_all_members_are_killed_and_the_topic_goes_on_without_them(bus_name):
    with coordinator(bus_name) as running, ExitStack() as stack, shmbus.connect(bus_name, name="last") as bus:
        members = [member(stack, bus_name) for _ in range(2)]
        publishers = [stack.enter_context(python(PUBLISHES, bus_name, f"p{n}", "30000")) for n in range(2)]
        for publisher in publishers:
            assert (publisher.stdout.readline(), publisher.stdout.readline()) == ("ready\n", "done\n")
        kill(*members)
        for publisher in publishers:
            publisher.stdin.write("\n")
            publisher.stdin.flush()
            assert publisher.stdout.readline() == "done\n"
        told = Counter()
        before = {(entry.producer.name, entry.lane): entry.overrun for entry in ledger_of(bus_name, "agent")}
        with bus.subscribe("lab.#", durable=shmbus.Durable("agent", window=64)) as subscription:
            for found in iter(subscription.try_receive, None):
                if isinstance(found, shmbus.Gap):
                    told[found.producer.name] += found.count
                else:
                    subscription.ack(found)
            entries = subscription.ledger()
        assert len(entries) == 4 and not any(before.values())
        for n in range(2):
            its = [entry for entry in entries if entry.producer.name == f"p{n}"]
            assert sum(entry.published for entry in its) == 60_000 and all(map(adds_up, its))
            assert sum(entry.overrun for entry in its) == told[f"p{n}"] > 0
            assert not any(entry.in_flight for entry in its)
        assert "Traceback" not in "".join(running.lines)


def test_the_command_shows_a_durable_subscription_once_whoever_reads_for_it(bus_name):
    with (
        coordinator(bus_name),
        shmbus.connect(bus_name, name="reader") as bus,
        bus.publisher("lab.x", name="one") as publisher,
    ):
        command = [sys.executable, "-m", "shmbus.tools", "ledger", "--bus", bus_name]
        with bus.subscribe("lab.x", durable="agent") as first, bus.subscribe("lab.x", durable="agent"):
            publisher.publish_many([b"x"] * 5)
            first.ack_many(first.receive_many(limit=4))
            assert ledger_of(bus_name, "agent") == first.ledger()
            (page,) = bus._pages.groups.values()
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        pid = str(os.getpid())
        assert [line.split() for line in shown[1:]] == [["lab.x", "[agent]"], ["one", pid, "5", "4", *"00000", "1"]]
        said = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
        (fact,) = map(json.loads, said.splitlines())
        assert (fact["subscriber"], fact["durable"], fact["subscriber_pid"], fact["dead"]) == ("agent", True, None, 0)
        page.record = b"\xff scribbled over by a member"
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        assert [line.split() for line in shown[1:]] == [["lab.x", "[]"], ["one", pid, "5", "4", *"00000", "1"]]
