"""The log of a coordinator whose reader stands still: nobody waits for it, and what it missed is told."""

import asyncio
import os
import select
import threading
from collections.abc import Iterator

import pytest

from shmbus.coordinator.logfile import MOST_LINES, LogFile


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            pass


def everything(reader: int) -> bytes:
    """That is there by now."""
    found = []
    while select.select([reader], [], [], 0)[0] and (data := os.read(reader, 1 << 20)):
        found.append(data)
    return b"".join(found)


def test_a_line_is_there_when_the_call_returns(pipe):
    reader, writer = pipe
    log = LogFile(writer)
    log("first")
    log("x" * 10_000)
    assert everything(reader) == b"first\n" + b"x" * 10_000 + b"\n"


def test_nobody_waits_for_a_reader_that_stands_still_and_what_it_misses_is_told(pipe):
    reader, writer = pipe
    log = LogFile(writer)
    wanted = 4 * MOST_LINES
    for number in range(wanted):
        log(f"{number} is a line")
    taken = everything(reader)
    assert taken.count(b"\n") < wanted - MOST_LINES
    flush = threading.Thread(target=log.close)
    flush.start()
    while not taken.endswith(b"are lost\n"):
        taken += os.read(reader, 1 << 20)
    flush.join()
    *lines, last = taken.decode().splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(len(lines)))
    assert last == f"… {wanted - len(lines)} lines of the log were too many, and are lost"


def test_on_a_loop_what_waited_goes_on_by_itself(pipe):
    reader, writer = pipe

    async def main() -> int:
        log, seen = LogFile(writer), 0
        for _ in range(200):
            log("x" * 999)
        while seen < 200_000:
            seen += len(everything(reader))
            await asyncio.sleep(0)
        return seen

    assert asyncio.run(asyncio.wait_for(main(), 20)) == 200_000


def test_a_reader_that_is_gone_costs_nothing_but_the_lines(pipe):
    reader, writer = pipe
    log = LogFile(writer)
    os.close(reader)
    log("nobody reads this")
    log.close()
