"""The topics of calls, and how large their rings are made: many clients have one each."""

import re
from contextlib import closing
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from shmbus.directory import DirectoryReader
from shmbus.errors import TopicNameError
from shmbus.topic import CALL_REQUESTS, CALL_RESPONSES
from shmbus.v1.control_pb2 import TopicLimits

if TYPE_CHECKING:
    from shmbus.bus import Bus

RESERVED: Final = frozenset({"lifecycle", "config", "task", "registration"})  # leaves of control.collector. themselves
REQUEST_LIMITS: Final = TopicLimits(slots=1024, arena_bytes=1 << 20)
RESPONSE_LIMITS: Final = TopicLimits(slots=256, arena_bytes=128 << 10)
LARGEST_ARENA: Final = 16 << 20  # that a client's ring grows to for its answers

_SEGMENT: Final = re.compile(r"[a-z0-9_-]+")
_taken: Final[WeakKeyDictionary["Bus", set[str]]] = WeakKeyDictionary()


@lru_cache(1024)
def request_topic(collector_id: str) -> str:
    """Where a collector is asked. Raises TopicNameError for an id that cannot be one."""
    if not _SEGMENT.fullmatch(collector_id):
        raise TopicNameError(CALL_REQUESTS + collector_id, "a collector's id is one segment of a-z, 0-9, '_' and '-'.")
    if collector_id in RESERVED:
        raise TopicNameError(CALL_REQUESTS + collector_id, f"{', '.join(sorted(RESERVED))} are for all collectors.")
    return CALL_REQUESTS + collector_id


def response_topic(client_id: str) -> str | None:
    """Where a client is answered; None for an id that cannot be one."""
    return CALL_RESPONSES + client_id if _SEGMENT.fullmatch(client_id) else None


def exists(bus: "Bus", topic: str) -> bool:
    """Has anybody made it? Read from shared memory."""
    with closing(DirectoryReader(bus.directory_fd, boot_id=bus._boot_id)) as directory:
        return any(entry.name == topic for entry in directory.snapshot().topics)


def separated(bus: "Bus") -> bool:
    """Does the coordinator give each principal a ring of its own? Older ones have all of them write to one."""
    return "caller_rings" in bus.capabilities


def make(bus: "Bus", topic: str, limits: TopicLimits) -> None:
    """Have it, with its size, which whoever publishes there later need not know."""
    if separated(bus):
        bus._make_topic(topic, limits)
    else:
        bus._publisher(topic, None, None, None, 0, False, 0, limits).close()


def take_client_id(bus: "Bus") -> str:
    """An id that no other client has now. Ids, and so topics, are used again by later clients."""
    taken = _taken.setdefault(bus, set())
    free = next(name for number in count() if (name := f"c{bus._session_bell}-{number}") not in taken)
    taken.add(free)
    return free


def give_back_client_id(bus: "Bus", client_id: str) -> None:
    """It is nobody's again."""
    _taken.get(bus, set()).discard(client_id)
