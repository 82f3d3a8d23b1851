"""With which sizes and limits a topic is made: the request, over the configuration's best pattern, over the default.

The bus's own topics, where nothing is configured for them, are as they are needed. What they keep they keep anyway.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from shmbus.coordinator.settings import Settings, TopicPlan, limited
from shmbus.topic import HEALTH_STATUS, LIFECYCLE, REGISTRATIONS, PatternTrie
from shmbus.v1.control_pb2 import TopicLimits


class _Own(NamedTuple):
    """What the bus needs of a topic of its own."""

    on_full: str
    limits: TopicLimits | None = None
    keep_last: int = 0
    keep_last_bytes: int = 0


_OWN: Final[Mapping[str, _Own]] = {
    HEALTH_STATUS: _Own("shed"),
    REGISTRATIONS: _Own("shed", TopicLimits(slots=1024, arena_bytes=1 << 20), 1024, 512 << 10),
    LIFECYCLE: _Own("block", TopicLimits(slots=256, arena_bytes=128 << 10), 64, 32 << 10),
}


class Planner:
    """Looks up the plan of a topic."""

    def __init__(self, settings: Settings) -> None:
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """Topics are made by these from now on."""
        self._settings = settings
        self._patterns: PatternTrie[str] = PatternTrie()
        for pattern in settings.topics:
            self._patterns.insert(pattern, pattern)

    def plan(self, topic: str, limits: TopicLimits | None = None) -> TopicPlan:
        """For a topic that is to be made."""
        pattern = next(iter(self._patterns.best(topic)), None)
        plan = self._settings.default if pattern is None else self._settings.topics[pattern]
        if (own := _OWN.get(topic)) is not None:
            plan = _with(own, plan, configured=pattern is not None)
        return replace(plan, ring=limited(plan.ring, limits))


def _with(own: _Own, plan: TopicPlan, *, configured: bool) -> TopicPlan:
    if not configured:
        plan = replace(plan, on_full=own.on_full, ring=limited(plan.ring, own.limits))
    if own.keep_last and not plan.keep_last:
        plan = replace(plan, keep_last=own.keep_last, keep_last_bytes=own.keep_last_bytes)
    return plan
