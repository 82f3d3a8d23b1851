"""Collectors under supervision: what the coordinator takes for many of them, and how soon a dead one is back.

Each tells a FIFO when it is there, by the time of day, the clock that all have. There is no back-off, so none has to be
subtracted.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from shmbus.coordinator.settings import CollectorPlan, Settings
from shmbus.coordinator.supervisor import Policy
from shmbus.private import start_embedded

from . import beating
from .figure import BenchError
from .peer import Part, Peer, Scene
from .stage import Stage

HEARTBEAT_SECONDS: Final = 1.0  # thirty times as often as by default
PATIENCE_SECONDS: Final = 60.0
AT_ONCE: Final = Policy(first_delay=0.0, longest_delay=0.0, budget=1_000_000)
BEGUN: Final = 'echo "$$ $(date +%s%N)" > "$0"; exec sleep 1000'  # a program whose own start is next to nothing


class There(NamedTuple):
    """Somebody has told the FIFO that it is there."""

    pid: int
    time_ns: int


class Arrivals:
    """A FIFO, and what comes out of it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path: Final = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._rest = b""

    def next(self) -> There:
        """Raises BenchError: nobody comes."""
        while b"\n" not in self._rest:
            if not select.select([self._descriptor], [], [], PATIENCE_SECONDS)[0]:
                raise BenchError(f"no collector was ready within {PATIENCE_SECONDS:.0f} s")
            self._rest += os.read(self._descriptor, 65536)
        line, _, self._rest = self._rest.partition(b"\n")
        pid, time_ns = line.split()
        return There(int(pid), int(time_ns))

    def close(self) -> None:
        os.close(self._descriptor)
        self.path.unlink()


def supervise(scene: Scene, commands: list[list[str]]) -> Part:
    """A coordinator of its own that has these run."""
    collectors = tuple(
        CollectorPlan(
            f"bench-{number}",
            command=tuple(command),
            heartbeat_seconds=HEARTBEAT_SECONDS,
            grace_seconds=1,
            policy=AT_ONCE,
        )
        for number, command in enumerate(commands)
    )
    address, stop = start_embedded(Settings(collectors=collectors, max_collectors=max(len(collectors), 1)))
    try:
        yield address
    finally:
        stop()


@contextmanager
def _supervised(stage: Stage, command: list[str], count: int) -> Iterator[tuple[Peer, Arrivals, list[There]]]:
    """So many of one command, of which each is given the FIFO and is there."""
    arrivals = Arrivals(stage.directory / "arrivals")
    try:
        with (
            stage.more("supervisor", 1) as (peer,),
            stage.playing(peer, supervise, [[*command, str(arrivals.path)]] * count),
        ):
            yield peer, arrivals, [arrivals.next() for _ in range(count)]
    finally:
        arrivals.close()


def beating_share(stage: Stage) -> list[float]:
    """Share of one processor that a coordinator takes for the effort's number of collectors that beat, by round."""
    count, rounds = stage.effort.collectors, 2
    stage.say(f"{count} collectors, {stage.effort.idle_seconds:.0f} s")
    with _supervised(stage, [sys.executable, "-P", beating.__file__], count) as (peer, _, _):
        return [_share(peer, stage.effort.idle_seconds / rounds) for _ in range(rounds)]


def _share(peer: Peer, seconds: float) -> float:
    before, began = peer.cpu_ns(), time.monotonic_ns()
    time.sleep(seconds)
    return (peer.cpu_ns() - before) / (time.monotonic_ns() - began)


def begun_again_ns(stage: Stage) -> list[float]:
    """From the death of a collector to the first instruction of the command that takes its place, by death."""
    stage.say("death of a collector until its command runs again")
    return _deaths(stage, ["/bin/sh", "-c", BEGUN])


def ready_again_ns(stage: Stage) -> list[float]:
    """The same to `ready()` of a Python collector."""
    stage.say("death of a collector until it is ready again")
    return _deaths(stage, [sys.executable, "-P", beating.__file__])


def program_ns(stage: Stage) -> list[float]:
    """What such a program takes by itself until it could connect: the interpreter and its imports."""
    times = []
    for _ in range(_rounds(stage)):
        began = time.monotonic_ns()
        subprocess.run([sys.executable, "-P", "-c", "import shmbus; shmbus.Bus"], check=True)
        times.append(float(time.monotonic_ns() - began))
    return times


def _deaths(stage: Stage, command: list[str]) -> list[float]:
    times = []
    with _supervised(stage, command, 1) as (_, arrivals, (there,)):
        for _ in range(_rounds(stage)):
            killed_ns = time.time_ns()
            os.kill(there.pid, signal.SIGKILL)
            there = arrivals.next()
            times.append(float(there.time_ns - killed_ns))
    return times


def _rounds(stage: Stage) -> int:
    return 4 * stage.effort.rounds


def coordinator_ready_ns(stage: Stage) -> list[float]:
    """From the start of a coordinator's process until it is ready, without collectors, by round."""
    stage.say("start of a coordinator")
    return [_start_of_coordinator(f"bench-{os.getpid()}-{number}") for number in range(stage.effort.rounds)]


def _start_of_coordinator(bus: str) -> float:
    began = time.monotonic_ns()
    command = [sys.executable, "-P", "-m", "shmbus.coordinator", "--bus", bus, "--collectors", ""]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.strip().endswith("ready"):
                break
        took = float(time.monotonic_ns() - began)
        process.terminate()
        process.stderr.read()
    if process.returncode:
        raise BenchError(f"a coordinator did not start: {''.join(said)}")
    return took


def interpreter_ns(stage: Stage) -> list[float]:
    """What an interpreter takes that does nothing."""
    times = []
    for _ in range(stage.effort.rounds):
        began = time.monotonic_ns()
        subprocess.run([sys.executable, "-P", "-c", "pass"], check=True)
        times.append(float(time.monotonic_ns() - began))
    return times
