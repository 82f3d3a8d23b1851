"""procmond on a real kernel: it runs as a process of its own, other processes come and go, and nothing is missed.

It publishes to a pipe in place of the bus, one line a message. Other tests start processes at the same time, so only
what is told of a test's own processes counts.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shmbus.v1.eventbus_pb2 import ProcessEventData, ProcessEventSubtype
from shmbus.workers.procmond.connector import Connector, Unavailable

WATCHDOG_S = 60

DRIVER = """
import base64, functools, logging, os, sys
from shmbus.workers.procmond import command
from shmbus.workers.procmond.sink import SinkGone

class Lines:
    left = refused = 0

    def publish(self, topic, event):
        print(topic.name, base64.b64encode(event.SerializeToString()).decode(), flush=True)
        self.left -= 1
        if not self.left:
            raise SinkGone("nobody reads")

    def ready(self):
        return None

    def beat(self, health, reason):
        pass

user, receive_bytes, Lines.left = map(int, sys.argv[1:4])
if receive_bytes:
    command.Connector = functools.partial(command.Connector, receive_bytes)
options = command.parse(sys.argv[4:])
if user:
    os.setgroups([]), os.setgid(user), os.setuid(user)
logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
try:
    status = command.run(options, Lines())
except SinkGone as error:
    logging.error("%s", error)
    status = 1
sys.exit(status)
"""

Told = tuple[str, ProcessEventData]


class Procmond:
    """A running procmond, what it has told so far by PID, and its log."""

    def __init__(
        self, *options: str, user: int = 0, receive_bytes: int = 0, patience: int = 0, wrapper: tuple[str, ...] = ()
    ) -> None:
        command = [*wrapper, sys.executable, "-c", DRIVER, str(user), str(receive_bytes), str(patience), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.told: dict[int, list[Told]] = defaultdict(list)
        self.log: list[str] = []
        self._changed = threading.Condition()
        self._silent = 0
        self._readers = [
            threading.Thread(target=self._read, args=[each]) for each in (self._take_events, self._take_log)
        ]
        for reader in self._readers:
            reader.start()

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: condition() or self._silent == len(self._readers), WATCHDOG_S)
            assert condition(), f"no {what}; log: {self.log}"

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: self.has_logged("at the start"), "inventory")

    def wait_for_stop(self, *pids: int) -> None:
        self.wait_for(lambda: all("STOP" in self.topics(pid) for pid in pids), "stop of every process")

    def has_logged(self, text: str) -> bool:
        return any(text in line for line in self.log)

    def topics(self, pid: int) -> list[str]:
        """The topics on which `pid` appeared, without those that may come at any time."""
        return [topic for topic, _ in self.told[pid] if topic in ("START", "STOP")]

    def events(self, pid: int, topic: str) -> list[ProcessEventData]:
        return [event for each, event in self.told[pid] if each == topic]

    def only(self, pid: int, topic: str) -> ProcessEventData:
        (event,) = self.events(pid, topic)
        return event

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ends it in peace and gives its status."""
        self.process.send_signal(number)
        status = self.process.wait(WATCHDOG_S)
        for reader in self._readers:
            reader.join(WATCHDOG_S)
        return status

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(WATCHDOG_S)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def _read(self, take: Callable[[], None]) -> None:
        take()
        with self._changed:
            self._silent += 1
            self._changed.notify_all()

    def _take_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            topic, _, payload = line.partition(" ")
            event = ProcessEventData.FromString(base64.b64decode(payload))
            with self._changed:
                self.told[event.process.pid].append((topic, event))
                self._changed.notify_all()

    def _take_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.log.append(line.strip())
                self._changed.notify_all()


Start = Callable[..., Procmond]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts procmond with options and waits until it has its inventory; ends with the test."""
    running: list[Procmond] = []

    def start(*options: str, ready: bool = True, **more: object) -> Procmond:
        procmond = Procmond(*options, **more)  # type: ignore[arg-type]
        running.append(procmond)
        if ready:
            procmond.wait_until_ready()
        return procmond

    yield start
    for procmond in running:
        procmond.kill()


@pytest.fixture
def procmond(start: Start) -> Procmond:
    """A procmond that listens to the kernel."""
    need_connector()
    return start("--mode", "connector")


@pytest.fixture
def load() -> Iterator[None]:
    """Keeps every processor busy, twice."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    yield
    for burner in burners:
        burner.kill()
        burner.wait()


