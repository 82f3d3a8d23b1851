"""Nobody passes for another caller, or answers for another collector: real users, one of whom writes what he likes.

The hostile one does not keep to the library: it rewrites its producer's entry in the ring that it may write to, where
readers look up who a message is of.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

import shmbus
from process.buses import coordinator, eventually, python
from process.collectors import open_directory
from process.test_access import REQUESTS, trail
from process.test_rpc import lab
from process.test_users import BECOME, OTHER, lines
from shmbus.bearer import make_token
from shmbus.coordinator.access import Access
from shmbus.coordinator.settings import Grant, Settings
from shmbus.principal import ring_name
from shmbus.rpc import EXECUTE_TASK, HEALTH_CHECK, PAUSE, RESUME, Client, Collector, operation
from shmbus.rpc.presence import instances
from shmbus.v1.control_pb2 import ListTopics
from shmbus.v1.ipc_pb2 import DetectionResult, DetectionTask

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

SECRET, HASHED = make_token("ci")

# `as_other(client, session)` has what that client sends from now on look like that session's: whose that is, everybody
# who is connected can read in the directory.
HOSTILE = (
    "from contextlib import closing\n"
    "from shmbus.rpc import Client, HEALTH_CHECK, PAUSE, RESUME, NEVER\n"
    "from shmbus.rpc.asking import make_ask\n"
    "from shmbus.rpc.presence import SERVING\n"
    "from shmbus.rpc.registration import Registration\n"
    "from shmbus.v1.rpc_pb2 import RegistrationRequest\n"
    "from shmbus.directory import DirectoryReader\n"
    + BECOME
    + """
def sessions(bus):
    with closing(DirectoryReader(bus.directory_fd, boot_id=bus._boot_id)) as directory:
        return {one.client: one for one in directory.snapshot().sessions}

def as_other(client, entry, session=None, uid=None):
    publisher = client._exchange._services["lab"].publisher
    process = entry.process
    publisher._ring.set_producer(
        publisher._producer_id, entry.client, process.pid, process.start_time, process.namespace,
        session or entry.session, entry.uid if uid is None else uid,
    )

def spoil(what, own):
    for line in open("/proc/self/maps"):
        start = int(line.split("-")[0], 16)
        place = ctypes.string_at(start, 4096).find(own) if ".ring." in line and " rw-s " in line else -1
        if place >= 0 and what == "name":
            ctypes.memmove(start + place, b"control.collector.lab".ljust(len(own), b"\\0"), len(own))
        elif place >= 0:
            ctypes.memset(start, 0, 4096)
