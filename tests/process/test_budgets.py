"""Budgets of publishers: who keeps to one is held back and told, who does not is told of and shut out."""

import asyncio
import os
import signal
import time
from dataclasses import replace

import pytest

import shmbus
from process.buses import coordinator, eventually, python
from shmbus._core import Budget as CoreBudget
from shmbus.coordinator.settings import Budget, Grant, Settings, TopicPlan
from shmbus.errors import AccessDenied, BudgetExceeded

OWN = frozenset({os.geteuid()})


def limited(messages=0, size=0, grace=1.0, topic="lab.#", slots=8192, **plan):
    rule = Grant(topic, users=OWN, budget=Budget(messages, size))
    ring = replace(TopicPlan().ring, slots=slots, max_messages=slots - 1)
    default = replace(TopicPlan(ring), **plan)
    return Settings(publish=(rule,), default=default, budget_grace_ns=int(grace * 1e9))


def test_a_second_s_worth_goes_at_once_and_the_rest_at_the_rate():
    with shmbus.embedded(limited(200)) as bus, bus.publisher("lab.x") as publisher:
        assert publisher.publish_many([b"x"] * 200, timeout=0) == 200
        begun = time.monotonic()
        assert publisher.publish_many([b"x"] * 50) == 50  # waits, as the topic is configured
        assert time.monotonic() - begun > 0.2


def test_over_budget_is_an_error_that_names_limit_rate_and_when_to_go_on():
    with shmbus.embedded(limited(50, on_full="raise")) as bus, bus.publisher("lab.x") as publisher:
        with pytest.raises(BudgetExceeded) as caught:
            publisher.publish_many([b"x"] * 80)
        error = caught.value
        assert error.published == publisher.published == 50
        assert (error.topic, error.messages_per_second, error.bytes_per_second) == ("lab.x", 50, 0)
        assert error.present_messages >= 50 and 0 < error.retry_seconds <= 0.021
        assert "budget for topic 'lab.x' is 50 messages/s" in str(error)
        assert publisher.try_publish(b"x") is None
        time.sleep(error.retry_seconds)
        assert publisher.publish(b"x") == 51


def test_a_timeout_that_is_too_short_is_not_waited_out():
    with shmbus.embedded(limited(1)) as bus, bus.publisher("lab.x") as publisher:
        publisher.publish(b"x")
        begun = time.monotonic()
        with pytest.raises(BudgetExceeded):
            publisher.publish(b"x", timeout=0.5)
        assert time.monotonic() - begun < 0.4


def test_bytes_have_a_budget_of_their_own():
    with shmbus.embedded(limited(size=1000)) as bus, bus.publisher("lab.x", on_full="raise") as publisher:
        publisher.publish(b"x" * 600)
        with pytest.raises(BudgetExceeded, match="1000 bytes/s, and it has lately published"):
            publisher.publish(b"x" * 600)
        publisher.publish(b"x" * 400)


def test_all_publishers_of_a_client_and_both_lanes_share_the_budget_and_opening_again_wins_none():
    with shmbus.embedded(limited(10)) as bus:
        with bus.publisher("lab.x", on_full="raise") as one, bus.publisher("lab.x", on_full="raise") as two:
            one.publish_many([b"x"] * 4)
            two.publish_many([b"x"] * 3)
            one.publish_many([b"x"] * 3, priority=shmbus.URGENT)
            for publisher, priority in ((one, 0), (two, 0), (two, shmbus.URGENT)):
                with pytest.raises(BudgetExceeded):
                    publisher.publish(b"x", priority=priority)
        with bus.publisher("lab.x", on_full="raise") as again, pytest.raises(BudgetExceeded):
            again.publish(b"x")
        with bus.publisher("lab.y", on_full="raise") as other:
            other.publish_many([b"x"] * 10)  # the budget is each topic's


def test_what_no_rule_limits_has_no_budget():
    with shmbus.embedded(limited(1)) as bus, bus.publisher("other.x", on_full="raise") as publisher:
        assert publisher.publish_many([b"x"] * 5000) == 5000


def test_asyncio_publishers_wait_for_their_budget_without_holding_the_loop():
    async def main(bus):
        async with bus as one:
            publisher = one.publisher("lab.x")
            turns = 0

            async def turn():
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0.01)

            task = asyncio.create_task(turn())
            await publisher.publish_many([b"x"] * 120)
            task.cancel()
            with pytest.raises(BudgetExceeded):
                await publisher.publish(b"x" * 2, timeout=0.001)
            return turns

    with shmbus.embedded(limited(100)) as bus:
        assert asyncio.run(main(bus)) >= 10


def test_a_sleeper_is_ended_by_its_signal_and_by_its_close():
    program = """
import signal, sys, threading, shmbus
def late(*_): raise InterruptedError("rung")
signal.signal(signal.SIGALRM, late)
with shmbus.connect(sys.argv[1]) as bus:
    publisher = bus.publisher("lab.x", timeout=None)
    publisher.publish(b"x")
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try: publisher.publish(b"x")
    except InterruptedError as error: print(error, flush=True)
    threading.Timer(0.2, publisher.close).start()
    try: publisher.publish(b"x")
    except shmbus.ClosedError as error: print(type(error).__name__, flush=True)
"""
    with shmbus.embedded(limited(0, 1)) as bus, python(program.replace('b"x"', 'b"x" * 900'), bus.address) as child:
        assert child.stdout.read().split() == ["rung", "ClosedError"]


def waiting(subscription):
    """What there is, once."""
    found = []
    while (one := subscription.try_receive()) is not None:
        found.append(one)
    return found


def alerts(subscription):
    return [one.event.title for one in waiting(subscription) if not isinstance(one, shmbus.Gap)]


