"""Which calls are made again, and when."""

import pytest

from shmbus.rpc.failure import failure
from shmbus.rpc.operations import EXECUTE_TASK, HEALTH_CHECK
from shmbus.rpc.retry import NEVER, Retry


def unavailable(code="PROCESS_NOT_FOUND", status="UNAVAILABLE", **context):
    return failure("lab", HEALTH_CHECK, code, "it died", status=status, context=context)


def test_the_delay_doubles_to_the_longest_and_is_a_random_part_of_that():
    policy = Retry(attempts=9, first=0.1, longest=0.5)
    delays = [policy.delay(unavailable(), HEALTH_CHECK, False, attempts, 1.0) for attempts in range(1, 7)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.5, 0.5])
    assert policy.delay(unavailable(), HEALTH_CHECK, False, 1, 0.25) == pytest.approx(0.025)


def test_only_so_many_attempts():
    assert Retry(attempts=2).delay(unavailable(), HEALTH_CHECK, False, 1, 0.5) is not None
    assert Retry(attempts=2).delay(unavailable(), HEALTH_CHECK, False, 2, 0.5) is None
    assert NEVER.delay(unavailable(), HEALTH_CHECK, False, 1, 0.5) is None


def test_what_is_not_idempotent_is_made_again_only_with_a_key():
    assert Retry().delay(unavailable(), EXECUTE_TASK, False, 1, 0.5) is None
    assert Retry().delay(unavailable(), EXECUTE_TASK, True, 1, 0.5) is not None


@pytest.mark.parametrize(
    "error",
    [
        unavailable("REGISTRATION_NOT_FOUND"),
        unavailable("INVALID_STATE", circuit_breaker_state="open"),
        unavailable("DEADLINE_EXCEEDED", "TIMEOUT"),
        unavailable("EXECUTION_ERROR", "ERROR"),
        unavailable("CLIENT_SHUTDOWN", "CANCELLED"),
    ],
    ids=["nobody serves", "breaker open", "deadline", "the handler raised", "cancelled"],
)
def test_what_another_attempt_cannot_help_is_not_made_again(error):
    assert Retry().delay(error, HEALTH_CHECK, True, 1, 0.5) is None