"""
)


class Lab(Collector):
    """Tells who had it do something."""

    def __init__(self, name: str = "lab") -> None:
        super().__init__(name)
        self.seen: list[tuple[str, int]] = []
        self.finish = threading.Event()  # a task goes on until then

    def note(self, request) -> None:
        self.seen.append((request.operation.name, request.producer.uid))

    @operation(PAUSE)
    def pause(self, request):
        self.note(request)

    @operation(RESUME)
    def resume(self, request):
        self.note(request)

    @operation(EXECUTE_TASK)
    def execute(self, request):
        self.note(request)
        while not self.finish.is_set() and not request.wait(0.02):
            pass
        return DetectionResult(task_id=request.payload.task_id, success=not request.cancelled)


def grant(uid, *operations, topic=REQUESTS):
    return Grant(topic, users=frozenset({uid}), operations=frozenset(operations))


@contextmanager
def served(settings: Settings) -> Iterator[tuple[shmbus.Bus, Lab]]:
    with shmbus.embedded(settings, name="victim") as bus:
        collector = Lab()
        with collector.serving(bus):
            yield bus, collector


def forged(bus: shmbus.Bus) -> float:
    with Client(bus) as client:
        return client.health("lab").metrics["rpc_forged"]


def says(child: subprocess.Popen[str]) -> str:
    return child.stdout.readline().rstrip("\n")


def test_each_user_calls_in_a_ring_of_his_own_and_only_root_s_and_the_bus_s_is_the_topic_s():
    program = HOSTILE + (
        "with shmbus.connect(sys.argv[1], token=sys.argv[2] or None) as bus, Client(bus) as client:\n"
        "    client.health('lab')\n"
        "    publisher = client._exchange._services['lab'].publisher\n"
        "    print(publisher._ring.topic, client._exchange.subscription.topics, flush=True)\n"
        "    attempt(lambda: bus.publisher(publisher._ring.topic))\n"
    )
    rules = (grant(OTHER), Grant(REQUESTS, tokens=frozenset({"ci"})))
    rings = []
    with served(Settings(call=rules, tokens={"ci": HASHED})) as (bus, _), bus.subscribe(REQUESTS) as requests:
        for token in ("", SECRET):
            with python(program, bus.address, token) as child:
                ring, _, answers = says(child).partition(" ")
                assert "control.rpc.response.c" in answers and "'," not in answers, "root answers in the topic's own"
                assert says(child).startswith("AccessDenied")
                rings.append(ring)
            assert requests.receive(timeout=20).topic == ring, "who subscribes to the topic reads all of its rings"
        with Client(bus) as client:
            client.health("lab")
            assert client._exchange._services["lab"].publisher._ring.topic == REQUESTS
    assert [ring_name(ring).public for ring in rings] == [REQUESTS] * 2 and len(set(rings)) == 2
    assert {ring_name(ring).uid for ring in rings} == {OTHER}


def test_whoever_writes_another_client_s_name_into_his_ring_is_not_taken_for_it(tmp_path):
    path = tmp_path / "audit.jsonl"
    program = HOSTILE + (
        "with shmbus.connect(sys.argv[1], name='hostile') as bus, Client(bus, retry=NEVER) as client:\n"
        "    client.health('lab')\n"
        "    own, victim, friend = (sessions(bus)[name] for name in ('hostile', 'victim', 'friend'))\n"
        "    for entry, session, uid in (\n"
        "        (victim, None, None), (friend, None, None), (own, None, 0), (own, victim.session, None),\n"
        "        (victim, own.session, None),\n"
        "    ):\n"
        "        as_other(client, entry, session, uid)\n"
        "        attempt(lambda: client.call('lab', PAUSE, timeout=0.5))\n"
        "    with Client(bus) as another:\n"
        "        attempt(lambda: another.health('lab'))\n"
    )
    friendly = HOSTILE.replace(str(OTHER), str(OTHER + 1)) + (
        "with shmbus.connect(sys.argv[1], name='friend') as bus, Client(bus) as client:\n"
        "    for line in sys.stdin:\n"
        "        attempt(lambda: client.call('lab', PAUSE))\n"
    )
    rules = (grant(OTHER, HEALTH_CHECK), grant(OTHER + 1, PAUSE))
    with (
        served(Settings(call=rules, audit_file=str(path))) as (bus, its),
        python(friendly, bus.address) as friend,
    ):
        print("call", file=friend.stdin, flush=True)
        assert says(friend) == "Answer"
        with python(program, bus.address) as child:
            said = lines(child)
        assert its.seen == [("PAUSE", OTHER + 1)], "what was forged is not executed"
        assert [line.split()[0] for line in said[:5]] == ["RpcError"] * 5 and said[5] == "HealthData"
        assert all("DEADLINE_EXCEEDED" in line for line in said[:5]), "what is not his is not answered to him"
        with Client(bus) as client:
            metrics = client.health("lab").metrics
        # A session that is not there with such a process is nobody's, and no one passes for nobody.
        assert (metrics["rpc_forged"], metrics["rpc_denied"]) == (3, 2)
        print("call", file=friend.stdin, flush=True)
        assert says(friend) == "Answer"
    denied = trail(path, outcome="denied", rule="no ring of its own")
    assert [(one["uid"], one["pid"], one["client"], one["object"]) for one in denied] == [
        (OTHER, child.pid, "hostile", "lab")
    ] * 3
    assert all(one["action"].startswith("pass for session ") and "PAUSE" in one["action"] for one in denied)


def test_a_caller_cannot_have_his_answer_sent_to_somebody_else():
    program = HOSTILE + (
        "with shmbus.connect(sys.argv[1], name='hostile') as bus, Client(bus, retry=NEVER) as client:\n"
        "    client.health('lab')\n"
        "    client._exchange._services['lab'].draft._request.client_id = sys.argv[2]\n"
        "    attempt(lambda: client.call('lab', HEALTH_CHECK, timeout=0.5))\n"
    )
    with served(Settings(call=(grant(OTHER, HEALTH_CHECK),))) as (bus, _), Client(bus) as client:
        with python(program, bus.address, client.client_id) as child:
            assert "DEADLINE_EXCEEDED" in lines(child)[0]
        assert client.health("lab").metrics["rpc_forged"] == 1 and client.late == 0


def test_nobody_cancels_a_call_in_another_s_name():
    program = HOSTILE + (
        "from shmbus.v1.eventbus_pb2 import RpcRequestPayload\n"
        "from shmbus.v1.rpc_pb2 import RpcRequest\n"
        "with shmbus.connect(sys.argv[1], name='hostile') as bus, Client(bus, retry=NEVER) as client:\n"
        "    client._exchange._first(make_ask('lab', HEALTH_CHECK, None, 5, None, False))\n"
        "    as_other(client, sessions(bus)['victim'])\n"
        "    request = RpcRequest(request_id='x', client_id=sys.argv[2], cancels=sys.argv[3])\n"
        "    client._exchange._services['lab'].publisher.publish(RpcRequestPayload(request=request))\n"
        "    print('cancelled', flush=True)\n"
    )
    with served(Settings(call=(grant(OTHER, HEALTH_CHECK),))) as (bus, its), Client(bus) as client:
        pending = client.submit("lab", EXECUTE_TASK, DetectionTask(task_id="t"))
        with python(program, bus.address, client.client_id, pending.request_id) as child:
            assert says(child) == "cancelled"
        for waiting in (1, 2):  # what is read at the second of them comes after all that was there at the first
            client.submit("lab", RESUME)
            eventually(lambda waiting=waiting: its.vitals.queued == waiting)
        its.finish.set()
        assert client.result(pending).payload.success
        assert its.seen[0] == ("EXECUTE_TASK", 0)


def test_nobody_gets_between_a_call_and_its_answer_by_its_id():
    program = (
        "from itertools import count\n"
        "from shmbus.rpc import EXECUTE_TASK\n"
        "from shmbus.v1.ipc_pb2 import DetectionTask\n"
        + HOSTILE
        + "with shmbus.connect(sys.argv[1], name='hostile') as bus, Client(bus, retry=NEVER) as client:\n"
        "    client._exchange._ids, client._exchange._numbers = sys.argv[2], count(int(sys.argv[3]))\n"
        "    pending = client.submit('lab', EXECUTE_TASK, DetectionTask(task_id='his'))\n"
        "    print('sent', flush=True)\n"
        "    attempt(lambda: print(client.result(pending).payload.task_id, flush=True))\n"
    )
    with served(Settings(call=(grant(OTHER, EXECUTE_TASK),))) as (bus, its), Client(bus) as client:
        running = client.submit("lab", EXECUTE_TASK, DetectionTask(task_id="running"))
        prefix, _, number = running.request_id.rpartition("-")
        with python(program, bus.address, f"{prefix}-", str(int(number) + 1)) as child:
            assert says(child) == "sent"
            eventually(lambda: its.vitals.queued == 1)
            mine = client.submit("lab", EXECUTE_TASK, DetectionTask(task_id="mine"))
            eventually(lambda: its.vitals.queued == 2)
            its.finish.set()
            assert [client.result(one).payload.task_id for one in (running, mine)] == ["running", "mine"]
            assert says(child) == "his"
        assert [uid for _, uid in its.seen] == [0, OTHER, 0] and its.vitals.repeated == 0


SERVER = (
    "from shmbus.rpc import Collector, EXECUTE_TASK, PAUSE, operation\n"
    "from shmbus.v1.ipc_pb2 import DetectionResult\n"
    + BECOME
    + """
