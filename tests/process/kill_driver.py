"""Kills a real process at every named place while others publish and read, and prints what came of it.

    cd tests && python -m process.kill_driver [SITE ...]

For each row of kill_table.py: a coordinator, a steady publisher, a lossless and a durable reader of a named bus, as
processes, with a ring of 64 messages. Somebody is brought to the place and dies there of SIGKILL. Then the publisher
must get more than a ring through, the readers must get all of it unchanged and in order, and, of what the dead one
published, exactly what it had committed. Of a durable subscription's members, whoever survives must be given what the
dead one had not settled, and nothing that it had seen settled; a durable publisher's numbers must go on from the last
message that came. Where the coordinator died, another one must take over from it while the others go on.
"""

import ast
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from process import killcore
from process.kill_table import GROUPS, ROWS, Row

core = killcore.load()

import shmbus  # noqa: E402
from process import kill_roles as roles  # noqa: E402
from shmbus import segment  # noqa: E402
from shmbus.coordinator.strays import end_strays, pids_of  # noqa: E402
from shmbus.rpc import GET_CONFIG, START, Client  # noqa: E402


class Outcome(NamedTuple):
    """What a row came to: how long until the reader had more than a ring's worth of messages sent after the death."""

    row: Row
    milliseconds: float
    problem: str | None


class World:
    """A bus and who lives on it."""

    def __init__(self, row: Row, stack: ExitStack) -> None:
        self.row, self._stack = row, stack
        self.bus = f"k{os.getpid()}-{time.monotonic_ns() % 10**9}"
        stack.callback(self._remove_segments)  # of a row that failed
        stack.callback(end_strays, self.bus, roles.IDLE)
        armed = row.site if row.who == "coordinator" else None
        self.coordinator = self._start("coordinator", roles.coordinator(self.bus, armed, row.count))
        self.reader = self._start("reader", roles.reader(self.bus))
        self.steady = self._start("steady", roles.steady(self.bus))
        self.committed = roles.Counter()
        self.victim: roles.Role | None = None
        self.survivor: roles.Role | None = None
        self.afterwards: Callable[[], object] = lambda: None  # when another coordinator has taken over
        if row.how not in MEMBERS:
            self.survivor = self.member_that_survives(WITNESS, roles.Settled())

    def _start(self, name: str, main: object) -> roles.Role:
        role = roles.Role(name, main)  # type: ignore[arg-type]
        self._stack.callback(role.close)
        role.expect("ready")
        return role

    def _remove_segments(self) -> None:
        for one in segment.list_segments(bus=self.bus):
            segment.remove(one.name)

    def mark(self) -> int:
        """More than a ring from the steady publisher; when the reader had it all."""
        self.steady.line.say("mark")
        return int(self.reader.expect("mark").split()[1])

    def publisher(self, site: str, count: int = 1, size: int | None = None) -> roles.Role:
        self.victim = self._start("victim", roles.publisher(self.bus, site, count, self.committed, size))
        return self.victim

    def member_that_survives(self, durable: shmbus.Durable, settled: roles.Settled, gaps: bool = False) -> roles.Role:
        return self._start("survivor", roles.survivor(self.bus, durable, settled, gaps))

    def role(self, name: str, main: object) -> roles.Role:
        return self._start(name, main)

    def arm_coordinator(self) -> None:
        os.kill(self.coordinator.pid, 10)
        self.coordinator.expect("armed")

    def end(self) -> int:
        """How many messages of the victim the reader got, after all others came whole and in order."""
        self.steady.line.say("end")
        seen = int(self.reader.expect("seen").split()[1])
        self.reader.leave()
        self.steady.leave()
        if self.survivor is not None:
            self.survivor.expect("accounted")
            self.survivor.leave()
        return seen


# ---- what brings a process to a place: each returns when it has died there -------------------------------------------


def publish(world: World) -> int:
    victim = world.publisher(world.row.site, world.row.count)
    unseen = bool(world.row.committed)  # the ring goes round before the coordinator looks after the dead one
    if unseen:
        assert world.coordinator.stop(), "the coordinator died too early"
    victim.line.say("go")
    died = victim.death()
    if unseen:
        world.mark()
        os.kill(world.coordinator.pid, 18)
    return died


def read(world: World) -> int:
    victim = world.role("victim", roles.subscriber(world.bus, world.row.site, world.row.count))
    victim.line.say("go")
    return victim.death()


