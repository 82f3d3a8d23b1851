"""Who is there and what is there: clients, their sessions and subscriptions, topics and their generations.

Plain records and the questions that are asked about them; no clock and no I/O. Everything that a client holds hangs
from its Client, so that its death is one walk.
"""

from typing import NamedTuple

from shmbus._core import Ring, Session
from shmbus.bearer import KnownToken
from shmbus.coordinator.repair import ClaimWatch
from shmbus.coordinator.stalls import StallWatch
from shmbus.coordinator.store import Segment
from shmbus.coordinator.tables import NumberTable, ProducerTable
from shmbus.principal import ring_name
from shmbus.process import Identity
from shmbus.state import StateWriter
from shmbus.topic import PatternTrie, is_pattern, matches
from shmbus.v1 import control_pb2 as wire

NORMAL_LANE, URGENT_LANE = 0, 1
KEEPER = "_keeper"  # the durable subscription that reads what is kept
LANE_SHIFT = 31  # cursors tell their topic and, in the highest bit, its lane

TopicLane = tuple[int, int]  # a topic's number, a lane


class CursorRef(NamedTuple):
    """Where a cursor stands."""

    session: int
    place: int


class Page:
    """One session segment of a client: the first, or an extension for more cursors."""

    __slots__ = ("number", "segment", "session", "cursors")

    def __init__(self, number: int, segment: Segment, session: Session) -> None:
        self.number, self.segment, self.session = number, segment, session
        self.cursors = NumberTable(session.capacity)


class Client:
    """One connection. Its number is that of its first session page."""

    __slots__ = (
        "number", "name", "identity", "uid", "gid", "groups", "bell", "pages", "producers", "subscriptions",
        "sessions_known", "alive", "collector", "token", "principal", "connected_ns",
    )  # fmt: skip

    def __init__(self, number: int, name: str, identity: Identity, uid: int, gid: int) -> None:
        self.number, self.name, self.identity, self.uid, self.gid = number, name, identity, uid, gid
        self.groups: tuple[int, ...] = ()
        self.collector: str | None = None  # the supervised collector that this is
        self.token: KnownToken | None = None  # that it has presented
        self.principal: str | None = None  # whose rings it writes to; None: it has not come back to this coordinator
        self.connected_ns = 0  # Unix time
        self.bell = 0
        self.pages: list[Page] = []
        self.producers: dict[TopicLane, set[int]] = {}
        self.subscriptions: dict[int, Subscription] = {}
        self.sessions_known: set[int] = set()
        self.alive = True  # False: its process is dead; it may also just have hung up

    @property
    def pid(self) -> int:
        """Of its process; 0: it is of a pid namespace that cannot be seen from here."""
        return self.identity.pid

    @property
    def has_left(self) -> bool:
        """It has closed its connection, as its own pages say."""
        return any(page.session.left for page in self.pages)

    @property
    def who(self) -> str:
        """For messages: name, pid and uid, and the name of its token."""
        token = f", token {self.token.name}" if self.token else ""
        return f"{self.name!r} (pid {self.identity.pid}, uid {self.uid}{token})"


class Subscription:
    """One Subscribe of one client. There may be ten thousand of them: keep it small."""

    __slots__ = ("client", "number", "patterns", "lossless", "earliest", "type_name", "durable", "member")

    def __init__(
        self, client: Client, number: int, patterns: tuple[str, ...], *, lossless: bool, earliest: bool,
        type_name: str = "",
    ) -> None:  # fmt: skip
        self.client, self.number, self.patterns = client, number, patterns
        self.lossless, self.earliest = lossless, earliest
        self.type_name = type_name
        self.durable: Durable | None = None  # that it reads for, as this member
        self.member = 0


