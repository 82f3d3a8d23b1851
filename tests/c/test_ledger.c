/* The ledger: what was published before a sequence, whatever state the ring is in; and what the rows of it say. */
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rig.h"

enum { IDS = 3, WRITERS = 3 };

static struct rig rig;
static struct shmbus_writer writers[IDS + 1];

static void open_ring(uint32_t slots) {
    rig = rig_small(slots, 1 << 16);
    for (uint32_t id = 1; id <= IDS; id++) {
        shmbus_numbers_begin(&rig.ring, id, false);
        shmbus_writer_init(&writers[id], &rig.ring, id);
    }
}

static uint64_t publish(uint32_t id) { return rig_must_publish(&writers[id], writers[id].producer_sequence + 1, 20); }

/* What is known of 1, 2 and 3; then what they had published before `from`. */
static enum shmbus_result ask(uint64_t from, uint64_t numbers[IDS + 1]) {
    uint64_t counts[IDS + 1];
    return shmbus_numbers_before(&rig.ring, from, numbers, counts, IDS);
}
#define NUMBERS(a, b, c) ((uint64_t[IDS + 1]){SHMBUS_UNASKED, a, b, c})

#define CHECK_BEFORE(from, a, b, c)                                                                                   \
    do {                                                                                                              \
        uint64_t *numbers = NUMBERS(0, 0, 0);                                                                         \
        CHECK_EQUAL(ask(from, numbers), SHMBUS_OK);                                                                   \
        CHECK_EQUAL(numbers[1], a);                                                                                   \
        CHECK_EQUAL(numbers[2], b);                                                                                   \
        CHECK_EQUAL(numbers[3], c);                                                                                   \
    } while (0)

TEST(the_first_message_of_each_from_a_sequence_on_tells_what_came_before) {
    open_ring(16);
    uint64_t first = publish(1);
    publish(2);
    publish(1);
    publish(1);
    publish(2);
    uint64_t tail = shmbus_tail(&rig.ring);
    CHECK_BEFORE(first, 0, 0, 0);
    CHECK_BEFORE(first + 1, 1, 0, 0);
    CHECK_BEFORE(first + 2, 1, 1, 0);
    CHECK_BEFORE(first + 4, 3, 1, 0);
    CHECK_BEFORE(tail, 3, 2, 0);
    uint64_t *numbers = NUMBERS(3, SHMBUS_UNASKED, 0);
    CHECK_EQUAL(ask(first + 1, numbers), SHMBUS_OK);
    CHECK_EQUAL(numbers[1], 3); /* known already, so not looked for */
    CHECK_EQUAL(numbers[2], SHMBUS_UNASKED);
}

TEST(a_sequence_that_the_ring_has_dropped_cannot_be_asked_for) {
    open_ring(8);
    uint64_t first = publish(1);
    for (int i = 0; i < 20; i++)
        publish(2);
    uint64_t *numbers = NUMBERS(0, 0, 0);
    CHECK_EQUAL(ask(first, numbers), SHMBUS_OVERRUN);
    uint64_t head = shmbus_head(&rig.ring);
    CHECK_BEFORE(head, 1, head - first - 1, 0);
}

TEST(an_unfinished_claim_counts_with_the_number_that_it_may_get) {
    open_ring(16);
    uint64_t first = publish(1), word;
    publish(2);
    atomic_store(&writers[1].numbers->claiming, 2);
    uint64_t claimed = rig_claim(&rig.ring, 1, 2, true, &word);
    publish(2);
    CHECK_BEFORE(first + 1, 1, 0, 0);
    CHECK_BEFORE(claimed, 1, 1, 0);
    CHECK_BEFORE(claimed + 1, 1, 1, 0); /* it is not published yet, nor counted */
    CHECK_EQUAL(shmbus_owner(&rig.ring, claimed), 1);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 1), 1);
    CHECK_BEFORE(claimed, 1, 1, 0);
    shmbus_writer_init(&writers[1], &rig.ring, 1);
    writers[1].producer_sequence = 1;
    publish(1); /* a claim that came to nothing used up no number */
    CHECK_BEFORE(claimed, 1, 1, 0);
    CHECK_BEFORE(shmbus_tail(&rig.ring), 2, 2, 0);
}

