"""Where answers go: a publisher for each client that asked lately, on a small ring for that client.

It is this server's principal that has the ring (see `shmbus.principal`): no other can answer in its place.

A server waits for no client. A ring that is too small for an answer is continued in a larger one; where that cannot be,
an answer that is too large is an error instead, and one without room is dropped and counted.
"""

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from shmbus.errors import BackpressureError, ClosedError, MessageTooLarge, PublishRevoked, ShmbusError
from shmbus.rpc.failure import failure, status_to_wire, to_wire
from shmbus.rpc.health import Vitals
from shmbus.rpc.request import Request
from shmbus.rpc.topics import LARGEST_ARENA, RESPONSE_LIMITS, exists, response_topic
from shmbus.v1.eventbus_pb2 import RpcResponsePayload

if TYPE_CHECKING:
    from shmbus.bus import Bus
    from shmbus.message import Message
    from shmbus.publisher import Publisher

CLIENTS: Final = 256  # that a publisher is kept for
MARGIN_BYTES: Final = 1024  # around an answer: envelope and frame


class Answers:
    """Of one server. Any thread may send."""

    def __init__(self, bus: "Bus", name: str, vitals: Vitals) -> None:
        self._bus, self._name, self._vitals = bus, name, vitals
        self._lock = threading.Lock()
        self._publishers: OrderedDict[str, Publisher] = OrderedDict()

    def send(self, request: Request, payload: RpcResponsePayload) -> None:
        """Publish it, or count it."""
        with self._lock:
            publisher = self._publisher(request.client_id)
            if publisher is None or not self._publish(publisher, request, payload):
                self._vitals.unanswered += 1

    def close(self) -> None:
        """No more answers."""
        with self._lock:
            while self._publishers:
                self._publishers.popitem()[1].close()

    def _publisher(self, client_id: str) -> "Publisher | None":
        known = self._publishers.get(client_id)
        if known is not None:
            self._publishers.move_to_end(client_id)
            return known
        topic = response_topic(client_id)
        if topic is None or not exists(self._bus, topic):
            return None  # a client makes its topic before it asks
        try:
            made = self._bus._publisher(topic, None, self._name, "raise", 0, False, 0, RESPONSE_LIMITS)
        except ShmbusError:
            return None
        self._publishers[client_id] = made
        if len(self._publishers) > CLIENTS:
            self._publishers.popitem(last=False)[1].close()
        return made

    def _publish(self, publisher: "Publisher", request: Request, payload: RpcResponsePayload) -> bool:
        try:
            publisher.publish(payload, correlation=_correlation(request))
            return True
        except (MessageTooLarge, BackpressureError) as error:
            return self._publish_larger(publisher, request, payload, error)
        except (PublishRevoked, ShmbusError):
            return False

    def _publish_larger(
        self, publisher: "Publisher", request: Request, payload: RpcResponsePayload, why: ShmbusError
    ) -> bool:
        try:
            self._enlarge(publisher, payload.ByteSize())
            publisher.publish(payload, correlation=_correlation(request))
            return True
        except ShmbusError:
            return isinstance(why, MessageTooLarge) and self._tell_too_large(publisher, request, payload, why)

    def _enlarge(self, publisher: "Publisher", needed: int) -> None:
        ring = publisher._ring
        if ring is None:
            raise ClosedError(repr(publisher))
        arena = 2 * ring.arena_bytes
        while arena < 4 * (needed + MARGIN_BYTES):
            arena *= 2
        if arena > LARGEST_ARENA:
            raise MessageTooLarge(publisher.topic, needed, LARGEST_ARENA // 4)
        self._bus.resize(ring.topic, arena_bytes=arena)
        self._bus.set_limits(ring.topic, max_message_bytes=arena // 2)

    def _tell_too_large(
        self, publisher: "Publisher", request: Request, payload: RpcResponsePayload, why: MessageTooLarge
    ) -> bool:
        error = failure(request.service, request.number, "EXECUTION_ERROR", str(why), category="RESOURCE")
        told = RpcResponsePayload()
        told.CopyFrom(payload)
        told.response.ClearField("payload")
        told.response.status = status_to_wire(error)
        told.response.error.CopyFrom(to_wire(error))
        try:
            publisher.publish(told, correlation=_correlation(request))
            return True
        except ShmbusError:
            return False


def _correlation(request: Request) -> "Message | bool":
    """The answer is the request's child, if that is part of anything."""
    message = request.message
    return message if message._correlated and message.envelope.correlation.correlation_id else False
