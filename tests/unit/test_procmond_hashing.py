"""procmond hashes executables in a thread, once each."""

import hashlib
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shmbus.workers.procmond import hashing
from shmbus.workers.procmond.proc import FileKey

WATCHDOG_S = 60


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(os.urandom(3_000_001))
    return path


@pytest.fixture
def hasher(program: Path) -> Iterator[hashing.Hasher]:
    hasher = hashing.Hasher(lambda pid: os.open(program, os.O_RDONLY) if pid else None)
    yield hasher
    hasher.close()


def next_result(hasher: hashing.Hasher) -> tuple[FileKey, str | None]:
    ready, _, _ = select.select([hasher], [], [], WATCHDOG_S)
    assert ready, "no result"
    (result,) = hasher.results()
    return result


def test_a_hash_is_told_once_and_remembered(hasher: hashing.Hasher, program: Path) -> None:
    key = FileKey.of(program.stat())
    assert hasher.lookup(key) is None
    assert hasher.request(key, 1)
    assert next_result(hasher) == (key, hashlib.sha256(program.read_bytes()).hexdigest())
    assert hasher.lookup(key) == hashlib.sha256(program.read_bytes()).hexdigest()
    assert list(hasher.results()) == []


def test_another_file_than_the_one_asked_for_is_not_taken_for_it(hasher: hashing.Hasher, program: Path) -> None:
    key = FileKey.of(program.stat())._replace(mtime_ns=1)
    assert hasher.request(key, 1)
    assert next_result(hasher) == (key, None)
    assert hasher.lookup(key) is None


def test_what_cannot_be_opened_is_refused(hasher: hashing.Hasher, program: Path) -> None:
    assert not hasher.request(FileKey.of(program.stat()), 0)


def test_a_full_queue_refuses_and_keeps_no_descriptor(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr(hashing, "digest", lambda *_: gate.wait(WATCHDOG_S) and None)
    hasher = hashing.Hasher(lambda _: os.open(program, os.O_RDONLY))
    before = len(os.listdir("/proc/self/fd"))
    key = FileKey.of(program.stat())
    taken = sum(hasher.request(key, 1) for _ in range(hashing.QUEUE_ENTRIES + 50))
    assert hashing.QUEUE_ENTRIES <= taken <= hashing.QUEUE_ENTRIES + 1
    gate.set()
    hasher.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1, "the bell is closed too"


def test_the_cache_forgets_what_was_used_least(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "CACHE_ENTRIES", 2)
    hasher = hashing.Hasher(lambda _: None)
    keys = [FileKey.of(program.stat())._replace(inode=inode) for inode in range(3)]
    hasher._remember(keys[0], "a")
    hasher._remember(keys[1], "b")
    assert hasher.lookup(keys[0]) == "a"
    hasher._remember(keys[2], "c")
    assert [hasher.lookup(key) for key in keys] == ["a", None, "c"]
    hasher.close()
