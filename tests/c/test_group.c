/* Groups: what their words say when one member does one thing after the other. Races are stress_group.c's, and their ledger is
 * test_group_ledger.c's: here there is none, as in the layout before it. */
#include <string.h>

#include "rig.h"

enum { WINDOW = 8, MS = 1000000 };
#define GENERATION (1ull << 32) /* a successor's sequences start at a multiple of it, at most one and a half further up */

static struct rig_group page;
static struct shmbus_group anna, bert;

static void open_group(uint32_t window, uint32_t producers, uint64_t first) {
    page = rig_group(9, 2, window, producers, 0);
    anna = rig_member(&page, 1, 3);
    bert = rig_member(&page, 1, 63);
    shmbus_group_place(&anna, first);
}

static struct shmbus_taken taken(uint64_t sequence, uint32_t tries) { return (struct shmbus_taken){sequence, tries}; }

static bool settle(const struct shmbus_group *who, uint64_t sequence, uint32_t tries) {
    uint64_t advanced = 0;
    return shmbus_group_settle(who, taken(sequence, tries), &advanced);
}

static bool all_settled(const struct shmbus_group *who, uint64_t sequence) {
    uint64_t advanced = 0, floor = shmbus_group_floor(who);
    bool settled = shmbus_group_settled(who, sequence, &advanced);
    CHECK_EQUAL(shmbus_group_floor(who), floor + advanced);
    return settled;
}

static void must_claim(const struct shmbus_group *who, uint64_t from, uint64_t count) {
    for (uint64_t at = from; at < from + count; at++)
        CHECK_EQUAL(shmbus_group_claim(who, at, MS), SHMBUS_OK);
}

static bool retake(const struct shmbus_group *who, uint64_t sequence, uint32_t tries) {
    struct shmbus_taken again = {0, 0};
    return shmbus_group_retake(who, MS, &again) && again.sequence == sequence && again.tries == tries;
}

static uint64_t floor_now(void) { return shmbus_group_floor(&anna); }
static uint64_t untold(void) { return atomic_load(&anna.lane->untold); }

/* ---- one holder, and until it is settled ---- */

TEST(a_message_is_given_to_the_first_who_claims_it_and_to_nobody_else) {
    open_group(WINDOW, 0, 1);
    CHECK_EQUAL(shmbus_group_claim(&anna, 1, MS), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_claim(&bert, 1, MS), SHMBUS_PASSED);
    CHECK_EQUAL(shmbus_group_claim(&anna, 1, MS), SHMBUS_PASSED);
    CHECK(!settle(&bert, 1, 1));
    CHECK_EQUAL(shmbus_group_return(&bert, taken(1, 1)), SHMBUS_PASSED);
    CHECK(settle(&anna, 1, 1));
    CHECK(!settle(&anna, 1, 1));
    CHECK_EQUAL(shmbus_group_claim(&bert, 1, MS), SHMBUS_PASSED);
}

static uint32_t claim_run(const struct shmbus_group *who, uint64_t from, uint32_t count, enum shmbus_result expected) {
    CHECK_EQUAL(shmbus_group_claim_run(who, from, &count, MS), expected);
    return count;
}

TEST(a_run_ends_before_what_another_was_given_and_where_the_window_ends) {
    open_group(WINDOW, 0, 1);
    must_claim(&bert, 4, 1);
    CHECK_EQUAL(claim_run(&anna, 1, 100, SHMBUS_OK), 3);
    CHECK_EQUAL(shmbus_group_next(&anna), 4);
    CHECK_EQUAL(shmbus_group_seek(&bert, 1), 5);
    CHECK_EQUAL(claim_run(&anna, 4, 100, SHMBUS_PASSED), 0);
    CHECK_EQUAL(shmbus_group_next(&anna), 5);
    CHECK_EQUAL(claim_run(&anna, 5, 100, SHMBUS_OK), WINDOW - 4);
    CHECK_EQUAL(claim_run(&anna, WINDOW + 1, 100, SHMBUS_WINDOW), 0);
    CHECK_EQUAL(shmbus_group_next(&bert), WINDOW + 1);
}

TEST(a_run_is_settled_as_far_as_it_is_still_held) {
    open_group(WINDOW, 0, 1);
    CHECK_EQUAL(claim_run(&anna, 1, 6, SHMBUS_OK), 6);
    CHECK_EQUAL(shmbus_group_return(&anna, taken(3, 1)), SHMBUS_OK);
    CHECK(retake(&bert, 3, 2));
    CHECK_EQUAL(shmbus_group_settle_run(&anna, taken(1, 1), 5), 4);
    CHECK_EQUAL(shmbus_group_advance(&anna), 2);
    CHECK_EQUAL(shmbus_group_reap(&bert, 3), 1); /* of anna, who had the last one still */
    CHECK(settle(&bert, 3, 2));
    CHECK_EQUAL(floor_now(), 6);
}

TEST(where_duplicates_are_removed_a_run_is_one_message) {
    open_group(WINDOW, 4, 1);
    CHECK_EQUAL(claim_run(&anna, 1, 6, SHMBUS_OK), 1);
    CHECK_EQUAL(shmbus_group_next(&anna), 2);
}