class Lab(Collector):
    @operation(PAUSE)
    def pause(self, request):
        print("paused by", request.producer.uid, flush=True)

    @operation(EXECUTE_TASK)
    def execute(self, request):
        return DetectionResult(success=True, error_message="x" * int(request.payload.metadata))

with shmbus.connect(sys.argv[1], name="server") as bus, Lab("lab").serving(bus):
    print("serving", flush=True)
    sys.stdin.readline()
"""
)


def may_serve(uid):
    both = (Grant(REQUESTS, users=frozenset({uid})),)
    answers = Grant("control.rpc.response.+", users=frozenset({uid}))
    return Settings(
        subscribe=both, publish=(*both, answers), call=(Grant("control.collector.+", users=frozenset({OTHER + 1})),)
    )


def test_a_collector_of_another_user_is_called_by_root_and_by_a_third_one():
    program = BECOME.replace(str(OTHER), str(OTHER + 1))
    program = "from shmbus.rpc import Client, HEALTH_CHECK, PAUSE\n" + program + (
        "with shmbus.connect(sys.argv[1]) as bus, Client(bus) as client:\n"
        "    attempt(lambda: client.health('lab'))\n"
        "    attempt(lambda: client.call('lab', PAUSE))\n"
        "    print(client._exchange.subscription.topics, flush=True)\n"
    )  # fmt: skip
    with shmbus.embedded(may_serve(OTHER)) as bus, python(SERVER, bus.address) as server, Client(bus) as client:
        assert says(server) == "serving"
        client.call("lab", PAUSE)
        assert says(server) == "paused by 0"
        with python(program, bus.address) as child:
            said = lines(child)
        assert said[:2] == ["HealthData", "Answer"]
        assert says(server) == f"paused by {OTHER + 1}"
        for size in (100, 200_000, 3_000_000):
            assert len(client.execute("lab", DetectionTask(metadata=str(size))).error_message) == size
        answers = {ring_name(topic) for topic in client._exchange.subscription.topics}
        assert {one.uid for one in answers} == {None, OTHER}, "a ring of its own for what that user answers"
        assert client.forged == 0


def test_an_answer_counts_only_from_the_user_who_was_asked():
    """A collector may answer any client, and so write to a ring that it reads: its own."""
    program = BECOME + (
        "from shmbus.v1.eventbus_pb2 import RpcResponsePayload\n"
        "from shmbus.v1.rpc_pb2 import RpcResponse\n"
        "with shmbus.connect(sys.argv[1], name='evil') as bus:\n"
        "    with bus.publisher('control.rpc.response.' + sys.argv[2]) as publisher:\n"
        "        response = RpcResponse(request_id=sys.argv[3], service_id='lab', status=1)\n"
        "        publisher.publish(RpcResponsePayload(response=response))\n"
        "        print(publisher._ring.topic, flush=True)\n"
    )
    rules = Settings(publish=(Grant("control.rpc.response.+", users=frozenset({OTHER})),))
    with served(rules) as (bus, its), Client(bus) as client:
        pending = client.submit("lab", EXECUTE_TASK, DetectionTask(task_id="t"))
        with python(program, bus.address, client.client_id, pending.request_id) as child:
            ring = ring_name(says(child))
            assert ring.uid == OTHER and ring.public == f"control.rpc.response.{client.client_id}"
        with pytest.raises(shmbus.RpcError) as refused:
            client.health("lab", timeout=0.5)  # reads what has come
        assert refused.value.code == "DEADLINE_EXCEEDED" and client.forged == 1 and not pending.settled
        client.cancel(pending)


def test_who_may_only_read_what_a_collector_is_asked_holds_no_caller_and_is_none_s_server():
    """He says in his own memory that he serves: that is where callers look, once a gate of their ring says so."""
    program = HOSTILE + (
        "with shmbus.connect(sys.argv[1]) as bus:\n"
        "    subscription = bus._subscribe(('control.collector.#',), lossless=True, mark=SERVING)\n"
        "    durable = bus.subscribe('control.collector.lab', durable='spy')\n"
        "    print('reads', flush=True)\n"
        "    attempt(lambda: Registration(bus, RegistrationRequest(collector_id='other')))\n"
        "    print(type(subscription.receive(timeout=20).event).__name__, flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    rules = Settings(subscribe=(Grant("control.#", users=frozenset({OTHER})),))
    with served(rules) as (bus, _), Client(bus) as client, python(program, bus.address) as child:
        assert says(child) == "reads"
        for _ in range(10):
            client.health("lab")
        assert "AccessDenied" in (line := says(child)) and "rights to publish and to subscribe" in line
        assert says(child) == "RpcRequestPayload"
        ring = client._exchange._services["lab"].publisher._ring
        assert len(instances(bus, ring)) == len(ring.gates()) == 1


SPOIL = HOSTILE + (
    "with shmbus.connect(sys.argv[1], name='hostile') as bus, Client(bus, retry=NEVER) as client:\n"
    "    ask = make_ask('lab', HEALTH_CHECK, None, 5, None, False)\n"
    "    spoil(sys.argv[2], client._exchange._first(ask).publisher._ring.topic.encode())\n"
    "    print('spoilt', flush=True)\n"
    "    if sys.argv[2] == 'name':\n"
    "        as_other(client, sessions(bus)['victim'])\n"
    "        attempt(lambda: client.call('lab', PAUSE, timeout=3))\n"
    "    sys.stdin.readline()\n"
)


@pytest.mark.parametrize("what", ["name", "magic"])
def test_a_ring_that_is_not_what_the_coordinator_says_it_is_is_not_read_and_harms_nobody_else(what):
    """What the collector has not mapped yet, its caller may have written over by then."""
    with (
        shmbus.embedded(Settings(call=(grant(OTHER, HEALTH_CHECK),)), name="victim") as bus,
        lab(bus) as server,
        Client(bus) as client,
    ):
        client.health("lab")
        server.send_signal(signal.SIGSTOP)
        with python(SPOIL, bus.address, what) as child:
            assert says(child) == "spoilt"
            server.send_signal(signal.SIGCONT)
            metrics = [client.health("lab").metrics for _ in range(3)][-1]
            if what == "name":
                assert "DEADLINE_EXCEEDED" in says(child)
                metrics = client.health("lab").metrics
                assert metrics["rpc_requests"] == 4, "and no PAUSE"
            assert metrics["rpc_denied"] == metrics["rpc_forged"] == 0
        client.health("lab")


def test_the_next_coordinator_gives_nobody_another_s_ring_whatever_stands_in_them(bus_name, tmp_path, monkeypatch):
    """A caller writes into his ring that it is root's. The next coordinator goes by the directory of the last one."""
    config = tmp_path / "bus.toml"
    config.write_text(f"[[access.call]]\nservice = 'lab'\nusers = [{OTHER}]\noperations = ['HEALTH_CHECK']\n")
    program = HOSTILE + (
        "with shmbus.connect(sys.argv[1], name='hostile') as bus, Client(bus, retry=NEVER) as client:\n"
        "    print(client.health('lab').metrics['rpc_forged'], flush=True)\n"
        "    publisher = client._exchange._services['lab'].publisher\n"
        "    spoil('name', publisher._ring.topic.encode())\n"
        "    for line in sys.stdin:\n"
        "        as_other(client, sessions(bus)[line.strip()])\n"
        "        attempt(lambda: client.call('lab', HEALTH_CHECK if line == 'hostile\\n' else PAUSE, timeout=2))\n"
    )

    def call(who):
        print(who, file=child.stdin, flush=True)
        return says(child)

    def rings():
        return sorted(one.topic for one in topics(bus) if one.topic.startswith(REQUESTS))

    with open_directory() as path:
        monkeypatch.setenv("SHMBUS_RUNTIME_DIR", str(path / "run"))
        with (
            coordinator(bus_name, "--config", str(config)) as first,
            shmbus.connect(name="victim") as bus,
            lab(bus),
            Client(bus) as client,
            python(program, bus_name) as child,
        ):
            assert says(child) == "0.0"
            before = rings()
            assert call("hostile") == "Answer" and "DEADLINE_EXCEEDED" in call("victim")
            first.end(signal.SIGKILL)
            with coordinator(bus_name, "--config", str(config)):
                eventually(lambda: not bus._control.lost or bus._attend())
                assert rings() == before and len(before) == 2
                assert call("hostile") == "Answer", "who he is counts on"
                assert "DEADLINE_EXCEEDED" in call("victim")
                with shmbus.connect() as later, Client(later) as fresh:
                    metrics = fresh.health("lab").metrics
                    assert fresh._exchange._services["lab"].publisher._ring.topic_id == _id_of(bus, REQUESTS)
                assert metrics["rpc_forged"] == 2 and client.health("lab").metrics["rpc_denied"] == 0


