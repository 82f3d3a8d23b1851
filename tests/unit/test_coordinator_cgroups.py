"""Limits by cgroup v2, on a tree of files that stands for the kernel's: what is made, written, removed and refused."""

import os
import shutil

import pytest

from shmbus.coordinator.cgroups import (
    LEAF,
    Cgroups,
    CgroupUnavailable,
    Kernel,
    check,
    record_path,
    recorded,
    remove_left,
)
from shmbus.coordinator.settings import CollectorPlan
from shmbus.errors import ConfigurationError

FILES = {"memory": ("memory.max",), "cpu": ("cpu.max",), "pids": ("pids.max",)}
MEMORY = {"memory_max_bytes": 1 << 30}


class Tree(Kernel):
    """cgroups as plain directories: a new one has the files of the controllers that the one above it hands on."""

    def __init__(self, root, own="/", mounts=None):
        self.root, self.own, self._mounts, self.log = root, own, mounts, []

    def mounts(self):
        lines = self._mounts or [f"41 31 0:38 / {self.root} rw,relatime - cgroup2 cgroup2 rw"]
        return [line.split(" ") for line in lines]

    def own_path(self):
        return self.own

    def write(self, path, text):
        self.log.append((str(path.relative_to(self.root)), text))
        if path.name == "cgroup.subtree_control":
            words = set(path.read_text().split())
            for word in text.split():
                (words.add if word[0] == "+" else words.discard)(word[1:])
            text = " ".join(sorted(words))
        if path.name == "cgroup.procs":
            for other in self.root.rglob("cgroup.procs"):
                other.write_text(" ".join(pid for pid in other.read_text().split() if pid != text))
            text = f"{path.read_text()} {text}".strip()
        path.write_text(text)

    def make(self, path):
        if path.exists():
            return
        path.mkdir()
        for controller in (path.parent / "cgroup.subtree_control").read_text().split():
            for name in FILES[controller]:
                (path / name).write_text("max")
        self.furnish(path, (path.parent / "cgroup.subtree_control").read_text())

    def furnish(self, path, controllers, root=False):
        for name in ("cgroup.procs", "cgroup.subtree_control", "cgroup.kill"):
            (path / name).write_text("")
        (path / "cgroup.events").write_text("populated 0")
        (path / "cgroup.controllers").write_text(controllers)
        if not root:
            (path / "cgroup.type").write_text("domain")

    def remove(self, path):
        if not path.exists():
            raise FileNotFoundError(path)
        if (path / "cgroup.procs").read_text().strip():
            raise OSError(16, "Device or resource busy")
        shutil.rmtree(path)

    def processes(self, path):
        return (self.root / path / "cgroup.procs").read_text().split()


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """The coordinator is alone in /service, which was given all controllers."""
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("SHMBUS_RUNTIME_DIR", str(tmp_path / "run"))
    root = tmp_path / "cgroup"
    tree = Tree(root, "/service")
    for path, is_root in ((root, True), (root / "service", False)):
        path.mkdir()
        tree.furnish(path, "cpu memory pids", is_root)
    (root / "service/cgroup.procs").write_text(str(os.getpid()))
    return tree


def test_nothing_is_touched_until_a_limit_is_asked_for(tree):
    cgroups = Cgroups("lab", tree)
    check("lab", [CollectorPlan("a"), CollectorPlan("b")], tree)
    cgroups.take_over([])
    cgroups.end("a")
    cgroups.close()
    assert tree.log == [] and not record_path("lab").exists()


def test_a_collector_gets_its_limits_and_the_coordinator_makes_room(tree):
    path = Cgroups("lab", tree).place("a", {"memory_max_bytes": 1 << 30, "cpu_max_percent": 150, "pids_max": 9})
    assert path == tree.root / "service/collector.lab.a"
    assert [(path / name).read_text() for name in ("memory.max", "cpu.max", "pids.max")] == [
        "1073741824", "150000 100000", "9",
    ]  # fmt: skip
    assert tree.processes("service") == [] and tree.processes(f"service/{LEAF}") == [str(os.getpid())]
    assert recorded("lab") == tree.root / "service"


def test_only_what_is_needed_is_handed_on_and_more_when_more_is(tree):
    cgroups = Cgroups("lab", tree)
    cgroups.place("a", MEMORY)
    assert (tree.root / "service/cgroup.subtree_control").read_text() == "memory"
    cgroups.place("b", {"pids_max": 3})
    assert (tree.root / "service/cgroup.subtree_control").read_text() == "memory pids"


def test_other_limits_reach_it_live_and_one_that_is_taken_away_is_none(tree):
    cgroups = Cgroups("lab", tree)
    path = cgroups.place("a", MEMORY, [4711])
    assert cgroups.place("a", {"memory_max_bytes": 1 << 20}) == path
    assert (path / "memory.max").read_text() == "1048576" and tree.processes("service/collector.lab.a") == ["4711"]
    cgroups.place("a", {})
    assert (path / "memory.max").read_text() == "max"


