"""Calls: one after the other, or with both sides asleep in between, and as many a second as one client gets.

Every call is a real one: an operation that the server has a method for, with deadline, breaker, balance, idempotency
and times measured.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from shmbus.rpc import PAUSE, Client, Collector, Pending, Request, Server, operation

from .peer import Part, Peer, Scene
from .percentiles import percentiles
from .stage import Stage

SERVICE: Final = "bench-rpc"
WARM_UP: Final = 200
AT_A_TIME: Final = 32
REST_SECONDS: Final = 0.002  # between calls, after which both sides are asleep, see spin.c


class Bench(Collector):
    """Does nothing, so that what is measured is the call."""

    @operation(PAUSE)
    def pause(self, request: Request) -> None:
        return None


def in_turn(stage: Stage) -> list[dict[str, float]]:
    """A whole call, ns, by round: each is made when the one before is answered."""
    stage.say("calls, one at a time")
    with _served(stage, call_in_turn, 0.0) as caller:
        caller.step(WARM_UP)
        samples = stage.effort.samples // 4 + 1
        return [percentiles(caller.step(samples)) for _ in range(stage.effort.rounds)]


def asleep(stage: Stage) -> list[dict[str, float]]:
    """The same with a rest before each, so that both sides have to be woken."""
    stage.say("calls, both sides asleep")
    with _served(stage, call_in_turn, REST_SECONDS) as caller:
        caller.step(1)
        samples = stage.effort.paced_samples // 4 + 1
        return [percentiles(caller.step(samples)) for _ in range(stage.effort.rounds)]


def at_a_time(stage: Stage) -> list[float]:
    """Calls a second of one client that has some on the way at any time, by round."""
    stage.say(f"calls, {AT_A_TIME} at a time")
    with _served(stage, call_many) as caller:
        caller.step(WARM_UP)
        samples = stage.effort.samples // 2 + 1
        return [samples / caller.step(samples) for _ in range(stage.effort.rounds)]


@contextmanager
def _served(stage: Stage, part: Callable[..., Part], *arguments: object) -> Iterator[Peer]:
    with stage.playing(stage.reader, serve) as server, stage.playing(stage.writer, part, *arguments) as caller:
        server.tell()
        yield caller
        caller.step(0)  # shuts the server down
        server.answer()


# ---- parts -----------------------------------------------------------------------------------------------------------


def serve(scene: Scene) -> Part:
    """Its one step is the whole life of the server."""
    collector = Bench(SERVICE)
    with Server(scene.bus, collector) as server:
        collector.attach(server)
        yield
        server.run()
        yield None


def call_in_turn(scene: Scene, rest: float) -> Part:
    """Each step is told a number of calls and answers the time of each, ns; `rest` seconds are between them."""
    clock = time.perf_counter_ns
    with Client(scene.bus) as client:
        count = yield
        while count:
            times = []
            for _ in range(count):
                if rest:
                    time.sleep(rest)
                began = clock()
                client.call(SERVICE, PAUSE)
                times.append(clock() - began)
            count = yield times
        client.shut_down(SERVICE)
        yield None


def call_many(scene: Scene) -> Part:
    """Each step is told a number of calls and answers the seconds that all took."""
    with Client(scene.bus) as client:
        count = yield
        while count:
            began, out = time.perf_counter(), deque[Pending]()
            for _ in range(count):
                if len(out) == AT_A_TIME:
                    client.result(out.popleft())
                out.append(client.submit(SERVICE, PAUSE))
            while out:
                client.result(out.popleft())
            count = yield time.perf_counter() - began
        client.shut_down(SERVICE)
        yield None
