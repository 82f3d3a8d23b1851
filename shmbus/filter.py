"""What a subscription wants of the topics that its patterns match.

Judged where a message is received, in order of cost: what the frame's header says, then the envelope's metadata and
correlation (the event in it is stepped over), and only then an expression over the event itself.
"""

import fnmatch
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple, Self

from google.protobuf.message import DecodeError

from shmbus._core import KIND_EVENT, Message
from shmbus.errors import FilterError
from shmbus.expected import ANYTHING, Expected
from shmbus.v1.common_pb2 import EventType
from shmbus.v1.control_pb2 import EnvelopeHead
from shmbus.v1.eventbus_pb2 import CorrelationMetadata, MessageType, SubscriptionConfig
from shmbus.where import FilterFault, Where, producer_name

Judge = Callable[[Message], bool]

_KINDS: Final[tuple[tuple[Any, tuple[str, ...], str], ...]] = (
    (Collection, ("sources", "correlation_ids", "correlation_patterns", "stages"), "it is a collection of texts"),
    (Collection, ("message_types", "event_types"), "it is a collection of numbers of the schema's enum"),
    (Mapping, ("tags", "any_tags"), "it is a mapping of texts to texts, such as {'case': '7'}"),
    (tuple, ("sequences", "times"), "it is (first, last), of which None is open"),
    (int, ("min_priority", "max_priority"), "it is a number from 0 to 255"),
    (str | None, ("where",), "it is an expression, as text"),
)
"""What each field is, for those who give something else."""
MOST_WORDS: Final = 1000  # characters, of a filter
_RANGES: Final = ("sequences", "times")
_COLLECTION: Final = 3  # the envelope's field of collection events
_EVENT_TYPES: Final = {3: 0, 4: 1, 5: 2, 6: 3, 7: 4}  # by the field of the event in it


