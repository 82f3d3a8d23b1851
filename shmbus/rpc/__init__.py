"""Calls over the bus: a request on the collector's topic, the answer on the caller's own.

    with shmbus.connect() as bus, shmbus.rpc.Client(bus) as client:
        print(client.health("procmond").status)

    class MyCollector(shmbus.rpc.Collector):
        @shmbus.rpc.operation(shmbus.rpc.PAUSE)
        def pause(self, request): ...

What goes wrong is a `shmbus.RpcError`.
"""

from typing import TYPE_CHECKING, Any

from shmbus.rpc.answer import Answer
from shmbus.rpc.breaker import Breaker
from shmbus.rpc.client import Client
from shmbus.rpc.collector import Collector, operation
from shmbus.rpc.operations import (
    DEREGISTER,
    EXECUTE_TASK,
    FORCE_SHUTDOWN,
    GET_CAPABILITIES,
    GET_CONFIG,
    GRACEFUL_SHUTDOWN,
    HEALTH_CHECK,
    PAUSE,
    REGISTER,
    RESTART,
    RESUME,
    START,
    STOP,
    UPDATE_CONFIG,
    Operation,
)
from shmbus.rpc.pending import Pending
from shmbus.rpc.request import Request
from shmbus.rpc.retry import NEVER, Retry
from shmbus.rpc.server import Mailbox, Server

if TYPE_CHECKING:
    from shmbus.rpc.aio import AsyncClient

__all__ = [
    "DEREGISTER",
    "EXECUTE_TASK",
    "FORCE_SHUTDOWN",
    "GET_CAPABILITIES",
    "GET_CONFIG",
    "GRACEFUL_SHUTDOWN",
    "HEALTH_CHECK",
    "NEVER",
    "PAUSE",
    "REGISTER",
    "RESTART",
    "RESUME",
    "START",
    "STOP",
    "UPDATE_CONFIG",
    "Answer",
    "AsyncClient",
    "Breaker",
    "Client",
    "Collector",
    "Mailbox",
    "Operation",
    "Pending",
    "Request",
    "Retry",
    "Server",
    "operation",
]


def __getattr__(name: str) -> Any:
    """asyncio is most of a program's start-up, and not every program needs it."""
    if name == "AsyncClient":
        from shmbus.rpc.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module 'shmbus.rpc' has no attribute {name!r}")
