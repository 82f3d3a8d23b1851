/* Campaigns of threads: writers and readers on one ring, with somebody who revokes claims and somebody who seals.
 *
 * Every thread maps the ring at an address of its own, as processes do. Under ThreadSanitizer all share one mapping
 * instead, because it knows memory by its address: only then does it see one side's write meet the other's read.
 */
#include <pthread.h>
#include <sched.h>

#include "rig.h"

enum { MOST_WRITERS = 4, MOST_READERS = 3, GENERATIONS = 300 };
static const uint64_t for_ever = UINT64_MAX / 2;

struct campaign {
    uint32_t writers, readers, slots;
    uint64_t arena_bytes, messages; /* of each writer */
    uint32_t longest, generations;
    bool gated, revoking, sleeping, joining;
    struct start { uint64_t sequence; uint32_t position; } start;
};

static struct campaign c;
static struct rig rigs[GENERATIONS];
static struct rig_session session;
static _Atomic uint32_t ready;         /* generations there are */
static _Atomic uint32_t writing;       /* writers not done yet */
static _Atomic uint64_t end_of[GENERATIONS];
static _Atomic uint64_t revoked_by_owner;
static struct shmbus_bell bells;       /* data: messages. space: room */

static struct rig mine(uint32_t generation) {
    return UNDER_THREAD_SANITIZER ? rigs[generation] : rig_look(&rigs[generation], true);
}

static void done_with(struct rig *rig) {
    if (!UNDER_THREAD_SANITIZER)
        rig_close(rig);
}

static void sleep_on(_Atomic uint32_t *word, uint32_t expected) {
    _Atomic uint32_t *const words[1] = {word};
    shmbus_bell_wait(words, &expected, 1, for_ever);
}

/* The bus's coordinator makes the successor before it seals. Here it comes right after, so that its start is known. */
static void await_successor(uint32_t generation) {
    while (atomic_load(&ready) == generation + 1)
        sched_yield();
}

/* ---- writers ---- */

static void rewire(struct shmbus_writer *writer, struct rig *rig, uint32_t generation, uint32_t producer) {
    uint64_t before = writer->producer_sequence;
    *rig = mine(generation);
    shmbus_writer_init(writer, &rig->ring, producer);
    writer->producer_sequence = before;
    writer->sessions = &session.ref;
    writer->session_count = 1;
}

static enum shmbus_result publish_or_sleep(struct shmbus_writer *writer, uint64_t number, uint32_t length) {
    uint64_t sequence;
    enum shmbus_result result = rig_publish(writer, number, length, &sequence);
    if (result != SHMBUS_FULL)
        return result;
    if (!c.sleeping) {
        sched_yield();
        return result;
    }
    uint32_t expected = shmbus_bell_arm(&bells.space);
    result = rig_publish(writer, number, length, &sequence);
    if (result == SHMBUS_FULL)
        sleep_on(&bells.space, expected);
    return result;
}

static void *write_all(void *argument) {
    uint32_t producer = (uint32_t)(uintptr_t)argument, generation = 0;
    uint64_t seed = producer, number = 1;
    struct shmbus_writer writer = {.producer = 0};
    struct rig rig;
    rewire(&writer, &rig, 0, producer);
    while (number <= c.messages) {
        uint32_t length = RIG_LEAST + (uint32_t)(check_random(&seed) % (c.longest - RIG_LEAST + 1));
        switch (publish_or_sleep(&writer, number, length)) {
        case SHMBUS_OK:
            CHECK_EQUAL(writer.producer_sequence, number);
            number++;
            break;
        case SHMBUS_REVOKED:
            atomic_fetch_add(&revoked_by_owner, 1);
            break;
        case SHMBUS_FULL:
            continue;
        case SHMBUS_SEALED:
            await_successor(generation);
            done_with(&rig);
            rewire(&writer, &rig, ++generation, producer);
            break;
        default:
            CHECK(false);
        }
        shmbus_bell_ring(&bells.data);
        if (c.revoking)
            shmbus_bell_ring(&bells.space);
    }
    done_with(&rig);
    atomic_fetch_sub(&writing, 1);
    shmbus_bell_signal(&bells.data);
    return NULL;
}

/* ---- readers ---- */

