"""Who may do what. Without rules: the coordinator's own user and root, everything; nobody else, anything.

A grant is for users and groups, and names a pattern of topics. What no grant allows is denied. A supervised collector
may publish to the topics that it is configured with, whoever it runs as, and to no others. It may be called, whoever it
runs as: it reads the topic of its own calls, and answers. And it may say that it lives, on the topic of its heartbeats.
"""

import os
from collections.abc import Iterable

from shmbus.coordinator.registry import Client
from shmbus.coordinator.settings import Grant, Settings
from shmbus.errors import AccessDenied
from shmbus.topic import CALL_REQUESTS, CALL_RESPONSES, HEARTBEATS, is_pattern, matches


class Access:
    """The rules of one bus."""

    def __init__(self, settings: Settings, own_uid: int | None = None) -> None:
        self._trusted = {0, os.geteuid() if own_uid is None else own_uid}
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """These rules count from now on. What is open stays open."""
        self._publish, self._subscribe, self._administer = settings.publish, settings.subscribe, settings.administer
        self._supervised = {plan.name for plan in settings.collectors}
        self._topics = {plan.name: plan.topics for plan in settings.collectors if plan.topics}
        self._collectors = {plan.uid for plan in settings.collectors if plan.uid is not None} - self._trusted

    @property
    def names_others(self) -> bool:
        """May anybody but the coordinator's own user connect?"""
        return bool(self._publish or self._subscribe or self._administer or self._collectors)

    def check_connect(self, uid: int, gid: int, groups: Iterable[int], who: str) -> None:
        """Raises AccessDenied for a user whom nothing is allowed."""
        grants = (*self._publish, *self._subscribe, *self._administer)
        if uid in self._trusted or uid in self._collectors:
            return
        if not any(_is_for(grant, uid, {gid, *groups}) for grant in grants):
            raise AccessDenied("connect to", "the bus", who)

    def check_publish(self, client: Client, topic: str) -> None:
        """Raises AccessDenied."""
        own_topics = (_calls_of(client), f"{HEARTBEATS}{client.collector}")
        if self._answers(client) and (topic.startswith(CALL_RESPONSES) or topic in own_topics):
            return
        own = self._topics.get(client.collector or "")
        if own is None:
            self._check(client, self._publish, "publish to", topic)
        elif not any(covers(pattern, topic) for pattern in own):
            remedy = f"Add it to collectors.{client.collector}.topics in the configuration."
            raise AccessDenied("publish to", topic, client.who, remedy)

    def check_subscribe(self, client: Client, pattern: str) -> None:
        """A subscription may not reach further than one of its grants. Raises AccessDenied."""
        if not (self._answers(client) and pattern == _calls_of(client)):
            self._check(client, self._subscribe, "subscribe to", pattern)

    def check_administer(self, client: Client, thing: str) -> None:
        """`thing`: a topic, or "#" for what concerns the whole bus. Raises AccessDenied."""
        self._check(client, self._administer, "administer", thing)

    def _answers(self, client: Client) -> bool:
        return client.collector in self._supervised

    def _check(self, client: Client, grants: Iterable[Grant], action: str, thing: str) -> None:
        if client.uid in self._trusted:
            return
        groups = {client.gid, *client.groups}
        if not any(_is_for(grant, client.uid, groups) and covers(grant.topic, thing) for grant in grants):
            raise AccessDenied(action, thing, client.who)


def _calls_of(client: Client) -> str:
    return f"{CALL_REQUESTS}{client.collector}"


def _is_for(grant: Grant, uid: int, groups: set[int]) -> bool:
    return uid in grant.users or bool(groups & grant.groups)


def covers(allowed: str, pattern: str) -> bool:
    """Does `allowed` match every topic that `pattern` matches?"""
    if not is_pattern(pattern):
        return matches(allowed, pattern)
    ours, theirs = allowed.split("."), pattern.split(".")
    if ours[-1] == "#":
        ours.pop()
        if len(theirs) - (theirs[-1] == "#") < len(ours):
            return False
        theirs = theirs[: len(ours)]
    elif theirs[-1] == "#":
        return False
    return len(ours) == len(theirs) and all(a in ("+", b) for a, b in zip(ours, theirs, strict=True))
