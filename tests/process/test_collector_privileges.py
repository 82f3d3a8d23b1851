"""A collector runs as whom, within which limits and with which rights it is configured."""

import os
import pwd
import secrets
import subprocess

import pytest

import shmbus
from process.buses import coordinator
from process.collectors import install, open_directory, wait_for
from shmbus.rpc import Client

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def user():
    """A real user of the system, in a group besides its own."""
    name = f"lab{secrets.token_hex(4)}"
    subprocess.run(["useradd", "--no-create-home", "--groups", "daemon", "--shell", "/bin/false", name], check=True)
    yield pwd.getpwnam(name)
    subprocess.run(["userdel", name], check=True)


@pytest.fixture
def directory(monkeypatch):
    """Where the bus and the collectors are, for that user to find."""
    with open_directory() as path:
        monkeypatch.setenv("SHMBUS_RUNTIME_DIR", str(path / "run"))
        yield path


@pytest.fixture
def environment(directory):
    found = install(directory)
    # The interpreter may stand where only root can read: what the collector needs is there before it is another user.
    needed = ("importlib.metadata", "resource", "labcollectors", "shmbus.rpc.server")
    program = "".join(f"import {name}\n" for name in needed) + "labcollectors.shmbus.connect\n"
    (directory / "sitecustomize.py").write_text(program)
    return found


def test_privileges_are_dropped_and_limits_and_rights_are_as_configured(bus_name, user, environment, directory):
    (directory / "bus.toml").write_text(
        f"[collectors.constrained]\nuser = '{user.pw_name}'\nnice = 5\nworking_directory = '/var'\n"
        "topics = ['lab.mine']\nlimits = { open_files = 77 }\n"
    )
    arguments = ("--config", str(directory / "bus.toml"), "--collectors", "constrained")
    with coordinator(bus_name, *arguments, **environment) as running, shmbus.connect() as bus:
        groups = ",".join(map(str, sorted(os.getgrouplist(user.pw_name, user.pw_gid))))
        said = running.read_until("constrained: uid").split("constrained: ")[1].strip()
        words = said.split()
        words[5] = ",".join(sorted(words[5].split(","), key=int))
        expected = f"uid {user.pw_uid} gid {user.pw_gid} groups {groups} files 77 nice 5 in /var"
        assert " ".join(words) == expected
        assert "may not publish to 'lab.other'. Add it to collectors.constrained.topics" in running.read_until(
            "refused"
        )
        with bus.subscribe("lab.mine", start="earliest") as subscription:
            message = subscription.receive(timeout=20)
            assert (message.payload, message.producer.uid) == (b"mine", user.pw_uid)
        wait_for(bus, "constrained", "running")
        with Client(bus) as client:
            assert client.health("constrained").collector_id == "constrained"
        assert "stopped" in running.end()


def test_what_the_process_may_not_do_is_the_reason_why_it_did_not_start(bus_name, environment, directory):
    (directory / "bus.toml").write_text(
        "[collectors.constrained]\nrestart = 'never'\nworking_directory = '/no/such/place'\n"
    )
    arguments = ("--config", str(directory / "bus.toml"), "--collectors", "constrained")
    with coordinator(bus_name, *arguments, **environment), shmbus.connect() as bus:
        reason = wait_for(bus, "constrained", "failed").reason
        assert reason == "ended with status 1: it could not be started: /no/such/place: No such file or directory"
