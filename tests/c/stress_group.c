/* Campaigns of threads: members of one group read a topic together, nack, are late, die and are reaped, while publishers
 * repeat themselves and the topic moves to successors. Each message is looked at when it is handed out and when it is
 * settled; at the end the books must balance.
 */
#include <pthread.h>
#include <sched.h>

#include "rig.h"

enum { MOST_MEMBERS = 4, MOST_PUBLISHERS = 2, GENERATIONS = 40, MOST_HELD = 6, LENGTH = 40 };
#define LEAP (1ull << 32)
static const uint64_t for_ever = UINT64_MAX / 2;

struct campaign {
    uint32_t members, publishers, window, slots, generations;
    uint64_t messages;           /* of each publisher, those it repeats not counted */
    bool lossy, once, sleeping, expiring, dying, durable, leaping;
};

static struct campaign c;
static struct rig rigs[GENERATIONS];
static uint64_t first_of[GENERATIONS], base_of[GENERATIONS]; /* first sequence; messages in the generations before */
static struct rig_group page;
static struct shmbus_bell bells;
static _Atomic uint32_t ready, publishing, reading;
static _Atomic bool dead[MOST_MEMBERS];
static _Atomic uint64_t repeated, lost, settled, given, put_back, late;
static _Atomic uint32_t *holder, *times_settled;      /* by message in the order of the rings */
static _Atomic uint32_t *number_settled[MOST_PUBLISHERS + 1];
static uint64_t room;                                 /* messages that these tables are for */

static struct rig mine(uint32_t generation) {
    return UNDER_THREAD_SANITIZER ? rigs[generation] : rig_look(&rigs[generation], true);
}

static void done_with(struct rig *rig) {
    if (!UNDER_THREAD_SANITIZER)
        rig_close(rig);
}

static void sleep_on(_Atomic uint32_t *word, uint32_t expected) {
    _Atomic uint32_t *const words[1] = {word};
    if (c.sleeping)
        shmbus_bell_wait(words, &expected, 1, for_ever);
    else
        sched_yield();
}

static void ring_for_space(void) {
    atomic_fetch_or(&bells.space, 0); /* a full fence that ThreadSanitizer knows, too */
    shmbus_bell_ring(&bells.space);
}

/* ---- publishers ---- */

static void rewire(struct shmbus_writer *writer, struct rig *rig, uint32_t generation, uint32_t producer) {
    *rig = mine(generation);
    shmbus_writer_init(writer, &rig->ring, producer);
    writer->sessions = &page.ref;
    writer->session_count = 1;
}

/* What number its message of that count has. Those that leap leave some out now and then, each in its own way. */
static uint64_t numbered(uint64_t count, uint32_t producer) {
    return c.leaping ? count + count / (3 * producer) * (7 + 13 * (producer % 2)) : count;
}

static enum shmbus_result publish_number(struct shmbus_writer *writer, uint64_t number) {
    uint64_t sequence;
    writer->producer_sequence = numbered(number, writer->producer) - 1;
    enum shmbus_result result = rig_publish(writer, number, LENGTH, &sequence);
    if (result != SHMBUS_FULL)
        return result;
    uint32_t expected = shmbus_bell_arm(&bells.space);
    result = rig_publish(writer, number, LENGTH, &sequence);
    if (result == SHMBUS_FULL)
        sleep_on(&bells.space, expected);
    return result;
}

static void *publish_all(void *argument) {
    uint32_t producer = (uint32_t)(uintptr_t)argument, generation = 0;
    uint64_t seed = producer, last = 0;
    struct shmbus_writer writer;
    struct rig rig;
    rewire(&writer, &rig, 0, producer);
    while (last < c.messages) {
        bool again = c.once && last && check_random(&seed) % 4 == 0;
        uint64_t number = again ? last - check_random(&seed) % (last < 5 ? last : 5) : last + 1;
        switch (publish_number(&writer, number)) {
        case SHMBUS_OK:
            last += !again;
            atomic_fetch_add(&repeated, again);
            break;
        case SHMBUS_FULL:
            continue;
        case SHMBUS_SEALED:
            while (atomic_load(&ready) == generation + 1)
                sched_yield();
            done_with(&rig);
            rewire(&writer, &rig, ++generation, producer);
            shmbus_numbers_follow(&rig.ring, &rigs[generation - 1].ring, producer);
            continue;
        default:
            CHECK(false);
        }
        shmbus_bell_ring(&bells.data);
        if (c.lossy && last % 16 == 0)
            sched_yield();
    }
    done_with(&rig);
    atomic_fetch_sub(&publishing, 1);
    shmbus_bell_signal(&bells.data);
    return NULL;
}

