"""procmond publishes to a bus that may be full, refuse, or go away."""

import pytest

from shmbus.errors import BackpressureError, ConnectionLost, MessageTooLarge, ShmbusError
from shmbus.v1.eventbus_pb2 import ProcessEventData
from shmbus.v1.rpc_pb2 import DEGRADED
from shmbus.workers.procmond.process import Topic
from shmbus.workers.procmond.sink import IMPATIENCE_S, PATIENCE_S, BusSink, SinkGone

FULL = BackpressureError("events.process.start", 1, 1, "slow", 1, 1)


class Publisher:
    """Takes messages, or raises what it is told to; notes how long it might have waited."""

    def __init__(self) -> None:
        self.error: ShmbusError | None = None
        self.timeouts: list[float] = []

    def publish(self, event: ProcessEventData, /, *, timeout: float) -> int:
        self.timeouts.append(timeout)
        if self.error is not None:
            raise self.error
        return 1


class Scene:
    def __init__(self) -> None:
        self.now = 1000.0
        self.said: list[tuple[int, str]] = []
        self.publishers = {topic: Publisher() for topic in Topic}
        self.sink = BusSink(self, self.publishers, lambda: self.now)

    def ready(self) -> float | None:
        return 2.5

    def beat(self, health: int, reason: str) -> None:
        self.said.append((health, reason))

    def publish(self, topic: Topic = Topic.START) -> None:
        self.sink.publish(topic, ProcessEventData())


def test_each_topic_has_its_publisher() -> None:
    scene = Scene()
    for topic in Topic:
        scene.publish(topic)
    assert [publisher.timeouts for publisher in scene.publishers.values()] == [[PATIENCE_S]] * len(Topic)


def test_who_started_us_is_told_that_we_work() -> None:
    scene = Scene()
    assert scene.sink.ready() == 2.5
    scene.sink.beat(DEGRADED, "paused")
    assert scene.said == [(DEGRADED, "paused")]


def test_a_full_topic_is_waited_for_once_and_then_not_for_a_while() -> None:
    scene = Scene()
    publisher = scene.publishers[Topic.START]
    publisher.error = FULL
    for _ in range(3):
        scene.publish()
    scene.publish(Topic.STOP)
    scene.now += IMPATIENCE_S
    publisher.error = None
    scene.publish()
    assert publisher.timeouts == [PATIENCE_S, 0, 0, PATIENCE_S]
    assert scene.publishers[Topic.STOP].timeouts == [PATIENCE_S], "the other topics have nothing to do with it"
    assert scene.sink.refused == 3


def test_refusals_are_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.publishers[Topic.START].error = MessageTooLarge("events.process.start", 2, 1)
    for _ in range(100):
        scene.publish()
        scene.now += 0.05
    assert scene.sink.refused == 100
    assert 4 <= len(caplog.records) <= 6


def test_a_bus_that_is_gone_is_the_end() -> None:
    scene = Scene()
    scene.publishers[Topic.START].error = ConnectionLost("default")
    with pytest.raises(SinkGone, match="is gone"):
        scene.publish()
