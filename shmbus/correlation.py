"""Correlation follows the work: what is published while a message is being handled is that message's child.

    root    correlation_id = root_correlation_id, no parent, sequence_number 0
    child   an id of its own; the parent's id, the root's id; the parent's tags, stage and trace ids;
            sequence_number: the parent's + 1 for its first child, + 2 for the second, and so on

A message that came without correlation metadata is the root of its children: by its message id, or, if it was published
as bare bytes, by `<topic>:<sequence>`.

Where tracing is enabled (shmbus.tracing), trace ids are those of the current span instead, and what is published while
there is one, but nothing is being handled, is a new root that carries them.

What is being handled: the message that a `for` loop over a subscription has last given out in this thread, or the one
of `with handling(message)` and of an `async for`, which count first and also hold in the tasks that are started inside.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Final, NamedTuple, Protocol
from weakref import ref

from google.protobuf.message import DecodeError

from shmbus import _core
from shmbus.errors import CorrelationError
from shmbus.v1.eventbus_pb2 import CorrelationMetadata, EventBusMessage, MessageMetadata

MAX_ID_BYTES: Final = 256
MAX_STAGE_BYTES: Final = 128
MAX_TAGS: Final = 64
MAX_TAG_KEY_BYTES: Final = 128
MAX_TAG_VALUE_BYTES: Final = 1024

# Most metadata need not be looked at: no text in it is above any limit, and a tag takes at least two bytes.
_CERTAINLY_WITHIN: Final = min(MAX_STAGE_BYTES, MAX_TAG_KEY_BYTES, 2 * MAX_TAGS)
_IDS: Final = ("correlation_id", "parent_correlation_id", "root_correlation_id", "trace_id", "span_id")


class Handled(Protocol):
    """What can be handled: a received message."""

    @property
    def topic(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def envelope(self) -> EventBusMessage | None: ...


class Head(Protocol):
    """The metadata of a message: an EventBusMessage, or an EnvelopeHead."""

    @property
    def metadata(self) -> MessageMetadata: ...
    @property
    def correlation(self) -> CorrelationMetadata: ...


class CorrelationContext:
    """One message being handled; numbers its children. Nothing is parsed before the first of them."""

    __slots__ = ("_message", "_metadata", "_steps")

    def __init__(self, message: Handled | CorrelationMetadata) -> None:
        self._message = message
        self._metadata = message if isinstance(message, CorrelationMetadata) else None
        self._steps = count(1)

    def is_of(self, message: Handled | CorrelationMetadata) -> bool:
        """This very message is what is being handled."""
        return self._message is message

    @property
    def metadata(self) -> CorrelationMetadata:
        """The message's own correlation, or what stands for it."""
        if self._metadata is None:
            assert not isinstance(self._message, CorrelationMetadata)
            self._metadata = metadata_of(self._message)
        return self._metadata

    def child(self, *, stage: str | None = None, tags: Mapping[str, str] | None = None) -> CorrelationMetadata:
        """Metadata for the next child. Raises CorrelationError."""
        return _child(self.metadata, next(self._steps), stage, tags)


HANDLING: Final[ContextVar[CorrelationContext | Handled | None]] = ContextVar("shmbus.handling", default=None)
"""Set to a bare message where nothing may be spent on it before it is needed; the first look makes it a context."""


class Trace(NamedTuple):
    """The trace context of a span, in the hexadecimal of W3C."""

    trace_id: str
    span_id: str
    flags: int


def _untraced() -> Trace | None:
    return None


_current_trace: Callable[[], Trace | None] = _untraced


def trace_by(source: Callable[[], Trace | None] | None) -> None:
    """Have `source` say what the current span is; None: there is none."""
    global _current_trace
    _current_trace = source or _untraced


class _Loop(threading.local):
    """The context of what a `for` loop of this thread is handling, as long as that is the same message."""

    message: Handled | None = None
    context: CorrelationContext | None = None


_loop = _Loop()


