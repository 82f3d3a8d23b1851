"""A lossless subscriber that stalls is demoted past the topic's bound, told, and told of; collectors go on."""

import os
import signal
import time
from dataclasses import replace

import psutil
import pytest

import shmbus
from process.buses import eventually, python
from process.rings import small
from shmbus.errors import BackpressureError
from shmbus.v1.eventbus_pb2 import AlertPayload

STOPS = """
import os, signal, sys
import shmbus
with shmbus.connect(sys.argv[1], name="stopped") as bus, bus.subscribe("lab.#", lossless=True) as subscription:
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
    for message in subscription:
        told = message.reason if isinstance(message, shmbus.Gap) else "message"
        print(told, message.count if told != "message" else int(message.payload), flush=True)
"""


def impatient(max_stall_ns=200_000_000):
    settings = small()
    return replace(settings, default=replace(settings.default, max_stall_ns=max_stall_ns))


def test_a_stopped_reader_is_demoted_and_told_when_it_wakes_and_publishers_go_on():
    with shmbus.embedded(impatient()) as bus, bus.subscribe("control.health.status") as health:
        with python(STOPS, bus.address) as stopped, bus.publisher("lab.x", timeout=30) as publisher:
            assert stopped.stdout.readline() == "ready\n"
            eventually(lambda: psutil.Process(stopped.pid).status() == psutil.STATUS_STOPPED)
            began = time.monotonic()
            publisher.publish_many([b"%d" % n for n in range(40)])
            assert time.monotonic() - began > 0.2
            alert = health.receive(timeout=20)
            assert isinstance(alert.event, AlertPayload) and alert.producer.name == "coordinator"
            assert "'stopped'" in alert.event.description and "15 messages behind" in alert.event.description
            assert alert.event.affected_resources == ["lab.x", "stopped"]
            os.kill(stopped.pid, signal.SIGCONT)
            told = [stopped.stdout.readline().split() for _ in range(3)]
            assert told[0] == ["demoted", "0"]
            assert told[1] == ["overrun", "25"] and told[2] == ["message", "25"]
            stopped.kill()


def test_what_a_slow_reader_reads_in_time_keeps_it_lossless():
    with shmbus.embedded(impatient(2_500_000_000)) as bus, bus.publisher("lab.x", timeout=0) as publisher:
        with bus.subscribe("lab.#", lossless=True) as subscription:
            publisher.publish_many([b"x"] * 15)
            for _ in range(4):
                time.sleep(1)
                with pytest.raises(BackpressureError):
                    publisher.publish(b"no room")
                assert isinstance(subscription.receive(timeout=0), shmbus.Message)
                publisher.publish(b"x")
            assert subscription.lost == 0


def test_without_a_bound_it_holds_for_ever():
    with shmbus.embedded(impatient(0)) as bus, bus.publisher("lab.x", timeout=3) as publisher:
        with bus.subscribe("lab.#", lossless=True), pytest.raises(BackpressureError):
            publisher.publish_many([b"x"] * 40)


def test_only_the_topic_that_it_stalled_on_is_held_no_more():
    with shmbus.embedded(impatient()) as bus, bus.subscribe("lab.#", lossless=True) as subscription:
        with bus.publisher("lab.x", timeout=30) as stalled, bus.publisher("lab.y", timeout=0) as other:
            other.publish(b"y")
            stalled.publish_many([b"x"] * 40)
            with pytest.raises(BackpressureError):
                other.publish_many([b"y"] * 40)
            found = subscription.receive_many()
            gaps = [gap for gap in found if isinstance(gap, shmbus.Gap)]
            assert {(gap.topic, gap.pattern) for gap in gaps} == {("lab.x", "lab.#")}
            assert [(gap.reason, gap.count) for gap in gaps] == [("demoted", 0), ("overrun", 25)]
            assert subscription.lost == 25


def test_a_health_topic_of_another_type_is_left_alone_and_demotion_goes_on():
    with shmbus.embedded(impatient()) as bus, bus.subscribe("lab.#", lossless=True):
        with bus.publisher("control.health.status", type=AlertPayload) as taken, bus.publisher("lab.x") as publisher:
            taken.publish(AlertPayload(title="mine"))
            publisher.publish_many([b"x"] * 40)
            with bus.subscribe("control.health.status", start="earliest") as health:
                assert [m.event.title for m in health.receive_many()] == ["mine"]
