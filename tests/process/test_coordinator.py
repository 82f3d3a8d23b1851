"""A coordinator as a process: started twice, killed, stopped, lied to, starved."""

import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import shmbus
from process.buses import coordinator, eventually, python
from shmbus import segment
from shmbus.config import parse
from shmbus.control import ControlConnection
from shmbus.coordinator import Coordinator, server
from shmbus.errors import BusExists, ConnectError, ConnectionLost, LimitError, ProtocolError, ShmbusError
from shmbus.packet import MAX_PACKET_BYTES, close_all, receive_packet
from shmbus.private import start_embedded
from shmbus.v1 import control_pb2 as wire
from shmbus.v1.control_pb2 import ClientPacket, ServerPacket
from shmbus.v1.eventbus_pb2 import MessageVersion, VersionNegotiationRequest


def leftovers(bus):
    files = [path for path in (segment.socket_path(bus), segment.lock_path(bus)) if path.exists()]
    return [*files, *segment.list_segments(bus=bus)]


def raw(bus):
    """A connection that has said nothing yet."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel.settimeout(10)
    channel.connect(str(segment.socket_path(bus)))
    return channel


def answer(channel):
    got = receive_packet(channel, ServerPacket, "the coordinator")
    if got is None:
        return None
    close_all(got[1])
    return got[0]


def works(bus):
    """Can a new client publish and read?"""
    with shmbus.connect(bus) as one, one.publisher(f"works.n{random.getrandbits(32)}") as publisher:
        subscription = one.subscribe(publisher.topic, lossless=True)
        publisher.publish(b"yes")
        return bytes(subscription.receive(timeout=5).payload) == b"yes"


def test_a_clean_stop_leaves_nothing(bus_name):
    with coordinator(bus_name) as running:
        with shmbus.connect() as bus, bus.publisher("a.b") as publisher:
            publisher.publish(b"x")
            assert len(leftovers(bus_name)) == 2 + 4  # socket, lock; directory, bells, session, ring
        assert "SIGTERM" in running.end()
    assert leftovers(bus_name) == []


def test_a_client_can_ask_for_the_stop_and_all_are_told(bus_name):
    with coordinator(bus_name) as running, shmbus.connect() as one, shmbus.connect() as two:
        one.stop()
        assert "asked for by" in running.rest()
        goodbye = next(two._control.drain())
        assert isinstance(goodbye.message, wire.Goodbye)
        goodbye.close()
    assert leftovers(bus_name) == []


def test_a_second_start_says_who_runs_the_bus(bus_name):
    with coordinator(bus_name) as running:
        second = subprocess.run(
            [sys.executable, "-m", "shmbus.coordinator", "--bus", bus_name], capture_output=True, text=True, timeout=60
        )
        assert second.returncode == 1
        assert f"already run by pid {running.process.pid} since" in second.stderr
        with pytest.raises(BusExists) as raised:
            Coordinator(parse({"bus": {"name": bus_name}})).run(signals=False)
        assert raised.value.pid == running.process.pid
        assert works(bus_name)


def test_a_second_start_elsewhere_is_refused_too(bus_name, tmp_path):
    with coordinator(bus_name) as running:
        second = subprocess.run(
            [sys.executable, "-m", "shmbus.coordinator", "--bus", bus_name],
            capture_output=True, text=True, timeout=60, env={**os.environ, "SHMBUS_RUNTIME_DIR": str(tmp_path)},
        )  # fmt: skip
        assert second.returncode == 1
        assert f"already run by pid {running.process.pid} since" in second.stderr
        assert works(bus_name) and list(tmp_path.iterdir()) == []


def test_publishing_and_reading_go_on_when_the_coordinator_is_killed(bus_name):
    with coordinator(bus_name) as running, shmbus.connect() as bus, bus.publisher("a.b") as publisher:
        subscription = bus.subscribe("a.#", lossless=True)
        publisher.publish(b"before")
        running.end(signal.SIGKILL)
        for number in range(20_000):  # more than the ring holds: room is made without a coordinator
            publisher.publish(b"%d" % number)
            if number == 0:
                assert bytes(subscription.receive(timeout=5).payload) == b"before"
            assert bytes(subscription.receive(timeout=5).payload) == b"%d" % number
        with pytest.raises(ConnectionLost):
            bus.status()
    for found in segment.list_segments(bus=bus_name):
        segment.remove(found.name)


def test_a_killed_coordinators_leftovers_are_taken_over_by_the_next_and_removed_at_its_end(bus_name):
    with coordinator(bus_name) as running, shmbus.connect() as bus, bus.publisher("a.b"):
        running.end(signal.SIGKILL)
    assert leftovers(bus_name)
    with coordinator(bus_name) as running:
        assert any("took over 1 topics from a killed coordinator" in line for line in running.lines)
        assert works(bus_name)
    assert leftovers(bus_name) == []


def test_garbage_ends_its_senders_connection_and_nobody_elses(bus_name):
    dice = random.Random(7)
    with coordinator(bus_name), shmbus.connect() as bus:
        for size in (1, 2, 7, 100, 5000, MAX_PACKET_BYTES, 100_000):
            with raw(bus_name) as channel:
                channel.send(dice.randbytes(size))
                refusal = answer(channel)
                assert refusal is None or refusal.WhichOneof("body") == "error"
                assert refusal is None or answer(channel) is None
        assert bus.status().clients[0].pid == os.getpid()
        assert works(bus_name)


def test_a_log_that_nobody_reads_holds_nobody_up(bus_name):
    with coordinator(bus_name) as running:  # its log is a pipe, of which "ready" was the last that was read
        for _ in range(1500):
            with raw(bus_name) as channel:
                channel.send(b"nonsense")
                answer(channel)
        assert works(bus_name)
        assert running.end().endswith("stopped: SIGTERM\n")


def test_every_request_filled_with_nonsense_is_answered_or_ends_the_connection(bus_name):
    dice = random.Random(11)
    fields = ClientPacket.DESCRIPTOR.oneofs_by_name["request"].fields
    with coordinator(bus_name):
        for round_number in range(60):
            with ControlConnection.connect(bus_name, "fuzz")[0] as control:
                field = dice.choice([one for one in fields if one.name not in ("stop_bus", "hello")])
                nonsense = dice.randbytes(dice.randrange(1, 40))
                packet = ClientPacket(id=99).SerializeToString()
                packet += bytes([(field.number << 3 | 2) & 0x7F | 0x80, field.number >> 4, len(nonsense)]) + nonsense
                control._channel.send(packet)
                control._channel.settimeout(10)
                assert control.wait(10), round_number
        assert works(bus_name)


def test_a_client_of_another_major_version_is_refused_with_both_versions(bus_name):
    wanted = VersionNegotiationRequest(supported_versions=[MessageVersion(major=9)])
    with coordinator(bus_name), raw(bus_name) as channel:
        channel.send(ClientPacket(id=1, hello=wire.Hello(negotiation=wanted)).SerializeToString())
        refusal = answer(channel)
        assert refusal.error.code == wire.CONTROL_ERROR_VERSION
        assert "9.0.0" in refusal.error.message and "1.1.0" in refusal.error.message
        assert answer(channel) is None


def test_a_hello_comes_first_and_only_once(bus_name):
    with coordinator(bus_name):
        with raw(bus_name) as channel:
            channel.send(ClientPacket(id=1, get_status=wire.GetStatus()).SerializeToString())
            assert "hello comes first" in answer(channel).error.message
        control, welcome = ControlConnection.connect(bus_name, "twice")
        welcome.close()
        with control, pytest.raises(ProtocolError, match="only once"):
            control.request(wire.Hello())


def test_descriptors_that_a_client_sends_are_refused_and_closed(bus_name):
    with coordinator(bus_name) as running:
        before = len(os.listdir(f"/proc/{running.process.pid}/fd"))
        with raw(bus_name) as channel:
            packet = ClientPacket(id=1, get_status=wire.GetStatus()).SerializeToString()
            socket.send_fds(channel, [packet], [channel.fileno()] * 3)
            assert "nobody asked for" in answer(channel).error.message
            eventually(lambda: len(os.listdir(f"/proc/{running.process.pid}/fd")) <= before)


def test_a_client_is_denied_that_no_rule_names(bus_name):
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    program = """
import os, sys
from shmbus.config import parse
from shmbus.control import ControlConnection
from shmbus.coordinator import Coordinator, server
os.setgid(54321); os.setuid(54321)
try:
    ControlConnection.connect(sys.argv[1], "stranger")
