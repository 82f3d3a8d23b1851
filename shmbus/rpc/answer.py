"""What a call comes back with."""

from typing import Any, NamedTuple

from shmbus.v1.eventbus_pb2 import RpcPerformanceMetrics, RpcResponsePayload
from shmbus.v1.rpc_pb2 import Empty, RpcResponse


class Answer(NamedTuple):
    """A successful response: `payload` is what the operation answers with, such as a HealthData."""

    payload: Any
    whole: RpcResponsePayload

    @property
    def response(self) -> RpcResponse:
        """Status, times, who answered."""
        return self.whole.response

    @property
    def performance(self) -> RpcPerformanceMetrics:
        """What the server measured, in microseconds."""
        return self.whole.performance_metrics


def answer_of(whole: RpcResponsePayload) -> Answer:
    """The answer in a response."""
    field = whole.response.WhichOneof("payload")
    return Answer(Empty() if field is None else getattr(whole.response, field), whole)
