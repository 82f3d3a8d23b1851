"""The ledger of a page in which anything may stand: its client can write there."""

import pytest

from shmbus.ledger import entries
from shmbus.message import Producer

OWNER = Producer("p", 7, 1, 1, 2, 0)
NUMBER, VERSION = 9, 3  # of its last message; which one it is of those who had the id


class Ring:
    """A ring with one producer."""

    topic, lane = "lab.a", 0

    def all_numbers(self):
        return {1: (NUMBER, NUMBER, VERSION, False, 0)}

    def producer(self, producer):
        return OWNER


class Page:
    """A page with one row: where it began, up to where it is accounted, delivered."""

    def __init__(self, base, last, delivered):
        self._row = (1, VERSION, base, last, delivered, 0, 0, 0, 0, 0, 0, None)

    def cursor(self, cursor):
        return (5,)

    def ledger(self, cursor):
        return [self._row]


def test_a_row_is_told_with_what_is_in_flight():
    (entry,) = entries(Page(2, 6, 4), 0, [Ring()])
    assert (entry.producer, entry.published, entry.delivered, entry.in_flight) == (OWNER, 7, 4, 3)


@pytest.mark.parametrize("base", [7, 2**64 - 1])
def test_a_row_that_began_after_its_end_is_no_account(base):
    assert entries(Page(base, 6, 4), 0, [Ring()]) == []
