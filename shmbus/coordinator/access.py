"""Who may do what. Without rules: the coordinator's own user and root, everything; nobody else, anything.

A rule is for users, groups or holders of a token, and names patterns of topics. What no rule allows is denied.
"""

import os
from collections.abc import Iterable

from shmbus.coordinator.registry import Client
from shmbus.coordinator.settings import AccessRule
from shmbus.errors import AccessDenied
from shmbus.topic import is_pattern, matches


class Access:
    """The rules of one bus."""

    def __init__(self, rules: Iterable[AccessRule], own_uid: int | None = None) -> None:
        self._rules = tuple(rules)
        self._trusted = {0, os.geteuid() if own_uid is None else own_uid}

    @property
    def names_others(self) -> bool:
        """May anybody but the coordinator's own user connect?"""
        return bool(self._rules)

    def check_connect(self, uid: int, gid: int, groups: Iterable[int], who: str) -> None:
        """Raises AccessDenied for a user whom nothing could be allowed."""
        if uid in self._trusted:
            return
        mine = {gid, *groups}
        if not any(uid in rule.users or mine & rule.groups or rule.tokens for rule in self._rules):
            raise AccessDenied("connect to", "the bus", who)

    def check_publish(self, client: Client, topic: str) -> None:
        """Raises AccessDenied."""
        if not any(matches(pattern, topic) for rule in self._rules_of(client) for pattern in rule.publish):
            self._deny_unless_trusted(client, "publish to", topic)

    def check_subscribe(self, client: Client, pattern: str) -> None:
        """A subscription may not reach further than the rules. Raises AccessDenied."""
        if not any(covers(allowed, pattern) for rule in self._rules_of(client) for allowed in rule.subscribe):
            self._deny_unless_trusted(client, "subscribe to", pattern)

    def check_administer(self, client: Client, thing: str) -> None:
        """Raises AccessDenied."""
        if not any(rule.administer for rule in self._rules_of(client)):
            self._deny_unless_trusted(client, "administer", thing)

    def _rules_of(self, client: Client) -> list[AccessRule]:
        groups = {client.gid, *client.groups}
        return [
            rule
            for rule in self._rules
            if client.uid in rule.users
            or groups & rule.groups
            or (client.token is not None and client.token in rule.tokens)
        ]

    def _deny_unless_trusted(self, client: Client, action: str, thing: str) -> None:
        if client.uid not in self._trusted:
            raise AccessDenied(action, thing, client.who)


def covers(allowed: str, pattern: str) -> bool:
    """Does `allowed` match every topic that `pattern` matches?"""
    if not is_pattern(pattern):
        return matches(allowed, pattern)
    ours, theirs = allowed.split("."), pattern.split(".")
    if ours[-1] == "#":
        ours.pop()
        if len(theirs) < len(ours) or (theirs[-1] == "#" and len(theirs) - 1 < len(ours)):
            return False
        theirs = theirs[: len(ours)]
    elif theirs[-1] == "#":
        return False
    return len(ours) == len(theirs) and all(a == "+" or a == b for a, b in zip(ours, theirs, strict=True))