class Durable:
    """A durable subscription: a group that has members, or waits for some."""

    __slots__ = ("settings", "uid", "patterns", "pages", "lanes", "members", "numbers", "demoted")

    earliest = False  # its place is known: see Gates

    def __init__(self, settings: wire.Durable, uid: int, members: int) -> None:
        self.settings, self.uid = settings, uid
        self.patterns: tuple[str, ...] = ()
        self.pages: list[Page] = []
        self.lanes: dict[TopicLane, CursorRef] = {}
        self.members: dict[int, Subscription] = {}
        self.numbers = NumberTable(members)
        self.demoted: set[TopicLane] = set()  # where it held a full topic up for too long

    @property
    def name(self) -> str:
        """By what it is known."""
        return str(self.settings.name)

    def wants(self, topic: "Topic") -> bool:
        """Of what its patterns match. The keeper's matches everything, and wants what is kept."""
        return topic.kept is not None or self.name != KEEPER


Holder = Subscription | Durable  # of a gate


class Kept(NamedTuple):
    """The last message of each key of a topic."""

    segment: Segment
    writer: StateWriter


class Generation:
    """One ring segment of a topic."""

    __slots__ = (
        "number", "segment", "ring", "producers", "owners", "gates", "gate_of", "gating", "watch", "sealed",
        "seen_tail", "seen_clean", "stalls",
    )  # fmt: skip

    def __init__(self, number: int, segment: Segment, ring: Ring, watch: ClaimWatch) -> None:
        self.number, self.segment, self.ring, self.watch = number, segment, ring, watch
        self.producers = ProducerTable(ring.producer_capacity)
        self.owners: dict[int, Client] = {}  # of producer ids, kept until the id is free again
        self.gates = NumberTable(ring.gate_capacity)
        self.gate_of: dict[Holder, int] = {}
        self.gating: dict[int, int] = {}  # session page -> how many gates name it
        self.stalls = StallWatch()
        self.sealed = False
        self.seen_tail, self.seen_clean = 0, False  # at the last sweep; clean: no claim was open then


class Topic:
    """One lane of a topic, and its generations, oldest first; the last one is written to.

    The normal lane stands for the topic; the urgent one, if there is any, hangs from it. The ring of a principal is a
    topic of its own, which is subscribed to by the `public` name.
    """

    __slots__ = (
        "number", "name", "public", "principal", "type_name", "fingerprint", "bell", "generations", "bindings",
        "on_full", "block_timeout_ns", "max_stall_ns", "lane", "urgent", "kept",
    )  # fmt: skip

    def __init__(self, number: int, name: str, bell: int, lane: int = NORMAL_LANE) -> None:
        self.number, self.name, self.bell, self.lane = number, name, bell, lane
        self.public, self.principal, _ = ring_name(name)
        self.urgent: Topic | None = None
        self.kept: Kept | None = None  # of both lanes
        self.type_name, self.fingerprint = "", b""
        self.on_full, self.block_timeout_ns, self.max_stall_ns = "block", 0, 0
        self.generations: list[Generation] = []
        self.bindings: dict[Subscription, CursorRef] = {}

    @property
    def key(self) -> TopicLane:
        """By what clients name it."""
        return self.number, self.lane

    @property
    def lanes(self) -> "tuple[Topic, ...]":
        """Its lanes, the normal one first."""
        return (self,) if self.urgent is None else (self, self.urgent)

    @property
    def live(self) -> Generation:
        """The generation that is written to."""
        return self.generations[-1]

    def publishers(self) -> dict[Client, set[int]]:
        """Who writes to it, with which producer ids."""
        found: dict[Client, set[int]] = {}
        for producer in self.live.producers.active:
            found.setdefault(self.live.owners[producer], set()).add(producer)
        return found


