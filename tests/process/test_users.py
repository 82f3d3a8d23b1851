"""Processes of other users: refused, or held to what a rule lets them do, by the kernel where it can."""

import os

import pytest

import shmbus
from process.buses import python
from shmbus.coordinator.settings import Grant, Settings

OTHER = 54321
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

BECOME = f"""
import ctypes, os, re, sys
import shmbus
os.setgroups([]); os.setgid({OTHER}); os.setuid({OTHER})

def attempt(what):
    try:
        print(type(what()).__name__, flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
"""

CONNECT = BECOME + "attempt(lambda: shmbus.connect(sys.argv[1]))"

SUBSCRIBE_ONLY = (
    BECOME
    + """
with shmbus.connect(sys.argv[1]) as bus:
    subscription = bus.subscribe("open.#", lossless=True)
    print("subscribed", flush=True)
    print(subscription.receive(timeout=20).payload.decode(), flush=True)
    attempt(lambda: bus.publisher("open.a"))
    attempt(lambda: bus.publisher("new.topic"))
    attempt(lambda: bus.subscribe("closed.a"))
    attempt(lambda: bus.subscribe("#"))
    attempt(lambda: bus.resize("open.a", slots=64))
    attempt(bus.stop)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    for line in open("/proc/self/maps"):
        start, access, path = line.split("-")[0], line.split()[1], " ".join(line.split()[5:])
        if ".ring." in path:
            changed = protect(ctypes.c_void_p(int(start, 16)), 4096, 3)
            print("ring", access, changed, os.strerror(ctypes.get_errno()), flush=True)
    for name in os.listdir("/dev/shm"):
        if name.startswith("shmbus."):
            attempt(lambda: open("/dev/shm/" + name, "r+b"))
    print("done", flush=True)
"""
)


def lines(child):
    return [line.rstrip("\n") for line in child.stdout]


def test_another_user_is_refused_and_told_where_it_could_be_allowed():
    with shmbus.embedded() as bus, python(CONNECT, bus.address) as child:
        (line,) = lines(child)
        assert line.startswith("AccessDenied") and f"uid {OTHER}" in line and "[access] of the configuration" in line
        assert [client.uid for client in bus.status().clients] == [0]


def test_another_user_may_do_what_a_rule_says_and_the_kernel_keeps_it_from_more():
    settings = Settings(subscribe=(Grant("open.#", users=frozenset({OTHER})),))
    with shmbus.embedded(settings) as bus, bus.publisher("open.a") as publisher:
        with python(SUBSCRIBE_ONLY, bus.address) as child:
            assert child.stdout.readline() == "subscribed\n"
            publisher.publish(b"readable")
            said = lines(child)
    assert said[0] == "readable" and said[-1] == "done"
    refused = [line for line in said if line.startswith("AccessDenied")]
    assert [line.split("may not ")[1].split(".")[0] for line in refused][:4] == [
        "publish to 'open", "publish to 'new", "subscribe to 'closed", "subscribe to '#'",
    ]  # fmt: skip
    assert len(refused) == 6
    rings = [line for line in said if line.startswith("ring")]
    assert rings and all(line == "ring r--s -1 Permission denied" for line in rings)
    assert not any("BufferedRandom" in line for line in said)


def test_a_group_is_as_good_as_a_user():
    settings = Settings(subscribe=(Grant("open.#", groups=frozenset({OTHER})),))
    with shmbus.embedded(settings) as bus, python(SUBSCRIBE_ONLY, bus.address) as child:
        assert child.stdout.readline() == "subscribed\n"


def test_a_publisher_of_another_user_publishes_and_is_named_with_its_uid():
    program = BECOME + (
        "with shmbus.connect(sys.argv[1], name='guest') as bus, bus.publisher('open.a') as publisher:\n"
        "    publisher.publish(b'from a guest')\n"
        "    attempt(lambda: bus.subscribe('open.a'))\n"
    )
    settings = Settings(publish=(Grant("open.+", users=frozenset({OTHER})),))
    with (
        shmbus.embedded(settings) as bus,
        bus.subscribe("open.a") as subscription,
        python(program, bus.address) as child,
    ):
        message = subscription.receive(timeout=20)
        assert (message.payload, message.producer.name, message.producer.uid) == (b"from a guest", "guest", OTHER)
        assert message.producer.pid == child.pid
        assert lines(child)[0].startswith("AccessDenied")
