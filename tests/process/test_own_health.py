"""What a collector says of itself counts: told at once, shown with its reason, and acted on as it is configured."""

import json
import os
import signal
import subprocess
import sys
from itertools import islice

import pytest

import shmbus
from process.buses import coordinator, eventually
from process.collectors import collector, control, install, wait_for
from shmbus import rpc
from shmbus.v1.eventbus_pb2 import AlertPayload, HeartbeatPayload
from shmbus.v1.rpc_pb2 import DEGRADED, HEALTHY, UNHEALTHY, ConfigUpdateRequest, ConfigValue

CONFIG = """
[bus]
heartbeat_ms = {heartbeat}
grace_seconds = 0.3
[collectors.candid]
restart_first_seconds = 0.01
{more}
"""
HOUR = 3_600_000  # so long that no regular look comes within a test


@pytest.fixture
def lab(bus_name, tmp_path):
    """Starts a coordinator with the candid one."""
    environment = install(tmp_path)

    def start(heartbeat, more="", *arguments):
        (tmp_path / "bus.toml").write_text(CONFIG.format(heartbeat=heartbeat, more=more))
        config = ("--config", str(tmp_path / "bus.toml"), "--collectors", "candid")
        return coordinator(bus_name, *config, *arguments, **environment)

    return start


class Lab:
    """One that does what it is told to say, and what is told of it."""

    def __init__(self, bus):
        self.bus = bus
        self.status = bus.subscribe("control.health.status")
        self._say = bus.publisher("lab.say")
        self.pid = wait_for(bus, "candid", "running").pid
        eventually(lambda: collector(bus, "candid").said == "healthy")

    def say(self, health, reason=""):
        self._say.publish(f"{health} {reason}".encode())

    def told(self, kind):
        while True:
            if isinstance(event := self.status.receive(timeout=30).event, kind):
                yield event

    def until(self, health):
        """The alerts until the health of all is that."""
        alerts = []
        for event in self.told((AlertPayload, HeartbeatPayload)):
            if isinstance(event, AlertPayload):
                alerts.append(event.title)
            elif event.health_status == health:
                return alerts

    @property
    def its(self):
        one = collector(self.bus, "candid")
        return one.health, one.said, one.why