TEST(whoever_gets_an_id_anew_is_another_also_in_the_successor) {
    open_ring(16);
    uint32_t tag = shmbus_producer_tag(&rig.ring, 2);
    CHECK(tag != 0 && (tag & SHMBUS_MAX_PRODUCER_ID) == 2);
    shmbus_numbers_begin(&rig.ring, 2, true);
    uint32_t other = shmbus_producer_tag(&rig.ring, 2);
    CHECK(other != tag);
    struct rig next = rig_small(16, 1 << 16);
    CHECK(!shmbus_numbers_used(&next.ring, 2));
    shmbus_numbers_carry(&next.ring, &rig.ring);
    CHECK_EQUAL(shmbus_producer_tag(&next.ring, 2), other);
    CHECK(shmbus_numbers_used(&next.ring, 2));
    shmbus_numbers_begin(&next.ring, 2, false);
    CHECK(shmbus_producer_tag(&next.ring, 2) != other);
    CHECK(!shmbus_numbers_used(&next.ring, SHMBUS_MAX_PRODUCERS));
}

/* As a writer leaves it that is killed between its commit and the count. */
static uint64_t publish_uncounted(uint32_t id) {
    publish(id);
    return atomic_fetch_sub(&writers[id].numbers->published, 1);
}

TEST(a_killed_producers_last_message_is_counted_while_it_is_there) {
    open_ring(8);
    publish(1);
    CHECK_EQUAL(publish_uncounted(1), 2);
    publish(2);
    CHECK_EQUAL(shmbus_numbers_settle(&rig.ring, 1), 2);
    CHECK_EQUAL(shmbus_numbers_settle(&rig.ring, 2), 1);
    rig_close(&rig);
}

TEST(a_killed_producers_last_message_is_counted_by_whoever_retires_it) {
    open_ring(8);
    publish(1);
    publish(3);
    CHECK_EQUAL(publish_uncounted(1), 2);
    CHECK_EQUAL(publish_uncounted(3), 2);
    for (int i = 0; i < 3 * 8; i++)
        publish(2);
    CHECK_EQUAL(atomic_load(&writers[1].numbers->published), 2);
    CHECK_EQUAL(shmbus_numbers_settle(&rig.ring, 1), 2);
    CHECK_EQUAL(shmbus_numbers_settle(&rig.ring, 3), 2);
    CHECK_EQUAL(shmbus_numbers_settle(&rig.ring, 2), 24);
    rig_close(&rig);
}

TEST(a_killed_producers_last_message_is_counted_however_far_its_number_is_from_the_one_before) {
    open_ring(8);
    publish(1);
    writers[1].producer_sequence = 9; /* of a durable producer, which numbers its messages */
    CHECK_EQUAL(publish_uncounted(1), 10);
    atomic_store(&writers[1].numbers->published, 1);
    for (int i = 0; i < 3 * 8; i++)
        publish(2);
    CHECK_EQUAL(shmbus_numbers_settle(&rig.ring, 1), 10);
    rig_close(&rig);
}

TEST(a_message_is_counted_by_whoever_retires_it_before_the_numbers_of_the_ring_before_are_raised) {
    open_ring(8);
    writers[1].producer_sequence = 4; /* as a writer comes from the ring before */
    CHECK_EQUAL(publish_uncounted(1), 5);
    atomic_store(&writers[1].numbers->published, 0);
    for (int i = 0; i < 3 * 8; i++)
        publish(2);
    shmbus_numbers_raise(&rig.ring, 1, 4);
    CHECK_EQUAL(shmbus_numbers_settle(&rig.ring, 1), 5);
    rig_close(&rig);
}

TEST(a_claim_that_came_to_nothing_is_not_counted_when_it_is_retired) {
    open_ring(8);
    publish(1);
    atomic_store(&writers[1].numbers->claiming, 2);
    uint64_t word;
    rig_claim(&rig.ring, 1, 2, true, &word);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 1), 1);
    for (int i = 0; i < 3 * 8; i++)
        publish(2);
    CHECK_EQUAL(shmbus_numbers_settle(&rig.ring, 1), 1);
    rig_close(&rig);
}

