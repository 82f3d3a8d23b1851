"""Installed collectors, and the words in which a coordinator tells of them, for the tests."""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import shmbus
from process import labcollectors
from process.buses import eventually
from shmbus.v1.control_pb2 import CollectorStatus, ControlCollector

NAMES = (
    "steady",
    "other",
    "crashing",
    "silent",
    "deadlocked",
    "stubborn",
    "obstinate",
    "constrained",
    "fragile",
    "reluctant",
    "candid",
    "served",
)


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """One that other users can look into, unlike those that pytest makes."""
    with tempfile.TemporaryDirectory(prefix="shmbus-", dir="/tmp") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def install(directory: Path) -> dict[str, str]:
    """The collectors, where a child process with this environment finds them by the entry-point group."""
    shutil.copy(labcollectors.__file__, directory / "labcollectors.py")
    info = directory / "labcollectors-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: labcollectors\nVersion: 1\n")
    entries = "".join(f"{name} = labcollectors:{name}\n" for name in NAMES)
    (info / "entry_points.txt").write_text("[shmbus.collectors]\n" + entries)
    return {"PYTHONPATH": str(directory)}


def collector(bus: shmbus.Bus, name: str) -> CollectorStatus:
    """How it is."""
    return next(one for one in bus.status().collectors if one.name == name)


def is_in(bus: shmbus.Bus, name: str, state: str) -> bool:
    """Is it in that state?"""
    return collector(bus, name).state == state


def wait_for(bus: shmbus.Bus, name: str, state: str) -> CollectorStatus:
    """Until it is in that state; how it is then."""
    eventually(lambda: is_in(bus, name, state))
    return collector(bus, name)


def control(bus: shmbus.Bus, name: str, action: str) -> CollectorStatus:
    """Ask the coordinator to do that to it; how it is right after."""
    request = ControlCollector(name=name, action=ControlCollector.Action.Value(f"ACTION_{action.upper()}"))
    with bus._control.request(request) as answer:
        status: CollectorStatus = answer.message
        return status


def script(path: Path, body: str) -> Path:
    """A program in Python."""
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(0o755)
    return path
