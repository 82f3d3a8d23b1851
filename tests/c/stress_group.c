/* Campaigns: members of one group, as threads, read what writers publish, give some of it back, die and are reaped. */
#include <pthread.h>
#include <sched.h>

#include "group_rig.h"

enum { MEMBERS = 3, PRODUCER = 1, OPEN = 0, HELD = 1, SETTLED = 2 };

struct campaign {
    uint64_t messages;
    uint32_t window, slots;
    bool once;  /* the publisher repeats numbers, and duplicates are removed */
    bool gated; /* the ring keeps what is not settled */
};

static struct campaign c;
static struct rig rig;
static struct group_rig page;
static struct shmbus_session_ref ref;
static _Atomic bool published;
static _Atomic uint64_t end_of_ring, lost, settled, duplicates_published;
static _Atomic uint32_t *holders; /* by number: who has it, and was it settled */

static void *publish_all(void *unused) {
    (void)unused;
    struct shmbus_writer writer;
    shmbus_writer_init(&writer, &rig.ring, PRODUCER);
    writer.sessions = &ref;
    writer.session_count = 1;
    uint64_t seed = check_seed(), sequence;
    for (uint64_t number = 1; number <= c.messages;) {
        bool again = c.once && number > 1 && check_random(&seed) % 4 == 0;
        uint64_t which = again ? 1 + check_random(&seed) % (number - 1) : number;
        writer.producer_sequence = which - 1;
        enum shmbus_result result = rig_publish(&writer, which, 20, &sequence);
        if (result == SHMBUS_FULL) {
            sched_yield();
            continue;
        }
        CHECK_EQUAL(result, SHMBUS_OK);
        atomic_fetch_add(&duplicates_published, again);
        number += !again;
    }
    atomic_store(&end_of_ring, shmbus_tail(&rig.ring));
    atomic_store(&published, true);
    return NULL;
}

/* Two holders at a time, or one after it was settled, would be seen here. */
static void have(uint64_t number) {
    uint32_t before = OPEN;
    CHECK(atomic_compare_exchange_strong(&holders[number], &before, HELD));
}

static void drop(uint64_t number, uint32_t to) {
    uint32_t before = HELD;
    CHECK(atomic_compare_exchange_strong(&holders[number], &before, to));
}

static bool handle(const struct shmbus_group *group, struct shmbus_taken taken, uint64_t *seed) {
    struct rig_message message;
    enum shmbus_result result = rig_read(&rig.ring, taken.sequence, c.gated, &message);
    uint64_t advanced = 0;
    if (result != SHMBUS_OK) {
        CHECK(!c.gated && result == SHMBUS_OVERRUN);
        shmbus_group_settle(group, taken, &advanced);
        atomic_fetch_add(&lost, 1); /* by us, who were to have it */
        return true;
    }
    have(message.number);
    if (check_random(seed) % 8 == 0) {
        /* Before it is given back: from then on it may be another's. */
        drop(message.number, OPEN);
        enum shmbus_result returned = shmbus_group_return(group, taken);
        CHECK(returned == SHMBUS_OK || !c.gated);
        /* The ring went on without us for more than a window: nobody can be given this one again, and we know. */
        atomic_fetch_add(&lost, returned == SHMBUS_PASSED);
        return true;
    }
    drop(message.number, SETTLED);
    CHECK(shmbus_group_settle(group, taken, &advanced) || !c.gated); /* if not, its word is another's by now */
    atomic_fetch_add(&settled, 1);
    return true;
}

static enum shmbus_result take_new(const struct shmbus_group *group, uint64_t at, uint64_t now) {
    if (!c.once)
        return shmbus_group_claim(group, at, now);
    struct rig_message message;
    /* Before it is anybody's: another member may settle it meanwhile, and nothing holds it then. */
    enum shmbus_result result = rig_read(&rig.ring, at, false, &message);
    if (result != SHMBUS_OK)
        return SHMBUS_PASSED;
    return shmbus_group_judge(group, at, PRODUCER, message.frame.producer_sequence, now);
}