struct tally {
    uint32_t index;
    uint64_t cursor, delivered, lost, stepped, last[MOST_WRITERS + 1];
};

static void deliver(struct tally *tally, const struct rig_message *message) {
    uint64_t last = tally->last[message->producer];
    CHECK_EQUAL(message->frame.producer_sequence, message->number);
    CHECK(c.gated ? message->number == last + 1 : message->number > last);
    tally->last[message->producer] = message->number;
    tally->delivered++;
}

static void move(struct tally *tally, uint64_t to) {
    tally->cursor = to;
    if (!c.gated)
        return;
    shmbus_cursor_place(&session.page->cursors[tally->index], to);
    atomic_fetch_or(&bells.space, 0); /* a full fence that ThreadSanitizer knows, too */
    shmbus_bell_ring(&bells.space);
}

/* False: nothing to do now. */
static bool read_one(struct tally *tally, const struct shmbus_ring *ring, bool *sealed) {
    struct rig_message message;
    enum shmbus_result result = rig_read(ring, tally->cursor, c.gated, &message);
    switch (result) {
    case SHMBUS_OK:
        deliver(tally, &message);
        move(tally, tally->cursor + 1);
        return true;
    case SHMBUS_STEPPED:
        tally->stepped++;
        move(tally, tally->cursor + 1);
        return true;
    case SHMBUS_OVERRUN: {
        uint64_t head = shmbus_head(ring);
        CHECK(!c.gated && head > tally->cursor);
        tally->lost += head - tally->cursor;
        move(tally, head);
        return true;
    }
    case SHMBUS_SEALED:
        *sealed = true;
        return false;
    default:
        CHECK(result == SHMBUS_EMPTY || result == SHMBUS_BUSY);
        return false;
    }
}

/* Joins at the tail, reads a little, leaves, and so on: from where it joined, nothing may be overwritten. */
static void *join_again_and_again(void *argument) {
    struct tally *tally = argument;
    struct rig rig = mine(0);
    uint32_t i = tally->index;
    while (atomic_load(&writing)) {
        CHECK(shmbus_gate_set(&rig.ring, i, 1, i, 1));
        tally->cursor = shmbus_tail(&rig.ring);
        shmbus_cursor_place(&session.page->cursors[i], tally->cursor);
        shmbus_bell_ring(&bells.space);
        for (int looks = 0; looks < 40; looks++) {
            struct rig_message message;
            enum shmbus_result result = rig_read(&rig.ring, tally->cursor, true, &message);
            CHECK(result == SHMBUS_OK || result == SHMBUS_EMPTY || result == SHMBUS_BUSY);
            if (result == SHMBUS_OK)
                shmbus_cursor_place(&session.page->cursors[i], ++tally->cursor);
            tally->delivered += result == SHMBUS_OK;
        }
        CHECK(shmbus_gate_set(&rig.ring, i, 0, 0, 0));
        atomic_store(&session.page->cursors[i].position, 0);
    }
    done_with(&rig);
    return NULL;
}

static void *read_all(void *argument) {
    struct tally *tally = argument;
    uint32_t generation = 0;
    struct rig rig = mine(0);
    for (;;) {
        bool sealed = false;
        if (read_one(tally, &rig.ring, &sealed))
            continue;
        if (sealed) {
            await_successor(generation);
            CHECK_EQUAL(tally->cursor, atomic_load(&end_of[generation]));
            done_with(&rig);
            rig = mine(++generation);
            continue;
        }
        bool over = atomic_load(&writing) == 0;
        uint32_t expected = shmbus_bell_arm(&bells.data);
        if (read_one(tally, &rig.ring, &sealed) || sealed)
            continue;
        if (over && tally->cursor == shmbus_tail(&rig.ring))
            break;
        if (c.sleeping && atomic_load(&writing) != 0)
            sleep_on(&bells.data, expected);
        else
            sched_yield();
    }
    done_with(&rig);
    return NULL;
}

/* ---- the coordinator's part ---- */

/* Calls live owners overdue, as if every claim had been open for too long. */
static void *revoke(void *unused) {
    struct rig rig = mine(0);
    while (atomic_load(&writing)) {
        struct shmbus_claim claims[8];
        uint32_t count = shmbus_claims(&rig.ring, claims, 8);
        for (uint32_t i = 0; i < count; i++)
            if (!claims[i].skipped)
                shmbus_skip(&rig.ring, claims[i].sequence, claims[i].producer);
        shmbus_bell_ring(&bells.data);
        shmbus_bell_ring(&bells.space);
        sched_yield();
    }
    done_with(&rig);
    return unused;
}

