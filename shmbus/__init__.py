"""shmbus: an event bus for one host, over POSIX shared memory.

    import shmbus

    with shmbus.connect() as bus:
        with bus.publisher("events.process.start") as publisher:
            publisher.publish(event)

    with shmbus.connect() as bus:
        for message in bus.subscribe("events.process.+", "events.network.#"):
            print(message.topic, message.sequence, message.event)

`async with` and `async for` do the same for asyncio. `shmbus.embedded()` in place of `connect()` is a private bus that
lives and dies with the caller.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

if find_spec("shmbus._core") is None:
    raise ImportError(
        f"{os.path.dirname(__file__)} is the source tree of shmbus, without its compiled core, and stands before the "
        "installed one: run Python from another directory or as `python -P`, or install with `pip install -e .`"
    )

from shmbus import correlation, errors
from shmbus._core import Borrowed
from shmbus.bus import Bus
from shmbus.control import own_bearer as _own_bearer
from shmbus.durable import Durable
from shmbus.errors import (
    AccessDenied,
    BackpressureError,
    BorrowError,
    BudgetExceeded,
    BusExists,
    BusyError,
    CapabilityError,
    ClosedError,
    CompatibilityWarning,
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    CorrelationError,
    DurableError,
    FilterError,
    ForkedError,
    LayoutError,
    LimitError,
    MessageTooLarge,
    PatternError,
    ProtocolError,
    PublishRevoked,
    ReceiveTimeout,
    RpcError,
    SegmentError,
    ShmbusError,
    StorageFull,
    TaskError,
    TopicNameError,
    TypeMismatch,
    VersionError,
)
from shmbus.filter import Filter
from shmbus.message import Gap, Message, Producer
from shmbus.publisher import URGENT, Publisher
from shmbus.start import Last, LastPerKey
from shmbus.subscription import Subscription
from shmbus.tracker import CorrelationTracker

if TYPE_CHECKING:
    from shmbus import agent, rpc
    from shmbus.aio import AsyncBus, AsyncPublisher, AsyncSubscription
    from shmbus.private import embedded

__version__: Final = "0.1.0"

__all__ = [
    "URGENT",
    "AccessDenied",
    "AsyncBus",
    "AsyncPublisher",
    "AsyncSubscription",
    "BackpressureError",
    "BorrowError",
    "Borrowed",
    "BudgetExceeded",
    "Bus",
    "BusExists",
    "BusyError",
    "CapabilityError",
    "ClosedError",
    "CompatibilityWarning",
    "ConfigurationError",
    "ConnectError",
    "ConnectionLost",
    "CorrelationError",
    "CorrelationTracker",
    "Durable",
    "DurableError",
    "Filter",
    "FilterError",
    "ForkedError",
    "Gap",
    "Last",
    "LastPerKey",
    "LayoutError",
    "LimitError",
    "Message",
    "MessageTooLarge",
    "PatternError",
    "Producer",
    "ProtocolError",
    "PublishRevoked",
    "Publisher",
    "ReceiveTimeout",
    "RpcError",
    "SegmentError",
    "ShmbusError",
    "StorageFull",
    "Subscription",
    "TaskError",
    "TopicNameError",
    "TypeMismatch",
    "VersionError",
    "agent",
    "connect",
    "correlation",
    "embedded",
    "errors",
    "rpc",
]


def connect(bus: str | None = None, *, name: str | None = None, timeout: float = 5.0, token: str | None = None) -> Bus:
    """Connect to a running bus: by its name (default: $SHMBUS_BUS, else "default"), or an embedded one's address.

    `name` is what others see this process as (default: the program's name). `timeout` in seconds. `token` is a bearer
    token, for what rules allow its holders (default: $SHMBUS_TOKEN, if it is set). Raises ConnectError (with how to
    start the bus), AccessDenied, VersionError.
    """
    program = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] not in ("", "-c", "-m") else "python"
    target = bus or os.environ.get("SHMBUS_BUS") or "default"
    return Bus(target, name=name or program, timeout=timeout, bearer=token or _own_bearer())


def __getattr__(name: str) -> Any:
    """What not every program needs is imported on first use: asyncio and the coordinator are most of the start-up."""
    if name in ("AsyncBus", "AsyncPublisher", "AsyncSubscription"):
        from shmbus import aio

        return getattr(aio, name)
    if name == "embedded":
        from shmbus.private import embedded

        return embedded
    if name in ("agent", "rpc"):
        return import_module(f"shmbus.{name}")
    raise AttributeError(f"module 'shmbus' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
