"""Who takes part when a process is killed: each role is a forked process that obeys its driver line by line.

Imported after killcore.load(), so all of them run the core in which kill points can be armed.
"""

import ctypes
import mmap
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import shmbus
import shmbus.config  # once, not in each coordinator
from shmbus import _core, rpc, segment
from shmbus.agent import Agent
from shmbus.coordinator import Coordinator
from shmbus.coordinator.configuration import Configuration
from shmbus.errors import ReceiveTimeout, ShmbusError
from shmbus.rpc import START, Client
from shmbus.rpc.registration import Registration
from shmbus.v1.eventbus_pb2 import HeartbeatPayload
from shmbus.v1.ipc_pb2 import DetectionResult, DetectionTask, MonitoringDomain
from shmbus.v1.rpc_pb2 import ConfigUpdateRequest, ConfigValue, RegistrationRequest

TOPIC = "lab.main"
PATIENCE = 20.0  # seconds, for anything that is to happen
BURST = 100  # more messages than the ring holds: nobody gets through who is held
SLOTS = 64
LARGE = 300_000
PR_SET_PDEATHSIG = 1
IDLE = "idle"  # a collector that runs when it is asked for
CONFIG = f"""
[access]
budget_grace_seconds = 0.001
[[access.publish]]
topic = "cheat.#"
users = [{os.geteuid()}]
messages_per_second = 10
[defaults]
slots = {SLOTS}
claim_timeout_ms = 300
max_stall_ms = 1500
[[topics]]
topic = "kept.#"
keep_last = 4
keep_last_bytes = 4096
[collectors.procmond]
enabled = false
[collectors.{IDLE}]
enabled = false
command = ["/bin/sleep", "1000"]
restart_first_seconds = 0.01
"""


