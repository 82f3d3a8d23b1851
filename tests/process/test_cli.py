"""The command as its user meets it: processes, terminals, signals, and what is left when they are gone."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import psutil
import pytest

import shmbus
from shmbus import segment
from shmbus.coordinator.cgroups import record_path
from shmbus.coordinator.configuration import changes_path

PATIENCE_S = 30
UP = ("up", "--collectors", "none")


class Command:
    """A running `shmbus ...`; what it prints is read as it comes."""

    def __init__(self, *arguments: str, terminal: tuple[int, int] | None = None) -> None:
        self.text = ""
        command = [sys.executable, "-m", "shmbus.tools", *arguments]
        environment = {**os.environ, "TERM": "xterm-256color"}
        for name in ("NO_COLOR", "COLUMNS", "LINES", "PYTHONUNBUFFERED"):
            environment.pop(name, None)
        if terminal is None:
            self._output, inner = os.pipe()
        else:
            self._output, inner = pty.openpty()
            termios.tcsetwinsize(inner, terminal)
        self.process = subprocess.Popen(
            command,
            stdin=inner if terminal else subprocess.DEVNULL,
            stdout=inner,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=None if terminal is None else _take_terminal,
        )
        os.close(inner)

    def wait_for(self, what: str) -> str:
        """Until that pattern has been printed; the match."""
        end = time.monotonic() + PATIENCE_S
        while (found := re.search(what, self.text)) is None:
            assert self._read(end - time.monotonic()), f"no {what!r} in: {self.text}"
        return found[0]

    def end(self) -> int:
        """Until it has ended; its status."""
        end = time.monotonic() + PATIENCE_S
        while self._read(end - time.monotonic()):
            pass
        return self.process.wait(PATIENCE_S)

    def interrupt(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.end()

    def type(self, keys: bytes) -> None:
        """Press these keys at its terminal."""
        os.write(self._output, keys)

    def narrow(self) -> None:
        """Have the pipe that it prints to be full soon."""
        fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, 4096)

    def hang_up(self) -> None:
        """Read no more of what it prints."""
        if self._output >= 0:
            os.close(self._output)
            self._output = -1

    def close(self) -> None:
        """End it in order, or else at once."""
        self.hang_up()
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _read(self, timeout: float) -> bool:
        if timeout <= 0 or not select.select([self._output], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self._output, 65536)
        except OSError:
            return False  # a terminal whose other side has been closed
        self.text += data.decode(errors="replace")
        return bool(data)


def _take_terminal() -> None:
    """Make standard input the terminal that sends signals."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Commands:
    """Starts commands, and ends what a test has left running."""

    def __init__(self) -> None:
        self._all: list[Command] = []

    def __call__(self, *arguments: str, terminal: tuple[int, int] | None = None) -> Command:
        command = Command(*arguments, terminal=terminal)
        self._all.append(command)
        return command

    def up(self, *arguments: str, terminal: tuple[int, int] | None = None) -> Command:
        """A bus without collectors, ready."""
        command = self(*UP, *arguments, terminal=terminal)
        command.wait_for("listening on ")
        return command

    def done(self, *arguments: str) -> tuple[int, str]:
        """One that ends by itself: status and output."""
        command = self(*arguments)
        return command.end(), command.text

    def close(self) -> None:
        for command in reversed(self._all):
            command.close()


@pytest.fixture
def shmbus_command(bus_name: str) -> Iterator[Commands]:
    commands = Commands()
    yield commands
    commands.close()


def left_behind(bus: str) -> list[str]:
    names = [one.name for one in segment.list_segments(bus=bus)]
    return names + [str(path) for path in segment.runtime_directory().glob(f"{bus}.*")]


def remove(bus: str) -> None:
    """What is left while this process lives, which had a session there."""
    for one in segment.list_segments(bus=bus):
        segment.remove(one.name)
    for path in segment.runtime_directory().glob(f"{bus}.*"):
        path.unlink()


