"""Publishing to one topic.

The core does the work: `publish` checks for room, claims, copies and commits in one native call. What is here is what
happens when that call cannot do it at once: the ring is full, has moved on, or needs a session that gates it.
"""

import os
import time
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shmbus import _core, correlation, encoding
from shmbus._core import Budget, Ring, Writer
from shmbus.blame import is_own
from shmbus.errors import (
    AccessDenied,
    BackpressureError,
    BudgetExceeded,
    BusyError,
    CapabilityError,
    ClosedError,
    ConnectionLost,
    ForkedError,
    LimitError,
    MessageTooLarge,
    PublishRevoked,
    SegmentError,
    ShmbusError,
    StorageFull,
)
from shmbus.process import Identity, is_alive
from shmbus.v1.control_pb2 import ResumePublisher
from shmbus.v1.eventbus_pb2 import EventBusMessage

if TYPE_CHECKING:
    from google.protobuf.message import Message as ProtobufMessage

    from shmbus.bus import Bus

SUCCESSOR_WAIT_SECONDS: Final = 5.0  # at the least, however short a publisher's own timeout is
ANNOUNCEMENT_SECONDS: Final = 0.1  # a look for what has been announced, or will be by the next coordinator
NORMAL_LANE: Final = 0
URGENT_LANE: Final = 1
MAX_TIMEOUT_SECONDS: Final = 10**9  # as the core takes it of a single publish
URGENT: Final = 192  # the lowest priority that goes the urgent lane


class Backpressure(NamedTuple):
    """What the publishers of a topic do when it is full, as it is configured."""

    on_full: str  # block, raise, or shed: then only a publisher that stopped in the middle of a message is in the way
    timeout: float  # seconds

    def waits(self, on_full: str | None) -> bool:
        """Does a publisher wait that asked for `on_full`?"""
        return (on_full or self.on_full) != "raise"

    def limit(self, timeout: float | None | EllipsisType) -> float | None:
        """How long it waits that asked for `timeout`, seconds; None: for ever."""
        return self.timeout if isinstance(timeout, EllipsisType) else timeout


def check_backpressure(on_full: str | None, timeout: float | None | EllipsisType) -> None:
    """Raises ValueError for what a publisher cannot ask for."""
    given: object = timeout  # whatever its type says
    if not (given is None or given is ... or (isinstance(given, int | float) and 0 <= given <= MAX_TIMEOUT_SECONDS)):
        raise ValueError(f"timeout is a number of seconds from 0 to 10^9, or None: for ever; not {given!r}")
    if on_full not in (None, "block", "raise"):
        raise ValueError(
            f"on_full is 'block' or 'raise', not {on_full!r}; whether a topic sheds its oldest messages is configured, "
            "for all its publishers"
        )


