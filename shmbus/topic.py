"""Topic names, patterns of topics, and which patterns match a name.

A topic is 1 to 8 segments of [a-z0-9_-]+ joined by dots, at most 200 bytes: `events.process.start`. The roots `system`
and `debug` belong to the bus itself. In a pattern `+` stands for exactly one segment, and `#`, only as the last, for
zero or more: `events.#` matches `events`, `events.process` and `events.process.start`.

Of two patterns that match a topic the more specific is found from the left: at the first segment in which they differ a
name comes before `+`, and `+` before `#`; a pattern that ends there comes before one that goes on with `#`.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Final, Generic, TypeVar

from shmbus.errors import PatternError, TopicNameError

MAX_SEGMENTS: Final = 8
MAX_BYTES: Final = 200
RESERVED_ROOTS: Final = frozenset({"system", "debug"})
CALL_REQUESTS: Final = "control.collector."
"""Before a collector's id: where it is called."""
CALL_RESPONSES: Final = "control.rpc.response."
HEARTBEATS: Final = "control.health.heartbeat."  # and the collector's id
"""Before a client's id: where it is answered."""
REGISTRATIONS: Final = "control.collector.registration"
"""Which collectors there are, and what they can do."""
LIFECYCLE: Final = "control.collector.lifecycle"
"""What all collectors are told: to begin."""
AGENTS: Final = "control.agent."
"""Before an agent's name: what it notes about its tasks."""
HEALTH_STATUS: Final = "control.health.status"
"""Alerts about the bus itself."""

_SEGMENT = re.compile(r"[a-z0-9_-]+")
_Value = TypeVar("_Value")


def check_topic(topic: str, *, internal: bool = False) -> str:
    """The name itself, if it can be one. `internal` topics may stand below a reserved root. Raises TopicNameError."""
    if not isinstance(topic, str):
        raise TypeError(f"a topic is a text such as 'events.process.start', not {topic!r}")
    segments = topic.split(".")
    if reason := _topic_fault(topic, segments) or ("" if internal else _reserved(segments[0])):
        raise TopicNameError(topic, reason)
    return topic


def check_pattern(pattern: str) -> str:
    """The pattern itself, if it can be one. Raises PatternError."""
    if not isinstance(pattern, str):
        raise TypeError(f"a pattern is a text such as 'events.process.#', not {pattern!r}")
    segments = pattern.split(".")
    if reason := _size_fault(pattern, segments) or _wildcard_fault(segments):
        raise PatternError(pattern, reason)
    return pattern


def is_pattern(text: str) -> bool:
    """Does it hold a wildcard? A topic's name is also a pattern, one that matches only itself."""
    return "+" in text or "#" in text


def matches(pattern: str, topic: str) -> bool:
    """Does the pattern match the topic? Both must be valid."""
    wanted, segments = pattern.split("."), topic.split(".")
    if wanted[-1] == "#":
        wanted.pop()
        del segments[len(wanted) :]
    return len(wanted) == len(segments) and all(a in ("+", b) for a, b in zip(wanted, segments, strict=True))


def specificity(pattern: str) -> tuple[int, ...]:
    """A sorting key: of the patterns that match one topic, the most specific comes first."""
    return tuple({"+": 1, "#": 2}.get(segment, 0) for segment in pattern.split("."))


def most_specific(patterns: Iterable[str], topic: str) -> str:
    """The most specific of the patterns that match the topic. Raises ValueError when none does."""
    return min((pattern for pattern in patterns if matches(pattern, topic)), key=specificity)


def _topic_fault(topic: str, segments: list[str]) -> str:
    if is_pattern(topic):
        return "'+' and '#' are wildcards, for subscriptions only. Publish to one topic."
    return _size_fault(topic, segments) or _segment_fault(segments)


def _size_fault(text: str, segments: list[str]) -> str:
    if not text:
        return "it is empty. Write a name such as 'events.process.start'."
    if len(segments) > MAX_SEGMENTS:
        return f"it has {len(segments)} segments, the limit is {MAX_SEGMENTS}. Join some of them with '_' or '-'."
    if (size := len(text.encode(errors="replace"))) > MAX_BYTES:
        return f"it has {size} bytes, the limit is {MAX_BYTES}. Shorten it."
    return ""


def _wildcard_fault(segments: list[str]) -> str:
    if "#" in segments[:-1]:
        return "'#' may only be the last segment. Use '+' for one segment in the middle."
    return _segment_fault([segment for segment in segments if segment not in ("+", "#")])


def _segment_fault(segments: list[str]) -> str:
    for segment in segments:
        if not segment:
            return "it has an empty segment. Remove the extra dot."
        if "*" in segment:
            return "'*' is no wildcard. Use '+' for one segment, or '#' at the end for any number of them."
        if "+" in segment or "#" in segment:
            return f"a wildcard is a whole segment, and {segment!r} is more. Use '+' or '#' alone."
        if not _SEGMENT.fullmatch(segment):
            return f"segment {segment!r} holds other characters than a-z, 0-9, '_' and '-'. Replace them."
    return ""


