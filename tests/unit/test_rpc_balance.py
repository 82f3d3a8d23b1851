"""Which of several servers is next."""

from collections import Counter

import pytest

from shmbus.directory import Health
from shmbus.process import Identity
from shmbus.rpc.balance import Balance
from shmbus.rpc.presence import Instance

A, B, C = (Instance(number, Identity(number, 1, 1), 0, 1, f"{number}-1") for number in (1, 2, 3))


@pytest.mark.parametrize("policy", ["least-loaded", "round-robin"])
def test_equals_are_taken_in_turn(policy):
    balance = Balance(policy)
    assert set(Counter(balance.choose([A, B, C]) for _ in range(30)).values()) == {10}


def test_who_has_more_of_this_clients_calls_waits():
    balance = Balance()
    for _ in range(2):
        balance.sent(A)
    balance.sent(B)
    assert {balance.choose([A, B, C]) for _ in range(6)} == {C}
    balance.ended(A)
    balance.ended(A)
    assert {balance.choose([A, B]) for _ in range(6)} == {A}


def test_what_a_server_says_of_itself_counts_too():
    balance = Balance()
    balance.reported(A, "7")
    assert {balance.choose([A, B]) for _ in range(6)} == {B}
    balance.reported(A, "0")
    assert {balance.choose([A, B]) for _ in range(6)} == {A, B}
    balance.reported(A, "lots")  # of a server that says something else
    assert {balance.choose([A, B]) for _ in range(6)} == {A, B}


def test_in_turn_whatever_the_load():
    balance = Balance("round-robin")
    balance.reported(A, "7")
    assert {balance.choose([A, B]) for _ in range(6)} == {A, B}


@pytest.mark.parametrize("policy", ["least-loaded", "round-robin"])
def test_the_best_come_first_by_what_they_say_of_themselves(policy):
    said = {A.session: Health.UNHEALTHY, B.session: Health.DEGRADED, C.session: Health.HEALTHY}
    balance = Balance(policy, said.get)
    balance.reported(C, "7")
    assert {balance.choose([A, B, C]) for _ in range(6)} == {C}
    assert {balance.choose([A, B]) for _ in range(6)} == {B}
    assert balance.choose([A]) == A
    said[B.session] = Health.UNKNOWN  # it says nothing
    assert {balance.choose([A, B]) for _ in range(6)} == {B}
    balance.reported(C, "0")
    assert {balance.choose([A, B, C]) for _ in range(6)} == {B, C}


def test_another_policy_is_refused():
    with pytest.raises(ValueError, match="least-loaded, round-robin"):
        Balance("fastest")  # type: ignore[arg-type]
