"""Detection tasks with real collectors: whoever dies, hangs, refuses or comes late, each result comes once."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.task_lab import LAB
from shmbus import rpc
from shmbus.agent import Agent, AsyncAgent
from shmbus.agent.roster import Roster
from shmbus.agent.schedule import Schedule
from shmbus.errors import TaskError
from shmbus.rpc.beginning import KEY, Begin, begin, listening, word_of
from shmbus.rpc.registration import Registration
from shmbus.v1 import rpc_pb2 as wire
from shmbus.v1.common_pb2 import TaskType
from shmbus.v1.eventbus_pb2 import AlertPayload, RpcResponsePayload
from shmbus.v1.ipc_pb2 import AdvancedCapabilities, DetectionTask
from shmbus.v1.rpc_pb2 import RegistrationRequest

WATCHDOG_S = 30
RESULTS = "events.process.batch"


def task(name: str, what: str = "", kind: int = TaskType.ENUMERATE_PROCESSES) -> DetectionTask:
    return DetectionTask(task_id=name, metadata=what, task_type=kind)  # type: ignore[arg-type]


@contextmanager
def lab(bus: shmbus.Bus, name: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A collector in a process of its own, that is registered when this returns."""
    with python(LAB, bus.address, name, *options) as child:
        assert child.stdout.readline().startswith("serving")
        yield child


