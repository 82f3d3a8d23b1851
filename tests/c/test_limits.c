/* Limits by count, size and time; and what a full ring says about who stands in the way. */
#include "rig.h"

static struct rig rig;
static struct shmbus_writer writer;
static struct rig_message message;

static void open_ring(struct shmbus_limits limits) {
    struct shmbus_ring_setup setup = rig_setup();
    setup.limits = limits;
    rig = rig_open(&setup);
    shmbus_writer_init(&writer, &rig.ring, 1);
}

TEST(no_more_messages_are_retained_than_the_limit_says) {
    open_ring((struct shmbus_limits){.max_messages = 5, .max_message_bytes = 1000, .max_bytes = UINT64_MAX});
    for (uint64_t n = 1; n <= 300; n++) {
        rig_must_publish(&writer, n, 20);
        CHECK(shmbus_tail(&rig.ring) - shmbus_head(&rig.ring) <= 5);
    }
    CHECK_EQUAL(shmbus_tail(&rig.ring) - shmbus_head(&rig.ring), 5);
    rig_close(&rig);
}

TEST(no_more_bytes_are_retained_than_the_limit_says) {
    open_ring((struct shmbus_limits){.max_messages = 1000, .max_message_bytes = 5000, .max_bytes = 1000});
    for (uint64_t n = 1; n <= 300; n++) {
        rig_must_publish(&writer, n, 20 + (uint32_t)(n % 700));
        CHECK(shmbus_used_bytes(&rig.ring) <= 1000);
    }
    uint64_t sequence;
    CHECK_EQUAL(rig_publish(&writer, 301, 1000, &sequence), SHMBUS_TOO_LARGE); /* below its own limit, above this one */
    rig_close(&rig);
}

TEST(a_message_above_the_message_limit_is_too_large) {
    open_ring((struct shmbus_limits){.max_messages = 1000, .max_message_bytes = 100, .max_bytes = UINT64_MAX});
    uint64_t sequence;
    rig_must_publish(&writer, 1, 100);
    CHECK_EQUAL(rig_publish(&writer, 2, 101, &sequence), SHMBUS_TOO_LARGE);
    CHECK_EQUAL(shmbus_tail(&rig.ring), 2);
    rig_close(&rig);
}

TEST(limits_changed_while_running_hold_from_the_next_publish_on) {
    open_ring((struct shmbus_limits){.max_messages = 50, .max_message_bytes = 1000, .max_bytes = UINT64_MAX});
    struct shmbus_ring_header *header = rig.ring.header;
    uint64_t n = 0, sequence;
    while (n < 60)
        rig_must_publish(&writer, ++n, 20);
    atomic_store(&header->max_messages, 10);
    rig_must_publish(&writer, ++n, 20);
    CHECK(shmbus_tail(&rig.ring) - shmbus_head(&rig.ring) <= 10);
    atomic_store(&header->max_bytes, 3 * SHMBUS_UNIT * 2);
    rig_must_publish(&writer, ++n, 20);
    CHECK(shmbus_used_bytes(&rig.ring) <= 3 * SHMBUS_UNIT * 2);
    atomic_store(&header->max_messages, 0); /* nothing can be published then, and that is no corruption */
    CHECK_EQUAL(rig_publish(&writer, ++n, 20, &sequence), SHMBUS_TOO_LARGE);
    atomic_store(&header->max_messages, 10);
    atomic_store(&header->max_bytes, 63);
    CHECK_EQUAL(rig_publish(&writer, n, 20, &sequence), SHMBUS_TOO_LARGE);
    atomic_store(&header->max_bytes, UINT64_MAX);
    rig_must_publish(&writer, n, 20);
    rig_close(&rig);
}

TEST(a_message_expires_at_its_own_time_or_at_the_retention_time_of_the_ring) {
    open_ring((struct shmbus_limits){.max_messages = 50, .max_message_bytes = 1000, .max_bytes = UINT64_MAX});
    struct shmbus_frame frame = {.time_ns = 1000, .expires_ns = 0};
    CHECK(!shmbus_expired(&rig.ring, &frame, UINT64_MAX)); /* neither */
    frame.expires_ns = 1500;
    CHECK(!shmbus_expired(&rig.ring, &frame, 1499));
    CHECK(shmbus_expired(&rig.ring, &frame, 1500));
    atomic_store(&rig.ring.header->retention_ns, 200);
    CHECK(!shmbus_expired(&rig.ring, &frame, 1200));
    CHECK(shmbus_expired(&rig.ring, &frame, 1201));
    CHECK(!shmbus_expired(&rig.ring, &frame, 900)); /* from the future of another core: not yet */
    rig_close(&rig);
}

TEST(sweeping_retires_what_expired_up_to_the_first_message_that_did_not) {
    open_ring((struct shmbus_limits){50, 1000, UINT64_MAX, 1000, 0});
    for (uint64_t n = 1; n <= 10; n++)
        rig_publish_timed(&writer, n, n * 100, 0);
    rig_publish_timed(&writer, 11, 1100, 1101);
    rig_publish_timed(&writer, 12, 1200, 0);
    CHECK_EQUAL(shmbus_retire_expired(&rig.ring, 1100, NULL, 0), 0);
    CHECK_EQUAL(shmbus_retire_expired(&rig.ring, 1501, NULL, 0), 5);
    CHECK_EQUAL(shmbus_retire_expired(&rig.ring, 2001, NULL, 0), 6); /* 6..10 by retention, 11 by its own time */
    CHECK_EQUAL(shmbus_head(&rig.ring), 12);
    CHECK_EQUAL(rig_read(&rig.ring, 12, false, &message), SHMBUS_OK);
    CHECK_EQUAL(shmbus_retire_expired(&rig.ring, 5000, NULL, 0), 1);
    CHECK_EQUAL(shmbus_retire_expired(&rig.ring, 5000, NULL, 0), 0);
    rig_close(&rig);
}