def test_who_had_the_topic_s_own_ring_under_an_older_coordinator_goes_on_with_it(monkeypatch):
    program = HOSTILE + (
        "with shmbus.connect(sys.argv[1]) as bus, Client(bus) as client:\n"
        "    for line in sys.stdin:\n"
        "        attempt(lambda: client.call('lab', int(line)))\n"
    )
    with served(Settings(call=(grant(OTHER),))) as (bus, its), python(program, bus.address) as child:
        with monkeypatch.context() as older:
            older.setattr(Access, "principal", lambda access, subject: "")
            print(int(PAUSE), file=child.stdin, flush=True)
            assert says(child) == "Answer"
        new = bus._on_close.__self__.coordinator
        for one in new._registry.clients.values():
            one.principal = new._access.principal(one)
        print(int(RESUME), file=child.stdin, flush=True)
        assert says(child) == "Answer" and its.seen == [("PAUSE", OTHER), ("RESUME", OTHER)]
        assert forged(bus) == 0


def _id_of(bus, name):
    return next(one.topic_id for one in topics(bus) if one.topic == name)


def test_a_first_call_that_meets_a_server_on_its_way_out_ends_at_once():
    """The caller's ring is made when the server has read all that it will ever read, and before it has left."""
    program = HOSTILE + (
        "with shmbus.connect(sys.argv[1]) as bus, Client(bus, retry=NEVER) as client:\n"
        "    attempt(lambda: client.call('lab', PAUSE, timeout=60))\n"
    )
    with shmbus.embedded(Settings(call=(grant(OTHER),))) as bus:
        its = Lab()
        with ExitStack() as leaving:
            server = leaving.enter_context(its.serving(bus))
            finished, may_leave = threading.Event(), threading.Event()
            server._desk.close = lambda: (finished.set(), may_leave.wait(60))
            leaver = threading.Thread(target=leaving.close)
            leaver.start()
            assert finished.wait(60)
            with python(program, bus.address) as child:
                theirs = lambda: [one for one in topics(bus) if ring_name(one.topic).uid == OTHER and one.tail > 1]  # noqa: E731
                eventually(theirs)
                began = time.monotonic()
                may_leave.set()
                (line,) = lines(child)
            leaver.join()
    assert "CLIENT_SHUTDOWN, COMMUNICATION" in line and time.monotonic() - began < 20
    assert its.seen == []


def topics(bus):
    with bus._request(ListTopics()) as answer:
        return list(answer.message.topics)
