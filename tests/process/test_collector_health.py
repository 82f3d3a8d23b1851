"""Collectors that stop moving are found by their heartbeat, told of, ended, and started again."""

import os
import signal
from itertools import islice

import psutil
import pytest

import shmbus
from process.buses import coordinator
from process.collectors import collector, control, install, wait_for
from shmbus import rpc
from shmbus.v1.eventbus_pb2 import AlertPayload, HeartbeatPayload
from shmbus.v1.rpc_pb2 import DEGRADED, HEALTHY, UNRESPONSIVE

CONFIG = """
[bus]
heartbeat_ms = 400
grace_seconds = 0.3
[collectors.steady]
restart_first_seconds = 0.01
[collectors.deadlocked]
restart = "never"
"""


@pytest.fixture
def lab(bus_name, tmp_path):
    """Starts a coordinator with these collectors."""
    environment = install(tmp_path)
    (tmp_path / "bus.toml").write_text(CONFIG)

    def start(names):
        return coordinator(bus_name, "--config", str(tmp_path / "bus.toml"), "--collectors", names, **environment)

    return start


def told(subscription, kind):
    """What is published of that kind, from now on."""
    while True:
        if isinstance(event := subscription.receive(timeout=30).event, kind):
            yield event


def alerts(subscription, count):
    return list(islice(told(subscription, AlertPayload), count))


def moving(bus):
    """The pid of the steady one, when it beats."""
    with bus.subscribe("lab.steady") as subscription:
        subscription.receive(timeout=20)
    return wait_for(bus, "steady", "running").pid


def test_a_stopped_one_is_degraded_then_unresponsive_and_begins_anew(lab):
    with lab("steady") as running, shmbus.connect() as bus:
        told = bus.subscribe("control.health.status")
        pid = moving(bus)
        os.kill(pid, signal.SIGSTOP)
        running.read_until("steady: has not moved for 0.5 s: its process is stopped")
        running.read_until("steady: it did not move for 0.9 s: its process is stopped; ending it")
        running.read_until("steady: ready")
        status = wait_for(bus, "steady", "running")
        assert (status.pid != pid, status.restarts) == (True, 1)
        assert status.reason == "it did not move for 0.9 s: its process is stopped"
        assert [alert.title for alert in alerts(told, 2)] == [
            "collector steady is degraded", "collector steady is unresponsive",
        ]  # fmt: skip


def test_one_that_goes_on_in_time_is_healthy_again(lab):
    with lab("steady") as running, shmbus.connect() as bus:
        pid = moving(bus)
        os.kill(pid, signal.SIGSTOP)
        running.read_until("steady: has not moved")
        os.kill(pid, signal.SIGCONT)
        running.read_until("steady: moves")
        assert (collector(bus, "steady").pid, bus.status().health) == (pid, "healthy")


def test_a_deadlock_of_the_thread_that_works_is_found_though_others_go_on(lab):
    with lab("deadlocked") as running, shmbus.connect() as bus:
        running.read_until("deadlocked: stuck")
        running.read_until("deadlocked: has not moved for 0.5 s")
        status = wait_for(bus, "deadlocked", "failed")
        assert status.reason == "it did not move for 0.9 s"
        assert bus.status().health == "unhealthy"


def test_one_that_is_paused_is_not_judged(lab):
    with lab("steady") as running, shmbus.connect() as bus:
        told = bus.subscribe("lab.steady")
        pid = wait_for(bus, "steady", "running").pid
        for _ in range(2):
            control(bus, "steady", "pause")
            with pytest.raises(shmbus.ReceiveTimeout):
                while True:
                    told.receive(timeout=1.5)  # longer than an unresponsive one lives
            control(bus, "steady", "resume")
            told.receive(timeout=20)
        assert collector(bus, "steady").pid == pid
        assert "has not moved" not in running.end()


def test_one_that_beats_never_is_not_judged_and_the_worst_of_all_counts(lab):
    with lab("steady,fragile") as running, shmbus.connect() as bus:
        wait_for(bus, "fragile", "running")
        pid = moving(bus)
        os.kill(pid, signal.SIGSTOP)
        running.read_until("steady: has not moved")
        assert collector(bus, "fragile").health == "healthy"
        assert bus.status().health in ("degraded", "unresponsive")
        running.read_until("steady: ready")
        assert "fragile: has not" not in running.end()