static struct rig make_generation(uint64_t sequence, uint32_t position) {
    struct shmbus_ring_setup setup = rig_setup();
    setup.geometry.slots = c.slots;
    setup.geometry.arena_bytes = c.arena_bytes;
    setup.first_sequence = sequence;
    setup.first_position = position;
    struct rig rig = rig_open(&setup);
    for (uint32_t i = 0; c.gated && i < c.readers; i++)
        CHECK(shmbus_gate_set(&rig.ring, i, 1, i, sequence));
    return rig;
}

/* Seals in the middle of the traffic. */
static void seal_now_and_then(void) {
    for (uint32_t i = 0; i + 1 < c.generations; i++) {
        uint64_t until = c.start.sequence + (i + 1) * c.writers * c.messages / c.generations;
        while (shmbus_tail(&rigs[i].ring) < until)
            sched_yield();
        uint64_t end = shmbus_seal(&rigs[i].ring, i + 2);
        CHECK(end >= until);
        rigs[i + 1] = make_generation(end, 0);
        atomic_store(&end_of[i], end);
        atomic_store(&ready, i + 2);
        shmbus_bell_signal(&bells.data);
        shmbus_bell_signal(&bells.space);
    }
}

static void run(struct campaign campaign) {
    c = campaign;
    c.messages = check_times(c.messages) / (UNDER_THREAD_SANITIZER ? 4 : 1);
    if (!c.start.sequence)
        c.start.sequence = 1;
    session = rig_session(1, MOST_READERS);
    for (uint32_t i = 0; i < c.readers; i++)
        shmbus_cursor_place(&session.page->cursors[i], c.start.sequence);
    rigs[0] = make_generation(c.start.sequence, c.start.position);
    atomic_store(&ready, 1);
    atomic_store(&writing, c.writers);
    pthread_t threads[MOST_WRITERS + MOST_READERS + 1];
    struct tally tallies[MOST_READERS] = {{.index = 0}};
    uint32_t count = 0;
    for (uint32_t i = 0; i < c.readers; i++) {
        tallies[i].index = i;
        tallies[i].cursor = c.start.sequence;
        CHECK(pthread_create(&threads[count++], NULL, c.joining ? join_again_and_again : read_all, &tallies[i]) == 0);
    }
    for (uint32_t i = 1; i <= c.writers; i++)
        CHECK(pthread_create(&threads[count++], NULL, write_all, (void *)(uintptr_t)i) == 0);
    if (c.revoking)
        CHECK(pthread_create(&threads[count++], NULL, revoke, NULL) == 0);
    seal_now_and_then();
    for (uint32_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);

    uint64_t published = c.writers * c.messages, revoked = atomic_load(&revoked_by_owner);
    uint32_t generations = atomic_load(&ready);
    uint64_t tail = shmbus_tail(&rigs[generations - 1].ring);
    CHECK_EQUAL(tail - c.start.sequence, published + revoked);
    for (uint32_t i = 0; i < c.readers; i++) {
        struct tally *t = &tallies[i];
        if (c.joining)
            continue;
        CHECK_EQUAL(t->delivered + t->lost + t->stepped, tail - c.start.sequence);
        CHECK(t->stepped <= revoked);
        if (c.gated) {
            CHECK_EQUAL(t->delivered, published);
            CHECK_EQUAL(t->stepped, revoked);
        }
        printf("reader %u: %llu delivered, %llu lost, %llu stepped over\n", i, (unsigned long long)t->delivered,
               (unsigned long long)t->lost, (unsigned long long)t->stepped);
    }
    uint64_t aborted = 0;
    for (uint32_t i = 0; i < generations; i++) {
        aborted += atomic_load(&rigs[i].ring.header->aborted);
        rig_close(&rigs[i]);
    }
    CHECK_EQUAL(aborted, revoked);
    rig_session_close(&session);
}

