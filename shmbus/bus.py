"""One process's connection to a bus: its session, the rings it has mapped, its publishers and subscriptions.

Whatever the coordinator pushes (rings, successors, sessions that gate a ring) is taken in here, by whichever thread
looks first, and left where its owner finds it. Nothing here is on the data path, and the coordinator's death ends none
of it.
"""

import logging
import os
import time
import warnings
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import closing, suppress
from functools import partial
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Final, overload
from weakref import WeakValueDictionary

from google.protobuf.message import Message as ProtobufMessage

from shmbus import schema
from shmbus._core import MEMBERS, Bells, Closing, Group, Guard, Parcel, Ring
from shmbus.blame import is_own
from shmbus.budgets import Budgets
from shmbus.control import ControlConnection, NeedDescriptors, Received, bearer_info
from shmbus.directory import DirectoryReader, SessionEntry
from shmbus.durable import Durable
from shmbus.duty import Duty
from shmbus.errors import (
    ClosedError,
    CompatibilityWarning,
    ConnectionLost,
    ForkedError,
    ProtocolError,
    SegmentError,
    ShmbusError,
    VersionError,
)
from shmbus.expected import Expected, expected
from shmbus.filter import Filter, sieve_of
from shmbus.limits import limits_of
from shmbus.message import Message
from shmbus.order import DEFAULT_WAIT_SECONDS, Order
from shmbus.order import resolve as resolve_order
from shmbus.overview import Account, TopicStatus, accounts_of, topics_of
from shmbus.pages import Activity, Pages, TopicLane, activity_of, durable_of
from shmbus.principal import ring_name
from shmbus.process import Identity, is_alive
from shmbus.publisher import ANNOUNCEMENT_SECONDS, NORMAL_LANE, Backpressure, Publisher, check_backpressure
from shmbus.reconnect import RETRY_SECONDS, Found, Reconnect
from shmbus.segment import attach, group_name, mapped, session_name
from shmbus.start import Start, resolve
from shmbus.subscription import Arrival, Subscription
from shmbus.topic import check_pattern, check_topic
from shmbus.v1 import control_pb2 as wire
from shmbus.v1.eventbus_pb2 import EventBusMessage, RpcAuthInfo
from shmbus.v1.rpc_pb2 import HEALTHY

if TYPE_CHECKING:
    from shmbus.aio import AsyncBus

RESUME_SECONDS: Final = 2.0
HOLDS_NOTHING: Final = 2**63  # a position that no ring ever reaches

_ENVELOPE_TYPE: Final = wire.TopicType(
    name=EventBusMessage.DESCRIPTOR.full_name, fingerprint=schema.fingerprint(EventBusMessage.DESCRIPTOR)
)


