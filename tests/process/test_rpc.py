"""Calls between real processes: every operation, and every way in which one does not come back."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.rpc_lab import LAB
from shmbus import rpc
from shmbus.coordinator.settings import Settings, TopicPlan
from shmbus.errors import RpcError
from shmbus.rpc import (
    DEREGISTER,
    EXECUTE_TASK,
    FORCE_SHUTDOWN,
    GET_CAPABILITIES,
    GRACEFUL_SHUTDOWN,
    HEALTH_CHECK,
    PAUSE,
    REGISTER,
    RESTART,
    RESUME,
    START,
    STOP,
    UPDATE_CONFIG,
    Client,
    Retry,
    topics,
)
from shmbus.v1 import rpc_pb2 as wire
from shmbus.v1.common_pb2 import HashCheck, ProcessFilter, TaskType
from shmbus.v1.eventbus_pb2 import ProcessEventData, RpcRequestPayload, RpcResponsePayload
from shmbus.v1.ipc_pb2 import DetectionTask

WATCHDOG_S = 30
PATIENCE_S = 60  # on a busy machine a process takes its time to start


def task(name: str, what: str = "") -> DetectionTask:
    return DetectionTask(task_id=name, metadata=what)


def config(**changes: float) -> wire.ConfigUpdateRequest:
    return wire.ConfigUpdateRequest(
        config_changes={name: wire.ConfigValue(double_value=value) for name, value in changes.items()}
    )


@contextmanager
def lab(bus: shmbus.Bus, name: str = "lab", concurrency: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A server in a process of its own, that serves when this returns."""
    with python(LAB, bus.address, name, str(concurrency)) as child:
        assert child.stdout.readline().startswith("serving")
        yield child