def join(world: World) -> int:
    victim = world.role("victim", roles.joiner(world.bus, world.row.site, world.row.count))
    victim.line.say("go")
    return victim.death()


def asked(world: World) -> int:
    asker = world.role("asker", roles.asker(world.bus, world.row.how))
    world.arm_coordinator()
    asker.line.say("go")
    return world.coordinator.death()


def die(world: World) -> int:
    victim = world.publisher("write.half")
    world.arm_coordinator()
    victim.line.say("go")
    victim.death()
    return world.coordinator.death()


WITNESS = shmbus.Durable("witness")  # reads along durably, whoever dies
MEMBERS = {
    "settle": shmbus.Durable("agent"),
    "judge": shmbus.Durable("agent", exactly_once=True),
    "nack": shmbus.Durable("agent"),
    "bury": shmbus.Durable("agent", max_deliveries=1),
    "move": shmbus.Durable("agent"),
    "overrun": shmbus.Durable("agent"),
    "abandon": shmbus.Durable("agent"),
}


def settle(world: World) -> int:
    """A member that dies, and another that must be given what it held."""
    row, durable, settled = world.row, MEMBERS[world.row.how], roles.Settled()
    late = row.how == "overrun"
    if late:  # nobody reads while the ring goes round
        world.role("founder", roles.founder(world.bus, durable)).leave()
        world.mark()
    else:
        world.survivor = world.member_that_survives(durable, settled)
    victim = world.role(
        "victim", roles.member(world.bus, durable, settled, row.site, row.count, row.how in ("nack", "bury"))
    )
    victim.line.say("go")
    if row.how == "move":
        asker = world.role("asker", roles.asker(world.bus, "resize"))
        asker.line.say("go")
    died = victim.death()
    if late:
        world.survivor = world.member_that_survives(durable, settled, gaps=True)
    return died


def abandon(world: World) -> int:
    """A member that holds messages until the group has been demoted and they are lost."""
    row, durable = world.row, MEMBERS[world.row.how]
    victim = world.role("victim", roles.holder(world.bus, durable, row.site, row.count))
    world.mark()
    victim.line.say("go")
    died = victim.death()
    world.survivor = world.member_that_survives(durable, roles.Settled(), gaps=True)
    return died


def demote(world: World) -> int:
    stalled = world.role("stalled", roles.stalled(world.bus, "agent" if world.row.how == "demote_durable" else None))
    world.arm_coordinator()
    world.steady.line.say("mark")
    died = world.coordinator.death()
    stalled.kill()  # it lives, so with the coordinator dead it could hold the topic on
    world.reader.expect("mark")
    return died


def shut_out(world: World) -> int:
    cheat = world.role("cheat", roles.cheat(world.bus))
    world.arm_coordinator()
    cheat.line.say("go")
    died = world.coordinator.death()
    cheat.kill()
    return died


def prune(world: World) -> int:
    asker = world.role("asker", roles.asker(world.bus, "resize"))
    asker.line.say("go")
    asker.expect("done")
    for _ in range(3):  # until the new ring has gone round
        world.mark()
    world.arm_coordinator()
    return world.coordinator.death()


def stopped_in_a_claim(world: World, site: str) -> roles.Role:
    """A publisher that is stopped between claim and commit. Large messages, so that most moments are such ones."""
    name = segment.ring_name(world.bus, 1, 0, 0)
    descriptor = segment.attach(name, writable=True)
    ring = core.Ring.attach(descriptor, writable=True, boot_id=segment.boot_id())
    os.close(descriptor)
    victim = world.publisher(site, size=roles.LARGE)
    victim.line.say("go")
    deadline = time.monotonic() + roles.PATIENCE
    while time.monotonic() < deadline:
        assert victim.stop(), "the victim died too early"
        owners = {ring.producer(producer) for _, producer, _ in ring.claims()}
        if any(owner and owner[1] == victim.pid for owner in owners):
            return victim
        os.kill(victim.pid, 18)
        time.sleep(0.0007)  # let it run to some other moment
    raise AssertionError("the publisher was never stopped inside a claim")


def revoke(world: World) -> int:
    victim = stopped_in_a_claim(world, world.row.site)
    world.mark()  # the reader gets there only when the claim has been skipped
    os.kill(victim.pid, 18)
    return victim.death()


