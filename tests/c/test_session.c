/* A client's page: that it moves, and what it says of itself. */
#include <pthread.h>
#include <string.h>

#include "rig.h"

static uint64_t beats_of(const struct rig_session *session) {
    uint32_t health;
    return shmbus_session_beats(session->page, &health);
}

static uint32_t health_of(const struct rig_session *session) {
    uint32_t health;
    shmbus_session_beats(session->page, &health);
    return health;
}

TEST(a_page_says_nothing_of_its_clients_health_until_the_client_does) {
    struct rig_session session = rig_session(1, 4);
    CHECK_EQUAL(beats_of(&session), 0);
    CHECK_EQUAL(health_of(&session), SHMBUS_HEALTH_UNKNOWN);
    rig_session_close(&session);
}

TEST(a_beat_moves_the_word_and_tells_whether_the_health_is_another) {
    struct rig_session session = rig_session(1, 4);
    CHECK(shmbus_session_beat(session.page, SHMBUS_HEALTHY));
    CHECK(!shmbus_session_beat(session.page, SHMBUS_HEALTHY));
    CHECK(shmbus_session_beat(session.page, SHMBUS_UNHEALTHY));
    CHECK_EQUAL(beats_of(&session), 3);
    CHECK_EQUAL(health_of(&session), SHMBUS_UNHEALTHY);
    rig_session_close(&session);
}

TEST(one_that_has_left_does_not_beat_itself_back) {
    struct rig_session session = rig_session(1, 4);
    atomic_store(&session.page->heartbeat, SHMBUS_LEFT);
    shmbus_session_beat(session.page, SHMBUS_HEALTHY);
    CHECK_EQUAL(beats_of(&session), SHMBUS_LEFT);
    rig_session_close(&session);
}

static bool explain(const struct rig_session *session, const char *reason) {
    return shmbus_session_explain(session->page, reason, strlen(reason));
}

static bool gives(const struct rig_session *session, const char *reason) {
    char found[SHMBUS_REASON_BYTES];
    size_t length = shmbus_session_reason(session->page, found);
    return length == strlen(reason) && memcmp(found, reason, length) == 0;
}

TEST(a_reason_stands_until_another_one_is_given_and_is_news_once) {
    struct rig_session session = rig_session(1, 4);
    CHECK(gives(&session, ""));
    CHECK(!explain(&session, ""));
    CHECK(explain(&session, "disk full"));
    CHECK(!explain(&session, "disk full"));
    CHECK(gives(&session, "disk full"));
    CHECK(explain(&session, "disk fuel"));
    CHECK(explain(&session, "disk"));
    CHECK(gives(&session, "disk"));
    CHECK(explain(&session, ""));
    CHECK(gives(&session, ""));
    CHECK_EQUAL(beats_of(&session), 0);
    rig_session_close(&session);
}

TEST(a_reason_that_is_too_long_is_cut_between_two_characters) {
    struct rig_session session = rig_session(1, 4);
    char text[SHMBUS_REASON_BYTES + 9], cut[SHMBUS_REASON_BYTES + 1];
    memset(text, 'x', sizeof text);
    memset(cut, 'x', sizeof cut);
    text[sizeof text - 1] = cut[sizeof cut - 1] = 0;
    CHECK(explain(&session, text));
    CHECK(gives(&session, cut));
    CHECK(!explain(&session, cut));
    memcpy(text + SHMBUS_REASON_BYTES - 2, "\xe2\x82\xac", 3); /* ends beyond what there is room for */
    cut[SHMBUS_REASON_BYTES - 2] = 0;
    CHECK(explain(&session, text));
    CHECK(gives(&session, cut));
    memset(text, 0x80, sizeof text - 1); /* no text at all */
    CHECK(explain(&session, text));
    CHECK(gives(&session, ""));
    rig_session_close(&session);
}

TEST(a_reason_that_is_being_written_or_cannot_be_is_none) {
    struct rig_session session = rig_session(1, 4);
    explain(&session, "disk full");
    uint32_t state = atomic_load(&session.page->reason_state);
    atomic_store(&session.page->reason_state, state + (1u << 8)); /* as one that was killed in the middle left it */
    CHECK(gives(&session, ""));
    atomic_store(&session.page->reason_state, state | 0xFF); /* longer than there is room for */
    CHECK(gives(&session, ""));
    atomic_store(&session.page->reason_state, state);
    CHECK(gives(&session, "disk full"));
    rig_session_close(&session);
}

static const char *const reasons[2] = {"a reason that fills some of the words there are", "another one"};
static _Atomic bool enough;

static void *explains(void *session) {
    for (unsigned i = 0; !atomic_load(&enough); i++)
        explain(session, reasons[i % 2]);
    return NULL;
}

TEST(whoever_reads_a_reason_while_it_changes_gets_one_of_them_or_none) {
    enum { READS = 100000 };
    struct rig_session session = rig_session(1, 4);
    pthread_t writer;
    CHECK_EQUAL(pthread_create(&writer, NULL, explains, &session), 0);
    for (int i = 0; i < READS; i++) {
        char found[SHMBUS_REASON_BYTES];
        size_t length = shmbus_session_reason(session.page, found);
        bool known = length == 0;
        for (int j = 0; j < 2; j++)
            known |= length == strlen(reasons[j]) && memcmp(found, reasons[j], length) == 0;
        CHECK(known);
    }
    atomic_store(&enough, true);
    pthread_join(writer, NULL);
    rig_session_close(&session);
}
