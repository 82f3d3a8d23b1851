"""What the coordinator does for topics while real processes die, hang, come and go."""

import os
import signal

import pytest

import shmbus
from process.buses import eventually, python
from shmbus._core import Ring
from shmbus.control import ControlConnection, NeedDescriptors
from shmbus.coordinator.rings import RingPlan
from shmbus.coordinator.settings import Settings, TopicPlan
from shmbus.errors import LimitError, ShmbusError, TypeMismatch
from shmbus.private import start_embedded
from shmbus.v1 import control_pb2 as wire
from shmbus.v1.control_pb2 import Subscribe

SMALL = RingPlan(
    slots=64,
    arena_bytes=1 << 16,
    producers=4,
    gates=2,
    max_messages=63,
    max_bytes=1 << 16,
    max_message_bytes=1 << 12,
    retention_ns=0,
    claim_timeout_ns=200_000_000,
)

# Claims the next slot as a publisher that stops right after it has won it, says so, and waits to be killed.
CLAIMER = """
import mmap, os, signal, struct, sys
from shmbus._core import Ring
from shmbus.control import ControlConnection
from shmbus.v1.control_pb2 import OpenPublisher
control, welcome = ControlConnection.connect(sys.argv[1], "claimer")
opened = control.request(OpenPublisher(topic=sys.argv[2]))
fd = opened.take()
ring = Ring.attach(fd, writable=True, boot_id=welcome.message.boot_id)
memory = mmap.mmap(fd, 0)
_, slots, producers, gates = struct.unpack_from("<4I", memory, 8)
start = 0x600 + (producers + 1) * 128 + gates * 16
start = (start + 4095) & ~4095
word = (ring.tail // slots) << 32 | opened.message.producer << 18 | 1
struct.pack_into("<Q", memory, start + ring.tail % slots * 16, word)
print("claimed", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def log():
    return []


@pytest.fixture
def address(log):
    address, stop = start_embedded(Settings(default=TopicPlan(SMALL)), log=log.append)
    yield address
    stop()


@pytest.fixture
def bus(address):
    with shmbus.connect(address, name="test") as bus:
        yield bus


def entry(bus, topic):
    with bus._control.request(wire.ListTopics()) as answer:
        return next(one for one in answer.message.topics if one.topic == topic)


def texts(subscription, count):
    return [bytes(subscription.receive(timeout=10).payload) for _ in range(count)]


def test_the_claim_of_a_killed_publisher_is_aborted_at_once(bus, log):
    with bus.publisher("lab.a") as publisher:
        subscription = bus.subscribe("lab.a", lossless=True)
        with python(CLAIMER, bus.address, "lab.a") as claimer:
            assert claimer.stdout.readline() == "claimed\n"
            publisher.publish(b"behind the claim")
            claimer.send_signal(signal.SIGKILL)
            assert texts(subscription, 1) == [b"behind the claim"]
        eventually(lambda: bus.status().repaired_claims == 1)


def test_the_claim_of_a_stopped_publisher_is_skipped_when_it_is_overdue(bus, log):
    with bus.publisher("lab.a") as publisher:
        subscription = bus.subscribe("lab.a", lossless=True)
        with python(CLAIMER, bus.address, "lab.a") as claimer:
            assert claimer.stdout.readline() == "claimed\n"
            claimer.send_signal(signal.SIGSTOP)
            publisher.publish(b"behind the claim")
            assert texts(subscription, 1) == [b"behind the claim"]
            assert bus.status().skipped_claims == 1
            assert any("was revoked" in line for line in log)


def test_a_publisher_that_stays_stopped_in_a_claim_cannot_stop_the_topic(bus):
    with bus.publisher("lab.a") as publisher:
        subscription = bus.subscribe("lab.a", lossless=True)
        with python(CLAIMER, bus.address, "lab.a") as claimer:
            assert claimer.stdout.readline() == "claimed\n"
            claimer.send_signal(signal.SIGSTOP)
            for number in range(300):  # the ring has 64 slots, and one of them can never be used again
                publisher.publish(b"%d" % number)
                assert texts(subscription, 1) == [b"%d" % number]
        assert bus.status().successors == 1


def test_a_topic_is_resized_while_it_is_used_and_nothing_is_lost(bus):
    with bus.publisher("lab.a") as publisher:
        subscription = bus.subscribe("lab.a", lossless=True)
        for number in range(120):
            publisher.publish(b"%d" % number)
            if number % 20 == 10:
                bus.resize("lab.a", slots=128 if number % 40 == 10 else 64)
            if number % 30 == 29:
                assert texts(subscription, 30) == [b"%d" % n for n in range(number - 29, number + 1)]
        assert entry(bus, "lab.a").generation == 6


def test_a_dead_lossless_subscriber_holds_nobody(bus):
    program = """
import shmbus, sys
with shmbus.connect(sys.argv[1]) as bus:
    kept = bus.subscribe("lab.a", lossless=True)
    print("here", flush=True)
    sys.stdin.read()
