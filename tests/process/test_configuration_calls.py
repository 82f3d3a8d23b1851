"""How a collector is run, read and changed by calls: all or nothing, judged by how it does, else put back."""

import os
import signal
import threading

import pytest

import shmbus
from process.buses import coordinator, eventually
from process.collectors import collector, control, install, is_in, wait_for
from process.test_reload import Unrestricted
from shmbus.coordinator.configuration import changes_path
from shmbus.rpc import GET_CONFIG, UPDATE_CONFIG, Client
from shmbus.rpc.values import from_values, to_values
from shmbus.v1.rpc_pb2 import ConfigUpdateRequest

CONFIG = """
[collectors.fragile]
arguments = ["first"]
restart_first_seconds = 0.05
start_timeout_seconds = 20
"""


@pytest.fixture
def lab(bus_name, tmp_path):
    """Starts a coordinator with these collectors; `lab.path` is its file."""
    environment = install(tmp_path)
    path = tmp_path / "bus.toml"
    path.write_text(CONFIG)

    def start(names="fragile,steady"):
        return coordinator(bus_name, "--config", str(path), "--collectors", names, **environment)

    start.path = path
    return start


def update(client, name="fragile", *, validate_only=False, rollback=True, again=False, within=30.0, **changes):
    request = ConfigUpdateRequest(
        config_changes=to_values({key.replace("__", "."): value for key, value in changes.items()}),
        validate_only=validate_only,
        rollback_on_failure=rollback,
        restart_required=again,
        healthy_within_ms=int(within * 1000),
    )
    return client.call(name, UPDATE_CONFIG, request, timeout=60).payload


def config(client, name="fragile"):
    return from_values(client.call(name, GET_CONFIG).payload.config)


def refused(code, call, *arguments, **options):
    with pytest.raises(shmbus.RpcError) as caught:
        call(*arguments, **options)
    assert caught.value.code == code, caught.value
    return caught.value


def test_a_change_restarts_that_collector_only_and_is_told_when_it_does_well(lab):
    with lab() as running, shmbus.connect() as bus, Client(bus) as client:
        before, other = wait_for(bus, "fragile", "running").pid, wait_for(bus, "steady", "running").pid
        found = update(client, arguments=["second"], environment__COLOUR="blue")
        assert list(found.differences) == ["collectors.fragile: arguments, environment (it is started again)"]
        status = collector(bus, "fragile")
        assert (status.state, status.restarts) == ("running", 0) and status.pid != before
        assert collector(bus, "steady").pid == other
        with open(f"/proc/{status.pid}/environ") as environ:
            assert "COLOUR=blue" in environ.read().split("\0")
        assert config(client)["arguments"] == ["second"]
        assert list(client.call("fragile", GET_CONFIG).payload.changed) == ["arguments", "environment"]
        running.end()
    assert not changes_path(bus.name).exists()


def test_what_needs_no_restart_reaches_it_live(lab):
    with lab() as running, shmbus.connect() as bus, Client(bus) as client:
        pid = wait_for(bus, "steady", "running").pid
        update(client, "steady", limits__open_files=77, restart="never")
        assert collector(bus, "steady").pid == pid
        with open(f"/proc/{pid}/limits") as limits:
            assert [line.split()[-2] for line in limits if line.startswith("Max open files")] == ["77"]
        os.kill(pid, signal.SIGKILL)
        wait_for(bus, "steady", "failed")
        update(client, "steady", nice=3)  # nothing runs that it could be tried with
        assert running.read_until("changed: collectors.steady: nice")


