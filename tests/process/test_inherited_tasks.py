"""An agent is killed, and the next one of its name knows what became of its tasks."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import shmbus
from process.buses import eventually, python
from process.test_tasks import RESULTS, WATCHDOG_S, failing, lab, results, says, task
from shmbus.agent import Agent, Task

AGENT = """
import sys, threading
import shmbus
from shmbus.agent import Agent
from shmbus.v1.ipc_pb2 import DetectionTask

with shmbus.connect(sys.argv[1], name="detector") as bus, Agent(bus, name="detector") as agent:
    for one in sys.argv[2:]:
        name, what, timeout = one.split("/")
        agent.submit_task(DetectionTask(task_id=name, metadata=what), timeout=float(timeout))
    print("submitted", flush=True)
    threading.Event().wait()
"""


@pytest.fixture
def bus() -> Iterator[shmbus.Bus]:
    with shmbus.embedded(name="agent") as bus:
        yield bus


@contextmanager
def agent_with(bus: shmbus.Bus, *tasks: str) -> Iterator[subprocess.Popen[str]]:
    with python(AGENT, bus.address, *tasks) as child:
        assert child.stdout.readline() == "submitted\n"
        yield child


def killed(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()


def the_next(bus: shmbus.Bus) -> Agent:
    """When the coordinator knows that the one before is dead."""
    made: list[Agent] = []

    def make() -> bool:
        try:
            made.append(Agent(bus, name="detector"))
        except shmbus.DurableError:
            return False
        return True

    eventually(make)
    return made[0]


def by_id(agent: Agent) -> dict[str, Task]:
    return {one.task_id: one for one in agent.inherited}


def test_what_is_in_a_collectors_hands_goes_on_and_its_result_is_published_once(bus):
    with lab(bus, "lab", "priority=9") as child, lab(bus, "other"), bus.subscribe(RESULTS) as published:
        with agent_with(bus, "one/deaf/60") as first:
            says(child, "began one")
            killed(first)
        with the_next(bus) as agent:
            (inherited,) = agent.inherited
            assert (inherited.state, inherited.task_id, inherited.collector) == ("running", "one", "lab")
            assert agent.submit_task(task("one", "deaf")) is inherited
            os.kill(child.pid, signal.SIGUSR1)
            assert inherited.result(WATCHDOG_S).success and inherited.state == "done"
            assert results(published) == [("one", "lab")]


def test_what_was_done_while_no_agent_was_there_is_answered_from_memory(bus):
    with lab(bus, "lab") as child, bus.subscribe(RESULTS) as published:
        with agent_with(bus, "one/hold 0.5/60") as first:
            says(child, "began one")
            killed(first)
        says(child, "did one")
        assert results(published) == []
        with the_next(bus) as agent:
            assert by_id(agent)["one"].result(WATCHDOG_S).success
            assert results(published) == [("one", "lab")]
        with the_next(bus) as agent:  # which takes it from the notes
            (inherited,) = agent.inherited
            assert inherited.state == "done" and inherited.result().success
            assert agent.submit_task(task("one", "hold 0.5")) is inherited
            assert agent.run_task(task("two")).success
        assert results(published) == [("two", "lab")]
        child.stdin.close()
        assert [line for line in child.stdout.read().splitlines() if line.startswith("did")] == ["did two"]


def test_what_its_collector_took_along_or_nobody_had_is_lost_and_may_be_submitted_again(bus):
    with lab(bus, "lab") as child, agent_with(bus, "one/deaf/60") as first:
        says(child, "began one")
        killed(first)
        killed(child)
    with the_next(bus) as agent:
        agent.submit_task(task("waits"), patience=60, timeout=60)
        agent._dispatcher._journal.close()  # as if it were killed: what its end would note is not
    with lab(bus, "lab") as again, the_next(bus) as agent:
        error = failing(by_id(agent)["one"], "PROCESS_NOT_FOUND", "UNAVAILABLE")
        assert by_id(agent)["one"].state == "lost"
        assert f"'lab' (pid {child.pid}), which had it, serves no more: it may have been done" in str(error)
        failing(by_id(agent)["waits"], "PROCESS_NOT_FOUND", "UNAVAILABLE")
        assert agent.run_task(task("one")).success
        again.stdin.close()
        assert again.stdout.read().count("began one") == 1  # it was not asked in the name of the one that is gone


def test_one_whose_deadline_has_passed_is_overdue_and_its_collector_does_not_go_on(bus):
    with lab(bus, "lab") as child, agent_with(bus, "one/sleep 60/1.5") as first:
        says(child, "began one")
        killed(first)
        began = time.monotonic()
        says(child, "cancelled one")
        assert time.monotonic() - began < WATCHDOG_S / 2
        with the_next(bus) as agent:
            failing(by_id(agent)["one"], "DEADLINE_EXCEEDED", "TIMEOUT")


def test_a_collector_that_dies_under_the_next_agent_costs_no_result(bus):
    with lab(bus, "lab") as child, bus.subscribe(RESULTS) as published:
        with agent_with(bus, "one/deaf/60") as first:
            says(child, "began one")
            killed(first)
        with the_next(bus) as agent, lab(bus, "other") as other:
            eventually(lambda: by_id(agent)["one"].state == "running")
            killed(child)
            os.kill(other.pid, signal.SIGUSR1)
            assert by_id(agent)["one"].result(WATCHDOG_S).success
            assert results(published) == [("one", "other")]


def test_an_agent_that_cannot_take_over_gives_its_name_back(bus, monkeypatch):
    def fail(roster):
        raise shmbus.ConnectionLost("lab", 7)

    with monkeypatch.context() as patched, pytest.raises(shmbus.ConnectionLost):
        patched.setattr("shmbus.agent.roster.Roster.refresh", fail)
        Agent(bus, name="detector")
    with Agent(bus, name="detector") as agent:
        assert agent.inherited == []


def test_one_process_has_a_name_at_a_time(bus):
    with Agent(bus, name="detector"), pytest.raises(shmbus.DurableError, match="detector"):
        Agent(bus, name="detector")
    with Agent(bus, name="detector") as agent:
        assert agent.inherited == []
    with pytest.raises(shmbus.TopicNameError):
        Agent(bus, name="No Name")