class Registry:
    """All of it."""

    def __init__(self) -> None:
        self.clients: dict[int, Client] = {}
        self.pages: dict[int, Page] = {}
        self.topics: dict[str, Topic] = {}
        self._lanes: dict[TopicLane, Topic] = {}
        self._rings: dict[str, list[Topic]] = {}  # by the public name: one, or one of each principal
        self.durables: dict[str, Durable] = {}
        self._patterns: PatternTrie[Subscription] = PatternTrie()
        self._durable_patterns: PatternTrie[Durable] = PatternTrie()
        self._texts: dict[str, str] = {}  # one string object for a pattern, however many subscribe with it

    def sessions_gating(self, generation: Generation) -> list[Session]:
        """The pages whose cursors hold this ring."""
        return [self.pages[number].session for number in generation.gating]

    def add_topic(self, topic: Topic) -> None:
        """It exists from now on."""
        self.topics[topic.name] = topic
        self._rings.setdefault(topic.public, []).append(topic)
        self._lanes[topic.key] = topic

    def add_urgent(self, topic: Topic, urgent: Topic) -> None:
        """The topic has an urgent lane from now on."""
        topic.urgent, urgent.kept = urgent, topic.kept
        self._lanes[urgent.key] = urgent

    def lanes(self) -> list[Topic]:
        """Every lane of every topic."""
        return list(self._lanes.values())

    def lane(self, number: int, lane: int) -> Topic:
        """One of them. Raises KeyError."""
        return self._lanes[number, lane]

    def find_lane(self, number: int, lane: int) -> Topic | None:
        """The same, None where there is none."""
        return self._lanes.get((number, lane))

    def add_subscription(self, subscription: Subscription) -> None:
        """It is told of topics from now on."""
        shared = tuple(self._texts.setdefault(pattern, pattern) for pattern in subscription.patterns)
        subscription.patterns = shared
        subscription.client.subscriptions[subscription.number] = subscription
        for pattern in shared:
            self._patterns.insert(pattern, subscription)

    def add_durable(self, durable: Durable, patterns: tuple[str, ...]) -> None:
        """It gets topics from now on."""
        self.durables[durable.name] = durable
        durable.patterns = patterns
        for pattern in patterns:
            self._durable_patterns.insert(pattern, durable)

    def change_durable(self, durable: Durable, patterns: tuple[str, ...]) -> list[TopicLane]:
        """It has other patterns from now on; the lanes of topics that it does not match any more."""
        for pattern in durable.patterns:
            self._durable_patterns.remove(pattern, durable)
        self.add_durable(durable, patterns)
        return [
            key for key in durable.lanes
            if not any(matches(pattern, self._lanes[key].public) for pattern in patterns)
        ]  # fmt: skip

    def remove_durable(self, durable: Durable) -> None:
        """Forget it."""
        del self.durables[durable.name]
        for pattern in durable.patterns:
            self._durable_patterns.remove(pattern, durable)

    def durables_matching(self, topic: Topic) -> list[Durable]:
        """The durable subscriptions that a topic belongs to."""
        return [one for one in self._durable_patterns.best(topic.public) if one.wants(topic)]

    def matching(self, topic: str) -> dict[Subscription, str]:
        """The subscriptions that match a public name, each with the most specific of its patterns that do."""
        return self._patterns.best(topic)

    def topics_matching(self, patterns: tuple[str, ...]) -> list[Topic]:
        """The lanes of the topics that at least one of the patterns matches."""
        if not any(is_pattern(pattern) for pattern in patterns):
            found = [one for name in dict.fromkeys(patterns) for one in self._rings.get(name, ())]
        else:
            found = [one for one in self.topics.values() if any(matches(pattern, one.public) for pattern in patterns)]
        return [lane for topic in found for lane in topic.lanes]

    def remove_subscription(self, subscription: Subscription) -> list[tuple[Topic, CursorRef]]:
        """Forget it; the cursors that it held."""
        del subscription.client.subscriptions[subscription.number]
        for pattern in subscription.patterns:
            self._patterns.remove(pattern, subscription)
        return [
            (topic, topic.bindings.pop(subscription))
            for topic in self._lanes.values()
            if subscription in topic.bindings
        ]