/* ---- members ---- */

struct held {
    struct shmbus_taken taken;
    uint32_t producer; /* 0: nothing is there to be read */
    uint64_t number;
};

struct member {
    uint32_t id, generation, count;
    struct rig rig;
    struct shmbus_group lane;
    uint64_t position, returned_seen, seed;
    bool rescan;
    struct held held[MOST_HELD];
};

static uint64_t place_of(const struct member *m, uint64_t sequence) {
    uint64_t place = base_of[m->generation] + sequence - first_of[m->generation];
    CHECK(place < room);
    return place;
}

static void signal_floor(struct member *m) {
    if (shmbus_group_unblock(&m->lane))
        shmbus_bell_signal(&bells.data);
    ring_for_space();
}

static void lay_down(struct member *m, const struct held *held) {
    uint32_t expected = m->id + 1, nobody = 0;
    CHECK(atomic_compare_exchange_strong(&holder[place_of(m, held->taken.sequence)], &expected, nobody) || c.expiring);
}

static void settle(struct member *m, const struct held *held) {
    uint64_t place = place_of(m, held->taken.sequence), advanced = 0;
    lay_down(m, held);
    enum shmbus_ending ending = held->producer ? SHMBUS_ENDED_DELIVERED : SHMBUS_ENDED_OVERRUN;
    bool done = shmbus_group_settle_as(&m->lane, held->taken, ending, &advanced);
    if (advanced)
        signal_floor(m);
    if (!done) {
        CHECK(c.expiring || c.lossy);
        atomic_fetch_add(&late, 1);
        return;
    }
    CHECK_EQUAL(atomic_fetch_add(&times_settled[place], 1), 0);
    if (!held->producer) {
        CHECK(c.lossy);
        atomic_fetch_add(&lost, 1);
        return;
    }
    uint32_t before = atomic_fetch_add(&number_settled[held->producer][held->number], 1);
    CHECK_EQUAL(before, 0);
    atomic_fetch_add(&settled, 1);
}

static void give_back(struct member *m, const struct held *held) {
    lay_down(m, held);
    if (shmbus_group_return(&m->lane, held->taken) != SHMBUS_PASSED)
        shmbus_bell_ring(&bells.data);
    else
        CHECK(c.expiring || c.lossy);
}

/* It is in the member's hands, and in nobody else's. */
static void hold(struct member *m, struct shmbus_taken taken, const struct rig_message *message) {
    uint32_t before = atomic_exchange(&holder[place_of(m, taken.sequence)], m->id + 1);
    CHECK(before == 0 || c.expiring);
    CHECK(m->count < MOST_HELD);
    m->held[m->count++] = (struct held){taken, message ? message->producer : 0, message ? message->number : 0};
    atomic_fetch_add(&given, message != NULL);
}

static void let_go(struct member *m, uint32_t index) {
    struct held held = m->held[index];
    m->held[index] = m->held[--m->count];
    if (held.producer && check_random(&m->seed) % 8 == 0)
        give_back(m, &held);
    else
        settle(m, &held);
}

static enum shmbus_result read_at(const struct member *m, uint64_t sequence, struct rig_message *message) {
    enum shmbus_result result = rig_read(&m->rig.ring, sequence, !c.lossy, message);
    CHECK(result == SHMBUS_OK || (result == SHMBUS_OVERRUN && (c.lossy || c.expiring))); /* late: settled by another, and gone */
    return result;
}

static bool take_returned(struct member *m) {
    uint64_t returned = atomic_load(&m->lane.lane->returned);
    if (!m->rescan && returned == m->returned_seen)
        return false;
    m->returned_seen = returned;
    struct shmbus_taken taken;
    m->rescan = shmbus_group_floor(&m->lane) <= shmbus_tail(&m->rig.ring) && shmbus_group_retake(&m->lane, shmbus_now_ns(), &taken);
    if (!m->rescan)
        return false;
    if (taken.sequence >= shmbus_tail(&m->rig.ring)) {
        /* The others went on to the successor just now: it counts as redelivered, and is handed out to nobody. */
        atomic_fetch_add(&put_back, 1);
        if (shmbus_group_return(&m->lane, taken) != SHMBUS_PASSED)
            shmbus_bell_ring(&bells.data);
        return false;
    }
    struct rig_message message;
    hold(m, taken, read_at(m, taken.sequence, &message) == SHMBUS_OK ? &message : NULL);
    return true;
}

