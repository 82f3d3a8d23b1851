"""Where results go: the topics of their domains. What is full is waited for without holding anything else up."""

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from shmbus import correlation
from shmbus._core import Writer
from shmbus.agent.task import Task
from shmbus.errors import BackpressureError, ConnectionLost, ShmbusError
from shmbus.publisher import Publisher
from shmbus.v1.eventbus_pb2 import RpcResponsePayload

if TYPE_CHECKING:
    from shmbus.bus import Bus

Settled = Callable[[Task, RpcResponsePayload, ShmbusError | None], None]


class _Waiting(NamedTuple):
    task: Task
    answer: RpcResponsePayload


class Outlet:
    """Publishes each accepted answer once. `settled` is told when that is done, or cannot be."""

    def __init__(self, bus: "Bus", settled: Settled) -> None:
        self._bus, self._settled = bus, settled
        self._publishers: dict[str, Publisher] = {}
        self._waiting: dict[str, deque[_Waiting]] = {}

    def put(self, task: Task, answer: RpcResponsePayload) -> None:
        """Publish it, behind what waits for the same topic."""
        topic: Final = task._job.requirement.result_topic
        self._waiting.setdefault(topic, deque()).append(_Waiting(task, answer))
        self._flush(topic)

    def flush(self) -> None:
        """Publish what there is room for by now."""
        for topic in list(self._waiting):
            self._flush(topic)

    def drop(self, task: Task) -> None:
        """Nobody wants it any more."""
        topic = task._job.requirement.result_topic
        rest = deque(one for one in self._waiting.get(topic, ()) if one.task is not task)
        if rest:
            self._waiting[topic] = rest
        else:
            self._waiting.pop(topic, None)

    def blocked(self) -> list[Writer]:
        """Those that wait for room."""
        return [self._publishers[topic] for topic in self._waiting if topic in self._publishers]

    def close(self) -> None:
        """No more results."""
        for publisher in self._publishers.values():
            publisher.close()

    def _flush(self, topic: str) -> None:
        waiting = self._waiting[topic]
        while waiting:
            task, answer = waiting[0]
            error: ShmbusError | None = None
            try:
                self._publish(topic, task, answer)
            except (BackpressureError, ConnectionLost) as found:  # a topic that is new takes a coordinator
                self._expire(topic, found)
                return
            except ShmbusError as found:
                error = found
            waiting.popleft()
            self._settled(task, answer, error)
        del self._waiting[topic]

    def _expire(self, topic: str, error: ShmbusError) -> None:
        """Nothing can be published there now: some are too late by then."""
        now = time.monotonic()
        for one in [one for one in self._waiting[topic] if one.task._job.deadline <= now]:
            self.drop(one.task)
            self._settled(one.task, one.answer, error)

    def _publish(self, topic: str, task: Task, answer: RpcResponsePayload) -> None:
        publisher = self._publishers.get(topic)
        if publisher is None:
            publisher = self._publishers[topic] = self._bus.publisher(topic, on_full="raise")
        publisher.publish(answer, correlation=correlation.child_of(task.correlation), timeout=0)
