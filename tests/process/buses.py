"""Coordinators and clients as real processes, for the tests."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from shmbus.control import ControlConnection, NeedDescriptors

STARTED = "ready"


class Running:
    """A coordinator of a named bus in a process of its own."""

    def __init__(self, bus: str, *arguments: str, **environment: str) -> None:
        self.bus = bus
        command = [sys.executable, "-m", "shmbus.coordinator", "--bus", bus, "--collectors", ",", *arguments]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}, bufsize=1
        )
        self.lines: list[str] = []
        self.read_until(STARTED)

    def read_until(self, text: str) -> str:
        """The next line of its log that holds the text."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if text in line:
                return line
        raise AssertionError(f"the coordinator ended without saying {text!r}: {self.lines}")

    def rest(self) -> str:
        """What it says until it ends."""
        assert self.process.stderr is not None
        text = self.process.stderr.read()
        self.process.wait(20)
        self.process.stderr.close()
        return text

    def end(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Signal it and wait for its end."""
        self.process.send_signal(number)
        return self.rest()


@contextlib.contextmanager
def coordinator(bus: str, *arguments: str, **environment: str) -> Iterator[Running]:
    running = Running(bus, *arguments, **environment)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end()
        elif running.process.stderr is not None:
            running.process.stderr.close()


@contextlib.contextmanager
def python(program: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A Python that runs the program; killed at the end."""
    command = [sys.executable, "-c", program, *arguments]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def eventually(what: object, seconds: float = 30.0) -> None:
    """Wait until a callable is true: for what other processes do, of which there is no event here."""
    deadline = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


__all__ = ["ControlConnection", "NeedDescriptors", "Running", "coordinator", "eventually", "python"]
