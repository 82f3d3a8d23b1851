"""Which types of events a subscription may be given, as far as that can be known when it begins."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor_pool import Default

from shmbus import schema
from shmbus.topic import is_pattern
from shmbus.v1.delivery_pb2 import DeadLetter
from shmbus.v1.eventbus_pb2 import CollectionEventPayload, EventBusMessage

ENVELOPE: Final = EventBusMessage.DESCRIPTOR.full_name

COLLECTION: Final = CollectionEventPayload.DESCRIPTOR.full_name


class EventType(NamedTuple):
    """As CEL knows it; the pool has its descriptor (None: it takes none)."""

    name: str
    pool: Any = None


ANY: Final = EventType("dyn")


class Expected(NamedTuple):
    """What topics carry of which messages may come: types by their full names, that of the envelope among them."""

    carried: frozenset[str]
    more: bool  # topics that are made later may carry others

    @property
    def remedy(self) -> str:
        """What to do when a type is not among them, for the end of a sentence."""
        return ". A type that is not known here yet: import its module first, or write dyn(event)" if self.more else ""

    def types(self) -> Iterator[EventType]:
        """What an event may be."""
        if self.more or ENVELOPE in self.carried:
            yield from (EventType(name, Default()) for name in _payloads())
            yield EventType("null_type")
        yield EventType("bytes")
        own = self.carried | (_imported() | {DeadLetter.DESCRIPTOR.full_name} if self.more else frozenset())
        for name in sorted(own - {ENVELOPE}):
            yield _own(name)


def expected(patterns: Iterable[str], topics: Mapping[str, str]) -> Expected:
    """Of a subscription to these patterns; `topics` are all that there are, with what they carry."""
    patterns = tuple(patterns)
    if not any(is_pattern(pattern) or pattern not in topics for pattern in patterns):
        return Expected(frozenset(topics[pattern] for pattern in patterns), more=False)
    return Expected(frozenset(topics.values()), more=True)


ANYTHING: Final = expected(("#",), {})
"""Of which nothing more is known than the schema."""


def _payloads() -> Iterator[str]:
    outer: Any = EventBusMessage.DESCRIPTOR.oneofs_by_name["payload"].fields
    inner: Any = CollectionEventPayload.DESCRIPTOR.oneofs_by_name["event_data"].fields
    names = (field.message_type.full_name for field in chain(outer, inner))
    return (name for name in names if name != COLLECTION)  # of which the event is what is in it


def _own(name: str) -> EventType:
    """One that nobody here knows may be anything."""
    try:
        return EventType(name, schema.message_class(name).DESCRIPTOR.file.pool)
    except KeyError:
        return ANY


def _imported() -> frozenset[str]:
    """The types of generated modules that this process has imported, less protobuf's own and those of the schema."""
    found: set[str] = set()
    for module in list(sys.modules.values()):
        file: Any = getattr(module, "__dict__", {}).get("DESCRIPTOR")
        if hasattr(file, "message_types_by_name") and not file.package.startswith(_NOBODYS):
            found.update(one.full_name for one in file.message_types_by_name.values())
    return frozenset(found)


_NOBODYS: Final = ("google.protobuf", "shmbus.v1")
