"""A bus in memory: the face of `shmbus.Bus`, for tests."""

from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Final, Self, cast
from weakref import WeakSet, ref

from google.protobuf.message import Message as ProtobufMessage

from shmbus.aio import AsyncBus
from shmbus.bus import Bus
from shmbus.coordinator.configured import as_settings
from shmbus.coordinator.requests import MAX_PATTERNS
from shmbus.durable import Durable
from shmbus.errors import ClosedError, DurableError, LimitError
from shmbus.filter import Filter, sieve_of
from shmbus.limits import limits_of
from shmbus.order import DEFAULT_WAIT_SECONDS, Order
from shmbus.order import resolve as resolve_order
from shmbus.publisher import Backpressure, check_backpressure
from shmbus.start import Start
from shmbus.testing.client import Client
from shmbus.testing.clock import Clock
from shmbus.testing.hub import Hub, Topic
from shmbus.testing.lane import Lane, Numbers
from shmbus.testing.publisher import Asked, MemoryPublisher
from shmbus.testing.start import resolve
from shmbus.testing.subscription import MemorySubscription
from shmbus.topic import check_pattern
from shmbus.v1.eventbus_pb2 import EventBusMessage
from shmbus.v1.rpc_pb2 import DEGRADED, HEALTHY, UNHEALTHY, UNKNOWN
from shmbus.version import OURS

if TYPE_CHECKING:
    from shmbus.config import Config
    from shmbus.coordinator.settings import Settings


