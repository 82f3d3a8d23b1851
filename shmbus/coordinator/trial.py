"""Does a collector do well with its changed configuration? Decides only; the hands are in updates.py.

                     its process is started      runs, healthy             healthy for `hold` on end
    waiting to start -----------------> starting -------------> holding -------------------------> KEPT
                                            ^                     |
                                            +---- not healthy ----+
    in starting or holding:
        it crashes, hangs, ends by itself, or `within` is over before it holds     FAILED, and why
    at any time:
        somebody stops or pauses it: nobody can tell any more                      ABANDONED

The time runs from the start of the process that has the change: how long the one before takes to end has its own bound
(the grace). No clock and no I/O: times are seconds of any clock that only moves on.
"""

import enum
from dataclasses import dataclass
from typing import NamedTuple

from shmbus.condition import Condition
from shmbus.coordinator.supervisor import State, Supervised
from shmbus.directory import Health

HOLD_SECONDS = 0.5  # that it has to stay healthy: one that crashes right after its announcement is no success
_CRASHED = (State.BACKING_OFF, State.FAILED)


class Outcome(enum.Enum):
    """How a trial ended."""

    KEPT = enum.auto()
    FAILED = enum.auto()
    ABANDONED = enum.auto()


class Sight(NamedTuple):
    """A collector as it looks at one moment."""

    state: State
    health: Health
    again: bool = False  # it is being stopped to be started again
    fault: str = ""  # why it is being ended
    reason: str = ""  # of its last crash
    why: str = ""  # it is not healthy, though it runs

    @classmethod
    def of(cls, life: Supervised, condition: Condition) -> "Sight":
        """As it is now."""
        return cls(life.state, condition.health, life.again, life.fault, life.reason, condition.why())


@dataclass(slots=True)
class Trial:
    """Of one change: `within` seconds to become healthy, `hold` to stay so."""

    within: float
    hold: float = HOLD_SECONDS
    why: str = ""  # when it has failed or was abandoned
    due: float | None = None  # look again then, whatever happens
    _started: float | None = None
    _well_since: float | None = None

    def look(self, its: Sight, now: float) -> Outcome | None:
        """How it goes; None: nobody can tell yet."""
        if its.state is State.STOPPING and (its.again or its.fault):
            return self._failed(its.fault) if its.fault and self._started is not None else None
        if its.state in (State.STOPPING, State.PAUSED):
            return self._abandoned(f"it was {'paused' if its.state is State.PAUSED else 'stopped'} meanwhile")
        if self._started is None:
            return self._begin(its, now)
        return self._judge(its, now)

    def _begin(self, its: Sight, now: float) -> Outcome | None:
        if its.state in (State.STARTING, State.RUNNING):
            self._started = now
            return self._judge(its, now)
        if its.state in _CRASHED:  # it could not even be started
            return self._failed(its.reason)
        return self._abandoned("it was stopped meanwhile") if its.state is State.STOPPED else None

    def _judge(self, its: Sight, now: float) -> Outcome | None:
        assert self._started is not None
        if its.state in _CRASHED:
            return self._failed(its.reason)
        if its.state is State.STOPPED:
            return self._failed(its.reason or "it ended by itself")
        well = its.state is State.RUNNING and its.health is Health.HEALTHY
        self._well_since = (now if self._well_since is None else self._well_since) if well else None
        if self._well_since is not None:
            self.due = self._well_since + self.hold
            return Outcome.KEPT if now >= self.due else None
        self.due = self._started + self.within
        if now < self.due:
            return None
        how = f"{its.state}, {its.health.name.lower()}" if its.state is State.RUNNING else str(its.state)
        how += f", {its.why}" if its.state is State.RUNNING and its.why else ""
        return self._failed(f"it was not healthy within {self.within:g} s: it is {how}")

    def _failed(self, why: str) -> Outcome:
        self.why = why
        return Outcome.FAILED

    def _abandoned(self, why: str) -> Outcome:
        self.why = why
        return Outcome.ABANDONED
