"""The same for asyncio: `async with connect() as bus`, `await publisher.publish(...)`, `async for message in ...`.

Reading and publishing are the core's, and never block the loop: a coroutine tries, and where there is nothing (or no
room) it waits for a wake. One thread per event loop sleeps on the bells of all subscriptions that somebody awaits,
whatever their number; it runs nothing but the wait.
"""

import asyncio
import threading
from collections.abc import Iterable
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, overload
from weakref import WeakKeyDictionary

from google.protobuf.message import Message as ProtobufMessage

from shmbus._core import Message, Reader, Waiter, Writer
from shmbus.correlation import HANDLING, CorrelationContext
from shmbus.durable import Durable
from shmbus.errors import BackpressureError, BudgetExceeded, BusyError, ClosedError, ReceiveTimeout
from shmbus.filter import Filter
from shmbus.ledger import LedgerEntry
from shmbus.order import DEFAULT_WAIT_SECONDS, Order
from shmbus.overview import Account, TopicStatus
from shmbus.publisher import Publisher, check_backpressure
from shmbus.start import Start
from shmbus.subscription import Subscription
from shmbus.v1.control_pb2 import StatusReply
from shmbus.v1.eventbus_pb2 import EventBusMessage
from shmbus.v1.rpc_pb2 import HEALTHY
from shmbus.where import FilterFault

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
        durable: bool = False,
    ) -> "AsyncPublisher":
        """As `Bus.publisher`; waiting for room does not block the loop."""
        check_backpressure(on_full, timeout)
        publisher = self._bus.publisher(topic, type=type, name=name, on_full="raise", durable=durable)
        configured = publisher._configured
        return AsyncPublisher(publisher, configured.waits(on_full), configured.limit(timeout))

    def subscribe(
        self,
        *patterns: str,
        lossless: bool = False,
        durable: str | Durable | None = None,
        start: Start = "latest",
        filter: Filter | None = None,
        order: Order | None = None,
        order_wait: float = DEFAULT_WAIT_SECONDS,
    ) -> "AsyncSubscription":
        """As `Bus.subscribe`."""
        subscription = self._bus.subscribe(
            *patterns,
            lossless=lossless,
            durable=durable,
            start=start,
            filter=filter,
            order=order,
            order_wait=order_wait,
        )
        return AsyncSubscription(subscription)

    def forget(self, durable: str) -> None:
        """As `Bus.forget`."""
        self._bus.forget(durable)

    @overload
    def last(self, topic: str, key: None = None) -> list[Message]: ...
    @overload
    def last(self, topic: str, key: str) -> Message | None: ...
    def last(self, topic: str, key: str | None = None) -> list[Message] | Message | None:
        """As `Bus.last`."""
        return self._bus.last(topic) if key is None else self._bus.last(topic, key)

    @property
    def protocol_version(self) -> str:
        """As `Bus.protocol_version`."""
        return self._bus.protocol_version

    @property
    def capabilities(self) -> frozenset[str]:
        """As `Bus.capabilities`."""
        return self._bus.capabilities

    @property
    def compatibility_warnings(self) -> tuple[str, ...]:
        """As `Bus.compatibility_warnings`."""
        return self._bus.compatibility_warnings

    @property
    def closed(self) -> bool:
        """As `Bus.closed`."""
        return self._bus.closed

    def resize(self, topic: str, *, slots: int = 0, arena_bytes: int = 0) -> None:
        """As `Bus.resize`."""
        self._bus.resize(topic, slots=slots, arena_bytes=arena_bytes)

    def set_limits(
        self,
        topic: str,
        *,
        max_messages: int | None = None,
        max_bytes: int | None = None,
        max_message_bytes: int | None = None,
        retention: float | None = None,
        claim_timeout: float | None = None,
    ) -> None:
        """As `Bus.set_limits`."""
        self._bus.set_limits(
            topic,
            max_messages=max_messages,
            max_bytes=max_bytes,
            max_message_bytes=max_message_bytes,
            retention=retention,
            claim_timeout=claim_timeout,
        )

    def status(self) -> StatusReply:
        """As `Bus.status`."""
        return self._bus.status()

    def topics(self) -> list[TopicStatus]:
        """As `Bus.topics`."""
        return self._bus.topics()

    def ledger(self) -> list[Account]:
        """As `Bus.ledger`."""
        return self._bus.ledger()

    def reload_config(self, *, validate_only: bool = False) -> list[str]:
        """As `Bus.reload_config`."""
        return self._bus.reload_config(validate_only=validate_only)

    def stop(self) -> None:
        """As `Bus.stop`."""
        self._bus.stop()

    def ready(self) -> float | None:
        """As `Bus.ready`."""
        return self._bus.ready()

    def beat(self, health: int = HEALTHY, reason: str = "") -> None:
        """As `Bus.beat`: from a task on the loop, so that a loop that stands still is found."""
        self._bus.beat(health, reason)

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
        except (BackpressureError, BudgetExceeded) as error:
            if not self._waits:
                raise
            return await self._publish_later(event, timeout, options, error)

    async def publish_many(self, events: list[Any], *, timeout: float | None = None, **options: Any) -> int:
        """As `Publisher.publish_many`; cancelled, what went out is out."""
        done, first = 0, options.pop("number", None)
        while done < len(events):
            if first is not None:
                options["number"] = first + done
            try:
                done += self._publisher.publish_many(events[done:], **options)
            except (BackpressureError, BudgetExceeded) as error:
                done += getattr(error, "published", 0)
                if not self._waits:
                    error.published = done  # type: ignore[union-attr]
                    raise
                if first is not None:
                    options["number"] = first + done
                await self._publish_later(events[done], timeout, options, error)
                done += 1
        return done

    async def _publish_later(
        self, event: Any, timeout: float | None, options: dict[str, Any], error: BackpressureError | BudgetExceeded
    ) -> int:
        loop = asyncio.get_running_loop()
        limit = self._timeout if timeout is None else timeout
        deadline = None if limit is None else loop.time() + limit
        options = _as_tried(options, error)
        while True:
            left = None if deadline is None else deadline - loop.time()
            if not isinstance(error, BudgetExceeded):
                await _ready(self._publisher, left)
            elif left is None or error.retry_seconds <= left:
                await asyncio.sleep(error.retry_seconds)
            else:
                raise error
            try:
                return self._publisher.publish(event, **options)
            except (BackpressureError, BudgetExceeded) as again:
                if deadline is not None and loop.time() >= deadline:
                    raise
                error = again

    def try_publish(self, event: Any, **options: Any) -> int | None:
        """As `Publisher.try_publish`."""
        return self._publisher.try_publish(event, **options)

    async def forget_key(self, key: str, **options: Any) -> int:
        """As `Publisher.forget_key`."""
        return await self.publish(EventBusMessage(), key=key, **options)

    def close(self) -> None:
        """As `Publisher.close`."""
        self._publisher.close()

    @property
    def closed(self) -> bool:
        """As `Publisher.closed`."""
        return self._publisher.closed

    @property
    def published(self) -> int:
        """As `Publisher.published`."""
        return self._publisher.published

    @property
    def last_number(self) -> int:
        """As `Publisher.last_number`."""
        return self._publisher.last_number

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