class Loops(threading.local):
    """What `for` loops of this thread are handling that are not the core's, the innermost last."""

    def __init__(self) -> None:
        self.stack: list[tuple[ref[object], Handled]] = []

    def begin(self, owner: object, message: Handled) -> None:
        """The loop over `owner` is handling that message."""
        self.stack.append((ref(owner), message))

    def end(self, owner: object) -> None:
        """It is through with it. A loop around it goes on with its own."""
        if self.message is not None and self.stack[-1][0]() is owner:
            self.stack.pop()

    @property
    def message(self) -> Handled | None:
        """Of the innermost loop that is still there."""
        while self.stack and self.stack[-1][0]() is None:
            self.stack.pop()
        return self.stack[-1][1] if self.stack else None


LOOPS: Final = Loops()


def new(
    *,
    stage: str | None = None,
    tags: Mapping[str, str] | None = None,
    correlation_id: str | None = None,
    trace_id: str | None = None,
    span_id: str | None = None,
) -> CorrelationMetadata:
    """Metadata of a new root, whatever is being handled. Raises CorrelationError."""
    chosen = _new_id() if correlation_id is None else correlation_id
    root = CorrelationMetadata(
        correlation_id=chosen,
        root_correlation_id=chosen,
        trace_id=trace_id,
        span_id=span_id,
        workflow_stage=stage,
        correlation_tags=tags or {},
    )
    if trace_id is None and span_id is None:
        _put_trace(root)
    return check(root)


def child_of(
    parent: Handled | CorrelationMetadata, *, stage: str | None = None, tags: Mapping[str, str] | None = None
) -> CorrelationMetadata:
    """Metadata of a child; `stage` replaces the parent's, `tags` are added to them. Raises CorrelationError.

    The next child of what is being handled, the first one of anything else: for several children of that use
    `handling`, which numbers them.
    """
    return _context_of(parent).child(stage=stage, tags=tags)


@contextmanager
def handling(message: Handled | CorrelationMetadata) -> Iterator[CorrelationContext]:
    """What is published inside is a child of `message`, also by tasks that are started inside."""
    context = _context_of(message)
    token = HANDLING.set(context)
    try:
        yield context
    finally:
        HANDLING.reset(token)


def current() -> CorrelationContext | None:
    """The context of what is being handled, or None."""
    handled = HANDLING.get()
    if handled is None:
        return _loop_context()
    if not isinstance(handled, CorrelationContext):
        handled = CorrelationContext(handled)
        HANDLING.set(handled)
    return handled


def resolve(given: CorrelationMetadata | CorrelationContext | Handled | bool | None) -> CorrelationMetadata | None:
    """What to publish with when a publisher was given `correlation=given`. Raises CorrelationError.

    None: a child of what is being handled, else a root that carries the current span, if there is one. False: nothing.
    Metadata: that, as it is. A message or a context: a child of it.
    """
    if given is False or (given is None and _nothing_to_say()):
        return None
    if isinstance(given, CorrelationMetadata):
        return check(given)
    if isinstance(given, CorrelationContext):
        return given.child()
    if given is None or given is True:
        context = current()
        return _traced_root() if context is None else context.child()
    if not hasattr(given, "envelope"):
        raise TypeError(
            f"correlation is a message, a context, metadata as correlation.new() makes it, or False; not {given!r}"
        )
    return child_of(given)


def _nothing_to_say() -> bool:
    """As most who publish find: nothing is being handled here, and there is no tracing. Without a look for more."""
    return HANDLING.get() is None and _core.handling() is None and not LOOPS.stack and _current_trace is _untraced


def metadata_of(message: Handled) -> CorrelationMetadata:
    """The correlation of a received message, or the root that stands for a message without, or with a broken one."""
    try:
        return metadata_in(message.envelope, message)
    except DecodeError:
        return metadata_in(None, message)


