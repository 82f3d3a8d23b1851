/* Budgets: what may be published when, and what has been published by whom. */
#include "rig.h"

enum { SECOND = 1000000000 };

TEST(a_second_s_worth_may_go_at_once_and_then_one_after_the_other) {
    struct shmbus_budget budget = {.messages.per_second = 100};
    uint64_t now = 5 * (uint64_t)SECOND;
    for (int n = 0; n < 100; n++) {
        CHECK_EQUAL(shmbus_budget_wait(&budget, now, 1), 0);
        shmbus_budget_spend(&budget, now, 1);
    }
    for (int n = 0; n < 1000; n++) {
        uint64_t wait = shmbus_budget_wait(&budget, now, 1);
        CHECK_EQUAL(wait, SECOND / 100);
        CHECK_EQUAL(shmbus_budget_wait(&budget, now + wait - 1, 1), 1);
        now += wait;
        shmbus_budget_spend(&budget, now, 1);
    }
}

TEST(what_was_not_spent_is_kept_for_a_second_and_no_longer) {
    struct shmbus_budget budget = {.messages.per_second = 10};
    uint64_t now = SECOND, went = 0;
    for (int second = 0; second < 2; second++, now += 3600 * (uint64_t)SECOND, went = 0) {
        for (; shmbus_budget_wait(&budget, now, 0) == 0; went++)
            shmbus_budget_spend(&budget, now, 0);
        CHECK_EQUAL(went, 10);
    }
}

TEST(no_rate_is_lost_or_won_by_rounding) {
    struct shmbus_budget budget = {.messages.per_second = 300000007}; /* 3.33 nanoseconds each */
    budget.messages.full_ns = 2 * (uint64_t)SECOND;                    /* as if what may go at once had gone */
    uint64_t went = 0;
    for (uint64_t now = SECOND; now < SECOND + 10000000u; now++)
        for (; shmbus_budget_wait(&budget, now, 0) == 0; went++)
            shmbus_budget_spend(&budget, now, 0);
    CHECK(went >= 2999998 && went <= 3000001);
}

TEST(a_message_larger_than_a_second_s_worth_goes_when_nothing_is_owed_and_is_owed_then) {
    struct shmbus_budget budget = {.bytes.per_second = 1000};
    uint64_t now = SECOND;
    CHECK_EQUAL(shmbus_budget_wait(&budget, now, 5000), 0);
    shmbus_budget_spend(&budget, now, 5000);
    CHECK_EQUAL(shmbus_budget_wait(&budget, now, 1), 4 * (uint64_t)SECOND + SECOND / 1000);
    CHECK_EQUAL(shmbus_budget_wait(&budget, now + 4 * (uint64_t)SECOND, 1000), SECOND);
    CHECK_EQUAL(shmbus_budget_wait(&budget, now + 5 * (uint64_t)SECOND, 5000), 0);
}

TEST(the_tighter_of_two_limits_holds) {
    struct shmbus_budget budget = {.messages.per_second = 10, .bytes.per_second = 100};
    shmbus_budget_spend(&budget, SECOND, 100);
    CHECK_EQUAL(shmbus_budget_wait(&budget, SECOND, 10), SECOND / 10);
    for (int n = 0; n < 9; n++)
        shmbus_budget_spend(&budget, 2 * (uint64_t)SECOND, 1);
    CHECK_EQUAL(shmbus_budget_wait(&budget, 2 * (uint64_t)SECOND, 1), 0);
    shmbus_budget_spend(&budget, 2 * (uint64_t)SECOND, 1);
    CHECK_EQUAL(shmbus_budget_wait(&budget, 2 * (uint64_t)SECOND, 1), SECOND / 10);
}

TEST(a_budget_of_nothing_limits_nothing) {
    struct shmbus_budget budget = {0};
    for (int n = 0; n < 1000; n++) {
        CHECK_EQUAL(shmbus_budget_wait(&budget, SECOND, UINT64_MAX / 2), 0);
        shmbus_budget_spend(&budget, SECOND, UINT64_MAX / 2);
    }
}

/* ---- who has published how much ------------------------------------------------------------------------------------ */

TEST(a_tally_adds_up_messages_and_bytes_of_each_producer) {
    struct rig rig = rig_small(64, 65536);
    struct shmbus_writer one, two;
    shmbus_writer_init(&one, &rig.ring, 1);
    shmbus_writer_init(&two, &rig.ring, 2);
    for (uint64_t n = 1; n <= 6; n++)
        rig_must_publish(n % 3 ? &one : &two, n, 100);
    struct shmbus_share *shares = calloc(rig.ring.producers + 1, sizeof *shares);
    uint64_t next = shmbus_tally(&rig.ring, 1, shares);
    CHECK_EQUAL(next, 7);
    CHECK_EQUAL(shares[1].messages, 4);
    CHECK_EQUAL(shares[1].bytes, 400);
    CHECK_EQUAL(shares[2].messages, 2);
    CHECK_EQUAL(shares[2].largest, 100);
    rig_must_publish(&two, 7, 50);
    CHECK_EQUAL(shmbus_tally(&rig.ring, next, shares), 8);
    CHECK_EQUAL(shares[2].messages, 3);
    CHECK_EQUAL(shares[2].bytes, 250);
    CHECK_EQUAL(shares[1].messages, 4);
    CHECK_EQUAL(shmbus_tally(&rig.ring, 100, shares), 8); /* of a ring that has not come so far */
    free(shares);
    rig_close(&rig);
}

TEST(a_tally_counts_no_more_than_what_the_slots_still_say) {
    struct rig rig = rig_small(64, 65536);
    struct shmbus_writer writer;
    shmbus_writer_init(&writer, &rig.ring, 1);
    for (uint64_t n = 1; n <= 1000; n++)
        rig_must_publish(&writer, n, 20);
    struct shmbus_share *shares = calloc(rig.ring.producers + 1, sizeof *shares);
    CHECK_EQUAL(shmbus_tally(&rig.ring, 1, shares), 1001);
    CHECK(shares[1].messages >= 63 && shares[1].messages <= 64);
    free(shares);
    rig_close(&rig);
}

TEST(a_tally_passes_over_what_is_not_committed) {
    struct rig rig = rig_small(64, 65536);
    struct shmbus_writer writer;
    shmbus_writer_init(&writer, &rig.ring, 1);
    rig_must_publish(&writer, 1, 20);
    uint64_t word;
    rig_claim(&rig.ring, 2, 2, true, &word);
    struct shmbus_share *shares = calloc(rig.ring.producers + 1, sizeof *shares);
    CHECK_EQUAL(shmbus_tally(&rig.ring, 1, shares), 3);
    CHECK_EQUAL(shares[1].messages, 1);
    CHECK_EQUAL(shares[2].messages, 0);
    free(shares);
    rig_close(&rig);
}
