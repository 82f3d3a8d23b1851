"""Who may do what."""

import re
from dataclasses import replace

import pytest

from shmbus.bearer import KnownToken, make_token
from shmbus.coordinator.access import Access, Decision, Person, covers
from shmbus.coordinator.registry import Client
from shmbus.coordinator.requests import impossible
from shmbus.coordinator.settings import Budget, CollectorPlan, Grant, Settings
from shmbus.errors import AccessDenied
from shmbus.principal import ring_name, ring_of
from shmbus.process import Identity
from shmbus.rpc import HEALTH_CHECK, PAUSE, STOP
from shmbus.v1.control_pb2 import AuthorizeCall
from shmbus.v1.eventbus_pb2 import RpcAuthInfo

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
        access.check_hello(client(uid))
        access.check_connect(client(uid))
        access.check_publish(client(uid), "a.b")
        access.check_subscribe(client(uid), "#")
        access.check_administer(client(uid), "#")
    for check in (access.check_hello, access.check_connect):
        with pytest.raises(AccessDenied, match="access"):
            check(client(1001))
    assert not access.names_others


def test_a_grant_holds_for_its_user_and_its_topics_only():
    access = Access(RULES, own_uid=0)
    access.check_connect(client(1001))
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
        access.check_subscribe(collector, "control.collector.lifecycle")  # what all are told
        for check, topic in (
            (access.check_subscribe, "control.collector.three"),
            (access.check_subscribe, "control.rpc.response.c1"),
            (access.check_publish, "control.collector.three"),
            (access.check_publish, "control.collector.lifecycle"),
        ):
            with pytest.raises(AccessDenied):
                check(collector, topic)
    with pytest.raises(AccessDenied):
        access.check_publish(client(1001), "control.rpc.response.c1")


def test_a_registered_name_is_no_supervised_collector():
    access = Access(Settings(publish=(Grant("a.b", collectors=frozenset({"mine"})),)), own_uid=0)
    pretender = client(1001)
    pretender.collector = "mine"
    assert not access.publish(pretender, "a.b").allowed
    access.replace(Settings(publish=access_rules("a.b"), collectors=(CollectorPlan("mine"),)))
    assert access.publish(pretender, "a.b") == Decision(True, "access.publish[0]")


def access_rules(topic):
    return (Grant(topic, collectors=frozenset({"mine"})),)


def test_the_first_rule_that_fits_decides_and_brings_its_budget():
    few, many = Budget(messages_per_second=10), Budget(messages_per_second=1000)
    rules = (
        Grant("events.log", users=frozenset({1001}), budget=few),
        Grant("events.#", users=frozenset({1001, 0}), budget=many),
    )
    access = Access(Settings(publish=rules), own_uid=0)
    assert access.publish(client(1001), "events.log") == Decision(True, "access.publish[0]", few)
    assert access.publish(client(1001), "events.x") == Decision(True, "access.publish[1]", many)
    assert access.publish(client(0), "events.x").budget is many, "a rule counts for root, too, if it names it"
    assert access.publish(client(0), "other") == Decision(True, "root")
    assert access.publish(client(1001), "other") == Decision(False, "no rule")


def test_a_collector_of_the_own_user_has_the_budget_of_its_rule():
    few = Budget(bytes_per_second=10)
    plans = (CollectorPlan("mine", topics=("lab.#",)),)
    grant = Grant("#", collectors=frozenset({"mine"}), budget=few)
    access, mine = Access(Settings(publish=(grant,), collectors=plans), own_uid=1000), client(1000)
    mine.collector = "mine"
    assert access.publish(mine, "lab.x") == Decision(True, "access.publish[0]", few)
    assert access.publish(mine, "other") == Decision(False, "collectors.mine.topics")


# ---- calls -----------------------------------------------------------------------------------------------------------

CALLS = Settings(
    call=(
        Grant("control.collector.procmond", users=frozenset({1001}), operations=frozenset({HEALTH_CHECK, STOP})),
        Grant("control.collector.+", users=frozenset({1002})),
    ),
    administer=(Grant("control.collector.netmond", users=frozenset({1003})),),
    publish=(Grant("control.#", users=frozenset({1004})),),
)