def test_all_that_is_left_in_it_is_killed_with_it(tree):
    cgroups = Cgroups("lab", tree)
    path = cgroups.place("a", MEMORY, [4711])
    cgroups.end("a")
    assert ("service/collector.lab.a/cgroup.kill", "1") in tree.log
    assert path.exists()  # its processes are not gone yet
    (path / "cgroup.procs").write_text("")
    cgroups.close()
    assert not path.exists()


def test_nothing_is_left_at_the_end(tree):
    before = sorted(tree.root.rglob("*"))
    cgroups = Cgroups("lab", tree)
    cgroups.place("a", MEMORY)
    cgroups.end("a")
    cgroups.close()
    assert sorted(tree.root.rglob("*")) == before and tree.processes("service") == [str(os.getpid())]
    assert not record_path("lab").exists()


def test_the_next_coordinator_goes_on_with_what_runs_and_removes_what_does_not(tree):
    dead = Cgroups("lab", tree)
    running, gone = dead.place("running", MEMORY, [4711]), dead.place("gone", MEMORY)
    others = Cgroups("other", tree).place("gone", MEMORY)
    tree.own = "/elsewhere"
    cgroups = Cgroups("lab", tree)
    cgroups.take_over(["running"])
    assert running.exists() and not gone.exists() and others.exists()
    cgroups.place("running", {"memory_max_bytes": 1 << 21})
    assert (running / "memory.max").read_text() == "2097152"  # where its processes are
    (running / "cgroup.procs").write_text("")
    cgroups.end("running")
    assert not running.exists()


def test_doctor_removes_what_has_no_processes_and_names_the_rest(tree):
    cgroups = Cgroups("lab", tree)
    busy, empty = cgroups.place("busy", MEMORY, [4711]), cgroups.place("empty", MEMORY)
    assert remove_left("lab", tree) == [busy] and not empty.exists() and record_path("lab").exists()
    (busy / "cgroup.procs").write_text("")
    assert remove_left("lab", tree) == [] and not record_path("lab").exists()
    assert remove_left("lab", tree) == []


def test_a_coordinator_that_was_put_into_a_leaf_makes_them_beside_it(tree):
    tree.make(tree.root / "service" / LEAF)
    tree.write(tree.root / "service" / LEAF / "cgroup.procs", str(os.getpid()))
    tree.own = f"/service/{LEAF}"
    assert Cgroups("lab", tree).place("a", MEMORY) == tree.root / "service/collector.lab.a"


def test_in_the_root_of_all_nobody_has_to_make_room(tree):
    tree.own = "/"
    (tree.root / "cgroup.procs").write_text("1 2 3")
    assert Cgroups("lab", tree).place("a", MEMORY).parent == tree.root
    assert not (tree.root / LEAF).exists()


def test_a_cgroup_with_others_in_it_is_refused_and_left_as_it_was(tree):
    (tree.root / "service/cgroup.procs").write_text(f"{os.getpid()} 4711")
    with pytest.raises(CgroupUnavailable, match=r"other processes in it \(pid 4711\). .*Delegate=yes"):
        Cgroups("lab", tree).place("a", MEMORY)
    assert not (tree.root / "service" / LEAF).exists()


V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"


@pytest.mark.parametrize(
    ("mounts", "said"),
    [
        ([V1], "there is no cgroup v2 here. Boot with systemd.unified_cgroup_hierarchy=1"),
        ([V1, "41 31 0:38 / {root} rw - cgroup2 cgroup2 rw"], "is mounted as cgroup v1 \\(/sys/fs/cgroup/memory\\)"),
        (["41 31 0:38 / {root} rw - cgroup2 cgroup2 rw"], "has no controller memory. Run the bus in a cgroup that is"),
        (["41 31 0:38 / /nonexistent rw - cgroup2 cgroup2 rw"], "cannot be read: No such file"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_reason_and_the_remedy(tree, mounts, said):
    (tree.root / "service/cgroup.controllers").write_text("cpu pids")
    tree._mounts = [mount.format(root=tree.root) for mount in mounts]
    with pytest.raises(ConfigurationError, match=said) as caught:
        check("lab", [CollectorPlan("free"), CollectorPlan("a", cgroup=MEMORY)], tree)
    assert caught.value.key == "collectors.a.cgroup.memory_max_bytes" and "Or leave it away" in str(caught.value)
    assert tree.log == []


def test_an_embedded_bus_has_none_and_says_so(tree):
    cgroups = Cgroups(None, tree)
    cgroups.take_over([])
    check(None, [CollectorPlan("a")], tree)
    with pytest.raises(ConfigurationError, match="an embedded bus has no cgroups. Run it with `shmbus up`"):
        check(None, [CollectorPlan("a", cgroup=MEMORY)], tree)
    cgroups.close()
    assert tree.log == []


def test_a_namespace_that_shows_only_its_own_part_is_looked_up_there(tree):
    tree.own = "/outer/inner/service"
    tree._mounts = [f"41 31 0:38 /outer/inner {tree.root} rw - cgroup2 cgroup2 rw"]
    assert Cgroups("lab", tree).place("a", MEMORY).parent == tree.root / "service"
