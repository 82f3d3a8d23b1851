"""A bus as a service: what it tells the service manager, and how its lines look in the journal."""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from process.buses import coordinator
from shmbus.tools import systemd_unit


@pytest.fixture
def manager(tmp_path):
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(20)
        yield channel


def notices(manager, count):
    return [manager.recv(4096).decode() for _ in range(count)]


def test_the_manager_is_told_when_the_bus_is_ready_reloads_and_ends(bus_name, manager):
    with coordinator(bus_name, NOTIFY_SOCKET=manager.getsockname()) as running:
        assert notices(manager, 1) == ["READY=1"]
        running.process.send_signal(signal.SIGHUP)
        reloading, ready = notices(manager, 2)
        assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=") and ready == "READY=1"
        running.end()
        assert notices(manager, 1) == ["STOPPING=1"]


def test_the_watchdog_is_fed_while_the_bus_moves_and_not_when_it_does_not(bus_name, manager):
    with coordinator(bus_name, NOTIFY_SOCKET=manager.getsockname(), WATCHDOG_USEC="200000") as running:
        assert notices(manager, 4) == ["READY=1"] + ["WATCHDOG=1"] * 3
        running.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, running.process.pid, os.WSTOPPED)
        manager.settimeout(1.0)
        with pytest.raises(TimeoutError):
            notices(manager, 10)
        running.process.send_signal(signal.SIGCONT)
        assert "WATCHDOG=1" in notices(manager, 1)


def test_a_watchdog_of_another_process_is_not_fed(bus_name, manager):
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    with coordinator(bus_name, **environment) as running:
        running.end()
        assert notices(manager, 2) == ["READY=1", "STOPPING=1"]


def test_lines_have_priorities_in_the_journal_and_nowhere_else(bus_name, tmp_path):
    config = tmp_path / "bus.toml"
    config.write_text("[collectors.missing]\ncommand = ['/no/such/program']\nrestart = 'never'\n")
    command = [sys.executable, "-m", "shmbus.coordinator", "--bus", bus_name, "--config", str(config)]
    command += ["--collectors", "missing"]
    for journal in (True, False):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            found = os.fstat(theirs.fileno())
            stream = f"{found.st_dev}:{found.st_ino + (not journal)}"
            process = subprocess.Popen(command, stderr=theirs, env={**os.environ, "JOURNAL_STREAM": stream})
            theirs.close()
            with ours.makefile() as lines:
                said = [next(lines) for _ in range(4)]
                process.terminate()
                said += lines
            assert process.wait(20) == 0
        ready = next(line for line in said if "ready" in line)
        failed = next(line for line in said if "it has failed" in line)
        assert (ready.startswith("<6>"), failed.startswith("<4>")) == (journal, journal)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_unit_file_is_one(tmp_path):
    unit = tmp_path / "shmbus.service"
    with unit.open("wb") as file:
        subprocess.run([sys.executable, "-m", "shmbus.tools", "systemd-unit"], stdout=file, check=True)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )
    about = [line for line in done.stderr.splitlines() if "shmbus.service" in line]
    assert about == []


@pytest.mark.parametrize(("version", "has_subgroups"), [(None, False), (252, False), (254, True), (257, True)])
def test_the_unit_file_is_for_the_systemd_that_is_there(monkeypatch, capsys, version, has_subgroups):
    monkeypatch.setattr(systemd_unit, "systemd_version", lambda: version)
    systemd_unit.run(argparse.Namespace(config="/etc/shmbus.toml"))
    said = capsys.readouterr().out
    assert ("\nDelegateSubgroup=coordinator\n" in said, '"$$EXIT_STATUS" = 219' in said) == (
        has_subgroups,
        not has_subgroups,
    )
    assert re.search("@[A-Z]+@", said) is None
