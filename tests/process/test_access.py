"""Rules, tokens and the audit trail with real users: what is denied, and what is left of it in the trail."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

import shmbus
from process.buses import coordinator, python
from process.collectors import open_directory
from process.test_users import BECOME, OTHER, lines
from shmbus.bearer import make_token
from shmbus.coordinator.settings import Grant, Settings
from shmbus.errors import AccessDenied, RpcError
from shmbus.rpc import GET_CAPABILITIES, HEALTH_CHECK, PAUSE, Client, Collector

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

SECRET, HASHED = make_token("ci")
REQUESTS = "control.collector.lab"


class Lab(Collector):
    """With the operations that need no writing."""


@contextmanager
def served(settings: Settings) -> Iterator[shmbus.Bus]:
    with shmbus.embedded(settings) as bus, Lab("lab").serving(bus):
        yield bus


def trail(path, **only):
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return [one for one in entries if only.items() <= one.items()]


# Before the other user is one: what only root may read of this interpreter is read by then.
CALLER = "from shmbus.rpc import Client, HEALTH_CHECK, PAUSE, STOP, GET_CAPABILITIES" + BECOME

CALL = (
    CALLER
    + """
token = sys.argv[2] or None
with shmbus.connect(sys.argv[1], name="guest", token=token) as bus, Client(bus) as client:
    attempt(lambda: client.call("lab", HEALTH_CHECK).payload)
    attempt(lambda: client.call("lab", PAUSE))
    attempt(lambda: client.call("lab", STOP))
    attempt(lambda: client.call("lab", GET_CAPABILITIES, token=sys.argv[3]).payload)
    attempt(lambda: client.call("lab", HEALTH_CHECK, token="ci.wrong"))
    attempt(lambda: bus.publisher("control.collector.other"))
    attempt(lambda: bus.subscribe("control.collector.lab"))
    attempt(lambda: bus.subscribe("control.rpc.response.#"))