def _as_tried(options: dict[str, Any], error: BackpressureError | BudgetExceeded) -> dict[str, Any]:
    """A child keeps its id and its number however often it is tried: a number left out would count as a loss."""
    tried: bytes | None = getattr(error, "_correlation", None)
    return options if tried is None else {**options, "correlation": EventBusMessage.FromString(tried).correlation}


class AsyncSubscription:
    """An asynchronous iterator of messages and gaps. Cancelling a receive loses nothing.

    What settles messages never waits, so `ack`, `ack_many`, `nack` and `extend` are plain methods.
    """

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

    def ack(self, message: Message) -> bool:
        """As `Subscription.ack`."""
        return self._subscription.ack(message)

    def ack_many(self, messages: Iterable[Any]) -> int:
        """As `Subscription.ack_many`."""
        return self._subscription.ack_many(messages)

    def nack(self, message: Message) -> bool:
        """As `Subscription.nack`."""
        return self._subscription.nack(message)

    def extend(self, message: Message) -> bool:
        """As `Subscription.extend`."""
        return self._subscription.extend(message)

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
                await _ready(self._subscription, remaining)
                if (found := self._subscription.try_receive()) is not None:
                    return found
        except ReceiveTimeout:
            raise ReceiveTimeout(timeout or 0.0, self._subscription.patterns) from None
        finally:
            self._receiving = False

    async def borrow(self, timeout: float | None = None, *, unprotected: bool = False) -> Any:
        """As `Subscription.borrow`."""
        if self._receiving:
            raise BusyError(repr(self._subscription), "another task is receiving from it")
        self._receiving = True
        try:
            loop = asyncio.get_running_loop()
            deadline = None if timeout is None else loop.time() + timeout
            while True:  # what woke us may be for another subscription, or nothing that the filter wants
                try:
                    return self._subscription.borrow(0, unprotected=unprotected)
                except ReceiveTimeout:
                    remaining = None if deadline is None else deadline - loop.time()
                    if remaining is not None and remaining <= 0:
                        raise ReceiveTimeout(timeout or 0.0, self._subscription.patterns) from None
                await _ready(self._subscription, remaining)
        finally:
            self._receiving = False

    def close(self) -> None:
        """As `Subscription.close`."""
        self._subscription.close()

    @property
    def closed(self) -> bool:
        """As `Subscription.closed`."""
        return self._subscription.closed

    @property
    def ended(self) -> bool:
        """As `Subscription.ended`."""
        return self._subscription.ended

    @property
    def topics(self) -> list[str]:
        """As `Subscription.topics`."""
        return self._subscription.topics

    @property
    def delivered(self) -> int:
        """As `Subscription.delivered`."""
        return self._subscription.delivered

    @property
    def filtered(self) -> int:
        """As `Subscription.filtered`."""
        return self._subscription.filtered

    def ledger(self) -> list[LedgerEntry]:
        """As `Subscription.ledger`."""
        return self._subscription.ledger()

    @property
    def filter_faults(self) -> tuple[FilterFault, ...]:
        """As `Subscription.filter_faults`."""
        return self._subscription.filter_faults

    @property
    def patterns(self) -> tuple[str, ...]:
        """What it was subscribed with."""
        return self._subscription.patterns

    @property
    def lost(self) -> int:
        """Messages that were overrun, expired or corrupt so far."""
        return self._subscription.lost

    @property
    def held_back(self) -> int:
        """As `Subscription.held_back`."""
        return self._subscription.held_back

    @property
    def released_early(self) -> int:
        """As `Subscription.released_early`."""
        return self._subscription.released_early

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


class Waiting(Protocol):
    """What waits in a way of its own, not for bells in shared memory."""

    async def ready(self, timeout: float | None) -> None:
        """Return when there may be something, or `timeout` seconds have passed."""


async def _ready(what: Reader | Writer | Waiting, timeout: float | None) -> None:
    if isinstance(what, Reader | Writer):
        await _Waits.of(asyncio.get_running_loop()).ready(what, timeout)
    else:
        await what.ready(timeout)


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
