"""The health of a server, measured: what HEALTH_CHECK answers by itself."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

import psutil

from shmbus.v1 import rpc_pb2 as wire

CROWDED: Final = 0.5  # of the queue's limit: more is a degraded server


class Vitals:
    """Counters of one server, and its process."""

    def __init__(self, collector_id: str) -> None:
        self._collector_id = collector_id
        self._started = time.monotonic()
        self._process = psutil.Process()
        self.requests = 0  # executed
        self.errors = 0  # of those, answered with an error
        self.overdue = 0  # past their deadline before they were executed
        self.cancelled = 0
        self.repeated = 0  # answered from what is remembered
        self.conflicting = 0  # with a key that was used for something else
        self.refused = 0  # the queue was full
        self.denied = 0  # no rule allows its caller
        self.forged = 0  # not of whom it said it was
        self.invalid = 0  # no request, or from nowhere
        self.unanswered = 0  # the client's ring had no room
        self.queued = 0
        self.running = 0
        self.queue_limit = 1
        self.busy_ns = 0

    def report(self, components: Sequence[wire.ComponentHealth], metrics: Mapping[str, float]) -> wire.HealthData:
        """As of now."""
        own = self._queue()
        return wire.HealthData(
            collector_id=self._collector_id,
            status=_worst((own, *components)),
            components={one.name: one for one in (own, *components)},
            metrics={**self._metrics(), **metrics},
            last_heartbeat=time.time_ns() // 1_000_000,
            uptime_seconds=int(time.monotonic() - self._started),
            error_count=self.errors,
        )

    def worst(self, components: Sequence[wire.ComponentHealth]) -> wire.HealthStatus:
        """The status of that report, without the rest."""
        return _worst((self._queue(), *components))

    def why(self, components: Sequence[wire.ComponentHealth]) -> str:
        """The worst of them, and what that says; empty: all are well."""
        worst = max((self._queue(), *components), key=lambda one: one.status)
        if worst.status <= wire.HEALTHY:
            return ""
        return f"{worst.name}: {worst.message}" if worst.message else worst.name

    def _queue(self) -> wire.ComponentHealth:
        crowded = self.queued > CROWDED * self.queue_limit
        return wire.ComponentHealth(
            name="rpc",
            status=wire.DEGRADED if crowded else wire.HEALTHY,
            message=f"{self.queued} of at most {self.queue_limit} requests wait",
            last_check=time.time_ns() // 1_000_000,
        )

    def _metrics(self) -> dict[str, float]:
        times = self._process.cpu_times()
        names = (
            "requests", "errors", "overdue", "cancelled", "repeated", "conflicting", "refused", "denied", "forged",
            "invalid", "unanswered", "queued", "running",
        )  # fmt: skip
        return {
            **{f"rpc_{name}": float(getattr(self, name)) for name in names},
            "rpc_busy_seconds": self.busy_ns / 1e9,
            "memory_bytes": float(self._process.memory_info().rss),
            "cpu_seconds": times.user + times.system,
            "threads": float(self._process.num_threads()),
        }


def _worst(components: Sequence[wire.ComponentHealth]) -> wire.HealthStatus:
    return max(one.status for one in components)
