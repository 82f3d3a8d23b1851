"""Receiving through a real bus: gaps, gating, wildcards, waits and what ends them."""

import gc
import os
import signal
import threading
import time

import pytest

import shmbus
from process.buses import eventually, python
from process.rings import small
from shmbus import Gap, correlation
from shmbus.config import parse
from shmbus.correlation import new
from shmbus.errors import BackpressureError, BusyError, ClosedError, ForkedError, PatternError, ReceiveTimeout
from shmbus.v1 import common_pb2, eventbus_pb2

EVENT = eventbus_pb2.ProcessEventData(process=common_pb2.ProcessRecord(pid=7))


@pytest.fixture
def bus():
    with shmbus.embedded(name="lab") as bus:
        yield bus


def numbers(found):
    return [int(message.payload) for message in found]


# ---- where it begins and what it tells -------------------------------------------------------------------------------


def test_it_begins_at_latest_earliest_or_a_sequence(bus):
    publisher = bus.publisher("a.b")
    publisher.publish_many(b"%d" % n for n in range(1, 11))
    latest = bus.subscribe("a.b")
    earliest = bus.subscribe("a.b", start="earliest")
    seventh = bus.subscribe("a.b", start=7, lossless=True)
    beyond = bus.subscribe("a.b", start=1000)
    publisher.publish(b"11")
    assert numbers(latest.receive_many()) == [11]
    assert numbers(earliest.receive_many()) == list(range(1, 12))
    assert numbers(seventh.receive_many()) == [7, 8, 9, 10, 11]
    assert numbers(beyond.receive_many()) == [11]
    for wrong in (0, -1, "middle", 1.5):
        with pytest.raises(ValueError, match="start is 'latest', 'earliest', a sequence from 1 up"):
            bus.subscribe("a.b", start=wrong)


def test_a_lossy_subscription_is_told_of_every_overrun_exactly():
    with shmbus.embedded(small()) as bus, bus.subscribe("a.b") as subscription, bus.publisher("a.b") as publisher:
        seen = lost = 0
        for burst in (3, 40, 15, 16, 100):
            publisher.publish_many([b"x"] * burst)
            for found in subscription.receive_many():
                if isinstance(found, Gap):
                    assert (found.reason, found.first) == ("overrun", seen + lost + 1)
                    lost += found.count
                else:
                    seen += 1
                    assert found.sequence == seen + lost
        assert seen + lost == 174 and lost > 0
        assert (subscription.delivered, subscription.lost) == (seen, lost)


def test_what_is_past_its_time_comes_as_one_gap():
    with shmbus.embedded() as bus, bus.subscribe("a.b") as subscription, bus.publisher("a.b") as publisher:
        publisher.publish_many([b"x"] * 5, ttl=0.000_001)
        publisher.publish(b"y", ttl=100)
        time.sleep(0.001)
        found = subscription.receive_many()
        assert found[0] == Gap("a.b", "a.b", 1, 5, "expired", found[1].producer)
        assert [message.payload for message in found[1:]] == [b"y"]


