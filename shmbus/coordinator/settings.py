"""What a coordinator goes by, as plain values: all names resolved, all units nanoseconds and bytes.

The defaults, which are those of the configuration, make a working bus by themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from shmbus.bearer import HashedToken
from shmbus.coordinator.rings import RingPlan
from shmbus.coordinator.supervisor import Policy
from shmbus.v1.control_pb2 import TopicLimits


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """How a topic is made, and what its publishers do by default when it is full."""

    ring: RingPlan = RingPlan(
        slots=8192,
        arena_bytes=4 << 20,
        producers=128,
        gates=64,
        max_messages=8191,
        max_bytes=4 << 20,
        max_message_bytes=1 << 20,
        retention_ns=0,
        claim_timeout_ns=1_000_000_000,
    )
    on_full: str = "block"
    block_timeout_ns: int = 30_000_000_000
    urgent_slots: int = 1024
    urgent_arena_bytes: int = 2 << 20
    max_stall_ns: int = 60_000_000_000  # 0: a lossless reader may hold a full topic for ever
    keep_last: int = 0  # keys of which the last message is kept
    keep_last_bytes: int = 1 << 20

    @property
    def urgent_ring(self) -> RingPlan:
        """Of its urgent lane: as large as its own keys say, whatever the normal one may hold."""
        size = self.urgent_arena_bytes
        return replace(
            self.ring, slots=self.urgent_slots, arena_bytes=size, max_messages=self.urgent_slots - 1, max_bytes=size,
            max_message_bytes=min(self.ring.max_message_bytes, size),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class CollectorPlan:
    """A collector: a command, or else the entry point of its name."""

    name: str
    enabled: bool = True
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = ""
    uid: int | None = None  # None: the coordinator's own
    nice: int = 0
    limits: Mapping[str, int] = field(default_factory=dict)  # by the names of LIMITS in launch.py
    cgroup: Mapping[str, int] = field(default_factory=dict)  # by the names of LIMITS in cgroups.py
    topics: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    grace_seconds: float = 30.0
    heartbeat_seconds: float = 30.0  # 0: not judged by it
    unhealthy_seconds: float | None = None  # that it may say it is unhealthy before it is ended; None: for ever
    policy: Policy = Policy()

    @property
    def identity(self) -> tuple[object, ...]:
        """What its process was started with: a change of it takes a restart."""
        environment = tuple(sorted(self.environment.items()))
        return self.command, self.arguments, environment, self.working_directory, self.uid

    @property
    def fingerprint(self) -> int:
        """Of the identity; 64 bits, never 0."""
        return int.from_bytes(blake2b(repr(self.identity).encode(), digest_size=8).digest(), "little") | 1


@dataclass(frozen=True, slots=True)
class Budget:
    """What one client may publish to one topic, on average; 0: as much as it can."""

    messages_per_second: int = 0
    bytes_per_second: int = 0  # of payloads


@dataclass(frozen=True, slots=True)
class Grant:
    """These may do it, on the topics that the pattern matches: users, members of groups, supervised collectors, and
    whoever holds one of these tokens.
    """

    topic: str
    users: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()
    collectors: frozenset[str] = frozenset()
    tokens: frozenset[str] = frozenset()
    operations: frozenset[int] = frozenset()  # that may be called; none: all of them
    budget: Budget | None = None  # of what may be published


@dataclass(frozen=True, slots=True)
class Settings:
    """One bus."""

    bus: str = "embedded"
    max_topics: int = 1024
    max_sessions: int = 1024
    max_collectors: int = 64
    max_durables: int = 256
    max_descriptor_bytes: int = 1 << 20
    max_bells: int = 1 + 2 * 1024 + 1024
    session_cursors: int = 512
    grace_seconds: float = 30.0
    default: TopicPlan = field(default_factory=TopicPlan)
    topics: Mapping[str, TopicPlan] = field(default_factory=dict)  # by pattern
    declared: tuple[str, ...] = ()  # topics that are made at the start
    collectors: tuple[CollectorPlan, ...] = ()
    publish: tuple[Grant, ...] = ()
    subscribe: tuple[Grant, ...] = ()
    call: tuple[Grant, ...] = ()  # their topics are those that collectors are called on
    administer: tuple[Grant, ...] = ()
    tokens: Mapping[str, HashedToken] = field(default_factory=dict)  # by name
    budget_grace_ns: int = 5_000_000_000  # that a publisher may be above its budget before it is shut out
    audit_file: str = ""  # absolute; none: only to the logger

    @property
    def keeps_any(self) -> bool:
        """May there be a topic that keeps the last message of each key?"""
        return any(plan.keep_last for plan in (self.default, *self.topics.values()))


def limited(plan: RingPlan, limits: TopicLimits | None) -> RingPlan:
    """The plan with what a request sets. A limit that is not set follows the geometry if that is set."""
    if limits is None:
        return plan
    sized = plan.resized(limits.slots, limits.arena_bytes)
    timed = limits.HasField("retention_duration_ms")
    return replace(
        sized,
        max_messages=limits.max_retained_messages or sized.max_messages,
        max_bytes=limits.max_retained_size_bytes or sized.max_bytes,
        max_message_bytes=limits.max_message_bytes or min(sized.max_message_bytes, sized.arena_bytes),
        retention_ns=limits.retention_duration_ms * 1_000_000 if timed else sized.retention_ns,
        claim_timeout_ns=limits.claim_timeout_ms * 1_000_000 or sized.claim_timeout_ns,
    )
