"""Identities: the same pid is not the same process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shmbus import process
from shmbus.process import Identity, identity_of, is_alive, own_identity


@pytest.fixture
def child():
    """A process that lives until its standard input is closed."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as one:
        yield one
        one.kill()


def test_this_process_is_alive():
    assert own_identity().pid == os.getpid()
    assert is_alive(own_identity())


def test_a_child_is_alive_until_it_is_killed(child):
    identity = identity_of(child.pid)
    assert identity is not None and is_alive(identity)
    child.kill()
    child.wait()
    assert not is_alive(identity)
    assert identity_of(child.pid) is None


def test_a_zombie_is_dead(child):
    identity = identity_of(child.pid)
    assert identity is not None
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(identity)
    assert identity_of(child.pid) is None


def test_a_stopped_process_is_alive(child):
    identity = identity_of(child.pid)
    assert identity is not None
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    assert is_alive(identity)


def test_a_pid_given_to_another_process_is_not_the_process_that_had_it():
    own = own_identity()
    assert not is_alive(own._replace(start_time=own.start_time - 1))


def test_a_process_of_another_namespace_is_taken_to_be_alive():
    own = own_identity()
    assert is_alive(Identity(2**22 - 1, 1, own.namespace + 1))


def test_a_process_that_proc_hides_is_taken_to_be_alive(monkeypatch):
    def refuse(pid, signal):
        raise PermissionError

    monkeypatch.setattr(process, "_stat", lambda pid: None)
    monkeypatch.setattr(os, "kill", refuse)
    assert is_alive(Identity(1, 1, process.own_namespace()))


def test_nobody_has_a_pid_that_cannot_be():
    assert identity_of(2**30) is None
    assert not is_alive(Identity(2**30, 1, own_identity().namespace))
    assert not is_alive(Identity(2**63, 1, own_identity().namespace))


RENAMES_ITSELF = """
import ctypes, sys
ctypes.CDLL(None).prctl(15, sys.stdin.buffer.readline()[:-1].replace(b"%", b"\\n"))
print(flush=True)
input()
"""


@pytest.mark.parametrize("name", [b"a) Z 1 (b", b"two%lines", b") 7 7 7 7", b"(((", b"   "])
def test_a_command_name_cannot_disturb_the_reading_of_the_start_time(name):
    command = [sys.executable, "-S", "-c", RENAMES_ITSELF]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=null) as child:
        before = identity_of(child.pid)
        child.stdin.write(name + b"\n")
        child.stdin.flush()
        child.stdout.readline()
        assert Path(f"/proc/{child.pid}/comm").read_bytes() == name.replace(b"%", b"\n") + b"\n"
        assert before is not None and identity_of(child.pid) == before
        child.kill()


@given(st.binary(max_size=15).filter(lambda name: b"\0" not in name), st.integers(0, 2**63))
def test_any_command_name_is_stepped_over(name, start):
    fields = [b"S", *(b"%d" % number for number in range(4, 22)), b"%d" % start, *([b"9"] * 30)]
    assert process._parse_stat(b"17 (" + name + b") " + b" ".join(fields)) == (ord("S"), start)
