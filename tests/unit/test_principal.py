"""Names of rings by principal."""

import pytest

from shmbus.principal import principal_of, ring_name, ring_of

GUEST = principal_of(54321, 54321, (), "", b"")


@pytest.mark.parametrize("topic", ["control.collector.lab", "control.rpc.response.c7-0"])
def test_a_topic_of_calls_has_a_ring_for_each_principal_and_the_name_says_whose_it_is(topic):
    ring = ring_of(topic, GUEST)
    assert ring == f"{topic}.{GUEST}"
    assert ring_name(ring) == (topic, GUEST, 54321)
    assert ring_of(topic, "") == topic and ring_name(topic) == (topic, "", None)


@pytest.mark.parametrize(
    "topic",
    [
        "events.process.start", "control.collector.lifecycle", "control.collector.registration",
        "control.collector.config.lab", f"control.collector.config.{GUEST}", f"control.collector.task.{GUEST}",
        f"control.collector.lab.{GUEST}", f"control.collector.lab.{GUEST}.{GUEST}", "control.health.status",
        "control.collector.lab.u1-short", "control.collector.lab.u1-0123456789abcdeg", "control.collector.+",
    ],
)  # fmt: skip
def test_any_other_topic_is_one_ring_for_all(topic):
    assert ring_of(topic, GUEST) == topic


@pytest.mark.parametrize(
    "topic", [f"control.collector.config.{GUEST}", f"events.lab.{GUEST}", "control.collector.lab.u1-x"]
)
def test_what_only_looks_like_a_ring_of_a_principal_is_nobody_s(topic):
    assert ring_name(topic) == (topic, "", None)


def test_a_collector_may_be_called_what_begins_like_a_reserved_name():
    assert ring_of("control.collector.config2", GUEST) == f"control.collector.config2.{GUEST}"


def test_whatever_rules_tell_apart_is_another_principal():
    facts = [
        (1, 1, (), "", b""), (2, 1, (), "", b""), (1, 2, (), "", b""), (1, 1, (5,), "", b""), (1, 1, (), "lab", b""),
        (1, 1, (), "", b"ci"),
    ]  # fmt: skip
    assert len({principal_of(*one) for one in facts}) == len(facts)
    assert principal_of(1, 1, (7, 5, 7), "", b"") == principal_of(1, 1, (5, 7), "", b"")
