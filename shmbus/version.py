"""Versions of the control protocol: what each of them can do, and which of them a side speaks.

The major version says whether two sides understand each other at all; a minor version only adds, and what it adds has
names, its capabilities. A client speaks the minor versions before its own, too, so it works under a coordinator that is
older: without what that lacks (see `capability`). The patch version means nothing to the other side.

This is not the layout of shared memory, whose numbers stand in each segment: see `coordinator.layouts`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shmbus.v1.eventbus_pb2 import MessageVersion


class Version(NamedTuple):
    """As the protocol carries it, less the text."""

    major: int
    minor: int
    patch: int = 0

    @classmethod
    def of(cls, message: MessageVersion) -> "Version":
        """What a message says."""
        return cls(message.major, message.minor, message.patch)

    def message(self) -> MessageVersion:
        """For the wire."""
        return MessageVersion(major=self.major, minor=self.minor, patch=self.patch, protocol_version=str(self))

    def accepts(self, client: "Version") -> bool:
        """May a coordinator of this version speak that one, which a client offers?"""
        return client.major == self.major and client.minor <= self.minor

    def __str__(self) -> str:
        return ".".join(map(str, self))


@dataclass(frozen=True)
class Speaker:
    """What one side can: its newest version, the capabilities by the minor that brought them, and which of them go.

    `deprecated` says, by capability, what to use in its place.
    """

    version: Version
    capabilities: Mapping[int, tuple[str, ...]]
    deprecated: Mapping[str, str] = field(default_factory=dict)

    def supported(self) -> list[Version]:
        """Every version that it speaks, the newest first."""
        major, newest, patch = self.version
        return [Version(major, minor, patch if minor == newest else 0) for minor in range(newest, -1, -1)]

    def able(self, version: Version) -> tuple[str, ...]:
        """What it can when that version is spoken."""
        return tuple(self._named(version.minor))

    def _named(self, minor: int) -> Iterator[str]:
        for since, names in sorted(self.capabilities.items()):
            if since <= minor:
                yield from names


OURS: Final = Speaker(
    Version(1, 1, 0),
    {
        0: ("basic_pub_sub", "rpc_calls", "correlation_tracking"),
        1: (
            *("advanced_routing", "circuit_breaker"),  # as published; what follows is ours
            *("durable_subscriptions", "durable_publishers", "last_per_key", "topic_changes", "takeover"),
            *("call_rules", "configuration_changes", "caller_rings", "overview"),
        ),
    },
)
