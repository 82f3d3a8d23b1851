"""Limits for all processes of a collector together, by the real kernel where it lets us, and refused where it does not.

The mechanics (joining, writing, killing, removing) need a controller that cgroup v2 has; where memory, cpu and pids
belong to cgroup v1, hugetlb stands for them.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

import shmbus
from process.buses import Running, coordinator, eventually
from process.collectors import collector, script, wait_for
from process.hugetlb import FILE, lent, program
from shmbus.coordinator.cgroups import Kernel, record_path

CONFIG = """
[collectors.procmond]
enabled = false
[collectors.tool]
command = ["{}"]
restart = "never"
cgroup = {{ memory_max_bytes = 4_194_304 }}
"""


class Lab(NamedTuple):
    """Its configuration, where the one that went away says its pid, and the collector's cgroup."""

    path: Path
    away_path: Path
    cgroup: Path

    def away(self):
        return int(self.away_path.read_text())


class Confining(Running):
    """A coordinator whose limits take a controller that is there."""

    def __init__(self, bus, path):
        self.bus, self.lines = bus, []
        command = [sys.executable, "-c", program("shmbus.coordinator.__main__"), "--bus", bus, "--config", str(path)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, bufsize=1)
        self.read_until("ready")

    @classmethod
    @contextlib.contextmanager
    def of(cls, bus, path):
        running = cls(bus, path)
        try:
            yield running
        finally:
            if running.process.poll() is None:
                running.end()
            elif running.process.stderr is not None:
                running.process.stderr.close()


@pytest.fixture
def lab(bus_name, tmp_path):
    """The configuration; its collector starts one that leaves its group, its session and its environment."""
    away = tmp_path / "away"
    body = (
        "import os, subprocess\n"
        f"away = subprocess.Popen(['/bin/sleep', '1000'], env={{}}, start_new_session=True)\n"
        f"open({str(away)!r}, 'w').write(str(away.pid))\nos.execv('/bin/sleep', ['sleep', '1000'])\n"
    )
    path = tmp_path / "bus.toml"
    path.write_text(CONFIG.format(script(tmp_path / "tool", body)))
    with lent() as top:
        if top is None:
            pytest.skip("no cgroup v2 that could be used here")
        yield Lab(path, away, top / f"collector.{bus_name}.tool")


def test_all_its_processes_are_in_it_and_none_outlives_it(lab, bus_name):
    with Confining.of(bus_name, lab.path) as running, shmbus.connect() as bus:
        pid = wait_for(bus, "tool", "starting").pid
        eventually(lambda: "sleep" in Path(f"/proc/{pid}/comm").read_text())
        away = lab.away()
        assert {int(one) for one in (lab.cgroup / "cgroup.procs").read_text().split()} == {pid, away}
        assert (lab.cgroup / FILE).read_text() == "4194304\n"
        os.kill(pid, signal.SIGKILL)
        wait_for(bus, "tool", "failed")
        eventually(lambda: not psutil.pid_exists(away) or psutil.Process(away).status() == psutil.STATUS_ZOMBIE)
        running.end()
    assert not lab.cgroup.exists() and not record_path(bus_name).exists()


def test_another_limit_reaches_it_live(lab, bus_name):
    with Confining.of(bus_name, lab.path), shmbus.connect() as bus:
        pid = wait_for(bus, "tool", "starting").pid
        lab.path.write_text(lab.path.read_text().replace("4_194_304", "2_097_152"))
        assert bus.reload_config() == ["collectors.tool: cgroup"]
        assert (lab.cgroup / FILE).read_text() == "2097152\n" and collector(bus, "tool").pid == pid


def test_the_next_coordinator_removes_what_a_killed_one_left(lab, bus_name):
    with Confining.of(bus_name, lab.path) as first, shmbus.connect() as bus:
        pid = wait_for(bus, "tool", "starting").pid
        eventually(lambda: "sleep" in Path(f"/proc/{pid}/comm").read_text())
        first.end(signal.SIGKILL)
        with Confining.of(bus_name, lab.path) as second:
            assert collector(bus, "tool").pid == pid and lab.cgroup.exists()  # it goes on in there
            second.end(signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        away = lab.away()
        with Confining.of(bus_name, lab.path) as third:
            third.end()
        assert not lab.cgroup.exists()
        eventually(lambda: not psutil.pid_exists(away) or psutil.Process(away).status() == psutil.STATUS_ZOMBIE)


@pytest.fixture
def refused(bus_name, tmp_path):
    """Starts a coordinator whose collector asks for what is not there; its errors."""
    if "pids" not in [option for mount in Kernel().mounts() for option in mount[-1].split(",")]:
        pytest.skip("the controller pids is where it should be")
    path = tmp_path / "bus.toml"
    path.write_text("[collectors.tool]\ncommand = ['/bin/true']\ncgroup = { pids_max = 5 }\n")

    def start():
        command = [sys.executable, "-m", "shmbus.coordinator", "--bus", bus_name, "--config", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        return done.stderr

    return start


def test_what_cannot_be_had_is_refused_before_anything_runs(refused):
    said = refused()
    assert "collectors.tool.cgroup.pids_max = 5: cannot be had: the controller pids is mounted as cgroup v1" in said
    assert "Boot with systemd.unified_cgroup_hierarchy=1" in said and "Traceback" not in said


def test_one_that_cannot_start_touches_nothing_of_what_a_killed_one_left(refused, bus_name):
    with coordinator(bus_name) as first, shmbus.connect() as bus, bus.publisher("lab.x") as publisher:
        publisher.publish(b"before")
        first.end(signal.SIGKILL)
        assert "cannot be had" in refused()
        with coordinator(bus_name) as second, bus.subscribe("lab.x", start="earliest") as subscription:
            assert subscription.receive(timeout=20).payload == b"before"
            assert any("took over 1 topics" in line for line in second.lines)
