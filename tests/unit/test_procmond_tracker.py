"""procmond's table of processes, fed with histories: what does the bus hear?

The world is a dictionary of what /proc would show; time is a number. No process is started.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from shmbus.workers.procmond.clock import SECOND, Clock
from shmbus.workers.procmond.event import Comm, Event, Exec, Exit, Fork, Ids, Kind, Session, ThreadExit, Trace
from shmbus.workers.procmond.proc import (
    TICKS_PER_SECOND,
    Arguments,
    Credentials,
    FileKey,
    Image,
    Snapshot,
    Stat,
    Traffic,
)
from shmbus.workers.procmond.process import Change, Subtype, Topic
from shmbus.workers.procmond.tracker import GRACE_NS, Tracker

MS = 1_000_000
BOOT = 1_700_000_000 * SECOND
ROOT = Credentials(0, 0, 0, 0, 0, False, 0, 0)


class World:
    """A machine that is made up: processes in a /proc, a clock, hashes on demand, and what the tracker said of it."""

    def __init__(self) -> None:
        self.now = 1000 * SECOND
        self.processes: dict[int, Snapshot] = {}
        self.known: dict[FileKey, str] = {}
        self.asked: list[FileKey] = []
        self.told: list[tuple[str, str, int, str]] = []
        self.changes: list[Change] = []
        clock = Clock(lambda: self.now, lambda: self.now, lambda: BOOT + self.now)
        self.tracker = Tracker(self, self, self._hear, clock)

    def _hear(self, change: Change) -> None:
        process = change.process
        self.changes.append(change)
        self.told.append((change.topic.name, change.subtype.name, process.pid, process.name))

    def heard(self) -> list[tuple[str, str, int, str]]:
        """What was said since the last call: topic, subtype, PID and name."""
        said, self.told = self.told, []
        return said

    # ---- what the tracker asks

    def stat(self, pid: int) -> Stat | None:
        snapshot = self.processes.get(pid)
        return snapshot.stat if snapshot is not None else None

    def snapshot(self, pid: int) -> Snapshot | None:
        return self.processes.get(pid)

    def traffic(self, pid: int) -> Traffic | None:
        return Traffic(1, 2)

    def lookup(self, key: FileKey) -> str | None:
        return self.known.get(key)

    def request(self, key: FileKey, pid: int) -> bool:
        self.asked.append(key)
        return True

    # ---- what happens

    def pass_time(self, nanoseconds: int) -> None:
        self.now += nanoseconds
        self.tracker.tick()

    def shows(self, pid: int, name: str, ppid: int = 1, start: int | None = None, **changes: Any) -> None:
        """/proc shows a process that runs the program `name`."""
        start = self.now if start is None else start
        stat = Stat(pid, name.encode(), "S", ppid, pid, 1, False, 0, 1, start * TICKS_PER_SECOND // SECOND, 4096)
        self.processes[pid] = Snapshot(
            stat=stat._replace(**{k: v for k, v in changes.items() if k in Stat._fields}),
            image=Image(f"/bin/{name}", key(name), exists=True),
            arguments=Arguments((name,)),
            credentials=ROOT,
            label=None,
            cgroup=None,
            accessible=True,
        )._replace(**{k: v for k, v in changes.items() if k in Snapshot._fields})

    def becomes_zombie(self, pid: int, threads: int = 1) -> None:
        snapshot = self.processes[pid]
        assert snapshot.stat is not None
        stat = snapshot.stat._replace(state="Z", threads=threads)
        self.processes[pid] = snapshot._replace(stat=stat, image=Image(), arguments=Arguments(), accessible=False)

    def listing(self) -> dict[int, Stat]:
        return {pid: each.stat for pid, each in self.processes.items() if each.stat is not None}

    def fork(self, parent: int, child: int) -> None:
        if parent in self.processes:
            snapshot = self.processes[parent]
            assert snapshot.stat is not None
            stat = snapshot.stat._replace(pid=child, ppid=parent, start_ticks=self.now * TICKS_PER_SECOND // SECOND)
            self.processes[child] = snapshot._replace(stat=stat)
        self.tracker.feed(Fork(self.now, parent, child))

    def execute(self, pid: int, name: str, **changes: Any) -> None:
        stat = self.stat(pid)
        known: dict[str, Any] = (
            {} if stat is None else {"ppid": stat.ppid, "start": -(-stat.start_ticks * SECOND // TICKS_PER_SECOND)}
        )
        self.shows(pid, name, **{**known, **changes})
        self.tracker.feed(Exec(self.now, pid))

    def exit(self, pid: int, status: int = 0, parent: int = 1) -> None:
        self.processes.pop(pid, None)
        self.tracker.feed(Exit(self.now, pid, status, parent))


def key(name: str) -> FileKey:
    return FileKey(1, sum(name.encode()), 0, 0, 0)


@pytest.fixture
def world() -> World:
    """A machine on which only a shell runs, PID 10, and the tracker knows it."""
    world = World()
    world.shows(10, "sh", start=0)
    world.tracker.reconcile(world.listing(), initial=True)
    world.pass_time(SECOND)
    world.heard()
    return world


def test_fork_and_exec_are_one_start_with_the_new_program(world: World) -> None:
    world.fork(10, 20)
    assert world.heard() == []
    world.execute(20, "ls")
    assert world.heard() == [("START", "CREATED", 20, "ls")]
    world.pass_time(GRACE_NS * 2)
    assert world.heard() == []
    world.exit(20, 256)
    assert world.heard() == [("STOP", "TERMINATED", 20, "ls")]
    assert world.changes[-1].status == 256
    assert 20 not in world.tracker


def test_fork_without_exec_is_a_start_with_the_parents_program(world: World) -> None:
    world.fork(10, 20)
    world.pass_time(GRACE_NS - 1)
    assert world.heard() == []
    world.pass_time(1)
    assert world.heard() == [("START", "CREATED", 20, "sh")]
    world.execute(20, "late")
    assert world.heard() == [("MODIFY", "UPDATED", 20, "late")]


def test_fork_and_exit_are_a_start_and_a_stop(world: World) -> None:
    world.fork(10, 20)
    world.exit(20)
    assert world.heard() == [("START", "CREATED", 20, "sh"), ("STOP", "TERMINATED", 20, "sh")]
    process = world.changes[-1].process
    assert not process.accessible and process.arguments.values == ("sh",) and process.ppid == 1


def test_a_process_that_is_gone_before_it_is_read_is_told_as_far_as_it_is_known(world: World) -> None:
    world.fork(10, 20)
    del world.processes[20]
    world.tracker.feed(Exec(world.now, 20))
    world.exit(20, 9, parent=10)
    assert world.heard() == [("START", "CREATED", 20, ""), ("STOP", "TERMINATED", 20, "")]
    process = world.changes[-1].process
    assert (process.accessible, process.ppid, process.start_unix_ns) == (False, 10, BOOT + world.now)
    assert process.image == Image() and process.arguments == Arguments()
    assert process.credentials == ROOT, "an exec does not change whose it is"


def test_a_zombie_still_tells_its_name(world: World) -> None:
    world.fork(10, 20)
    world.shows(20, "quick", ppid=10)
    world.becomes_zombie(20)
    world.tracker.feed(Exec(world.now, 20))
    assert world.heard() == [("START", "CREATED", 20, "quick")]


def test_a_process_that_is_reaped_while_it_is_read_keeps_its_parent_and_session(world: World) -> None:
    world.fork(10, 20)
    world.execute(20, "quick", state="X", threads=0, ppid=10)
    process = world.tracker.get(20)
    assert process is not None
    world.pass_time(MS)
    world.shows(20, "quick", ppid=0, start=world.now - MS, state="X", threads=0, process_group=-1, session=-1)
    world.tracker.feed(Exec(world.now, 20))
    assert (process.ppid, process.process_group, process.session) == (10, 20, 1)


def test_an_exec_of_a_known_process_is_a_change(world: World) -> None:
    world.execute(10, "bash")
    assert world.heard() == [("MODIFY", "UPDATED", 10, "bash")]


def test_an_exec_of_an_unknown_process_is_a_start(world: World) -> None:
    world.shows(77, "stray")
    world.tracker.feed(Exec(world.now, 77))
    assert world.heard() == [("START", "CREATED", 77, "stray")]


def test_an_exit_of_an_unknown_process_is_a_stop(world: World) -> None:
    world.exit(77, 9, parent=10)
    assert world.heard() == [("STOP", "TERMINATED", 77, "")]
    assert world.changes[-1].status == 9 and not world.changes[-1].process.accessible
    assert len(world.tracker) == 1


def test_a_parent_is_announced_before_its_child(world: World) -> None:
    world.fork(10, 20)
    world.fork(20, 30)
    world.fork(30, 40)
    world.execute(40, "deep")
    assert [each[2:] for each in world.heard()] == [(20, "sh"), (30, "sh"), (40, "deep")]
    assert world.changes[-1].depth == 3 and world.changes[-1].parent is world.tracker.get(30)


def test_children_are_known_and_move_to_who_adopts_them(world: World) -> None:
    world.fork(10, 20)
    world.fork(20, 30)
    parent = world.tracker.get(20)
    assert parent is not None and parent.children == {30}
    snapshot = world.processes[30]
    assert snapshot.stat is not None
    world.processes[30] = snapshot._replace(stat=snapshot.stat._replace(ppid=10))
    world.exit(20)
    child, adopter = world.tracker.get(30), world.tracker.get(10)
    assert child is not None and child.ppid == 10
    assert adopter is not None and adopter.children == {30}


# ---- threads


def test_the_first_thread_may_end_before_the_process(world: World) -> None:
    world.becomes_zombie(10, threads=3)
    world.tracker.feed(Exit(world.now, 10, 256, 1))
    world.becomes_zombie(10, threads=2)
    world.tracker.feed(ThreadExit(world.now, 10))
    assert world.heard() == []
    world.becomes_zombie(10, threads=1)
    world.tracker.feed(ThreadExit(world.now, 10))
    assert world.heard() == [("STOP", "TERMINATED", 10, "sh")]
    assert world.changes[-1].status == 256


def test_a_process_whose_first_thread_ended_goes_with_its_last_also_when_reaped(world: World) -> None:
    world.becomes_zombie(10, threads=2)
    world.tracker.feed(Exit(world.now, 10, 0, 1))
    del world.processes[10]
    world.tracker.feed(ThreadExit(world.now, 10))
    assert world.heard() == [("STOP", "TERMINATED", 10, "sh")]


def test_threads_that_end_say_nothing(world: World) -> None:
    world.tracker.feed(ThreadExit(world.now, 10))
    world.tracker.feed(ThreadExit(world.now, 99))
    assert world.heard() == []


def test_an_exec_by_another_thread_is_no_end(world: World) -> None:
    world.becomes_zombie(10, threads=2)
    world.tracker.feed(Exit(world.now, 10, 0, 1))
    world.shows(10, "new", start=0)
    world.tracker.feed(Exec(world.now, 10))
    world.tracker.feed(ThreadExit(world.now, 10))
    assert world.heard() == [("MODIFY", "UPDATED", 10, "new")]
    assert 10 in world.tracker


def test_an_exec_by_another_thread_that_was_faster_than_us_is_no_end(world: World) -> None:
    world.shows(10, "new", start=0)
    world.tracker.feed(Exit(world.now, 10, 0, 1))
    world.tracker.feed(Exec(world.now, 10))
    assert world.heard() == [("MODIFY", "UPDATED", 10, "new")]


# ---- the same number again


def test_a_number_that_is_used_again_is_another_process(world: World) -> None:
    world.fork(10, 20)
    world.execute(20, "first")
    world.exit(20)
    world.pass_time(SECOND)
    world.fork(10, 20)
    world.execute(20, "second")
    assert [each[::3] for each in world.heard()] == [("START", "first"), ("STOP", "first"), ("START", "second")]


def test_a_fork_of_a_known_number_means_that_an_end_was_missed(world: World) -> None:
    world.fork(10, 20)
    world.execute(20, "first")
    world.pass_time(10 * SECOND)
    world.fork(10, 20)
    world.execute(20, "second")
    assert [each[::3] for each in world.heard()] == [("START", "first"), ("STOP", "first"), ("START", "second")]
    assert world.changes[1].status is None


def test_a_late_exit_of_the_old_process_does_not_end_the_new_one(world: World) -> None:
    world.fork(10, 20)
    world.execute(20, "first")
    world.pass_time(10 * SECOND)
    world.fork(10, 20)
    world.execute(20, "second")
    world.heard()
    world.tracker.feed(Exit(world.now, 20, 0, 10))
    assert world.heard() == [] and 20 in world.tracker


def test_what_is_read_of_another_process_with_the_same_number_is_not_taken(world: World) -> None:
    world.fork(10, 20)
    world.pass_time(10 * SECOND)
    world.heard()
    world.shows(20, "stranger")
    world.tracker.feed(Exec(world.now, 20))
    assert world.heard() == [("MODIFY", "UPDATED", 20, "")]


# ---- scans


def test_what_is_there_at_the_start_is_metadata_and_no_start() -> None:
    world = World()
    world.shows(10, "sh", start=0)
    world.shows(11, "zombie", start=0)
    world.becomes_zombie(11)
    world.tracker.reconcile(world.listing(), initial=True)
    assert world.heard() == [("METADATA", "UPDATED", 10, "sh")]


def test_an_exec_or_exit_told_after_the_inventory_that_saw_it_already_is_taken_well() -> None:
    world = World()
    world.shows(10, "sh", start=0)
    world.shows(20, "ls", ppid=10)
    world.tracker.reconcile(world.listing(), initial=True)
    world.heard()
    world.tracker.feed(Fork(world.now + MS, 10, 20))
    assert world.heard() == [], "the fork had been told late"
    world.exit(20)
    assert world.heard() == [("STOP", "TERMINATED", 20, "ls")]


def test_lost_starts_and_stops_are_found_by_comparing(world: World) -> None:
    world.fork(10, 20)
    world.execute(20, "gone")
    world.heard()
    del world.processes[20]
    world.shows(30, "new", ppid=10)
    world.tracker.reconcile(world.listing())
    assert sorted(world.heard()) == [("START", "CREATED", 30, "new"), ("STOP", "TERMINATED", 20, "gone")]


def test_a_list_older_than_the_events_starts_nothing_that_has_ended_and_ends_nothing_that_has_started(
    world: World,
) -> None:
    world.fork(10, 20)
    world.execute(20, "short")
    old = world.listing()
    world.exit(20)
    world.fork(10, 30)
    world.execute(30, "young")
    world.heard()
    world.tracker.reconcile(old)
    assert world.heard() == []
    assert 30 in world.tracker and 20 not in world.tracker


def test_a_number_used_again_between_two_scans_is_a_stop_and_a_start(world: World) -> None:
    world.pass_time(10 * SECOND)
    world.shows(10, "other")
    world.tracker.reconcile(world.listing())
    assert [each[::3] for each in world.heard()] == [("STOP", "sh"), ("START", "other")]


def test_a_scan_sees_an_exec_by_the_name_and_a_stop_by_the_state(world: World) -> None:
    world.shows(10, "bash", start=0)
    world.tracker.reconcile(world.listing())
    assert world.heard() == [("MODIFY", "UPDATED", 10, "bash")]
    for state, expected in (("T", "SUSPENDED"), ("S", "RESUMED")):
        world.shows(10, "bash", start=0, state=state)
        world.tracker.reconcile(world.listing())
        assert world.heard() == [("MODIFY", expected, 10, "bash")]
        world.tracker.reconcile(world.listing())
        assert world.heard() == []


def test_a_scan_sees_a_zombie_as_ended(world: World) -> None:
    world.becomes_zombie(10)
    world.tracker.reconcile(world.listing())
    assert world.heard() == [("STOP", "TERMINATED", 10, "sh")]


# ---- changes


def test_new_ids_are_a_change_only_if_they_are_new(world: World) -> None:
    world.tracker.feed(Ids(world.now, 10, Kind.USER, 0, 0))
    assert world.heard() == []
    world.shows(10, "sh", start=0, credentials=ROOT._replace(user=1000, effective_user=1000, group=100))
    world.tracker.feed(Ids(world.now, 10, Kind.GROUP, 100, 0))
    world.tracker.feed(Ids(world.now, 10, Kind.USER, 1000, 1000))
    assert world.heard() == [("MODIFY", "UPDATED", 10, "sh")]


def test_ids_that_were_taken_for_a_moment_are_told(world: World) -> None:
    world.tracker.feed(Ids(world.now, 10, Kind.USER, 0, 1000))
    world.tracker.feed(Ids(world.now, 10, Kind.USER, 0, 0))
    assert len(world.heard()) == 2


def test_changes_before_the_start_are_part_of_it(world: World) -> None:
    world.fork(10, 20)
    world.tracker.feed(Session(world.now, 20))
    world.tracker.feed(Ids(world.now, 20, Kind.USER, 5, 5))
    world.tracker.feed(Comm(world.now, 20, b"child"))
    assert world.heard() == []
    world.execute(20, "daemon", credentials=ROOT._replace(user=5, effective_user=5))
    assert world.heard() == [("START", "CREATED", 20, "daemon")]


def test_a_new_session_and_a_tracer_are_changes(world: World) -> None:
    world.tracker.feed(Session(world.now, 10))
    world.tracker.feed(Session(world.now, 10))
    world.tracker.feed(Trace(world.now, 10, 99))
    world.tracker.feed(Trace(world.now, 10, 99))
    assert len(world.heard()) == 2
    process = world.tracker.get(10)
    assert process is not None and (process.session, process.process_group) == (10, 10)
    assert process.credentials is not None and process.credentials.tracer == 99


def test_a_process_that_renames_itself_all_the_time_is_told_now_and_then(world: World) -> None:
    for number in range(1000):
        world.tracker.feed(Comm(world.now, 10, b"%d" % number))
        world.pass_time(MS)
    world.pass_time(GRACE_NS)
    heard = world.heard()
    assert 15 <= len(heard) <= 25
    assert heard[-1] == ("MODIFY", "UPDATED", 10, "999")


def test_events_about_processes_that_nobody_knows_are_harmless(world: World) -> None:
    for event in (Session(0, 99), Comm(0, 99, b"x"), Trace(0, 99, 1), Ids(0, 99, Kind.USER, 0, 0), ThreadExit(0, 99)):
        world.tracker.feed(event)
    assert world.heard() == []


# ---- metadata


def test_metadata_tells_how_busy_a_process_was(world: World) -> None:
    world.tracker.refresh(10)
    world.pass_time(2 * SECOND)
    world.shows(10, "sh", start=0, cpu_ticks=TICKS_PER_SECOND)
    world.heard()
    world.tracker.refresh(10, ("collector.mode=test",))
    assert world.heard() == [("METADATA", "UPDATED", 10, "sh")]
    process = world.changes[-1].process
    assert process.share == pytest.approx(0.5) and process.traffic == Traffic(1, 2)
    assert world.changes[-1].notes == ("collector.mode=test",)


def test_metadata_finds_what_has_changed_without_an_event(world: World) -> None:
    world.shows(10, "sh", start=0, image=Image("/bin/sh", key("sh"), exists=False, replaced=True))
    world.tracker.refresh(10)
    assert [each[:2] for each in world.heard()] == [("MODIFY", "UPDATED"), ("METADATA", "UPDATED")]


def test_metadata_of_a_process_that_has_ended_is_not_told(world: World) -> None:
    world.becomes_zombie(10)
    world.tracker.refresh(10)
    world.shows(10, "other", start=500 * SECOND)
    world.tracker.refresh(10)
    del world.processes[10]
    world.tracker.refresh(10)
    assert world.heard() == []


# ---- hashes


def test_a_known_hash_is_in_the_start(world: World) -> None:
    world.known[key("ls")] = "abc"
    world.fork(10, 20)
    world.execute(20, "ls")
    assert world.changes[-1].process.digest == "abc"
    assert key("ls") not in world.asked


def test_an_unknown_hash_follows_in_a_change_for_each_process_that_waits(world: World) -> None:
    for pid in (20, 21):
        world.fork(10, pid)
        world.execute(pid, "ls")
    world.exit(21)
    world.heard()
    assert world.asked.count(key("ls")) == 1
    world.tracker.hashed(key("ls"), "abc")
    assert sorted(world.heard()) == [("MODIFY", "UPDATED", 20, "ls"), ("MODIFY", "UPDATED", 21, "ls")]
    world.tracker.hashed(key("ls"), "abc")
    assert world.heard() == []


def test_a_hash_of_a_program_that_runs_no_more_is_not_told(world: World) -> None:
    world.fork(10, 20)
    world.execute(20, "first")
    world.execute(20, "second")
    world.heard()
    world.tracker.hashed(key("first"), "abc")
    assert world.heard() == []
    process = world.tracker.get(20)
    assert process is not None and process.digest is None


def test_the_hash_of_what_was_there_at_the_start_is_metadata(world: World) -> None:
    world.tracker.hashed(key("sh"), "abc")
    assert world.heard() == [("METADATA", "UPDATED", 10, "sh")]


def test_a_hash_that_cannot_be_computed_is_not_told(world: World) -> None:
    world.tracker.hashed(key("sh"), None)
    assert world.heard() == []


# ---- everything, in any order


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_no_order_of_events_breaks_the_table(order: tuple[int, ...]) -> None:
    world = World()
    now = world.now
    events: list[Event] = [Fork(now, 10, 20), Exec(now, 20), Exit(now, 20, 0, 10), Ids(now, 20, Kind.USER, 1, 1)]
    for index in order:
        world.tracker.feed(events[index])
    world.tracker.reconcile({})
    world.pass_time(SECOND)
    starts = [each for each in world.told if each[0] == "START"]
    stops = [each for each in world.told if each[0] == "STOP"]
    assert len(world.tracker) == 0 and world.tracker.deadline() is None
    assert len(starts) <= len(stops)


def test_every_topic_and_subtype_has_the_name_of_the_schema() -> None:
    from shmbus.v1.eventbus_pb2 import ProcessEventSubtype

    assert {each.value for each in Subtype} == set(ProcessEventSubtype.keys())
    assert all(each.value.startswith("events.process.") for each in Topic)
