"""A call on its way."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.message import Message as ProtobufMessage

from shmbus.errors import RpcError
from shmbus.rpc.answer import Answer
from shmbus.rpc.presence import Instance
from shmbus.v1.eventbus_pb2 import RpcAuthInfo

if TYPE_CHECKING:
    from shmbus.rpc.exchange import Service


class Ask(NamedTuple):
    """What is asked; the same in every attempt."""

    service: str
    operation: int
    payload: ProtobufMessage | None
    seconds: float
    deadline_ns: int  # CLOCK_MONOTONIC
    key: str | None
    correlation: Any
    auth_info: RpcAuthInfo | None = None  # None: who connected asks
    priority: int = 0

    def left(self) -> float:
        """Seconds until the deadline."""
        return (self.deadline_ns - time.monotonic_ns()) / 1e9


class Pending:
    """One attempt. `outcome` is there once it is settled, and never changes."""

    __slots__ = ("ask", "service", "instance", "request_id", "sequence", "decided", "outcome", "wakes")

    def __init__(self, ask: Ask, service: "Service", instance: Instance, request_id: str) -> None:
        self.ask, self.service, self.instance, self.request_id = ask, service, instance, request_id
        self.sequence = 0  # of the message that it went out in
        self.decided = False  # its server has stopped, and what becomes of it is known
        self.outcome: Answer | RpcError | None = None
        self.wakes: list[Callable[[], object]] = []  # of those who sleep until it is settled

    @property
    def settled(self) -> bool:
        """It has ended, one way or another."""
        return self.outcome is not None

    def settle(self, outcome: Answer | RpcError) -> None:
        """Once only; see Exchange."""
        self.outcome = outcome
        for wake in self.wakes:
            wake()

    def result(self) -> Answer:
        """The answer, or the error raised."""
        assert self.outcome is not None
        if isinstance(self.outcome, RpcError):
            raise self.outcome
        return self.outcome
