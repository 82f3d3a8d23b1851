/* The ledger of a group: what its rows say when one thing happens after the other. Races are stress_group.c's. */
#include <string.h>

#include "group.h"
#include "rig.h"

enum { WINDOW = 64, PRODUCERS = 16, LENGTH = 40, OVER_ENTRY = 4 + 10 * (SHMBUS_MAX_PRODUCERS + 1) };

static struct rig rig;
static struct rig_group page;
static struct shmbus_group anna, bert, coordinator;
static struct shmbus_writer writers[PRODUCERS + 1];

static struct shmbus_group looking(struct shmbus_group lane) {
    lane.ring = &rig.ring;
    return lane;
}

static void open_at(uint64_t sequence, uint32_t producers) {
    page = rig_group(9, 2, WINDOW, producers, PRODUCERS + 1);
    anna = looking(rig_member(&page, 1, 3));
    bert = looking(rig_member(&page, 1, 63));
    coordinator = looking(rig_coordinator(&page, 1));
    shmbus_group_place(&coordinator, sequence);
    shmbus_group_begin(&coordinator);
}

static void open_ring(void) {
    rig = rig_small(32, 1u << 14);
    for (uint32_t p = 1; p <= PRODUCERS; p++) {
        shmbus_numbers_begin(&rig.ring, p, false);
        shmbus_writer_init(&writers[p], &rig.ring, p);
    }
}

static void open_group(void) {
    open_ring();
    open_at(1, 0);
}

static uint64_t publish(uint32_t producer) {
    return rig_must_publish(&writers[producer], writers[producer].producer_sequence + 1, LENGTH);
}

static void publish_many(uint32_t producer, uint64_t count) {
    while (count--)
        publish(producer);
}

static struct shmbus_taken taken(uint64_t sequence) { return (struct shmbus_taken){sequence, 1}; }

static void claim(const struct shmbus_group *who, uint64_t from, uint32_t count) {
    uint32_t all = count;
    CHECK_EQUAL(shmbus_group_claim_run(who, from, &count, 1), SHMBUS_OK);
    CHECK_EQUAL(count, all);
}

static void end(const struct shmbus_group *who, uint64_t sequence, enum shmbus_ending ending) {
    uint64_t advanced = 0;
    CHECK(shmbus_group_settle_as(who, taken(sequence), ending, &advanced));
}

static void settle(const struct shmbus_group *who, uint64_t from, uint64_t to) {
    for (uint64_t at = from; at < to; at++)
        end(who, at, SHMBUS_ENDED_DELIVERED);
}

static struct shmbus_entry row(uint32_t producer) {
    struct shmbus_entry entry = {0};
    shmbus_group_entry(&anna, producer, &entry);
    CHECK_EQUAL(entry.last - entry.base, entry.delivered + entry.overrun + entry.expired + entry.corrupt + entry.filtered +
                                             entry.dead);
    return entry;
}

static void check_row(uint32_t producer, uint64_t last, uint64_t delivered, uint64_t overrun) {
    CHECK_EQUAL(row(producer).last, last);
    CHECK_EQUAL(row(producer).delivered, delivered);
    CHECK_EQUAL(row(producer).overrun, overrun);
}

static void must_tell(uint32_t producer, uint64_t count) {
    uint32_t whose = UINT32_MAX;
    uint64_t told = 0;
    CHECK(shmbus_group_owes(&anna));
    CHECK(shmbus_group_tell(&anna, &whose, &told));
    CHECK_EQUAL(whose, producer);
    CHECK_EQUAL(told, count);
}

static void must_tell_nothing(void) {
    uint32_t whose;
    uint64_t told;
    CHECK(!shmbus_group_tell(&anna, &whose, &told));
    CHECK(!shmbus_group_owes(&anna));
}

TEST(a_message_is_booked_when_the_floor_passes_it) {
    open_group();
    publish_many(1, 2);
    publish_many(2, 2);
    claim(&anna, 1, 2);
    claim(&bert, 3, 2);
    settle(&bert, 3, 5);
    check_row(2, 0, 0, 0); /* the floor stands at what anna holds */
    settle(&anna, 1, 3);
    check_row(1, 2, 2, 0);
    check_row(2, 2, 2, 0);
}

TEST(how_a_message_ended_is_booked_with_it) {
    open_group();
    publish_many(1, 8);
    claim(&anna, 1, 8);
    for (uint32_t ending = SHMBUS_ENDED_DELIVERED; ending <= SHMBUS_ENDED_DEAD; ending++)
        if (ending != SHMBUS_ENDED_VOID && ending != SHMBUS_ENDED_REPEATED)
            end(&anna, ending + 1, (enum shmbus_ending)ending);
    settle(&anna, 2, 3);
    settle(&anna, 4, 5);
    CHECK_EQUAL(shmbus_group_floor(&anna), 9);
    check_row(1, 8, 3, 1);
    struct shmbus_entry entry = row(1);
    CHECK_EQUAL(entry.filtered + entry.expired + entry.corrupt + entry.dead, 4);
    CHECK_EQUAL(entry.filtered * entry.expired * entry.corrupt * entry.dead, 1);
    must_tell_nothing(); /* who found it overrun has told that */
}