TEST(one_writer_loses_nothing_to_one_gated_reader) {
    run((struct campaign){.writers = 1, .readers = 1, .slots = 64, .arena_bytes = 1u << 14, .messages = 300000,
                          .longest = 200, .generations = 1, .gated = true});
}

TEST(four_writers_lose_nothing_to_three_gated_readers) {
    run((struct campaign){.writers = 4, .readers = 3, .slots = 32, .arena_bytes = 1u << 13, .messages = 30000,
                          .longest = 600, .generations = 1, .gated = true});
}

TEST(four_writers_lose_nothing_in_the_smallest_ring) {
    run((struct campaign){.writers = 4, .readers = 2, .slots = 2, .arena_bytes = 4096, .messages = 2000,
                          .longest = 2000, .generations = 1, .gated = true});
}

TEST(four_writers_lose_nothing_across_every_wrap) {
    run((struct campaign){.writers = 4, .readers = 2, .slots = 16, .arena_bytes = 4096, .messages = 30000,
                          .longest = 300, .generations = 1, .gated = true,
                          .start = {(1ull << 40) - 5000, POSITION_MASK - 5000}});
}

TEST(what_a_lossy_reader_did_not_get_is_counted_exactly) {
    run((struct campaign){.writers = 2, .readers = 2, .slots = 16, .arena_bytes = 1u << 13, .messages = 300000,
                          .longest = 500, .generations = 1});
}

TEST(a_lossy_reader_of_large_messages_never_gets_a_torn_one) {
    run((struct campaign){.writers = 2, .readers = 2, .slots = 4, .arena_bytes = 1u << 15, .messages = 30000,
                          .longest = 14000, .generations = 1});
}

TEST(revoked_claims_are_told_to_their_owners_and_stepped_over_by_readers) {
    run((struct campaign){.writers = 3, .readers = 2, .slots = 32, .arena_bytes = 1u << 14, .messages = 15000,
                          .longest = 3000, .generations = 1, .gated = true, .revoking = true});
}

TEST(revoked_claims_and_overruns_together_are_counted_exactly) {
    run((struct campaign){.writers = 3, .readers = 2, .slots = 16, .arena_bytes = 1u << 14, .messages = 30000,
                          .longest = 2000, .generations = 1, .revoking = true});
}

TEST(readers_and_writers_that_sleep_on_the_bell_lose_no_wake) {
    run((struct campaign){.writers = 2, .readers = 2, .slots = 8, .arena_bytes = 4096, .messages = 30000,
                          .longest = 100, .generations = 1, .gated = true, .sleeping = true});
}

TEST(readers_and_writers_that_sleep_in_the_smallest_ring_lose_no_wake) {
    run((struct campaign){.writers = 2, .readers = 2, .slots = 2, .arena_bytes = 4096, .messages = 6000,
                          .longest = 100, .generations = 1, .gated = true, .sleeping = true});
}

TEST(a_reader_that_joins_at_the_tail_loses_nothing_from_there_on) {
    run((struct campaign){.writers = 2, .readers = 2, .slots = 4, .arena_bytes = 4096, .messages = 5000,
                          .longest = 100, .generations = 1, .joining = true});
}

TEST(sleepers_lose_no_wake_while_claims_are_revoked) {
    run((struct campaign){.writers = 2, .readers = 1, .slots = 8, .arena_bytes = 1u << 14, .messages = 15000,
                          .longest = 2000, .generations = 1, .gated = true, .sleeping = true, .revoking = true});
}

TEST(a_topic_goes_on_in_its_successors_without_a_loss_when_rings_are_sealed_in_mid_traffic) {
    run((struct campaign){.writers = 3, .readers = 2, .slots = 32, .arena_bytes = 1u << 13, .messages = 60000,
                          .longest = 300, .generations = 5, .gated = true});
}

TEST(sleepers_follow_to_the_successor) {
    run((struct campaign){.writers = 3, .readers = 2, .slots = 8, .arena_bytes = 1u << 13, .messages = 30000,
                          .longest = 300, .generations = 5, .gated = true, .sleeping = true});
}

TEST(whoever_claims_while_a_ring_is_sealed_has_won_or_is_told) {
    run((struct campaign){.writers = 3, .readers = 1, .slots = 16, .arena_bytes = 4096, .messages = 20000,
                          .longest = 50, .generations = GENERATIONS, .gated = true});
}
