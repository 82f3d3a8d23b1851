"""The controller hugetlb in the place of memory, for tests of cgroups: it is there where the others are cgroup v1.

with lent() as top:     # None: it cannot be had here
    ...                 # cgroups in `top` have it
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from shmbus.coordinator.cgroups import Kernel

FILE = "hugetlb.2MB.max"
_PROGRAM = """
import sys
from shmbus.coordinator import cgroups
cgroups.LIMITS = {{"memory_max_bytes": cgroups.Limit("hugetlb", "{file}")}}
from {module} import main
sys.exit(main())
"""


def program(module: str) -> str:
    """Runs main() of a module, with limits that take a controller which is there."""
    return _PROGRAM.format(file=FILE, module=module)


@contextlib.contextmanager
def lent() -> Iterator[Path | None]:
    """The top of cgroup v2, handing it on meanwhile. One test of all that run has it at a time."""
    if (top := _top()) is None:
        yield None
        return
    switch = top / "cgroup.subtree_control"
    descriptor = os.open(top, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        was = switch.read_text().split()
        switch.write_text("+hugetlb")
        yield top
        if "hugetlb" not in was:
            switch.write_text("-hugetlb")
    finally:
        os.close(descriptor)


def _top() -> Path | None:
    kernel = Kernel()
    found = [Path(mount[4]) for mount in kernel.mounts() if "cgroup2" in mount[mount.index("-") :][1:2]]
    with contextlib.suppress(OSError, IndexError):
        if kernel.own_path() == "/" and "hugetlb" in kernel.read(found[0] / "cgroup.controllers"):
            return found[0] if os.access(found[0], os.W_OK) else None
    return None
