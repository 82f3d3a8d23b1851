"""What a server does with requests, without waiting or executing: which are new, which are due, what is answered.

    take      a request is queued; or answered at once: denied, repeated, too many, with a key that was for something
              else; or it cancels another
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
from shmbus.rpc.request import Asked, Request
from shmbus.rpc.response import Form
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
        self.queue: list[tuple[int, int, Request]] = []
        """A heap: by priority, of equals the oldest first."""
        self._order = count()
        self._known: dict[tuple[str, str], Request] = {}  # queued or running
        self._once: Once[Request, bytes, Asked | None] = Once()
        self._forms: list[Form] = []  # that nobody is filling

    def take(self, message: "Message") -> None:
        """A message on the topic of requests."""
        received_ns = time.monotonic_ns()
        event = _request_in(message)
        if event is None:
            self._vitals.invalid += 1
        elif (hint := event.routing.load_balance_hint) in ("", self.instance) or self._is_named(hint):
            parsing_ns = time.monotonic_ns() - received_ns
            request = Request(event.request, message, self._service, received_ns, parsing_ns)
            cancels = request.wire.cancels
            try:
                refusal = None if cancels else self._judge(event, request)
            except Unheard as unheard:
                self._vitals.forged += unheard.forged
                self._vitals.denied += not unheard.forged
                return
            with self._lock:
                if cancels:
                    self._cancel(cancels, request)
                elif refusal is None:
                    self._admit(request)
                else:
                    self._vitals.denied += 1
                    self._tell(request, refusal)

    def next(self) -> Request | None:
        """The next that is worth executing: of the highest priority the oldest."""
        with self._lock:
            while self.queue:
                request = heappop(self.queue)[2]
                self._vitals.queued = len(self.queue)
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
            self._known.pop(request.known_as, None)
            form = self._forms.pop() if self._forms else Form(self._service)
            payload = form.fill(request, outcome, self.instance, len(self._known), ended_ns)
        killpoint("reply.executed")
        self._send(request, payload)  # remembered after that: whoever asks again meanwhile joins, and is answered then
        killpoint("reply.sent")
        vitals = self._vitals
        with self._lock:  # what nobody waits for
            vitals.running -= 1
            vitals.requests += 1
            vitals.busy_ns += ended_ns - request.started_ns
            vitals.errors += form.failed
            answer = payload.SerializeToString()
            self._forms.append(form)
            others = self._once.finish(request.keys, answer, len(answer))
        for other in others:
            self._repeat(other, answer)

    def close(self) -> None:
        """Nothing is executed any more: what waits is told so, and what runs may stop."""
        with self._lock:
            for request in list(self._known.values()):
                request.cancel()
            while self.queue:
                self._refuse(heappop(self.queue)[-1], "CLIENT_SHUTDOWN", "it stops serving", "UNAVAILABLE")

    # ---- with the lock -----------------------------------------------------------------------------------------------

    def _admit(self, request: Request) -> None:
        if self._once.begin(request.keys, request.asked):
            self._known[request.known_as] = request
            if len(self.queue) < QUEUE_LIMIT:
                heappush(self.queue, (-request.wire.priority, next(self._order), request))
                self._vitals.queued = len(self.queue)
            else:
                self._vitals.refused += 1
                self._refuse(request, "INVALID_STATE", f"{QUEUE_LIMIT} requests wait already", "UNAVAILABLE")
            return
        if misuse := request.misuse(self._once.asked(request.keys)):
            self._vitals.conflicting += 1
            self._tell(request, misuse)
            return
        self._vitals.repeated += 1
        if (answer := self._once.answer(request.keys)) is not None:
            self._repeat(request, answer)
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
        request = self._known.get((by.principal, request_id))
        if request is not None and request.caller == by.caller:
            request.cancel()

    def _refuse(self, request: Request, code: str, reason: str, status: str) -> None:
        error = failure(self._service, request.number, code, reason, status=status)
        self._answer_unexecuted(request, error)

    def _answer_unexecuted(self, request: Request, error: RpcError) -> None:
        self._known.pop(request.known_as, None)
        self._tell(request, error)
        for other in self._once.abandon(request.keys):
            self._admit(other)

    def _cancelled(self, request: Request) -> RpcError:
        return failure(self._service, request.number, "CLIENT_SHUTDOWN", "its caller gave it up", status="CANCELLED")

    def _tell(self, request: Request, error: RpcError) -> None:
        payload = Form(self._service).fill(request, error, self.instance, len(self._known), time.monotonic_ns())
        self._send(request, payload)

    def _repeat(self, request: Request, answer: bytes) -> None:
        again = RpcResponsePayload.FromString(answer)
        again.response.request_id = request.request_id
        self._send(request, again)


def _request_in(message: "Message") -> RpcRequestPayload | None:
    try:
        event = message.event
    except DecodeError:
        return None
    return event if isinstance(event, RpcRequestPayload) else None
