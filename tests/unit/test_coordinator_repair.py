"""What is judged about unfinished claims, told as histories: no process, no ring, no clock."""

from shmbus.coordinator.repair import Claim, ClaimWatch

SECOND = 1_000_000_000


def judge(watch, now, claims, *, dead=(), head=1, gone_round=False):
    return watch.judge(now * SECOND, head, claims, lambda producer: producer in dead, gone_round=gone_round)


def test_the_claims_of_a_dead_owner_are_repaired_at_once_and_once():
    verdict = judge(ClaimWatch(SECOND), 0, [Claim(1, 7, False), Claim(2, 7, True), Claim(3, 8, False)], dead={7})
    assert (verdict.repair, verdict.skip) == ([7], [])


def test_a_live_owner_has_the_claim_timeout_to_finish():
    watch, claim = ClaimWatch(SECOND), Claim(5, 7, False)
    verdict = judge(watch, 10, [claim])
    assert (verdict.skip, verdict.look_again_ns) == ([], 11 * SECOND)
    assert judge(watch, 10.9, [claim]).skip == []
    assert judge(watch, 11, [claim]).skip == [claim]


def test_a_claim_that_was_finished_in_time_starts_no_clock_for_the_next_one():
    watch = ClaimWatch(SECOND)
    judge(watch, 10, [Claim(5, 7, False)])
    judge(watch, 10.5, [])
    assert judge(watch, 11, [Claim(6, 7, False)]).skip == []
    assert judge(watch, 12, [Claim(6, 7, False)]).skip == [Claim(6, 7, False)]


def test_the_next_look_is_when_the_oldest_claim_is_overdue():
    watch = ClaimWatch(SECOND)
    judge(watch, 10, [Claim(5, 7, False)])
    assert judge(watch, 10.5, [Claim(5, 7, False), Claim(6, 8, False)]).look_again_ns == 11 * SECOND


def test_a_skipped_claim_at_the_head_of_a_full_ring_moves_the_topic_on():
    held = [Claim(1, 7, True)]
    assert judge(ClaimWatch(SECOND), 0, held, gone_round=True).continue_elsewhere
    assert not judge(ClaimWatch(SECOND), 0, held, gone_round=False).continue_elsewhere
    assert not judge(ClaimWatch(SECOND), 0, held, head=0, gone_round=True).continue_elsewhere


def test_a_skipped_claim_whose_owner_died_is_repaired_and_the_topic_stays():
    verdict = judge(ClaimWatch(SECOND), 0, [Claim(1, 7, True)], dead={7}, gone_round=True)
    assert (verdict.repair, verdict.continue_elsewhere) == ([7], False)
