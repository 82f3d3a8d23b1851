"""Where a subscription begins in what a topic retains."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from shmbus._core import Ring
from shmbus.v1.control_pb2 import StartPosition


@dataclass(frozen=True, slots=True)
class Last:
    """The last `count` messages of each topic and lane, fewer if fewer are retained; what has expired is left out."""

    count: int

    def __post_init__(self) -> None:
        if not _is_count(self.count):
            raise ValueError(f"Last takes a number of messages from 1 up, not {self.count!r}")


@dataclass(frozen=True, slots=True)
class LastPerKey:
    """The last message of each key of each topic that keeps them, then everything that was published since."""


class Since(NamedTuple):
    """The first message of that time or later, CLOCK_MONOTONIC."""

    time_ns: int


Start = str | int | datetime | timedelta | Last | LastPerKey
Resolved = str | int | Since | Last | LastPerKey

_CHOICES: Final = (
    "start is 'latest', 'earliest', a sequence from 1 up, a datetime with a time zone, a timedelta (that long ago), "
    "shmbus.Last(count) or shmbus.LastPerKey()"
)


def resolve(start: Start) -> Resolved:
    """Check it, and turn a time into one of the clock that messages carry. Raises ValueError."""
    if isinstance(start, Last | LastPerKey) or start in ("latest", "earliest"):
        return start  # type: ignore[return-value]
    if isinstance(start, int) and _is_count(start):
        return start
    if isinstance(start, timedelta):
        return _ago(start, start)
    if isinstance(start, datetime):
        if start.tzinfo is None:
            raise ValueError(f"{start!r} has no time zone; make one that has with start.astimezone()")
        return _ago(datetime.now(start.tzinfo) - start, start)
    raise ValueError(f"{_CHOICES}; not {start!r}")


def _is_count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 1 <= number < 2**63


def _ago(distance: timedelta, given: object) -> Since:
    if distance < timedelta(0):
        raise ValueError(f"{given!r} lies in the future; 'latest' begins with what comes from now on")
    return Since(max(0, time.monotonic_ns() - distance // timedelta(microseconds=1) * 1000))


def position(start: Resolved) -> StartPosition:
    """For the coordinator."""
    if isinstance(start, Since):
        return StartPosition(time_ns=start.time_ns)
    if isinstance(start, Last):
        return StartPosition(last=start.count)
    if isinstance(start, LastPerKey):
        return StartPosition(last_per_key=True)
    if isinstance(start, int):
        return StartPosition(sequence=start)
    return StartPosition(latest=True) if start == "latest" else StartPosition(earliest=True)


def resolved(start: StartPosition) -> Resolved:
    """The other way."""
    which = start.WhichOneof("start") or "latest"
    value = getattr(start, which)
    if which == "time_ns":
        return Since(value)
    if which == "last":
        return Last(value)
    if which == "last_per_key":
        return LastPerKey()
    return int(value) if which == "sequence" else which


def after_kept(folded: int | None) -> Resolved:
    """Where a lane goes on whose messages are kept as far as that; None: it keeps none; 0: none so far."""
    if folded is None:
        return "latest"
    return folded or "earliest"


def places(start: Resolved, rings: Sequence[Ring]) -> list[int]:
    """The sequence to begin at in each generation of a topic, oldest first.

    A lossless subscription's gate is in force already, and its cursor not yet placed: tail and head are read after
    that, so no publisher's older look at the gates reaches past them.
    """
    if isinstance(start, Since):
        return [ring.find_time(start.time_ns) for ring in rings]
    if isinstance(start, Last):
        found, left = [], start.count
        for ring in reversed(rings):
            sequence, left = ring.find_last(left)
            found.append(sequence)
        return found[::-1]
    if isinstance(start, int):
        return [max(ring.first_sequence, min(start, ring.tail)) for ring in rings]
    return [ring.tail if start == "latest" else ring.head for ring in rings]
