"""Where a subscription begins, by the bus's clock."""

from datetime import datetime, timedelta

from shmbus import start as real
from shmbus.start import LastPerKey, Resolved, Since, Start
from shmbus.testing.clock import Clock


def resolve(start: Start, clock: Clock) -> Resolved:
    """Check it, and turn a time into one of that clock. Raises ValueError."""
    if isinstance(start, LastPerKey):
        raise ValueError("a bus in memory keeps no last messages: test that with shmbus.embedded()")
    if isinstance(start, datetime) and start.tzinfo is not None:
        start = clock.now() - start
    resolved = real.resolve(start)
    if isinstance(start, timedelta):
        return Since(max(0, clock.now_ns() - start // timedelta(microseconds=1) * 1000))
    return resolved