@dataclass(frozen=True, slots=True)
class Filter:
    """All that is given must hold. What is published as bare bytes has no types, correlation, tags or stages.

    Numbers of `message_types` and `event_types` are those of the schema's enums. `sources`: who the message says it is
    from, or the producer's attested name. Correlation ids count for a message and for its workflow's root; patterns are
    globs. Tags: all of `tags`, one of `any_tags`. `sequences` and `times` are (first, last), None: open; times have a
    time zone. `where` is an expression in CEL over topic, lane, sequence, priority, producer, pid, metadata,
    correlation and event; what no message that may come can have is refused. A message for which it has no value, such
    as one without the field, does not match: it is filtered, and its reason counted in `filter_faults`, and logged
    once. It needs `shmbus[cel]`.
    """

    message_types: Collection[int] = ()
    event_types: Collection[int] = ()
    sources: Collection[str] = ()
    min_priority: int = 0
    max_priority: int = 255
    correlation_ids: Collection[str] = ()
    correlation_patterns: Collection[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    any_tags: Mapping[str, str] = field(default_factory=dict)
    stages: Collection[str] = ()
    sequences: tuple[int | None, int | None] = (None, None)
    times: tuple[datetime | None, datetime | None] = (None, None)
    where: str | None = None

    @classmethod
    def of(cls, config: SubscriptionConfig, **more: Any) -> Self:
        """What a SubscriptionConfig of the schema asks for, besides its patterns and quality of service."""
        its = config.correlation_filter
        return cls(
            message_types=tuple(config.message_type_filters),
            event_types=tuple(config.event_type_filters),
            correlation_ids=tuple(its.correlation_ids),
            correlation_patterns=tuple(its.correlation_patterns),
            tags=dict(its.correlation_tags),
            stages=tuple(its.workflow_stages),
            **more,
        )

    def sieve(self, expected: Callable[[], Expected] = lambda: ANYTHING) -> "Sieve":
        """What says of a message whether it is wanted. Raises FilterError for what makes no sense of what may come."""
        self._check()
        where = Where(self.where, expected) if self.where is not None else None
        judges = [self._header(), self._head(), where.judge if where is not None else None]
        present = [judge for judge in judges if judge is not None]
        return Sieve(tolerant(lambda message: all(judge(message) for judge in present)), where, self.words)

    @property
    def words(self) -> str:
        """What it asks for in a few words, which are the same for the same filter; empty: for everything."""
        nothing = Filter()._plain()
        asked = [f"{name}={value!a}" for name, value in self._plain().items() if value != nothing[name]]
        words = f"Filter({', '.join(asked)})" if asked else ""
        if len(words) <= MOST_WORDS:
            return words
        return f"{words[:MOST_WORDS]}... (SHA-256 {sha256(words.encode()).hexdigest()})"

    def _plain(self) -> dict[str, Any]:
        """Its fields, the same for what asks for the same."""
        return {one.name: _plain(getattr(self, one.name), ordered=one.name in _RANGES) for one in fields(self)}

    def _check(self) -> None:
        self._check_kinds()
        for name, known in (("message_types", MessageType), ("event_types", EventType)):
            for number in getattr(self, name):
                if number not in known.values():
                    raise FilterError(name, number, f"it is none of {', '.join(known.keys())}")
        if not 0 <= self.min_priority <= self.max_priority <= 255:
            present = (self.min_priority, self.max_priority)
            raise FilterError("min_priority to max_priority", present, "they are 0 to 255, in order")
        for moment in self.times:
            if moment is not None and moment.tzinfo is None:
                raise FilterError("times", str(moment), "it has no time zone; moment.astimezone() has one")
        for name in _RANGES:
            first, last = getattr(self, name)
            if first is not None and last is not None and last < first:
                raise FilterError(name, (str(first), str(last)), "the last comes before the first")

    def _check_kinds(self) -> None:
        for kinds, names, what in _KINDS:
            for name in names:
                present = getattr(self, name)
                if isinstance(present, str) and kinds is Collection:
                    raise FilterError(name, present, f"{what}: put it into brackets")
                if not isinstance(present, kinds):
                    raise FilterError(name, present, what)
        for name in ("message_types", "event_types"):
            for number in getattr(self, name):
                if isinstance(number, str):
                    raise FilterError(name, number, f"it goes by numbers: write EventType.{number} or the like")
        for name in _RANGES:
            if len(getattr(self, name)) != 2:
                raise FilterError(name, getattr(self, name), "it is (first, last), of which None is open")

    def _header(self) -> Judge | None:
        """By the frame's header."""
        first, last = (_monotonic_ns(moment) for moment in self.times)
        low, high = self.sequences
        if (self.min_priority, self.max_priority, first, last, low, high) == (0, 255, None, None, None, None):
            return None
        return lambda message: (
            self.min_priority <= message.priority <= self.max_priority
            and (low is None or message.sequence >= low)
            and (high is None or message.sequence <= high)
            and (first is None or message.time_ns >= first)
            and (last is None or message.time_ns <= last)
        )

    def _head(self) -> Judge | None:
        """By the envelope's metadata and correlation."""
        by_correlation = self._correlation()
        if by_correlation is None and not (self.message_types or self.event_types or self.sources):
            return None
        message_types, event_types = frozenset(self.message_types), frozenset(self.event_types)
        sources = frozenset(self.sources)
        needs_head = bool(message_types or by_correlation)

        def judge(message: Message) -> bool:
            if message.kind != KIND_EVENT:
                return not (needs_head or event_types) and producer_name(message) in sources
            head = EnvelopeHead.FromString(message.payload)
            return (
                (not sources or head.metadata.source_id in sources or producer_name(message) in sources)
                and (not message_types or head.metadata.message_type in message_types)
                and (by_correlation is None or by_correlation(head.correlation))
                and (not event_types or _event_type(message) in event_types)
            )

        return judge

    def _correlation(self) -> Callable[[CorrelationMetadata], bool] | None:
        if not (self.correlation_ids or self.correlation_patterns or self.tags or self.any_tags or self.stages):
            return None
        ids, stages = frozenset(self.correlation_ids), frozenset(self.stages)
        patterns = [re.compile(fnmatch.translate(pattern)) for pattern in self.correlation_patterns]
        tags, any_tags = self.tags.items(), self.any_tags.items()

        def judge(its: CorrelationMetadata) -> bool:
            both = (its.correlation_id, its.root_correlation_id)
            has = its.correlation_tags
            return (
                (not (ids or patterns) or any(one in ids or any(p.match(one) for p in patterns) for one in both if one))
                and (not stages or its.workflow_stage in stages)
                and all(has.get(key) == value for key, value in tags)
                and (not any_tags or any(has.get(key) == value for key, value in any_tags))
            )

        return judge


def _plain(value: Any, *, ordered: bool) -> Any:
    if ordered:
        return tuple(str(one.astimezone(UTC)) if isinstance(one, datetime) else one for one in value)
    if isinstance(value, Mapping):
        return dict(sorted(value.items()))
    return sorted(set(value)) if isinstance(value, Collection) and not isinstance(value, str) else value


class Sieve(NamedTuple):
    """What a subscription goes by."""

    judge: Judge
    where: Where | None
    words: str  # what it asks for; empty: nothing

    @property
    def faults(self) -> tuple[FilterFault, ...]:
        """Why messages did not match for which the expression had no value, so far."""
        return () if self.where is None else self.where.faults


def sieve_of(filter: Filter | None, expected: Callable[[], Expected]) -> Sieve | None:
    """What a subscription with that filter goes by. Raises FilterError; TypeError for what is no filter."""
    if filter is None:
        return None
    if not isinstance(filter, Filter):
        raise TypeError(f"filter is a shmbus.Filter(...), not {filter!r}")
    return filter.sieve(expected)


def tolerant(judge: Judge) -> Judge:
    """An envelope that cannot be parsed is handed out, where it is seen, and not dropped in silence."""

    def judged(message: Message) -> bool:
        try:
            return judge(message)
        except DecodeError:
            return True

    return judged


def _event_type(message: Message) -> int | None:
    place = message._locate()
    if place is not None:
        outer, inner, _ = place
        return _EVENT_TYPES.get(inner) if outer == _COLLECTION else None
    envelope = message.envelope
    if envelope is None or not envelope.HasField("collection_event"):
        return None
    return int(envelope.collection_event.event_type)


def _monotonic_ns(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    return time.monotonic_ns() - round((datetime.now(moment.tzinfo) - moment).total_seconds() * 1e9)
