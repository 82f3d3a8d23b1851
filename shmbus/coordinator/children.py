"""Collectors as child processes: the hands of supervisor.py.

Each is a process group of its own, so that whatever it starts is stopped with it, and a Ctrl-C at the terminal reaches
the coordinator only, which then stops them in order. No PR_SET_PDEATHSIG: when the coordinator is killed its collectors
go on publishing, and whoever subscribes goes on reading. The next coordinator finds them in the directory, watches them
by pidfd, and goes on with their restart policies and counters; how one ended that it did not start the kernel does not
tell it.

A collector proves who it is with a token of its environment, which counts for one process and once: after that the
process itself (pid and start time, as the kernel attests them) is the proof.
"""

import asyncio
import hmac
import json
import os
import random
import resource
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

from shmbus._core import killpoint
from shmbus.control import BEARER_VARIABLE
from shmbus.coordinator import launch
from shmbus.coordinator.cgroups import Cgroups, CgroupUnavailable
from shmbus.coordinator.journal import Warn
from shmbus.coordinator.output import Output, Outputs
from shmbus.coordinator.post import Log
from shmbus.coordinator.refusal import NotFound
from shmbus.coordinator.settings import CollectorPlan
from shmbus.coordinator.strays import COLLECTOR_VARIABLE, end_strays, pids_of
from shmbus.coordinator.supervisor import ALIVE, SETTLED, Action, Exit, State, Supervised
from shmbus.directory import CollectorEntry, CollectorState
from shmbus.duty import TOKEN_VARIABLE
from shmbus.errors import AccessDenied
from shmbus.process import Identity, identity_of, is_alive

_NOT_FOR_CHILDREN = (
    "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "JOURNAL_STREAM", BEARER_VARIABLE,
)  # fmt: skip

Changed = Callable[["Collector"], None]


class Process:
    """A running collector. `popen` is None for one that another coordinator started."""

    __slots__ = ("identity", "pidfd", "popen", "output", "token", "known", "started_ns", "plan")

    def __init__(self, identity: Identity, pidfd: int, popen: "subprocess.Popen[bytes] | None", plan: int) -> None:
        self.identity, self.pidfd, self.popen, self.plan = identity, pidfd, popen, plan
        self.output: Output | None = None
        self.token = ""  # spent when it has been shown: then the process is known
        self.known = popen is None
        self.started_ns = time.time_ns()


class Collector:
    """What is to run, how it goes, and the process if there is one."""

    __slots__ = ("plan", "life", "process", "timer", "leaving")

    def __init__(self, plan: CollectorPlan) -> None:
        self.plan, self.life = plan, Supervised(plan.name, plan.policy)
        self.process: Process | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.leaving = False  # no longer configured: forgotten when it has stopped

    @property
    def name(self) -> str:
        """By what it is known."""
        return self.plan.name


