"""A systemd that really runs, for the tests: pid 1 of namespaces of its own, see boot_systemd.

Its root is an overlay of this machine's, so it has this installation of shmbus; /dev/shm, /run, cgroups, network and
processes are its own. It takes root and a cgroup v2 in which cgroups can be made.
"""

import contextlib
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import shmbus
from process.buses import eventually
from shmbus.coordinator.cgroups import Kernel

SYSTEMD = Path("/lib/systemd/systemd")
PROGRAMS = ("systemctl", "journalctl", "unshare", "nsenter", "setpriv", "pivot_root")
NAMESPACES = ("--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup")
BOOT_SECONDS = 60.0
SEARCHED = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"


class Done(NamedTuple):
    """How a command in there went."""

    status: int
    out: str
    err: str


class Machine:
    """One that is up. `pid` is its pid 1, `cgroup` the cgroup that is its root, as they are seen from outside."""

    def __init__(self, pid: int, cgroup: Path) -> None:
        self.pid, self.cgroup = pid, cgroup

    def command(self, *words: str) -> list[str]:
        """Has words run in there, as root."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup", "--root"]
        given = ["env", "-i", f"PATH={SEARCHED}", "PYTHONSAFEPATH=1", "COLUMNS=80", "LANG=C.UTF-8"]
        return [*enter, "--wd=/", *given, *words]

    def attempt(self, *words: str) -> Done:
        """Run it, however it goes."""
        found = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=90)
        return Done(found.returncode, found.stdout, found.stderr)

    def run(self, *words: str) -> str:
        """Run it; what it says."""
        done = self.attempt(*words)
        assert done.status == 0, f"{' '.join(words)}: {done}\n{self.journal()}"
        return done.out

    def write(self, path: str, text: str) -> None:
        """A file in there."""
        subprocess.run(self.command("tee", path), input=text, text=True, stdout=subprocess.DEVNULL, check=True)

    def journal(self, *options: str) -> str:
        """All that was said."""
        return self.attempt("journalctl", "--no-pager", "--boot", *options).out

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).strip()


def missing() -> str | None:
    """Why none can be had here; None: one can."""
    if os.geteuid() != 0:
        return "a systemd of its own takes root"
    if not SYSTEMD.exists():
        return f"systemd is not installed ({SYSTEMD})"
    if absent := [one for one in PROGRAMS if shutil.which(one) is None]:
        return f"not installed: {', '.join(absent)}"
    if (above := top()) is None or not os.access(above, os.W_OK):
        return "there is no cgroup v2 here in which cgroups could be made"
    script = (
        'mount -t tmpfs tmpfs "$0" && cd "$0" && mkdir u w m && mount -t overlay -olowerdir=/,upperdir=u,workdir=w o m'
    )
    script += " && mount -t proc proc m/proc && mount -t cgroup2 cgroup2 m/sys"
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            ["unshare", *NAMESPACES, "--fork", "sh", "-c", script, directory], capture_output=True, text=True
        )
    return None if done.returncode == 0 else f"no namespaces of its own can be had here: {done.stderr.strip()}"


@contextlib.contextmanager
def booted() -> Iterator[Machine]:
    """One for as long as the block lasts. It dies with this process."""
    above = top()
    assert above is not None
    cgroup = above / f"shmbus-test-{secrets.token_hex(6)}"
    cgroup.mkdir()
    try:
        with tempfile.TemporaryDirectory() as directory, _process(Path(directory), cgroup) as pid:
            yield Machine(pid, cgroup)
    finally:
        eventually(lambda: _is_removed(cgroup))


@contextlib.contextmanager
def _process(directory: Path, cgroup: Path) -> Iterator[int]:
    script = Path(__file__).with_name("boot_systemd")
    (directory / "root").mkdir()
    told, said = directory / "told", directory / "said"
    enter = ["sh", "-c", 'echo $$ >"$0/cgroup.procs"; exec "$@"', str(cgroup), "setpriv", "--pdeathsig", "KILL"]
    apart = ["unshare", *NAMESPACES, "--fork", "--kill-child"]
    boot = [str(script), str(directory / "root"), str(told), *_other_mounts()]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, said.open("w") as output:
        channel.bind(str(told))
        process = subprocess.Popen([*enter, *apart, *boot], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            if not _is_up(channel, process.pid):
                raise AssertionError(f"systemd did not start: {said.read_text()}")
            channel.close()  # it goes on telling, and would wait for somebody to listen
            _enter(process.pid, _own())  # out of that one, which could hand no controllers on with a process in it
            yield _child(process.pid)
        finally:
            (cgroup / "cgroup.kill").write_text("1")
            process.wait(20)


def _is_up(channel: socket.socket, pid: int) -> bool:
    """Wait until it says so, or ends."""
    deadline, ended = time.monotonic() + BOOT_SECONDS, os.pidfd_open(pid)
    try:
        while channel in select.select([channel, ended], [], [], max(deadline - time.monotonic(), 0))[0]:
            if "READY=1" in channel.recv(4096).decode().splitlines():
                return True
        return False
    finally:
        os.close(ended)


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def top() -> Path | None:
    """Of cgroup v2, as far as it is seen from here."""
    found = (Path(mount[4]) for mount in Kernel().mounts() if "cgroup2" in mount[mount.index("-") :][1:2])
    return next(found, None)


def _own() -> Path:
    """The cgroup that the tests run in."""
    above = top()
    assert above is not None
    return above / Kernel().own_path().strip("/")


def _enter(pid: int, cgroup: Path) -> None:
    (cgroup / "cgroup.procs").write_text(str(pid))


def _other_mounts() -> list[str]:
    """Where this installation stands, as far as that is not on the root's file system."""
    package = Path(shmbus.__file__).parent.parent
    needed = {Path(sys.prefix), Path(sys.base_prefix), package, Path(__file__).parent}
    return sorted(str(path) for path in needed if path.stat().st_dev != os.stat("/").st_dev)


def _is_removed(cgroup: Path) -> bool:
    """It and all in it, if nobody lives there any more."""
    for path in sorted(cgroup.rglob("*/"), key=lambda one: len(one.parts), reverse=True):
        with contextlib.suppress(OSError):
            path.rmdir()
    with contextlib.suppress(OSError):
        cgroup.rmdir()
    return not cgroup.exists()