def test_who_keeps_to_the_budget_is_never_taken_for_one_who_does_not():
    with (
        shmbus.embedded(limited(3000, 300_000, grace=0.0, slots=64)) as bus,
        bus.subscribe("control.health.status") as health,
        bus.publisher("lab.x") as publisher,
        bus.publisher("lab.x", name="durable", durable=True) as durable,
        bus.publisher("free.x") as noise,
    ):
        end = time.monotonic() + 4.5
        number = 0
        while time.monotonic() < end:  # as fast as it may, through a ring that goes round all the time
            publisher.publish_many([b"x" * 90] * 40)
            durable.publish(b"x", number=(number := number + 1_000_000))
            noise.publish(b"x")
        assert publisher.published > 8000
        bus.resize("lab.x", slots=128)
        publisher.publish_many([b"x"] * 100)
        time.sleep(1.2)
        assert health.try_receive() is None
        publisher.publish(b"x")


CHEAT = """
import sys, time, shmbus
with shmbus.connect(sys.argv[1], name="cheat") as bus:
    publisher = bus.publisher("lab.x", durable=sys.argv[2] == "durable")
    publisher._set_budget(None)
    print("began", flush=True)
    try:
        while True:
            publisher.publish(b"x" * 50)
            time.sleep(0.001)
    except shmbus.AccessDenied as error:
        print(error, flush=True)
    try:
        bus.publisher("lab.x")
    except shmbus.AccessDenied as error:
        print(error, flush=True)
    bus.publisher("lab.y").publish(b"x")
    publisher.close()
    print("done", flush=True)
"""


@pytest.mark.parametrize(("kind", "rule"), [("plain", (100, 0)), ("durable", (100, 0)), ("plain", (0, 5000))])
def test_who_ignores_the_budget_is_told_of_and_then_shut_out_and_nothing_is_lost(kind, rule, tmp_path):
    trail = tmp_path / "audit.jsonl"
    settings = replace(limited(*rule), audit_file=str(trail))
    with (
        shmbus.embedded(settings) as bus,
        bus.subscribe("control.health.status") as health,
        bus.subscribe("lab.#") as subscription,
        bus.publisher("lab.x", name="honest") as honest,
        python(CHEAT, bus.address, kind) as child,
    ):
        assert child.stdout.readline() == "began\n"
        told = []
        eventually(lambda: told.extend(alerts(health)) or len(told) == 2, 20)
        assert told == ["publisher above its budget", "publisher revoked"]
        said = child.stdout.read().splitlines()
        assert "may not publish to 'lab.x'. It was above its budget of " in said[0]
        assert "may not publish to 'lab.x'. Raise the budget" in said[1] and said[2] == "done"
        honest.publish(b"the last")
        received = []
        eventually(lambda: received.extend(waiting(subscription)) or received[-1].payload == b"the last")
    assert not [one for one in received if isinstance(one, shmbus.Gap)]
    numbers = [one.producer_sequence for one in received if one.topic == "lab.x" and one.producer.name == "cheat"]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 100
    text = trail.read_text()
    assert '"action": "revoke publishing to", "object": "lab.x"' in text
    assert '"action": "exceed the budget for", "object": "lab.x"' in text


def rules(path, rate):
    path.write_text(
        f"[[access.publish]]\ntopic = 'lab.#'\nusers = [{os.geteuid()}]\nmessages_per_second = {rate}\n"
        "[access]\nbudget_grace_seconds = 0\n"
    )


def test_a_budget_stays_while_publishers_are_open_and_is_the_new_one_afterwards(bus_name, tmp_path):
    config = tmp_path / "bus.toml"
    rules(config, 100)
    with (
        coordinator(bus_name, "--config", str(config)) as running,
        shmbus.connect() as bus,
        bus.subscribe("control.health.status") as health,
    ):
        with bus.publisher("lab.x", on_full="raise") as one:
            rules(config, 10)
            running.process.send_signal(signal.SIGHUP)
            running.read_until("1 change")
            with bus.publisher("lab.x", on_full="raise") as two:
                assert one._budget is two._budget and one._budget.messages_per_second == 100
                one.publish_many([b"x"] * 50)
                two.publish_many([b"x"] * 50)
        with bus.publisher("lab.x", on_full="raise") as three:
            assert three._budget.messages_per_second == 10
        time.sleep(2.2)
        assert health.try_receive() is None


def test_the_next_coordinator_tells_publishers_their_budget_and_measures_them_from_then_on(bus_name, tmp_path):
    config = tmp_path / "bus.toml"
    rules(config, 1000)
    with coordinator(bus_name, "--config", str(config)) as running, shmbus.connect() as bus:
        publisher = bus.publisher("lab.x", on_full="raise")
        publisher.publish_many([b"x"] * 1000)
        running.process.kill()
        running.process.wait()
        rules(config, 20)
        with coordinator(bus_name, "--config", str(config)):
            with bus.subscribe("control.health.status") as health:  # and so comes back
                assert publisher._budget.messages_per_second == 20
                assert publisher.publish_many([b"x"] * 20, timeout=2) == 20
                time.sleep(2.2)
                assert health.try_receive() is None
                publisher._set_budget(None)
                with pytest.raises(AccessDenied, match="above its budget of 20 messages/s"):
                    for _ in range(200):
                        publisher.publish_many([b"x"] * 20)
                        time.sleep(0.05)
                assert alerts(health) == ["publisher above its budget", "publisher revoked"]


def test_a_budget_is_two_numbers():
    budget = CoreBudget(messages_per_second=7, bytes_per_second=0)
    assert (budget.messages_per_second, budget.bytes_per_second) == (7, 0)
    with shmbus.embedded() as bus, bus.publisher("lab.x") as publisher, pytest.raises(TypeError, match="a Budget"):
        publisher._set_budget(7)