/* ---- numbers that are left out ---- */

static uint64_t publish_as(uint32_t id, uint64_t number) {
    writers[id].producer_sequence = number - 1;
    return publish(id);
}

static void open_durable(uint32_t slots) {
    open_ring(slots);
    for (uint32_t id = 1; id <= 2; id++) {
        shmbus_numbers_begin(&rig.ring, id, true);
        shmbus_writer_init(&writers[id], &rig.ring, id);
    }
}

static uint64_t count_before(uint32_t id, uint64_t from) {
    uint64_t *numbers = NUMBERS(0, 0, 0), counts[IDS + 1];
    CHECK_EQUAL(shmbus_numbers_before(&rig.ring, from, numbers, counts, IDS), SHMBUS_OK);
    return counts[id];
}

TEST(of_a_producer_that_leaves_out_numbers_it_is_told_how_many_messages_came_before) {
    open_durable(32);
    static const uint64_t numbers[] = {5, 6, 20, 21, 22, 300, 301, 500, 1000, 1001};
    enum { COUNT = sizeof numbers / sizeof *numbers };
    uint64_t at[COUNT];
    for (uint64_t i = 0; i < COUNT; i++) {
        at[i] = publish_as(1, numbers[i]);
        publish(3);
        CHECK_EQUAL(shmbus_numbers_count(&rig.ring, 1), i + 1);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK_EQUAL(count_before(1, at[i]), i);
        CHECK_EQUAL(count_before(1, at[i] + 1), i + 1);
        CHECK_EQUAL(count_before(3, at[i]), i);
        CHECK_EQUAL(shmbus_count_before(&rig.ring, at[i], 1), i);
    }
    for (int i = 0; i < 60; i++)
        publish(3);
    CHECK_EQUAL(count_before(1, shmbus_head(&rig.ring)), COUNT);
    CHECK_EQUAL(shmbus_count_before(&rig.ring, at[0], 1), SHMBUS_UNCOUNTED);
    rig_close(&rig);
}

TEST(a_message_that_is_not_counted_yet_is_not_taken_for_one_that_is) {
    open_durable(32);
    static const uint64_t numbers[] = {5, 6, 20, 300, 301};
    uint64_t at[5];
    for (uint64_t i = 0; i < 5; i++)
        at[i] = publish_as(1, numbers[i]);
    atomic_store(&writers[1].numbers->published, 300); /* as its writer leaves it that is killed after a commit */
    CHECK_EQUAL(count_before(1, at[1]), 1);
    CHECK_EQUAL(count_before(1, at[2]), 2);
    CHECK_EQUAL(count_before(1, at[4]), 4);
    rig_close(&rig);
}

TEST(a_killed_producers_last_message_is_counted_by_whoever_retires_it_though_it_has_left_out_numbers) {
    open_durable(8);
    publish_as(1, 3);
    publish_as(1, 50);
    atomic_store(&writers[1].numbers->published, 3);
    CHECK_EQUAL(shmbus_numbers_count(&rig.ring, 1), 1);
    for (int i = 0; i < 3 * 8; i++)
        publish(3);
    CHECK_EQUAL(atomic_load(&writers[1].numbers->published), 50);
    CHECK_EQUAL(shmbus_numbers_count(&rig.ring, 1), 2);
    rig_close(&rig);
}

TEST(a_number_that_came_to_nothing_is_left_out_only_if_it_is_passed) {
    open_durable(32);
    uint64_t sequence;
    publish_as(1, 3);
    atomic_store(&rig.ring.header->max_messages, 1); /* and it is held: nothing may go */
    CHECK(shmbus_gate_set(&rig.ring, 0, 9, 0, 1));
    struct shmbus_session_ref nobody = {.session = 9};
    writers[1].sessions = &nobody;
    writers[1].session_count = 1;
    writers[1].producer_sequence = 9;
    CHECK_EQUAL(rig_publish(&writers[1], 10, 20, &sequence), SHMBUS_FULL); /* number 10 */
    CHECK_EQUAL(shmbus_numbers_count(&rig.ring, 1), 1);
    atomic_store(&rig.ring.header->max_messages, 31);
    for (uint64_t number = 4; number <= 12; number++) { /* by and by it reaches and passes that */
        uint64_t at = publish_as(1, number);
        CHECK_EQUAL(shmbus_numbers_count(&rig.ring, 1), number - 2);
        CHECK_EQUAL(count_before(1, at), number - 3);
    }
    shmbus_writer_init(&writers[1], &rig.ring, 1); /* its next life */
    publish_as(1, 15);
    CHECK_EQUAL(shmbus_numbers_count(&rig.ring, 1), 11);
    rig_close(&rig);
}

