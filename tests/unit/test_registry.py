"""Which subscriptions a topic has, and which topics a subscription."""

from shmbus.coordinator.registry import Client, CursorRef, Registry, Subscription, Topic
from shmbus.process import Identity


def subscribed(registry, number, *patterns):
    client = registry.clients.setdefault(1, Client(1, "agent", Identity(7, 1, 1), 0, 0))
    subscription = Subscription(client, number, patterns, lossless=False, earliest=False)
    registry.add_subscription(subscription)
    return subscription


def made(registry, *names):
    for number, name in enumerate(names, len(registry.topics) + 1):
        registry.add_topic(Topic(number, name, bell=number))
    return [registry.topics[name] for name in names]


def test_a_topic_finds_its_subscriptions_each_once_with_the_most_specific_pattern():
    registry = Registry()
    one = subscribed(registry, 1, "events.#", "events.+.start", "other")
    two = subscribed(registry, 2, "events.process.start")
    subscribed(registry, 3, "alerts.#")
    assert registry.matching("events.process.start") == {two: "events.process.start", one: "events.+.start"}


def test_a_subscription_finds_the_topics_that_any_of_its_patterns_matches():
    registry = Registry()
    a, b, _ = made(registry, "a.x", "b.x", "c")
    assert registry.topics_matching(("a.+", "b.x", "+.x")) == [a, b]
    assert registry.topics_matching(("b.x", "nowhere", "b.x")) == [b]


def test_a_removed_subscription_gives_back_the_cursors_it_had():
    registry = Registry()
    (topic, _) = made(registry, "a", "b")
    subscription = subscribed(registry, 1, "#")
    topic.bindings[subscription] = CursorRef(9, 3)
    assert registry.remove_subscription(subscription) == [(topic, CursorRef(9, 3))]
    assert registry.matching("a") == {}
    assert registry.clients[1].subscriptions == topic.bindings == {}


def test_equal_patterns_of_many_subscriptions_are_one_object():
    registry = Registry()
    one, two = (subscribed(registry, number, "events.process." + "start"[:]) for number in (1, 2))
    other = subscribed(registry, 3, "".join(["events.process.", "start"]))
    assert one.patterns[0] is two.patterns[0] is other.patterns[0]
