"""The types that users see: a strict checker accepts programs that are right, refuses those that are not, and the stub
of the native core says what is there."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".mypy_cache" / "typing"  # one for all runs: the first one reads protobuf's stubs
PROGRAM = HERE / "program.py"
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed: pip install '.[dev]'"),
    pytest.mark.timeout(300),
]


def run(module, *arguments, cwd):
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "MYPY_CACHE_DIR": str(CACHE)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def check(path, tmp_path):
    return run("mypy", "--strict", "--python-version", "3.11", str(path), cwd=tmp_path)


def test_a_program_of_a_user_passes_the_strict_checker(tmp_path):
    done = check(PROGRAM, tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("priority=200", 'priority="high"'),
        ('start="earliest"', "start=b'earliest'"),
        ("timeout=1.0)", 'timeout="1")'),
        ("found.sequence, int", "found.sequence, str"),
        ("publisher.publish(EVENT), int", "publisher.publish(EVENT), str"),
        ("await publisher.publish(EVENT", "publisher.publish(EVENT"),
        ("slots=1024", "slots=None"),
        ("timeout=5).status, HealthStatus", "timeout=5).status, str"),
        ("rpc.PAUSE, key=", "'PAUSE', key="),
        ('balance="round-robin"', 'balance="fastest"'),
    ],
)
def test_a_wrong_program_does_not(tmp_path, right, wrong):
    text = PROGRAM.read_text()
    assert right in text
    path = tmp_path / "program.py"
    path.write_text(text.replace(right, wrong))
    done = check(path, tmp_path)
    assert done.returncode == 1 and "program.py" in done.stdout, done.stdout


def test_the_stub_of_the_core_says_what_is_there(tmp_path):
    done = run("mypy.stubtest", "shmbus._core", "--allowlist", str(HERE / "stubtest.allow"),
               "--ignore-unused-allowlist", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stdout
