"""A bus in memory, for tests of programs that use shmbus: no shared memory, no coordinator, a clock that a test moves.

    from shmbus.testing import ManualClock, MemoryBus

    clock = ManualClock()
    with MemoryBus(clock=clock) as bus, bus.subscribe("lab.#", durable="agent") as subscription:
        with bus.publisher("lab.x") as publisher:
            publisher.publish(b"x")
        subscription.receive()
        clock.advance(30)
        assert subscription.receive().deliveries == 2  # nobody acknowledged it in time

It keeps the promises of `shmbus.Bus` and raises its errors; the conformance suite runs against both. What waits, waits
in real time, whatever the clock says. It lives in one process, so nobody dies, is stopped or runs short of memory, and
access rules are not looked at. `resize`, `status`, `topics`, `ledger`, `stop`, `borrow` and addresses are the real
bus's alone.
"""

from shmbus.testing.bus import MemoryBus, MemoryClient
from shmbus.testing.clock import Clock, ManualClock
from shmbus.testing.message import MemoryMessage
from shmbus.testing.publisher import MemoryPublisher
from shmbus.testing.subscription import MemorySubscription

__all__ = [
    "Clock",
    "ManualClock",
    "MemoryBus",
    "MemoryClient",
    "MemoryMessage",
    "MemoryPublisher",
    "MemorySubscription",
]
