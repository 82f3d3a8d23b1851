"""What a handler is given: the request, how much time is left, and whether anybody still wants the answer."""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shmbus.errors import RpcError
from shmbus.principal import ring_name
from shmbus.rpc.failure import failure
from shmbus.rpc.operations import NEEDS, TAKES, Operation, name_of
from shmbus.v1.rpc_pb2 import RpcRequest

if TYPE_CHECKING:
    from shmbus.message import Message, Producer

_TAKES: Final[Mapping[int, str]] = {int(number): field for number, field in TAKES.items()}

LONGEST_KEY: Final = 128
"""Characters. Of a longer key a digest is kept, for what is remembered is bounded."""
SHOWN_CHARACTERS: Final = 64  # of a key, in an error
_DIGEST_BYTES: Final = 16


class Asked(NamedTuple):
    """What a key was used for: the operation, and a digest of the payload, of whatever size that was."""

    number: int
    digest: bytes

    @classmethod
    def of(cls, wire: RpcRequest) -> "Asked":
        """Two that are equal as messages are equal, also where their maps were written in other orders."""
        field = wire.WhichOneof("payload") or "empty"
        payload = getattr(wire, field).SerializeToString(deterministic=True)
        return cls(int(wire.operation), _digest(b"%s %s" % (field.encode(), payload)))


class Request:
    """One request, from its arrival to its answer."""

    __slots__ = (
        "wire", "message", "service", "request_id", "known_as", "number", "client_id", "received_ns", "started_ns",
        "parsing_ns", "keys", "asked", "is_cancelled", "on_cancel", "_look",
    )  # fmt: skip

    def __init__(self, wire: RpcRequest, message: "Message", service: str, received_ns: int, parsing_ns: int) -> None:
        self.wire, self.message, self.service = wire, message, service
        # Taken out of the protobuf once: each look into it costs as much as ten at an attribute.
        self.request_id, self.number = wire.request_id, int(wire.operation)
        self.client_id = wire.client_id
        """Who asks, as it says; see `producer` for who it is."""
        self.received_ns, self.parsing_ns, self.started_ns = received_ns, parsing_ns, 0
        key = wire.idempotency_key
        self.known_as = self.principal, self.request_id
        """By what it is told from others. The same id from another principal is another: it could be guessed."""
        self.keys = self._keys(key) if key else (self.number, *self.known_as)
        self.asked = Asked.of(wire) if key else None  # an id is of one attempt: its client sees to that
        self.is_cancelled = False  # as far as is known; see `cancelled`
        self.on_cancel: Callable[[], object] | None = None
        self._look: Callable[[float], object] | None = None

    def _keys(self, key: str) -> tuple[object, ...]:
        """By what it is known when it comes again. Another principal's key is another key."""
        producer = self.producer
        known_by = key if len(key) <= LONGEST_KEY else _digest(key.encode())
        return known_by, self.principal, producer.uid if producer else None

    @property
    def operation(self) -> Operation:
        """What is asked for."""
        return Operation(self.number)

    @property
    def payload(self) -> Any:
        """What came with it, by rpc.proto; None where nothing did."""
        field = self.wire.WhichOneof("payload")
        return None if field is None or field == "empty" else getattr(self.wire, field)

    @property
    def producer(self) -> "Producer | None":
        """Who asks, as the coordinator attested it: name, pid, user."""
        found: Producer | None = self.message.producer
        return found

    @property
    def principal(self) -> str:
        """In whose ring it came (see `shmbus.principal`): that cannot be made up."""
        return ring_name(self.message.topic).principal

    @property
    def caller(self) -> tuple[str, "Producer | None"]:
        """By what whoever asked is known again."""
        return self.principal, self.producer

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return (self.wire.deadline - time.monotonic_ns()) / 1e9 if self.wire.deadline else float("inf")

    @property
    def cancelled(self) -> bool:
        """Does nobody want the answer any more? Then a handler may stop at once."""
        if not self.is_cancelled and self._look is not None:
            self._look(0.0)
        return self.is_cancelled or self.left <= 0

    def wait(self, seconds: float) -> bool:
        """Sleep so long, but not past a cancellation or the deadline: then True, and there is no use in going on."""
        end = time.monotonic() + min(seconds, self.left)
        while not self.cancelled and (remaining := end - time.monotonic()) > 0:
            if self._look is None:
                break
            self._look(remaining)
        return self.cancelled

    def misuse(self, before: Asked | None) -> RpcError | None:
        """That is what its key was used for: why it cannot be for this, too; None: it is the same."""
        if before is None or before == self.asked:
            return None
        key, was = self.wire.idempotency_key, name_of(before.number)
        if len(key) > SHOWN_CHARACTERS:
            key = f"{key[:SHOWN_CHARACTERS]}…"
        what = "with another payload" if before.number == self.number else f"and this is {name_of(self.number)}"
        reason = f"its key {key!r} was used for {was} before, {what}: send the same again, or choose another key"
        return self.refuse("VALIDATION_FAILED", reason, idempotency_key=key, used_for=was)

    def refuse(self, code: str, reason: str, **context: str) -> RpcError:
        """For `raise`: an error of the schema, whose category follows from its code."""
        return failure(self.service, self.number, code, reason, context=context)

    def cancel(self) -> None:
        """Its client does not want it any more, or is dead."""
        self.is_cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()

    def misfit(self) -> RpcError | None:
        """Its payload is none that the operation takes."""
        field = self.wire.WhichOneof("payload")
        expected = _TAKES.get(self.number)
        if field in (None, "empty"):
            useless = self.number in NEEDS
            return self.refuse("INVALID_PAYLOAD", f"it means nothing without {expected}") if useless else None
        if field == expected:
            return None
        return self.refuse("INVALID_PAYLOAD", f"it takes {expected or 'nothing'}, and {field} came")


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