def test_one_that_is_only_called_beats_between_the_calls_and_is_found_when_it_stands_still(lab):
    with lab("served") as running, shmbus.connect() as bus:
        pid = wait_for(bus, "served", "running").pid
        running.read_until("served: moves")
        os.kill(pid, signal.SIGSTOP)
        running.read_until("served: has not moved for 0.5 s: its process is stopped")
        running.read_until("served: ready")
        assert wait_for(bus, "served", "running").restarts == 1


def test_each_says_how_it_is_from_its_own_thread_and_its_numbers_are_real(lab):
    with lab("steady"), shmbus.connect() as bus, bus.subscribe("control.health.heartbeat.steady") as subscription:
        heartbeats = told(subscription, HeartbeatPayload)
        pid = moving(bus)
        first, second = islice(heartbeats, 2)
        assert (first.component_id, first.health_status, second.health_status) == ("steady", HEALTHY, HEALTHY)
        assert 0 < second.metrics["messages_published"] - first.metrics["messages_published"] < 100
        assert 0 <= second.metrics["cpu_percent"] <= 120 and second.metrics["cpu_seconds"] > 0
        assert second.metrics["memory_bytes"] == pytest.approx(psutil.Process(pid).memory_info().rss, rel=0.2)
        assert second.metrics["messages_refused"] == 0 and dict(second.error_counts) == {"refused": 0, "lost": 0}
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(shmbus.ReceiveTimeout):  # it stands still, so nobody says anything for it
            while subscription.receive(timeout=0.8):
                pass


def test_what_a_collector_has_open_and_who_is_connected_to_the_bus_are_counted(lab):
    with lab("served"), shmbus.connect() as bus, bus.subscribe("control.health.heartbeat.served") as heard:
        counts = (one.active_connections for one in told(heard, HeartbeatPayload))
        assert next(counts) == 1  # where it takes requests
        with rpc.Client(bus) as client, shmbus.connect() as other, rpc.Client(other) as second:
            client.health("served")
            assert next(count for count in counts if count > 1) == 2  # and where it answers this client
            second.health("served")
            assert next(count for count in counts if count > 2) == 3
            overall = told(other.subscribe("control.health.status"), HeartbeatPayload)
            os.kill(collector(bus, "served").pid, signal.SIGSTOP)
            assert next(overall).active_connections == len(bus.status().clients) == 3  # these two, and it


def test_its_queue_is_as_deep_as_its_slowest_reader_is_behind(lab):
    with lab("steady"), shmbus.connect() as bus, bus.subscribe("control.health.heartbeat.+") as subscription:
        moving(bus)
        with bus.subscribe("lab.steady", lossless=True) as slow:
            depths = (one.queue_depths["lab.steady"] for one in told(subscription, HeartbeatPayload))
            first = next(depth for depth in depths if depth > 20)
            assert next(depths) > first
            slow.receive_many(8192)
            assert next(depth for depth in depths if depth < first) < first


def test_what_a_full_topic_refuses_and_a_subscription_loses_is_counted(lab):
    with lab("reluctant"), shmbus.connect() as bus, bus.subscribe("control.health.heartbeat.+") as subscription:
        first, second = islice(told(subscription, HeartbeatPayload), 2)
        assert first.health_status == second.health_status == DEGRADED  # as it says of itself
        assert second.metrics["messages_refused"] > first.metrics["messages_refused"] > 0
        assert second.error_counts["refused"] == (
            second.metrics["messages_refused"] - first.metrics["messages_refused"]
        )
        assert second.metrics["messages_lost"] > 0


def test_how_all_are_is_told_when_it_changes(lab):
    with lab("steady"), shmbus.connect() as bus:
        overall = told(bus.subscribe("control.health.status"), HeartbeatPayload)
        os.kill(moving(bus), signal.SIGSTOP)
        seen = []
        while not seen or seen[-1] != HEALTHY:
            one = next(overall)
            assert (one.component_id, one.metrics["collectors"]) == ("bus", 1)
            seen.append(one.health_status)
        assert seen[0] == DEGRADED and UNRESPONSIVE in seen