# ---- up --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_up_ends_in_order_and_leaves_nothing(shmbus_command, bus_name, number):
    up = shmbus_command("up")
    up.wait_for("collector name=procmond state=running")
    child = int(up.wait_for(r"(?<=state=running pid=)\d+(?= restarts)"))
    assert left_behind(bus_name)
    assert up.interrupt(number) == 0
    assert f"stopped: {number.name}" in up.text
    assert not psutil.pid_exists(child)
    assert left_behind(bus_name) == []


def test_up_ends_when_its_time_is_over(shmbus_command, bus_name):
    up = shmbus_command(*UP, "--duration", "0.2")
    assert up.end() == 0
    assert left_behind(bus_name) == []


def test_up_logs_lines_that_a_program_can_split(shmbus_command, bus_name):
    up = shmbus_command.up()
    with shmbus.connect(name="a client") as bus, bus.publisher("events.test") as publisher:
        publisher.publish(b"x")
        up.wait_for(rf'client name="a client" pid={os.getpid()} uid=\d+ state=connected')
        up.wait_for("topic name=events.test messages=1 ")
    up.wait_for("state=gone")
    assert up.interrupt() == 0
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [a-z]+ [a-z_]+=", line) for line in up.text.splitlines())


def test_a_second_up_says_who_runs_the_bus(shmbus_command, bus_name):
    up = shmbus_command.up()
    status, told = shmbus_command.done(*UP)
    assert status == 1
    assert f"the bus '{bus_name}' is already run by pid {up.process.pid} since " in told
    assert told.count("\n") == 1
    assert up.process.poll() is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("up", "--collectors", "nothing-like-it"), "'nothing-like-it' is not installed"),
        (("up", "--bus", "NOT A NAME"), "1 to 32 characters"),
        (("up", "--config", "/does/not/exist"), "cannot be read"),
        (("up", "--duration", "-1"), "no positive number of seconds"),
        (("tail", "events.*"), "is no wildcard"),
        (("tail",), "arguments are required: PATTERN"),
        (("nonsense",), "invalid choice"),
    ],
)
def test_a_wrong_command_line_is_told_in_a_line(shmbus_command, arguments, told):
    status, text = shmbus_command.done(*arguments)
    assert status == 2
    assert told in text.splitlines()[-1]
    assert "Traceback" not in text


def test_a_killed_bus_can_be_run_again(shmbus_command, bus_name):
    first = shmbus_command.up()
    first.process.kill()
    first.end()
    assert left_behind(bus_name)
    second = shmbus_command.up()
    second.wait_for("took over . topics from a killed coordinator")
    assert second.interrupt() == 0
    assert left_behind(bus_name) == []


def test_up_goes_on_when_nobody_reads_what_it_prints(shmbus_command, bus_name):
    up = shmbus_command.up()
    up.hang_up()
    with shmbus.connect() as bus, bus.publisher("events.test") as publisher:
        publisher.publish(b"x")
    assert shmbus_command.done("down")[0] == 0
    assert up.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("terminal", [None, (24, 80)])
def test_an_output_that_takes_nothing_holds_nobody_up(shmbus_command, bus_name, terminal):
    up = shmbus_command.up(terminal=terminal)
    if terminal is None:
        up.narrow()
    else:
        up.type(b"\x13")  # Ctrl-S
    with shmbus.connect() as bus:
        names = [f"a-topic-with-a-long-name.of-number-{number}" for number in range(60)]
        with contextlib.ExitStack() as stack:
            publishers = [stack.enter_context(bus.publisher(name)) for name in names]
            for _ in range(3):  # looks at it, in which it has more to say than there is room for
                for publisher in publishers:
                    publisher.publish(b"x")
                time.sleep(1)
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(PATIENCE_S) == 0
    assert left_behind(bus_name) == []


# ---- the live table --------------------------------------------------------------------------------------------------


