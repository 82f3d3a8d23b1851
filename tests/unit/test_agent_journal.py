"""What an agent notes about its tasks, and what that comes to."""

import pytest

from shmbus.agent.capability import Requirement
from shmbus.agent.journal import merged, process_of
from shmbus.agent.record import record_of, task_of
from shmbus.agent.schedule import Job
from shmbus.agent.task import Task
from shmbus.correlation import new
from shmbus.errors import TaskError
from shmbus.process import Identity
from shmbus.rpc.failure import name_in, number_of
from shmbus.v1.common_pb2 import TaskType
from shmbus.v1.ipc_pb2 import AdvancedCapabilities, DetectionTask
from shmbus.v1.rpc_pb2 import RpcErrorCode, RpcResponse, RpcStatus
from shmbus.v1.task_pb2 import TaskPlace, TaskRecord


def submitted(key, **more):
    return TaskRecord(call_key=key, task=DetectionTask(task_id=key), **more)


def place(collector):
    return TaskPlace(collector=collector, instance="7-1", pid=4, start_time=5, pid_namespace=6)


def test_what_is_noted_later_is_added_and_whoever_has_it_last_has_it():
    ended = RpcResponse(status="RPC_STATUS_SUCCESS")
    noted = [
        submitted("a"), submitted("b"), TaskRecord(call_key="a", place=TaskPlace(collector="x", instance="1-1", pid=9)),
        TaskRecord(call_key="a", place=place("y")), TaskRecord(call_key="b", outcome=ended),
    ]  # fmt: skip
    assert list(merged(noted)) == [submitted("a", place=place("y")), submitted("b", outcome=ended)]
    assert process_of(place("y")) == Identity(4, 5, 6)


def test_what_was_submitted_is_overwritten_is_not_known_and_what_is_submitted_again_begins_anew():
    noted = [TaskRecord(call_key="gone", place=place("x"))]
    assert list(merged(noted)) == []
    noted = [submitted("a"), TaskRecord(call_key="a", outcome=RpcResponse(status="RPC_STATUS_ERROR")), submitted("b")]
    assert list(merged([*noted, submitted("a", priority=3)])) == [submitted("b"), submitted("a", priority=3)]


def test_a_task_is_noted_as_it_was_submitted():
    needs = AdvancedCapabilities(realtime=True)
    asked = DetectionTask(task_id="7", task_type=TaskType.CHECK_PROCESS_HASH, metadata="m")
    job = Job(Requirement.of(asked.task_type, needs), 9, 123.5)
    found = task_of(record_of(Task(asked, job, "key", "call", 30.0, new(tags={"a": "b"})), needs))
    assert (found.task, found.key, found._call_key, found._seconds) == (asked, "key", "call", 30.0)
    assert (found._job.requirement, found._job.priority, found._job.deadline) == (job.requirement, 9, 123.5)
    assert dict(found.correlation.correlation_tags) == {"a": "b"}
    with pytest.raises(ValueError, match="there are no tasks of type 99"):
        task_of(TaskRecord(task=DetectionTask(task_type=99)))


def test_codes_that_are_not_known_here_are_kept_as_numbers():
    for kind, name in ((RpcErrorCode, "IO_ERROR"), (RpcStatus, "UNAVAILABLE")):
        assert name_in(kind, number_of(kind, name)) == name
        assert number_of(kind, name_in(kind, 4711)) == 4711


def test_a_task_says_how_it_is():
    def made():
        return Task(DetectionTask(task_id="7"), Job(Requirement(0)), "k", "c", 1.0, new())

    one = made()
    assert one.state == "waiting"
    one._pending = object()
    assert one.state == "running"
    one.future.set_result(None)
    assert one.state == "done"
    for code, state in (("PROCESS_NOT_FOUND", "lost"), ("CLIENT_SHUTDOWN", "cancelled"), ("IO_ERROR", "failed")):
        one = made()
        one.future.set_exception(TaskError("7", "x", code, "reason", status="ERROR", attempts=[]))
        assert one.state == state
    one = made()
    one.cancel()
    assert one.state == "cancelled"
