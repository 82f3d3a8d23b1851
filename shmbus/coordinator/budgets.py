"""The hands of spending.py: measures what clients with budgets publish, tells of who is above his, and ends that.

Measured is what stands in the ring: the number of each producer's last message, and the messages and bytes in the slots
that are still there. A durable publisher chooses its numbers, so of it only the slots count, and not those that the
ring has gone past in the meantime. Whoever may publish to a topic holds its memory, and can write there under another
producer's id: of the topic's publishers one can be measured wrongly by another.

Revoking is done by the kernel: the topic goes on in a ring that everybody gets but that client. It is told so, and may
publish there again as another process.

shutout.told        it knows, and still has the ring: the next coordinator measures it anew
"""

from collections.abc import Mapping
from typing import NamedTuple

from shmbus._core import Ring, killpoint
from shmbus.coordinator.access import Decision
from shmbus.coordinator.audit import Audit
from shmbus.coordinator.explain import as_wire
from shmbus.coordinator.health import Health
from shmbus.coordinator.journal import Warn
from shmbus.coordinator.post import Log, Post
from shmbus.coordinator.registry import Client, Generation, Registry, Topic
from shmbus.coordinator.settings import Budget
from shmbus.coordinator.spending import Judgement, Spending
from shmbus.coordinator.topics import Topics
from shmbus.errors import AccessDenied, LimitError, SegmentError, StorageFull
from shmbus.process import Identity
from shmbus.v1.control_pb2 import BudgetSet, PublisherRevoked, ServerPacket

REVOKED = 4096  # processes and topics that are remembered
Shares = Mapping[int, tuple[int, int, int]]  # by producer: messages, bytes, the largest message


class _Published(NamedTuple):
    messages: int
    size: int
    largest: int


class _Account:
    """One client and one topic."""

    __slots__ = ("client", "topic", "spending", "numbers", "earlier")

    def __init__(self, client: Client, topic: Topic, spending: Spending) -> None:
        self.client, self.topic, self.spending = client, topic, spending
        self.numbers: dict[tuple[int, int], int] = {}  # by lane and producer, at the last look
        self.earlier: dict[Generation, Shares] = {}  # what is in the next tally, and was there before the account


class Budgets:
    """All of a bus."""

    def __init__(
        self, registry: Registry, topics: Topics, post: Post, health: Health, audit: Audit, grace_ns: int, log: Log
    ) -> None:
        self._registry, self._topics, self._post = registry, topics, post
        self._health, self._audit, self._log = health, audit, log
        self.grace_ns = grace_ns
        self._accounts: dict[tuple[int, str], _Account] = {}
        self._looked: dict[Generation, int] = {}  # up to which sequence
        self._revoked: dict[tuple[Identity, str], None] = {}
        self._to_move: list[Topic] = []  # lanes that a revoked client still has

    def check(self, client: Client, topic: str) -> None:
        """Raises AccessDenied for a process whose publishing there was ended."""
        if (client.identity, topic) in self._revoked:
            self._audit.decided(client, "publish to", topic, Decision(False, "it was above its budget"))
            raise AccessDenied("publish to", topic, client.who, _REMEDY)

    def opened(self, client: Client, topic: Topic, budget: Budget | None, now_ns: int) -> Budget | None:
        """The client has one more publisher of the topic. Its budget: as long as there are others, it is theirs."""
        known = self._accounts.get((client.number, topic.name))
        others = sum(len(client.producers.get(lane.key, ())) for lane in topic.lanes) > 1
        if others:
            budget = known.spending.budget if known is not None and known.client is client else None
        self._begin(client, topic, budget, now_ns)
        return budget

    def resumed(self, client: Client, topic: Topic, budget: Budget | None, now_ns: int) -> None:
        """The client had publishers of the topic under another coordinator: by that budget they go from now on."""
        told = BudgetSet(topic_id=topic.number, budget=None if budget is None else as_wire(budget))
        self._post.push(client, ServerPacket(budget_set=told))
        self._begin(client, topic, budget, now_ns)

    def _begin(self, client: Client, topic: Topic, budget: Budget | None, now_ns: int) -> None:
        key = client.number, topic.name
        account = self._accounts.get(key)
        if budget is None:
            self._accounts.pop(key, None)
            return
        if account is None or account.client is not client or account.spending.budget != budget:
            account = self._accounts[key] = _Account(client, topic, Spending(budget, self.grace_ns, now_ns))
            account.earlier = {
                one: one.ring.tally(self._looked[one])[1]
                for lane in topic.lanes for one in lane.generations if one in self._looked
            }  # fmt: skip
        for lane, producer in _producers(account):
            account.numbers.setdefault((lane.lane, producer), _number(account, lane, producer))
            self._looked.setdefault(lane.live, lane.live.ring.tail)

    def look(self, now_ns: int) -> None:
        """Measure everybody."""
        self._move_on()
        tallies = self._tally()
        for key, account in list(self._accounts.items()):
            if self._registry.clients.get(account.client.number) is not account.client:
                del self._accounts[key]
                continue
            published = _measure(account, tallies)
            judgement = account.spending.judge(now_ns, *published)
            if judgement is Judgement.OVER:
                self._tell(account, published)
            elif judgement is Judgement.REVOKE:
                del self._accounts[key]
                self._revoke(account, published, (now_ns - (account.spending.over_since_ns or now_ns)) / 1e9)

    def _tally(self) -> dict[Generation, Shares]:
        """What was published since the last look, to topics of which somebody is measured."""
        topics = {account.topic.name: account.topic for account in self._accounts.values()}
        rings = [one for topic in topics.values() for lane in topic.lanes for one in lane.generations]
        tallies: dict[Generation, Shares] = {}
        looked = {}
        for generation in rings:
            start = self._looked.get(generation, generation.ring.first_sequence)
            looked[generation], tallies[generation] = generation.ring.tally(start)
        self._looked = looked
        return tallies

    def _tell(self, account: _Account, published: _Published) -> None:
        who, name = account.client.who, account.topic.name
        text = (
            f"{who} is above its budget for '{name}' ({_text(account.spending.budget)}): {published.messages} messages "
            f"and {published.size} bytes since the last look"
        )
        self._log(Warn(text))
        self._health.alert("publisher above its budget", text, (name, account.client.name))
        self._audit.done(account.client, "exceed the budget for", name, _text(account.spending.budget))

    def _revoke(self, account: _Account, published: _Published, seconds: float) -> None:
        client, topic, budget = account.client, account.topic, _text(account.spending.budget)
        reason = f"It was above its budget of {budget} for {seconds:.1f} s. {_REMEDY}"
        self._remember(client.identity, topic.name)
        revoked = PublisherRevoked(topic_id=topic.number, topic=topic.name, reason=reason)
        self._post.push(client, ServerPacket(publisher_revoked=revoked))
        killpoint("shutout.told")
        for lane in topic.lanes:
            producers = list(client.producers.get(lane.key, ()))
            for producer in producers:
                self._topics.close(lane, client, producer)
            if producers:
                self._to_move.append(lane)
        text = f"{client.who} was above its budget for '{topic.name}' for {seconds:.1f} s: it publishes there no more"
        self._log(Warn(text))
        self._health.alert("publisher revoked", text, (topic.name, client.name))
        self._audit.done(client, "revoke publishing to", topic.name, f"above the budget of {budget}")
        self._move_on()

    def _move_on(self) -> None:
        """What cannot be moved now, for want of room say, is at the next look."""
        waiting, self._to_move = self._to_move, []
        for lane in waiting:
            try:
                self._topics.continue_elsewhere(lane)
            except (LimitError, StorageFull, SegmentError, OSError) as error:
                self._to_move.append(lane)
                self._log(Warn(f"a revoked publisher of '{lane.name}' still has its ring: {error}"))

    def _remember(self, process: Identity, topic: str) -> None:
        while len(self._revoked) >= REVOKED:
            del self._revoked[next(iter(self._revoked))]
        self._revoked[process, topic] = None


