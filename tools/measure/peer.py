"""Peers: processes of their own that each play a part in a benchmark.

A part is a generator function. What it yields first says that it is ready; each later `step` resumes it with a value,
and what it yields then is the answer. Several peers are told to begin before any of them is asked for its answer, so
that they run at the same time:

    reader.begin(read_each, "bench.raw"); writer.begin(write_each, "bench.raw", payload)
    reader.tell(count); writer.tell(count)
    started = writer.answer(); ended = reader.answer()
"""

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import ExitStack
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Self

import shmbus

from .figure import BenchError

PATIENCE_SECONDS: Final = 300.0  # far beyond any round; what takes longer hangs

Part = Generator[Any, Any, None]


class Peer:
    """A process that waits for its parts. Leaving its `with` block ends the process."""

    def __init__(self, role: str, address: str | None = None) -> None:
        """`address` is the bus of its parts. The process is started, not forked: it shares nothing with this one."""
        context = multiprocessing.get_context("spawn")
        self.role: Final = role
        self._channel, channel = context.Pipe()
        self._process = context.Process(target=_serve, args=(channel, address), name=f"bench {role}", daemon=True)
        self._process.start()
        channel.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def begin(self, part: Callable[..., Part], *arguments: Any) -> Any:
        """Start a part; what it says when it is ready. Raises BenchError when it fails."""
        self._send(("begin", part, arguments))
        return self.answer()

    def tell(self, value: Any = None) -> None:
        """Resume the part; `answer` tells what came of it."""
        self._send(("step", value, ()))

    def answer(self) -> Any:
        """Raises BenchError: the part has raised, the process has died, or it says nothing for too long."""
        if not self._channel.poll(PATIENCE_SECONDS):
            raise BenchError(f"the {self.role} has said nothing for {PATIENCE_SECONDS:.0f} s: the benchmark hangs.")
        try:
            fine, value = self._channel.recv()
        except EOFError:
            self._process.join(1)
            raise BenchError(f"the {self.role} died (exit code {self._process.exitcode}).") from None
        if not fine:
            raise BenchError(f"the {self.role} failed:\n{value}")
        return value

    def step(self, value: Any = None) -> Any:
        self.tell(value)
        return self.answer()

    def end(self) -> None:
        """End the part, its `with` blocks and all."""
        self._send(("end", None, ()))
        self.answer()

    def place(self, cpus: set[int]) -> None:
        """Let the process run on these processors only."""
        os.sched_setaffinity(self.pid, cpus)

    def cpu_ns(self) -> int:
        """Processor time of the whole process so far."""
        return time.clock_gettime_ns(~self.pid << 3 | 2)  # as clock_getcpuclockid(3) makes it

    def memory_bytes(self) -> int:
        """Its part of the memory in use: what several processes share counts once between them."""
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as rollup:
            return next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))

    def _send(self, order: tuple[str, Any, tuple[Any, ...]]) -> None:
        try:
            self._channel.send(order)
        except BrokenPipeError:
            raise BenchError(f"the {self.role} died (exit code {self._process.exitcode}).") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()  # it ends by itself
        self._process.join(5 if error is None else 0.5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


class Scene:
    """What the parts of one process share."""

    def __init__(self, address: str | None, stack: ExitStack) -> None:
        self._address = address
        self._stack = stack
        self._bus: shmbus.Bus | None = None

    @property
    def bus(self) -> shmbus.Bus:
        if self._bus is None:
            assert self._address is not None
            self._bus = self._stack.enter_context(shmbus.connect(self._address))
        return self._bus


def host(scene: Scene) -> Part:
    """The part of the coordinator: a private bus, whose address it says."""
    with shmbus.embedded() as bus:
        yield bus.address


def _serve(channel: Connection, address: str | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it closes the channel
    with channel, ExitStack() as stack:
        scene = Scene(address, stack)
        part: Part | None = None
        while order := _next_order(channel):
            try:
                part, value = _obey(scene, part, *order)
                channel.send((True, value))
            except ConnectionError:
                break
            except Exception:
                channel.send((False, traceback.format_exc()))
        if part is not None:
            part.close()


def _next_order(channel: Connection) -> Any:
    try:
        return channel.recv()
    except (EOFError, ConnectionError):  # reset: the parent left an answer unread, because of a Ctrl-C, say
        return None


def _obey(
    scene: Scene, part: Part | None, order: str, what: Any, arguments: tuple[Any, ...]
) -> tuple[Part | None, Any]:
    if order == "begin":
        part = what(scene, *arguments)
        return part, next(part)
    assert part is not None
    if order == "step":
        return part, part.send(what)
    part.close()
    return None, None