TEST(numbers_that_a_producer_left_out_are_no_messages_and_those_it_used_again_no_more_of_them) {
    open_group();
    publish_many(1, 3);
    writers[1].producer_sequence = 100;
    publish_many(1, 2); /* 101, 102 */
    writers[1].producer_sequence = 100;
    publish(1); /* once more */
    claim(&anna, 1, 6);
    settle(&anna, 1, 7);
    CHECK_EQUAL(row(1).base, 97);
    CHECK_EQUAL(row(1).repeated, 1);
    check_row(1, 102, 5, 0);
}

static void publish_as(uint32_t producer, uint64_t number) {
    writers[producer].producer_sequence = number - 1;
    publish(producer);
}

static void make_durable(void) {
    for (uint32_t p = 1; p <= 2; p++) {
        shmbus_numbers_begin(&rig.ring, p, true);
        shmbus_writer_init(&writers[p], &rig.ring, p);
    }
}

TEST(of_two_that_leave_out_numbers_neither_is_blamed_for_what_the_other_lost) {
    open_ring();
    make_durable();
    publish_as(1, 7);
    publish_as(2, 70);
    open_at(3, 0);
    publish_as(1, 100);
    publish_as(2, 101);
    claim(&anna, 3, 2);
    settle(&anna, 3, 5);
    for (uint64_t i = 1; i <= 15; i++) {
        publish_as(1, 100 + 50 * i);
        publish_as(2, 101 + 2 * i);
        publish_as(2, 101 + 2 * i + 1);
    }
    uint64_t head = shmbus_head(&rig.ring), dropped = head - 5;
    CHECK_EQUAL(shmbus_group_skip(&anna, head), dropped);
    must_tell(1, dropped / 3 + (dropped % 3 > 0));
    must_tell(2, dropped - dropped / 3 - (dropped % 3 > 0));
    must_tell_nothing();
    CHECK_EQUAL(row(1).before, 1);
    rig_close(&rig);
}

TEST(a_message_that_was_claimed_when_the_group_began_is_none_of_its_business) {
    open_ring();
    make_durable();
    publish_as(1, 7);
    uint64_t word, claimed, began = shmbus_now_ns();
    atomic_store(&writers[1].numbers->claiming, 8);
    claimed = rig_claim(&rig.ring, 1, 2, true, &word);
    open_at(3, 0);
    CHECK(shmbus_now_ns() - began >= SHMBUS_CLAIM_NS); /* it was waited for, in vain */
    CHECK_EQUAL(row(1).before, SHMBUS_UNCOUNTED);
    CHECK(rig_commit(&rig.ring, claimed, word));
    atomic_store(&writers[1].numbers->published, 8);
    shmbus_writer_init(&writers[1], &rig.ring, 1);
    publish_as(1, 20);
    claim(&anna, 3, 1);
    settle(&anna, 3, 4);
    check_row(1, 20, 1, 0);
    CHECK_EQUAL(row(1).before, 2);
    CHECK_EQUAL(shmbus_numbers_count(&rig.ring, 1), 3); /* so nothing is in flight */
    rig_close(&rig);
}

TEST(a_claim_that_came_to_nothing_after_the_group_had_begun_is_found_out_with_the_next_message) {
    open_ring();
    make_durable();
    publish_as(1, 7);
    uint64_t word;
    atomic_store(&writers[1].numbers->claiming, 8);
    rig_claim(&rig.ring, 1, 2, true, &word);
    open_at(3, 0);
    CHECK_EQUAL(row(1).before, SHMBUS_UNCOUNTED);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 1), 1);
    shmbus_writer_init(&writers[1], &rig.ring, 1);
    publish_as(1, 8); /* goes on where the row ends */
    claim(&anna, 3, 1);
    settle(&anna, 3, 4);
    check_row(1, 8, 1, 0);
    CHECK_EQUAL(row(1).before, 1);
    rig_close(&rig);
}

TEST(duplicates_that_are_removed_are_counted_apart) {
    open_ring();
    open_at(1, PRODUCERS + 1);
    publish_many(1, 2);
    CHECK_EQUAL(shmbus_group_judge(&anna, 1, 1, 5, 1), SHMBUS_OK);
    CHECK_EQUAL(shmbus_group_judge(&anna, 2, 1, 5, 1), SHMBUS_STEPPED);
    settle(&anna, 1, 2);
    CHECK_EQUAL(row(1).repeated, 1);
    CHECK_EQUAL(row(1).delivered, 1);
}

TEST(what_the_ring_has_dropped_is_told_once_by_producer) {
    open_group();
    publish_many(1, 2);
    claim(&anna, 1, 2);
    settle(&anna, 1, 3);
    for (int i = 0; i < 20; i++) {
        publish(2);
        publish_many(3, 2);
    }
    uint64_t head = shmbus_head(&rig.ring);
    CHECK_EQUAL(shmbus_group_skip(&anna, head), head - 3);
    must_tell(2, row(2).overrun);
    must_tell(3, row(3).overrun);
    must_tell_nothing();
    check_row(1, 2, 2, 0);
    CHECK_EQUAL(row(2).overrun + row(3).overrun, head - 3);
    claim(&bert, head, 31);
    settle(&bert, head, head + 31);
    CHECK_EQUAL(row(2).delivered + row(2).overrun, 20);
    CHECK_EQUAL(row(3).delivered + row(3).overrun, 40);
}