@pytest.mark.parametrize(
    ("uid", "service", "operation", "rule"),
    [
        (1001, "procmond", HEALTH_CHECK, "access.call[0]"), (1001, "procmond", PAUSE, None),
        (1001, "netmond", HEALTH_CHECK, None), (1002, "netmond", PAUSE, "access.call[1]"),
        (1003, "netmond", PAUSE, "access.administer[0]"), (1003, "procmond", PAUSE, None),
        (1004, "procmond", PAUSE, "access.publish[0]"), (1005, "procmond", PAUSE, None), (0, "x", PAUSE, "root"),
    ],
)  # fmt: skip
def test_calls_are_granted_by_service_and_operation(uid, service, operation, rule):
    access = Access(CALLS, own_uid=0)
    assert access.call(client(uid), service, operation)[:2] == (rule is not None, rule or "no rule")


def test_who_may_call_a_service_for_something_gets_its_topic_and_only_its_own_answers():
    access, caller = Access(CALLS, own_uid=0), client(1001)
    caller.bell = 7
    access.check_publish(caller, "control.collector.procmond")
    for answers in ("control.rpc.response.c7-0", "control.rpc.response.c7-12"):
        access.check_publish(caller, answers)
        access.check_subscribe(caller, answers)
    for denied in ("control.collector.netmond", "control.collector.config", "control.rpc.response.c77-0"):
        with pytest.raises(AccessDenied):
            access.check_publish(caller, denied)
    for denied in ("control.rpc.response.c8-0", "control.rpc.response.#", "control.collector.procmond"):
        with pytest.raises(AccessDenied):
            access.check_subscribe(caller, denied)


def test_a_collector_whose_topics_name_another_one_may_call_it():
    plans = (CollectorPlan("one", uid=1001, topics=("lab.#", "control.collector.two")), CollectorPlan("two"))
    access, one = Access(Settings(collectors=plans), own_uid=0), client(1001)
    one.collector = "one"
    assert access.publish(one, "control.collector.two") == Decision(True, "collectors.one.topics")
    assert access.call(one, "two", PAUSE) == Decision(True, "collectors.one.topics")
    assert access.publish(one, "control.collector.three") == Decision(False, "collectors.one.topics")
    assert not access.call(one, "three", PAUSE).allowed


# ---- tokens ----------------------------------------------------------------------------------------------------------

SECRET, HASHED = make_token("ci")
TOKENS = Settings(tokens={"ci": HASHED}, subscribe=(Grant("events.#", tokens=frozenset({"ci"})),))


def bearer(token):
    return RpcAuthInfo(auth_method="bearer", auth_token=token)


def test_a_token_is_as_good_as_a_user_until_its_hash_is_another():
    access, holder = Access(TOKENS, own_uid=0), client(1001)
    access.check_hello(holder)  # it may yet present one
    with pytest.raises(AccessDenied):
        access.check_connect(holder)
    holder.token = access.authenticate(bearer(SECRET), holder)
    access.check_connect(holder)
    access.check_subscribe(holder, "events.#")
    assert "token ci" in holder.who and SECRET not in holder.who
    access.replace(replace(TOKENS, tokens={"ci": make_token("ci")[1]}))
    with pytest.raises(AccessDenied):
        access.check_subscribe(holder, "events.#")


@pytest.mark.parametrize(
    ("info", "why"),
    [
        (bearer("ci.wrong"), "none of [access.tokens]"), (bearer("other." + SECRET), "none of [access.tokens]"),
        (bearer(SECRET + "x" * 300), "none of [access.tokens]"), (bearer(""), "there is no auth_token"),
        (RpcAuthInfo(auth_method="oauth", auth_token=SECRET), "There is no method 'oauth'"),
        (RpcAuthInfo(auth_method="peer_credentials", auth_token=SECRET), 'by the method "bearer"'),
        (RpcAuthInfo(client_cert_fingerprint="ab:cd"), "counts on a link whose other end has shown"),
    ],
)  # fmt: skip
def test_what_proves_nothing_is_refused_with_the_reason_and_never_repeated(info, why):
    access, told = Access(TOKENS, own_uid=0), []
    access.on_decision = lambda *decision: told.append(decision)
    with pytest.raises(AccessDenied, match=re.escape(why)) as caught:
        access.authenticate(info, client(1001))
    assert SECRET not in str(caught.value) and "wrong" not in str(caught.value)
    assert [(action, decision.allowed) for _, action, _, decision in told] == [("authenticate to", False)]


def test_peer_credentials_alone_are_no_token():
    access = Access(TOKENS, own_uid=0)
    assert access.authenticate(RpcAuthInfo(), client(1)) is None
    assert access.authenticate(RpcAuthInfo(auth_method="peer_credentials", permissions=["#"]), client(1)) is None