"""
    with bus.publisher("lab.a", timeout=10) as publisher:
        with python(program, bus.address) as reader:
            assert reader.stdout.readline() == "here\n"
            assert entry(bus, "lab.a").gates == 1
            for number in range(63):
                publisher.publish(b"%d" % number)
            reader.send_signal(signal.SIGKILL)
            publisher.publish(b"goes on")
        assert entry(bus, "lab.a").gates == 0


def test_publishers_that_come_and_go_never_exhaust_the_producer_table(bus):
    subscription = bus.subscribe("lab.a", lossless=True)
    for number in range(40):
        with bus.publisher("lab.a") as publisher:
            publisher.publish(b"%d" % number)
    assert texts(subscription, 40) == [b"%d" % number for number in range(40)]


def test_more_publishers_than_there_is_room_for_is_an_error_with_the_limit(bus):
    kept = [bus.publisher("lab.a") for _ in range(4)]
    with pytest.raises(LimitError, match="limit is 4"):
        bus.publisher("lab.a")
    kept.pop().close()
    bus.publisher("lab.a").close()


def test_a_subscription_that_gets_no_gate_fails_and_leaves_nothing(bus):
    with bus.publisher("lab.a"), bus.publisher("lab.b"):
        for _ in range(2):
            bus._control.request(Subscribe(subscription=100 + _, patterns=["lab.b"], lossless=True)).close()
        with pytest.raises(LimitError, match="lossless subscriptions"):
            bus.subscribe("lab.#", lossless=True)
        assert entry(bus, "lab.a").gates == 0
        bus.subscribe("lab.a", lossless=True)


def test_a_new_topic_reaches_wildcard_subscriptions_from_its_first_message(bus):
    lossless, lossy = bus.subscribe("lab.+", lossless=True), bus.subscribe("lab.#")
    for name in ("lab.a", "lab.b"):
        with bus.publisher(name) as publisher:
            publisher.publish(name.encode())
    for subscription in (lossless, lossy):
        assert sorted(texts(subscription, 2)) == [b"lab.a", b"lab.b"]


def test_a_late_lossless_subscriber_gets_everything_from_the_earliest(bus):
    with bus.publisher("lab.a") as publisher:
        for number in range(30):
            publisher.publish(b"%d" % number)
        bus.resize("lab.a", slots=128)
        for number in range(30, 40):
            publisher.publish(b"%d" % number)
        subscription = bus.subscribe("lab.a", lossless=True, start="earliest")
        assert texts(subscription, 40) == [b"%d" % number for number in range(40)]


def test_an_incompatible_version_of_a_type_is_refused_with_the_fields_that_differ(address):
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet

    def described(kind):
        files = FileDescriptorSet()
        message = files.file.add(name="lab.proto", package="lab").message_type.add(name="Event")
        message.field.add(number=1, name="pid", type=kind, label=1)
        return files.SerializeToString()

    def kind(mark, data=b""):
        return wire.TopicType(name="lab.Event", fingerprint=mark * 32, descriptors=data)

    number, text = FieldDescriptorProto.TYPE_UINT64, FieldDescriptorProto.TYPE_STRING
    control, welcome = ControlConnection.connect(address, "typed")
    welcome.close()
    with control:
        with pytest.raises(NeedDescriptors):
            control.request(wire.OpenPublisher(topic="lab.t", type=kind(b"a")))
        control.request(wire.OpenPublisher(topic="lab.t", type=kind(b"a", described(number)))).close()
        with pytest.raises(NeedDescriptors):
            control.request(wire.OpenPublisher(topic="lab.t", type=kind(b"b")))
        with pytest.raises(TypeMismatch, match="field 1 of lab.Event is 'uint64 pid' in the topic, not 'string pid'"):
            control.request(wire.OpenPublisher(topic="lab.t", type=kind(b"b", described(text))))
        with pytest.raises(TypeMismatch, match="other.Event"):
            other = wire.TopicType(name="other.Event", fingerprint=b"c" * 32)
            control.request(Subscribe(subscription=1, patterns=["lab.t"], type=other))


def test_a_subscribers_ring_can_only_be_mapped_for_reading(address):
    control, welcome = ControlConnection.connect(address, "reader")
    welcome.close()
    with control:
        control.request(wire.OpenPublisher(topic="lab.a")).close()
        control.request(Subscribe(subscription=1, patterns=["lab.a"])).close()
        (added,) = list(control.drain())
        fd = added.take()
        try:
            assert os.get_inheritable(fd) is False
            with pytest.raises(OSError):
                os.ftruncate(fd, 0)
            with pytest.raises(OSError):
                Ring.attach(fd, writable=True, boot_id=welcome.message.boot_id)
        finally:
            os.close(fd)


def test_more_cursors_than_a_page_holds_come_with_another_page(address):
    with shmbus.connect(address) as bus, bus.publisher("lab.a") as publisher:
        kept = [bus.subscribe("lab.a") for _ in range(1200)]
        publisher.publish(b"to all")
        assert {bytes(one.receive(timeout=10).payload) for one in (kept[0], kept[600], kept[-1])} == {b"to all"}
        assert len(bus._pages.sessions) == 2


def test_a_request_that_cannot_be_is_told_and_the_client_stays(bus):
    for request in (
        wire.OpenPublisher(topic="Not A Topic"),
        wire.OpenPublisher(topic="lab.a", limits=wire.TopicLimits(slots=3)),
        wire.Subscribe(subscription=9, patterns=[]),
        wire.Subscribe(subscription=9, patterns=["a.#.b"]),
        wire.Unsubscribe(subscription=77),
        wire.ClosePublisher(topic_id=5, producer=1),
        wire.Resize(topic="lab.nowhere", slots=8),
        wire.ReportStuck(topic_id=99),
        wire.ControlCollector(name="nobody", action=wire.ControlCollector.ACTION_STOP),
    ):
        with pytest.raises(ShmbusError):
            bus._control.request(request)
    assert len(bus.status().clients) == 1


def test_a_topic_is_made_though_a_wildcard_subscription_gets_no_gate(bus, log):
    for number in range(3):
        bus._control.request(Subscribe(subscription=100 + number, patterns=["lab.#"], lossless=True)).close()
    with bus.publisher("lab.a"):
        assert entry(bus, "lab.a").gates == 2
    assert any("is lossy on 'lab.a'" in line for line in log)
