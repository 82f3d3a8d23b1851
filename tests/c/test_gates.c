/* Gates: cursors that hold retirement back. */
#include "rig.h"

static struct rig rig;
static struct shmbus_writer writer;
static struct shmbus_blocked blocked;

static void open_ring(void) {
    rig = rig_small(16, 4096);
    shmbus_writer_init(&writer, &rig.ring, 1);
}

static void publish(uint64_t count) {
    for (uint64_t n = 0; n < count; n++)
        rig_must_publish(&writer, n, 20);
}

TEST(a_gate_holds_at_its_floor_until_its_cursor_is_placed_and_at_the_cursor_from_then_on) {
    open_ring();
    struct rig_session session = rig_session(5, 4);
    publish(10);
    CHECK(shmbus_gate_set(&rig.ring, 3, 5, 2, 4));
    CHECK_EQUAL(shmbus_retire(&rig.ring, 100, &session.ref, 1, &blocked), 3);
    CHECK_EQUAL(shmbus_retire(&rig.ring, 100, &session.ref, 1, &blocked), 0);
    CHECK_EQUAL(blocked.by, SHMBUS_BY_GATE);
    shmbus_cursor_place(&session.page->cursors[2], 8);
    CHECK_EQUAL(shmbus_retire(&rig.ring, 2, &session.ref, 1, &blocked), 2); /* no more than it was asked for */
    CHECK_EQUAL(shmbus_retire(&rig.ring, 100, &session.ref, 1, &blocked), 2);
    CHECK_EQUAL(shmbus_head(&rig.ring), 8);
    CHECK_EQUAL(atomic_load(&rig.ring.header->gate), 8);
    CHECK(shmbus_gate_set(&rig.ring, 3, 0, 0, 0));
    CHECK_EQUAL(shmbus_retire(&rig.ring, 100, &session.ref, 1, &blocked), 3);
    CHECK_EQUAL(blocked.by, SHMBUS_BY_NOBODY);
    rig_session_close(&session);
    rig_close(&rig);
}

TEST(the_slowest_of_several_gates_holds) {
    open_ring();
    struct rig_session session = rig_session(5, 4);
    publish(10);
    for (uint32_t i = 0; i < 4; i++) {
        shmbus_cursor_place(&session.page->cursors[i], 9 - i);
        CHECK(shmbus_gate_set(&rig.ring, i, 5, i, 1));
    }
    CHECK_EQUAL(shmbus_retire(&rig.ring, 100, &session.ref, 1, &blocked), 5);
    CHECK_EQUAL(blocked.cursor, 3);
    rig_session_close(&session);
    rig_close(&rig);
}

TEST(a_gate_of_a_session_that_the_writer_does_not_know_holds_at_its_floor_and_is_named) {
    open_ring();
    struct rig_session known = rig_session(5, 1);
    shmbus_cursor_place(&known.page->cursors[0], 14);
    CHECK(shmbus_gate_set(&rig.ring, 0, 5, 0, 1));
    CHECK(shmbus_gate_set(&rig.ring, 1, 77, 3, 2));
    writer.sessions = &known.ref;
    writer.session_count = 1;
    publish(16); /* the first could be retired */
    uint64_t sequence;
    CHECK_EQUAL(rig_publish(&writer, 17, 20, &sequence), SHMBUS_UNKNOWN_SESSION);
    CHECK_EQUAL(writer.blocked.session, 77);
    CHECK_EQUAL(writer.blocked.cursor, 3);
    rig_session_close(&known);
    rig_close(&rig);
}

TEST(an_unknown_session_that_is_not_what_holds_is_not_asked_for) {
    open_ring();
    struct rig_session known = rig_session(5, 1);
    shmbus_cursor_place(&known.page->cursors[0], 2);
    CHECK(shmbus_gate_set(&rig.ring, 0, 5, 0, 1));
    CHECK(shmbus_gate_set(&rig.ring, 1, 77, 3, 9));
    writer.sessions = &known.ref;
    writer.session_count = 1;
    publish(16);
    uint64_t sequence;
    CHECK_EQUAL(rig_publish(&writer, 17, 20, &sequence), SHMBUS_FULL);
    CHECK_EQUAL(writer.blocked.session, 5);
    rig_session_close(&known);
    rig_close(&rig);
}

TEST(a_cursor_number_beyond_the_session_holds_at_the_floor) {
    open_ring();
    struct rig_session session = rig_session(5, 2);
    publish(10);
    CHECK(shmbus_gate_set(&rig.ring, 0, 5, 2, 4));
    CHECK_EQUAL(shmbus_retire(&rig.ring, 100, &session.ref, 1, &blocked), 3);
    CHECK_EQUAL(shmbus_retire(&rig.ring, 100, &session.ref, 1, &blocked), 0);
    rig_session_close(&session);
    rig_close(&rig);
}

TEST(a_cursor_beyond_the_tail_does_not_let_the_head_pass_the_tail) {
    open_ring();
    struct rig_session session = rig_session(5, 1);
    shmbus_cursor_place(&session.page->cursors[0], UINT64_MAX);
    CHECK(shmbus_gate_set(&rig.ring, 0, 5, 0, 1));
    publish(10);
    CHECK_EQUAL(shmbus_retire(&rig.ring, 100, &session.ref, 1, &blocked), 10);
    CHECK_EQUAL(shmbus_head(&rig.ring), shmbus_tail(&rig.ring));
    rig_session_close(&session);
    rig_close(&rig);
}

TEST(a_retirement_prepared_before_a_reader_joined_at_the_head_fails_once_the_head_was_nudged) {
    open_ring();
    publish(10);
    uint64_t stale = atomic_load(&rig.ring.header->head); /* of a writer that has scanned the gates and was stopped */
    struct rig_session session = rig_session(5, 1);
    uint64_t head = shmbus_head(&rig.ring);
    CHECK(shmbus_gate_set(&rig.ring, 0, 5, 0, head + 1)); /* leaves one message to nudge the head with */
    CHECK_EQUAL(shmbus_retire(&rig.ring, 1, &session.ref, 1, &blocked), 1);
    shmbus_cursor_place(&session.page->cursors[0], shmbus_head(&rig.ring));
    CHECK(!atomic_compare_exchange_strong(&rig.ring.header->head, &stale, pack(8, 7)));
    CHECK_EQUAL(shmbus_retire(&rig.ring, 100, &session.ref, 1, &blocked), 0);
    CHECK_EQUAL(shmbus_head(&rig.ring), head + 1);
    rig_session_close(&session);
    rig_close(&rig);
}

TEST(gates_are_told_as_they_were_set_and_an_index_beyond_the_table_is_refused) {
    open_ring();
    uint32_t session, cursor;
    uint64_t floor;
    CHECK(!shmbus_gate_get(&rig.ring, 0, &session, &cursor, &floor));
    CHECK(shmbus_gate_set(&rig.ring, 7, 0xfffffffe, 0xfffffffd, 12345678901234));
    CHECK(shmbus_gate_get(&rig.ring, 7, &session, &cursor, &floor));
    CHECK_EQUAL(session, 0xfffffffe);
    CHECK_EQUAL(cursor, 0xfffffffd);
    CHECK_EQUAL(floor, 12345678901234);
    CHECK(!shmbus_gate_set(&rig.ring, 8, 1, 1, 1));
    CHECK(!shmbus_gate_get(&rig.ring, 8, &session, &cursor, &floor));
    rig_close(&rig);
}