class Children:
    """All collectors of a bus, on a running event loop."""

    def __init__(self, environment: Mapping[str, str], bus: str, log: Log, changed: Changed) -> None:
        """`environment` is what each of them needs to find the bus, `bus` its variable of that."""
        self.collectors: dict[str, Collector] = {}
        self._environment, self._bus, self._log, self._changed = environment, bus, log, changed
        self._loop = asyncio.get_running_loop()
        self._outputs: Outputs | None = None
        self._all_stopped: asyncio.Event | None = None
        self.cgroups = Cgroups(None if bus.startswith("@") else bus)

    # ---- what is to be done ------------------------------------------------------------------------------------------

    def begin(self, plans: Iterable[CollectorPlan], left: Iterable[CollectorEntry] = ()) -> None:
        """Have those run that are enabled; `left` are those that a killed coordinator had."""
        plans, entries = list(plans), {entry.name: entry for entry in left}
        for plan in plans:
            self.collectors[plan.name] = Collector(plan)
        for entry in entries.values():
            self._adopt(entry)
        running = [one for one in self.collectors.values() if one.process is not None]
        self.cgroups.take_over([one.name for one in running])
        for collector in running:
            if collector.plan.cgroup:  # as they are configured by now; the service manager may have lifted them
                self._confine(collector.plan)
        fresh = [self.collectors[plan.name] for plan in plans if plan.name not in entries]
        for collector in fresh:
            if collector.plan.enabled:
                collector.life.start(wait=True)
            self._changed(collector)
        self._release()

    def add(self, plan: CollectorPlan) -> None:
        """There is another one, or again one that is still being stopped."""
        collector = self.collectors.setdefault(plan.name, Collector(plan))
        collector.plan, collector.life.policy, collector.leaving = plan, plan.policy, False
        if plan.enabled:
            collector.life.start(wait=True)
        self._changed(collector)
        self._release()

    def remove(self, name: str) -> None:
        """There is no such one any more: it is stopped, and forgotten then."""
        collector = self.collectors[name]
        collector.leaving = True
        self._do(collector, collector.life.stop())

    def change(self, plan: CollectorPlan) -> None:
        """It is run in another way: what its process was started with takes a restart, all else is so at once."""
        collector = self.collectors[plan.name]
        old, collector.plan, collector.leaving = collector.plan, plan, False
        action = collector.life.change(plan.policy, self._loop.time())
        if action is not Action.NONE:
            self._do(collector, action)
        if old.enabled is not plan.enabled:
            self._do(collector, collector.life.start(wait=True) if plan.enabled else collector.life.stop())
        elif old.identity != plan.identity and collector.life.state in ALIVE - {State.STOPPING}:
            self._do(collector, collector.life.restart())
        elif collector.process is not None and _constraints(old) != _constraints(plan):
            self._constrain(collector.process, old, plan)
        self._release()

    def start(self, name: str) -> Collector:
        """Have it run. Raises NotFound, as the others do."""
        collector = self._named(name)
        self._do(collector, collector.life.start())
        return collector

    def stop(self, name: str) -> Collector:
        """Have it end: SIGTERM, after the grace SIGKILL, to its process group."""
        collector = self._named(name)
        self._do(collector, collector.life.stop())
        return collector

    def kill(self, name: str) -> Collector:
        """Have it end at once, with all it started."""
        collector = self.stop(name)
        if collector.process is not None:
            self._signal(collector.process, signal.SIGKILL)
        return collector

    def restart(self, name: str) -> Collector:
        """Have it run anew."""
        collector = self._named(name)
        self._do(collector, collector.life.restart())
        return collector

    def pause(self, name: str) -> Collector:
        """Have its process group stand still. Raises WrongState, as the next two do."""
        collector = self._named(name)
        self._do(collector, collector.life.pause())
        return collector

    def resume(self, name: str) -> Collector:
        """Have it go on."""
        collector = self._named(name)
        self._do(collector, collector.life.resume())
        return collector

    def reload(self, name: str) -> Collector:
        """Have it read its configuration again."""
        collector = self._named(name)
        self._do(collector, collector.life.reload())
        return collector

    async def stop_all(self) -> None:
        """All of them, at the same time; returns when every process is gone."""
        self._all_stopped = asyncio.Event()
        # Those that wait for others first, or they would be started when these have ended.
        for collector in sorted(list(self.collectors.values()), key=lambda one: one.life.state in ALIVE):
            self._do(collector, collector.life.stop())
        if any(one.process for one in self.collectors.values()):
            await self._all_stopped.wait()

    def close(self) -> None:
        """Watch nobody any more. Whatever still runs is left to the next coordinator."""
        for collector in self.collectors.values():
            self._cancel_timer(collector)
            if collector.process is not None:
                self._loop.remove_reader(collector.process.pidfd)
                os.close(collector.process.pidfd)
                collector.process = None
        self.cgroups.close()
        if self._outputs is not None:
            self._outputs.close()

    # ---- what collectors say -----------------------------------------------------------------------------------------

    def recognise(self, token: str | None, identity: Identity | None) -> str | None:
        """The name of the collector that a process is, None: it is none. Raises AccessDenied for a wrong token."""
        for collector in self.collectors.values():
            process = collector.process
            if process is None or process.identity != identity:
                continue
            if process.known:
                return collector.name
            if token is not None and hmac.compare_digest(token.encode(), process.token.encode()):
                process.known, process.token = True, ""
                return collector.name
        if token is not None:
            who = f"pid {identity.pid if identity else 0}"
            raise AccessDenied(
                "connect as a collector to",
                "the bus",
                who,
                "Its token is another process's, or spent: a program that a collector starts takes its place (`exec`), "
                "or connects without SHMBUS_COLLECTOR_TOKEN.",
            )
        return None

    def announced(self, name: str) -> None:
        """It does its work now."""
        collector = self.collectors[name]
        if collector.life.announced():
            self._cancel_timer(collector)
            self._log(f"{name}: ready")
        self._changed(collector)
        self._release()

    def fail(self, name: str, how: str) -> None:
        """It does not do its work any more: ended, and what follows is as after a crash."""
        collector = self.collectors[name]
        action = collector.life.fail(how)
        if action is not Action.NONE:
            self._log(Warn(f"{name}: {how}; ending it"))
            self._do(collector, action)

    # ---- hands -------------------------------------------------------------------------------------------------------

    def _named(self, name: str) -> Collector:
        collector = self.collectors.get(name)
        if collector is None:
            known = ", ".join(sorted(self.collectors)) or "none"
            raise NotFound(f"there is no collector {name!r} to do that to; there are: {known}")
        return collector

    def _do(self, collector: Collector, action: Action) -> None:
        if action in (Action.SPAWN, Action.TERMINATE) or collector.life.state in SETTLED:
            self._cancel_timer(collector)
        process, life = collector.process, collector.life
        if action is Action.SPAWN:
            self._spawn(collector)
        elif action is Action.WAIT:
            self._call_at(collector, life.due, self._elapsed)
        elif process is not None and action is Action.TERMINATE:
            self._signal(process, signal.SIGTERM)
            self._signal(process, signal.SIGCONT)  # one that stands still cannot end
            self._call_at(collector, self._loop.time() + collector.plan.grace_seconds, self._kill)
        elif process is not None and action is Action.PAUSE:
            self._signal(process, signal.SIGSTOP)
        elif process is not None and action is Action.RESUME:
            self._signal(process, signal.SIGCONT)
        elif process is not None and action is Action.RELOAD:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(process.pidfd, signal.SIGHUP)
        if collector.leaving and life.state is State.STOPPED:
            del self.collectors[collector.name]
        self._changed(collector)
        self._release()

    def _release(self) -> None:
        """Start those that wait for nobody any more."""
        for collector in list(self.collectors.values()):
            if collector.life.state is State.WAITING and all(map(self._is_settled, collector.plan.after)):
                self._do(collector, collector.life.released())

    def _is_settled(self, name: str) -> bool:
        return name not in self.collectors or self.collectors[name].life.state in SETTLED

    def _elapsed(self, collector: Collector) -> None:
        action = collector.life.elapsed(self._loop.time())
        if action is Action.TERMINATE:
            self._log(Warn(f"{collector.name}: {collector.life.fault}; ending it"))
        self._do(collector, action)

    def _spawn(self, collector: Collector) -> None:
        plan = collector.plan
        try:
            cgroup = str(self.cgroups.place(plan.name, plan.cgroup)) if plan.cgroup else ""
            popen = self._begun(collector)
        except (OSError, CgroupUnavailable) as error:
            collector.life.spawned(0, self._loop.time())
            self._ended(collector, Exit(f"it could not be started: {error}"))
            return
        assert popen.stdin is not None  # it waits for that; it stands in the directory by now
        with suppress(BrokenPipeError):  # it is dead already
            popen.stdin.write(_told(collector.plan, cgroup))
            popen.stdin.close()
        killpoint("spawn.told")
        self._log(f"{collector.name}: started as pid {popen.pid}")

    def _begun(self, collector: Collector) -> "subprocess.Popen[bytes]":
        plan, token = collector.plan, secrets.token_hex(16)
        if self._outputs is None:
            self._outputs = Outputs(self._log)
        output = self._outputs.make(plan.name)
        try:
            popen = self._launched(plan, token, output)
            killpoint("spawn.launched")
            try:
                pidfd = os.pidfd_open(popen.pid)
            except BaseException:
                popen.communicate(b"")  # told nothing, it ends
                raise
        except BaseException:
            self._outputs.end(output)
            raise
        process = Process(_identity(popen.pid), pidfd, popen, plan.fingerprint)
        process.output, process.token = output, token
        self._attend(collector, process)
        self._do(collector, collector.life.spawned(popen.pid, self._loop.time()))
        killpoint("spawn.noted")
        return popen

    def _launched(self, plan: CollectorPlan, token: str, output: Output) -> "subprocess.Popen[bytes]":
        writer = output.open_for_writing()
        try:
            return subprocess.Popen(
                [sys.executable, *(["-S"] if plan.command else []), "-P", launch.__file__],
                stdin=subprocess.PIPE,
                stdout=writer,
                stderr=writer,
                env=self._environment_of(plan, token),
                process_group=0,
            )
        finally:
            os.close(writer)

    def _environment_of(self, plan: CollectorPlan, token: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_CHILDREN}
        own = {COLLECTOR_VARIABLE: plan.name, TOKEN_VARIABLE: token}
        return {**inherited, **plan.environment, **self._environment, **own}

    def _attend(self, collector: Collector, process: Process) -> None:
        collector.process = process
        self._loop.add_reader(process.pidfd, self._exited, collector, process)

    def _adopt(self, entry: CollectorEntry) -> None:
        """One that a killed coordinator had goes on under this one."""
        known, process = self.collectors.get(entry.name), self._found(entry)
        if known is None and process is None:
            return
        collector = known or Collector(CollectorPlan(entry.name, enabled=False))
        self.collectors[entry.name] = collector
        collector.leaving = known is None
        life, now = collector.life, self._loop.time()
        life.state, life.restarts, life.reason = State(_state_text(entry.state)), entry.restarts, entry.detail
        life.recent = [now] * entry.recent  # not long ago, at any rate
        life.again, life.fault = entry.again, entry.detail if entry.given_up else ""
        if process is not None:
            life.state = life.state if life.state in ALIVE else State.STOPPING
            self._take(collector, process)
        elif life.state in ALIVE:
            gone = life.state is not State.STOPPING
            self._ended(collector, Exit("it ended while no coordinator ran", failed=gone))
        elif life.state is State.BACKING_OFF:
            life.due = now + collector.plan.policy.first_delay
            self._do(collector, Action.WAIT)
        elif life.state is State.WAITING:
            life.start(wait=True)
        self._changed(collector)
        if collector.leaving:
            self._do(collector, life.stop())

    def _take(self, collector: Collector, process: Process) -> None:
        life, now = collector.life, self._loop.time()
        life.pid, life.due = process.identity.pid, now + life.policy.start_timeout
        self._attend(collector, process)
        self._log(f"{collector.name}: goes on as pid {life.pid}, which a killed coordinator left running")
        if self._outputs is None:
            self._outputs = Outputs(self._log)
        process.output = self._outputs.adopt(collector.name, life.pid)
        if life.state is State.STOPPING:
            self._do(collector, Action.TERMINATE)
        elif not collector.leaving and process.plan != collector.plan.fingerprint:
            self._log(f"{collector.name}: it was started otherwise than it is configured now")
            self._do(collector, life.restart())
        elif life.state is State.STARTING:
            self._do(collector, Action.WAIT)

    def _found(self, entry: CollectorEntry) -> Process | None:
        """The process of an entry, if it lives and can be watched."""
        if entry.process is None or not is_alive(entry.process):
            return None
        try:
            pidfd = os.pidfd_open(entry.process.pid)
        except OSError:
            return None
        if not is_alive(entry.process):  # by now the pidfd may be another's
            os.close(pidfd)
            return None
        process = Process(entry.process, pidfd, None, entry.plan)
        process.started_ns = entry.started_ns
        return process

    def _exited(self, collector: Collector, process: Process) -> None:
        self._loop.remove_reader(process.pidfd)
        self._end_group(process)  # what it started in its group ends with it, and then what it started elsewhere
        status = None if process.popen is None else process.popen.wait()
        os.close(process.pidfd)
        collector.process = None
        lines: tuple[str, ...] = ()
        if process.output is not None and self._outputs is not None:
            self._outputs.end(process.output)
            lines = process.output.last_lines
        self._ended(collector, _how(status, lines))

    def _ended(self, collector: Collector, how: Exit) -> None:
        life = collector.life
        expected = life.state is State.STOPPING and not life.fault
        action = life.exited(how, self._loop.time(), random.random())
        self._changed(collector)  # at once, before anything that takes time
        told = "stopped" if expected else life.reason
        if action is Action.WAIT:
            self._log(Warn(f"{collector.name}: {told}; starting it again in {life.due - self._loop.time():.1f} s"))
        elif life.state is State.FAILED:
            self._log(Warn(f"{collector.name}: {told}; it has failed: start it again when that is mended"))
        else:
            self._log(f"{collector.name}: {told}")
        self.cgroups.end(collector.name)
        if strays := end_strays(self._bus, collector.name):
            self._log(f"{collector.name}: {strays} processes that it had started elsewhere were ended")
        self._do(collector, action)
        if self._all_stopped is not None and not any(one.process for one in self.collectors.values()):
            self._all_stopped.set()

    def _kill(self, collector: Collector) -> None:
        grace = collector.plan.grace_seconds
        self._log(Warn(f"{collector.name}: did not end within {grace:g} s of SIGTERM, killed"))
        if collector.process is not None:
            self._signal(collector.process, signal.SIGKILL)

    def _signal(self, process: Process, number: signal.Signals) -> None:
        """To its process group. As long as the process is there its number is its group's."""
        if process.popen is not None or is_alive(process.identity):
            with suppress(ProcessLookupError):
                os.killpg(process.identity.pid, number)

    def _end_group(self, process: Process) -> None:
        """The process is dead. One that we started is not reaped yet; another's number may be in use again."""
        if process.popen is not None or identity_of(process.identity.pid) is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.identity.pid, signal.SIGKILL)

    def _constrain(self, process: Process, old: CollectorPlan, plan: CollectorPlan) -> None:
        """Limits that are set, or set otherwise, count at once; one that is taken away, at the next start."""
        pid = process.identity.pid
        with suppress(ProcessLookupError):
            for name, value in plan.limits.items():
                resource.prlimit(pid, launch.LIMITS[name], (value, value))
            if old.cgroup != plan.cgroup:
                self._confine(plan)
            if old.nice != plan.nice:
                os.setpriority(os.PRIO_PGRP, pid, os.getpriority(os.PRIO_PROCESS, 0) + plan.nice)

    def _confine(self, plan: CollectorPlan) -> None:
        """All its processes, wherever they have gone."""
        try:
            self.cgroups.place(plan.name, plan.cgroup, pids_of(self._bus, plan.name))
        except (OSError, CgroupUnavailable) as error:
            self._log(Warn(f"{plan.name}: its cgroup is not as configured: {error}"))

    def _call_at(self, collector: Collector, when: float, what: Callable[[Collector], None]) -> None:
        self._cancel_timer(collector)
        collector.timer = self._loop.call_at(when, partial(self._due, collector, what))

    def _due(self, collector: Collector, what: Callable[[Collector], None]) -> None:
        collector.timer = None
        what(collector)

    def _cancel_timer(self, collector: Collector) -> None:
        if collector.timer is not None:
            collector.timer.cancel()
            collector.timer = None


def _told(plan: CollectorPlan, cgroup: str) -> bytes:
    fields = ("name", "command", "arguments", "working_directory", "uid", "nice")
    return json.dumps(
        {**{name: getattr(plan, name) for name in fields}, "limits": dict(plan.limits), "cgroup": cgroup}
    ).encode()


def _constraints(plan: CollectorPlan) -> tuple[object, ...]:
    """What counts for a process that runs."""
    return plan.limits, plan.nice, plan.cgroup


def _identity(pid: int) -> Identity:
    """Of a child that has not been waited for: it may be dead, but its number is its own."""
    return identity_of(pid) or Identity(pid, 0, 0)


def _state_text(state: CollectorState) -> str:
    return state.name.lower().replace("_", "-")


def _how(status: int | None, lines: tuple[str, ...]) -> Exit:
    if status is None:
        how, failed = "ended; how is not known, for another coordinator started it", True
    elif status < 0:
        how, failed = f"killed by {_signal_name(-status)}", True
    else:
        how, failed = "ended by itself" if status == 0 else f"ended with status {status}", status != 0
    return Exit(f"{how}: {lines[-1]}" if lines and status else how, failed, lines)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time one