TEST(who_was_passed_in_a_run_does_not_leave_next_behind) {
    open_group(WINDOW, 0, 1);
    must_claim(&bert, 1, 2);
    atomic_store(&anna.lane->next, 1); /* as one leaves it who was killed before it moved that */
    CHECK_EQUAL(shmbus_group_seek(&anna, 1), 3);
    atomic_store(&anna.lane->next, 4); /* another was passed at 3 while the run is being claimed */
    CHECK_EQUAL(claim_run(&anna, 3, 4, SHMBUS_OK), 4);
    CHECK_EQUAL(shmbus_group_next(&anna), 7);
}

TEST(the_floor_passes_what_is_settled_and_nothing_else) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, 4);
    uint64_t advanced = 0;
    CHECK(shmbus_group_settle(&anna, taken(2, 1), &advanced));
    CHECK(shmbus_group_settle_quietly(&anna, taken(4, 1)));
    CHECK_EQUAL(advanced, 0);
    CHECK(!all_settled(&anna, 2));
    CHECK(shmbus_group_settle(&anna, taken(1, 1), &advanced));
    CHECK_EQUAL(advanced, 2);
    CHECK_EQUAL(floor_now(), 3);
    CHECK(shmbus_group_settle_quietly(&anna, taken(3, 1)));
    CHECK_EQUAL(floor_now(), 3);
    CHECK(all_settled(&bert, 5)); /* looks for itself */
    CHECK_EQUAL(floor_now(), 5);
}

TEST(no_more_than_the_window_is_given_out) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, WINDOW);
    CHECK_EQUAL(shmbus_group_claim(&bert, WINDOW + 1, MS), SHMBUS_WINDOW);
    CHECK_EQUAL(shmbus_group_pass(&bert, WINDOW + 1), SHMBUS_WINDOW);
    CHECK(settle(&anna, 2, 1));
    CHECK_EQUAL(shmbus_group_claim(&bert, WINDOW + 1, MS), SHMBUS_WINDOW);
    CHECK(settle(&anna, 1, 1));
    CHECK_EQUAL(shmbus_group_claim(&bert, WINDOW + 1, MS), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_claim(&bert, WINDOW + 2, MS), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_claim(&bert, WINDOW + 3, MS), SHMBUS_WINDOW);
}

TEST(members_look_behind_what_the_others_were_given) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, 3);
    CHECK_EQUAL(shmbus_group_next(&bert), 4);
    atomic_store(&anna.lane->next, 2); /* by one that was stopped in the middle of a claim */
    CHECK_EQUAL(shmbus_group_seek(&bert, 0), 4);
    CHECK_EQUAL(shmbus_group_seek(&bert, 3), 4);
    CHECK_EQUAL(shmbus_group_seek(&bert, 6), 6);
    must_claim(&anna, 4, WINDOW - 3);
    CHECK_EQUAL(shmbus_group_seek(&bert, 0), WINDOW + 1);
}

TEST(what_is_given_back_is_given_out_again_oldest_first_and_says_how_often) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, 4);
    CHECK(!retake(&bert, 0, 0));
    uint64_t returned = atomic_load(&anna.lane->returned);
    CHECK_EQUAL(shmbus_group_return(&anna, taken(3, 1)), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_return(&anna, taken(2, 1)), SHMBUS_OK);
    CHECK_EQUAL(atomic_load(&anna.lane->returned), returned + 2);
    CHECK_EQUAL(shmbus_group_claim(&bert, 2, MS), SHMBUS_PASSED);
    CHECK(retake(&bert, 2, 2));
    CHECK(retake(&anna, 3, 2));
    CHECK_EQUAL(atomic_load(&anna.lane->redelivered), 2);
    CHECK_EQUAL(shmbus_group_return(&bert, taken(2, 2)), SHMBUS_OK);
    CHECK(retake(&bert, 2, 3));
    CHECK(settle(&anna, 1, 1) && settle(&anna, 3, 2) && settle(&anna, 4, 1));
    CHECK_EQUAL(floor_now(), 2);
    CHECK(settle(&bert, 2, 3));
    CHECK_EQUAL(floor_now(), 5);
}

TEST(what_is_given_back_can_be_looked_at_before_it_is_taken) {
    struct shmbus_taken again;
    uint64_t sequence = 0;
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, 4);
    CHECK(!shmbus_group_returned(&bert, &sequence));
    CHECK_EQUAL(shmbus_group_return(&anna, taken(3, 1)), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_return(&anna, taken(2, 1)), SHMBUS_OK);
    CHECK(shmbus_group_returned(&bert, &sequence));
    CHECK_EQUAL(sequence, 2);
    CHECK(!shmbus_group_retake_at(&bert, 1, MS, &again)); /* anna has it */
    CHECK(!shmbus_group_retake_at(&bert, 5, MS, &again)); /* nobody was given it */
    CHECK(!shmbus_group_retake_at(&bert, 2 + WINDOW, MS, &again)); /* another lap of the same word */
    CHECK(shmbus_group_retake_at(&bert, 3, MS, &again));
    CHECK_EQUAL(again.sequence, 3);
    CHECK_EQUAL(again.tries, 2);
    CHECK(!shmbus_group_retake_at(&anna, 3, MS, &again)); /* bert was faster */
    CHECK(shmbus_group_returned(&bert, &sequence));
    CHECK_EQUAL(sequence, 2);
}

