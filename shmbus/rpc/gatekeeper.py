"""May whoever sent a request have it executed? The coordinator has the rules; a server asks it once.

The bus's own user and root may. Of anybody else, and of whoever presents credentials with a request, the coordinator is
asked for the first request of each process, operation and token; what it says counts until the rules change. While
there is no coordinator, who was not asked about before is refused.

The sender of a request is the producer of its message, as the coordinator has entered it. All that may publish to the
topic hold its memory, so a caller that writes there by itself can pass for another one of the same collector, and read
the tokens in its requests. A token that is presented when connecting goes another way, and nobody else sees it.
"""

from typing import TYPE_CHECKING, Final

from shmbus.errors import ConnectionLost, RpcError, ShmbusError
from shmbus.rpc.failure import failure
from shmbus.v1.control_pb2 import AuthorizeCall
from shmbus.v1.eventbus_pb2 import RpcAuthInfo, RpcRequestPayload

if TYPE_CHECKING:
    from shmbus.bus import Bus
    from shmbus.message import Producer

REMEMBERED: Final = 4096
"""Verdicts, at the most. One more, and all are forgotten: whoever is there is asked about again."""


class Gatekeeper:
    """Of one server. By one thread at a time: the one that takes requests."""

    def __init__(self, bus: "Bus", service: str) -> None:
        self._bus, self._service = bus, service
        self._verdicts: dict[tuple[object, ...], str] = {}
        self._changes = 0

    def judge(self, payload: RpcRequestPayload, producer: "Producer | None") -> RpcError | None:
        """Why it is refused; None: it is not."""
        info = payload.auth_info if payload.HasField("auth_info") else None
        plain = info is None or not (info.auth_token or info.client_cert_fingerprint or info.auth_method)
        if plain and producer is not None and producer.uid in (0, self._bus._owner_uid):
            return None
        number = payload.request.operation
        if producer is None:
            return self._refusal(number, "nobody knows who sent it")
        key = (producer, number, info.SerializeToString(deterministic=True) if info is not None else b"")
        try:
            reason = self._verdict(key, producer, number, info)
        except ConnectionLost:
            return failure(
                self._service, number, "ACCESS_DENIED", "there is no coordinator to ask whether its caller may",
                status="UNAVAILABLE",
            )  # fmt: skip
        except ShmbusError as error:
            reason = str(error)
        return self._refusal(number, reason) if reason else None

    def _verdict(self, key: tuple[object, ...], producer: "Producer", number: int, info: RpcAuthInfo | None) -> str:
        self._bus._attend()  # the rules may be others by now
        if self._changes != self._bus._access_changes or len(self._verdicts) >= REMEMBERED:
            self._changes = self._bus._access_changes
            self._verdicts.clear()
        known = self._verdicts.get(key)
        if known is not None:
            return known
        question = AuthorizeCall(
            service=self._service,
            operation=number,  # type: ignore[arg-type]
            session=producer.session,
            pid=producer.pid,
            start_time=producer.start_time,
            auth_info=info,
        )
        with self._bus._request(question) as answer:
            reason: str = "" if answer.message.allowed else answer.message.reason
        self._verdicts[key] = reason
        return reason

    def _refusal(self, operation: int, reason: str) -> RpcError:
        return failure(self._service, operation, "ACCESS_DENIED", reason)
