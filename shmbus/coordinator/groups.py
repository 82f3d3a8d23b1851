"""Groups: durable subscriptions, which outlive whoever reads for them.

A group has a lane for each topic and lane that its patterns match: a window of words in which its members settle
messages, and a cursor, the floor, that a gate of the ring names while anybody is a member. Without members the gate is
taken away and the lane stays: the ring keeps for it what it keeps anyway, and whoever comes next reads on there, and is
told what was dropped meanwhile.

    group.made          a segment that nobody knows                    removed by the next coordinator
    group.placed        a lane that no gate names yet                  what comes from there on is kept as retained
    group.joined        the member's entry is there, nobody reads      the next coordinator reaps it
    group.reaped        what a dead member held is given out again
    group.left          the gates of a group without members are gone
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shmbus import segment
from shmbus._core import MEMBERS, Bells, Group, killpoint
from shmbus.coordinator.gates import Gates
from shmbus.coordinator.post import Post
from shmbus.coordinator.refusal import NotFound
from shmbus.coordinator.registry import KEEPER, CursorRef, Durable, Page, Registry, Subscription, Topic
from shmbus.coordinator.sessions import Sessions
from shmbus.coordinator.store import Store
from shmbus.durable import unlike
from shmbus.errors import AccessDenied, DurableError, LimitError
from shmbus.start import LastPerKey, Resolved, after_kept, places
from shmbus.v1 import control_pb2 as wire
from shmbus.v1.control_pb2 import GroupAdded, ServerPacket, SessionRemoved

if TYPE_CHECKING:
    from shmbus.coordinator.registry import Generation

FIRST_LANES, MOST_LANES = 8, 512  # of a segment; each next one has twice as many


class Groups:
    """All durable subscriptions of the bus."""

    def __init__(
        self, store: Store, registry: Registry, sessions: Sessions, gates: Gates, post: Post, bells: Bells, *,
        capacity: int, producers: int,
    ) -> None:  # fmt: skip
        """`producers`: the largest producer id of any topic, and one."""
        self._store, self._registry, self._sessions, self._gates = store, registry, sessions, gates
        self._post, self._bells = post, bells
        self._capacity, self._producers = capacity, producers

    def join(self, subscription: Subscription, asked: wire.Durable) -> Durable:
        """The durable subscription of that name, made if there is none, with this member.

        Raises DurableError, AccessDenied, LimitError, StorageFull.
        """
        group = self._registry.durables.get(asked.name)
        if group is None:
            group = self._make(asked, subscription.client.uid, subscription.patterns)
        elif group.uid != subscription.client.uid and subscription.client.uid != 0:
            raise AccessDenied("read for", f"durable subscription {group.name}", subscription.client.who,
                               "It belongs to another user; choose another name.")  # fmt: skip
        elif not group.members:
            self._change(group, subscription, asked)
        else:
            _check_same(group, subscription, asked)
        member = group.numbers.take()
        if member is None:
            raise LimitError(f"members of '{group.name}'", MEMBERS, MEMBERS + 1, "Close one, or use another name.")
        group.members[member] = subscription
        subscription.durable, subscription.member = group, member
        for page in group.pages:
            self._enter(page, subscription)
        killpoint("group.joined")
        return group

    def provide(self, asked: wire.Durable, pattern: str) -> None:
        """One of the coordinator's own: what comes from here on is counted for it, whenever it joins."""
        group = self._registry.durables.get(asked.name)
        if group is None:
            group = self._make(asked, os.getuid(), (pattern,))
        for topic in self._registry.lanes():
            if group.wants(topic) and topic.key not in group.lanes:
                self.bind(topic, group, "earliest")

    def bind(self, topic: Topic, group: Durable, start: Resolved | None) -> CursorRef:
        """The group's lane of that topic; made, and placed at `start` (None: at the first message), if need be.

        A gate holds what it has not settled from now on, if it has members. Raises LimitError, StorageFull.
        """
        lane = group.lanes.get(topic.key)
        if lane is None:
            page = self._page_with_room(group)
            index = page.cursors.take()
            assert index is not None
            lane = group.lanes[topic.key] = CursorRef(page.number, index)
            page.session.bind_cursor(index, topic.number, topic.lane + 1)  # 0: not in use
            self._place(topic, group, lane, start)
            killpoint("group.placed")
        if self._holds(topic, group):
            self._hold(topic, group, lane)
        else:
            self._gates.clear(topic, group, lane)
        return lane

    def _holds(self, topic: Topic, group: Durable) -> bool:
        """Do the topic's publishers wait for it?"""
        if topic.key in group.demoted or topic.on_full == "shed":
            return False
        return any(self._gates.may_hold(one.client, topic.public) for one in group.members.values())

    def rejoin(self, subscription: Subscription) -> None:
        """A member that another coordinator had has come back, and may lack a segment."""
        assert subscription.durable is not None
        for page in subscription.durable.pages:
            self._enter(page, subscription)

    def bind_missing(self, topic: Topic) -> None:
        """A coordinator that was killed before it had bound them has not told anybody of the topic either."""
        for group in self._registry.durables_matching(topic):
            if topic.key not in group.lanes:
                self.bind(topic, group, "earliest" if group.name == KEEPER else "latest")

    def generations(self, topic: Topic, group: Durable) -> "list[Generation]":
        """Those that the group has still to read of a topic."""
        floor = self._page(group.lanes[topic.key].session).state(group.lanes[topic.key].place)[0]
        later = (place for place, one in enumerate(topic.generations) if one is topic.live or floor <= one.ring.tail)
        return topic.generations[next(later) :]

    def leave(self, subscription: Subscription) -> None:
        """What the member holds is given back; the last one takes the gates along."""
        group, subscription.durable = subscription.durable, None
        if group is None:
            return
        group.members.pop(subscription.member, None)
        self._reap(group, subscription.member)
        killpoint("group.reaped")
        for page in group.pages:
            self._of(page).clear_member(subscription.member)
        group.numbers.give_back(subscription.member)
        if not group.members:
            self._let_go(group)

    def follow(self, topic: Topic, successor: "Generation") -> None:
        """The topic goes on there: what is not settled is held there, too."""
        for group in self._registry.durables.values():
            if topic.key in group.lanes and group in topic.live.gate_of:
                self._gates.set(topic, successor, group, group.lanes[topic.key])

    def give_up(self, topic: Topic, generation: "Generation", following: "Generation") -> None:
        """A generation is going to be dropped: what nobody waited for is lost to those who have not settled it.

        Those who have settled all of it go on behind it, too: no member may be there to do that, and whoever comes
        finds the generation no more.
        """
        for group in self._registry.durables.values():
            lane = group.lanes.get(topic.key)
            if lane is not None:
                first = following.ring.first_sequence
                self._page(lane.session).give_up(lane.place, generation.ring.tail, first, generation.ring)
                self._bells.ring(topic.bell)  # a member that waited at the seal need not any more

    def hold(self, topic: Topic, generation: "Generation") -> bool:
        """Is something in it that a group has not settled, and that is kept for it?"""
        for group in self._registry.durables.values():
            if group in generation.gate_of:
                lane = group.lanes[topic.key]
                if self._page(lane.session).state(lane.place)[0] < generation.ring.tail:
                    return True
        return False

    def unjudged(self, topic: Topic, generations: "Sequence[Generation]") -> dict[int, str]:
        """Producer ids by whose numbers duplicates have still to be told in these generations, and for whom.

        In a successor they can be nobody else's until then: a group remembers one highest number of each id.
        """
        found: dict[int, str] = {}
        for group in self._registry.durables.values():
            if group.settings.exactly_once and topic.key in group.lanes:
                lane = group.lanes[topic.key]
                floor = self._page(lane.session).state(lane.place)[0]
                for generation in generations:
                    if floor < generation.ring.tail:
                        found.update(dict.fromkeys(generation.owners, group.name))
        return found

    def forget_producer(self, topic: Topic, producer: int) -> None:
        """The id is going to be somebody else's, whose numbers begin anew."""
        for group in self._registry.durables.values():
            if topic.key in group.lanes:
                lane = group.lanes[topic.key]
                self._page(lane.session).forget_producer(lane.place, producer, topic.live.ring)

    def adopted(self, record: wire.DurableRecord) -> Durable:
        """One that a dead coordinator made; its segments and lanes are the caller's to add."""
        group = Durable(record.durable, record.uid, MEMBERS)
        self._registry.add_durable(group, tuple(record.patterns))
        return group

    def entries(self, group: Durable) -> list[tuple[int, tuple[str, int, int, int, int, int]]]:
        """The members that its segment names: name, pid, start time, namespace, session, subscription."""
        found = [(member, self._of(group.pages[0]).member(member)) for member in range(MEMBERS)] if group.pages else []
        return [(member, entry) for member, entry in found if entry is not None]

    def bury_member(self, group: Durable, member: int) -> None:
        """A member of whom nothing else is known."""
        self._reap(group, member)
        for page in group.pages:
            self._of(page).clear_member(member)
        group.numbers.give_back(member)

    def let_go_if_empty(self) -> None:
        """Gates of those that have no members: the last one died with the coordinator."""
        for group in self._registry.durables.values():
            if not group.members:
                self._let_go(group)

    def expire(self, now_ns: int) -> None:
        """What members hold for longer than they may is given out again."""
        for group in self._registry.durables.values():
            if not group.settings.ack_deadline_ms or not group.members:
                continue
            for key, lane in group.lanes.items():
                page = self._page(lane.session)
                if page.expire(lane.place, now_ns, group.settings.ack_deadline_ms * 1_000_000):
                    self._bells.ring(self._registry.lane(*key).bell)

    def forget(self, name: str, uid: int) -> None:
        """End a durable subscription that nobody reads. Raises NotFound, AccessDenied, DurableError."""
        group = self._registry.durables.get(name)
        if group is None:
            known = ", ".join(sorted(self._registry.durables)) or "none"
            raise NotFound(f"there is no durable subscription '{name}'; there are: {known}")
        if uid not in (0, group.uid):
            raise AccessDenied("forget", f"durable subscription {name}", f"uid {uid}", "Only its owner and root may.")
        if group.members:
            raise DurableError(name, f"{len(group.members)} members read it", "Close them first.")
        self._registry.remove_durable(group)
        for page in group.pages:
            self._drop(page)

    def _reap(self, group: Durable, member: int) -> None:
        """What it held is given back; the others are woken for it, and publishers, as the floor may have moved, too."""
        for key, lane in group.lanes.items():
            topic = self._registry.lane(*key)
            self._page(lane.session).reap(lane.place, member, False, self.generations(topic, group)[0].ring)
            self._bells.ring(topic.bell)
            self._bells.ring_space(topic.bell)

    def _make(self, asked: wire.Durable, uid: int, patterns: tuple[str, ...]) -> Durable:
        if len(self._registry.durables) >= self._capacity:
            limit = self._capacity
            raise LimitError("durable subscriptions of the bus", limit, limit + 1, "Forget some, or raise "
                             "bus.max_durables.")  # fmt: skip
        group = Durable(asked, uid, MEMBERS)
        self._add_page(group, patterns)
        self._registry.add_durable(group, patterns)
        return group

    def _change(self, group: Durable, subscription: Subscription, asked: wire.Durable) -> None:
        """Nobody reads it: whoever comes now says how it goes on. What decides of the segment stays."""
        for field in ("window", "exactly_once"):
            if getattr(group.settings, field) != getattr(asked, field):
                raise DurableError(group.name, f"{field} is {getattr(group.settings, field)} since it was made",
                                   "Forget it first to change that.")  # fmt: skip
        group.settings = asked
        gone = self._registry.change_durable(group, subscription.patterns)
        for key in gone:
            lane = group.lanes.pop(key)
            page = self._registry.pages[lane.session]
            page.session.bind_cursor(lane.place, 0, 0)
            page.cursors.give_back(lane.place)
        self._record(group)

    def _record(self, group: Durable, first: int = 0) -> None:
        for number, page in enumerate(group.pages[first:], first):
            record = wire.DurableRecord(durable=group.settings, patterns=group.patterns, uid=group.uid, page=number)
            self._of(page).record = record.SerializeToString()

    def _add_page(self, group: Durable, patterns: Sequence[str]) -> Page:
        number, lanes = self._sessions.next_number(), min(FIRST_LANES << len(group.pages), MOST_LANES)
        window, rows = group.settings.window, self._producers
        producers = rows if group.settings.exactly_once else 0

        def initialise(descriptor: int) -> Group:
            return Group.create(
                descriptor, session=number, lanes=lanes, window=window, producers=producers, rows=rows, bell=0,
                boot_id=self._store.boot_id,
            )  # fmt: skip

        made, its = self._store.make(
            segment.group_name(self._store.bus, number),
            Group.layout(lanes, window, producers, self._producers),
            initialise,
        )
        page = Page(number, made, its)
        group.patterns = tuple(patterns)
        group.pages.append(page)
        self._registry.pages[number] = page
        self._record(group, len(group.pages) - 1)
        for subscription in group.members.values():
            self._enter(page, subscription)
        killpoint("group.made")
        return page

    def _enter(self, page: Page, subscription: Subscription) -> None:
        client = subscription.client
        identity = client.identity
        self._of(page).set_member(
            subscription.member, client.name, identity.pid or -1, identity.start_time, identity.namespace,
            client.number, subscription.number,
        )  # fmt: skip
        added = ServerPacket(group_added=GroupAdded(group=page.number))
        self._post.push(client, added, [page.segment.open_writable])

    def _page_with_room(self, group: Durable) -> Page:
        for page in group.pages:
            if page.cursors.used < page.cursors.capacity:
                return page
        return self._add_page(group, group.patterns)

    def _place(self, topic: Topic, group: Durable, lane: CursorRef, start: Resolved | None) -> None:
        page = self._page(lane.session)
        if start is None:
            return page.place(lane.place, topic.live.ring.first_sequence, topic.live.ring)
        # Held at the head first, and only then looked at, so that nobody drops what is found.
        page.set_position(lane.place, 0)
        for generation in topic.generations:
            self._gates.set(topic, generation, group, lane)
        rings = [generation.ring for generation in topic.generations]
        if isinstance(start, LastPerKey):
            start = after_kept(topic.kept.writer.folded[topic.lane] if topic.kept else None)
        found = zip(rings, places(start, rings), strict=True)
        begin, ring = next(((place, ring) for ring, place in found if place < ring.tail), (rings[-1].tail, rings[-1]))
        page.place(lane.place, begin, ring)

    def _hold(self, topic: Topic, group: Durable, lane: CursorRef) -> None:
        for generation in self.generations(topic, group):
            if group in generation.gate_of:
                self._gates.renew(generation, group, lane)
            else:
                self._gates.set(topic, generation, group, lane)

    def _let_go(self, group: Durable) -> None:
        group.demoted.clear()
        for key, lane in group.lanes.items():
            self._gates.clear(self._registry.lane(*key), group, lane)
        killpoint("group.left")

    def _drop(self, page: Page) -> None:
        removed = ServerPacket(session_removed=SessionRemoved(session=page.number))
        for client in self._registry.clients.values():
            if page.number in client.sessions_known:
                client.sessions_known.discard(page.number)
                self._post.push(client, removed)
        del self._registry.pages[page.number]
        page.session.close()
        self._store.give_up(page.segment)

    def _page(self, number: int) -> Group:
        return self._of(self._registry.pages[number])

    @staticmethod
    def _of(page: Page) -> Group:
        assert isinstance(page.session, Group)
        return page.session


def _check_same(group: Durable, subscription: Subscription, asked: wire.Durable) -> None:
    """All members of a group want the same, or it would be anybody's guess what it does."""
    if set(group.patterns) != set(subscription.patterns):
        theirs = ", ".join(group.patterns)
        raise DurableError(
            group.name, f"it is being read with other patterns: {theirs}", "Use the same, or another name."
        )
    if (reason := unlike(group.settings, asked)) is not None:
        raise DurableError(group.name, reason, "Use the same, or another name.")
