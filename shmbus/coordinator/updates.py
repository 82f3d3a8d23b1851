"""How collectors are run, asked for and changed by calls: GET_CONFIG, UPDATE_CONFIG, and the file read again.

    validated ──▶ counts ──▶ on trial (trial.py) ──kept──▶ in the changes file, answered
                                    │
                                    └──failed──▶ rolled back, on trial again ──▶ answered with what went wrong

A change of a collector that has no process, and one that stops it, needs no trial. The answer of one that does comes
through a pipe, so that nobody waits in line for it. A coordinator that is killed in mid-trial has kept nothing: the
next one goes by the configuration from before.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

from google.protobuf.message import Message

from shmbus._core import killpoint
from shmbus.coordinator.access import Access
from shmbus.coordinator.cgroups import check as check_cgroups
from shmbus.coordinator.children import Collector
from shmbus.coordinator.collectors import Collectors
from shmbus.coordinator.configuration import Change, Configuration
from shmbus.coordinator.journal import Warn
from shmbus.coordinator.outbox import Opener
from shmbus.coordinator.post import Log
from shmbus.coordinator.registry import Client
from shmbus.coordinator.reload import changes as differences_of
from shmbus.coordinator.reload import check
from shmbus.coordinator.settings import CollectorPlan, Settings
from shmbus.coordinator.supervisor import ALIVE, State, Supervised
from shmbus.coordinator.trial import Outcome, Sight, Trial
from shmbus.errors import ConfigurationError, RpcError
from shmbus.rpc.failure import failure, status_to_wire, to_wire
from shmbus.rpc.operations import GET_CONFIG, UPDATE_CONFIG
from shmbus.rpc.values import from_values, to_values
from shmbus.v1 import rpc_pb2 as wire

HEALTHY_WITHIN_SECONDS: Final = 10.0  # unless the call says otherwise
LONGEST_WITHIN_SECONDS: Final = 3600.0
OPERATIONS: Final = frozenset({GET_CONFIG, UPDATE_CONFIG})
_ANSWER_BYTES = 48 << 10  # a pipe takes 64 KiB without a reader

Answer = tuple[Message, Sequence[Opener]]


class _Update:
    """One that is on trial, or is going to be. `ran`: there was a process of it before."""

    def __init__(self, change: Change, before: CollectorPlan, trial: Trial, *, ran: bool, rolls_back: bool) -> None:
        self.change, self.before, self.trial = change, before, trial
        self.ran, self.rolls_back = ran, rolls_back
        self.failed = ""  # why the change did not do: what is on trial now is the configuration from before
        self.lines = ""  # that its process printed last
        self.timer: asyncio.TimerHandle | None = None
        self.response = wire.RpcResponse()
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def begin(self, response: wire.RpcResponse) -> None:
        """That answer says that it has begun; what it was to say comes in the end."""
        self.response.CopyFrom(response)
        self.response.config.tried = True
        response.ClearField("payload")
        response.status = wire.RPC_STATUS_IN_PROGRESS

    def answer(self) -> None:
        """To whoever asked, if it is still there."""
        if self.response.ByteSize() > _ANSWER_BYTES:
            self.response.config.ClearField("config")  # it can be asked for
        with suppress(BrokenPipeError):
            os.write(self.writer, self.response.SerializeToString())
        self.close()

    def close(self) -> None:
        """Watch no more."""
        if self.timer is not None:
            self.timer.cancel()
        os.close(self.reader)
        os.close(self.writer)


class Updates:
    """Of one bus, on a running event loop. `settings` is what counts now, and `go_by` has other ones count."""

    def __init__(
        self, configuration: Configuration | None, collectors: Collectors, access: Access,
        settings: Callable[[], Settings], go_by: Callable[[Settings], None], log: Log,
    ) -> None:  # fmt: skip
        self._configuration, self._collectors, self._access = configuration, collectors, access
        self._settings, self._go_by, self._log = settings, go_by, log
        self._loop = asyncio.get_running_loop()
        self._trials: dict[str, _Update] = {}
        collectors.on_change = self._changed

    def answer(self, client: Client, request: wire.RpcRequest) -> Answer:
        """One of OPERATIONS. Raises AccessDenied: an environment may hold secrets, so reading it is administration."""
        self._access.check_administer(client, "#")
        begun = time.monotonic_ns()
        response = wire.RpcResponse(
            request_id=request.request_id, service_id="coordinator", operation=request.operation
        )
        openers: Sequence[Opener] = ()
        try:
            if int(request.operation) == GET_CONFIG:
                self._get(request.target, response)
            else:
                openers = self._update(client, request, response)
        except RpcError as error:
            _refuse(response, error)
        response.timestamp = time.time_ns() // 1_000_000
        response.execution_time_us = response.total_time_us = (time.monotonic_ns() - begun) // 1000
        return response, openers

    def abandon(self, why: str) -> None:
        """All that is on trial: something else counts from now on."""
        for name, update in self._trials.items():
            _refuse(
                update.response, failure(name, UPDATE_CONFIG, "INVALID_STATE", f"it does not count any more: {why}")
            )
            update.answer()
        self._trials.clear()

    def close(self) -> None:
        """Who waits for an answer is told by the pipe's end."""
        for update in self._trials.values():
            update.close()
        self._trials.clear()

    # ---- asked for ---------------------------------------------------------------------------------------------------

    def _get(self, name: str, response: wire.RpcResponse) -> None:
        configuration, _ = self._known(name, GET_CONFIG)
        response.status = wire.RPC_STATUS_SUCCESS
        response.config.CopyFrom(
            wire.ConfigData(
                collector_id=name,
                config=to_values(configuration.shown(name)),
                changed=configuration.changed_keys(name),
            )
        )

    def _update(self, client: Client, request: wire.RpcRequest, response: wire.RpcResponse) -> Sequence[Opener]:
        name, asked = request.target, request.config_update
        configuration, collector = self._known(name, UPDATE_CONFIG)
        change = self._valid(configuration, name, asked)
        within = _within(name, asked)
        settings = self._settings()
        after = _with_plan(settings, change.plan)
        found = differences_of(settings, after)
        response.config.CopyFrom(
            wire.ConfigData(collector_id=name, config=to_values(configuration.shown_with(change)), differences=found)
        )
        response.status = wire.RPC_STATUS_SUCCESS
        if asked.validate_only or not (found or asked.restart_required):
            return ()
        self._log(f"{name}: {len(found) or 'no'} changes by {client.who}")
        for line in found:
            self._log(f"changed: {line}")
        ran = collector.life.state in ALIVE - {State.STOPPING}
        before, rolls_back = collector.plan, asked.rollback_on_failure
        update = _Update(
            change, before, Trial(within), ran=ran, rolls_back=rolls_back
        )  # what it takes, before all else
        configuration.begin_trial(change)
        self._go_by(after)
        killpoint("config.applied")
        if asked.restart_required and ran:
            self._collectors.children.restart(name)
        if _is_to_run(collector.life):
            update.begin(response)
            return self._try(update)
        update.close()
        self._keep(configuration, change, before)
        return ()

    def _known(self, name: str, operation: int) -> tuple[Configuration, Collector]:
        collector = self._collectors.children.collectors.get(name)
        if collector is None or collector.leaving:
            known = ", ".join(sorted(self._collectors.children.collectors)) or "none"
            raise failure(
                name, operation, "CONFIG_NOT_FOUND", f"there is no collector of that name; there are: {known}"
            )
        if self._configuration is None:
            raise failure(name, operation, "CONFIG_NOT_FOUND", "this bus goes by no configuration: it is embedded")
        if name in self._trials and operation == UPDATE_CONFIG:
            raise failure(name, operation, "INVALID_STATE", "another change of it is on trial")
        return self._configuration, collector

    def _valid(self, configuration: Configuration, name: str, asked: wire.ConfigUpdateRequest) -> Change:
        try:
            change = configuration.changed(name, from_values(asked.config_changes))
            after = _with_plan(self._settings(), change.plan)
            check(self._settings(), after)
            check_cgroups(after.bus, after.collectors)
        except ConfigurationError as error:
            context = {"key": error.key or "", "value": str(error.value), "allowed": error.allowed}
            raise failure(name, UPDATE_CONFIG, "VALIDATION_FAILED", str(error), context=context) from None
        return change

    # ---- on trial ----------------------------------------------------------------------------------------------------

    def _try(self, update: _Update) -> Sequence[Opener]:
        self._trials[update.change.name] = update
        self._look_soon(update.change.name)
        return (partial(os.dup, update.reader),)

    def _changed(self, collector: Collector) -> None:
        """Told in the middle of what is done to it: looked at when that is done."""
        if collector.name in self._trials:
            self._look_soon(collector.name)

    def _look_soon(self, name: str) -> None:
        self._loop.call_soon(self._look, name)

    def _look(self, name: str) -> None:
        update, collector = self._trials.get(name), self._collectors.children.collectors.get(name)
        if update is None:
            return
        if update.timer is not None:
            update.timer.cancel()
        if collector is None:
            return self._conclude(name, Outcome.ABANDONED, "it is not configured any more")
        outcome = update.trial.look(
            Sight.of(collector.life, self._collectors.condition_of(collector)), self._loop.time()
        )
        if outcome is not None:
            self._conclude(name, outcome, update.trial.why)
        elif update.trial.due is not None:
            update.timer = self._loop.call_at(update.trial.due, self._look, name)

    def _conclude(self, name: str, outcome: Outcome, why: str) -> None:
        update = self._trials[name]
        if outcome is Outcome.FAILED and update.rolls_back and not update.failed:
            return self._roll_back(update)
        del self._trials[name]
        try:
            self._settle(update, outcome, why)
        except RpcError as error:
            _refuse(update.response, error)
        update.answer()

    def _settle(self, update: _Update, outcome: Outcome, why: str) -> None:
        """What it came to. Raises RpcError for what is no success."""
        configuration, name = self._configuration, update.change.name
        assert configuration is not None
        if update.failed:
            raise self._rolled_back(update, outcome, why)
        if outcome is Outcome.FAILED:  # and it is to stay so
            self._keep(configuration, update.change, update.before)
            self._log(Warn(f"{name}: does not do well with its changed configuration: {why}"))
            reason = f"it counts, and does not do well: {why}"
            raise failure(name, UPDATE_CONFIG, "CONFIGURATION_ERROR", reason, context={"rolled_back": "false"})
        self._keep(configuration, update.change, update.before)
        if outcome is Outcome.ABANDONED:
            self._log(Warn(f"{name}: whether it does well with its changed configuration is not known: {why}"))
            reason = f"it counts, but whether it does well with it is not known: {why}"
            raise failure(name, UPDATE_CONFIG, "INVALID_STATE", reason, context={"rolled_back": "false"})
        self._log(f"{name}: does well with its changed configuration")

    def _roll_back(self, update: _Update) -> None:
        assert self._configuration is not None
        name, children = update.change.name, self._collectors.children
        update.failed = update.trial.why
        update.lines = "\n".join(children.collectors[name].life.last_lines)
        self._log(Warn(f"{name}: {update.failed}; its configuration from before is put back"))
        update.trial = Trial(update.trial.within)
        self._put_back(self._configuration, update.change, update.before)
        if update.ran:
            children.restart(name)
            self._look_soon(name)
        else:
            children.stop(name)
            self._conclude(name, Outcome.ABANDONED, "")

    def _rolled_back(self, update: _Update, outcome: Outcome, why: str) -> RpcError:
        name, context = update.change.name, {"rolled_back": "true", "last_lines": update.lines}
        if outcome is Outcome.FAILED:
            self._log(Warn(f"{name}: does not do well with its configuration from before either: {why}"))
            reason = f"{update.failed}. Its configuration from before was put back, and does not do any better: {why}"
            return failure(name, UPDATE_CONFIG, "ROLLBACK_FAILED", reason, context=context)
        self._log(f"{name}: goes on with its configuration from before")
        does = "was started again with that" if update.ran else "is stopped, as it was"
        reason = f"{update.failed}. Its configuration from before was put back, and it {does}"
        return failure(name, UPDATE_CONFIG, "CONFIGURATION_ERROR", reason, context=context)

    def _keep(self, configuration: Configuration, change: Change, before: CollectorPlan) -> None:
        """It counts for good, or, where that cannot be written down, not at all. Raises RpcError."""
        try:
            configuration.keep(change, self._settings().bus)
        except OSError as error:
            self._put_back(configuration, change, before)
            reason = f"it could not be kept for the next coordinator ({error}), and was taken back"
            raise failure(change.name, UPDATE_CONFIG, "PERSISTENCE_FAILED", reason) from error
        killpoint("config.kept")

    def _put_back(self, configuration: Configuration, change: Change, before: CollectorPlan) -> None:
        configuration.drop(change)
        self._go_by(_with_plan(self._settings(), before))


def _with_plan(settings: Settings, plan: CollectorPlan) -> Settings:
    """The same but for one collector."""
    return replace(settings, collectors=tuple(plan if one.name == plan.name else one for one in settings.collectors))


def _is_to_run(life: Supervised) -> bool:
    """Is a process of it going to run, or running, so that it can be seen how it does?"""
    return life.state in (State.WAITING, State.STARTING, State.RUNNING) or life.again


def _within(name: str, asked: wire.ConfigUpdateRequest) -> float:
    if not asked.HasField("healthy_within_ms"):
        return HEALTHY_WITHIN_SECONDS
    seconds = float(asked.healthy_within_ms) / 1000
    if not 0 < seconds <= LONGEST_WITHIN_SECONDS:
        reason = f"healthy_within_ms is from 1 to {LONGEST_WITHIN_SECONDS * 1000:.0f}, not {asked.healthy_within_ms}"
        raise failure(name, UPDATE_CONFIG, "VALIDATION_FAILED", reason)
    return seconds


def _refuse(response: wire.RpcResponse, error: RpcError) -> None:
    response.ClearField("payload")
    response.status = status_to_wire(error)
    response.error.CopyFrom(to_wire(error))
