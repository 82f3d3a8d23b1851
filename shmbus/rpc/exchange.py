"""The part of a client that waits for nothing: what goes out, what comes in, and which belongs to which.

    begin     who serves, the breaker, an instance, published; and once more whether that one still serves
    take      an answer finds its call; one that nobody waits for any more is late, counted and dropped
              a death ends the calls that were with it
    cancel    the call is over here, and its server is told

Whoever waits (a thread, an event loop) hands in whatever comes on `subscription`, and is told by `Pending.settled`.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from google.protobuf.message import DecodeError

from shmbus.errors import BackpressureError, BudgetExceeded, RpcError, ShmbusError
from shmbus.message import Message
from shmbus.principal import ring_name
from shmbus.process import Identity, is_alive
from shmbus.publisher import NORMAL_LANE
from shmbus.rpc.answer import Answer, answer_of
from shmbus.rpc.balance import Balance, Policy
from shmbus.rpc.breaker import Breaker
from shmbus.rpc.deaths import Deaths
from shmbus.rpc.draft import Draft
from shmbus.rpc.failure import failure, from_wire
from shmbus.rpc.pending import Ask, Pending
from shmbus.rpc.presence import Instance, health_of, instances, serves, was_read
from shmbus.rpc.topics import (
    RESPONSE_LIMITS,
    exists,
    give_back_client_id,
    make,
    request_topic,
    take_client_id,
)
from shmbus.topic import CALL_RESPONSES
from shmbus.v1 import rpc_pb2 as wire
from shmbus.v1.eventbus_pb2 import RpcRequestPayload, RpcResponsePayload, RpcRoutingInfo

if TYPE_CHECKING:
    from shmbus.bus import Bus
    from shmbus.publisher import Publisher


LOOK_NS: Final = 50_000_000
"""Servers that came meanwhile are looked for with the first call after so long; one that goes is seen at once."""


_GOOD: Final = frozenset({int(wire.RPC_STATUS_SUCCESS), int(wire.RPC_STATUS_IN_PROGRESS)})

_log = logging.getLogger("shmbus")

REMEMBERED: Final = 1024
"""Users of servers, at the most."""


CANCEL_SECONDS: Final = 0.1  # that a cancellation waits for other threads' requests to go out


class Service:
    """One collector, as one client sees it."""

    def __init__(self, name: str, publisher: "Publisher", client_id: str, balance: Balance, breaker: Breaker) -> None:
        self.name, self.publisher = name, publisher
        self.servers: list[Instance] = []
        self.looked_ns = 0
        self.lock = threading.Lock()  # publisher and draft are for one thread at a time
        self.draft = Draft(client_id, publisher.topic)
        self.balance, self.breaker = balance, breaker


class _Lost(NamedTuple):
    """A call whose answer does not come, unless it is here already."""

    pending: Pending
    code: str
    reason: str


class Exchange:
    """The calls of one client. Any thread may begin and cancel; one at a time takes."""

    def __init__(
        self, bus: "Bus", *, balance: Policy = "least-loaded", breaker: Callable[[], Breaker] = Breaker
    ) -> None:
        Balance(balance)  # raises for what it cannot be
        self._breaker = breaker
        self.bus, self._policy = bus, balance
        self.client_id: Final = take_client_id(bus)
        self._topic: Final = CALL_RESPONSES + self.client_id
        make(bus, self._topic, RESPONSE_LIMITS)
        self.subscription = bus.subscribe(self._topic, lossless=True)
        self.subscription._be_eager()
        self.late = 0  # answers that came after their calls had ended
        self.forged = 0  # answers that were not of whoever was asked
        self._uids: dict[int, int | None] = {}  # of servers, by their sessions
        self._ids, self._numbers = os.urandom(6).hex() + "-", count(1)
        self._services: dict[str, Service] = {}
        self._pending: dict[str, Pending] = {}
        self.subscription._on_bell = self._decide
        self._lock = threading.Lock()
        self._deaths = Deaths(self.subscription._notify)

    # ---- out ---------------------------------------------------------------------------------------------------------

    def begin(
        self, ask: Ask, *, wait: bool, attempt: int = 1, at: tuple[str, Identity] | None = None,
        chosen: Callable[[Instance], object] | None = None,
    ) -> Pending:  # fmt: skip
        """Send it. Raises RpcError at once when nobody serves, or the breaker is open.

        `wait`: a full topic may be waited for, until the deadline. `at`: to that server and no other, by the name and
        the process of its Instance. `chosen` is told to whom before it is sent.
        """
        service = self._services.get(ask.service) or self._first(ask)
        if service.breaker.failures:  # without any it is closed
            self._check_breaker(service, ask)
        try:
            return self._send(service, ask, wait, attempt, at, chosen)
        except BaseException:
            service.breaker.withdrawn()
            raise

    def oldest(self, limit: int) -> Pending | None:
        """The call that is out longest, if there are `limit` or more."""
        if len(self._pending) < limit:
            return None
        return next(iter(list(self._pending.values())), None)

    def cancel(self, pending: Pending) -> None:
        """Nobody wants its answer any more."""
        if self._settle(pending, failure(
            pending.ask.service, pending.ask.operation, "CLIENT_SHUTDOWN", "the caller cancelled it", status="CANCELLED"
        )):  # fmt: skip
            pending.service.breaker.withdrawn()
            self._tell_cancelled(pending)

    def expire(self, pending: Pending) -> None:
        """Its deadline has passed. The server sees that by itself."""
        if self._settle(pending, overdue(pending.ask)):
            pending.service.breaker.failed(time.monotonic_ns())

    def _send(
        self, service: Service, ask: Ask, wait: bool, attempt: int, at: tuple[str, Identity] | None,
        chosen: Callable[[Instance], object] | None,
    ) -> Pending:  # fmt: skip
        found = self._serving(service)
        if not found:
            service.servers = []  # look again
            found = self._serving(service)
        if at is not None:
            found = [one for one in found if (one.name, one.process) == at]
        if not found:
            raise absent(ask)
        instance = service.balance.choose(found)
        if chosen is not None:
            chosen(instance)
        pending = Pending(ask, service, instance, f"{self._ids}{next(self._numbers)}")
        self._pending[pending.request_id] = pending
        service.balance.sent(instance)
        try:
            pending.sequence = self._publish(pending, attempt, wait)
        except BaseException:
            self._forget(pending)
            raise
        if not self._serves(instance):
            service.looked_ns = 0
            self._decide()
        return pending

    def _decide(self) -> None:
        """Of calls to servers that have stopped since, or were stopping just then: were they read?"""
        for pending in list(self._pending.values()):
            if pending.sequence and not pending.decided and not serves(self.bus, pending.instance):
                pending.decided = not self._stopping(pending)

    def _stopping(self, pending: Pending) -> bool:
        """True: it is not known yet. The server rings this client's bell when it is."""
        instance = pending.instance
        pid, tell = instance.process.pid, self.subscription._notify
        if not self._deaths.watch(instance.process):
            tell(_Lost(pending, "PROCESS_NOT_FOUND", f"pid {pid} died with it in hand: it may have been done"))
            return False
        try:
            read = was_read(self.bus, instance, pending.sequence)
        except LookupError:
            if not is_alive(instance.process):
                tell(_Lost(pending, "PROCESS_NOT_FOUND", f"pid {pid} died with it in hand: it may have been done"))
                return False
            if any(one.process == instance.process for one in self._serving(pending.service)):
                return True  # it stood still until it was given up, serves again, and reads first what had come
            tell(_Lost(pending, "CLIENT_SHUTDOWN", f"pid {pid} stopped serving: it may have been done"))
            return False
        if read is False:
            tell(_Lost(pending, "CLIENT_SHUTDOWN", f"pid {pid} stopped serving before it read it"))
        return read is None

    def _publish(self, pending: Pending, attempt: int, wait: bool) -> int:
        service, ask = pending.service, pending.ask
        if not service.lock.acquire(False) and not service.lock.acquire(timeout=max(ask.left(), 0)):
            raise overdue(ask, "its requests are not read")
        try:
            left = (ask.deadline_ns - time.monotonic_ns()) / 1e9
            seconds = left if wait and left > 0 else 0
            request = service.draft.fill(pending, attempt)
            return service.publisher.publish(request, correlation=ask.correlation, timeout=seconds)
        except BackpressureError as error:
            if wait:
                raise overdue(ask, "its requests are not read") from error
            raise failure(
                ask.service, ask.operation, "INVALID_STATE", "its requests are not read", status="UNAVAILABLE"
            ) from error
        except BudgetExceeded as error:
            raise failure(
                ask.service, ask.operation, "INVALID_STATE", str(error), status="UNAVAILABLE", category="RESOURCE"
            ) from error
        finally:
            service.lock.release()

    def _tell_cancelled(self, pending: Pending) -> None:
        request = wire.RpcRequest(
            request_id=f"{self._ids}{next(self._numbers)}",
            client_id=self.client_id,
            target=pending.service.publisher.topic,
            operation=pending.ask.operation,  # type: ignore[arg-type]
            cancels=pending.request_id,
        )
        payload = RpcRequestPayload(request=request, routing=RpcRoutingInfo(load_balance_hint=pending.instance.name))
        service = pending.service
        if not service.lock.acquire(timeout=CANCEL_SECONDS):
            return  # the topic is full, and others wait for it: its deadline ends it
        try:
            service.publisher.publish(payload, timeout=0)
        except ShmbusError:
            pass  # full, or the bus has ended: the request's deadline ends it, too
        finally:
            service.lock.release()

    # ---- in ----------------------------------------------------------------------------------------------------------

    def take(self, item: Any) -> None:
        """Something came: an answer, a gap, or what overtook the answers that are here: a death, a loss."""
        if isinstance(item, Message):
            self._take_answer(item)
        elif isinstance(item, Identity | _Lost):
            news = [item]
            while (waiting := self.subscription.try_receive()) is not None:
                if isinstance(waiting, Message):
                    self._take_answer(waiting)
                elif isinstance(waiting, Identity | _Lost):
                    news.append(waiting)
            for one in news:
                if isinstance(one, Identity):
                    self._bury(one)
                else:
                    self._lost(*one)

    def _take_answer(self, message: Message) -> None:
        try:
            event = message.event
        except DecodeError:
            return
        if isinstance(event, RpcResponsePayload):
            its = message.topic
            self._answered(event, None if its == self._topic else ring_name(its).uid)

    def _bury(self, process: Identity) -> None:
        for pending in list(self._pending.values()):
            if pending.instance.process == process:
                reason = f"pid {process.pid} died with it in hand: it may have been done"
                self._lost(pending, "PROCESS_NOT_FOUND", reason)

    def _answered(self, event: RpcResponsePayload, uid: int | None) -> None:
        """`uid` is that of the ring it came in; None: only root and the bus's own user can have written it."""
        response = event.response
        pending = self._pending.get(response.request_id)
        if pending is not None and uid is not None and uid != self._uid_of(pending.instance):
            self.forged += 1
            _log.warning("an answer in the name of '%s' was written by uid %d: not taken", pending.ask.service, uid)
            return
        if pending is None or pending.ask.deadline_ns <= time.monotonic_ns():
            self.late += 1
            if pending is not None:
                self.expire(pending)
            return
        service, status = pending.service, response.status
        if len(service.servers) > 1:  # or there is nothing to choose
            service.balance.reported(pending.instance, event.routing.load_balance_hint)
        if status in _GOOD:
            self._settle(pending, answer_of(event))
        else:
            self._settle(pending, from_wire(response, pending.ask.service, pending.ask.seconds))
        if status == wire.RPC_STATUS_UNAVAILABLE:
            service.breaker.failed(time.monotonic_ns())
        elif service.breaker.failures:
            service.breaker.succeeded()

    def _uid_of(self, instance: Instance) -> int | None:
        """The user of a server, as the coordinator says; None: it had left before it was looked for."""
        session = instance.session
        if session not in self._uids:
            if len(self._uids) >= REMEMBERED:
                self._uids.clear()
            client = self.bus._client_of(session)
            self._uids[session] = None if client is None else client.uid
        return self._uids[session]

    def _lost(self, pending: Pending, code: str, reason: str) -> None:
        error = failure(pending.ask.service, pending.ask.operation, code, reason, status="UNAVAILABLE")
        if not self._settle(pending, error):
            return
        if code == "CLIENT_SHUTDOWN":  # in order: whoever serves next is not worse for it
            pending.service.breaker.withdrawn()
        else:
            pending.service.breaker.failed(time.monotonic_ns())

    def _settle(self, pending: Pending, outcome: Answer | RpcError) -> bool:
        if not self._forget(pending):
            return False
        pending.settle(outcome)
        return True

    def _forget(self, pending: Pending) -> bool:
        """False: somebody else did, in another thread."""
        if self._pending.pop(pending.request_id, None) is None:
            return False
        pending.service.balance.ended(pending.instance)
        return True

    # ---- services ----------------------------------------------------------------------------------------------------

    def _first(self, ask: Ask) -> Service:
        """Of a service that this client has not called yet."""
        with self._lock:
            return self._services.get(ask.service) or self._open(ask)

    def _open(self, ask: Ask) -> Service:
        """A topic is made by its servers: where there is none, nobody serves."""
        topic = request_topic(ask.service)
        if not exists(self.bus, topic):
            raise absent(ask)
        publisher = self._opened(topic, ask)
        service = self._services[ask.service] = Service(
            ask.service, publisher, self.client_id, Balance(self._policy, partial(health_of, self.bus)), self._breaker()
        )
        return service

    def _opened(self, topic: str, ask: Ask) -> "Publisher":
        return self.bus._publisher(topic, None, None, None, ..., False, NORMAL_LANE, auth_info=ask.auth_info)

    def _serving(self, service: Service) -> list[Instance]:
        now = time.monotonic_ns()
        if not service.servers or now - service.looked_ns > LOOK_NS:
            ring = service.publisher._ring
            service.servers, service.looked_ns = [] if ring is None else instances(self.bus, ring), now
            for one in service.servers:
                self._uid_of(one)  # while it is there: its answer may be taken when it is not
        return list(filter(self._serves, service.servers))

    def _serves(self, instance: Instance) -> bool:
        return self._deaths.watch(instance.process) and serves(self.bus, instance)

    def _check_breaker(self, service: Service, ask: Ask) -> None:
        now = time.monotonic_ns()
        if not service.breaker.admits(now):
            wait = max(service.breaker.until_ns - now, 0) / 1e9
            context = {"circuit_breaker_state": service.breaker.state.value, "retry_after_seconds": f"{wait:.3f}"}
            reason = f"it failed {service.breaker.failures} times in a row; it is left alone for {wait:.1f} s"
            raise failure(
                ask.service, ask.operation, "INVALID_STATE", reason, status="UNAVAILABLE", category="COMMUNICATION",
                context=context,
            )  # fmt: skip

    def breaker(self, service: str) -> Breaker | None:
        """That of a service that has been called."""
        known = self._services.get(service)
        return None if known is None else known.breaker

    def abandon(self) -> None:
        """Nothing comes any more: calls that are not answered end."""
        for pending in list(self._pending.values()):
            self._lost(pending, "IO_ERROR", "the bus has ended, or this client was closed")

    def close(self) -> None:
        """Calls that are not answered end."""
        self.abandon()
        self._deaths.close()
        for service in self._services.values():
            service.publisher.close()
        self.subscription.close()
        give_back_client_id(self.bus, self.client_id)


def absent(ask: Ask) -> RpcError:
    """Nobody serves it."""
    return failure(ask.service, ask.operation, "REGISTRATION_NOT_FOUND", "nobody serves it", status="UNAVAILABLE")


def overdue(ask: Ask, reason: str = "no answer") -> RpcError:
    """Its deadline has passed."""
    return failure(ask.service, ask.operation, "DEADLINE_EXCEEDED", reason, status="TIMEOUT", seconds=ask.seconds)
