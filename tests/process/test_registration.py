"""Registration with real processes: whoever ends it, hangs, or comes back, everybody is told."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.task_lab import LAB
from shmbus import rpc
from shmbus.rpc.registration import Registration
from shmbus.v1 import rpc_pb2 as wire
from shmbus.v1.ipc_pb2 import MonitoringDomain

TOPIC = "control.collector.registration"
WATCHDOG_S = 30


@contextmanager
def lab(bus: shmbus.Bus, name: str = "lab", *options: str) -> Iterator[subprocess.Popen[str]]:
    """A collector in a process of its own, that is registered when this returns."""
    with python(LAB, bus.address, name, *options) as child:
        assert child.stdout.readline().startswith("serving")
        yield child


def killed(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()


def told(subscription: shmbus.Subscription) -> wire.RegistrationEvent:
    """The next event."""
    while True:
        found = subscription.receive(timeout=WATCHDOG_S)
        assert not isinstance(found, shmbus.Gap)
        if isinstance(found.event, wire.RegistrationEvent):
            return found.event


def kind(event: wire.RegistrationEvent) -> str:
    return wire.RegistrationEventKind.Name(event.kind).removeprefix("REGISTRATION_EVENT_KIND_")


def expect(subscription: shmbus.Subscription, *kinds: str) -> list[wire.RegistrationEvent]:
    events = [told(subscription) for _ in kinds]
    assert [kind(event) for event in events] == list(kinds), events
    return events


def kept(bus: shmbus.Bus) -> list[str]:
    return [message.key for message in bus.last(TOPIC)]


@pytest.fixture
def bus() -> Iterator[shmbus.Bus]:
    with shmbus.embedded(name="agent") as bus:
        yield bus


def test_everybody_is_told_what_a_collector_can_do_and_late_comers_too(bus):
    with bus.subscribe(TOPIC) as events, lab(bus, "lab", "domains=PROCESS,NETWORK", "kernel=1") as child:
        (event,) = expect(events, "REGISTERED")
        its = event.registration
        assert (its.collector_id, its.pid, its.heartbeat_interval_ms) == ("lab", child.pid, 2000)
        assert list(its.capabilities.supported_domains) == [MonitoringDomain.PROCESS, MonitoringDomain.NETWORK]
        assert its.capabilities.advanced.kernel_level and its.hostname
        with bus.subscribe(TOPIC, start=shmbus.LastPerKey()) as late:
            assert told(late) == event
        child.stdin.close()  # it ends in order
        (event,) = expect(events, "DEREGISTERED")
        assert event.reason == "it stops serving"
        eventually(lambda: kept(bus) == [])


def test_a_killed_collectors_registration_ends_at_once(bus):
    with bus.subscribe(TOPIC) as events, lab(bus, "lab", "interval=3600000") as child:
        expect(events, "REGISTERED")
        killed(child)
        (event,) = expect(events, "DEREGISTERED")
        assert event.reason in ("its process died", "it hung up")  # its socket closes a moment before it is gone
        with lab(bus, "lab") as again:
            (event,) = expect(events, "REGISTERED")
            assert event.registration.pid == again.pid


def test_one_that_is_stopped_expires_and_registers_anew_when_it_goes_on(bus):
    with bus.subscribe(TOPIC) as events, lab(bus, "lab", "interval=400") as child:
        (first,) = expect(events, "REGISTERED")
        os.kill(child.pid, signal.SIGSTOP)
        failed, expired = expect(events, "RENEWAL_FAILED", "EXPIRED")
        assert failed.registration_id == expired.registration_id == first.registration_id
        assert "no heartbeat for" in expired.reason and expired.lease_ms == 1200
        os.kill(child.pid, signal.SIGCONT)
        (again,) = expect(events, "REGISTERED")
        assert again.registration_id > first.registration_id and again.revision > expired.revision


def test_a_method_that_hears_nothing_for_too_long_costs_the_registration_and_one_that_looks_does_not(bus):
    with bus.subscribe(TOPIC) as events, lab(bus) as child, rpc.Client(bus) as client:
        expect(events, "REGISTERED")
        client.execute("lab", _task("sleep 4"))  # longer than 1½ intervals
        assert events.try_receive() is None
        deaf = client.submit("lab", rpc.EXECUTE_TASK, _task("deaf"))
        expect(events, "RENEWAL_FAILED", "EXPIRED")
        os.kill(child.pid, signal.SIGUSR1)
        client.result(deaf)
        expect(events, "REGISTERED")


def test_a_name_that_somebody_has_is_refused_until_its_process_is_dead(bus):
    with lab(bus, "lab", "interval=3600000") as child, rpc.Client(bus) as client:
        with pytest.raises(shmbus.RpcError, match=f"it is 'lab' \\(pid {child.pid}") as found:
            Registration(bus, wire.RegistrationRequest(collector_id="lab"))
        assert found.value.code == "ALREADY_REGISTERED"
        with pytest.raises(shmbus.RpcError, match="only `force`"):
            client.call("lab", rpc.DEREGISTER)
        killed(child)
        with Registration(bus, wire.RegistrationRequest(collector_id="lab")) as registration:
            assert registration.interval == 30.0


@pytest.mark.parametrize("interval", [99, 3_600_001])
def test_an_interval_out_of_bounds_is_refused(bus, interval):
    wanted = wire.RegistrationRequest(collector_id="lab", heartbeat_interval_ms=interval)
    with pytest.raises(shmbus.RpcError, match=f"heartbeat_interval_ms is {interval}: ask for 100 to 3600000") as found:
        Registration(bus, wanted)
    assert found.value.code == "REGISTRATION_INVALID"


def test_a_registration_that_is_too_large_is_refused(bus):
    wanted = wire.RegistrationRequest(collector_id="lab", attributes={"a": "x" * 3000})
    with pytest.raises(shmbus.RpcError, match="2048 is the limit") as found:
        Registration(bus, wanted)
    assert (found.value.code, found.value.category) == ("REGISTRATION_INVALID", "RESOURCE")


def test_asyncio_and_pools_beat_as_well(bus):
    program = LAB.replace('lab.serve(bus, concurrency=int(options.get("concurrency", "1")))', "asyncio.run(serve())")
    program = program.replace("with shmbus.connect", "import asyncio\nasync def serve():\n    async with bus as a:\n"
                              "        await lab.serve_async(a)\nwith shmbus.connect")  # fmt: skip
    with (
        bus.subscribe(TOPIC) as events,
        python(program, bus.address, "loop") as child,
        lab(bus, "pool", "concurrency=2"),
    ):
        assert child.stdout.readline().startswith("serving")
        expect(events, "REGISTERED", "REGISTERED")
        with pytest.raises(shmbus.ReceiveTimeout):
            events.receive(timeout=4)


def test_registrations_outlive_a_killed_coordinator_and_end_with_their_processes_meanwhile(bus_name):
    with coordinator(bus_name) as first:
        with shmbus.connect() as bus, bus.subscribe(TOPIC) as events, lab(bus, "stays") as child:
            with lab(bus, "dies") as dying:
                before = {event.registration.collector_id: event for event in expect(events, *["REGISTERED"] * 2)}
                eventually(lambda: sorted(kept(bus)) == ["dies", "stays"])
                first.end(signal.SIGKILL)
                killed(dying)
            assert sorted(one.key for one in bus._pages.states[TOPIC].snapshot().messages()) == ["dies", "stays"]
            with coordinator(bus_name):
                (gone,) = expect(events, "DEREGISTERED")
                assert gone.registration.collector_id == "dies" and "while no coordinator ran" in gone.reason
                assert gone.registration_id == before["dies"].registration_id
                assert events.receive(timeout=WATCHDOG_S).event is None  # nothing is kept of it any more
                eventually(lambda: kept(bus) == ["stays"])
                with pytest.raises(shmbus.ReceiveTimeout):  # it beats on, and is the same registration
                    events.receive(timeout=4)
                killed(child)
                (gone,) = expect(events, "DEREGISTERED")
                assert gone.registration_id == before["stays"].registration_id


def test_a_collector_registers_by_itself_with_a_coordinator_that_knows_nothing_of_it(bus_name):
    """What the killed one had published last was not kept."""
    with coordinator(bus_name) as first:
        with shmbus.connect() as bus, bus.subscribe(TOPIC) as events, lab(bus) as child:
            expect(events, "REGISTERED")
            bus._duty.registered["ghost"] = wire.RegistrationRequest(
                collector_id="ghost", heartbeat_interval_ms=3_600_000
            )
            first.end(signal.SIGKILL)
            with coordinator(bus_name):
                event = told(events)
                while event.registration.collector_id != "ghost":
                    event = told(events)
                assert kind(event) == "REGISTERED" and event.registration.pid == os.getpid()
                eventually(lambda: sorted(kept(bus)) == ["ghost", "lab"])
                killed(child)
                eventually(lambda: kept(bus) == ["ghost"])


def test_the_collector_of_the_configuration_is_the_process_that_was_started(bus_name):
    with coordinator(bus_name, "--collectors", "procmond") as running:
        running.read_until("procmond: ready")
        with shmbus.connect() as bus:
            with bus.subscribe(TOPIC, start=shmbus.LastPerKey()) as events:
                its = told(events).registration
            assert its.collector_id == "procmond" and its.heartbeat_interval_ms == 30_000
            with pytest.raises(shmbus.RpcError, match="it is a collector of the configuration"):
                Registration(bus, wire.RegistrationRequest(collector_id="procmond"))


def test_nobody_gets_the_name_of_another_by_saying_that_it_had_it(bus_name):
    """Neither that of a collector of the configuration, nor that of one that is registered."""
    with coordinator(bus_name, "--collectors", "procmond") as first:
        first.read_until("procmond: registered")
        with shmbus.connect() as liar, shmbus.connect() as bus, lab(bus) as child:
            eventually(lambda: sorted(kept(bus)) == ["lab", "procmond"])
            for name in ("procmond", "lab", "Bad"):
                liar._duty.registered[name] = wire.RegistrationRequest(collector_id=name, heartbeat_interval_ms=1000)
            first.end(signal.SIGKILL)
            with coordinator(bus_name, "--collectors", "procmond") as second:
                eventually(lambda: liar.status().pid == second.process.pid, 20)
                holders = {message.key: message.event.registration.pid for message in bus.last(TOPIC)}
                assert holders["lab"] == child.pid and holders["procmond"] != os.getpid() and len(holders) == 2
                second.end()


def _task(what: str) -> object:
    from shmbus.v1.ipc_pb2 import DetectionTask

    return DetectionTask(task_id="x", metadata=what)


def test_last_registrations_are_read_by_the_command_as_well(bus_name):
    with coordinator(bus_name), shmbus.connect() as bus, lab(bus):
        eventually(lambda: kept(bus) == ["lab"])
        command = [sys.executable, "-m", "shmbus.tools", "last", TOPIC]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and "lab" in done.stdout, done
