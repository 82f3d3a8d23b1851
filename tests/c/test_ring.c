/* Publishing and reading, one verb after the other, in one thread. */
#include <string.h>

#include "rig.h"

static struct rig rig;
static struct shmbus_writer writer;
static struct rig_message message;

static void open_ring(uint32_t slots, uint64_t arena_bytes) {
    rig = rig_small(slots, arena_bytes);
    shmbus_writer_init(&writer, &rig.ring, 1);
}

TEST(a_new_ring_is_empty) {
    open_ring(64, 4096);
    CHECK_EQUAL(rig_read(&rig.ring, 1, false, &message), SHMBUS_EMPTY);
    CHECK_EQUAL(shmbus_head(&rig.ring), 1);
    CHECK_EQUAL(shmbus_tail(&rig.ring), 1);
    CHECK_EQUAL(shmbus_used_bytes(&rig.ring), 0);
    rig_close(&rig);
}

TEST(a_message_arrives_with_all_that_was_said_about_it) {
    open_ring(64, 4096);
    struct shmbus_part parts[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};
    struct shmbus_message out = {parts, 3, 0xf1a6, 123456789, 987654321, 200, SHMBUS_KIND_EVENT};
    uint64_t sequence;
    CHECK_EQUAL(shmbus_publish(&writer, &out, &sequence), SHMBUS_OK);
    struct shmbus_view view;
    struct shmbus_frame frame;
    char payload[5];
    CHECK_EQUAL(shmbus_peek(&rig.ring, sequence, &view), SHMBUS_OK);
    CHECK_EQUAL(view.length, 5);
    CHECK_EQUAL(shmbus_take(&rig.ring, &view, &frame, payload), SHMBUS_OK);
    CHECK(memcmp(payload, "abcde", 5) == 0);
    CHECK_EQUAL(frame.sequence, sequence);
    CHECK_EQUAL(frame.time_ns, 123456789);
    CHECK_EQUAL(frame.expires_ns, 987654321);
    CHECK_EQUAL(frame.producer_sequence, 1);
    CHECK_EQUAL(frame.producer, 1);
    CHECK_EQUAL(frame.priority, 200);
    CHECK_EQUAL(frame.kind, SHMBUS_KIND_EVENT);
    CHECK_EQUAL(frame.flags, 0xf1a6);
    CHECK_EQUAL(shmbus_tail(&rig.ring), sequence + 1);
    rig_close(&rig);
}

TEST(a_message_of_no_bytes_arrives) {
    open_ring(64, 4096);
    struct shmbus_message out = {.count = 0};
    uint64_t sequence;
    CHECK_EQUAL(shmbus_publish(&writer, &out, &sequence), SHMBUS_OK);
    struct shmbus_view view;
    struct shmbus_frame frame;
    char nothing;
    CHECK_EQUAL(shmbus_peek(&rig.ring, sequence, &view), SHMBUS_OK);
    CHECK_EQUAL(view.length, 0);
    CHECK_EQUAL(shmbus_take(&rig.ring, &view, &frame, &nothing), SHMBUS_OK);
    CHECK_EQUAL(shmbus_used_bytes(&rig.ring), SHMBUS_UNIT);
    rig_close(&rig);
}

TEST(messages_of_every_length_arrive_in_order_while_the_ring_goes_round) {
    open_ring(16, 4096);
    for (uint64_t n = 1; n <= 4000; n++) {
        uint32_t length = RIG_LEAST + (uint32_t)(n % 1500);
        CHECK_EQUAL(rig_must_publish(&writer, n, length), n);
        CHECK_EQUAL(rig_read(&rig.ring, n, false, &message), SHMBUS_OK);
        CHECK_EQUAL(message.number, n);
        CHECK_EQUAL(message.frame.length, length);
        CHECK_EQUAL(message.frame.producer_sequence, n);
        CHECK(shmbus_used_bytes(&rig.ring) <= 4096);
    }
    rig_close(&rig);
}

TEST(a_message_that_fills_the_arena_is_published_and_a_byte_more_is_too_large) {
    open_ring(16, 4096);
    uint64_t sequence;
    for (uint64_t n = 1; n < 50; n++) {
        uint64_t at = rig_must_publish(&writer, n, 4096 - sizeof(struct shmbus_frame));
        CHECK_EQUAL(rig_read(&rig.ring, at, false, &message), SHMBUS_OK);
        CHECK_EQUAL(rig_publish(&writer, n, 4096 - sizeof(struct shmbus_frame) + 1, &sequence), SHMBUS_TOO_LARGE);
    }
    rig_close(&rig);
}

