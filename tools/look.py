"""A look at a bus: into its memory, or at another user's bus, by asking its coordinator for what one may read."""

import sys
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import shmbus
from shmbus.errors import AccessDenied

from .snapshot import Probe, Reading

Found = TypeVar("Found")


class Look(NamedTuple, Generic[Found]):
    """What was found, and whether that is all there is: others may see a part of it."""

    found: Found
    whole: bool


def look(
    bus: str, read: Callable[[Probe, Reading], Found], ask: Callable[[shmbus.Bus], Found], name: str
) -> Look[Found]:
    """Ask, as `name`, only where the memory may not be read. Raises ConnectError, SegmentError, AccessDenied."""
    try:
        with Probe(bus) as probe:
            reading = probe.read()
            found = read(probe, reading)
    except AccessDenied:
        with shmbus.connect(bus, name=name) as connected:
            return Look(ask(connected), whole=False)
    if not reading.alive:
        print(f"shmbus: the coordinator (pid {reading.coordinator.pid}) is dead; this is what it left", file=sys.stderr)
    return Look(found, whole=True)