class Bus(Closing):
    """A connection to a bus. Made by `shmbus.connect` or `shmbus.embedded`; closed by leaving its `with` block.

    `async with` gives the same for asyncio (see `shmbus.aio`). Publishers and subscriptions may be used by one thread
    at a time each; the bus itself by any.
    """

    def __init__(
        self,
        target: str,
        *,
        name: str,
        timeout: float,
        on_close: Callable[[], None] | None = None,
        bearer: str | None = None,
    ) -> None:
        self.client_name: Final = name
        self._on_close = on_close
        self._opened_by = os.getpid()
        self._lock = Guard()  # guards what is below, and that pushes are taken in in order
        self._publishers: dict[TopicLane, WeakValueDictionary[int, Publisher]] = {}
        self._subscriptions: WeakValueDictionary[int, Subscription] = WeakValueDictionary()
        self._open: set[int] = set()  # numbers of subscriptions that the coordinator knows, or may know
        self._given: set[tuple[TopicLane, int]] = set()  # producer ids that it has been given
        self._next_subscription = 1
        self._beginning = 0  # the subscription that is asked for at present: no coordinator has answered that yet
        self._budgets = Budgets()
        self._revoked: dict[int, str] = {}  # topics to which this client may publish no more, and why
        self._closed = False
        self._target = target
        self._coordinator = Reconnect()
        self._duty = Duty()
        self._published = 0  # messages of publishers that are closed
        self._refused = 0  # messages that found no room
        self._auth_info = bearer_info(bearer)
        self._access_changes = 0  # how often the rules have become others, as far as is known
        self._joining: ControlConnection | None = None  # to the coordinator that took over, as far as that has come
        self._all_ended = False  # there will be no coordinator any more, and every subscription knows
        self._resumed = True  # the coordinator has been told what is held here
        self._control = ControlConnection.prepared(target)
        try:
            welcome = self._control.join(name, timeout=timeout, token=self._duty.token, auth_info=self._auth_info)
            for warning in self._control.warnings:
                warnings.warn(f"bus '{self._control.bus}': {warning}", CompatibilityWarning, stacklevel=3)
            self._take_welcome(welcome)
            self._control.settle(welcome)
        except BaseException:
            self._control.close()
            raise
        self._duty.token_taken()

    def _take_welcome(self, welcome: Received) -> None:
        message: wire.Welcome = welcome.message
        self.name = message.bus
        self.address = _printable(self._control.address)
        self._boot_id: bytes = message.boot_id
        self._session_bell: int = message.bell
        self._session: int = message.session
        self._bells = mapped(welcome.peek(1), lambda fd: Bells.attach(fd, self._boot_id), "bells")
        self._pages = Pages(self._boot_id, message.session, welcome.peek(2))
        self._welcome = welcome  # whose first descriptor is the directory's

    @property
    def directory_fd(self) -> int:
        """The descriptor of the directory, to be mapped for reading: another one when another coordinator took over."""
        return self._welcome.peek()

    # ---- publishing --------------------------------------------------------------------------------------------------

    def publisher(
        self,
        topic: str,
        *,
        type: type[ProtobufMessage] | None = None,
        name: str | None = None,
        on_full: str | None = None,
        timeout: float | None | EllipsisType = ...,
        durable: bool = False,
    ) -> Publisher:
        """A publisher of `topic`, which is made if there is none.

        `type` is a protobuf class of your own that the topic carries; without it the topic carries the envelopes of the
        schema, and bytes. `on_full` is "block" (wait for lossless readers up to `timeout` seconds, None: for ever) or
        "raise"; what is not given is as the topic is configured (block, 30 s). `name` is what subscribers see as the
        producer (default: the client's name). The numbers of a `durable` one's messages outlive this process: the next
        publisher of that name goes on from `last_number`, and what it publishes again with `number=` is told from what
        is new. One at a time publishes under a durable name.

        Raises DurableError, TopicNameError, AccessDenied, TypeMismatch (with the fields that differ), LimitError,
        StorageFull,
        ConnectionLost.
        """
        check_topic(topic)
        check_backpressure(on_full, timeout)
        return self._publisher(topic, type, name, on_full, timeout, durable, NORMAL_LANE)

    def _publisher(
        self,
        topic: str,
        type: type[ProtobufMessage] | None,
        name: str | None,
        on_full: str | None,
        timeout: float | None | EllipsisType,
        durable: bool,
        lane: int,
        limits: wire.TopicLimits | None = None,
        auth_info: RpcAuthInfo | None = None,
    ) -> Publisher:
        self._check_usable()
        with self._lock:
            self._settle()
            named = name or self.client_name
            answer = self._open_publisher(topic, type, named, durable, lane, limits, auth_info)
            opened: wire.PublisherOpened = answer.message
            ring = self._writable_ring(topic, opened, answer)
            publisher = Publisher(
                self,
                topic,
                ring,
                opened.producer,
                name=named,
                own_type=type,
                configured=Backpressure(opened.on_full, opened.block_timeout_ms / 1e3),
                on_full=on_full,
                timeout=timeout,
                durable=durable,
            )
            if durable:
                publisher._continue(opened.last_number)
                publisher._first = opened.last_number
            publisher._limit(self._budgets.of(opened))
            publisher._set_sessions(list(self._pages.foreign.values()))
            key = (opened.topic_id, opened.lane)
            self._given.add((key, opened.producer))
            self._publishers.setdefault(key, WeakValueDictionary())[opened.producer] = publisher
            self._control.settle(answer)
            return publisher

    def _make_topic(self, topic: str, limits: wire.TopicLimits) -> None:
        """Have a topic of the schema's envelopes, and no publisher of it."""
        request = wire.OpenPublisher(topic=topic, type=_ENVELOPE_TYPE, limits=limits, only_make=True)
        with self._lock:
            self._settle()
            self._control.settle(self._request_typed(request, EventBusMessage))

    def _request_typed(
        self, request: wire.OpenPublisher, kind: type[ProtobufMessage], auth_info: RpcAuthInfo | None = None
    ) -> Received:
        """The descriptors of the type go only to a coordinator that does not know them."""
        try:
            return self._request(request, auth_info)
        except NeedDescriptors:  # private to this package, so no handler's
            request.type.descriptors = schema.descriptor_set(kind.DESCRIPTOR)
            return self._request(request, auth_info)

    def _open_publisher(
        self,
        topic: str,
        kind: type[ProtobufMessage] | None,
        name: str,
        durable: bool,
        lane: int,
        limits: wire.TopicLimits | None,
        auth_info: RpcAuthInfo | None,
    ) -> Received:
        topic_type = _ENVELOPE_TYPE
        if kind is not None:
            descriptor = kind.DESCRIPTOR
            topic_type = wire.TopicType(name=descriptor.full_name, fingerprint=schema.fingerprint(descriptor))
        request = wire.OpenPublisher(
            topic=topic, type=topic_type, producer_name=name, lane=lane, durable=durable, limits=limits
        )
        return self._request_typed(request, kind or EventBusMessage, auth_info)

    def _writable_ring(self, topic: str, opened: wire.PublisherOpened, answer: Received) -> Ring:
        held = self._pages.writable.get((opened.topic_id, opened.lane))
        if held is not None and held.generation == opened.generation:
            return held
        ring = self._pages.map_ring(answer.peek(), topic, writable=True)
        self._pages.writable[opened.topic_id, opened.lane] = ring
        return ring

    def _settle(self) -> None:
        """Finish what a signal handler, or a deadline, ended in the middle. The lock is held, nothing is half done."""
        if not self._resumed:
            self._attend()
        for answer in self._control.orphans():
            if isinstance(opened := answer.message, wire.PublisherOpened) and opened.producer:
                key = opened.topic_id, opened.lane
                if (key, opened.producer) not in self._given:
                    self._tell(wire.ClosePublisher(topic_id=key[0], lane=key[1], producer=opened.producer))
            self._control.settle(answer)

    def _close_publisher(self, key: TopicLane, producer: int) -> None:
        rest: MutableMapping[int, Publisher] = self._publishers.get(key, {})
        rest.pop(producer, None)
        if not rest:
            self._publishers.pop(key, None)
            if (ring := self._pages.writable.pop(key, None)) is not None:
                ring.close()
        if (key, producer) in self._given:
            said = None
            if key[0] not in self._revoked:
                said = self._say(wire.ClosePublisher(topic_id=key[0], lane=key[1], producer=producer))
            self._given.discard((key, producer))
            self._hear(said)

    # ---- subscribing -------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        *patterns: str,
        lossless: bool = False,
        durable: str | Durable | None = None,
        start: Start = "latest",
        filter: Filter | None = None,
        order: Order | None = None,
        order_wait: float = DEFAULT_WAIT_SECONDS,
    ) -> Subscription:
        """Read every topic, present or future, that matches one of `patterns` (`+` one segment, `#` any number, last).

        A lossy subscription (the default) never holds publishers back: what it misses comes as a `Gap`. A lossless one
        does: publishers wait for it. `start` is "latest", "earliest", a sequence number, a time (a datetime with a time
        zone, or a timedelta: that long ago), `shmbus.Last(count)` or `shmbus.LastPerKey()`; topics that are made later
        are read from their first message. A time begins at the first retained message that is not older; publishers
        take the time before they find their place, so a few that are older by microseconds may follow.

        A `durable` one (a name, or a `shmbus.Durable`) outlives this process: what it has not settled with `ack` comes
        again, to whoever subscribes with the name; publishers wait for it as for a lossless one while anybody does.
        `start` counts when it is made.

        `LastPerKey()` begins with the last message of each key of every topic that keeps them (`keep_last`), and goes
        on with all that came after those. Of topics that keep none, those that a pattern matches begin with the latest;
        one that is named is an error. Those first messages are settled already: a durable subscription gets them once.

        `filter` picks among the messages; what it does not want is counted in `filtered` and never handed out. For a
        durable subscription it is settled, for all of its members, so they have the same filter: another one is
        refused. Whoever comes when nobody reads may bring another, which counts from then on.

        `order` reaches across topics: "producer" (what one client published, as it published it) or "correlation" (what
        belongs to one root, by sequence_number; what is missing is waited for `order_wait` seconds, then told in a
        `Gap` of reason "order"). See `shmbus.order`.

        Raises PatternError, AccessDenied, TypeMismatch, LimitError, FilterError, DurableError, ConnectionLost;
        ValueError for no such start or order.
        """
        if not patterns:
            raise TypeError("subscribe() takes at least one pattern; '#' matches every topic")
        for pattern in patterns:
            check_pattern(pattern)
        return self._subscribe(patterns, lossless, durable, start, filter, order, order_wait)

    def _subscribe(
        self,
        patterns: tuple[str, ...],
        lossless: bool = False,
        durable: str | Durable | None = None,
        start: Start = "latest",
        filter: Filter | None = None,
        order: Order | None = None,
        order_wait: float = DEFAULT_WAIT_SECONDS,
        mark: int = 0,
    ) -> Subscription:
        """`mark` are bits of its number, which its cursors show to the publishers that it holds."""
        self._check_usable()
        begin, sieve = resolve(start), sieve_of(filter, partial(self._expected, patterns))
        named = Durable(durable) if isinstance(durable, str) else durable
        ordering = resolve_order(order, order_wait, named.ack_deadline if named is not None else None)
        with self._lock:
            self._settle()
            number, self._next_subscription = self._next_subscription | mark, self._next_subscription + 1
            lossless = lossless and named is None  # a durable one holds by a gate of its own
            subscription = Subscription(self, number, patterns, lossless, begin, sieve, named, ordering)
            self._subscriptions[number] = subscription
            try:
                self._beginning = number
                self._open.add(number)  # it may be, whatever is raised before the answer has come
                self._request(subscription._declared()).close()
                self._beginning = 0
                self._attend(subscription)
                subscription._take_arrivals()
            except BaseException:
                # Whatever it is waits for no answer: a Ctrl-C that ends the wait for a coordinator that hangs, say.
                self._say_unsubscribed(number, subscription._cursors)
                subscription.close()
                self._subscriptions.pop(number, None)
                self._release_unused()
                raise
            return subscription

    def _expected(self, patterns: tuple[str, ...]) -> Expected:
        """What may come; types that nobody here has imported are learned from the bus."""
        with closing(DirectoryReader(self.directory_fd, boot_id=self._boot_id)) as directory:
            topics = directory.snapshot().topics
            for topic in topics:
                with suppress(TypeError, ShmbusError):  # it contradicts what is known here: that stays as it is
                    if not schema.is_known(topic.type_name):
                        schema.learn(directory.descriptors(topic))
        return expected(patterns, {ring_name(topic.name).public: topic.type_name for topic in topics})

    @overload
    def last(self, topic: str, key: None = None) -> list[Message]: ...
    @overload
    def last(self, topic: str, key: str) -> Message | None: ...
    def last(self, topic: str, key: str | None = None) -> list[Message] | Message | None:
        """The last message of each key of a topic, oldest first; with a `key` its last one, or None.

        As far as they are kept by now, which is milliseconds behind what is published. Raises ShmbusError when there is
        no such topic or it keeps none, AccessDenied, TopicNameError, ConnectionLost.
        """
        self._check_usable()
        with self._lock:
            state = self._pages.states.get(topic)
            if state is None:
                with self._request(wire.GetKept(topic=topic)) as answer:
                    state = self._pages.states[topic] = self._pages.map_state(answer.peek(), topic)
            found = state.snapshot().messages()
        return found if key is None else next((one for one in found if one.key == key), None)

    def _close_subscription(self, number: int, cursors: Sequence[tuple[int, int]]) -> None:
        self._subscriptions.pop(number, None)
        if self._closed:
            return
        if number in self._open:
            self._hear(self._say_unsubscribed(number, cursors))
        self._release_unused()
        self._pages.forget_groups(self._durables_read())
        self._forget_unread()

    def _say_unsubscribed(self, number: int, cursors: Sequence[tuple[int, int]]) -> int | None:
        # A cursor that is used again must hold until it is placed again, so it is left unplaced.
        for session, cursor in cursors:
            if (page := self._pages.sessions.get(session)) is not None:
                page.set_position(cursor, 0)
        said = self._say(wire.Unsubscribe(subscription=number))
        self._open.discard(number)
        return said

    def _release_unused(self) -> None:
        """Without a coordinator nobody clears a gate of ours that nobody reads for: let its cursor hold nothing.

        Nor does anybody take us from the members of a durable subscription, for whom publishers wait.
        """
        if self._control.lost is None:
            return
        self._attend()  # it may have given some out before it died
        used = {cursor for subscription in self._subscriptions.values() for cursor in subscription._cursors_in_use()}
        for number, page in self._pages.sessions.items():
            for cursor in range(page.capacity):
                if (number, cursor) not in used:
                    page.set_position(cursor, HOLDS_NOTHING)
        for number in self._pages.groups_beside(self._durables_read()):
            page = self._pages.groups[number]
            for place in range(MEMBERS):
                member = page.member(place)
                if member is not None and member[4] == self._session:
                    page.clear_member(place)

    def _durables_read(self) -> set[str]:
        return {one.durable.name for one in self._subscriptions.values() if one.durable is not None}

    def _forget_unread(self) -> None:
        """Unmap rings that nobody here reads any more."""
        unread = set(self._pages.readable)
        for subscription in self._subscriptions.values():
            if not unread:
                return  # nearly always after a few, so that closing thousands is not a matter of millions
            unread.difference_update(subscription._ring_keys())
        for key in unread:
            self._pages.readable.pop(key).close()

    def _ring_left(self, ring: Ring) -> None:
        with self._lock:
            self._forget_unread()

    def _left(self, number: int, cursors: Sequence[tuple[int, int]]) -> None:
        """A subscription was closed or collected. Never waits for a lock that its own thread may hold."""
        self._lock.soon(partial(self._close_subscription, number, cursors))

    def _gone(self, key: TopicLane, producer: int) -> None:
        """The same for a publisher."""
        self._lock.soon(partial(self._close_publisher, key, producer))

    # ---- what the coordinator pushes ---------------------------------------------------------------------------------

    def _attend(self, asking: Subscription | None = None) -> None:
        """Take in what was pushed. Subscriptions other than `asking` find theirs when they next look at their bell."""
        with self._lock:
            self._drain(asking)
            if (self._control.lost is not None or not self._resumed) and self._reconnect():
                self._drain(asking)

    def _drain(self, asking: Subscription | None) -> None:
        """A push leaves the queue when it has been taken in: what a signal handler raises before loses nothing."""
        failed: Exception | None = None
        others_called = False
        for push in self._control.drain():
            try:
                touched = self._take_in(push)
            except (SegmentError, ProtocolError) as error:
                if not is_own(error):
                    raise
                failed = failed or error  # it would fail again; those after it count all the same
            else:
                if not others_called and any(one is not asking for one in touched):
                    self._lock.soon(self._call_others)  # when the lock is left, however that comes about
                    others_called = True
        if failed is not None:
            try:
                raise failed
            finally:
                del failed  # an error and the frame that it came through would keep each other

    def _call_others(self) -> None:
        self._bells.ring(self._session_bell)

    # ---- a new coordinator -------------------------------------------------------------------------------------------

    def _reconnect(self) -> bool:
        """The coordinator died: go on with the one that took over from it, if there is one by now.

        What a signal handler ends in the middle, or a coordinator that is stopped leaves unanswered, is gone on with by
        the next call: hanging up on one that has answered the hello, or will, would end this client's session.
        """
        if self._closed:
            return False
        if self._coordinator.ended is not None:
            self._end(self._coordinator.ended)
        if self._joining is None and not self._resumed:
            return self._resume()
        if self._joining is None and not self._coordinator.look(time.monotonic_ns()):
            return False
        goes_on = self._coordinator.found(*self._look())
        if self._coordinator.ended is not None:
            self._end(self._coordinator.ended)
        return goes_on

    def _look(self) -> tuple[Found, str]:
        control = self._joining
        if control is None:
            control = self._joining = ControlConnection.prepared(self._target)
        patience = 0.0 if control.overdue else RESUME_SECONDS  # rings are read and written on meanwhile
        try:
            welcome = control.join(self.client_name, timeout=patience, resume=self._session, auth_info=self._auth_info)
        except (ShmbusError, OSError) as error:
            if not is_own(error):
                raise
            if control.overdue:
                return Found.NOBODY, ""
            self._joining = None
            control.close()
            return (Found.UNLIKE, str(error)) if isinstance(error, VersionError) else (Found.NOBODY, "")
        if not welcome.message.resumed:
            self._joining = None
            control.close()
            return Found.STRANGER, ""
        self._resumed = False
        self._welcome = welcome
        self._revoked.clear()  # this one may have it otherwise, and will say so
        self._pages.drop_states()
        self._access_changes += 1
        before, self._control = self._control, control
        if before is not control:
            before.close()
        self._joining = None
        control.settle(welcome)
        self._log_warnings()
        return Found.RESUMED if self._resume() else Found.NOBODY, ""

    def _log_warnings(self) -> None:
        """Where nobody has just connected a Python warning would point at the wrong line, or be raised there."""
        if self._control.warnings:
            for warning in self._control.warnings:
                logging.getLogger("shmbus").warning("bus '%s': %s", self.name, warning)

    def _resume(self) -> bool:
        """Say what is held here; what is not is told then. Saying it twice comes to the same as once."""
        held = [publisher for publishers in self._publishers.values() for publisher in list(publishers.values())]
        subscriptions = [(number, one) for number, one in list(self._subscriptions.items()) if not one.closed]
        answer = self._control.ask(
            wire.Resume(
                publishers=[publisher._declared() for publisher in held if not publisher.closed],
                subscriptions=[one._declared(established=number != self._beginning) for number, one in subscriptions],
                ready=self._duty.ready,
                registrations=self._duty.registered.values(),
            )
        )
        if isinstance(answer, ShmbusError) and not isinstance(answer, ConnectionLost):
            try:
                raise answer
            finally:
                del answer  # an error and the frame that it came through would keep each other
        if isinstance(answer, Received):
            self._duty.take_bell(answer)
        self._resumed = isinstance(answer, Received) or self._control.lost is not None
        return isinstance(answer, Received)

    def _take_in(self, push: Received) -> list[Subscription]:
        """Whom it is for. Doing it twice, or half and then again, comes to the same as once."""
        message, pages = push.message, self._pages
        if isinstance(message, wire.RingAdded):
            return self._add_ring(message, push)
        if isinstance(message, wire.SessionAdded):
            pages.foreign[message.session] = pages.map_holder(push.peek(), message.session)
            self._share_sessions()
        elif isinstance(message, wire.SessionRemoved):
            pages.foreign.pop(message.session, None)
            self._share_sessions()
        elif isinstance(message, wire.SessionExtended):
            pages.sessions[message.session] = pages.map_own_session(push.peek(), message.session)
        elif isinstance(message, wire.GroupAdded):
            pages.groups[message.group] = pages.map_group(push.peek(), message.group)
        elif isinstance(message, wire.KeptAdded):
            state = pages.map_state(push.peek(), f"topic {message.topic_id}")
            if (subscription := self._subscriptions.get(message.subscription)) is not None:
                subscription._states[message.topic_id] = state
        elif isinstance(message, wire.Successor):
            ring = pages.map_ring(push.peek(), f"topic {message.topic_id}", writable=True)
            pages.successors[message.topic_id, message.lane] = ring
        elif isinstance(message, wire.Demoted):
            subscription = self._subscriptions.get(message.subscription)
            if subscription is not None:
                subscription._demoted(message)
                return [subscription]
        elif isinstance(message, wire.PublisherRevoked):
            self._revoked[message.topic_id] = message.reason
        elif isinstance(message, wire.BudgetSet):
            budget = self._budgets.of(message)
            for (topic_id, _), publishers in self._publishers.items():
                for publisher in publishers.values() if topic_id == message.topic_id else ():
                    publisher._limit(budget)
        elif isinstance(message, wire.AccessChanged):
            self._access_changes += 1
        elif isinstance(message, wire.Goodbye):
            return self._end(message.reason)
        return []

    def _add_ring(self, message: wire.RingAdded, push: Received) -> list[Subscription]:
        key = (message.topic_id, message.lane, message.generation)
        ring = self._pages.readable.get(key)
        if message.has_descriptor and ring is None and (ring := self._readable_ring(message, push.peek())) is not None:
            self._pages.readable[key] = ring
        touched = []
        for binding in message.bindings:
            subscription = self._subscriptions.get(binding.subscription)
            if subscription is not None and ring is not None:
                subscription._arrivals.append(Arrival(ring, binding, message.continues))
                touched.append(subscription)
        return touched

    def _readable_ring(self, message: wire.RingAdded, fd: int) -> Ring | None:
        """None: it is not what the coordinator says it is.

        Whoever publishes there may have written anywhere in it before it is mapped here. That is to harm nobody else:
        it is not read, and nothing passes for a message of another topic, or of another principal.
        """
        told = message.topic, message.topic_id, message.lane, message.generation, message.bell
        try:
            ring = self._pages.map_ring(fd, message.topic, writable=False)
        except ShmbusError as error:
            if not ring_name(message.topic).principal or not is_own(error):
                raise
            reason = str(error)
        else:
            if (ring.topic, ring.topic_id, ring.lane, ring.generation, ring.bell) == told:
                return ring
            reason = f"it says that it is topic {ring.topic_id}, '{ring.topic}'"
            ring.close()
        logging.getLogger("shmbus").warning("the ring of '%s' is not read: %s", message.topic, reason)
        return None

    def _end(self, reason: str) -> list[Subscription]:
        if self._all_ended:
            return []
        self._coordinator.end(reason)
        subscriptions = list(self._subscriptions.values())
        for subscription in subscriptions:
            subscription._end()
        self._all_ended = True
        return subscriptions

    def _share_sessions(self) -> None:
        sessions = list(self._pages.foreign.values())
        for publishers in self._publishers.values():
            for publisher in publishers.values():
                publisher._set_sessions(sessions)

    # ---- asked by publishers and subscriptions -----------------------------------------------------------------------

    def _successor(self, key: TopicLane, generation: int) -> Ring | None:
        """The ring that goes on after `generation` of a topic, if it has been pushed."""
        with self._lock:
            self._attend()
            for found in (self._pages.successors.get(key), self._pages.writable.get(key)):
                if found is not None and found.generation > generation:
                    self._pages.writable[key] = found
                    break
            else:
                found = None
            self._pages.successors.pop(key, None)  # last, so that whatever is raised before loses none
            return found

    def _revocation(self, topic_id: int) -> str | None:
        """Why this client may publish there no more, if it may not."""
        return self._revoked.get(topic_id)

    def _wait_for_push(self, deadline: float) -> bool:
        """Wait until the coordinator pushes something, or it is time to look for another; False: after the deadline.

        What is waited for may have been done by another coordinator, to which this client has not come back yet.
        """
        left = max(0.0, deadline - time.monotonic())
        if self._control.lost is None:
            return self._control.wait(left)
        time.sleep(min(left, RETRY_SECONDS))
        return left > 0

    def _learn_session(self, ring: Ring, session: int) -> bool:
        """A gate names a session that its publishers were told of before the gate was set.

        The session may have ended since: then its gate was cleared before its end was told, and there is nothing to
        learn. A coordinator may also have set the gate and died before this client came to it: the next one tells, and
        until then the page is looked up by its name, where this process may open it. False: nobody tells at present.
        """
        deadline = time.monotonic() + ANNOUNCEMENT_SECONDS
        while True:
            self._attend()
            if session in self._pages.foreign or all(owner != session for _, owner, _, _ in ring.gates()):
                return True
            if not self._wait_for_push(deadline):
                return self._look_up_session(session)

    def _look_up_session(self, session: int) -> bool:
        """Only a process of the bus's own user finds its segments, and those of a private bus have no names."""
        for name in (session_name(self.name, session), group_name(self.name, session)):
            try:
                descriptor = attach(name)
            except (ShmbusError, OSError) as error:
                if not is_own(error):
                    raise
                continue
            try:
                self._pages.foreign[session] = self._pages.map_holder(descriptor, session)
            except SegmentError as error:
                if not is_own(error):
                    raise
                continue
            finally:
                os.close(descriptor)
            self._share_sessions()
            return True
        return False

    def _drop_dead_session(self, ring: Ring, session: int) -> bool:
        """Clear the gates of a dead session, in case the coordinator cannot; True when there were any."""
        self._attend()
        page = self._pages.foreign.get(session)
        if page is None:
            return False
        held_by = page.members if isinstance(page, Group) else [page.identity]
        if any(is_alive(Identity(*one)) for one in held_by):
            return False
        gates = [index for index, owner, _, _ in ring.gates() if owner == session]
        for index in gates:
            ring.clear_gate(index)
        return bool(gates)

    def _session_holder(self, session: int, cursor: int) -> tuple[str, int, Activity]:
        """Whose session it is: name, pid, and when that cursor last moved.

        A durable subscription's is read by several processes, so its pid is 0.
        """
        page = self._pages.foreign.get(session)
        if page is None:
            return f"session {session}", 0, Activity(None, has_moved=False)
        if isinstance(page, Group):
            return durable_of(page), 0, activity_of(page, cursor)
        client = self._client_of(session)
        name = f"session {session}" if client is None else client.client
        return name, page.identity[0], activity_of(page, cursor)

    def _client_of(self, session: int) -> SessionEntry | None:
        """The client with that session, as the coordinator attests it; None: there is none."""
        with closing(DirectoryReader(self.directory_fd, boot_id=self._boot_id)) as directory:
            return next((one for one in directory.snapshot().sessions if one.session == session), None)

    def _report_stuck(self, topic_id: int, lane: int, sequence: int, *, full: bool) -> None:
        self._tell(wire.ReportStuck(topic_id=topic_id, lane=lane, sequence=sequence, full=full))

    @property
    def _owner_uid(self) -> int:
        """The user who runs the bus."""
        return self._control.coordinator_uid

    # ---- collectors --------------------------------------------------------------------------------------------------

    def ready(self) -> float | None:
        """Announce that this collector does its work now: until then the coordinator does not count it as running.

        Answers within how many seconds `beat` is to be called again from the first call on; None: nobody looks, for the
        coordinator is gone or did not start this process, and nothing is registered. May be called again, after a
        SIGHUP say.
        """
        return self._duty.announce(self)

    def beat(self, health: int = HEALTHY, reason: str = "") -> None:
        """Say that the thread that does the work still moves: to be called by it, and by no other.

        `health` is how the collector judges itself: HEALTHY, DEGRADED or UNHEALTHY of the schema's HealthStatus, or
        UNKNOWN for nothing to say. The worse of that and of what the coordinator sees counts; it knows of another one
        than before at once. `reason` says why it is DEGRADED or UNHEALTHY, for people: the first 112 bytes of it count.
        Once an interval, and with another health, the process is also published as it is, on
        `control.health.heartbeat.<collector>`. Never blocks for that. Raises ValueError for any other health, and for
        the reason of one that is not ill.
        """
        page = self._pages.sessions[self._session]
        try:
            news = page.beat(health, reason)
        except UnicodeEncodeError:  # it names a file that has no name in UTF-8, say
            reason = reason.encode("utf-8", "backslashreplace").decode()
            news = page.beat(health, reason)
        self._duty.beat(health, reason, news)

    # ---- administration ----------------------------------------------------------------------------------------------

    def forget(self, durable: str) -> None:
        """End a durable subscription that nobody reads at present: what it has not settled is given up.

        Raises DurableError, AccessDenied, ShmbusError when there is none of that name, ConnectionLost.
        """
        self._request(wire.ForgetDurable(name=durable)).close()

    def resize(self, topic: str, *, slots: int = 0, arena_bytes: int = 0) -> None:
        """Continue a topic in a ring of another size, while it is in use. 0 leaves a size as it is.

        Raises LimitError, StorageFull, AccessDenied, ConnectionLost.
        """
        self._request(wire.Resize(topic=topic, slots=slots, arena_bytes=arena_bytes)).close()

    def set_limits(
        self,
        topic: str,
        *,
        max_messages: int | None = None,
        max_bytes: int | None = None,
        max_message_bytes: int | None = None,
        retention: float | None = None,
        claim_timeout: float | None = None,
    ) -> None:
        """Change what a topic retains, while it is in use; what is not given stays as it is.

        `retention` and `claim_timeout` in seconds (a retention of 0: no limit by time). Messages above the new limits
        go at once, but for those that a lossless reader holds. Raises ValueError, LimitError (beyond the ring's size:
        see `resize`), AccessDenied, ConnectionLost.
        """
        limits = limits_of(max_messages, max_bytes, max_message_bytes, retention, claim_timeout)
        self._request(wire.SetLimits(topic=topic, limits=limits)).close()

    def status(self) -> wire.StatusReply:
        """What the coordinator says of itself, its clients and collectors. Raises ConnectionLost."""
        with self._request(wire.GetStatus()) as answer:
            status: wire.StatusReply = answer.message
            return status

    def topics(self) -> list[TopicStatus]:
        """The topics that this user may read, as they are now, by name. Raises AccessDenied, ConnectionLost."""
        with self._request(wire.ListTopics()) as answer:
            return topics_of(answer.message)

    def ledger(self) -> list[Account]:
        """What everybody got and missed, of whom, in topics that this user may read: an account for each cursor.

        The coordinator is asked for some at a time, so they are seen at different moments; each account adds up. Of
        one's own subscription `Subscription.ledger` tells without asking. Raises AccessDenied, ConnectionLost.
        """
        found: list[Account] = []
        page = place = 0
        while True:
            with self._request(wire.ReadLedger(page=page, place=place)) as answer:
                part: wire.LedgerPart = answer.message
                found += accounts_of(part)
                page, place = part.page, part.place
            if not page:
                return found

    def reload_config(self, *, validate_only: bool = False) -> list[str]:
        """Have the coordinator read its configuration file again: all of it counts, or nothing; what is different.

        What calls have changed at collectors does not count any more then. With `validate_only` nothing is changed.
        Raises ConfigurationError (with the key), LimitError, StorageFull, AccessDenied, ConnectionLost.
        """
        with self._request(wire.ReloadConfig(validate_only=validate_only)) as answer:
            return list(answer.message.differences)

    def stop(self) -> None:
        """Have the coordinator end in order: collectors stopped, subscribers told, nothing left."""
        self._request(wire.StopBus()).close()

    # ---- versions ----------------------------------------------------------------------------------------------------

    @property
    def protocol_version(self) -> str:
        """What is spoken with the coordinator: "1.1.0"."""
        return str(self._control.version)

    @property
    def capabilities(self) -> frozenset[str]:
        """What the coordinator can, by the names of the protocol (`shmbus.version`).

        Asking for more raises CapabilityError. Another one that takes over may be able to do more, or less.
        """
        return self._control.capabilities

    @property
    def compatibility_warnings(self) -> tuple[str, ...]:
        """What the coordinator says of the two versions; told as CompatibilityWarning when connecting."""
        return self._control.warnings

    # ---- life --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close everything that was opened here."""
        if os.getpid() != self._opened_by:
            self._hang_up()  # without the lock: a thread that is not in this child may have held it at the fork
            return
        publishers = [one for publishers in list(self._publishers.values()) for one in list(publishers.values())]
        for subscription in list(self._subscriptions.values()):
            subscription.close()
        for publisher in publishers:
            publisher.close()
        with self._lock:
            if not self._closed:
                self._pages.leave()
            self._hang_up()
        if self._on_close is not None:
            self._on_close()

    def _hang_up(self) -> None:
        if self._closed:
            return
        self._duty.close()
        self._control.close()
        if self._joining is not None:
            self._joining.close()
        self._welcome.close()
        self._pages.close()
        self._closed = True  # last: what a handler ends in the middle is done again

    @property
    def closed(self) -> bool:
        """Closed by this process."""
        return self._closed

    async def __aenter__(self) -> "AsyncBus":
        from shmbus.aio import AsyncBus

        self._async = AsyncBus(self)
        return self._async

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._async.close()

    def __repr__(self) -> str:
        return f"<Bus {self.name}{', closed' if self._closed else ''}>"

    def _check_usable(self) -> None:
        if os.getpid() != self._opened_by:
            raise ForkedError(repr(self), self._opened_by, os.getpid())
        if self._closed:
            raise ClosedError(repr(self))

    def _request(self, message: ProtobufMessage, auth_info: RpcAuthInfo | None = None) -> Received:
        self._check_usable()
        with self._lock:
            if self._control.lost is None and self._resumed:
                answer = self._control.ask(message, auth_info=auth_info)
                if isinstance(answer, Received):
                    return answer
                if not isinstance(answer, ConnectionLost) or self._control.lost is None:
                    try:
                        raise answer
                    finally:
                        del answer  # an error and the frame that it came through would keep each other
            control = self._control
            self._attend()  # a dead one's last words; and if another has taken over, it is connected to
            if self._control is not control and isinstance(message, wire.Subscribe):
                return Received(wire.Done(), Parcel())  # that was among what is resumed
            return self._control.request(message, auth_info=auth_info)

    def _tell(self, message: ProtobufMessage) -> None:
        """Say something that matters only while there is a coordinator. What it refuses has been done before."""
        with self._lock:
            self._hear(self._say(message))

    def _say(self, message: ProtobufMessage) -> int | None:
        """The same in two steps: what is said takes its course, so nobody needs to wait for it twice."""
        if self._control.lost is not None or not self._resumed or self._control.closed:
            return None
        return self._control.say(message)

    def _hear(self, said: int | None) -> None:
        if said is not None and self._control.lost is None:
            self._control.hear(said)


def _printable(address: str) -> str:
    return "@" + address[1:] if address.startswith("\0") else address