def _reserved(root: str) -> str:
    return f"the root '{root}' is reserved for the bus itself. Choose another." if root in RESERVED_ROOTS else ""


class _Node(Generic[_Value]):
    """Where the patterns with one common beginning meet. Nearly all nodes are leaves, so nothing is made in advance."""

    __slots__ = ("exact", "names", "plus", "rest")

    def __init__(self) -> None:
        self.names: dict[str, _Node[_Value]] | None = None  # patterns that go on with a name
        self.plus: _Node[_Value] | None = None  # patterns that go on with '+'
        self.exact: Collection[_Value] = ()  # values of the pattern that ends here
        self.rest: Collection[_Value] = ()  # values of the pattern that ends here with '#'

    def child(self, segment: str) -> "_Node[_Value] | None":
        return self.plus if segment == "+" else self.names.get(segment) if self.names else None

    def make_child(self, segment: str) -> "_Node[_Value]":
        if segment == "+":
            self.plus = self.plus or _Node()
            return self.plus
        if self.names is None:
            self.names = {}
        return self.names.setdefault(segment, _Node())

    def drop_child(self, segment: str) -> None:
        if segment == "+":
            self.plus = None
        elif self.names is not None:
            del self.names[segment]
            self.names = self.names or None

    def is_empty(self) -> bool:
        return not (self.names or self.plus or self.exact or self.rest)


class PatternTrie(Generic[_Value]):
    """Patterns, each with its values (subscriptions, settings). Values are hashable.

    What a match costs depends on the topic's segments and on the patterns that match it, not on how many other patterns
    there are nor on how many values share one.
    """

    __slots__ = ("_count", "_root")

    def __init__(self) -> None:
        self._root: _Node[_Value] = _Node()
        self._count = 0

    def __len__(self) -> int:
        """The number of (pattern, value) pairs."""
        return self._count

    def insert(self, pattern: str, value: _Value) -> bool:
        """Add a value; False if the pattern had it already. Raises PatternError."""
        path, field = _path(check_pattern(pattern))
        node = self._root
        for segment in path:
            node = node.make_child(segment)
        values = getattr(node, field)
        if value in values:
            return False
        setattr(node, field, _with(values, value))
        self._count += 1
        return True

    def remove(self, pattern: str, value: _Value) -> bool:
        """Take a value away; False if the pattern did not have it. Values keep the order in which they came."""
        path, field = _path(pattern)
        nodes = [self._root]
        for segment in path:
            node = nodes[-1].child(segment)
            if node is None:
                return False
            nodes.append(node)
        values = getattr(nodes[-1], field)
        if value not in values:
            return False
        setattr(nodes[-1], field, _without(values, value))
        self._count -= 1
        _prune(nodes, path)
        return True

    def match(self, topic: str) -> Iterator[tuple[str, Collection[_Value]]]:
        """The patterns that match a topic, most specific first, each with its values. Change nothing while it runs."""
        return _walk(self._root, topic.split("."), 0, "")

    def best(self, topic: str) -> dict[_Value, str]:
        """Each value that matches a topic, with the most specific of its patterns that do; most specific first."""
        found: dict[_Value, str] = {}
        for pattern, values in self.match(topic):
            for value in values:
                found.setdefault(value, pattern)
        return found


def _path(pattern: str) -> tuple[list[str], str]:
    path = pattern.split(".")
    if path[-1] == "#":
        return path[:-1], "rest"
    return path, "exact"


def _walk(
    node: _Node[_Value], segments: list[str], depth: int, prefix: str
) -> Iterator[tuple[str, Collection[_Value]]]:
    if depth == len(segments):
        if node.exact:
            yield prefix[:-1], node.exact
    else:
        segment = segments[depth]
        if node.names and (named := node.names.get(segment)):
            yield from _walk(named, segments, depth + 1, f"{prefix}{segment}.")
        if node.plus:
            yield from _walk(node.plus, segments, depth + 1, f"{prefix}+.")
    if node.rest:
        yield f"{prefix}#", node.rest


def _with(values: Collection[_Value], value: _Value) -> Collection[_Value]:
    # Most patterns have one value, and a tuple of one takes a quarter of the memory of a dict of one.
    if not values:
        return (value,)
    if isinstance(values, dict):
        values[value] = None
        return values
    return dict.fromkeys((*values, value))


def _without(values: Collection[_Value], value: _Value) -> Collection[_Value]:
    if isinstance(values, dict):
        del values[value]
        return values if len(values) > 1 else tuple(values)
    return ()


def _prune(nodes: list[_Node[_Value]], path: list[str]) -> None:
    """Drop the nodes at the end of a path that nothing needs any more."""
    for node, parent, segment in zip(reversed(nodes[1:]), reversed(nodes[:-1]), reversed(path), strict=True):
        if not node.is_empty():
            return
        parent.drop_child(segment)
