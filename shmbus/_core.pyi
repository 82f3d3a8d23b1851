"""The native core: rings, bells and session pages in shared memory.

Results that are part of normal life (full, empty, overrun) come back as values; `shmbus.ring` and its users turn them
into exceptions. `AttachError` is raised for memory that is not what it should be.
"""

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final, Self, final

from typing_extensions import Buffer, disjoint_base

LAYOUTS: Final[dict[str, tuple[int, int]]]
"""By kind of segment: the number of the layout that is made, and of the oldest that can be attached."""
MAX_PRODUCERS: Final[int]
SEALER: Final[int]
FRAME_HEADER_BYTES: Final[int]
KIND_RAW: Final[int]
KIND_EVENT: Final[int]
KIND_TYPED: Final[int]
UNIT: Final[int]
OK: Final[int]
FULL: Final[int]
SEALED: Final[int]
CORRUPT: Final[int]
TOO_LARGE: Final[int]
REVOKED: Final[int]
UNKNOWN_SESSION: Final[int]
BY_GATE: Final[int]
BY_CLAIM: Final[int]
BY_SKIPPED: Final[int]
MEMBERS: Final[int]
MAX_WINDOW: Final[int]
MAX_TRIES: Final[int]
MAX_NUMBER: Final[int]
GROUP_RECORD_BYTES: Final[int]
KEY_BYTES: Final[int]

def crc32c(data: Buffer, value: int = 0, /) -> int: ...
def crc32c_portable(data: Buffer, value: int = 0, /) -> int: ...
def crc32c_implementation() -> str: ...
def handling() -> Message | None:
    """What a `for` loop of this thread is handling."""

def killpoint(site: str, /) -> None:
    """A place at which tests kill; nothing at all in the shipped build."""

def watch_trace(variable: ContextVar[Any] | None, /) -> None:
    """While this variable is not empty, publishing asks for a correlation; None: end that."""

def configure(
    *,
    make_gap: Callable[..., object],
    make_producer: Callable[[str, int, int, int, int, int], object],
    make_time: Callable[[int], object],
    parse_envelope: Callable[[Message], object],
    parse_event: Callable[[Message], object],
    parsers: dict[tuple[int, int], Callable[[bytes], object]],
    context: ContextVar[Any],
) -> None: ...
def receive(channel: int, into: list[Parcel], most: int, timeout: float, /) -> int:
    """The next packet of a socket, of `most` bytes, put into that list: nothing of Python runs in between.

    0, or an error number (ETIMEDOUT after `timeout` seconds), or -1: the other side hung up. What is raised was raised
    by a signal handler, or for want of memory.
    """

def send(channel: int, data: bytes, beside: int, timeout: float, sent: list[int], number: int, /) -> int:
    """Send a packet, with the descriptor `beside` it unless that is -1, and put its `number` into the list `sent`.

    0, or an error number (ETIMEDOUT after `timeout` seconds). What is raised was raised by a signal handler.
    """

@final
class Parcel:
    """One packet as it came, with the descriptors beside it, which are closed with it."""

    content: Any
    """What it was parsed into, by whoever did; None before."""
    def __new__(cls) -> Self: ...
    @property
    def data(self) -> bytes: ...
    @property
    def cut(self) -> bool:
        """More came than there was room for."""
    def take(self) -> int:
        """The next descriptor, the caller's to close; -1: there is none."""
    def peek(self, place: int, /) -> int:
        """One that stays here, counted as in a list; -1: there is none."""
    def __len__(self) -> int: ...
    def close(self) -> None:
        """Close what was not taken."""

@final
class Guard:
    """A re-entrant lock, and what is to be done when it is free.

    Publishers and subscriptions that nobody keeps are closed by the garbage collector, at any moment and in any thread,
    maybe inside this very lock: what that takes is done when the lock is left. A signal handler that raises leaves it
    neither taken nor with something undone.
    """

    def __new__(cls) -> Self: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *raised: object) -> None: ...
    def soon(self, what: Callable[[], None], /) -> None:
        """Done when this returns, unless somebody is inside: then, when they leave. Once more if it raised."""

