"""One campaign: a bus, its participants, and what is done to them until the time is over."""

import heapq
import itertools
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import shmbus
from campaign import cast, verdict
from campaign.plan import Fault, faults
from campaign.stage import TESTS, Actor, Throne, stacks
from process import scarce
from process.collectors import collector, control
from shmbus import segment
from shmbus.errors import ShmbusError
from shmbus.tools.ledger import _facts
from shmbus.tools.snapshot import Probe

CALM_SECONDS = 10.0  # of faults, between two looks whether all is well
MOVES_SECONDS = 120.0  # within which everybody has to move again, and the bus to be healthy
ANSWER_SECONDS = 30.0  # the longest that anybody may wait for an answer of a coordinator that runs
FULL = "/dev/shm is full"
GROWTH_DESCRIPTORS, GROWTH_BYTES = 8, 32 << 20
PROGRAM = [sys.executable, "-m", "campaign.parts", "serve", "lab"]


class Failed(Exception):
    """A promise was broken."""


class Campaign:
    """Made, run, and judged."""

    def __init__(self, seed: str, place: Path, tell: Callable[[str], None], *, scarce_memory: bool) -> None:
        """`scarce_memory`: /dev/shm is our own, and may be filled."""
        self.seed, self._place, self._tell, self._scarce = seed, place, tell, scarce_memory
        self.bus = f"c{secrets.token_hex(4)}"
        self._as_root = os.geteuid() == 0
        place.chmod(0o755)
        self._run = place / "run"
        self._run.mkdir()
        os.environ.update(SHMBUS_RUNTIME_DIR=str(self._run), SHMBUS_BUS=self.bus, PYTHONSAFEPATH="1")
        os.environ["PYTHONPATH"] = str(TESTS)
        self.throne = Throne(self.bus, place)
        self._configure(0)
        self.readers = [Actor(role, place) for role in cast.readers(as_root=self._as_root)]
        self.publishers = [Actor(role, place) for role in cast.publishers(as_root=self._as_root)]
        self.actors = {actor.role.name: actor for actor in (*self.readers, *self.publishers)}
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._busy: set[str] = set()  # something is being done to them already
        self.done: dict[str, int] = {}
        self.problems: list[str] = []
        self._visitors: list[tuple[float, threading.Thread]] = []
        self._sizes: list[tuple[int, int, int]] = []

    # ---- its course --------------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> list[str]:
        """All of it; the problems."""
        try:
            self._begin()
            self._harm(seconds)
            self._end()
        except Exception as error:  # whatever it is, what led to it is shown
            told = str(error) if isinstance(error, Failed) else "".join(traceback.format_exception(error))
            self.problems.append(told)
            self._show_stacks()
        finally:
            self._clear()
        return self.problems

    def _begin(self) -> None:
        self.throne.start()
        if not self.throne.wait_ready():
            raise Failed(f"the coordinator did not start: {self.throne.said()}")
        for reader in self.readers:
            reader.start()
        for reader in self.readers:
            self._until(lambda reader=reader: reader.written() > 0, f"{reader.role.name} reads")
        self._tell("everybody reads")
        for publisher in self.publishers:
            publisher.start()
        self._calm()

    def _harm(self, seconds: float) -> None:
        without = frozenset() if self._scarce else frozenset({"starve-coordinator", "fill"})
        plan = faults(self.seed, list(self.actors), without)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pause = min(deadline, time.monotonic() + CALM_SECONDS)
            while time.monotonic() < pause:
                fault = next(plan)
                self._wait(fault.after)
                self._perform(fault)
            self._calm()

    def _end(self) -> None:
        self._busy.update(publisher.role.name for publisher in self.publishers)
        for publisher in self.publishers:
            if not publisher.end(MOVES_SECONDS):
                raise Failed(f"{publisher.role.name} did not end")
        try:
            self._until(lambda: not self._unsettled(), "everything is read and settled")
        except Failed as error:
            raise Failed(f"{error}: {self._unsettled()}") from None
        self._judge_ledger()
        for reader in self.readers:
            if not reader.end(MOVES_SECONDS):
                raise Failed(f"{reader.role.name} did not end")
        self._judge_sizes()
        self._judge_notes()
        self._down()

    def _down(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "shmbus.tools", "down", "--bus", self.bus],
            capture_output=True,
            text=True,
            timeout=90,
        )
        if done.returncode:
            raise Failed(f"shmbus down: {done.stdout}{done.stderr}")
        assert self.throne.process is not None
        self.throne.process.wait(30)
        left = [one.name for one in segment.list_segments(bus=self.bus)]
        left += [path.name for path in self._run.iterdir()]
        left += [f"process {pid}" for pid in self._strangers()]
        if left:
            raise Failed(f"left behind: {', '.join(left)}")

    # ---- what is done ------------------------------------------------------------------------------------------------

    def _perform(self, fault: Fault) -> None:
        if fault.whom in self._busy:
            return
        self.done[fault.what] = self.done.get(fault.what, 0) + 1
        self._tell(f"{fault.what} {fault.whom} {fault.seconds:.3f}")
        _DEEDS[fault.what](self, fault)

    def _after(self, seconds: float, whom: str, then: Callable[[], None]) -> None:
        self._busy.add(whom)

        def do() -> None:
            self._busy.discard(whom)
            then()

        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._count), do))

    def _kill(self, fault: Fault) -> None:
        actor = self.actors[fault.whom]
        actor.kill()
        self._after(fault.seconds, fault.whom, actor.start)

    def _stop(self, fault: Fault) -> None:
        actor = self.actors[fault.whom]
        actor.send(signal.SIGSTOP)
        self._after(fault.seconds, fault.whom, lambda: actor.send(signal.SIGCONT))

    def _restart(self, fault: Fault) -> None:
        self.actors[fault.whom].send(signal.SIGTERM)
        self._await_end(fault, time.monotonic() + MOVES_SECONDS)

    def _await_end(self, fault: Fault, deadline: float) -> None:
        """While the rest goes on: whom it waits for may be stopped until we let it go on."""
        actor = self.actors[fault.whom]
        if actor.process is None or actor.process.poll() is not None:
            return self._after(fault.seconds, fault.whom, actor.start)
        if time.monotonic() > deadline:
            raise Failed(f"{fault.whom} did not end")
        self._after(0.05, fault.whom, lambda: self._await_end(fault, deadline))

    def _kill_coordinator(self, fault: Fault) -> None:
        self.throne.kill()
        self._after(fault.seconds, "coordinator", self.throne.start)

    def _kill_coordinators(self, fault: Fault) -> None:
        self.throne.kill()
        self.throne.start()
        time.sleep(fault.seconds)
        self.throne.kill()
        self.throne.start()

    def _starve_coordinator(self, fault: Fault) -> None:
        self.throne.kill()
        with scarce.full():
            self.throne.start()
            time.sleep(fault.seconds)
        if not self.throne.wait_ready():
            if FULL not in self.throne.said():
                raise Failed(f"the coordinator ended: {self.throne.said()}")
            self.throne.start()

    def _stop_coordinator(self, fault: Fault) -> None:
        self.throne.send(signal.SIGSTOP)
        self._after(fault.seconds, "coordinator", lambda: self.throne.send(signal.SIGCONT))

    def _take_over(self, fault: Fault) -> None:
        before = self.throne.process
        self.throne.start("--take-over")
        assert before is not None
        try:
            before.wait(MOVES_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"the coordinator {before.pid} was not ended by the one that takes over") from None

    def _kill_collector(self, fault: Fault) -> None:
        if (pid := self._collector(fault)) is not None:
            _signal(pid, signal.SIGKILL)

    def _stop_collector(self, fault: Fault) -> None:
        if (pid := self._collector(fault)) is not None:
            _signal(pid, signal.SIGSTOP)
            self._after(fault.seconds, "collector", lambda: _signal(pid, signal.SIGCONT))

    def _ask_collector(self, fault: Fault) -> None:
        name = _chosen(fault.roll, cast.COLLECTORS)

        def ask(bus: Any) -> None:
            if fault.roll * 10 % 1 < 0.5:
                control(bus, name, "restart")
            else:
                control(bus, name, "pause")
                time.sleep(fault.seconds)
                control(bus, name, "resume")

        self._ask(ask)

    def _reload(self, fault: Fault) -> None:
        self._configure(int(fault.roll * 2))
        if self.throne.lives and "\nready\n" in f"\n{self.throne.said()}":  # before that SIGHUP would end it
            self.throne.send(signal.SIGHUP)

    def _fill(self, fault: Fault) -> None:
        with scarce.full():
            self._ask(lambda bus: bus.publisher("lab.late").close())
            self._wait(fault.seconds)

    def _resize(self, fault: Fault) -> None:
        topic = _chosen(fault.roll, cast.LAB_TOPICS)
        self._ask(lambda bus: bus.resize(topic, slots=2048 if fault.roll * 10 % 1 < 0.5 else 4096))

    def _visit(self, fault: Fault) -> None:
        start = _chosen(fault.roll, ("latest", "earliest", shmbus.Last(20)))

        def look(bus: Any) -> None:
            with bus.subscribe("lab.#", start=start, lossless=fault.roll < 0.5) as subscription:
                for _ in range(50):
                    subscription.try_receive()

        self._ask(look)

    def _ask(self, what: Callable[[Any], None]) -> None:
        """By a client that comes for it, while the rest goes on: what it asks may be stopped until we let it go on."""
        visitor = threading.Thread(target=self._visited, args=(what,))
        visitor.start()
        self._visitors.append((time.monotonic(), visitor))

    def _visited(self, what: Callable[[Any], None]) -> None:
        """Whatever comes of it: that there is no coordinator, or no room, is an answer."""
        try:
            with shmbus.connect(self.bus, name="visitor", timeout=ANSWER_SECONDS) as bus:
                what(bus)
        except ShmbusError as error:
            self._tell(f"  visitor: {type(error).__name__}: {error}")
        except Exception as error:
            self.problems.append(f"a visitor failed: {''.join(traceback.format_exception(error))}")

    def _visitors_left(self) -> None:
        """By now, or it hangs."""
        for began, visitor in self._visitors:
            visitor.join(max(0.0, began + 2 * ANSWER_SECONDS - time.monotonic()))
            if visitor.is_alive():
                raise Failed(f"a visitor was not answered for {time.monotonic() - began:.1f} s")
        self._visitors.clear()

    def _collector(self, fault: Fault) -> int | None:
        try:
            with Probe(self.bus) as probe:
                entries = {one.name: one for one in probe.read().collectors}
        except ShmbusError:
            return None
        entry = entries.get(_chosen(fault.roll, cast.COLLECTORS))
        return entry.process.pid if entry is not None and entry.process is not None else None

    def _configure(self, variant: int) -> None:
        command = [*PROGRAM, "0", str(self._place / "lab.diary")]
        text = cast.configuration(command, as_root=self._as_root, variant=variant)
        self.throne.config.write_text(text)

    # ---- whether all is well -----------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        """Let time pass, and do what is due."""
        deadline = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            while self._later and self._later[0][0] <= now:
                heapq.heappop(self._later)[2]()
            self._nobody_died()
            if now >= deadline:
                return
            due = self._later[0][0] if self._later else deadline
            time.sleep(max(0.0, min(due, deadline, now + 0.25) - time.monotonic()))

    def _nobody_died(self) -> None:
        """Of what was done to others."""
        for name, actor in self.actors.items():
            if name in self._busy or actor.process is None or actor.process.poll() is None:
                continue
            errors = (self._place / f"{name}.errors").read_text()[-3000:]
            raise Failed(f"{name} ended by itself ({actor.process.returncode}): {errors}")
        if "coordinator" not in self._busy and self.throne.process is not None and not self.throne.lives:
            if self._scarce and FULL in self.throne.said():  # it was to begin just then
                return self.throne.start()
            raise Failed(f"the coordinator ended by itself: {self.throne.said()[-3000:]}")

    def _calm(self) -> None:
        """Nothing more is done; everybody is there, moves, and is healthy."""
        while self._later:
            self._wait(max(0.0, self._later[0][0] - time.monotonic()))
        while not self.throne.wait_ready():
            self._nobody_died()
        self._visitors_left()
        before = {name: (actor.incarnation, actor.written()) for name, actor in self.actors.items()}
        for name, actor in self.actors.items():
            self._until(
                lambda name=name, actor=actor: (actor.incarnation, actor.written()) != before[name], f"{name} moves"
            )
        self._tell("everybody moves")
        self._until(self._healthy, "the bus is healthy")
        descriptors, resident = self.throne.size()
        self._sizes.append((descriptors, resident, len(segment.list_segments(bus=self.bus))))
        self._tell(f"calm: {descriptors} descriptors, {resident >> 20} MiB, {self._sizes[-1][2]} segments")

    def _healthy(self) -> bool:
        try:
            with shmbus.connect(self.bus, name="doctor", timeout=ANSWER_SECONDS) as bus:
                for name in cast.COLLECTORS:
                    if collector(bus, name).state == "paused":  # whoever paused it had no coordinator to resume it by
                        control(bus, name, "resume")
                running = all(collector(bus, name).state == "running" for name in cast.COLLECTORS)
                return running and bus.status().health == "healthy"
        except ShmbusError as error:
            self._tell(f"  {error}")
            return False

    def _until(self, what: Callable[[], bool], text: str) -> None:
        deadline = time.monotonic() + MOVES_SECONDS
        while not what():
            if time.monotonic() > deadline:
                raise Failed(f"not after {MOVES_SECONDS:g} s: {text}")
            self._wait(0.1)

    def _durables(self) -> dict[str, list[Actor]]:
        found: dict[str, list[Actor]] = {}
        for reader in self.readers:
            if reader.role.settles and reader.role.topics:
                found.setdefault(reader.role.settles, []).append(reader)
        return found

    def _rows(self) -> dict[str, list[dict[str, Any]]]:
        """Of every durable subscription, as `shmbus ledger --json` has them."""
        found: dict[str, list[dict[str, Any]]] = {}
        with Probe(self.bus) as probe:
            for account in probe.ledger(probe.read()):
                if account.durable:
                    found.setdefault(account.reader, []).extend(_facts(account, entry) for entry in account.entries)
        return found

    def _unsettled(self) -> list[dict[str, Any]]:
        return [row for rows in self._rows().values() for row in rows if row["in_flight"]]

    # ---- what came of it ---------------------------------------------------------------------------------------------

    def _notes(self) -> dict[str, list[list[Any]]]:
        return {name: actor.notes() for name, actor in self.actors.items()}

    def _judge_ledger(self) -> None:
        sent, rows = verdict.Sent.of(self._notes(), cast.NUMBERED), self._rows()
        killed = sum(publisher.killed for publisher in self.publishers)
        for name, members in self._durables().items():
            due = sent.to(members[0].role.topics)
            self.problems += verdict.judge_accounts(name, rows.get(name, []), due, killed)
            lost = sum(row["overrun"] + row["expired"] + row["corrupt"] for row in rows.get(name, []))
            notes = [lines for member in members for lines in member.notes()]
            self.problems += verdict.judge_durable(name, notes, due, lost)
            self._tell(f"{name}: {len(due)} due, {lost} told as lost")

    def _judge_notes(self) -> None:
        notes = self._notes()
        sent = verdict.Sent.of(notes, cast.NUMBERED)
        for reader in self.readers:
            for lines in notes[reader.role.name] if reader.role.alone else ():
                across = "order=producer" in reader.role.options
                self.problems += verdict.judge_stream(reader.role.name, lines, sent, across_topics=across)
        self.problems += verdict.judge_tasks(notes["agent"], notes["results"])
        for name, incarnations in notes.items():
            for lines in incarnations:
                self.problems += verdict.judge_waits(name, lines, ANSWER_SECONDS)
        counts = {what: _counted(notes, what) for what in ("sent", "got", "kept", "gap", "done", "failed", "health")}
        self._tell(f"{counts}, faults: {self.done}")

    def _judge_sizes(self) -> None:
        if len(self._sizes) < 2:
            return
        (descriptors, resident, segments), last = self._sizes[0], self._sizes[-1]
        if last[0] > descriptors + GROWTH_DESCRIPTORS + 2 * max(0, last[2] - segments):
            self.problems.append(f"the coordinator had {descriptors} descriptors, and has {last[0]}")
        if last[1] > resident + GROWTH_BYTES:
            self.problems.append(f"the coordinator had {resident >> 20} MiB, and has {last[1] >> 20} MiB")

    def _show_stacks(self) -> None:
        pids = {"coordinator": self.throne.process.pid} if self.throne.lives and self.throne.process else {}
        for name, actor in self.actors.items():
            if actor.process is not None and actor.process.poll() is None:
                pids[name] = actor.process.pid
        with open(self._place / "stacks", "a") as file:
            for name, pid in pids.items():
                print(name, pid, *stacks(pid), sep="\n  ", file=file)
        time.sleep(1.0)  # for whoever writes its own

    def _strangers(self) -> Iterator[int]:
        """Processes of this bus that nobody waits for."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                try:
                    environment = (entry / "environ").read_bytes()
                except OSError:
                    continue
                if f"SHMBUS_BUS={self.bus}".encode() in environment.split(b"\0"):
                    yield int(entry.name)

    def _clear(self) -> None:
        for actor in self.actors.values():
            actor.send(signal.SIGKILL)
            if actor.process is not None:
                actor.process.wait()
        self.throne.kill()
        for pid in self._strangers():
            _signal(pid, signal.SIGKILL)
        for one in segment.list_segments(bus=self.bus):
            segment.remove(one.name)


def _counted(notes: verdict.Notes, what: str) -> int:
    return sum(note.what == what for incarnations in notes.values() for lines in incarnations for note in lines)


def _chosen(roll: float, among: Iterable[Any]) -> Any:
    found = list(among)
    return found[int(roll * len(found))]


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


_DEEDS: dict[str, Callable[[Campaign, Fault], None]] = {
    "kill": Campaign._kill,
    "stop": Campaign._stop,
    "end": Campaign._restart,
    "kill-coordinator": Campaign._kill_coordinator,
    "kill-coordinators": Campaign._kill_coordinators,
    "starve-coordinator": Campaign._starve_coordinator,
    "stop-coordinator": Campaign._stop_coordinator,
    "take-over": Campaign._take_over,
    "kill-collector": Campaign._kill_collector,
    "stop-collector": Campaign._stop_collector,
    "ask-collector": Campaign._ask_collector,
    "reload": Campaign._reload,
    "fill": Campaign._fill,
    "resize": Campaign._resize,
    "visit": Campaign._visit,
}
