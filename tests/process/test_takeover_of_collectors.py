"""A coordinator is killed, and the next one goes on with the collectors that it left: the same processes."""

import os
import signal
import sys

import psutil
import pytest

import shmbus
from process.buses import coordinator, eventually
from process.collectors import collector, control, install, wait_for
from shmbus import segment


@pytest.fixture
def installed(tmp_path):
    return install(tmp_path)


def config(tmp_path, text):
    path = tmp_path / "bus.toml"
    path.write_text(text)
    return "--config", str(path)


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_the_same_processes_go_on_and_are_supervised_by_the_new_one(bus_name, installed, tmp_path):
    arguments = (*config(tmp_path, "[collectors.steady]\nrestart_first_seconds = 0.01\n"), "--collectors", "steady")
    with coordinator(bus_name, *arguments, **installed) as first, shmbus.connect() as bus:
        subscription = bus.subscribe("lab.steady", lossless=True)
        os.kill(wait_for(bus, "steady", "running").pid, signal.SIGKILL)
        first.read_until("killed by SIGKILL")
        pid = wait_for(bus, "steady", "running").pid
        first.end(signal.SIGKILL)
        for _ in range(20):  # it prints, too, and nobody reads that at present
            assert subscription.receive(timeout=20).payload == b"x"
        with coordinator(bus_name, *arguments, **installed) as second, shmbus.connect() as fresh:
            assert f"steady: goes on as pid {pid}, which a killed coordinator left running" in second.lines
            status = collector(fresh, "steady")
            assert (status.pid, status.state, status.restarts) == (pid, "running", 1)
            for _ in range(20):
                assert subscription.receive(timeout=20).payload == b"x"
            assert subscription.lost == 0
            second.read_until("steady: published")  # what it prints is told again
            os.kill(pid, signal.SIGKILL)
            second.read_until("steady: ended; how is not known")
            status = wait_for(fresh, "steady", "running")
            assert (status.pid != pid, status.restarts) == (True, 2)
            assert subscription.receive(timeout=20)
            assert "steady: stopped" in second.end()


def test_nothing_that_it_prints_is_lost_or_told_twice(bus_name, installed, tmp_path):
    program = tmp_path / "counts.py"
    program.write_text(
        "import itertools, sys, time, shmbus\n"
        "with shmbus.connect(name='counts') as bus:\n"
        "    bus.ready()\n"
        "    for number in itertools.count():\n"
        "        print(number, flush=True)\n"
        "        time.sleep(0.0005)\n"
    )
    text = f"[collectors.counts]\ncommand = ['{sys.executable}', '{program}']\n"
    arguments = (*config(tmp_path, text), "--collectors", "counts")

    def numbers(lines):
        told = (line.rstrip().split("counts: ") for line in lines)
        return [int(words[1]) for words in told if len(words) == 2 and words[1].isdecimal()]

    with coordinator(bus_name, *arguments, **installed) as first:
        first.read_until("counts: 300")
        said = first.lines + first.end(signal.SIGKILL).splitlines()
        with coordinator(bus_name, *arguments, **installed) as second:
            second.read_until(f"counts: {numbers(said)[-1] + 300}")
            found = numbers(said) + numbers(second.lines)
    assert found[:100] == list(range(100))
    repeated = len(found) - len(set(found))
    assert set(range(max(found) + 1)) == set(found) and repeated <= 300  # of the one turn in which it was killed


def test_one_that_is_stopped_or_paused_stays_so(bus_name, installed):
    arguments = ("--collectors", "steady,other")
    with coordinator(bus_name, *arguments, **installed) as first, shmbus.connect() as bus:
        pid = wait_for(bus, "steady", "running").pid
        wait_for(bus, "other", "running")
        control(bus, "other", "stop")
        wait_for(bus, "other", "stopped")
        control(bus, "steady", "pause")
        first.end(signal.SIGKILL)
        with coordinator(bus_name, *arguments, **installed), shmbus.connect() as fresh:
            assert (collector(fresh, "other").state, collector(fresh, "steady").state) == ("stopped", "paused")
            assert control(fresh, "steady", "resume").pid == pid
            wait_for(fresh, "steady", "running")


HANGS = """
import signal, time, shmbus
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with shmbus.connect(name="hangs") as bus:
    bus.ready()
    bus.beat()
    time.sleep(1000)
"""


def ended(pid):
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: gone(pid))


@pytest.mark.parametrize("under_the_next_one", (False, True))
def test_one_that_was_being_restarted_runs_again(bus_name, installed, under_the_next_one):
    arguments = ("--collectors", "stubborn")
    with coordinator(bus_name, *arguments, **installed) as first, shmbus.connect() as bus:
        pid = wait_for(bus, "stubborn", "running").pid
        assert control(bus, "stubborn", "restart").state == "stopping"
        first.end(signal.SIGKILL)
        if not under_the_next_one:
            ended(pid)
        with coordinator(bus_name, *arguments, **installed), shmbus.connect() as fresh:
            if under_the_next_one:
                assert collector(fresh, "stubborn").state == "stopping"
                ended(pid)
            status = wait_for(fresh, "stubborn", "running")
            assert (status.pid != pid, status.restarts) == (True, 0)


