"""SIGHUP: a bus that runs goes by its configuration as it is now, or by none of it."""

import contextlib
import os
import re
import signal
import subprocess
import sys

import pytest

import shmbus
from process.buses import Running, coordinator, eventually, python
from process.collectors import collector, install, open_directory, wait_for
from shmbus import segment
from shmbus.v1.control_pb2 import ListTopics

OTHER = 54321


class Configured:
    """A coordinator and the file that it goes by."""

    def __init__(self, running, path):
        self.running, self.path = running, path

    def change(self, text, answer="the configuration was read again"):
        """What it says of that file."""
        self.path.write_text(text)
        self.running.process.send_signal(signal.SIGHUP)
        return self.running.read_until(answer)


class Unrestricted(Running):
    """A coordinator that runs what its file says, with no collectors named on its command line."""

    def __init__(self, bus, path):
        self.bus, self.lines = bus, []
        command = [sys.executable, "-m", "shmbus.coordinator", "--bus", bus, "--config", str(path)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, bufsize=1)
        self.read_until("ready")

    @classmethod
    @contextlib.contextmanager
    def of(cls, bus, path):
        running = cls(bus, path)
        try:
            yield running
        finally:
            running.end()


@pytest.fixture
def open_runtime_directory(monkeypatch):
    """Where another user can find the socket."""
    with open_directory() as path:
        monkeypatch.setenv("SHMBUS_RUNTIME_DIR", str(path / "run"))
        yield


@pytest.fixture
def configured(bus_name, tmp_path):
    path, environment = tmp_path / "bus.toml", install(tmp_path)

    def start(text, names="steady,other"):
        path.write_text(text)
        return coordinator(bus_name, "--config", str(path), "--collectors", names, **environment)

    start.path = path
    return start


def test_limits_of_a_topic_count_at_once_and_so_do_those_of_new_ones(configured):
    with configured("", "") as running, shmbus.connect() as bus, bus.publisher("lab.x") as publisher:
        lab = Configured(running, configured.path)
        publisher.publish_many([b"x"] * 100)
        text = "[[topics]]\ntopic = 'lab.+'\nmax_messages = 10\n[[topics]]\ntopic = 'lab.new'\nslots = 64\n"
        assert "2 changes" in lab.change(text)
        running.read_until("changed: topics 'lab.+': max_messages 8191 -> 10")

        def kept(name):
            topics = bus._control.request(ListTopics()).message.topics
            return [topic.tail - topic.head for topic in topics if topic.topic == name]

        assert kept("lab.x") == [10]
        assert kept("lab.new") == [0]  # one without wildcards is made at once


def test_access_rules_count_at_once(open_runtime_directory, configured, bus_name):
    ask = (
        "import os, sys, shmbus\n"
        f"os.setgroups([]); os.setgid({OTHER}); os.setuid({OTHER})\n"
        "try:\n    print(len(shmbus.connect(sys.argv[1]).subscribe('open.x').topics))\n"
        "except shmbus.ShmbusError as error:\n    print(type(error).__name__)\n"
    )
    with configured("", "") as running:
        lab = Configured(running, configured.path)
        lab.change(f"[[access.subscribe]]\ntopic = 'open.#'\nusers = [{OTHER}]\n")
        with python(ask, str(segment.socket_path(bus_name))) as allowed:
            assert allowed.stdout.readline() == "0\n"
        lab.change("")
        with python(ask, str(segment.socket_path(bus_name))) as refused:
            assert refused.stdout.readline() in ("AccessDenied\n", "ConnectError\n")


def test_arguments_take_a_restart_and_what_the_coordinator_does_itself_does_not(configured):
    with configured("[collectors.other]\narguments = ['first']\n") as running, shmbus.connect() as bus:
        lab = Configured(running, configured.path)
        steady, other = wait_for(bus, "steady", "running").pid, wait_for(bus, "other", "running").pid
        lab.change(
            "[collectors.other]\narguments = ['second']\n"
            "[collectors.steady]\nrestart = 'never'\nlimits = { open_files = 99 }\n"
        )
        running.read_until("changed: collectors.other: arguments (it is started again)")
        running.read_until("other: I am here second")
        assert collector(bus, "steady").pid == steady
        assert wait_for(bus, "other", "running").pid != other
        assert any(line.endswith("changed: collectors.steady: limits, restart") for line in running.lines)
        with open(f"/proc/{steady}/limits") as limits:
            assert [line.split()[-2] for line in limits if line.startswith("Max open files")] == ["99"]
        os.kill(steady, signal.SIGKILL)
        wait_for(bus, "steady", "failed")  # by the policy that it has now


def test_collectors_come_and_go_with_the_configuration(configured, bus_name):
    text = "[collectors.{}]\ncommand = ['/bin/sleep', '1000']\n[collectors.procmond]\nenabled = false\n"
    configured.path.write_text(text.format("first"))
    with Unrestricted.of(bus_name, configured.path) as running, shmbus.connect() as bus:
        lab = Configured(running, configured.path)
        wait_for(bus, "first", "starting")
        assert collector(bus, "procmond").state == "stopped"
        lab.change(text.format("second"))
        wait_for(bus, "second", "starting")
        eventually(lambda: "first" not in [one.name for one in bus.status().collectors])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[collectors.steady]\nresart = 'never'\n", r"collectors.steady.resart = .*there is no such key"),
        ("[collectors", "is not valid TOML"),
        ("[bus]\nmax_topics = 0\nx = 1\n", r"toml:4: bus.max_topics = 0: should .*; .*toml:5: bus.x = 1: there is no"),
        (
            "[bus]\nmax_topics = 2\nmax_durables = 2\n",
            r"toml:4: bus.max_topics = 2: .*; .*toml:5: bus.max_durables = 2",
        ),
        ("[bus]\nmax_topics = 2\n", "bus.max_topics = 2: is made once, at the start (1024)"),
    ],
)
def test_a_nonsense_file_changes_nothing_and_is_told(configured, text, said):
    with configured("", "steady") as running, shmbus.connect() as bus:
        lab = Configured(running, configured.path)
        before = wait_for(bus, "steady", "running")
        line = lab.change("[collectors.steady]\narguments = ['x']\n" * ("bus" in text) + text, "was not changed")
        assert said in line or re.search(said, line)
        after = collector(bus, "steady")
        assert (after.pid, after.state) == (before.pid, "running")
        assert "I am here x" not in running.end()
