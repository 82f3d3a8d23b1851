"""Reading what matches some patterns.

The core reads the rings; here is what happens beside that: rings come and go, a claim stays unfinished, nothing comes.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shmbus._core import Borrowed, Group, Reader, Ring, killpoint
from shmbus.blame import is_own
from shmbus.durable import Durable, dead_letter
from shmbus.errors import BorrowError, BusyError, ClosedError, ForkedError, LimitError, ReceiveTimeout, ShmbusError
from shmbus.filter import Sieve
from shmbus.ledger import LedgerEntry, entries
from shmbus.message import Gap, Message
from shmbus.order import Ordering
from shmbus.process import Identity, is_alive
from shmbus.start import LastPerKey, Resolved, after_kept, places, position
from shmbus.state import Snapshot, StateReader
from shmbus.topic import most_specific
from shmbus.v1.control_pb2 import Binding, Demoted, Subscribe
from shmbus.v1.delivery_pb2 import DeadLetter
from shmbus.where import FilterFault

if TYPE_CHECKING:
    from shmbus.bus import Bus
    from shmbus.publisher import Publisher

LANE_SHIFT: Final = 31  # a cursor tells its topic and, in the highest bit, its lane
LOOKS: Final = 20  # at what a topic keeps, for one whose end is still in the ring
STEP_OVER_SECONDS: Final = 0.25  # how long the coordinator is left to repair what a dead publisher left unfinished
_NO_TOPICS: Final[frozenset[int]] = frozenset()


class Arrival(NamedTuple):
    """A ring that this subscription is to read."""

    ring: Ring
    binding: Binding
    continues: bool


class Subscription(Reader):
    """An iterator of messages and gaps. Made by `Bus.subscribe`; closed by leaving its `with` block or the bus's.

    `receive(timeout=None)` waits for one (seconds; raises ReceiveTimeout), `try_receive()` answers None when nothing
    is there, `receive_many(limit=1024, timeout=None)` waits for one and takes what else is there. All raise
    ClosedError once it is closed or the bus has ended, ForkedError in a forked child, BusyError when another thread is
    receiving.

    A durable one settles what it is given: `ack(message)` (it never comes again), `nack(message)` (it comes again at
    once), `extend(message)` (its deadline begins anew) answer whether the message was still this one's, and
    `ack_many(messages)` how many were. `message.deliveries` says how often it has been given out. Any thread may
    settle, also after the subscription was closed (then nothing is its own any more).

    In a `for` loop the message at hand counts as being handled: what the same thread publishes meanwhile is its child.
    One that nobody keeps is closed, so that it holds publishers back no longer.
    """

    _gone = True  # closed, and the coordinator knows

    def __init__(
        self,
        bus: "Bus",
        number: int,
        patterns: tuple[str, ...],
        lossless: bool,
        start: Resolved,
        sieve: Sieve | None,
        durable: Durable | None = None,
        ordering: Ordering | None = None,
    ) -> None:
        super().__init__(bus._bells, bus._session_bell)
        self.durable: Final = durable
        self._ordering: Final = ordering
        if durable is not None:
            self._set_delivery(durable.ack_deadline_ns, durable.max_deliveries)
        if ordering is not None:
            self._set_order(*ordering)
        self._sieve: Final = sieve
        if sieve is not None:
            self._set_filter(sieve.judge)
        self.patterns: Final = patterns
        self.lossless: Final = lossless
        self._bus = bus
        self._number = number
        self._start = start
        self._begun: dict[tuple[int, int], int] = {}  # the last generation of each topic and lane that came
        self._opened_by = os.getpid()
        self._ungated: list[Ring] = []  # topics that had no gate left for this lossless subscription
        self._notices: list[Any] = []  # to be told in the stream
        self._on_bell: Callable[[], object] | None = None  # also called when the session's bell was rung
        self._arrivals: list[Arrival] = []  # put there by whichever thread drained the control socket
        self._successors: dict[tuple[int, int, int], Arrival] = {}
        self._places: dict[tuple[int, int, int], int] = {}  # where to begin in successors that were there before
        # Read to their seal, their successor not here yet.
        self._finished: dict[tuple[int, int, int], tuple[Ring, int]] = {}
        # Topics whose last messages come before what is in their rings. An empty set takes 216 bytes, so all share one.
        self._to_hand_out: frozenset[int] = _NO_TOPICS
        self._states: dict[int, StateReader] = {}  # of topics that begin with what they keep, until that is looked at
        self._kept: dict[int, Snapshot] = {}  # what it was then
        self._cursors: list[tuple[int, int]] = []  # (session, index) of every cursor in use
        self._matched: dict[tuple[int, int], str] = {}  # the pattern that each topic and lane came by
        # Of a durable one: where it settles, as whom, and whom that wakes.
        self._lanes: dict[tuple[int, int], tuple[Group, int, int, int]] = {}
        self._dead_letters: Publisher | None = None
        self._gone = False  # last: there is something to be closed from now on

    def close(self) -> None:
        """End it: its cursors hold nobody back any more."""
        if self._gone:
            return
        self._close()
        if not self._forked:
            for group, lane, member, bell in self._lanes.values():
                group.reap(lane, member, True, None)  # also where no coordinator does it, nor wakes who waits for it
                self._bus._bells.ring(bell)
                self._bus._bells.ring_space(bell)
            self._lanes.clear()
            if self._dead_letters is not None:
                self._dead_letters.close()
            self._bus._left(self._number, self._cursors)
        self._gone = True  # last: what a signal handler ends in the middle is done again

    def borrow(self, timeout: float | None = None, *, unprotected: bool = False) -> Borrowed | Gap:
        """The next message where it stands in the ring, for a `with` block; `data` looks at its payload without a copy.

        A lossless subscription's publishers cannot overwrite it before the block is left, a durable one's not before it
        is settled; a lossy one is refused, unless it is `unprotected`: then leaving the block raises BufferError if it
        was overwritten meanwhile, and what was read is void. One in the order of correlation groups is refused: what
        it holds back has left the ring. A view that outlives the block keeps the message where it
        is, and leaving the block raises BufferError. Otherwise as `receive`.
        """
        if self._ordering is not None and self._ordering.order == "correlation":
            raise BorrowError(repr(self), held_back=True)
        if not (self.lossless or self.durable or unprotected):
            raise BorrowError(repr(self))
        found: Borrowed | Gap = self._borrow(timeout)
        return found

    @property
    def lost(self) -> int:
        """Messages that were overrun, expired or corrupt so far, over all topics."""
        return sum(sum(counters[3:6]) for counters in self._counters())

    @property
    def delivered(self) -> int:
        """Messages handed out so far, over all topics that are still open."""
        return sum(counters[2] for counters in self._counters()) - self.held_back

    @property
    def filter_faults(self) -> tuple[FilterFault, ...]:
        """Why its filter's `where` had no value for messages, which are among those that are `filtered`; by cause."""
        return () if self._sieve is None else self._sieve.faults

    @property
    def topics(self) -> list[str]:
        """The topics that are read at present."""
        return sorted({counters[0].topic for counters in self._counters()})

    def ledger(self) -> list[LedgerEntry]:
        """What it got and missed of each producer, and what it has not read yet, in every topic that is still open.

        A durable subscription's members have one account together: each tells all of it.
        """
        held = [ring for ring, _ in self._held()]
        waiting = [arrival.ring for arrival in self._successors.values()]
        found = []
        for number, index in self._cursors:
            session = self._bus._pages.sessions[number]
            bound = session.cursor(index)[6]
            rings = sorted(
                (ring for ring in (*held, *waiting) if _as_bound(ring) == bound), key=lambda ring: ring.generation
            )
            if rings:
                group, lane, *_ = self._lanes.get(_lane(rings[0]), (None, 0, 0, 0))
                if group is None:
                    found += entries(session, index, rings)
                elif group.rows:  # else it was made by a version that did not count by producer
                    found += entries(group, lane, rings)
        return found

    def __repr__(self) -> str:
        kind = f"durable '{self.durable.name}'" if self.durable else "lossless" if self.lossless else "lossy"
        return f"<Subscription {', '.join(self.patterns)}, {kind}{', closed' if self.closed else ''}>"

    # ---- called by the core ------------------------------------------------------------------------------------------

    def _attend(self) -> Any:
        """The session's bell was rung: something was pushed to this client. What is to be told in the stream."""
        self._look_at_pushes()
        if self._on_bell is not None:
            self._on_bell()
        if not self._notices:
            return None
        notice = self._notices.pop(0)
        if self._notices:
            self._bus._bells.ring(self._bus._session_bell)
        return notice

    def _notify(self, notice: Any) -> None:
        """Tell it in the stream, and wake whoever receives. From any thread."""
        self._notices.append(notice)
        self._bus._bells.ring(self._bus._session_bell)

    def _look_at_pushes(self) -> None:
        self._bus._attend(self)
        self._take_arrivals()
        if self._finished:
            self._move_on()
        if self._ungated:
            # Told once, out of whatever call is receiving; the subscription goes on.
            ring = self._ungated.pop()
            raise LimitError(
                f"lossless subscriptions of topic '{ring.topic}'",
                ring.gate_capacity,
                ring.gate_capacity + 1,
                f"Nobody waits for {self!r} there. Raise gates of the topic, or close another subscription.",
            )

    def _sealed(self, ring: Ring, position: int) -> None:
        """The ring's last message has been read: go on in its successor, now or when it comes."""
        self._finished[ring.topic_id, ring.lane, ring.generation + 1] = ring, position
        self._look_at_pushes()

    def _move_on(self) -> None:
        """Whatever a signal handler raises in between, the next call finds what is left to be done."""
        for key in self._finished.keys() & self._successors.keys():
            (ring, position), arrival = self._finished[key], self._successors[key]
            topic_lane = key[:2]  # the ring itself may have been closed in the meantime
            pattern = self._matched[topic_lane]
            if topic_lane in self._lanes:
                group, lane, member, _ = self._lanes[topic_lane]
                group.bridge(lane, position, arrival.ring.first_sequence, member)
            if self._reads(ring):
                self._remove(ring)
            if not self._reads(arrival.ring):
                # Sequences of a successor start further up: nothing is missing in between.
                self._begin(arrival, pattern, self._places.get(key, arrival.ring.first_sequence), fresh=False)
            self._bus._ring_left(ring)
            self._places.pop(key, None)
            del self._successors[key]
            del self._finished[key]

    def _stuck(self, ring: Ring, position: int, producer: int, since_ns: int) -> bool:
        """A claim stays unfinished. True: its owner is dead and nobody has repaired it, so step over."""
        owner = ring.producer(producer)
        if owner is not None and not is_alive(Identity(*owner[1:4])):
            return since_ns > STEP_OVER_SECONDS * 1e9
        if since_ns > ring.limits[4]:
            self._bus._report_stuck(ring.topic_id, ring.lane, position, full=False)
        return False

    def _nothing(self, ended: bool, waited: float) -> None:
        if ended:
            raise ClosedError(repr(self), self._bus._coordinator.ended or "it has been closed")
        raise ReceiveTimeout(waited, self.patterns)

    def _unusable(self, busy: bool) -> None:
        if self._forked:
            raise ForkedError(repr(self), self._opened_by, os.getpid())
        if busy:
            raise BusyError(repr(self))
        raise ClosedError(repr(self))

    def _demoted(self, demoted: Demoted) -> None:
        pattern = most_specific(self.patterns, demoted.topic)
        gap = Gap(demoted.topic, pattern, demoted.position, 0, "demoted")
        if gap not in self._notices:  # the push may have been taken in before, and something raised then
            self._notices.append(gap)

    def _declared(self, *, established: bool = False) -> Subscribe:
        """For the coordinator, the first one and one that takes over."""
        return Subscribe(
            subscription=self._number,
            patterns=self.patterns,
            lossless=self.lossless and self.durable is None,
            start=position(self._start),
            durable=self.durable.wire("" if self._sieve is None else self._sieve.words)
            if self.durable is not None
            else None,
            established=established,
        )

    def _dead_letter(self, message: Message) -> bool:
        """It has been given out too often. False: it cannot be published now, so it is given out once more."""
        assert self.durable is not None
        try:
            if self._dead_letters is None:
                self._dead_letters = self._bus.publisher(
                    self.durable.dead_letter_topic, type=DeadLetter, on_full="raise"
                )
            self._dead_letters.publish(dead_letter(self.durable.name, message), correlation=False)
        except ShmbusError as error:
            if not is_own(error):
                raise
            return False
        killpoint("deadletter.published")
        return True

    # ---- rings -------------------------------------------------------------------------------------------------------

    def _held(self) -> list[tuple[Ring, str]]:
        return [(ring, self._matched[ring.topic_id, ring.lane]) for ring, *_ in self._counters()]

    def _ring_keys(self) -> list[tuple[int, int, int]]:
        """The rings that this subscription reads or will go on with."""
        waiting = [arrival.ring for arrival in (*self._arrivals, *self._successors.values())]
        held = [counters[0] for counters in self._counters()]
        return [(ring.topic_id, ring.lane, ring.generation) for ring in (*held, *waiting)]

    def _cursors_in_use(self) -> list[tuple[int, int]]:
        """As (session, index), those of rings that are still to be begun included."""
        arrivals = (*self._arrivals, *self._successors.values())
        return [*self._cursors, *((arrival.binding.session, arrival.binding.cursor) for arrival in arrivals)]

    def _take_arrivals(self) -> None:
        """Whatever a signal handler raises in between, no arrival is lost: each goes when it has been begun."""
        if self._states:
            self._to_hand_out |= {arrival.ring.topic_id for arrival in self._arrivals} & self._states.keys()
        while self._arrivals:
            self._take(self._arrivals[0])
            self._arrivals.pop(0)
        if self._to_hand_out:
            self._hand_out_kept(self._to_hand_out)
            self._to_hand_out = _NO_TOPICS

    def _take(self, arrival: Arrival) -> None:
        ring = arrival.ring
        if ring.generation <= self._begun.get(_lane(ring), -1):
            return  # a new coordinator tells what it does not know to be known
        if arrival.continues and any(_lane(held) == _lane(ring) for held, _ in self._held() if held is not ring):
            self._successors[ring.topic_id, ring.lane, ring.generation] = arrival
            self._begun[_lane(ring)] = ring.generation
            self._move_on()
            return
        if not self._reads(ring):
            others = [one.ring for one in self._arrivals if one is not arrival]
            successors = [one for one in others if _lane(one) == _lane(ring)]
            position = arrival.binding.start
            before = self._look_at_kept(ring) if self.durable is None else None
            if not position or (before is not None and before.folded[ring.lane]):
                position = self._place(ring, successors)
            self._begin(arrival, arrival.binding.pattern, position)
        self._begun[_lane(ring)] = ring.generation

    def _reads(self, ring: Ring) -> bool:
        return any(held is ring for held, _ in self._held())

    def _begin(self, arrival: Arrival, pattern: str, position: int, *, fresh: bool = True) -> None:
        ring, binding = arrival.ring, arrival.binding
        session = self._bus._pages.sessions.get(binding.session)
        if session is not None and fresh:  # in a successor the same cursor goes on, with its counters
            session.bind_cursor(binding.cursor, _as_bound(ring), self._number)
            if (binding.session, binding.cursor) not in self._cursors:
                self._cursors.append((binding.session, binding.cursor))
        self._matched[ring.topic_id, ring.lane] = pattern
        if (self.lossless or self.durable) and not binding.lossless and not binding.shed:
            self._ungated.append(ring)
        if binding.group:  # the group's gate holds, not this cursor
            page = self._bus._pages.groups[binding.group]
            self._lanes[_lane(ring)] = page, binding.group_lane, binding.member, ring.bell
        group, lane, member, _ = self._lanes.get(_lane(ring), (None, 0, 0, 0))
        gated = binding.lossless and group is None
        self._add(ring, pattern, position, gated, session, binding.cursor, group=group, lane=lane, member=member)

    def _place(self, ring: Ring, successors: list[Ring]) -> int:
        """Where to begin in a topic that was there before; and in its successors, when their turn comes."""
        start = self._start
        if isinstance(start, LastPerKey):
            before = self._look_at_kept(ring)
            start = after_kept(None if before is None else before.folded[ring.lane])
        first, *others = places(start, [ring, *successors])
        for one, place in zip(successors, others, strict=True):
            self._places[one.topic_id, one.lane, one.generation] = place
        return first

    def _look_at_kept(self, ring: Ring) -> Snapshot | None:
        """What the topic kept when it was begun; None: it began otherwise."""
        state = self._states.pop(ring.topic_id, None)
        if state is not None:
            for _ in range(LOOKS):  # without a gate of its own it may find that the ring has gone on meanwhile
                self._kept[ring.topic_id] = kept = state.snapshot()
                if ring.head <= kept.folded[ring.lane]:
                    break
            state.close()
        return self._kept.get(ring.topic_id)

    def _hand_out_kept(self, topics: frozenset[int]) -> None:
        """The last messages of these topics come before anything that is in their rings."""
        rings = {_lane(ring): ring for ring, *_ in self._counters() if ring.topic_id in topics}
        found = []
        for (topic, lane), ring in rings.items():
            self._look_at_kept(ring)
            before = self._kept[topic].folded[lane]
            if self.durable is not None:  # it was placed before we looked
                group, place, *_ = self._lanes[topic, lane]
                before = group.state(place)[0]
            records = self._kept[topic].records.values()
            its = [one for one in records if one.lane == lane and one.sequence < before and not one.expired]
            found += [(one.time_ns, one.sequence, one.message(self._source(ring))) for one in its]
        self._hand_out_first([message for *_, message in sorted(found, key=lambda one: one[:2])])


def _lane(ring: Ring) -> tuple[int, int]:
    return ring.topic_id, ring.lane


def _as_bound(ring: Ring) -> int:
    """As a cursor says what it reads."""
    return ring.topic_id | ring.lane << LANE_SHIFT