_REMEDY = "Raise the budget in [[access.publish]], then start that process anew."


def _producers(account: _Account) -> list[tuple[Topic, int]]:
    """The ids that the client has, or had a moment ago, in any generation."""
    return [
        (lane, producer)
        for lane in account.topic.lanes
        for producer in sorted({
            one for generation in lane.generations for one, owner in generation.owners.items()
            if owner is account.client
        })
    ]  # fmt: skip


def _rings(account: _Account, lane: Topic, producer: int) -> list[Ring]:
    return [one.ring for one in lane.generations if one.owners.get(producer) is account.client]


def _number(account: _Account, lane: Topic, producer: int) -> int:
    """Of its last message: numbers go on from generation to generation."""
    return max((ring.numbers(producer)[0] for ring in _rings(account, lane, producer)), default=0)


def _measure(account: _Account, tallies: Mapping[Generation, Shares]) -> _Published:
    """What it has published since the last time."""
    messages = size = largest = 0
    seen, account.numbers = account.numbers, {}
    earlier, account.earlier = account.earlier, {}
    for lane, producer in _producers(account):
        shares = [
            tallies[one].get(producer, (0, 0, 0)) for one in lane.generations
            if one in tallies and one.owners.get(producer) is account.client
        ]  # fmt: skip
        before = [one.get(producer, (0, 0, 0)) for generation, one in earlier.items() if generation in lane.generations]
        counted, counted_size = (
            sum(one[place] for one in shares) - sum(one[place] for one in before) for place in (0, 1)
        )
        largest = max([largest, *(share[2] for share in shares)])
        number = account.numbers[lane.lane, producer] = _number(account, lane, producer)
        last = seen.get((lane.lane, producer), 0)
        grown = number - last if number >= last else number  # the id is another publisher's by now
        durable = any(ring.numbers(producer)[2] for ring in _rings(account, lane, producer))
        most = max(counted, 0 if durable else grown, 0)
        messages += most
        size += counted_size * most // counted if counted > 0 else 0
    return _Published(messages, size, largest)


def _text(budget: Budget) -> str:
    limits = []
    if budget.messages_per_second:
        limits.append(f"{budget.messages_per_second} messages/s")
    if budget.bytes_per_second:
        limits.append(f"{budget.bytes_per_second} bytes/s")
    return " and ".join(limits)
