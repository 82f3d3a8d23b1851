"""What a coordinator loads before it is ready, which is nearly all of the time that its start takes."""

import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from process.buses import coordinator

VALIDATION = {"pydantic", "pydantic_core", "tomllib", "shmbus.config"}
LATER = {"psutil", "rich", "shmbus.aio", "shmbus.rpc", "shmbus.agent", "shmbus.testing", "shmbus.private"}
LOOKING = {"shmbus.tools.meter", "shmbus.tools.snapshot", "shmbus.tools.dashboard"}
UP = Path(sysconfig.get_path("scripts"), "shmbus")


def named(lines):
    """The modules that -X importtime tells of."""
    return {line.rsplit("|", 1)[1].strip() for line in lines if line.startswith("import time:")}


def loaded(lines):
    """The same, of a coordinator from its start on."""
    names = named(lines)
    assert "shmbus.coordinator.coordinator" in names
    return names


def test_without_a_file_nothing_is_loaded_that_validates_one(bus_name):
    with coordinator(bus_name, PYTHONPROFILEIMPORTTIME="1") as running:
        assert not loaded(running.lines) & (VALIDATION | LATER | LOOKING)


def test_a_file_is_validated_and_no_more_is_loaded_for_it(bus_name, tmp_path):
    (tmp_path / "bus.toml").write_text("[bus]\nmax_topics = 64\n[[topics]]\ntopic = 'events.test'\n")
    with coordinator(bus_name, "--config", str(tmp_path / "bus.toml"), PYTHONPROFILEIMPORTTIME="1") as running:
        assert VALIDATION <= loaded(running.lines)
        assert not loaded(running.lines) & (LATER | LOOKING)


@pytest.mark.parametrize("command", [[sys.executable, "-m", "shmbus.tools"], [str(UP)]], ids=["-m", "script"])
def test_the_command_loads_what_looks_at_a_bus_when_there_is_one(bus_name, command):
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    arguments = [*command, "up", "--plain", "--collectors", "none"]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as up:
        assert up.stdout is not None
        try:
            lines = []
            while "listening on" not in "".join(lines[-1:]):
                assert (line := up.stdout.readline()), lines
                lines.append(line)
            assert not loaded(lines) & (VALIDATION | LATER | LOOKING)
            lines = []
            while "state=running" not in "".join(lines[-1:]):  # by now it has been looked at
                assert (line := up.stdout.readline()), lines
                lines.append(line)
            assert "shmbus.tools.meter" in named(lines)
        finally:
            up.send_signal(signal.SIGTERM)
