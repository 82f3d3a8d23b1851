"""The public surface of `shmbus.rpc`, and how collectors are put together."""

import inspect
import subprocess
import sys

import pytest

import shmbus
from shmbus import rpc

PUBLIC = """
Answer AsyncClient Breaker Client Collector Mailbox NEVER Operation Pending Request Retry Server operation
REGISTER DEREGISTER START STOP RESTART HEALTH_CHECK UPDATE_CONFIG GET_CAPABILITIES GRACEFUL_SHUTDOWN FORCE_SHUTDOWN
PAUSE RESUME EXECUTE_TASK GET_CONFIG
""".split()

OPERATIONS = {"call", "health", "capabilities", "pause", "resume", "update_config", "execute", "shut_down"}


def offered(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_all_is_the_public_surface():
    assert sorted(rpc.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", [name for name in PUBLIC if not name.isupper()])
def test_every_public_name_is_documented(name):
    thing = getattr(rpc, name)
    assert inspect.getdoc(thing)
    for method in offered(thing) if inspect.isclass(thing) and not issubclass(thing, int) else ():
        found = inspect.getattr_static(thing, method)
        if inspect.isroutine(found) or isinstance(found, property):
            assert inspect.getdoc(found), f"{name}.{method}"


def test_both_clients_offer_the_same_operations():
    assert offered(rpc.Client) == OPERATIONS | {
        "breaker", "cancel", "client_id", "close", "forged", "late", "result", "submit"
    }  # fmt: skip
    assert offered(rpc.AsyncClient) == OPERATIONS | {"close", "forged", "late"}
    for name in OPERATIONS:
        ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (rpc.Client, rpc.AsyncClient))
        assert ours.parameters == theirs.parameters


def test_a_collector_answers_with_its_own_methods_before_those_of_its_bases():
    class First(rpc.Collector):
        @rpc.operation(rpc.PAUSE)
        def pause(self, request):
            """First."""

    class Second(First):
        @rpc.operation(rpc.PAUSE)
        def hold(self, request):
            """Second."""

        @rpc.operation(rpc.HEALTH_CHECK)
        def check_health(self, request):
            """Its own."""

    assert First._methods[rpc.PAUSE] == "pause" and Second._methods[rpc.PAUSE] == "hold"
    assert set(Second._methods) == {rpc.PAUSE, rpc.HEALTH_CHECK, rpc.GET_CAPABILITIES, rpc.GRACEFUL_SHUTDOWN}
    assert set(rpc.Collector._methods) == set(Second._methods) - {rpc.PAUSE}


def test_two_methods_of_one_class_for_one_operation_are_refused():
    with pytest.raises(TypeError, match="Both: hold and pause are both for PAUSE: keep one"):

        class Both(rpc.Collector):
            @rpc.operation(rpc.PAUSE)
            def pause(self, request):
                """One."""

            @rpc.operation(rpc.PAUSE)
            def hold(self, request):
                """Another."""


def test_what_a_client_cannot_be_or_wait_for_is_refused():
    with shmbus.embedded() as bus, rpc.Client(bus) as client:
        with pytest.raises(ValueError, match="concurrency is 1 or more, not 0"):
            rpc.Client(bus, concurrency=0)
        for timeout in (None, "5", 0, float("nan")):
            with pytest.raises(ValueError, match="timeout is a number of seconds above 0"):
                client.call("lab", rpc.HEALTH_CHECK, timeout=timeout)


def test_a_collectors_id_is_a_segment_that_is_nobody_elses():
    for name in ("config", "lifecycle", "task", "registration", "No", "a.b"):
        with pytest.raises(shmbus.TopicNameError):
            rpc.Collector(name)


def test_importing_shmbus_alone_imports_no_rpc():
    code = "import sys, shmbus; print([name for name in sys.modules if name.startswith(('shmbus.rpc', 'asyncio'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