def overdue(world: World) -> int:
    world.arm_coordinator()
    victim = stopped_in_a_claim(world, "nowhere")
    died = world.coordinator.death()
    os.kill(victim.pid, 18)
    victim.kill() if world.row.site == "skip.done" else time.sleep(0.05)
    victim.kill()
    return died


def adopt(world: World) -> int:
    """The coordinator that takes over is killed in the middle of that."""
    world.coordinator.kill()
    row = world.row
    world.coordinator = world.role("first successor", roles.coordinator(world.bus, row.site, row.count, at_once=True))
    return world.coordinator.death()


def replace(world: World) -> int:
    """The coordinator that kills the one before it, to take over from it, is killed itself."""
    row, before = world.row, world.coordinator
    main = roles.coordinator(world.bus, row.site, row.count, at_once=True, take_over=True)
    world.coordinator = world.role("first successor", main)
    before.death()
    return world.coordinator.death()


def register(world: World) -> int:
    """The coordinator dies while a collector registers: it does so with the next one."""
    collector = world.role("registrant", roles.registrant(world.bus))
    world.arm_coordinator()
    collector.line.say("go")
    died = world.coordinator.death()

    def again() -> None:
        collector.line.say("again")
        collector.expect("registered")

    world.afterwards = again
    return died


def reply(world: World) -> int:
    """A collector dies while it answers: each of an agent's tasks has one result all the same."""
    victim = world.role("victim", roles.collector(world.bus, "victim", world.row.site, world.row.count))
    world.role("other", roles.collector(world.bus, "other", None, 0))
    agent = world.role("agent", roles.tasker(world.bus))
    victim.line.say("go")
    agent.line.say("go")
    died = victim.death()
    agent.expect("each once")
    return died


def inherit(world: World) -> int:
    """An agent dies, and the next of its name submits what it submits, too: each task is done once all the same."""
    worker = world.role("worker", roles.counting_collector(world.bus))
    victim = world.role("victim", roles.named_agent(world.bus, world.row.site, world.row.count))
    victim.line.say("go")
    died = victim.death()
    successor = world.role("successor", roles.named_agent(world.bus, None, 0))
    successor.line.say("go")
    successor.expect("all have results")
    worker.line.say("which")
    worker.expect("each once")
    return died


HOW = {
    "register": register, "reply": reply, "inherit": inherit,
    "adopt": adopt, "replace": replace,
    "publish": publish, "read": read, "join": join, "die": die, "demote": demote, "demote_durable": demote,
    "shut_out": shut_out,
    "prune": prune, "revoke": revoke, "overdue": overdue, "make": asked, "open": asked, "connect": asked,
    "subscribe": asked, "durable": asked, "resize": asked, **dict.fromkeys(MEMBERS, settle),
    "abandon": abandon,
    "keep": asked, "spawn": asked, "reload": asked, "change": asked,
}  # fmt: skip


# ---- one row after the other -----------------------------------------------------------------------------------------


def run(row: Row) -> Outcome:
    """Play one row."""
    try:
        with ExitStack() as stack:
            return Outcome(row, play(row, stack), None)
    except (AssertionError, TimeoutError, shmbus.ShmbusError) as error:
        return Outcome(row, 0.0, f"{type(error).__name__}: {error}")


def play(row: Row, stack: ExitStack) -> float:
    world = World(row, stack)
    world.mark()
    died = HOW[row.how](world)
    took = (world.mark() - died) / 1e6
    if world.coordinator.ended:
        take_over(world)
        world.afterwards()
    seen = world.end()
    if world.victim is not None:
        check_committed(row, seen, world.committed.get())
        check_number(world, seen)
    stop(world)
    return took


def check_committed(row: Row, seen: int, committed: int) -> None:
    """The reader has what the dead publisher had been told is published, and at most the one that it was at."""
    if row.committed is not None:
        assert seen == committed + row.committed, f"{seen} messages of the victim came, {committed} were acknowledged"
    assert committed <= seen <= committed + 1, f"{seen} messages of the victim came, {committed} were acknowledged"


def check_number(world: World, seen: int) -> None:
    """The next durable publisher of the dead one's name goes on from its last message, whatever it was killed at."""
    with (
        shmbus.connect(world.bus, name="victim") as bus,
        bus.publisher(roles.TOPIC, durable=True) as publisher,
    ):
        number = publisher.last_number
        assert number == seen * roles.stride_of(world.row.site), (
            f"{seen} messages of the victim came, the last is {number}"
        )


