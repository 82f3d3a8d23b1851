r"""Which collectors ought to run, and what to do next about each. Decides only; the hands are in children.py.

                start, no other to wait for
    stopped ------------------------------> starting --announced--> running <--pause, resume--> paused
       |  ^                                 ^   |                      |                          |
     start|                         released|   +------ timeout, fail -+--------- stop -----------+
       v  |stop                             |   v                      v                          v
     waiting -------------------------------+  stopping <-------------------------------------------
       ^                                        |
       |                                        | exit: stopped; or starting, when a start was asked for meanwhile
       |                                        | exit of one that was given up on: as after a crash
                                                v
    crash (exit of starting, running, paused, or of one given up on):

        restart wanted, within the budget:  backing-off --delay--> starting      (stop: stopped)
        over the budget, or never wanted:   failed --start--> starting
        status 0 and wanted on failure only: stopped

A collector runs when it has announced itself, not when it exists. One that does not within the start timeout, one that
hangs, and one that says for too long that it is unhealthy, is given up on: asked to end (and killed after the grace, by
the hands), and that is a crash.

The budget: at most so many automatic restarts within a window; the wait doubles with each that is in it. Restarts that
were asked for are no crashes: they neither wait nor count. Times are seconds of any clock that only moves on.
"""

import enum
from dataclasses import dataclass, field

from shmbus.errors import ShmbusError

JITTER = 0.25  # of the delay, so that collectors that died together do not come back together


class State(enum.StrEnum):
    """The life of a collector."""

    STOPPED = "stopped"
    WAITING = "waiting"  # for others that it is to be started after
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    BACKING_OFF = "backing-off"
    STOPPING = "stopping"
    FAILED = "failed"


ALIVE = frozenset({State.STARTING, State.RUNNING, State.PAUSED, State.STOPPING})  # those that have a process
SETTLED = frozenset({State.RUNNING, State.PAUSED, State.STOPPED, State.FAILED})  # those that hold nobody up


class Restart(enum.StrEnum):
    """After which ends a collector is started again by itself."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


class Action(enum.Enum):
    """What the hands have to do."""

    NONE = enum.auto()
    SPAWN = enum.auto()
    TERMINATE = enum.auto()
    PAUSE = enum.auto()
    RESUME = enum.auto()
    RELOAD = enum.auto()
    WAIT = enum.auto()  # until `due`, then call elapsed()


class WrongState(ShmbusError):
    """The collector `name` is `state`: what is asked for cannot be done now."""

    def __init__(self, name: str, state: State, asked: str, possible: str) -> None:
        self.name, self.state = name, str(state)
        super().__init__(f"collector '{name}' is {state}: it cannot be {asked}. {possible}")


@dataclass(frozen=True, slots=True)
class Policy:
    """How a collector is kept running. Times in seconds."""

    restart: Restart = Restart.ALWAYS
    first_delay: float = 1.0
    longest_delay: float = 60.0
    budget: int = 8  # automatic restarts within the window
    window: float = 600.0
    start_timeout: float = 30.0

    def delay(self, restarts: int, jitter: float) -> float:
        """How long to wait after a crash when there have been so many restarts in the window; `jitter` of [0, 1)."""
        delay = min(self.first_delay * 2.0 ** min(restarts, 64), self.longest_delay)
        return delay * (1.0 + JITTER * jitter)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: in words, and its last lines."""

    reason: str
    failed: bool = True
    last_lines: tuple[str, ...] = ()