def killed(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()


def says(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdout.readline() == f"{line}\n"


@pytest.fixture
def bus() -> Iterator[shmbus.Bus]:
    with shmbus.embedded(name="caller") as bus:
        yield bus


@pytest.fixture
def client(bus: shmbus.Bus) -> Iterator[Client]:
    with Client(bus, retry=rpc.NEVER) as client:
        yield client


def refused(call: Callable[[], object], status: str, code: str) -> RpcError:
    with pytest.raises(RpcError) as found:
        call()
    assert (found.value.status, found.value.code) == (status, code), found.value
    return found.value


# ---- what a collector answers ----------------------------------------------------------------------------------------


def test_a_collector_answers_what_it_has_methods_for_and_the_rest_by_itself(bus, client):
    with lab(bus) as child:
        answer = client.call("lab", PAUSE)
        assert isinstance(answer.payload, wire.Empty) and answer.response.status == wire.RPC_STATUS_SUCCESS
        client.resume("lab")  # an async method
        result = client.execute("lab", task("one"))
        assert (result.task_id, result.success, result.error_message) == ("one", True, f"{child.pid} 1")
        capabilities = client.capabilities("lab")
        assert set(capabilities.operations) == {
            PAUSE, RESUME, UPDATE_CONFIG, EXECUTE_TASK, HEALTH_CHECK, GET_CAPABILITIES, GRACEFUL_SHUTDOWN,
        }  # fmt: skip
        assert list(capabilities.features) == ["lab"] and capabilities.platform_support[0].startswith("linux/")
        health = client.health("lab")
        assert health.status == wire.HEALTHY and health.metrics["rpc_requests"] == 4
        assert health.metrics["memory_bytes"] > 1 << 20 and health.metrics["cpu_seconds"] > 0
        client.shut_down("lab", "the test is over")
        says(child, "ended")
        assert child.wait(WATCHDOG_S) == 0


def test_errors_have_the_codes_and_categories_of_the_schema(bus, client):
    with lab(bus):
        error = refused(lambda: client.update_config("lab", config(speed=9.0)), "ERROR", "VALIDATION_FAILED")
        assert error.category == "CONFIGURATION" and error.context == {"key": "speed"}
        assert "UPDATE_CONFIG of 'lab': speed cannot be" in str(error)
        error = refused(lambda: client.execute("lab", task("x", "raise")), "ERROR", "EXECUTION_ERROR")
        assert error.category == "INTERNAL" and "ZeroDivisionError: as asked" in str(error)
        error = refused(lambda: client.execute("lab", task("x", "nonsense")), "ERROR", "EXECUTION_ERROR")
        assert "int" in error.reason
        refused(lambda: client.call("lab", EXECUTE_TASK), "ERROR", "INVALID_PAYLOAD")
        assert client.health("lab").error_count == 4
        with pytest.raises(TypeError, match="PAUSE takes nothing"):
            client.call("lab", PAUSE, task("x"))


def test_what_has_no_method_is_unsupported(bus, client):
    class Mute(rpc.Collector):
        pass

    with Mute("mute").serving(bus):
        error = refused(lambda: client.pause("mute"), "ERROR", "UNSUPPORTED_OPERATION")
        assert "HEALTH_CHECK" in error.context["supported"]
        assert client.health("mute").status == wire.HEALTHY


def test_the_times_in_an_answer_are_measured(bus, client):
    with lab(bus):
        slow = client.submit("lab", EXECUTE_TASK, task("slow", "sleep 0.2"))
        answer = client.result(client.submit("lab", EXECUTE_TASK, task("next", "sleep 0.1")))
        first, second = client.result(slow).performance, answer.performance
        assert 200_000 <= first.processing_time_us < 5_000_000 and 100_000 <= second.processing_time_us < 5_000_000
        assert first.queue_wait_time_us < 100_000 <= second.queue_wait_time_us + second.network_latency_us
        assert 0 < second.serialization_time_us < 100_000
        assert answer.response.total_time_us >= 300_000 and answer.response.service_id == "lab"
        assert answer.response.execution_time_us == second.processing_time_us


def test_what_a_handler_publishes_and_its_answer_are_children_of_the_call(bus, client):
    with lab(bus), bus.subscribe("lab.events") as events, bus.subscribe("control.rpc.response.+") as answers:
        root = shmbus.correlation.new(stage="hunt", tags={"case": "7"}, trace_id="trace-1")
        client.call("lab", EXECUTE_TASK, task("x", "publish"), correlation=root)
        for subscription in (events, answers):
            its = subscription.receive(timeout=WATCHDOG_S).envelope.correlation
            assert its.root_correlation_id == its.parent_correlation_id == root.correlation_id
            assert (its.trace_id, its.workflow_stage, dict(its.correlation_tags)) == ("trace-1", "hunt", {"case": "7"})


def test_a_call_out_of_what_is_being_handled_is_its_child(bus, client):
    with lab(bus), bus.subscribe("control.collector.lab") as requests:
        with shmbus.correlation.handling(shmbus.correlation.new(correlation_id="alarm-1")):
            client.health("lab")
        assert requests.receive(timeout=WATCHDOG_S).envelope.correlation.root_correlation_id == "alarm-1"


def test_an_answer_that_the_small_ring_cannot_hold_is_carried_by_a_larger_one(bus, client):
    with lab(bus):
        for size in (100, 200_000, 3_000_000, 100):
            assert len(client.execute("lab", task("x", f"blob {size}")).error_message) == size
        error = refused(lambda: client.execute("lab", task("x", "blob 9000000")), "ERROR", "EXECUTION_ERROR")
        assert error.category == "RESOURCE"


# ---- nobody there ----------------------------------------------------------------------------------------------------


def test_nobody_serves_is_told_at_once(bus, client):
    began = time.monotonic()
    error = refused(lambda: client.health("nobody", timeout=20), "UNAVAILABLE", "REGISTRATION_NOT_FOUND")
    assert error.category == "COMMUNICATION" and "nobody serves it" in str(error)
    with lab(bus) as child:
        client.health("lab")
        killed(child)
        eventually(lambda: not rpc.presence.instances(bus, client._exchange._services["lab"].publisher._ring))
        refused(lambda: client.health("lab", timeout=20), "UNAVAILABLE", "REGISTRATION_NOT_FOUND")
    assert time.monotonic() - began < 15


def test_who_only_reads_the_requests_serves_nobody(bus, client):
    with lab(bus) as child:
        client.health("lab")
        with bus.subscribe("control.collector.#", lossless=True) as watching:
            client.shut_down("lab")
            says(child, "ended")
            refused(lambda: client.health("lab", timeout=20), "UNAVAILABLE", "REGISTRATION_NOT_FOUND")
            assert isinstance(watching.receive(timeout=5).event, RpcRequestPayload)


def test_a_server_that_is_killed_in_mid_call_ends_the_call_at_once(bus, client):
    with lab(bus) as child:
        began = time.monotonic()
        pending = client.submit("lab", EXECUTE_TASK, task("x", "sleep 60"), timeout=60)
        says(child, "began x")
        killed(child)
        error = refused(lambda: client.result(pending), "UNAVAILABLE", "PROCESS_NOT_FOUND")
        assert f"pid {child.pid}" in error.reason and time.monotonic() - began < 15


def test_a_server_that_is_killed_when_there_is_no_coordinator_ends_the_call_too(bus_name):
    with coordinator(bus_name) as running, shmbus.connect() as bus, Client(bus, retry=rpc.NEVER) as client:
        with lab(bus) as child:
            client.health("lab")
            running.process.kill()
            running.process.wait()
            client.health("lab")
            pending = client.submit("lab", EXECUTE_TASK, task("x", "sleep 60"), timeout=60)
            says(child, "began x")
            killed(child)
            refused(lambda: client.result(pending), "UNAVAILABLE", "PROCESS_NOT_FOUND")
            refused(lambda: client.health("lab", timeout=20), "UNAVAILABLE", "REGISTRATION_NOT_FOUND")
    with coordinator(bus_name):
        pass


def test_a_server_that_stops_answers_what_was_asked_before(bus, client):
    with lab(bus) as child:
        asked = [client.submit("lab", EXECUTE_TASK, task(str(n), "sleep 0.05")) for n in range(5)]
        says(child, "began 0")
        child.send_signal(signal.SIGTERM)
        assert [client.result(one).payload.task_id for one in asked] == list("01234")
        refused(lambda: client.health("lab"), "UNAVAILABLE", "REGISTRATION_NOT_FOUND")


def test_servers_that_come_and_go_leave_no_call_hanging_and_none_that_lies(bus):
    class Counting(rpc.Collector):
        done = 0

        @rpc.operation(EXECUTE_TASK)
        def execute(self, request):
            self.done += 1

    collector, outcomes, over, lock = Counting("lab"), Counter(), threading.Event(), threading.Lock()

    def call(client: Client) -> None:
        while not over.is_set():
            outcome = "done"
            try:
                client.call("lab", EXECUTE_TASK, task("x"), timeout=WATCHDOG_S)
            except RpcError as error:
                assert error.status == "UNAVAILABLE", error
                outcome = "maybe done" if "may have been done" in error.reason else "not done"
            with lock:  # the first of each is counted by a method of Counter, in which threads may take turns
                outcomes[outcome] += 1

    with shmbus.connect(bus.address) as other, Client(other, retry=rpc.NEVER) as client:
        callers = [threading.Thread(target=call, args=(client,)) for _ in range(3)]
        for caller in callers:
            caller.start()
        for _ in range(20):
            with collector.serving(bus):
                before = collector.done
                eventually(lambda before=before: collector.done > before + 20, PATIENCE_S)
        over.set()
        for caller in callers:
            caller.join()
    assert outcomes["done"] <= collector.done <= outcomes["done"] + outcomes["maybe done"]
    assert outcomes["done"] > 400 and outcomes["not done"] > 0


def test_a_call_to_a_server_that_dies_is_made_again_on_another_one(bus):
    with Client(bus, retry=Retry(attempts=5, first=0.01)) as client, lab(bus) as one, lab(bus) as other:
        children = {one.pid: one, other.pid: other}
        victim = int(client.execute("lab", task("who")).error_message.split()[0])
        found: list[object] = []
        caller = threading.Thread(
            target=lambda: found.append(client.call("lab", EXECUTE_TASK, task("x", "sleep 1"), timeout=60, key="k"))
        )
        caller.start()
        began = next(child for child in children.values() if _began(child))
        killed(began)
        caller.join(WATCHDOG_S)
        assert found and int(found[0].payload.error_message.split()[0]) != began.pid
        assert victim in children


def _began(child: subprocess.Popen[str]) -> bool:
    import select

    return bool(select.select([child.stdout], [], [], 2)[0])


# ---- time ------------------------------------------------------------------------------------------------------------


def test_a_request_past_its_deadline_is_not_executed(bus, client):
    with lab(bus) as child:
        slow = client.submit("lab", EXECUTE_TASK, task("slow", "sleep 0.5"), timeout=WATCHDOG_S)
        says(child, "began slow")
        began = time.monotonic()
        error = refused(lambda: client.execute("lab", task("late"), timeout=0.1), "TIMEOUT", "DEADLINE_EXCEEDED")
        assert error.seconds == 0.1 and "within 0.1 s" in str(error) and 0.1 <= time.monotonic() - began < 10
        client.result(slow)
        assert client.execute("lab", task("x")).error_message == f"{child.pid} 2"  # the late one was not done
        assert client.health("lab").metrics["rpc_overdue"] == 1
        assert client.late == 1  # the server said so, when nobody waited any more


def test_an_answer_that_comes_too_late_is_counted_and_dropped(bus, client):
    with lab(bus) as child:
        refused(lambda: client.execute("lab", task("x", "hold 0.3"), timeout=0.1), "TIMEOUT", "DEADLINE_EXCEEDED")
        refused(lambda: client.execute("lab", task("y", "sleep 9"), timeout=0.5), "TIMEOUT", "DEADLINE_EXCEEDED")
        says(child, "began y")
        says(child, "cancelled y")  # a handler that looks sees its deadline
        client.health("lab")
        assert client.late == 2


def test_a_cancelled_call_is_told_to_its_handler(bus, client):
    for concurrency in (1, 3):
        with lab(bus, f"lab{concurrency}", concurrency) as child:
            pending = client.submit(f"lab{concurrency}", EXECUTE_TASK, task("x", "sleep 60"), timeout=60)
            says(child, "began x")
            client.cancel(pending)
            refused(lambda pending=pending: client.result(pending), "CANCELLED", "CLIENT_SHUTDOWN")
            says(child, "cancelled x")


def test_a_call_that_is_cancelled_in_the_queue_is_not_executed(bus, client):
    with lab(bus) as child:
        slow = client.submit("lab", EXECUTE_TASK, task("slow", "sleep 0.3"))
        says(child, "began slow")
        client.cancel(client.submit("lab", EXECUTE_TASK, task("x")))
        client.result(slow)
        assert client.execute("lab", task("y")).error_message == f"{child.pid} 2"
        assert client.health("lab").metrics["rpc_cancelled"] == 1


# ---- once, and how many ----------------------------------------------------------------------------------------------


def test_what_comes_again_with_the_same_key_is_executed_once_and_answered_again(bus, client):
    with lab(bus) as child, Client(bus) as other:
        first = client.call("lab", EXECUTE_TASK, task("x"), key="order-1").payload
        assert first.error_message == f"{child.pid} 1"
        assert client.call("lab", EXECUTE_TASK, task("x"), key="order-1").payload == first
        assert other.call("lab", EXECUTE_TASK, task("x"), key="order-1").payload == first
        assert client.call("lab", EXECUTE_TASK, task("x"), key="order-2").payload.error_message == f"{child.pid} 2"
        slow = [
            one.submit("lab", EXECUTE_TASK, task("z", "sleep 0.3"), key="order-3") for one in (client, other, client)
        ]
        answers = {
            other.result(slow[1]).payload.error_message,
            *(client.result(slow[n]).payload.error_message for n in (0, 2)),
        }
        assert answers == {f"{child.pid} 3"}
        assert client.health("lab").metrics["rpc_repeated"] == 4


@pytest.mark.parametrize("balance", ["least-loaded", "round-robin"])
def test_of_several_servers_those_that_say_they_are_best_are_called(bus, balance):
    def asked(what: str = "") -> int:
        return int(client.execute("lab", task("x", what)).error_message.split()[0])

    with lab(bus) as one, lab(bus) as other, Client(bus, balance=balance) as client:
        pids = {one.pid, other.pid}
        assert {asked() for _ in range(8)} == pids
        (better,) = pids - {asked("ail DEGRADED")}
        assert {asked() for _ in range(8)} == {better}
        assert asked("ail UNHEALTHY") == better
        assert {asked() for _ in range(8)} == pids - {better}
        assert asked("ail HEALTHY") != better


def test_a_key_that_was_used_for_something_else_is_refused(bus, client):
    def refused(call: Callable[[], object], why: str) -> RpcError:
        with pytest.raises(RpcError, match=re.escape(why)) as found:
            call()
        assert (found.value.code, found.value.status) == ("VALIDATION_FAILED", "ERROR")
        assert found.value.category == "CONFIGURATION" and "choose another key" in str(found.value)
        return found.value

    with lab(bus) as child, Client(bus) as other:
        first = client.execute("lab", task("x"), key="k")
        payload = "its key 'k' was used for EXECUTE_TASK before, with another payload"
        error = refused(lambda: other.execute("lab", task("x", "raise"), key="k"), payload)
        assert error.context == {"idempotency_key": "k", "used_for": "EXECUTE_TASK"}
        refused(lambda: client.execute("lab", task("y"), key="k"), payload)
        refused(lambda: client.pause("lab", key="k"), "its key 'k' was used for EXECUTE_TASK before, and this is PAUSE")
        running = client.submit("lab", EXECUTE_TASK, task("slow", "sleep 0.5"), key="r" * 500)
        says(child, "began slow")
        early = f"its key '{'r' * 64}…' was used for EXECUTE_TASK before, with another payload"
        refused(lambda: other.execute("lab", task("slow"), key="r" * 500), early)
        client.result(running)
        other.execute("lab", task("slow"), key="r" * 499)
        many, again = (config_of(names) for names in (("a", "b", "c"), ("c", "b", "a")))
        for changes in (many, again):  # the same map, written in another order
            with pytest.raises(RpcError, match="cannot be"):
                client.update_config("lab", changes, key="map")
        assert client.execute("lab", task("x"), key="k") == first
        with pytest.raises(RpcError, match="the coordinator answers it, and remembers no keys: leave out the key 'k'"):
            client.call("lab", STOP, key="k")
        metrics = client.health("lab").metrics
        assert metrics["rpc_conflicting"] == 4 and metrics["rpc_repeated"] == 2 and metrics["rpc_requests"] == 4


def config_of(names: tuple[str, ...]) -> wire.ConfigUpdateRequest:
    changes = wire.ConfigUpdateRequest()
    for name in names:
        changes.config_changes[name].bool_value = True
    return changes


def test_as_many_are_executed_at_a_time_as_allowed(bus, client):
    for limit in (1, 3):
        with lab(bus, f"lab{limit}", limit):
            asked = [client.submit(f"lab{limit}", EXECUTE_TASK, task(str(n), "sleep 0.1")) for n in range(9)]
            for one in asked:
                client.result(one)
            assert client.execute(f"lab{limit}", task("x", "most")).error_message == str(limit)


def test_one_at_a_time_keeps_the_order_of_a_client(bus, client):
    with lab(bus) as child:
        asked = [client.submit("lab", EXECUTE_TASK, task(str(n))) for n in range(50)]
        done = [client.result(one).payload.error_message for one in asked]
        assert done == [f"{child.pid} {n}" for n in range(1, 51)]


def test_two_servers_of_a_name_share_the_calls(bus, client):
    with lab(bus) as one, lab(bus) as other:
        found = Counter(client.execute("lab", task("x")).error_message.split()[0] for _ in range(40))
        assert set(found) == {str(one.pid), str(other.pid)} and min(found.values()) >= 10


def test_a_busy_server_gets_less(bus, client):
    with lab(bus) as one, lab(bus) as other:
        slow = client.submit("lab", EXECUTE_TASK, task("slow", "sleep 1"))
        found = Counter(client.execute("lab", task("x")).error_message.split()[0] for _ in range(20))
        client.result(slow)
        assert len(found) == 1 and set(found) < {str(one.pid), str(other.pid)}


def test_many_threads_share_a_client_and_each_gets_its_own_answer(bus, client):
    with lab(bus, concurrency=4):
        wrong: list[object] = []

        def call(thread: int) -> None:
            for n in range(100):
                name = f"{thread}-{n}"
                if client.execute("lab", task(name)).task_id != name:
                    wrong.append(name)

        threads = [threading.Thread(target=call, args=(n,)) for n in range(6)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert not wrong and client.late == 0
        assert client.health("lab").metrics["rpc_requests"] == 600


def test_the_breaker_opens_after_failures_and_closes_when_it_answers_again(bus, client):
    with lab(bus) as child:
        for _ in range(5):
            refused(lambda: client.execute("lab", task("x", "hold 0.05"), timeout=0.02), "TIMEOUT", "DEADLINE_EXCEEDED")
        error = refused(lambda: client.health("lab"), "UNAVAILABLE", "INVALID_STATE")
        assert error.context["circuit_breaker_state"] == "open" and float(error.context["retry_after_seconds"]) <= 0.5
        time.sleep(float(error.context["retry_after_seconds"]))
        assert client.health("lab").status == wire.HEALTHY
        assert client.breaker("lab").state == "closed" and child.poll() is None


# ---- the bus goes on without its coordinator -------------------------------------------------------------------------


def test_calls_go_on_while_the_coordinator_is_killed_and_another_takes_over(bus_name):
    with ExitStack() as stack:
        running = stack.enter_context(coordinator(bus_name))
        bus = stack.enter_context(shmbus.connect())
        client = stack.enter_context(Client(bus))
        child = stack.enter_context(lab(bus))
        for n in range(4):
            for _ in range(100):
                client.execute("lab", task("x"))
            running.process.kill()
            running.process.wait()
            running.process.stderr.close()
            for _ in range(100):
                client.execute("lab", task("x"))
            running = stack.enter_context(coordinator(bus_name))
            with shmbus.connect() as fresh, Client(fresh) as other:
                done = int(other.execute("lab", task("x")).error_message.split()[1])
                assert done == 201 * (n + 1)
        client.shut_down("lab")
        says(child, "ended")
        refused(lambda: client.health("lab"), "UNAVAILABLE", "REGISTRATION_NOT_FOUND")


# ---- asyncio ---------------------------------------------------------------------------------------------------------


def test_calls_from_an_event_loop(bus_name):
    async def main() -> None:
        async with shmbus.connect() as bus, rpc.AsyncClient(bus, retry=rpc.NEVER) as client:
            answers = await asyncio.gather(*(client.call("lab", EXECUTE_TASK, task(str(n))) for n in range(200)))
            assert [one.payload.task_id for one in answers] == [str(n) for n in range(200)]
            assert (await client.health("lab")).status == wire.HEALTHY
            assert PAUSE in (await client.capabilities("lab")).operations
            await client.pause("lab")
            await client.resume("lab")
            await client.update_config("lab", config())
            assert (await client.execute("lab", task("x"))).success
            with pytest.raises(RpcError, match="nobody serves"):
                await client.call("nobody", HEALTH_CHECK)
            with pytest.raises(RpcError, match="DEADLINE_EXCEEDED"):
                await client.call("lab", EXECUTE_TASK, task("late", "sleep 5"), timeout=0.1)
            with pytest.raises(RpcError, match="CONFIG_NOT_FOUND"):
                await client.call("nobody", START)
            hanging = asyncio.create_task(client.call("lab", EXECUTE_TASK, task("x", "sleep 60"), timeout=60))
            await asyncio.sleep(0.3)
            hanging.cancel()
            with pytest.raises(asyncio.CancelledError):
                await hanging
            await client.shut_down("lab")

    with coordinator(bus_name), shmbus.connect() as bus, lab(bus) as child:
        asyncio.run(main())
        for line in ("began late", "cancelled late", "began x", "cancelled x", "ended"):
            says(child, line)


def test_an_answer_is_taken_also_where_a_loop_that_was_busy_finds_the_death_beside_it(bus_name):
    async def main(child: subprocess.Popen[str]) -> None:
        async with shmbus.connect() as bus, rpc.AsyncClient(bus, retry=rpc.NEVER) as client:
            for name in ("first", "second"):
                calling = asyncio.create_task(client.call("lab", EXECUTE_TASK, task(name)))
                if name == "first":
                    await calling
            await asyncio.sleep(0)  # it is published; from here on the loop stands still
            answers = client._exchange.subscription
            ((ring, position, *_),) = answers._counters()
            eventually(lambda: ring.tail > position)
            killed(child)
            eventually(lambda: answers._notices)
            assert (await calling).payload.task_id == "second"

    with coordinator(bus_name), shmbus.connect() as bus, lab(bus) as child:
        asyncio.run(main(child))


def test_a_collector_on_an_event_loop(bus_name):
    class Slow(rpc.Collector):
        running = most = cancelled = 0

        @rpc.operation(EXECUTE_TASK)
        async def execute(self, request):
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await asyncio.sleep(float(request.payload.metadata))
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            finally:
                self.running -= 1

    async def main() -> None:
        collector = Slow("slow")
        async with shmbus.connect() as bus, rpc.AsyncClient(bus, retry=rpc.NEVER) as client:
            serving = asyncio.create_task(collector.serve_async(bus, concurrency=3))
            await asyncio.sleep(0)
            await asyncio.gather(*(client.call("slow", EXECUTE_TASK, task("x", "0.05")) for _ in range(9)))
            hanging = asyncio.create_task(client.call("slow", EXECUTE_TASK, task("x", "60")))
            while collector.running == 0:
                await asyncio.sleep(0.01)
            hanging.cancel()
            await asyncio.wait([hanging])
            while collector.running:
                await asyncio.sleep(0.01)
            collector.stop()
            await serving
            with pytest.raises(RpcError, match="nobody serves"):
                await client.health("slow")
        assert (collector.most, collector.cancelled) == (3, 1)

    with coordinator(bus_name):
        asyncio.run(main())


# ---- lives -----------------------------------------------------------------------------------------------------------


@contextmanager
def bus_with_procmond(bus_name: str) -> Iterator[shmbus.Bus]:
    with coordinator(bus_name, "--collectors", "procmond") as running, shmbus.connect() as bus:
        running.read_until("at the start")
        yield bus


def test_procmond_answers_all_thirteen_operations_with_its_coordinator(bus_name):
    with bus_with_procmond(bus_name) as bus, Client(bus, retry=rpc.NEVER) as client:
        pid = next(one.pid for one in bus.status().collectors)
        refused(lambda: client.call("procmond", START), "ERROR", "ALREADY_RUNNING")
        health = client.health("procmond")
        assert health.status == wire.HEALTHY and health.metrics["processes"] > 1
        assert set(client.capabilities("procmond").operations) >= {PAUSE, RESUME, UPDATE_CONFIG, EXECUTE_TASK}
        _check_tasks(client)
        _check_config(client)
        _check_pause(bus, client)
        answer = client.call("procmond", RESTART)
        assert answer.payload.metrics["pid"] == pid
        _until_served(client)
        client.call("procmond", STOP)
        eventually(lambda: _collector(bus).state == "stopped", PATIENCE_S)
        refused(lambda: client.call("procmond", STOP), "ERROR", "PROCESS_NOT_FOUND")
        refused(lambda: client.health("procmond"), "UNAVAILABLE", "REGISTRATION_NOT_FOUND")
        client.call("procmond", START)
        _until_served(client)
        pid = _collector(bus).pid
        os.kill(pid, signal.SIGSTOP)  # it would not notice SIGTERM
        client.call("procmond", FORCE_SHUTDOWN)
        eventually(lambda: _collector(bus).state == "stopped", PATIENCE_S)
        client.call("procmond", START)
        _until_served(client)
        client.shut_down("procmond")
        eventually(lambda: _collector(bus).state == "backing-off", PATIENCE_S)
        _check_registration(bus_name, bus, client)


def _collector(bus):
    return next(one for one in bus.status().collectors if one.name == "procmond")


def _until_served(client: Client, name: str = "procmond") -> None:
    def served() -> bool:
        try:
            client.health(name)
        except RpcError:
            return False
        return True

    eventually(served, PATIENCE_S)


def _check_tasks(client: Client) -> None:
    own = DetectionTask(task_id="me", process_filter=ProcessFilter(pids=[os.getpid()]))
    result = client.execute("procmond", own)
    assert [one.pid for one in result.processes] == [os.getpid()] and result.processes[0].executable_path
    everything = client.execute("procmond", DetectionTask(task_id="all"))
    assert {1, os.getpid()} <= {one.pid for one in everything.processes}
    none = ProcessFilter(executable_pattern="/no/such/*")
    assert not client.execute("procmond", DetectionTask(process_filter=none)).processes
    check = HashCheck(executable_path="/bin/sh", hash_algorithm="sha256")
    hashed = client.execute("procmond", DetectionTask(task_type=TaskType.CHECK_PROCESS_HASH, hash_check=check))
    expected = subprocess.run(["sha256sum", "/bin/sh"], capture_output=True, text=True, check=True).stdout.split()[0]
    assert hashed.hash_result.hash_value == expected
    other = DetectionTask(task_type=TaskType.TRACK_FILE_OPERATIONS)
    refused(lambda: client.execute("procmond", other), "ERROR", "UNSUPPORTED_OPERATION")


def _check_config(client: Client) -> None:
    client.update_config("procmond", config(metadata_interval=5.0))
    assert client.health("procmond").metrics["metadata_seconds"] == 5.0
    only = config(metadata_interval=7.0)
    only.validate_only = True
    client.update_config("procmond", only)
    both = config(metadata_interval=8.0, interval=-1.0)
    refused(lambda: client.update_config("procmond", both), "ERROR", "VALIDATION_FAILED")
    refused(lambda: client.update_config("procmond", config(mode=1.0)), "ERROR", "INVALID_CONFIG_CHANGE")
    assert client.health("procmond").metrics["metadata_seconds"] == 5.0


def _check_pause(bus: shmbus.Bus, client: Client) -> None:
    with bus.subscribe("events.process.#", lossless=True) as events:
        client.pause("procmond")
        assert client.health("procmond").status == wire.DEGRADED
        events.receive_many(limit=1 << 20, timeout=0) if events.try_receive() else None
        while events.try_receive() is not None:
            pass
        with subprocess.Popen(["/bin/sleep", "60"]) as unseen:
            _wait_until_suppressed(client)
            assert events.try_receive() is None
            client.resume("procmond")
            seen = {unseen.pid: False}
            while not seen[unseen.pid]:
                event = events.receive(timeout=WATCHDOG_S).event
                seen[unseen.pid] = isinstance(event, ProcessEventData) and event.process.pid == unseen.pid
            unseen.kill()


def _wait_until_suppressed(client: Client) -> None:
    eventually(lambda: client.health("procmond").metrics["events_suppressed"] > 0, PATIENCE_S)


def _check_registration(bus_name: str, bus: shmbus.Bus, client: Client) -> None:
    wanted = wire.RegistrationRequest(collector_id="mine", collector_type="lab", heartbeat_interval_ms=500)
    granted = client.call("mine", REGISTER, wanted).payload
    assert granted.accepted and granted.heartbeat_interval_ms == 500
    assert list(granted.assigned_topics) == ["control.collector.mine"]
    refused(
        lambda: client.call("procmond", REGISTER, wire.RegistrationRequest(collector_id="Bad")),
        "ERROR",
        "REGISTRATION_INVALID",
    )
    with shmbus.connect() as second, Client(second) as other:
        refused(lambda: other.call("mine", REGISTER, wanted), "ERROR", "ALREADY_REGISTERED")
        refused(lambda: other.call("mine", DEREGISTER), "ERROR", "ALREADY_REGISTERED")
        other.call("mine", DEREGISTER, wire.DeregistrationRequest(force=True))
        other.call("mine", REGISTER, wanted)
    refused(lambda: client.call("mine", DEREGISTER), "ERROR", "REGISTRATION_EXPIRED")
    refused(lambda: client.call("mine", DEREGISTER), "ERROR", "REGISTRATION_NOT_FOUND")


def test_the_command_calls_and_tells_errors_in_a_line(bus_name):
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "shmbus.tools", "rpc", *arguments],
            capture_output=True,
            text=True,
            timeout=WATCHDOG_S,
        )

    with bus_with_procmond(bus_name):
        done = command("procmond", "health-check")
        assert done.returncode == 0 and json.loads(done.stdout)["status"] == "HEALTHY"
        done = command("procmond", "GET_CAPABILITIES", "--whole")
        assert int(json.loads(done.stdout)["performance_metrics"]["processing_time_us"]) >= 0
        payload = json.dumps({"config_changes": {"metadata_interval": {"double_value": 9}}})
        assert command("procmond", "UPDATE_CONFIG", "--json", payload).returncode == 0
        health = json.loads(command("procmond", "HEALTH_CHECK").stdout)
        assert health["metrics"]["metadata_seconds"] == 9
        for arguments, status, told in (
            (("nobody", "PAUSE"), 1, "shmbus: PAUSE of 'nobody': nobody serves it"),
            (("procmond", "UPDATE_CONFIG", "--json", "{"), 2, "shmbus: --json: it is no ConfigUpdateRequest: "),
            (("procmond", "FLY"), 2, "'FLY' is none of REGISTER"),
        ):
            done = command(*arguments)
            assert done.returncode == status and told in done.stderr and "Traceback" not in done.stderr


def test_a_server_that_stood_still_until_it_was_given_up_serves_again_when_it_wakes():
    impatient = replace(Settings(), default=replace(TopicPlan(), max_stall_ns=200_000_000))
    with shmbus.embedded(impatient) as bus, Client(bus, retry=rpc.NEVER, concurrency=5000) as client, lab(bus) as child:
        client.health("lab")
        child.send_signal(signal.SIGSTOP)
        with pytest.raises(RpcError):  # the topic is full, until nobody is waited for; then nobody serves
            for number in range(5000):
                client.submit("lab", EXECUTE_TASK, task(str(number)), timeout=20)
        refused(lambda: client.health("lab"), "UNAVAILABLE", "REGISTRATION_NOT_FOUND")
        child.send_signal(signal.SIGCONT)
        _until_served(client, "lab")
        assert client.execute("lab", task("x")).task_id == "x"


# ---- what is left, and what else may come ----------------------------------------------------------------------------


def test_clients_that_come_and_go_use_the_same_topics_again(bus_name):
    with coordinator(bus_name), shmbus.connect() as bus, lab(bus):
        for _ in range(12):
            with shmbus.connect() as other, Client(other) as client, Client(other) as second:
                client.health("lab")
                second.health("lab")
        topics = bus.status().topics
        for _ in range(12):
            with shmbus.connect() as other, Client(other) as client:
                client.health("lab")
        assert bus.status().topics == topics


def test_a_small_ring_is_all_that_a_client_takes(bus):
    with Client(bus) as client:
        ring = client._exchange.subscription._counters()[0][0]
        assert ring.topic == f"control.rpc.response.{client.client_id}"
        assert ring.segment_bytes < 256 << 10


def test_garbage_on_the_topics_of_calls_harms_nobody(bus, client):
    with lab(bus):
        client.health("lab")
        with bus.publisher("control.collector.lab") as publisher:
            publisher.publish(b"\xff\xff")
            publisher.publish(RpcRequestPayload())
            publisher.publish(
                RpcRequestPayload(request=wire.RpcRequest(request_id="x", client_id="../up", operation=6))
            )
            publisher.publish(RpcRequestPayload(request=wire.RpcRequest(request_id="y", client_id="up", operation=99)))
        with bus.publisher(f"control.rpc.response.{client.client_id}") as publisher:
            publisher.publish(b"\xff\xff")
            publisher.publish(RpcResponsePayload(response=wire.RpcResponse(request_id="nobody's")))
        health = client.health("lab")
        assert health.metrics["rpc_invalid"] == 1 and health.metrics["rpc_unanswered"] == 3
        assert client.late == 1
        assert not topics.exists(bus, "control.rpc.response.up")


def test_nobody_else_can_cancel_a_call(bus, client):
    with lab(bus) as child:
        pending = client.submit("lab", EXECUTE_TASK, task("x", "sleep 0.5"))
        says(child, "began x")
        foreign = wire.RpcRequest(request_id="z", client_id=client.client_id, cancels=pending.request_id)
        with shmbus.connect(bus.address) as other, other.publisher("control.collector.lab") as publisher:
            publisher.publish(RpcRequestPayload(request=foreign))
        assert client.result(pending).payload.success
        says(child, "slept x")
