"""What others than the bus's own user see of it by `shmbus topics`, `shmbus ledger` and the API: what they may read."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.collectors import open_directory
from process.test_access import trail
from process.test_users import BECOME, OTHER, lines
from shmbus.bearer import make_token
from shmbus.coordinator import overview
from shmbus.coordinator.settings import Grant, Settings
from shmbus.v1.eventbus_pb2 import HeartbeatPayload

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
READER = frozenset({OTHER})
SECRET, HASHED = make_token("ci")


def by_topic(accounts):
    return {(one.entries[0].topic, one.reader): one for one in accounts}


# ---- the API ---------------------------------------------------------------------------------------------------------


def test_the_bus_tells_its_own_user_what_memory_does(bus_name):
    from shmbus.tools.snapshot import Probe

    with coordinator(bus_name), shmbus.connect(bus_name, name="agent") as bus:
        publishers = [bus.publisher(topic, name=f"of {topic}") for topic in ("lab.a", "lab.b")]
        with bus.subscribe("lab.#", lossless=True) as mine, bus.subscribe("lab.b", durable="kept") as durable:
            for publisher in publishers:
                publisher.publish_many([b"x"] * 5)
            publishers[0].publish(b"now", priority=shmbus.URGENT)
            mine.receive_many(limit=7)
            durable.ack_many(durable.receive_many(limit=2))
            with Probe(bus_name) as probe:
                reading = probe.read()
                seen = probe.ledger(reading)
            told, topics = bus.ledger(), bus.topics()
            assert sorted(told, key=str) == sorted((one for one in seen if one.entries), key=str)
            assert sum((one.entries for one in told if one.reader == "agent"), []) == mine.ledger()
            assert topics == reading.statuses()
            counted = {one.topic: (one.messages, one.subscribers) for one in topics}
            assert (counted["lab.a"], counted["lab.b"]) == ((6, 1), (5, 2))  # also where both lanes are read


def test_a_long_ledger_comes_in_parts_and_each_account_once(monkeypatch):
    monkeypatch.setattr(overview, "CURSORS_A_PART", 3)
    monkeypatch.setattr(overview, "LINES_A_PART", 4)
    with shmbus.embedded() as bus, bus.publisher("lab.a") as one, bus.publisher("lab.a", name="other") as other:
        readers = [bus.subscribe("lab.a") for _ in range(20)]
        readers += [bus.subscribe("lab.a", durable=f"d{number}") for number in range(5)]
        one.publish_many([b"x"] * 3)
        other.publish(b"y")
        told = [account for account in bus.ledger() if account.entries[0].topic == "lab.a"]
        assert sorted(one.subscription for one in told if not one.durable) == list(range(1, 21))
        assert sorted(one.reader for one in told if one.durable) == [f"d{number}" for number in range(5)]
        assert all([entry.published for entry in one.entries] == [3, 1] for one in told)
        for reader in readers:
            reader.close()


def test_processes_that_have_ended_are_marked(bus_name):
    program = (
        "import shmbus, sys\nwith shmbus.connect(sys.argv[1], name='gone') as bus:\n"
        " bus.publisher('lab.a').publish(b'x')\n print('published', flush=True)\n sys.stdin.read()\n"
    )
    with (
        coordinator(bus_name),
        shmbus.connect(bus_name, name="agent") as bus,
        bus.publisher("lab.a", name="here") as publisher,
        bus.subscribe("lab.a"),
    ):
        publisher.publish(b"x")
        with python(program, bus_name) as child:
            assert child.stdout.readline() == "published\n"
            (account,) = bus.ledger()
            assert not account.dead
            child.send_signal(signal.SIGKILL)
            child.wait()
        eventually(lambda: not any(client.name == "gone" for client in bus.status().clients))
        (account,) = bus.ledger()
        assert {entry.producer.name: account.is_dead(entry.producer) for entry in account.entries} == {
            "here": False, "gone": True,
        }  # fmt: skip
        shown = command("ledger", "--bus", bus_name).stdout
        assert f"gone †{child.pid} " in " ".join(shown.split()) and f"here {os.getpid()} " in " ".join(shown.split())


def test_a_member_whose_name_is_scribbled_over_hides_nobodys_account(bus_name):
    with (
        coordinator(bus_name),
        shmbus.connect(bus_name, name="scribbler") as bus,
        bus.publisher("lab.a") as publisher,
        bus.subscribe("lab.a", durable="kept"),
    ):
        publisher.publish(b"x")
        (path,) = Path("/dev/shm").glob(f"*.{bus_name}.group.*")
        with path.open("r+b") as page:
            page.seek(page.read().index(b"scribbler"))
            page.write(b"\xc6" * 9)
        shown = command("ledger", "--bus", bus_name)
        assert shown.returncode == 0 and "[kept]" in shown.stdout, shown.stderr


def test_a_publisher_that_writes_over_its_name_keeps_nothing_from_others(bus_name):
    with (
        coordinator(bus_name),
        shmbus.connect(bus_name, name="agent") as bus,
        bus.publisher("lab.a", name="scribbler") as scribbler,
        bus.publisher("lab.b", name="other") as other,
        bus.subscribe("lab.#"),
    ):
        scribbler.publish(b"x")
        other.publish(b"x")
        for path in Path("/dev/shm").glob(f"*.{bus_name}.ring.*"):
            with path.open("r+b") as ring:
                if (place := ring.read(1 << 20).find(b"scribbler")) >= 0:
                    ring.seek(place)
                    ring.write(b"\xc6" * 9)
        names = {one.entries[0].topic: [entry.producer and entry.producer.name for entry in one.entries]
                 for one in bus.ledger()}  # fmt: skip
        assert names == {"lab.a": ["\ufffd" * 9], "lab.b": ["other"]}
        for what in ("topics", "ledger"):
            shown = command(what, "--bus", bus_name)
            assert shown.returncode == 0 and "lab.b" in shown.stdout, shown.stderr


# ---- other users -----------------------------------------------------------------------------------------------------

LOOK = (
    BECOME
    + """
