"""The coordinator of one bus: puts the rooms together, lives on an event loop, and leaves nothing behind.

start    lock, leftovers of a dead one taken over, segments made, socket bound, declared topics made, collectors started
run      requests, deaths, a look around once a second while there are topics; SIGHUP: the configuration is read again
stop     collectors stopped, goodbye said, waiters woken, segments, socket and lock removed

One that cannot start leaves nothing of its own, and what it was taking over as a killed one would: to the next.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from shmbus import segment
from shmbus._core import Bells, killpoint
from shmbus.bus import Bus
from shmbus.coordinator.access import Access, Person, Subject
from shmbus.coordinator.adoption import Adoption, adopt_bells, read_directory, remove_unadopted
from shmbus.coordinator.announcer import Announcer
from shmbus.coordinator.audit import Audit, open_trail
from shmbus.coordinator.budgets import Budgets
from shmbus.coordinator.cgroups import check as check_cgroups
from shmbus.coordinator.collectors import Collectors
from shmbus.coordinator.configuration import Configuration, nowhere
from shmbus.coordinator.configured import as_settings
from shmbus.coordinator.demotion import Demotion
from shmbus.coordinator.endpoint import Endpoint
from shmbus.coordinator.gates import Gates
from shmbus.coordinator.groups import Groups
from shmbus.coordinator.health import Health
from shmbus.coordinator.joins import Joins
from shmbus.coordinator.journal import Warn
from shmbus.coordinator.keeper import DURABLE, PATTERN, Alert, Keeper
from shmbus.coordinator.keeping import Keeping
from shmbus.coordinator.leases import Leases
from shmbus.coordinator.listing import Inheritance, Listing
from shmbus.coordinator.notify import Notifier
from shmbus.coordinator.outbox import Opener
from shmbus.coordinator.overview import Overview
from shmbus.coordinator.plan import Planner
from shmbus.coordinator.post import Log, Post
from shmbus.coordinator.refusal import NotFound
from shmbus.coordinator.registry import Client, Registry, Topic
from shmbus.coordinator.reload import changes, check, plan_limits
from shmbus.coordinator.requests import Requests
from shmbus.coordinator.rings import Rings
from shmbus.coordinator.server import Server
from shmbus.coordinator.sessions import Sessions
from shmbus.coordinator.settings import Settings, TopicPlan
from shmbus.coordinator.store import Segment, Store
from shmbus.coordinator.strays import BUS_VARIABLE
from shmbus.coordinator.sweep import PERIOD_SECONDS, Sweep
from shmbus.coordinator.tables import NumberTable
from shmbus.coordinator.topics import Topics
from shmbus.directory import BusState, Capacities
from shmbus.errors import ShmbusError
from shmbus.topic import REGISTRATIONS
from shmbus.v1.control_pb2 import (
    AccessChanged,
    ClientStatus,
    ConfigReloaded,
    Done,
    GetStatus,
    ReloadConfig,
    Resume,
    ServerPacket,
    StatusReply,
    StopBus,
    TopicType,
)
from shmbus.v1.rpc_pb2 import COLLECTOR_OPERATION_GET_CONFIG, COLLECTOR_OPERATION_UPDATE_CONFIG, RpcRequest

if TYPE_CHECKING:
    from shmbus.config import Config
    from shmbus.coordinator.calls import Calls
    from shmbus.coordinator.updates import Updates


START_SECONDS = 10.0  # for the keeper to read
_OF_CONFIGURATION = (COLLECTOR_OPERATION_GET_CONFIG, COLLECTOR_OPERATION_UPDATE_CONFIG)


class Coordinator:
    """One bus. `private`: an embedded one, whose segments and socket have no names."""

    def __init__(
        self,
        config: "Config | Settings | None" = None,
        *,
        log: Log = lambda line: None,
        private: bool = False,
        ready: Callable[[], None] = lambda: None,
        configuration: Configuration | None = None,
        hangup_stops: bool = False,
        take_over: bool = False,
    ) -> None:
        """`configuration` is where `config` comes from, to change it; `hangup_stops`: SIGHUP is a terminal's end.

        `take_over`: the coordinator that runs the bus, if any, is killed, and this one goes on with what it leaves.
        """
        self.settings = as_settings(config)
        self._log, self._private, self._ready = log, private, ready
        self._configuration, self._hangup_stops = configuration, hangup_stops
        self._notifier = Notifier()
        self._access = Access(self.settings)
        self._audit = Audit(log)
        self._access.on_decision = self._audit.decided
        self._endpoint = Endpoint(
            self.settings.bus, private=private, open_to_others=self._access.names_others, take_over=take_over
        )
        self._started = time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_reason: asyncio.Future[str] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._updates: Updates | None = None

    @property
    def bus(self) -> str:
        """The name of the bus."""
        return self.settings.bus

    @property
    def address(self) -> str:
        """What clients connect to: a path, or "@..." for a private bus. Known from the start on."""
        return self._endpoint.address

    def run(self, *, signals: bool = True) -> str:
        """Start, serve until stopped, clean up; why it was stopped. Blocks.

        With `signals` SIGINT and SIGTERM stop it, SIGHUP has it configured again, and a service manager is told how it
        goes (main thread only). Raises BusExists, LayoutError, StorageFull, OSError.
        """
        with asyncio.Runner() as runner:
            return runner.run(self._main(signals))

    def stop(self, reason: str = "stopped") -> None:
        """Have run() end. From any thread; more than once does no harm."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._request_stop, reason)

    def snapshot(self) -> StatusReply:
        """What there is now. On the loop's thread; others ask over the control socket (GetStatus)."""
        clients = [self._client_status(client) for client in self._registry.clients.values()]
        return StatusReply(
            bus=self.bus,
            pid=os.getpid(),
            uptime_ms=int((time.monotonic() - self._started) * 1000),
            topics=len(self._registry.topics),
            clients=clients,
            collectors=self._collectors.statuses(),
            health=self._collectors.health().name.lower(),
            repaired_claims=self._sweep.repaired + self._topics.repaired,
            skipped_claims=self._sweep.skipped,
            successors=self._topics.successors,
            refused_peers=self._server.refused,
        )

    async def _main(self, signals: bool) -> str:
        self._loop = asyncio.get_running_loop()
        self._stop_reason = self._loop.create_future()
        if signals:
            self._heed_signals(self._loop)
        # Before anything that a killed coordinator has left is touched.
        at = nowhere if self._configuration is None else self._configuration.at
        check_cgroups(None if self._private else self.bus, self.settings.collectors, at=at)
        try:
            self._audit.write_to(self.settings.audit_file, open_trail(self.settings.audit_file))
            self._endpoint.open(time.time())
            with ExitStack() as made:
                self._build(made)
                self._make_declared(self.settings)
                self._open_for_business()
                if self._keeps:
                    await self._begin_keeping()
                self._store.inherits = False  # from here on it ends in order
                self._ready()
                if signals:
                    self._notifier.ready()
                    self._feed_watchdog()
                reason = await self._stop_reason
                self._audit.done(_ourselves(), "stop", "the bus", reason)
                if signals:
                    self._notifier.stopping()
                await self._wind_down(reason)
                return reason
        finally:
            self._endpoint.close()
            self._audit.close()

    def _heed_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._request_stop, number.name)
        if self._hangup_stops:
            loop.add_signal_handler(signal.SIGHUP, self._request_stop, signal.SIGHUP.name)
        else:
            loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _feed_watchdog(self) -> None:
        if self._notifier.watchdog_seconds:
            self._notifier.alive()
            assert self._loop is not None
            self._loop.call_later(self._notifier.watchdog_seconds, self._feed_watchdog)

    def _build(self, made: ExitStack) -> None:
        """Everything, without serving anybody yet. `made` undoes it, in whatever state it is then."""
        log = self._log
        self._store = store = Store(self.bus, private=self._private)
        made.callback(store.close)
        inherited = Inheritance() if self._private else read_directory(self.bus, store.boot_id)
        adopted = adopt_bells(store)
        store.inherits = adopted is not None
        if adopted is None and not self._private:
            remove_unadopted(store, log)
            # Collectors that run cannot be moved into what is made anew: each begins again.
            inherited = Inheritance(collectors=tuple(replace(one, plan=0) for one in inherited.collectors))
        self._inherited = inherited
        # The old one's place is taken before anything is; removed last: tools take segments without a directory for
        # leftovers.
        self._listing = listing = Listing(store, self.address, self._capacities(), log, inherited)
        made.callback(listing.close)
        killpoint("adopt.directory")
        self._bells_segment, self._bells = adopted or self._make_bells(store)
        killpoint("adopt.bells")
        made.callback(self._bells.close)
        numbers = NumberTable(self._bells.capacity - 1, first=1)  # bell 0 is the bus-wide one
        self._registry = registry = Registry()
        made.callback(self._close_rings)
        self._post = post = Post(self._bells)
        its = self.settings
        producers = 1 + max(plan.ring.producers for plan in (its.default, *its.topics.values()))
        self._sessions = Sessions(store, registry, listing, its.session_cursors, producers)
        gates = Gates(registry, post, self._bells)
        self._groups = groups = Groups(
            store, registry, self._sessions, gates, post, self._bells, capacity=its.max_durables, producers=producers
        )
        joins = Joins(registry, self._sessions, gates, groups, post, log)
        self._keeping = Keeping(store, registry)
        self._topics = Topics(registry, Rings(store), self._keeping, joins, groups, listing, post, self._bells, numbers)
        self._topics.on_made = self._schedule_sweep
        access, self._planner = self._access, Planner(self.settings)
        gates.may_hold = access.may_hold
        health = Health(registry, self._make_topic, self._planner, self._bells, log)
        self._keeper = Keeper(self._connect_keeper, registry, self._alerting(health), log)
        made.callback(self._keeper.stop)
        self._collectors = self._make_collectors(listing, health)
        made.callback(self._collectors.close)
        announcer = Announcer(REGISTRATIONS, registry, self._make_topic, self._planner, self._bells)
        self._leases = Leases(registry, announcer, self._collectors.beats, log)
        made.callback(self._leases.close)
        self._sweep = Sweep(registry, self._topics, Demotion(registry, gates, post, health, log), self._bells, log)
        self._budgets = budgets = Budgets(
            registry, self._topics, post, health, self._audit, self.settings.budget_grace_ns, log
        )
        self._requests = Requests(
            registry, self._topics, joins, groups, self._sweep, access, budgets, self._planner, listing,
            self._look_later,
        )  # fmt: skip
        self._server = Server(
            self._endpoint.listener, self.bus, store.boot_id, registry, self._sessions, self._topics, post, self._bells,
            numbers, access, (listing.segment, self._bells_segment), log,
        )  # fmt: skip
        made.callback(self._hang_up)
        self._server.handlers = {
            **self._requests.handlers,
            **self._collectors.handlers,
            **Overview(registry, access).handlers,
            "resume": self._resume,
            "get_status": self._get_status,
            "call": self._call,
            "reload_config": self._reload_asked,
            "stop_bus": self._stop_bus,
        }
        self._server.recognise = self._collectors.recognise
        self._server.departed = self._leases.departed
        self._requests.on_kept = self._provide_keeper
        if adopted is not None:
            self._take_over(inherited, numbers)
        if self._keeps:
            self._provide_keeper()

    def _make_collectors(self, listing: Listing, health: Health) -> Collectors:
        bus = self.address if self._private else self.bus
        environment = {BUS_VARIABLE: bus, "SHMBUS_RUNTIME_DIR": str(segment.runtime_directory())}
        return Collectors(environment, bus, self._registry, listing, self._access, health, self._log)

    def _make_bells(self, store: Store) -> tuple[Segment, Bells]:
        capacity = self.settings.max_bells
        return store.make(
            segment.bells_name(self.bus), Bells.layout(capacity), lambda fd: Bells.create(fd, capacity, store.boot_id)
        )

    def _take_over(self, inherited: Inheritance, numbers: NumberTable) -> None:
        """What a killed coordinator left goes on under this one."""
        adoption = Adoption(
            self._store, self._registry, self._groups, self._keeping, self._planner, inherited, self._log
        )
        adoption.run()
        for bell in sorted(adoption.bells_in_use()):
            numbers.claim(bell)
        self._sessions.continue_from(adoption.last_page)
        self._topics.take_over()
        for client in (*adoption.dead, *adoption.left, *adoption.absent):
            self._listing.put_client(client)
        self._leases.take_over()
        for client in adoption.dead:
            self._server.bury(client)
        for client in adoption.left:
            self._server.let_go(client)
        self._groups.let_go_if_empty()
        killpoint("adopt.buried")
        for client in adoption.absent:
            self._server.expect_back(client)
            self._bells.ring(client.bell)
        killpoint("adopt.expected")
        remove_unadopted(self._store, self._log)
        topics, absent, dead = len(self._registry.topics), len(adoption.absent), len(adoption.dead)
        left = f", {len(adoption.left)} have left" if adoption.left else ""
        self._log(f"took over {topics} topics from a killed coordinator; {absent} clients live, {dead} are dead{left}")

    def _make_topic(self, name: str, kind: TopicType, plan: TopicPlan) -> Topic:
        return self._requests.make_topic(name, kind, plan)

    def _capacities(self) -> Capacities:
        its = self.settings
        return Capacities(its.max_topics, its.max_sessions, its.max_collectors, its.max_descriptor_bytes)

    @property
    def _keeps(self) -> bool:
        """Is there a topic that keeps the last message of each key, or may there be one?"""
        return self.settings.keeps_any or any(topic.kept for topic in self._registry.topics.values())

    async def _begin_keeping(self) -> None:
        if self._keeper.started:
            return
        assert self._loop is not None
        loop, joined = self._loop, asyncio.Event()

        def tell() -> None:
            loop.call_soon_threadsafe(joined.set)

        self._keeper.start(tell)
        await asyncio.wait_for(joined.wait(), START_SECONDS)

    def _provide_keeper(self) -> None:
        """What is published from here on is there for it, whenever it begins."""
        self._groups.provide(DURABLE.wire(), PATTERN)

    def _keep(self) -> None:
        """A topic is to be made that keeps last messages, and it may be the first."""
        self._provide_keeper()
        if not self._keeper.started:
            self._keeper.start(lambda: None)

    def _connect_keeper(self) -> Bus:
        return Bus(self.address if self._private else self.bus, name="keeper", timeout=START_SECONDS)

    def _alerting(self, health: Health) -> Alert:
        """For another thread."""
        assert self._loop is not None
        loop = self._loop

        def alert(title: str, description: str, resources: list[str]) -> None:
            loop.call_soon_threadsafe(health.alert, title, description, resources)

        return alert

    def _open_for_business(self) -> None:
        self._requests.on_kept = self._keep
        self._listing.set_state(BusState.RUNNING)
        for note in self._configuration.notes if self._configuration is not None else ():
            self._log(Warn(note))
        self._collectors.begin(self.settings, self._inherited)

    def _reload(self) -> None:
        """Go by the configuration as it is now, as SIGHUP asks for."""
        if self._configuration is None:
            self._log("there is no configuration to be read again")
            return
        self._notifier.reloading()
        try:
            self._read_again(self._configuration, _ourselves(), "SIGHUP")
        except (ShmbusError, OSError) as error:
            self._log(Warn(f"the configuration was not changed: {error}"))
            self._audit.done(_ourselves(), "reload", "the configuration", f"SIGHUP; not changed: {error}")
        self._notifier.ready()

    def _reload_asked(self, client: Client, request: ReloadConfig) -> tuple[Message, Sequence[Opener]]:
        self._access.check_administer(client, "#", "reload")
        if self._configuration is None:
            raise NotFound(
                "this bus goes by no configuration that could be read again: it is embedded. Begin it with another"
            )
        found = self._read_again(self._configuration, client, "by a call", validate_only=request.validate_only)
        return ConfigReloaded(differences=found), ()

    def _read_again(
        self, configuration: Configuration, by: Subject, how: str, *, validate_only: bool = False
    ) -> list[str]:
        """All of the file counts, or, where anything of it cannot be, nothing; what is different.

        Raises ConfigurationError, LimitError, StorageFull, OSError.
        """
        draft = configuration.read()
        check(self.settings, draft.settings, configuration.at)
        check_cgroups(None if self._private else self.bus, draft.settings.collectors, at=configuration.at)
        limits = plan_limits(self._registry, self.settings, draft.settings)
        found = changes(self.settings, draft.settings)
        if validate_only:
            return found
        trail = open_trail(draft.settings.audit_file)  # the same one anew, too: it may have been rotated away
        self._make_declared_or_close(draft.settings, trail)
        killpoint("reload.checked")
        configuration.accept(draft)
        self._go_by_rules(draft.settings)  # first: who reads that it was read again may rely on them
        self._log(f"the configuration was read again: {len(found) or 'no'} change{'s' * (len(found) != 1)}")
        self._audit.write_to(draft.settings.audit_file, trail)
        self._audit.done(by, "reload", "the configuration", f"{how}; {len(found) or 'no'} changes")
        for line in found:
            self._log(f"changed: {line}")
        if self._updates is not None:
            self._updates.abandon("the configuration was read again")
        self._go_by(draft.settings, limits)
        killpoint("reload.done")
        return found

    def _go_by_rules(self, settings: Settings) -> None:
        self.settings = settings
        self._access.replace(settings)
        self._budgets.grace_ns = settings.budget_grace_ns
        for client in self._registry.clients.values():
            self._post.push(client, ServerPacket(access_changed=AccessChanged()))
        self._planner.replace(settings)
        self._endpoint.open_to(self._access.names_others)

    def _go_by(self, settings: Settings, limits: Mapping[Topic, TopicPlan]) -> None:
        for topic, plan in limits.items():
            self._requests.change_limits(topic, plan)
        self._collectors.apply(settings.collectors)

    def _make_declared_or_close(self, settings: Settings, descriptor: int) -> None:
        try:
            self._make_declared(settings)
        except BaseException:
            if descriptor >= 0:
                os.close(descriptor)
            raise

    def _make_declared(self, settings: Settings) -> None:
        planner = Planner(settings)
        for name in settings.declared:
            if name not in self._registry.topics:  # else taken over, or there before the file was read again
                self._requests.make_topic(name, TopicType(), planner.plan(name))

    async def _wind_down(self, reason: str) -> None:
        self._listing.set_state(BusState.STOPPING)
        if self._updates is not None:
            self._updates.abandon("the bus is being stopped")
        await self._collectors.stop_all()
        self._server.stopping = True
        self._server.close(reason)
        if self._configuration is not None:
            self._configuration.end(self.bus)
        self._listing.set_state(BusState.STOPPED)
        self._bells.ring(0)
        for topic in self._registry.lanes():
            self._bells.ring(topic.bell)
            self._bells.ring_space(topic.bell)

    def _hang_up(self) -> None:
        """It could not start, or has ended in order already."""
        if self._store.inherits:
            self._server.abandon()
        else:
            self._server.close("the coordinator failed")

    def _close_rings(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._updates is not None:
            self._updates.close()
        for topic in self._registry.lanes():
            for generation in topic.generations:
                generation.ring.close()
            if topic.kept is not None:
                topic.kept.writer.close()

    def _request_stop(self, reason: str) -> None:
        if self._stop_reason is not None and not self._stop_reason.done():
            self._stop_reason.set_result(reason)

    def _schedule_sweep(self) -> None:
        """From the first topic on: before that there is nothing to look after."""
        assert self._loop is not None
        if self._timer is None:
            self._timer = self._loop.call_later(PERIOD_SECONDS, self._sweep_now)

    def _sweep_now(self) -> None:
        self._timer = None
        self._schedule_sweep()  # first: whatever goes wrong in this one, the next comes
        now = time.monotonic_ns()
        self._sweep.run(now)
        self._groups.expire(now)
        self._budgets.look(now)
        self._server.forget_settled()

    def _look_later(self, topic: Topic, at_ns: int) -> None:
        assert self._loop is not None
        delay = max(at_ns - time.monotonic_ns(), 0) / 1e9
        self._loop.call_later(delay, self._look_now, topic)

    def _look_now(self, topic: Topic) -> None:
        for generation in list(topic.generations):
            self._sweep.look(topic, generation, time.monotonic_ns(), asked=True)

    def _get_status(self, client: Client, request: GetStatus) -> tuple[Message, Sequence[Opener]]:
        return self.snapshot(), ()

    def _resume(self, client: Client, request: Resume) -> tuple[Message, Sequence[Opener]]:
        bells = self._collectors.ready(client) if request.ready else ()
        answer, openers = self._requests.resume(client, request)
        self._leases.resumed(client, {one.collector_id for one in request.registrations})
        if request.registrations:
            self._calls.resumed(client, request.registrations)
        return answer, (*openers, *bells)

    def _call(self, client: Client, request: RpcRequest) -> tuple[Message, Sequence[Opener]]:
        if request.operation in _OF_CONFIGURATION:
            return self._changing.answer(client, request)
        return self._calls.answer(client, request), ()

    @cached_property
    def _calls(self) -> "Calls":
        """Imported when somebody calls: a bus on which nobody does starts without it."""
        from shmbus.coordinator.calls import Calls

        return Calls(self._leases, self._collectors.children, self._access, self._log)

    @property
    def _changing(self) -> "Updates":
        """Imported when somebody asks for a configuration, as `_calls`."""
        if self._updates is None:
            from shmbus.coordinator.updates import Updates

            def go_by(settings: Settings) -> None:
                self._go_by_rules(settings)
                self._go_by(settings, {})

            self._updates = Updates(
                self._configuration, self._collectors, self._access, lambda: self.settings, go_by, self._log
            )
        return self._updates

    def _stop_bus(self, client: Client, request: StopBus) -> tuple[Message, Sequence[Opener]]:
        self._access.check_administer(client, "#", "stop")
        self._request_stop(f"asked for by {client.who}")
        return Done(), ()

    def _client_status(self, client: Client) -> ClientStatus:
        return ClientStatus(
            name=client.name,
            pid=client.identity.pid,
            uid=client.uid,
            session=client.number,
            publishers=sum(len(ids) for ids in client.producers.values()),
            subscriptions=len(client.subscriptions),
            queued_packets=self._server.queued(client),
        )


def _ourselves() -> Person:
    """For what a signal has us do."""
    return Person(os.geteuid(), os.getegid(), pid=os.getpid(), name="coordinator")
