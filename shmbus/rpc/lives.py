"""Operations about a collector's life, asked of the coordinator: over the control socket, so that they also work for a
collector that does not run, or does not answer.
"""

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

COORDINATOR = "coordinator"


def ask_coordinator(bus: "Bus", ask: Ask) -> Answer:
    """Ask and wait. Raises RpcError; AccessDenied."""
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
        with bus._request(request) as received:
            response: wire.RpcResponse = received.message
    except ConnectionLost as error:
        reason = "the coordinator is gone, and nobody else starts and stops collectors"
        raise failure(ask.service, ask.operation, "IO_ERROR", reason, status="UNAVAILABLE") from error
    if response.status in (wire.RPC_STATUS_SUCCESS, wire.RPC_STATUS_IN_PROGRESS):
        return answer_of(RpcResponsePayload(response=response))
    raise from_wire(response, ask.service, ask.seconds)
