"""Distributed tracing: one OpenTelemetry trace over three processes. Needs shmbus[otel] and opentelemetry-sdk.

The first publishes inside a span. Each of the others handles what it receives in a span that is a child of the one
before, and what it publishes there carries its own. A real program gives its provider an exporter.
"""

import subprocess
import sys

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import format_span_id, format_trace_id

import shmbus
from shmbus import tracing
from shmbus.v1.eventbus_pb2 import AlertPayload

tracer = TracerProvider().get_tracer("example")


def tell(span) -> None:
    its, parent = span.get_span_context(), format_span_id(span.parent.span_id) if span.parent else "-"
    print(span.name, format_trace_id(its.trace_id), format_span_id(its.span_id), parent, flush=True)


def agent(address: str, name: str, source: str, sink: str) -> None:
    with shmbus.connect(address, name=name) as bus, bus.publisher(sink) as publisher:
        for message in bus.subscribe(source, start="earliest"):
            with tracing.span_of(message, name, tracer) as span:
                publisher.publish(AlertPayload(title=name))
            tell(span)
            break


def main() -> None:
    tracing.enable()
    with shmbus.embedded() as bus, bus.publisher("case.detected") as publisher:
        with tracer.start_as_current_span("detect") as span:
            publisher.publish(AlertPayload(title="odd process"))
        tell(span)
        for arguments in (("triage", "case.detected", "case.triaged"), ("respond", "case.triaged", "case.closed")):
            subprocess.run([sys.executable, __file__, bus.address, *arguments], check=True, timeout=60)


if __name__ == "__main__":
    agent(*sys.argv[1:]) if len(sys.argv) > 1 else main()