TEST(a_claim_that_was_revoked_on_the_way_is_no_message_and_its_leap_none) {
    open_durable(32);
    uint64_t word, at = publish_as(1, 3);
    /* As it is left by one that was killed after it had leapt to 8 and claimed. */
    atomic_store(&writers[1].numbers->leaps[1].skipped, 6);
    atomic_store(&writers[1].numbers->leaps[1].first, 8);
    atomic_store(&writers[1].numbers->claiming, 8);
    rig_claim(&rig.ring, 1, 2, true, &word);
    CHECK_EQUAL(count_before(1, at + 1), 1); /* while it stands there, */
    CHECK_EQUAL(shmbus_repair(&rig.ring, 1), 1);
    CHECK_EQUAL(shmbus_numbers_settle(&rig.ring, 1), 3);
    CHECK_EQUAL(count_before(1, at + 1), 1); /* and when it is known to be nothing */
    shmbus_writer_init(&writers[1], &rig.ring, 1);
    for (uint64_t number = 4; number <= 9; number++)
        publish_as(1, number);
    CHECK_EQUAL(shmbus_numbers_count(&rig.ring, 1), 7);
    rig_close(&rig);
}

TEST(what_was_left_out_goes_along_to_the_successor_whoever_comes_first) {
    for (int first = 0; first < 2; first++) {
        open_durable(32);
        publish_as(1, 3);
        publish_as(1, 30);
        struct rig next = rig_small(32, 1 << 16);
        shmbus_numbers_begin(&next.ring, 1, true);
        if (first == 0)
            shmbus_numbers_follow(&next.ring, &rig.ring, 1);
        CHECK_EQUAL(shmbus_numbers_count(&next.ring, 1), first == 0 ? 2 : 0);
        shmbus_numbers_follow(&next.ring, &rig.ring, 1); /* by its producer */
        shmbus_writer_init(&writers[1], &next.ring, 1);
        publish_as(1, 40);
        if (first == 1)
            shmbus_numbers_follow(&next.ring, &rig.ring, 1); /* late */
        CHECK_EQUAL(shmbus_numbers_count(&next.ring, 1), 3);
        rig_close(&next);
        rig_close(&rig);
    }
}

TEST(whoever_looked_at_the_ring_before_earlier_and_stores_late_takes_nothing_back) {
    open_durable(32);
    publish_as(1, 3);
    publish_as(1, 30);
    struct rig next = rig_small(32, 1 << 16);
    shmbus_numbers_begin(&next.ring, 1, true);
    shmbus_numbers_follow(&next.ring, &rig.ring, 1); /* by its producer, after its last message */
    atomic_store(&writers[1].numbers->published, 3);
    shmbus_numbers_follow(&next.ring, &rig.ring, 1); /* by the coordinator, who has seen the message before that as the last */
    CHECK_EQUAL(shmbus_numbers_count(&next.ring, 1), 2);
    shmbus_writer_init(&writers[1], &next.ring, 1);
    publish_as(1, 40);
    CHECK_EQUAL(shmbus_numbers_count(&next.ring, 1), 3);
    rig_close(&next);
    rig_close(&rig);
}

