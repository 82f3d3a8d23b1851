"""A task that was submitted, as whoever submitted it sees it."""

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, Final

from shmbus.agent.schedule import Job
from shmbus.errors import TaskError
from shmbus.rpc.pending import Pending
from shmbus.v1.common_pb2 import TaskType
from shmbus.v1.eventbus_pb2 import CorrelationMetadata
from shmbus.v1.ipc_pb2 import DetectionResult, DetectionTask

_ENDS: Final = {"PROCESS_NOT_FOUND": "lost", "CLIENT_SHUTDOWN": "cancelled"}


class Task:
    """`result` waits for it, `cancel` gives it up. Made by `Agent.submit_task`."""

    def __init__(
        self, task: DetectionTask, job: Job, key: str, call_key: str, seconds: float, correlation: CorrelationMetadata
    ) -> None:
        self.task: Final = task
        self.key: Final = key
        self.correlation: Final = correlation
        """Of the task; its result is a child of that."""
        self.future: Final[Future[DetectionResult]] = Future()
        self._job, self._seconds = job, seconds
        self._pending: Pending | None = None  # the present attempt
        self._call_key = call_key

    @property
    def task_id(self) -> str:
        """By which its result is known."""
        return self.task.task_id

    @property
    def done(self) -> bool:
        """It has ended, one way or another."""
        return self.future.done()

    @property
    def collector(self) -> str | None:
        """Who has it, or had it last."""
        return None if self._job.at is None else self._job.at.name

    @property
    def attempts(self) -> tuple[str, ...]:
        """What came of it with each collector that did not do it."""
        return tuple(self._job.attempts)

    @property
    def state(self) -> str:
        """One of "waiting", "running", "done", "cancelled", "lost" (whoever had it is gone) and "failed"."""
        if not self.done:
            return "waiting" if self._pending is None else "running"
        if self.future.cancelled():
            return "cancelled"
        error = self.future.exception()
        if error is None:
            return "done"
        return _ENDS.get(error.code, "failed") if isinstance(error, TaskError) else "failed"

    def result(self, timeout: float | None = None) -> DetectionResult:
        """Wait for it, at most so many seconds (then TimeoutError, and it goes on). Raises TaskError."""
        try:
            return self.future.result(timeout)
        except CancelledError:
            raise self.error("CLIENT_SHUTDOWN", "it was cancelled", "CANCELLED") from None

    def cancel(self) -> bool:
        """Give it up: its collector is told. False: it has ended already."""
        return not self.done and self.future.cancel()

    def add_done_callback(self, call: Callable[["Task"], Any]) -> None:
        """Called when it ends, in the agent's thread, which it must not hold up."""
        self.future.add_done_callback(lambda _: call(self))

    def error(self, code: str, reason: str, status: str) -> TaskError:
        """What `result` raises."""
        name = TaskType.Name(self.task.task_type)
        return TaskError(self.task_id, name, code, reason, status=status, attempts=self._job.attempts)

    def __repr__(self) -> str:
        state = "done" if self.done else f"at {self.collector}" if self._pending is not None else "waiting"
        return f"<Task {self.task_id}, {state}>"
