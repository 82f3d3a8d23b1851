"""A collector that can be called: a plain method with a decorator for each operation that it supports.

    class MyCollector(shmbus.rpc.Collector):
        @operation(PAUSE)
        def pause(self, request):
            self.paused = True

    with shmbus.connect() as bus:
        MyCollector("mine").serve(bus)

A method gets a `Request` and answers None or the payload of rpc.proto for its operation; it may be `async`. What it
raises is the caller's RpcError: `raise request.refuse("VALIDATION_FAILED", "...")` chooses the code, any other
exception is EXECUTION_ERROR. GET_CAPABILITIES, HEALTH_CHECK and GRACEFUL_SHUTDOWN are answered without being written.
"""

import logging
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from shmbus.rpc.beginning import Begin, listening
from shmbus.rpc.failure import failure
from shmbus.rpc.health import Vitals
from shmbus.rpc.operations import GET_CAPABILITIES, GRACEFUL_SHUTDOWN, HEALTH_CHECK, Operation, name_of
from shmbus.rpc.registration import Beat, Registration
from shmbus.rpc.request import Request
from shmbus.rpc.topics import request_topic
from shmbus.v1 import rpc_pb2 as wire
from shmbus.v1.ipc_pb2 import AdvancedCapabilities, CollectionCapabilities

if TYPE_CHECKING:
    from shmbus.aio import AsyncBus
    from shmbus.bus import Bus
    from shmbus.rpc.server import Server

_log = logging.getLogger("shmbus")

Handler = Callable[[Any, Request], Any]
_Method = TypeVar("_Method", bound=Handler)


def operation(number: int) -> Callable[[_Method], _Method]:
    """The method below answers this operation."""
    asked = Operation(number)

    def mark(method: _Method) -> _Method:
        method._operation = asked  # type: ignore[attr-defined]
        return method

    return mark


