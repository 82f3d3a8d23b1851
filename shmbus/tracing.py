"""Distributed traces by OpenTelemetry: spans reach over the bus. Needs `pip install 'shmbus[otel]'`.

    from shmbus import tracing

    tracing.enable()
    with tracer.start_as_current_span("scan"):
        publisher.publish(event)                               # carries this span's trace id and span id

    for message in subscription:                               # the same in `async for`
        with tracing.span_of(message, "triage", tracer):       # a child of the span that published it
            publisher.publish(alert)                           # carries the new span's

A process in between that knows nothing of tracing breaks no trace: children carry their parent's ids on. Whether the
trace is sampled travels along (CorrelationMetadata.trace_flags); where a message does not say so, it counts as sampled.
Bytes, and messages on a topic of a type of its own, have no envelope and carry no ids.

While no span is current, publishing costs what it costs without tracing: the core looks whether OpenTelemetry's context
is empty, and calls nothing.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, Final

try:
    from opentelemetry import context, trace
    from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, Tracer
except ImportError as error:
    raise ImportError("shmbus.tracing needs OpenTelemetry: pip install 'shmbus[otel]'") from error

from shmbus import _core, correlation
from shmbus.correlation import Handled, Trace

_HEXADECIMAL: Final = re.compile("[0-9a-fA-F]+")

_enabled = False


def enable() -> None:
    """From now on what is published while a span is current carries its ids, in this whole process."""
    global _enabled
    if not _enabled:
        _core.watch_trace(_context_variable())
        correlation.trace_by(_current)
        _enabled = True


def disable() -> None:
    """Undo `enable`."""
    global _enabled
    correlation.trace_by(None)
    _core.watch_trace(None)
    _enabled = False


@contextmanager
def span_of(message: Handled, name: str | None = None, tracer: Tracer | None = None) -> Iterator[Span]:
    """Handle a received message in a span of `tracer` that is a child of the span it was published in. Enables tracing.

    `name` is "process <topic>" unless given. Without a tracer no span is made: the publisher's is current inside. A
    message without usable ids changes nothing: the span is a child of what is current, or the first of its trace.

    What is published inside is a child of the message.
    """
    enable()
    parent = parent_of(message)
    within = None if parent is None else trace.set_span_in_context(NonRecordingSpan(parent))
    with correlation.handling(message):
        if tracer is not None:
            named, about = name or f"process {message.topic}", _attributes(message)
            with tracer.start_as_current_span(named, within, SpanKind.CONSUMER, about) as span:
                yield span
        else:
            with trace.use_span(trace.get_current_span(within), record_exception=False, set_status_on_exception=False):
                yield trace.get_current_span()


def parent_of(message: Handled) -> SpanContext | None:
    """The span that a message was published in. None: it has no ids, or what is not 32 and 16 hex digits, or zeros."""
    its = correlation.metadata_of(message)
    trace_id, span_id = _number(its.trace_id, 32), _number(its.span_id, 16)
    if not trace_id or not span_id:
        return None
    flags = its.trace_flags & 0xFF if its.HasField("trace_flags") else TraceFlags.SAMPLED
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))


def _number(text: str, digits: int) -> int:
    return int(text, 16) if len(text) == digits and _HEXADECIMAL.fullmatch(text) else 0


def _attributes(message: Handled) -> dict[str, str | int]:
    """By OpenTelemetry's conventions for messaging; topic and sequence name the message on the bus."""
    return {
        "messaging.system": "shmbus",
        "messaging.operation.type": "process",
        "messaging.destination.name": message.topic,
        "messaging.message.conversation_id": correlation.metadata_of(message).root_correlation_id,
        "shmbus.sequence": message.sequence,
    }


def _current() -> Trace | None:
    its = trace.get_current_span().get_span_context()
    if not its.is_valid:
        return None
    return Trace(trace.format_trace_id(its.trace_id), trace.format_span_id(its.span_id), its.trace_flags)


def _context_variable() -> ContextVar[Any]:
    """The variable that OpenTelemetry keeps its context in: the one in which a context of ours turns up.

    One that is never empty if it keeps it elsewhere: then every publish asks.
    """
    ours = context.set_value(__name__, True)
    token = context.attach(ours)
    try:
        found = [variable for variable, value in copy_context().items() if value is ours]
    finally:
        context.detach(token)
    return found[0] if found else ContextVar("shmbus.asks", default=True)