def started(world: World, client: Client, bus: shmbus.Bus) -> None:
    """One process of the collector runs, whoever of the two coordinators started it; of one that is lost, none."""
    if world.row.site == "spawn.launched":
        wait_for(lambda: not pids_of(world.bus, roles.IDLE), "a process that nobody knows of is left")
        client.call(roles.IDLE, START)

    def runs_once() -> bool:
        status = next(one for one in bus.status().collectors if one.name == roles.IDLE)
        return status.state == "starting" and pids_of(world.bus, roles.IDLE) == {status.pid}

    wait_for(runs_once, f"not one process of it that is known: {pids_of(world.bus, roles.IDLE)}, {bus.status()}")


def wait_for(what: Callable[[], bool], problem: str) -> None:
    """For what other processes do, of which there is no event here."""
    deadline = time.monotonic() + roles.PATIENCE
    while not what():
        assert time.monotonic() < deadline, problem
        time.sleep(0.01)


def configured(world: World, client: Client, bus: shmbus.Bus) -> None:
    """What counts is what the table says."""
    found = client.call(roles.IDLE, GET_CONFIG).payload.config["nice"].int_value
    expected = {"config.applied": 0, "config.kept": 2}.get(world.row.site, 1)
    assert found == expected, f"nice is {found}, not {expected}"


AFTER = {"spawn": started, "reload": configured, "change": configured}


def take_over(world: World) -> None:
    """A new coordinator takes over, and the others go on with it: a topic that is new reaches the lossless reader."""
    world.coordinator = world.role("successor", roles.coordinator(world.bus, None, 0))
    with shmbus.connect(world.bus) as bus, bus.subscribe("lab.fresh") as subscription:
        with bus.publisher("lab.fresh") as publisher:
            publisher.publish(b"fresh")
        assert subscription.receive(timeout=roles.PATIENCE).payload == b"fresh"
        if world.row.how in AFTER:
            with Client(bus) as client:
                AFTER[world.row.how](world, client, bus)
    world.mark()


def stop(world: World) -> None:
    """The bus ends in order. Nothing is left."""
    os.kill(world.coordinator.pid, 15)
    world.coordinator.leave()
    left = [one.name for one in segment.list_segments(bus=world.bus)]
    assert not left, f"left behind: {left}"


def sites() -> set[str]:
    """Every place that the code names."""
    return {*core.KILLPOINTS, *_python_sites()}


def _python_sites() -> Iterator[str]:
    package = Path(shmbus.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _called(node) == "killpoint":
                yield _text(node.args[0], ".".join(("shmbus", *path.relative_to(package).with_suffix("").parts)))


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _text(argument: ast.expr, module: str) -> str:
    if isinstance(argument, ast.Constant):
        return str(argument.value)
    assert isinstance(argument, ast.Name), f"{module}: a kill point is named by a string or a constant of its module"
    return str(getattr(importlib.import_module(module), argument.id))


def report(outcomes: list[Outcome]) -> str:
    """The table."""
    lines = [("site", "who died", "what is lost", "who repairs it", "ms")]
    lines += [
        (o.row.site, o.row.who, o.row.lost, o.row.repaired, o.problem or f"{o.milliseconds:.1f}") for o in outcomes
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return "\n".join(" | ".join((*map(str.ljust, line, widths), line[4])) for line in lines)


def main(wanted: list[str]) -> int:
    """0: every row came out as the table says, and every place in the code has one."""
    rows = [row for row in ROWS if not wanted or row.site in wanted or row.who in wanted]
    unknown = {*wanted} - {row.site for row in ROWS} - {*GROUPS}
    unlisted, unreal = sites() - {row.site for row in ROWS}, {row.site for row in ROWS} - sites()
    with tempfile.TemporaryDirectory() as directory:
        os.environ.setdefault("SHMBUS_RUNTIME_DIR", directory)
        outcomes = [run(row) for row in rows]
    print(report(outcomes))
    for what, names in (("not in the table", unlisted), ("not in the code", unreal), ("no such place", unknown)):
        if names:
            print(f"{what}: {', '.join(sorted(names))}")
    return 1 if unlisted or unreal or unknown or any(outcome.problem for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
