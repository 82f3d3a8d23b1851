"""Order across topics, for subscriptions that ask for it. Within a topic and lane the ring has it already.

By producer. What one producer (one connection to the bus, one thread of it) publishes is handed out in the order in
which it was published, whatever topics it went to. A message carries the time at which its publish began, so the times
of one producer grow. When a message is seen, everything that its producer had published before is committed, but maybe
not read yet: it may stand in another ring, behind others' messages. So what has been read is held until every ring has
been read up to the tail that it had when that was seen (`_Mark`), and then merged: a message goes when it is the oldest
of its ring and none of its producer's in another ring is older. There is always one: the order in which the messages
were claimed respects both, so the two cannot contradict each other.

By correlation group. Messages of one root_correlation_id are handed out by their sequence_number. One that is too early
waits for those before it, but not longer than `wait` seconds; then the gap is told, and the group goes on. What comes
after its gap was told, or with a number that was there already, is handed out as it comes: late, and not lost.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from itertools import count
from types import TracebackType
from typing import Any, Final, NamedTuple, Protocol, Self

from shmbus import correlation
from shmbus._core import KIND_EVENT, Message, Reader, Ring
from shmbus.errors import ClosedError, ReceiveTimeout
from shmbus.message import Gap
from shmbus.subscription import Subscription
from shmbus.v1.control_pb2 import EnvelopeHead

ORDERS: Final = ("producer", "correlation")
BATCH: Final = 512  # messages read between two looks at all tails
MOST_HELD: Final = 200_000  # messages; then the oldest go as they are
MOST_GROUPS: Final = 65_536  # correlation groups that are remembered
LOOK_SECONDS: Final = 0.1  # a claim that is given up wakes nobody: the bound of every sleep, see bell.c

Found = Any  # a Message or a Gap
Lane = tuple[str, int]  # a topic, a lane


class Sorter(Protocol):
    """Takes what was read, gives what may go. No I/O; the clock is handed in."""

    def put(self, found: Found, now: float) -> None: ...
    def read_to(self, rings: Iterable[tuple[Ring, int]], now: float) -> None:
        """All rings have been read to there."""

    def get(self, now: float) -> Found | None: ...
    def due(self) -> float | None:
        """When something goes though nothing comes (CLOCK_MONOTONIC seconds)."""

    def end(self) -> None:
        """Nothing comes any more: all that is held may go."""


# ---- by producer -----------------------------------------------------------------------------------------------------


class _Mark(NamedTuple):
    """What was read until then may go when every ring has been read to the tail that it had then."""

    tails: dict[Ring, int]
    held: int  # how many were held in all, before and until then


class ProducerSorter:
    """Merges rings by the times of their producers."""

    def __init__(self, most: int = MOST_HELD) -> None:
        self._lanes: dict[Lane, deque[tuple[int, Found]]] = {}  # with the number of its arrival
        self._times: dict[int, dict[Lane, deque[int]]] = {}  # of each producer's messages, by lane
        self._marks: deque[_Mark] = deque()
        self._arrived = self._free = self._gone = 0  # how many came, may go, went
        self._most = most
        self.forced = 0  # went before it was known that nothing older comes

    def put(self, found: Found, now: float) -> None:
        lane = (found.topic, found.lane if isinstance(found, Message) else 0)
        self._lanes.setdefault(lane, deque()).append((self._arrived, found))
        if (producer := _producer(found)) is not None:
            self._times.setdefault(producer, {}).setdefault(lane, deque()).append(found.time_ns)
        self._arrived += 1

    def read_to(self, rings: Iterable[tuple[Ring, int]], now: float) -> None:
        positions = dict(rings)
        last = self._marks[-1].held if self._marks else self._free
        if self._arrived > last:
            self._marks.append(_Mark({ring: ring.tail for ring in positions}, self._arrived))
        while self._marks and _passed(self._marks[0], positions):
            self._free = self._marks.popleft().held
        if self._arrived - self._gone > self._most:
            self.forced += self._arrived - self._free
            self._free = self._arrived
            self._marks.clear()

    def get(self, now: float) -> Found | None:
        if self._gone == self._free:
            return None
        lane = self._next()
        if lane is None:
            return None
        _, found = self._lanes[lane].popleft()
        if not self._lanes[lane]:
            del self._lanes[lane]
        self._forget(found, lane)
        self._gone += 1
        return found

    def due(self) -> float | None:
        return None if self._arrived == self._gone else time.monotonic() + LOOK_SECONDS

    def end(self) -> None:
        self._free = self._arrived

    def _next(self) -> Lane | None:
        """The lane whose oldest message goes: urgent ones first, then the oldest."""
        best: tuple[int, int, Lane] | None = None
        for lane, held in self._lanes.items():
            number, found = held[0]
            rank = (-lane[1], number, lane)
            if number < self._free and (best is None or rank < best) and self._is_oldest(found, lane):
                best = rank
        if best is not None:
            return best[2]
        if any(held[0][0] >= self._free for held in self._lanes.values()):
            return None  # something older was read later: it may go soon, and then this
        # Threads of one producer that publish at the same time can contradict each other: what came first, then.
        return min((held[0][0], lane) for lane, held in self._lanes.items())[1]

    def _is_oldest(self, found: Found, lane: Lane) -> bool:
        producer = _producer(found)
        if producer is None:
            return True
        return all(times[0] >= found.time_ns for other, times in self._times[producer].items() if other != lane)

    def _forget(self, found: Found, lane: Lane) -> None:
        producer = _producer(found)
        if producer is None:
            return
        lanes = self._times[producer]
        lanes[lane].popleft()
        if not lanes[lane]:
            del lanes[lane]
        if not lanes:
            del self._times[producer]


def _producer(found: Found) -> int | None:
    """The connection that published it; None: a gap, or a message whose publisher's entry is gone."""
    producer = found.producer if isinstance(found, Message) else None
    return None if producer is None else int(producer.session)