except Exception as error:
    print(type(error).__name__, error)
"""
    address, stop = start_embedded()
    try:
        with python(program, address) as child:
            line = child.stdout.readline()
        assert line.startswith("AccessDenied") and "uid 54321" in line
    finally:
        stop()


def test_a_rule_lets_another_user_do_what_it_says_and_no_more(bus_name, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    config = tmp_path / "bus.toml"
    config.write_text('[[access.subscribe]]\ntopic = "open.#"\nusers = [54321]\n')
    for parent in [segment.runtime_directory(), *segment.runtime_directory().parents]:
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    program = """
import os, sys, shmbus
os.setgid(54321); os.setuid(54321)
with shmbus.connect() as bus:
    for act in (lambda: bus.subscribe("open.a"), lambda: bus.subscribe("#"), lambda: bus.publisher("open.a")):
        try:
            print(type(act()).__name__)
        except shmbus.ShmbusError as error:
            print(type(error).__name__)
"""
    with coordinator(bus_name, "--config", str(config)), shmbus.connect() as bus, bus.publisher("open.a"):
        with python(program) as child:
            assert child.stdout.read().split() == ["Subscription", "AccessDenied", "AccessDenied"]


def test_out_of_descriptors_it_turns_new_clients_away_and_serves_the_old(bus_name):
    with coordinator(bus_name) as running, shmbus.connect() as bus:
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (32, 32))
        channels = []
        for _ in range(40):
            channels.append(raw(bus_name))
        running.read_until("turned away")
        assert bus.status().refused_peers > 0
        with pytest.raises(ShmbusError, match="descriptors"):
            for number in range(20):
                bus.publisher(f"a.n{number}")
        for channel in channels:
            channel.close()
        eventually(lambda: len(os.listdir(f"/proc/{running.process.pid}/fd")) < 30)
        with shmbus.connect() as late:
            assert late.status().topics >= 0


def test_a_full_dev_shm_is_an_error_at_the_one_who_wanted_more(bus_name):
    with coordinator(bus_name), shmbus.connect() as bus:
        with pytest.raises((LimitError, ShmbusError)):
            bus._control.request(wire.OpenPublisher(topic="a.b", limits=wire.TopicLimits(slots=3)))
        assert works(bus_name)


def test_a_client_that_does_not_say_hello_is_hung_up_on(bus_name, monkeypatch):
    monkeypatch.setattr(server, "HELLO_SECONDS", 0.05)
    address, stop = start_embedded()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
            channel.settimeout(10)
            channel.connect("\0" + address[1:])
            assert channel.recv(100) == b""
    finally:
        stop()


def test_a_client_that_never_reads_is_hung_up_on_and_the_reason_is_logged(bus_name):
    lines = []
    address, stop = start_embedded(log=lines.append)
    try:
        with shmbus.connect(address) as bus:
            control, welcome = ControlConnection.connect(address, "deaf")
            welcome.close()
            with control:
                for number in range(1, 3):
                    control.request(wire.Subscribe(subscription=number, patterns=["#"])).close()
                packet = ClientPacket(id=5, get_status=wire.GetStatus()).SerializeToString()
                try:
                    for _ in range(100_000):
                        control._channel.send(packet)
                except OSError:
                    pass
                eventually(lambda: any("does not read" in line for line in lines))
            assert len(bus.status().clients) == 1
    finally:
        stop()


def test_a_bus_that_nobody_runs_is_an_error_that_says_what_to_do(bus_name):
    with pytest.raises(ConnectError, match=f"shmbus up --bus {bus_name}"):
        shmbus.connect()


def test_ten_thousand_subscriptions_are_quick_and_lean():
    program = """
import os, shmbus, time
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
with shmbus.embedded() as bus:
    with bus.publisher("events.process.start"):
        bus.subscribe("warm.up").close()
        before, begun = rss(), time.perf_counter()
        kept = [bus.subscribe(f"events.process.start", f"events.n{n}.#") for n in range(10_000)]
        print(rss() - before, time.perf_counter() - begun, flush=True)
        os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    used, seconds = map(float, done.stdout.split())
    print(f"10,000 subscriptions: {used / 1e6:.1f} MB, {seconds:.1f} s")
    assert used < 40e6


def test_an_idle_coordinator_costs_next_to_nothing(bus_name):
    with coordinator(bus_name) as running, shmbus.connect() as bus, bus.publisher("a.b") as publisher:
        publisher.publish(b"x")

        def cpu():
            fields = Path(f"/proc/{running.process.pid}/stat").read_text().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])

        before = cpu()
        time.sleep(3)
        assert cpu() - before <= 1  # a tick is 10 ms: the resolution of the clock
