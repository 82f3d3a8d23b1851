"""What all tests share: a bus name of their own, and a look afterwards at what was left behind.

The tests run against the installed package, never against the source tree beside them (it has no compiled core). They
run in parallel with each other and with other runs on the machine, so the look sees only what a test can have made:

    segments     whose bus is called as `bus_name` says, or begins with it (a second bus: f"{bus_name}-2")
    processes    children of this process, and what they leave: orphans come to this process, not to init
    descriptors  of this process: sockets, segments, pidfds, epolls
    threads      of this process
"""

import contextlib
import ctypes
import faulthandler
import gc
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import psutil
import pytest

WATCHDOG_SECONDS = 180  # after pytest-timeout, which cannot stop native code that holds the interpreter
PR_SET_CHILD_SUBREAPER = 36
WATCHED = ("socket:", "/dev/shm/", "anon_inode:[pidfd]", "anon_inode:[eventpoll]", "/memfd:")
STDERR = pytest.StashKey[int]()

# A Python that a test starts in the repository root must not take shmbus/ from there either.
os.environ["PYTHONSAFEPATH"] = "1"
os.environ["PYTHONFAULTHANDLER"] = "1"
# No test ever meets the bus of the user who runs it, not even from a fixture of a wider scope.
os.environ["SHMBUS_BUS"] = f"t{secrets.token_hex(6)}"
# A shell starts what it puts in the background with Ctrl-C ignored, and so would be every process of the tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STDERR] = os.dup(2)  # before output is captured: a crash must be seen
    faulthandler.enable(config.stash[STDERR])
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def pytest_sessionstart(session: pytest.Session) -> None:
    try:
        import shmbus._core  # noqa: F401
    except ImportError as error:
        where = Path(__file__).resolve().parent.parent
        raise pytest.UsageError(
            f"shmbus is not installed here, or `python -m pytest` found {where}/shmbus first: {error}. "
            "Run `pip install -e '.[test]'`, then `pytest` (not `python -m pytest`)."
        ) from error


@pytest.fixture(scope="session", autouse=True)
def runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the control sockets of the tests stand. Short, because a socket's path has room for 107 bytes."""
    path = tmp_path_factory.mktemp("run")
    path.chmod(0o700)
    os.environ["SHMBUS_RUNTIME_DIR"] = str(path)
    yield path


@pytest.fixture
def bus_name(monkeypatch: pytest.MonkeyPatch) -> str:
    """A bus name that no other test has; it is also the default bus of this test and of processes it starts."""
    name = f"t{secrets.token_hex(6)}"
    monkeypatch.setenv("SHMBUS_BUS", name)
    return name


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a segment, a process, a descriptor or a thread. Set up first, so it looks last."""
    buses = {os.environ["SHMBUS_BUS"]}
    if "bus_name" in request.fixturenames:
        buses.add(request.getfixturevalue("bus_name"))
    before = leavings(buses)
    allowed = float(request.config.getoption("timeout", None) or 0)  # of a long form
    faulthandler.dump_traceback_later(max(WATCHDOG_SECONDS, allowed + 60), exit=True, file=request.config.stash[STDERR])
    yield
    faulthandler.cancel_dump_traceback_later()
    left = leavings(buses) - before
    if left:
        settle(left)
        left = leavings(buses) - before
        remove(left)
    if left:
        pytest.fail("left behind: " + ", ".join(f"{kind} {what}" for kind, what in sorted(left)), pytrace=False)


def leavings(buses: set[str]) -> set[tuple[str, str]]:
    """All there is now, as (kind, what)."""
    return {
        *(("segment", name) for name in segments(buses)),
        *(("process", str(pid)) for pid in children()),
        *(("descriptor", descriptor) for descriptor in descriptors()),
        *(("thread", f"{thread.name} {thread.ident}") for thread in threading.enumerate()),
    }


def segments(buses: set[str]) -> Iterator[str]:
    prefixes = tuple(f"shmbus.{os.geteuid()}.{bus}" for bus in buses)
    return (entry for entry in os.listdir("/dev/shm") if entry.startswith(prefixes))


def children() -> Iterator[int]:
    """Pids of living children. Multiprocessing's helper stays for the whole run on purpose."""
    helper = getattr(resource_tracker._resource_tracker, "_pid", None)
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            pids = map(int, (task / "children").read_text().split())
            yield from (pid for pid in pids if pid != helper and alive(pid))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def descriptors() -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue  # the one that listed the directory
        if target.startswith(WATCHED):
            yield f"{number} {target}"


def settle(left: set[tuple[str, str]]) -> None:
    """What is late is not leaked: objects in a reference cycle, processes and threads that have been told to end."""
    gc.collect()
    psutil.wait_procs([psutil.Process(pid) for pid in children() if ("process", str(pid)) in left], timeout=1)
    for thread in threading.enumerate():
        if ("thread", f"{thread.name} {thread.ident}") in left:
            thread.join(timeout=1)


def remove(left: set[tuple[str, str]]) -> None:
    """Later tests must not suffer for what this one left."""
    for kind, what in left:
        if kind == "segment":
            Path("/dev/shm", what).unlink(missing_ok=True)
        elif kind == "process":
            child = psutil.Process(int(what))
            child.kill()
            child.wait()
