"""Operations about a collector's life: whether it runs, and whose name it is.

Starting and stopping are begun here and answered at once; who asked waits for the process's end by itself.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from shmbus.coordinator.access import Access
from shmbus.coordinator.children import Children, Collector
from shmbus.coordinator.journal import Warn
from shmbus.coordinator.leases import LONGEST_MS, SHORTEST_MS, Leases
from shmbus.coordinator.post import Log
from shmbus.coordinator.registrations import Refused
from shmbus.coordinator.registry import Client
from shmbus.coordinator.supervisor import State
from shmbus.errors import RpcError, ShmbusError, TopicNameError
from shmbus.rpc.failure import as_failure, failure, status_to_wire, to_wire
from shmbus.rpc.operations import DEREGISTER, FORCE_SHUTDOWN, REGISTER, RESTART, START, STOP
from shmbus.rpc.topics import request_topic
from shmbus.v1 import rpc_pb2 as wire

HEARTBEAT_MS = 30_000
_HEALTH: dict[State, wire.HealthStatus] = {
    State.RUNNING: wire.HEALTHY,
    State.FAILED: wire.UNHEALTHY,
    State.BACKING_OFF: wire.UNHEALTHY,
}
_THERE = (State.STARTING, State.RUNNING, State.PAUSED)  # a process of it is there, and is to stay


class Calls:
    """Answers them for one bus. Whatever it raises is the answer."""

    def __init__(self, leases: Leases, children: Children, access: Access, log: Log) -> None:
        self._leases, self._children, self._access, self._log = leases, children, access, log
        self._methods: dict[int, Callable[[Client, str, wire.RpcRequest], Any]] = {
            REGISTER: self._register,
            DEREGISTER: self._deregister,
            START: self._start,
            STOP: self._stop,
            RESTART: self._restart,
            FORCE_SHUTDOWN: self._kill,
        }

    def answer(self, client: Client, request: wire.RpcRequest) -> wire.RpcResponse:
        """Do it. Raises AccessDenied."""
        begun = time.monotonic_ns()
        response = wire.RpcResponse(
            request_id=request.request_id, service_id="coordinator", operation=request.operation
        )
        try:
            self._do(client, request, response)
        except (RpcError, TopicNameError, OSError) as error:
            failed = as_failure(request.target, request.operation, error)
            response.status = status_to_wire(failed)
            response.error.CopyFrom(to_wire(failed))
        response.timestamp = time.time_ns() // 1_000_000
        response.execution_time_us = response.total_time_us = (time.monotonic_ns() - begun) // 1000
        return response

    def _do(self, client: Client, request: wire.RpcRequest, response: wire.RpcResponse) -> None:
        method = self._methods.get(request.operation)
        if method is None:
            raise failure(
                request.target, request.operation, "UNSUPPORTED_OPERATION", "the coordinator answers no such operation"
            )
        result = method(client, request.target, request)
        response.status = wire.RPC_STATUS_SUCCESS
        if isinstance(result, wire.RegistrationResponse):
            response.registration.CopyFrom(result)
        elif isinstance(result, wire.HealthData):
            response.health.CopyFrom(result)
            if result.metrics["pid"] and int(request.operation) != START:
                response.status = wire.RPC_STATUS_IN_PROGRESS
        else:
            response.empty.SetInParent()

    # ---- lives -------------------------------------------------------------------------------------------------------

    def _start(self, client: Client, name: str, request: wire.RpcRequest) -> wire.HealthData:
        self._access.check_call(client, name, START)
        _check_plain(name, request)
        life = self._known(name, START).life
        if life.state in _THERE:
            raise failure(name, START, "ALREADY_RUNNING", f"it is {life.state} as pid {life.pid}")
        collector = self._children.start(name)
        if life.state in (State.BACKING_OFF, State.FAILED):
            raise failure(name, START, "SPAWN_FAILED", life.reason)
        return _told(collector, life.pid)

    def _stop(self, client: Client, name: str, request: wire.RpcRequest) -> wire.HealthData:
        collector, pid = self._running(client, name, STOP)
        self._children.stop(name)
        return _told(collector, pid)

    def _kill(self, client: Client, name: str, request: wire.RpcRequest) -> wire.HealthData:
        collector, pid = self._running(client, name, FORCE_SHUTDOWN)
        self._children.kill(name)
        return _told(collector, pid)

    def _restart(self, client: Client, name: str, request: wire.RpcRequest) -> wire.HealthData:
        self._access.check_call(client, name, RESTART)
        _check_plain(name, request)
        pid = self._known(name, RESTART).life.pid
        return _told(self._children.restart(name), pid)

    def _running(self, client: Client, name: str, operation: int) -> tuple[Collector, int]:
        self._access.check_call(client, name, operation)
        collector = self._known(name, operation)
        if collector.life.state is State.STOPPED:
            raise failure(name, operation, "PROCESS_NOT_FOUND", "it does not run")
        return collector, collector.life.pid

    def _known(self, name: str, operation: int) -> Collector:
        collector = self._children.collectors.get(name)
        if collector is None:
            known = ", ".join(sorted(self._children.collectors)) or "none"
            reason = f"no collector of that name is configured or installed; there are: {known}"
            raise failure(name, operation, "CONFIG_NOT_FOUND", reason)
        return collector

    # ---- names -------------------------------------------------------------------------------------------------------

    def resumed(self, client: Client, held: Iterable[wire.RegistrationRequest]) -> None:
        """Another coordinator's client says what it holds."""
        for request in held:
            try:
                self._admit(client, request.collector_id, request)
            except ShmbusError as error:
                self._log(Warn(f"{request.collector_id}: {client.who} is not registered any more: {error}"))

    def _register(self, client: Client, name: str, request: wire.RpcRequest) -> wire.RegistrationResponse:
        granted = self._admit(client, name, request.registration)
        return wire.RegistrationResponse(
            collector_id=granted.collector_id, accepted=True, heartbeat_interval_ms=granted.heartbeat_interval_ms,
            assigned_topics=(request_topic(granted.collector_id),),
        )  # fmt: skip

    def _admit(self, client: Client, name: str, asked: wire.RegistrationRequest) -> wire.RegistrationRequest:
        wanted = wire.RegistrationRequest()
        wanted.CopyFrom(asked)
        wanted.collector_id = name = wanted.collector_id or name
        _checked_topic(name)
        self._access.check_serve(client, name)
        supervised = self._children.collectors.get(name)
        if supervised is not None and client.collector != name:
            # What the configuration grants a collector is for the process that the coordinator started.
            reason = f"it is a collector of the configuration, and {supervised.life.state}"
            raise failure(name, REGISTER, "ALREADY_REGISTERED", reason)
        if not wanted.heartbeat_interval_ms:
            its = 0 if supervised is None else int(supervised.plan.heartbeat_seconds * 1000)
            wanted.heartbeat_interval_ms = min(max(its or HEARTBEAT_MS, SHORTEST_MS), LONGEST_MS)
        try:
            return self._leases.register(client, wanted)
        except Refused as error:
            raise _refused(name, REGISTER, error) from None

    def _deregister(self, client: Client, name: str, request: wire.RpcRequest) -> None:
        asked = request.deregistration
        name = asked.collector_id or name
        if asked.force and self._leases.holder(name) not in (None, client.number):
            self._access.check_administer(client, _checked_topic(name), "deregister")
        try:
            self._leases.deregister(client, name, force=asked.force, reason=asked.reason)
        except Refused as error:
            raise _refused(name, DEREGISTER, error) from None


def _refused(name: str, operation: int, error: Refused) -> RpcError:
    return failure(name, operation, error.code, error.reason, category=error.category)


def _told(collector: Collector, pid: int) -> wire.HealthData:
    """What there is of a collector; `pid` is the process that is there, or ends now."""
    process = wire.ComponentHealth(
        name="process", status=_HEALTH.get(collector.life.state, wire.UNKNOWN), message=collector.life.state.value
    )
    return wire.HealthData(
        collector_id=collector.name,
        status=process.status,
        components={process.name: process},
        metrics={"pid": pid, "restarts": collector.life.restarts},
    )


def _checked_topic(name: str) -> str:
    try:
        return request_topic(name)
    except TopicNameError as error:
        raise failure(name, REGISTER, "REGISTRATION_INVALID", str(error)) from None


def _check_plain(name: str, request: wire.RpcRequest) -> None:
    """How a collector is run stands in the configuration, and only there."""
    asked = [field.name for field, _ in request.lifecycle.ListFields() if not field.name.startswith("collector_")]
    if asked:
        reason = f"{', '.join(asked)}: how it is run stands in the configuration; change it there and reload"
        raise failure(name, request.operation, "INVALID_CONFIG_CHANGE", reason)
