"""A signal handler raises in a client, at each place in turn where the interpreter would run one: the rest goes on.

The exception comes to the caller, whatever it is. After that the next calls work, also in another thread (no lock is
held); of what was begun nothing is left with the coordinator, no gate, no descriptor; what was published comes, once.

The long form, each place for each kind of exception (two minutes): SHMBUS_LONG=1 pytest --timeout=600
"""

import gc
import itertools
import os
import random
import secrets
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

import shmbus
from process.buses import coordinator, eventually
from process.interrupts import Interrupted, Interruption, each_interruption, told
from shmbus.v1.common_pb2 import ProcessRecord

LONG = bool(os.environ.get("SHMBUS_LONG"))
STEP = 1 if LONG else 25  # places
SECONDS = 10
GATED = ("gated.a", "gated.b")


class Corrupt(shmbus.SegmentError):
    """As one that the bus raises, but a handler does."""

    def __init__(self, text):
        super().__init__(text, "corrupt")


class Lost(shmbus.ConnectionLost):
    """The same, of a connection."""

    def __init__(self, text):
        super().__init__(text, 1, "by a handler")


class Garbage(shmbus.ProtocolError):
    """The same, of a packet."""

    def __init__(self, text):
        super().__init__("a handler", text)


KINDS = (Interrupted, KeyboardInterrupt, TimeoutError, Corrupt, Lost, Garbage)


@dataclass
class Rig:
    """What an operation works with. `kept` outlives it, as the variables of a program do."""

    bus: shmbus.Bus  # nobody interrupts it
    client: shmbus.Bus
    run: Interruption
    turn: int
    kept: list = field(default_factory=list)


def opens_a_publisher(rig):
    rig.run(lambda: rig.client.publisher("gated.a"))


def opens_a_publisher_of_a_new_type(rig):
    rig.run(lambda: rig.client.publisher(f"typed.t{rig.turn}", type=ProcessRecord))


def opens_a_durable_publisher(rig):
    rig.run(lambda: rig.client.publisher("gated.a", name="source", durable=True))
    rig.client.publisher("gated.a", name="source", durable=True).close()  # nobody else has that name


def subscribes(rig):
    rig.run(lambda: rig.client.subscribe("gated.#"))


def subscribes_losslessly(rig):
    rig.run(lambda: rig.client.subscribe(*GATED, lossless=True))


def subscribes_durably(rig):
    rig.run(lambda: rig.client.subscribe("gated.#", durable="agent"))
    rig.client.subscribe("gated.#", durable="agent").close()
    rig.client.forget("agent")


def closes_a_subscription(rig):
    subscription = rig.client.subscribe("gated.#", lossless=True)
    rig.kept.append(subscription)
    rig.run(lambda: leave(subscription))


def closes_a_durable_subscription(rig):
    subscription = rig.client.subscribe("gated.#", durable="agent")
    rig.kept.append(subscription)
    rig.run(lambda: leave(subscription))
    rig.client.forget("agent")


def closes_a_publisher(rig):
    publisher = rig.client.publisher("gated.a")
    rig.kept.append(publisher)
    rig.run(lambda: leave(publisher))


def connects_and_closes(rig):
    rig.run(lambda: leave(shmbus.connect(rig.bus.name, name="another")))
    eventually(lambda: held(rig.bus, "another") == (0, 0, 0), SECONDS)


def closes_the_bus_with_all_that_is_open(rig):
    another = shmbus.connect(rig.bus.name, name="another")
    rig.kept += (another, another.subscribe("gated.#", lossless=True), another.publisher("gated.a"))
    rig.run(lambda: leave(another))
    assert another.closed
    eventually(lambda: held(rig.bus, "another") == (0, 0, 0), SECONDS)


def publishes_urgently_for_the_first_time(rig):
    with rig.bus.subscribe("urgent.#") as subscription, rig.client.publisher("urgent.x") as publisher:
        rig.run(lambda: publisher.publish(b"1", priority=200))
        publisher.publish(b"2", priority=200)
        assert payloads(subscription, until=b"2") in ([b"1", b"2"], [b"2"])


def receives_from_a_new_topic(rig):
    with (
        rig.client.subscribe(f"new{rig.turn}.#", lossless=True) as subscription,
        rig.bus.publisher(f"new{rig.turn}.x") as new,
    ):
        new.publish(b"1")
        got = []
        rig.run(lambda: got.append(subscription.receive(timeout=SECONDS)))
        new.publish(b"2")
        found = [one.payload for one in got] + payloads(subscription, until=b"2")
        assert found == [b"1", b"2"] or (found == [b"2"] and at_the_callers(rig.run))


def publishes_to_the_next_ring(rig):
    with rig.client.publisher("moved.x") as publisher, rig.bus.subscribe("moved.x", lossless=True) as subscription:
        publisher.publish(b"0")
        rig.bus.resize("moved.x", slots=64 << rig.turn % 2)
        rig.run(lambda: publisher.publish(b"1"))
        publisher.publish(b"2")
        assert payloads(subscription, until=b"2") in ([b"0", b"1", b"2"], [b"0", b"2"])


