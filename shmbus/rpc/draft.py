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
        self._as_before: tuple[object, ...] = ()

    def fill(self, pending: Pending, attempt: int) -> RpcRequestPayload:
        """The same object each time."""
        ask, request = pending.ask, self._request
        while self._extra:
            request.ClearField(self._extra.pop())
        request.request_id = pending.request_id
        request.timestamp, request.deadline = time.time_ns() // 1_000_000, ask.deadline_ns
        mostly_the_same = (
            ask.operation, ask.priority, ask.auth_info, pending.instance.name, attempt, pending.service.breaker.state
        )  # fmt: skip
        if mostly_the_same != self._as_before:
            self._fill_rest(pending, attempt)
            self._as_before = mostly_the_same
        if ask.key:
            request.idempotency_key = ask.key
            self._extra.append("idempotency_key")
        if ask.payload is not None:
            field = request_field(ask.payload)
            getattr(request, field).CopyFrom(ask.payload)
            self._extra.append(field)
        return self._whole

    def _fill_rest(self, pending: Pending, attempt: int) -> None:
        ask, request, routing = pending.ask, self._request, self._routing
        request.operation = ask.operation  # type: ignore[assignment]
        request.priority = ask.priority
        self._whole.ClearField("auth_info")
        if ask.auth_info is not None:
            self._whole.auth_info.CopyFrom(ask.auth_info)
        routing.load_balance_hint = pending.instance.name
        routing.retry_count = attempt - 1
        routing.circuit_breaker_state = pending.service.breaker.state