TEST(an_overrun_of_more_producers_and_held_messages_than_one_commit_takes_is_booked_whole) {
    open_group();
    for (uint64_t at = 1; at <= 48; at++) {
        publish(1 + at % PRODUCERS);
        if (at <= 32)
            claim(&anna, at, 1);
    }
    publish_many(PRODUCERS, 40);
    uint64_t head = shmbus_head(&rig.ring);
    shmbus_group_skip(&bert, head);
    CHECK_EQUAL(shmbus_group_floor(&bert), head);
    for (uint32_t p = 1; p < PRODUCERS; p++)
        check_row(p, 3, 2, 1);
    CHECK_EQUAL(row(PRODUCERS).overrun, head - 33 - (PRODUCERS - 1));
    for (uint32_t p = 1; p < PRODUCERS; p++)
        must_tell(p, 1);
    CHECK_EQUAL(shmbus_group_reap(&coordinator, 3), 32);
    for (uint32_t p = 1; p < PRODUCERS; p++)
        check_row(p, 3, 0, 3);
}

TEST(settled_by_turns_of_more_producers_than_one_commit_takes_all_are_booked) {
    open_group();
    for (uint64_t round = 0; round < 10; round++) {
        for (uint32_t p = 1; p <= PRODUCERS; p++)
            publish(p);
        claim(&anna, round * PRODUCERS + 1, PRODUCERS);
        for (uint64_t at = (round + 1) * PRODUCERS; at > round * PRODUCERS; at--)
            settle(&anna, at, at + 1); /* the first is the last to be settled, and moves the floor over all */
    }
    for (uint32_t p = 1; p <= PRODUCERS; p++)
        check_row(p, 10, 10, 0);
}

static uint64_t overrun_what_anna_holds(void) {
    open_group();
    publish_many(1, 4);
    claim(&anna, 1, 4);
    publish_many(2, 60);
    uint64_t head = shmbus_head(&rig.ring);
    shmbus_group_skip(&bert, head);
    check_row(1, 4, 4, 0);
    must_tell(2, head - 5);
    must_tell_nothing();
    return head;
}

TEST(what_is_held_when_the_floor_passes_it_is_delivered_unless_it_is_let_go) {
    uint64_t head = overrun_what_anna_holds();
    settle(&anna, 1, 2);
    check_row(1, 4, 4, 0);
    CHECK_EQUAL(shmbus_group_return(&anna, taken(2)), SHMBUS_OVERRUN);
    check_row(1, 4, 3, 1);
    must_tell(1, 1);
    end(&anna, 3, SHMBUS_ENDED_FILTERED);
    CHECK_EQUAL(row(1).filtered, 1);
    must_tell_nothing();
    CHECK_EQUAL(shmbus_group_reap(&coordinator, 3), 1);
    check_row(1, 4, 1, 2);
    must_tell(1, 1);
    must_tell_nothing();
    CHECK_EQUAL(shmbus_group_floor(&anna), head);
}

static void go_on_past_the_window(uint64_t at) {
    for (; at <= WINDOW + 4; at++) {
        publish(2);
        if (shmbus_head(&rig.ring) > at)
            shmbus_group_skip(&bert, shmbus_head(&rig.ring));
        else {
            claim(&bert, at, 1);
            settle(&bert, at, at + 1);
        }
    }
}

TEST(what_is_still_held_when_its_word_is_needed_again_is_booked_as_lost) {
    go_on_past_the_window(overrun_what_anna_holds());
    check_row(1, 4, 0, 4);
    CHECK(!shmbus_group_settle_quietly(&anna, taken(1)));
    CHECK_EQUAL(shmbus_group_reap(&coordinator, 3), 0);
    check_row(1, 4, 0, 4);
}

/* Anna is stopped right after she has claimed sequence 1, before she notes whose it is; by then it is bert's. */
static uint64_t claim_and_stop(struct shmbus_taken *berts) {
    uint64_t made = make_word(0, TAKEN, 1, 3);
    open_group();
    publish(1);
    claim(&anna, 1, 1);
    CHECK_EQUAL(atomic_load(word_of(&anna, 1)), made);
    atomic_store(note_of(&anna, 1), whose_word(&anna, 1 - WINDOW, 0));
    CHECK_EQUAL(shmbus_group_return(&anna, taken(1)), SHMBUS_OK);
    CHECK(shmbus_group_retake_at(&bert, 1, 1, berts));
    return made;
}

TEST(who_notes_too_late_whose_a_message_is_does_not_wipe_out_that_it_was_booked_as_held) {
    struct shmbus_taken berts;
    uint64_t made = claim_and_stop(&berts);
    publish_many(2, 40);
    shmbus_group_skip(&coordinator, shmbus_head(&rig.ring));
    check_row(1, 1, 1, 0);
    note_owner(&anna, 1, made, 1);
    CHECK_EQUAL(shmbus_group_return(&bert, berts), SHMBUS_OVERRUN);
    check_row(1, 1, 0, 1);
}

TEST(who_notes_too_late_whose_a_message_is_does_not_wipe_out_what_was_noted_a_lap_later) {
    struct shmbus_taken berts;
    uint64_t advanced = 0, made = claim_and_stop(&berts);
    CHECK(shmbus_group_settle(&bert, berts, &advanced));
    for (uint64_t at = 2; at <= WINDOW + 1; at++) {
        CHECK_EQUAL(publish(2), at);
        claim(&bert, at, 1);
        if (at <= WINDOW)
            settle(&bert, at, at + 1);
    }
    note_owner(&anna, 1, made, 1);
    publish_many(3, 40); /* the ring does not say any more whose it is */
    shmbus_group_skip(&coordinator, shmbus_head(&rig.ring));
    check_row(2, WINDOW, WINDOW, 0);
    note_owner(&anna, 1, made, 1);
    CHECK_EQUAL(shmbus_group_return(&bert, taken(WINDOW + 1)), SHMBUS_OVERRUN);
    check_row(2, WINDOW, WINDOW - 1, 1);
}