def test_up_on_a_terminal_draws_a_table_and_leaves_the_last_one(shmbus_command, bus_name):
    up = shmbus_command.up(terminal=(24, 80))
    up.wait_for("\x1b\\[\\?1049h")  # the terminal's other screen
    up.wait_for("no topics yet")
    with shmbus.connect(name="tester") as bus, bus.publisher("events.test") as publisher:
        publisher.publish_many([b"x"] * 1234)
        up.wait_for(r"events\.test +1,234 ")
        up.wait_for(rf"tester +{os.getpid()} ")
    up.type(b"\x03")  # Ctrl-C, as the terminal sends it
    assert up.end() == 0
    last = up.text.rpartition("\x1b[?1049l")[2]
    assert f"shmbus {bus_name}  stopped" in re.sub("\x1b\\[[0-9;]*m", "", last)
    assert "1,234" in last
    assert "stopped: SIGINT" in last


def test_up_on_a_dumb_terminal_or_with_plain_logs_lines(shmbus_command, bus_name):
    up = shmbus_command.up("--plain", terminal=(24, 80))
    up.wait_for("bus name=")
    assert up.interrupt() == 0
    assert "\x1b" not in up.text


# ---- tail ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hears of every process")
def test_tail_shows_a_process_that_lives_for_a_millisecond(shmbus_command, bus_name):
    up = shmbus_command("up")
    up.wait_for("topic name=events.process.stop ")
    tail = shmbus_command("tail", "events.process.#")
    up.wait_for("client name=tail ")
    child = subprocess.Popen(["/bin/true", f"--{bus_name}"])
    child.wait()
    if "mode scan" in up.text:
        pytest.skip("the kernel lets nobody listen to processes here")
    tail.wait_for(rf"events\.process\.start #\d+  procmond\[\d+\]  start pid {child.pid} .*/bin/true --{bus_name} user")
    tail.wait_for(rf"events\.process\.stop #\d+  procmond\[\d+\]  stop pid {child.pid} .*status 0")
    assert tail.interrupt() == 130
    assert up.interrupt() == 0


def test_tail_prints_from_the_earliest_as_many_as_wanted(shmbus_command, bus_name):
    shmbus_command.up()
    with shmbus.connect(name="tester") as bus, bus.publisher("events.test") as publisher:
        publisher.publish_many([b"one", b"two", b"three"])
        status, told = shmbus_command.done("tail", "#", "--from", "earliest", "--count", "2")
        assert status == 0
        assert [line.split("  ")[-1] for line in told.splitlines()] == ["3 bytes one", "3 bytes two"]
        status, told = shmbus_command.done("tail", "events.+", "--from", "3", "--count", "1", "--json")
        assert json.loads(told)["sequence"] == 3
        assert json.loads(told)["producer"] == {"name": "tester", "pid": os.getpid(), "uid": os.geteuid()}
        for where, first in (("last:2", "two"), ("1h", "one"), ("2000-01-01", "one")):
            _, told = shmbus_command.done("tail", "#", "--from", where, "--count", "1")
            assert told.split()[-1] == first
        _, told = shmbus_command.done("tail", "#", "--from", "1", "--where", "sequence >= 2", "--count", "1")
        assert told.split()[-1] == "two"
        status, told = shmbus_command.done("tail", "#", "--where", "sequence >=")
        assert status == 1 and "at line 1, column 12" in told
        for where in ("last:0", "5 minutes", "-1"):
            status, told = shmbus_command.done("tail", "#", f"--from={where}")
            assert status == 2 and "last:N" in told