def command(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "shmbus.tools", *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_it_says_is_known_without_a_look_and_the_worst_counts(lab):
    with lab(HOUR) as running, shmbus.connect() as bus:
        its = Lab(bus)
        assert collector(bus, "candid").silent_ms < 60_000  # its first beat, too
        its.say(DEGRADED)
        assert its.until(DEGRADED) == ["collector candid says that it is degraded"]
        assert its.its == ("degraded", "degraded", "it says so itself")
        its.say(UNHEALTHY)
        assert its.until(UNHEALTHY) == ["collector candid says that it is unhealthy"]
        assert bus.status().health == "unhealthy"
        its.say(HEALTHY)
        assert its.until(HEALTHY) == []
        assert its.its == ("healthy", "healthy", "")
        running.read_until("candid: says that it is healthy again")
        assert collector(bus, "candid").pid == its.pid


def test_the_command_and_the_view_name_the_reason(lab, bus_name):
    with lab(HOUR), shmbus.connect() as bus:
        its = Lab(bus)
        its.say(UNHEALTHY)
        its.until(UNHEALTHY)
        output = command("collectors", "health", "--bus", bus_name)
        assert "\n  unhealthy: it says so itself\n" in output and "all together: unhealthy" in output
        assert max(map(len, output.splitlines())) <= 80
        facts = json.loads(command("collectors", "health", "--json", "--bus", bus_name))
        assert (facts["health"], facts["said"], facts["why"]) == ("unhealthy", "unhealthy", "it says so itself")
        assert facts["last_beat_seconds"] is not None


def test_the_reason_that_it_gives_is_shown_and_told_and_another_one_only_shown(lab, bus_name):
    with lab(400) as running, shmbus.connect() as bus, bus.subscribe("control.health.heartbeat.candid") as heard:
        its = Lab(bus)
        its.say(DEGRADED, "disk /var at 97\n%")
        alert = next(its.told(AlertPayload))
        assert alert.title == "collector candid says that it is degraded"
        assert alert.description.endswith("of itself: it moves. Its reason: disk /var at 97 %")
        assert its.its == ("degraded", "degraded", "it says so itself: disk /var at 97 %")
        running.read_until("candid: says that it is degraded: disk /var at 97 %")
        wanted = ("disk /var at 97 %", DEGRADED)
        while (heard.receive(timeout=30).event.health_reason, heard.receive(timeout=30).event.health_status) != wanted:
            pass
        output = command("collectors", "health", "--bus", bus_name)
        assert "\n  degraded: it says so itself: disk /var at 97 %\n" in output
        facts = json.loads(command("collectors", "health", "--json", "--bus", bus_name))
        assert (facts["said"], facts["said_reason"]) == ("degraded", "disk /var at 97 %")
        its.say(DEGRADED, "disk /var at 98 %")
        eventually(lambda: its.its[2] == "it says so itself: disk /var at 98 %")
        os.kill(its.pid, signal.SIGSTOP)
        running.read_until("that it is degraded: disk /var at 98 %, as it said before, is stale")
        assert its.its[2].endswith("before that it said that it is degraded: disk /var at 98 %")
        os.kill(its.pid, signal.SIGCONT)
        running.read_until("candid: moves")
        its.say(HEALTHY)
        its.until(HEALTHY)
        assert its.its == ("healthy", "healthy", "") and collector(bus, "candid").said_reason == ""
        its.say(UNHEALTHY, "€" * 100)
        its.until(UNHEALTHY)
        assert its.its[2] == f"it says so itself: {'€' * 37}"


def test_one_that_stands_still_said_it_before(lab):
    with lab(400) as running, shmbus.connect() as bus:
        its = Lab(bus)
        its.say(DEGRADED)
        its.until(DEGRADED)
        os.kill(its.pid, signal.SIGSTOP)
        running.read_until(
            "candid: has not moved for 0.5 s: its process is stopped; that it is degraded, as it said before, is stale"
        )
        health, said, why = its.its
        assert (health, said) == ("degraded", "degraded (stale)")
        assert why == "it does not move: its process is stopped; before that it said that it is degraded"
        os.kill(its.pid, signal.SIGCONT)
        running.read_until("candid: moves")
        assert its.its == ("degraded", "degraded", "it says so itself")


def test_one_that_is_paused_is_as_bad_as_it_said(lab):
    with lab(400), shmbus.connect() as bus:
        its = Lab(bus)
        control(bus, "candid", "pause")
        assert its.its == ("degraded", "healthy (stale)", "it is paused")
        control(bus, "candid", "resume")
        its.say(UNHEALTHY)
        its.until(UNHEALTHY)
        control(bus, "candid", "pause")
        assert its.its == ("unhealthy", "unhealthy (stale)", "it is paused; before that it said that it is unhealthy")


def test_one_that_stays_unhealthy_is_let_be_unless_the_configuration_says_for_how_long(lab):
    with lab(100) as running, shmbus.connect() as bus:
        its = Lab(bus)
        its.say(UNHEALTHY)
        its.until(UNHEALTHY)
        with pytest.raises(shmbus.ReceiveTimeout):
            while True:
                its.status.receive(timeout=2)
        assert (collector(bus, "candid").pid, collector(bus, "candid").restarts) == (its.pid, 0)
        assert "ending it" not in running.end()


def test_where_it_does_that_is_a_crash(lab):
    with lab(400, "restart_unhealthy_seconds = 0.5") as running, shmbus.connect() as bus:
        its = Lab(bus)
        its.say(UNHEALTHY)
        running.read_until("candid: it said for 0.5 s that it is unhealthy; ending it")
        running.read_until("candid: ready")
        assert [alert.title for alert in islice(its.told(AlertPayload), 2)] == [
            "collector candid says that it is unhealthy", "collector candid stays unhealthy",
        ]  # fmt: skip
        status = wait_for(bus, "candid", "running")
        assert (status.pid != its.pid, status.restarts) == (True, 1)
        assert status.reason == "it said for 0.5 s that it is unhealthy"
        eventually(lambda: its.its == ("healthy", "healthy", ""))


def test_the_next_coordinator_knows_what_it_said_and_is_woken_by_what_it_says_then(lab):
    with lab(HOUR) as first, shmbus.connect() as bus:
        its = Lab(bus)
        its.say(UNHEALTHY)
        its.until(UNHEALTHY)
        first.process.kill()
        first.rest()
        with lab(HOUR) as second:
            assert f"candid: goes on as pid {its.pid}, which a killed coordinator left running" in second.lines
            assert "candid: says that it is unhealthy" in second.lines
            eventually(lambda: its.its == ("unhealthy", "unhealthy", "it says so itself"))
            its.say(HEALTHY)
            second.read_until("candid: says that it is healthy again")
            assert collector(bus, "candid").pid == its.pid


def test_one_that_is_called_says_of_itself_what_a_health_check_answers(bus_name, tmp_path):
    (tmp_path / "bus.toml").write_text("[bus]\nheartbeat_ms = 500\n")
    config = ("--config", str(tmp_path / "bus.toml"), "--collectors", "served")
    with coordinator(bus_name, *config, **install(tmp_path)) as running, shmbus.connect() as bus:
        wait_for(bus, "served", "running")
        with rpc.Client(bus) as client:
            assert client.health("served").status == HEALTHY
            client.call("served", rpc.PAUSE)
            running.read_until("served: says that it is unhealthy: disk: as it was told")
            found = client.health("served")
            assert (found.status, found.components["disk"].status) == (UNHEALTHY, UNHEALTHY)
            assert "heartbeat" not in found.components  # which would be older than what it answers
            client.call("served", rpc.RESUME)
            running.read_until("served: says that it is healthy again")
            client.call(
                "served", rpc.UPDATE_CONFIG, ConfigUpdateRequest(config_changes={"a": ConfigValue(int_value=1)})
            )
            # nobody knows how it is, and it serves on
            running.read_until("served: says that it is degraded: how its components are cannot be found out: ")
            client.call("served", rpc.RESUME)
            running.read_until("served: says that it is healthy again")


def test_a_health_check_of_one_with_a_loop_of_its_own_has_what_it_says_of_itself():
    with shmbus.embedded(name="mine") as bus, rpc.Client(bus) as client:
        bus.beat(DEGRADED)
        with rpc.Collector("mine").serving(bus):
            found = client.health("mine")
            assert (found.status, found.components["heartbeat"].status) == (DEGRADED, DEGRADED)
            bus.beat(DEGRADED, reason="disk full")
            assert client.health("mine").components["heartbeat"].message == "disk full"
            bus.beat(DEGRADED, reason="no 'caf\udce9'")  # as os.fsdecode makes it of a name that is no UTF-8
            assert client.health("mine").components["heartbeat"].message == r"no 'caf\udce9'"
            bus.beat(HEALTHY)
            assert client.health("mine").status == HEALTHY