/* Several in a row, as many as it may hold or fewer. */
static void claim_run(struct member *m) {
    uint32_t count = 1 + (uint32_t)check_random(&m->seed) % (MOST_HELD - m->count), most = 1;
    struct shmbus_view view;
    while (most < count && shmbus_peek(&m->rig.ring, m->position + most, &view) == SHMBUS_OK)
        most++;
    if (shmbus_group_claim_run(&m->lane, m->position, &most, shmbus_now_ns()) != SHMBUS_OK)
        return;
    for (uint32_t i = 0; i < most; i++) {
        struct rig_message message;
        enum shmbus_result found = read_at(m, m->position + i, &message);
        hold(m, (struct shmbus_taken){m->position + i, 1}, found == SHMBUS_OK ? &message : NULL);
    }
}

/* Not its own yet while it is read: another may judge and settle it, and a publisher write over it. */
static void judge(struct member *m) {
    struct rig_message message;
    enum shmbus_result found = rig_read(&m->rig.ring, m->position, false, &message);
    enum shmbus_result result =
        found == SHMBUS_OK
            ? shmbus_group_judge(&m->lane, m->position, message.producer, message.number, shmbus_now_ns())
            : shmbus_group_claim(&m->lane, m->position, shmbus_now_ns());
    CHECK(result != SHMBUS_OK || found == SHMBUS_OK || c.lossy || c.expiring);
    if (result == SHMBUS_OK)
        hold(m, (struct shmbus_taken){m->position, 1}, found == SHMBUS_OK ? &message : NULL);
    if (result == SHMBUS_STEPPED && shmbus_group_advance(&m->lane))
        signal_floor(m);
}

static void claim(struct member *m) {
    if (c.once)
        judge(m);
    else
        claim_run(m);
}

static void follow(struct member *m) {
    uint32_t generation = m->generation + 1;
    CHECK(atomic_load(&ready) > generation);
    shmbus_group_bridge(&m->lane, shmbus_tail(&m->rig.ring), first_of[generation]);
    signal_floor(m);
    done_with(&m->rig);
    m->rig = mine(generation);
    m->lane.ring = &m->rig.ring;
    m->generation = generation;
    m->position = first_of[generation];
}

static bool all_settled(struct member *m) {
    uint64_t advanced = 0;
    bool settled_all = shmbus_group_settled(&m->lane, m->position, &advanced);
    if (advanced)
        signal_floor(m);
    return settled_all;
}

static enum shmbus_result look(struct member *m) {
    struct shmbus_view view;
    m->position = shmbus_group_seek(&m->lane, m->position);
    uint64_t tail = shmbus_tail(&m->rig.ring);
    if (m->position > tail && shmbus_peek(&m->rig.ring, tail, &view) == SHMBUS_SEALED)
        m->position = tail;
    enum shmbus_result result = shmbus_peek(&m->rig.ring, m->position, &view);
    if (result == SHMBUS_SEALED)
        return m->count == 0 && atomic_load(&ready) > m->generation + 1 && all_settled(m) ? SHMBUS_SEALED : SHMBUS_EMPTY;
    return result == SHMBUS_OK && !shmbus_group_open(&m->lane, m->position) ? SHMBUS_WINDOW : result;
}

/* False: nothing to do now. */
static bool take_one(struct member *m) {
    if (take_returned(m))
        return true;
    switch (look(m)) {
    case SHMBUS_OK:
        claim(m);
        return true;
    case SHMBUS_OVERRUN: { /* or the others were faster, and are done with it */
        uint64_t gone = shmbus_group_skip(&m->lane, shmbus_head(&m->rig.ring));
        CHECK(gone == 0 || c.lossy);
        atomic_fetch_add(&lost, gone);
        signal_floor(m);
        return true;
    }
    case SHMBUS_SEALED:
        follow(m);
        return true;
    default:
        return false;
    }
}

