"""The commands about collectors, configurations and services, as their user meets them."""

import json
import os
import subprocess
import sys

import pytest

import shmbus
from process.buses import coordinator, eventually
from process.collectors import collector, install, wait_for


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
    title, crashing, reason, steady = output.splitlines()
    assert status == 0
    assert title.split() == ["collector", "state", "health", "pid", "restarts"]
    assert steady.split()[:3] == ["steady", "running", "healthy"]
    assert crashing.split()[:2] == ["crashing", "backing-off"] or crashing.split()[1] == "starting"
    assert reason == "  last exit: ended with status 1: out of luck"
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
    path.write_text("[collectors.netmond]\ncomand = ['/bin/true']\nnice = 20\n[bus]\nmax_topics = 0\n")
    for arguments in (("config", "check", str(path)), ("up", "--plain", "--config", str(path))):
        status, _, errors = command(*arguments)
        assert status == 2 and [line.split(": ")[:3] for line in errors.splitlines()] == [
            ["shmbus", f"{path}:2", "collectors.netmond.comand = [\"/bin/true\"]"],
            ["shmbus", f"{path}:3", "collectors.netmond.nice = 20"],
            ["shmbus", f"{path}:5", "bus.max_topics = 0"],
        ]  # fmt: skip


def test_health_fits_eighty_columns_and_says_how_each_does_and_why_one_crashed(bus):
    with bus.subscribe("lab.steady", lossless=True) as slow:
        slow.receive(timeout=20)
        eventually(lambda: collector(bus, "steady").queue_depth > 2)
        status, output, _ = command("collectors", "health")
        title, crashing, why, steady, overall = output.splitlines()
        assert status == 0 and max(map(len, output.splitlines())) <= 80
        assert title.split() == ["collector", "state", "health", "since", "last", "beat", "queue", "restarts"]
        assert crashing.split()[0] == "crashing" and why == "  last exit: ended with status 1: out of luck"
        name, state, health, *_, queue, restarts = steady.split()
        assert (name, state, health, restarts) == ("steady", "running", "healthy", "0") and int(queue) > 2
        assert overall in ("all together: unhealthy", "all together: healthy")  # while the other one starts
        _, output, _ = command("collectors", "health", "--json")
        found = {one["name"]: one for one in map(json.loads, output.splitlines())}
        assert found["steady"]["queue_depth"] > 2 and found["steady"]["since_seconds"] > 0
        assert found["crashing"]["last_beat_seconds"] is None
        eventually(lambda: collector(bus, "steady").HasField("silent_ms"))


def test_how_one_is_run_is_shown_and_changed_by_command(bus):
    status, output, _ = command("collectors", "config", "steady")
    assert status == 0 and "[collectors.steady]" in output and "nice = 0" in output
    status, output, _ = command("collectors", "config", "steady", "--set", "nice=3", "--validate-only")
    assert (status, output) == (0, "valid, and would change:\ncollectors.steady: nice\n")
    status, output, _ = command("collectors", "config", "steady", "--set", "nice=3", "--set", "restart=never")
    assert (status, output) == (0, "changed; steady does well with it:\ncollectors.steady: nice, restart\n")
    pid = collector(bus, "steady").pid
    assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + 3
    shown = command("collectors", "config", "steady")[1]
    assert "nice = 3  # changed by a call" in shown and 'restart = "never"  # changed by a call' in shown
    _, output, _ = command("collectors", "config", "steady", "--unset", "nice", "--restart", "--json")
    assert json.loads(output)["config"]["nice"] == 0 and collector(bus, "steady").pid != pid
    assert command("collectors", "config", "steady", "--set", "nice=0")[1] == "steady: that is as it is already\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("steady", "--set", "nice=99"), 1, "collectors.steady.nice = 99: should be less than or equal to 19"),
        (
            ("steady", "--set", "nosuch=1"),
            1,
            "collectors.steady.nosuch = 1: there is no such key. Known here",
        ),
        (("nosuch", "--set", "nice=1"), 1, "there is no collector of that name; there are: crashing, "),
        (("steady", "--set", "nice"), 2, "'nice' is no KEY=VALUE, such as nice=5"),
    ],
)
def test_what_cannot_be_set_is_one_line_and_a_status(bus, arguments, status, said):
    done, _, errors = command("collectors", "config", *arguments)
    assert done == status and said in errors and "Traceback" not in errors


def test_a_bus_reads_its_file_again_by_command(bus_name, tmp_path):
    path = tmp_path / "bus.toml"
    path.write_text("")
    with coordinator(bus_name, "--config", str(path)):
        assert command("config", "reload") == (0, "nothing is different\n", "")
        path.write_text("[[topics]]\ntopic = 'lab.+'\nslots = 64\n")
        found = (
            "  topics 'lab.+': slots 8192 -> 64, max_messages 8191 -> 63"
            " (sizes count for topics that are made from now on)\n"
        )
        assert command("config", "reload", "--validate-only")[1] == f"would change:\n{found}"
        assert command("config", "reload")[1] == f"changed:\n{found}"
        path.write_text(path.read_text() + f"[bus]\nname = {bus_name!r}\n")
        assert command("config", "reload", "--bus", "another", str(path)) == (0, "nothing is different\n", "")
        path.write_text("[bus]\nmax_topics = 5\n")
        status, _, errors = command("config", "reload")
        assert status == 2 and "bus.max_topics = 5: is made once" in errors
