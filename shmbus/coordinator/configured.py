"""The settings of a coordinator out of a configuration, or without one.

Nothing here imports pydantic or tomllib before there is a configuration: they are a third of a coordinator's start.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from shmbus.bearer import HashedToken
from shmbus.coordinator.launch import GROUP
from shmbus.coordinator.rings import RingPlan
from shmbus.coordinator.settings import Budget, CollectorPlan, Grant, Settings, TopicPlan
from shmbus.coordinator.supervisor import Policy, Restart
from shmbus.segment import check_bus_name
from shmbus.topic import CALL_REQUESTS

if TYPE_CHECKING:
    from shmbus.config import AccessRule, CallRule, Config, PublishRule, TopicSettings


def as_settings(config: "Config | Settings | None") -> Settings:
    """Whatever a coordinator is given to go by; None: an embedded bus with the defaults."""
    if config is None:
        return Settings()
    return config if isinstance(config, Settings) else settings_of(config)


def default_settings(bus: str | None, collectors: Sequence[str] | None) -> Settings:
    """Those of the default configuration, `settings_of(Config())`. `bus`: its name, instead of $SHMBUS_BUS.

    `collectors`: those that there are, instead of all that are installed. Raises ConfigurationError for a name of no
    bus.
    """
    name = check_bus_name(bus or os.environ.get("SHMBUS_BUS") or "default")
    names = _installed() if collectors is None else collectors
    return Settings(bus=name, collectors=tuple(map(CollectorPlan, names)))


def _installed() -> list[str]:
    from importlib.metadata import entry_points  # slower than most of the start, and not every bus has collectors

    return sorted(entry_points(group=GROUP).names)


def settings_of(config: "Config", *, collectors: Sequence[str] | None = None) -> Settings:
    """From a configuration. `collectors`: those that there are, instead of all that are installed or configured."""
    names = config.collector_names() if collectors is None else collectors
    its = config.bus
    return Settings(
        bus=its.name,
        max_topics=its.max_topics,
        max_sessions=its.max_sessions,
        max_collectors=its.max_collectors,
        max_durables=its.max_durables,
        max_descriptor_bytes=its.max_descriptor_bytes,
        max_bells=its.max_bells,
        session_cursors=its.session_cursors,
        grace_seconds=its.grace_seconds,
        default=_topic_plan(config.defaults),
        topics={rule.topic: _topic_plan(rule) for rule in config.topics},
        declared=tuple(config.declared_topics()),
        collectors=tuple(
            replace(plan, enabled=True) if collectors is not None else plan
            for plan in (_collector(config, name) for name in names)
        ),
        publish=tuple(replace(_grant(rule.topic, rule), budget=_budget(rule)) for rule in config.access.publish),
        subscribe=_grants(config.access.subscribe),
        call=tuple(map(_call_grant, config.access.call)),
        administer=_grants(config.access.administer),
        tokens={name: HashedToken.parse(text) for name, text in config.access.tokens.items()},
        budget_grace_ns=int(config.access.budget_grace_seconds * 1e9),
        audit_file=config.access.audit_file,
    )


def _topic_plan(topic: "TopicSettings") -> TopicPlan:
    ring = RingPlan(
        slots=topic.slots,
        arena_bytes=topic.arena_bytes,
        producers=topic.producers,
        gates=topic.gates,
        max_messages=topic.effective_max_messages,
        max_bytes=topic.effective_max_bytes,
        max_message_bytes=topic.max_message_bytes,
        retention_ns=topic.retention_ms * 1_000_000,
        claim_timeout_ns=topic.claim_timeout_ms * 1_000_000,
    )
    return TopicPlan(
        ring,
        on_full=topic.on_full,
        block_timeout_ns=topic.block_timeout_ms * 1_000_000,
        urgent_slots=topic.urgent_slots,
        urgent_arena_bytes=topic.urgent_arena_bytes,
        max_stall_ns=topic.max_stall_ms * 1_000_000,
        keep_last=topic.keep_last,
        keep_last_bytes=topic.keep_last_bytes,
    )


def _collector(config: "Config", name: str) -> CollectorPlan:
    from shmbus.config import CollectorSettings

    its, bus = config.collectors.get(name) or CollectorSettings(), config.bus
    return CollectorPlan(
        name,
        enabled=its.enabled,
        command=tuple(its.command),
        arguments=tuple(its.arguments),
        environment=dict(its.environment),
        working_directory=its.working_directory,
        uid=its.user,
        nice=its.nice,
        limits=its.limits.model_dump(exclude_none=True),
        cgroup=its.cgroup.model_dump(exclude_none=True),
        topics=tuple(its.topics),
        after=tuple(its.after),
        grace_seconds=bus.grace_seconds if its.grace_seconds is None else its.grace_seconds,
        heartbeat_seconds=(bus.heartbeat_ms if its.heartbeat_ms is None else its.heartbeat_ms) / 1000,
        unhealthy_seconds=its.restart_unhealthy_seconds,
        policy=Policy(
            restart=Restart(its.restart),
            first_delay=its.restart_first_seconds,
            longest_delay=its.restart_most_seconds,
            budget=its.restart_budget,
            window=its.restart_window_seconds,
            start_timeout=its.start_timeout_seconds,
        ),
    )


def _grants(rules: "Sequence[AccessRule]") -> tuple[Grant, ...]:
    return tuple(_grant(rule.topic, rule) for rule in rules)


def _grant(topic: str, rule: "AccessRule | CallRule") -> Grant:
    return Grant(
        topic, frozenset(rule.users), frozenset(rule.groups), frozenset(rule.collectors), frozenset(rule.tokens)
    )


def _budget(rule: "PublishRule") -> Budget | None:
    budget = Budget(rule.messages_per_second, rule.bytes_per_second)
    return None if budget == Budget() else budget


def _call_grant(rule: "CallRule") -> Grant:
    from shmbus.config import OPERATIONS

    operations = frozenset(OPERATIONS[name] for name in rule.operations)
    return replace(_grant(CALL_REQUESTS + rule.service, rule), operations=operations)