TEST(a_holder_that_comes_late_changes_nothing) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, 1);
    CHECK_EQUAL(shmbus_group_return(&anna, taken(1, 1)), SHMBUS_OK);
    CHECK(!settle(&anna, 1, 1));
    CHECK(retake(&anna, 1, 2)); /* even the same member */
    CHECK(!settle(&anna, 1, 1));
    CHECK_EQUAL(shmbus_group_return(&anna, taken(1, 1)), SHMBUS_PASSED);
    CHECK(!shmbus_group_extend(&anna, taken(1, 1), MS));
    CHECK(shmbus_group_extend(&anna, taken(1, 2), MS));
    CHECK(settle(&anna, 1, 2));
    must_claim(&anna, 2, WINDOW - 1);
    must_claim(&bert, WINDOW + 1, 1); /* the word of 1, a lap later */
    CHECK(!settle(&bert, 1, 1));
    CHECK(!settle(&anna, 1, 2));
    CHECK_EQUAL(shmbus_group_return(&bert, taken(1, 1)), SHMBUS_PASSED);
}

TEST(tries_are_counted_up_to_the_largest_number_and_stay_there) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, 1);
    for (uint32_t tries = 1; tries < SHMBUS_MAX_TRIES + 10; tries++) {
        uint32_t now = tries < SHMBUS_MAX_TRIES ? tries : SHMBUS_MAX_TRIES;
        CHECK_EQUAL(shmbus_group_return(&anna, taken(1, now)), SHMBUS_OK);
        CHECK(retake(&anna, 1, now < SHMBUS_MAX_TRIES ? now + 1 : now));
    }
    CHECK(settle(&anna, 1, SHMBUS_MAX_TRIES));
}

TEST(what_a_dead_member_held_is_given_back_and_what_the_others_hold_is_not) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, 2);
    must_claim(&bert, 3, 2);
    CHECK(shmbus_group_settle_quietly(&bert, taken(3, 1))); /* and died before it looked at the floor */
    CHECK(settle(&anna, 1, 1) && settle(&anna, 2, 1));
    must_claim(&bert, 5, 1);
    must_claim(&anna, 6, 1);
    CHECK_EQUAL(shmbus_group_reap(&bert, 63), 2);
    CHECK_EQUAL(shmbus_group_reap(&anna, 63), 0);
    CHECK(retake(&anna, 4, 2));
    CHECK(retake(&anna, 5, 2));
    CHECK(!retake(&anna, 0, 0));
    CHECK(settle(&anna, 6, 1) && settle(&anna, 5, 2) && settle(&anna, 4, 2));
    CHECK_EQUAL(floor_now(), 7);
}

TEST(reaping_moves_the_floor_that_the_dead_member_left) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, 1);
    CHECK(shmbus_group_settle_quietly(&anna, taken(1, 1)));
    CHECK_EQUAL(shmbus_group_reap(&bert, 3), 0);
    CHECK_EQUAL(floor_now(), 2);
}

/* ---- deadlines ---- */

TEST(what_is_held_for_too_long_is_given_back) {
    open_group(WINDOW, 0, 1);
    CHECK_EQUAL(shmbus_group_claim(&anna, 1, 100ull * MS), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_claim(&bert, 2, 105ull * MS), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_expire(&bert, 99ull * MS, 10 * MS), 0); /* another clock read, a little earlier */
    CHECK_EQUAL(shmbus_group_expire(&bert, 110ull * MS, 10 * MS), 0);
    CHECK_EQUAL(shmbus_group_expire(&bert, 111ull * MS, 10 * MS), 1);
    CHECK(!settle(&anna, 1, 1));
    CHECK(retake(&bert, 1, 2));
    CHECK(settle(&bert, 1, 2) && settle(&bert, 2, 1));
}

TEST(the_time_begins_anew_for_who_asks_for_it_and_holds_it) {
    open_group(WINDOW, 0, 1);
    CHECK_EQUAL(shmbus_group_claim(&anna, 1, 100ull * MS), SHMBUS_OK);
    CHECK(shmbus_group_extend(&anna, taken(1, 1), 110ull * MS));
    CHECK_EQUAL(shmbus_group_expire(&bert, 120ull * MS, 10 * MS), 0);
    CHECK_EQUAL(shmbus_group_expire(&bert, 121ull * MS, 10 * MS), 1);
    struct shmbus_taken again;
    CHECK(shmbus_group_retake(&bert, 121ull * MS, &again));
    CHECK(!shmbus_group_extend(&anna, taken(1, 1), 200ull * MS));
    CHECK_EQUAL(shmbus_group_expire(&anna, 131ull * MS, 10 * MS), 0);
    CHECK(!shmbus_group_extend(&anna, taken(1, 1), 200ull * MS));
    CHECK_EQUAL(shmbus_group_expire(&anna, 132ull * MS, 10 * MS), 1); /* for the other one that makes no difference */
}

