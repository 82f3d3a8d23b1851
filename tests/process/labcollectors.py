"""Collectors for the tests, each an entry point of its own name (see `installed` in collectors.py)."""

import os
import signal
import subprocess
import sys
import threading
import time

import shmbus
from shmbus.rpc import PAUSE, RESUME, UPDATE_CONFIG
from shmbus.v1.rpc_pb2 import DEGRADED, HEALTHY, UNHEALTHY, ComponentHealth


def steady():
    """Publishes and beats, and says so."""
    stop = threading.Event()
    hups = []
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, lambda *_: hups.append(1))
    print("I am here", *sys.argv[1:], flush=True)
    with shmbus.connect(name="steady") as bus, bus.publisher("lab.steady") as publisher:
        bus.ready()
        while not stop.wait(0.02):
            bus.beat()
            publisher.publish(b"x")
            print("published")
            if hups:
                hups.clear()
                print("reloaded", flush=True)


def fragile():
    """Does well unless told otherwise: "crash" at once, "later" after a moment, "mute" never announces itself."""
    if "crash" in sys.argv:
        sys.exit("that is nothing for me")
    with shmbus.connect(name="fragile") as bus:
        if "mute" not in sys.argv:
            bus.ready()
        print("I am here", *sys.argv[1:], flush=True)
        if "later" in sys.argv:
            time.sleep(0.1)
            sys.exit("no more")
        signal.sigwait([signal.SIGTERM])


def reluctant():
    """Publishes to a topic that its own subscription holds full, loses messages of another, and says that it is ill."""
    with (
        shmbus.connect(name="reluctant") as bus,
        bus.publisher("lab.full", on_full="raise") as full,
        bus.publisher("lab.lost") as lost,
        bus.subscribe("lab.full", lossless=True),
        bus.subscribe("lab.lost") as reader,
    ):
        interval = bus.ready()
        while True:
            lost.publish_many([b"x"] * 10_000)
            reader.receive()
            try:
                full.publish_many([b"x"] * 10_000)
            except shmbus.BackpressureError:
                bus.beat(DEGRADED)
            time.sleep(interval / 2)


def candid():
    """Says of itself what it is told to on a topic, in its own thread of work."""
    with shmbus.connect(name="candid") as bus, bus.subscribe("lab.say") as told:
        interval, health, reason = bus.ready(), HEALTHY, ""
        print("I listen", flush=True)
        while True:
            bus.beat(health, reason)
            try:
                word, _, reason = bytes(told.receive(timeout=interval / 4).payload).decode().partition(" ")
                health = int(word)
            except shmbus.ReceiveTimeout:
                pass


class Served(shmbus.rpc.Collector):
    """Its disk is full from a PAUSE to a RESUME; an UPDATE_CONFIG breaks what finds that out."""

    disk = HEALTHY

    def components(self):
        return (ComponentHealth(name="disk", status=self.disk, message="as it was told"),)

    @shmbus.rpc.operation(PAUSE)
    def pause(self, request):
        self.disk = UNHEALTHY

    @shmbus.rpc.operation(RESUME)
    def resume(self, request):
        self.disk = HEALTHY

    @shmbus.rpc.operation(UPDATE_CONFIG)
    def update_config(self, request):
        self.disk = "no status"


def served():
    """Is called, and registered nowhere."""
    with shmbus.connect(name="served") as bus:
        print("I serve", flush=True)
        Served("served").serve(bus)


def other():
    """The same under another name."""
    steady()


def crashing():
    """Ends at once."""
    print("first line", file=sys.stderr)
    sys.exit("out of luck")


def silent():
    """Connects, and never says that it is ready."""
    with shmbus.connect(name="silent"):
        print("I say nothing", flush=True)
        signal.pause()


def deadlocked():
    """Beats for a moment; then its thread of work waits for ever, while another goes on."""
    with shmbus.connect(name="deadlocked") as bus:
        interval = bus.ready()
        for _ in range(4):
            bus.beat()
            time.sleep(interval / 4)
        print("stuck", flush=True)
        lock = threading.Lock()
        lock.acquire()
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        lock.acquire()


def stubborn():
    """Does not end when asked to, and has started others: one in its group, one in a session of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sleep", "1000"])
    away = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    with shmbus.connect(name="stubborn") as bus:
        bus.ready()
        print("I stay, away is", away.pid, flush=True)
        while True:
            time.sleep(1000)


def obstinate():
    """The same under another name."""
    stubborn()


def constrained():
    """Says what it may."""
    import resource

    files, nice = resource.getrlimit(resource.RLIMIT_NOFILE), os.getpriority(os.PRIO_PROCESS, 0)
    groups = ",".join(map(str, os.getgroups()))
    print(
        f"uid {os.getuid()} gid {os.getgid()} groups {groups} files {files[1]} nice {nice} in {os.getcwd()}", flush=True
    )
    with shmbus.connect(name="constrained") as bus, bus.publisher("lab.mine") as publisher:
        publisher.publish(b"mine")
        try:
            bus.publisher("lab.other")
        except shmbus.AccessDenied as error:
            print("refused:", error, flush=True)
        shmbus.rpc.Collector("constrained").serve(bus)