TEST(who_retakes_what_its_first_holder_notes_at_the_same_time_wipes_out_nothing) {
    struct shmbus_taken berts;
    claim_and_stop(&berts);
    publish_many(2, 40);
    shmbus_group_skip(&coordinator, shmbus_head(&rig.ring));
    note_owner(&bert, 1, make_word(0, TAKEN, berts.tries, 63), 1);
    CHECK_EQUAL(shmbus_group_return(&bert, berts), SHMBUS_OVERRUN);
    check_row(1, 1, 0, 1);
}

TEST(a_loss_that_was_booked_before_its_claimer_had_noted_whose_it_is_is_told_once) {
    open_group();
    publish(1);
    claim(&anna, 1, 1);
    CHECK_EQUAL(shmbus_group_whose(&anna, 1), 1);
    atomic_store(note_of(&anna, 1), whose_word(&anna, 1 - WINDOW, 0));
    publish_many(2, 31); /* the ring has dropped it, and still says whose it was */
    shmbus_group_skip(&coordinator, shmbus_head(&rig.ring));
    check_row(1, 1, 0, 1);
    must_tell(1, 1);
    note_owner(&anna, 1, make_word(0, TAKEN, 1, 3), 1);
    CHECK_EQUAL(shmbus_group_whose(&anna, 1), 0); /* else she would tell it, too */
    end(&anna, 1, SHMBUS_ENDED_OVERRUN);
    check_row(1, 1, 0, 1);
}

/* Anna is killed after each step of letting go: what she gave back, what she found lost, filtered, or was about to book. */
static uint64_t let_go_half(void) {
    uint64_t head = overrun_what_anna_holds();
    atomic_store(word_of(&anna, 1), make_word(0, RETURNED, 1, 0));
    atomic_store(word_of(&anna, 2), settled_word(&anna, 2, SHMBUS_ENDED_OVERRUN, 0));
    atomic_store(word_of(&anna, 3), settled_word(&anna, 3, SHMBUS_ENDED_FILTERED, 1));
    check_row(1, 4, 4, 0); /* it was handed out */
    must_tell_nothing();
    return head;
}

static void check_let_go(uint64_t lost) {
    check_row(1, 4, 3 - lost, lost);
    CHECK_EQUAL(row(1).filtered, 1);
    must_tell(1, lost);
}

TEST(what_was_let_go_by_one_who_was_killed_before_it_was_booked_is_booked_by_the_reaper) {
    let_go_half();
    CHECK_EQUAL(shmbus_group_reap(&coordinator, 3), 1);
    check_let_go(3);
    must_tell_nothing();
    CHECK_EQUAL(shmbus_group_reap(&coordinator, 3), 0);
    shmbus_group_complete(&coordinator);
    check_row(1, 4, 0, 3);
}

TEST(what_was_let_go_by_one_who_was_killed_before_it_was_booked_is_booked_by_who_needs_the_word) {
    go_on_past_the_window(let_go_half());
    check_let_go(3);
}

TEST(what_a_coordinator_let_go_before_it_was_killed_is_booked_by_the_next) {
    let_go_half();
    shmbus_group_complete(&coordinator);
    check_let_go(2); /* anna lives, and holds the fourth */
    CHECK(shmbus_group_settle_quietly(&anna, taken(4)));
    check_row(1, 4, 1, 2);
}

/* ---- commits ---- */

TEST(what_a_dead_writer_had_decided_is_read_at_once_and_carried_out_by_the_next) {
    open_group();
    publish_many(1, 4);
    claim(&anna, 1, 4);
    settle(&anna, 1, 3);
    struct shmbus_group_log *log = &anna.logs[3];
    uint64_t floor = 0, last = 3, ticket = atomic_load(&anna.lane->ticket);
    for (uint64_t where = 0; where < 2; where++) {
        atomic_store(&log->entries[where].where, where == 0 ? 4 + 10 * 1 : floor); /* LAST of producer 1, then the floor */
        atomic_store(&log->entries[where].value, where == 0 ? (1ull << 48 | last) : 4);
    }
    atomic_store(&log->count, 2);
    CHECK(shmbus_group_settle_quietly(&anna, taken(3)));
    atomic_store(&anna.lane->ticket, ticket + 256 + 128); /* the next one, under way, by member 3 */
    check_row(1, 3, 3, 0);
    CHECK_EQUAL(shmbus_group_floor(&anna), 3);
    shmbus_group_finish(&bert);
    CHECK_EQUAL(shmbus_group_floor(&anna), 4);
    check_row(1, 3, 3, 0);
    settle(&anna, 4, 5);
    check_row(1, 4, 4, 0);
}

TEST(what_ended_between_the_look_at_it_and_the_mark_that_it_was_held_is_booked_as_what_it_was) {
    open_group();
    publish_many(1, 2);
    claim(&bert, 1, 1);
    claim(&anna, 2, 1);
    end(&anna, 2, SHMBUS_ENDED_FILTERED); /* after bert, who died since, had found it held, and decided to pass both */
    const uint64_t entries[][2] = {{4 + 10 * 1, 1ull << 48 | 2}, {3, 1}, {3, 2}, {0, 3}}; /* LAST, HELD twice, the floor */
    for (int i = 0; i < 4; i++) {
        atomic_store(&bert.logs[63].entries[i].where, entries[i][0]);
        atomic_store(&bert.logs[63].entries[i].value, entries[i][1]);
    }
    atomic_store(&bert.logs[63].count, 4);
    atomic_store(&anna.lane->ticket, 256 + 128 + 63);
    shmbus_group_finish(&anna);
    CHECK_EQUAL(shmbus_group_floor(&anna), 3);
    check_row(1, 2, 1, 0);
    CHECK_EQUAL(row(1).filtered, 1);
}

