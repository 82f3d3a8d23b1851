"""What there is and who got what, told to those who may not look into the memory: of the topics that they may read.

A look at the ledger costs time that all others wait for, so one answer has the accounts of some cursors only, and says
where to go on. What stands in the pages may have been written by anybody; it is passed on, and nothing goes by it.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from google.protobuf.message import Message

from shmbus._core import Group
from shmbus.coordinator.access import Access
from shmbus.coordinator.outbox import Opener
from shmbus.coordinator.registry import Client, CursorRef, Registry, Topic
from shmbus.coordinator.rings import plan_of
from shmbus.ledger import entries
from shmbus.overview import Account, read_ring, told
from shmbus.process import Identity, is_alive
from shmbus.v1.control_pb2 import LedgerPart, ListTopics, ReadLedger, TopicEntry, TopicList

CURSORS_A_PART: Final = 128
LINES_A_PART: Final = 512  # a part ends with the account that reaches it

Answer = tuple[Message, Sequence[Opener]]
_Place = tuple[CursorRef, str, Identity | None, int | None, Topic]  # of an account


class Overview:
    """Answers whoever looks at the bus."""

    def __init__(self, registry: Registry, access: Access) -> None:
        self._registry, self._access = registry, access
        self.handlers: Mapping[str, Callable[[Client, Any], Answer]] = {
            "list_topics": self.list_topics,
            "read_ledger": self.read_ledger,
        }

    def list_topics(self, client: Client, request: ListTopics) -> Answer:
        """Every lane of the topics that it may read. Raises AccessDenied for who may read none, whatever there is."""
        self._access.check_look(client, "topics")
        return TopicList(topics=map(_entry, self._readable(client))), ()

    def read_ledger(self, client: Client, request: ReadLedger) -> Answer:
        """The accounts of some cursors in such topics, from one on. Raises AccessDenied as `list_topics`."""
        self._access.check_look(client, "ledger")
        after = CursorRef(request.page, request.place)
        places = (place for place in self._places(client) if place[0] >= after)
        found = heapq.nsmallest(CURSORS_A_PART + 1, places, key=lambda place: place[0])
        part, lines, alive = LedgerPart(), 0, cache(is_alive)  # each process is looked for once
        for count, (cursor, reader, process, subscription, topic) in enumerate(found):
            if count == CURSORS_A_PART or lines >= LINES_A_PART:
                part.page, part.place = cursor
                break
            page = self._registry.pages[cursor.session]
            its = entries(page.session, cursor.place, [one.ring for one in topic.generations])
            if its:
                lines += len(its)
                part.accounts.append(told(Account(reader, process, subscription, its).with_dead(alive)))
        return part, ()

    def _readable(self, client: Client) -> Iterator[Topic]:
        for topic in self._registry.topics.values():
            if self._access.subscribe(client, topic.public).allowed:
                yield from topic.lanes

    def _places(self, client: Client) -> Iterator[_Place]:
        lanes = {lane.key: lane for lane in self._readable(client)}
        for lane in lanes.values():
            for subscription, cursor in lane.bindings.items():
                if subscription.durable is None:
                    its = subscription.client
                    yield cursor, its.name, its.identity, subscription.number, lane
        for group in self._registry.durables.values():
            for key, cursor in group.lanes.items():
                page = self._registry.pages[cursor.session].session
                if key in lanes and isinstance(page, Group) and page.rows:  # those of older versions have no ledger
                    yield cursor, group.name, None, None, lanes[key]


def _entry(topic: Topic) -> TopicEntry:
    plan, ring = plan_of(topic.live.ring), topic.live.ring
    reading = read_ring(ring)
    return TopicEntry(
        topic=topic.name,
        topic_id=topic.number,
        lane=topic.lane,
        generation=topic.live.number,
        type_name=topic.type_name,
        head=ring.head,
        tail=ring.tail,
        used_bytes=reading.used_bytes,
        publishers=len(topic.live.producers.active),
        subscribers=len(topic.bindings),
        gates=topic.live.gates.used,
        messages=reading.messages,
        fill=reading.fill,
        max_messages=plan.max_messages,
        max_bytes=plan.max_bytes,
        max_message_bytes=plan.max_message_bytes,
        retention_ns=plan.retention_ns,
        on_full=topic.on_full,
    )
