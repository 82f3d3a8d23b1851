"""Collectors as child processes: the hands of supervisor.py.

Each is a process group of its own, so that whatever it starts is stopped with it, and a Ctrl-C at the terminal reaches
the coordinator only, which then stops them in order. No PR_SET_PDEATHSIG: when the coordinator is killed its collectors
go on publishing, and whoever subscribes goes on reading.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from shmbus.coordinator.post import Log
from shmbus.coordinator.settings import CollectorPlan, Settings
from shmbus.coordinator.supervisor import Action, State, Supervised

LINE_BYTES = 64 * 1024  # a longer line is told in pieces
Changed = Callable[[Supervised], None]


class _Output:
    """Lines that a child writes to one pipe."""

    def __init__(self, name: str, descriptor: int, log: Log) -> None:
        self.descriptor = descriptor
        self._name, self._log, self._rest = name, log, b""
        self.last = ""
        os.set_blocking(descriptor, False)

    def read(self) -> bool:
        """Tell the complete lines; False at the end."""
        try:
            data = os.read(self.descriptor, LINE_BYTES)
        except BlockingIOError:
            return True
        *lines, self._rest = (self._rest + data).split(b"\n")
        if not data or len(self._rest) >= LINE_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            if line:
                # A collector that is also run by hand names itself at the start of its lines.
                self.last = line.decode(errors="backslashreplace").removeprefix(f"{self._name}: ")
                self._log(f"{self._name}: {self.last}")
        return bool(data)


class Children:
    """All collectors of a bus, on an event loop."""

    def __init__(self, environment: Mapping[str, str], log: Log, changed: Changed, settings: Settings) -> None:
        self.collectors: dict[str, Supervised] = {}
        self._environment, self._log, self._changed, self._grace = environment, log, changed, settings.grace_seconds
        self._plans = {plan.name: plan for plan in settings.collectors}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._outputs: dict[str, list[_Output]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._all_stopped: asyncio.Event | None = None

    def start(self, name: str) -> None:
        """Have it run."""
        collector = self.collectors.setdefault(name, Supervised(name))
        self._do(collector, collector.start())

    def stop(self, name: str) -> None:
        """Have it end: SIGTERM, after the grace SIGKILL, to its process group. Raises KeyError for an unknown name."""
        collector = self.collectors[name]
        self._do(collector, collector.stop())

    def restart(self, name: str) -> None:
        """Have it run anew. Raises KeyError for an unknown name."""
        collector = self.collectors[name]
        self._do(collector, collector.restart())

    def kill(self, name: str) -> None:
        """Have it end at once, with all it started. Raises KeyError for an unknown name."""
        self.stop(name)
        self._signal(name, signal.SIGKILL)

    def connected(self, pid: int) -> str | None:
        """A process said hello: the name of the collector that it is, if it is one."""
        for collector in self.collectors.values():
            if collector.pid == pid:
                collector.connected()
                self._changed(collector)
                return collector.name
        return None

    async def stop_all(self) -> None:
        """All of them; returns when every process is gone."""
        self._all_stopped = asyncio.Event()
        for name in self.collectors:
            self.stop(name)
        if self._processes:
            await self._all_stopped.wait()

    def _do(self, collector: Supervised, action: Action) -> None:
        self._cancel_timer(collector.name)
        if action is Action.SPAWN:
            self._spawn(collector)
        elif action is Action.TERMINATE:
            self._signal(collector.name, signal.SIGTERM)
            self._timers[collector.name] = asyncio.get_running_loop().call_later(
                self._grace, self._kill, collector.name
            )
        elif action is Action.WAIT:
            delay = max(collector.due - time.monotonic(), 0.0)
            self._timers[collector.name] = asyncio.get_running_loop().call_later(delay, self._elapsed, collector)
        self._changed(collector)

    def _elapsed(self, collector: Supervised) -> None:
        self._do(collector, collector.elapsed(time.monotonic()))

    def _spawn(self, collector: Supervised) -> None:
        plan = self._plans.get(collector.name) or CollectorPlan(collector.name)
        command = [sys.executable, "-P", "-m", "shmbus.coordinator.launch", plan.name, *plan.arguments]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **plan.environment, **self._environment},
                process_group=0,
            )
        except OSError as error:
            collector.spawned(0, time.monotonic())
            self._ended(collector, f"it could not be started: {error}")
            return
        collector.spawned(process.pid, time.monotonic())
        self._processes[collector.name] = process
        self._watch(collector, process)
        self._log(f"{collector.name}: started as pid {process.pid}")

    def _watch(self, collector: Supervised, process: subprocess.Popen[bytes]) -> None:
        loop = asyncio.get_running_loop()
        assert process.stdout is not None and process.stderr is not None
        outputs = [_Output(collector.name, pipe.fileno(), self._log) for pipe in (process.stdout, process.stderr)]
        self._outputs[collector.name] = outputs
        for output in outputs:
            loop.add_reader(output.descriptor, self._readable, output)
        pidfd = os.pidfd_open(process.pid)
        loop.add_reader(pidfd, self._exited, collector, process, pidfd)

    def _readable(self, output: _Output) -> None:
        if not output.read():
            asyncio.get_running_loop().remove_reader(output.descriptor)

    def _exited(self, collector: Supervised, process: subprocess.Popen[bytes], pidfd: int) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(pidfd)
        os.close(pidfd)
        # What it started in its group ends with it.
        self._signal(collector.name, signal.SIGKILL)
        status = process.wait()
        outputs = self._outputs.pop(collector.name)
        for output in outputs:
            loop.remove_reader(output.descriptor)
            output.read()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        del self._processes[collector.name]
        self._ended(collector, _reason(status, outputs[1].last))

    def _ended(self, collector: Supervised, reason: str) -> None:
        expected = collector.state is State.STOPPING
        action = collector.exited(reason, time.monotonic(), random.random())
        told = "stopped" if expected else reason
        self._log(f"{collector.name}: {told}" + (f"; starting it again in {collector.due - time.monotonic():.1f} s"
                                                 if action is Action.WAIT else ""))  # fmt: skip
        self._do(collector, action)
        if self._all_stopped is not None and not self._processes:
            self._all_stopped.set()

    def _kill(self, name: str) -> None:
        self._log(f"{name}: did not end within {self._grace:g} s of SIGTERM, killed")
        self._signal(name, signal.SIGKILL)

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self._processes.get(name)
        if process is None:
            return
        try:
            os.killpg(process.pid, number)  # not reaped yet, so the number is still its own
        except ProcessLookupError:
            pass

    def _cancel_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


def _reason(status: int, last_words: str) -> str:
    if status < 0:
        how = f"killed by {signal.Signals(-status).name}"
    else:
        how = "ended by itself" if status == 0 else f"ended with status {status}"
    return f"{how}: {last_words}" if last_words and status else how
