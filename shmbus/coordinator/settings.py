"""What a coordinator goes by, as plain values: all names resolved, all units nanoseconds and bytes.

Made from a configuration file by configured.py; the defaults alone make a working bus, so an embedded one starts
without reading, or even importing, anything of the configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shmbus.coordinator.rings import RingPlan
from shmbus.v1.control_pb2 import TopicLimits

DEFAULT_PLAN = RingPlan(
    slots=8192,
    arena_bytes=4 * 1024 * 1024,
    producers=254,
    gates=256,
    max_messages=8192,
    max_bytes=4 * 1024 * 1024,
    max_message_bytes=1024 * 1024,
    retention_ns=0,
    claim_timeout_ns=1_000_000_000,
)


@dataclass(frozen=True, slots=True)
class AccessRule:
    """Whom it is for (any of them), and what those may do; patterns of topics."""

    users: frozenset[int] = frozenset()
    groups: frozenset[int] = frozenset()
    tokens: frozenset[str] = frozenset()
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    administer: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """One bus."""

    bus: str = "embedded"
    max_topics: int = 1024
    max_sessions: int = 1024
    max_collectors: int = 64
    max_descriptor_bytes: int = 1024 * 1024
    max_bells: int = 4096
    grace_seconds: float = 30.0
    default_plan: RingPlan = DEFAULT_PLAN
    plans: Mapping[str, RingPlan] = field(default_factory=dict)  # by pattern
    declared: tuple[str, ...] = ()  # topics that are made at the start
    collectors: tuple[str, ...] = ()
    access: tuple[AccessRule, ...] = ()


def limited(plan: RingPlan, limits: TopicLimits | None) -> RingPlan:
    """The plan with what a request sets. A limit that is not set follows the geometry if that is set."""
    if limits is None:
        return plan
    sized = plan.resized(limits.slots, limits.arena_bytes)
    timed = limits.HasField("retention_duration_ms")
    retention = limits.retention_duration_ms * 1_000_000 if timed else sized.retention_ns
    return replace(
        sized,
        max_messages=limits.max_retained_messages or sized.max_messages,
        max_bytes=limits.max_retained_size_bytes or sized.max_bytes,
        max_message_bytes=limits.max_message_bytes or min(sized.max_message_bytes, sized.arena_bytes),
        retention_ns=retention,
        claim_timeout_ns=limits.claim_timeout_ms * 1_000_000 or sized.claim_timeout_ns,
    )
