"""The same for asyncio: `async with connect() as bus`, `await publisher.publish(...)`, `async for message in ...`.

Reading and publishing are the core's, and never block the loop: a coroutine tries, and where there is nothing (or no
room) it waits for a wake. One thread per event loop sleeps on the bells of all subscriptions that somebody awaits,
whatever their number; it runs nothing but the wait.
"""

import asyncio
import threading
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakKeyDictionary

from google.protobuf.message import Message as ProtobufMessage

from shmbus._core import Message, Reader, Waiter, Writer
from shmbus.correlation import HANDLING, CorrelationContext
from shmbus.errors import BackpressureError, BusyError, ClosedError, ReceiveTimeout
from shmbus.filter import Filter
from shmbus.publisher import Publisher, check_on_full
from shmbus.start import Start
from shmbus.subscription import Subscription

if TYPE_CHECKING:
    from shmbus.bus import Bus

SLEEP_SECONDS: Final = 0.1  # the bound of every sleep, see bell.c


class AsyncBus:
    """What `async with shmbus.connect()` gives."""

    def __init__(self, bus: "Bus") -> None:
        self._bus = bus

    @property
    def name(self) -> str:
        """The bus's name."""
        return self._bus.name

    @property
    def address(self) -> str:
        """What `shmbus.connect` takes to reach this bus from another process."""
        return self._bus.address

    def publisher(
        self,
        topic: str,
        *,
        type: type[ProtobufMessage] | None = None,
        name: str | None = None,
        on_full: str | None = None,
        timeout: float | None | EllipsisType = ...,
    ) -> "AsyncPublisher":
        """As `Bus.publisher`; waiting for room does not block the loop."""
        check_on_full(on_full)
        publisher = self._bus.publisher(topic, type=type, name=name, on_full="raise")
        configured = publisher._configured
        return AsyncPublisher(publisher, configured.waits(on_full), configured.limit(timeout))

    def subscribe(
        self, *patterns: str, lossless: bool = False, start: Start = "latest", filter: Filter | None = None
    ) -> "AsyncSubscription":
        """As `Bus.subscribe`."""
        return AsyncSubscription(self._bus.subscribe(*patterns, lossless=lossless, start=start, filter=filter))

    def ready(self) -> float | None:
        """As `Bus.ready`."""
        return self._bus.ready()

    def beat(self) -> None:
        """As `Bus.beat`: from a task on the loop, so that a loop that stands still is found."""
        self._bus.beat()

    async def close(self) -> None:
        """Close everything that was opened here."""
        self._bus.close()

    def __repr__(self) -> str:
        return f"<Async{repr(self._bus)[1:]}"