TEST(a_holder_that_has_not_said_since_when_gets_the_whole_time_from_the_first_look_on) {
    open_group(WINDOW, 0, 1);
    CHECK_EQUAL(shmbus_group_claim(&anna, 1, 100ull * MS), SHMBUS_OK);
    atomic_store(&anna.times[1], 0); /* killed between the word and the time */
    CHECK_EQUAL(shmbus_group_expire(&bert, 500ull * MS, 10 * MS), 0);
    CHECK_EQUAL(shmbus_group_expire(&bert, 510ull * MS, 10 * MS), 0);
    CHECK_EQUAL(shmbus_group_expire(&bert, 511ull * MS, 10 * MS), 1);
}

/* ---- laps ---- */

static void go_round(uint64_t first, uint64_t count) {
    for (uint64_t at = first; at < first + count; at++) {
        const struct shmbus_group *who = at % 3 ? &anna : &bert;
        CHECK_EQUAL(shmbus_group_seek(who, 0), at);
        CHECK_EQUAL(shmbus_group_claim(who, at, MS), SHMBUS_OK);
        CHECK_EQUAL(shmbus_group_claim(&bert, at, MS), SHMBUS_PASSED);
        if (at % 2) {
            CHECK_EQUAL(shmbus_group_reap(&anna, who->member), 1);
            CHECK(!settle(who, at, 1));
            CHECK(retake(&bert, at, 2));
            CHECK(settle(&bert, at, 2));
        } else {
            CHECK(settle(who, at, 1));
        }
        CHECK_EQUAL(floor_now(), at + 1);
    }
}

TEST(a_group_goes_on_over_every_boundary_of_laps_and_sequences) {
    static const uint64_t starts[] = {1, 2, GENERATION, GENERATION << 1, 1ull << 40, 1ull << 49, 1ull << 51, 1ull << 62};
    for (uint32_t window = 2; window <= 64; window *= 2)
        for (uint32_t i = 0; i < sizeof starts / sizeof *starts; i++) {
            uint64_t first = starts[i] > 4 * window ? starts[i] - 2 * window - 1 : starts[i];
            open_group(window, 0, first);
            go_round(first, 5 * window);
            rig_group_close(&page);
        }
}

TEST(successors_leap_as_far_as_they_may_as_often_as_they_like_and_nothing_is_passed_over) {
    for (uint32_t window = 2; window <= 256; window *= 8)
        for (uint64_t each = 0; each < 4; each++) { /* so few that most words are never used */
            uint64_t first = 1;
            open_group(window, 0, first);
            for (uint32_t generation = 0; generation < 2000; generation++) {
                go_round(first, each);
                uint64_t sealed = first + each, next = (sealed / GENERATION + (generation % 2 ? 1 : 2)) * GENERATION;
                CHECK(all_settled(&anna, sealed));
                CHECK(shmbus_group_bridge(&anna, sealed, next));
                CHECK(shmbus_group_bridge(&bert, sealed, next)); /* another one that has seen the seal, later */
                CHECK_EQUAL(floor_now(), next);
                CHECK_EQUAL(shmbus_group_advance(&bert), 0); /* nothing there looks settled */
                first = next;
            }
            rig_group_close(&page);
        }
}

TEST(a_group_goes_on_in_the_successor_only_when_everything_before_the_seal_is_settled) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, 2);
    CHECK(settle(&anna, 2, 1));
    CHECK(!all_settled(&bert, 3));
    CHECK(!shmbus_group_bridge(&bert, 3, GENERATION));
    CHECK_EQUAL(floor_now(), 1);
    CHECK(shmbus_group_settle_quietly(&anna, taken(1, 1)));
    CHECK(shmbus_group_bridge(&bert, 3, GENERATION));
    CHECK_EQUAL(floor_now(), GENERATION);
    CHECK_EQUAL(shmbus_group_next(&anna), GENERATION);
    CHECK_EQUAL(shmbus_group_claim(&anna, 3, MS), SHMBUS_PASSED);
    must_claim(&anna, GENERATION, 1);
    CHECK(settle(&anna, GENERATION, 1));
    CHECK(shmbus_group_bridge(&bert, 3, GENERATION));
    CHECK(shmbus_group_bridge(&bert, GENERATION + 1, GENERATION)); /* never back */
    CHECK_EQUAL(floor_now(), GENERATION + 1);
}

/* ---- overruns ---- */