def says(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdout.readline() == f"{line}\n"


def failing(submitted: object, code: str, status: str) -> TaskError:
    with pytest.raises(TaskError) as found:
        submitted.result(WATCHDOG_S)  # type: ignore[attr-defined]
    assert (found.value.code, found.value.status) == (code, status), found.value
    return found.value


def results(subscription: shmbus.Subscription) -> list[tuple[str, str]]:
    """The tasks and collectors of what has come by now."""
    found = []
    for message in iter(subscription.try_receive, None):
        assert isinstance(message.event, RpcResponsePayload)
        found.append((message.event.response.task_result.task_id, message.event.response.service_id))
    return found


@pytest.fixture
def bus() -> Iterator[shmbus.Bus]:
    with shmbus.embedded(name="agent") as bus:
        yield bus


@pytest.fixture
def agent(bus: shmbus.Bus) -> Iterator[Agent]:
    with Agent(bus) as agent:
        yield agent


# ---- to whom ---------------------------------------------------------------------------------------------------------


def test_a_task_goes_to_who_can_and_its_result_comes_and_is_published_as_its_child(bus, agent):
    with (
        lab(bus, "processes") as child,
        lab(bus, "connections", "domains=NETWORK"),
        bus.subscribe("events.#") as published,
    ):
        submitted = agent.submit_task(task("one"))
        result = submitted.result(WATCHDOG_S)
        assert (result.task_id, result.success, result.processes[0].pid) == ("one", True, child.pid)
        assert submitted.done and submitted.collector == "processes" and not submitted.attempts
        message = published.receive(timeout=WATCHDOG_S)
        assert message.topic == RESULTS and message.event.response.task_result == result
        assert message.event.response.service_id == "processes"
        its, tasks = message.envelope.correlation, submitted.correlation
        assert its.parent_correlation_id == tasks.correlation_id and its.correlation_tags["task_id"] == "one"
        agent.run_task(task("two", kind=TaskType.MONITOR_NETWORK_CONNECTIONS))
        assert published.receive(timeout=WATCHDOG_S).topic == "events.network.connections"


def test_a_task_out_of_what_is_being_handled_belongs_to_it(bus, agent):
    with lab(bus, "lab"), bus.subscribe(RESULTS) as published:
        with shmbus.correlation.handling(shmbus.correlation.new(correlation_id="alarm-1")):
            agent.run_task(task("one"))
        assert published.receive(timeout=WATCHDOG_S).envelope.correlation.root_correlation_id == "alarm-1"


def test_nobody_who_can_is_told_at_once_by_an_exception_and_an_alert(bus, agent):
    with bus.subscribe("control.health.status") as alerts, lab(bus, "net", "domains=NETWORK"):
        began = time.monotonic()
        error = failing(agent.submit_task(task("one")), "REGISTRATION_NOT_FOUND", "UNAVAILABLE")
        assert time.monotonic() - began < 5
        assert "ENUMERATE_PROCESSES takes PROCESS, and nobody who can is registered" in str(error)
        assert "registered are: net (NETWORK)" in str(error)
        alert = alerts.receive(timeout=WATCHDOG_S).event
        assert (
            isinstance(alert, AlertPayload) and alert.affected_resources == ["one"] and str(error) == alert.description
        )
        kernel = AdvancedCapabilities(kernel_level=True)
        submitted = agent.submit_task(task("two", kind=TaskType.MONITOR_NETWORK_CONNECTIONS), needs=kernel)
        failing(submitted, "REGISTRATION_NOT_FOUND", "UNAVAILABLE")


def test_patience_waits_for_one_to_come(bus, agent):
    submitted = agent.submit_task(task("one"), patience=WATCHDOG_S)
    with lab(bus, "lab"):
        assert submitted.result(WATCHDOG_S).success


def test_the_preferred_gets_it_and_of_equals_the_least_loaded(bus, agent):
    with lab(bus, "plain", "concurrency=8"), lab(bus, "better", "priority=7") as better:
        assert agent.run_task(task("one")).processes[0].pid == better.pid
        held = [agent.submit_task(task(f"hold {n}", "sleep 20")) for n in range(8)]
        assert agent.run_task(task("two")).processes[0].name == "plain"  # the window of the other one is full
        for one in held:
            one.cancel()


def test_the_healthy_get_tasks_before_the_degraded_and_those_before_the_unhealthy(bus, agent):
    with lab(bus, "plain") as plain, lab(bus, "better", "priority=7") as better:

        def done_by(name: str) -> int:
            return int(agent.run_task(task(name)).processes[0].pid)

        assert done_by("one") == better.pid
        for state in ("DEGRADED", "UNHEALTHY"):
            agent.run_task(task(state, f"ail {state}"))  # of the one that is preferred, then of the other one
            assert done_by(f"{state} {better.pid}") == plain.pid
            agent.run_task(task(f"{state} 2", f"ail {state}"))
            assert done_by(f"{state} {plain.pid}") == better.pid
            # plain and better are alike now
        with lab(bus, "third") as third:
            assert done_by("two") == third.pid
            agent.run_task(task("three", "ail DEGRADED"))
            assert done_by("four") == third.pid
        assert done_by("five") == better.pid  # where there is no other


def test_one_that_does_not_move_is_given_nothing_and_the_error_names_it(bus, agent):
    with lab(bus, "still", "interval=400") as child:
        agent.run_task(task("one"))
        os.kill(child.pid, signal.SIGSTOP)
        eventually(lambda: agent.collectors()[0].kind == wire.REGISTRATION_EVENT_KIND_EXPIRED)
        error = failing(agent.submit_task(task("two")), "REGISTRATION_NOT_FOUND", "UNAVAILABLE")
        assert "registered are: none; unresponsive, so that nothing is given to them: still" in str(error)
        waiting = agent.submit_task(task("three"), patience=WATCHDOG_S)
        os.kill(child.pid, signal.SIGCONT)
        assert waiting.result(WATCHDOG_S).success


def test_the_error_names_a_supervised_one_that_has_crashed(bus_name, tmp_path):
    config = tmp_path / "bus.toml"
    config.write_text('[collectors.broken]\ncommand = ["/bin/false"]\nrestart = "never"\n')
    with coordinator(bus_name, "--config", str(config), "--collectors", "broken") as running:
        running.read_until("broken: ended with status 1")
        with shmbus.connect(bus_name) as bus, Agent(bus) as agent:
            eventually(lambda: bus.status().collectors[0].state == "failed")
            error = failing(agent.submit_task(task("one")), "REGISTRATION_NOT_FOUND", "UNAVAILABLE")
            assert "registered are: none; 'broken' has crashed (ended with status 1)" in str(error)


def test_the_collector_takes_the_most_urgent_of_all_agents_first(bus, agent):
    with lab(bus, "lab") as child, Agent(bus, window=64) as other:
        first = agent.submit_task(task("first", "sleep 0.5"))
        says(child, "began first")
        waiting = [
            one.submit_task(task(f"{n} {one is other}"), priority=n) for n in (1, 9, 5) for one in (agent, other)
        ]
        for one in (first, *waiting):
            one.result(WATCHDOG_S)
        child.stdin.close()
        order = [line.split()[1] for line in child.stdout.read().splitlines() if line.startswith("began")]
        assert order == ["9", "9", "5", "5", "1", "1"]


# ---- whoever does not do it ------------------------------------------------------------------------------------------


def test_a_collector_that_is_killed_in_the_middle_costs_no_result_and_doubles_none(bus, agent):
    with bus.subscribe("events.#") as published, ExitStack() as stack:
        children = {name: stack.enter_context(lab(bus, name)) for name in ("first", "second")}
        tasks = [agent.submit_task(task(str(n), "sleep 0.05")) for n in range(10)]
        victim = stack.enter_context(lab(bus, "victim", "priority=9"))
        doomed = agent.submit_task(task("doomed", "sleep 0.3"))
        says(victim, "began doomed")
        os.kill(victim.pid, signal.SIGKILL)
        assert doomed.result(WATCHDOG_S).processes[0].pid in [child.pid for child in children.values()]
        assert "victim: pid" in doomed.attempts[0] and "died with it in hand" in doomed.attempts[0]
        for one in tasks:
            one.result(WATCHDOG_S)
        found = results(published)
        assert sorted(name for name, _ in found) == sorted(["doomed", *map(str, range(10))])


def test_a_task_that_kills_whoever_does_it_ends_when_nobody_is_left(bus, agent):
    with lab(bus, "a"), lab(bus, "b"):
        error = failing(agent.submit_task(task("bad", "die")), "REGISTRATION_NOT_FOUND", "UNAVAILABLE")
        assert len(error.attempts) == 2 and "nobody else who can is registered" in str(error)


def test_one_that_died_with_many_tasks_in_hand_does_them_when_it_is_back(bus, agent):
    with lab(bus, "lab") as child:
        tasks = [agent.submit_task(task(str(n), "sleep 5" if n == 0 else ""), patience=WATCHDOG_S) for n in range(20)]
        says(child, "began 0")
        os.kill(child.pid, signal.SIGKILL)
    with lab(bus, "lab") as again:
        tasks[0].cancel()
        assert {one.result(WATCHDOG_S).processes[0].pid for one in tasks[1:]} == {again.pid}


def test_a_collector_that_hangs_loses_its_task_by_lease_and_its_late_answer_is_seen_by_nobody(bus, agent):
    with (
        bus.subscribe("events.#") as published,
        lab(bus, "hangs", "priority=9", "interval=400") as hanging,
        lab(bus, "other") as other,
    ):
        submitted = agent.submit_task(task("one", "hold 0.5"))
        says(hanging, "began one")
        os.kill(hanging.pid, signal.SIGSTOP)
        assert submitted.result(WATCHDOG_S).processes[0].pid == other.pid
        assert submitted.attempts == ("hangs: it hangs: its registration has expired",)
        os.kill(hanging.pid, signal.SIGCONT)
        says(hanging, "did one")
        eventually(lambda: agent.late == 1)
        assert results(published) == [("one", "other")]


def test_one_that_refuses_is_not_asked_again_and_an_error_of_the_task_is_final(bus, agent):
    with lab(bus, "refuses", "priority=9", "tasks=ENUMERATE_PROCESSES"), lab(bus, "b"):
        submitted = agent.submit_task(task("one", "refuse UNSUPPORTED_OPERATION"))
        error = failing(submitted, "REGISTRATION_NOT_FOUND", "UNAVAILABLE")
        assert [one.split(":")[0] for one in error.attempts] == ["refuses", "b"]
        error = failing(agent.submit_task(task("two", "refuse VALIDATION_FAILED")), "VALIDATION_FAILED", "ERROR")
        assert len(error.attempts) == 1 and error.attempts[0].startswith("refuses: as asked")
        failing(agent.submit_task(task("three", "raise")), "EXECUTION_ERROR", "ERROR")


def test_the_deadline_holds_wherever_the_task_is(bus, agent):
    with lab(bus, "lab") as child:
        running = agent.submit_task(task("running", "sleep 20"), timeout=3)
        waiting = [agent.submit_task(task(f"waiting {n}"), timeout=0.5) for n in range(20)]
        for one in (*waiting, running):  # whose deadline comes last: none of the others gets its turn before its own
            failing(one, "DEADLINE_EXCEEDED", "TIMEOUT")
        says(child, "began running")
        says(child, "cancelled running")


def test_a_cancelled_task_is_cancelled_at_its_collector(bus, agent):
    with lab(bus, "lab") as child, bus.subscribe("events.#") as published:
        submitted = agent.submit_task(task("one", "sleep 20"))
        says(child, "began one")
        assert submitted.cancel() and not submitted.cancel()
        failing(submitted, "CLIENT_SHUTDOWN", "CANCELLED")
        says(child, "cancelled one")
        agent.run_task(task("two"))
        assert results(published) == [("two", "lab")]


def test_what_is_submitted_twice_is_done_once(bus, agent):
    with lab(bus, "lab") as child, bus.subscribe("events.#") as published:
        first = agent.submit_task(task("one", "sleep 0.3"))
        assert agent.submit_task(task("one", "sleep 0.3")) is first
        first.result(WATCHDOG_S)
        assert agent.run_task(task("one", "sleep 0.3")) == first.result()
        with pytest.raises(ValueError, match="another task was submitted with the key 'one'"):
            agent.submit_task(task("one", "sleep 0.4"))
        with Agent(bus) as other, Agent(bus) as third:
            mine = agent.run_task(task("two"), key="k")
            assert other.run_task(task("two"), key="k") == mine
            assert [one.run_task(task(""), key="three").task_id for one in (agent, other)] == ["three", "three"]
            failing(third.submit_task(task("four"), key="k"), "VALIDATION_FAILED", "ERROR")
        each = [(name, "lab") for name in ("one", "two", "two", "three", "three")]
        assert results(published) == each  # each agent has its result
        child.stdin.close()
        assert [line for line in child.stdout.read().splitlines() if line.startswith("did")] == [
            "did one",
            "did two",
            "did three",
        ]


def test_a_full_topic_holds_up_its_results_and_nothing_else():
    from shmbus.coordinator.settings import Settings, TopicPlan, replace

    small = replace(TopicPlan().ring, slots=8, max_messages=7)
    settings = Settings(topics={RESULTS: replace(TopicPlan(), ring=small)})
    with shmbus.embedded(settings) as bus, Agent(bus) as agent, lab(bus, "lab", "domains=PROCESS,NETWORK"):
        with bus.publisher(RESULTS) as filler, bus.subscribe(RESULTS, lossless=True) as slow:
            for _ in range(7):
                filler.publish(b"x")
            held = agent.submit_task(task("held"))
            overdue = agent.submit_task(task("overdue"), timeout=0.5)
            agent.run_task(task("free", kind=TaskType.MONITOR_NETWORK_CONNECTIONS))
            error = failing(overdue, "IO_ERROR", "ERROR")
            assert "its result could not be published" in str(error) and not held.done
            slow.receive_many(7)
            assert held.result(WATCHDOG_S).task_id == "held"


def test_nonsense_is_refused(agent):
    for options in ({"timeout": 0}, {"timeout": float("nan")}, {"priority": 256}, {"patience": -1.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            agent.submit_task(task("one"), **options)
    with pytest.raises(ValueError, match="window"):
        Agent(agent._bus, window=0)


def test_closing_ends_what_is_not_done(bus):
    with lab(bus, "lab"):
        with Agent(bus) as agent:
            submitted = agent.submit_task(task("one", "sleep 20"))
            eventually(lambda: submitted.collector is not None)
        failing(submitted, "CLIENT_SHUTDOWN", "CANCELLED")
        with pytest.raises(shmbus.ClosedError):
            agent.submit_task(task("two"))


# ---- asyncio ---------------------------------------------------------------------------------------------------------


def test_the_same_for_asyncio_and_cancelling_whoever_waits_cancels_the_task(bus):
    async def main() -> None:
        async with bus as its, AsyncAgent(its) as agent:
            found = await asyncio.gather(*(agent.run_task(task(str(n))) for n in range(20)))
            assert [result.task_id for result in found] == list(map(str, range(20)))
            with pytest.raises(TaskError, match="nobody who can"):
                await agent.run_task(task("net", kind=TaskType.MONITOR_NETWORK_CONNECTIONS))
            waiting = asyncio.create_task(agent.run_task(task("long", "sleep 20")))
            while child.stdout.readline() != "began long\n":
                await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            says(child, "cancelled long")
            assert [one.registration.collector_id for one in await agent.collectors()] == ["lab"]
            assert await agent.begin_monitoring() > 0

    with lab(bus, "lab") as child:
        asyncio.run(main())


# ---- with coordinators that die --------------------------------------------------------------------------------------


def test_tasks_go_on_while_the_coordinator_and_a_collector_are_killed(bus_name):
    with ExitStack() as stack:
        first = stack.enter_context(coordinator(bus_name))
        bus = stack.enter_context(shmbus.connect())
        agent = stack.enter_context(Agent(bus))
        published = stack.enter_context(bus.subscribe("events.#", lossless=True))
        victim = stack.enter_context(lab(bus, "victim", "priority=9"))
        stack.enter_context(lab(bus, "other"))
        agent.run_task(task("before"))
        says(victim, "began before")
        says(victim, "did before")
        calls = agent._dispatcher._exchange
        eventually(lambda: "other" in calls._services and not calls._pending)
        doomed = agent.submit_task(task("doomed", "sleep 0.5"))
        says(victim, "began doomed")
        first.end(signal.SIGKILL)
        os.kill(victim.pid, signal.SIGKILL)
        assert doomed.result(WATCHDOG_S).processes[0].name == "other"
        assert agent.run_task(task("without")).processes[0].name == "other"
        stack.enter_context(coordinator(bus_name))
        with lab(bus, "victim", "priority=9") as again:
            eventually(lambda: any(one.registration.pid == again.pid for one in agent.collectors()))
            assert agent.run_task(task("after")).processes[0].pid == again.pid
        assert results(published) == [
            ("before", "victim"), ("doomed", "other"), ("without", "other"), ("after", "victim"),
        ]  # fmt: skip


def test_procmond_does_tasks_and_a_second_collector_the_others(bus_name):
    with coordinator(bus_name, "--collectors", "procmond") as running:
        running.read_until("procmond: ready")
        with shmbus.connect() as bus, Agent(bus) as agent, lab(bus, "second"), bus.subscribe(RESULTS) as published:
            mine = DetectionTask(task_type=TaskType.ENUMERATE_PROCESSES)
            mine.process_filter.pids.append(os.getpid())
            submitted = agent.submit_task(mine, needs=AdvancedCapabilities(system_wide=os.geteuid() == 0))
            pids = [record.pid for record in submitted.result(WATCHDOG_S).processes]
            assert submitted.collector in ("procmond", "second")
            assert submitted.collector == "second" or pids == [os.getpid()]
            agent.run_task(task("tree", kind=TaskType.MONITOR_PROCESS_TREE))  # procmond says it does none
            assert len(results(published)) == 1


# ---- the word to begin -----------------------------------------------------------------------------------------------


def test_whoever_comes_late_is_told_to_begin_and_nobody_twice(bus_name):
    with coordinator(bus_name) as first, shmbus.connect() as bus, Agent(bus) as agent:
        with lab(bus, "early") as early:
            epoch = agent.begin_monitoring()
            says(early, f"monitoring {epoch}")
            with lab(bus, "late") as late:
                says(late, f"monitoring {epoch}")
            eventually(lambda: bus.last("control.collector.lifecycle"))
            first.end(signal.SIGKILL)
            with coordinator(bus_name), lab(bus, "latest") as latest:
                says(latest, f"monitoring {epoch}")
                second = agent.begin_monitoring()
                assert second > epoch
                says(latest, f"monitoring {second}")
                says(early, f"monitoring {second}")  # and nothing in between
                agent.run_task(task("x"))


def test_procmond_can_wait_for_the_word(bus_name):
    with coordinator(bus_name), shmbus.connect() as bus, bus.subscribe("events.process.#") as events:
        command = [sys.executable, "-m", "shmbus.workers.procmond", "--mode", "scan", "--await-begin"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as procmond, Agent(bus) as agent:
            try:
                with rpc.Client(bus) as client:
                    eventually(lambda: _suppressed(client) > 0)
                assert events.try_receive() is None
                agent.begin_monitoring()
                assert events.receive(timeout=WATCHDOG_S)
            finally:
                procmond.terminate()
                assert procmond.stderr is not None and "told to begin by" in procmond.stderr.read()


def _suppressed(client: rpc.Client) -> float:
    try:
        return client.health("procmond").metrics["events_suppressed"]
    except shmbus.RpcError:
        return 0.0


def test_words_that_were_missed_are_made_up_for_by_the_last_one(bus):
    heard: list[int] = []
    go_on = threading.Event()

    def heed(word: Begin) -> None:
        heard.append(word.epoch)
        go_on.wait(WATCHDOG_S)

    first = begin(bus)
    with listening(bus, heed):
        eventually(lambda: heard == [first])
        with bus.publisher("control.collector.lifecycle") as publisher:
            for last in range(first + 1, first + 301):  # more than the topic holds
                publisher.publish(word_of(last), key=KEY)
        eventually(lambda: bus.last("control.collector.lifecycle")[0].event.parameters["epoch"] == str(last))
        go_on.set()
        eventually(lambda: heard[-1] == last)
        assert heard == sorted(set(heard)) and len(heard) < 300


def test_registrations_that_were_missed_are_made_up_for(bus):
    schedule = Schedule()
    with Registration(bus, RegistrationRequest(collector_id="stays")):
        roster = Roster(bus, schedule)
        try:
            with Registration(bus, RegistrationRequest(collector_id="goes")):
                roster.refresh()
                assert sorted(one.name for one in schedule.candidates) == ["goes", "stays"]
            for _ in range(400):  # more events than the topic holds
                Registration(bus, RegistrationRequest(collector_id="comes-and-goes")).close()
            with Registration(bus, RegistrationRequest(collector_id="new")):
                eventually(lambda: {one.key for one in bus.last("control.collector.registration")} == {"stays", "new"})
                roster.refresh()
                assert sorted(one.name for one in schedule.candidates) == ["new", "stays"]
        finally:
            roster.close()


def test_what_was_missed_without_a_coordinator_is_made_up_for_with_the_next_one(bus_name):
    with coordinator(bus_name) as first, shmbus.connect() as bus, shmbus.connect() as other, ExitStack() as stack:
        schedule, heard, go_on = Schedule(), [], threading.Event()
        roster = Roster(bus, schedule)
        stack.callback(roster.close)
        word = begin(bus)
        stack.enter_context(listening(bus, lambda found: (heard.append(found.epoch), go_on.wait(WATCHDOG_S))))
        eventually(lambda: heard == [word])
        with other.publisher("control.collector.lifecycle") as publisher:
            for number in range(1, 301):
                publisher.publish(word_of(word + number), key=KEY)
        for _ in range(400):
            Registration(other, RegistrationRequest(collector_id="comes-and-goes")).close()
        stack.enter_context(Registration(other, RegistrationRequest(collector_id="stays")))
        eventually(lambda: [one.key for one in other.last("control.collector.registration")] == ["stays"])
        first.end(signal.SIGKILL)
        go_on.set()
        roster.refresh()
        with coordinator(bus_name):
            eventually(lambda: (roster.refresh(), [one.name for one in schedule.candidates] == ["stays"])[1])
            eventually(lambda: heard[-1] == word + 300)
            stack.close()


def test_the_end_of_the_bus_ends_tasks(bus):
    with lab(bus, "lab"), shmbus.connect(bus.address) as mine, Agent(mine) as agent:
        submitted = agent.submit_task(task("one", "sleep 20"))
        eventually(lambda: submitted.collector is not None)
        mine.close()
        failing(submitted, "CLIENT_SHUTDOWN", "CANCELLED")
        with pytest.raises(shmbus.ClosedError):
            agent.submit_task(task("two"))


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_runs_tasks_lists_collectors_and_says_to_begin(bus_name):
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "shmbus.tools", "tasks", *arguments]
        return subprocess.run(line, capture_output=True, text=True, timeout=60)

    with coordinator(bus_name), shmbus.connect() as bus:
        assert "no collector is registered" in command("collectors").stdout
        done = command("run", "ENUMERATE_PROCESSES")
        assert done.returncode == 1 and "nobody who can is registered" in done.stderr, done
        with lab(
            bus, "mine", "domains=PROCESS,NETWORK", "kernel=1", "tasks=VERIFY_EXECUTABLE,ENUMERATE_PROCESSES"
        ) as its:
            done = command("run", "ENUMERATE_PROCESSES", "--json", '{"task_id": "7"}', "--needs", "kernel_level")
            assert done.returncode == 0 and json.loads(done.stdout)["processes"][0]["pid"] == its.pid, done
            titles, line, able = command("collectors").stdout.splitlines()
            assert titles.split() == ["collector", "lease", "pid", "domains"]
            assert line.split() == ["mine", "held", str(its.pid), "process", "network"]
            assert able == "  can: VERIFY_EXECUTABLE ENUMERATE_PROCESSES kernel_level"
            assert json.loads(command("collectors", "--json").stdout)["can"] == (
                "VERIFY_EXECUTABLE ENUMERATE_PROCESSES kernel_level"
            )
            begun = command("begin")
            assert [its.stdout.readline() for _ in range(3)][2] == f"monitoring {begun.stdout.split()[1]}\n"
        for wrong, why in (
            (("run", "FLY"), "invalid choice: 'FLY'"),
            (("run", "VERIFY_EXECUTABLE", "--json", "{"), "--json: it is no DetectionTask"),
            (("run", "VERIFY_EXECUTABLE", "--json", "[]"), "[] is no JSON object"),
            (("run", "VERIFY_EXECUTABLE", "--priority", "300"), "priority is 0 to 255, not 300"),
        ):
            done = command(*wrong)
            assert done.returncode == 2 and why in done.stderr, done
