"""Settings of buses whose rings are small, so that tests reach their limits."""

from dataclasses import replace
from typing import Any

from shmbus.coordinator.settings import Settings, TopicPlan


def small(slots: int = 16, bus: str = "embedded", **limits: Any) -> Settings:
    """Every topic has `slots` slots, of which one stays free; `limits` are fields of RingPlan."""
    ring = replace(TopicPlan().ring, slots=slots, max_messages=slots - 1, **limits)
    return Settings(bus=bus, default=TopicPlan(ring))
