/* Claims whose owner died or overslept. */
#include <string.h>

#include "rig.h"

static struct rig rig;
static struct shmbus_writer writer;
static struct rig_message message;

static void open_ring(uint32_t slots) {
    rig = rig_small(slots, 4096);
    shmbus_writer_init(&writer, &rig.ring, 1);
}

TEST(repair_aborts_every_claim_of_the_dead_and_of_nobody_else) {
    open_ring(64);
    uint64_t words[10], aborted = 0;
    for (uint32_t i = 0; i < 10; i++)
        rig_claim(&rig.ring, 2 + i % 2, 1, true, &words[i]);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 2), 5);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 2), 0);
    for (uint64_t at = 1; at <= 10; at++) {
        enum shmbus_result result = rig_read(&rig.ring, at, false, &message);
        aborted += result == SHMBUS_STEPPED;
        CHECK(result == SHMBUS_STEPPED || result == SHMBUS_BUSY);
    }
    CHECK_EQUAL(aborted, 5);
    CHECK_EQUAL(atomic_load(&rig.ring.header->aborted), 5);
    rig_close(&rig);
}

TEST(repair_finds_a_claim_whose_owner_died_before_it_moved_the_tail) {
    open_ring(64);
    rig_must_publish(&writer, 1, 20);
    uint64_t word, claimed = rig_claim(&rig.ring, 2, 2, false, &word);
    struct shmbus_claim claims[4];
    CHECK_EQUAL(shmbus_claims(&rig.ring, claims, 4), 1);
    CHECK_EQUAL(claims[0].sequence, claimed);
    CHECK_EQUAL(claims[0].producer, 2);
    CHECK(!claims[0].skipped);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 2), 1);
    CHECK_EQUAL(shmbus_tail(&rig.ring), claimed + 1);
    CHECK_EQUAL(rig_read(&rig.ring, claimed, false, &message), SHMBUS_STEPPED);
    CHECK_EQUAL(rig_must_publish(&writer, 2, 20), claimed + 1);
    rig_close(&rig);
}

TEST(repair_of_a_dead_winner_that_nobody_helped_needs_no_publisher) {
    open_ring(64);
    uint64_t word, claimed = rig_claim(&rig.ring, 2, 2, false, &word);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 2), 1);
    CHECK_EQUAL(rig_read(&rig.ring, claimed, false, &message), SHMBUS_STEPPED);
    CHECK_EQUAL(rig_read(&rig.ring, claimed + 1, false, &message), SHMBUS_EMPTY);
    rig_close(&rig);
}

TEST(claims_are_listed_no_further_than_there_is_room_for_them) {
    open_ring(64);
    uint64_t word;
    for (uint32_t i = 0; i < 10; i++)
        rig_claim(&rig.ring, 2, 1, true, &word);
    struct shmbus_claim claims[4];
    CHECK_EQUAL(shmbus_claims(&rig.ring, claims, 4), 4);
    CHECK_EQUAL(claims[3].sequence, 4);
    CHECK_EQUAL(shmbus_claims(&rig.ring, claims, 0), 0);
    rig_close(&rig);
}

TEST(a_skipped_claim_is_stepped_over_keeps_its_space_and_its_late_owner_is_told) {
    open_ring(8);
    uint64_t word, sequence, claimed = rig_claim(&rig.ring, 2, 1, true, &word);
    CHECK(!shmbus_skip(&rig.ring, claimed, 3)); /* not his */
    CHECK(shmbus_skip(&rig.ring, claimed, 2));
    CHECK(!shmbus_skip(&rig.ring, claimed, 2)); /* once */
    CHECK_EQUAL(rig_read(&rig.ring, claimed, false, &message), SHMBUS_STEPPED);
    struct shmbus_claim claims[4];
    CHECK_EQUAL(shmbus_claims(&rig.ring, claims, 4), 1);
    CHECK(claims[0].skipped);
    uint64_t n = 1;
    while (rig_publish(&writer, n, 20, &sequence) == SHMBUS_OK)
        n++;
    CHECK_EQUAL(shmbus_head(&rig.ring), claimed); /* the owner may still write there */
    CHECK(!rig_commit(&rig.ring, claimed, word));
    CHECK_EQUAL(shmbus_repair(&rig.ring, 2), 1);
    rig_must_publish(&writer, n, 20);
    CHECK(shmbus_head(&rig.ring) > claimed);
    rig_close(&rig);
}

TEST(a_committed_or_aborted_message_can_be_neither_skipped_nor_repaired) {
    open_ring(8);
    uint64_t at = rig_must_publish(&writer, 1, 20);
    CHECK(!shmbus_skip(&rig.ring, at, 1));
    CHECK_EQUAL(shmbus_repair(&rig.ring, 1), 0);
    CHECK_EQUAL(rig_read(&rig.ring, at, false, &message), SHMBUS_OK);
    uint64_t word, claimed = rig_claim(&rig.ring, 2, 1, true, &word);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 2), 1);
    CHECK(!shmbus_skip(&rig.ring, claimed, 2));
    CHECK(!shmbus_skip(&rig.ring, claimed + 1, 2)); /* not claimed at all */
    CHECK(!shmbus_skip(&rig.ring, claimed + 8, 2));
    rig_close(&rig);
}

TEST(a_compare_and_swap_prepared_laps_ago_changes_nothing) {
    open_ring(8);
    uint64_t word, claimed = rig_claim(&rig.ring, 2, 1, true, &word);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 2), 1);
    for (uint64_t n = 1; n <= 8 * 3 - 1; n++)
        rig_must_publish(&writer, n, 20);
    uint64_t later = claimed + 8 * 3 - 8; /* the same slot, now somebody else's message */
    uint64_t now = atomic_load(&rig_slot(&rig.ring, later)->word);
    CHECK(!rig_commit(&rig.ring, claimed, word));
    CHECK(!shmbus_skip(&rig.ring, claimed, 2));
    CHECK_EQUAL(shmbus_repair(&rig.ring, 2), 0);
    CHECK_EQUAL(atomic_load(&rig_slot(&rig.ring, later)->word), now);
    uint64_t at;
    while (((at = shmbus_tail(&rig.ring)) & 7) != (claimed & 7))
        rig_must_publish(&writer, at, 20);
    CHECK_EQUAL(rig_claim(&rig.ring, 2, 1, true, &now), at); /* the same slot of the same producer */
    CHECK(!shmbus_skip(&rig.ring, claimed, 2));
    CHECK(!shmbus_skip(&rig.ring, at - 8, 2));
    CHECK(shmbus_skip(&rig.ring, at, 2));
    rig_close(&rig);
}

TEST(repair_under_the_seal_leaves_the_seal) {
    open_ring(8);
    uint64_t word, claimed = rig_claim(&rig.ring, 2, 1, false, &word);
    uint64_t end = shmbus_seal(&rig.ring, 2);
    CHECK_EQUAL(end, claimed + 1);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 2), 1);
    CHECK_EQUAL(shmbus_repair(&rig.ring, SHMBUS_SEALER), 0);
    CHECK(!shmbus_skip(&rig.ring, end + 1, SHMBUS_SEALER));
    CHECK_EQUAL(rig_read(&rig.ring, end, false, &message), SHMBUS_SEALED);
    CHECK_EQUAL(shmbus_tail(&rig.ring), end);
    rig_close(&rig);
}