class AsyncPublisher:
    """A publisher whose waiting for room leaves the loop running."""

    def __init__(self, publisher: Publisher, waits: bool, timeout: float | None) -> None:
        self._publisher, self._waits, self._timeout = publisher, waits, timeout

    async def publish(self, event: Any, *, timeout: float | None = None, **options: Any) -> int:
        """As `Publisher.publish`."""
        try:
            return self._publisher.publish(event, **options)
        except BackpressureError:
            if not self._waits:
                raise
            return await self._publish_later(event, timeout, options)

    async def publish_many(self, events: list[Any], *, timeout: float | None = None, **options: Any) -> int:
        """As `Publisher.publish_many`; cancelled, what went out is out."""
        done = 0
        while done < len(events):
            try:
                done += self._publisher.publish_many(events[done:], **options)
            except BackpressureError as error:
                done += getattr(error, "published", 0)
                if not self._waits:
                    error.published = done  # type: ignore[attr-defined]
                    raise
                await self._publish_later(events[done], timeout, options)
                done += 1
        return done

    async def _publish_later(self, event: Any, timeout: float | None, options: dict[str, Any]) -> int:
        loop = asyncio.get_running_loop()
        limit = self._timeout if timeout is None else timeout
        deadline = None if limit is None else loop.time() + limit
        while True:
            await _Waits.of(loop).ready(self._publisher, None if deadline is None else deadline - loop.time())
            try:
                return self._publisher.publish(event, **options)
            except BackpressureError:
                if deadline is not None and loop.time() >= deadline:
                    raise

    def close(self) -> None:
        """As `Publisher.close`."""
        self._publisher.close()

    @property
    def topic(self) -> str:
        """What it publishes to."""
        return self._publisher.topic

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncSubscription:
    """An asynchronous iterator of messages and gaps. Cancelling a receive loses nothing."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._receiving = False

    async def receive(self, timeout: float | None = None) -> Any:
        """As `Subscription.receive`."""
        found = self._subscription.try_receive()
        if found is None:
            found = await self._wait(timeout)
        return found

    def try_receive(self) -> Any:
        """As `Subscription.try_receive`."""
        return self._subscription.try_receive()

    async def receive_many(self, limit: int = 1024, timeout: float | None = None) -> list[Any]:
        """As `Subscription.receive_many`."""
        first = await self.receive(timeout)
        found = [first]
        while len(found) < limit and (more := self._subscription.try_receive()) is not None:
            found.append(more)
        return found

    async def _wait(self, timeout: float | None) -> Any:
        if self._receiving:
            raise BusyError(repr(self._subscription), "another task is receiving from it")
        self._receiving = True
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        try:
            while True:
                remaining = None if deadline is None else deadline - loop.time()
                if self._subscription.ended or (remaining is not None and remaining <= 0):
                    return self._subscription.receive(timeout=0)  # the last chance, or the error that says why not
                await _Waits.of(loop).ready(self._subscription, remaining)
                if (found := self._subscription.try_receive()) is not None:
                    return found
        except ReceiveTimeout:
            raise ReceiveTimeout(timeout or 0.0, self._subscription.patterns) from None
        finally:
            self._receiving = False

    def close(self) -> None:
        """As `Subscription.close`."""
        self._subscription.close()

    @property
    def patterns(self) -> tuple[str, ...]:
        """What it was subscribed with."""
        return self._subscription.patterns

    @property
    def lost(self) -> int:
        """Messages that were overrun, expired or corrupt so far."""
        return self._subscription.lost

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        HANDLING.set(None)
        try:
            found = self._subscription.try_receive()
            if found is None:
                found = await self._wait(None)
        except ClosedError:
            raise StopAsyncIteration from None
        if isinstance(found, Message):
            HANDLING.set(CorrelationContext(found))
        return found

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Waits:
    """The waiting thread of one event loop. It lives while somebody awaits something."""

    _all: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, "_Waits"]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiter = Waiter()
        self._futures: dict[Reader | Writer, asyncio.Future[None]] = {}
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "_Waits":
        waits = cls._all.get(loop)
        if waits is None:
            waits = cls._all[loop] = cls()
        return waits

    async def ready(self, what: Reader | Writer, timeout: float | None) -> None:
        """Return when a subscription has something (or a publisher may find room), or `timeout` seconds have passed."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._futures[what] = future
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="shmbus-waiter", daemon=True)
                self._thread.start()
        self._waiter.kick()
        try:
            await asyncio.wait((future,), timeout=timeout)
        finally:
            with self._lock:
                if self._futures.get(what) is future:
                    del self._futures[what]

    def _run(self) -> None:
        while True:
            with self._lock:
                awaited = list(self._futures)
                if not awaited:
                    self._thread = None
                    return
            for what in self._waiter.wait(awaited, SLEEP_SECONDS):
                with self._lock:
                    future = self._futures.pop(what, None)
                if future is not None:
                    _wake(future)
            del awaited


def _wake(future: asyncio.Future[None]) -> None:
    try:
        future.get_loop().call_soon_threadsafe(_settle, future)
    except RuntimeError:
        pass  # the loop was closed under whoever waited


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