TEST(where_an_id_was_left_and_what_a_durable_one_left_out_are_not_taken_for_each_other) {
    open_durable(32);
    publish_as(1, 3);
    publish_as(1, 30);
    struct rig next = rig_small(32, 1 << 16);
    shmbus_numbers_begin(&next.ring, 1, true);
    shmbus_numbers_follow(&next.ring, &rig.ring, 1);
    CHECK_EQUAL(shmbus_producer_left(&next.ring, 1), 0); /* though it has left out 28 numbers */
    publish_as(2, 50);
    shmbus_numbers_begin(&next.ring, 2, false); /* the id is an ordinary one's there */
    shmbus_numbers_follow(&next.ring, &rig.ring, 2);
    CHECK_EQUAL(shmbus_producer_left(&next.ring, 2), 0);
    shmbus_producer_leave(&next.ring, 1, 7);             /* a durable one never leaves */
    CHECK_EQUAL(shmbus_numbers_count(&next.ring, 1), 2);
    shmbus_numbers_begin(&next.ring, 1, false); /* from now on it is an ordinary one's */
    CHECK_EQUAL(shmbus_producer_left(&next.ring, 1), 0);
    shmbus_writer_init(&writers[1], &next.ring, 1);
    publish(1);
    shmbus_producer_leave(&next.ring, 1, 2);
    CHECK_EQUAL(shmbus_producer_left(&next.ring, 1), 2);
    CHECK_EQUAL(shmbus_numbers_count(&next.ring, 1), 1);
    shmbus_numbers_begin(&next.ring, 1, true); /* and once more a durable one's */
    CHECK_EQUAL(shmbus_producer_left(&next.ring, 1), 0);
    shmbus_writer_init(&writers[1], &next.ring, 1);
    publish(1);
    CHECK_EQUAL(shmbus_numbers_count(&next.ring, 1), 1);
    rig_close(&next);
    rig_close(&rig);
}

TEST(in_a_ring_of_the_layout_before_nobody_counts_what_is_left_out) {
    open_durable(32);
    uint64_t at = publish_as(1, 3);
    rig.ring.header->layout_version = 3;
    CHECK_EQUAL(count_before(1, at), SHMBUS_UNCOUNTED);
    CHECK_EQUAL(shmbus_numbers_count(&rig.ring, 1), SHMBUS_UNCOUNTED);
    CHECK_EQUAL(shmbus_numbers_count(&rig.ring, 3), 0);
    rig_close(&rig);
}

/* ---- rows ---- */

static struct {
    _Alignas(128) unsigned char memory[1 << 14];
} page;
static struct shmbus_ledger ledger;
enum { CURSORS = 4, ROWS = 6 };

static void open_page_with(uint32_t rows, uint32_t backed) {
    struct shmbus_session_setup setup = {.session = 1, .cursors = CURSORS, .rows = rows, .backed = backed};
    memcpy(setup.boot_id, rig_boot, sizeof setup.boot_id);
    memset(&page, 0, sizeof page);
    shmbus_session_init(&page, &setup);
    CHECK_EQUAL(shmbus_session_check(&page, sizeof page, rig_boot), SHMBUS_OK);
    shmbus_ledger_view(&ledger, &page, sizeof page);
    CHECK_EQUAL(ledger.capacity, rows);
}
static void open_page(void) { open_page_with(ROWS, 0); }

static uint32_t rows_of(uint32_t cursor) {
    uint32_t count = 0;
    for (struct shmbus_row *row = NULL; (row = shmbus_row_next(&ledger, cursor, row)) && count < 100;)
        count++;
    return count;
}

TEST(rows_are_given_out_found_and_given_back) {
    open_page();
    for (uint32_t id = 1; id <= 4; id++)
        CHECK(shmbus_row_open(&ledger, 1, id, 10 * id, 0));
    CHECK(shmbus_row_open(&ledger, 3, 1, 0, 0));
    CHECK(shmbus_row_open(&ledger, 3, 2, 0, 0));
    CHECK(!shmbus_row_open(&ledger, 0, 1, 0, 0)); /* there are six */
    CHECK(!shmbus_row_open(&ledger, CURSORS, 1, 0, 0));
    CHECK_EQUAL(rows_of(1), 4);
    CHECK_EQUAL(rows_of(3), 2);
    CHECK_EQUAL(rows_of(0), 0);
    CHECK_EQUAL(rows_of(CURSORS), 0);
    shmbus_rows_close(&ledger, 1);
    shmbus_rows_close(&ledger, CURSORS);
    CHECK_EQUAL(rows_of(1), 0);
    CHECK(shmbus_row_open(&ledger, 0, 1, 0, 0));
    CHECK_EQUAL(rows_of(3), 2);
}

