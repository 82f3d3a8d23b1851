"""The collectors of a bus as everybody else sees them: what may be asked of them, how they are, and who is told.

Health of one that runs is what its heartbeat says (pulse.py), of any other what its state says; the health of all is
that of the worst, told as a HeartbeatPayload on `control.health.status` when it is another than before and twice a
minute. The ladder for one that does not move: it is looked at and told of (degraded), asked to end
(unresponsive), killed after the grace, and started again as its restart policy says. It is judged by the interval that
it was told when it announced itself: another one in the configuration counts when it does so again.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message

from shmbus.coordinator.access import Access
from shmbus.coordinator.children import Children, Collector
from shmbus.coordinator.depths import queue_depth
from shmbus.coordinator.health import Health as Alerts
from shmbus.coordinator.journal import Warn
from shmbus.coordinator.listing import Inheritance, Listing
from shmbus.coordinator.outbox import Opener
from shmbus.coordinator.post import Log
from shmbus.coordinator.pulse import DEGRADED_INTERVALS, UNRESPONSIVE_INTERVALS
from shmbus.coordinator.registry import Client, Registry
from shmbus.coordinator.settings import CollectorPlan, Settings
from shmbus.coordinator.supervisor import State
from shmbus.coordinator.vigil import Vigil
from shmbus.directory import Health
from shmbus.process import Identity, is_stopped
from shmbus.topic import CALL_REQUESTS
from shmbus.v1.control_pb2 import AnnounceReady, CollectorStatus, ControlCollector, ReadyNoted
from shmbus.v1.eventbus_pb2 import HeartbeatPayload

_HEALTH = {State.PAUSED: Health.DEGRADED, State.BACKING_OFF: Health.UNHEALTHY, State.FAILED: Health.UNHEALTHY}

TELL_SECONDS = 30.0

Answer = tuple[Message, Sequence[Opener]]


class Collectors:
    """All of a bus, on a running event loop."""

    def __init__(
        self, environment: dict[str, str], bus: str, registry: Registry, listing: Listing, access: Access,
        alerts: Alerts, log: Log,
    ) -> None:  # fmt: skip
        self._registry, self._listing, self._access, self._alerts, self._log = registry, listing, access, alerts, log
        self.children = Children(environment, bus, log, self._changed)
        self._vigil = Vigil(self.beats, self._moved)
        self._told: dict[str, State] = {}
        self._since: dict[str, tuple[State, Health, float]] = {}
        self._overall, self._began = Health.HEALTHY, time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self.on_change: Callable[[Collector], None] = lambda collector: None  # its state or health, whenever
        actions = self.children
        self._actions: dict[int, Any] = {
            ControlCollector.ACTION_START: actions.start,
            ControlCollector.ACTION_STOP: actions.stop,
            ControlCollector.ACTION_RESTART: actions.restart,
            ControlCollector.ACTION_PAUSE: actions.pause,
            ControlCollector.ACTION_RESUME: actions.resume,
            ControlCollector.ACTION_RELOAD: actions.reload,
        }
        self.handlers = {"announce_ready": self.announce_ready, "control_collector": self.control}

    def begin(self, settings: Settings, inherited: Inheritance) -> None:
        """Start those that are enabled, and go on with those that a killed coordinator had."""
        self.children.begin(settings.collectors, inherited.collectors)
        for entry in inherited.collectors:
            if entry.name not in self.children.collectors:
                self._listing.remove_collector(entry.name)
        for client in self._registry.clients.values():
            client.collector = self.recognise(None, client.identity)
            if client.collector is not None and self.beats(client.number):
                self._watch(client.collector, client)

    def recognise(self, token: str | None, identity: Identity | None) -> str | None:
        """The collector that a process is. Raises AccessDenied for a wrong token."""
        return self.children.recognise(token, identity)

    def announce_ready(self, client: Client, request: AnnounceReady) -> Answer:
        """A collector does its work now: how often it is to move."""
        if client.collector not in self.children.collectors:
            return ReadyNoted(), ()
        self.ready(client)
        plan = self.children.collectors[client.collector].plan
        return ReadyNoted(heartbeat_ms=int(plan.heartbeat_seconds * 1000), collector=client.collector), ()

    def ready(self, client: Client) -> None:
        """The same, said by one that resumes."""
        if client.collector is not None:
            self._watch(client.collector, client)
            self.children.announced(client.collector)

    def control(self, client: Client, request: ControlCollector) -> Answer:
        """Start, stop, restart, pause, resume, reload: its status right after."""
        action = self._actions.get(request.action)
        verb = ControlCollector.Action.Name(request.action) if action else "administer"
        self._access.check_administer(client, CALL_REQUESTS + request.name, verb.removeprefix("ACTION_").lower())
        if action is None:
            raise ValueError(f"there is no action {request.action}: choose one of ControlCollector.Action")
        return self._status(action(request.name)), ()

    def statuses(self) -> list[CollectorStatus]:
        """How each of them is."""
        return [self._status(one) for one in self.children.collectors.values()]

    def health(self) -> Health:
        """Of all: the worst."""
        return max(map(self.health_of, self.children.collectors.values()), default=Health.HEALTHY)

    def apply(self, plans: Sequence[CollectorPlan]) -> None:
        """These are configured from now on: some are new, some are no more, some are run in another way."""
        new, known = {plan.name: plan for plan in plans}, self.children.collectors
        for name in [name for name in known if name not in new]:
            self.children.remove(name)
        for name, plan in new.items():
            collector = known.get(name)
            if collector is None or collector.leaving:
                self.children.add(plan)
            elif collector.plan != plan:
                self.children.change(plan)

    async def stop_all(self) -> None:
        """Returns when every process is gone."""
        await self.children.stop_all()

    def close(self) -> None:
        """Look after nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._vigil.close()
        self.children.close()

    def _watch(self, name: str, client: Client) -> None:
        self._vigil.watch(name, client.number, self.children.collectors[name].plan.heartbeat_seconds)

    def beats(self, session: int) -> int | None:
        """The heartbeat word of a session; None: that is gone."""
        page = self._registry.pages.get(session)
        return None if page is None else page.session.heartbeat

    def _changed(self, collector: Collector) -> None:
        name, state = collector.name, collector.life.state
        if self._told.get(name) is not state:
            self._told[name] = state
            self._follow(collector)
        if collector.leaving and state is State.STOPPED:
            self._listing.remove_collector(name)
            del self._told[name]
            self._since.pop(name, None)
        else:
            self._show(collector)
        self.on_change(collector)

    def _follow(self, collector: Collector) -> None:
        name, life = collector.name, collector.life
        if life.state is State.RUNNING:
            self._vigil.go_on(name)
        elif life.state in (State.PAUSED, State.STOPPING):
            self._vigil.rest(name)
        else:
            self._vigil.forget(name)
        if life.state is State.FAILED:
            self._alerts.alert(f"collector {name} has failed", life.reason, [name])

    def _moved(self, name: str, health: Health, interval: float) -> None:
        collector = self.children.collectors[name]
        if health is Health.HEALTHY:
            self._log(f"{name}: moves")
        elif health is Health.DEGRADED:
            how = f"has not moved for {DEGRADED_INTERVALS * interval:.3g} s{_why(collector)}"
            self._log(Warn(f"{name}: {how}"))
            self._alerts.alert(f"collector {name} is degraded", f"It {how}.", [name])
        else:
            how = f"it did not move for {UNRESPONSIVE_INTERVALS * interval:.3g} s{_why(collector)}"
            self._alerts.alert(f"collector {name} is unresponsive", f"{how.capitalize()}, and is ended.", [name])
            self.children.hung(name, how)
        self._show(collector)
        self.on_change(collector)

    def _show(self, collector: Collector) -> None:
        """In the directory; and if all is better or worse by it, on the bus."""
        if self._timer is None:  # from the first collector on
            self._timer = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell_again)
        state, health = collector.life.state, self.health_of(collector)
        known = self._since.get(collector.name)
        if known is None or known[:2] != (state, health):
            self._since[collector.name] = (state, health, time.monotonic())
        self._listing.put_collector(collector, health)
        overall = self.health()
        if overall not in (self._overall, Health.UNKNOWN):  # all starting: no news
            self._overall = overall
            self._tell(overall)

    def _tell_again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell_again)
        self._tell(self.health())

    def _tell(self, overall: Health) -> None:
        each = [self.health_of(one) for one in self.children.collectors.values()]
        self._alerts.tell(
            HeartbeatPayload(
                component_id="bus",
                health_status=overall.name,
                uptime_seconds=int(time.monotonic() - self._began),
                metrics={"collectors": len(each)}
                | {f"collectors_{one.name.lower()}": each.count(one) for one in Health if one in each},
            )
        )

    def health_of(self, collector: Collector) -> Health:
        """Of one: what its heartbeat says while it runs, else what its state says."""
        state = collector.life.state
        if state in (State.RUNNING, State.STOPPING):
            return self._vigil.health(collector.name) or (Health.HEALTHY if state is State.RUNNING else Health.UNKNOWN)
        return _HEALTH.get(state, Health.UNKNOWN)

    def _status(self, collector: Collector) -> CollectorStatus:
        life, silent = collector.life, self._vigil.silent(collector.name)
        _, _, since = self._since.get(collector.name, (None, None, time.monotonic()))
        return CollectorStatus(
            name=collector.name,
            state=life.state,
            pid=life.pid,
            restarts=life.restarts,
            reason=life.reason,
            health=self.health_of(collector).name.lower(),
            last_lines=life.last_lines,
            since_ms=int((time.monotonic() - since) * 1000),
            silent_ms=None if silent is None else int(silent * 1000),
            queue_depth=queue_depth(self._registry, collector.name),
        )


def _why(collector: Collector) -> str:
    process = collector.process
    return ": its process is stopped" if process is not None and is_stopped(process.identity) else ""
