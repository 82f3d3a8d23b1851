/* Groups: words that are claimed, settled, given back; the floor; duplicates; what the ring has dropped. */
#include "group_rig.h"

enum { WINDOW = 8 };
static struct group_rig page;
static struct shmbus_group a, b;

static void begin_at(uint64_t sequence, uint32_t producers) {
    page = group_rig(WINDOW, producers);
    a = rig_member(&page, 0, 0);
    b = rig_member(&page, 0, 1);
    shmbus_group_place(&a, sequence);
}

static void end(void) { group_rig_close(&page); }

static struct shmbus_taken first(uint64_t sequence) { return (struct shmbus_taken){sequence, 1}; }

static bool settle(const struct shmbus_group *group, struct shmbus_taken taken) {
    uint64_t advanced = 0;
    return shmbus_group_settle(group, taken, &advanced);
}

static void claim(const struct shmbus_group *group, uint64_t sequence) {
    CHECK_EQUAL(shmbus_group_claim(group, sequence, 1), SHMBUS_OK);
}

TEST(a_message_is_claimed_once_and_settled_by_its_holder_only) {
    begin_at(1, 0);
    claim(&a, 1);
    CHECK_EQUAL(shmbus_group_claim(&b, 1, 1), SHMBUS_PASSED);
    CHECK(!settle(&b, first(1)));
    CHECK(!settle(&a, (struct shmbus_taken){1, 2}));
    CHECK_EQUAL(shmbus_group_floor(&a), 1);
    CHECK(settle(&a, first(1)));
    CHECK(!settle(&a, first(1)));
    CHECK_EQUAL(shmbus_group_floor(&b), 2);
    end();
}

TEST(the_floor_moves_over_settled_messages_only_and_over_all_of_them) {
    begin_at(1, 0);
    for (uint64_t s = 1; s <= 5; s++)
        claim(&a, s);
    for (uint64_t s = 5; s >= 2; s--)
        CHECK(settle(&a, first(s)));
    CHECK_EQUAL(shmbus_group_floor(&a), 1);
    uint64_t advanced = 0;
    CHECK(shmbus_group_settle(&a, first(1), &advanced));
    CHECK_EQUAL(advanced, 5);
    CHECK_EQUAL(shmbus_group_floor(&a), 6);
    CHECK_EQUAL(shmbus_group_seek(&b, 0), 6);
    end();
}

TEST(no_more_than_the_window_is_out_and_whoever_waits_for_it_is_known) {
    begin_at(1, 0);
    for (uint64_t s = 1; s <= WINDOW; s++)
        claim(&a, s);
    CHECK_EQUAL(shmbus_group_claim(&b, WINDOW + 1, 1), SHMBUS_WINDOW);
    CHECK(!shmbus_group_unblock(&a));
    CHECK(!shmbus_group_open(&b, WINDOW + 1));
    CHECK(settle(&a, first(1)));
    CHECK(shmbus_group_unblock(&a));
    CHECK(!shmbus_group_unblock(&a));
    CHECK(shmbus_group_open(&b, WINDOW + 1));
    claim(&b, WINDOW + 1);
    end();
}

TEST(what_is_given_back_is_given_out_again_oldest_first_and_counted) {
    begin_at(1, 0);
    struct shmbus_taken taken;
    for (uint64_t s = 1; s <= 4; s++)
        claim(&a, s);
    CHECK(!shmbus_group_retake(&b, 1, &taken));
    CHECK_EQUAL(shmbus_group_return(&a, first(3)), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_return(&a, first(2)), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_return(&a, first(2)), SHMBUS_PASSED);
    CHECK(shmbus_group_retake(&b, 1, &taken) && taken.sequence == 2 && taken.tries == 2);
    CHECK(!settle(&a, first(2)));
    CHECK_EQUAL(shmbus_group_return(&b, taken), SHMBUS_OK);
    CHECK(shmbus_group_retake(&a, 1, &taken) && taken.sequence == 2 && taken.tries == 3);
    CHECK(!settle(&b, (struct shmbus_taken){2, 2}));
    CHECK(settle(&a, taken));
    end();
}

TEST(a_dead_members_messages_are_given_back_and_nobody_elses) {
    begin_at(100, 0);
    for (uint64_t s = 100; s < 106; s++)
        claim(s % 2 ? &a : &b, s);
    CHECK(settle(&a, first(101)));
    CHECK_EQUAL(shmbus_group_reap(&b, 0), 2);
    CHECK_EQUAL(shmbus_group_reap(&b, 0), 0);
    struct shmbus_taken taken;
    CHECK(shmbus_group_retake(&b, 1, &taken) && taken.sequence == 103);
    CHECK(shmbus_group_retake(&b, 1, &taken) && taken.sequence == 105);
    CHECK(!shmbus_group_retake(&b, 1, &taken));
    end();
}