"""
)


def test_another_user_calls_what_a_rule_says_and_nothing_else(tmp_path):
    path = tmp_path / "audit.jsonl"
    rules = (
        Grant(REQUESTS, users=frozenset({OTHER}), operations=frozenset({HEALTH_CHECK})),
        Grant(REQUESTS, tokens=frozenset({"ci"}), operations=frozenset({GET_CAPABILITIES})),
    )
    settings = Settings(call=rules, tokens={"ci": HASHED}, audit_file=str(path))
    with served(settings) as bus, python(CALL, bus.address, "", SECRET) as child:
        said = lines(child)
        with Client(bus) as own:
            assert own.call("lab", HEALTH_CHECK).payload.metrics["rpc_denied"] == 2
    assert [line.split()[0] for line in said] == [
        "HealthData", "RpcError", "AccessDenied", "CapabilitiesData", "RpcError", *["AccessDenied"] * 3,
    ]  # fmt: skip
    assert "may not call PAUSE of 'lab'" in said[1] and "ACCESS_DENIED, PERMISSION" in said[1]
    assert said[1].count("Allow it in") == 1 and "[[access.call]]" in said[1]
    assert "none of [access.tokens]" in said[4]
    granted = trail(path, outcome="granted", client="guest", object="lab")
    assert [(one["action"], one["rule"], one.get("token")) for one in granted] == [
        ("call HEALTH_CHECK of", "access.call[0]", None), ("call GET_CAPABILITIES of", "access.call[1]", "ci"),
    ]  # fmt: skip
    assert all((one["uid"], one["pid"]) == (OTHER, child.pid) for one in granted)
    denied = [(one["action"], one["object"]) for one in trail(path, outcome="denied")]
    assert denied == [
        ("call PAUSE of", "lab"), ("call STOP of", "lab"), ("authenticate to", "the bus"),
        ("publish to", "control.collector.other"), ("subscribe to", REQUESTS),
        ("subscribe to", "control.rpc.response.#"),
    ]  # fmt: skip
    text = path.read_text()
    assert SECRET not in text and "ci.wrong" not in text and "wrong" not in text
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_token_lets_in_whom_no_rule_names(tmp_path):
    path = tmp_path / "audit.jsonl"
    rule = Grant("control.collector.+", tokens=frozenset({"ci"}), operations=frozenset({HEALTH_CHECK}))
    settings = Settings(call=(rule,), tokens={"ci": HASHED}, audit_file=str(path))
    with served(settings) as bus:
        for token in ("", "ci.wrong"):
            with python(CALL, bus.address, token, token, SHMBUS_TOKEN="") as child:
                assert lines(child) == []  # it never got in
                assert child.wait() != 0
        with python(CALL, bus.address, SECRET, SECRET) as child:
            said = lines(child)
    assert [line.split()[0] for line in said[:3]] == ["HealthData", "RpcError", "AccessDenied"]
    assert [one["action"] for one in trail(path, outcome="denied", uid=OTHER)][:2] == ["connect to", "authenticate to"]
    [connected] = trail(path, outcome="granted", action="connect to", uid=OTHER)
    assert (connected["token"], connected["rule"]) == ("ci", "access.call[0]")


def test_a_token_of_the_environment_is_for_who_connects_by_name_and_not_for_collectors(monkeypatch):
    from shmbus.coordinator.children import Children
    from shmbus.coordinator.settings import CollectorPlan

    monkeypatch.setenv("SHMBUS_TOKEN", "of.another-bus")
    with shmbus.embedded() as bus:
        with pytest.raises(AccessDenied, match="none of"):
            shmbus.connect(bus.address)
    environment = Children._environment_of(SimpleNamespace(_environment={}), CollectorPlan("x"), "spawn")
    assert "SHMBUS_TOKEN" not in environment and environment["SHMBUS_COLLECTOR_TOKEN"] == "spawn"


def test_the_environment_presents_a_token_where_the_program_gives_none():
    settings = Settings(subscribe=(Grant("open.#", tokens=frozenset({"ci"})),), tokens={"ci": HASHED})
    program = BECOME + 'attempt(lambda: shmbus.connect(sys.argv[1]).subscribe("open.a"))'
    with shmbus.embedded(settings) as bus:
        for token, answer in ((SECRET, "Subscription"), ("ci.wrong", "AccessDenied")):
            with python(program, bus.address, SHMBUS_TOKEN=token) as child:
                assert lines(child)[0].split()[0] == answer


def test_administrative_acts_are_in_the_trail_with_who_and_what(tmp_path):
    path = tmp_path / "audit.jsonl"
    settings = Settings(administer=(Grant("open.+", users=frozenset({OTHER})),), audit_file=str(path))
    program = BECOME + (
        "with shmbus.connect(sys.argv[1], name='admin') as bus:\n"
        "    attempt(lambda: bus.resize('open.a', slots=64))\n"
        "    attempt(lambda: bus.set_limits('open.a', max_messages=8))\n"
        "    attempt(lambda: bus.resize('closed.a', slots=64))\n"
        "    attempt(bus.stop)\n"
    )
    with shmbus.embedded(settings) as bus, bus.publisher("open.a"), bus.publisher("closed.a"):
        with python(program, bus.address) as child:
            said = lines(child)
    assert [line.split()[0] for line in said] == ["NoneType", "NoneType", "AccessDenied", "AccessDenied"]
    assert [(one["action"], one["object"], one["outcome"]) for one in trail(path, client="admin")] == [
        ("connect to", "the bus", "granted"), ("resize", "open.a", "granted"), ("set limits of", "open.a", "granted"),
        ("resize", "closed.a", "denied"), ("stop", "#", "denied"),
    ]  # fmt: skip


def test_when_the_rules_change_calls_are_judged_by_the_new_ones(bus_name, tmp_path, monkeypatch):
    config = tmp_path / "bus.toml"
    rule = f"[[access.call]]\nservice = 'lab'\nusers = [{OTHER}]\noperations = "
    config.write_text(rule + "['HEALTH_CHECK']\n")
    program = CALLER + (
        "with shmbus.connect(sys.argv[1]) as bus, Client(bus) as client:\n"
        "    for operation in sys.stdin:\n"
        "        attempt(lambda: client.call('lab', int(operation)).payload)\n"
    )

    def call(operation):
        child.stdin.write(f"{int(operation)}\n")
        child.stdin.flush()
        return child.stdout.readline().split(" ")[0].strip()

    with open_directory() as path:
        monkeypatch.setenv("SHMBUS_RUNTIME_DIR", str(path / "run"))
        with (
            coordinator(bus_name, "--config", str(config)) as running,
            shmbus.connect() as bus,
            Lab("lab").serving(bus),
            python(program, bus_name) as child,
        ):
            assert [call(GET_CAPABILITIES), call(HEALTH_CHECK), call(HEALTH_CHECK)] == ["RpcError"] + ["HealthData"] * 2
            config.write_text(rule + "['GET_CAPABILITIES']\n")
            running.process.send_signal(signal.SIGHUP)
            running.read_until("1 change")
            assert [call(GET_CAPABILITIES), call(HEALTH_CHECK)] == ["CapabilitiesData", "RpcError"]


def test_the_trail_is_opened_anew_when_the_configuration_is_read_again_or_all_stays_as_it_was(bus_name, tmp_path):
    config, first, second = tmp_path / "bus.toml", tmp_path / "first", tmp_path / "second"
    config.write_text(f'[access]\naudit_file = "{first}"\n')

    def reload(answer):
        running.process.send_signal(signal.SIGHUP)
        running.read_until(answer)

    with coordinator(bus_name, "--config", str(config)) as running, shmbus.connect(name="agent") as bus:
        bus.subscribe("a.b").close()
        first.rename(second)
        reload("no changes")
        bus.subscribe("a.c").close()
        config.write_text('[access]\naudit_file = "/nowhere/at/all"\n')
        reload("the configuration was not changed: [Errno 2] No such file or directory: '/nowhere/at/all'")
        bus.subscribe("a.d").close()
    assert [one["object"] for one in trail(second, action="subscribe to")] == ["a.b"]
    assert [one["object"] for one in trail(first, action="subscribe to")] == ["a.c", "a.d"]
    assert [one["rule"][:14] for one in trail(first, outcome="done")] == ["SIGHUP; no cha", "SIGHUP; not ch", "SIGTERM"]


def test_the_running_coordinator_explains_to_whom_it_may(bus_name, capsys):
    from shmbus.tools import main as cli

    settings = Settings(subscribe=(Grant("open.#", users=frozenset({OTHER})),))
    program = BECOME + (
        "from shmbus.v1.control_pb2 import ExplainAccess\n"
        "with shmbus.connect(sys.argv[1]) as bus:\n"
        "    for uid in (int(sys.argv[2]), 0):\n"
        "        attempt(lambda: bus._request(ExplainAccess(topic='open.x', uid=uid)))\n"
    )
    with shmbus.embedded(settings) as bus, python(program, bus.address, str(OTHER)) as child:
        said = lines(child)
        assert cli.main(["access", "explain", str(OTHER), "open.x", "--bus", bus.address]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[4:6]] == [
        ["publish", "no", "no", "rule"], ["subscribe", "yes", "access.subscribe[0]"],
    ]  # fmt: skip
    assert said[0] == "Received"
    assert "may not explain access to" in said[1], "others are the administrator's to ask about"


def test_a_fingerprint_over_the_local_socket_is_refused_with_the_reason():
    from shmbus.control import ControlConnection
    from shmbus.v1.eventbus_pb2 import RpcAuthInfo

    with shmbus.embedded() as bus, pytest.raises(AccessDenied, match="leave client_cert_fingerprint away"):
        ControlConnection.connect(bus.address, "x", auth_info=RpcAuthInfo(client_cert_fingerprint="ab"))


def test_only_who_serves_a_collector_is_told_who_may_call_it():
    from shmbus.v1.control_pb2 import AuthorizeCall

    program = BECOME + (
        "from shmbus.v1.control_pb2 import AuthorizeCall\n"
        "with shmbus.connect(sys.argv[1]) as bus:\n"
        "    attempt(lambda: bus._request(AuthorizeCall(service='lab', operation=6, session=1)))\n"
    )
    settings = Settings(call=(Grant(REQUESTS, users=frozenset({OTHER})),))
    with served(settings) as bus, python(program, bus.address) as child:
        assert "may not ask who may call 'lab'" in lines(child)[0]
        with bus._request(AuthorizeCall(service="lab", operation=HEALTH_CHECK, session=999)) as answer:
            assert not answer.message.allowed and "not there any more" in answer.message.reason


def test_while_there_is_no_coordinator_the_own_user_goes_on_and_others_are_refused():
    from shmbus.message import Producer
    from shmbus.rpc.gatekeeper import Gatekeeper, Unheard
    from shmbus.rpc.request import Request
    from shmbus.v1.eventbus_pb2 import RpcRequestPayload

    with shmbus.embedded() as bus:
        keeper, payload = Gatekeeper(bus, "lab"), RpcRequestPayload()
        payload.request.operation = PAUSE
        stranger = Producer("x", 77, 1, 1, 9, OTHER)
        own = stranger._replace(uid=os.geteuid())
        bus._control._lose("killed")

        def judged(topic, producer):
            message = SimpleNamespace(topic=topic, producer=producer)
            return keeper.judge(payload, Request(payload.request, message, "lab", 0, 0))

        theirs = f"{REQUESTS}.u{OTHER}-0123456789abcdef"
        assert judged(REQUESTS, own) is None
        refused = judged(REQUESTS, stranger)
        assert isinstance(refused, RpcError)
        assert (refused.status, refused.code, refused.category) == ("UNAVAILABLE", "ACCESS_DENIED", "PERMISSION")
        for producer in (stranger, own, None):  # of which there is no session: nobody could be answered
            with pytest.raises(Unheard):
                judged(theirs, producer)