TEST(sweeping_takes_aborted_claims_along_and_stops_at_gates_and_unfinished_claims) {
    open_ring((struct shmbus_limits){50, 1000, UINT64_MAX, 1000, 0});
    uint64_t word;
    rig_claim(&rig.ring, 2, 1, true, &word);
    CHECK_EQUAL(shmbus_retire_expired(&rig.ring, 5000, NULL, 0), 0);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 2), 1);
    rig_publish_timed(&writer, 1, 100, 0);
    rig_publish_timed(&writer, 2, 100, 0);
    struct rig_session session = rig_session(3, 1);
    shmbus_cursor_place(&session.page->cursors[0], 3);
    CHECK(shmbus_gate_set(&rig.ring, 0, 3, 0, 1));
    CHECK_EQUAL(shmbus_retire_expired(&rig.ring, 5000, &session.ref, 1), 2);
    CHECK_EQUAL(shmbus_head(&rig.ring), 3);
    rig_session_close(&session);
    rig_close(&rig);
}

TEST(a_full_ring_names_the_gate_that_holds_it) {
    struct shmbus_ring_setup setup = rig_setup();
    setup.limits.max_messages = 5;
    rig = rig_open(&setup);
    shmbus_writer_init(&writer, &rig.ring, 1);
    struct rig_session slow = rig_session(3, 2), fast = rig_session(4, 1);
    shmbus_cursor_place(&slow.page->cursors[1], 2);
    shmbus_cursor_place(&fast.page->cursors[0], 5);
    CHECK(shmbus_gate_set(&rig.ring, 0, 4, 0, 1));
    CHECK(shmbus_gate_set(&rig.ring, 2, 3, 1, 1));
    struct shmbus_session_ref sessions[] = {fast.ref, slow.ref};
    writer.sessions = sessions;
    writer.session_count = 2;
    uint64_t sequence, n = 1;
    while (rig_publish(&writer, n, 20, &sequence) == SHMBUS_OK)
        n++;
    CHECK_EQUAL(n, 7); /* 1 could be retired, 2 could not */
    CHECK_EQUAL(rig_publish(&writer, n, 20, &sequence), SHMBUS_FULL);
    CHECK_EQUAL(writer.blocked.by, SHMBUS_BY_GATE);
    CHECK_EQUAL(writer.blocked.session, 3);
    CHECK_EQUAL(writer.blocked.cursor, 1);
    CHECK_EQUAL(writer.blocked.sequence, 2);
    CHECK_EQUAL(writer.blocked.behind, 5);
    rig_session_close(&slow);
    rig_session_close(&fast);
    rig_close(&rig);
}

TEST(a_full_ring_names_the_claim_that_holds_it_and_whether_it_was_revoked) {
    struct shmbus_ring_setup setup = rig_setup();
    setup.limits.max_messages = 5;
    rig = rig_open(&setup);
    shmbus_writer_init(&writer, &rig.ring, 1);
    uint64_t word, sequence, claimed = rig_claim(&rig.ring, 2, 1, true, &word);
    for (uint64_t n = 1; n < 5; n++)
        rig_must_publish(&writer, n, 20);
    CHECK_EQUAL(rig_publish(&writer, 5, 20, &sequence), SHMBUS_FULL);
    CHECK_EQUAL(writer.blocked.by, SHMBUS_BY_CLAIM);
    CHECK_EQUAL(writer.blocked.producer, 2);
    CHECK_EQUAL(writer.blocked.word, word);
    CHECK_EQUAL(writer.blocked.sequence, claimed);
    CHECK(shmbus_skip(&rig.ring, claimed, 2));
    CHECK_EQUAL(rig_publish(&writer, 5, 20, &sequence), SHMBUS_FULL);
    CHECK_EQUAL(writer.blocked.by, SHMBUS_BY_SKIPPED);
    CHECK_EQUAL(writer.blocked.producer, 2);
    CHECK_EQUAL(shmbus_repair(&rig.ring, 2), 1);
    rig_must_publish(&writer, 5, 20);
    rig_close(&rig);
}

TEST(nothing_is_published_by_a_publish_that_was_told_full) {
    struct shmbus_ring_setup setup = rig_setup();
    setup.limits.max_messages = 2;
    rig = rig_open(&setup);
    shmbus_writer_init(&writer, &rig.ring, 1);
    CHECK(shmbus_gate_set(&rig.ring, 0, 9, 0, 1));
    struct rig_session session = rig_session(9, 1);
    writer.sessions = &session.ref;
    writer.session_count = 1;
    rig_must_publish(&writer, 1, 20);
    rig_must_publish(&writer, 2, 20);
    uint64_t sequence;
    for (int i = 0; i < 10; i++)
        CHECK_EQUAL(rig_publish(&writer, 3, 20, &sequence), SHMBUS_FULL);
    shmbus_cursor_place(&session.page->cursors[0], 3);
    CHECK_EQUAL(rig_must_publish(&writer, 3, 20), 3);
    CHECK_EQUAL(rig_read(&rig.ring, 3, false, &message), SHMBUS_OK);
    CHECK_EQUAL(message.frame.producer_sequence, 3);
    rig_session_close(&session);
    rig_close(&rig);
}
