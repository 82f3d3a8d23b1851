"""The same for asyncio. Cancelling whoever awaits a task cancels the task, and its collector is told."""

import asyncio
from types import TracebackType
from typing import Any, Self

from shmbus.agent.agent import Agent
from shmbus.agent.schedule import WINDOW
from shmbus.agent.task import Task
from shmbus.aio import AsyncBus
from shmbus.v1.ipc_pb2 import DetectionResult, DetectionTask
from shmbus.v1.rpc_pb2 import RegistrationEvent


class AsyncAgent:
    """As Agent; `async with AsyncAgent(bus) as agent`, `await agent.run_task(...)`."""

    def __init__(self, bus: AsyncBus, *, window: int = WINDOW, name: str | None = None) -> None:
        self._agent = Agent(bus._bus, window=window, name=name)

    def submit_task(self, task: DetectionTask, **options: Any) -> Task:
        """As Agent.submit_task. `await result(task)` waits for it without blocking the loop."""
        return self._agent.submit_task(task, **options)

    async def result(self, task: Task) -> DetectionResult:
        """As Task.result; a cancellation cancels the task. Raises TaskError."""
        return await asyncio.wrap_future(task.future)

    async def run_task(self, task: DetectionTask, **options: Any) -> DetectionResult:
        """As Agent.run_task."""
        return await self.result(self.submit_task(task, **options))

    @property
    def inherited(self) -> list[Task]:
        """As Agent.inherited."""
        return self._agent.inherited

    async def begin_monitoring(self) -> int:
        """As Agent.begin_monitoring."""
        return await asyncio.to_thread(self._agent.begin_monitoring)

    async def collectors(self) -> list[RegistrationEvent]:
        """As Agent.collectors."""
        return await asyncio.to_thread(self._agent.collectors)

    @property
    def late(self) -> int:
        """As Agent.late."""
        return self._agent.late

    async def close(self) -> None:
        """As Agent.close."""
        await asyncio.to_thread(self._agent.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