# ---- patterns --------------------------------------------------------------------------------------------------------


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


# ---- principals ------------------------------------------------------------------------------------------------------


def test_root_and_the_bus_s_own_user_are_told_apart_from_nobody_and_all_others_by_what_rules_look_at():
    access = Access(Settings(), own_uid=1000)
    own = client(1000)
    own.collector = "lab"
    assert access.principal(client(0)) == access.principal(own) == ""
    plain, grouped, collector, holder, later = (client(1001, groups=(7,)) for _ in range(5))
    grouped.groups = (7, 8)
    collector.collector = "lab"
    holder.token, later.token = KnownToken("ci", make_token("ci")[1]), KnownToken("ci", make_token("ci")[1])
    found = [access.principal(one) for one in (plain, grouped, collector, holder, later)]
    assert len(set(found)) == 5 and all(one.startswith("u1001-") for one in found)
    access.replace(TOKENS)
    assert access.principal(plain) == found[0], "whatever the rules are"


def test_nobody_is_given_a_principal_s_ring_by_its_name():
    access, ring = Access(CALLS, own_uid=0), ring_of("control.collector.procmond", "u1001-0123456789abcdef")
    for one in (client(0), client(1001), client(1002), client(1004)):
        with pytest.raises(AccessDenied):
            access.check_publish(one, ring)


@pytest.mark.parametrize(
    ("uid", "may"), [(0, True), (1001, False), (1002, False), (1003, False), (1004, True), (1005, False)]
)
def test_to_serve_a_collector_s_calls_takes_both_to_publish_and_to_subscribe_there(uid, may):
    reads = (Grant("control.collector.+", users=frozenset({1002, 1004, 1005})),)
    access = Access(replace(CALLS, subscribe=reads), own_uid=0)
    assert access.serve(client(uid), "netmond").allowed is may
    assert access.may_hold(client(uid), "control.collector.netmond") is may
    assert access.may_hold(client(uid), "events.process.start"), "what is no call is another matter"


def test_a_supervised_collector_serves_under_its_own_name_only():
    plans = (CollectorPlan("one", uid=1001, topics=("control.collector.two",)), CollectorPlan("two"))
    access, one = Access(Settings(collectors=plans), own_uid=0), client(1001)
    one.collector = "one"
    assert access.serve(one, "one").allowed and not access.serve(one, "two").allowed


CALLER = client(1001)
CALLER.principal = "u1001-0123456789abcdef"
ABSENT = client(1001)


@pytest.mark.parametrize(
    ("caller", "ring", "uid", "why"),
    [
        (CALLER, "procmond.u1001-0123456789abcdef", 1001, None),
        (CALLER, "procmond.u1001-0123456789abcdef", 0, "says that it is of uid 0"),
        (CALLER, "procmond.u1001-fedcba9876543210", 1001, "cannot write"),
        (CALLER, "procmond.u1002-0123456789abcdef", 1001, "cannot write"),
        (CALLER, "procmond", 1001, "ring of the bus itself"),
        (CALLER, "netmond.u1001-0123456789abcdef", 1001, "no ring of calls to 'procmond'"),
        (ABSENT, "procmond.u1001-fedcba9876543210", 1001, None),
        (ABSENT, "procmond.u1002-0123456789abcdef", 1001, "cannot write"),
    ],
)  # fmt: skip
def test_a_request_is_of_whoever_can_write_where_it_stands(caller, ring, uid, why):
    topic = f"control.collector.{ring}"
    found = impossible(caller, ring_name(topic), AuthorizeCall(service="procmond", ring=topic, uid=uid))
    assert why in found if why else found == ""


@pytest.mark.parametrize(
    ("check", "remedy"),
    [
        (lambda access, one: access.check_publish(one, "a.b"), '[[access.publish]] of the configuration (topic ='),
        (lambda access, one: access.check_subscribe(one, "a.b"), '[[access.subscribe]] of the configuration (topic ='),
        (lambda access, one: access.check_administer(one, "#"), '(topic = "#", which stands for the whole bus)'),
        (lambda access, one: access.check_publish(one, "control.rpc.response.c1-0"), "[[access.call]]"),
        (lambda access, one: access.check_look(one, "topics"), "[[access.subscribe]]"),
    ],
)  # fmt: skip
def test_what_is_denied_is_told_with_the_rule_that_would_allow_it(check, remedy):
    with pytest.raises(AccessDenied) as caught:
        check(Access(Settings()), Person(12345, 12345))
    assert remedy in str(caught.value)