class Closing:
    """What leaving its `with` block closes, whatever a signal handler raises at that moment.

    `close` is called once more if it raised: so it goes on where it was left.
    """

    def __new__(cls, *args: object, **kwargs: object) -> Self: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *raised: object) -> None: ...
    def close(self) -> None: ...

class AttachError(Exception):
    """What was mapped is not the expected segment: `reason` is one of those of `SegmentError`.

    `layout` is the number found, `known` are the newest and the oldest that can be attached.
    """

    reason: str
    layout: int
    known: tuple[int, int]

@final
class Ring:
    """One ring segment, mapped. Geometry is validated against the real size once, at attach."""

    @staticmethod
    def layout(slots: int, arena_bytes: int, producers: int, gates: int, /) -> int:
        """Bytes a segment of this geometry takes. Raises ValueError for a geometry that cannot be."""
    @classmethod
    def create(
        cls,
        fd: int,
        *,
        slots: int,
        arena_bytes: int,
        producers: int,
        gates: int,
        max_messages: int,
        max_bytes: int,
        max_message_bytes: int,
        retention_ns: int,
        claim_timeout_ns: int,
        topic: str,
        topic_id: int,
        lane: int,
        generation: int,
        bell: int,
        first_sequence: int,
        first_position: int = 0,
        boot_id: bytes,
        type_name: str,
        fingerprint: bytes,
    ) -> Ring:
        """Initialise the segment behind `fd` (already of layout() bytes) and map it writable; magic is stored last."""
    @classmethod
    def attach(cls, fd: int, *, writable: bool, boot_id: bytes) -> Ring: ...
    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def topic(self) -> str: ...
    @property
    def topic_id(self) -> int: ...
    @property
    def lane(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def bell(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def arena_bytes(self) -> int: ...
    @property
    def segment_bytes(self) -> int: ...
    @property
    def type_name(self) -> str: ...
    @property
    def fingerprint(self) -> bytes: ...
    @property
    def first_sequence(self) -> int: ...
    @property
    def head(self) -> int:
        """Sequence of the oldest retained message."""
    @property
    def tail(self) -> int:
        """Sequence the next message gets."""
    @property
    def gate(self) -> int:
        """The slowest reliable cursor as last scanned by a publisher (0: none scanned yet)."""
    @property
    def used_bytes(self) -> int: ...
    @property
    def published_bytes(self) -> int:
        """Frame bytes published since the ring was created, at the writers' last batch."""
    @property
    def aborted(self) -> int: ...
    @property
    def successor(self) -> int: ...
    @property
    def sealed(self) -> bool: ...
    @property
    def limits(self) -> tuple[int, int, int, int, int]:
        """(max_messages, max_bytes, max_message_bytes, retention_ns, claim_timeout_ns)"""
    def set_limits(
        self, max_messages: int, max_bytes: int, max_message_bytes: int, retention_ns: int, claim_timeout_ns: int, /
    ) -> None: ...
    def set_producer(
        self, producer: int, name: str, pid: int, start_time: int, pid_namespace: int, session: int, uid: int, /
    ) -> None: ...
    def clear_producer(self, producer: int, /) -> None: ...
    def leave_producer(self, producer: int, sequence: int, /) -> None:
        """Its owner has left, and all that it published stands before that sequence; its name stays."""
    def producer_left(self, producer: int, /) -> int:
        """That sequence; 0: its owner is there, or nobody ever was."""
    def begin_numbers(self, producer: int, durable: bool, /) -> None:
        """The id is somebody else's from now on, whose messages are numbered from 1."""
    def carry_numbers(self, before: Ring, /) -> None:
        """Who has an id here and had it in the ring before is the same; who begins anew is another."""
    def settle_numbers(self, producer: int, /) -> int:
        """Of a producer that is gone: the number of its last message."""
    def follow_numbers(self, before: Ring, producer: int, /) -> None:
        """Its numbers go on from that of its last message in the ring before, and from what it has left out by then."""
    def numbers(self, producer: int, /) -> tuple[int, int, bool]:
        """Number of its last message, of the one it is at, and whether they outlive its process."""
    def all_numbers(self) -> dict[int, tuple[int, int | None, int, bool, int]]:
        """By id: number of its last message, how many it has published if that is known, which one it is of those who
        had the id, are they durable, where it left."""
    def tally(self, sequence: int, /) -> tuple[int, dict[int, tuple[int, int, int]]]:
        """Where to begin the next time; and of each producer the messages, payload bytes and largest payload that it
        has committed from that sequence on, as far as the slots are still there."""
    def producer(self, producer: int, /) -> tuple[str, int, int, int, int, int] | None:
        """(name, pid, start_time, pid_namespace, session, uid) of whoever has it, or had it last; None: nobody."""
    @property
    def producer_capacity(self) -> int: ...
    @property
    def gate_capacity(self) -> int: ...
    def claims(self) -> list[tuple[int, int, bool]]:
        """Unfinished slots between head and tail: (sequence, producer, skipped)."""
    def find_time(self, time_ns: int, /) -> int:
        """The first retained sequence with a message of that time or later; the tail if there is none."""
    def find_last(self, count: int, /) -> tuple[int, int]:
        """The sequence from which on so many messages are retained, and how many too few they are."""
    def set_gate(self, index: int, session: int, cursor: int, floor: int, /) -> None:
        """Let the cursor of that session hold retirement back; `floor` counts until the cursor is set."""
    def clear_gate(self, index: int, /) -> None: ...
    def gates(self) -> list[tuple[int, int, int, int]]:
        """(index, session, cursor, floor) of every gate in force."""
    def retire(self, count: int, sessions: Sequence[Session], /) -> int:
        """Retire up to `count` of the oldest messages as far as gates allow; number retired."""
    def retire_expired(self, now_ns: int, sessions: Sequence[Session], /) -> int: ...
    def repair(self, producer: int, /) -> int:
        """Abort every claim of a producer that is dead; number aborted."""
    def skip(self, sequence: int, producer: int, /) -> bool:
        """Revoke a claim whose live owner is over the claim timeout."""
    def seal(self, successor: int, /) -> int:
        """No sequence from the returned one on can be claimed here; the successor generation goes on with it."""

@final
class Bells:
    """The waiter words of a bus: one bell a ring, one a session, bell 0 for the bus."""

    @staticmethod
    def layout(capacity: int, /) -> int: ...
    @classmethod
    def create(cls, fd: int, capacity: int, boot_id: bytes, /) -> Bells: ...
    @classmethod
    def attach(cls, fd: int, boot_id: bytes, /) -> Bells: ...
    @property
    def capacity(self) -> int: ...
    def ring(self, index: int, /) -> None:
        """Wake whoever waits for data at this bell."""
    def ring_space(self, index: int, /) -> None:
        """Wake publishers that wait for room."""
    def close(self) -> None: ...

@disjoint_base
class Session:
    """The page of one client: identity, heartbeat, cursors with their counters."""

    @staticmethod
    def layout(cursors: int, publishers: int, /) -> tuple[int, tuple[tuple[int, int], tuple[int, int]]]:
        """Bytes, and ranges of them (first, how many) that have memory from the beginning; the rest gets it if needed.

        `publishers`: so many a topic has at most.
        """
    @classmethod
    def create(
        cls,
        fd: int,
        *,
        session: int,
        cursors: int,
        publishers: int,
        bell: int,
        pid: int,
        start_time: int,
        pid_namespace: int,
        boot_id: bytes,
    ) -> Session: ...
    @classmethod
    def attach(cls, fd: int, *, writable: bool, boot_id: bytes) -> Session: ...
    @property
    def session(self) -> int: ...
    @property
    def bell(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def identity(self) -> tuple[int, int, int]:
        """(pid, start_time, pid_namespace)"""
    @property
    def heartbeat(self) -> int: ...
    @property
    def pulse(self) -> tuple[int, int]:
        """How often it moved, and what it said of itself by then: a HealthStatus, or whatever else it wrote there."""
    @property
    def reason(self) -> bytes:
        """Why it is not better: any bytes, at most 112."""
    def beat(self, health: int, reason: str = "", /) -> bool:
        """It moves, and is so, for that reason; whether it said something else before.

        Raises ValueError for what is no health, and for a reason of one that is not ill.
        """
    def leave(self) -> None:
        """The client closes its connection: whoever coordinates then, or later, need not wait for it."""
    @property
    def left(self) -> bool: ...
    def cursor(self, index: int, /) -> tuple[int, int, int, int, int, int, int, int]:
        """(position, delivered, lost, expired, corrupt, stepped_over, topic_id, subscription)"""
    def cursor_subscription(self, index: int, /) -> int:
        """The last of what `cursor` answers."""
    def cursor_active(self, index: int, /) -> tuple[int, bool]:
        """When a gating reader last made progress (CLOCK_MONOTONIC, to an eighth of the ring), True; when it joined,
        False: it has made none since. 0: it is nobody's."""
    def ledger(self, index: int, /) -> list[tuple[int, int, int, int, int, int, int, int, int, int, int, int | None]]:
        """(producer id, which one of that id, number before the first, last number, delivered, overrun, expired,
        corrupt, filtered, dead, repeated, messages that it had published before the first, if that is known) of each
        producer of that cursor's topic, each as of one moment.

        Of a group's lane, up to its floor, if it has rows; which one of that id is modulo 2^16 there."""
    def bind_cursor(self, index: int, topic_id: int, subscription: int, /) -> None:
        """Take a cursor into use with zeroed counters; its position holds at the gate's floor until it is set."""
    def set_position(self, index: int, position: int, /) -> None: ...
    @property
    def members(self) -> list[tuple[int, int, int]]:
        """(pid, start_time, pid_namespace) of each process that reads for a group; empty for a client's own page."""
    def close(self) -> None: ...

def restore(source: Source, frame: bytes, payload: bytes, producer: Any, /) -> Message:
    """A message that was kept. Raises ValueError when the payload is not that of the frame."""

@final
class Group(Session):
    """The page of a named subscription's members. Its cursors are the group's lanes, one a topic and lane."""

    @staticmethod
    def layout(lanes: int, window: int, producers: int, rows: int, /) -> int: ...  # type: ignore[override]
    @classmethod
    def create(  # type: ignore[override]
        cls,
        fd: int,
        *,
        session: int,
        lanes: int,
        window: int,
        producers: int,
        rows: int,
        bell: int,
        boot_id: bytes,
    ) -> Group: ...
    @classmethod
    def attach(cls, fd: int, *, writable: bool, boot_id: bytes) -> Group: ...
    @property
    def window(self) -> int: ...
    @property
    def producers(self) -> int:
        """Ids whose duplicates are removed; 0: none are."""
    @property
    def rows(self) -> int:
        """Of its ledger, by producer id; 0: it has none, as in layout 2."""
    @property
    def record(self) -> bytes:
        """What the coordinator remembers of the group."""
    @record.setter
    def record(self, record: bytes, /) -> None: ...
    def place(self, lane: int, sequence: int, ring: Ring | None, /) -> None:
        """Begin there, in that ring. Only while nobody uses the lane."""
    def reap(self, lane: int, member: int, own: bool, ring: Ring | None, /) -> int:
        """Give back what a member holds that is dead or has left (`own`: it is ourselves), and read there; how much."""
    def finish(self) -> None:
        """Complete what a dead coordinator had begun in the ledger, before anything else is done here."""
    def expire(self, lane: int, now_ns: int, limit_ns: int, /) -> int:
        """Give back what has been held for too long; how much."""
    def bridge(self, lane: int, sealed: int, first: int, member: int, /) -> bool:
        """Everything before the seal is settled, and we are that member: go on in the successor."""
    def give_up(self, lane: int, sealed: int, first: int, ring: Ring | None, /) -> int:
        """The ring goes, read or not, and the group goes on in the successor; how many are lost by that."""
    def forget_producer(self, lane: int, producer: int, ring: Ring | None, /) -> None: ...
    def set_member(
        self, member: int, name: str, pid: int, start_time: int, pid_namespace: int, session: int, subscription: int, /
    ) -> None: ...
    def clear_member(self, member: int, /) -> None: ...
    def member(self, member: int, /) -> tuple[str, int, int, int, int, int] | None:
        """(name, pid, start_time, pid_namespace, session, subscription)"""
    def state(self, lane: int, /) -> tuple[int, int, int, int, int, int]:
        """(floor, next, redelivered, duplicates, dead, untold)"""

@final
class Source:
    """A ring as one subscription sees it; or a topic, of which messages were kept."""

    def __new__(cls, topic: str, type_name: str, lane: int, pattern: str) -> Self: ...
    @property
    def topic(self) -> str: ...
    @property
    def pattern(self) -> str: ...

@disjoint_base
class MessageHead:
    """What is known of a message besides its payload."""

    @property
    def topic(self) -> str: ...
    @property
    def lane(self) -> int:
        """0: normal, 1: urgent. Sequences are of a topic and lane."""
    @property
    def pattern(self) -> str:
        """The most specific pattern of the subscription that matched."""
    @property
    def type_name(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def time(self) -> datetime:
        """When it was published, time of day (UTC)."""
    @property
    def time_ns(self) -> int:
        """When it was published, CLOCK_MONOTONIC."""
    @property
    def expires_ns(self) -> int: ...
    @property
    def producer_sequence(self) -> int: ...
    @property
    def priority(self) -> int: ...
    @property
    def kind(self) -> int: ...
    @property
    def flags(self) -> int: ...
    @property
    def deliveries(self) -> int:
        """How often it has been handed out, this time included; 1 unless the subscription is durable."""
    @property
    def producer(self) -> Any: ...
    @property
    def envelope(self) -> Any: ...
    @property
    def event(self) -> Any: ...

@final
class Message(MessageHead):
    """One received message. `memoryview(message)` looks at the payload without another copy."""

    @property
    def event(self) -> Any: ...
    @property
    def key(self) -> str | None:
        """What it is the latest word about, as its publisher said."""
    @property
    def _correlated(self) -> bool:
        """May its envelope have a correlation? False is certain."""
    @property
    def _frame(self) -> bytes: ...
    @property
    def payload(self) -> bytes: ...
    def _locate(self) -> tuple[int, int, bytes] | None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...  # so named from Python 3.12 on, there before

@final
class Borrowed(MessageHead):
    """A message that stands in the ring until it is given back, by leaving its `with` block or by `release`."""

    @property
    def key(self) -> str | None:
        """What it is the latest word about, as its publisher said."""
    @property
    def data(self) -> memoryview:
        """Its payload, without a copy. Raises BufferError when it has been given back."""
    @property
    def payload(self) -> bytes:
        """A copy of it. Raises BufferError when it has been given back."""
    def release(self) -> None:
        """Give it back. Raises BufferError when views are in use, or when it was overwritten, unprotected."""
    def _locate(self) -> tuple[int, int, bytes] | None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...

@disjoint_base
class Writer(Closing):
    """The publishing half of a ring. Subclasses supply `_trouble`, `_over_budget`, `_envelope`..."""

    def __init__(
        self, ring: Ring, producer: int, bells: Bells, id_prefix: str, block: bool = True, timeout: float = -1.0
    ) -> None: ...
    def publish(
        self,
        event: Any,
        /,
        *,
        correlation: Any = None,
        number: int | None = None,
        priority: int = 0,
        ttl: float | None = None,
        timeout: float | None = ...,
        key: str | None = None,
    ) -> int: ...
    def publish_many(
        self,
        events: Iterable[Any],
        /,
        *,
        correlation: Any = None,
        number: int | None = None,
        priority: int = 0,
        ttl: float | None = None,
        timeout: float | None = ...,
        key: str | None = None,
    ) -> int: ...
    @property
    def published(self) -> int: ...
    @property
    def _producer_id(self) -> int: ...
    @property
    def _ring(self) -> Ring | None: ...
    @property
    def _forked(self) -> bool: ...
    def _move(self, ring: Ring, producer: int, /) -> None: ...
    def _continue(self, number: int, /) -> None: ...
    def _detach(self) -> None: ...
    def _set_budget(self, budget: Budget | None, /) -> None: ...
    def _set_sessions(self, sessions: Sequence[Session], /) -> None: ...

@final
class Budget:
    """What one client may publish to one topic, on average; its publishers share it. 0: no limit.

    A second's worth may go at once.
    """

    def __init__(self, messages_per_second: int, bytes_per_second: int) -> None: ...
    @property
    def messages_per_second(self) -> int: ...
    @property
    def bytes_per_second(self) -> int: ...
    def present(self) -> tuple[float, float]:
        """Messages and bytes per second that were published lately."""

@disjoint_base
class Reader(Closing):
    """The receiving half of a subscription. Subclasses supply `_attend`, `_sealed`, `_stuck`, `_nothing`..."""

    def __init__(self, bells: Bells, session_bell: int) -> None: ...
    def _add(
        self,
        ring: Ring,
        pattern: str,
        position: int,
        gated: bool,
        session: Session | None = None,
        cursor: int = 0,
        group: Group | None = None,
        lane: int = 0,
        member: int = 0,
    ) -> None: ...
    def _remove(self, ring: Ring, /) -> None: ...
    def _set_filter(self, judge: Callable[[Message], bool], /) -> None: ...
    def _set_delivery(self, ack_deadline_ns: int, max_deliveries: int, /) -> None: ...
    def _be_eager(self) -> None: ...
    @property
    def filtered(self) -> int:
        """Messages that a filter did not want, so far."""
    def _source(self, ring: Ring, /) -> Source: ...
    def _hand_out_first(self, messages: Sequence[Message], /) -> None:
        """Before anything is read."""
    def _set_order(self, order: str, wait_ns: int, /) -> None:
        """Once, before anything is read: "producer" or "correlation"."""
    @property
    def held_back(self) -> int:
        """Messages that wait for their turn, in the order of correlation groups."""
    @property
    def released_early(self) -> int:
        """How often one of them went before its time, because too much was held back."""
    def _counters(self) -> list[tuple[Ring, int, int, int, int, int, int]]: ...
    def _close(self) -> None: ...
    def _end(self) -> None: ...
    def _anything(self) -> bool: ...
    def receive(self, timeout: float | None = None) -> Any: ...
    def try_receive(self) -> Any: ...
    def receive_many(self, limit: int = 1024, timeout: float | None = None) -> list[Any]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def _borrow(self, timeout: float | None, /) -> Any: ...
    def ack(self, message: Message | Borrowed, /) -> bool:
        """Settle it, so that it never comes again. False: it is not ours any more, and may have gone to another."""
    def ack_many(self, messages: Iterable[Any], /) -> int:
        """Settle the messages among them (gaps are passed over); how many were ours."""
    def nack(self, message: Message | Borrowed, /) -> bool:
        """Give it back, to be handed out again at once. False: it is not ours any more."""
    def extend(self, message: Message | Borrowed, /) -> bool:
        """Its deadline begins anew. False: it is not ours any more."""
    @property
    def closed(self) -> bool: ...
    @property
    def ended(self) -> bool: ...
    @property
    def _forked(self) -> bool: ...

@final
class Waiter:
    """Sleeps for many readers, and writers that wait for room, at once."""

    def kick(self) -> None: ...
    def wait(self, sleepers: list[Reader | Writer], timeout: float, /) -> list[Reader | Writer]: ...
