"""procmond's messages: what each field says."""

import signal

import pytest

from shmbus.v1.eventbus_pb2 import ProcessEventData, ProcessEventSubtype
from shmbus.workers.procmond import record
from shmbus.workers.procmond.proc import Arguments, Credentials, FileKey, Image, Traffic
from shmbus.workers.procmond.process import Change, Process, Subtype, Topic

NOW = 1_700_000_000_123_456_789


def process() -> Process:
    return Process(
        pid=20,
        ppid=10,
        start_unix_ns=1_699_999_999_900_000_000,
        name="ls",
        image=Image("/bin/ls", FileKey(1, 2, 3, 4, 5), exists=True, replaced=True),
        arguments=Arguments(("ls", "-l")),
        credentials=Credentials(1000, 0, 100, 101, 0x2000, True, 2, 77),
        session=7,
        process_group=8,
        label="unconfined",
        cgroup="/user.slice",
        accessible=True,
        digest="abc",
        share=1.5,
        memory=4096,
        traffic=Traffic(11, 12),
        children={22, 21},
    )


def test_every_field_that_is_known_is_in_the_message() -> None:
    parent = Process(pid=10, name="sh", ppid=1)
    change = Change(Topic.STOP, Subtype.TERMINATED, process(), parent, 3, 256, ("collector.mode=scan",))
    event = ProcessEventData.FromString(record.build(change, NOW).SerializeToString())
    told = event.process
    assert event.subtype == ProcessEventSubtype.PROCESS_TERMINATED
    assert (told.pid, told.ppid, told.name, told.executable_path) == (20, 10, "ls", "/bin/ls")
    assert list(told.command_line) == ["ls", "-l"]
    assert (told.start_time, told.collection_time) == (1_699_999_999, 1_700_000_000_123)
    assert 0 < told.cpu_usage <= 100 and told.memory_usage == 4096
    assert (told.executable_hash, told.hash_algorithm) == ("abc", "sha256")
    assert (told.user_id, told.accessible, told.file_exists, told.on_disk_mismatch) == ("1000", True, True, True)
    assert not told.HasField("ssdeep_hash") and not told.ssdeep_degraded
    tree = event.tree_context
    assert (tree.parent_process.pid, tree.parent_process.name, tree.tree_depth) == (10, "sh", 3)
    assert (list(tree.child_pids), tree.session_id, tree.process_group_id) == ([21, 22], "7", 8)
    security = event.security_context
    assert (security.user_id, security.group_id, security.privilege_level) == ("0", "101", "root")
    assert list(security.security_labels) == [
        "label=unconfined",
        "cgroup=/user.slice",
        "capabilities=0x2000",
        "no_new_privs=1",
        "seccomp=2",
        "tracer=77",
        "exit_status=1",
        "collector.mode=scan",
    ]
    performance = event.performance
    assert (performance.cpu_percent, performance.memory_bytes) == (150, 4096)
    assert (performance.io_read_bytes, performance.io_write_bytes) == (11, 12)


def test_what_is_not_known_is_not_in_the_message() -> None:
    event = record.build(Change(Topic.START, Subtype.CREATED, Process(pid=20)), NOW)
    told = event.process
    assert told.pid == 20 and told.name == "" and not told.accessible and not told.file_exists
    for field in ("ppid", "executable_path", "start_time", "cpu_usage", "memory_usage", "executable_hash", "user_id"):
        assert not told.HasField(field)
    assert not event.tree_context.HasField("parent_process")
    assert not event.security_context.HasField("privilege_level")


@pytest.mark.parametrize(
    ("status", "labels"),
    [
        (0, ["exit_status=0"]),
        (3 << 8, ["exit_status=3"]),
        (9, ["exit_signal=SIGKILL"]),
        (11 | 0x80, ["exit_signal=SIGSEGV", "core_dumped=1"]),
        (signal.SIGRTMIN + 5, ["exit_signal=SIGRTMIN+5"]),
    ],
)
def test_how_a_process_ended(status: int, labels: list[str]) -> None:
    event = record.build(Change(Topic.STOP, Subtype.TERMINATED, Process(pid=1), status=status), NOW)
    assert list(event.security_context.security_labels) == labels


@pytest.mark.parametrize(
    ("credentials", "level"),
    [
        (None, None),
        (Credentials(), None),
        (Credentials(0, 0, 0, 0, 0), "root"),
        (Credentials(1000, 0, 1000, 1000, 0), "root"),
        (Credentials(1000, 1000, 1000, 1000, 0), "user"),
        (Credentials(1000, 1000, 1000, 1000, 1), "elevated"),
        (Credentials(1000, 1000, 1000, 42, 0), "elevated"),
        (Credentials(1000, 33, 1000, 1000, 0), "elevated"),
    ],
)
def test_privilege(credentials: Credentials | None, level: str | None) -> None:
    assert record.privilege(Process(pid=1, credentials=credentials)) == level


def test_what_does_not_fit_is_marked() -> None:
    big = process()
    big.arguments = Arguments(("x",), truncated=True)
    big.children = set(range(record.CHILDREN + 1))
    event = record.build(Change(Topic.METADATA, Subtype.UPDATED, big), NOW)
    assert len(event.tree_context.child_pids) == record.CHILDREN
    assert {"truncated=command_line", "truncated=child_pids"} <= set(event.security_context.security_labels)