TEST(a_frame_of_more_units_than_a_word_can_say_is_too_large) {
    open_ring(16, 1u << 25);
    static unsigned char bytes[SHMBUS_MAX_UNITS * SHMBUS_UNIT];
    struct shmbus_part part = {bytes, sizeof bytes - sizeof(struct shmbus_frame)};
    struct shmbus_message out = {.parts = &part, .count = 1};
    uint64_t sequence;
    CHECK_EQUAL(shmbus_publish(&writer, &out, &sequence), SHMBUS_OK);
    struct shmbus_view view;
    CHECK_EQUAL(shmbus_peek(&rig.ring, sequence, &view), SHMBUS_OK);
    CHECK_EQUAL(view.length, part.length);
    part.length++;
    CHECK_EQUAL(shmbus_publish(&writer, &out, &sequence), SHMBUS_TOO_LARGE);
    rig_close(&rig);
}

TEST(a_reader_left_behind_is_told_and_the_head_says_exactly_how_much_it_lost) {
    open_ring(8, 4096);
    for (uint64_t n = 1; n <= 1000; n++) {
        rig_must_publish(&writer, n, 20);
        uint64_t head = shmbus_head(&rig.ring);
        CHECK_EQUAL(shmbus_tail(&rig.ring), n + 1);
        CHECK(n + 1 - head <= 7);
        if (head > 1) {
            CHECK_EQUAL(rig_read(&rig.ring, head - 1, false, &message), SHMBUS_OVERRUN);
            CHECK_EQUAL(rig_read(&rig.ring, 1, false, &message), SHMBUS_OVERRUN);
        }
        CHECK_EQUAL(rig_read(&rig.ring, head, false, &message), SHMBUS_OK);
        CHECK_EQUAL(message.number, head);
        CHECK_EQUAL(rig_read(&rig.ring, n + 1, false, &message), SHMBUS_EMPTY);
    }
    rig_close(&rig);
}

TEST(what_is_overwritten_between_peek_and_take_is_an_overrun) {
    open_ring(8, 4096);
    rig_must_publish(&writer, 1, 20);
    struct shmbus_view view;
    struct shmbus_frame frame;
    char payload[64];
    CHECK_EQUAL(shmbus_peek(&rig.ring, 1, &view), SHMBUS_OK);
    for (uint64_t n = 2; n <= 70; n++) /* round slots and arena: the very bytes are another message's now */
        rig_must_publish(&writer, n, 20);
    CHECK_EQUAL(shmbus_take(&rig.ring, &view, &frame, payload), SHMBUS_OVERRUN);
    rig_close(&rig);
}

TEST(a_message_retired_between_peek_and_take_is_an_overrun_even_if_its_bytes_are_still_there) {
    open_ring(8, 4096);
    rig_must_publish(&writer, 1, 20);
    struct shmbus_view view;
    struct shmbus_frame frame;
    struct shmbus_blocked blocked;
    char payload[64];
    CHECK_EQUAL(shmbus_peek(&rig.ring, 1, &view), SHMBUS_OK);
    CHECK_EQUAL(shmbus_retire(&rig.ring, 1, NULL, 0, &blocked), 1);
    CHECK_EQUAL(shmbus_take(&rig.ring, &view, &frame, payload), SHMBUS_OVERRUN);
    rig_close(&rig);
}

TEST(a_claim_in_progress_makes_the_reader_wait_and_holds_nobody_else_back) {
    open_ring(64, 4096);
    uint64_t word, claimed = rig_claim(&rig.ring, 2, 1, true, &word);
    CHECK_EQUAL(rig_must_publish(&writer, 1, 20), claimed + 1);
    CHECK_EQUAL(rig_read(&rig.ring, claimed, false, &message), SHMBUS_BUSY);
    CHECK_EQUAL(rig_read(&rig.ring, claimed + 1, false, &message), SHMBUS_OK);
    rig_close(&rig);
}

TEST(a_publisher_helps_the_tail_past_a_winner_that_stopped) {
    open_ring(64, 4096);
    uint64_t word, claimed = rig_claim(&rig.ring, 2, 3, false, &word);
    CHECK_EQUAL(shmbus_tail(&rig.ring), claimed);
    CHECK_EQUAL(rig_must_publish(&writer, 1, 20), claimed + 1);
    CHECK_EQUAL(atomic_load(&rig_slot(&rig.ring, claimed + 1)->position), 3); /* behind what the winner owns */
    CHECK_EQUAL(rig_read(&rig.ring, claimed + 1, false, &message), SHMBUS_OK);
    rig_close(&rig);
}