def need_connector() -> None:
    try:
        Connector().close()
    except Unavailable as error:
        pytest.skip(f"the kernel does not let us listen: {error}")


def need_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")


def python(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    """Lets a process that waits for input end; gives what it wrote."""
    return process.communicate("\n", timeout=WATCHDOG_S)[0]


# ---- listening


@pytest.mark.usefixtures("load")
def test_every_process_that_lives_a_millisecond_is_seen_under_load(procmond: Procmond) -> None:
    pids = []
    for number in range(300):
        process = subprocess.Popen(["/bin/true"] if number % 2 else ["/bin/false"])
        pids.append((process.pid, process.wait()))
    procmond.wait_for_stop(*(pid for pid, _ in pids))
    for pid, status in pids:
        assert procmond.topics(pid) == ["START", "STOP"]
        begin, end = procmond.only(pid, "START"), procmond.only(pid, "STOP")
        assert begin.subtype == ProcessEventSubtype.PROCESS_CREATED
        assert end.subtype == ProcessEventSubtype.PROCESS_TERMINATED
        assert begin.process.ppid == end.process.ppid == os.getpid()
        assert begin.process.start_time == end.process.start_time
        assert f"exit_status={status}" in end.security_context.security_labels
        if begin.process.executable_path:
            assert Path(begin.process.executable_path).name in ("true", "false", "coreutils", "busybox")
    assert not procmond.has_logged("lost")


def test_a_start_has_what_there_is_to_know(procmond: Procmond) -> None:
    process = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
    try:
        procmond.wait_for(lambda: bool(procmond.events(process.pid, "START")), "start")
        procmond.wait_for(
            lambda: any(event.process.executable_hash for _, event in procmond.told[process.pid]), "hash of the program"
        )
        event = procmond.only(process.pid, "START")
        assert list(event.process.command_line) == ["/bin/sleep", "60"]
        assert event.process.executable_path == os.path.realpath("/bin/sleep")
        assert event.process.accessible and event.process.file_exists and not event.process.on_disk_mismatch
        assert abs(event.process.start_time - time.time()) < WATCHDOG_S
        assert event.process.user_id == str(os.getuid())
        assert event.tree_context.parent_process.pid == os.getpid()
        assert event.tree_context.session_id == str(process.pid)
        assert event.tree_context.process_group_id == process.pid
        assert event.tree_context.tree_depth >= 1
        assert event.security_context.privilege_level in ("root", "user", "elevated")
    finally:
        process.kill()
        process.wait()
    procmond.wait_for_stop(process.pid)
    assert "exit_signal=SIGKILL" in procmond.only(process.pid, "STOP").security_context.security_labels


def test_a_fork_without_exec_is_a_start_and_an_exec_later_a_change(procmond: Procmond) -> None:
    process = python(
        "import os, time\n"
        "child = os.fork()\n"
        "if not child: time.sleep(0.5); os.execv('/bin/true', ['true'])\n"
        "print(child); os.waitpid(child, 0)"
    )
    child = int(finish(process))
    procmond.wait_for_stop(child)
    assert procmond.topics(child) == ["START", "STOP"]
    assert "import os" in procmond.only(child, "START").process.command_line[-1]
    assert procmond.events(child, "MODIFY"), "the exec"


def test_threads_are_no_processes(procmond: Procmond) -> None:
    process = python(
        "import threading\n"
        "threads = [threading.Thread(target=lambda: None) for _ in range(50)]\n"
        "[each.start() for each in threads]; [each.join() for each in threads]\n"
        "print(*(each.native_id for each in threads))"
    )
    threads = set(map(int, finish(process).split()))
    procmond.wait_for_stop(process.pid)
    assert procmond.topics(process.pid) == ["START", "STOP"]
    assert not any(procmond.topics(thread) for thread in threads)


def test_a_process_lives_on_when_its_first_thread_ends(procmond: Procmond) -> None:
    process = python(
        "import ctypes, os, platform, threading\n"
        "def last(): print('alone', flush=True); input(); os._exit(7)\n"
        "threading.Thread(target=last).start()\n"
        "ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[platform.machine()], 0)"
    )
    assert process.stdout is not None and process.stdout.readline() == "alone\n"
    time.sleep(0.2)
    assert "STOP" not in procmond.topics(process.pid)
    finish(process)
    procmond.wait_for_stop(process.pid)
    assert procmond.topics(process.pid) == ["START", "STOP"]


def test_an_exec_by_another_thread_is_a_change_and_no_end(procmond: Procmond) -> None:
    process = python(
        "import os, threading\n"
        "input()\n"
        "threading.Thread(target=lambda: os.execv('/bin/cat', ['cat'])).start()\n"
        "threading.Event().wait()"
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    procmond.wait_for(
        lambda: any(event.process.name == "cat" for event in procmond.events(process.pid, "MODIFY")), "exec of cat"
    )
    assert "STOP" not in procmond.topics(process.pid)
    assert process.communicate("still here\n", timeout=WATCHDOG_S)[0] == "still here\n"
    procmond.wait_for_stop(process.pid)
    assert procmond.topics(process.pid) == ["START", "STOP"]


def test_giving_up_root_is_a_change(procmond: Procmond) -> None:
    need_root()
    process = python("import os\ninput()\nos.setgid(65534); os.setuid(65534)")
    finish(process)
    procmond.wait_for_stop(process.pid)
    changes = [event.security_context for event in procmond.events(process.pid, "MODIFY")]
    assert any(each.group_id == "65534" for each in changes)
    assert any(each.user_id == "65534" for each in changes)


def test_a_loss_is_counted_told_and_repaired(start: Start) -> None:
    need_connector()
    procmond = start("--mode", "connector", receive_bytes=8192)
    before = subprocess.Popen(["/bin/sleep", "60"])
    procmond.wait_for(lambda: "START" in procmond.topics(before.pid), "start before the loss")
    procmond.process.send_signal(signal.SIGSTOP)
    for _ in range(100):
        subprocess.run(["/bin/true"], check=True)
    before.kill()
    before.wait()
    after = subprocess.Popen(["/bin/sleep", "60"])
    try:
        procmond.process.send_signal(signal.SIGCONT)
        procmond.wait_for_stop(before.pid)
        procmond.wait_for(lambda: "START" in procmond.topics(after.pid), "start that was lost")
        procmond.wait_for(lambda: procmond.has_logged("were lost"), "word of the loss")
    finally:
        after.kill()
        after.wait()
    own = procmond.process.pid
    procmond.wait_for(lambda: any(count > 0 for count in lost(procmond.events(own, "METADATA"))), "count of the loss")


def lost(events: list[ProcessEventData]) -> list[int]:
    labels = [label for event in events for label in event.security_context.security_labels]
    return [int(label.partition("=")[2]) for label in labels if label.startswith("collector.lost_events=")]


def test_the_kernel_numbers_what_a_small_buffer_dropped() -> None:
    need_connector()
    connector = Connector(receive_bytes=4096)
    try:
        for _ in range(200):
            subprocess.run(["/bin/true"], check=True)
        list(connector.read(100_000))
        assert connector.overruns >= 1
        assert connector.lost >= 500, "600 at least were told, and few have room"
    finally:
        connector.close()


# ---- scanning


def test_a_scan_as_another_user_sees_what_it_can(start: Start) -> None:
    procmond = start("--mode", "scan", "--interval", "0.1", user=65534 if os.geteuid() == 0 else 0)
    assert procmond.has_logged("mode scan, every 0.1 s; misses: processes that live less than 0.1 s")
    process = subprocess.Popen(["/bin/sleep", "60"])
    try:
        procmond.wait_for(lambda: "START" in procmond.topics(process.pid), "start")
        process.send_signal(signal.SIGSTOP)
        procmond.wait_for(lambda: subtype("PROCESS_SUSPENDED") in modified(procmond, process.pid), "suspension")
        process.send_signal(signal.SIGCONT)
        procmond.wait_for(lambda: subtype("PROCESS_RESUMED") in modified(procmond, process.pid), "resumption")
    finally:
        process.kill()
        process.wait()
    procmond.wait_for_stop(process.pid)
    event = procmond.only(process.pid, "START")
    assert event.process.name == "sleep" and list(event.process.command_line) == ["/bin/sleep", "60"]
    assert event.process.user_id == str(os.getuid())
    if os.geteuid() == 0:
        assert not event.process.accessible, "the program of another user's process is not shown to us"
    assert procmond.end() == 0


def modified(procmond: Procmond, pid: int) -> list[int]:
    return [event.subtype for event in procmond.events(pid, "MODIFY")]


def subtype(name: str) -> int:
    return ProcessEventSubtype.Value(name)


def test_in_another_pid_namespace_it_scans_and_says_why(start: Start) -> None:
    wrapper = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc")
    try:
        subprocess.run([*wrapper, "/bin/true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no namespaces to be had: {error}")
    procmond = start("--interval", "0.1", wrapper=wrapper)
    assert procmond.has_logged("process connector") and procmond.has_logged("mode scan")
    refused = subprocess.run(
        [*wrapper, sys.executable, "-c", DRIVER, "0", "0", "0", "--mode", "connector"], capture_output=True, text=True
    )
    assert refused.returncode == 2 and "--mode scan works without it" in refused.stderr


# ---- its own life


@pytest.mark.parametrize("mode", ["connector", "scan"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(start: Start, mode: str, number: signal.Signals) -> None:
    if mode == "connector":
        need_connector()
    procmond = start("--mode", mode)
    assert procmond.end(number) == 0
    assert procmond.log[-1] == f"ended by {number.name}"


def test_what_was_told_before_the_end_is_published(procmond: Procmond) -> None:
    processes = [subprocess.Popen(["/bin/true"]) for _ in range(20)]
    for process in processes:
        process.wait()
    assert procmond.end() == 0
    assert all(procmond.topics(process.pid) == ["START", "STOP"] for process in processes)


def test_sighup_makes_it_compare_at_once(start: Start) -> None:
    procmond = start("--mode", "scan", "--interval", "3600", "--metadata-interval", "3600")
    process = subprocess.Popen(["/bin/sleep", "60"])
    try:
        procmond.process.send_signal(signal.SIGHUP)
        procmond.wait_for(lambda: "START" in procmond.topics(process.pid), "start")
    finally:
        process.kill()
        process.wait()


def test_metadata_of_every_process_comes_again_and_again(start: Start) -> None:
    procmond = start("--mode", "scan", "--metadata-interval", "0.5")
    own = procmond.process.pid
    procmond.wait_for(lambda: len(procmond.events(own, "METADATA")) >= 4, "metadata")
    event = procmond.events(own, "METADATA")[-1]
    assert event.process.HasField("cpu_usage") and event.performance.memory_bytes > 0
    assert "collector.mode=scan" in event.security_context.security_labels
    assert any(label.startswith("collector.misses=") for label in event.security_context.security_labels)


def test_it_starts_no_process_and_asks_itself_nothing(procmond: Procmond) -> None:
    subprocess.run(["/bin/true"], check=True)
    time.sleep(0.5)
    own = procmond.process.pid
    children = [event for each in list(procmond.told.values()) for _, event in each if event.process.ppid == own]
    assert not children
    assert not procmond.events(own, "MODIFY")


def test_without_anybody_to_publish_to_it_ends_with_an_error(start: Start) -> None:
    procmond = start("--mode", "scan", patience=3, ready=False)
    assert procmond.process.wait(WATCHDOG_S) == 1
    procmond.wait_for(lambda: procmond.has_logged("nobody reads"), "error")


@pytest.mark.parametrize("options", [["--interval", "0"], ["--interval", "nan"], ["--mode", "magic"], ["extra"]])
def test_wrong_options_are_refused(options: list[str]) -> None:
    from shmbus.workers.procmond.command import parse

    with pytest.raises(SystemExit) as refused:
        parse(options)
    assert refused.value.code == 2
