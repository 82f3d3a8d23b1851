"""One hop of a traced workflow, as a process of its own: `python traced_hop.py BUS NAME FROM TO`.

Handles one message of FROM ("-": none, it begins the trace) in a span called NAME, publishes one on TO ("-": nothing)
and prints the spans that the real SDK exported, one JSON object a line. A NAME of "plain" knows nothing of tracing.
"""

import json
import sys
from contextlib import nullcontext

import shmbus
from shmbus.v1.eventbus_pb2 import AlertPayload


def tracer_and_exporter():
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test"), exporter


def main(address, name, source, sink):
    with shmbus.connect(address, name=name) as bus:
        subscription = None if source == "-" else bus.subscribe(source)
        print("ready", flush=True)
        if name == "plain":
            hop(bus, subscription, sink, lambda message: nullcontext())
            return
        from shmbus import tracing

        tracer, exporter = tracer_and_exporter()
        if subscription is None:
            tracing.enable()
            sys.stdin.readline()
            with tracer.start_as_current_span(name):
                publish(bus, sink)
        else:
            hop(bus, subscription, sink, lambda message: tracing.span_of(message, name, tracer))
    for span in exporter.get_finished_spans():
        print(span.to_json(indent=None))


def hop(bus, subscription, sink, span):
    for message in subscription:
        with span(message):
            publish(bus, sink)
        print(json.dumps({"received": message.envelope.correlation.span_id}))
        break


def publish(bus, topic):
    if topic != "-":
        with bus.publisher(topic) as publisher:
            publisher.publish(AlertPayload(title="x"))


if __name__ == "__main__":
    main(*sys.argv[1:])
