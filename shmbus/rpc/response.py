"""Putting a response together, with what was measured on the way.

    published ──── received ───── started ───── ended
       └ network ──┘└─ queue wait ─┘└ processing ┘       total: from published to ended

`serialization_time_us` is the time for taking the request apart and for putting the answer in its place; the last
encoding, into the ring, is done when the response is published and is not in it.
"""

import time
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message as ProtobufMessage

from shmbus.errors import RpcError
from shmbus.rpc.failure import as_failure, status_to_wire, to_wire
from shmbus.rpc.operations import response_field
from shmbus.v1 import rpc_pb2 as wire
from shmbus.v1.eventbus_pb2 import RpcResponsePayload

if TYPE_CHECKING:
    from shmbus.rpc.request import Request


class Form:
    """A response, filled anew for each request: what is as it was in the one before is not written again.

    For one request at a time: until it has been serialised.
    """

    def __init__(self, service: str) -> None:
        self._whole: Final = RpcResponsePayload()
        self._response, self._routing = self._whole.response, self._whole.routing
        self._measured = self._whole.performance_metrics
        self._response.service_id = service
        self._as_before: tuple[object, ...] = ()
        self._is_plain = False  # it says success, and carries nothing
        self.failed = False
        """It says that the request failed."""

    def fill(
        self, request: "Request", outcome: ProtobufMessage | None | RpcError, instance: str, load: int, ended_ns: int
    ) -> RpcResponsePayload:
        """The response to a request, the same object each time. What no response can carry is answered as the
        handler's error.
        """
        published_ns, received_ns = request.message.time_ns, request.received_ns
        started_ns = request.started_ns or ended_ns  # what was not executed has only waited
        response, measured = self._response, self._measured
        response.request_id = request.request_id
        response.timestamp = time.time_ns() // 1_000_000
        response.total_time_us = (ended_ns - published_ns) // 1000
        response.queue_time_us = measured.queue_wait_time_us = (started_ns - received_ns) // 1000
        response.execution_time_us = measured.processing_time_us = (ended_ns - started_ns) // 1000
        measured.network_latency_us = (received_ns - published_ns) // 1000
        mostly_the_same = request.number, instance, load
        if mostly_the_same != self._as_before:
            response.operation = request.number  # type: ignore[assignment]
            self._routing.routing_path[:] = [instance]
            self._routing.load_balance_hint = str(load)
            self._as_before = mostly_the_same
        self._carry(request, outcome)
        measured.serialization_time_us = (request.parsing_ns + time.monotonic_ns() - ended_ns) // 1000
        return self._whole

    def _carry(self, request: "Request", outcome: ProtobufMessage | None | RpcError) -> None:
        if outcome is None and self._is_plain:
            return
        response, self._is_plain = self._response, False
        response.ClearField("payload")
        response.ClearField("error")
        if not (outcome is None or isinstance(outcome, RpcError)):
            try:
                getattr(response, response_field(outcome)).CopyFrom(outcome)
            except TypeError as error:
                outcome = as_failure(request.service, request.number, error)
        self.failed = isinstance(outcome, RpcError)
        if isinstance(outcome, RpcError):
            response.status = status_to_wire(outcome)
            response.error.CopyFrom(to_wire(outcome))
            return
        response.status = wire.RPC_STATUS_SUCCESS
        if outcome is None:
            response.empty.SetInParent()
            self._is_plain = True
