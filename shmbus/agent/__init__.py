"""Steering collectors: detection tasks for those that can do them, and the word to begin.

    with shmbus.connect() as bus, shmbus.agent.Agent(bus) as agent:
        agent.begin_monitoring()
        result = agent.run_task(DetectionTask(task_type=TaskType.ENUMERATE_PROCESSES))

What goes wrong with a task is a `shmbus.TaskError`.
"""

from typing import TYPE_CHECKING, Any

from shmbus.agent.agent import Agent
from shmbus.agent.task import Task

if TYPE_CHECKING:
    from shmbus.agent.aio import AsyncAgent

__all__ = ["Agent", "AsyncAgent", "Task"]


def __getattr__(name: str) -> Any:
    """asyncio is most of a program's start-up, and not every program needs it."""
    if name == "AsyncAgent":
        from shmbus.agent.aio import AsyncAgent

        return AsyncAgent
    raise AttributeError(f"module 'shmbus.agent' has no attribute {name!r}")
