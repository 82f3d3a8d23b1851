"""What clients ask for, one method a request. Whatever is raised here is the answer."""

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message

from shmbus._core import MAX_TRIES, MAX_WINDOW, killpoint
from shmbus.control import NeedDescriptors
from shmbus.coordinator.access import Access, Decision, Person, Subject, operation_name
from shmbus.coordinator.budgets import Budgets
from shmbus.coordinator.explain import as_wire, explain, told
from shmbus.coordinator.groups import Groups
from shmbus.coordinator.joins import Joins
from shmbus.coordinator.listing import Listing
from shmbus.coordinator.outbox import Opener
from shmbus.coordinator.plan import Planner
from shmbus.coordinator.refusal import NotFound
from shmbus.coordinator.registry import KEEPER, URGENT_LANE, Client, Kept, Registry, Subscription, Topic
from shmbus.coordinator.rings import RingPlan, plan_of
from shmbus.coordinator.settings import TopicPlan, limited
from shmbus.coordinator.sweep import Sweep
from shmbus.coordinator.topics import Topics
from shmbus.coordinator.types import differences, parse_descriptors
from shmbus.errors import AccessDenied, DurableError, LimitError, ProtocolError, TypeMismatch
from shmbus.principal import RingName, ring_name, ring_of
from shmbus.start import LastPerKey, resolved
from shmbus.topic import CALL_REQUESTS, CALL_RESPONSES, check_pattern, check_topic, matches
from shmbus.v1 import control_pb2 as wire
from shmbus.v1.control_pb2 import (
    AuthorizeCall,
    CallAuthorized,
    ClosePublisher,
    Done,
    Durable,
    ExplainAccess,
    ForgetDurable,
    GetKept,
    OpenPublisher,
    PublisherOpened,
    ReportStuck,
    Resize,
    Resume,
    SetLimits,
    Subscribe,
    Subscribed,
    TopicLimits,
    TopicType,
    Unsubscribe,
)

FORGED = "no ring of its own"
MAX_PATTERNS = 64  # of one subscription
MAX_MESSAGE_BYTES = (2**18 - 1) * 64  # of a frame: 18 bits count its units of 64 bytes
MAX_SUBSCRIPTIONS = 100_000  # of one client

Answer = tuple[Message, Sequence[Opener]]

_DURABLE_NAME = re.compile(r"[a-z0-9_-]{1,64}")


