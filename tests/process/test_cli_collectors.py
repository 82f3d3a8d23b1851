"""The commands about collectors, configurations and services, as their user meets them."""

import json
import os
import subprocess
import sys

import pytest

import shmbus
from process.buses import coordinator
from process.collectors import install, wait_for


def command(*arguments):
    """`shmbus ...` that ends by itself: status, output, errors."""
    done = subprocess.run(
        [sys.executable, "-m", "shmbus.tools", *arguments], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def bus(bus_name, tmp_path):
    with coordinator(bus_name, "--collectors", "steady,crashing", **install(tmp_path)), shmbus.connect() as bus:
        wait_for(bus, "steady", "running")
        wait_for(bus, "crashing", "backing-off")
        yield bus


def test_the_list_fits_eighty_columns_and_says_why_one_crashed(bus):
    status, output, _ = command("collectors", "list")
    title, crashing, steady = output.splitlines()
    assert status == 0
    assert title.split() == ["collector", "state", "health", "pid", "restarts"]
    assert steady.split()[:3] == ["steady", "running", "healthy"]
    assert crashing.split()[:2] == ["crashing", "backing-off"] or crashing.split()[1] == "starting"
    assert max(map(len, output.splitlines())) <= 80


def test_the_list_as_json_has_everything(bus):
    _, output, _ = command("collectors", "list", "--json")
    found = {one["name"]: one for one in map(json.loads, output.splitlines())}
    assert found["crashing"]["reason"] == "ended with status 1: out of luck"
    assert found["crashing"]["last_lines"] == ["first line", "out of luck"]
    assert (found["steady"]["state"], found["steady"]["restarts"]) == ("running", 0)


def test_a_collector_is_paused_resumed_stopped_and_started_by_command(bus):
    for action, at_once, then in (
        ("pause", "paused", "paused"),
        ("resume", "running", "running"),
        ("reload", "running", "running"),
        ("stop", "stopping", "stopped"),
        ("start", "starting", "running"),
        ("restart", "stopping", "running"),
    ):
        status, output, _ = command("collectors", action, "steady", "--json")
        assert (status, json.loads(output)["state"]) == (0, at_once), action
        wait_for(bus, "steady", then)


def test_what_cannot_be_done_is_one_line_and_a_status(bus):
    status, _, errors = command("collectors", "pause", "crashing")
    assert status == 1 and "collector 'crashing' is" in errors and "it cannot be paused" in errors
    status, _, errors = command("collectors", "start", "nosuch")
    assert status == 1 and "there is no collector 'nosuch'" in errors and "Traceback" not in errors


def test_without_a_bus_it_says_so(bus_name):
    status, _, errors = command("collectors", "list")
    assert status == 1 and f"no coordinator runs the bus '{bus_name}'" in errors


def test_a_configuration_is_checked_and_shown(bus_name, tmp_path):
    path = tmp_path / "bus.toml"
    path.write_text("[collectors.netmond]\ncommand = ['/bin/true']\n[[topics]]\ntopic = 'a.+'\nslots = 64\n")
    status, output, _ = command("config", "check", str(path))
    assert status == 0 and output.startswith(f"{path} is valid: bus '{bus_name}', netmond, procmond")
    status, output, _ = command("config", "show", str(path))
    shown = tmp_path / "shown.toml"
    shown.write_text(output)
    assert status == 0 and "[[topics]]" in output and "[collectors.netmond]" in output
    assert command("config", "show", str(shown))[1] == output
    assert json.loads(command("config", "show", str(path), "--json")[1])["topics"][0]["slots"] == 64
    path.write_text("[collectors.netmond]\ncomand = ['/bin/true']\n")
    status, _, errors = command("config", "check", str(path))
    assert status == 2 and f"{path}: collectors.netmond.comand" in errors and "command" in errors
