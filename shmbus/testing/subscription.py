"""Reading what matches some patterns from a bus in memory."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from shmbus.correlation import LOOPS
from shmbus.durable import Durable, dead_letter
from shmbus.errors import BusyError, ClosedError, ReceiveTimeout, ShmbusError
from shmbus.filter import Sieve
from shmbus.ledger import LedgerEntry
from shmbus.message import Gap
from shmbus.order import Ordering
from shmbus.publisher import URGENT_LANE
from shmbus.start import Resolved, places
from shmbus.testing.client import Client
from shmbus.testing.correlated import Correlated
from shmbus.testing.cursor import Cursor, Found
from shmbus.testing.group import Group, GroupLane, Taken
from shmbus.testing.hub import SLEEP_SECONDS, Hub
from shmbus.testing.lane import Lane
from shmbus.testing.member import Member
from shmbus.testing.merge import Merge
from shmbus.testing.message import MemoryMessage
from shmbus.testing.turns import Turns
from shmbus.topic import most_specific
from shmbus.v1.delivery_pb2 import DeadLetter
from shmbus.where import FilterFault

if TYPE_CHECKING:
    from shmbus.testing.bus import MemoryClient
    from shmbus.testing.publisher import MemoryPublisher


class MemorySubscription:
    """As `shmbus.Subscription`. Made by `MemoryBus.subscribe`."""

    def __init__(
        self,
        bus: "MemoryClient",
        patterns: tuple[str, ...],
        lossless: bool,
        sieve: Sieve | None,
        durable: Durable | None,
        ordering: Ordering | None,
    ) -> None:
        self.patterns: Final = patterns
        self.lossless: Final = lossless
        self.durable: Final = durable
        self.hub: Final[Hub] = bus.hub
        self.client: Final[Client] = bus.client
        self.pending: MemoryMessage | None = None  # to be handed out after what is told of those before it
        self.notices: deque[Gap] = deque()  # to be told in the stream
        self._bus, self._sieve = bus, sieve
        self.filter_words: Final = "" if sieve is None else sieve.words
        self.by_producer: Final = ordering is not None and ordering.order == "producer"
        self._turns = Merge() if self.by_producer else Turns()
        self._correlated = (
            Correlated(ordering.wait_ns, bus.hub.clock)
            if ordering is not None and ordering.order == "correlation"
            else None
        )
        self._group: Group | None = None
        self._number = 0  # as a member
        self._dead_letters: MemoryPublisher | None = None
        self._filtered = 0
        self._closed = False
        self._busy = False
        self._seen = 0

    def begin(self, start: Resolved) -> None:
        """Read what is there from `start` on, and whatever comes. Raises DurableError, LimitError."""
        if self.durable is not None:
            self._group = self.hub.join(self, self.durable, start)
            self._number = self._group.number_of(self)
        for lane in self.hub.matching(self.patterns):
            if self.lossless and start != "latest":
                lane.let_join_from_the_past()
            self.meet(lane, places(start, [lane])[0])  # type: ignore[list-item]
        self.hub.subscriptions.add(self)

    def meet(self, lane: Lane, position: int) -> None:
        """That lane is read from there on, by a durable one from where its group stands."""
        pattern = most_specific(self.patterns, lane.topic)
        if self._group is None:
            cursor = Cursor(self, lane, pattern, position)
        else:
            cursor = Member(self, self._group.lanes[lane], pattern, self._number)
        self._turns.add(cursor, urgent=lane.number == URGENT_LANE)

    # ---- receiving ---------------------------------------------------------------------------------------------------

    def receive(self, timeout: float | None = None) -> Any:
        """The next message or gap; waits for one."""
        deadline = _deadline(timeout)
        with self._receiving():
            found = self._next_until(deadline)
        return self._nothing(timeout) if found is None else found

    def try_receive(self) -> Any:
        """The next message or gap; None when nothing is there."""
        with self._receiving():
            return self._step()

    def receive_many(self, limit: int = 1024, timeout: float | None = None) -> list[Any]:
        """Waits for one, and takes what else is there."""
        deadline = _deadline(timeout)
        if limit < 1:
            raise ValueError(f"receive_many() takes a limit of at least 1, not {limit}")
        with self._receiving():
            first = self._next_until(deadline)
            if first is None:
                return self._nothing(timeout)  # type: ignore[no-any-return]
            found: list[Any] = [first]
            while len(found) < limit and (more := self._step_or_stop()) is not None:
                found.append(more)
            return found

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        LOOPS.end(self)
        if self._closed and not self._busy:
            raise StopIteration
        with self._receiving():
            found = self._next_until(None)
        if found is None:
            raise StopIteration
        if type(found) is MemoryMessage:
            LOOPS.begin(self, found)
        return found

    async def ready(self, timeout: float | None) -> None:
        """Return when there may be something, or `timeout` seconds have passed."""
        await self.hub.told(self._seen, timeout)

    @contextmanager
    def _receiving(self) -> Iterator[None]:
        """One thread at a time."""
        with self.hub.changed:
            if self._busy:
                raise BusyError(repr(self))
            if self._closed:
                raise ClosedError(repr(self))
            self._busy = True
            try:
                yield
            finally:
                self._busy = False

    def _next_until(self, deadline: float | None) -> Found | None:
        while not self._closed:
            if (found := self._step()) is not None:
                return found
            left = SLEEP_SECONDS if deadline is None else min(deadline - time.monotonic(), SLEEP_SECONDS)
            if self.ended or left <= 0:
                return None
            self.hub.changed.wait(left)
        return None

    def _step(self) -> Found | None:
        self._seen = self.hub.version
        if self.notices:
            return self.notices.popleft()
        if self.pending is not None:
            found, self.pending = self.pending, None
            return found
        return self._turns.next(self) if self._correlated is None else self._next_of(self._correlated)

    def _next_of(self, correlated: Correlated) -> Found | None:
        while (found := correlated.ready()) is None:
            found = self._turns.next(self)
            if found is None:
                if not correlated.release_due(at_end=self.ended):
                    return None
            elif type(found) is not MemoryMessage or correlated.take(found):
                return found
        if self.durable is not None and type(found) is MemoryMessage:
            self.extend(found)  # its deadline begins when it is handed out
        return found

    def _step_or_stop(self) -> Found | None:
        """What has been taken is handed out; the next call meets the fault again."""
        try:
            return self._step()
        except Exception:
            return None

    def _nothing(self, timeout: float | None) -> Any:
        if self._closed or self.ended:
            raise ClosedError(repr(self), self.hub.end_reason or "it has been closed")
        raise ReceiveTimeout(timeout or 0.0, self.patterns)

    def wants(self, message: MemoryMessage) -> bool:
        """Is it one that the filter wants? The others are counted."""
        wanted = self._sieve is None or self._sieve.judge(message)  # type: ignore[arg-type]
        self._filtered += not wanted
        if not wanted:
            self._pass_by(message)
        return wanted

    def _pass_by(self, message: MemoryMessage) -> None:
        """It is not handed out, but it is not missing."""
        if self._correlated is not None:
            self._correlated.take(message, wanted=False)

    def bury(self, message: MemoryMessage) -> bool:
        """It has been given out too often. False: it cannot be published now, so it is given out once more."""
        assert self.durable is not None
        try:
            if self._dead_letters is None:
                topic = self.durable.dead_letter_topic
                self._dead_letters = self._bus.publisher(topic, type=DeadLetter, on_full="raise")
            letter = dead_letter(self.durable.name, message)  # type: ignore[arg-type]
            self._dead_letters.publish(letter, correlation=False)
        except ShmbusError:
            return False
        self._pass_by(message)
        return True

    # ---- settling ----------------------------------------------------------------------------------------------------

    def ack(self, message: Any) -> bool:
        """Settle it, so that it never comes again. False: it is not ours any more, and may have gone to another."""
        with self.hub.changed:
            lane, taken = self._taken(message)
            return lane.settle(taken)

    def ack_many(self, messages: Iterable[Any]) -> int:
        """Settle the messages among them (gaps are passed over); how many were ours."""
        return sum(self.ack(message) for message in messages if type(message) is MemoryMessage)

    def nack(self, message: Any) -> bool:
        """Give it back, to be handed out again at once. False: it is not ours any more."""
        with self.hub.changed:
            lane, taken = self._taken(message)
            return lane.give_back(taken)

    def extend(self, message: Any) -> bool:
        """Its deadline begins anew. False: it is not ours any more."""
        with self.hub.changed:
            lane, taken = self._taken(message)
            return lane.extend(taken)

    def _taken(self, message: Any) -> tuple[GroupLane, Taken]:
        """Where and as what it is settled. Raises TypeError, ValueError."""
        if type(message) is not MemoryMessage:
            raise TypeError(f"a Message can be settled, not a {type(message).__name__}")
        owner = message.source.subscription()
        if owner is None or owner.durable is None:
            raise ValueError('nothing is settled here: subscribe with durable="a name" for that')
        if owner is not self or self._group is None:
            raise ValueError("the message was received by another subscription: settle it there")
        taken = Taken(message.sequence, message.deliveries, self._number)
        return self._group.lanes[message.source.lane], taken

    # ---- what is known of it -----------------------------------------------------------------------------------------

    @property
    def lost(self) -> int:
        """Messages that were overrun or expired so far, over all topics that are still open."""
        return sum(cursor.lost for cursor in self._turns)

    @property
    def delivered(self) -> int:
        """Messages handed out so far, over all topics that are still open."""
        return sum(cursor.delivered for cursor in self._turns) - self.held_back

    def ledger(self) -> list[LedgerEntry]:
        """As `Subscription.ledger`. Publishers of one client and name are one producer here."""
        with self.hub.changed:
            return [entry for cursor in self._turns for entry in cursor.account.entries()]

    @property
    def held_back(self) -> int:
        """Messages that wait for their turn, in the order of correlation groups."""
        return 0 if self._correlated is None else self._correlated.held

    @property
    def released_early(self) -> int:
        """How often one of them went before its time, because too much was held back."""
        return 0 if self._correlated is None else self._correlated.early

    @property
    def filtered(self) -> int:
        """Messages that a filter did not want, so far."""
        return self._filtered

    @property
    def filter_faults(self) -> tuple[FilterFault, ...]:
        """As `Subscription.filter_faults`."""
        return () if self._sieve is None else self._sieve.faults

    @property
    def topics(self) -> list[str]:
        """The topics that are read at present."""
        return sorted({cursor.lane.topic for cursor in self._turns})

    @property
    def closed(self) -> bool:
        """Closed, or its bus is."""
        return self._closed

    @property
    def ended(self) -> bool:
        """The bus has been closed by whoever made it."""
        return self.hub.end_reason is not None

    def close(self) -> None:
        """End it: it holds nobody back any more."""
        with self.hub.changed:
            LOOPS.end(self)
            if self._closed:
                return
            self._closed, self.pending = True, None
            self._turns.clear()
            if self._correlated is not None:
                self._correlated.clear()
            self.hub.subscriptions.discard(self)
            if self._group is not None:
                self._group.leave(self._number)
            if self._dead_letters is not None:
                self._dead_letters.close()
            self.hub.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        kind = f"durable '{self.durable.name}'" if self.durable else "lossless" if self.lossless else "lossy"
        return f"<Subscription {', '.join(self.patterns)}, {kind}{', closed' if self._closed else ''}>"


def _deadline(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if not timeout >= 0:
        raise ValueError(f"{timeout!r} is no number of seconds to wait")
    return time.monotonic() + timeout