class MemoryClient:
    """A client of a bus in memory, with the face of `shmbus.Bus`. Made by `MemoryBus.connect`."""

    def __init__(self, hub: Hub, bus: str, name: str) -> None:
        self.hub: Final = hub
        self.name: Final = bus
        self.client_name: Final = name
        self.client: Final = Client(name)
        self._publishers: WeakSet[MemoryPublisher] = WeakSet()
        self._closed = False

    # ---- publishing --------------------------------------------------------------------------------------------------

    def publisher(
        self,
        topic: str,
        *,
        type: type[ProtobufMessage] | None = None,
        name: str | None = None,
        on_full: str | None = None,
        timeout: float | None | EllipsisType = ...,
        durable: bool = False,
    ) -> MemoryPublisher:
        """As `Bus.publisher`. Raises DurableError, TopicNameError, TypeMismatch, LimitError."""
        check_backpressure(on_full, timeout)
        self._check_usable()
        asked = Asked(type, name or self.client_name, on_full, timeout, durable)
        with self.hub.changed:
            made = self.hub.open(topic, (type or EventBusMessage).DESCRIPTOR.full_name)
            return self._publish_to(made.lanes[0], made, asked)

    def urgent_publisher(self, topic: str, asked: Asked) -> MemoryPublisher:
        """The one that a publisher puts into the urgent lane what is urgent by."""
        lane = self.hub.urgent(topic)
        return self._publish_to(lane, self.hub.topic(topic), asked)

    def _publish_to(self, lane: Lane, topic: Topic, asked: Asked) -> MemoryPublisher:
        numbers = self._durable_numbers(lane, asked.name) if asked.durable else Numbers()
        configured = Backpressure(topic.plan.on_full, topic.plan.block_timeout_ns / 1e9)
        publisher = MemoryPublisher(self, lane, asked, configured, numbers)
        numbers.owner = ref(publisher)
        self._publishers.add(publisher)
        return publisher

    def _durable_numbers(self, lane: Lane, name: str) -> Numbers:
        numbers = lane.durables.setdefault(name, Numbers())
        owner = numbers.owner()
        if owner is not None and not owner.closed:
            raise DurableError(
                name, f"{owner.client.who} publishes to '{lane.topic}' under this name",
                "Close that one, or use another name.", "publisher",
            )  # fmt: skip
        return numbers

    # ---- subscribing -------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        *patterns: str,
        lossless: bool = False,
        durable: str | Durable | None = None,
        start: Start = "latest",
        filter: Filter | None = None,
        order: Order | None = None,
        order_wait: float = DEFAULT_WAIT_SECONDS,
    ) -> MemorySubscription:
        """As `Bus.subscribe`. Raises PatternError, LimitError, FilterError, DurableError; ValueError for a start or an
        order."""
        if not patterns:
            raise TypeError("subscribe() takes at least one pattern; '#' matches every topic")
        self._check_usable()
        begin = resolve(start, self.hub.clock)
        sieve = sieve_of(filter, lambda: self.hub.expected(patterns))
        named = Durable(durable) if isinstance(durable, str) else durable
        ordering = resolve_order(order, order_wait, named.ack_deadline if named is not None else None)
        _check_patterns(patterns)
        with self.hub.changed:
            subscription = MemorySubscription(self, patterns, lossless and named is None, sieve, named, ordering)
            subscription.begin(begin)
        return subscription

    # ---- administration ----------------------------------------------------------------------------------------------

    def forget(self, durable: str) -> None:
        """End a durable subscription that nobody reads at present. Raises DurableError, ShmbusError."""
        self._check_usable()
        with self.hub.changed:
            self.hub.forget(durable)

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
        """As `Bus.set_limits`. Raises ValueError, LimitError; ShmbusError when there is no such topic."""
        self._check_usable()
        limits = limits_of(max_messages, max_bytes, max_message_bytes, retention, claim_timeout)
        with self.hub.changed:
            self.hub.set_limits(topic, limits)

    # ---- life --------------------------------------------------------------------------------------------------------

    @property
    def protocol_version(self) -> str:
        """As `Bus.protocol_version` under a coordinator of this version."""
        return str(OURS.version)

    @property
    def capabilities(self) -> frozenset[str]:
        """As `Bus.capabilities` under a coordinator of this version."""
        return frozenset(OURS.able(OURS.version))

    @property
    def compatibility_warnings(self) -> tuple[str, ...]:
        """None."""
        return ()

    def ready(self) -> None:
        """As `Bus.ready` of a process that no coordinator started: nobody looks."""

    def beat(self, health: int = HEALTHY, reason: str = "") -> None:
        """As `Bus.beat`."""
        if not UNKNOWN <= health <= UNHEALTHY:
            raise ValueError(
                f"{health} is nothing that a collector says of its own health: say UNKNOWN (0), HEALTHY (1), "
                "DEGRADED (2) or UNHEALTHY (3). That one is UNRESPONSIVE is seen by others."
            )
        if reason and health < DEGRADED:
            name = "HEALTHY" if health == HEALTHY else "UNKNOWN"
            raise ValueError(f"a reason is given for DEGRADED or UNHEALTHY, and this is {name}: leave out {reason!r}")

    def close(self) -> None:
        """Close everything that was opened here."""
        with self.hub.changed:
            self._closed = True
            for subscription in list(self.hub.subscriptions):
                if subscription.client is self.client:
                    subscription.close()
            for publisher in list(self._publishers):
                publisher.close()

    @property
    def closed(self) -> bool:
        """Closed by whoever had it."""
        return self._closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> AsyncBus:
        return AsyncBus(cast(Bus, self))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}{', closed' if self._closed else ''}>"

    def _check_usable(self) -> None:
        if self._closed or self.hub.end_reason is not None:
            raise ClosedError(repr(self))


class MemoryBus(MemoryClient):
    """A bus that lives in this process's memory until it is closed.

    `config` gives topics their limits and what they do when full, as for `shmbus.embedded`. `name` is what others see
    this client as. `connect` makes further clients.
    """

    def __init__(
        self, config: "Config | Settings | None" = None, *, clock: Clock | None = None, name: str = "python"
    ) -> None:
        settings = as_settings(config)
        super().__init__(Hub(settings, clock or Clock()), settings.bus, name)

    def connect(self, *, name: str = "python") -> MemoryClient:
        """Another client of this bus, for what calls `shmbus.connect`; closing it leaves the bus as it is."""
        self._check_usable()
        return MemoryClient(self.hub, self.name, name)

    def close(self) -> None:
        """Close everything that was opened here, and end what other clients have opened."""
        super().close()
        self.hub.end("the bus was closed")


def _check_patterns(patterns: tuple[str, ...]) -> None:
    if len(patterns) > MAX_PATTERNS:
        raise LimitError("patterns of a subscription", MAX_PATTERNS, len(patterns), "Name 1 to 64 of them.")
    for pattern in patterns:
        check_pattern(pattern)