static struct {
    void *from;
    size_t bytes;
} backed[8];
static uint32_t backings, free_backings;

static bool back(void *memory, size_t bytes) {
    backed[backings % 8].from = memory;
    backed[backings % 8].bytes = bytes;
    return backings++ < free_backings;
}

static void check_backed(uint32_t times, uint32_t first, uint32_t count) {
    CHECK_EQUAL(backings, times);
    CHECK(backed[times - 2].from == (void *)&ledger.rows[first]);
    CHECK_EQUAL(backed[times - 2].bytes, count * sizeof(struct shmbus_row));
    CHECK(backed[times - 1].from == (void *)&ledger.before[first]); /* what stands beside them */
    CHECK_EQUAL(backed[times - 1].bytes, count * sizeof(uint64_t));
}

TEST(rows_get_memory_when_all_that_have_some_are_in_use) {
    open_page_with(140, 5);
    ledger.back = back;
    free_backings = 6;
    for (uint32_t id = 1; id <= 5; id++)
        CHECK(shmbus_row_open(&ledger, 1, id, 0, 0));
    CHECK_EQUAL(backings, 0);
    for (uint32_t id = 6; id <= 69; id++)
        CHECK_EQUAL(shmbus_row_open(&ledger, 1, id, 0, 0) - ledger.rows, id - 1);
    check_backed(2, 5, 64);
    shmbus_rows_close(&ledger, 1);
    for (uint32_t id = 1; id <= 69; id++) /* those come first that have memory, wherever we look from */
        CHECK(shmbus_row_open(&ledger, 2, id, 0, 0) < &ledger.rows[69]);
    CHECK_EQUAL(backings, 2);
    for (uint32_t id = 70; id <= 140; id++)
        CHECK(shmbus_row_open(&ledger, 3, id, 0, 0));
    check_backed(6, 133, 7); /* the last ones */
    CHECK(!shmbus_row_open(&ledger, 3, 141, 0, 0));
    CHECK_EQUAL(rows_of(2), 69);
    CHECK_EQUAL(rows_of(3), 71);
    CHECK_EQUAL(backings, 6);
}

TEST(rows_are_not_used_before_what_stands_beside_them_has_memory_too) {
    open_page_with(140, 5);
    ledger.back = back;
    free_backings = 1; /* that of the rows */
    for (uint32_t id = 1; id <= 5; id++)
        CHECK(shmbus_row_open(&ledger, 1, id, 0, 0));
    CHECK(!shmbus_row_open(&ledger, 1, 6, 0, 0));
    check_backed(2, 5, 64);
    free_backings = 4;
    ledger.fruitless = 0;
    CHECK(shmbus_row_open(&ledger, 1, 6, 0, 0) == &ledger.rows[5]);
    check_backed(4, 5, 64);
}

TEST(where_there_is_no_memory_for_rows_it_is_asked_for_again_but_not_every_time) {
    open_page_with(140, 80);
    ledger.back = back;
    for (uint32_t id = 1; id <= 80; id++)
        CHECK(shmbus_row_open(&ledger, 1, id, 0, 0));
    for (int times = 0; times < 110; times++)
        CHECK(!shmbus_row_open(&ledger, 1, 81, 0, 0));
    CHECK_EQUAL(backings, 10);
    free_backings = 100;
    struct shmbus_row *row = NULL;
    for (int times = 0; times < 11 && !row; times++)
        row = shmbus_row_open(&ledger, 1, 81, 0, 0);
    CHECK(row == &ledger.rows[80]);
    ledger.back = NULL; /* as somebody who may only read has it */
    for (uint32_t id = 82; id <= 140; id++)
        CHECK(shmbus_row_open(&ledger, 1, id, 0, 0));
    CHECK(!shmbus_row_open(&ledger, 1, 141, 0, 0));
}

