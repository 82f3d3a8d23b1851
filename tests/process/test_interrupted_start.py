"""Ctrl-C while the console script still imports what it needs: its status, and no traceback."""

import os
import random
import signal
import subprocess
import sysconfig
import threading
from pathlib import Path

import pytest

SCRIPT = Path(sysconfig.get_path("scripts"), "shmbus")
LONG = bool(os.environ.get("SHMBUS_LONG"))
UP = ("up", "--plain", "--collectors", "none")
BEGINS = "shmbus_entry"


def interrupted(arguments, after):
    """Its status and what it said when it was interrupted after so many imports, or soon after the last one.

    They are told as they end; when that of the entry module has, its handler is about to be set.
    """
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1", "PYTHONUNBUFFERED": "1"}
    command = subprocess.Popen(
        [SCRIPT, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )
    said, count, sent = [], None, False
    late = threading.Timer(20, command.send_signal, [signal.SIGINT])
    late.start()
    with command:
        assert command.stderr is not None
        for line in command.stderr:
            if not line.startswith("import time:"):
                said.append(line)
                continue
            count = 0 if line.split()[-1] == BEGINS else count if count is None else count + 1
            if count is not None and count > after and not sent:
                command.send_signal(signal.SIGINT)
                sent = True
    late.cancel()
    return command.returncode, "".join(said)


@pytest.mark.parametrize("arguments", [UP, ("topics",), ("--help",)], ids=lambda value: value[0])
def test_ctrl_c_while_it_is_imported_ends_a_command_without_a_traceback(bus_name, arguments):
    places = [0, 1, 2, *sorted(random.sample(range(3, 400), 60 if LONG else 6))]
    for after in places:
        status, said = interrupted(arguments, after)
        assert "Traceback" not in said and "Exception ignored" not in said, (after, said)
        # 0: it had come so far that it ended, or served, in order; 1: there is no such bus
        assert status == 130 or (after > 2 and status == (1 if arguments == ("topics",) else 0)), (after, status, said)


def test_what_the_shell_has_told_to_ignore_it_goes_on():
    def ignore():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    command = subprocess.Popen(
        [SCRIPT, "--version"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=ignore,
    )  # fmt: skip
    with command:
        assert command.stderr is not None and command.stdout is not None
        for line in command.stderr:
            if line.split()[-1] == BEGINS:
                command.send_signal(signal.SIGINT)
        assert command.stdout.read().startswith("shmbus ")
    assert command.returncode == 0