with shmbus.connect(sys.argv[1], name="guest", token=sys.argv[2] or None) as bus:
    attempt(lambda: print(*(one.topic for one in bus.topics())))
    attempt(lambda: print(*(f"{one.reader}:{one.entries[0].topic}" for one in bus.ledger())))
"""
)


@contextmanager
def busy(settings):
    """With publishers and readers of what may be read and what may not."""
    topics = "open.a", "open.b", "closed.a"
    with shmbus.embedded(settings) as bus, bus.subscribe("#"), bus.subscribe("closed.#", durable="agent"):
        publishers = [bus.publisher(topic) for topic in topics]
        for publisher in publishers:
            publisher.publish(b"x")
        yield bus


@as_root
def test_another_user_sees_what_he_may_read_and_nothing_else(tmp_path):
    path = tmp_path / "audit.jsonl"
    settings = Settings(subscribe=(Grant("open.#", users=READER),), audit_file=str(path))
    with busy(settings) as bus, python(LOOK, bus.address, "") as child:
        topics, _, accounts, _ = lines(child)
        assert topics == "open.a open.b"
        name = bus.client_name
        assert accounts == f"{name}:open.a {name}:open.b"
        assert {one.topic for one in bus.topics()} >= {"open.a", "open.b", "closed.a"}
        assert ("closed.a", "agent") in by_topic(bus.ledger())
    looks = [(one["action"], one["object"], one["outcome"], one["rule"]) for one in trail(path, client="guest")][1:]
    assert looks == [
        ("look at", f"{what} of the bus", "granted", "access.subscribe[0]") for what in ("topics", "ledger")
    ]


@as_root
def test_who_may_read_nothing_is_refused_with_the_remedy_and_it_is_in_the_trail(tmp_path):
    path = tmp_path / "audit.jsonl"
    settings = Settings(publish=(Grant("#", users=READER),), audit_file=str(path))
    with busy(settings) as bus, python(LOOK, bus.address, "") as child:
        said = lines(child)
    assert all("may not look at" in line and "[[access.subscribe]]" in line for line in said) and len(said) == 2
    denied = [(one["action"], one["object"], one["pid"]) for one in trail(path, outcome="denied", uid=OTHER)]
    assert denied == [("look at", f"{what} of the bus", child.pid) for what in ("topics", "ledger")]


@as_root
def test_who_goes_on_in_the_middle_of_a_ledger_is_asked_as_well(tmp_path):
    path = tmp_path / "audit.jsonl"
    program = BECOME + (
        "from shmbus.v1.control_pb2 import ReadLedger\n"
        "with shmbus.connect(sys.argv[1]) as bus:\n"
        "    attempt(lambda: bus._request(ReadLedger(page=1, place=1)))\n"
    )
    settings = Settings(publish=(Grant("#", users=READER),), audit_file=str(path))
    with busy(settings) as bus, python(program, bus.address) as child:
        (said,) = lines(child)
    assert said.startswith("AccessDenied") and len(trail(path, outcome="denied")) == 1


@as_root
def test_a_token_shows_what_its_holder_may_read():
    settings = Settings(subscribe=(Grant("open.b", tokens=frozenset({"ci"})),), tokens={"ci": HASHED})
    with busy(settings) as bus, python(LOOK, bus.address, SECRET) as child:
        assert lines(child)[0] == "open.b"


# ---- the commands ----------------------------------------------------------------------------------------------------


def command(*arguments, **environment):
    """`shmbus ...`, as it is piped."""
    line = [sys.executable, "-m", "shmbus.tools", *arguments]
    environment = {**os.environ, **environment}
    return subprocess.run(line, capture_output=True, text=True, env=environment)


# Before the other user is one, all is loaded: he may not enter a checkout, nor an interpreter, of root.
AS_OTHER = """
import shutil
from rich.text import Text
from shmbus.tools import last, ledger, look, main, topics
[main._parser([name]) for name in ("topics", "ledger", "last")]
str(Text("", style="dim"))
"""
AS_OTHER += BECOME + "raise SystemExit(main.main(sys.argv[1:]))"


def as_other(*arguments):
    """The same of another user."""
    return subprocess.run([sys.executable, "-c", AS_OTHER, *arguments], capture_output=True, text=True)


@as_root
def test_the_commands_of_another_user_show_what_he_may_read(bus_name, tmp_path, monkeypatch):
    config = tmp_path / "bus.toml"
    kept = "[[topics]]\ntopic = '+.kept'\nkeep_last = 4\n"
    config.write_text(f"{kept}[[access.subscribe]]\ntopic = 'open.#'\nusers = [{OTHER}]\n")
    with open_directory() as path:
        monkeypatch.setenv("SHMBUS_RUNTIME_DIR", str(path / "run"))
        with coordinator(bus_name, "--config", str(config)), shmbus.connect(bus_name, name="agent") as bus:
            none = as_other("topics", "--bus", bus_name)
            assert none.stdout == f"the bus '{bus_name}' has no topics yet that this user may read\n", none.stderr
            none = as_other("ledger", "--bus", bus_name)
            assert none.stdout.endswith("has anything to account for, in what this user may read\n")
            with bus.publisher("open.a") as publisher, bus.publisher("closed.a") as other, bus.subscribe("#"):
                publisher.publish(b"x")
                other.publish(b"x")
                shown = as_other("topics", "--bus", bus_name)
                assert [line.split()[0] for line in shown.stdout.splitlines()] == ["topic", "open.a"], shown.stderr
                mine = command("topics", "--bus", bus_name, "--json").stdout.splitlines()
                theirs = as_other("topics", "--bus", bus_name, "--json").stdout.splitlines()
                assert theirs == [line for line in mine if json.loads(line)["topic"] == "open.a"]
                mine = command("ledger", "--bus", bus_name, "--json").stdout.splitlines()
                theirs = as_other("ledger", "--bus", bus_name, "--json").stdout.splitlines()
                assert theirs == [line for line in mine if json.loads(line)["topic"] == "open.a"]
            for topic in ("open.kept", "closed.kept"):
                with bus.publisher(topic) as publisher:
                    publisher.publish(HeartbeatPayload(component_id="x"), key="of x")
            eventually(lambda: bus.last("open.kept") and bus.last("closed.kept"))
            assert as_other("last", "open.kept", "--bus", bus_name).stdout.startswith("of x  ")
            refused = as_other("last", "closed.kept", "--bus", bus_name)
            assert refused.returncode == 1 and "may not subscribe to 'closed.kept'" in refused.stderr
            config.write_text(f"{kept}[[access.publish]]\ntopic = 'open.#'\nusers = [{OTHER}]\n")
            bus.reload_config()
            for what in ("topics", "ledger"):
                refused = as_other(what, "--bus", bus_name)
                assert refused.returncode == 1 and refused.stdout == ""
                assert f"may not look at '{what} of the bus'" in refused.stderr
                assert "[[access.subscribe]]" in refused.stderr