TEST(two_mappings_of_a_ring_are_one_ring) {
    open_ring(64, 4096);
    struct rig look = rig_look(&rig, true);
    struct shmbus_writer other;
    shmbus_writer_init(&other, &look.ring, 2);
    for (uint64_t n = 1; n <= 500; n += 2) {
        CHECK_EQUAL(rig_must_publish(&writer, n, 30), n);
        CHECK_EQUAL(rig_must_publish(&other, n, 40), n + 1);
        CHECK_EQUAL(rig_read(&look.ring, n, false, &message), SHMBUS_OK);
        CHECK_EQUAL(message.producer, 1);
        CHECK_EQUAL(rig_read(&rig.ring, n + 1, false, &message), SHMBUS_OK);
        CHECK_EQUAL(message.producer, 2);
    }
    rig_close(&look);
    rig_close(&rig);
}

/* A writer that pauses remembers a head; meanwhile positions, of 24 bits, go round once and stand where they stood. */
TEST(a_writer_that_pauses_while_positions_go_round_does_not_overwrite_what_is_retained) {
    if (UNDER_THREAD_SANITIZER)
        return; /* a GiB to write, by one thread */
    open_ring(8192, 1u << 20);
    struct shmbus_writer other;
    shmbus_writer_init(&other, &rig.ring, 2);
    const uint32_t units = 4096, times = (1u << POSITION_BITS) / units;
    static unsigned char bytes[4096 * SHMBUS_UNIT - sizeof(struct shmbus_frame)];
    struct shmbus_part part = {bytes, sizeof bytes};
    struct shmbus_message out = {.parts = &part, .count = 1};
    uint64_t sequence;
    CHECK_EQUAL(shmbus_publish(&writer, &out, &sequence), SHMBUS_OK);
    for (uint32_t n = 1; n < times; n++)
        CHECK_EQUAL(shmbus_publish(&other, &out, &sequence), SHMBUS_OK);
    CHECK_EQUAL(packed_position(atomic_load(&rig.ring.header->tail)), 0);
    CHECK_EQUAL(shmbus_used_bytes(&rig.ring), rig.geometry.arena_bytes);
    CHECK_EQUAL(shmbus_publish(&writer, &out, &sequence), SHMBUS_OK);
    CHECK(shmbus_used_bytes(&rig.ring) <= rig.geometry.arena_bytes);
    rig_close(&rig);
}

TEST(a_sealed_ring_ends_at_the_told_sequence_and_keeps_what_it_holds) {
    open_ring(8, 4096);
    for (uint64_t n = 1; n <= 100; n++)
        rig_must_publish(&writer, n, 20);
    CHECK_EQUAL(shmbus_seal(&rig.ring, 2), 101);
    CHECK_EQUAL(shmbus_seal(&rig.ring, 2), 101);
    CHECK_EQUAL(atomic_load(&rig.ring.header->successor), 2);
    uint64_t sequence;
    CHECK_EQUAL(rig_publish(&writer, 101, 20, &sequence), SHMBUS_SEALED);
    CHECK_EQUAL(rig_read(&rig.ring, 100, false, &message), SHMBUS_OK);
    CHECK_EQUAL(rig_read(&rig.ring, 101, false, &message), SHMBUS_SEALED);
    CHECK_EQUAL(shmbus_tail(&rig.ring), 101);
    struct shmbus_blocked blocked;
    while (shmbus_retire(&rig.ring, 100, NULL, 0, &blocked)) {
    }
    CHECK_EQUAL(shmbus_head(&rig.ring), 101);
    CHECK_EQUAL(rig_publish(&writer, 101, 20, &sequence), SHMBUS_SEALED);
    CHECK_EQUAL(rig_read(&rig.ring, 101, false, &message), SHMBUS_SEALED);
    rig_close(&rig);
}

TEST(a_full_ring_can_be_sealed_and_its_publishers_are_told_so_and_not_that_it_is_full) {
    open_ring(8, 4096);
    CHECK(shmbus_gate_set(&rig.ring, 0, 1, 0, 1));
    struct rig_session session = rig_session(1, 1);
    writer.sessions = &session.ref;
    writer.session_count = 1;
    uint64_t sequence, n = 1;
    while (rig_publish(&writer, n, 20, &sequence) == SHMBUS_OK)
        n++;
    CHECK_EQUAL(n, 8);
    CHECK_EQUAL(shmbus_seal(&rig.ring, 2), 8);
    CHECK_EQUAL(rig_publish(&writer, n, 20, &sequence), SHMBUS_SEALED);
    rig_session_close(&session);
    rig_close(&rig);
}

TEST(sealing_comes_after_a_claim_that_was_won_and_not_yet_helped) {
    open_ring(8, 4096);
    uint64_t word, claimed = rig_claim(&rig.ring, 2, 1, false, &word);
    CHECK_EQUAL(shmbus_seal(&rig.ring, 2), claimed + 1);
    CHECK(rig_commit(&rig.ring, claimed, word)); /* its owner goes on, and the message counts */
    CHECK_EQUAL(rig_read(&rig.ring, claimed + 1, false, &message), SHMBUS_SEALED);
    rig_close(&rig);
}
