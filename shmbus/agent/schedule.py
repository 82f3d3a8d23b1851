"""Which task goes to which collector, and what follows when that does not do it. No clock and no I/O.

    add --> waiting --send--> running --done------> finished
               ^ |               | |
               | |               | +--failed for good--> finished
               | |               +--refused, died, or hangs and another can--+
               | +--nobody can, deadline, cancelled--> finished              |
               +-------------------------------------------------------------+

Of the tasks that wait the one of the highest priority goes first, of equals the oldest. Of the collectors that can do
it, and have not failed it before, the healthiest gets it, then the most preferred, then the least loaded, then each in
turn; none gets more than `window` at a time. One that says it is unhealthy gets nothing while another can, though that
one may have to be waited for; one that does not move (its lease has expired) gets nothing at all. Times are seconds of
any clock that only moves on.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from heapq import heappop, heappush
from itertools import count
from typing import Final, NamedTuple

from shmbus.agent.capability import Candidate, Requirement
from shmbus.directory import Health

WINDOW: Final = 8


class State(Enum):
    """Of a job."""

    WAITING = 1
    RUNNING = 2
    FINISHED = 3


class Job:
    """A task on its way. `waited_from` is since when nobody can do it."""

    __slots__ = ("requirement", "priority", "deadline", "patience", "order", "state", "at", "tried", "attempts",
                 "waited_from")  # fmt: skip

    def __init__(self, requirement: Requirement, priority: int = 0, deadline: float = 0.0, patience: float = 0.0):
        self.requirement, self.priority, self.deadline, self.patience = requirement, priority, deadline, patience
        self.order = 0
        self.state = State.WAITING
        self.at: Candidate | None = None  # who has it, or had it last
        self.tried: set[int] = set()  # registrations
        self.attempts: list[str] = []  # what came of each
        self.waited_from: float | None = None

    @property
    def like(self) -> "_Like":
        """Whoever can do one can do all that are alike."""
        return self.requirement, frozenset(self.tried)


_Like = tuple[Requirement, frozenset[int]]


class Send(NamedTuple):
    """Have the candidate do it."""

    job: Job
    candidate: Candidate


class Recall(NamedTuple):
    """Whoever has it is presumed dead: nothing that comes from there counts any more."""

    job: Job


class Overdue(NamedTuple):
    """It is finished: its deadline has passed."""

    job: Job


class Impossible(NamedTuple):
    """It is finished: nobody can do it."""

    job: Job


Action = Send | Recall | Overdue | Impossible


class Schedule:
    """Of one agent."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window, self._order, self._turn = window, count(1), 0
        self._candidates: dict[int, Candidate] = {}
        self._said: Mapping[int, Health] = {}  # what each said of itself last
        self._still: dict[str, Candidate] = {}  # whose registrations have expired, by their names
        self._hung: set[int] = set()  # registrations that have expired; their jobs may still be done
        self._loads: dict[int, int] = {}  # tasks that each has of ours
        self._reported: dict[int, int] = {}  # what each said it has
        self._running: dict[int, set[Job]] = {}
        self._waiting: dict[_Like, list[tuple[int, int, Job]]] = {}
        self._due: list[tuple[float, int, Job]] = []
        self._due_order = count()

    # ---- who is there ------------------------------------------------------------------------------------------------

    @property
    def candidates(self) -> list[Candidate]:
        """All that are registered now."""
        return list(self._candidates.values())

    @property
    def waits(self) -> bool:
        """Is anything to be given to anybody?"""
        return bool(self._waiting)

    def judge(self, said: Mapping[int, Health]) -> None:
        """What collectors say of themselves now, by their registrations; of any other nothing is known."""
        self._said = said

    def unresponsive(self, wanted: Requirement) -> list[Candidate]:
        """Who could do such tasks, and does not move."""
        return [one for one in self._still.values() if one.can(wanted)]

    def arrived(self, candidate: Candidate) -> None:
        """It is registered; whatever was registered under its name before is not."""
        self._still.pop(candidate.name, None)
        for one in [one for one in self._candidates.values() if one.name == candidate.name]:
            del self._candidates[one.number]
        self._candidates[candidate.number] = candidate
        # What has gone on is at its tasks again; had it died, whoever waits for its answers would say so.
        self._hung -= {number for number in self._hung if self._holder(number) == candidate.name}

    def left(self, number: int) -> None:
        """Its registration has ended. What it has of ours is told by whoever waits for its answers."""
        self._candidates.pop(number, None)
        self._reported.pop(number, None)
        for one in [one for one in self._still.values() if one.number == number]:
            del self._still[one.name]

    def hung(self, candidate: Candidate) -> None:
        """Its lease is over: what it has is done by others, if there are any."""
        self.left(candidate.number)
        self._still[candidate.name] = candidate
        if candidate.number in self._running:
            self._hung.add(candidate.number)

    def replace(self, candidates: Iterable[Candidate], hung: Iterable[Candidate] = ()) -> None:
        """These are registered, and no others; the leases of some are over."""
        found = {one.number: one for one in candidates}
        self._still.clear()
        for number in self._candidates.keys() - found.keys():
            self.left(number)
        for candidate in found.values():
            self.arrived(candidate)
        for candidate in hung:
            self.hung(candidate)

    # ---- what is to be done ------------------------------------------------------------------------------------------

    def add(self, job: Job) -> None:
        """It waits."""
        job.order = next(self._order)
        self._wait(job)
        self._wake_at(job.deadline, job)

    def adopt(self, job: Job, candidate: Candidate) -> None:
        """It runs there already."""
        job.order = next(self._order)
        self._give(job, candidate)
        self._wake_at(job.deadline, job)

    def done(self, job: Job, load: int = 0) -> None:
        """Its collector answered, and said how much it has to do."""
        if job.at is not None:
            self._reported[job.at.number] = load
        self._finish(job)

    def failed(self, job: Job, how: str, *, again: bool) -> None:
        """Its collector did not do it; `again`: another one may."""
        self._note(job, how)
        if again:
            self._release(job)
            self._wait(job)
        else:
            self._finish(job)

    def cancelled(self, job: Job) -> None:
        """Nobody wants it any more."""
        self._finish(job)

    def pump(self, now: float) -> list[Action]:
        """What is to be done now."""
        actions: list[Action] = [Overdue(job) for job in self._overdue(now)]
        actions += [Recall(job) for job in self._recalled()]
        blocked: set[_Like] = set()
        while (job := self._next(blocked)) is not None:
            able = [one for one in self._candidates.values() if one.number not in job.tried]
            able = [one for one in able if one.can(job.requirement)]
            fit = [one for one in able if self._health(one) < Health.UNHEALTHY] or able
            free = [one for one in fit if self._loads.get(one.number, 0) < self._window]
            if free:
                self._pop(job)
                actions.append(Send(job, self._give(job, self._choose(free))))
            elif able or not self._out_of_patience(job, now):
                blocked.add(job.like)
            else:
                self._finish(job)
                actions.append(Impossible(job))
        return actions

    def due(self) -> float | None:
        """When `pump` has something to do at the latest; None: only when something happens."""
        while self._due and self._due[0][2].state is State.FINISHED:
            heappop(self._due)
        return self._due[0][0] if self._due else None

    def unfinished(self) -> list[Job]:
        """All of them."""
        waiting = [job for heap in self._waiting.values() for *_, job in heap if job.state is State.WAITING]
        return [*waiting, *(job for jobs in self._running.values() for job in jobs)]

    # ---- hands -------------------------------------------------------------------------------------------------------

    def _next(self, blocked: set[_Like]) -> Job | None:
        """The first of those whose like is not blocked."""
        best: tuple[int, int, Job] | None = None
        for like, heap in list(self._waiting.items()):
            while heap and heap[0][2].state is not State.WAITING:
                heappop(heap)
            if not heap:
                del self._waiting[like]
            elif like not in blocked and (best is None or heap[0][:2] < best[:2]):
                best = heap[0]
        return None if best is None else best[2]

    def _pop(self, job: Job) -> None:
        heappop(self._waiting[job.like])

    def _wait(self, job: Job) -> None:
        job.state, job.waited_from = State.WAITING, None
        heappush(self._waiting.setdefault(job.like, []), (-job.priority, job.order, job))

    def _choose(self, free: list[Candidate]) -> Candidate:
        self._turn += 1
        turned = [free[(self._turn + place) % len(free)] for place in range(len(free))]
        return min(turned, key=lambda one: (self._health(one), -one.preference, self._load(one.number)))

    def _health(self, one: Candidate) -> Health:
        """One of which nothing is known is as good as any."""
        return max(self._said.get(one.number, Health.HEALTHY), Health.DEGRADED if one.late else Health.HEALTHY)

    def _load(self, number: int) -> int:
        # What it reported holds what is ours as well: the larger of the two, not the sum.
        return max(self._loads.get(number, 0), self._reported.get(number, 0))

    def _give(self, job: Job, candidate: Candidate) -> Candidate:
        job.state, job.at = State.RUNNING, candidate
        self._loads[candidate.number] = self._loads.get(candidate.number, 0) + 1
        self._running.setdefault(candidate.number, set()).add(job)
        return candidate

    def _release(self, job: Job) -> None:
        """Nobody has it any more."""
        if job.state is not State.RUNNING or job.at is None:
            return
        number = job.at.number
        job.tried.add(number)
        self._loads[number] -= 1
        self._running[number].discard(job)
        if not self._running[number]:
            del self._running[number], self._loads[number]
            self._hung.discard(number)

    def _finish(self, job: Job) -> None:
        self._release(job)
        job.state = State.FINISHED

    def _note(self, job: Job, how: str) -> None:
        job.attempts.append(how if job.at is None else f"{job.at.name}: {how}")

    def _holder(self, number: int) -> str:
        """Who has the tasks of that registration."""
        return next((job.at.name for job in self._running.get(number, ()) if job.at is not None), "")

    def _recalled(self) -> list[Job]:
        found = [job for number in self._hung for job in self._running.get(number, ()) if self._another(job)]
        for job in found:
            self._note(job, "it hangs: its registration has expired")
            self._release(job)
            self._wait(job)
        return found

    def _another(self, job: Job) -> bool:
        able = (one.number for one in self._candidates.values() if one.can(job.requirement))
        return any(number not in job.tried and number not in self._hung for number in able)

    def _overdue(self, now: float) -> list[Job]:
        found = []
        while self._due and self._due[0][0] <= now:
            *_, job = heappop(self._due)
            if job.state is not State.FINISHED and job.deadline <= now:
                self._finish(job)
                found.append(job)
        return found

    def _out_of_patience(self, job: Job, now: float) -> bool:
        if job.waited_from is None:
            job.waited_from = now
            if job.patience > 0:
                self._wake_at(now + job.patience, job)
        return now >= job.waited_from + job.patience

    def _wake_at(self, when: float, job: Job) -> None:
        heappush(self._due, (when, next(self._due_order), job))
