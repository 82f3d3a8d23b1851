"""What another configuration means for a bus that runs: what cannot be changed, and what is changed, in words.

No I/O and nothing is done here: everything is judged before anything is changed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from shmbus.coordinator.configuration import At, nowhere
from shmbus.coordinator.plan import Planner
from shmbus.coordinator.registry import Registry, Topic
from shmbus.coordinator.rings import plan_of
from shmbus.coordinator.settings import CollectorPlan, Settings, TopicPlan
from shmbus.errors import ConfigurationError

MADE_ONCE = (
    "bus", "max_topics", "max_sessions", "max_collectors", "max_durables", "max_descriptor_bytes",
    "session_cursors",
)  # fmt: skip
_KEYS = {"bus": "bus.name"}
_SIZES = frozenset({"slots", "arena_bytes", "producers", "gates", "urgent_slots", "urgent_arena_bytes"})
_AGAIN = ("command", "arguments", "environment", "working_directory", "uid")
_COLLECTOR_KEYS = {"uid": "user", "policy": "restart", "heartbeat_seconds": "heartbeat_ms"}


def check(old: Settings, new: Settings, at: At = nowhere) -> None:
    """Raises ConfigurationError for all that takes a bus that is started anew. `at`: where a key stands."""
    found = []
    for name in MADE_ONCE:
        if getattr(old, name) != getattr(new, name):
            allowed = f"is made once, at the start ({getattr(old, name)!r}): stop the bus and start it, or leave it so"
            key = _KEYS.get(name, f"bus.{name}")
            file, line = at(key)
            found.append(ConfigurationError(file, key, getattr(new, name), allowed, line=line))
    if new.keeps_any and not old.keeps_any:
        allowed = "takes a bus that began with a topic that keeps last messages: stop the bus and start it"
        file, line = at("topics.keep_last")
        found.append(ConfigurationError(file, "topics.keep_last", True, allowed, line=line))
    if found:
        raise ConfigurationError.joined(found)


def plan_limits(registry: Registry, old: Settings, new: Settings) -> Mapping[Topic, TopicPlan]:
    """The topics that are configured otherwise, with what they get.

    A topic's ring stays as large as it is, and holds no more than it can; sizes count for topics that are made from now
    on.
    """
    before, after = Planner(old), Planner(new)
    found = {}
    for topic in registry.topics.values():
        plan = after.plan(topic.public)
        if plan != before.plan(topic.public):
            ring = plan_of(topic.live.ring)
            found[topic] = replace(plan, ring=replace(
                ring,
                max_messages=min(plan.ring.max_messages, ring.slots - 1),
                max_bytes=min(plan.ring.max_bytes, ring.arena_bytes),
                max_message_bytes=min(plan.ring.max_message_bytes, ring.arena_bytes),
                retention_ns=plan.ring.retention_ns,
                claim_timeout_ns=plan.ring.claim_timeout_ns,
            ))  # fmt: skip
    return found


def changes(old: Settings, new: Settings) -> list[str]:
    """What is different, a line each, with what it means."""
    return [
        *(f"bus.{name}: {getattr(old, name)} -> {getattr(new, name)}"
          for name in ("grace_seconds",) if getattr(old, name) != getattr(new, name)),
        *_of_topics(old, new),
        *(f"access.{name}" for name in ("publish", "subscribe", "call", "administer", "tokens", "audit_file")
          if getattr(old, name) != getattr(new, name)),
        *_of_collectors(old, new),
    ]  # fmt: skip


def _of_topics(old: Settings, new: Settings) -> Iterator[str]:
    if old.default != new.default:
        yield f"defaults: {_different(old.default, new.default)}"
    for pattern in dict.fromkeys((*old.topics, *new.topics)):
        before, after = old.topics.get(pattern, old.default), new.topics.get(pattern, new.default)
        if before != after:
            yield f"topics '{pattern}': {_different(before, after)}"


def _of_collectors(old: Settings, new: Settings) -> Iterator[str]:
    before, after = ({plan.name: plan for plan in one.collectors} for one in (old, new))
    yield from (f"collectors.{name}: stopped, for it is not configured any more" for name in before.keys() - after)
    yield from (f"collectors.{name}: new" for name in after.keys() - before)
    for name in before.keys() & after:
        if before[name] != after[name]:
            yield f"collectors.{name}: {_difference(before[name], after[name])}"


def _difference(old: CollectorPlan, new: CollectorPlan) -> str:
    names = [one.name for one in fields(CollectorPlan) if getattr(old, one.name) != getattr(new, one.name)]
    told = ", ".join(_COLLECTOR_KEYS.get(name, name) for name in names)
    if old.enabled is not new.enabled:
        return f"{told} (it is {'started' if new.enabled else 'stopped'})"
    return f"{told} (it is started again)" if any(name in _AGAIN for name in names) else told


def _different(old: TopicPlan, new: TopicPlan) -> str:
    """By the keys of the file, with what they were and are."""
    before, after = _keys_of(old), _keys_of(new)
    names = [name for name in before if before[name] != after[name]]
    told = ", ".join(f"{name} {before[name]} -> {after[name]}" for name in names)
    return f"{told} (sizes count for topics that are made from now on)" if _SIZES.intersection(names) else told


def _keys_of(plan: TopicPlan) -> dict[str, object]:
    found: dict[str, Any] = {one.name: getattr(plan.ring, one.name) for one in fields(plan.ring)}
    found.update((one.name, getattr(plan, one.name)) for one in fields(plan) if one.name != "ring")
    return {
        f"{name.removesuffix('_ns')}_ms" if name.endswith("_ns") else name:
            value // 1_000_000 if name.endswith("_ns") else value
        for name, value in found.items()
    }  # fmt: skip