TEST(each_message_that_an_overrun_took_is_counted_once) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, 4);
    CHECK(settle(&anna, 2, 1));
    CHECK_EQUAL(shmbus_group_return(&anna, taken(3, 1)), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_skip(&bert, 7), 3); /* 3, 5 and 6; 1 and 4 are held */
    CHECK_EQUAL(shmbus_group_skip(&anna, 7), 0);
    CHECK_EQUAL(shmbus_group_skip(&anna, 5), 0);
    CHECK_EQUAL(floor_now(), 7);
    CHECK_EQUAL(shmbus_group_next(&bert), 7);
    CHECK(!retake(&bert, 0, 0));
    CHECK_EQUAL(shmbus_group_claim(&bert, 6, MS), SHMBUS_PASSED);
    CHECK(settle(&anna, 1, 1));
    CHECK_EQUAL(shmbus_group_return(&anna, taken(4, 1)), SHMBUS_OVERRUN);
    CHECK_EQUAL(shmbus_group_return(&anna, taken(4, 1)), SHMBUS_PASSED);
    CHECK_EQUAL(untold(), 1);
    must_claim(&bert, 7, WINDOW);
    CHECK_EQUAL(untold(), 1);
}

TEST(an_overrun_beyond_the_window_is_counted_to_the_last_message) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, WINDOW);
    CHECK_EQUAL(shmbus_group_skip(&anna, 1000000), 1000000 - 1 - WINDOW);
    CHECK_EQUAL(floor_now(), 1000000);
    CHECK_EQUAL(shmbus_group_reap(&bert, 3), WINDOW);
    CHECK_EQUAL(untold(), WINDOW);
    must_claim(&anna, 1000000, WINDOW);
    CHECK_EQUAL(untold(), WINDOW);
}

TEST(what_is_still_held_when_its_word_is_needed_again_is_counted_then) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, WINDOW);
    CHECK_EQUAL(shmbus_group_skip(&bert, WINDOW + 1), 0);
    must_claim(&bert, WINDOW + 1, 2);
    CHECK_EQUAL(untold(), 2);
    CHECK(!settle(&anna, 1, 1));
    CHECK_EQUAL(shmbus_group_return(&anna, taken(2, 1)), SHMBUS_PASSED);
    CHECK(settle(&anna, 3, 1));
    CHECK_EQUAL(shmbus_group_skip(&bert, 2 * WINDOW + 1), WINDOW - 2); /* settles the words that anna holds a lap earlier */
    CHECK_EQUAL(untold(), 2 + WINDOW - 3);
    CHECK_EQUAL(shmbus_group_reap(&bert, 3), 0);
}

TEST(a_word_given_back_by_one_who_was_killed_before_the_look_at_the_floor_is_counted_when_it_is_needed) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, 1);
    uint64_t held = atomic_load(&anna.words[1]);
    CHECK_EQUAL(shmbus_group_return(&anna, taken(1, 1)), SHMBUS_OK);
    uint64_t returned = atomic_load(&anna.words[1]);
    atomic_store(&anna.words[1], held);
    CHECK_EQUAL(shmbus_group_skip(&bert, 2), 0);
    atomic_store(&anna.words[1], returned);
    CHECK(!retake(&bert, 0, 0));
    must_claim(&bert, 2, WINDOW);
    CHECK_EQUAL(untold(), 1);
}

TEST(the_floor_passes_what_was_settled_behind_an_overrun) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, 5);
    CHECK(settle(&anna, 3, 1) && settle(&anna, 4, 1));
    CHECK_EQUAL(shmbus_group_skip(&bert, 3), 0); /* 1 and 2 are held */
    CHECK_EQUAL(floor_now(), 5);
}

TEST(what_somebody_held_when_the_ring_was_given_up_is_not_given_out_in_its_successor) {
    open_group(2, 0, 1);
    must_claim(&anna, 1, 2);
    CHECK_EQUAL(shmbus_group_skip(&bert, 3), 0);
    CHECK(shmbus_group_bridge(&bert, 3, GENERATION));
    CHECK(!retake(&bert, 0, 0));
    CHECK_EQUAL(shmbus_group_return(&anna, taken(1, 1)), SHMBUS_OVERRUN);
    must_claim(&bert, GENERATION, 2);
    CHECK_EQUAL(untold(), 2);
    CHECK(!settle(&anna, 2, 1));
    CHECK(settle(&bert, GENERATION, 1) && settle(&bert, GENERATION + 1, 1));
    CHECK_EQUAL(floor_now(), GENERATION + 2);
}

TEST(what_is_no_message_is_settled_in_passing) {
    open_group(WINDOW, 0, 1);
    CHECK_EQUAL(shmbus_group_pass(&anna, 1), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_pass(&bert, 1), SHMBUS_PASSED);
    CHECK_EQUAL(shmbus_group_next(&bert), 2);
    CHECK_EQUAL(shmbus_group_advance(&bert), 1);
}

/* ---- duplicates ---- */

static enum shmbus_result judge(const struct shmbus_group *who, uint64_t sequence, uint32_t producer, uint64_t number) {
    return shmbus_group_judge(who, sequence, producer, number, MS);
}