class Requests:
    """Answers the requests about topics and subscriptions."""

    def __init__(
        self, registry: Registry, topics: Topics, joins: Joins, groups: Groups, sweep: Sweep, access: Access,
        budgets: Budgets, planner: Planner, listing: Listing, look_at: Callable[[Topic, int], None],
    ) -> None:  # fmt: skip
        self._registry, self._topics, self._joins, self._groups, self._sweep = registry, topics, joins, groups, sweep
        self._access, self._budgets = access, budgets
        self._planner, self._listing, self._look_at = planner, listing, look_at
        self.on_kept: Callable[[], None] = lambda: None  # before a topic is made that keeps last messages
        self.handlers: dict[str, Callable[[Client, Any], Answer]] = {
            "open_publisher": self.open_publisher,
            "close_publisher": self.close_publisher,
            "subscribe": self.subscribe,
            "unsubscribe": self.unsubscribe,
            "forget_durable": self.forget_durable,
            "resume": self.resume,
            "report_stuck": self.report_stuck,
            "resize": self.resize,
            "set_limits": self.set_limits,
            "get_kept": self.get_kept,
            "authorize_call": self.authorize_call,
            "explain_access": self.explain_access,
        }

    def open_publisher(self, client: Client, request: OpenPublisher) -> Answer:
        """A producer id in the topic's ring; the topic is made if there is none."""
        asked = check_topic(request.topic)
        name = check_topic(ring_of(asked, self._principal(client)))
        self._budgets.check(client, name)
        budget = self._access.check_publish(client, asked)
        topic = self._registry.topics.get(asked)
        created = topic is None
        if topic is None:
            topic = self.make_topic(asked, request.type, self._planner.plan(asked, request.limits))
        else:
            self._check_type(topic, request.type)
        if request.only_make:
            return Done(), ()
        if name != asked:
            topic = self._registry.topics.get(name) or self._make_ring(name, topic, request.limits)
        if request.lane == URGENT_LANE:
            plan = replace(self._planner.plan(asked), ring=plan_of(topic.live.ring))
            topic = topic.urgent or self._topics.add_urgent(topic, plan)
        elif request.lane:
            raise ProtocolError(client.who, f"lane {request.lane} of topic '{name}': there are 0 and {URGENT_LANE}")
        name = request.producer_name or client.name
        producer, last = self._topics.open(topic, client, name, durable=request.durable)
        budget = self._budgets.opened(client, self._registry.topics[topic.name], budget, time.monotonic_ns())
        killpoint("publisher.entered")
        generation = topic.live
        opened = PublisherOpened(
            topic_id=topic.number,
            lane=topic.lane,
            generation=generation.number,
            bell=topic.bell,
            producer=producer,
            created=created,
            gating_sessions=sorted(generation.gating),
            on_full=topic.on_full,
            block_timeout_ms=topic.block_timeout_ns // 1_000_000,
            last_number=last,
            budget=None if budget is None else as_wire(budget),
        )
        for session in generation.gating:
            self._joins.gates.introduce(client, session)
        return opened, [generation.segment.open_writable]

    def make_topic(self, name: str, kind: TopicType, plan: TopicPlan) -> Topic:
        """A new topic of that type. The descriptors must come with the first use of a type."""
        if plan.keep_last:
            self.on_kept()
        if kind.name and not self._listing.has_type(kind.fingerprint):
            if not kind.descriptors:
                raise NeedDescriptors(f"topic '{name}' is new, and so is {kind.name}: send its descriptors")
            parse_descriptors(kind.descriptors, kind.name)
            self._listing.add_type(kind.fingerprint, kind.descriptors)
        return self._topics.make(name, kind.name, kind.fingerprint or bytes(32), plan)

    def _principal(self, client: Client) -> str:
        return self._access.principal(client) if client.principal is None else client.principal

    def _make_ring(self, name: str, beside: Topic, limits: TopicLimits) -> Topic:
        """Of one principal; as large as its topic's own ring where nothing else is asked for."""
        plan = self._planner.plan(beside.public, limits)
        if not limits.ListFields():
            plan = replace(plan, ring=plan_of(beside.live.ring))
        return self._topics.make(name, beside.type_name, beside.fingerprint, replace(plan, keep_last=0))

    def close_publisher(self, client: Client, request: ClosePublisher) -> Answer:
        """The id is given back when the ring has moved on."""
        key = request.topic_id, request.lane
        if request.producer not in client.producers.get(key, ()):
            raise NotFound(f"{client.who} has no producer {request.producer} in topic {request.topic_id}: open one")
        self._topics.close(self._registry.lane(*key), client, request.producer)
        killpoint("publisher.left")
        return Done(), ()

    def subscribe(self, client: Client, request: Subscribe) -> Answer:
        """Every topic that matches now is told before the answer, every other one when it is made."""
        subscription = self._checked_subscription(client, request)
        for name in subscription.patterns:
            if topic := self._registry.topics.get(name):
                self._check_type(topic, request.type)
                if request.start.last_per_key:
                    kept_of(topic)
        durable = checked_durable(request.durable, subscription.patterns) if request.HasField("durable") else None
        if durable is not None and (known := self._registry.durables.get(durable.name)) is not None:
            thing, remedy = f"durable subscription {durable.name}", "It belongs to another user; choose another name."
            self._access.check_owner(client, "read for", thing, known.uid, remedy)
        if durable is not None and durable.name == KEEPER and client.identity.pid != os.getpid():
            raise DurableError(KEEPER, "the coordinator reads under this name", "Use another name.")
        is_new = durable is not None and durable.name not in self._registry.durables
        self._registry.add_subscription(subscription)
        try:
            if durable is not None:
                self._groups.join(subscription, durable)
            start = resolved(request.start)
            kept = isinstance(start, LastPerKey) and (durable is None or is_new)
            rings = self._joins.subscribe(subscription, start, kept=kept)
        except BaseException:
            self._joins.leave(subscription)
            if is_new and durable is not None and durable.name in self._registry.durables:
                self._groups.forget(durable.name, 0)
            raise
        killpoint("subscribe.done")
        return Subscribed(rings=rings), ()

    def unsubscribe(self, client: Client, request: Unsubscribe) -> Answer:
        """Its gates and cursors are free."""
        subscription = client.subscriptions.get(request.subscription)
        if subscription is None:
            raise NotFound(f"{client.who} has no subscription {request.subscription}: subscribe anew")
        self._joins.leave(subscription)
        killpoint("unsubscribe.done")
        return Done(), ()

    def resume(self, client: Client, request: Resume) -> Answer:
        """A client that another coordinator had says what it has: what it lacks is told, the rest is closed."""
        held = {(one.topic_id, one.lane, one.producer): one.generation for one in request.publishers}
        for key, producers in client.producers.items():
            topic = self._registry.lane(*key)
            for producer in list(producers):
                if (*key, producer) not in held:
                    self._topics.close(topic, client, producer)
        for topic_id, lane, producer in held:
            if producer in client.producers.get((topic_id, lane), ()):
                topic = self._registry.lane(topic_id, lane)
                self._topics.resume(topic, client, held[topic_id, lane, producer])
                budget = self._access.publish(client, topic.public).budget
                self._budgets.resumed(client, self._registry.topics[topic.name], budget, time.monotonic_ns())
        named = {one.subscription: one for one in request.subscriptions}
        for number, subscription in list(client.subscriptions.items()):
            if number not in named:
                self._joins.leave(subscription)
        for one in named.values():
            self._resume_subscription(client, one)
        killpoint("resume.done")
        return Done(), ()

    def _resume_subscription(self, client: Client, request: Subscribe) -> None:
        known = client.subscriptions.pop(request.subscription, None)
        if known is None and request.established and not request.HasField("durable"):
            known = self._checked_subscription(client, request)  # no topic had come yet, so no cursor tells of it
            known.earliest = False
            self._registry.add_subscription(known)
            self._joins.resume(known)
            return
        if known is None:  # it was being made when the coordinator died
            self.subscribe(client, request)
            return
        try:
            subscription = self._checked_subscription(client, request)
        except BaseException:
            client.subscriptions[known.number] = known
            self._joins.leave(known)
            raise
        known.patterns, known.lossless, known.earliest = subscription.patterns, subscription.lossless, False
        known.type_name = subscription.type_name
        self._registry.add_subscription(known)
        if known.durable is not None:
            self._groups.rejoin(known)
        self._joins.resume(known)

    def forget_durable(self, client: Client, request: ForgetDurable) -> Answer:
        """Nothing is remembered for that name any more."""
        if (durable := self._registry.durables.get(request.name)) is not None:
            thing, remedy = f"durable subscription {request.name}", "Only its owner and root may."
            self._access.check_owner(client, "forget", thing, durable.uid, remedy)
        self._groups.forget(request.name, client.uid)
        return Done(), ()

    def report_stuck(self, client: Client, request: ReportStuck) -> Answer:
        """Judge the claims of that topic now, and again when one of them is overdue."""
        topic = self._lane(request.topic_id, request.lane)
        now = time.monotonic_ns()
        for generation in topic.generations:
            full = request.full and topic.key in client.producers
            again = self._sweep.look(topic, generation, now, asked=True, in_the_way=full)
            if again is not None:
                self._look_at(topic, again)
        return Done(), ()

    def resize(self, client: Client, request: Resize) -> Answer:
        """The topic goes on in a ring of another size."""
        topic = self._named(request.topic)
        self._check_change(client, topic, "resize")
        self._topics.continue_elsewhere(topic, plan_of(topic.live.ring).resized(request.slots, request.arena_bytes))
        return Done(), ()

    def set_limits(self, client: Client, request: SetLimits) -> Answer:
        """Change what is set, in the running ring."""
        topic = self._named(request.topic)
        self._check_change(client, topic, "set limits of")
        plan = limited(plan_of(topic.live.ring), request.limits)
        check_room(topic.name, plan)
        self._set_limits(topic, plan)
        return Done(), ()

    def _check_change(self, client: Client, topic: Topic, act: str) -> None:
        """Whose own ring it is has it as large as its answers take. Raises AccessDenied."""
        if not topic.principal or topic.principal != client.principal:
            self._access.check_administer(client, topic.name, act)

    def change_limits(self, topic: Topic, plan: TopicPlan) -> None:
        """The topic is configured otherwise: what can be changed in the running ring is."""
        for lane in topic.lanes:
            lane.on_full, lane.block_timeout_ns = plan.on_full, plan.block_timeout_ns
            lane.max_stall_ns = plan.max_stall_ns
        self._set_limits(topic, plan.ring)

    def _set_limits(self, topic: Topic, plan: RingPlan) -> None:
        topic.live.ring.set_limits(
            plan.max_messages, plan.max_bytes, plan.max_message_bytes, plan.retention_ns, plan.claim_timeout_ns
        )
        topic.live.watch.timeout_ns = plan.claim_timeout_ns
        self._sweep.trim(topic)
        self._listing.put_topic(topic)

    def get_kept(self, client: Client, request: GetKept) -> Answer:
        """What the topic keeps, to be read."""
        self._access.check_subscribe(client, check_topic(request.topic))
        return wire.Kept(), [kept_of(self._named(request.topic)).segment.open_read_only]

    def authorize_call(self, client: Client, request: AuthorizeCall) -> Answer:
        """A collector asks about a caller of it; whoever may not be called is told nothing of others."""
        if not self._access.subscribe(client, check_topic(CALL_REQUESTS + request.service)).allowed:
            raise AccessDenied("ask who may call", request.service, client.who)
        caller = self._registry.clients.get(request.session)
        if caller is None or (caller.identity.pid or -1, caller.identity.start_time) != (
            request.pid,
            request.start_time,
        ):
            return CallAuthorized(reason="its caller is not there any more.", unheard=True), ()
        if reason := self._forged(caller, request):
            return CallAuthorized(reason=reason, forged=True, unheard=True), ()
        try:
            self._check_call(caller, request)
        except AccessDenied as error:
            # Its caller is told by the code of the answer what to do, more exactly than by this.
            return CallAuthorized(reason=str(error).removesuffix(f". {AccessDenied.default_remedy}")), ()
        return CallAuthorized(allowed=True), ()

    def _forged(self, caller: Client, request: AuthorizeCall) -> str:
        """Why the request cannot be of whom it says it is; empty: it can, or nobody told where it came in."""
        if not request.ring:
            return ""
        name, operation = ring_name(request.ring), operation_name(request.operation)
        reason = impossible(caller, name, request)
        topic = self._registry.topics.get(request.ring)
        if reason and not name.principal and topic is not None and topic.key in caller.producers:
            reason = ""  # it had the topic's own ring under a coordinator that told nobody apart
        answered = CALL_RESPONSES + request.client_id
        if not reason and not self._access.subscribe(caller, answered).allowed:
            reason = f"{caller.who} may not read its answer, on '{answered}'."
        if reason:
            act = f"pass for session {request.session} to call {operation} of"
            self._access.on_decision(self._suspect(name, caller), act, request.service, Decision(False, FORGED))
        return reason

    def _suspect(self, ring: RingName, caller: Client) -> Subject:
        """Who wrote it: the only one who can, or what several that can have in common."""
        writers = [one for one in self._registry.clients.values() if one.principal == ring.principal]
        if len(writers) == 1:
            return writers[0]
        return Person(caller.uid if ring.uid is None else ring.uid, -1, name=ring.principal)

    def explain_access(self, client: Client, request: ExplainAccess) -> Answer:
        """Who may do what, and which rule says so."""
        if request.uid != client.uid:
            self._access.check_administer(client, "#", "explain access to")
        person = self._access.person(
            request.uid, request.gid, tuple(request.groups), collector=request.collector, token=request.token
        )
        return told(explain(self._access, person, request.topic)), ()

    def _check_call(self, caller: Client, request: AuthorizeCall) -> None:
        before = caller.token
        try:
            if request.HasField("auth_info"):
                caller.token = self._access.authenticate(request.auth_info, caller)
            self._access.check_call(caller, request.service, request.operation)
        finally:
            caller.token = before

    def _checked_subscription(self, client: Client, request: Subscribe) -> Subscription:
        if not request.subscription or request.subscription in client.subscriptions:
            raise ProtocolError(client.who, f"subscription {request.subscription} is not a new number")
        if len(client.subscriptions) >= MAX_SUBSCRIPTIONS:
            present = len(client.subscriptions) + 1
            raise LimitError("subscriptions of one client", MAX_SUBSCRIPTIONS, present, "Close some, or join patterns.")
        if not 1 <= len(request.patterns) <= MAX_PATTERNS:
            raise LimitError("patterns of a subscription", MAX_PATTERNS, len(request.patterns), "Name 1 to 64 of them.")
        patterns = tuple(dict.fromkeys(map(check_pattern, request.patterns)))
        for pattern in patterns:
            self._access.check_subscribe(client, pattern)
        start = request.start.WhichOneof("start")
        return Subscription(
            client,
            request.subscription,
            patterns,
            lossless=request.lossless,
            earliest=start not in (None, "latest"),
            type_name=request.type.name,
        )

    def _check_type(self, topic: Topic, kind: TopicType) -> None:
        if not kind.name or not topic.type_name:
            return
        if kind.name != topic.type_name:  # types of one file share its fingerprint
            raise TypeMismatch(topic.name, kind.name, topic.type_name)
        if kind.fingerprint == topic.fingerprint:
            return
        if not kind.descriptors:
            raise NeedDescriptors(f"topic '{topic.name}' has another version of {kind.name}: send yours")
        theirs = parse_descriptors(kind.descriptors, kind.name)
        ours = parse_descriptors(self._listing.descriptors(topic.fingerprint), topic.type_name)
        found = differences(kind.name, ours, theirs)
        if found:
            raise TypeMismatch(topic.name, f"your {kind.name}", f"another version of {topic.type_name}", found)

    def _lane(self, number: int, lane: int) -> Topic:
        try:
            return self._registry.lane(number, lane)
        except KeyError:
            text = f"there is no topic of number {number} with a lane {lane}: look with `shmbus topics`"
            raise NotFound(text) from None

    def _named(self, name: str) -> Topic:
        topic = self._registry.topics.get(check_topic(name))
        if topic is None:
            raise NotFound(
                f"there is no topic '{name}': it is made by its first publisher, or declared in the configuration"
            )
        return topic


