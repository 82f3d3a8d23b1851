"""The last message of each key: kept whoever is killed, and the beginning of a subscription that misses nothing.

Every key's messages are numbered 0, 1, 2, ... by the one who publishes under it. So whoever begins with the last of
each must see, of each key, some number and then the next, and the next.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import shmbus
from process.buses import Running, coordinator, eventually, python
from shmbus import Gap, LastPerKey
from shmbus.coordinator.settings import Grant, Settings, TopicPlan
from shmbus.errors import DurableError, ReceiveTimeout, ShmbusError
from shmbus.subscription import Subscription
from shmbus.v1.eventbus_pb2 import EventBusMessage, HeartbeatPayload

TESTS = Path(__file__).resolve().parents[1]
KEYS = ("a", "b", "c")

PUBLISHER = """
import select, sys, time, shmbus
from shmbus.v1.eventbus_pb2 import HeartbeatPayload
bus_name, name, topic, pause, most, priority = sys.argv[1:]
with shmbus.connect(bus_name, name=name) as bus, bus.publisher(topic, timeout=60) as publisher:
    number = 0
    while number < int(most) and not select.select([sys.stdin], [], [], float(pause))[0]:
        for key in "abc":
            publisher.publish(HeartbeatPayload(uptime_seconds=number), key=name + key, priority=int(priority))
        publisher.publish(b"no key", priority=int(priority))
        number += 1
        if number == 1:
            print("ready", flush=True)
    print("done", number, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def config(tmp_path):
    def written(text="", **settings):
        lines = {"slots": 64, "urgent_slots": 64, "keep_last": 16, "keep_last_bytes": 4096, **settings}
        path = tmp_path / "bus.toml"
        path.write_text("[defaults]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items()) + text)
        return "--config", str(path)

    return written


@contextlib.contextmanager
def publishing(bus_name, name="p", topic="lab.x", *, pause=0.0002, most=10**9, priority=0):
    with python(PUBLISHER, bus_name, name, topic, str(pause), str(most), str(priority)) as child:
        assert child.stdout.readline() == "ready\n"
        yield child


def ended(child):
    """Have it stop; how many it has published of each key."""
    child.stdin.write("x")
    child.stdin.flush()
    return int(child.stdout.readline().split()[1])


def number(message):
    return message.event.uptime_seconds


def numbers(bus, topic="lab.x"):
    return {one.key: number(one) for one in bus.last(topic)}


def follow(subscription, seen, until):
    """Read until every key has reached its number in `until`; fails on a gap, or a step back."""
    deadline = time.monotonic() + 30
    while any(seen.get(key, -1) < last for key, last in until.items()):
        assert time.monotonic() < deadline, f"{seen} never became {until}"
        found = subscription.receive(timeout=20)
        assert not isinstance(found, Gap), found
        if subscription.durable:
            subscription.ack(found)
        if found.key is None:
            continue
        expected = seen[found.key] + 1 if found.key in seen else number(found)
        assert number(found) == expected, f"{found.key}: {number(found)} after {seen[found.key]}"
        seen[found.key] = number(found)


def heartbeat(value):
    return HeartbeatPayload(uptime_seconds=value)


def embedded(**settings):
    plan = replace(TopicPlan(), **{"keep_last": 16, "keep_last_bytes": 4096, **settings})
    return shmbus.embedded(Settings(default=plan), name="lab")


# ---- who is killed, and what goes round ------------------------------------------------------------------------------


def test_a_killed_publishers_last_words_outlive_its_ring_many_times_over(bus_name, config):
    with coordinator(bus_name, *config()), shmbus.connect() as bus:
        with publishing(bus_name, "one", most=40) as child:
            assert child.stdout.readline() == "done 40\n"
        with publishing(bus_name, "two", pause=0, most=3000) as child:
            assert child.stdout.readline() == "done 3000\n"
        expected = {f"one{key}": 39 for key in KEYS} | {f"two{key}": 2999 for key in KEYS}
        eventually(lambda: numbers(bus) == expected)
        with bus.subscribe("lab.#", start=LastPerKey()) as subscription:
            found = [subscription.receive(timeout=5) for _ in range(6)]
            assert {one.key: number(one) for one in found} == expected
            assert {one.producer.name for one in found} == {"one", "two"}
            assert [one.time_ns for one in found] == sorted(one.time_ns for one in found)
            assert all(one.pattern == "lab.#" and one.envelope.metadata.key == one.key for one in found)


def test_it_is_read_while_there_is_no_coordinator_and_goes_on_under_the_next_one(bus_name, config):
    arguments = config()
    with coordinator(bus_name, *arguments) as first, shmbus.connect() as bus, bus.publisher("lab.x") as publisher:
        publisher.publish(heartbeat(1), key="a")
        publisher.publish(heartbeat(1), key="b")
        eventually(lambda: numbers(bus) == {"a": 1, "b": 1})
        first.end(signal.SIGKILL)
        assert numbers(bus) == {"a": 1, "b": 1}
        publisher.publish(heartbeat(2), key="a")  # nobody keeps it now: it stays in the ring
        with coordinator(bus_name, *arguments), shmbus.connect() as other:
            eventually(lambda: numbers(other) == {"a": 2, "b": 1})
            publisher.publish(heartbeat(3), key="b")
            eventually(lambda: numbers(bus) == {"a": 2, "b": 3})


def test_what_goes_round_while_nobody_keeps_it_is_counted_and_told(bus_name, config):
    arguments = config()
    with coordinator(bus_name, *arguments) as first, shmbus.connect() as bus, bus.publisher("lab.x") as publisher:
        publisher.publish(heartbeat(1), key="a")
        eventually(lambda: numbers(bus) == {"a": 1})
        first.end(signal.SIGKILL)
        for value in range(2, 200):
            publisher.publish(heartbeat(value), key="ab"[value % 2])
        with coordinator(bus_name, *arguments), shmbus.connect() as other:
            with other.subscribe("control.health.#", start="earliest") as health:
                alert = health.receive(timeout=10).event
            assert alert.affected_resources == ["lab.x"] and "were lost before they could be kept" in alert.description
            eventually(lambda: numbers(other) == {"a": 198, "b": 199})


def test_joiners_under_load_live_through_many_coordinators(bus_name, config):
    arguments, dice = config(slots=1024), random.Random(os.environ["SHMBUS_BUS"])
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(coordinator(bus_name, *arguments))
        bus = stack.enter_context(shmbus.connect())
        children = [stack.enter_context(publishing(bus_name, name, pause=0.001)) for name in ("p", "q")]
        whole = stack.enter_context(bus.subscribe("lab.x", lossless=True, start="earliest"))
        known = {}
        follow(whole, known, {f"{name}{key}": 5 for name in "pq" for key in KEYS})
        for _ in range(int(os.environ.get("SHMBUS_KILLS", "6"))):
            time.sleep(dice.random() * 0.03)
            running.process.kill()
            running.process.wait()
            running.process.stderr.close()
            follow(whole, known, {key: value + 20 for key, value in known.items()})
            running = stack.enter_context(coordinator(bus_name, *arguments))
            with shmbus.connect() as fresh, fresh.subscribe("lab.x", lossless=True, start=LastPerKey()) as joined:
                before, seen = dict(known), {}
                follow(joined, seen, {key: value + 20 for key, value in before.items()})
            follow(whole, known, seen)
        last = {name: ended(child) - 1 for name, child in zip("pq", children, strict=True)}
        expected = {f"{name}{key}": last[name] for name in "pq" for key in KEYS}
        eventually(lambda: numbers(bus) == expected)


KEEPER = """
import signal, sys
from process import killcore
core = killcore.load()
from shmbus.coordinator import Coordinator
from shmbus.coordinator.configuration import Configuration
bus, path, site, count = sys.argv[1:]
def arm(*_):
    core.arm_killpoint(site, int(count))
    print("armed", file=sys.stderr, flush=True)
signal.signal(signal.SIGUSR1, arm)
def ready():
    print("ready", file=sys.stderr, flush=True)
Coordinator(Configuration(path, bus=bus, collectors=()).begin(), ready=ready).run()
"""


class Doomed(Running):
    """A coordinator whose keeper is killed at a named place."""

    def __init__(self, bus, path, site, count):
        self.bus, self.lines = bus, []
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        command = [sys.executable, "-c", KEEPER, bus, path, site, str(count)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.read_until("ready")


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("site", ["state.appended", "state.committing", "state.turned", "state.committed"])
def test_a_keeper_killed_in_the_middle_of_it_loses_and_invents_nothing(bus_name, config, site, count):
    arguments = config(slots=1024)
    doomed = Doomed(bus_name, arguments[1], site, count)
    try:
        with shmbus.connect() as bus, publishing(bus_name, pause=0.001) as child:
            with bus.subscribe("lab.x", lossless=True, start="earliest") as whole:
                known = {}
                follow(whole, known, {f"p{key}": 3 for key in KEYS})
                doomed.process.send_signal(signal.SIGUSR1)
                doomed.read_until("armed")
                doomed.process.wait(20)
                assert doomed.process.returncode == -signal.SIGKILL
                follow(whole, known, {key: value + 5 for key, value in known.items()})
            with coordinator(bus_name, *arguments), shmbus.connect() as fresh:
                with fresh.subscribe("lab.x", start=LastPerKey(), lossless=True) as joined:
                    seen = {}
                    follow(joined, seen, {key: value + 5 for key, value in known.items()})
                last = ended(child) - 1
                eventually(lambda: numbers(fresh) == {f"p{key}": last for key in KEYS})
    finally:
        doomed.process.kill()
        doomed.process.wait()
        doomed.process.stderr.close()


def last(*arguments):
    command = [sys.executable, "-m", "shmbus.tools", "last", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_command_reads_it_though_the_coordinator_is_dead(bus_name, config):
    rules = '[[topics]]\ntopic = "lab.none"\nkeep_last = 0\n'
    arguments = config(rules, keep_last=2)
    with coordinator(bus_name, *arguments) as first, shmbus.connect() as bus, bus.publisher("lab.x") as publisher:
        bus.publisher("lab.none").close()
        for key in "abc":
            publisher.publish(heartbeat(1), key=key)
        eventually(lambda: numbers(bus) == {"a": 1, "b": 1})
        first.end(signal.SIGKILL)
        done = last("lab.x")
        assert done.returncode == 0 and [line.split()[0] for line in done.stdout.splitlines()] == ["a", "b"]
        assert done.stderr == "shmbus: 1 message had no room\n"
        (line,) = last("lab.x", "b", "--json").stdout.splitlines()
        assert (json.loads(line)["key"], json.loads(line)["event"]["uptime_seconds"]) == ("b", "1")
        for wrong, said in (
            (("lab.x", "c"), ""),
            (("lab.none",), "topic 'lab.none' keeps no last messages: set keep_last"),
            (("lab.y",), "there is no topic 'lab.y'"),
        ):
            done = last(*wrong)
            assert done.returncode == 1 and said in done.stderr and not done.stdout
        with coordinator(bus_name, *arguments):
            pass
    assert last("lab.x").returncode == 1


@pytest.mark.parametrize("site", ["state.appended", "state.committing", "state.committed"])
def test_what_a_killed_keeper_had_at_hand_is_kept_by_the_next_one(bus_name, config, site):
    arguments = config(keep_last=64, keep_last_bytes=65536)
    doomed = Doomed(bus_name, arguments[1], site, 3)
    try:
        with shmbus.connect() as bus, bus.publisher("lab.x") as publisher:
            doomed.process.send_signal(signal.SIGUSR1)
            doomed.read_until("armed")
            published = 0
            while doomed.process.poll() is None:  # each key once: what is lost is not said again
                published += publisher.publish(heartbeat(1), key=f"k{published}") > 0
                time.sleep(0.01)
            with coordinator(bus_name, *arguments), shmbus.connect() as fresh:
                eventually(lambda: numbers(fresh) == {f"k{one}": 1 for one in range(published)})
    finally:
        doomed.process.kill()
        doomed.process.wait()
        doomed.process.stderr.close()


# ---- joining ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"lossless": True}, {"durable": "agent"}], ids=["lossy", "lossless", "durable"]
)
def test_joiners_under_load_see_no_gap_and_no_step_back(bus_name, config, options):
    with coordinator(bus_name, *config(slots=4096)), shmbus.connect() as bus:
        pause = 0 if options else 0.0005  # a lossy one cannot keep up with the fastest
        with publishing(bus_name, "p", pause=pause), publishing(bus_name, "q", pause=pause):
            known = {}
            for _ in range(25):
                with bus.subscribe("lab.+", start=LastPerKey(), **options) as subscription:
                    seen = {}
                    follow(subscription, seen, known or {f"{name}{key}": 0 for name in "pq" for key in KEYS})
                    known = {key: value + 30 for key, value in seen.items()}
                    follow(subscription, seen, known)
                if "durable" in options:
                    bus.forget("agent")


def test_a_joiner_of_a_small_ring_holds_it_from_where_the_kept_ends(bus_name, config):
    with coordinator(bus_name, *config()), shmbus.connect() as bus, publishing(bus_name, pause=0):
        for _ in range(20):
            with bus.subscribe("lab.x", start=LastPerKey(), lossless=True) as subscription:
                time.sleep(0.01)  # the ring is full by now, and held
                seen = {}
                follow(subscription, seen, {f"p{key}": 0 for key in KEYS})
                follow(subscription, seen, {key: value + 40 for key, value in seen.items()})


def test_two_lanes_are_one_state_and_each_goes_on_where_it_ends(bus_name, config):
    with coordinator(bus_name, *config(slots=1024, urgent_slots=1024)), shmbus.connect() as bus:
        with publishing(bus_name, "p"), publishing(bus_name, "u", priority=200):
            for _ in range(10):
                with bus.subscribe("lab.x", start=LastPerKey(), lossless=True) as subscription:
                    seen = {}
                    follow(subscription, seen, {f"{name}{key}": 0 for name in "pu" for key in KEYS})
                    follow(subscription, seen, {key: value + 20 for key, value in seen.items()})


def test_an_urgent_lane_that_comes_later_is_read_from_its_first_message():
    with embedded() as bus, bus.publisher("lab.x") as publisher:
        publisher.publish(heartbeat(1), key="a")
        eventually(lambda: numbers(bus) == {"a": 1})
        with bus.subscribe("lab.x", start=LastPerKey()) as subscription:
            publisher.publish(heartbeat(2), key="a", priority=shmbus.URGENT)
            publisher.publish(heartbeat(3), key="a", priority=shmbus.URGENT)
            assert [number(subscription.receive(timeout=5)) for _ in range(3)] == [1, 2, 3]
        eventually(lambda: numbers(bus) == {"a": 3})
        assert bus.last("lab.x", "a").lane == 1


def test_a_lane_that_comes_while_a_joiner_looks_is_not_read_again(bus_name, config, monkeypatch):
    take = Subscription._take_arrivals
    with coordinator(bus_name, *config()), shmbus.connect() as bus, shmbus.connect() as other:
        with other.publisher("lab.x") as publisher:
            publisher.publish(heartbeat(1), key="a")
            eventually(lambda: numbers(bus) == {"a": 1})

            def late(subscription):
                monkeypatch.undo()
                for value in (2, 3, 4):
                    publisher.publish(heartbeat(value), key="a", priority=shmbus.URGENT)
                eventually(lambda: numbers(other) == {"a": 4})
                take(subscription)

            monkeypatch.setattr(Subscription, "_take_arrivals", late)
            with bus.subscribe("lab.x", start=LastPerKey()) as subscription:
                publisher.publish(heartbeat(5), key="a", priority=shmbus.URGENT)
                assert number(subscription.receive(timeout=5)) == 5
                assert subscription.try_receive() is None


def test_a_topic_is_resized_under_joiners(bus_name, config):
    with coordinator(bus_name, *config(slots=256)), shmbus.connect() as bus, publishing(bus_name):
        for turn in range(8):
            bus.resize("lab.x", slots=256 << turn % 3)
            with bus.subscribe("lab.x", start=LastPerKey(), lossless=True) as subscription:
                seen = {}
                follow(subscription, seen, {f"p{key}": 0 for key in KEYS})
                bus.resize("lab.x", slots=512)
                follow(subscription, seen, {key: value + 20 for key, value in seen.items()})


def test_a_topic_that_comes_later_is_read_from_its_first_message():
    with embedded() as bus, bus.subscribe("lab.#", start=LastPerKey(), lossless=True) as subscription:
        with bus.publisher("lab.new") as publisher:
            for value in range(5):
                publisher.publish(heartbeat(value), key="a")
        assert [number(subscription.receive(timeout=5)) for _ in range(5)] == [*range(5)]


def test_a_durable_subscription_gets_the_state_once_and_settles_it_like_anything_else():
    with embedded() as bus, bus.publisher("lab.x") as publisher:
        publisher.publish(heartbeat(1), key="a")
        eventually(lambda: numbers(bus) == {"a": 1})
        with bus.subscribe("lab.x", durable="agent", start=LastPerKey()) as subscription:
            kept = subscription.receive(timeout=5)
            assert number(kept) == 1
            assert subscription.ack(kept) is False  # there was nothing to settle
            publisher.publish(heartbeat(2), key="a")
            assert subscription.ack(subscription.receive(timeout=5)) is True
        with bus.subscribe("lab.x", durable="agent", start=LastPerKey()) as subscription:
            assert subscription.try_receive() is None


def test_a_filter_judges_what_was_kept_too():
    with embedded() as bus, bus.publisher("lab.x") as publisher:
        publisher.publish(heartbeat(1), key="a", priority=1)
        publisher.publish(heartbeat(2), key="b", priority=9)
        eventually(lambda: numbers(bus) == {"a": 1, "b": 2})
        with bus.subscribe("lab.x", start=LastPerKey(), filter=shmbus.Filter(min_priority=5)) as subscription:
            assert subscription.receive(timeout=5).key == "b"
            assert subscription.try_receive() is None and subscription.filtered == 1


def test_async_begins_with_the_last_of_each_key():
    async def main():
        async with embedded() as bus, bus.publisher("lab.x") as publisher:
            await publisher.publish(heartbeat(1), key="a")
            await publisher.publish(heartbeat(2), key="b")
            while len(bus.last("lab.x")) < 2:
                await asyncio.sleep(0.01)
            async with bus.subscribe("lab.x", start=LastPerKey()) as subscription:
                await publisher.publish(heartbeat(3), key="a")
                assert [number(await subscription.receive(timeout=5)) for _ in range(3)] == [1, 2, 3]
            await publisher.forget_key("a")
            while bus.last("lab.x", "a") is not None:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 60))


# ---- what is kept ----------------------------------------------------------------------------------------------------


def test_a_key_that_is_forgotten_is_told_and_kept_no_more():
    with embedded() as bus, bus.publisher("lab.x") as publisher, bus.subscribe("lab.x") as subscription:
        publisher.publish(heartbeat(1), key="a")
        publisher.publish(heartbeat(1), key="b")
        publisher.forget_key("a")
        eventually(lambda: numbers(bus) == {"b": 1})
        assert [(one.key, one.event is None) for one in subscription.receive_many()] == [
            ("a", False), ("b", False), ("a", True),
        ]  # fmt: skip


def test_more_keys_than_a_topic_keeps_are_told():
    with embedded(keep_last=3) as bus, bus.publisher("lab.x") as publisher:
        with bus.subscribe("control.health.#", start="earliest") as health:
            for value in range(5):
                publisher.publish(heartbeat(value), key=f"k{value}")
            alert = health.receive(timeout=10).event
            assert alert.affected_resources == ["lab.x"]
            assert "had no room (3 keys, 4096 bytes: raise keep_last or keep_last_bytes)" in alert.description
        assert numbers(bus) == {"k0": 0, "k1": 1, "k2": 2}


def test_what_is_past_its_time_is_not_handed_out():
    with embedded() as bus, bus.publisher("lab.x") as publisher:
        publisher.publish(heartbeat(1), key="a", ttl=0.3)
        publisher.publish(heartbeat(1), key="b", ttl=100)
        eventually(lambda: numbers(bus).keys() == {"b"})
        with bus.subscribe("lab.x", start=LastPerKey()) as subscription:
            assert subscription.receive(timeout=5).key == "b"
            with pytest.raises(ReceiveTimeout):
                subscription.receive(timeout=0.05)


def test_an_envelope_brings_its_own_key():
    with embedded() as bus, bus.publisher("lab.x") as publisher:
        envelope = EventBusMessage(heartbeat=heartbeat(7))
        envelope.metadata.key = "own"
        publisher.publish(envelope)
        eventually(lambda: numbers(bus) == {"own": 7})


@pytest.mark.parametrize(
    ("event", "key", "error", "said"),
    [
        (heartbeat(1), "", ValueError, "1 to 128 bytes of UTF-8, not 0"),
        (heartbeat(1), "é" * 65, ValueError, "not 130"),
        (heartbeat(1), b"a", TypeError, "a key is a str"),
        (b"bytes", "a", TypeError, "this has none: publish a message of the schema"),
        (bytearray(b"bytes"), "a", TypeError, "this has none"),
    ],
)
def test_no_such_key(event, key, error, said):
    with embedded() as bus, bus.publisher("lab.x") as publisher:
        with pytest.raises(error, match=said):
            publisher.publish(event, key=key)
        assert publisher.published == 0


def test_a_topic_of_its_own_type_has_no_keys():
    with embedded() as bus, bus.publisher("lab.x", type=HeartbeatPayload) as publisher:
        with pytest.raises(TypeError, match="a key stands in the envelope"):
            publisher.publish(heartbeat(1), key="a")


def test_a_topic_that_keeps_none_is_an_error_where_it_is_named_and_begins_with_the_latest_where_it_is_not():
    with embedded(keep_last=0) as bus, bus.publisher("lab.x") as publisher:
        publisher.publish(heartbeat(1), key="a")
        for ask in (lambda: bus.last("lab.x"), lambda: bus.subscribe("lab.x", start=LastPerKey())):
            with pytest.raises(ShmbusError, match="topic 'lab.x' keeps no last messages: set keep_last"):
                ask()
        with bus.subscribe("lab.#", start=LastPerKey()) as subscription:
            publisher.publish(heartbeat(2), key="a")
            assert number(subscription.receive(timeout=5)) == 2
        with pytest.raises(ShmbusError, match="there is no topic 'lab.y'"):
            bus.last("lab.y")


def test_nobody_else_reads_under_the_keepers_name(bus_name, config):
    with coordinator(bus_name, *config()), shmbus.connect() as bus:
        with pytest.raises(DurableError, match="the coordinator reads under this name"):
            bus.subscribe("lab.#", durable="_keeper")
        with pytest.raises(DurableError):
            bus.forget("_keeper")


def test_only_what_is_kept_is_read_by_the_keeper(bus_name, config):
    rules = '[[topics]]\ntopic = "lab.none"\nkeep_last = 0\n'
    with coordinator(bus_name, *config(rules)), shmbus.connect() as bus:
        with bus.publisher("lab.none", timeout=0) as publisher, bus.publisher("lab.x"):
            gates = {one.topic: one.gates for one in entries(bus)}
            assert gates == {"lab.none": 0, "lab.x": 1}
            publisher.publish_many([b"x"] * 1000)


def entries(bus):
    from shmbus.v1.control_pb2 import ListTopics

    with bus._request(ListTopics()) as answer:
        return answer.message.topics


def test_a_coordinator_without_the_setting_keeps_what_there_is(bus_name, config):
    with coordinator(bus_name, *config()) as first, shmbus.connect() as bus, bus.publisher("lab.x") as publisher:
        publisher.publish(heartbeat(1), key="a")
        eventually(lambda: numbers(bus) == {"a": 1})
        first.end(signal.SIGKILL)
        with coordinator(bus_name), shmbus.connect() as other:
            publisher.publish(heartbeat(2), key="a")
            eventually(lambda: numbers(other) == {"a": 2})


def test_a_coordinator_with_the_setting_keeps_what_an_older_ones_topics_have(bus_name, config):
    with coordinator(bus_name) as first, shmbus.connect() as bus, bus.publisher("lab.x") as publisher:
        publisher.publish(heartbeat(1), key="a")
        first.end(signal.SIGKILL)
        with coordinator(bus_name, *config()), shmbus.connect() as other:
            eventually(lambda: numbers(other) == {"a": 1})


USER = """
import os, sys
import shmbus
from shmbus.v1 import control_pb2 as wire
os.setgroups([]); os.setgid(54321); os.setuid(54321)
with shmbus.connect(sys.argv[1]) as bus:
    print([one.key for one in bus.last("open.x")], flush=True)
    with bus._request(wire.GetKept(topic="open.x")) as answer:
        try:
            os.pwrite(answer.take(), b"x", 0)
        except OSError as error:
            print(error.strerror, flush=True)
    try:
        bus.last("shut.x")
    except shmbus.AccessDenied as error:
        print(error, flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_who_may_subscribe_may_read_what_is_kept_and_nobody_else():
    settings = Settings(
        default=replace(TopicPlan(), keep_last=4), subscribe=(Grant("open.#", users=frozenset({54321})),)
    )
    with shmbus.embedded(settings) as bus:
        for topic in ("open.x", "shut.x"):
            bus.publisher(topic).publish(heartbeat(1), key="a")
            eventually(lambda topic=topic: numbers(bus, topic) == {"a": 1})
        with python(USER, bus.address) as child:
            assert child.stdout.readline() == "['a']\n"
            assert child.stdout.readline() == "Bad file descriptor\n"  # it is open for reading only
            assert "may not subscribe to 'shut.x'" in child.stdout.readline()
