"""Serving a collector: requests are read in one thread, and executed there too or by others.

one at a time     where they are read: no hand-over, and each client's order is kept
several           by threads of their own, which take the next from the desk
a mailbox         by whoever calls `work` when the mailbox's descriptor is readable: a collector with a loop of its own
"""

import asyncio
import inspect
import os
import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from google.protobuf.message import Message as ProtobufMessage

from shmbus.correlation import HANDLING
from shmbus.errors import ClosedError, ReceiveTimeout, ShmbusError
from shmbus.message import Gap, Message
from shmbus.rpc.answers import Answers
from shmbus.rpc.beginning import Begin
from shmbus.rpc.desk import Desk, Outcome
from shmbus.rpc.failure import as_failure
from shmbus.rpc.gatekeeper import Gatekeeper
from shmbus.rpc.presence import SERVING, finish, instance_of, is_named, withdraw
from shmbus.rpc.registration import Beat
from shmbus.rpc.request import Request
from shmbus.rpc.topics import REQUEST_LIMITS, make, request_topic
from shmbus.subscription import Subscription
from shmbus.v1.rpc_pb2 import UNKNOWN, ComponentHealth

if TYPE_CHECKING:
    from shmbus.bus import Bus
    from shmbus.rpc.collector import Collector

STOP: Final = object()


class Server:
    """One instance of a service. It serves from when it is made until its `with` block is left."""

    def __init__(self, bus: "Bus", collector: "Collector", *, concurrency: int = 1) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency is 1 or more, not {concurrency}")
        self._bus, self._collector, self._concurrency = bus, collector, concurrency
        its = collector.vitals
        self._subscription = self._subscribed()
        self._answers = Answers(bus, collector.collector_id, its)
        instance = instance_of(self._subscription)
        judge = Gatekeeper(bus, collector.collector_id).judge
        self._desk = Desk(collector.collector_id, instance, self._is_named, its, self._answers.send, judge)
        self._stopping = False
        self._withdrawn = False
        self.beat = Beat(bus, None)
        """Of the loop that reads requests."""

    def _subscribed(self) -> Subscription:
        """From a moment on before anybody can see that it serves, in the ring of whatever caller."""
        topic = request_topic(self._collector.collector_id)
        make(self._bus, topic, REQUEST_LIMITS)
        subscription = self._bus._subscribe((topic,), lossless=True, start=timedelta(0), mark=SERVING)
        subscription._be_eager()
        return subscription

    def _is_named(self, name: str) -> bool:
        return is_named(self._bus, self._subscription, name)

    @property
    def said(self) -> Sequence[ComponentHealth]:
        """What a collector whose own loop beats says of itself there, as a component of its health."""
        status = UNKNOWN if self.beat.goes_on else self._bus._duty.health
        why = self._bus._duty.reason or "as it says of itself"
        said = ComponentHealth(name="heartbeat", status=status, message=why)  # type: ignore[arg-type]
        return () if status == UNKNOWN else (said,)

    def run(self) -> None:
        """Until `stop`, and what came until then is answered; or until the bus ends."""
        try:
            if self._concurrency == 1:
                self._run_here()
            else:
                self._run_pool()
        except ClosedError:
            pass

    def stop(self) -> None:
        """Have `run` end. From any thread or signal handler, more than once."""
        self._subscription._notify(STOP)

    def tell(self, word: Begin) -> None:
        """Have the collector begin, where requests are taken. From any thread."""
        self._subscription._notify(word)

    @contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Run in a thread; stopped by leaving the block."""
        thread = threading.Thread(target=self.run, name=f"rpc-{self._collector.collector_id}")
        thread.start()
        try:
            yield self
        finally:
            self.stop()
            thread.join()

    def close(self) -> None:
        """Serve no more: requests that wait are answered UNAVAILABLE."""
        try:
            self._leave()
            self._desk.close()
        except ShmbusError:
            pass  # the bus is closed: nobody can be told
        self._subscription.close()
        self._answers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- reading -----------------------------------------------------------------------------------------------------

    def _take(self, item: Any) -> None:
        if isinstance(item, Message):
            self._desk.take(item)
        elif item is STOP:
            self._stopping = True
            self._leave()
        elif isinstance(item, Begin):
            self._begin(item)
        elif isinstance(item, Gap) and item.reason == "demoted":
            self._serve_again()

    def _begin(self, word: Begin) -> None:
        self._collector.begin_monitoring(word)

    def _serve_again(self) -> None:
        """It stood still until it was given up, so nobody sends to it; what was sent before is read first."""
        self._take_all()
        before, self._subscription = self._subscription, self._subscribed()
        self._desk.instance = instance_of(self._subscription)
        self._subscription._notices += before._notices
        before.close()

    def _receive(self) -> None:
        """Wait for something, and take it; or only until it is time to beat."""
        try:
            self._take(self._subscription.receive(self.beat.tick()))
        except ReceiveTimeout:
            pass

    def _take_all(self) -> None:
        while (item := self._subscription.try_receive()) is not None:
            self._take(item)

    def _leave(self) -> None:
        """Nobody sends to this one any more; what was sent is read."""
        if not self._withdrawn and not self._subscription.closed and not self._bus.closed:
            self._withdrawn = True
            withdraw(self._bus, self._subscription)
            self._take_all()
            finish(self._bus, self._subscription)

    def _look(self, seconds: float) -> None:
        """For a handler that runs where requests are read: what has come meanwhile, such as its cancellation."""
        patience = self.beat.tick()
        try:
            if seconds > 0:
                self._take(self._subscription.receive(seconds if patience is None else min(seconds, patience)))
            self._take_all()
        except ReceiveTimeout:
            pass

    # ---- executing ---------------------------------------------------------------------------------------------------

    def _run_here(self) -> None:
        with ExitStack() as stack:
            run, desk = _runner(stack), self._desk
            while True:
                if desk.queue or self._stopping:
                    self.beat.tick()
                else:
                    self._receive()
                self._take_all()
                if (request := desk.next()) is not None:
                    self.execute(request, run=run, look=self._look)
                elif self._stopping:
                    return

    def _run_pool(self) -> None:
        tokens: queue.SimpleQueue[bool] = queue.SimpleQueue()
        workers = [
            threading.Thread(target=self._work_pool, args=(tokens,), name=f"rpc-{self._collector.collector_id}-{place}")
            for place in range(self._concurrency)
        ]
        for worker in workers:
            worker.start()
        try:
            while not self._stopping:
                self._receive()
                tokens.put(True)
        finally:
            for _ in workers:
                tokens.put(False)
            for worker in workers:
                worker.join()

    def _work_pool(self, tokens: "queue.SimpleQueue[bool]") -> None:
        with ExitStack() as stack:
            run = _runner(stack)
            go_on = True
            while go_on:
                go_on = tokens.get()
                while (request := self._desk.next()) is not None:
                    self.execute(request, run=run, look=_until_cancelled(request))

    def execute(self, request: Request, *, run: Any = None, look: Any = None) -> None:
        """Call its method, and answer. What is published meanwhile is the request's child."""
        request._look = look
        token = HANDLING.set(request.message)
        outcome: Outcome
        try:
            outcome = self._collector.handler(request)(request)
            if not (outcome is None or isinstance(outcome, ProtobufMessage)) and inspect.isawaitable(outcome):
                outcome = run(outcome)
        except Exception as error:
            outcome = as_failure(self._collector.collector_id, request.number, error)
        finally:
            HANDLING.reset(token)
        self._desk.done(request, outcome)