def test_validating_changes_nothing_and_nonsense_is_refused_as_a_whole(lab):
    with lab() as running, shmbus.connect() as bus, Client(bus) as client:
        pid = wait_for(bus, "fragile", "running").pid
        found = update(client, validate_only=True, arguments=["second"])
        assert len(found.differences) == 1 and from_values(found.config)["arguments"] == ["second"]
        error = refused("VALIDATION_FAILED", update, client, arguments=["second"], nice=99)
        assert error.context == {
            "key": "collectors.fragile.nice", "value": "99", "allowed": "should be less than or equal to 19",
        }  # fmt: skip
        refused("CONFIG_NOT_FOUND", update, client, "nosuch", nice=1)
        refused("VALIDATION_FAILED", update, client, nice=1, within=5000.0)
        assert (collector(bus, "fragile").pid, config(client)["arguments"]) == (pid, ["first"])
        assert "started again" not in running.end()


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("crash", "ended with status 1: that is nothing for me"),
        ("later", "ended with status 1: no more"),
        ("mute", "it was not healthy within 8 s: it is starting"),
    ],
)
def test_one_that_does_not_do_well_is_put_back_and_everybody_is_told(lab, argument, why):
    with lab("fragile") as running, shmbus.connect() as bus, Client(bus) as client:
        wait_for(bus, "fragile", "running")
        error = refused("CONFIGURATION_ERROR", update, client, arguments=[argument], within=8.0)
        assert why in error.reason and "was put back, and it was started again" in error.reason
        assert error.context["rolled_back"] == "true"
        assert collector(bus, "fragile").state == "running"
        assert (config(client)["arguments"], client.call("fragile", GET_CONFIG).payload.changed) == (["first"], [])
        running.read_until(f"fragile: {why}; its configuration from before is put back")
        running.read_until("fragile: I am here first")
        running.read_until("fragile: goes on with its configuration from before")


def test_without_rollback_it_counts_and_the_caller_is_told(lab):
    with lab("fragile"), shmbus.connect() as bus, Client(bus) as client:
        wait_for(bus, "fragile", "running")
        error = refused("CONFIGURATION_ERROR", update, client, arguments=["crash"], rollback=False)
        assert error.context == {"rolled_back": "false"}
        assert config(client)["arguments"] == ["crash"]


def test_one_that_does_no_better_with_what_was_before_is_told_too(lab, tmp_path):
    flag = tmp_path / "broken"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntest -e {flag} && exit 3\nexec {os.path.realpath('/bin/sleep')} 1000\n")
    program.chmod(0o755)
    lab.path.write_text(f"[collectors.tool]\ncommand = ['{program}']\nrestart = 'never'\n")
    with lab("tool"), shmbus.connect() as bus, Client(bus) as client:
        wait_for(bus, "tool", "starting")
        flag.touch()
        error = refused("ROLLBACK_FAILED", update, client, "tool", arguments=["x"])
        assert error.reason.count("ended with status 3") == 2 and error.context["rolled_back"] == "true"


def test_others_are_served_while_one_is_on_trial_and_a_second_change_of_it_is_refused(lab):
    with lab(), shmbus.connect() as bus, Client(bus) as client:
        wait_for(bus, "fragile", "running")
        outcome = []
        waiting = threading.Thread(
            target=lambda: outcome.append(
                refused("CONFIGURATION_ERROR", update, client, arguments=["mute"], within=8.0)
            )
        )
        waiting.start()
        eventually(lambda: is_in(bus, "fragile", "starting"))
        refused("INVALID_STATE", update, client, nice=1)
        assert list(update(client, "steady", nice=1).differences) == ["collectors.steady: nice"]
        assert not outcome
        waiting.join()
        assert config(client, "steady")["nice"] == 1 and config(client)["arguments"] == ["first"]


def test_one_that_is_stopped_meanwhile_keeps_the_change(lab):
    with lab("fragile"), shmbus.connect() as bus, Client(bus) as client:
        wait_for(bus, "fragile", "running")
        stop = threading.Thread(target=lambda: (wait_for(bus, "fragile", "starting"), client.call("fragile", 5 - 1)))
        stop.start()
        error = refused("INVALID_STATE", update, client, arguments=["mute"])
        stop.join()
        assert "stopped meanwhile" in error.reason and config(client)["arguments"] == ["mute"]


