"""Which collectors ought to run, and what to do next about each. Decides only; the hands are in children.py.

              start                 running long enough
    stopped ---------> starting ---------------------> running      (the count of crashes starts anew)
       ^                  |  \\--------- exit -----------/ |
       |                  |            v                  |
       |                  |       backing-off --delay--> starting
       |                  |            |  too many crashes in a row -> failed --start--> starting
       |                  v            v                  |
       +---- exit ---- stopping <------+------ stop ------+

Asked-for restarts are no crashes: they neither wait nor count. Times are seconds of any clock that only moves on.
"""

import enum
from dataclasses import dataclass

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0
JITTER = 0.25  # of the delay, so that collectors that died together do not come back together
STABLE_SECONDS = 30.0  # a run of this length makes up for all crashes before it
MAX_CRASHES_IN_A_ROW = 8


class State(enum.StrEnum):
    """The life of a collector."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    BACKING_OFF = "backing-off"
    STOPPING = "stopping"
    FAILED = "failed"


class Action(enum.Enum):
    """What the hands have to do."""

    NONE = enum.auto()
    SPAWN = enum.auto()
    TERMINATE = enum.auto()
    WAIT = enum.auto()  # until `due`, then call elapsed()


@dataclass(slots=True)
class Supervised:
    """One collector."""

    name: str
    state: State = State.STOPPED
    pid: int = 0
    restarts: int = 0
    crashes: int = 0  # in a row
    reason: str = ""  # of the last crash
    due: float = 0.0  # end of the back-off
    since: float = 0.0  # when the process was started
    again: bool = False  # start again when it has stopped

    def start(self) -> Action:
        """Somebody wants it to run."""
        if self.state is State.STOPPING:
            self.again = True
            return Action.NONE
        if self.state not in (State.STOPPED, State.FAILED, State.BACKING_OFF):
            return Action.NONE
        self.crashes = 0
        self.again = False
        self.state = State.STARTING
        return Action.SPAWN

    def stop(self) -> Action:
        """Nobody wants it to run."""
        self.again = False
        if self.state in (State.STARTING, State.RUNNING):
            self.state = State.STOPPING
            return Action.TERMINATE
        if self.state is not State.STOPPING:
            self.state = State.STOPPED
        return Action.NONE

    def restart(self) -> Action:
        """Stop it, then start it."""
        if self.state in (State.STARTING, State.RUNNING, State.STOPPING):
            action = self.stop()
            self.again = True
            return action
        return self.start()

    def spawned(self, pid: int, now: float) -> Action:
        """The process exists."""
        self.pid, self.since = pid, now
        return Action.NONE

    def connected(self) -> None:
        """It said hello to the coordinator: it runs."""
        if self.state is State.STARTING:
            self.state = State.RUNNING

    def exited(self, reason: str, now: float, jitter: float) -> Action:
        """The process is gone, or could not be started. `jitter` is a random number of [0, 1)."""
        self.pid = 0
        if self.state is State.STOPPING:
            self.state = State.STOPPED
            return self.start() if self.again else Action.NONE
        self.reason = reason
        self.crashes = 1 if now - self.since >= STABLE_SECONDS else self.crashes + 1
        if self.crashes > MAX_CRASHES_IN_A_ROW:
            self.state = State.FAILED
            return Action.NONE
        self.state = State.BACKING_OFF
        self.due = now + back_off(self.crashes, jitter)
        return Action.WAIT

    def elapsed(self, now: float) -> Action:
        """Time has passed."""
        if self.state is not State.BACKING_OFF:
            return Action.NONE
        if now < self.due:
            return Action.WAIT
        self.restarts += 1
        self.state = State.STARTING
        return Action.SPAWN


def back_off(crashes: int, jitter: float) -> float:
    """Seconds to wait after so many crashes in a row."""
    delay = min(FIRST_DELAY_SECONDS * 2.0 ** (crashes - 1), LONGEST_DELAY_SECONDS)
    return delay * (1.0 + JITTER * jitter)
