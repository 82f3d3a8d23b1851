"""What an agent of a name notes about its tasks, in shared memory, for whoever has the name after it.

    submitted    before `submit_task` returns: all that a task takes
    given        before it is sent to a collector: to which server, which no other can be taken for
    ended        its result has been published, or there is none and why

The topic is the agent's own, for one process at a time: it is a durable publisher's. It keeps the last RECORDS at most.
What an agent that is killed leaves to the next of its name:

    task.submitted    nobody has it: it is lost, and whoever submits it again has it done once
    task.given        it is going on, as far as is noted: whoever was to have it is asked again, and does it then
    task.published    its result has been published, which is not noted: that is published once more
    task.ended        nothing
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from shmbus._core import killpoint
from shmbus.errors import ShmbusError, TaskError
from shmbus.message import Message
from shmbus.process import Identity
from shmbus.rpc.failure import number_of
from shmbus.rpc.presence import Instance
from shmbus.subscription import Subscription
from shmbus.topic import AGENTS, check_topic
from shmbus.v1 import rpc_pb2 as wire
from shmbus.v1.control_pb2 import TopicLimits
from shmbus.v1.eventbus_pb2 import RpcResponsePayload
from shmbus.v1.task_pb2 import TaskPlace, TaskRecord

if TYPE_CHECKING:
    from shmbus.bus import Bus

RECORDS: Final = 4096
LARGEST_RESULT_BYTES: Final = 32 << 10
_LIMITS: Final = TopicLimits(slots=RECORDS, arena_bytes=4 << 20)


class Journal:
    """Of one agent. Any thread may note."""

    def __init__(self, bus: "Bus", name: str) -> None:
        """Raises DurableError where another process has the name; TopicNameError, AccessDenied, ConnectionLost."""
        self._bus, self._topic = bus, check_topic(AGENTS + name)
        self._lock = threading.Lock()
        self._publisher = bus._publisher(self._topic, TaskRecord, name, "raise", 0, True, 0, _LIMITS)

    def read(self) -> list[TaskRecord]:
        """All that is noted by now, a record for each task. Raises AccessDenied, ConnectionLost."""
        with self._bus.subscribe(self._topic, start="earliest") as subscription:
            return list(merged(_records(subscription)))

    def submitted(self, record: TaskRecord) -> None:
        """Raises ShmbusError: who comes after would know nothing of it."""
        with self._lock:
            self._publisher.publish(record, timeout=0)
        killpoint("task.submitted")

    def given(self, call_key: str, collector: str, instance: Instance) -> None:
        """It is going to be sent there."""
        pid, start_time, namespace = instance.process
        place = TaskPlace(
            collector=collector, instance=instance.name, pid=pid, start_time=start_time, pid_namespace=namespace
        )
        self._note(TaskRecord(call_key=call_key, place=place))
        killpoint("task.given")

    def ended(self, call_key: str, outcome: RpcResponsePayload | TaskError) -> None:
        """Its result, or why there is none."""
        killpoint("task.published")
        record = TaskRecord(call_key=call_key)
        if isinstance(outcome, TaskError):
            record.outcome.status = number_of(wire.RpcStatus, outcome.status)
            record.outcome.error.code = number_of(wire.RpcErrorCode, outcome.code)
            record.outcome.error.message = outcome.reason
        else:
            record.outcome.CopyFrom(outcome.response)
            if record.outcome.ByteSize() > LARGEST_RESULT_BYTES:
                record.outcome.ClearField("payload")
        self._note(record)
        killpoint("task.ended")

    def close(self) -> None:
        """Note no more."""
        with self._lock:
            self._publisher.close()

    def _note(self, record: TaskRecord) -> None:
        with self._lock, suppress(ShmbusError):  # then who comes after asks the collector again, or calls it lost
            self._publisher.publish(record, timeout=0)


def process_of(place: TaskPlace) -> Identity:
    """That of the server."""
    return Identity(place.pid, place.start_time, place.pid_namespace)


def _records(subscription: Subscription) -> Iterator[TaskRecord]:
    for message in iter(subscription.try_receive, None):
        if isinstance(message, Message) and isinstance(message.event, TaskRecord):
            yield message.event


def merged(records: Iterable[TaskRecord]) -> Iterator[TaskRecord]:
    """One of each task, in the order in which they were submitted. Of what has been overwritten in part, none."""
    found: dict[str, TaskRecord] = {}
    for record in records:
        if record.HasField("task"):  # submitted, perhaps once more
            found.pop(record.call_key, None)
        known = found.setdefault(record.call_key, TaskRecord())
        if record.HasField("place"):
            known.ClearField("place")
        known.MergeFrom(record)
    return (one for one in found.values() if one.HasField("task"))
