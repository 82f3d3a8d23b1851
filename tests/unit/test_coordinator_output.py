"""What a collector prints, read from its memory file: every line once, whoever reads."""

import asyncio
import os

import pytest

from shmbus.coordinator.output import KEPT_LINES, LINE_BYTES, MOST_BYTES, Output, Outputs


@pytest.fixture
def output():
    told = []
    one = Output("lab", os.memfd_create("test"), told.append)
    writer = one.open_for_writing()
    yield one, told, writer
    os.close(writer)
    one.close()


def read_all(output):
    while output.read():
        pass


def test_lines_are_told_when_they_are_whole(output):
    one, told, writer = output
    os.write(writer, b"first\nsec")
    read_all(one)
    assert told == ["lab: first"]
    os.write(writer, b"ond\n\nlab: third\n")
    read_all(one)
    assert told == ["lab: first", "lab: second", "lab: third"]
    assert one.last_lines == ("first", "second", "third")


@pytest.mark.parametrize("line", [b"x" * 4095 + b"\n", b"x" * 99 + b"\n"])
def test_what_is_told_takes_no_memory(output, line):
    one, told, writer = output
    for _ in range(64 * 4096 // len(line)):
        os.write(writer, line)
        read_all(one)
    found = os.fstat(one.descriptor)
    assert (found.st_size, found.st_blocks * 512 <= 8192) == (64 * 4096 // len(line) * len(line), True)
    assert len(one.last_lines) == KEPT_LINES


def test_whoever_takes_over_goes_on_behind_zeroes_that_are_no_hole(output):
    one, _, writer = output
    os.write(writer, bytes(5 * LINE_BYTES) + b"next\n")
    one.skip_told()
    read_all(one)
    assert one.last_lines == ("next",)


@pytest.mark.parametrize("before", [b"told\n", b"x" * 5000 + b"\n", b"told\n" * 5000])
def test_whoever_takes_over_goes_on_behind_what_was_told(output, before):
    one, _, writer = output
    os.write(writer, before + b"half a li")
    read_all(one)
    os.write(writer, b"ne\nnext\n")
    told = []
    other = Output("lab", os.dup(one.descriptor), told.append)
    other.skip_told()
    read_all(other)
    other.close()
    assert told == ["lab: half a line", "lab: next"]


def test_whoever_takes_over_when_all_was_told_waits_for_the_next_line(output):
    one, _, writer = output
    os.write(writer, b"x" * 4095 + b"\n")
    read_all(one)
    told = []
    other = Output("lab", os.dup(one.descriptor), told.append)
    other.skip_told()
    read_all(other)
    os.write(writer, b"next\n")
    read_all(other)
    other.close()
    assert told == ["lab: next"]


def test_a_line_without_an_end_is_told_in_pieces_and_a_flood_is_cut(output):
    one, told, writer = output
    os.write(writer, b"x" * (LINE_BYTES + 1))
    read_all(one)
    one.finish()
    assert sum(len(line) - len("lab: ") for line in told) == LINE_BYTES + 1
    told.clear()
    flood = b"y" * 99 + b"\n"
    for _ in range((MOST_BYTES + 100_000) // len(flood)):
        os.write(writer, flood)
    read_all(one)
    assert "bytes of output were too many, and are lost" in told[0]
    assert len(told) == pytest.approx(MOST_BYTES / len(flood), abs=3)


def test_a_collector_that_cuts_its_file_short_harms_nobody(output):
    one, told, writer = output
    os.write(writer, b"first\n")
    read_all(one)
    os.ftruncate(one.descriptor, 0)
    read_all(one)
    os.write(writer, b"again\n")
    read_all(one)
    assert told == ["lab: first", "lab: again"]


def test_a_write_wakes_whoever_reads_and_nothing_else_does():
    async def scenario():
        told = asyncio.Queue()
        outputs = Outputs(told.put_nowait)
        one = outputs.make("lab")
        writer = one.open_for_writing()
        os.write(writer, b"here\n")
        assert await asyncio.wait_for(told.get(), 20) == "lab: here"
        os.close(writer)
        outputs.end(one)
        outputs.close()

    asyncio.run(scenario())
