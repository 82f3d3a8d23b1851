"""Putting a response together, with what was measured on the way.

    published ──── received ───── started ───── ended
       └ network ──┘└─ queue wait ─┘└ processing ┘       total: from published to ended

`serialization_time_us` is the time for taking the request apart and for putting the answer in its place; the last
encoding, into the ring, is done when the response is published and is not in it.
"""

import time
from typing import TYPE_CHECKING

from google.protobuf.message import Message as ProtobufMessage

from shmbus.errors import RpcError
from shmbus.rpc.failure import as_failure, status_to_wire, to_wire
from shmbus.rpc.operations import response_field
from shmbus.v1 import rpc_pb2 as wire
from shmbus.v1.eventbus_pb2 import RpcResponsePayload

if TYPE_CHECKING:
    from shmbus.rpc.request import Request


def respond(
    request: "Request", outcome: ProtobufMessage | None | RpcError, instance: str, load: int, ended_ns: int
) -> RpcResponsePayload:
    """The response to a request. What no response can carry is answered as the handler's error."""
    asked, published_ns = request.wire, request.message.time_ns
    started_ns = request.started_ns or ended_ns  # what was not executed has only waited
    # Field by field: a message that is handed to the constructor of another is serialised and parsed again.
    payload = RpcResponsePayload()
    response, routing, measured = payload.response, payload.routing, payload.performance_metrics
    response.request_id, response.service_id = asked.request_id, request.service
    response.operation = asked.operation
    response.timestamp = time.time_ns() // 1_000_000
    response.total_time_us = (ended_ns - published_ns) // 1000
    response.queue_time_us = measured.queue_wait_time_us = (started_ns - request.received_ns) // 1000
    response.execution_time_us = measured.processing_time_us = (ended_ns - started_ns) // 1000
    measured.network_latency_us = (request.received_ns - published_ns) // 1000
    routing.routing_path.append(instance)
    routing.load_balance_hint = str(load)
    _fill(response, request, outcome)
    measured.serialization_time_us = (request.parsing_ns + time.monotonic_ns() - ended_ns) // 1000
    return payload


def _fill(response: wire.RpcResponse, request: "Request", outcome: ProtobufMessage | None | RpcError) -> None:
    if outcome is None:
        response.empty.SetInParent()
    elif not isinstance(outcome, RpcError):
        try:
            getattr(response, response_field(outcome)).CopyFrom(outcome)
        except TypeError as error:
            outcome = as_failure(request.service, request.wire.operation, error)
    if isinstance(outcome, RpcError):
        response.status = status_to_wire(outcome)
        response.error.CopyFrom(to_wire(outcome))
    else:
        response.status = wire.RPC_STATUS_SUCCESS
