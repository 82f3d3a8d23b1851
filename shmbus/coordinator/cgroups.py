"""Limits that hold for all processes of a collector together: cgroup v2.

    <ours>/                        the cgroup that the coordinator was started in; it has to be ours alone
        coordinator/               itself: a cgroup that hands controllers on may have no process of its own
        collector.<bus>.<name>/    memory.max, cpu.max, pids.max

Nothing is touched until a collector asks for a limit. A collector joins its cgroup before anything of its own runs, and
all that is left in there when it has ended is killed with it. Where all this is made stands in <bus>.cgroup beside the
socket: the next coordinator, or `shmbus doctor`, removes what a killed one has left.
"""

import os
import select
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from shmbus import segment
from shmbus.coordinator.configuration import At, nowhere
from shmbus.coordinator.settings import CollectorPlan
from shmbus.errors import ConfigurationError, ShmbusError

LEAF: Final = "coordinator"
PERIOD_US: Final = 100_000
LAST_SECONDS: Final = 1.0  # for what was killed to be gone, at the end


class Limit(NamedTuple):
    """A key of [collectors.<name>.cgroup]: the controller that it takes, and its file."""

    controller: str
    file: str

    def text(self, value: int) -> str:
        """What is written there."""
        return f"{value * PERIOD_US // 100} {PERIOD_US}" if self.file == "cpu.max" else str(value)


LIMITS: Final[Mapping[str, Limit]] = {
    "memory_max_bytes": Limit("memory", "memory.max"),
    "cpu_max_percent": Limit("cpu", "cpu.max"),
    "pids_max": Limit("pids", "pids.max"),
}