TEST(a_number_that_is_not_above_all_that_came_before_is_a_duplicate) {
    open_group(WINDOW, 3, 1);
    CHECK_EQUAL(judge(&anna, 1, 1, 1), SHMBUS_OK);
    CHECK_EQUAL(judge(&bert, 2, 1, 1), SHMBUS_STEPPED);
    CHECK_EQUAL(judge(&bert, 3, 2, 1), SHMBUS_OK);
    CHECK_EQUAL(judge(&anna, 4, 1, 5), SHMBUS_OK);
    CHECK_EQUAL(judge(&bert, 5, 1, 4), SHMBUS_STEPPED);
    CHECK_EQUAL(judge(&bert, 6, 7, 1), SHMBUS_OK); /* of a producer that nobody watches */
    CHECK_EQUAL(judge(&bert, 7, 7, 1), SHMBUS_OK);
    CHECK_EQUAL(judge(&bert, 8, 1, UINT64_MAX), SHMBUS_OK);
    CHECK_EQUAL(judge(&bert, 9, 1, UINT64_MAX), SHMBUS_WINDOW);
    CHECK_EQUAL(atomic_load(&anna.lane->duplicates), 2);
    CHECK(settle(&anna, 1, 1));
    CHECK_EQUAL(floor_now(), 3);
    CHECK_EQUAL(judge(&bert, 9, 1, UINT64_MAX), SHMBUS_STEPPED);
}

TEST(who_judges_what_the_others_have_judged_changes_nothing) {
    open_group(WINDOW, 3, 1);
    CHECK_EQUAL(judge(&anna, 1, 1, 1), SHMBUS_OK);
    CHECK_EQUAL(judge(&bert, 1, 1, 1), SHMBUS_PASSED);
    CHECK_EQUAL(judge(&bert, 2, 1, 2), SHMBUS_OK);
    CHECK_EQUAL(judge(&anna, 1, 1, 1), SHMBUS_PASSED);
    CHECK_EQUAL(judge(&anna, 3, 1, 2), SHMBUS_STEPPED);
    CHECK_EQUAL(judge(&bert, 3, 1, 2), SHMBUS_PASSED);
    CHECK_EQUAL(atomic_load(&anna.lane->duplicates), 1);
    CHECK(settle(&anna, 1, 1) && settle(&bert, 2, 1));
    CHECK_EQUAL(judge(&bert, 3, 1, 2), SHMBUS_PASSED);
    CHECK_EQUAL(floor_now(), 4);
}

TEST(a_judgement_that_a_dead_member_left_half_done_is_completed) {
    open_group(WINDOW, 3, 1);
    CHECK_EQUAL(judge(&anna, 1, 1, 1), SHMBUS_OK);
    atomic_store(&anna.lane->verdict, 2 << 1); /* new; killed before the number */
    CHECK_EQUAL(judge(&bert, 2, 1, 2), SHMBUS_OK);
    CHECK_EQUAL(judge(&bert, 3, 1, 2), SHMBUS_STEPPED);
    atomic_store(&anna.lane->verdict, 4 << 1);
    atomic_store(&anna.judged[1], 3ull << 16); /* killed after the number */
    CHECK_EQUAL(judge(&bert, 4, 1, 3), SHMBUS_OK);
    atomic_store(&anna.lane->verdict, 5 << 1 | 1);
    CHECK_EQUAL(judge(&bert, 5, 1, 3), SHMBUS_STEPPED);
    atomic_store(&anna.lane->next, 5); /* killed before it moved on */
    CHECK_EQUAL(judge(&bert, 5, 1, 3), SHMBUS_PASSED);
    CHECK_EQUAL(shmbus_group_next(&bert), 6);
    CHECK_EQUAL(judge(&bert, 6, 1, 4), SHMBUS_OK);
}

TEST(a_message_repeated_at_the_same_place_of_a_later_ring_is_a_duplicate) {
    for (uint64_t leap = 1ull << 24; leap <= GENERATION; leap *= 2) {
        open_group(WINDOW, 3, 1);
        CHECK_EQUAL(judge(&anna, 1, 1, 7), SHMBUS_OK);
        CHECK(settle(&anna, 1, 1));
        CHECK(shmbus_group_bridge(&anna, 2, leap));
        CHECK_EQUAL(judge(&bert, leap, 2, 1), SHMBUS_OK);
        CHECK_EQUAL(judge(&bert, leap + 1, 1, 7), SHMBUS_STEPPED);
        CHECK_EQUAL(judge(&bert, leap + 2, 1, 8), SHMBUS_OK);
        rig_group_close(&page);
    }
}

TEST(a_message_that_nobody_can_read_is_claimed_unjudged) {
    open_group(WINDOW, 3, 1);
    CHECK_EQUAL(shmbus_group_claim(&anna, 1, MS), SHMBUS_OK);
    CHECK_EQUAL(judge(&bert, 1, 1, 1), SHMBUS_PASSED); /* read in time, judged late */
    CHECK_EQUAL(judge(&bert, 2, 1, 1), SHMBUS_OK);     /* it comes again, and nobody had it */
    atomic_store(&anna.lane->verdict, 3 << 1);
    CHECK_EQUAL(shmbus_group_claim(&anna, 3, MS), SHMBUS_OK);
    CHECK_EQUAL(judge(&bert, 3, 1, 2), SHMBUS_PASSED);
    CHECK_EQUAL(judge(&bert, 4, 1, 2), SHMBUS_OK);
}