@dataclass(slots=True)
class Supervised:
    """One collector."""

    name: str
    policy: Policy = Policy()
    state: State = State.STOPPED
    pid: int = 0
    restarts: int = 0  # automatic ones, in all
    recent: list[float] = field(default_factory=list)  # when, of those within the window
    reason: str = ""  # of the last crash
    last_lines: tuple[str, ...] = ()  # of the last crash
    due: float = 0.0  # end of the back-off, or of the patience with a start
    again: bool = False  # start again when it has stopped
    fault: str = ""  # why it was given up on

    def start(self, *, wait: bool = False) -> Action:
        """Somebody wants it to run; `wait`: as soon as it is released."""
        if self.state in ALIVE:
            self.again = self.state is State.STOPPING
            return Action.NONE
        self.recent.clear()
        if wait:
            self.state = State.WAITING
            return Action.NONE
        return self._spawn()

    def released(self) -> Action:
        """Those that it waited for hold it up no more."""
        return self._spawn() if self.state is State.WAITING else Action.NONE

    def stop(self) -> Action:
        """Nobody wants it to run."""
        self.again, self.fault = False, ""
        if self.state is State.STOPPING:
            return Action.NONE
        if self.state in ALIVE:
            self.state = State.STOPPING
            return Action.TERMINATE
        self.state = State.STOPPED
        return Action.NONE

    def restart(self) -> Action:
        """Stop it, then start it."""
        if self.state not in ALIVE:
            return self.start()
        action = self.stop()
        self.again = True
        return action

    def pause(self) -> Action:
        """Have it stand still. Raises WrongState unless it runs."""
        if self.state is State.PAUSED:
            return Action.NONE
        self._check_runs("paused")
        self.state = State.PAUSED
        return Action.PAUSE

    def resume(self) -> Action:
        """Have it go on. Raises WrongState unless it is paused, or runs."""
        if self.state is State.PAUSED:
            self.state = State.RUNNING
            return Action.RESUME
        self._check_runs("resumed")
        return Action.NONE

    def reload(self) -> Action:
        """Have it read its configuration again. Raises WrongState unless it runs."""
        self._check_runs("reloaded")
        return Action.RELOAD

    def spawned(self, pid: int, now: float) -> Action:
        """The process exists, and has until `due` to announce itself."""
        self.pid, self.due = pid, now + self.policy.start_timeout
        return Action.WAIT

    def announced(self) -> bool:
        """It says that it does its work now; whether that is news."""
        if self.state is not State.STARTING:
            return False
        self.state = State.RUNNING
        return True

    def fail(self, how: str) -> Action:
        """It does not move any more, or has said for too long that it is unhealthy."""
        return self._give_up(how) if self.state is State.RUNNING else Action.NONE

    def exited(self, how: Exit, now: float, jitter: float) -> Action:
        """The process is gone, or could not be started. `jitter` is a random number of [0, 1)."""
        self.pid = 0
        fault, self.fault = self.fault, ""
        if self.state is State.STOPPING and not fault:
            self.state = State.STOPPED
            return self.start() if self.again else Action.NONE
        self.reason, self.last_lines = fault or how.reason, how.last_lines
        if self.again:
            self.state = State.STOPPED
            return self.start()
        failed = how.failed or bool(fault)
        if not failed and self.policy.restart is Restart.ON_FAILURE:
            self.state = State.STOPPED
            return Action.NONE
        return self._back_off(now, jitter)

    def elapsed(self, now: float) -> Action:
        """Time has passed."""
        if self.state not in (State.BACKING_OFF, State.STARTING):
            return Action.NONE
        if now < self.due:
            return Action.WAIT
        if self.state is State.STARTING:
            return self._give_up(f"it did not announce itself within {self.policy.start_timeout:g} s")
        self.restarts += 1
        self.recent.append(now)
        return self._spawn()

    def change(self, policy: Policy, now: float) -> Action:
        """It is kept running in another way from now on. A start that is under way has the new timeout left."""
        old, self.policy = self.policy, policy
        if self.state is State.STARTING:
            self.due += policy.start_timeout - old.start_timeout
            return Action.WAIT
        if self.state is State.BACKING_OFF:
            self.due = min(self.due, now + policy.longest_delay * (1.0 + JITTER))
            return Action.WAIT
        return Action.NONE

    def _spawn(self) -> Action:
        self.state, self.again = State.STARTING, False
        return Action.SPAWN

    def _give_up(self, fault: str) -> Action:
        self.state, self.fault = State.STOPPING, fault
        return Action.TERMINATE

    def _back_off(self, now: float, jitter: float) -> Action:
        self.recent = [when for when in self.recent if now - when < self.policy.window]
        if self.policy.restart is Restart.NEVER or len(self.recent) >= self.policy.budget:
            self.state = State.FAILED
            return Action.NONE
        self.state = State.BACKING_OFF
        self.due = now + self.policy.delay(len(self.recent), jitter)
        return Action.WAIT

    def _check_runs(self, asked: str) -> None:
        if self.state is not State.RUNNING:
            possible = {
                State.PAUSED: "Resume it first.",
                State.STARTING: "Wait until it has announced itself.",
                State.STOPPING: "Start it again first.",
            }.get(self.state, "Start it first.")
            raise WrongState(self.name, self.state, asked, possible)
