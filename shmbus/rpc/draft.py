"""A request as it goes out: what is the same in every call of a client to a service is put together once."""

import time
from typing import Final

from shmbus.rpc.operations import request_field
from shmbus.rpc.pending import Pending
from shmbus.v1.eventbus_pb2 import RpcRequestPayload


class Draft:
    """Of one client and service, filled anew for each call. For one thread at a time: until it has been serialised."""

    def __init__(self, client_id: str, target: str) -> None:
        self._whole: Final = RpcRequestPayload()
        self._request, self._routing = self._whole.request, self._whole.routing
        self._request.client_id, self._request.target = client_id, target
        self._extra: list[str] = []  # fields that are not in every call, and were in the last one

    def fill(self, pending: Pending, attempt: int) -> RpcRequestPayload:
        """The same object each time."""
        ask, request, routing = pending.ask, self._request, self._routing
        while self._extra:
            request.ClearField(self._extra.pop())
        request.request_id = pending.request_id
        request.operation = ask.operation  # type: ignore[assignment]
        request.timestamp, request.deadline = time.time_ns() // 1_000_000, ask.deadline_ns
        request.priority = ask.priority
        self._whole.ClearField("auth_info")
        if ask.auth_info is not None:
            self._whole.auth_info.CopyFrom(ask.auth_info)
        if ask.key:
            request.idempotency_key = ask.key
            self._extra.append("idempotency_key")
        if ask.payload is not None:
            field = request_field(ask.payload)
            getattr(request, field).CopyFrom(ask.payload)
            self._extra.append(field)
        routing.load_balance_hint = pending.instance.name
        routing.retry_count = attempt - 1
        routing.circuit_breaker_state = pending.service.breaker.state
        return self._whole