TEST(what_was_decided_to_be_booked_over_is_booked_over_once_whoever_carries_it_out) {
    let_go_half();
    const uint64_t entries[][2] = {{OVER_ENTRY, 2}, {4 + 10 * 1 + 2, 1ull << 48 | 1}, {4 + 10 * 1 + 8, 1ull << 48 | 1}};
    for (int i = 0; i < 3; i++) { /* OVER, OVERRUN and OWED of producer 1 */
        atomic_store(&anna.logs[3].entries[i].where, entries[i][0]);
        atomic_store(&anna.logs[3].entries[i].value, entries[i][1]);
    }
    atomic_store(&anna.logs[3].count, 3);
    atomic_store(&anna.lane->ticket, (atomic_load(&anna.lane->ticket) | 255) + 1 + 128 + 3);
    check_row(1, 4, 3, 1);
    shmbus_group_reap(&coordinator, 3);
    check_let_go(3);
}

TEST(whatever_logs_and_tickets_say_every_call_returns) {
    uint64_t seed = check_seed();
    for (int i = 0; i < 2000; i++) {
        open_group();
        publish_many(1, 20);
        claim(&anna, 1, 10);
        for (uint32_t writer = 0; writer <= SHMBUS_MEMBERS; writer++) {
            atomic_store(&anna.logs[writer].count, check_random(&seed) % 200);
            for (uint32_t e = 0; e < GROUP_LOG_ENTRIES; e++) {
                atomic_store(&anna.logs[writer].entries[e].where, check_random(&seed) >> check_random(&seed) % 64);
                atomic_store(&anna.logs[writer].entries[e].value, check_random(&seed) >> check_random(&seed) % 64);
            }
        }
        atomic_store(&anna.lane->ticket, check_random(&seed));
        atomic_store(&anna.lane->run, check_random(&seed) >> check_random(&seed) % 64);
        uint64_t advanced = 0;
        struct shmbus_entry entry;
        shmbus_group_entry(&bert, 1, &entry);
        shmbus_group_settle(&anna, taken(1), &advanced);
        shmbus_group_explain(&bert);
        shmbus_group_untold(&bert);
        CHECK_EQUAL(atomic_load(&anna.lane->ticket) & 128, 0);
        rig_group_close(&page);
        rig_close(&rig);
    }
}

/* ---- runs ---- */

static uint32_t in_a_run(void) { return (uint32_t)(atomic_load(&anna.lane->run) & SHMBUS_MAX_PRODUCER_ID); }

/* What was published by that producer from `from` on is claimed and settled one by one, and told at once by the row. */
static void settle_each(uint32_t producer, uint64_t from, uint64_t count) {
    uint64_t last = row(producer).last;
    claim(&anna, from, (uint32_t)count);
    for (uint64_t i = 0; i < count; i++) {
        settle(&anna, from + i, from + i + 1);
        check_row(producer, last + i + 1, last + i + 1, 0);
    }
    CHECK_EQUAL(shmbus_group_floor(&anna), from + count);
}

static void open_in_a_run(void) {
    open_group();
    publish_many(1, 10);
    settle_each(1, 1, 10);
    CHECK_EQUAL(in_a_run(), 1);
}

TEST(messages_of_one_producer_in_turn_are_a_run_and_its_row_is_left_as_it_was) {
    open_in_a_run();
    uint64_t stands = atomic_load(&anna.account[10]);
    publish_many(1, 10);
    settle_each(1, 11, 10);
    CHECK_EQUAL(atomic_load(&anna.account[10]), stands);
    publish_many(2, 5);
    settle_each(2, 21, 5);
    CHECK_EQUAL(in_a_run(), 2);
    check_row(1, 20, 20, 0);
}

TEST(messages_of_producers_by_turns_begin_no_run) {
    open_group();
    for (uint64_t at = 1; at < 30; at += 2) {
        publish(1);
        publish(2);
        settle_each(1, at, 1);
        settle_each(2, at + 1, 1);
        CHECK_EQUAL(in_a_run(), 0);
    }
}

TEST(what_ends_otherwise_or_skips_a_number_ends_a_run) {
    open_in_a_run();
    publish_many(1, 2);
    claim(&anna, 11, 2);
    end(&anna, 11, SHMBUS_ENDED_FILTERED);
    CHECK_EQUAL(in_a_run(), 0);
    CHECK_EQUAL(row(1).filtered, 1);
    settle(&anna, 12, 13);
    check_row(1, 12, 11, 0);
    writers[1].producer_sequence = 20;
    publish(1);
    claim(&anna, 13, 1);
    settle(&anna, 13, 14);
    CHECK_EQUAL(row(1).base, 8);
    check_row(1, 21, 12, 0);
}

