"""Correlation follows the work: what is published while a message is being handled is that message's child.

    root    correlation_id = root_correlation_id, no parent, sequence_number 0
    child   an id of its own; the parent's id, the root's id; the parent's tags, stage and trace ids;
            sequence_number: the parent's + 1 for its first child, + 2 for the second, and so on

A message that came without correlation metadata is the root of its children: by its message id, or, if it was published
as bare bytes, by `<topic>:<sequence>`.

What is being handled: the message that a `for` loop over a subscription has last given out in this thread, or the one
of `with handling(message)` and of an `async for`, which count first and also hold in the tasks that are started inside.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Final, Protocol
from weakref import ref

from shmbus import _core
from shmbus.errors import CorrelationError
from shmbus.v1.eventbus_pb2 import CorrelationMetadata, EventBusMessage

MAX_ID_BYTES: Final = 256
MAX_STAGE_BYTES: Final = 128
MAX_TAGS: Final = 64
MAX_TAG_KEY_BYTES: Final = 128
MAX_TAG_VALUE_BYTES: Final = 1024

_IDS: Final = ("correlation_id", "parent_correlation_id", "root_correlation_id", "trace_id", "span_id")


class Handled(Protocol):
    """What can be handled: a received message."""

    @property
    def topic(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def envelope(self) -> EventBusMessage | None: ...


class CorrelationContext:
    """One message being handled; numbers its children. Nothing is parsed before the first of them."""

    __slots__ = ("_message", "_metadata", "_steps")

    def __init__(self, message: Handled | CorrelationMetadata) -> None:
        self._message = message
        self._metadata = message if isinstance(message, CorrelationMetadata) else None
        self._steps = count(1)

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


class _Loop(threading.local):
    """The context of what a `for` loop of this thread is handling, as long as that is the same message."""

    message: Handled | None = None
    context: CorrelationContext | None = None


_loop = _Loop()


class Loops(threading.local):
    """What `for` loops of this thread are handling that are not the core's, the innermost last."""

    def __init__(self) -> None:
        self._stack: list[tuple[ref[object], Handled]] = []

    def begin(self, owner: object, message: Handled) -> None:
        """The loop over `owner` is handling that message."""
        self._stack.append((ref(owner), message))

    def end(self, owner: object) -> None:
        """It is through with it. A loop around it goes on with its own."""
        if self.message is not None and self._stack[-1][0]() is owner:
            self._stack.pop()

    @property
    def message(self) -> Handled | None:
        """Of the innermost loop that is still there."""
        while self._stack and self._stack[-1][0]() is None:
            self._stack.pop()
        return self._stack[-1][1] if self._stack else None


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
    return check(
        CorrelationMetadata(
            correlation_id=chosen,
            root_correlation_id=chosen,
            trace_id=trace_id,
            span_id=span_id,
            workflow_stage=stage,
            correlation_tags=tags or {},
        )
    )


def child_of(
    metadata: CorrelationMetadata, *, stage: str | None = None, tags: Mapping[str, str] | None = None
) -> CorrelationMetadata:
    """Metadata of a first child; `stage` replaces the parent's, `tags` are added to it. Raises CorrelationError.

    For several children of one parent use one CorrelationContext, which numbers them.
    """
    return _child(metadata, 1, stage, tags)


@contextmanager
def handling(message: Handled | CorrelationMetadata) -> Iterator[CorrelationContext]:
    """What is published inside is a child of `message`, also by tasks that are started inside."""
    context = CorrelationContext(message)
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

    None: a child of what is being handled, if anything is. False: nothing. Metadata: that, as it is. A message or a
    context: a child of it.
    """
    if given is False:
        return None
    if isinstance(given, CorrelationMetadata):
        return check(given)
    if isinstance(given, CorrelationContext):
        return given.child()
    if given is None or given is True:
        context = current()
        return None if context is None else context.child()
    return child_of(metadata_of(given))


def metadata_of(message: Handled) -> CorrelationMetadata:
    """The correlation of a received message, or the root that stands for a message without."""
    envelope = message.envelope
    if envelope is not None and envelope.correlation.correlation_id:
        return envelope.correlation
    known = envelope.metadata.message_id if envelope is not None else ""
    name = known or f"{message.topic}:{message.sequence}"
    return CorrelationMetadata(correlation_id=name, root_correlation_id=name)


def check(metadata: CorrelationMetadata) -> CorrelationMetadata:
    """The metadata itself, if it is within the limits; nothing is ever cut. Raises CorrelationError."""
    for field in _IDS:
        _limit(field, getattr(metadata, field), MAX_ID_BYTES)
    _limit("workflow_stage", metadata.workflow_stage, MAX_STAGE_BYTES)
    tags = metadata.correlation_tags
    if tags:
        if len(tags) > MAX_TAGS:
            raise CorrelationError("correlation_tags", MAX_TAGS, len(tags), "tags")
        for key, value in tags.items():
            _limit(f"tag key {key[:32]!r}", key, MAX_TAG_KEY_BYTES)
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
    child.sequence_number = (parent.sequence_number + step) & (2**64 - 1)
    if stage is not None:
        child.workflow_stage = stage
    if tags:
        child.correlation_tags.update(tags)
    return check(child)


def _loop_context() -> CorrelationContext | None:
    message = _core.handling() or LOOPS.message
    if message is not _loop.message:
        _loop.message = message
        _loop.context = None if message is None else CorrelationContext(message)
    return _loop.context


def _limit(thing: str, text: str, limit: int) -> None:
    # A character has at most four bytes, so short texts need not be encoded to be counted.
    if len(text) * 4 > limit and (size := len(text.encode())) > limit:
        raise CorrelationError(thing, limit, size)


def _new_id() -> str:
    """64 random bits: no state that a fork could double, and one short system call."""
    return os.urandom(8).hex()