TEST(a_producer_id_that_is_given_to_another_begins_anew) {
    open_group(WINDOW, 3, 1);
    uint64_t untouched = atomic_load(&anna.judged[1]);
    CHECK_EQUAL(judge(&anna, 1, 1, 1000), SHMBUS_OK);
    CHECK_EQUAL(judge(&anna, 2, 2, 10), SHMBUS_OK);
    shmbus_group_forget(&bert, 1);
    shmbus_group_forget(&bert, 3);
    CHECK(atomic_load(&anna.judged[1]) != untouched); /* who stopped before it stored 1000 does not store it now */
    CHECK_EQUAL(judge(&anna, 3, 1, 1), SHMBUS_OK);
    CHECK_EQUAL(judge(&anna, 4, 1, 1), SHMBUS_STEPPED);
    CHECK_EQUAL(judge(&anna, 5, 2, 10), SHMBUS_STEPPED);
    for (uint32_t i = 0; i < 1u << 16; i++)
        shmbus_group_forget(&bert, 1);
    CHECK_EQUAL(judge(&anna, 6, 1, 1), SHMBUS_OK);
}

TEST(where_duplicates_are_removed_next_names_the_one_to_be_judged_after_an_overrun_too) {
    open_group(WINDOW, 3, 1);
    CHECK_EQUAL(judge(&anna, 1, 1, 1), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_skip(&bert, 20), 18);
    CHECK_EQUAL(shmbus_group_seek(&bert, 0), 20);
    CHECK_EQUAL(judge(&anna, 2, 1, 2), SHMBUS_PASSED);
    CHECK_EQUAL(judge(&anna, 20, 1, 20), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_seek(&bert, 0), 21);
    CHECK_EQUAL(judge(&bert, 21, 1, 20), SHMBUS_STEPPED);
}

/* ---- waking ---- */

TEST(whoever_moves_the_floor_is_told_once_that_somebody_waits_for_it) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, WINDOW);
    CHECK(shmbus_group_open(&bert, WINDOW));
    CHECK(!shmbus_group_unblock(&anna));
    CHECK(!shmbus_group_open(&bert, WINDOW + 1));
    CHECK(settle(&anna, 1, 1));
    CHECK(shmbus_group_unblock(&anna));
    CHECK(!shmbus_group_unblock(&anna));
    CHECK(shmbus_group_open(&bert, WINDOW + 1));
    CHECK(!shmbus_group_unblock(&anna));
    CHECK(!all_settled(&bert, 3));
    CHECK(shmbus_group_unblock(&anna));
}

TEST(what_the_floor_has_passed_meanwhile_is_nothing_to_wait_for) {
    open_group(WINDOW, 0, 1);
    must_claim(&anna, 1, 1);
    CHECK(settle(&anna, 1, 1));
    CHECK_EQUAL(floor_now(), 2);
    CHECK(shmbus_group_open(&bert, 1)); /* as bert saw it, before anna took it */
    CHECK(!shmbus_group_unblock(&anna));
    CHECK_EQUAL(shmbus_group_claim(&bert, 1, MS), SHMBUS_PASSED);
}

/* ---- what is in the memory ---- */

TEST(an_ordinary_session_is_no_group) {
    static const uint32_t capacities[] = {0, 1, 64, 4096, 1u << 16, 1u << 17};
    for (uint32_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
        struct rig_session session = rig_session(5, capacities[i]);
        struct shmbus_group_setup setup;
        size_t size = shmbus_session_bytes(capacities[i], 0);
        CHECK_EQUAL(shmbus_group_check(session.page, size, rig_boot, &setup), SHMBUS_FOREIGN);
        rig_session_close(&session);
    }
}