TEST(memory_is_given_to_whole_pages_and_refused_where_there_is_none) {
    int descriptor = memfd_create("rows", MFD_CLOEXEC);
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE), size = 8 * page_bytes;
    struct stat status;
    CHECK(descriptor >= 0 && ftruncate(descriptor, (off_t)size) == 0);
    unsigned char *memory = shmbus_map(descriptor, size, 0, true);
    CHECK(memory);
    if (!shmbus_back(memory + page_bytes + 64, 64))
        return; /* a system that emulates Linux, and not that */
    CHECK(fstat(descriptor, &status) == 0);
    CHECK_EQUAL((size_t)status.st_blocks * 512, page_bytes);
    CHECK(shmbus_back(memory + page_bytes + 64, 2 * page_bytes));
    CHECK(fstat(descriptor, &status) == 0);
    CHECK_EQUAL((size_t)status.st_blocks * 512, 3 * page_bytes);
    CHECK(ftruncate(descriptor, (off_t)(2 * page_bytes)) == 0); /* behind the end is no memory: a store there is a SIGBUS */
    CHECK(!shmbus_back(memory + 6 * page_bytes, 64));
    shmbus_unmap(memory, size, 0);
    CHECK(close(descriptor) == 0);
}

TEST(a_chain_that_a_client_bent_ends) {
    open_page();
    struct shmbus_row *a = shmbus_row_open(&ledger, 1, 1, 0, 0), *b = shmbus_row_open(&ledger, 1, 2, 0, 0);
    CHECK(a && b);
    atomic_store(&a->next, (uint32_t)(b - ledger.rows) + 1); /* a ring */
    shmbus_rows_close(&ledger, 1);
    CHECK_EQUAL(rows_of(1), 0);
    atomic_store(&ledger.first[2], 1000000);
    CHECK_EQUAL(rows_of(2), 0);
    shmbus_rows_close(&ledger, 2);
    ((struct shmbus_session_page *)&page)->rows = UINT32_MAX; /* more than is mapped */
    shmbus_ledger_view(&ledger, &page, sizeof page);
    CHECK_EQUAL(ledger.capacity, 0);
}

TEST(a_row_counts_each_message_once_and_says_what_became_of_it) {
    open_page();
    struct shmbus_row *row = shmbus_row_open(&ledger, 1, 5u << SHMBUS_PRODUCER_BITS | 7, 100, 0);
    CHECK(row);
    shmbus_row_account(row, 101, SHMBUS_DELIVERED);
    shmbus_row_account(row, 102, SHMBUS_LOST_EXPIRED);
    shmbus_row_account(row, 103, SHMBUS_LEFT_FILTERED);
    shmbus_row_account(row, 104, SHMBUS_LOST_CORRUPT);
    shmbus_row_account(row, 104, SHMBUS_DELIVERED); /* published again */
    CHECK_EQUAL(shmbus_row_missing(row, SHMBUS_UNCOUNTED, 109, 7), 5);
    CHECK_EQUAL(shmbus_row_missing(row, 0, 104, SHMBUS_UNCOUNTED), 0);
    CHECK_EQUAL(shmbus_row_missing(row, 50, 109, 57), 3); /* 54 of them were before 105 */
    shmbus_row_lose(row, 109, 3);                         /* 105 to 109: three were lost, two numbers never used */
    shmbus_row_account(row, 110, SHMBUS_DELIVERED);
    shmbus_row_account(row, 112, SHMBUS_DELIVERED); /* and one more left out */
    struct shmbus_entry says = shmbus_row_read(row, NULL);
    CHECK_EQUAL(says.producer, 7);
    CHECK_EQUAL(says.version, 5);
    CHECK_EQUAL(says.base, 103);
    CHECK_EQUAL(says.last, 112);
    CHECK_EQUAL(says.delivered, 3);
    CHECK_EQUAL(says.overrun, 3);
    CHECK_EQUAL(says.expired, 1);
    CHECK_EQUAL(says.filtered, 1);
    CHECK_EQUAL(says.corrupt, 1);
    CHECK_EQUAL(says.repeated, 1);
    atomic_fetch_add(&row->changing, 1); /* its client was killed in the middle of a change: whoever looks does not wait for ever */
    CHECK_EQUAL(shmbus_row_read(row, NULL).last, 112);
    shmbus_row_restart(row, 6u << SHMBUS_PRODUCER_BITS | 7, 0, NULL, 0);
    says = shmbus_row_read(row, NULL);
    CHECK_EQUAL(says.version, 6);
    CHECK_EQUAL(says.last + says.base + says.delivered + says.overrun, 0);
    CHECK(!(atomic_load(&row->changing) & 1));
}