def _passed(mark: _Mark, positions: dict[Ring, int]) -> bool:
    """A ring that is not read any more has been read to its seal."""
    return all(positions.get(ring, tail) >= tail for ring, tail in mark.tails.items())


# ---- by correlation group --------------------------------------------------------------------------------------------


class _Group:
    __slots__ = ("expected", "held", "since")

    def __init__(self) -> None:
        self.expected: int | None = None  # None: it is not known yet where it begins
        self.held: list[tuple[int, int, Message]] = []  # (sequence number, arrival, message), a heap
        self.since = 0.0  # when the oldest wait began


class CorrelationSorter:
    """Hands out each group by its numbers."""

    def __init__(self, wait: float, most: int = MOST_HELD, groups: int = MOST_GROUPS) -> None:
        self._wait, self._most, self._most_groups = wait, most, groups
        self._groups: OrderedDict[str, _Group] = OrderedDict()
        self._ready: deque[Found] = deque()
        self._waits: list[tuple[float, str]] = []  # when each group's wait is over, a heap; some are old
        self._arrivals = count()
        self._held = 0
        self.forced = 0  # went before their time, because too many were held

    def put(self, found: Found, now: float) -> None:
        place = _place(found) if isinstance(found, Message) else None
        if place is None:
            self._ready.append(found)
            return
        root, number = place
        group = self._groups.get(root)
        if group is None:
            group = self._groups[root] = _Group()
            self._drop_groups()
        self._groups.move_to_end(root)
        if group.expected is None and number == 0:
            group.expected = 0
        if group.expected is not None and number <= group.expected:
            self._ready.append(found)  # the next one; or a late one, or a number that was there already
            if number == group.expected:
                group.expected += 1
                self._release(group, now)
            return
        if not group.held:
            group.since = now
            heappush(self._waits, (now + self._wait, root))
        heappush(group.held, (number, next(self._arrivals), found))
        self._held += 1
        if self._held > self._most:
            self._give_up(next(group for group in self._groups.values() if group.held))

    def read_to(self, rings: Iterable[tuple[Ring, int]], now: float) -> None:
        """Nothing is known from that: what a group lacks may be published later."""

    def get(self, now: float) -> Found | None:
        while not self._ready and self._waits and self._waits[0][0] <= now:
            _, root = heappop(self._waits)
            group = self._groups.get(root)
            if group is not None and group.held:
                self._end_wait(root, group, now)
        return self._ready.popleft() if self._ready else None

    def due(self) -> float | None:
        return self._waits[0][0] if self._waits else None

    def end(self) -> None:
        for group in self._groups.values():
            self._give_up(group)

    def _end_wait(self, root: str, group: _Group, now: float) -> None:
        until = group.since + self._wait
        if until > now:
            heappush(self._waits, (until, root))  # it went on meanwhile, and waits for something else now
            return
        self._tell_gap(group)
        self._release(group, now)
        if group.held:
            group.since = now
            heappush(self._waits, (now + self._wait, root))

    def _tell_gap(self, group: _Group) -> None:
        number, _, message = group.held[0]
        if group.expected is not None:
            self._ready.append(Gap(message.topic, message.pattern, group.expected, number - group.expected, "order"))
        group.expected = number

    def _release(self, group: _Group, now: float) -> None:
        """What is next goes, and so does whatever that leads to. Of equal numbers all."""
        moved = False
        while group.held and group.expected is not None and group.held[0][0] <= group.expected:
            number, _, message = heappop(group.held)
            self._ready.append(message)
            self._held -= 1
            group.expected = max(group.expected, number + 1)
            moved = True
        if moved:
            group.since = now

    def _give_up(self, group: _Group) -> None:
        """Too many are held: this group does not wait any longer."""
        while group.held:
            self.forced += 1
            self._tell_gap(group)
            self._release(group, group.since)

    def _drop_groups(self) -> None:
        if len(self._groups) > self._most_groups:
            _, group = self._groups.popitem(last=False)
            self._give_up(group)


