/* The producer table, and its one reader's problem: an entry that changes while it is read. */
#include <pthread.h>
#include <string.h>

#include "rig.h"

static struct shmbus_identity identity_of(uint32_t i) {
    struct shmbus_identity identity = {.pid = (int32_t)i + 1, .session = i, .uid = i, .start_time = i, .pid_namespace = i};
    snprintf(identity.name, sizeof identity.name, "collector %u", i);
    return identity;
}

static bool same(const struct shmbus_identity *a, const struct shmbus_identity *b) {
    return strcmp(a->name, b->name) == 0 && a->pid == b->pid && a->session == b->session && a->uid == b->uid &&
           a->start_time == b->start_time && a->pid_namespace == b->pid_namespace;
}

TEST(a_producer_is_told_as_it_was_set_until_it_is_freed) {
    struct rig rig = rig_small(64, 4096);
    struct shmbus_identity found;
    for (uint32_t i = 0; i <= 16; i++) {
        struct shmbus_identity identity = identity_of(i);
        CHECK(!shmbus_producer_get(&rig.ring, i, &found));
        CHECK(shmbus_producer_set(&rig.ring, i, &identity));
    }
    for (uint32_t i = 0; i <= 16; i++) {
        struct shmbus_identity identity = identity_of(i);
        CHECK(shmbus_producer_get(&rig.ring, i, &found));
        CHECK(same(&found, &identity));
        CHECK(shmbus_producer_set(&rig.ring, i, NULL));
        CHECK(!shmbus_producer_get(&rig.ring, i, &found));
    }
    rig_close(&rig);
}

TEST(a_producer_that_has_left_is_known_until_its_id_is_somebody_elses) {
    struct rig rig = rig_small(64, 4096);
    struct shmbus_identity identity = identity_of(1), found;
    CHECK(shmbus_producer_set(&rig.ring, 16, &identity));
    CHECK_EQUAL(shmbus_producer_left(&rig.ring, 16), 0);
    shmbus_producer_leave(&rig.ring, 16, 1ull << 40);
    CHECK_EQUAL(shmbus_producer_left(&rig.ring, 16), 1ull << 40);
    CHECK(shmbus_producer_get(&rig.ring, 16, &found) && same(&found, &identity));
    shmbus_numbers_begin(&rig.ring, 16, false);
    CHECK_EQUAL(shmbus_producer_left(&rig.ring, 16), 0);
    shmbus_producer_leave(&rig.ring, 17, 1);
    CHECK_EQUAL(shmbus_producer_left(&rig.ring, 17), 0);
    rig_close(&rig);
}

TEST(a_producer_beyond_the_table_is_refused) {
    struct rig rig = rig_small(64, 4096);
    struct shmbus_identity identity = identity_of(1);
    CHECK(!shmbus_producer_set(&rig.ring, 17, &identity));
    CHECK(!shmbus_producer_get(&rig.ring, 17, &identity));
    CHECK(!shmbus_producer_get(&rig.ring, UINT32_MAX, &identity));
    rig_close(&rig);
}

TEST(a_name_without_an_end_is_cut) {
    struct rig rig = rig_small(64, 4096);
    struct shmbus_identity identity = identity_of(1), found;
    memset(identity.name, 'x', sizeof identity.name);
    CHECK(shmbus_producer_set(&rig.ring, 1, &identity));
    CHECK(shmbus_producer_get(&rig.ring, 1, &found));
    CHECK_EQUAL(strlen(found.name), SHMBUS_NAME_BYTES - 1);
    rig_close(&rig);
}

TEST(an_entry_that_a_dead_coordinator_left_half_written_is_nobody_until_it_is_set_again) {
    struct rig rig = rig_small(64, 4096);
    struct shmbus_identity identity = identity_of(1), found;
    CHECK(shmbus_producer_set(&rig.ring, 1, &identity));
    atomic_fetch_add(&shmbus_producer_entry(&rig.ring, 1)->version, 1);
    CHECK(!shmbus_producer_get(&rig.ring, 1, &found));
    CHECK(shmbus_producer_set(&rig.ring, 1, &identity));
    CHECK(shmbus_producer_get(&rig.ring, 1, &found));
    rig_close(&rig);
}

static struct rig shared;
static _Atomic bool done;

static void *rewrite(void *unused) {
    for (uint32_t i = 0; !atomic_load(&done); i++) {
        struct shmbus_identity identity = identity_of(i % 1000);
        shmbus_producer_set(&shared.ring, 3, &identity);
    }
    return unused;
}

TEST(an_entry_is_never_told_as_a_mixture_of_two) {
    shared = rig_small(64, 4096);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, rewrite, NULL) == 0);
    uint64_t told = 0;
    for (uint64_t i = 0; told < check_times(20000); i++) {
        struct shmbus_identity found;
        if (shmbus_producer_get(&shared.ring, 3, &found)) {
            struct shmbus_identity wanted = identity_of((uint32_t)found.pid - 1);
            CHECK(same(&found, &wanted));
            told++;
        }
    }
    atomic_store(&done, true);
    pthread_join(thread, NULL);
    rig_close(&shared);
}