class Collector:
    """The base of collectors that can be called."""

    event_types: Sequence[int] = ()
    features: Sequence[str] = ()
    domains: Sequence[int] = ()
    """MonitoringDomains that it does tasks of. With any it is registered while it serves, for agents to find."""
    task_types: Sequence[int] = ()
    """TaskTypes that it does; none: every one of its domains."""
    advanced: AdvancedCapabilities | None = None
    attributes: Mapping[str, str] = {}
    """Of its registration. "priority" (0 to 255, 0 where there is none): of several that can, the highest first."""
    _methods: ClassVar[dict[int, str]]

    def __init_subclass__(cls) -> None:
        """Which methods answer what: its own before those of its bases."""
        super().__init_subclass__()
        own = [(number, name) for name, each in vars(cls).items() if (number := getattr(each, "_operation", None))]
        for number, name in reversed(own):
            if others := [other for its, other in own if its == number and other != name]:
                raise TypeError(f"{cls.__name__}: {name} and {others[0]} are both for {name_of(number)}: keep one")
        cls._methods = _marked(cls)

    def __init__(self, collector_id: str) -> None:
        """Raises TopicNameError for an id that cannot be one."""
        request_topic(collector_id)
        self.collector_id = collector_id
        self.vitals = Vitals(collector_id)
        self._server: Server | None = None

    # ---- what can be asked of every collector ------------------------------------------------------------------------

    @operation(GET_CAPABILITIES)
    def get_capabilities(self, request: Request) -> wire.CapabilitiesData:
        """What it collects, and which operations it has methods for."""
        return wire.CapabilitiesData(
            collector_id=self.collector_id,
            event_types=self.event_types,  # type: ignore[arg-type]
            operations=sorted(self._methods),  # type: ignore[arg-type]
            platform_support=[f"{platform.system().lower()}/{platform.machine()}"],
            features=self.features,
        )

    @operation(HEALTH_CHECK)
    def check_health(self, request: Request) -> wire.HealthData:
        """Measured now; `components` has what a collector adds."""
        said = self._server.said if self._server is not None else ()
        return self.vitals.report((*self.components(), *said), self.metrics())

    @operation(GRACEFUL_SHUTDOWN)
    def shut_down(self, request: Request) -> None:
        """What has been asked until now is still answered."""
        self.stop()

    def components(self) -> Sequence[wire.ComponentHealth]:
        """The health of its parts; the whole is as bad as the worst. Looked at with each heartbeat, so be quick."""
        return ()

    def own_health(self) -> int:
        """What it says of itself with each heartbeat, a HealthStatus: as HEALTH_CHECK answers, but never UNRESPONSIVE.

        One whose `components` fail is degraded: it serves, and nobody knows how well.
        """
        try:
            return min(self.vitals.worst(self.components()), wire.UNHEALTHY)
        except Exception as error:
            _log.warning("%s: how its components are cannot be found out: %r", self.collector_id, error)
            return wire.DEGRADED

    def own_reason(self) -> str:
        """Why that is no better, where it is not: what the worst of its components says.

        Empty: all of them are well by now, or a class that judges by something else does not say.
        """
        try:
            return self.vitals.why(self.components())
        except Exception as error:
            return f"how its components are cannot be found out: {error!r}"

    def metrics(self) -> Mapping[str, float]:
        """What a collector adds to the metrics of its health."""
        return {}

    def registration(self) -> wire.RegistrationRequest | None:
        """What agents are to know of it; None: it is not to be found by what it can do."""
        if not self.domains:
            return None
        capabilities = CollectionCapabilities(
            supported_domains=self.domains,  # type: ignore[arg-type]
            advanced=self.advanced,
            task_types=self.task_types,  # type: ignore[arg-type]
        )
        return wire.RegistrationRequest(
            collector_id=self.collector_id,
            collector_type=type(self).__name__.lower(),
            pid=os.getpid(),
            capabilities=capabilities,
            attributes=self.attributes,
        )

    def begin_monitoring(self, word: Begin) -> Any:
        """An agent says to begin, now or before this process began. Once for each epoch, where methods run.

        For collectors to write; one that does not is not told. It may be `async` where they may run on an event loop.
        """

    # ---- serving -----------------------------------------------------------------------------------------------------

    def serve(self, bus: "Bus", *, concurrency: int = 1) -> None:
        """Answer calls until `stop`, or the end of the bus. Blocks. Announces the process as ready (`Bus.ready`).

        With a `concurrency` of 1 the methods run here, one call after the other, each client's in its order; else up to
        so many at a time, in threads of their own. It beats between the calls, and when a method that runs here looks
        at its request (`cancelled`, `wait`): where it is supervised, one that does neither for 2¼ intervals hangs.
        """
        from shmbus.rpc.server import Server

        with Server(bus, self, concurrency=concurrency) as server, self.registered(bus):
            self.attach(server)
            server.beat = Beat(bus, bus.ready(), self.own_health, self.own_reason)
            with self.told_to_begin(bus, server):
                server.run()

    async def serve_async(self, bus: "AsyncBus", *, concurrency: int = 1) -> None:
        """The same on the running event loop, up to `concurrency` methods at a time. Cancel it, or `stop`."""
        from shmbus.rpc.aio import AsyncServer

        with AsyncServer(bus, self, concurrency=concurrency) as server, self.registered(bus._bus):
            self.attach(server)
            server.beat = Beat(bus._bus, bus.ready(), self.own_health, self.own_reason)
            with self.told_to_begin(bus._bus, server):
                await server.serve()

    @contextmanager
    def serving(self, bus: "Bus", *, concurrency: int = 1) -> Iterator["Server"]:
        """The same in a thread; stopped by leaving the block."""
        from shmbus.rpc.server import Server

        with Server(bus, self, concurrency=concurrency) as server, self.registered(bus) as interval:
            self.attach(server)
            server.beat = Beat(bus, interval, self.own_health, self.own_reason)
            with server.in_thread(), self.told_to_begin(bus, server):
                yield server

    @contextmanager
    def told_to_begin(self, bus: "Bus", server: "Server") -> Iterator[None]:
        """`begin_monitoring` is called while the block lasts. For who makes the server itself."""
        if type(self).begin_monitoring is Collector.begin_monitoring:
            yield
            return
        with listening(bus, server.tell):
            yield

    @contextmanager
    def registered(self, bus: "Bus") -> Iterator[float | None]:
        """Registered while the block lasts. For who makes the server itself.

        Within so many seconds `Bus.beat` is to be called again, by the thread that does the work, or agents give its
        tasks to others; None: it has nothing to register. Raises RpcError, such as ALREADY_REGISTERED.
        """
        wanted = self.registration()
        if wanted is None:
            yield None
            return
        with Registration(bus, wanted) as registration:
            yield registration.interval

    def attach(self, server: "Server") -> None:
        """`stop` is for this one. For who makes the server itself."""
        self._server = server

    def stop(self) -> None:
        """Have `serve` end, when what came until now is answered. From any thread, a signal handler, or a method."""
        if self._server is not None:
            self._server.stop()

    def handler(self, request: Request) -> Callable[[Request], Any]:
        """The bound method for a request. Raises RpcError for what is not supported, or makes no sense."""
        name = self._methods.get(request.number)
        if name is None:
            known = ", ".join(Operation(number).name for number in sorted(self._methods))
            reason = "it has no method for that"
            raise failure(
                self.collector_id, request.number, "UNSUPPORTED_OPERATION", reason, context={"supported": known}
            )
        if misfit := request.misfit():
            raise misfit
        method: Callable[[Request], Any] = getattr(self, name)
        return method


def _marked(kind: type) -> dict[int, str]:
    methods = [(name, each) for one in reversed(kind.__mro__) for name, each in vars(one).items()]
    return {number: name for name, each in methods if (number := getattr(each, "_operation", None))}


Collector._methods = _marked(Collector)