TEST(a_run_goes_on_where_who_read_a_message_says_its_number_and_not_where_it_is_another) {
    open_in_a_run();
    publish_many(1, 2);
    claim(&anna, 11, 2);
    uint64_t advanced = 0;
    struct shmbus_frame frame = {.sequence = 11, .producer = 1, .producer_sequence = 11};
    CHECK(shmbus_group_settle_read(&anna, taken(11), &frame, &advanced));
    CHECK_EQUAL(advanced, 1);
    check_row(1, 11, 11, 0);
    frame = (struct shmbus_frame){.sequence = 11, .producer = 1, .producer_sequence = 40}; /* not the one that is passed */
    CHECK(shmbus_group_settle_read(&anna, taken(12), &frame, &advanced));
    check_row(1, 12, 12, 0);
    CHECK_EQUAL(in_a_run(), 1);
}

TEST(a_floor_that_was_decided_by_one_who_was_killed_then_counts_at_once_and_is_moved_by_the_next) {
    open_in_a_run();
    publish_many(1, 3);
    claim(&anna, 11, 3);
    for (uint64_t at = 11; at < 13; at++)
        CHECK(shmbus_group_settle_quietly(&anna, taken(at)));
    uint64_t number = atomic_load(&anna.lane->ticket) >> 8;
    CHECK_EQUAL(number & 0xffff, 11); /* where the floor went without a log */
    atomic_store(&anna.lane->ticket, (number + 2) << 8 | 127); /* to 13 */
    CHECK_EQUAL(shmbus_group_floor(&anna), 11);
    check_row(1, 12, 12, 0);
    shmbus_group_finish(&bert);
    CHECK_EQUAL(shmbus_group_floor(&anna), 13);
    check_row(1, 12, 12, 0);
    settle(&anna, 13, 14);
    check_row(1, 13, 13, 0);
}

TEST(an_overrun_and_a_bridge_end_a_run) {
    open_in_a_run();
    publish_many(1, 60);
    uint64_t head = shmbus_head(&rig.ring);
    shmbus_group_skip(&bert, head);
    check_row(1, head - 1, 10, head - 11);
    must_tell(1, head - 11);
    claim(&anna, head, 30);
    settle(&anna, head, head + 30);
    CHECK_EQUAL(in_a_run(), 1);
    check_row(1, 70, 70 - (head - 11), head - 11);
    CHECK(shmbus_group_bridge(&anna, head + 30, (1ull << 32) + 5));
    CHECK_EQUAL(shmbus_group_floor(&anna), (1ull << 32) + 5);
    check_row(1, 70, 70 - (head - 11), head - 11);
}

TEST(a_lane_that_begins_anew_has_nothing_of_the_run_that_was_there) {
    open_in_a_run();
    shmbus_group_place(&coordinator, 5);
    shmbus_group_finish(&bert);
    CHECK_EQUAL(shmbus_group_floor(&anna), 5);
    check_row(1, 0, 0, 0);
}

TEST(an_id_that_is_given_to_another_in_a_run_begins_anew) {
    open_in_a_run();
    publish_many(1, 2);
    publish_many(2, 40);
    shmbus_group_forget(&coordinator, 1);
    check_row(1, 12, 10, 2);
    shmbus_numbers_begin(&rig.ring, 1, false);
    shmbus_writer_init(&writers[1], &rig.ring, 1);
    uint64_t sequence = publish(1);
    shmbus_group_skip(&anna, sequence);
    claim(&anna, sequence, 1);
    settle(&anna, sequence, sequence + 1);
    check_row(1, 1, 1, 0);
}

TEST(a_page_of_the_first_layout_with_a_ledger_has_no_runs) {
    open_ring();
    page = rig_group(9, 2, WINDOW, 0, PRODUCERS + 1);
    shmbus_group_page(page.memory, 2)->layout_version = GROUP_RUNS_LAYOUT - 1;
    anna = looking(rig_member(&page, 1, 3));
    coordinator = looking(rig_coordinator(&page, 1));
    shmbus_group_place(&coordinator, 1);
    shmbus_group_begin(&coordinator);
    publish_many(1, 20);
    settle_each(1, 1, 20);
    CHECK_EQUAL(in_a_run(), 0);
    CHECK_EQUAL(atomic_load(&anna.account[10]), 1ull << 48 | 20);
}

/* `durable` from the beginning: 1 and 2 have published 7 and 70, and 1 goes on from 8 in a run. */
static void open_durable_in_a_run(uint64_t length) {
    open_ring();
    make_durable();
    publish_as(1, 7);
    publish_as(2, 70);
    open_at(3, 0);
    publish_many(1, length);
    claim(&anna, 3, (uint32_t)length);
    settle(&anna, 3, 3 + length);
    CHECK_EQUAL(in_a_run(), 1);
}

TEST(what_a_run_has_had_is_none_of_what_one_that_leaves_out_numbers_has_lost) {
    open_durable_in_a_run(12);
    for (uint64_t i = 1; i <= 20; i++) {
        publish_as(1, 100 + 50 * i);
        publish_as(2, 101 + 2 * i);
    }
    uint64_t head = shmbus_head(&rig.ring), dropped = head - 15;
    CHECK_EQUAL(shmbus_group_skip(&anna, head), dropped);
    must_tell(1, (dropped + 1) / 2);
    must_tell(2, dropped / 2);
    must_tell_nothing();
    CHECK_EQUAL(row(1).delivered, 12);
    rig_close(&rig);
}

