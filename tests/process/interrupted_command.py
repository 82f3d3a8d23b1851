"""Runs the command `shmbus` again and again, each time with a Ctrl-C before another instruction of it.

    python interrupted_command.py COUNT SEED COMMAND...

For each run one line: the instruction, the status, and what it printed to stderr, as a list of Python. A run is a fork
of this process, which has loaded everything, so it takes little more than what the command does. One that has not come
so far within two seconds gets its Ctrl-C then.
"""

import os
import random
import select
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import shmbus.coordinator
import shmbus.private
import shmbus.rpc
import shmbus.tools.bench
import shmbus.tools.main
import shmbus.tools.rpc
import shmbus.tools.tail
import shmbus.tools.up  # noqa: F401
from process.interrupts import PACKAGE, tracer

SECONDS = 2.0
WITHIN = os.path.commonpath([PACKAGE, os.path.dirname(shmbus.tools.main.__file__)])


def run(at: int, arguments: list[str]) -> tuple[int, str]:
    """Its status (that of a signal: negative) and what it printed to stderr."""
    with tempfile.TemporaryFile() as told:
        child = os.fork()
        if child == 0:
            os.dup2(told.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            status = 99
            try:
                tracer().arm(WITHIN, at, signal.SIGINT)
                status = shmbus.tools.main.main(arguments)
            finally:
                tracer().disarm()
                sys.stderr.flush()
                os._exit(status)
        status = wait(child)
        told.seek(0)
        return status, told.read().decode(errors="replace")


def wait(child: int) -> int:
    pidfd = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(SECONDS * 1000):
            signal.pidfd_send_signal(pidfd, signal.SIGINT)
        if not poll.poll(20_000):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        os.close(pidfd)


def main() -> None:
    tracer()
    count, seed, arguments = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    numbers = random.Random(seed)
    for _ in range(count):
        at = int(10 ** numbers.uniform(0, 5))  # as many among the first hundred as among the last
        print([at, *run(at, arguments)], flush=True)


main()
