"""procmond decodes the datagrams of the kernel's process connector and counts what is missing between them."""

import struct

import pytest

from shmbus.workers.procmond.connector import Sequences, decode, request
from shmbus.workers.procmond.event import Comm, Event, Exec, Exit, Fork, Ids, Kind, Session, ThreadExit, Trace

TIME = 712_334_455_667


def datagram(what: int, body: bytes, cpu: int = 1, sequence: int = 7, acknowledge: int = 0) -> bytes:
    event = struct.pack("=IIQ", what, cpu, TIME) + body.ljust(24, b"\0")
    message = struct.pack("=IIIIHH", 1, 1, sequence, acknowledge, len(event), 0) + event
    return struct.pack("=IHHII", 16 + len(message), 3, 0, sequence, 0) + message


def u32(*values: int) -> bytes:
    return struct.pack(f"={len(values)}I", *values)


@pytest.mark.parametrize(
    ("what", "body", "event"),
    [
        (0x1, u32(10, 10, 11, 11), Fork(TIME, 10, 11)),
        (0x1, u32(12, 10, 11, 11), Fork(TIME, 10, 11)),
        (0x1, u32(10, 10, 11, 10), None),
        (0x2, u32(11, 11), Exec(TIME, 11)),
        (0x4, u32(11, 11, 1000, 0), Ids(TIME, 11, Kind.USER, 1000, 0)),
        (0x4, u32(12, 11, 1000, 0), None),
        (0x40, u32(11, 11, 1000, 1001), Ids(TIME, 11, Kind.GROUP, 1000, 1001)),
        (0x80, u32(11, 11), Session(TIME, 11)),
        (0x100, u32(11, 11, 20, 20), Trace(TIME, 11, 20)),
        (0x200, u32(11, 11) + b"new name\0rest", Comm(TIME, 11, b"new name")),
        (0x200, u32(12, 11) + b"of a thread", None),
        (0x40000000, u32(11, 11, 10, 10), None),
        (0x80000000, u32(11, 11, 256, 17, 10, 10), Exit(TIME, 11, 256, 10)),
        (0x80000000, u32(12, 11, 0, 17, 10, 10), ThreadExit(TIME, 11)),
        (0x1000, u32(11, 11), None),
    ],
)
def test_a_datagram_becomes_an_event(what: int, body: bytes, event: Event | None) -> None:
    found = decode(datagram(what, body))
    assert (found.cpu, found.sequence, found.answers, found.event) == (1, 7, None, event)


def test_a_datagram_as_the_kernel_sent_it() -> None:
    raw = bytes.fromhex(
        "4c00000003000000010000000000000001000000010000000100000000000000"
        "280000000100000001000000bb9cbcd0a5000000f0100000f0100000191100001911000000000000"
        "00000000"
    )
    assert decode(raw).event == Fork(712_171_625_659, 0x10F0, 0x1119)


def test_an_answer_says_to_which_request() -> None:
    assert decode(datagram(0, u32(0), acknowledge=5)).answers == 4
    assert decode(datagram(0, u32(0), acknowledge=0)).answers == 0xFFFFFFFF


@pytest.mark.parametrize("length", [0, 15, 36, 51, 55])
def test_a_short_datagram_is_a_value_error(length: int) -> None:
    with pytest.raises(ValueError):
        decode(datagram(0x1, u32(1, 1, 2, 2))[:length])


def test_a_datagram_cut_inside_its_event_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        decode(datagram(0x80000000, u32(1, 1, 2, 2))[:60])


def test_a_datagram_of_another_connector_is_a_value_error() -> None:
    raw = bytearray(datagram(0x1, u32(1, 1, 2, 2)))
    raw[16:20] = u32(9)
    with pytest.raises(ValueError):
        decode(raw)


def test_a_request_is_what_the_kernel_expects() -> None:
    assert request(1, 5) == u32(40) + struct.pack("=HHII", 3, 0, 0, 0) + u32(1, 1, 0, 5) + struct.pack("=HHI", 4, 0, 1)


def test_missing_numbers_are_counted_for_each_processor() -> None:
    sequences = Sequences()
    assert [sequences.see(0, number) for number in (100, 101, 104)] == [0, 0, 2]
    assert [sequences.see(1, number) for number in (0xFFFFFFFE, 0xFFFFFFFF, 0, 2)] == [0, 0, 0, 1]
    assert sequences.lost == 3
