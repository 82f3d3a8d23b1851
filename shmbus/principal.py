"""Rings by principal: who calls and who answers writes to memory that nobody else has.

Whoever may publish to a topic holds the memory of its ring, so what stands there may be any publisher's work, whatever
it says of itself. Where it matters who said something, the coordinator gives the publishers of each principal a ring of
their own, below the topic that they asked for:

    control.collector.<collector>                   calls of root and of the user who runs the bus
    control.collector.<collector>.<principal>       calls of another principal
    control.rpc.response.<client>                   answers of collectors that run as one of those two
    control.rpc.response.<client>.<principal>       answers of collectors of another principal

Whoever subscribes to the topic reads them all. Of a message, the topic's name says in whose ring it stands: the
coordinator told it with the ring, and nobody who writes to the ring can change that.

A principal is whatever the access rules tell apart: `u<uid>-<digest>`, where the digest stands for groups, supervised
collector and token. The user is told in clear, so that it takes no trust in the digest to know him. Root and the bus's
own user are none: they may do everything, so between the two there is nothing to be told apart.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

_SHAPE: Final = re.compile(
    r"(control\.collector\.(?!(?:lifecycle|config|task|registration)(?:\.|\Z))[a-z0-9_-]+"
    r"|control\.rpc\.response\.[a-z0-9_-]+)"
    r"(?:\.(u([0-9]{1,10})-[0-9a-f]{16}))?"
)


class RingName(NamedTuple):
    """What a topic's name says: below which topic it was asked for, and whose ring it is ("": root's, the bus's)."""

    public: str
    principal: str
    uid: int | None  # of the principal


def principal_of(uid: int, gid: int, groups: Iterable[int], collector: str, token: bytes) -> str:
    """The name of a principal; `token` is whatever tells the one that it has presented from others, or empty."""
    facts = repr((gid, sorted(set(groups)), collector, token))
    return f"u{uid}-{blake2b(facts.encode(), digest_size=8).hexdigest()}"


@lru_cache(1024)
def ring_name(topic: str) -> RingName:
    """Take a name apart. One of a topic that all its publishers share is its own public name."""
    found = _SHAPE.fullmatch(topic)
    if found is None or found[2] is None:
        return RingName(topic, "", None)
    return RingName(found[1], found[2], int(found[3]))


def ring_of(topic: str, principal: str) -> str:
    """The name of the ring in which that principal publishes to a topic: the topic's, unless it tells them apart."""
    found = _SHAPE.fullmatch(topic)
    return topic if not principal or found is None or found[2] is not None else f"{topic}.{principal}"