/* Whatever it held is lost to it, and the reaper's to give back. */
static void die(struct member *m) {
    for (uint32_t i = 0; i < m->count; i++)
        lay_down(m, &m->held[i]);
    m->count = 0;
    atomic_store(&dead[m->id], true);
    while (atomic_load(&dead[m->id]))
        sched_yield();
}

static bool is_over(const struct member *m) {
    return atomic_load(&publishing) == 0 && m->generation + 1 == c.generations &&
           shmbus_group_floor(&m->lane) == shmbus_tail(&m->rig.ring);
}

static void *read_all(void *argument) {
    struct member *m = argument;
    m->rig = mine(0);
    m->lane = rig_member(&page, 0, m->id);
    m->lane.ring = &m->rig.ring;
    m->position = shmbus_group_floor(&m->lane);
    while (!is_over(m)) {
        bool found = m->count < MOST_HELD && take_one(m);
        if (check_random(&m->seed) % 64 == 0)
            sched_yield();
        if (c.dying && check_random(&m->seed) % 300 == 0)
            die(m);
        while (m->count && (!found || m->count == MOST_HELD || check_random(&m->seed) % 3))
            let_go(m, (uint32_t)check_random(&m->seed) % m->count);
        if (found)
            continue;
        uint32_t expected = shmbus_bell_arm(&bells.data);
        if (!take_one(m) && !is_over(m))
            sleep_on(&bells.data, expected);
    }
    while (m->count)
        settle(m, &m->held[--m->count]);
    done_with(&m->rig);
    atomic_fetch_sub(&reading, 1);
    shmbus_bell_signal(&bells.data);
    return NULL;
}

/* ---- the coordinator's part ---- */

static void *look_after(void *unused) {
    struct shmbus_group lane = rig_coordinator(&page, 0);
    while (atomic_load(&reading)) {
        for (uint32_t i = 0; i < c.members; i++)
            if (atomic_load(&dead[i])) {
                shmbus_group_reap(&lane, i);
                shmbus_bell_signal(&bells.data);
                ring_for_space();
                atomic_store(&dead[i], false);
            }
        if (c.expiring && shmbus_group_expire(&lane, shmbus_now_ns() + 3000000, 0))
            shmbus_bell_ring(&bells.data);
        if (atomic_load(&publishing) == 0)
            shmbus_bell_signal(&bells.data); /* members wait for each other at the end, and nobody publishes any more */
        sched_yield();
    }
    return unused;
}

static void make_generation(uint32_t generation, uint64_t first) {
    struct shmbus_ring_setup setup = rig_setup();
    setup.geometry.slots = c.slots;
    setup.first_sequence = first;
    rigs[generation] = rig_open(&setup);
    for (uint32_t p = 1; c.durable && p <= c.publishers; p++)
        shmbus_numbers_begin(&rigs[generation].ring, p, true);
    if (c.durable && generation)
        shmbus_numbers_carry(&rigs[generation].ring, &rigs[generation - 1].ring);
    CHECK(c.lossy || shmbus_gate_set(&rigs[generation].ring, 0, page.ref.session, 0, first));
    first_of[generation] = first;
    atomic_store(&ready, generation + 1);
}

static void seal_now_and_then(void) {
    for (uint32_t i = 0; i + 1 < c.generations; i++) {
        uint64_t wanted = (i + 1) * c.publishers * c.messages / c.generations;
        uint64_t until = first_of[i] + (wanted > base_of[i] ? wanted - base_of[i] : 0);
        while (shmbus_tail(&rigs[i].ring) < until)
            sched_yield();
        uint64_t end = shmbus_seal(&rigs[i].ring, i + 2);
        CHECK(end >= until);
        base_of[i + 1] = base_of[i] + end - first_of[i];
        make_generation(i + 1, (end / LEAP + 1 + i % 2) * LEAP);
        for (uint32_t p = 1; c.durable && p <= c.publishers; p++) { /* as the coordinator, while they do it themselves */
            shmbus_numbers_settle(&rigs[i].ring, p);
            shmbus_numbers_follow(&rigs[i + 1].ring, &rigs[i].ring, p);
        }
        shmbus_bell_signal(&bells.data);
        shmbus_bell_signal(&bells.space);
    }
}

static void *table(uint64_t entries) {
    void *made = calloc(entries, sizeof(_Atomic uint32_t));
    CHECK(made != NULL);
    return made;
}