@pytest.mark.parametrize("under_the_next_one", (False, True))
def test_one_that_was_being_ended_as_it_did_not_move_has_crashed(bus_name, installed, tmp_path, under_the_next_one):
    (tmp_path / "hangs.py").write_text(HANGS)
    command = f"command = ['{sys.executable}', '{tmp_path / 'hangs.py'}']"
    text = f"[collectors.hangs]\n{command}\nheartbeat_ms = 200\nrestart_first_seconds = 0.01\n"
    arguments = (*config(tmp_path, text), "--collectors", "hangs")
    with coordinator(bus_name, *arguments, **installed) as first, shmbus.connect() as bus:
        first.read_until("hangs: it did not move for")
        pid = wait_for(bus, "hangs", "stopping").pid
        first.end(signal.SIGKILL)
        if not under_the_next_one:
            ended(pid)
        with coordinator(bus_name, *arguments, **installed), shmbus.connect() as fresh:
            if under_the_next_one:
                assert collector(fresh, "hangs").state == "stopping"
                ended(pid)
            eventually(lambda: collector(fresh, "hangs").restarts >= 1)
            assert collector(fresh, "hangs").reason == "it did not move for 0.45 s"


def test_one_that_died_meanwhile_is_started_again(bus_name, installed):
    arguments = ("--collectors", "steady")
    with coordinator(bus_name, *arguments, **installed) as first, shmbus.connect() as bus:
        pid = wait_for(bus, "steady", "running").pid
        first.end(signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: gone(pid))
        with coordinator(bus_name, *arguments, **installed) as second, shmbus.connect() as fresh:
            assert any("steady: it ended while no coordinator ran; starting it again" in line for line in second.lines)
            assert wait_for(fresh, "steady", "running").restarts == 1


def test_one_that_is_configured_otherwise_meanwhile_begins_anew(bus_name, installed, tmp_path):
    with coordinator(bus_name, "--collectors", "steady", **installed) as first, shmbus.connect() as bus:
        pid = wait_for(bus, "steady", "running").pid
        first.end(signal.SIGKILL)
        arguments = (*config(tmp_path, "[collectors.steady]\narguments = ['now']\n"), "--collectors", "steady")
        with coordinator(bus_name, *arguments, **installed) as second:
            assert "steady: it was started otherwise than it is configured now" in second.lines
            second.read_until("steady: I am here now")
            assert gone(pid)


def test_one_that_is_not_configured_any_more_is_ended(bus_name, installed):
    with coordinator(bus_name, "--collectors", "steady", **installed) as first, shmbus.connect() as bus:
        pid = wait_for(bus, "steady", "running").pid
        first.end(signal.SIGKILL)
        with coordinator(bus_name, **installed), shmbus.connect() as fresh:
            eventually(lambda: gone(pid))
            eventually(lambda: not fresh.status().collectors)


def test_one_that_has_announced_nothing_yet_has_its_time_under_the_new_one(bus_name, installed, tmp_path):
    text = "[collectors.silent]\nstart_timeout_seconds = 8\nrestart = 'never'\n"
    arguments = (*config(tmp_path, text), "--collectors", "silent")
    with coordinator(bus_name, *arguments, **installed) as first:
        first.read_until("silent: I say nothing")
        first.end(signal.SIGKILL)
        with coordinator(bus_name, *arguments, **installed) as second, shmbus.connect() as fresh:
            second.read_until("silent: it did not announce itself within 8 s")
            wait_for(fresh, "silent", "failed")


def test_one_that_hangs_under_the_new_one_is_found_by_the_heartbeat_that_it_had(bus_name, installed, tmp_path):
    text = "[collectors.steady]\nheartbeat_ms = 400\nrestart_first_seconds = 0.01\ngrace_seconds = 0.3\n"
    arguments = (*config(tmp_path, text), "--collectors", "steady")
    with coordinator(bus_name, *arguments, **installed) as first, shmbus.connect() as bus:
        pid = wait_for(bus, "steady", "running").pid
        bus.subscribe("lab.steady").receive(timeout=20)
        first.end(signal.SIGKILL)
        os.kill(pid, signal.SIGSTOP)
        with coordinator(bus_name, *arguments, **installed) as second, shmbus.connect() as fresh:
            second.read_until("steady: it did not move for 0.9 s: its process is stopped; ending it")
            eventually(lambda: collector(fresh, "steady").pid not in (0, pid))


def test_what_the_bus_cannot_be_taken_over_of_begins_anew_with_its_collectors(bus_name, installed):
    with coordinator(bus_name, "--collectors", "steady", **installed) as first, shmbus.connect() as bus:
        pid = wait_for(bus, "steady", "running").pid
        first.end(signal.SIGKILL)
        segment.remove(segment.bells_name(bus_name))
        with coordinator(bus_name, "--collectors", "steady", **installed), shmbus.connect() as fresh:
            eventually(lambda: collector(fresh, "steady").pid not in (0, pid))
            assert gone(pid)
            assert fresh.subscribe("lab.steady").receive(timeout=20).payload == b"x"
