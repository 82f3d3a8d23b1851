/* A client's page: that it moves, and what it says of itself. */
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