TEST(what_is_held_for_too_long_is_given_back_unless_it_is_extended) {
    begin_at(1, 0);
    const uint64_t ms = 1000000;
    CHECK_EQUAL(shmbus_group_claim(&a, 1, 10 * ms), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_claim(&a, 2, 10 * ms), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_expire(&b, 20 * ms, 10 * ms), 0);
    CHECK(shmbus_group_extend(&a, first(2), 20 * ms));
    CHECK(!shmbus_group_extend(&b, first(2), 90 * ms)); /* and nothing has changed */
    CHECK_EQUAL(shmbus_group_expire(&b, 21 * ms, 10 * ms), 1);
    CHECK_EQUAL(shmbus_group_expire(&b, 31 * ms, 10 * ms), 1);
    struct shmbus_taken taken;
    CHECK(shmbus_group_retake(&b, 40 * ms, &taken) && taken.sequence == 1);
    CHECK(!settle(&a, first(1)));
    end();
}

TEST(a_holder_that_never_said_since_when_has_its_time_from_the_first_look_on) {
    begin_at(1, 0);
    const uint64_t ms = 1000000;
    CHECK_EQUAL(shmbus_group_claim(&a, 1, 10 * ms), SHMBUS_OK);
    atomic_store(&a.times[1], 0); /* as one that was stopped right after the claim */
    CHECK_EQUAL(shmbus_group_expire(&b, 1000 * ms, 10 * ms), 0);
    CHECK_EQUAL(shmbus_group_expire(&b, 1005 * ms, 10 * ms), 0);
    CHECK_EQUAL(shmbus_group_expire(&b, 1011 * ms, 10 * ms), 1);
    end();
}

TEST(laps_go_round_and_sequences_jump_to_a_successor) {
    begin_at((1ull << 32) - 4, 0);
    for (uint64_t s = (1ull << 32) - 4; s < (1ull << 32) + 40; s++) {
        CHECK_EQUAL(shmbus_group_seek(&a, 0), s);
        claim(&a, s);
        CHECK(settle(&a, first(s)));
    }
    uint64_t sealed = (1ull << 32) + 40, next = 5ull << 32;
    CHECK(shmbus_group_settled(&a, sealed));
    CHECK_EQUAL(shmbus_group_claim(&b, next, 1), SHMBUS_WINDOW);
    CHECK(shmbus_group_bridge(&a, sealed, next));
    CHECK(shmbus_group_bridge(&b, sealed, next)); /* the other one comes later */
    CHECK_EQUAL(shmbus_group_floor(&b), next);
    CHECK_EQUAL(shmbus_group_seek(&b, 0), next);
    claim(&b, next);
    CHECK(settle(&b, first(next)));
    CHECK_EQUAL(shmbus_group_floor(&a), next + 1);
    end();
}

TEST(a_ring_is_not_left_before_everything_in_it_is_settled) {
    begin_at(1, 0);
    claim(&a, 1);
    claim(&b, 2);
    CHECK(settle(&b, first(2)));
    CHECK(!shmbus_group_settled(&b, 3));
    CHECK(!shmbus_group_bridge(&b, 3, 1ull << 32));
    CHECK(settle(&a, first(1)));
    CHECK(shmbus_group_unblock(&a)); /* b waits for it */
    CHECK(shmbus_group_bridge(&b, 3, 1ull << 32));
    end();
}

TEST(what_the_ring_dropped_is_counted_once_and_what_somebody_holds_stays_theirs) {
    begin_at(1, 0);
    for (uint64_t s = 1; s <= 4; s++)
        claim(&a, s);
    CHECK(settle(&a, first(2)));
    CHECK_EQUAL(shmbus_group_return(&a, first(3)), SHMBUS_OK);
    /* 1 and 4 are held, 2 settled, 3 given back, 5 to 99 not given out: 96 are lost */
    CHECK_EQUAL(shmbus_group_skip(&b, 100), 96);
    CHECK_EQUAL(shmbus_group_skip(&b, 100), 0);
    CHECK_EQUAL(shmbus_group_floor(&b), 100);
    CHECK_EQUAL(shmbus_group_seek(&b, 0), 100);
    CHECK(settle(&a, first(4)));
    CHECK_EQUAL(atomic_load(&a.lane->untold), 0);
    CHECK_EQUAL(shmbus_group_return(&a, first(1)), SHMBUS_OVERRUN);
    CHECK_EQUAL(atomic_load(&a.lane->untold), 1);
    CHECK_EQUAL(shmbus_group_floor(&b), 100);
    claim(&b, 100);
    end();
}

