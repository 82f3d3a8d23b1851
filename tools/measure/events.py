"""Real process events through the bus, against protobuf alone on the same processors.

Protobuf alone: one process builds and serialises the events, the other at the same time parses them; nothing is handed
over. The slower of the two bounds what any bus between them could do.
"""

import time
from typing import Final

from shmbus.v1.eventbus_pb2 import ProcessEventData

from . import payload
from .peer import Part, Scene
from .stage import Stage

PROBE: Final = 2_000


def alone(stage: Stage) -> list[float]:
    """Events a second that protobuf alone allows, by round."""
    stage.say("protobuf alone")
    with (
        stage.playing(stage.reader, parse) as reader,
        stage.playing(stage.writer, build_and_serialise) as writer,
    ):

        def one_round(count: int) -> float:
            reader.tell(count)
            writer.tell(count)
            slower: int = max(reader.answer(), writer.answer())
            return count * 1e9 / slower

        count = max(int(one_round(PROBE) * stage.effort.seconds), 100)
        return [one_round(count) for _ in range(stage.effort.rounds)]


def build_and_serialise(scene: Scene) -> Part:
    """Each step is told a number of events and answers how long they took, ns."""
    facts, build = payload.process_facts(), payload.build_event
    kinds = len(facts)
    count = yield
    while True:
        started = time.monotonic_ns()
        for i in range(count):
            build(facts[i % kinds]).SerializeToString()
        count = yield time.monotonic_ns() - started


def parse(scene: Scene) -> Part:
    """Each step is told a number of events and answers how long they took, ns."""
    serialised = [payload.build_event(facts).SerializeToString() for facts in payload.process_facts()]
    kinds = len(serialised)
    count = yield
    while True:
        started = time.monotonic_ns()
        for i in range(count):
            ProcessEventData.FromString(serialised[i % kinds])
        count = yield time.monotonic_ns() - started
