"""What one publish costs, from Python and from C. Nobody reads, and the ring goes round: retiring is in the price."""

import subprocess
import time
from pathlib import Path
from typing import Final

from shmbus.topic import PatternTrie

from . import payload
from .figure import BenchError
from .floors import build_publish
from .peer import Part, Scene
from .stage import Stage

SIZE: Final = 256


def python_ns(stage: Stage) -> list[float]:
    """Nanoseconds of each `publish`, the loop around it taken off, by round."""
    stage.say("publish() from Python")
    with stage.playing(stage.writer, publish_alone) as writer:
        calls = max(int(stage.effort.seconds / 200e-9), 100)
        writer.step(min(calls, 20_000))
        return [writer.step(calls) for _ in range(stage.effort.rounds)]


def publish_alone(scene: Scene) -> Part:
    """Each step is told a number of calls and answers nanoseconds a call."""
    data = payload.opaque(SIZE)
    with scene.bus.publisher("bench.calls") as publisher:
        publish = publisher.publish
        calls = yield
        while True:
            started = time.perf_counter_ns()
            for _ in range(calls):
                publish(data)
            published = time.perf_counter_ns()
            for _ in range(calls):
                pass
            calls = yield (2 * published - started - time.perf_counter_ns()) / calls


def match_ns(stage: Stage) -> dict[int, list[float]]:
    """Nanoseconds to find the two of so many patterns that match a topic, by number of patterns and round."""
    stage.say("matching")
    found = {}
    for patterns in (10, 1_000, 100_000):
        trie: PatternTrie[int] = PatternTrie()
        for i in range(patterns - 2):
            trie.insert(f"events.kind{i % 1000}.source{i}.+", i)
        trie.insert("events.#", -1)
        trie.insert("events.process.+", -2)
        found[patterns] = [_matched(trie, 20_000) for _ in range(stage.effort.rounds)]
    return found


def _matched(trie: PatternTrie[int], times: int) -> float:
    started = time.perf_counter_ns()
    for _ in range(times):
        list(trie.match("events.process.start"))
    return (time.perf_counter_ns() - started) / times


def c_ns(stage: Stage) -> list[tuple[float, float]] | str:
    """By round: ns of a bare shmbus_publish(), ns of one with clock and bells; or why it was not measured."""
    stage.say("publish in C")
    program = build_publish(stage.directory)
    if not isinstance(program, Path):
        return program
    messages = max(int(stage.effort.seconds / 100e-9), 1000)
    command = [str(program), str(SIZE), str(messages), str(stage.effort.rounds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"publishing in C failed: {done.stderr}")
    return [(float(bare), float(whole)) for bare, whole in map(str.split, done.stdout.splitlines())]
