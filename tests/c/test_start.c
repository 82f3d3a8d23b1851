/* Where a reader begins: at a time, at the last so many. */
#include "rig.h"

static struct rig rig;
static struct shmbus_writer writer;

static void open_ring(void) {
    rig = rig_small(16, 4096);
    shmbus_writer_init(&writer, &rig.ring, 1);
}

static uint64_t last(uint64_t count, uint64_t *missing) {
    *missing = count;
    return shmbus_find_last(&rig.ring, missing);
}

TEST(a_time_begins_at_the_first_message_that_is_not_older) {
    open_ring();
    CHECK_EQUAL(shmbus_find_time(&rig.ring, 0), 1); /* an empty ring: its tail */
    for (uint64_t n = 1; n <= 40; n++)
        rig_publish_timed(&writer, n, n * 100, 0);
    uint64_t head = shmbus_head(&rig.ring);
    CHECK(head > 1);
    CHECK_EQUAL(shmbus_find_time(&rig.ring, 0), head);
    CHECK_EQUAL(shmbus_find_time(&rig.ring, 3500), 35);
    CHECK_EQUAL(shmbus_find_time(&rig.ring, 3501), 36);
    CHECK_EQUAL(shmbus_find_time(&rig.ring, 4001), 41);
    rig_close(&rig);
}

TEST(of_messages_that_overtook_each_other_none_of_the_time_is_left_out) {
    open_ring();
    const uint64_t times[] = {100, 300, 200, 400, 350};
    for (uint64_t n = 0; n < 5; n++)
        rig_publish_timed(&writer, n, times[n], 0);
    CHECK_EQUAL(shmbus_find_time(&rig.ring, 250), 2);
    CHECK_EQUAL(shmbus_find_time(&rig.ring, 350), 4);
    rig_close(&rig);
}

TEST(the_last_so_many_are_counted_without_what_nobody_gets) {
    open_ring();
    uint64_t missing, word;
    CHECK_EQUAL(last(3, &missing), 1);
    CHECK_EQUAL(missing, 3);
    rig_publish_timed(&writer, 1, 100, 0);
    rig_publish_timed(&writer, 2, 200, 1); /* expired long ago */
    rig_publish_timed(&writer, 3, 300, 0);
    rig_claim(&rig.ring, 2, 1, true, &word);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 2), 1); /* given up: no message */
    rig_publish_timed(&writer, 4, 400, 0);
    CHECK_EQUAL(last(1, &missing), 5);
    CHECK_EQUAL(missing, 0);
    CHECK_EQUAL(last(2, &missing), 3);
    CHECK_EQUAL(last(3, &missing), 1);
    CHECK_EQUAL(missing, 0);
    CHECK_EQUAL(last(4, &missing), 1);
    CHECK_EQUAL(missing, 1);
    rig_claim(&rig.ring, 2, 1, true, &word); /* will be a message when its owner is through */
    CHECK_EQUAL(last(1, &missing), 6);
    CHECK_EQUAL(shmbus_find_time(&rig.ring, 1000), 6);
    rig_close(&rig);
}

TEST(the_seal_is_no_message) {
    open_ring();
    uint64_t missing;
    rig_publish_timed(&writer, 1, 100, 0);
    CHECK_EQUAL(shmbus_seal(&rig.ring, 1), 2);
    CHECK_EQUAL(last(1, &missing), 1);
    CHECK_EQUAL(missing, 0);
    rig_close(&rig);
}

TEST(a_ring_with_nonsense_in_its_header_costs_one_round_at_most) {
    open_ring();
    for (uint64_t n = 1; n <= 10; n++)
        rig_publish_timed(&writer, n, n, 0);
    atomic_store(&rig.ring.header->head, 0xdeadbeefdeadbeefu);
    uint64_t missing;
    uint64_t found = last(UINT64_MAX, &missing), tail = shmbus_tail(&rig.ring);
    CHECK(tail - found <= 16);
    CHECK(tail - shmbus_find_time(&rig.ring, UINT64_MAX) <= 16);
    rig_close(&rig);
}