static void *read_as(void *argument) {
    uint32_t member = (uint32_t)(uintptr_t)argument;
    struct shmbus_group group = rig_member(&page, 0, member);
    uint64_t seed = member + check_seed(), from = 0;
    for (;;) {
        uint64_t now = shmbus_now_ns();
        struct shmbus_taken taken;
        if (shmbus_group_retake(&group, now, &taken)) {
            handle(&group, taken, &seed);
            continue;
        }
        if (check_random(&seed) % 64 == 0)
            shmbus_group_reap(&group, MEMBERS); /* of one that is dead, and held nothing */
        atomic_fetch_add(&lost, atomic_exchange(&group.lane->untold, 0));
        bool over = atomic_load(&published);
        from = shmbus_group_seek(&group, from);
        struct shmbus_view view;
        enum shmbus_result result = shmbus_peek(&rig.ring, from, &view);
        if (result == SHMBUS_OVERRUN)
            atomic_fetch_add(&lost, shmbus_group_skip(&group, shmbus_head(&rig.ring)));
        if (result == SHMBUS_EMPTY && over && shmbus_group_floor(&group) == atomic_load(&end_of_ring))
            return NULL;
        if (result != SHMBUS_OK || !shmbus_group_open(&group, from)) {
            sched_yield();
            continue;
        }
        result = take_new(&group, from, now);
        if (result == SHMBUS_OK)
            handle(&group, (struct shmbus_taken){from, 1}, &seed);
        if (result == SHMBUS_STEPPED)
            shmbus_group_advance(&group);
    }
}

static void run(struct campaign campaign) {
    c = campaign;
    c.messages = check_times(c.messages);
    _Atomic uint64_t *counts[] = {&end_of_ring, &lost, &settled, &duplicates_published};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        atomic_store(counts[i], 0);
    atomic_store(&published, false);
    rig = rig_small(c.slots, 1u << 16);
    page = group_rig(c.window, c.once ? 4 : 0);
    holders = calloc(c.messages + 1, sizeof *holders);
    CHECK(holders != NULL);
    struct shmbus_group group = rig_member(&page, 0, 0);
    shmbus_group_place(&group, 1);
    ref = (struct shmbus_session_ref){7, page.setup.lanes, page.memory};
    if (c.gated)
        CHECK(shmbus_gate_set(&rig.ring, 0, 7, 0, 1));
    pthread_t writer, members[MEMBERS];
    for (uintptr_t i = 0; i < MEMBERS; i++)
        CHECK(pthread_create(&members[i], NULL, read_as, (void *)i) == 0);
    CHECK(pthread_create(&writer, NULL, publish_all, NULL) == 0);
    CHECK(pthread_join(writer, NULL) == 0);
    for (int i = 0; i < MEMBERS; i++)
        CHECK(pthread_join(members[i], NULL) == 0);
    atomic_fetch_add(&lost, atomic_exchange(&group.lane->untold, 0));
    CHECK_EQUAL(atomic_load(&settled) + atomic_load(&lost), c.messages);
    CHECK_EQUAL(atomic_load(&group.lane->duplicates), atomic_load(&duplicates_published));
    CHECK_EQUAL(shmbus_group_floor(&group), atomic_load(&end_of_ring));
    CHECK(!c.gated || atomic_load(&lost) == 0);
    free(holders);
    group_rig_close(&page);
    rig_close(&rig);
}

TEST(members_settle_each_message_of_a_gated_ring_once) {
    run((struct campaign){.messages = 100000, .window = 16, .slots = 64, .gated = true});
}

TEST(the_smallest_window_does) {
    run((struct campaign){.messages = 20000, .window = 2, .slots = 16, .gated = true});
}

TEST(duplicates_are_removed_by_members_that_judge_together) {
    run((struct campaign){.messages = 100000, .window = 16, .slots = 64, .gated = true, .once = true});
}

TEST(what_a_ring_without_a_gate_drops_is_counted_to_the_message) {
    run((struct campaign){.messages = 100000, .window = 16, .slots = 16});
}
