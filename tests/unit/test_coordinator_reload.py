"""What another configuration means for a bus that runs: what is refused, and what is told of the rest."""

import pytest

from shmbus.config import parse
from shmbus.coordinator.configured import settings_of
from shmbus.coordinator.reload import MADE_ONCE, changes, check
from shmbus.errors import ConfigurationError


def settings(names=("a", "b"), **sections):
    sections.setdefault("bus", {"name": "lab"})
    return settings_of(parse(sections), collectors=names)


def told(before, after, **names):
    return changes(settings(**before, **names), settings(**after, **names))


def test_the_same_is_no_change():
    assert told({"collectors": {"a": {"nice": 1}}}, {"collectors": {"a": {"nice": 1}}}) == []


@pytest.mark.parametrize("key", ["max_topics", "max_sessions", "max_collectors", "session_cursors"])
def test_what_is_made_once_cannot_be_changed(key):
    assert key in MADE_ONCE
    with pytest.raises(ConfigurationError, match=f"bus.{key} = 7: is made once, at the start") as caught:
        check(settings(), settings(bus={"name": "lab", key: 7}))
    assert caught.value.key == f"bus.{key}"


def test_all_of_it_is_told_with_where_it_stands():
    def at(key):
        return "bus.toml", {"bus.max_topics": 3}.get(key)

    new = settings(
        bus={"name": "lab", "max_topics": 7, "max_durables": 8}, topics=[{"topic": "events.a", "keep_last": 2}]
    )
    with pytest.raises(ConfigurationError) as caught:
        check(settings(), new, at)
    assert [problem.split(": ")[:2] for problem in caught.value.problems] == [
        ["bus.toml:3", "bus.max_topics = 7"], ["bus.toml", "bus.max_durables = 8"],
        ["bus.toml", "topics.keep_last = true"],
    ]  # fmt: skip


def test_another_name_is_another_bus():
    with pytest.raises(ConfigurationError, match='bus.name = "other"'):
        check(settings(), settings(bus={"name": "other"}))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"command": ["/bin/true"]}, "command (it is started again)"),
        ({"arguments": ["x"], "nice": 3}, "arguments, nice (it is started again)"),
        ({"environment": {"A": "b"}}, "environment (it is started again)"),
        ({"working_directory": "/tmp"}, "working_directory (it is started again)"),
        ({"user": 0}, "user (it is started again)"),
        ({"restart": "never"}, "restart"),
        ({"heartbeat_ms": 10, "grace_seconds": 1}, "grace_seconds, heartbeat_ms"),
        ({"limits": {"open_files": 9}}, "limits"),
        ({"topics": ["a"], "after": ["b"]}, "topics, after"),
    ],
)
def test_a_changed_collector_is_named_with_what_is_changed_and_what_it_takes(change, line):
    found = told({"collectors": {"a": {}, "b": {}}}, {"collectors": {"a": change, "b": {}}})
    assert found == [f"collectors.a: {line}"]


def test_collectors_come_and_go():
    assert changes(settings(("a", "b")), settings(("b", "c"))) == [
        "collectors.a: stopped, for it is not configured any more",
        "collectors.c: new",
    ]


def test_topics_and_access_rules_are_named():
    rule = {"topic": "x.#", "users": [0]}
    found = told(
        {"topics": [{"topic": "x.+", "max_messages": 5}]},
        {
            "topics": [{"topic": "x.+", "max_messages": 6, "on_full": "shed"}, {"topic": "y", "retention_ms": 5}],
            "access": {"publish": [rule]},
        },
    )
    assert found == [
        "topics 'x.+': max_messages 5 -> 6, on_full block -> shed", "topics 'y': retention_ms 0 -> 5", "access.publish",
    ]  # fmt: skip


def test_a_size_that_takes_a_new_topic_says_so():
    (line,) = told({"defaults": {"slots": 64}}, {"defaults": {"slots": 128, "max_messages": 63}})
    assert line == "defaults: slots 64 -> 128 (sizes count for topics that are made from now on)"


def test_the_first_topic_that_keeps_last_messages_takes_a_new_start():
    keeping = {"topics": [{"topic": "x.+", "keep_last": 5}]}
    with pytest.raises(ConfigurationError, match="stop the bus and start it") as caught:
        check(settings(), settings(**keeping))
    assert caught.value.key == "topics.keep_last"
    check(settings(**keeping), settings(**keeping))
