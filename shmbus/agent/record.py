"""A task as it is noted, and the other way round."""

from shmbus.agent.capability import Requirement
from shmbus.agent.schedule import Job
from shmbus.agent.task import Task
from shmbus.v1.ipc_pb2 import AdvancedCapabilities
from shmbus.v1.task_pb2 import TaskRecord


def record_of(task: Task, needs: AdvancedCapabilities | None) -> TaskRecord:
    """What it takes. The deadline is one of CLOCK_MONOTONIC, so it means the same in every process."""
    return TaskRecord(
        call_key=task._call_key,
        key=task.key,
        task=task.task,
        correlation=task.correlation,
        needs=needs,
        priority=task._job.priority,
        deadline=int(task._job.deadline * 1e9),
        timeout_seconds=task._seconds,
    )


def task_of(record: TaskRecord) -> Task:
    """As it was submitted; how long it was to wait for somebody who can does not count any more."""
    needs = record.needs if record.HasField("needs") else None
    job = Job(Requirement.of(record.task.task_type, needs), record.priority, record.deadline / 1e9)
    return Task(record.task, job, record.key, record.call_key, record.timeout_seconds, record.correlation)
