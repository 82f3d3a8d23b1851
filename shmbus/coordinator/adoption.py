"""A new coordinator takes over what a killed one left: rings, durable subscriptions, sessions of those who live.

Everything needed stands in the segments themselves. Rings say which topic and lane they are, who publishes to them and
whose cursors hold them; a durable subscription's segment holds its settings and its members; a client's cursors say of
which topic and subscription they are. Only the descriptors of message types and the clients' names stand in the
directory, and are taken over into the new one before that replaces the old.

A client that lives is absent until it comes back (Hello.resume) and says again what it subscribes to; meanwhile its
cursors hold what they hold, and its death is seen by a pidfd as ever. One that is dead is buried at once, as if its
death had been seen, and one that has closed its connection meanwhile is let go: its pages say so. Taking over changes
nothing that was not changed by the death itself, so a coordinator that is killed in the middle of it leaves as much to
the next one:

    adopt.ended         the coordinator before it is dead, on demand (--take-over); nothing has been changed
    adopt.checked       nothing has been changed: it is known that all of it can be taken over (see `layouts`)
    adopt.directory     the new directory stands, the old one is gone
    adopt.bells         the same
    adopt.rings         successors that were not in use yet are, and their predecessors are sealed
    adopt.buried        the dead hold nothing any more
    adopt.expected      the living have been woken, so that they come back
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from operator import itemgetter
from typing import NamedTuple

from google.protobuf.message import DecodeError

from shmbus import segment
from shmbus._core import AttachError, Bells, Group, Ring, Session, killpoint
from shmbus.coordinator.groups import Groups
from shmbus.coordinator.keeping import Keeping
from shmbus.coordinator.listing import Inheritance
from shmbus.coordinator.plan import Planner
from shmbus.coordinator.post import Log
from shmbus.coordinator.registry import (
    LANE_SHIFT,
    NORMAL_LANE,
    URGENT_LANE,
    Client,
    CursorRef,
    Durable,
    Generation,
    Page,
    Registry,
    Subscription,
    Topic,
)
from shmbus.coordinator.repair import ClaimWatch
from shmbus.coordinator.rings import carry, carry_departed
from shmbus.coordinator.store import Segment, Store
from shmbus.directory import DirectoryReader
from shmbus.errors import BusExists, SegmentError, ShmbusError
from shmbus.process import Identity, is_alive
from shmbus.v1.control_pb2 import DurableRecord

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class _Found(NamedTuple):
    """A segment by the numbers in its name."""

    name: str
    numbers: tuple[int, ...]


def read_directory(bus: str, boot_id: bytes) -> Inheritance:
    """Of a dead coordinator's directory: what is whole in it. Empty where there is none.

    Raises BusExists when its coordinator lives: it was started with another runtime directory, so the lock there did
    not keep us out.
    """
    inherited = Inheritance()
    try:
        descriptor = segment.attach(segment.directory_name(bus))
    except ShmbusError:
        return inherited
    try:
        with closing(DirectoryReader(descriptor, boot_id=boot_id)) as reader:
            if reader.is_alive() and reader.coordinator.pid != os.getpid():
                raise BusExists(bus, reader.coordinator.pid, reader.started_ns / 1e9)
            found = reader.snapshot()
            inherited.sessions = {one.session: one for one in found.sessions}
            inherited.topics = {one.topic_id: one.name for one in found.topics}
            inherited.collectors = found.collectors
            for topic in found.topics:
                if topic.descriptor_length:
                    inherited.descriptors[topic.fingerprint] = reader.descriptors(topic)
    except SegmentError:
        pass
    finally:
        os.close(descriptor)
    return inherited


def adopt_bells(store: Store) -> tuple[Segment, Bells] | None:
    """The bells that everybody has mapped; None: nothing is there to be taken over."""
    if store.private:
        return None
    try:
        return store.adopt(segment.bells_name(store.bus), lambda fd: Bells.attach(fd, store.boot_id))
    except (ShmbusError, AttachError):
        return None


class Adoption:
    """Fills an empty registry. `absent` are the clients that live and have to come back; who has `left` does not."""

    def __init__(
        self, store: Store, registry: Registry, groups: Groups, keeping: Keeping, planner: Planner,
        inherited: Inheritance, log: Log,
    ) -> None:  # fmt: skip
        self._store, self._registry, self._groups, self._keeping = store, registry, groups, keeping
        self._planner, self._inherited, self._log = planner, inherited, log
        self.absent: list[Client] = []
        self.dead: list[Client] = []
        self.left: list[Client] = []
        self.last_page = 0
        self._strangers: dict[int, Client] = {}  # owners of producer ids whose sessions are gone

    def run(self) -> None:
        """Take over whatever can be; what cannot is told, and its segment removed."""
        found = _by_kind(self._store.bus)
        for one in found["session"]:
            self._try(one.name, lambda one=one: self._session(one))  # type: ignore[misc]
        for one in sorted(found["group"], key=lambda one: one.numbers):
            self._try(one.name, lambda one=one: self._group(one))  # type: ignore[misc]
        for one in sorted(found["ring"], key=lambda one: one.numbers):
            self._try(one.name, lambda one=one: self._ring(one))  # type: ignore[misc]
        for one in found["state"]:
            self._try(one.name, lambda one=one: self._keeping.adopt(one.name, *one.numbers))  # type: ignore[misc]
        for topic in self._registry.topics.values():
            if topic.kept is None and not topic.principal:
                name = segment.state_name(self._store.bus, topic.number)
                plan = self._planner.plan(topic.name)
                self._try(name, lambda topic=topic, plan=plan: self._keeping.make(topic, plan))  # type: ignore[misc]
        for client in self._registry.clients.values():
            self._bindings(client)
        for durable in self._registry.durables.values():
            self._members(durable)
        for topic in self._registry.lanes():
            self._complete(topic)
            self._groups.bind_missing(topic)
        killpoint("adopt.rings")
        for client in list(self._registry.clients.values()):
            if not is_alive(client.identity):
                self.dead.append(client)
            else:
                (self.left if client.has_left else self.absent).append(client)

    def bells_in_use(self) -> set[int]:
        """They are nobody else's."""
        clients = {client.bell for client in self._registry.clients.values()}
        return clients | {topic.bell for topic in self._registry.topics.values()}

    def _try(self, name: str, take: Callable[[], None]) -> None:
        try:
            take()
        except (ShmbusError, AttachError, OSError, DecodeError, LookupError) as error:
            if isinstance(error, OSError) and error.errno in _EXHAUSTED:
                raise  # nothing is wrong with the segment: whoever has more room can take it over
            self._log(f"segment {name} cannot be taken over and is removed: {error}")
            segment.remove(name)

    # ---- sessions ----------------------------------------------------------------------------------------------------

    def _session(self, found: _Found) -> None:
        (number,) = found.numbers
        made, session = self._store.adopt(
            found.name, lambda fd: Session.attach(fd, writable=True, boot_id=self._store.boot_id)
        )
        page = Page(number, made, session)
        client = self._client_of(page)
        client.pages.append(page)
        self._registry.pages[number] = page
        self.last_page = max(self.last_page, number)
        for place in range(session.capacity):
            *_, subscription = session.cursor(place)
            if subscription:
                page.cursors.claim(place)

    def _client_of(self, page: Page) -> Client:
        """Pages of one client share its bell; the first page's number is the client's."""
        identity = Identity(*page.session.identity)
        for client in self._registry.clients.values():
            if client.bell == page.session.bell and client.identity == identity:
                return client
        entry = self._inherited.sessions.get(page.number)
        client = Client(page.number, entry.client if entry else "?", identity, entry.uid if entry else os.geteuid(), -1)
        client.bell, client.connected_ns = page.session.bell, entry.connected_ns if entry else 0
        self._registry.clients[page.number] = client
        return client

    def _subscription(self, client: Client, number: int) -> Subscription:
        """Known by its number until the client says what it is."""
        known = client.subscriptions.get(number)
        if known is None:
            known = client.subscriptions[number] = Subscription(client, number, (), lossless=False, earliest=False)
        return known

    def _bindings(self, client: Client) -> None:
        for page in client.pages:
            for place in range(page.session.capacity):
                *_, key, number = page.session.cursor(place)
                topic = self._registry.find_lane(key & (1 << LANE_SHIFT) - 1, key >> LANE_SHIFT)
                if number and topic is not None:
                    topic.bindings[self._subscription(client, number)] = CursorRef(page.number, place)

    # ---- durable subscriptions ---------------------------------------------------------------------------------------

    def _group(self, found: _Found) -> None:
        (number,) = found.numbers
        made, group = self._store.adopt(
            found.name, lambda fd: Group.attach(fd, writable=True, boot_id=self._store.boot_id)
        )
        record = DurableRecord.FromString(group.record)
        if not record.durable.name:
            self._store.give_up(made)  # killed while it was made: nobody was told of it
            return
        group.finish()
        page = Page(number, made, group)
        self.last_page = max(self.last_page, number)
        self._registry.pages[number] = page
        durable = self._registry.durables.get(record.durable.name)
        if durable is None:
            durable = self._groups.adopted(record)
        durable.pages.append(page)
        for place in range(group.capacity):
            position, *_, topic, lane_and_one = group.cursor(place)
            if lane_and_one and position:  # else it was never placed, and nobody told of it
                page.cursors.claim(place)
                durable.lanes[topic, lane_and_one - 1] = CursorRef(number, place)

    def _members(self, durable: Durable) -> None:
        for key in [key for key in durable.lanes if self._registry.find_lane(*key) is None]:
            lane = durable.lanes.pop(key)
            self._registry.pages[lane.session].cursors.give_back(lane.place)
        for member, (_, _, _, _, session, number) in self._groups.entries(durable):
            client = self._registry.clients.get(session)
            durable.numbers.claim(member)
            if client is None:
                self._groups.bury_member(durable, member)
                continue
            subscription = self._subscription(client, number)
            subscription.durable, subscription.member = durable, member
            durable.members[member] = subscription

    # ---- rings -------------------------------------------------------------------------------------------------------

    def _ring(self, found: _Found) -> None:
        number, lane, generation = found.numbers
        made, ring = self._store.adopt(
            found.name, lambda fd: Ring.attach(fd, writable=True, boot_id=self._store.boot_id)
        )
        topic = self._registry.find_lane(number, lane) or self._topic(number, lane, ring)
        its = Generation(generation, made, ring, ClaimWatch(ring.limits[4]))
        topic.generations.append(its)
        self._producers(topic, its)
        self._gates(its)

    def _topic(self, number: int, lane: int, ring: Ring) -> Topic:
        topic = Topic(number, self._inherited.topics.get(number, ring.topic), ring.bell, lane)
        plan = self._planner.plan(topic.public)
        topic.type_name, topic.fingerprint = ring.type_name, ring.fingerprint
        topic.on_full, topic.block_timeout_ns = plan.on_full, plan.block_timeout_ns
        topic.max_stall_ns = plan.max_stall_ns
        if lane == NORMAL_LANE:
            self._registry.add_topic(topic)
        elif lane == URGENT_LANE and (normal := self._registry.find_lane(number, NORMAL_LANE)) is not None:
            self._registry.add_urgent(normal, topic)
        else:
            raise LookupError(f"lane {lane} of a topic that is not there")
        return topic

    def _producers(self, topic: Topic, generation: Generation) -> None:
        ring, departed, buried = generation.ring, {}, set()
        for producer in range(1, ring.producer_capacity + 1):
            who = ring.producer(producer)
            if who is None:
                continue
            owner = self._owner(who)
            generation.owners[producer] = owner
            if left := ring.producer_left(producer):
                departed[producer] = left
            elif ring.numbers(producer)[2]:
                generation.producers.reserved[who[0]] = producer
            if producer not in departed and owner.number in self._registry.clients:
                owner.producers.setdefault(topic.key, set()).add(producer)
        generation.producers.adopt(set(generation.owners))
        for producer, owner in generation.owners.items():
            if producer in departed or owner.number in self._registry.clients:
                continue
            if producer in generation.producers.reserved.values():
                generation.producers.active.discard(producer)
            else:
                departed[producer] = ring.tail
                buried.add(producer)  # whether it has left a claim is found out by the sweep
                ring.leave_producer(producer, ring.tail)
        # Claims of those that left before have been looked after. To wait for the sweep would put them behind others.
        claimed = {producer for _, producer, _ in ring.claims()} | buried
        for producer, left in sorted(departed.items(), key=itemgetter(1)):
            generation.producers.part(producer, left, unfinished=producer in claimed)

    def _owner(self, who: tuple[str, int, int, int, int, int]) -> Client:
        name, pid, start_time, namespace, session, uid = who
        known = self._registry.clients.get(session)
        if known is not None:
            return known
        stranger = self._strangers.get(session)
        if stranger is None:
            stranger = self._strangers[session] = Client(session, name, Identity(pid, start_time, namespace), uid, -1)
            stranger.alive = is_alive(stranger.identity)
        return stranger

    def _gates(self, generation: Generation) -> None:
        for index, session, place, _ in generation.ring.gates():
            holder = self._holder(session, place)
            if holder is None:
                generation.ring.clear_gate(index)
                continue
            generation.gates.claim(index)
            generation.gate_of[holder] = index
            generation.gating[session] = generation.gating.get(session, 0) + 1

    def _holder(self, session: int, place: int) -> Subscription | Durable | None:
        page = self._registry.pages.get(session)
        if page is None or place >= page.session.capacity:
            return None
        for durable in self._registry.durables.values():
            if page in durable.pages:
                return durable if CursorRef(session, place) in durable.lanes.values() else None
        *_, number = page.session.cursor(place)
        client = next(one for one in self._registry.clients.values() if page in one.pages)
        if not number:
            return None
        subscription = self._subscription(client, number)
        subscription.lossless = True
        return subscription

    def _complete(self, topic: Topic) -> None:
        """Successors that somebody may have been told of are gone over to."""
        for old, new in zip(topic.generations, topic.generations[1:], strict=False):
            if not old.ring.sealed:
                self._take_along(old, new)
                old.ring.seal(new.number)
            old.sealed = True
            for producer in old.producers.reserved.values():
                if producer in new.owners:
                    carry(producer, old, new)

    def _take_along(self, old: Generation, new: Generation) -> None:
        departed = old.producers.departed
        for producer, owner in old.owners.items():
            who = old.ring.producer(producer)
            if producer not in new.owners and who is not None and producer not in departed:
                new.ring.set_producer(producer, *who)
                new.ring.begin_numbers(producer, old.ring.numbers(producer)[2])
                new.owners[producer] = owner
                new.producers.claim(producer)
                if producer not in old.producers.active:
                    new.producers.active.discard(producer)
        new.producers.reserved = dict(old.producers.reserved)
        new.ring.carry_numbers(old.ring)
        carry_departed(old, new)
        gates = {index: (session, cursor) for index, session, cursor, _ in old.ring.gates()}
        for holder, index in old.gate_of.items():
            if holder not in new.gate_of and (free := new.gates.take()) is not None:
                new.ring.set_gate(free, *gates[index], new.ring.first_sequence)
                new.gate_of[holder] = free
                new.gating[gates[index][0]] = new.gating.get(gates[index][0], 0) + 1


def remove_unadopted(store: Store, log: Log) -> None:
    """Whatever else there is of this bus: unfinished segments, and what could not be taken over."""
    kept = {one.name for one in store.made()}
    removed = [one.name for one in segment.list_segments(bus=store.bus) if one.name not in kept]
    for name in removed:
        segment.remove(name)
    if removed:
        some = ", ".join(removed[:4]) + (" ..." if removed[4:] else "")
        log(f"removed {len(removed)} segments that a killed coordinator left: {some}")


def _by_kind(bus: str) -> dict[str, list[_Found]]:
    found: dict[str, list[_Found]] = {"session": [], "group": [], "ring": [], "state": []}
    for name, kind, numbers in _named(bus):
        if kind in found:
            found[kind].append(_Found(name, numbers))
    return found


def _named(bus: str) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    for one in segment.list_segments(bus=bus):
        kind, *numbers = one.what.split(".")
        if one.maker is None:
            yield one.name, kind, tuple(map(int, numbers))