def metadata_in(head: Head | None, message: Handled) -> CorrelationMetadata:
    """The same for a message whose metadata has been parsed; None: it has no envelope."""
    if head is not None and head.correlation.correlation_id:
        return head.correlation
    known = head.metadata.message_id if head is not None else ""
    name = known or f"{message.topic}:{message.sequence}"
    return CorrelationMetadata(correlation_id=name, root_correlation_id=name)


def check(metadata: CorrelationMetadata) -> CorrelationMetadata:
    """The metadata itself, if it is within the limits; nothing is ever cut. Raises CorrelationError."""
    if metadata.ByteSize() <= _CERTAINLY_WITHIN:
        return metadata
    for field in _IDS:
        _limit(field, getattr(metadata, field), MAX_ID_BYTES)
    _limit("workflow_stage", metadata.workflow_stage, MAX_STAGE_BYTES)
    tags = metadata.correlation_tags
    if len(tags) > MAX_TAGS:
        raise CorrelationError("correlation_tags", MAX_TAGS, len(tags), "tags")
    for key, value in tags.items():
        if _too_long(key, MAX_TAG_KEY_BYTES):
            _limit(f"tag key {key[:32]!r}", key, MAX_TAG_KEY_BYTES)
        if _too_long(value, MAX_TAG_VALUE_BYTES):
            _limit(f"value of tag {key!r}", value, MAX_TAG_VALUE_BYTES)
    return metadata


def _child(
    parent: CorrelationMetadata, step: int, stage: str | None, tags: Mapping[str, str] | None
) -> CorrelationMetadata:
    child = CorrelationMetadata()
    child.CopyFrom(parent)  # tags, stage and trace ids come along
    child.correlation_id = _new_id()
    child.parent_correlation_id = parent.correlation_id
    child.root_correlation_id = parent.root_correlation_id or parent.correlation_id
    if not _put_trace(child):
        _drop_what_is_no_trace(child)
    child.sequence_number = (parent.sequence_number + step) & (2**64 - 1)
    if stage is not None:
        child.workflow_stage = stage
    if tags:
        child.correlation_tags.update(tags)
    return check(child)


def _traced_root() -> CorrelationMetadata | None:
    """What to say when nothing is being handled: where in a trace this comes from, if it comes from one."""
    trace = _current_trace()
    if trace is None:
        return None
    name = _new_id()
    root = CorrelationMetadata(correlation_id=name, root_correlation_id=name)
    root.trace_id, root.span_id, root.trace_flags = trace
    return check(root)


def _put_trace(metadata: CorrelationMetadata) -> bool:
    """The current span is where this comes from, if there is one."""
    trace = _current_trace()
    if trace is None:
        return False
    metadata.trace_id, metadata.span_id, metadata.trace_flags = trace
    return True


def _drop_what_is_no_trace(child: CorrelationMetadata) -> None:
    """A parent's trace id that is above the limit is none, and whoever handles that message is not to blame for it."""
    if _too_long(child.trace_id, MAX_ID_BYTES) or _too_long(child.span_id, MAX_ID_BYTES):
        for field in ("trace_id", "span_id", "trace_flags"):
            child.ClearField(field)


def _context_of(parent: Handled | CorrelationMetadata) -> CorrelationContext:
    """The one that numbers its children already, if it is being handled."""
    context = current()
    return context if context is not None and context.is_of(parent) else CorrelationContext(parent)


def _loop_context() -> CorrelationContext | None:
    message = _core.handling() or LOOPS.message
    if message is not _loop.message:
        _loop.message = message
        _loop.context = None if message is None else CorrelationContext(message)
    return _loop.context


def _limit(thing: str, text: str, limit: int) -> None:
    if _too_long(text, limit):
        raise CorrelationError(thing, limit, len(text.encode()))


def _too_long(text: str, limit: int) -> bool:
    # A character has at most four bytes, so short texts need not be encoded to be counted.
    return len(text) * 4 > limit and len(text.encode()) > limit


def _new_id() -> str:
    """64 random bits: no state that a fork could double, and one short system call."""
    return os.urandom(8).hex()