def test_tail_prints_types_that_only_the_bus_knows(shmbus_command, bus_name):
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="tail/thing.proto", package="tail", syntax="proto3")
    file.message_type.add(name="Thing").field.add(name="label", number=1, type=9, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    thing = message_factory.GetMessageClass(pool.FindMessageTypeByName("tail.Thing"))
    shmbus_command.up()
    with shmbus.connect() as bus, bus.publisher("things", type=thing) as publisher:
        publisher.publish(thing(label="hello"))
        _, told = shmbus_command.done("tail", "things", "--from", "earliest", "--count", "1")
        assert told.endswith('  Thing label: "hello"\n')


def test_tail_tells_what_it_missed(shmbus_command, bus_name):
    shmbus_command.up()
    with shmbus.connect() as bus, bus.publisher("events.test") as publisher:
        tail = shmbus_command("tail", "#")
        publisher.publish(b"first")
        _publish_until(tail, publisher, "bytes")
        tail.process.send_signal(signal.SIGSTOP)
        publisher.publish_many([b"x"] * 30_000)
        tail.process.send_signal(signal.SIGCONT)
        tail.wait_for(r"GAP  [\d,]+ messages lost, overrun")
        tail.interrupt()


def test_tail_with_a_pipe_prints_at_once_and_ends_with_its_reader(shmbus_command, bus_name):
    shmbus_command.up()
    with shmbus.connect() as bus, bus.publisher("events.test") as publisher:
        tail = shmbus_command("tail", "#")
        _publish_until(tail, publisher, "4 bytes test")
        tail.hang_up()  # nothing more is published: it finds out by itself
        assert tail.process.wait(PATIENCE_S) == 0


def test_tail_ends_when_its_time_is_over_or_the_bus_stops(shmbus_command, bus_name):
    up = shmbus_command.up()
    assert shmbus_command.done("tail", "#", "--duration", "0.2") == (0, "")
    tail = shmbus_command("tail", "#")
    up.wait_for(f"client name=tail pid={tail.process.pid}")
    assert up.interrupt() == 0
    assert tail.end() == 0
    assert tail.text.startswith("shmbus: ")


@pytest.mark.parametrize("command", [("tail", "#"), ("topics",), ("down",)])
def test_without_a_bus_it_is_told_how_to_get_one(shmbus_command, bus_name, command):
    status, told = shmbus_command.done(*command)
    assert status == 1
    assert told.startswith(f"shmbus: no coordinator runs the bus '{bus_name}'")
    assert f"shmbus up --bus {bus_name}" in told
    assert told.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("command", [["tail", "#"], ["down"], ["up"]])
def test_another_user_is_denied_in_a_line(shmbus_command, bus_name, command):
    shmbus_command.up()
    code = (
        "import os, sys, shmbus.config, shmbus.coordinator.configured, shmbus.tools.main as main\n"
        "from shmbus.tools import down, tail, up\n"
        "shmbus.config.load()\n"  # whatever is imported later may be out of that user's reach
        "os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "sys.exit(main.main(sys.argv[1:]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1
    assert re.match(r"shmbus: (uid 65534 may not |/.*: Permission denied)", done.stderr)
    assert done.stderr.count("\n") == 1


# ---- topics, down, doctor --------------------------------------------------------------------------------------------


def test_topics_lists_what_there_is_even_after_the_coordinator_was_killed(shmbus_command, bus_name):
    up = shmbus_command.up()
    with shmbus.connect() as bus, bus.publisher("events.test") as publisher, bus.subscribe("#"):
        publisher.publish_many([b"x"] * 7)
        status, told = shmbus_command.done("topics", "--json")
        facts = json.loads(told)
        assert status == 0
        assert (facts["topic"], facts["retained"], facts["publishers"], facts["subscribers"]) == (
            "events.test",
            7,
            1,
            1,
        )
        up.process.kill()
        up.end()
        status, told = shmbus_command.done("topics")
        assert status == 0
        assert f"the coordinator (pid {up.process.pid}) is dead" in told
        assert re.search(r"events\.test +shmbus\.v1\.EventBusMessage +0 +7 ", told)
    remove(bus_name)


def test_down_stops_the_bus_and_waits_for_its_end(shmbus_command, bus_name):
    up = shmbus_command.up()
    status, told = shmbus_command.done("down")
    assert (status, told) == (0, f"the bus '{bus_name}' (pid {up.process.pid}) has stopped\n")
    assert up.end() == 0
    assert "stopped: asked for by 'down'" in up.text
    assert left_behind(bus_name) == []


def test_down_ends_what_a_killed_coordinator_left_its_collectors_too(shmbus_command, bus_name, tmp_path):
    config = tmp_path / "bus.toml"
    config.write_text(
        f"[bus]\nname = {bus_name!r}\nmax_topics = 5000\n"
        "[collectors.procmond]\nenabled = false\n[collectors.tool]\ncommand = ['/bin/sleep', '1000']\n"
    )
    up = shmbus_command("up", "--config", str(config))
    pid = int(up.wait_for(r"tool: started as pid \d+").split()[-1])
    up.wait_for("listening on ")
    assert shmbus_command.done("down", "--left", str(config)) == (0, "")  # of a bus that runs there is nothing left
    up.process.kill()
    up.end()
    assert psutil.pid_exists(pid)
    status, told = shmbus_command.done("down", str(config))
    assert (status, told.splitlines()[-1]) == (0, f"the bus '{bus_name}', which nobody ran any more, has stopped")
    assert left_behind(bus_name) == []
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])  # by now it is a child of ours
    assert shmbus_command.done("down", "--left", str(config)) == (0, "")
    assert shmbus_command.done("down", str(config))[0] == 1


def test_down_removes_what_one_left_that_was_killed_at_its_end(shmbus_command, bus_name):
    path = segment.make_runtime_directory() / f"{bus_name}.lock"
    path.touch()
    assert shmbus_command.done("down", "--left") == (0, f"bus '{bus_name}': removed 0 segments and 1 file\n")
    assert not path.exists()


def test_doctor_finds_nothing_on_a_running_bus(shmbus_command, bus_name):
    up = shmbus_command.up()
    status, told = shmbus_command.done("doctor", "--bus", bus_name, "--clean")
    assert (status, told) == (0, f"bus '{bus_name}' is run by pid {up.process.pid}\nnothing is left behind\n")
    assert up.interrupt() == 0


def test_doctor_names_what_a_killed_coordinator_left_and_removes_it(shmbus_command, bus_name):
    up = shmbus_command.up()
    up.process.kill()
    up.end()
    changes_path(bus_name).write_text("{}")
    record_path(bus_name).write_text("/nonexistent")
    left = left_behind(bus_name)
    assert {name.rpartition(".")[2] for name in left} >= {"sock", "changes", "cgroup"}
    status, told = shmbus_command.done("doctor", "--bus", bus_name)
    assert status == 1
    assert all(name in told for name in left)
    status, told = shmbus_command.done("doctor", "--bus", bus_name, "--clean")
    assert status == 0
    assert left_behind(bus_name) == []
    assert shmbus_command.done("doctor", "--bus", bus_name) == (0, "nothing is left behind\n")


def test_doctor_leaves_alone_what_a_process_still_uses(shmbus_command, bus_name):
    up = shmbus_command.up()
    with shmbus.connect() as bus, bus.publisher("events.test"):
        up.process.kill()
        up.end()
        names = [one.name for one in segment.list_segments(bus=bus_name)]
        changes_path(bus_name).write_text("{}")
        _, told = shmbus_command.done("doctor", "--bus", bus_name, "--clean")
        assert f"used by pid {os.getpid()}" in told
        assert [one.name for one in segment.list_segments(bus=bus_name)] == names
        assert changes_path(bus_name).exists()  # the next coordinator goes on with that
    changes_path(bus_name).unlink()
    remove(bus_name)


def _publish_until(tail: Command, publisher: shmbus.Publisher, what: str) -> None:
    """Nobody tells when a tail has begun: publish until it shows something."""
    end = time.monotonic() + PATIENCE_S
    while not re.search(what, tail.text):
        publisher.publish(b"test")
        tail._read(0.1)
        assert time.monotonic() < end, tail.text