/* By producer, exactly; and what is told as lost is what it says. */
static void check_ledger(const struct shmbus_group *lane) {
    uint64_t delivered = 0, overrun = 0, removed = 0, told = 0, count;
    uint32_t producer;
    CHECK(shmbus_group_explain(lane));
    for (uint32_t p = 1; p <= c.publishers; p++) {
        struct shmbus_entry entry;
        CHECK(shmbus_group_entry(lane, p, &entry));
        CHECK(entry.last == numbered(c.messages, p) || (c.leaping && entry.last < numbered(c.messages, p)));
        CHECK_EQUAL(entry.last - entry.base, c.messages);
        CHECK_EQUAL(entry.delivered + entry.overrun, c.messages);
        CHECK_EQUAL(entry.expired + entry.corrupt + entry.filtered + entry.dead, 0);
        delivered += entry.delivered;
        overrun += entry.overrun;
        removed += entry.repeated;
    }
    while (shmbus_group_tell(lane, &producer, &count)) {
        CHECK(producer != 0);
        told += count;
    }
    /* What is published again after it was lost is handed out, and yet a loss of the first time. And who is late between the
     * change of a word and the booking of it leaves it booked as delivered. */
    if (!c.once)
        CHECK(delivered - atomic_load(&settled) <= (c.expiring ? 10 : 0));
    if (!c.lossy)
        CHECK_EQUAL(overrun, 0);
    CHECK(told <= overrun); /* the others found themselves what they could not read */
    if (!c.lossy)
        CHECK_EQUAL(removed, atomic_load(&repeated));
}

static void run(struct campaign campaign) {
    c = campaign;
    repeated = lost = settled = given = put_back = late = 0;
    c.messages = check_times(c.messages) / (UNDER_THREAD_SANITIZER ? 3 : 1);
    room = c.publishers * c.messages * 2;
    holder = table(room);
    times_settled = table(room);
    page = rig_group(4, 1, c.window, c.once ? MOST_PUBLISHERS + 1 : 0, rig_setup().geometry.producers + 1);
    struct shmbus_group lane = rig_coordinator(&page, 0);
    shmbus_group_place(&lane, 1);
    make_generation(0, 1);
    atomic_store(&publishing, c.publishers);
    atomic_store(&reading, c.members);
    uint64_t seed = check_seed();
    struct member members[MOST_MEMBERS] = {{.id = 0}};
    pthread_t threads[MOST_MEMBERS + MOST_PUBLISHERS + 1];
    uint32_t count = 0;
    for (uint32_t i = 1; i <= c.publishers; i++)
        number_settled[i] = table(2 * room);
    for (uint32_t i = 0; i < c.members; i++) {
        members[i] = (struct member){.id = i, .seed = check_random(&seed)};
        CHECK(pthread_create(&threads[count++], NULL, read_all, &members[i]) == 0);
    }
    for (uint32_t i = 1; i <= c.publishers; i++)
        CHECK(pthread_create(&threads[count++], NULL, publish_all, (void *)(uintptr_t)i) == 0);
    CHECK(pthread_create(&threads[count++], NULL, look_after, NULL) == 0);
    seal_now_and_then();
    for (uint32_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);

    uint32_t last = c.generations - 1;
    uint64_t tail = shmbus_tail(&rigs[last].ring), total = base_of[last] + tail - first_of[last];
    uint64_t duplicates = atomic_load(&lane.lane->duplicates);
    CHECK_EQUAL(total, c.publishers * c.messages + atomic_load(&repeated));
    CHECK_EQUAL(shmbus_group_floor(&lane), tail);
    for (uint32_t p = 1; p <= c.publishers && !c.lossy; p++)
        for (uint64_t n = 1; n <= c.messages; n++)
            CHECK_EQUAL(atomic_load(&number_settled[p][n]), 1);
    if (!c.lossy) {
        CHECK_EQUAL(atomic_load(&settled) + duplicates, total);
        CHECK_EQUAL(duplicates, atomic_load(&repeated));
    }
    if (!c.lossy && !c.expiring)
        CHECK_EQUAL(atomic_load(&given) + atomic_load(&put_back), atomic_load(&settled) + atomic_load(&lane.lane->redelivered));
    lane.ring = &rigs[last].ring;
    check_ledger(&lane);
    printf("%llu settled, %llu lost, %llu duplicates, given out %llu times, %llu settled too late\n",
           (unsigned long long)atomic_load(&settled), (unsigned long long)atomic_load(&lost), (unsigned long long)duplicates,
           (unsigned long long)atomic_load(&given), (unsigned long long)atomic_load(&late));
    for (uint32_t i = 0; i < c.generations; i++)
        rig_close(&rigs[i]);
    for (uint32_t i = 1; i <= c.publishers; i++)
        free(number_settled[i]);
    free(holder);
    free(times_settled);
    rig_group_close(&page);
}