def reads_on_in_the_next_ring(rig, **kind):
    with rig.bus.publisher("moved.x") as publisher, rig.client.subscribe("moved.x", **kind) as subscription:
        publisher.publish(b"0")
        rig.bus.resize("moved.x", slots=64 << rig.turn % 2)
        publisher.publish(b"1")
        got = []

        def receive():
            for _ in range(2):
                got.append(subscription.receive(timeout=SECONDS))
                if subscription.durable:
                    subscription.ack(got[-1])  # a ring is left when all of it is settled

        rig.run(receive)
        publisher.publish(b"2")
        found = [one.payload for one in got] + payloads(subscription, until=b"2")
        assert found == [b"0", b"1", b"2"] or (found[-1] == b"2" and at_the_callers(rig.run))


def reads_on_losslessly(rig):
    reads_on_in_the_next_ring(rig, lossless=True)


def reads_on_durably(rig):
    reads_on_in_the_next_ring(rig, durable="agent")
    rig.client.forget("agent")


OPERATIONS = (
    opens_a_publisher,
    opens_a_publisher_of_a_new_type,
    opens_a_durable_publisher,
    subscribes,
    subscribes_losslessly,
    subscribes_durably,
    closes_a_subscription,
    closes_a_durable_subscription,
    closes_a_publisher,
    connects_and_closes,
    closes_the_bus_with_all_that_is_open,
    publishes_urgently_for_the_first_time,
    receives_from_a_new_topic,
    publishes_to_the_next_ring,
    reads_on_in_the_next_ring,
    reads_on_losslessly,
    reads_on_durably,
)


def leave(what):
    with what:
        pass


def at_the_callers(run):
    """The handler ran when the call had returned: what that had found is gone with the caller's own frame."""
    return run.where is not None and ("<lambda>" in run.where or "receive:" in run.where)


def payloads(subscription, until):
    found = []
    while until not in found:
        got = subscription.receive_many(timeout=SECONDS)
        found += [one.payload for one in got]
        if subscription.durable:
            subscription.ack_many(got)
    return found


def held(bus, name):
    """Publishers, subscriptions and connections of clients of that name, as the coordinator sees them."""
    clients = [one for one in bus.status().clients if one.name == name]
    return sum(one.publishers for one in clients), sum(one.subscriptions for one in clients), len(clients)


def in_another_thread(what):
    """With whatever it raises; a lock that this thread has kept would hold it up."""
    raised = []

    def run():
        try:
            what()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), "a lock is kept"
    if raised:
        raise raised[0]


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def without_collector():
    """What is freed late is freed by the collector: nothing here may need it."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def check(rig, gates, before):
    """All is as if the operation had not been there."""
    in_another_thread(lambda: rig.client.publisher("check.lock").close())
    with rig.client.subscribe("check.x") as subscription, rig.client.publisher("check.x") as publisher:
        publisher.publish(b"%d" % rig.turn)
        assert subscription.receive(timeout=SECONDS).payload == b"%d" % rig.turn
    assert held(rig.bus, rig.client.client_name) == (0, 0, 1)
    assert [list(ring.gates()) for ring in gates] == [[], []]

    def as_before():
        rig.bus._attend()  # what it is told of other clients comes with descriptors
        return descriptors() == before

    eventually(as_before, SECONDS)


@pytest.fixture(scope="module")
def bus():
    """Of a coordinator in a process of its own, which all these tests have in common."""
    name = f"t{secrets.token_hex(6)}"
    with coordinator(name), shmbus.connect(name) as bus:
        yield bus


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_a_client_goes_on_wherever_a_handler_raises(bus, operation):
    turns = itertools.count()
    with ExitStack() as stack:
        stack.enter_context(without_collector())
        gating = [stack.enter_context(bus.publisher(topic)) for topic in GATED]
        for kind in KINDS if LONG else [random.choice(KINDS)]:
            for run in each_interruption(kind, first=random.randint(1, STEP), step=STEP):
                with told(run), shmbus.connect(bus.name, name="client") as client:
                    rig = Rig(bus, client, run, next(turns))
                    bus._attend()
                    before = descriptors()
                    operation(rig)
                    assert run.where is None or run.raised or run.swallowed, "it was taken for a fault of the bus"
                    check(rig, [one._ring for one in gating], before)
                eventually(lambda: held(bus, "client") == (0, 0, 0), SECONDS)
    assert next(turns) > 3  # else nothing was interrupted


@pytest.mark.parametrize(
    "operation",
    [
        lambda bus: bus.subscribe(*GATED, lossless=True),
        lambda bus: bus.publisher("gated.a"),
        lambda bus: bus.status(),
    ],
    ids=["subscribe", "publisher", "status"],
)
def test_ctrl_c_ends_a_wait_for_a_coordinator_that_stands_still(bus_name, operation):
    with coordinator(bus_name) as running, shmbus.connect(bus_name) as bus:
        gating = bus.publisher("gated.a", on_full="raise")
        with shmbus.connect(bus_name, name="client") as client:
            running.process.send_signal(signal.SIGSTOP)
            timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
            began = time.monotonic()
            timer.start()
            try:
                with pytest.raises(KeyboardInterrupt):
                    operation(client)
                assert time.monotonic() - began < 4  # s; it would have waited for 5
            finally:
                timer.join()
                running.process.send_signal(signal.SIGCONT)
            eventually(lambda: held(bus, "client")[1:] == (0, 1), SECONDS)
            assert list(gating._ring.gates()) == []
            with client.publisher("gated.a") as publisher:
                publisher.publish(b"x")
            assert held(bus, "client") == (0, 0, 1)