TEST(what_a_run_has_had_is_none_of_what_is_missing_before_its_next_message) {
    open_durable_in_a_run(12);
    struct shmbus_group late = anna; /* finds neither the message nor whose it was */
    late.ring = NULL;
    publish(1);
    publish_as(2, 80);
    publish_as(1, 100);
    claim(&anna, 15, 1);
    claim(&late, 16, 1);
    claim(&anna, 17, 1);
    settle(&anna, 17, 18);
    end(&late, 16, SHMBUS_ENDED_OVERRUN);
    settle(&anna, 15, 16); /* and the floor goes past all three */
    check_row(1, 100, 14, 0);
    must_tell_nothing();
    publish_as(2, 90);
    claim(&anna, 18, 1);
    settle(&anna, 18, 19);
    must_tell(2, 1);
    must_tell_nothing();
    rig_close(&rig);
}

TEST(a_page_of_the_layout_before_has_runs_and_takes_what_is_left_out_for_lost) {
    open_ring();
    make_durable();
    publish_as(1, 7);
    page = rig_uncounted_group(9, 2, WINDOW, 0, PRODUCERS + 1);
    CHECK_EQUAL(shmbus_group_number(page.memory, page.size), SHMBUS_GROUP_LAYOUT - 1);
    anna = looking(rig_member(&page, 1, 3));
    coordinator = looking(rig_coordinator(&page, 1));
    shmbus_group_place(&coordinator, 2);
    shmbus_group_begin(&coordinator);
    publish_many(1, 12);
    claim(&anna, 2, 12);
    settle(&anna, 2, 14);
    CHECK_EQUAL(in_a_run(), 1);
    CHECK_EQUAL(row(1).before, SHMBUS_UNCOUNTED);
    for (uint64_t i = 1; i <= 40; i++)
        publish_as(i % 2 ? 1 : 2, 100 + 2 * i);
    uint64_t head = shmbus_head(&rig.ring), dropped = head - 14;
    CHECK_EQUAL(shmbus_group_skip(&anna, head), dropped);
    must_tell(1, dropped);
    check_row(1, row(1).last, 12, dropped);
    rig_close(&rig);
}

/* ---- ids, beginnings, layouts ---- */

TEST(an_id_that_is_given_to_another_begins_a_row_anew_and_what_was_not_told_is_told_without_a_name) {
    open_group();
    publish_many(1, 2);
    publish_many(2, 40);
    shmbus_group_forget(&coordinator, 1); /* its messages are gone from the ring: lost, all of them */
    check_row(1, 2, 0, 2);
    CHECK_EQUAL(shmbus_group_untold(&anna), shmbus_head(&rig.ring) - 1);
    shmbus_numbers_begin(&rig.ring, 1, false);
    shmbus_writer_init(&writers[1], &rig.ring, 1);
    uint64_t sequence = publish(1);
    shmbus_group_skip(&anna, sequence);
    claim(&anna, sequence, 1);
    settle(&anna, sequence, sequence + 1);
    check_row(1, 1, 1, 0);
    CHECK_EQUAL(row(1).version, 2);
    must_tell(0, 2);
    must_tell(2, 40);
    must_tell_nothing();
}

/* The id of a producer that has left is given to the next one. */
static void give_away(uint32_t producer) {
    shmbus_group_forget(&coordinator, producer);
    shmbus_numbers_begin(&rig.ring, producer, false);
    shmbus_writer_init(&writers[producer], &rig.ring, producer);
}

TEST(what_an_earlier_owner_of_an_id_lost_after_it_had_gone_is_no_loss_of_a_later_one) {
    overrun_what_anna_holds();
    give_away(1);
    uint64_t sequence = publish(1);
    shmbus_group_skip(&anna, sequence);
    claim(&bert, sequence, 1); /* who needs the word of the first of them */
    settle(&bert, sequence, sequence + 1);
    check_row(1, 1, 1, 0);
    must_tell(0, 1);
    must_tell(2, sequence - shmbus_head(&rig.ring));
    CHECK_EQUAL(shmbus_group_return(&anna, taken(2)), SHMBUS_OVERRUN);
    end(&anna, 3, SHMBUS_ENDED_FILTERED);
    check_row(1, 1, 1, 0);
    CHECK_EQUAL(row(1).filtered, 0);
    must_tell(0, 1);
    must_tell_nothing();
}

TEST(what_is_held_of_one_that_has_gone_is_told_without_a_name_though_the_ring_still_says_its_id) {
    open_group();
    publish_many(1, 3);
    claim(&anna, 1, 3);
    publish_many(2, 31);
    shmbus_group_skip(&bert, shmbus_head(&rig.ring));
    must_tell(2, shmbus_head(&rig.ring) - 4);
    CHECK_EQUAL(shmbus_group_whose(&anna, 3), 1);
    give_away(1);
    CHECK_EQUAL(owner_of(&rig.ring, 3), 1);
    CHECK_EQUAL(shmbus_group_whose(&anna, 3), 0);
    end(&anna, 3, SHMBUS_ENDED_OVERRUN);
    must_tell(0, 1);
    end(&anna, 2, SHMBUS_ENDED_CORRUPT);
    must_tell(0, 1);
    settle(&anna, 1, 2);
    must_tell_nothing();
}

TEST(an_id_that_was_given_away_often_has_a_row_in_which_all_is_booked) {
    open_group();
    for (uint64_t at = 1; at <= 5; at++) {
        publish(1);
        claim(&anna, at, 1);
        end(&anna, at, at == 1 || at == 5 ? SHMBUS_ENDED_FILTERED : SHMBUS_ENDED_DELIVERED);
        CHECK_EQUAL(row(1).filtered, at == 1 || at == 5);
        for (int owners = 0; owners < 10000; owners++)
            give_away(1);
    }
}

