"""May whoever sent a request have it executed? The coordinator has the rules; a server asks it once.

The bus's own user and root may. Of anybody else, and of whoever presents credentials with a request, the coordinator is
asked for the first request of each process, operation and token; what it says counts until the rules change. While
there is no coordinator, who was not asked about before is refused.

The sender of a request is the producer of its message, as the ring says where it came in. That can have been written by
whoever publishes to that ring, which is one principal (see `shmbus.principal`), so the coordinator is told the ring,
too: a request that cannot be of whom it says it is of is forged. It is counted, entered into the audit trail and not
answered. In the ring of root and the bus's own user, only those two write, and either may do everything.
"""

import logging
from typing import TYPE_CHECKING, Final

from shmbus.errors import ConnectionLost, RpcError, ShmbusError
from shmbus.principal import ring_name
from shmbus.rpc.failure import failure
from shmbus.rpc.topics import request_topic
from shmbus.v1.control_pb2 import AuthorizeCall, CallAuthorized
from shmbus.v1.eventbus_pb2 import RpcAuthInfo, RpcRequestPayload

if TYPE_CHECKING:
    from shmbus.bus import Bus
    from shmbus.message import Producer
    from shmbus.rpc.request import Request

REMEMBERED: Final = 4096
"""Verdicts, at the most. One more, and all are forgotten: whoever is there is asked about again."""


_log = logging.getLogger("shmbus")


class Unheard(Exception):
    """A request that nobody is to be answered for: `forged` (not of whom it says it is of), or its caller is gone."""

    def __init__(self, forged: bool) -> None:
        super().__init__("forged" if forged else "gone")
        self.forged = forged


class Gatekeeper:
    """Of one server. By one thread at a time: the one that takes requests."""

    def __init__(self, bus: "Bus", service: str) -> None:
        self._bus, self._service = bus, service
        self._topic = request_topic(service)  # and its own ring: root's, and the bus's own user's
        self._verdicts: dict[tuple[object, ...], CallAuthorized] = {}
        self._changes = 0

    def judge(self, payload: RpcRequestPayload, request: "Request") -> RpcError | None:
        """Why it is refused; None: it is not. Raises Unheard."""
        info = payload.auth_info if payload.HasField("auth_info") else None
        plain = info is None or not (info.auth_token or info.client_cert_fingerprint or info.auth_method)
        producer, ring = request.producer, request.message.topic
        shared = ring == self._topic  # looked at for every call, so not taken apart
        if plain and shared and producer is not None and producer.uid in (0, self._bus._owner_uid):
            return None
        number = payload.request.operation
        if producer is None and not shared:
            raise Unheard(forged=True)  # whoever opens a publisher is entered there
        if producer is None:
            return self._refusal(number, "nobody knows who sent it")
        try:
            verdict = self._verdict(request, producer, info)
        except ShmbusError as error:
            if not shared and not self._is_own_address(request, producer):
                raise Unheard(forged=True) from error
            return self._unjudged(number, error)
        if verdict.unheard:
            raise Unheard(verdict.forged)
        return None if verdict.allowed else self._refusal(number, verdict.reason)

    def _verdict(self, request: "Request", producer: "Producer", info: RpcAuthInfo | None) -> CallAuthorized:
        self._bus._attend()  # the rules may be others by now
        if self._changes != self._bus._access_changes or len(self._verdicts) >= REMEMBERED:
            self._changes = self._bus._access_changes
            self._verdicts.clear()
        operation, ring, client_id = request.wire.operation, request.message.topic, request.client_id
        token = info.SerializeToString(deterministic=True) if info is not None else b""
        key = producer, operation, ring, client_id, token
        known = self._verdicts.get(key)
        if known is None:
            question = AuthorizeCall(
                service=self._service,
                operation=operation,
                session=producer.session,
                pid=producer.pid,
                start_time=producer.start_time,
                uid=producer.uid,
                auth_info=info,
                ring=ring,
                client_id=client_id,
            )
            known = self._verdicts[key] = self._asked(question)
        return known

    def _asked(self, question: AuthorizeCall) -> CallAuthorized:
        with self._bus._request(question) as answer:
            verdict: CallAuthorized = answer.message
        if verdict.forged:
            _log.warning("%s: a request is not of whom it says it is: %s", self._service, verdict.reason)
        return verdict

    def _is_own_address(self, request: "Request", producer: "Producer") -> bool:
        """Would the answer go to a client of the principal whose ring it stands in? Where nobody can be asked."""
        client, ring = self._bus._client_of(producer.session), ring_name(request.message.topic)
        return client is not None and client.uid == ring.uid and request.client_id.startswith(f"c{client.bell}-")

    def _unjudged(self, operation: int, error: ShmbusError) -> RpcError:
        if not isinstance(error, ConnectionLost):
            return self._refusal(operation, str(error))
        reason = "there is no coordinator to ask whether its caller may"
        return failure(self._service, operation, "ACCESS_DENIED", reason, status="UNAVAILABLE")

    def _refusal(self, operation: int, reason: str) -> RpcError:
        return failure(self._service, operation, "ACCESS_DENIED", reason)
