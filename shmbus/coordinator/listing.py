"""The directory, kept in step with the registry: tools read there what there is, without asking anybody."""

import time
from dataclasses import dataclass, field

from shmbus import segment
from shmbus.condition import Condition
from shmbus.coordinator.children import Collector
from shmbus.coordinator.post import Log
from shmbus.coordinator.registry import Client, Topic
from shmbus.coordinator.rings import plan_of
from shmbus.coordinator.store import Segment, Store
from shmbus.coordinator.supervisor import State
from shmbus.directory import (
    BusState,
    Capacities,
    CollectorEntry,
    CollectorState,
    DirectoryWriter,
    Lane,
    SessionEntry,
    TopicEntry,
    size_of,
)
from shmbus.errors import LimitError
from shmbus.process import own_identity

_STATES = {state: CollectorState[state.name] for state in State}


@dataclass(slots=True)
class Inheritance:
    """What only the directory of a dead coordinator says."""

    descriptors: dict[bytes, bytes] = field(default_factory=dict)  # by fingerprint
    sessions: dict[int, SessionEntry] = field(default_factory=dict)
    topics: dict[int, str] = field(default_factory=dict)  # names by number: whoever writes to a ring can change its own
    collectors: tuple[CollectorEntry, ...] = ()


class Listing:
    """Writes the directory of one bus."""

    def __init__(self, store: Store, address: str, capacities: Capacities, log: Log, inherited: Inheritance) -> None:
        """Takes the place of one that a dead coordinator left, and what only that knew, in one step."""

        def initialise(descriptor: int) -> DirectoryWriter:
            writer = DirectoryWriter(
                descriptor,
                bus=store.bus,
                address=address,
                coordinator=own_identity(),
                capacities=capacities,
                boot_id=store.boot_id,
            )
            for fingerprint, data in inherited.descriptors.items():
                writer.add_descriptors(fingerprint, data)
            for entry in inherited.sessions.values():
                writer.put_session(entry)
            for collector in inherited.collectors:
                writer.put_collector(collector)
            return writer

        self._log = log
        self._descriptors: dict[bytes, bytes] = dict(inherited.descriptors)
        self._created: dict[int, int] = {}
        self._full = False
        made = store.make(segment.directory_name(store.bus), size_of(capacities), initialise, replace=True)
        self.segment: Segment = made[0]
        self._writer = made[1]

    def set_state(self, state: BusState) -> None:
        """The bus is starting, running, stopping or stopped."""
        self._writer.set_state(state)

    def close(self) -> None:
        """Unmap it."""
        self._writer.close()

    def has_type(self, fingerprint: bytes) -> bool:
        """Are the descriptors of this type known?"""
        return fingerprint in self._descriptors

    def add_type(self, fingerprint: bytes, descriptors: bytes) -> None:
        """Keep the descriptors of a type. Raises LimitError when there is no room."""
        self._writer.add_descriptors(fingerprint, descriptors)
        self._descriptors[fingerprint] = descriptors

    def descriptors(self, fingerprint: bytes) -> bytes:
        """The descriptors of a type of some topic."""
        return self._descriptors[fingerprint]

    def put_topic(self, topic: Topic) -> None:
        """A topic is new or has changed. Raises LimitError when there are too many."""
        plan = plan_of(topic.live.ring)
        self._writer.put_topic(
            TopicEntry(
                topic_id=topic.number,
                name=topic.name,
                lanes=tuple(_lane(one) for one in topic.lanes),
                max_messages=plan.max_messages,
                max_bytes=plan.max_bytes,
                max_message_bytes=plan.max_message_bytes,
                retention_ns=plan.retention_ns,
                claim_timeout_ns=plan.claim_timeout_ns,
                producers=plan.producers,
                gates=plan.gates,
                on_full=topic.on_full,
                block_timeout_ns=topic.block_timeout_ns,
                type_name=topic.type_name,
                fingerprint=topic.fingerprint,
                created_ns=self._created.setdefault(topic.number, time.time_ns()),
            )
        )

    def put_client(self, client: Client) -> None:
        """All session pages of a client. One that does not fit is served nevertheless, and tools do not see it."""
        try:
            for page in client.pages:
                self._writer.put_session(
                    SessionEntry(
                        session=page.number,
                        client=_fitting(client.name, 64),
                        process=client.identity,
                        uid=client.uid,
                        bell=client.bell,
                        cursors=page.session.capacity,
                        connected_ns=client.connected_ns,
                    )
                )
        except LimitError as error:
            if not self._full:
                self._log(f"the directory does not show {client.who}: {error}")
            self._full = True

    def remove_client(self, client: Client) -> None:
        """It is gone."""
        for page in client.pages:
            self._writer.remove_session(page.number)

    def put_collector(self, collector: Collector, condition: Condition) -> None:
        """A collector's state or condition has changed."""
        life, process = collector.life, collector.process
        try:
            self._writer.put_collector(
                CollectorEntry(
                    name=collector.name,
                    state=_STATES[life.state],
                    health=condition.health,
                    process=process.identity if process else None,
                    started_ns=process.started_ns if process else 0,
                    restarts=life.restarts,
                    detail=life.fault or life.reason,
                    recent=len(life.recent),
                    plan=process.plan if process else 0,
                    seen=condition.seen,
                    said=condition.said,
                    again=life.again,
                    given_up=bool(life.fault),
                )
            )
        except LimitError as error:
            self._log(f"the directory does not show collector {collector.name}: {error}")

    def remove_collector(self, name: str) -> None:
        """There is no such collector any more."""
        self._writer.remove_collector(name)


def _fitting(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


def _lane(topic: Topic) -> Lane:
    ring = topic.live.ring
    return Lane(topic.live.number, topic.bell, ring.slots, ring.arena_bytes)