TEST(a_loss_is_owed_although_who_booked_it_was_stopped_before_saying_so) {
    open_group();
    publish(1);
    const uint64_t entries[][2] = {{4 + 10 * 1 + 2, 1ull << 48 | 1}, {4 + 10 * 1 + 8, 1ull << 48 | 1}, {4 + 10 * 1, 1ull << 48 | 1}};
    for (int i = 0; i < 3; i++) { /* OVERRUN, OWED and LAST of producer 1 */
        atomic_store(&anna.logs[3].entries[i].where, entries[i][0]);
        atomic_store(&anna.logs[3].entries[i].value, entries[i][1]);
    }
    atomic_store(&anna.logs[3].count, 3);
    atomic_store(&anna.lane->ticket, (atomic_load(&anna.lane->ticket) | 255) + 1 + 128 + 3);
    atomic_store(&anna.account[10 * 1 + 8], entries[1][1]); /* and there she is stopped */
    shmbus_group_finish(&bert);
    must_tell(1, 1);
    must_tell_nothing();
}

TEST(who_begins_late_has_nothing_to_do_with_what_was_before) {
    open_ring();
    publish_many(1, 5);
    publish_many(2, 3);
    open_at(7, 0);
    claim(&anna, 7, 2);
    settle(&anna, 7, 9);
    CHECK_EQUAL(row(1).base, 5);
    CHECK_EQUAL(row(2).base, 1);
    check_row(2, 3, 2, 0);
}

TEST(who_begins_with_what_is_gone_is_told_and_goes_on_where_the_ring_does) {
    open_ring();
    publish_many(1, 50);
    uint64_t head = shmbus_head(&rig.ring);
    open_at(2, 0);
    CHECK_EQUAL(shmbus_group_floor(&anna), head);
    must_tell(0, head - 2);
    CHECK_EQUAL(row(1).base, head - 1);
}

TEST(a_claim_that_came_to_nothing_is_nobodys_loss) {
    open_group();
    uint64_t word;
    rig_claim(&rig.ring, 5, 2, true, &word);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 5), 1);
    publish_many(1, 60);
    shmbus_group_skip(&anna, shmbus_head(&rig.ring));
    check_row(1, shmbus_head(&rig.ring) - 2, 0, shmbus_head(&rig.ring) - 2);
    must_tell(1, shmbus_head(&rig.ring) - 2);
    must_tell_nothing();
    CHECK_EQUAL(atomic_load(&anna.lane->unread), atomic_load(&anna.lane->explained));
}

TEST(what_is_dropped_before_a_message_that_is_settled_is_its_producers_loss_in_the_same_commit) {
    open_group();
    struct shmbus_group blind = rig_member(&page, 1, 5); /* which cannot say whose it was */
    publish_many(1, 3);
    claim(&anna, 1, 1);
    claim(&blind, 2, 1);
    claim(&anna, 3, 1);
    settle(&anna, 3, 4);
    end(&blind, 2, SHMBUS_ENDED_OVERRUN);
    atomic_store(&rig_slot(&rig.ring, 2)->word, 0); /* nor can the ring any more */
    settle(&anna, 1, 2);
    CHECK_EQUAL(row(1).last - row(1).base, 3);
    CHECK_EQUAL(row(1).base, 0);
}

TEST(a_message_whose_number_its_producer_did_not_store_is_lost_by_name_all_the_same) {
    open_group();
    uint64_t word;
    for (int i = 0; i < 2; i++)
        rig_claim(&rig.ring, 5, 2, true, &word);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 5), 2);
    for (uint64_t at = 1; at <= 2; at++)
        CHECK_EQUAL(shmbus_group_pass(&anna, at), SHMBUS_OK);
    publish(1);
    struct shmbus_numbers *numbers = shmbus_numbers_entry(&rig.ring, 1);
    atomic_store(&numbers->published, 0); /* committed, and stopped before it said so */
    publish_many(2, 60);
    shmbus_group_skip(&anna, shmbus_head(&rig.ring));
    check_row(1, 1, 0, 1); /* counted by whoever retired it */
    uint64_t sequence = publish(1);
    shmbus_group_skip(&anna, sequence);
    claim(&anna, sequence, 1);
    settle(&anna, sequence, sequence + 1);
    check_row(1, 2, 1, 1);
    CHECK_EQUAL(row(1).base + row(2).base, 0);
}

TEST(a_page_of_the_oldest_layout_has_no_ledger_and_goes_on_as_it_was) {
    open_ring();
    page = rig_group(9, 2, WINDOW, 0, 0);
    struct shmbus_group_setup setup;
    CHECK_EQUAL(shmbus_group_check(page.memory, page.size, rig_boot, &setup), SHMBUS_OK);
    CHECK_EQUAL(setup.rows, 0);
    CHECK_EQUAL(shmbus_group_number(page.memory, page.size), SHMBUS_GROUP_OLDEST);
    anna = looking(rig_member(&page, 1, 3));
    shmbus_group_place(&anna, 1);
    shmbus_group_begin(&anna);
    publish_many(1, 60);
    CHECK_EQUAL(shmbus_group_skip(&anna, shmbus_head(&rig.ring)), shmbus_head(&rig.ring) - 1);
    struct shmbus_entry entry;
    CHECK(!shmbus_group_entry(&anna, 1, &entry));
    must_tell_nothing();
}
