"""The hands of schedule.py: sends tasks as calls, takes answers, and publishes results, in one thread of its own.

An answer is accepted once, here, and only then published, by whoever submitted the task and nobody else. So whatever
dies, hangs or comes back late among collectors, the topic has each result once: an attempt that was given up has
nobody who takes its answer.
"""

import itertools
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from concurrent.futures import InvalidStateError
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from shmbus._core import Waiter
from shmbus.agent.capability import Candidate
from shmbus.agent.journal import Journal, process_of
from shmbus.agent.outlet import Outlet
from shmbus.agent.record import record_of, task_of
from shmbus.agent.roster import Roster, failed_collectors
from shmbus.agent.schedule import Job, Overdue, Recall, Schedule, Send, State
from shmbus.agent.task import Task
from shmbus.errors import ClosedError, RpcError, ShmbusError, TaskError
from shmbus.rpc.asking import make_ask
from shmbus.rpc.breaker import Breaker
from shmbus.rpc.exchange import Exchange
from shmbus.rpc.failure import name_in
from shmbus.rpc.operations import EXECUTE_TASK, GET_CAPABILITIES
from shmbus.rpc.pending import Ask, Pending
from shmbus.rpc.presence import Instance, health_of
from shmbus.topic import HEALTH_STATUS
from shmbus.v1.eventbus_pb2 import AlertPayload, AlertSeverity, RpcResponsePayload
from shmbus.v1.ipc_pb2 import AdvancedCapabilities
from shmbus.v1.rpc_pb2 import RPC_STATUS_SUCCESS, RpcErrorCode, RpcResponse, RpcStatus
from shmbus.v1.task_pb2 import TaskPlace, TaskRecord

if TYPE_CHECKING:
    from shmbus.bus import Bus
    from shmbus.publisher import Publisher

SLEEP_SECONDS: Final = 0.1  # the bound of every sleep, see bell.c
REFUSALS: Final = frozenset({"UNSUPPORTED_OPERATION", "PLATFORM_NOT_SUPPORTED", "INVALID_STATE"})
"""Of a collector that is there: another one may do it."""
NEVER: Final = 2**63
PREPARE_SECONDS: Final = 30.0
REMEMBERED: Final = 1024  # results that are given again to whoever submits the same key


