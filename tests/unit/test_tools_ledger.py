"""The ledger as a table: every process with its pid, dead ones marked, in 80 columns."""

import json

import pytest

from shmbus.ledger import LedgerEntry
from shmbus.message import Producer
from shmbus.overview import Account, accounts_of, told
from shmbus.process import Identity
from shmbus.tools.ledger import _facts, listing
from shmbus.v1.control_pb2 import LedgerPart

AGENT, KILLED = Identity(4711, 1, 9), Identity(4194304, 2, 9)


def producer(name, process):
    return Producer(name, *process, 3, 1000)


def entry(topic, whose, published, delivered, *, lane="normal", **counts):
    fields = dict.fromkeys(LedgerEntry._fields[5:], 0) | counts
    return LedgerEntry(topic, lane, whose, published, delivered, **fields)


ACCOUNTS = [
    Account(
        "agent",
        AGENT,
        1,
        [
            entry("events.process.start", producer("procmond", KILLED), 15_003, 8152, overrun=6848, in_flight=3),
            entry("events.process.start", None, 2, 2),
            entry("events.process.start", producer("b" * 31, Identity(0, 0, 0)), 12_345_678_901, 12_345_678_901),
        ],
        frozenset({KILLED}),
    ),
    Account("audit", None, None, [entry("events.network.dns", producer("net\x1b[2J", AGENT), 5, 4, in_flight=1)]),
    Account("tail", KILLED, 2, [entry("alerts.cpu", producer("x", AGENT), 1, 1, lane="urgent")], frozenset({KILLED})),
]

AT_80 = """\
topic, reader/publisher      pid publ.   got overr exprd  corr  filt  dead  wait
alerts.cpu !  tail †4194304
  x                         4711     1     1     0     0     0     0     0     0
events.network.dns  [audit]
  net\\x1b[2J                4711     5     4     0     0     0     0     0     1
events.process.start  agent 4711
  procmond              †4194304 15.0k 8,152 6,848     0     0     0     0     3
  (left)                             2     2     0     0     0     0     0     0
  bbbbb…bbbbbbbbbbbbbbb        ? 12.3G 12.3G     0     0     0     0     0     0
"""


def test_the_ledger_at_80_columns():
    assert listing(ACCOUNTS, 80) == AT_80


@pytest.mark.parametrize("width", [40, 80, 100, 110, 120, 200])
def test_no_line_is_wider_than_the_terminal(width):
    lines = listing(ACCOUNTS, width).splitlines()
    assert max(map(len, lines)) <= width and len(lines) == 9


def test_a_long_topic_is_cut_and_its_reader_is_not():
    topic = "a" * 200
    account = Account("r" * 31, AGENT, 1, [entry(topic, None, 1, 1)])
    assert listing([account], 80).splitlines()[1].endswith(f"…{'a' * 28}  {'r' * 31} 4711")


def test_json_has_pids_and_who_is_dead():
    fact = json.loads(json.dumps(_facts(ACCOUNTS[0], ACCOUNTS[0].entries[0])))
    assert (fact["subscriber_pid"], fact["subscriber_dead"]) == (4711, False)
    assert (fact["publisher_pid"], fact["publisher_dead"]) == (4194304, True)
    fact = _facts(ACCOUNTS[1], ACCOUNTS[1].entries[0])
    assert (fact["subscriber_pid"], fact["subscriber_dead"], fact["durable"]) == (None, False, True)


def test_what_the_coordinator_tells_is_what_there_is():
    assert list(accounts_of(LedgerPart(accounts=map(told, ACCOUNTS)))) == ACCOUNTS


def test_an_account_knows_which_of_its_processes_are_dead():
    account = ACCOUNTS[0].with_dead(lambda process: process != AGENT)
    assert account.dead == {AGENT} and account.is_dead(AGENT) and account.is_dead(producer("x", AGENT))
    assert not account.is_dead(None) and not account.with_dead(lambda process: True).dead