def content(kind: str, number: int, size: int | None = None) -> bytes:
    """What the message of that number holds; any changed byte shows."""
    size = number * 37 % 400 if size is None else size
    return b"%s %d " % (kind.encode(), number) + (b"%d." % number * (size // 2 + 1))[:size]


class Line:
    """One end of the line between the driver and a role."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        end.settimeout(PATIENCE)

    def say(self, text: str) -> None:
        self._end.send(text.encode())

    def hear(self) -> str:
        """What the other side said; empty: it is gone."""
        return self._end.recv(65536).decode()

    def waits(self, seconds: float) -> bool:
        """Has the other side said something? Waits that long for it."""
        return bool(select.select([self._end], [], [], seconds)[0])

    def close(self) -> None:
        self._end.close()


class Role:
    """A process, as its driver sees it."""

    def __init__(self, name: str, main: Callable[[Line], None]) -> None:
        self.name = name
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _be(name, main, Line(theirs))
        theirs.close()
        self.line = Line(ours)
        self._pidfd = os.pidfd_open(self.pid)
        self.ended = False

    def expect(self, text: str) -> str:
        """The next thing it says, which begins so."""
        said = self.line.hear()
        assert said.startswith(text), f"{self.name} said {said!r} where {text!r} was expected"
        return said

    def death(self) -> int:
        """Wait until it has been killed; CLOCK_MONOTONIC then."""
        readable, _, _ = select.select([self._pidfd], [], [], PATIENCE)
        now = time.monotonic_ns()
        assert readable, f"{self.name} was not killed: it never passed there"
        status = self._reap()
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"{self.name} ended with {status}"
        return now

    def stop(self) -> bool:
        """Stop it with SIGSTOP; False when it was dead before."""
        os.kill(self.pid, signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        self.ended = not os.WIFSTOPPED(status)
        return not self.ended

    def kill(self) -> None:
        """Make sure that it is gone."""
        if not self.ended:
            os.kill(self.pid, signal.SIGKILL)
            self._reap()

    def close(self) -> None:
        self.kill()
        self.line.close()
        os.close(self._pidfd)

    def leave(self) -> None:
        """Wait until it has ended by itself."""
        assert select.select([self._pidfd], [], [], PATIENCE)[0], f"{self.name} does not end"
        status = self._reap()
        assert status == 0, f"{self.name} ended with {status}"

    def _reap(self) -> int:
        self.ended = True
        return os.waitpid(self.pid, 0)[1]


def _be(name: str, main: Callable[[Line], None], line: Line) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        main(line)
    except BaseException as error:
        line.say(f"error: {name}: {type(error).__name__}: {error}")
        os._exit(1)
    os._exit(0)


def config_path(bus: str) -> Path:
    """What its coordinator goes by."""
    return segment.runtime_directory() / f"{bus}.toml"


def coordinator(
    bus: str, site: str | None, count: int, *, at_once: bool = False, take_over: bool = False
) -> Callable[[Line], None]:
    """The coordinator of a named bus; SIGUSR1 arms its kill point, which is armed `at_once` in one that takes over."""
    path = config_path(bus)
    if not path.exists():
        path.write_text(CONFIG)

    def main(line: Line) -> None:
        def arm(*_: object) -> None:
            _core.arm_killpoint(site, count)  # type: ignore[attr-defined]
            line.say("armed")

        signal.signal(signal.SIGUSR1, arm)
        if at_once:
            line.say("ready")
            _core.arm_killpoint(site, count)  # type: ignore[attr-defined]
        configuration = Configuration(path, bus=bus)
        Coordinator(
            configuration.begin(), ready=lambda: None if at_once else line.say("ready"), configuration=configuration,
            take_over=take_over,
        ).run()  # fmt: skip

    return main


def cheat(bus: str) -> Callable[[Line], None]:
    """Publishes ten times as much as it may, elsewhere than the others."""

    def main(line: Line) -> None:
        with shmbus.connect(bus, name="cheat") as connection, connection.publisher("cheat.x") as publisher:
            publisher._set_budget(None)
            line.say("ready")
            line.hear()
            while not line.waits(0.01):
                publisher.publish(b"x")

    return main


def steady(bus: str) -> Callable[[Line], None]:
    """Publishes on and on; on "mark" more than the ring holds, and then a mark."""

    def main(line: Line) -> None:
        with (
            shmbus.connect(bus, name="steady") as connection,
            connection.publisher(TOPIC, timeout=PATIENCE) as publisher,
        ):
            line.say("ready")
            number, word = 0, ""
            while word != "end":
                word = line.hear() if line.waits(0.001) else ""
                for _ in range(BURST if word == "mark" else 1):
                    publisher.publish(content("S", number))
                    number += 1
                if word == "mark":
                    publisher.publish(b"mark")
            publisher.publish(b"end %d" % number)

    return main


def reader(bus: str) -> Callable[[Line], None]:
    """Reads everything, losslessly; whatever is missing, doubled, out of order or changed is an error."""

    def main(line: Line) -> None:
        with (
            shmbus.connect(bus, name="reader") as connection,
            connection.subscribe("lab.#", lossless=True) as subscription,
        ):
            line.say("ready")
            seen = {"S": 0, "V": 0, "A": 0}
            while True:
                found = subscription.receive(timeout=PATIENCE)
                assert not isinstance(found, shmbus.Gap), f"lost: {found}"
                kind, _, rest = found.payload.partition(b" ")
                if kind == b"mark":
                    line.say(f"mark {time.monotonic_ns()}")
                elif kind == b"fresh":
                    continue
                elif kind == b"end":
                    assert int(rest) == seen["S"], f"{seen['S']} of {int(rest)} steady messages came"
                    line.say(f"seen {seen['V']}")
                    return
                else:
                    name = kind.decode()
                    size = LARGE if len(found.payload) > LARGE else None
                    assert found.payload == content(name, seen[name], size), (
                        f"not {name} {seen[name]}: {found.payload[:40]!r}"
                    )
                    seen[name] += 1

    return main


class Counter:
    """A number that a role and its driver share, and that outlives the role."""

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, 8)).cast("Q")

    def set(self, number: int) -> None:
        self._words[0] = number  # one store: struct.pack_into() clears the word first, and may be killed then

    def get(self) -> int:
        return self._words[0]


def stride_of(site: str) -> int:
    """How far the numbers of the durable publisher's messages are apart that is killed there."""
    return 3 if site in {"leap.counted", "leap.noted", "commit.done"} else 1


def publisher(bus: str, site: str, count: int, committed: Counter, size: int | None = None) -> Callable[[Line], None]:
    """Publishes until it passes the site."""

    def main(line: Line) -> None:
        with (
            shmbus.connect(bus, name="victim") as connection,
            connection.publisher(TOPIC, timeout=PATIENCE, durable=True) as its,
        ):
            line.say("ready")
            line.hear()
            _core.arm_killpoint(site, count)  # type: ignore[attr-defined]
            number, stride = 0, stride_of(site)
            while True:
                its.publish(content("V", number, size), number=stride * (number + 1))
                number += 1
                committed.set(number)
                if size is None:
                    time.sleep(0.0015)  # so that its reader falls asleep in between

    return main


def subscriber(bus: str, site: str, count: int) -> Callable[[Line], None]:
    """Reads, losslessly, until it passes the site."""

    def main(line: Line) -> None:
        with (
            shmbus.connect(bus, name="victim") as connection,
            connection.subscribe("lab.#", lossless=True) as subscription,
        ):
            line.say("ready")
            line.hear()
            _core.arm_killpoint(site, count)  # type: ignore[attr-defined]
            while True:
                subscription.receive(timeout=PATIENCE)

    return main


def stalled(bus: str, durable: str | None = None) -> Callable[[Line], None]:
    """Subscribes, losslessly or durably, and reads nothing."""

    def main(line: Line) -> None:
        with (
            shmbus.connect(bus, name="stalled") as connection,
            connection.subscribe("lab.#", lossless=True, durable=durable),
        ):
            line.say("ready")
            line.hear()

    return main


class Settled:
    """What a member did with each steady message, as far as it got to say so; outlives the member."""

    ACKING, ACKED, NACKED = 1, 2, 3

    def __init__(self) -> None:
        self._bytes = mmap.mmap(-1, 1 << 20)

    def note(self, number: int, what: int) -> None:
        self._bytes[number] = what

    def numbers(self, *kinds: int) -> set[int]:
        return {number for number, what in enumerate(self._bytes[:]) if what in kinds}


def member(
    bus: str, durable: shmbus.Durable, settled: Settled, site: str, count: int, nacks: bool
) -> Callable[[Line], None]:
    """Reads for a durable subscription, and settles, until it passes the site."""

    def main(line: Line) -> None:
        with (
            shmbus.connect(bus, name="victim") as connection,
            connection.subscribe(TOPIC, durable=durable) as subscription,
        ):
            line.say("ready")
            line.hear()
            _core.arm_killpoint(site, count)  # type: ignore[attr-defined]
            while True:
                found = subscription.receive(timeout=PATIENCE)
                if isinstance(found, shmbus.Gap):
                    continue
                number = steady_number(found.payload)
                if number is None:
                    subscription.ack(found)
                elif nacks and number % 3 == 0 and found.deliveries == 1:
                    settled.note(number, settled.NACKED)
                    subscription.nack(found)
                else:
                    settled.note(number, settled.ACKING)
                    if subscription.ack(found):
                        settled.note(number, settled.ACKED)

    return main


def holder(bus: str, durable: shmbus.Durable, site: str, count: int) -> Callable[[Line], None]:
    """Holds some messages while the ring goes on without them, and gives them back when they are lost."""

    def main(line: Line) -> None:
        with (
            shmbus.connect(bus, name="victim") as connection,
            connection.subscribe(TOPIC, durable=durable) as subscription,
        ):
            held = [subscription.receive(timeout=PATIENCE) for _ in range(3)]
            line.say("ready")
            line.hear()
            _core.arm_killpoint(site, count)  # type: ignore[attr-defined]
            lost = False
            while not lost:  # told as demoted first, and given what the ring still has
                found = subscription.receive(timeout=PATIENCE)
                lost = isinstance(found, shmbus.Gap) and found.reason == "overrun"
            for one in held:
                assert isinstance(one, shmbus.Message)
                subscription.nack(one)

    return main


def founder(bus: str, durable: shmbus.Durable) -> Callable[[Line], None]:
    """Makes a durable subscription and leaves it."""

    def main(line: Line) -> None:
        with shmbus.connect(bus, name="founder") as connection:
            connection.subscribe(TOPIC, durable=durable).close()
            line.say("ready")

    return main


def survivor(bus: str, durable: shmbus.Durable, settled: Settled, gaps: bool) -> Callable[[Line], None]:
    """Reads on for the victim: whatever the victim has not settled must come, nothing that it has seen settled may.

    Where there are `gaps` the victim has settled nothing: all that the ledger says was delivered came here.
    """

    def main(line: Line) -> None:
        with (
            shmbus.connect(bus, name="survivor") as connection,
            connection.subscribe(durable.dead_letter_topic, lossless=True) as dead,
            connection.subscribe(TOPIC, durable=durable) as subscription,
        ):
            line.say("ready")
            given: set[int] = set()
            total, acked = None, 0
            deadline = time.monotonic() + PATIENCE
            while total is None or (missing := _missing(given, settled, total)):
                assert total is None or time.monotonic() < deadline, f"never came: {sorted(missing)[:20]}"
                try:
                    found = subscription.receive(timeout=0.05)
                except ReceiveTimeout:
                    found = None
                if isinstance(found, shmbus.Gap):
                    assert gaps, f"lost: {found}"
                elif found is not None:
                    assert subscription.ack(found), f"somebody else has {found}"
                    acked += 1
                    if (number := steady_number(found.payload)) is not None:
                        assert number not in given, f"came twice: {number}"
                        given.add(number)
                    elif found.payload.startswith(b"end"):
                        total, deadline = int(found.payload.split()[1]), time.monotonic() + PATIENCE
                for letter in iter(dead.try_receive, None):
                    if (number := steady_number(letter.event.payload)) is not None:
                        given.add(number)
            again = given & settled.numbers(Settled.ACKED)
            assert not again, f"acked by the victim, and came again: {sorted(again)[:20]}"
            delivered = sum(row.delivered for row in subscription.ledger())
            assert not gaps or delivered == acked, f"{acked} were delivered, not {delivered}: {subscription.ledger()}"
            line.say(f"accounted {len(given)}")

    return main


def steady_number(payload: bytes) -> int | None:
    """Which of the steady publisher's messages it is."""
    kind, _, rest = payload.partition(b" ")
    return int(rest.partition(b" ")[0]) if kind == b"S" else None


def _missing(given: set[int], settled: Settled, total: int) -> set[int]:
    known = given | settled.numbers(Settled.ACKING, Settled.ACKED)
    return set(range(min(known, default=total), total)) - known


def joiner(bus: str, site: str, count: int) -> Callable[[Line], None]:
    """Passes the site while it connects and subscribes."""

    def main(line: Line) -> None:
        line.say("ready")
        line.hear()
        _core.arm_killpoint(site, count)  # type: ignore[attr-defined]
        with shmbus.connect(bus, name="victim") as connection, connection.subscribe("lab.#", lossless=True):
            pass

    return main


def asker(bus: str, action: str) -> Callable[[Line], None]:
    """Asks the coordinator for something, whether it lives to answer or not."""

    def main(line: Line) -> None:
        connection = shmbus.connect(bus, name="asker") if action != "connect" else None
        line.say("ready")
        line.hear()
        try:
            _ask(connection or shmbus.connect(bus, name="asker"), action)
        except ShmbusError as error:
            line.say(f"told: {error}")
        else:
            line.say("done")
        line.hear()  # it lives on, with whatever it was given by half

    return main


def _ask(bus: shmbus.Bus, action: str) -> None:
    if action == "make":
        bus.publisher("lab.new").publish(content("A", 0))
    elif action == "open":
        bus.publisher(TOPIC).close()
    elif action == "subscribe":
        bus.subscribe(TOPIC, lossless=True).close()
    elif action == "durable":
        bus.subscribe(TOPIC, durable="agent").close()
    elif action == "resize":
        bus.resize(TOPIC, slots=2 * SLOTS)
    elif action == "connect":
        bus.close()
    elif action == "spawn":
        with Client(bus) as client:
            client.call(IDLE, START)
    elif action == "reload":
        path = config_path(bus.name)
        path.write_text(path.read_text() + "nice = 1\n")
        bus.reload_config()
    elif action == "change":
        with Client(bus) as client:
            client.update_config(IDLE, ConfigUpdateRequest(config_changes={"nice": ConfigValue(int_value=2)}))
    elif action == "keep":
        with bus.publisher("kept.x", timeout=PATIENCE) as publisher:
            for number in range(200):
                publisher.publish(HeartbeatPayload(component_id="x" * 700), key=f"key {number % 4}")


def registrant(bus: str) -> Callable[[Line], None]:
    """Registers as a collector; and again, when it is told to, if it was told that the coordinator is gone."""

    def main(line: Line) -> None:
        with shmbus.connect(bus, name="registrant") as connection:
            line.say("ready")
            line.hear()
            wanted = RegistrationRequest(collector_id="registrant")
            try:
                Registration(connection, wanted)
            except ShmbusError:
                line.hear()
            _retried(lambda: Registration(connection, wanted))
            last = connection.last("control.collector.registration", "registrant")
            deadline = time.monotonic() + PATIENCE
            while last is None or last.event.registration.pid != os.getpid():
                assert time.monotonic() < deadline, f"it is not known to be registered: {last}"
                time.sleep(0.01)
                last = connection.last("control.collector.registration", "registrant")
            line.say("registered")

    return main


def _retried(what: Callable[[], object]) -> None:
    """A client looks for another coordinator ten times a second, and not in between."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            what()
            return
        except ShmbusError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


_TASKS = tuple(str(number) for number in range(40))


class _Worker(rpc.Collector):
    domains = (MonitoringDomain.PROCESS,)

    @rpc.operation(rpc.EXECUTE_TASK)
    def execute(self, request: rpc.Request) -> DetectionResult:
        return DetectionResult(task_id=request.payload.task_id, success=True)


def collector(bus: str, name: str, site: str | None, count: int) -> Callable[[Line], None]:
    """Does tasks until it passes the site."""

    def main(line: Line) -> None:
        with shmbus.connect(bus, name=name) as connection, _Worker(name).serving(connection):
            line.say("ready")
            line.hear()
            _core.arm_killpoint(site, count)  # type: ignore[attr-defined]
            line.hear()

    return main


def tasker(bus: str) -> Callable[[Line], None]:
    """Has tasks done, and looks whether the topic has each result once."""

    def main(line: Line) -> None:
        with (
            shmbus.connect(bus, name="agent") as connection,
            Agent(connection) as agent,
            connection.subscribe("events.process.batch", lossless=True) as results,
        ):
            line.say("ready")
            line.hear()
            tasks = [agent.submit_task(DetectionTask(task_id=name)) for name in _TASKS]
            for task in tasks:
                task.result(PATIENCE)
            found = [message.event.response.task_result.task_id for message in iter(results.try_receive, None)]
            assert sorted(found) == sorted(_TASKS), f"of 40 results came {sorted(found)}"
            line.say("each once")
            line.hear()

    return main


class _Counting(_Worker):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.done: list[str] = []

    @rpc.operation(rpc.EXECUTE_TASK)
    def execute(self, request: rpc.Request) -> DetectionResult:
        self.done.append(request.payload.task_id)
        return super().execute(request)


def counting_collector(bus: str) -> Callable[[Line], None]:
    """Does tasks, and says whether each came once."""

    def main(line: Line) -> None:
        worker = _Counting("worker")
        with shmbus.connect(bus, name="worker") as connection, worker.serving(connection):
            line.say("ready")
            line.hear()
            found, names = sorted(worker.done), sorted(_TASKS)
            line.say("each once" if found == names else f"of 40 tasks were done {found}")

    return main


def named_agent(bus: str, site: str | None, count: int) -> Callable[[Line], None]:
    """Has tasks done, until it passes the site; looks whether all have results that somebody has seen."""

    def main(line: Line) -> None:
        made: list[Agent] = []
        with (
            shmbus.connect(bus, name="agent") as connection,
            connection.subscribe("events.process.batch", lossless=True, start="earliest") as results,
        ):
            _retried(lambda: made.append(Agent(connection, name="detector")))  # the one before may not be buried yet
            with made[0] as agent:
                line.say("ready")
                line.hear()
                if site is not None:
                    _core.arm_killpoint(site, count)  # type: ignore[attr-defined]
                tasks = [agent.submit_task(DetectionTask(task_id=name)) for name in _TASKS]
                for task in tasks:
                    task.result(PATIENCE)
            found = [message.event.response.task_result.task_id for message in iter(results.try_receive, None)]
            assert {*found} == {*_TASKS}, f"of 40 tasks the results of {sorted({*found})} were published"
            line.say("all have results")

    return main
