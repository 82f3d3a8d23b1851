"""Too little of something: descriptors, or /dev/shm (one of a few MiB: a mount namespace with a tmpfs, takes root)."""

import contextlib
import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FILLER = Path("/dev/shm/filler")


def inside(size: str, *command: str) -> list[str]:
    """A command that runs another one where /dev/shm is empty and holds `size`, such as "64m"."""
    mount = f'mount -t tmpfs -o mode=1777,size={size} tmpfs /dev/shm && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh", *command]


@cache
def possible() -> bool:
    """May we?"""
    return bool(shutil.which("unshare")) and not subprocess.run(inside("1m", "true"), capture_output=True).returncode


@contextlib.contextmanager
def full() -> Iterator[None]:
    """Nothing more fits into /dev/shm. Where it is not our own, that would be everybody's loss."""
    descriptor = os.open(FILLER, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        _fill(descriptor)
        yield
    finally:
        FILLER.unlink()
        os.close(descriptor)


def _fill(descriptor: int) -> None:
    """In ever smaller pieces, since others may take from it meanwhile."""
    space = os.statvfs("/dev/shm")
    taken, piece = 0, space.f_bavail * space.f_frsize
    while piece >= space.f_frsize:
        try:
            os.posix_fallocate(descriptor, taken, piece)
            taken += piece
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            piece //= 2


@contextlib.contextmanager
def few_descriptors(limit: int) -> Iterator[None]:
    """Processes that are started meanwhile may have so many open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
