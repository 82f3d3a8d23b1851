"""Collectors as children of a coordinator: started, announced, paused, restarted and stopped, by signals."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.collectors import collector, control, install, is_in, wait_for
from shmbus.coordinator import launch


@pytest.fixture
def installed(tmp_path):
    return install(tmp_path)


@pytest.fixture
def configured(tmp_path):
    """Writes a configuration; its path as an argument."""

    def write(text):
        path = tmp_path / "bus.toml"
        path.write_text(text)
        return "--config", str(path)

    return write


def test_a_collector_is_started_told_of_and_stopped_with_the_bus(bus_name, installed):
    with coordinator(bus_name, "--collectors", "steady", **installed) as running:
        running.read_until("steady: I am here")
        with shmbus.connect() as bus:
            status = wait_for(bus, "steady", "running")
            assert psutil.pid_exists(status.pid)
            assert (status.health, bus.status().health) == ("healthy", "healthy")
        assert "steady: stopped" in running.end()


def test_one_that_connects_and_announces_nothing_fails_its_start(bus_name, installed, configured):
    config = configured(
        "[collectors.silent]\nstart_timeout_seconds = 8\nrestart = 'never'\n[collectors.procmond]\nenabled = false\n"
    )
    with coordinator(bus_name, *config, "--collectors", "silent", **installed) as running, shmbus.connect() as bus:
        running.read_until("silent: I say nothing")
        assert is_in(bus, "silent", "starting")
        running.read_until("silent: it did not announce itself within 8 s; ending it")
        status = wait_for(bus, "silent", "failed")
        assert status.reason == "it did not announce itself within 8 s"
        assert status.last_lines == ["I say nothing"]
        assert bus.status().health == "unhealthy"


def test_a_crash_keeps_its_reason_and_is_followed_by_a_restart(bus_name, installed):
    with coordinator(bus_name, "--collectors", "crashing", **installed) as running, shmbus.connect() as bus:
        assert "starting it again in" in running.read_until("ended with status 1: out of luck")
        status = collector(bus, "crashing")
        assert status.reason == "ended with status 1: out of luck"
        assert status.last_lines == ["first line", "out of luck"]
        running.read_until("crashing: started")
        eventually(lambda: collector(bus, "crashing").restarts == 1)


def test_a_signal_is_named_and_over_the_budget_it_has_failed(bus_name, installed, configured):
    config = configured("[collectors.steady]\nrestart_first_seconds = 0.01\nrestart_budget = 1\n")
    with coordinator(bus_name, *config, "--collectors", "steady", **installed) as running, shmbus.connect() as bus:
        for _ in range(2):
            os.kill(wait_for(bus, "steady", "running").pid, signal.SIGKILL)
            running.read_until("killed by SIGKILL")
        status = wait_for(bus, "steady", "failed")
        assert status.restarts == 1
        assert status.reason.startswith("killed by SIGKILL")
        assert control(bus, "steady", "start").state == "starting"
        assert wait_for(bus, "steady", "running").restarts == 1


def test_a_collector_is_stopped_and_started_on_request(bus_name, installed):
    with coordinator(bus_name, "--collectors", "steady", **installed) as running, shmbus.connect() as bus:
        running.read_until("steady: I am here")
        for action, state in (("stop", "stopped"), ("start", "running"), ("restart", "running")):
            control(bus, "steady", action)
            assert wait_for(bus, "steady", state).restarts == 0


def test_a_paused_collector_stands_still_with_its_group_and_goes_on(bus_name, installed):
    with coordinator(bus_name, "--collectors", "steady", **installed), shmbus.connect() as bus:
        subscription = bus.subscribe("lab.steady")
        pid = wait_for(bus, "steady", "running").pid
        assert control(bus, "steady", "pause").state == "paused"
        eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
        assert collector(bus, "steady").health == "degraded"
        with pytest.raises(shmbus.ShmbusError, match="is paused: it cannot be reloaded. Resume it first"):
            control(bus, "steady", "reload")
        while subscription.try_receive() is not None:
            pass
        assert control(bus, "steady", "resume").state == "running"
        assert subscription.receive(timeout=20).payload == b"x"
        assert collector(bus, "steady").pid == pid


def test_a_paused_collector_is_stopped_in_order(bus_name, installed):
    with coordinator(bus_name, "--collectors", "steady", **installed) as running, shmbus.connect() as bus:
        wait_for(bus, "steady", "running")
        control(bus, "steady", "pause")
        assert "did not end" not in running.end()


def test_a_reload_is_a_hangup_for_the_collector(bus_name, installed):
    with coordinator(bus_name, "--collectors", "steady", **installed) as running, shmbus.connect() as bus:
        wait_for(bus, "steady", "running")
        control(bus, "steady", "reload")
        running.read_until("steady: reloaded")


def test_what_nobody_configured_cannot_be_started(bus_name, installed):
    with coordinator(bus_name, "--collectors", "steady", **installed), shmbus.connect() as bus:
        with pytest.raises(shmbus.ShmbusError, match=r"there is no collector '\.\./x' .*there are: steady"):
            control(bus, "../x", "start")


def test_one_that_ignores_sigterm_is_killed_after_the_grace_with_all_it_started(bus_name, installed, configured):
    config = configured("[bus]\ngrace_seconds = 0.2\n")
    with coordinator(bus_name, *config, "--collectors", "stubborn", **installed) as running:
        away = int(running.read_until("I stay, away is").split()[-1])
        group = psutil.Process(running.process.pid).children(recursive=True)
        assert [one.name() for one in group].count("sleep") == 2
        assert psutil.Process(away) in group
        assert "did not end within 0.2 s" in running.end()
        assert not [one for one in group if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_all_are_stopped_at_the_same_time_within_one_grace(bus_name, installed, configured):
    config = configured("[bus]\ngrace_seconds = 0.5\n")
    with coordinator(bus_name, *config, "--collectors", "stubborn,obstinate", **installed) as running:
        with shmbus.connect() as bus:
            for name in ("stubborn", "obstinate"):
                wait_for(bus, name, "running")
        said = running.end().splitlines()
        killed = [number for number, line in enumerate(said) if "did not end within 0.5 s" in line]
        ended = [number for number, line in enumerate(said) if line.endswith(": stopped")]
        assert len(killed) == len(ended) == 2
        assert max(killed) < max(ended) and killed[1] - killed[0] <= 3  # nobody waited for the other's grace


def test_a_process_that_nobody_noted_ends_without_having_begun():
    done = subprocess.run(
        [sys.executable, "-P", launch.__file__], stdin=subprocess.DEVNULL, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_collectors_are_started_after_those_that_they_need(bus_name, installed, configured):
    config = configured("[collectors.steady]\nafter = ['other']\n[collectors.other]\nafter = ['constrained']\n")
    names = "steady,other,constrained"
    with coordinator(bus_name, *config, "--collectors", names, **installed) as running, shmbus.connect() as bus:
        for name in ("constrained", "other", "steady"):
            running.read_until(f"{name}: ready")
            wait_for(bus, name, "running")
    order = [line for line in running.lines if "started as" in line or line.endswith(": ready")]
    assert [line.split(":")[0] for line in order] == ["constrained"] * 2 + ["other"] * 2 + ["steady"] * 2


def test_a_token_counts_for_the_process_that_was_started_and_once(bus_name, installed):
    steal = (
        "import os, shmbus, sys\n"
        "try:\n    shmbus.connect(sys.argv[1])\n"
        "except shmbus.AccessDenied as error:\n    print(error, flush=True)\n"
    )
    with coordinator(bus_name, "--collectors", "steady", **installed), shmbus.connect() as bus:
        pid = wait_for(bus, "steady", "running").pid
        environment = dict(psutil.Process(pid).environ())
        token = environment["SHMBUS_COLLECTOR_TOKEN"]
        for stolen in (token, "x" * 32, "é"):
            with python(steal, bus_name, SHMBUS_COLLECTOR_TOKEN=stolen) as thief:
                assert "Its token is another process's, or spent" in thief.stdout.readline()
        assert collector(bus, "steady").pid == pid


def test_a_program_of_another_language_is_a_collector_too(bus_name, installed, configured, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho in $PWD with $LAB $*; exec sleep 1000\n")
    program.chmod(0o755)
    config = configured(
        f"[collectors.shell]\ncommand = ['{program}', 'a']\narguments = ['b c']\nworking_directory = '{tmp_path}'\n"
        "environment = { LAB = 'x' }\n[collectors.missing]\ncommand = ['/no/such/program']\nrestart = 'never'\n"
    )
    with coordinator(bus_name, *config, "--collectors", "shell,missing", **installed) as running:
        with shmbus.connect() as bus:
            running.read_until(f"shell: in {tmp_path} with x a b c")
            assert is_in(bus, "shell", "starting")  # it announces nothing
            status = wait_for(bus, "missing", "failed")
            assert status.reason == "ended with status 127: /no/such/program cannot be run: No such file or directory"


def test_death_is_known_long_before_any_heartbeat_is_missed(bus_name, installed):
    with coordinator(bus_name, "--collectors", "steady", **installed) as running, shmbus.connect() as bus:
        status = wait_for(bus, "steady", "running")
        os.kill(status.pid, signal.SIGKILL)
        running.read_until("steady: killed by SIGKILL")
        assert collector(bus, "steady").health == "unhealthy"
