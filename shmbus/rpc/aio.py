"""Calls and serving for asyncio. Nothing here blocks the loop; cancelling a task cancels its call, and its handler."""

import asyncio
import inspect
import random
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from google.protobuf.message import Message as ProtobufMessage

from shmbus.aio import AsyncBus, AsyncSubscription
from shmbus.correlation import HANDLING
from shmbus.errors import ClosedError, RpcError
from shmbus.message import Message
from shmbus.rpc import operations as op
from shmbus.rpc.answer import Answer
from shmbus.rpc.asking import DEFAULT_TIMEOUT_SECONDS, is_coordinators, make_ask
from shmbus.rpc.balance import Policy
from shmbus.rpc.beginning import Begin
from shmbus.rpc.exchange import Exchange
from shmbus.rpc.failure import as_failure, failure
from shmbus.rpc.lives import ask_coordinator
from shmbus.rpc.pending import Pending
from shmbus.rpc.request import Request
from shmbus.rpc.retry import Retry
from shmbus.rpc.server import Server
from shmbus.v1.ipc_pb2 import DetectionResult, DetectionTask
from shmbus.v1.rpc_pb2 import CapabilitiesData, ConfigUpdateRequest, HealthData, ShutdownRequest

if TYPE_CHECKING:
    from shmbus.rpc.collector import Collector
    from shmbus.rpc.desk import Outcome


class AsyncClient:
    """As Client; `async with AsyncClient(bus) as client`, `await client.call(...)`."""

    def __init__(
        self,
        bus: AsyncBus,
        *,
        concurrency: int = 64,
        retry: Retry | None = None,
        balance: Policy = "least-loaded",
    ) -> None:
        self._bus: Final = bus._bus
        self._exchange = Exchange(self._bus, balance=balance)
        self._retry: Final = retry or Retry()
        self._room = asyncio.Semaphore(concurrency)
        self._reader: asyncio.Task[None] | None = None

    async def call(
        self,
        service: str,
        operation: int,
        payload: ProtobufMessage | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        key: str | None = None,
        correlation: Any = None,
        token: str | None = None,
        priority: int = 0,
    ) -> Answer:
        """As Client.call."""
        ask = make_ask(service, operation, payload, timeout, key, correlation, token, priority)
        if is_coordinators(ask):
            return await asyncio.to_thread(ask_coordinator, self._bus, ask)
        for attempt in count(1):
            try:
                async with self._room:
                    return await self._result(self._exchange.begin(ask, wait=False, attempt=attempt))
            except RpcError as error:
                delay = self._retry.delay(error, operation, bool(key), attempt, random.random())
                if delay is None or delay >= ask.left():
                    raise
                await asyncio.sleep(delay)
        raise AssertionError("unreachable")

    async def health(self, service: str, **options: Any) -> HealthData:
        """HEALTH_CHECK."""
        found: HealthData = (await self.call(service, op.HEALTH_CHECK, **options)).payload
        return found

    async def capabilities(self, service: str, **options: Any) -> CapabilitiesData:
        """GET_CAPABILITIES."""
        found: CapabilitiesData = (await self.call(service, op.GET_CAPABILITIES, **options)).payload
        return found

    async def pause(self, service: str, **options: Any) -> None:
        """PAUSE."""
        await self.call(service, op.PAUSE, **options)

    async def resume(self, service: str, **options: Any) -> None:
        """RESUME."""
        await self.call(service, op.RESUME, **options)

    async def update_config(self, service: str, changes: ConfigUpdateRequest, **options: Any) -> None:
        """UPDATE_CONFIG."""
        await self.call(service, op.UPDATE_CONFIG, changes, **options)

    async def execute(self, service: str, task: DetectionTask, **options: Any) -> DetectionResult:
        """EXECUTE_TASK."""
        found: DetectionResult = (await self.call(service, op.EXECUTE_TASK, task, **options)).payload
        return found

    async def shut_down(self, service: str, reason: str = "", **options: Any) -> None:
        """GRACEFUL_SHUTDOWN."""
        request = ShutdownRequest(collector_id=service, reason=reason)
        await self.call(service, op.GRACEFUL_SHUTDOWN, request, **options)

    @property
    def late(self) -> int:
        """As Client.late."""
        return self._exchange.late

    @property
    def forged(self) -> int:
        """As Client.forged."""
        return self._exchange.forged

    async def close(self) -> None:
        """As Client.close."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait((self._reader,))
        self._exchange.close()

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _result(self, pending: Pending) -> Answer:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        pending.wakes.append(lambda: None if future.done() else future.set_result(None))
        try:
            if not pending.settled:
                await asyncio.wait((future,), timeout=max(pending.ask.left(), 0))
        except asyncio.CancelledError:
            self._exchange.cancel(pending)
            raise
        if not pending.settled:
            self._exchange.expire(pending)
        return pending.result()

    async def _read(self) -> None:
        subscription = AsyncSubscription(self._exchange.subscription)
        try:
            while True:
                # Answers first: those that the news overtook are in the same batch.
                for item in sorted(await subscription.receive_many(), key=_is_news):
                    self._exchange.take(item)
        except ClosedError:
            self._exchange.abandon()


def _is_news(item: object) -> bool:
    return not isinstance(item, Message)


class AsyncServer(Server):
    """A server on the running event loop: up to `concurrency` methods at a time, as tasks. Plain methods block it."""

    def __init__(self, bus: AsyncBus, collector: "Collector", *, concurrency: int = 1) -> None:
        super().__init__(bus._bus, collector, concurrency=concurrency)
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Until `stop`, and what came until then is answered; or until the bus ends."""
        beating = asyncio.create_task(self._keep_beating())
        try:
            while not self._stopping:
                for item in await AsyncSubscription(self._subscription).receive_many():
                    self._take(item)
                self._start()
            while self._tasks:
                await asyncio.wait(self._tasks)
        except ClosedError:
            pass
        finally:
            for task in (beating, *self._tasks):
                task.cancel()

    def _begin(self, word: Begin) -> None:
        begun = self._collector.begin_monitoring(word)
        if inspect.isawaitable(begun):
            task = asyncio.ensure_future(begun)
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _keep_beating(self) -> None:
        """On the loop, so that a loop that stands still is found."""
        while (patience := self.beat.patience) is not None:
            await asyncio.sleep(patience)
            self.beat.tick()

    def _start(self) -> None:
        while len(self._tasks) < self._concurrency and (request := self._desk.next()) is not None:
            task = asyncio.create_task(self._execute(request))
            request.on_cancel = task.cancel
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._subscription.closed:
            self._start()

    async def _execute(self, request: Request) -> None:
        HANDLING.set(request.message)  # of this task alone
        self._desk.done(request, await self._result(request))

    async def _result(self, request: Request) -> "Outcome":
        service, number = self._collector.collector_id, request.number
        try:
            result = self._collector.handler(request)(request)
            outcome: Outcome = await result if inspect.isawaitable(result) else result
            return outcome
        except asyncio.CancelledError:
            return failure(service, number, "CLIENT_SHUTDOWN", "it was cancelled", status="CANCELLED")
        except Exception as error:
            return as_failure(service, number, error)