class Dispatcher:
    """Of one agent. Any thread may submit and cancel."""

    def __init__(self, bus: "Bus", window: int, name: str | None = None) -> None:
        self._bus = bus
        self._schedule = Schedule(window)
        # A collector that dies with many tasks is one death, not many failures of whoever registers after it.
        self._exchange = Exchange(bus, breaker=partial(Breaker, failures_to_open=NEVER))
        self._answers = self._exchange.subscription
        self._inbox: deque[Task] = deque()  # new ones, and cancelled ones
        self._outlet = Outlet(bus, self._published)
        self._tasks: dict[Job, Task] = {}
        self._settled: list[tuple[Task, Pending]] = []  # attempts that have ended
        self._prepared: set[int] = set()  # registrations
        self._alerts: Publisher | None = None
        self._lock = threading.Lock()
        self._known: dict[str, Task] = {}  # unfinished, by their keys
        self._finished: OrderedDict[str, Task] = OrderedDict()  # with a result
        self._ids, self._numbers = os.urandom(6).hex() + "-", itertools.count(1)
        self._closed = False
        with ExitStack() as unless_made:
            unless_made.callback(self._exchange.close)
            self._roster = Roster(bus, self._schedule)
            unless_made.callback(self._roster.close)
            self._journal = None if name is None else Journal(bus, name)
            if self._journal is not None:
                unless_made.callback(self._journal.close)
            self.inherited: Final = [] if self._journal is None else self._inherit(self._journal.read())
            unless_made.pop_all()
        self._thread = threading.Thread(target=self._run, name="shmbus-tasks", daemon=True)
        self._thread.start()

    def submit(self, task: Task, needs: AdvancedCapabilities | None = None) -> Task:
        """Have it done; or the one that was submitted with its key. Raises ClosedError, ValueError."""
        with self._lock:
            if self._closed:
                raise ClosedError("the agent")
            known = self._known.get(task.key) or self._finished.get(task.key)
            if known is not None and not known.future.cancelled():
                return _same(known, task)
            if self._journal is not None:
                self._journal.submitted(record_of(task, needs))
            self._known[task.key] = task
        task.future.add_done_callback(lambda future: self._tell(task) if future.cancelled() else None)
        self._tell(task)
        return task

    def next_id(self) -> str:
        """For a task that has none."""
        return f"{self._ids}{next(self._numbers)}"

    @property
    def late(self) -> int:
        """Answers of attempts that had been given up; nobody else saw them."""
        return self._exchange.late

    def close(self) -> None:
        """What is not done ends with an error."""
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed:
            self._ring()
            self._thread.join()

    def _tell(self, task: Task) -> None:
        self._inbox.append(task)
        self._ring()

    def _ring(self) -> None:
        self._bus._bells.ring(self._bus._session_bell)

    # ---- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        waiter = Waiter()
        try:
            while not self._closed:
                self._take()
                self._roster.refresh()
                self._prepare()
                self._perform()
                self._outlet.flush()
                due = self._schedule.due()
                patience = SLEEP_SECONDS if due is None else min(max(due - time.monotonic(), 0.0), SLEEP_SECONDS)
                waiter.wait([self._answers, self._roster.subscription, *self._outlet.blocked()], patience)
        except ClosedError:
            pass  # the bus has ended
        finally:
            self._end()

    def _take(self) -> None:
        """Whatever has come."""
        for item in iter(self._answers.try_receive, None):
            self._exchange.take(item)
        while self._inbox:
            self._heed(self._inbox.popleft())

    def _heed(self, task: Task) -> None:
        """It is new, or it was cancelled."""
        if not task.future.cancelled():
            self._tasks[task._job] = task
            self._schedule.add(task._job)
            return
        if self._tasks.pop(task._job, None) is not None:  # else it was cancelled before it was heard of
            self._give_up(task)
            self._schedule.cancelled(task._job)
            self._outlet.drop(task)
        if self._journal is not None:
            self._journal.ended(task._call_key, task.error("CLIENT_SHUTDOWN", "it was cancelled", "CANCELLED"))
        self._forget(task)

    def _prepare(self) -> None:
        """Call whoever is new, once: what a first call takes of both sides cannot be had without a coordinator."""
        present = {one.number: one.name for one in self._schedule.candidates}
        for number in present.keys() - self._prepared:
            ask = make_ask(present[number], GET_CAPABILITIES, None, PREPARE_SECONDS, None, False)
            with suppress(ShmbusError):  # then it is tried again with its first task, and told
                self._exchange.begin(ask, wait=False)
        self._prepared = set(present)

    def _perform(self) -> None:
        """Until there is nothing to do: what is sent may fail at once."""
        while True:
            settled, self._settled = self._settled, []
            for task, pending in settled:
                self._attempt_ended(task, pending)
            self._judge()
            actions = self._schedule.pump(time.monotonic())
            for action in actions:
                task = self._tasks[action.job]
                if isinstance(action, Send):
                    self._send(task, action.candidate.name)
                elif isinstance(action, Recall):
                    self._give_up(task)
                elif isinstance(action, Overdue):
                    self._expire(task)
                else:
                    self._tell_impossible(task)
            if not actions and not self._settled:
                return

    def _judge(self) -> None:
        """How collectors say they are, for what is to be given to one: read from their pages, so nobody is asked."""
        if self._schedule.waits:
            self._schedule.judge({one.number: health_of(self._bus, one.session) for one in self._schedule.candidates})

    def _send(self, task: Task, collector: str) -> None:
        job, ask = task._job, self._ask(task, collector)
        try:
            pending = self._exchange.begin(
                ask, wait=False, attempt=len(job.attempts) + 1, chosen=partial(self._note_given, task, collector)
            )
        except RpcError as error:
            self._failed(task, error)
        except ShmbusError as error:
            self._schedule.failed(job, str(error), again=True)
        else:
            self._await(task, pending)

    def _note_given(self, task: Task, collector: str, instance: Instance) -> None:
        """Before it is: what is noted, and was not sent after all, is asked for there again and done then."""
        if self._journal is not None:
            self._journal.given(task._call_key, collector, instance)

    def _await(self, task: Task, pending: Pending) -> None:
        task._pending = pending
        pending.wakes.append(lambda: self._settled.append((task, pending)))
        if pending.settled:
            self._settled.append((task, pending))

    def _inherit(self, found: Iterable[TaskRecord]) -> list[Task]:
        """What whoever had the name before noted: as it ended, or it goes on if its server has it still."""
        self._roster.refresh()
        tasks = []
        for record in found:
            with suppress(ValueError):  # of a type that is not known here
                task = task_of(record)
                self._take_over(task, record)
                tasks.append(task)
        return tasks

    def _take_over(self, task: Task, record: TaskRecord) -> None:
        place = record.place
        if record.HasField("outcome"):
            self._end_as_noted(task, record.outcome)
            return
        left = task._job.deadline - time.monotonic()
        if left <= 0:
            reason = f"its deadline passed {-left:.3g} s before another agent of the name came"
            self._finish(task, task.error("DEADLINE_EXCEEDED", reason, "TIMEOUT"))
        elif not place.collector:
            self._finish(task, task.error("PROCESS_NOT_FOUND", "nobody had it yet, as far as is noted", "UNAVAILABLE"))
        else:
            self._ask_again(task, place)

    def _ask_again(self, task: Task, place: TaskPlace) -> None:
        """Its server answers by its key what it has answered already, or when it is done; it does nothing twice."""
        known = {one.name: one for one in self._schedule.candidates}
        self._schedule.adopt(task._job, known.get(place.collector) or Candidate(0, place.collector, frozenset()))
        try:
            pending = self._exchange.begin(
                self._ask(task, place.collector), wait=False, at=(place.instance, process_of(place))
            )
        except ShmbusError:
            self._schedule.cancelled(task._job)
            reason = f"'{place.collector}' (pid {place.pid}), which had it, serves no more: it may have been done"
            self._finish(task, task.error("PROCESS_NOT_FOUND", reason, "UNAVAILABLE"))
        else:
            self._tasks[task._job] = self._known[task.key] = task
            task.future.add_done_callback(lambda future: self._tell(task) if future.cancelled() else None)
            self._await(task, pending)

    def _end_as_noted(self, task: Task, outcome: RpcResponse) -> None:
        task._job.state = State.FINISHED
        if outcome.HasField("task_result"):
            task.future.set_result(outcome.task_result)
            self._forget(task, remember=True)
        elif outcome.status == RPC_STATUS_SUCCESS:
            topic = task._job.requirement.result_topic
            reason = f"it was done, and its result, which was too large to be kept, was published to '{topic}'"
            task.future.set_exception(task.error("IO_ERROR", reason, "ERROR"))
        else:
            code, status = name_in(RpcErrorCode, outcome.error.code), name_in(RpcStatus, outcome.status)
            task.future.set_exception(task.error(code, outcome.error.message, status))

    def _ask(self, task: Task, collector: str) -> Ask:
        left = task._job.deadline - time.monotonic()
        deadline_ns = time.monotonic_ns() + int(left * 1e9)
        return Ask(collector, EXECUTE_TASK, task.task, task._seconds, deadline_ns, task._call_key, task.correlation,
                   priority=task._job.priority)  # fmt: skip

    def _attempt_ended(self, task: Task, pending: Pending) -> None:
        if task._pending is not pending:
            return  # it was given up
        task._pending = None
        if isinstance(pending.outcome, RpcError):
            self._failed(task, pending.outcome)
        elif pending.outcome is not None:
            answer: RpcResponsePayload = pending.outcome.whole
            hint = answer.routing.load_balance_hint
            self._schedule.done(task._job, int(hint) if hint.isdecimal() else 0)
            self._outlet.put(task, answer)

    def _failed(self, task: Task, error: RpcError) -> None:
        again = error.status == "UNAVAILABLE" or error.code in REFUSALS
        self._schedule.failed(task._job, f"{error.reason} ({error.code})", again=again)
        if not again:
            self._finish(task, task.error(error.code, error.reason, error.status))

    def _give_up(self, task: Task) -> None:
        pending, task._pending = task._pending, None
        if pending is not None and not pending.settled:
            self._exchange.cancel(pending)

    def _expire(self, task: Task) -> None:
        pending, task._pending = task._pending, None
        if pending is not None:
            where = f"'{task.collector}' did not answer"
        else:
            where = "nobody had room for it" if task._job.waited_from is None else "nobody who can registered"
        if pending is not None and not pending.settled:
            self._exchange.expire(pending)
        reason = f"{where} within {task._seconds:g} s"
        self._finish(task, task.error("DEADLINE_EXCEEDED", reason, "TIMEOUT"))

    def _tell_impossible(self, task: Task) -> None:
        known = ", ".join(map(str, self._schedule.candidates)) or "none"
        waited = f" within {task._job.patience:g} s" if task._job.patience else ""
        left = "nobody else who" if task._job.attempts else "nobody who"
        reason = (
            f"{task._job.requirement}, and {left} can is registered{waited}; registered are: {known}{self._ill(task)}"
        )
        error = task.error("REGISTRATION_NOT_FOUND", reason, "UNAVAILABLE")
        self._alert(error)
        self._finish(task, error)

    def _ill(self, task: Task) -> str:
        """Who could have done it, were they well."""
        names = ", ".join(sorted(one.name for one in self._schedule.unresponsive(task._job.requirement)))
        still = [f"unresponsive, so that nothing is given to them: {names}"] if names else []
        return "".join(f"; {one}" for one in (*still, *failed_collectors(self._bus)))

    def _alert(self, error: TaskError) -> None:
        """For operators. Whoever submitted it is told anyway, so what cannot be published now is not."""
        alert = AlertPayload(
            alert_id=self.next_id(), severity=AlertSeverity.MEDIUM, title=f"nobody does task {error.task_id}",
            description=str(error), source=self._bus.client_name, affected_resources=[error.task_id],
        )  # fmt: skip
        with suppress(ShmbusError):
            if self._alerts is None:
                self._alerts = self._bus.publisher(HEALTH_STATUS)
            self._alerts.publish(alert, correlation=False, timeout=0)

    def _published(self, task: Task, answer: RpcResponsePayload, error: ShmbusError | None) -> None:
        if error is None:
            self._finish(task, answer)
        else:
            self._finish(task, task.error("IO_ERROR", f"its result could not be published: {error}", "ERROR"))

    def _finish(self, task: Task, outcome: RpcResponsePayload | TaskError) -> None:
        self._tasks.pop(task._job, None)
        if self._journal is not None:
            self._journal.ended(task._call_key, outcome)
        self._forget(task, remember=not isinstance(outcome, TaskError))
        with suppress(InvalidStateError):  # cancelled meanwhile
            if isinstance(outcome, TaskError):
                task.future.set_exception(outcome)
            else:
                task.future.set_result(outcome.response.task_result)

    def _forget(self, task: Task, *, remember: bool = False) -> None:
        with self._lock:
            if self._known.get(task.key) is task:
                del self._known[task.key]
            if remember:
                self._finished[task.key] = task
                if len(self._finished) > REMEMBERED:
                    self._finished.popitem(last=False)

    def _end(self) -> None:
        with self._lock:
            self._closed = True
            known = list(self._known.values())
        for task in known:
            self._give_up(task)
            self._finish(task, task.error("CLIENT_SHUTDOWN", "the agent was closed, or the bus has ended", "CANCELLED"))
        self._outlet.close()
        self._roster.close()
        if self._alerts is not None:
            self._alerts.close()
        if self._journal is not None:
            self._journal.close()
        self._exchange.close()


def _same(known: Task, asked: Task) -> Task:
    if known.task.SerializeToString(deterministic=True) != asked.task.SerializeToString(deterministic=True):
        raise ValueError(f"another task was submitted with the key {asked.key!r}: a key is for one task")
    return known
