"""procmond as a service: what can be asked of it while it runs. Its methods run on the monitor's own loop."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from shmbus.rpc import EXECUTE_TASK, GRACEFUL_SHUTDOWN, PAUSE, RESUME, UPDATE_CONFIG, Collector, Request, operation
from shmbus.rpc.beginning import Begin
from shmbus.v1.common_pb2 import EventType, HashResult, ProcessFilter, ProcessRecord, TaskType
from shmbus.v1.ipc_pb2 import AdvancedCapabilities, DetectionResult, DetectionTask, MonitoringDomain
from shmbus.v1.rpc_pb2 import ComponentHealth, ConfigUpdateRequest, ConfigValue

from .hashing import ALGORITHM, digest
from .process import Process

if TYPE_CHECKING:
    from .monitor import Monitor

CHANGEABLE: Final = ("interval", "metadata_interval")
"""Options that UPDATE_CONFIG changes while running, in seconds. The others need another start."""

_log = logging.getLogger("procmond")

SHORTEST_S, LONGEST_S = 0.01, 86400.0


class Service(Collector):
    """`monitor` is steered; `stop` ends the process in order."""

    event_types = (EventType.PROCESS_EVENT,)
    domains = (MonitoringDomain.PROCESS,)
    task_types = (TaskType.ENUMERATE_PROCESSES, TaskType.CHECK_PROCESS_HASH)

    def __init__(self, monitor: Monitor, stop: Callable[[], None]) -> None:
        super().__init__("procmond")
        self._monitor, self._stop = monitor, stop
        self.features = (monitor.mode, ALGORITHM)
        kernel = monitor.mode == "connector"
        self.advanced = AdvancedCapabilities(kernel_level=kernel, realtime=kernel, system_wide=os.geteuid() == 0)

    def components(self) -> Sequence[ComponentHealth]:
        """Whether it watches, and whether what it tells is taken."""
        monitor = self._monitor
        waits = "waits to be told to begin" if monitor.waiting else monitor.mode
        watching = monitor.reason or waits
        return (ComponentHealth(name="watching", status=monitor.health, message=watching),)

    def metrics(self) -> Mapping[str, float]:
        """What it has in its table and what it could not tell."""
        return self._monitor.figures()

    def begin_monitoring(self, word: Begin) -> None:
        """Where it was told to wait for that: it publishes from now on."""
        _log.info("told to begin by %s", word.agent)
        self._monitor.resume()

    @operation(PAUSE)
    def pause(self, request: Request) -> None:
        """It publishes nothing, and goes on watching, so that it can tell what is there when it is resumed."""
        self._monitor.pause()

    @operation(RESUME)
    def resume(self, request: Request) -> None:
        """It publishes again; a metadata round tells at once what there is by now."""
        self._monitor.resume()

    @operation(UPDATE_CONFIG)
    def update_config(self, request: Request) -> None:
        """All changes or none."""
        update: ConfigUpdateRequest = request.payload
        changes = {name: _seconds(request, name, value) for name, value in update.config_changes.items()}
        if not update.validate_only:
            self._monitor.change(**changes)

    @operation(GRACEFUL_SHUTDOWN)
    def shut_down(self, request: Request) -> None:
        """As SIGTERM does. A coordinator that runs it starts it again: STOP has it stay down."""
        self._stop()

    @operation(EXECUTE_TASK)
    def execute(self, request: Request) -> DetectionResult:
        """ENUMERATE_PROCESSES and CHECK_PROCESS_HASH."""
        task: DetectionTask = request.payload
        if task.task_type == TaskType.ENUMERATE_PROCESSES:
            records = self._monitor.records(_selector(task.process_filter))
            return DetectionResult(task_id=task.task_id, success=True, processes=_unless_cancelled(request, records))
        if task.task_type == TaskType.CHECK_PROCESS_HASH:
            result = _check_hash(request, task)
            return DetectionResult(task_id=task.task_id, success=result.success, hash_result=result)
        known = "ENUMERATE_PROCESSES and CHECK_PROCESS_HASH"
        raise request.refuse("UNSUPPORTED_OPERATION", f"it does {known}, not {TaskType.Name(task.task_type)}")


def _seconds(request: Request, name: str, value: ConfigValue) -> float:
    if name not in CHANGEABLE:
        reason = f"{name} cannot be changed while it runs; {' and '.join(CHANGEABLE)} can"
        raise request.refuse("INVALID_CONFIG_CHANGE", reason, key=name)
    which = value.WhichOneof("value")
    number: Any = getattr(value, which) if which in ("int_value", "double_value") else None
    if number is None or not SHORTEST_S <= number <= LONGEST_S:
        reason = f"{name} is a number of seconds from {SHORTEST_S:g} to {LONGEST_S:g}"
        raise request.refuse("VALIDATION_FAILED", reason, key=name)
    return float(number)


def _selector(wanted: ProcessFilter) -> Callable[[Process], bool]:
    """Does a process fit all that the filter sets?"""
    names, pids, pattern = set(wanted.process_names), set(wanted.pids), wanted.executable_pattern

    def fits(process: Process) -> bool:
        return (
            (not names or process.name in names)
            and (not pids or process.pid in pids)
            and (not pattern or fnmatchcase(process.image.path or "", pattern))
        )

    return fits


def _unless_cancelled(request: Request, records: Iterator[ProcessRecord]) -> Iterator[ProcessRecord]:
    for record in records:
        if request.cancelled:
            raise request.refuse("CLIENT_SHUTDOWN", "nobody waits for the rest")
        yield record


def _check_hash(request: Request, task: DetectionTask) -> HashResult:
    check = task.hash_check
    if check.hash_algorithm.lower() not in ("", ALGORITHM):
        raise request.refuse("INVALID_PAYLOAD", f"it computes {ALGORITHM}, not {check.hash_algorithm}")
    result = HashResult(algorithm=ALGORITHM, file_path=check.executable_path)
    try:
        value = _digest_of(check.executable_path, lambda: request.cancelled)
    except OSError as error:
        result.error_message = error.strerror or str(error)
        return result
    if value is None:
        raise request.refuse("CLIENT_SHUTDOWN", "nobody waits for the hash")
    result.hash_value = value
    result.success = not check.expected_hash or value == check.expected_hash.lower()
    return result


def _digest_of(path: str, stop: Callable[[], bool]) -> str | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not hold the loop
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(None, "not a regular file")
        return digest(descriptor, stop)
    finally:
        os.close(descriptor)
