"""Which collectors can do which tasks, and where the results of which tasks go."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from shmbus.v1.common_pb2 import TaskType
from shmbus.v1.ipc_pb2 import AdvancedCapabilities, MonitoringDomain
from shmbus.v1.rpc_pb2 import REGISTRATION_EVENT_KIND_RENEWAL_FAILED, RegistrationEvent

HIGHEST_PREFERENCE: Final = 255


class _Kind(NamedTuple):
    domain: MonitoringDomain
    topic: str


_KINDS: Final[Mapping[int, _Kind]] = {
    TaskType.ENUMERATE_PROCESSES: _Kind(MonitoringDomain.PROCESS, "events.process.batch"),
    TaskType.CHECK_PROCESS_HASH: _Kind(MonitoringDomain.PROCESS, "events.process.integrity"),
    TaskType.MONITOR_PROCESS_TREE: _Kind(MonitoringDomain.PROCESS, "events.process.tree"),
    TaskType.VERIFY_EXECUTABLE: _Kind(MonitoringDomain.PROCESS, "events.process.integrity"),
    TaskType.MONITOR_NETWORK_CONNECTIONS: _Kind(MonitoringDomain.NETWORK, "events.network.connections"),
    TaskType.TRACK_FILE_OPERATIONS: _Kind(MonitoringDomain.FILESYSTEM, "events.filesystem.operations"),
    TaskType.COLLECT_PERFORMANCE_METRICS: _Kind(MonitoringDomain.PERFORMANCE, "events.performance.utilization"),
}


class Requirement(NamedTuple):
    """What a task takes."""

    task_type: int
    kernel_level: bool = False
    realtime: bool = False
    system_wide: bool = False

    @classmethod
    def of(cls, task_type: int, needs: AdvancedCapabilities | None) -> "Requirement":
        """Raises ValueError for a task that nobody can do."""
        if task_type not in _KINDS:
            known = ", ".join(TaskType.keys())
            raise ValueError(f"there are no tasks of type {task_type}; there are: {known}")
        return (
            cls(task_type) if needs is None else cls(task_type, needs.kernel_level, needs.realtime, needs.system_wide)
        )

    @property
    def domain(self) -> MonitoringDomain:
        """That it belongs to."""
        return _KINDS[self.task_type].domain

    @property
    def result_topic(self) -> str:
        """Where its result is published."""
        return _KINDS[self.task_type].topic

    def __str__(self) -> str:
        wanted = [name for name in ("kernel_level", "realtime", "system_wide") if getattr(self, name)]
        name = TaskType.Name(self.task_type)
        return f"{name} takes " + ", ".join((MonitoringDomain.Name(self.domain), *wanted))


class Candidate(NamedTuple):
    """A registered collector. `number` is that of its registration: when it registers anew it is another.

    `session` is its connection's. `late`: its heartbeat is, so that its lease may end soon.
    """

    number: int
    name: str
    domains: frozenset[int]
    task_types: frozenset[int] = frozenset()
    advanced: tuple[bool, bool, bool] = (False, False, False)
    preference: int = 0
    session: int = 0
    late: bool = False

    @classmethod
    def of(cls, event: RegistrationEvent) -> "Candidate":
        """As it registered."""
        its = event.registration
        advanced = its.capabilities.advanced
        return cls(
            event.registration_id,
            its.collector_id,
            frozenset(its.capabilities.supported_domains),
            frozenset(its.capabilities.task_types),
            (advanced.kernel_level, advanced.realtime, advanced.system_wide),
            _preference(its.attributes.get("priority", "")),
            event.session,
            event.kind == REGISTRATION_EVENT_KIND_RENEWAL_FAILED,
        )

    def can(self, wanted: Requirement) -> bool:
        """Does it do such tasks?"""
        if wanted.domain not in self.domains or (self.task_types and wanted.task_type not in self.task_types):
            return False
        needs = (wanted.kernel_level, wanted.realtime, wanted.system_wide)
        return all(has or not need for need, has in zip(needs, self.advanced, strict=True))

    def __str__(self) -> str:
        domains = ", ".join(str(MonitoringDomain.Name(one)) for one in sorted(self.domains) if one in _DOMAINS)
        return f"{self.name} ({domains})"


_DOMAINS: Final = frozenset(MonitoringDomain.values())


def _preference(text: str) -> int:
    return min(int(text), HIGHEST_PREFERENCE) if text.isdecimal() and text.isascii() and len(text) < 10 else 0
