"""What a server does with requests, without waiting or executing: which are new, which are due, what is answered.

    take      a request is queued; or answered at once: denied, repeated, too many; or it cancels another
    next      the one to be executed now; what is past its deadline or cancelled by then is answered instead
    done      its outcome is answered, and remembered by its key

Any thread may call any of them. Sites at which the server can be killed (its callers are told at once that it died):

    reply.executed      what was asked for has been done, and nobody is told: with a task, it is done again elsewhere
    reply.sent          the answer is in the caller's ring, and is taken
"""

import threading
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtobufMessage

from shmbus._core import killpoint
from shmbus.errors import RpcError
from shmbus.rpc.failure import failure
from shmbus.rpc.gatekeeper import Unheard
from shmbus.rpc.health import Vitals
from shmbus.rpc.once import Once
from shmbus.rpc.request import Request
from shmbus.rpc.response import respond
from shmbus.v1.eventbus_pb2 import RpcRequestPayload, RpcResponsePayload

if TYPE_CHECKING:
    from shmbus.message import Message

Outcome = ProtobufMessage | None | RpcError
Judge = Callable[[RpcRequestPayload, Request], RpcError | None]
"""Why a request is refused; None: it is not. Raises Unheard."""

QUEUE_LIMIT = 1024


class Desk:
    """Of one server."""

    def __init__(
        self,
        service: str,
        instance: str,
        is_named: Callable[[str], bool],
        vitals: Vitals,
        send: Callable[[Request, RpcResponsePayload], None],
        judge: Judge,
    ) -> None:
        self._service, self._vitals, self._send, self._judge = service, vitals, send, judge
        self.instance, self._is_named = instance, is_named
        vitals.queue_limit = QUEUE_LIMIT
        self._lock = threading.RLock()
        self._queue: list[tuple[int, int, Request]] = []  # a heap: by priority, of equals the oldest first
        self._order = count()
        self._known: dict[str, Request] = {}  # queued or running, by request id
        self._once: Once[Request, RpcResponsePayload] = Once()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def load(self) -> int:
        """Queued and running."""
        return len(self._known)

    def take(self, message: "Message") -> None:
        """A message on the topic of requests."""
        received_ns = time.monotonic_ns()
        event = _request_in(message)
        if event is None:
            self._vitals.invalid += 1
        elif (hint := event.routing.load_balance_hint) in ("", self.instance) or self._is_named(hint):
            parsing_ns = time.monotonic_ns() - received_ns
            request = Request(event.request, message, self._service, received_ns, parsing_ns)
            try:
                refusal = None if event.request.cancels else self._judge(event, request)
            except Unheard as unheard:
                self._vitals.forged += unheard.forged
                self._vitals.denied += not unheard.forged
                return
            with self._lock:
                if event.request.cancels:
                    self._cancel(event.request.cancels, request)
                elif refusal is None:
                    self._admit(request)
                else:
                    self._vitals.denied += 1
                    self._send(request, respond(request, refusal, self.instance, self.load, time.monotonic_ns()))

    def next(self) -> Request | None:
        """The next that is worth executing: of the highest priority the oldest."""
        with self._lock:
            while self._queue:
                *_, request = heappop(self._queue)
                self._vitals.queued = len(self._queue)
                if self._is_due(request):
                    self._vitals.running += 1
                    request.started_ns = time.monotonic_ns()
                    return request
        return None

    def done(self, request: Request, outcome: Outcome) -> None:
        """It has been executed."""
        ended_ns = time.monotonic_ns()
        if isinstance(outcome, RpcError) and request.cancelled:
            outcome = self._cancelled(request)
        with self._lock:
            self._known.pop(request.wire.request_id, None)
            self._vitals.running -= 1
            self._vitals.requests += 1
            self._vitals.busy_ns += ended_ns - request.started_ns
            payload = respond(request, outcome, self.instance, self.load, ended_ns)
            self._vitals.errors += payload.response.HasField("error")
        killpoint("reply.executed")
        self._send(request, payload)  # remembered after that: whoever asks again meanwhile joins, and is answered then
        killpoint("reply.sent")
        with self._lock:
            others = self._once.finish(request.keys, payload, payload.ByteSize())
        for other in others:
            self._repeat(other, payload)

    def close(self) -> None:
        """Nothing is executed any more: what waits is told so, and what runs may stop."""
        with self._lock:
            for request in list(self._known.values()):
                request.cancel()
            while self._queue:
                self._refuse(heappop(self._queue)[-1], "CLIENT_SHUTDOWN", "it stops serving", "UNAVAILABLE")

    # ---- with the lock -----------------------------------------------------------------------------------------------

    def _admit(self, request: Request) -> None:
        if self._once.begin(request.keys):
            self._known[request.wire.request_id] = request
            if len(self._queue) < QUEUE_LIMIT:
                heappush(self._queue, (-request.wire.priority, next(self._order), request))
                self._vitals.queued = len(self._queue)
            else:
                self._vitals.refused += 1
                self._refuse(request, "INVALID_STATE", f"{QUEUE_LIMIT} requests wait already", "UNAVAILABLE")
            return
        self._vitals.repeated += 1
        if (payload := self._once.answer(request.keys)) is not None:
            self._repeat(request, payload)
        else:
            self._once.join(request.keys, request)

    def _is_due(self, request: Request) -> bool:
        if request.is_cancelled:
            self._vitals.cancelled += 1
            self._answer_unexecuted(request, self._cancelled(request))
        elif request.left <= 0:
            self._vitals.overdue += 1
            self._refuse(request, "DEADLINE_EXCEEDED", "its deadline passed before it was its turn", "TIMEOUT")
        else:
            return True
        return False

    def _cancel(self, request_id: str, by: Request) -> None:
        """Only whoever asked may."""
        request = self._known.get(request_id)
        if request is not None and request.caller == by.caller:
            request.cancel()

    def _refuse(self, request: Request, code: str, reason: str, status: str) -> None:
        error = failure(self._service, request.wire.operation, code, reason, status=status)
        self._answer_unexecuted(request, error)

    def _answer_unexecuted(self, request: Request, error: RpcError) -> None:
        self._known.pop(request.wire.request_id, None)
        self._send(request, respond(request, error, self.instance, self.load, time.monotonic_ns()))
        for other in self._once.abandon(request.keys):
            self._admit(other)

    def _cancelled(self, request: Request) -> RpcError:
        operation = request.wire.operation
        return failure(self._service, operation, "CLIENT_SHUTDOWN", "its caller gave it up", status="CANCELLED")

    def _repeat(self, request: Request, payload: RpcResponsePayload) -> None:
        again = RpcResponsePayload()
        again.CopyFrom(payload)
        again.response.request_id = request.wire.request_id
        self._send(request, again)


def _request_in(message: "Message") -> RpcRequestPayload | None:
    """The whole envelope is parsed, once: its correlation is wanted, too."""
    try:
        envelope = message.envelope
    except DecodeError:
        return None
    return envelope.rpc_request if envelope is not None and envelope.HasField("rpc_request") else None
