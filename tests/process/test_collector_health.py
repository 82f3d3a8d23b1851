"""Collectors that stop moving are found by their heartbeat, told of, ended, and started again."""

import os
import signal

import pytest

import shmbus
from process.buses import coordinator
from process.collectors import collector, control, install, wait_for

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


def alerts(subscription, count):
    return [subscription.receive(timeout=20).event for _ in range(count)]


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
    with lab("steady,constrained") as running, shmbus.connect() as bus:
        wait_for(bus, "constrained", "running")
        pid = moving(bus)
        os.kill(pid, signal.SIGSTOP)
        running.read_until("steady: has not moved")
        assert collector(bus, "constrained").health == "healthy"
        assert bus.status().health in ("degraded", "unresponsive")
        running.read_until("steady: ready")
        assert "constrained: has not" not in running.end()
