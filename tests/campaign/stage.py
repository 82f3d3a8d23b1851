"""The bus and its participants as processes: started, killed, stopped, looked at."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from campaign import diary
from campaign.cast import Role

TESTS = Path(__file__).resolve().parent.parent
COORDINATOR = (
    "import faulthandler, signal, sys; faulthandler.register(signal.SIGUSR1, all_threads=True);"
    "from shmbus.coordinator.__main__ import main; sys.exit(main())"
)
READY_SECONDS = 120.0


class Actor:
    """One participant through all its incarnations."""

    def __init__(self, role: Role, place: Path) -> None:
        self.role, self._place = role, place
        self.incarnation = -1
        self.process: subprocess.Popen[bytes] | None = None
        self.killed = 0

    def start(self) -> None:
        """The next incarnation."""
        self.incarnation += 1
        path = self.path()
        command = [sys.executable, "-m", "campaign.parts", self.role.part, self.role.name, str(self.incarnation)]
        with open(self._place / f"{self.role.name}.errors", "ab") as errors:
            self.process = subprocess.Popen([*command, str(path), *self.role.options], cwd=TESTS, stderr=errors)

    def path(self, incarnation: int | None = None) -> Path:
        """Where it writes."""
        return self._place / f"{self.role.name}.{self.incarnation if incarnation is None else incarnation}.diary"

    def notes(self) -> list[list[diary.Note]]:
        """Of every incarnation; one that was killed before its first is there, too."""
        paths = [self.path(number) for number in range(self.incarnation + 1)]
        return [list(diary.read(path)) if path.exists() else [] for path in paths]

    def written(self) -> int:
        """How much this incarnation has noted, in bytes."""
        return self.path().stat().st_size if self.path().exists() else 0

    def send(self, number: signal.Signals) -> None:
        """A signal, if it lives."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Dead, and waited for."""
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
            self.killed += 1

    def end(self, seconds: float) -> bool:
        """Told to end; has it?"""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            if self.process is not None:
                self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


class Throne:
    """The coordinator's place, and whoever has it."""

    def __init__(self, bus: str, place: Path) -> None:
        self.bus, self.config = bus, place / "bus.toml"
        self.log = place / "coordinator.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._from = 0

    @property
    def lives(self) -> bool:
        """Is somebody there?"""
        return self.process is not None and self.process.poll() is None

    def start(self, *arguments: str) -> None:
        """Not waited for."""
        self._from = self.log.stat().st_size if self.log.exists() else 0
        command = [sys.executable, "-c", COORDINATOR, "--bus", self.bus, "--config", str(self.config), *arguments]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stderr=log, cwd=TESTS)

    def said(self) -> str:
        """What the present one has said."""
        return self.log.read_bytes()[self._from :].decode(errors="replace") if self.log.exists() else ""

    def wait_ready(self) -> bool:
        """Until it is, or has ended (False)."""
        deadline = time.monotonic() + READY_SECONDS
        while "\nready\n" not in f"\n{self.said()}":
            if not self.lives:
                return False
            if time.monotonic() > deadline:
                raise TimeoutError(f"the coordinator is not ready after {READY_SECONDS:g} s")
            time.sleep(0.02)
        return True

    def send(self, number: signal.Signals) -> None:
        """A signal, if it lives."""
        if self.lives:
            assert self.process is not None
            self.process.send_signal(number)

    def kill(self) -> None:
        """Dead, and waited for."""
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def size(self) -> tuple[int, int]:
        """Its descriptors, and its resident memory in bytes."""
        assert self.process is not None
        its = psutil.Process(self.process.pid)
        return its.num_fds(), its.memory_info().rss


def stacks(pid: int) -> Iterator[str]:
    """Where a process is, as the kernel and its own faulthandler (SIGUSR1) tell."""
    for what in ("wchan", "status", "stack"):
        try:
            text = Path(f"/proc/{pid}/{what}").read_text()
        except OSError as error:
            text = f"{error}\n"
        yield f"{what}: {text.replace(chr(10), ' | ')}"
    os.kill(pid, signal.SIGUSR1)