def test_a_lossless_subscription_gets_everything_whatever_its_pace():
    with shmbus.embedded(small()) as bus, bus.subscribe("a.+", lossless=True) as subscription:

        def publish(topic):
            with bus.publisher(topic, timeout=30) as publisher:
                for number in range(700):
                    publisher.publish(b"%d" % number)

        threads = [threading.Thread(target=publish, args=(f"a.t{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        found = {}
        for _ in range(2800):
            message = subscription.receive(timeout=30)
            found.setdefault(message.topic, []).append(int(message.payload))
        for thread in threads:
            thread.join()
        assert found == {f"a.t{n}": list(range(700)) for n in range(4)}
        assert subscription.lost == 0 and subscription.try_receive() is None


@pytest.mark.parametrize("lossless", [False, True])
def test_a_wildcard_gets_a_new_topic_from_its_first_message_under_load(lossless):
    with shmbus.embedded(small(4096)) as bus, bus.subscribe("n.#", lossless=lossless) as subscription:

        def publish(part):
            for number in range(25):
                with bus.publisher(f"n.{part}.t{number}", timeout=30) as publisher:
                    publisher.publish_many(b"%d" % n for n in range(40))

        threads = [threading.Thread(target=publish, args=(f"p{n}",)) for n in range(3)]
        for thread in threads:
            thread.start()
        found = {}
        for _ in range(3 * 25 * 40):
            message = subscription.receive(timeout=30)
            found.setdefault(message.topic, []).append(int(message.payload))
        for thread in threads:
            thread.join()
        assert len(found) == 75 and all(got == list(range(40)) for got in found.values())


def test_two_patterns_that_match_deliver_once_by_the_more_specific(bus):
    with bus.subscribe("a.#", "a.+", "a.b", "x.y") as subscription, bus.publisher("a.b") as publisher:
        publisher.publish(b"once")
        message = subscription.receive(timeout=5)
        assert (message.payload, message.pattern) == (b"once", "a.b")
        assert subscription.try_receive() is None
        with bus.publisher("a.c") as other:
            other.publish(b"new")
        assert subscription.receive(timeout=5).pattern == "a.+"
        with bus.publisher("a.c.d") as other:
            other.publish(b"new")
        assert subscription.receive(timeout=5).pattern == "a.#"
        assert subscription.topics == ["a.b", "a.c", "a.c.d"]


@pytest.mark.parametrize("pattern", ["", "a.#.b", "A", "a..b", "a.+b", "#.a"])
def test_no_pattern_is_refused_with_the_reason(bus, pattern):
    with pytest.raises(PatternError) as refused:
        bus.subscribe("fine.#", pattern)
    assert refused.value.pattern == pattern and refused.value.reason
    with pytest.raises(TypeError, match="at least one pattern"):
        bus.subscribe()
    assert bus.status().clients[0].subscriptions == 0


# ---- receiving -------------------------------------------------------------------------------------------------------


def test_the_ways_to_receive(bus):
    with bus.subscribe("a.b") as subscription, bus.publisher("a.b") as publisher:
        assert subscription.try_receive() is None
        for wrong in (
            lambda: subscription.receive(1, 2), lambda: subscription.receive(1, timeout=1),  # type: ignore[call-arg,misc]
            lambda: subscription.receive(seconds=1),  # type: ignore[call-arg]
        ):  # fmt: skip
            with pytest.raises(TypeError, match="at the most: timeout"):
                wrong()
        began = time.monotonic()
        with pytest.raises(ReceiveTimeout, match="no message on 'a.b' within 0.05 s. Wait longer"):
            subscription.receive(timeout=0.05)
        with pytest.raises(TimeoutError):
            subscription.receive_many(timeout=0)
        assert 0.05 <= time.monotonic() - began < 2
        publisher.publish_many(b"%d" % n for n in range(10))
        assert numbers([subscription.receive(), subscription.receive(timeout=1), subscription.try_receive()]) == [
            0,
            1,
            2,
        ]
        assert numbers(subscription.receive_many(limit=3)) == [3, 4, 5]
        assert numbers(subscription.receive_many(timeout=1)) == [6, 7, 8, 9]
        for wrong in (-1, float("nan")):
            with pytest.raises(ValueError, match="is no number of seconds"):
                subscription.receive(timeout=wrong)
        with pytest.raises(ValueError, match="limit of at least 1, not 0"):
            subscription.receive_many(limit=0)


def test_a_waiting_receive_wakes_for_a_message(bus):
    with bus.subscribe("a.b") as subscription, bus.publisher("a.b") as publisher:
        timer = threading.Timer(0.2, publisher.publish, (b"x",))
        timer.start()
        assert subscription.receive(timeout=20).payload == b"x"
        timer.join()


def test_a_waiting_receive_wakes_for_a_topic_that_did_not_exist(bus):
    def publish():
        with bus.publisher("new.topic") as publisher:
            publisher.publish(b"x")

    with bus.subscribe("new.#") as subscription:
        timer = threading.Timer(0.2, publish)
        timer.start()
        assert subscription.receive(timeout=20).payload == b"x"
        timer.join()


def test_more_topics_than_one_wait_can_watch_wake_it_all_the_same(bus):
    publishers = [bus.publisher(f"many.t{n}") for n in range(300)]
    with bus.subscribe("many.#") as subscription:
        assert len(subscription.topics) == 300
        for number in (0, 150, 299):
            timer = threading.Timer(0.15, publishers[number].publish, (b"%d" % number,))
            timer.start()
            began = time.monotonic()
            assert subscription.receive(timeout=20).topic == f"many.t{number}"
            assert time.monotonic() - began < 10
            timer.join()
        for number, publisher in enumerate(publishers):
            publisher.publish(b"%d" % number)
        assert sorted(numbers(subscription.receive_many())) == list(range(300))


def test_no_topic_of_many_starves(bus):
    with bus.subscribe("s.+") as subscription:
        loud, quiet = bus.publisher("s.loud"), bus.publisher("s.quiet")
        loud.publish_many([b"x"] * 1000)
        quiet.publish(b"y")
        first = [message.topic for message in subscription.receive_many(limit=200)]
        assert "s.quiet" in first


def test_two_threads_in_one_subscription_are_told(bus):
    with bus.subscribe("a.b") as subscription:
        done = threading.Event()

        def wait():
            with pytest.raises(ReceiveTimeout):
                subscription.receive(timeout=0.7)
            done.set()

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.2)
        for use in (subscription.receive, subscription.try_receive, subscription.receive_many, subscription.__next__):
            with pytest.raises(BusyError, match="is busy: another thread or task is using it"):
                use()
        assert done.wait(10)
        thread.join()


# ---- the end ---------------------------------------------------------------------------------------------------------


def test_closing_from_another_thread_ends_a_wait_at_once(bus):
    subscription = bus.subscribe("a.b")
    began, ended = time.monotonic(), []

    def wait():
        with pytest.raises(ClosedError):
            subscription.receive(timeout=30)
        ended.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.25)
    closed = time.monotonic()
    subscription.close()
    thread.join(10)
    assert ended and ended[0] - closed < 2 and closed > began


def test_closing_from_another_thread_ends_a_loop(bus):
    subscription = bus.subscribe("a.b")
    threading.Timer(0.2, subscription.close).start()
    assert list(subscription) == []


def test_closing_the_bus_ends_a_loop_in_another_thread():
    bus = shmbus.embedded()
    subscription = bus.subscribe("a.b")
    found = []
    thread = threading.Thread(target=lambda: found.extend(subscription))
    thread.start()
    time.sleep(0.2)
    bus.close()
    thread.join(10)
    assert not thread.is_alive() and found == []


def test_closing_again_and_again_while_another_thread_reads_harms_nobody(bus):
    publisher = bus.publisher("a.b")
    stop = threading.Event()

    def publish():
        while not stop.is_set():
            publisher.publish_many([EVENT] * 20)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for round in range(60):
            subscription = bus.subscribe("a.b", lossless=round % 2 == 0)
            reader = threading.Thread(target=list, args=(subscription,))
            reader.start()
            time.sleep(0.002)
            subscription.close()
            reader.join(10)
            assert not reader.is_alive()
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


def test_a_closed_subscription_says_so(bus):
    subscription = bus.subscribe("a.b")
    assert repr(subscription) == "<Subscription a.b, lossy>" and not subscription.closed
    with subscription:
        pass
    subscription.close()
    assert repr(subscription) == "<Subscription a.b, lossy, closed>" and subscription.closed
    for use in (subscription.receive, subscription.try_receive, subscription.receive_many):
        with pytest.raises(ClosedError, match="it has been closed"):
            use()
    assert list(subscription) == []


def holds(publisher):
    try:
        publisher.publish_many([b"x"] * 100, timeout=0)
    except BackpressureError:
        return True
    return False


@pytest.mark.parametrize("how", ["close", "collected", "collected in a cycle", "left a loop"])
def test_a_lossless_subscription_stops_holding_when_it_ends(how):
    with shmbus.embedded(small()) as bus, bus.publisher("a.b") as publisher:
        subscription = bus.subscribe("a.b", lossless=True)
        assert holds(publisher)
        if how == "close":
            subscription.close()
        elif how == "left a loop":
            for _ in subscription:
                break
        elif how == "collected in a cycle":
            subscription.itself = subscription
        del subscription
        if how == "collected in a cycle":
            gc.collect()
        eventually(lambda: not holds(publisher))
        assert bus.status().clients[0].subscriptions == 0


# ---- signals and forks -----------------------------------------------------------------------------------------------

WAITING = """
import sys, shmbus
with shmbus.connect(sys.argv[1]) as bus:
    subscription = bus.subscribe("a.b")
    print("waiting", flush=True)
    try:
        {}
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    assert not subscription.closed
    try:
        print(subscription.receive(timeout=10).payload.decode(), flush=True)
    except BaseException as error:
        print(error, flush=True)
"""


@pytest.mark.parametrize(
    "wait", ["subscription.receive()", "subscription.receive_many()", "for message in subscription: pass"]
)
def test_ctrl_c_in_a_wait_is_a_keyboard_interrupt_at_once_and_harms_nothing(bus, wait):
    with bus.publisher("a.b") as publisher, python(WAITING.format(wait), bus.address) as child:
        assert child.stdout.readline() == "waiting\n"
        time.sleep(0.3)
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "interrupted\n"
        assert time.monotonic() - began < 2
        publisher.publish(b"after")
        assert child.stdout.readline() == "after\n"


def in_child(check):
    """Run a check in a forked child; its complaint, or nothing."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        text = ""
        try:
            check()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return text


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_cannot_use_what_its_parent_opened_and_the_parent_goes_on(bus):
    publisher, subscription = bus.publisher("a.b"), bus.subscribe("a.b", lossless=True)
    publisher.publish(b"before")

    def check():
        uses = [
            lambda: publisher.publish(b"child"), lambda: publisher.publish_many([b"child"]), subscription.receive,
            subscription.try_receive, subscription.__next__, lambda: bus.publisher("c.d"), lambda: bus.subscribe("c.d"),
            bus.status,
        ]  # fmt: skip
        for use in uses:
            with pytest.raises(
                ForkedError, match=r"belongs to pid \d+ and cannot be used in its forked child \(pid \d+\)"
            ):
                use()
        publisher.close()
        subscription.close()
        bus.close()

    assert in_child(check) == ""
    publisher.publish(b"after")
    assert [subscription.receive(timeout=5).payload for _ in range(2)] == [b"before", b"after"]
    assert len(bus.status().clients) == 1


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_can_connect_for_itself(bus):
    def check():
        with shmbus.connect(bus.address) as mine, mine.publisher("a.b", name="child") as publisher:
            publisher.publish(b"from the child")

    with bus.subscribe("a.b") as subscription:
        assert in_child(check) == ""
        message = subscription.receive(timeout=5)
        assert (message.payload, message.producer.name) == (b"from the child", "child")
        assert message.producer.pid != os.getpid()


# ---- moving to another ring ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lossless", [False, True])
def test_resizing_in_use_loses_nothing_uncounted_doubles_nothing_and_keeps_order(lossless):
    with shmbus.embedded(small(64 if lossless else 1 << 17, arena_bytes=1 << 24)) as bus:
        subscription = bus.subscribe("r.x", lossless=lossless)
        enough = threading.Event()

        def publish(part):
            number = 0
            with bus.publisher("r.x", timeout=30) as publisher:
                while not enough.is_set():
                    publisher.publish(b"%d %d" % (part, number))
                    number += 1
                publisher.publish(b"%d -1" % part)
            published.append(number + 1)

        bus.publisher("r.x").close()
        threads = [threading.Thread(target=publish, args=(part,)) for part in range(2)]
        for thread in threads:
            thread.start()
        published, last, ended, lost, newest = [], 0, 0, 0, [-1, -1]

        def read(count):
            nonlocal last, ended, lost
            while count and ended < 2:
                found = subscription.receive(timeout=30)
                count -= 1
                if isinstance(found, Gap):
                    assert found.first > last and found.producer.pid == os.getpid()
                    lost += found.count
                    continue
                assert found.sequence > last
                last = found.sequence
                part, number = map(int, found.payload.split())
                if number == -1:
                    ended += 1
                    continue
                assert number == newest[part] + 1 if lossless else number > newest[part]
                newest[part] = number

        for slots in (128, 64, 256, 1 << 17) if lossless else (1 << 16, 1 << 17, 1 << 16, 1 << 17):
            read(300)
            bus.resize("r.x", slots=slots)
        enough.set()
        read(1 << 30)
        for thread in threads:
            thread.join(30)
        assert bus.status().successors == 4
        assert subscription.lost == lost and (lost == 0 or not lossless)
        assert subscription.delivered + lost == sum(published)


def test_a_late_subscription_reads_what_is_left_of_all_generations(bus):
    publisher = bus.publisher("r.x")
    publisher.publish_many(b"%d" % n for n in range(10))
    bus.resize("r.x", slots=1024)
    publisher.publish_many(b"%d" % n for n in range(10, 20))
    with bus.subscribe("r.x", start="earliest", lossless=True) as everything:
        assert numbers(everything.receive_many(limit=20, timeout=5)) == list(range(20))
    with bus.subscribe("r.x", start=8) as some:
        assert numbers(some.receive_many(limit=13, timeout=5)) == list(range(7, 20))


# ---- correlation -----------------------------------------------------------------------------------------------------


def envelopes(subscription, count):
    return [subscription.receive(timeout=5).envelope for _ in range(count)]


def test_what_is_published_in_a_loop_is_a_child_of_the_message_at_hand(bus):
    root = new(tags={"host": "x"})
    out = bus.subscribe("out.x")
    with bus.publisher("in.x") as source, bus.publisher("out.x") as sink, bus.subscribe("in.x") as work:
        source.publish(EVENT, correlation=root)
        source.publish(EVENT)
        last = None
        for number, message in enumerate(work):
            last = message
            sink.publish(EVENT)
            sink.publish(EVENT)
            if number == 1:
                break
        own, apart = new(correlation_id="mine"), new(correlation_id="parent")
        sink.publish(EVENT, correlation=own)
        sink.publish(EVENT, correlation=False)
        sink.publish(EVENT, correlation=correlation.CorrelationContext(apart))
    sink_of = envelopes(out, 7)
    first, second, third, fourth = (one.correlation for one in sink_of[:4])
    assert first.parent_correlation_id == second.parent_correlation_id == root.correlation_id
    assert (first.sequence_number, second.sequence_number) == (1, 2)
    assert first.correlation_id != second.correlation_id and dict(first.correlation_tags) == {"host": "x"}
    assert third.parent_correlation_id == fourth.parent_correlation_id
    assert third.parent_correlation_id == last.envelope.metadata.message_id
    assert sink_of[4].correlation.correlation_id == "mine"
    assert not sink_of[5].HasField("correlation")
    assert sink_of[6].correlation.parent_correlation_id == "parent"


def test_after_the_loop_nothing_is_a_child_any_more(bus):
    with bus.publisher("in.x") as source, bus.publisher("out.x") as sink, bus.subscribe("out.x") as out:
        with bus.subscribe("in.x") as work:
            source.publish(EVENT, correlation=new())
            for _ in work:
                break
        sink.publish(EVENT)
        assert not out.receive(timeout=5).envelope.HasField("correlation")


def test_a_subscription_used_inside_a_loop_does_not_take_its_message_away(bus):
    root = new()
    with bus.publisher("in.x") as source, bus.publisher("out.x") as sink, bus.subscribe("out.x") as out:
        with bus.subscribe("in.x") as work:
            source.publish(EVENT, correlation=root)
            for _ in work:
                with bus.subscribe("in.x", start="earliest") as other:
                    for _ in other:
                        break
                    inner = bus.subscribe("none.at.all")
                    inner.close()
                sink.publish(EVENT)
                break
        child = out.receive(timeout=5).envelope.correlation
        assert child.parent_correlation_id == root.correlation_id


def test_bytes_carry_no_correlation_and_too_long_ones_are_refused(bus):
    with bus.publisher("out.x") as sink:
        with pytest.raises(TypeError, match="bytes have no envelope to carry a correlation"):
            sink.publish(b"x", correlation=new())
        big = eventbus_pb2.CorrelationMetadata(correlation_id="x" * 257)
        with pytest.raises(shmbus.CorrelationError, match="257 bytes, the limit is 256"):
            sink.publish(EVENT, correlation=big)
        assert sink.published == 0


def test_an_envelope_with_a_correlation_of_its_own_keeps_it_whatever_is_being_handled(bus):
    its = new(correlation_id="mine", tags={"host": "x"})
    whole = eventbus_pb2.EventBusMessage(alert=eventbus_pb2.AlertPayload(title="x"), correlation=its)
    bare = eventbus_pb2.EventBusMessage(alert=eventbus_pb2.AlertPayload(title="x"))
    with bus.publisher("out.x") as sink, bus.subscribe("out.x") as out:
        with correlation.handling(new(tags={"case": "7"})) as context:
            sink.publish(whole)
            sink.publish(bare)
        first, second = (one.correlation for one in envelopes(out, 2))
        assert first == its
        assert second.parent_correlation_id == context.metadata.correlation_id and second.sequence_number == 1
        with pytest.raises(TypeError, match="has a correlation of its own: give no other"):
            sink.publish(whole, correlation=new())
        whole.correlation.workflow_stage = "x" * 129
        with pytest.raises(shmbus.CorrelationError, match="129 bytes, the limit is 128"):
            sink.publish(whole)
        assert sink.published == 2


def test_a_topic_of_a_type_of_its_own_carries_no_correlation_and_takes_no_childs_number(bus):
    typed = bus.publisher("own.x", type=eventbus_pb2.HeartbeatPayload)
    with typed, bus.publisher("out.x") as sink, bus.subscribe("out.x") as out:
        with correlation.handling(new()):
            typed.publish(eventbus_pb2.HeartbeatPayload())
            sink.publish(EVENT)
        assert out.receive(timeout=5).envelope.correlation.sequence_number == 1
        typed.publish(eventbus_pb2.HeartbeatPayload(), correlation=False)
        with pytest.raises(TypeError, match="no envelope to carry a correlation"):
            typed.publish(eventbus_pb2.HeartbeatPayload(), correlation=new())


def test_a_lossless_subscription_without_a_gate_is_told_so_once_and_reads_on():
    with shmbus.embedded(parse({"defaults": {"gates": 1}}, None)) as bus:
        held, ungated = (bus.subscribe("lab.#", lossless=True) for _ in range(2))
        with bus.publisher("lab.a") as publisher:
            publisher.publish(b"x")
        assert held.receive(timeout=5).payload == b"x"
        with pytest.raises(shmbus.LimitError, match="Raise gates"):
            ungated.receive(timeout=5)
        assert ungated.receive(timeout=5).payload == b"x"
