"""What the process of a supervised collector runs first. It imports nothing of this package: it has to be quick.

What is to be done comes as JSON on standard input, after the coordinator has noted the process in the directory. One
that is killed in between sends nothing, and the process ends without having begun: whatever runs can be found again.

Cgroup, limits, niceness and user are set before anything of the collector's own runs. A command takes the place of this
program; an installed collector (an entry point) is called by it.

A command needs no site module (-S), and nothing here typing: together a quarter of this program's start.
"""

from __future__ import annotations

import io
import json
import os
import pwd
import resource
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final, NoReturn

GROUP: Final = "shmbus.collectors"
NOT_FOUND: Final = 127
OOM_SCORE: Final = "/proc/self/oom_score_adj"
LIMITS: Final = {
    "open_files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "memory_bytes": resource.RLIMIT_AS,
    "cpu_seconds": resource.RLIMIT_CPU,
    "file_bytes": resource.RLIMIT_FSIZE,
    "core_bytes": resource.RLIMIT_CORE,
}


class _Stream(io.FileIO):
    """Standard output or error. What there is no room for is dropped: a collector does not end for its log."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return memoryview(data).nbytes  # type: ignore[arg-type]


def _forgiving(descriptor: int) -> io.TextIOWrapper:
    buffered = io.BufferedWriter(_Stream(descriptor, "w", closefd=False))
    return io.TextIOWrapper(buffered, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def main() -> object:
    """Become the collector that standard input describes."""
    told = sys.stdin.buffer.read()
    if not told:
        return 0  # nobody knows of this process any more
    plan: dict[str, Any] = json.loads(told)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    try:
        _constrain(plan)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"it could not be started: {_explained(error)}")
    if plan["command"]:
        _execute([*plan["command"], *plan["arguments"]])
    return _call(plan["name"], plan["arguments"])


def _constrain(plan: dict[str, Any]) -> None:
    """What takes privileges first, then give them up; the directory is entered with what is left."""
    _give_up_protection()
    if plan["cgroup"]:
        with open(f"{plan['cgroup']}/cgroup.procs", "w") as file:
            file.write("0")  # this process
    for name, value in plan["limits"].items():
        resource.setrlimit(LIMITS[name], (value, value))
    if plan["nice"]:
        os.nice(plan["nice"])
    if plan["uid"] is not None and plan["uid"] != os.geteuid():
        _become(pwd.getpwuid(plan["uid"]))
    if plan["working_directory"]:
        os.chdir(plan["working_directory"])


def _give_up_protection() -> None:
    """The kernel may be told to spare the coordinator when memory runs out; nobody said so of its collectors."""
    with open(OOM_SCORE) as file:
        protected = int(file.read()) < 0
    if protected:
        with open(OOM_SCORE, "w") as file:
            file.write("0")


def _become(user: pwd.struct_passwd) -> None:
    os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)


def _execute(command: list[str]) -> NoReturn:
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]} cannot be run: {error.strerror}", file=sys.stderr)
        sys.exit(NOT_FOUND)


def _call(name: str, arguments: Sequence[str]) -> object:
    from importlib.metadata import entry_points  # takes as long as all else here together, and a command needs none

    sys.stdout, sys.stderr = _forgiving(1), _forgiving(2)
    found = entry_points(group=GROUP, name=name)
    if not found:
        known = ", ".join(sorted(entry_points(group=GROUP).names)) or "none"
        sys.exit(f"no collector named {name!r} is installed; installed are: {known}")
    sys.argv = [name, *arguments]
    return next(iter(found)).load()()


def _explained(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


if __name__ == "__main__":
    sys.exit(main())  # type: ignore[arg-type]