class Mailbox(Server):
    """A server for a collector that has a loop of its own: read in a thread, executed by `work`."""

    def __init__(self, bus: "Bus", collector: "Collector") -> None:
        super().__init__(bus, collector)
        self._words: deque[Begin] = deque()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._reader = threading.Thread(target=self._read, name=f"rpc-{collector.collector_id}", daemon=True)
        self._reader.start()

    def fileno(self) -> int:
        """Readable when there is something to do."""
        return self._bell

    def work(self) -> None:
        """Execute what has come."""
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            pass
        while self._words:
            self._collector.begin_monitoring(self._words.popleft())
        while (request := self._desk.next()) is not None:
            self.execute(request, look=_until_cancelled(request))

    def close(self) -> None:
        """As Server.close."""
        if self._bell >= 0:
            self.stop()
            self._reader.join()
            super().close()
            os.close(self._bell)
            self._bell = -1

    def _begin(self, word: Begin) -> None:
        self._words.append(word)

    def _read(self) -> None:
        try:
            while not self._stopping:
                self._take(self._subscription.receive())
                self._take_all()
                os.eventfd_write(self._bell, 1)
        except ClosedError:
            pass


def _runner(stack: ExitStack) -> Any:
    """Runs `async` methods to their end, on an event loop that is made with the first."""
    loops: list[asyncio.Runner] = []

    def run(awaitable: Any) -> Any:
        if not loops:
            loops.append(stack.enter_context(asyncio.Runner()))
        return loops[0].run(_await(awaitable))

    return run


async def _await(awaitable: Any) -> Any:
    return await awaitable


def _until_cancelled(request: Request) -> Any:
    """How a handler waits that does not run where requests are read."""
    event = threading.Event()
    request.on_cancel = event.set
    if request.is_cancelled:
        event.set()
    return event.wait
