"""What steers collectors: gives them detection tasks by what they can do, and has them begin."""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from shmbus import correlation as correlations
from shmbus.agent.capability import Requirement
from shmbus.agent.dispatcher import Dispatcher
from shmbus.agent.roster import registered
from shmbus.agent.schedule import WINDOW, Job
from shmbus.agent.task import Task
from shmbus.rpc.beginning import begin
from shmbus.v1.eventbus_pb2 import CorrelationMetadata
from shmbus.v1.ipc_pb2 import AdvancedCapabilities, DetectionResult, DetectionTask
from shmbus.v1.rpc_pb2 import RegistrationEvent

if TYPE_CHECKING:
    from shmbus.bus import Bus

DEFAULT_TIMEOUT_SECONDS: Final = 30.0


class Agent:
    """Any number of threads may use it; closed by leaving its `with` block."""

    def __init__(self, bus: "Bus", *, window: int = WINDOW, name: str | None = None) -> None:
        """No collector gets more than `window` of its tasks at a time; the others wait here, the most urgent first.

        With a `name`, one segment of a topic, it knows what became of the tasks of the agent that had that name before,
        also if that was killed (`inherited`), and the next one will know of its own. One process has a name at a time.
        Raises DurableError for a name that is taken, TopicNameError, AccessDenied.
        """
        if window < 1:
            raise ValueError(f"window is a number of tasks from 1 up, not {window!r}")
        self._bus = bus
        self._dispatcher = Dispatcher(bus, window, name)

    def submit_task(
        self,
        task: DetectionTask,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        priority: int = 0,
        needs: AdvancedCapabilities | None = None,
        patience: float = 0.0,
        key: str | None = None,
        correlation: Any = None,
    ) -> Task:
        """Have a collector do it that can: one of the task's domain that has what it `needs`.

        Of several the healthiest gets it, by what they say of themselves and by their leases, then the most preferred
        (attribute "priority" of its registration), then the least loaded. When that dies or hangs in the middle of it,
        or refuses, another one does. The result comes once, to `Task.result`, and as a child of the task
        (`Task.correlation`, with the tag task_id) on the topic of its kind, such as events.process.batch. `timeout` in
        seconds, over all attempts and the publishing. `priority` 0 to 255: of what waits, here and at a collector, the
        highest comes first. `patience` is how many seconds may pass while nobody who can is registered.

        A task without an id gets one: its `key`, if it has one. What was submitted with the same `key` (default: the
        id), and is not done or has a result that is remembered (1,024 of them), is not done again: the same Task comes
        back. With a key of its own a collector does it once, whichever agent asks, and refuses another task with that
        key, of another id, say. `correlation` as of `Publisher.publish`.

        Raises ValueError for what makes no sense, ClosedError, CorrelationError; of an agent with a name also what
        `Publisher.publish` does, when the task cannot be noted. What else goes wrong is a TaskError of `Task.result`;
        that nobody can do it is also told by an alert on control.health.status.
        """
        if not 0 < timeout < 2**32:
            raise ValueError(f"timeout is a number of seconds above 0, not {timeout!r}")
        if not 0 <= priority <= 255:
            raise ValueError(f"priority is 0 to 255, not {priority!r}")
        if not patience >= 0:
            raise ValueError(f"patience is a number of seconds from 0 up, not {patience!r}")
        asked, call_key = DetectionTask(), self._dispatcher.next_id()
        asked.CopyFrom(task)
        asked.task_id = asked.task_id or key or call_key
        job = Job(Requirement.of(asked.task_type, needs), priority, time.monotonic() + timeout, patience)
        context = _context(correlation, asked.task_id)
        made = Task(asked, job, key or asked.task_id, key or call_key, timeout, context)
        return self._dispatcher.submit(made, needs)

    def run_task(self, task: DetectionTask, **options: Any) -> DetectionResult:
        """The same, and wait for the result; an interruption cancels it. Raises TaskError."""
        submitted = self.submit_task(task, **options)
        try:
            return submitted.result()
        finally:
            submitted.cancel()  # does nothing to one that is done

    @property
    def inherited(self) -> list[Task]:
        """The tasks of the agents that had this one's name before, as far as they are noted; see `Task.state`.

        One that is still in a collector's hands goes on as one of ours: its result comes here, and is published. What
        has ended has its result or its TaskError: of code PROCESS_NOT_FOUND where it is lost, for whoever had it is
        gone, or nobody had it yet; it may have been done. What is submitted again by the id or `key` of one that has a
        result, or goes on, is that one.
        """
        return list(self._dispatcher.inherited)

    def begin_monitoring(self) -> int:
        """Tell all collectors to begin, once: those that come later or start again are told as well.

        Answers the epoch, which rises with every call: each collector process heeds each epoch once. Raises
        BackpressureError, AccessDenied, ConnectionLost.
        """
        return begin(self._bus)

    def collectors(self) -> list[RegistrationEvent]:
        """Who is registered, with what: the last event of each."""
        return registered(self._bus)

    @property
    def late(self) -> int:
        """Answers of collectors that had been given up; they were dropped."""
        return self._dispatcher.late

    def close(self) -> None:
        """What is not done ends with a TaskError."""
        self._dispatcher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _context(given: Any, task_id: str) -> CorrelationMetadata:
    """The task's own: every attempt is the same child."""
    found = correlations.resolve(given)
    context = CorrelationMetadata()
    context.CopyFrom(correlations.new() if found is None else found)
    context.correlation_tags["task_id"] = task_id
    return correlations.check(context)
