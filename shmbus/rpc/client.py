"""Calling collectors from threads.

One thread at a time reads the answers of all, and hands each to whoever waits for it: a single caller reads its own,
and no answer takes a way over another thread.
"""

import random
import threading
import time
from collections import deque
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from google.protobuf.message import Message as ProtobufMessage

from shmbus.errors import ClosedError, ReceiveTimeout, RpcError
from shmbus.rpc import operations as op
from shmbus.rpc.answer import Answer
from shmbus.rpc.asking import DEFAULT_TIMEOUT_SECONDS, is_coordinators, make_ask
from shmbus.rpc.balance import Policy
from shmbus.rpc.breaker import Breaker
from shmbus.rpc.exchange import Exchange
from shmbus.rpc.lives import ask_coordinator
from shmbus.rpc.pending import Ask, Pending
from shmbus.rpc.retry import Retry
from shmbus.v1.ipc_pb2 import DetectionResult, DetectionTask
from shmbus.v1.rpc_pb2 import CapabilitiesData, ConfigUpdateRequest, HealthData, ShutdownRequest

if TYPE_CHECKING:
    from shmbus.bus import Bus


class Client:
    """Calls collectors by their ids. Any number of threads may use it; closed by leaving its `with` block."""

    def __init__(
        self, bus: "Bus", *, concurrency: int = 64, retry: Retry | None = None, balance: Policy = "least-loaded"
    ) -> None:
        """At most `concurrency` calls are out at a time; a thread that wants one more waits. `retry` is for calls that
        may be made again: idempotent operations, and those with a key.
        """
        if concurrency < 1:
            raise ValueError(f"concurrency is 1 or more, not {concurrency}")
        self._exchange = Exchange(bus, balance=balance)
        self._bus = bus
        self._retry: Final = retry or Retry()
        self._concurrency: Final = concurrency
        self._reading = threading.Lock()
        self._followers: deque[tuple[Pending, threading.Event]] = deque()
        self._closing = threading.Event()

    def call(
        self,
        service: str,
        operation: int,
        payload: ProtobufMessage | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        key: str | None = None,
        correlation: Any = None,
        token: str | None = None,
        priority: int = 0,
    ) -> Answer:
        """Call and wait for the answer, at most `timeout` seconds, over all attempts.

        With a `key` the call may be sent again by itself, and by anybody later: it is executed once, and answered each
        time. A key that was used for another operation or payload is refused (VALIDATION_FAILED). `correlation` as of
        `Publisher.publish`. A bearer `token` counts for this call in place of that of `connect`; the server sees it,
        and whoever has the same user, groups and tokens as this process could. Of the calls that wait at a server those
        of the highest `priority` (0 to 255) come first. Raises RpcError; at once when nobody serves, or for a key with
        an operation that the coordinator answers, which remembers none; AccessDenied.
        """
        ask = make_ask(service, operation, payload, timeout, key, correlation, token, priority)
        if is_coordinators(ask):
            return ask_coordinator(self._bus, ask)
        for attempt in count(1):
            try:
                return self.result(self._begin(ask, attempt))
            except RpcError as error:
                delay = self._retry.delay(error, operation, bool(key), attempt, random.random())
                if delay is None or delay >= ask.left() or self._closing.wait(delay):
                    raise
        raise AssertionError("unreachable")

    def submit(
        self,
        service: str,
        operation: int,
        payload: ProtobufMessage | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        key: str | None = None,
        correlation: Any = None,
        token: str | None = None,
        priority: int = 0,
    ) -> Pending:
        """Send one attempt; `result` waits for its answer. For many calls at a time from one thread."""
        ask = make_ask(service, operation, payload, timeout, key, correlation, token, priority)
        if is_coordinators(ask):
            raise TypeError(f"{op.name_of(operation)} is answered by the coordinator: use call()")
        return self._begin(ask, 1)

    def result(self, pending: Pending) -> Answer:
        """Wait for the answer of what was submitted. Raises RpcError."""
        try:
            while pending.outcome is None:
                self._wait(pending)
        finally:
            if pending.outcome is None:  # interrupted
                self.cancel(pending)
        return pending.result()

    def cancel(self, pending: Pending) -> None:
        """Give it up: its server is told, and its result is an RpcError of status CANCELLED."""
        self._exchange.cancel(pending)

    # ---- operations --------------------------------------------------------------------------------------------------

    def health(self, service: str, **options: Any) -> HealthData:
        """HEALTH_CHECK."""
        found: HealthData = self.call(service, op.HEALTH_CHECK, **options).payload
        return found

    def capabilities(self, service: str, **options: Any) -> CapabilitiesData:
        """GET_CAPABILITIES."""
        found: CapabilitiesData = self.call(service, op.GET_CAPABILITIES, **options).payload
        return found

    def pause(self, service: str, **options: Any) -> None:
        """PAUSE: it collects nothing until it is resumed."""
        self.call(service, op.PAUSE, **options)

    def resume(self, service: str, **options: Any) -> None:
        """RESUME."""
        self.call(service, op.RESUME, **options)

    def update_config(self, service: str, changes: ConfigUpdateRequest, **options: Any) -> None:
        """UPDATE_CONFIG."""
        self.call(service, op.UPDATE_CONFIG, changes, **options)

    def execute(self, service: str, task: DetectionTask, **options: Any) -> DetectionResult:
        """EXECUTE_TASK."""
        found: DetectionResult = self.call(service, op.EXECUTE_TASK, task, **options).payload
        return found

    def shut_down(self, service: str, reason: str = "", **options: Any) -> None:
        """GRACEFUL_SHUTDOWN."""
        self.call(service, op.GRACEFUL_SHUTDOWN, ShutdownRequest(collector_id=service, reason=reason), **options)

    # ---- life --------------------------------------------------------------------------------------------------------

    @property
    def late(self) -> int:
        """Answers that came after their calls had ended, and were dropped."""
        return self._exchange.late

    @property
    def forged(self) -> int:
        """Answers that another user's process wrote in the name of whoever was asked, and were dropped."""
        return self._exchange.forged

    @property
    def client_id(self) -> str:
        """What servers answer to."""
        return self._exchange.client_id

    def breaker(self, service: str) -> Breaker | None:
        """The circuit breaker of a service that has been called."""
        return self._exchange.breaker(service)

    def close(self) -> None:
        """Calls that are not answered end with an error, in whatever threads."""
        if not self._closing.is_set():
            self._closing.set()
            self._exchange.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- waiting -----------------------------------------------------------------------------------------------------

    def _begin(self, ask: Ask, attempt: int) -> Pending:
        if self._closing.is_set():
            raise ClosedError(f"the client of {self._bus!r}")
        while (oldest := self._exchange.oldest(self._concurrency)) is not None:
            self._wait(oldest)
        return self._exchange.begin(ask, wait=True, attempt=attempt)

    def _wait(self, pending: Pending) -> None:
        """Until something has happened: it is settled, its deadline has passed, or it is this thread's turn to read."""
        if self._reading.acquire(False):
            try:
                self._read(pending)
            finally:
                self._reading.release()
                if self._followers:
                    self._hand_over()
            return
        self._follow(pending)

    def _read(self, pending: Pending) -> None:
        receive, take = self._exchange.subscription.receive, self._exchange.take
        while pending.outcome is None:
            left = (pending.ask.deadline_ns - time.monotonic_ns()) / 1e9
            try:
                take(receive(left if left > 0 else 0))
            except ReceiveTimeout:
                self._exchange.expire(pending)
            except ClosedError:
                self._exchange.abandon()

    def _follow(self, pending: Pending) -> None:
        wake = threading.Event()
        pending.wakes.append(wake.set)
        self._followers.append((pending, wake))
        if self._reading.locked() and not pending.settled and not wake.wait(max(pending.ask.left(), 0)):
            self._exchange.expire(pending)
        self._followers.remove((pending, wake))

    def _hand_over(self) -> None:
        """Whoever still waits is to read now: one of them tries, and the rest are woken by their answers."""
        for pending, wake in list(self._followers):
            if not pending.settled:
                wake.set()
                return