class Publisher(Writer):
    """A publisher of one topic. Made by `Bus.publisher`; closed by leaving its `with` block.

    `publish(event, *, correlation=None, priority=0, ttl=None, timeout=..., key=None)` publishes a protobuf message of
    the schema (or of the type that the publisher was opened with), or anything with the buffer protocol, and answers
    its sequence. `ttl` and `timeout` are in seconds. A `priority` (0 to 255) of `shmbus.URGENT` and above goes the
    topic's urgent lane, a ring of its own with sequences of its own, which every reader empties first. A durable
    publisher may give each message its `number`, growing from message to message: what was published before under
    such a number is not published again, and 0 is answered. A `key` (1 to 128 bytes of UTF-8; messages of the
    schema only) says what the message is the latest word about: a topic that keeps them hands out the last message
    of each (`keep_last`).
    `publish_many(events, ...)` does it for many and answers how many.

    Both raise BackpressureError when the topic is full and stays so, BudgetExceeded when the client may not publish so
    much yet (it is waited for as a full topic is), MessageTooLarge, PublishRevoked, AccessDenied when it kept to no
    budget and was shut out, ClosedError, ForkedError, TypeError. After an error from `publish_many`, its attribute
    `published` says how many went out.
    """

    _gone = True  # closed, and the coordinator knows

    def __init__(
        self,
        bus: "Bus",
        topic: str,
        ring: Ring,
        producer: int,
        *,
        name: str,
        own_type: "type[ProtobufMessage] | None",
        configured: Backpressure,
        on_full: str | None,
        timeout: float | None | EllipsisType,
        durable: bool = False,
    ) -> None:
        wait = configured.limit(timeout)
        # Message ids start with 64 random bits of their own, so they stay unique across restarts and buses.
        ids = os.urandom(8).hex() + "-"
        super().__init__(ring, producer, bus._bells, ids, configured.waits(on_full), -1.0 if wait is None else wait)
        self.topic: Final = topic
        self.name: Final = name
        self._configured = configured
        self._bus = bus
        self._own_type = own_type
        self._asked: tuple[str | None, float | None | EllipsisType, bool] = (on_full, timeout, durable)
        self._urgent_publisher: Publisher | None = None
        self._budget: Budget | None = None
        self._first = 0  # the number that it goes on from
        self._opened_by = os.getpid()
        self._topic_id, self._lane = ring.topic_id, ring.lane
        self._stuck: tuple[int, float] = (0, 0.0)  # the claim in the way, and since when (CLOCK_MONOTONIC)
        self._gone = False  # last: there is something to be closed from now on

    def try_publish(self, event: Any, **options: Any) -> int | None:
        """Publish without waiting: the sequence, or None when the topic is full or the budget spent."""
        try:
            return self.publish(event, **{**options, "timeout": 0})
        except (BackpressureError, BudgetExceeded):
            return None

    def forget_key(self, key: str, **options: Any) -> int:
        """Say that there is nothing to say of a key any more: the topic keeps none of it.

        Who subscribes gets a message of that key whose event is None. Raises as `publish` does.
        """
        return self.publish(EventBusMessage(), key=key, **options)

    def close(self) -> None:
        """Give the producer id back. What has been published stays."""
        if self._gone:
            return
        if self._urgent_publisher is not None:
            self._urgent_publisher.close()
        if self._ring is not None:
            published = self._published_here
            self._detach()
            self._bus._published += published
        if not self._forked:
            self._bus._gone((self._topic_id, self._lane), self._producer_id)
        self._gone = True  # last: what a signal handler ends in the middle is done again

    @property
    def published(self) -> int:
        """Messages so far, of both lanes."""
        return super().published + (self._urgent_publisher.published if self._urgent_publisher else 0)

    @property
    def _published_here(self) -> int:
        """Of this lane, by this object: numbers of a durable one go on from those before it."""
        return super().published - self._first

    @property
    def last_number(self) -> int:
        """Of the last message of the normal lane. A durable publisher's go on from those of the one before it."""
        return super().published

    @property
    def closed(self) -> bool:
        """Closed by this process."""
        return self._ring is None

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.published} published"
        return f"<Publisher {self.topic}, {state}>"

    def _declared(self) -> ResumePublisher:
        """For a coordinator that takes over."""
        generation = self._ring.generation if self._ring is not None else 0
        return ResumePublisher(
            topic_id=self._topic_id, lane=self._lane, producer=self._producer_id, generation=generation
        )

    # ---- called by the core ------------------------------------------------------------------------------------------

    def _envelope(self, kind: type[Any]) -> encoding.Envelope:
        own = self._own_type
        return encoding.envelope_for(kind, self.topic, self.name, own.DESCRIPTOR.full_name if own else None)

    def _urgent(self) -> "Publisher | None":
        """Who publishes what is urgent; None: this one.

        The lane is made when somebody first needs it. Where that cannot be (no room in /dev/shm, no coordinator at
        present, or one that knows no lanes) what is urgent goes the normal way: rather late than not.
        """
        if self._lane == URGENT_LANE or self._ring is None or self._forked:
            return None
        if self._urgent_publisher is None:
            try:
                self._urgent_publisher = self._bus._publisher(
                    self.topic, self._own_type, self.name, *self._asked, URGENT_LANE
                )
            except (CapabilityError, ConnectionLost, LimitError, StorageFull) as error:
                if not is_own(error):
                    raise
                return None
        return self._urgent_publisher

    def _correlate(self, given: Any, whole: Any) -> bytes | None:
        """What to add to the event, or to the envelope `whole` that is published as it is."""
        if whole is not None and whole.HasField("correlation"):
            # Two would be merged into one that is neither.
            if given is not None:
                raise TypeError(
                    f"the envelope for '{self.topic}' has a correlation of its own: give no other, or clear it"
                )
            correlation.check(whole.correlation)
            return None
        metadata = correlation.resolve(given)
        return None if metadata is None else encoding.correlation_field(metadata)

    def _trouble(
        self,
        result: int,
        length: int,
        waited_ns: int,
        give_up: bool,
        by: int,
        sequence: int,
        behind: int,
        producer: int,
        session: int,
        cursor: int,
        word: int,
    ) -> None:
        """The core could not publish. Return to have it try again, or raise."""
        ring = self._ring
        if ring is None or self._forked or result == _core.OK:
            raise self._unusable()
        if result == _core.SEALED or (result == _core.TOO_LARGE and ring.sealed):
            # For a message that is too large as well: the successor may be made for it.
            self._move_on(ring, give_up and waited_ns >= SUCCESSOR_WAIT_SECONDS * 1e9)
        elif result == _core.TOO_LARGE:
            messages, arena, limit, _, _ = ring.limits
            most = min(limit, arena - _core.FRAME_HEADER_BYTES)
            raise MessageTooLarge(self.topic, length, most, urgent=self._lane == URGENT_LANE and most < limit)
        elif result == _core.REVOKED:
            raise PublishRevoked(self.topic, sequence, ring.limits[4] / 1e9)
        elif result == _core.CORRUPT:
            raise SegmentError(f"ring of {self.topic}", "corrupt")
        elif result == _core.UNKNOWN_SESSION:
            if not self._bus._learn_session(ring, session) and give_up:
                raise self._backpressure(ring, _core.BY_GATE, producer, session, cursor, behind)
        elif not self._unblock(ring, by, sequence, producer, session, word) and give_up:
            raise self._backpressure(ring, by, producer, session, cursor, behind)

    def _over_budget(self, wait_ns: int, length: int) -> None:
        """The core may not publish so much yet, and has waited as long as it may."""
        budget = self._budget
        if self._ring is None or budget is None:
            return
        raise BudgetExceeded(
            self.topic, budget.messages_per_second, budget.bytes_per_second, *budget.present(), wait_ns / 1e9
        )

    def _limit(self, budget: Budget | None) -> None:
        """It may publish so much from now on, with the client's other publishers of the topic."""
        self._budget = budget
        self._set_budget(budget)

    def _unusable(self) -> ShmbusError:
        thing = f"the publisher of '{self.topic}'"
        if self._forked:
            return ForkedError(thing, self._opened_by, os.getpid())
        return ClosedError(thing) if self._ring is None else BusyError(thing)

    def _move_on(self, ring: Ring, give_up: bool) -> None:
        """The ring has been sealed: its successor was announced before.

        Nor is it here where the coordinator that sealed it died before this client came to it. The next one tells: then
        this one tries again, until it has to give up.
        """
        key = (self._topic_id, self._lane)
        deadline = time.monotonic() + ANNOUNCEMENT_SECONDS
        while (successor := self._bus._successor(key, ring.generation)) is None:
            if (reason := self._bus._revocation(self._topic_id)) is not None:
                raise AccessDenied("publish to", self.topic, f"pid {os.getpid()}", reason)
            if give_up:
                raise ConnectionLost(self._bus.name, None, f"'{self.topic}' was moved to a ring that never came")
            if not self._bus._wait_for_push(deadline):
                return
        self._move(successor, self._producer_id)

    def _unblock(self, ring: Ring, by: int, sequence: int, producer: int, session: int, word: int) -> bool:
        """Take a dead participant out of the way; True when there was one, so that trying again makes sense."""
        if by == _core.BY_GATE:
            return self._bus._drop_dead_session(ring, session)
        since = self._stuck[1] if self._stuck[0] == word else time.monotonic()
        self._stuck = (word, since)
        owner = ring.producer(producer)
        if owner is not None and not is_alive(Identity(*owner[1:4])):
            return ring.repair(producer) > 0
        if time.monotonic() - since > ring.limits[4] / 1e9:
            self._bus._report_stuck(self._topic_id, self._lane, sequence, full=True)
        return False

    def _backpressure(
        self, ring: Ring, by: int, producer: int, session: int, cursor: int, behind: int
    ) -> BackpressureError:
        self._bus._refused += 1
        messages, capacity = min(ring.limits[0], ring.slots - 1), ring.limits[1]
        if by == _core.BY_GATE:
            name, pid, last = self._bus._session_holder(session, cursor)
            return BackpressureError(
                self.topic, capacity, messages, name, pid, behind, last.since_seconds, has_moved=last.has_moved
            )
        owner = ring.producer(producer)
        name, pid = (owner[0], owner[1]) if owner else ("unknown", 0)
        return BackpressureError(self.topic, capacity, messages, name, pid, behind, unfinished=True)