TEST(messages_that_are_not_there_are_settled_in_passing) {
    begin_at(1, 0);
    CHECK_EQUAL(shmbus_group_pass(&a, 1), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_pass(&b, 1), SHMBUS_PASSED);
    CHECK_EQUAL(shmbus_group_advance(&b), 1);
    CHECK_EQUAL(shmbus_group_seek(&b, 0), 2);
    end();
}

TEST(a_number_that_is_not_above_all_before_it_is_a_duplicate) {
    begin_at(1, 4);
    CHECK_EQUAL(shmbus_group_judge(&a, 1, 1, 10, 1), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_judge(&b, 1, 1, 10, 1), SHMBUS_PASSED);
    CHECK_EQUAL(shmbus_group_judge(&a, 2, 1, 10, 1), SHMBUS_STEPPED);
    CHECK_EQUAL(shmbus_group_judge(&a, 3, 1, 9, 1), SHMBUS_STEPPED);
    CHECK_EQUAL(shmbus_group_judge(&b, 4, 2, 1, 1), SHMBUS_OK); /* of another producer */
    CHECK_EQUAL(shmbus_group_judge(&a, 5, 1, 11, 1), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_seek(&b, 0), 6);
    CHECK_EQUAL(atomic_load(&a.lane->duplicates), 2);
    CHECK(settle(&a, first(1)));
    CHECK_EQUAL(shmbus_group_floor(&a), 4);
    end();
}

TEST(a_judgement_whose_maker_died_is_carried_out_by_the_next) {
    begin_at(1, 4);
    CHECK_EQUAL(shmbus_group_judge(&a, 1, 1, 5, 1), SHMBUS_OK);
    atomic_store(&a.judged[1], 6ull << 25 | 2);             /* 2 is new, and the word was not stored */
    CHECK_EQUAL(shmbus_group_judge(&b, 2, 1, 6, 1), SHMBUS_OK);
    atomic_store(&a.judged[1], 6ull << 25 | 1u << 24 | 3);  /* 3 is a duplicate */
    CHECK_EQUAL(shmbus_group_judge(&b, 3, 1, 6, 1), SHMBUS_STEPPED);
    end();
}

TEST(a_judgement_that_is_2_to_the_24_messages_old_is_not_taken_for_todays) {
    begin_at(1ull << 24, 4);
    atomic_store(&a.judged[1], 6ull << 25 | (1ull << 24) % (1u << 24)); /* of sequence 0, to the bit */
    CHECK_EQUAL(shmbus_group_judge(&a, 1ull << 24, 1, 7, 1), SHMBUS_OK);
    atomic_store(&a.judged[1], 7ull << 25 | 1u << 24 | 1); /* a duplicate, as long ago */
    CHECK_EQUAL(shmbus_group_judge(&a, (1ull << 24) + 1, 1, 8, 1), SHMBUS_OK);
    end();
}

TEST(a_page_of_another_kind_or_size_is_refused) {
    begin_at(1, 4);
    struct shmbus_group_setup setup;
    CHECK_EQUAL(shmbus_group_check(page.memory, page.size, rig_boot, &setup), SHMBUS_OK);
    CHECK_EQUAL(setup.window, WINDOW);
    CHECK_EQUAL(shmbus_session_check(page.memory, page.size, rig_boot), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_check(page.memory, page.size - 1, rig_boot, &setup), SHMBUS_BAD_SIZE);
    CHECK_EQUAL(shmbus_group_check(page.memory, page.size, (const uint8_t *)"another boot id!", &setup), SHMBUS_OTHER_BOOT);
    struct rig_session session = rig_session(5, 600);
    CHECK_EQUAL(shmbus_group_check(session.page, shmbus_session_bytes(600), rig_boot, &setup), SHMBUS_FOREIGN);
    rig_session_close(&session);
    shmbus_group_page(page.memory, page.setup.lanes)->window = 1u << 15;
    CHECK_EQUAL(shmbus_group_check(page.memory, page.size, rig_boot, &setup), SHMBUS_BAD_SIZE);
    struct shmbus_group view;
    CHECK(!shmbus_group_view(&view, page.memory, &page.setup, 2, 0));
    CHECK(!shmbus_group_view(&view, page.memory, &page.setup, 0, SHMBUS_MEMBERS));
    end();
}

TEST(no_group_has_nonsense_sizes) {
    const struct shmbus_group_setup nonsense[] = {{0, 8, 0}, {1, 0, 0}, {1, 7, 0}, {1, 1u << 17, 0}, {1, 8, 5000}, {1u << 17, 8, 0}};
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++)
        CHECK_EQUAL(shmbus_group_bytes(&nonsense[i]), 0);
}