def impossible(caller: Client, ring: RingName, request: AuthorizeCall) -> str:
    """Why a request in that ring cannot be that client's; empty: it can.

    A client that has not come back to this coordinator is known by its user only.
    """
    if request.ring != ring_of(CALL_REQUESTS + request.service, ring.principal):
        return f"'{request.ring}' is no ring of calls to '{request.service}'."
    if caller.uid != request.uid:
        return f"it says that it is of uid {request.uid}, and comes from {caller.who}."
    if ring.uid == caller.uid if caller.principal is None else ring.principal == caller.principal:
        return ""
    return f"it stands in the ring of {ring.principal or 'the bus itself'}, where {caller.who} cannot write."


def kept_of(topic: Topic) -> Kept:
    """Raises NotFound."""
    if topic.kept is None:
        raise NotFound(f"topic '{topic.name}' keeps no last messages: set keep_last in its configuration")
    return topic.kept


def checked_durable(asked: Durable, patterns: Sequence[str]) -> Durable:
    """What a client wants of a durable subscription, if that can be. Raises DurableError, TopicNameError."""
    if not _DURABLE_NAME.fullmatch(asked.name):
        raise DurableError(asked.name, "that is no name", "Choose 1 to 64 characters of a-z, 0-9, '_' and '-'.")
    if asked.window & (asked.window - 1) or not 2 <= asked.window <= MAX_WINDOW:
        raise DurableError(
            asked.name, f"its window is {asked.window}", f"Choose a power of two from 2 to {MAX_WINDOW}."
        )
    if asked.max_deliveries >= MAX_TRIES:
        raise DurableError(
            asked.name, f"max_deliveries is {asked.max_deliveries}", f"Choose less than {MAX_TRIES}; 0: no limit."
        )
    if asked.dead_letter_topic:
        topic = check_topic(asked.dead_letter_topic)
        own = [pattern for pattern in patterns if matches(pattern, topic)]
        if own:
            raise DurableError(
                asked.name, f"its dead letters on '{topic}' would come back to it by '{own[0]}'",
                "Name another dead_letter topic, or narrower patterns.",
            )  # fmt: skip
    return asked


def check_room(topic: str, plan: RingPlan) -> None:
    """Limits beyond the ring's geometry would promise what it cannot hold."""
    for name, present, limit in (
        ("max_messages", plan.max_messages, plan.slots),
        ("max_bytes", plan.max_bytes, plan.arena_bytes),
        ("max_message_bytes", plan.max_message_bytes, min(plan.arena_bytes, MAX_MESSAGE_BYTES)),
    ):
        if present > limit:
            raise LimitError(f"{name} of topic '{topic}'", limit, present, "Resize the topic first, or ask for less.")