class CgroupUnavailable(ShmbusError):
    """A limit cannot be set here: `reason` says why, `remedy` what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason, self.remedy = reason, remedy
        super().__init__(f"{reason}. {remedy}")


class Kernel:
    """The files that the kernel shows. Tests put a tree of plain files in its place."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    def mounts(self) -> list[list[str]]:
        """The fields of /proc/self/mountinfo, by line."""
        return [line.split(" ") for line in (self._proc / "self/mountinfo").read_text().splitlines()]

    def own_path(self) -> str:
        """This process's, in the hierarchy of cgroup v2; "": there is none."""
        lines = (self._proc / "self/cgroup").read_text().splitlines()
        return next((line[3:] for line in lines if line.startswith("0::")), "")

    def read(self, path: Path) -> list[str]:
        """The words of a file."""
        return path.read_text().split()

    def write(self, path: Path, text: str) -> None:
        """In one call: each is a command."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def make(self, path: Path) -> None:
        """A cgroup, if it is not there."""
        path.mkdir(exist_ok=True)

    def remove(self, path: Path) -> None:
        """It; its files go with it. Raises OSError while there is a process in it."""
        path.rmdir()


class Cgroups:
    """Those of one bus; None: of an embedded one, which has none, for it has no name by which they could be found."""

    def __init__(self, bus: str | None, kernel: Kernel | None = None) -> None:
        self._bus, self._kernel = bus, kernel or Kernel()
        self._base: Path | None = None  # where collectors' are made, once it is prepared
        self._paths: dict[str, Path] = {}  # by collector; also of those that a killed coordinator made elsewhere
        self._moved = False

    def check(self, limits: Mapping[str, int]) -> None:
        """Can these be had? Changes nothing. Raises CgroupUnavailable."""
        if limits:
            self._check_available(_controllers(limits))

    def take_over(self, alive: Collection[str]) -> None:
        """What a killed coordinator left: cgroups of collectors that are not `alive` any more are removed."""
        if self._bus is None or (base := recorded(self._bus)) is None:
            return
        for path in _of(base, self._bus):
            name = path.name.removeprefix(_prefix(self._bus))
            self._paths[name] = path
            if name not in alive:
                self.end(name)

    def place(self, name: str, limits: Mapping[str, int], pids: Iterable[int] = ()) -> Path:
        """A collector's cgroup with these limits and no others, and these processes in it.

        Raises CgroupUnavailable, OSError.
        """
        path = self._paths.get(name)
        if path is None or not all((path / LIMITS[key].file).exists() for key in limits):
            bus, base = self._named(), self._prepared(_controllers(limits))
            path = self._paths[name] = path or base / f"{_prefix(bus)}{name}"
            self._kernel.make(path)
        for key, limit in LIMITS.items():
            file = path / limit.file
            if key in limits:
                self._kernel.write(file, limit.text(limits[key]))
            elif file.exists():
                self._kernel.write(file, "max")
        for pid in pids:
            with suppress(ProcessLookupError):
                self._kernel.write(path / "cgroup.procs", str(pid))
        return path

    def end(self, name: str) -> None:
        """The collector has ended: what is left in there is killed. What cannot be removed yet is, at `close`."""
        path = self._paths.get(name)
        if path is None:
            return
        with suppress(OSError):
            self._kernel.write(path / "cgroup.kill", "1")
        if self._removed(path):
            del self._paths[name]

    def close(self) -> None:
        """Leave nothing but what collectors that go on are in."""
        for name, path in list(self._paths.items()):
            if self._removed(path) or (_is_emptied(path) and self._removed(path)):
                del self._paths[name]
        if self._bus is not None and not self._paths:
            self._move_back()
            record_path(self._bus).unlink(missing_ok=True)

    # ---- where -------------------------------------------------------------------------------------------------------

    def _named(self) -> str:
        if self._bus is None:
            raise CgroupUnavailable("an embedded bus has no cgroups", "Run it with `shmbus up`.")
        return self._bus

    def _check_available(self, controllers: Collection[str]) -> Path:
        self._named()
        mounts = self._kernel.mounts()
        base = _own(mounts, self._kernel.own_path())
        if base is None:
            raise CgroupUnavailable("there is no cgroup v2 here", _REMEDY_V1)
        try:
            missing = sorted(set(controllers) - set(self._kernel.read(_base_of(base) / "cgroup.controllers")))
        except OSError as error:
            raise CgroupUnavailable(f"{base} cannot be read: {error.strerror}", _REMEDY_DELEGATE) from None
        if missing:
            older = [mount[4] for mount in mounts if _is_v1(mount, missing)]
            if older:
                reason = f"the controller {missing[0]} is mounted as cgroup v1 ({older[0]})"
                raise CgroupUnavailable(reason, _REMEDY_V1)
            reason = f"cgroup {_base_of(base)} has no controller {' and no '.join(missing)}"
            raise CgroupUnavailable(reason, _REMEDY_DELEGATE)
        if not os.access(_base_of(base), os.W_OK):
            raise CgroupUnavailable(f"uid {os.geteuid()} may not write to {_base_of(base)}", _REMEDY_DELEGATE)
        return base

    def _prepared(self, controllers: Collection[str]) -> Path:
        """Where cgroups with these controllers can be made."""
        own = self._check_available(controllers)
        base = self._base = self._base or _base_of(own)
        handed_on = self._kernel.read(base / "cgroup.subtree_control")
        _record(self._named(), base)
        if set(controllers) - set(handed_on):
            if (base / "cgroup.type").exists():  # the root of all may hand on with processes in it
                self._vacate(base)
            self._kernel.write(base / "cgroup.subtree_control", " ".join(f"+{one}" for one in sorted(controllers)))
        return base

    def _vacate(self, base: Path) -> None:
        """Move out of it, for it is to hand controllers on."""
        others = set(self._kernel.read(base / "cgroup.procs")) - {str(os.getpid())}
        if others:
            found = ", ".join(sorted(others, key=int)[:5])
            raise CgroupUnavailable(f"cgroup {base} has other processes in it (pid {found})", _REMEDY_DELEGATE)
        self._kernel.make(base / LEAF)
        self._kernel.write(base / LEAF / "cgroup.procs", str(os.getpid()))
        self._moved = True

    def _move_back(self) -> None:
        if self._base is None or not self._moved:
            return
        with suppress(OSError):  # somebody else's processes keep it there: it is the service manager's to remove
            handed_on = self._kernel.read(self._base / "cgroup.subtree_control")
            self._kernel.write(self._base / "cgroup.subtree_control", " ".join(f"-{one}" for one in handed_on))
            self._kernel.write(self._base / "cgroup.procs", str(os.getpid()))
            self._kernel.remove(self._base / LEAF)
            self._moved = False

    def _removed(self, path: Path) -> bool:
        try:
            self._kernel.remove(path)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


_REMEDY_V1 = "Boot with systemd.unified_cgroup_hierarchy=1 (or cgroup_no_v1=all)."
_REMEDY_DELEGATE = (
    "Run the bus in a cgroup that is its own: as a service with Delegate=yes, as `shmbus systemd-unit` has it, or by "
    "`systemd-run --scope -p Delegate=yes shmbus up`."
)


def check(bus: str | None, plans: Iterable[CollectorPlan], kernel: Kernel | None = None, at: At = nowhere) -> None:
    """Can collectors be confined here as they are to be? `at`: where a key stands. Changes nothing.

    Raises ConfigurationError, for each of them that cannot.
    """
    cgroups, found = Cgroups(bus, kernel), []
    for plan in plans:
        try:
            cgroups.check(plan.cgroup)
        except CgroupUnavailable as error:
            key, value = next(iter(plan.cgroup.items()))
            allowed = f"cannot be had: {error} Or leave it away"
            name = f"collectors.{plan.name}.cgroup.{key}"
            file, line = at(name)
            found.append(ConfigurationError(file, name, value, allowed, line=line))
    if found:
        raise ConfigurationError.joined(found)


def record_path(bus: str) -> Path:
    """Where it stands where a bus has its cgroups. Raises ConfigurationError for a name of no bus."""
    return segment.runtime_directory() / f"{segment.check_bus_name(bus)}.cgroup"


def recorded(bus: str) -> Path | None:
    """Where a coordinator of that bus has made cgroups."""
    try:
        return Path(record_path(bus).read_text())
    except (OSError, UnicodeDecodeError):
        return None


def remove_left(bus: str, kernel: Kernel | None = None) -> list[Path]:
    """Of a bus that nobody runs: cgroups without processes are removed, and the record with the last; what stays."""
    kernel, base, left = kernel or Kernel(), recorded(bus), []
    for path in _of(base, bus) if base is not None else ():
        try:
            kernel.remove(path)
        except OSError:
            left.append(path)
    if not left:
        record_path(bus).unlink(missing_ok=True)
    return left


def _record(bus: str, base: Path) -> None:
    path = record_path(bus)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(str(base))


def _controllers(limits: Iterable[str]) -> set[str]:
    return {LIMITS[key].controller for key in limits}


def _prefix(bus: str) -> str:
    return f"collector.{bus}."


def _of(base: Path, bus: str) -> Sequence[Path]:
    return sorted(base.glob(f"{_prefix(bus)}*"))


def _base_of(own: Path) -> Path:
    """A coordinator that was put into the leaf (DelegateSubgroup=), or has gone there, makes cgroups beside that."""
    return own.parent if own.name == LEAF else own


def _own(mounts: Iterable[Sequence[str]], path: str) -> Path | None:
    """The directory of this process's cgroup."""
    for mount in mounts:
        if "cgroup2" in mount[mount.index("-") :][1:2] and path:
            root, point = mount[3], mount[4]
            inside = path.removeprefix(root.rstrip("/")) if path.startswith(root) else ""
            return Path(point + "/" + inside.strip("/"))
    return None


def _is_v1(mount: Sequence[str], controllers: Collection[str]) -> bool:
    kind, _, options = mount[mount.index("-") + 1 :][:3]
    return kind == "cgroup" and bool(set(controllers) & set(options.split(",")))


def _is_emptied(path: Path) -> bool:
    """Wait until what was killed in there is gone, but not for long. The kernel tells by POLLPRI."""
    try:
        with open(path / "cgroup.events", "rb", buffering=0) as file:
            poll = select.poll()
            poll.register(file, select.POLLPRI)
            return b"populated 0" in file.read() or bool(poll.poll(LAST_SECONDS * 1000))
    except OSError:
        return False