def _place(message: Message) -> tuple[str, int] | None:
    """Root and number; None: it belongs to no group."""
    if message.kind != KIND_EVENT:
        return None
    its = EnvelopeHead.FromString(message.payload).correlation
    root = its.root_correlation_id or its.correlation_id
    return (root, its.sequence_number) if root else None


# ---- the subscription ------------------------------------------------------------------------------------------------


def sorter_for(order: str, wait: float) -> Sorter:
    """Raises ValueError for what is no order, or no time to wait."""
    if order not in ORDERS:
        raise ValueError(f"order is 'producer' or 'correlation', not {order!r}")
    if not 0 <= wait < 2**31:
        raise ValueError(f"order_wait is a number of seconds from 0 up, not {wait!r}")
    return ProducerSorter() if order == "producer" else CorrelationSorter(wait)


class OrderedSubscription:
    """A subscription whose messages come in an order across topics. Made by `Bus.subscribe(..., order=...)`.

    What a `Subscription` offers, this does too, but for `borrow`: what is held back is no longer in the ring.
    """

    def __init__(self, subscription: Subscription, sorter: Sorter) -> None:
        self._subscription, self._sorter = subscription, sorter

    def __getattr__(self, name: str) -> Any:
        if name == "borrow":
            raise AttributeError("an ordered subscription lends nothing: what it holds back has left the ring")
        return getattr(self._subscription, name)

    def receive(self, timeout: float | None = None) -> Found:
        """As `Subscription.receive`; wakes also when something has waited long enough."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (found := self.try_receive()) is None:
            try:
                self._sorter.put(self._subscription.receive(timeout=self._patience(deadline)), time.monotonic())
            except ReceiveTimeout:
                if deadline is not None and time.monotonic() >= deadline and (found := self.try_receive()) is None:
                    raise ReceiveTimeout(timeout or 0.0, self._subscription.patterns) from None
            except ClosedError:
                if (found := self._last()) is None:
                    raise
            if found is not None:
                break
        return found

    def try_receive(self) -> Found | None:
        """As `Subscription.try_receive`: None also when everything that is here has to wait."""
        found = self._sorter.get(time.monotonic())
        if found is None:
            self._fill()
            found = self._sorter.get(time.monotonic())
        return found

    def receive_many(self, limit: int = 1024, timeout: float | None = None) -> list[Found]:
        """As `Subscription.receive_many`."""
        if limit < 1:
            raise ValueError(f"receive_many() takes a limit of at least 1, not {limit}")
        found = [self.receive(timeout)]
        while len(found) < limit and (more := self.try_receive()) is not None:
            found.append(more)
        return found

    def close(self) -> None:
        """As `Subscription.close`. What is held back is not handed out; a durable one's comes again."""
        self._subscription.close()

    def __iter__(self) -> Iterator[Found]:
        while True:
            try:
                found = self.receive()
            except ClosedError:
                if self._subscription.closed:
                    return
                raise
            if isinstance(found, Message):
                with correlation.handling(found):
                    yield found
            else:
                yield found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{repr(self._subscription)[:-1]}, ordered>"

    def _last(self) -> Found | None:
        """The bus has ended: what is held comes still."""
        if self._subscription.closed:
            return None
        self._sorter.end()
        return self._sorter.get(time.monotonic())

    @property
    def reader(self) -> Reader:
        """As `Subscription.reader`."""
        return self._subscription

    def _due(self) -> float | None:
        return self._sorter.due()

    def _patience(self, deadline: float | None) -> float | None:
        """How long to wait for the next message, seconds; None: for ever."""
        ends = [end for end in (deadline, self._sorter.due()) if end is not None]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _fill(self) -> None:
        """Read what is there, and look how far that goes."""
        receive: Callable[[], Found | None] = self._subscription.try_receive
        now = time.monotonic()
        for _ in range(BATCH):
            if (found := receive()) is None:
                break
            self._sorter.put(found, now)
        self._subscription._look_at_pushes()  # a topic that is new since then has to be read, too
        self._sorter.read_to(self._subscription._positions(), now)