TEST(each_message_is_settled_once_by_one_member) {
    run((struct campaign){.members = 3, .publishers = 2, .window = 16, .slots = 64, .generations = 1, .messages = 160000});
}

TEST(each_message_is_settled_once_in_the_smallest_window) {
    run((struct campaign){.members = 4, .publishers = 1, .window = 2, .slots = 8, .generations = 1, .messages = 80000});
}

TEST(what_dead_members_held_is_settled_by_others) {
    run((struct campaign){.members = 4, .publishers = 1, .window = 8, .slots = 32, .generations = 1, .messages = 80000,
                          .dying = true});
}

TEST(what_is_given_back_because_its_holder_is_late_is_settled_once) {
    run((struct campaign){.members = 3, .publishers = 1, .window = 8, .slots = 32, .generations = 1, .messages = 80000,
                          .expiring = true, .dying = true});
}

TEST(members_that_sleep_on_the_bell_lose_no_wake) {
    run((struct campaign){.members = 3, .publishers = 1, .window = 2, .slots = 8, .generations = 1, .messages = 40000,
                          .sleeping = true});
}

TEST(each_number_is_given_out_once_however_often_it_is_published) {
    run((struct campaign){.members = 3, .publishers = 2, .window = 4, .slots = 32, .generations = 1, .messages = 60000,
                          .once = true});
}

TEST(each_number_is_given_out_once_while_members_die_and_are_late) {
    run((struct campaign){.members = 4, .publishers = 2, .window = 8, .slots = 32, .generations = 1, .messages = 60000,
                          .once = true, .dying = true, .expiring = true});
}

TEST(what_an_overrun_took_is_counted_exactly) {
    run((struct campaign){.members = 3, .publishers = 1, .window = 4, .slots = 8, .generations = 1, .messages = 240000,
                          .lossy = true});
}

TEST(what_an_overrun_took_is_counted_exactly_while_members_die_and_are_late) {
    run((struct campaign){.members = 4, .publishers = 1, .window = 16, .slots = 8, .generations = 1, .messages = 240000,
                          .lossy = true, .dying = true, .expiring = true});
}

TEST(what_an_overrun_took_is_counted_exactly_where_duplicates_are_removed) {
    run((struct campaign){.members = 3, .publishers = 2, .window = 8, .slots = 8, .generations = 1, .messages = 120000,
                          .lossy = true, .once = true, .dying = true});
}

TEST(what_an_overrun_took_is_counted_exactly_of_publishers_that_leave_out_numbers) {
    run((struct campaign){.members = 3, .publishers = 2, .window = 16, .slots = 16, .generations = 1, .messages = 120000,
                          .lossy = true, .durable = true, .leaping = true});
}

TEST(what_an_overrun_took_is_counted_exactly_of_one_that_may_leave_out_numbers_and_does_not) {
    run((struct campaign){.members = 3, .publishers = 1, .window = 4, .slots = 8, .generations = 1, .messages = 240000,
                          .lossy = true, .durable = true});
}

TEST(what_publishers_leave_out_is_no_message_in_successors_either) {
    run((struct campaign){.members = 3, .publishers = 2, .window = 8, .slots = 32, .generations = 4, .messages = 40000,
                          .durable = true, .leaping = true});
}

TEST(members_follow_the_topic_to_its_successors_and_lose_nothing) {
    run((struct campaign){.members = 3, .publishers = 2, .window = 2, .slots = 16, .generations = GENERATIONS, .messages = 40000,
                          .sleeping = true, .dying = true});
}

TEST(each_number_is_given_out_once_across_successors) {
    run((struct campaign){.members = 3, .publishers = 2, .window = 8, .slots = 16, .generations = GENERATIONS, .messages = 40000,
                          .once = true, .dying = true, .expiring = true});
}
