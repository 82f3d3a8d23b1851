/* Every counter that goes round: positions of 24 bits, sequences of 40, laps of 32, and slots. Each start lies a little
 * before the wrap, and the ring is gone round several times from there, checked message by message. */
#include "rig.h"

struct start {
    uint64_t sequence;
    uint32_t position;
};

static struct rig open_at(uint32_t slots, uint64_t arena_bytes, struct start start) {
    struct shmbus_ring_setup setup = rig_setup();
    setup.geometry.slots = slots;
    setup.geometry.arena_bytes = arena_bytes;
    setup.first_sequence = start.sequence;
    setup.first_position = start.position;
    return rig_open(&setup);
}

/* Publish, read, abort, skip and retire; a lossy cursor far behind and a gate a little behind. */
static void go_round(uint32_t slots, uint64_t arena_bytes, struct start start) {
    struct rig rig = open_at(slots, arena_bytes, start);
    struct shmbus_writer writer;
    shmbus_writer_init(&writer, &rig.ring, 1);
    struct rig_session session = rig_session(1, 1);
    shmbus_cursor_place(&session.page->cursors[0], start.sequence);
    CHECK(shmbus_gate_set(&rig.ring, 0, 1, 0, start.sequence));
    writer.sessions = &session.ref;
    writer.session_count = 1;
    struct rig_message message;
    uint64_t cursor = start.sequence, wanted = start.sequence, sequence;
    for (uint64_t i = 0; i < 6u * slots + 40; i++) {
        if (i % 5 == 3 && shmbus_tail(&rig.ring) - shmbus_head(&rig.ring) < slots - 1 &&
            shmbus_used_bytes(&rig.ring) + 2 * SHMBUS_UNIT <= arena_bytes) {
            uint64_t word, claimed = rig_claim(&rig.ring, 2, 2, i % 2, &word);
            CHECK_EQUAL(claimed, wanted);
            CHECK_EQUAL(rig_read(&rig.ring, claimed, true, &message), SHMBUS_BUSY);
            CHECK(i % 3 || shmbus_skip(&rig.ring, claimed, 2));
            CHECK_EQUAL(shmbus_repair(&rig.ring, 2), 1);
            wanted++;
        }
        uint32_t length = RIG_LEAST + (uint32_t)(i * 37 % (arena_bytes / 4));
        while (rig_publish(&writer, wanted, length, &sequence) == SHMBUS_FULL) {
            enum shmbus_result result = rig_read(&rig.ring, cursor, true, &message);
            CHECK(result == SHMBUS_OK || result == SHMBUS_STEPPED);
            CHECK(result != SHMBUS_OK || message.number == cursor);
            shmbus_cursor_place(&session.page->cursors[0], ++cursor);
        }
        CHECK_EQUAL(sequence, wanted);
        wanted++;
        CHECK_EQUAL(shmbus_tail(&rig.ring), wanted);
        CHECK(shmbus_head(&rig.ring) <= cursor);
        CHECK(shmbus_used_bytes(&rig.ring) <= arena_bytes);
        if (i > 3u * slots)
            CHECK_EQUAL(rig_read(&rig.ring, start.sequence, false, &message), SHMBUS_OVERRUN);
        CHECK_EQUAL(rig_read(&rig.ring, wanted, false, &message), SHMBUS_EMPTY);
    }
    for (; cursor < wanted; cursor++) {
        enum shmbus_result result = rig_read(&rig.ring, cursor, true, &message);
        CHECK(result == SHMBUS_OK || result == SHMBUS_STEPPED);
    }
    uint64_t end = shmbus_seal(&rig.ring, 2);
    CHECK_EQUAL(end, wanted);
    CHECK_EQUAL(rig_read(&rig.ring, end, false, &message), SHMBUS_SEALED);
    rig_session_close(&session);
    rig_close(&rig);
}

TEST(positions_of_24_bits_go_round) {
    for (uint32_t before = 0; before < 70; before += 3)
        go_round(16, 4096, (struct start){1, POSITION_MASK + 1 - before});
}

TEST(sequences_of_40_bits_go_round) {
    for (uint64_t before = 0; before < 70; before += 3)
        go_round(16, 4096, (struct start){(1ull << SEQUENCE_BITS) - before, 0});
    /* both, and not for the first time */
    go_round(16, 4096, (struct start){(5ull << SEQUENCE_BITS) - 21, POSITION_MASK - 11});
}

TEST(half_of_40_bits_is_like_any_other_sequence) {
    for (uint64_t before = 0; before < 70; before += 9)
        go_round(16, 4096, (struct start){(1ull << (SEQUENCE_BITS - 1)) - before, 0});
}

TEST(laps_of_32_bits_go_round) {
    for (uint32_t shift = 1; shift <= 6; shift++)
        for (uint64_t before = 1; before < 40; before += 7) {
            go_round(1u << shift, 4096, (struct start){(1ull << (32 + shift)) - before, 0});
            go_round(1u << shift, 4096, (struct start){(1ull << (31 + shift)) - before, 0});
        }
}

TEST(first_sequences_that_are_no_multiple_of_the_slots_go_round) {
    for (uint64_t first = 1; first < 35; first++) {
        go_round(2, 4096, (struct start){first, 0});
        go_round(16, 4096, (struct start){first, (uint32_t)first});
    }
}

TEST(sequences_of_more_than_63_bits_are_told_in_full) {
    go_round(16, 4096, (struct start){1ull << 62, 0});
    go_round(16, 4096, (struct start){(1ull << 63) - 17, 0});
}

TEST(the_hint_follows_so_that_sequences_stay_right_for_ever) {
    struct rig rig = open_at(1024, 1u << 17, (struct start){(1ull << SEQUENCE_BITS) - 100, 0});
    struct shmbus_writer writer;
    shmbus_writer_init(&writer, &rig.ring, 1);
    uint64_t hint = atomic_load(&rig.ring.header->hint);
    for (uint64_t n = 0; n < (1u << 20) + 5000; n++)
        rig_must_publish(&writer, n, RIG_LEAST);
    CHECK(atomic_load(&rig.ring.header->hint) >= hint + (1u << 20));
    CHECK(atomic_load(&rig.ring.header->hint) <= shmbus_head(&rig.ring));
    CHECK_EQUAL(shmbus_tail(&rig.ring), (1ull << SEQUENCE_BITS) - 100 + (1u << 20) + 5000);
    rig_close(&rig);
}

/* As after 2^32 laps, or days, of others publishing while this reader or writer was stopped. */
TEST(who_was_stopped_for_half_a_turn_of_a_counter_still_finds_its_way) {
    struct rig rig = open_at(2, 4096, (struct start){(1ull << 33) + 5, 0});
    struct shmbus_writer writer;
    shmbus_writer_init(&writer, &rig.ring, 1);
    writer.head = pack(7, 99); /* of another age */
    writer.seen = 7;
    uint64_t at = rig_must_publish(&writer, 1, 20);
    struct rig_message message;
    CHECK_EQUAL(rig_read(&rig.ring, at, false, &message), SHMBUS_OK);
    CHECK_EQUAL(rig_read(&rig.ring, 1, false, &message), SHMBUS_OVERRUN);
    CHECK_EQUAL(rig_read(&rig.ring, 2, false, &message), SHMBUS_OVERRUN);
    rig_close(&rig);
}
