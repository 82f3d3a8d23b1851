"""Operations about a collector's life and how it is run, asked of the coordinator: over the control socket, so that
they also work for a collector that does not run, or does not answer.

What takes its time is begun and answered at once. Whoever asked then waits without holding up anybody else who uses the
connection: for the end of a process, or for an answer through a pipe that came with the first one.
"""

import os
import select
import time
from typing import TYPE_CHECKING

from shmbus.errors import ConnectionLost
from shmbus.rpc.answer import Answer, answer_of
from shmbus.rpc.failure import failure, from_wire
from shmbus.rpc.operations import request_field
from shmbus.rpc.pending import Ask
from shmbus.v1 import rpc_pb2 as wire
from shmbus.v1.eventbus_pb2 import RpcResponsePayload

if TYPE_CHECKING:
    from shmbus.bus import Bus


def ask_coordinator(bus: "Bus", ask: Ask) -> Answer:
    """Ask and wait. Raises RpcError, also for one with a key; AccessDenied."""
    if ask.key:
        reason = f"the coordinator answers it, and remembers no keys: leave out the key {ask.key!r}"
        raise failure(ask.service, ask.operation, "VALIDATION_FAILED", reason)
    request = wire.RpcRequest(
        request_id=f"{bus.client_name}-{time.monotonic_ns()}",
        target=ask.service,
        operation=ask.operation,  # type: ignore[arg-type]
        timestamp=time.time_ns() // 1_000_000,
        deadline=ask.deadline_ns,
    )
    if ask.payload is not None:
        getattr(request, request_field(ask.payload)).CopyFrom(ask.payload)
    try:
        with bus._request(request, ask.auth_info) as received:
            response: wire.RpcResponse = received.message
            pipe = received.take() if len(received) else -1
    except ConnectionLost as error:
        reason = "the coordinator is gone, and nobody else starts and stops collectors"
        raise failure(ask.service, ask.operation, "IO_ERROR", reason, status="UNAVAILABLE") from error
    if pipe >= 0:
        response = _answer_through(pipe, ask)
    elif response.status == wire.RPC_STATUS_IN_PROGRESS:
        _wait_for_end(int(response.health.metrics["pid"]), ask)
        response.status = wire.RPC_STATUS_SUCCESS
    if response.status == wire.RPC_STATUS_SUCCESS:
        return answer_of(RpcResponsePayload(response=response))
    raise from_wire(response, ask.service, ask.seconds)


def _answer_through(pipe: int, ask: Ask) -> wire.RpcResponse:
    """What the coordinator says at the end. Raises RpcError when that takes longer, or it ends before."""
    with open(pipe, "rb", buffering=0) as file:
        poll = select.poll()
        poll.register(file, select.POLLIN)
        if not poll.poll(max(ask.left(), 0) * 1000):
            reason = "the coordinator has begun it, and goes on; its log says how it ends"
            raise failure(
                ask.service, ask.operation, "DEADLINE_EXCEEDED", reason, status="TIMEOUT", seconds=ask.seconds
            )
        told = file.read()
    if not told:
        reason = "the coordinator ended before it was done: the next one goes by the configuration from before"
        raise failure(ask.service, ask.operation, "IO_ERROR", reason, status="UNAVAILABLE")
    return wire.RpcResponse.FromString(told)


def _wait_for_end(pid: int, ask: Ask) -> None:
    """The coordinator has begun it; the process may take its time. Raises RpcError when it takes longer."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(max(ask.left(), 0) * 1000):
            reason = f"pid {pid} has been told to end, and has not ended yet"
            raise failure(
                ask.service, ask.operation, "DEADLINE_EXCEEDED", reason, status="TIMEOUT", seconds=ask.seconds
            )
    finally:
        os.close(pidfd)
