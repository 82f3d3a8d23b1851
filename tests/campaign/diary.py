"""What a participant has seen, a line a fact, written at once: what a killed one knew is there to be judged.

<ns of CLOCK_MONOTONIC> sent lab.a 17 normal
<ns> got lab.a normal plain-a.3 17 1
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Note(NamedTuple):
    """One fact: when (ns of CLOCK_MONOTONIC), what, and of what."""

    at: int
    what: str
    words: tuple[str, ...]


class Diary:
    """One incarnation's, opened before privileges are dropped."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def note(self, what: str, *words: object) -> None:
        """One write a line: it is there whole or not at all, whoever is killed."""
        os.write(self._descriptor, f"{time.monotonic_ns()} {what} {' '.join(map(str, words))}\n".encode())


def read(path: Path) -> Iterator[Note]:
    """All notes of one incarnation."""
    for line in path.read_text().splitlines():
        at, what, *words = line.split()
        yield Note(int(at), what, tuple(words))
