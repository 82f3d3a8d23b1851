"""Ctrl-C at some instruction of a command, while it starts, works or ends: its status, no traceback, nothing left.

The long form, 400 places of each: SHMBUS_LONG=1 pytest --timeout=3600
"""

import ast
import contextlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from process.buses import coordinator

LONG = bool(os.environ.get("SHMBUS_LONG"))
PROGRAM = Path(__file__).with_name("interrupted_command.py")
INTERRUPTED = 130


@pytest.mark.parametrize(
    ("command", "statuses", "count"),
    [
        ("up --plain --collectors none", {0, INTERRUPTED}, 12),  # 0 once it serves: then Ctrl-C is how it is ended
        ("tail events.#", {INTERRUPTED}, 12),
        ("rpc procmond HEALTH_CHECK", {1, INTERRUPTED}, 12),  # 1: nobody serves it, and that was found out before
        ("bench --only events", {INTERRUPTED}, 4),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_ctrl_c_ends_a_command_in_order(bus_name, command, statuses, count):
    names = command.split()
    with contextlib.nullcontext() if names[0] in ("up", "bench") else coordinator(bus_name):
        run = subprocess.run(
            [sys.executable, str(PROGRAM), str(400 if LONG else count), str(random.randrange(2**32)), *names],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    results = [ast.literal_eval(line) for line in run.stdout.splitlines()]
    assert len(results) == (400 if LONG else count)
    for at, status, told in results:
        assert status in statuses, (at, status, told)
        assert "Traceback" not in told and "ignored" not in told, (at, told)
