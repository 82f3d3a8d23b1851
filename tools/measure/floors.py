"""The floors: C between the same two processes, and a plain copy. Compiled as a run begins, if there is a compiler."""

import ctypes
import mmap
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final, NamedTuple

import shmbus

from .figure import BenchError
from .peer import Part, Peer, Scene
from .percentiles import Paced, percentiles
from .stage import Stage

LEADS: Final = 0
ANSWERS: Final = 1
LINE_BATCH: Final = 64  # round trips a sample: one is too short for the clock
COPY_ROOM_BYTES: Final = 4 << 20
NO_COMPILER: Final = "no C compiler (cc) here: not measured"
NO_SOURCES: Final = "the core's sources are not installed: not measured"

_PAGE_BYTES: Final = 4096
_FLAGS: Final = ("-std=c11", "-D_GNU_SOURCE", "-O3")


def build_floors(directory: Path) -> Path | None:
    """The floors as a library; None: there is no C compiler."""
    with _source("floors.c") as source:
        return _compile([source], directory / "floors.so", "-shared", "-fPIC")


def build_publish(directory: Path) -> Path | str:
    """The program that publishes in C; or why there is none: it needs the core's sources, an editable installation."""
    core = next((Path(room) / "core" for room in shmbus.__path__ if Path(room, "core", "ring.c").exists()), None)
    if core is None:
        return NO_SOURCES
    parts = sorted(core.glob("*.c"))
    with _source("publish.c") as source:
        return _compile([source, *parts], directory / "publish", f"-I{core}") or NO_COMPILER


@contextmanager
def _source(name: str) -> Iterator[Path]:
    with as_file(files(__package__) / "c" / name) as path:
        yield path


def _compile(sources: list[Path], target: Path, *flags: str) -> Path | None:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    command = [compiler, *_FLAGS, *flags, *map(str, sources), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"the C compiler cannot build {target.name}:\n{done.stderr}")
    return target


# ---- parts -----------------------------------------------------------------------------------------------------------


class Played(NamedTuple):
    """What one side of a floor saw in a round. `ns` are its samples."""

    ns: list[float]
    cpu_ns: int
    wall_ns: int


def floor_part(scene: Scene, library: Path, page: Path, side: int, name: str, parameter: int) -> Part:
    """One side of a floor. Each step is told (first value, samples)."""
    play = getattr(ctypes.CDLL(str(library)), name)
    play.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p)
    with page.open("r+b") as file, mmap.mmap(file.fileno(), _PAGE_BYTES) as mapped:
        anchor = ctypes.c_char.from_buffer(mapped)
        try:
            first, samples = yield
            while True:
                results = (ctypes.c_double * samples)()
                cpu, wall = time.process_time_ns(), time.monotonic_ns()
                play(ctypes.addressof(anchor), side, first, samples, parameter, results)
                first, samples = yield Played(list(results), time.process_time_ns() - cpu, time.monotonic_ns() - wall)
        finally:
            del anchor  # or the map could not be closed


def copy_part(scene: Scene, library: Path, size: int) -> Part:
    """Each step copies a payload so often and answers nanoseconds a copy."""
    copy = ctypes.CDLL(str(library)).floor_copy
    copy.argtypes = (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64)
    copy.restype = ctypes.c_double
    room, data = ctypes.create_string_buffer(COPY_ROOM_BYTES), os.urandom(size)
    copies = yield
    while True:
        copies = yield copy(room, COPY_ROOM_BYTES, data, size, copies)


# ---- what they come to -----------------------------------------------------------------------------------------------


def line(stage: Stage) -> list[float]:
    """Of each round, how long a cache line takes from one to the other, both spinning: p50, ns. Empty: no compiler."""
    samples = max(stage.effort.samples // LINE_BATCH, 8)
    return [percentiles(played.ns)["p50"] for played, _ in _rounds(stage, "floor_line", samples, LINE_BATCH)]


def futex(stage: Stage) -> list[dict[str, float]]:
    """Of each round, how long a hand-over takes where both sleep in turn: percentiles, ns. Empty: no compiler."""
    return [percentiles(played.ns) for played, _ in _rounds(stage, "floor_futex", stage.effort.samples // 4 + 1)]


def paced(stage: Stage, interval_ns: int) -> list[Paced]:
    """A round with a hand-over every `interval_ns` to one who sleeps. Empty: no compiler."""
    played = _rounds(stage, "floor_paced", stage.effort.paced_samples, interval_ns, 1)
    return [
        Paced(percentiles(reader.ns), (reader.cpu_ns + writer.cpu_ns) / writer.wall_ns) for reader, writer in played
    ]


def copy(stage: Stage, size: int) -> list[float]:
    """Of each round, what a plain memcpy of a payload takes: ns. Empty: no compiler."""
    if stage.library is None:
        return []
    with stage.playing(stage.writer, copy_part, stage.library, size) as writer:
        copies = max(1000, int(stage.effort.seconds / 4 * 1e9 / max(writer.step(1000), 1)))
        return [writer.step(copies) for _ in range(stage.effort.rounds)]


def _rounds(
    stage: Stage, name: str, samples: int, parameter: int = 1, rounds: int | None = None
) -> list[tuple[Played, Played]]:
    """What the answering and the leading side saw, by round."""
    if stage.library is None:
        return []
    page = stage.directory / "page"
    page.write_bytes(bytes(_PAGE_BYTES))
    with (
        stage.playing(stage.reader, floor_part, stage.library, page, ANSWERS, name, parameter) as reader,
        stage.playing(stage.writer, floor_part, stage.library, page, LEADS, name, parameter) as writer,
    ):
        values = samples * (parameter if name == "floor_line" else 1)
        return [_round(reader, writer, i * values, samples) for i in range(rounds or stage.effort.rounds)]


def _round(reader: Peer, writer: Peer, first: int, samples: int) -> tuple[Played, Played]:
    reader.tell((first, samples))
    writer.tell((first, samples))
    return reader.answer(), writer.answer()