TEST(a_group_page_is_told_as_it_was_made_and_refused_when_its_numbers_are_nonsense) {
    open_group(WINDOW, 5, 1);
    struct shmbus_group_setup setup, wrong;
    CHECK_EQUAL(shmbus_group_check(page.memory, page.size, rig_boot, &setup), SHMBUS_OK);
    CHECK_EQUAL(setup.lanes, 2);
    CHECK_EQUAL(setup.window, WINDOW);
    CHECK_EQUAL(setup.producers, 5);
    CHECK_EQUAL(shmbus_group_check(page.memory, page.size - 1, rig_boot, &wrong), SHMBUS_BAD_SIZE);
    CHECK_EQUAL(shmbus_group_check(page.memory, page.size + 1, rig_boot, &wrong), SHMBUS_BAD_SIZE);
    CHECK_EQUAL(shmbus_group_check(page.memory, 8, rig_boot, &wrong), SHMBUS_BAD_SIZE);
    static const uint8_t other_boot[16] = "another boot 22";
    CHECK_EQUAL(shmbus_group_check(page.memory, page.size, other_boot, &wrong), SHMBUS_OTHER_BOOT);
    struct shmbus_group_page *its = shmbus_group_page(page.memory, 2);
    struct { uint32_t *field; uint32_t values[5]; } fields[] = {
        {&its->lanes, {0, 1, 3, 1u << 16, UINT32_MAX}},
        {&its->window, {0, 1, 7, 1u << 17, UINT32_MAX}},
        {&its->producers, {0, 4096, 1u << 20, UINT32_MAX - 16, UINT32_MAX}},
    };
    for (uint32_t i = 0; i < 3; i++)
        for (uint32_t k = 0; k < 5; k++) {
            uint32_t right = *fields[i].field;
            *fields[i].field = fields[i].values[k];
            CHECK_EQUAL(shmbus_group_check(page.memory, page.size, rig_boot, &wrong), SHMBUS_BAD_SIZE);
            *fields[i].field = right;
        }
    atomic_store(&its->magic, 0);
    CHECK_EQUAL(shmbus_group_check(page.memory, page.size, rig_boot, &wrong), SHMBUS_FOREIGN);
    atomic_store(&its->magic, GROUP_MAGIC);
    struct shmbus_session_page *session = page.memory;
    static const uint32_t capacities[] = {0, 1, 3, 1u << 16, UINT32_MAX};
    for (uint32_t k = 0; k < 5; k++) {
        session->capacity = capacities[k];
        CHECK(shmbus_group_check(page.memory, page.size, rig_boot, &wrong) != SHMBUS_OK);
    }
    session->capacity = 2;
    atomic_store(&session->magic, 0);
    CHECK_EQUAL(shmbus_group_check(page.memory, page.size, rig_boot, &wrong), SHMBUS_EARLY);
}

TEST(there_is_no_group_of_a_nonsensical_size_and_no_lane_or_member_beyond_what_there_is) {
    static const struct shmbus_group_setup none[] = {
        {0, 8, 0, 0, false}, {1, 0, 0, 0, false}, {1, 1, 0, 0, false}, {1, 12, 0, 0, false}, {1, 2 * SHMBUS_MAX_WINDOW, 0, 0, false},
        {1, 8, SHMBUS_MAX_PRODUCERS + 2, 0, false}, {1, 8, 0, SHMBUS_MAX_PRODUCERS + 2, false},
        {(1u << 16) + 1, 8, 0, 0, false}, {UINT32_MAX, 8, 0, 0, false}};
    for (uint32_t i = 0; i < sizeof none / sizeof *none; i++)
        CHECK_EQUAL(shmbus_group_bytes(&none[i]), 0);
    open_group(WINDOW, 5, 1);
    struct shmbus_group view;
    CHECK(!shmbus_group_view(&view, page.memory, &page.setup, 2, 0));
    CHECK(!shmbus_group_view(&view, page.memory, &page.setup, 0, SHMBUS_MEMBERS));
    CHECK(shmbus_group_view(&view, page.memory, &page.setup, 1, SHMBUS_MEMBERS - 1));
}

TEST(lanes_do_not_touch_each_other) {
    open_group(WINDOW, 5, 1);
    struct shmbus_group other = rig_member(&page, 0, 3);
    shmbus_group_place(&other, 77);
    for (uint64_t at = 1; at < 100; at++) {
        CHECK_EQUAL(judge(&anna, at, 4, at), SHMBUS_OK);
        CHECK(settle(&anna, at, 1));
    }
    CHECK_EQUAL(shmbus_group_floor(&other), 77);
    CHECK_EQUAL(judge(&other, 77, 4, 1), SHMBUS_OK);
    CHECK_EQUAL(floor_now(), 100);
}

/* A member can write what it likes: the others end up with wrong numbers, not outside the page and not in a loop. */
TEST(whatever_the_words_say_every_call_returns) {
    uint64_t seed = check_seed(), rounds = check_times(20000);
    open_group(WINDOW, 3, 1);
    size_t size = (size_t)(((unsigned char *)page.memory + page.size) - (unsigned char *)anna.lane);
    for (uint64_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < size / 8; i++)
            ((uint64_t *)(void *)anna.lane)[i] = check_random(&seed) >> check_random(&seed) % 64;
        uint64_t at = check_random(&seed) >> check_random(&seed) % 64, advanced = 0;
        atomic_store(&anna.cursor->position, at - check_random(&seed) % 16);
        struct shmbus_taken some = {at, (uint32_t)check_random(&seed) % 256};
        shmbus_group_next(&anna);
        shmbus_group_claim(&anna, shmbus_group_seek(&anna, at), at);
        judge(&anna, shmbus_group_next(&anna), (uint32_t)at % 5, check_random(&seed));
        shmbus_group_expire(&anna, check_random(&seed), MS);
        shmbus_group_reap(&anna, some.tries % 64);
        shmbus_group_retake(&anna, at, &some);
        shmbus_group_extend(&anna, some, at);
        shmbus_group_settle(&anna, some, &advanced);
        shmbus_group_return(&anna, some);
        all_settled(&anna, at);
        shmbus_group_open(&anna, at);
        shmbus_group_bridge(&anna, at, at + 1);
        shmbus_group_skip(&anna, check_random(&seed));
    }
}
