"""The collectors of a bus as everybody else sees them: what may be asked of them, how they are, and who is told.

Health of one that runs is the worse of what its heartbeat says (pulse.py) and of what it says itself (said.py), of any
other what its state says; the health of all is that of the worst, told as a HeartbeatPayload on `control.health.status`
when it is another than before and twice a minute, with the number of connected clients. The ladder for one that does
not move: it is looked at and told of (degraded), asked to end (unresponsive), killed after the grace, and started again
as its restart policy says. It is judged by the interval that it was told when it announced itself: another one in the
configuration counts when it does so again.

What one says of itself is told, and leads to nothing else by itself: it moves, so it does some of its work, and a new
start may mend nothing (a full disk) or cost what still goes. Where the configuration says after how long
(`restart_unhealthy_seconds`), one that says all that time that it is unhealthy goes down the same ladder. Degraded
never does.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from google.protobuf.message import Message

from shmbus.condition import Condition, reason_by
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

_HEALTH = {State.BACKING_OFF: Health.UNHEALTHY, State.FAILED: Health.UNHEALTHY}
_THERE = (State.RUNNING, State.PAUSED, State.STOPPING)

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
        self._vigil = Vigil(self._words, self._moved, self._patience, self._overdue)
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
        bells = self.ready(client)
        plan = self.children.collectors[client.collector].plan
        return ReadyNoted(heartbeat_ms=int(plan.heartbeat_seconds * 1000), collector=client.collector), bells

    def ready(self, client: Client) -> Sequence[Opener]:
        """The same, said by one that resumes: what it is to wake us by, if somebody looks."""
        name = client.collector
        if name is None:
            return ()
        self._watch(name, client)
        self.children.announced(name)
        return (partial(self._vigil.open_bell, name),) if self._vigil.watches(name) else ()

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
        return max((self.condition_of(one).health for one in self.children.collectors.values()), default=Health.HEALTHY)

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

    def _words(self, session: int) -> tuple[int, int, str] | None:
        page = self._registry.pages.get(session)
        return None if page is None else (*page.session.pulse, reason_by(page.session.reason))

    def _patience(self, name: str) -> float | None:
        return self.children.collectors[name].plan.unhealthy_seconds

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

    def _moved(self, name: str, before: Condition, interval: float) -> None:
        """Or it says something else of itself."""
        collector, now = self.children.collectors[name], self._vigil.condition(name)
        if now.said is not before.said:
            self._tell_word(name, now, before.said)
        if now.seen is Health.HEALTHY and before.seen is not Health.HEALTHY:
            self._log(f"{name}: moves")
        elif now.seen is Health.DEGRADED and before.seen is not Health.DEGRADED:
            how = f"has not moved for {DEGRADED_INTERVALS * interval:.3g} s{_why(collector)}{_stale(now)}"
            self._log(Warn(f"{name}: {how}"))
            self._alerts.alert(f"collector {name} is degraded", f"It {how}.", [name])
        elif now.seen is Health.UNRESPONSIVE and before.seen is not Health.UNRESPONSIVE:
            how = f"it did not move for {UNRESPONSIVE_INTERVALS * interval:.3g} s{_why(collector)}"
            self._alerts.alert(f"collector {name} is unresponsive", f"{how.capitalize()}, and is ended.", [name])
            self.children.fail(name, how)
        self._show(collector)
        self.on_change(collector)

    def _tell_word(self, name: str, now: Condition, before: Health) -> None:
        """Another reason alone is shown, and not told: it may have a number in it that changes all the time."""
        word = now.said
        if word > Health.HEALTHY:
            how = f"says that it is {word.name.lower()}"
            self._log(Warn(f"{name}: says that it is {now.complaint}"))
            reason = f"Its reason: {now.reason}" if now.reason else "It gives no reason."
            self._alerts.alert(f"collector {name} {how}", f"It {how}, of itself: it moves. {reason}", [name])
        elif before > Health.HEALTHY:
            self._log(f"{name}: says that it is {word.name.lower()} again")

    def _overdue(self, name: str, patience: float) -> None:
        how = f"it said for {patience:g} s that it is unhealthy"
        if self.children.collectors[name].life.state is State.RUNNING:
            self._alerts.alert(f"collector {name} stays unhealthy", f"{how.capitalize()}, and is ended.", [name])
            self.children.fail(name, how)

    def _show(self, collector: Collector) -> None:
        """In the directory; and if all is better or worse by it, on the bus."""
        if self._timer is None:  # from the first collector on
            self._timer = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell_again)
        state, condition = collector.life.state, self.condition_of(collector)
        known = self._since.get(collector.name)
        if known is None or known[:2] != (state, condition.health):
            self._since[collector.name] = (state, condition.health, time.monotonic())
        self._listing.put_collector(collector, condition)
        overall = self.health()
        if overall not in (self._overall, Health.UNKNOWN):  # all starting: no news
            self._overall = overall
            self._tell(overall)

    def _tell_again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell_again)
        self._tell(self.health())

    def _tell(self, overall: Health) -> None:
        each = [self.condition_of(one).health for one in self.children.collectors.values()]
        self._alerts.tell(
            HeartbeatPayload(
                component_id="bus",
                health_status=overall.name,
                uptime_seconds=int(time.monotonic() - self._began),
                active_connections=len(self._registry.clients),
                metrics={"collectors": len(each)}
                | {f"collectors_{one.name.lower()}": each.count(one) for one in Health if one in each},
            )
        )

    def condition_of(self, collector: Collector) -> Condition:
        """Of one: what its heartbeat and itself say while it runs, else what its state says."""
        state, found = collector.life.state, self._vigil.condition(collector.name)
        if state is State.PAUSED:
            return found._replace(seen=Health.DEGRADED)
        if state in (State.RUNNING, State.STOPPING):
            unseen = found.seen is Health.UNKNOWN and state is State.RUNNING
            return found._replace(seen=Health.HEALTHY) if unseen else found
        return Condition(_HEALTH.get(state, Health.UNKNOWN))

    def _status(self, collector: Collector) -> CollectorStatus:
        life, silent, condition = collector.life, self._vigil.silent(collector.name), self.condition_of(collector)
        _, _, since = self._since.get(collector.name, (None, None, time.monotonic()))
        return CollectorStatus(
            name=collector.name,
            state=life.state,
            pid=life.pid,
            restarts=life.restarts,
            reason=life.reason,
            health=condition.health.name.lower(),
            said=condition.says,
            said_reason=condition.reason,
            why=condition.why("it is paused" if life.state is State.PAUSED else f"it does not move{_why(collector)}")
            if life.state in _THERE
            else "",
            last_lines=life.last_lines,
            since_ms=int((time.monotonic() - since) * 1000),
            silent_ms=None if silent is None else int(silent * 1000),
            queue_depth=queue_depth(self._registry, collector.name),
        )


def _why(collector: Collector) -> str:
    process = collector.process
    return ": its process is stopped" if process is not None and is_stopped(process.identity) else ""


def _stale(condition: Condition) -> str:
    """What it said of itself last counts, but nobody knows whether it is so still."""
    complaint = condition.complaint
    return f"; that it is {complaint}, as it said before, is stale" if complaint else ""