/* ---- all at once: a reader that is overrun all the time finds each writer's messages, or their loss, exactly ---- */

static _Atomic uint32_t writing;
static bool leaping;

static void *write_many(void *argument) {
    struct shmbus_writer *writer = argument;
    uint64_t count = check_times(20000), sequence;
    for (uint64_t number = 1; number <= count; number++) {
        if (leaping && number % 5 == writer->producer)
            writer->producer_sequence += number % 7;
        while (rig_publish(writer, number, 20 + (uint32_t)(number % 40), &sequence) == SHMBUS_FULL)
            sched_yield();
        if (number % 64 == 0)
            sched_yield();
    }
    atomic_fetch_sub(&writing, 1);
    return NULL;
}

static uint64_t got[IDS + 1], lost[IDS + 1], last[IDS + 1], known[IDS + 1], budget;

/* So many messages of it came before, and its number is that. */
static void missing(uint32_t id, uint64_t number, uint64_t count) {
    CHECK(number >= last[id] && count >= known[id] && count - known[id] <= budget && count - known[id] <= number - last[id]);
    budget -= count - known[id];
    lost[id] += count - known[id];
    known[id] = count;
    last[id] = number;
}

/* What the reader does: asks at each overrun, and may be too slow to be answered; then each producer's next message tells. */
static void overrun(uint64_t *at) {
    uint64_t numbers[IDS + 1] = {SHMBUS_UNASKED, last[1], last[2], last[3]}, counts[IDS + 1];
    uint64_t head = shmbus_head(&rig.ring);
    CHECK(head > *at);
    budget += head - *at;
    *at = head;
    if (shmbus_numbers_before(&rig.ring, head, numbers, counts, IDS) != SHMBUS_OK)
        return;
    for (uint32_t id = 1; id <= IDS; id++)
        if (numbers[id] > last[id])
            missing(id, numbers[id], counts[id]);
}

static void read_along_with_writers(void) {
    uint64_t at = shmbus_tail(&rig.ring), overruns = 0;
    pthread_t threads[WRITERS];
    atomic_store(&writing, WRITERS);
    for (uint32_t i = 0; i < WRITERS; i++)
        CHECK(pthread_create(&threads[i], NULL, write_many, &writers[i + 1]) == 0);
    for (bool over = false;;) {
        struct rig_message message;
        enum shmbus_result result = rig_read(&rig.ring, at, false, &message);
        if (result == SHMBUS_OVERRUN) {
            overrun(&at);
            overruns++;
        } else if (result == SHMBUS_OK) {
            uint32_t id = message.producer;
            uint64_t number = message.frame.producer_sequence;
            uint64_t count = leaping ? shmbus_count_before(&rig.ring, at, id) : number - 1;
            CHECK(leaping || number == message.number);
            CHECK(count == SHMBUS_UNCOUNTED || count == message.number - 1); /* it holds how many there were */
            missing(id, number - 1, message.number - 1);
            known[id]++;
            last[id] = number;
            got[id]++;
            at++;
        } else if (result == SHMBUS_EMPTY && over) {
            break;
        } else {
            over = atomic_load(&writing) == 0;
            sched_yield();
        }
        if (at % 997 == 0)
            sched_yield();
    }
    uint64_t all = 0;
    for (uint32_t i = 0; i < WRITERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (uint32_t id = 1; id <= IDS; id++) {
        CHECK_EQUAL(got[id] + lost[id], check_times(20000));
        all += lost[id];
    }
    CHECK_EQUAL(budget, 0); /* nobody's claim was aborted: all that went by unread were messages */
    CHECK(all > 0 && overruns > 0);
}

TEST(a_reader_that_is_overrun_all_the_time_knows_of_every_writer_what_it_lost) {
    open_ring(32);
    read_along_with_writers();
}

TEST(a_reader_that_is_overrun_all_the_time_knows_what_it_lost_of_writers_that_leave_out_numbers) {
    open_ring(32);
    for (uint32_t id = 1; id <= IDS; id++)
        shmbus_numbers_begin(&rig.ring, id, true);
    leaping = true;
    read_along_with_writers();
}
