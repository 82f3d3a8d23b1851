"""Who takes part, each in a process of its own: `python -m campaign.parts PART NAME INCARNATION DIARY [KEY=VALUE ...]`.

What a payload says is who published it and its number there, so whoever reads can be compared with whoever published.
SIGTERM ends one in order; SIGUSR1 has it write the stacks of its threads beside its diary.
"""

import asyncio
import faulthandler
import os
import pwd
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import shmbus
from campaign.diary import Diary
from shmbus import rpc
from shmbus.agent import Agent
from shmbus.errors import (
    ConnectError,
    ConnectionLost,
    DurableError,
    PublishRevoked,
    ReceiveTimeout,
    RpcError,
    StorageFull,
    TaskError,
)
from shmbus.v1.common_pb2 import ProcessFilter, TaskType
from shmbus.v1.eventbus_pb2 import RpcResponsePayload
from shmbus.v1.ipc_pb2 import DetectionResult, DetectionTask, MonitoringDomain

PATIENCE_SECONDS = 60.0  # for a coordinator, or for room
LOOK_SECONDS = 0.25  # between two looks whether to end
TASK_SECONDS = 15.0

_Opened = TypeVar("_Opened")


class Life:
    """One incarnation of one participant."""

    def __init__(self, name: str, incarnation: str, diary: Diary, options: dict[str, str]) -> None:
        self.name, self.diary, self.options = name, diary, options
        self.tag = f"{name}.{incarnation}"
        self.dice = random.Random(self.tag)
        self.ending = False
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, *_: object) -> None:
        self.ending = True

    def patiently(self, open_it: Callable[[], _Opened]) -> _Opened:
        """What takes a coordinator, and room in /dev/shm: until both are there."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            began = time.monotonic()
            try:
                return open_it()
            except (ConnectError, ConnectionLost, StorageFull, DurableError) as error:
                if time.monotonic() > deadline or self.ending:
                    raise
                self.diary.note("waits", type(error).__name__, f"{time.monotonic() - began:.3f}")
                time.sleep(0.05)

    def connect(self) -> Any:
        return self.patiently(lambda: shmbus.connect(name=self.name, timeout=PATIENCE_SECONDS))


# ---- publishers ------------------------------------------------------------------------------------------------------


def publish(life: Life) -> None:
    """To several topics in turn, now and then urgently."""
    with life.connect() as bus:
        topics = life.options["topics"].split(",")
        publishers = {topic: life.patiently(lambda topic=topic: bus.publisher(topic)) for topic in topics}
        number = 0
        while not life.ending:
            for topic, publisher in publishers.items():
                number += 1
                urgent = life.dice.random() < 0.05
                payload = f"{life.tag} {number} ".encode() + bytes(life.dice.choice((0, 100, 1000)))
                try:
                    publisher.publish(payload, priority=shmbus.URGENT if urgent else 0)
                    life.diary.note("sent", topic, number, "urgent" if urgent else "normal")
                except PublishRevoked:
                    life.diary.note("revoked", topic, number)
            time.sleep(float(life.options["pace"]))


def number(life: Life) -> None:
    """Each number once, though it tells the last few again whenever it begins."""
    topic = life.options["topics"]
    with life.connect() as bus:
        publisher = life.patiently(lambda: bus.publisher(topic, name=life.name, durable=True))
        count = max(1, publisher.last_number - 3)
        while not life.ending:
            try:
                publisher.publish(f"{life.name} {count} ".encode(), number=count)
            except PublishRevoked:
                life.diary.note("revoked", topic, count)
                continue
            life.diary.note("sent", topic, count, "normal")
            count += 1
            time.sleep(float(life.options["pace"]))


# ---- readers ---------------------------------------------------------------------------------------------------------


def subscribe(life: Life, bus: Any) -> Any:
    """As the options say."""
    its = life.options
    durable = None
    if "durable" in its:
        durable = shmbus.Durable(
            its["durable"], ack_deadline=float(its.get("deadline", 30)), exactly_once="once" in its
        )
    patterns = its["patterns"].split(",")
    return life.patiently(
        lambda: bus.subscribe(*patterns, lossless="lossless" in its, durable=durable, order=its.get("order"))  # type: ignore[arg-type]
    )


def seen(life: Life, message: Any) -> list[Any]:
    """Note what came; what there is to be settled."""
    if isinstance(message, shmbus.Gap):
        whose = message.producer.name if message.producer else "-"
        life.diary.note("gap", message.topic, whose, message.count, message.reason)
        return []
    life.diary.note("got", message.topic, message.lane, *_words(message), message.deliveries)
    return [message]


def _words(message: Any) -> tuple[str, str]:
    if message.topic.startswith(("lab.", "guest.")):
        tag, count = message.payload.split()[:2]
        return tag.decode(), count.decode()
    event = message.event
    if isinstance(event, RpcResponsePayload) and event.response.HasField("task_result"):
        return "task", event.response.task_result.task_id
    return message.producer.name if message.producer else "-", str(message.producer_sequence)


def settled(life: Life, message: Any) -> None:
    life.diary.note("kept", message.topic, message.lane, *_words(message), message.deliveries)


def read(life: Life) -> None:
    """One after the other, or (`many`) as many as there are."""
    with life.connect() as bus, subscribe(life, bus) as subscription:
        life.diary.note("began")
        while not life.ending:
            try:
                if "many" in life.options:
                    found = subscription.receive_many(64, timeout=LOOK_SECONDS)
                else:
                    found = [subscription.receive(timeout=LOOK_SECONDS)]
            except ReceiveTimeout:
                life.diary.note("idle")
                continue
            for message in [one for item in found for one in seen(life, item)]:
                if "durable" in life.options and subscription.ack(message):
                    settled(life, message)


def read_by_asyncio(life: Life) -> None:
    """The same, on an event loop."""

    async def main() -> None:
        while True:
            try:
                async with shmbus.connect(name=life.name, timeout=PATIENCE_SECONDS) as bus:
                    return await follow(bus)
            except (ConnectError, ConnectionLost, StorageFull) as error:
                life.diary.note("waits", type(error).__name__, 0)
                await asyncio.sleep(0.05)

    async def follow(bus: Any) -> None:
        durable = shmbus.Durable(life.options["durable"])
        async with bus.subscribe(*life.options["patterns"].split(","), durable=durable) as subscription:
            life.diary.note("began")
            while not life.ending:
                try:
                    item = await subscription.receive(timeout=LOOK_SECONDS)
                except ReceiveTimeout:
                    life.diary.note("idle")
                    continue
                for message in seen(life, item):
                    if subscription.ack(message):
                        settled(life, message)

    asyncio.run(main())


# ---- tasks and calls -------------------------------------------------------------------------------------------------


def steer(life: Life) -> None:
    """One task and one call after the other. What goes wrong has to be told, and in time."""
    with life.connect() as bus, life.patiently(lambda: Agent(bus)) as agent, rpc.Client(bus) as client:
        life.patiently(agent.begin_monitoring)
        count = 0
        while not life.ending:
            count += 1
            task = DetectionTask(
                task_id=f"{life.tag}-{count}",
                task_type=TaskType.ENUMERATE_PROCESSES,
                process_filter=ProcessFilter(executable_pattern="*/nothing"),
            )
            life.diary.note("asked", task.task_id)
            try:
                agent.run_task(task, timeout=TASK_SECONDS, patience=TASK_SECONDS)
                life.diary.note("done", task.task_id)
            except TaskError as error:
                life.diary.note("failed", task.task_id, error.code, error.status)
            try:
                client.health("procmond")
                life.diary.note("health")
            except RpcError as error:
                life.diary.note("unhealthy", error.code, error.status)
            time.sleep(float(life.options["pace"]))


class Lab(rpc.Collector):
    """Does tasks about processes, of which it finds none."""

    domains = (MonitoringDomain.PROCESS,)

    @rpc.operation(rpc.EXECUTE_TASK)
    def execute(self, request: rpc.Request) -> DetectionResult:
        request.wait(0.02)
        return DetectionResult(task_id=request.payload.task_id, success=True)


def serve(life: Life) -> None:
    """As a supervised collector."""
    with life.connect() as bus:
        lab = Lab(life.name)
        signal.signal(signal.SIGTERM, lambda *_: lab.stop())
        lab.serve(bus)


PARTS = {"publish": publish, "number": number, "read": read, "aio": read_by_asyncio, "steer": steer, "serve": serve}


def main() -> None:
    part, name, incarnation, diary, *words = sys.argv[1:]
    options = dict(word.split("=", 1) for word in words)
    faulthandler.register(signal.SIGUSR1, open(f"{diary}.stacks", "a"), all_threads=True)  # noqa: SIM115
    life = Life(name, incarnation, Diary(Path(diary)), options)
    if user := options.get("user"):
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    PARTS[part](life)
    life.diary.note("ended")


if __name__ == "__main__":
    main()
