"""How a collector is, said by itself: a HeartbeatPayload an interval, measured and published in the thread that works.

The word in the session page says that the thread moves, at the price of one store. This says how the process does. Both
stop with the thread, so neither can be sent on behalf of one that hangs.

    metrics        cpu_percent (of one processor, since the last one), cpu_seconds, memory_bytes (resident),
                   messages_published, messages_refused (no room), messages_lost (that its subscriptions did not get)
    queue_depths   by topic: messages that the slowest lossless or durable reader of what it publishes has not read, or
                   that it has not read itself, whichever is more
    error_counts   since the last one: refused, lost
    active_connections   publishers and subscriptions that it has open, but for that of the heartbeats
"""

import logging
import os
import time
from typing import TYPE_CHECKING, Final

from shmbus._core import Ring
from shmbus.condition import reason_by
from shmbus.errors import BackpressureError, ShmbusError
from shmbus.topic import HEARTBEATS
from shmbus.v1.control_pb2 import TopicLimits
from shmbus.v1.eventbus_pb2 import HeartbeatPayload
from shmbus.v1.rpc_pb2 import UNKNOWN, HealthStatus

if TYPE_CHECKING:
    from shmbus.bus import Bus
    from shmbus.publisher import Publisher

LIMITS: Final = TopicLimits(slots=64, arena_bytes=64 << 10)
_EARLY: Final = 0.125  # of an interval: one that beats twice an interval is not to slip to every third beat
_LARGEST: Final = 2**32 - 1
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

_log = logging.getLogger("shmbus")


class Heart:
    """Of one collector. `interval` in seconds."""

    def __init__(self, bus: "Bus", collector: str, interval: float) -> None:
        self.collector, self.interval = collector, interval
        self._bus = bus
        self._began = time.monotonic()
        self._publisher: Publisher | None = None
        self._due = 0.0  # CLOCK_MONOTONIC
        self._health: HealthStatus = UNKNOWN
        self._reason = ""
        self._seen = (self._began, time.process_time())
        self._errors = {"refused": 0, "lost": 0}
        self._silent = False  # it could not be published, and that has been told

    def beat(self, health: int, reason: str = "") -> None:
        """Publish, if it is time. Another reason alone waits for that: it may have a number in it."""
        now = time.monotonic()
        self._reason = reason
        if now < self._due and health == self._health:
            return
        self._health = health  # type: ignore[assignment]
        self._due = now + self.interval * (1 - _EARLY)
        try:
            self._publish()
        except BackpressureError:
            pass  # counted as refused; the next one says so
        except ShmbusError as error:
            self._publisher = None
            if not self._silent:
                _log.warning("%s: its heartbeats are not published: %s", self.collector, error)
            self._silent = True
        else:
            self._silent = False

    def _publish(self) -> None:
        if self._publisher is None:
            topic = HEARTBEATS + self.collector
            self._publisher = self._bus._publisher(topic, None, self.collector, "raise", 0, False, 0, LIMITS)
        self._bus._attend()  # who reads what we publish may have come or gone
        self._publisher.publish(self._measured(), key=self.collector)

    def _measured(self) -> HeartbeatPayload:
        bus, now, processor = self._bus, time.monotonic(), time.process_time()
        (then, before), self._seen = self._seen, (now, processor)
        errors = {"refused": bus._refused, "lost": sum(one.lost for one in list(bus._subscriptions.values()))}
        since = {name: number - self._errors[name] for name, number in errors.items()}
        self._errors = errors
        publishers = [one for group in list(bus._publishers.values()) for one in list(group.values())]
        connections = sum(one is not self._publisher for one in publishers) + len(bus._subscriptions)
        return HeartbeatPayload(
            component_id=self.collector,
            health_status=self._health,
            health_reason=reason_by(self._reason.encode()) or None,
            uptime_seconds=int(now - self._began),
            metrics={
                "cpu_percent": 100 * (processor - before) / (now - then) if now > then else 0.0,
                "cpu_seconds": processor,
                "memory_bytes": float(_resident_bytes()),
                "messages_published": float(bus._published + sum(one._published_here for one in publishers)),
                "messages_refused": float(errors["refused"]),
                "messages_lost": float(errors["lost"]),
            },
            active_connections=min(connections, _LARGEST),
            queue_depths=self._depths(publishers),
            error_counts={name: min(max(number, 0), _LARGEST) for name, number in since.items()},
        )

    def _depths(self, publishers: "list[Publisher]") -> dict[str, int]:
        found: dict[str, int] = {}

        def note(topic: str, depth: int) -> None:
            found[topic] = min(max(found.get(topic, 0), depth), _LARGEST)

        for publisher in publishers:
            if publisher is not self._publisher and (ring := publisher._ring) is not None:
                note(publisher.topic, _unread(ring, self._bus))
        for subscription in list(self._bus._subscriptions.values()):
            for ring, position, *_ in subscription._counters():
                note(ring.topic, ring.tail - position)
        return found


def _unread(ring: Ring, bus: "Bus") -> int:
    """What the slowest of those that the ring waits for has not read."""
    tail, head, depth = ring.tail, ring.head, 0
    for _, session, cursor, floor in ring.gates():
        page = bus._pages.foreign.get(session)
        position = page.cursor(cursor)[0] if page is not None and cursor < page.capacity else 0
        depth = max(depth, tail - max(position or floor, head))
    return depth


def _resident_bytes() -> int:
    """Read in one call; psutil would be a package more to load in every collector."""
    with open("/proc/self/statm", "rb", buffering=0) as file:
        return int(file.read(128).split()[1]) * _PAGE