def test_a_killed_coordinators_changes_count_under_the_next_one_and_no_collector_is_restarted(lab):
    with lab() as first, shmbus.connect() as bus, Client(bus) as client:
        wait_for(bus, "fragile", "running")
        update(client, arguments=["second"])
        pid = collector(bus, "fragile").pid
        first.end(signal.SIGKILL)
        with lab() as second:
            assert wait_for(bus, "fragile", "running").pid == pid
            assert config(client)["arguments"] == ["second"]
            assert "otherwise than it is configured" not in second.end()


def test_one_that_is_killed_in_mid_trial_has_changed_nothing_and_the_caller_is_told(lab):
    with lab() as first, shmbus.connect() as bus, Client(bus) as client:
        wait_for(bus, "fragile", "running")
        kill = threading.Thread(target=lambda: (wait_for(bus, "fragile", "starting"), first.end(signal.SIGKILL)))
        kill.start()
        error = refused("IO_ERROR", update, client, arguments=["mute"])
        kill.join()
        assert error.status == "UNAVAILABLE" and "from before" in error.reason
        with lab() as second:
            second.read_until("fragile: I am here first")
            assert wait_for(bus, "fragile", "running")


def test_the_file_is_read_again_by_call_all_of_it_or_nothing(lab):
    with lab() as running, shmbus.connect() as bus, Client(bus) as client:
        pid = wait_for(bus, "fragile", "running").pid
        lab.path.write_text(CONFIG.replace('"first"', '"second"'))
        line = "collectors.fragile: arguments (it is started again)"
        assert bus.reload_config(validate_only=True) == [line]
        assert collector(bus, "fragile").pid == pid
        assert bus.reload_config() == [line]
        running.read_until("fragile: I am here second")
        lab.path.write_text(CONFIG + "[bus]\nmax_topics = 2\n")
        with pytest.raises(shmbus.ConfigurationError, match="made once") as caught:
            bus.reload_config()
        assert caught.value.key == "bus.max_topics"
        assert config(client)["arguments"] == ["second"]


def test_what_calls_have_changed_ends_when_the_file_is_read_again(lab):
    with lab("fragile"), shmbus.connect() as bus, Client(bus) as client:
        wait_for(bus, "fragile", "running")
        update(client, nice=3)
        assert changes_path(bus.name).exists()
        assert bus.reload_config() == ["collectors.fragile: nice"]
        assert config(client)["nice"] == 0 and not changes_path(bus.name).exists()


def test_a_change_on_trial_when_the_file_is_read_again_is_told_that_it_counts_no_more(lab):
    with lab("fragile"), shmbus.connect() as bus, Client(bus) as client:
        wait_for(bus, "fragile", "running")
        again = threading.Thread(target=lambda: (wait_for(bus, "fragile", "starting"), bus.reload_config()))
        again.start()
        error = refused("INVALID_STATE", update, client, arguments=["mute"])
        again.join()
        assert "the configuration was read again" in error.reason and config(client)["arguments"] == ["first"]


def test_one_that_is_paused_has_what_reaches_it_live_at_once(lab):
    with lab("fragile"), shmbus.connect() as bus, Client(bus) as client:
        pid = wait_for(bus, "fragile", "running").pid
        control(bus, "fragile", "pause")
        assert not update(client, nice=2).tried
        assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + 2
        control(bus, "fragile", "resume")
        assert update(client, nice=3).tried and collector(bus, "fragile").pid == pid


def test_one_that_did_not_run_before_does_not_run_after_a_rollback(bus_name, lab):
    text = "[collectors.procmond]\nenabled = false\n[collectors.tool]\ncommand = ['/bin/false']\nenabled = false\n"
    lab.path.write_text(text)
    with Unrestricted.of(bus_name, lab.path), shmbus.connect() as bus, Client(bus) as client:
        error = refused("CONFIGURATION_ERROR", update, client, "tool", enabled=True)
        assert "ended with status 1" in error.reason and "is stopped, as it was" in error.reason
        assert collector(bus, "tool").state == "stopped" and config(client, "tool")["enabled"] is False
        assert not update(client, "tool", nice=1).tried
