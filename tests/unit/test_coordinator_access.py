"""Who may do what."""

import pytest

from shmbus.coordinator.access import Access, covers
from shmbus.coordinator.negotiation import negotiate
from shmbus.coordinator.registry import Client
from shmbus.coordinator.settings import CollectorPlan, Grant, Settings
from shmbus.errors import AccessDenied, VersionError
from shmbus.process import Identity
from shmbus.v1.eventbus_pb2 import MessageVersion, VersionNegotiationRequest

RULES = Settings(
    publish=(Grant("events.process.#", users=frozenset({1001})),),
    subscribe=(Grant("events.#", groups=frozenset({50})),),
)


def client(uid, gid=100, groups=()):
    one = Client(1, "agent", Identity(77, 1, 1), uid, gid)
    one.groups = groups
    return one


def test_without_rules_only_the_own_user_and_root_may_do_anything():
    access = Access(Settings(), own_uid=1000)
    for uid in (0, 1000):
        access.check_connect(uid, 5, (), "x")
        access.check_publish(client(uid), "a.b")
        access.check_subscribe(client(uid), "#")
        access.check_administer(client(uid), "#")
    with pytest.raises(AccessDenied, match="access"):
        access.check_connect(1001, 5, (), "uid 1001")
    assert not access.names_others


def test_a_grant_holds_for_its_user_and_its_topics_only():
    access = Access(RULES, own_uid=0)
    access.check_connect(1001, 5, (), "x")
    access.check_publish(client(1001), "events.process.start")
    for refused in (lambda: access.check_publish(client(1001), "events.network.open"),
                    lambda: access.check_publish(client(1002), "events.process.start"),
                    lambda: access.check_subscribe(client(1001), "events.process.start"),
                    lambda: access.check_administer(client(1001), "events.process.start")):  # fmt: skip
        with pytest.raises(AccessDenied):
            refused()


def test_a_grant_holds_for_the_members_of_its_group():
    access = Access(RULES, own_uid=0)
    access.check_subscribe(client(1003, gid=50), "events.+")
    access.check_subscribe(client(1003, groups=(7, 50)), "events.#")
    with pytest.raises(AccessDenied):
        access.check_subscribe(client(1003, groups=(7, 50)), "#")


def test_a_supervised_collector_may_say_how_it_is_whoever_it_runs_as_and_nothing_for_others():
    plan = CollectorPlan("netmond", uid=1001, topics=("events.network.#",))
    access = Access(Settings(collectors=(plan,)), own_uid=0)
    one = client(1001)
    one.collector = "netmond"
    access.check_publish(one, "control.health.heartbeat.netmond")
    for topic in ("control.health.heartbeat.procmond", "control.health.status", "control.health.heartbeat"):
        with pytest.raises(AccessDenied):
            access.check_publish(one, topic)
    with pytest.raises(AccessDenied):
        access.check_publish(client(1001), "control.health.heartbeat.netmond")


def test_a_supervised_collector_may_be_called_whoever_it_runs_as():
    plans = (CollectorPlan("one", uid=1001, topics=("lab.mine",)), CollectorPlan("two", uid=1001))
    access = Access(Settings(collectors=plans), own_uid=0)
    for name in ("one", "two"):
        collector = client(1001)
        collector.collector = name
        access.check_publish(collector, f"control.collector.{name}")
        access.check_publish(collector, "control.rpc.response.c1")
        access.check_subscribe(collector, f"control.collector.{name}")
        for check, topic in (
            (access.check_subscribe, "control.collector.three"),
            (access.check_subscribe, "control.rpc.response.c1"),
            (access.check_publish, "control.collector.three"),
        ):
            with pytest.raises(AccessDenied):
                check(collector, topic)
    with pytest.raises(AccessDenied):
        access.check_publish(client(1001), "control.rpc.response.c1")


@pytest.mark.parametrize(
    ("allowed", "pattern", "does"),
    [
        ("#", "#", True), ("#", "a.+.c", True), ("a.#", "a", True), ("a.#", "a.#", True), ("a.#", "a.b.+", True),
        ("a.#", "#", False), ("a.#", "+.b", False), ("a.+", "a.+", True), ("a.+", "a.b", True), ("a.b", "a.+", False),
        ("a.+", "a.#", False), ("a.b.#", "a.#", False), ("a.+.#", "a.#", False), ("+.#", "a.#", True),
    ],
)  # fmt: skip
def test_a_pattern_must_not_reach_further_than_what_is_allowed(allowed, pattern, does):
    assert covers(allowed, pattern) is does


def version(text):
    major, minor, patch = map(int, text.split("."))
    return MessageVersion(major=major, minor=minor, patch=patch)


@pytest.mark.parametrize(
    ("supported", "preferred", "chosen"),
    [(["1.0.0", "1.1.0"], "1.0.3", "1.0.3"), (["1.0.0", "1.1.7", "1.2.0", "2.0.0"], "2.0.0", "1.1.7")],
)
def test_the_preferred_version_is_taken_else_the_highest_acceptable(supported, preferred, chosen):
    request = VersionNegotiationRequest(
        supported_versions=map(version, supported), preferred_version=version(preferred)
    )
    answer = negotiate(request, (1, 1, 0), "x")
    assert answer.negotiation_success
    assert answer.negotiated_version.protocol_version == chosen
    assert bool(answer.compatibility_warnings) is (preferred != chosen)


@pytest.mark.parametrize("theirs", [[], ["2.0.0"], ["1.2.0"], ["0.9.0"]])
def test_no_common_version_is_an_error_that_names_both(theirs):
    with pytest.raises(VersionError, match="1.1.0"):
        negotiate(VersionNegotiationRequest(supported_versions=map(version, theirs)), (1, 1, 0), "pid 7")


def test_a_wanted_capability_that_is_missing_is_a_warning():
    request = VersionNegotiationRequest(supported_versions=[version("1.0.0")], client_capabilities=["teleport"])
    assert "teleport" in negotiate(request, (1, 0, 0), "x").compatibility_warnings[0]
