/* A real process is killed at every kill point of the core while another publishes and a third reads; then the table of
 * what was lost, who repaired it, and how long that took is checked and printed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "killpoint.h"
#include "rig.h"

enum { BYSTANDER = 1, VICTIM = 2, EARLIER_VICTIM = 3, SMALL = 300 };
enum { SLEEP_BOUND_NS = 20000000 };
enum { GROUP = 2, OTHER_MEMBER = 0, DEAD_MEMBER = 1, WINDOW = 16, MOST_HELD = 3, MOST_SEQUENCES = 1 << 24 };
#define SUCCESSOR (1ull << 32)

/* ---- the world that all processes share ---- */

struct world {
    _Atomic bool stop, over, sealed;                        /* stop publishing; no more will come */
    _Atomic uint64_t published, delivered, stepped, end;    /* by the bystanders */
    _Atomic uint64_t attempted, returned, seen[4];          /* of the victim; by producer */
    _Atomic uint32_t message;
    struct shmbus_bell bells, quiet;
    _Atomic uint64_t nacked;                                /* by members of the group */
    _Atomic uint8_t given[MOST_SEQUENCES];                  /* how often a message was in a member's hands */
};

static struct world *world;
static struct rig rig, created;
static struct rig_session session;
static struct rig_group group;
static struct shmbus_session_ref known[2];

static pid_t start(void (*life)(void), const char *site, unsigned count) {
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        shmbus_killpoint_arm(site, count);
        life();
        _exit(0);
    }
    return pid;
}

static void reap(pid_t pid) {
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void await_death(pid_t pid) {
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* the site was reached */
}

static void sleep_on(_Atomic uint32_t *word, uint32_t expected) {
    _Atomic uint32_t *const words[1] = {word};
    shmbus_bell_wait(words, &expected, 1, shmbus_now_ns() + SLEEP_BOUND_NS);
}

/* ---- bystanders ---- */

static struct shmbus_writer writer_for(const struct shmbus_ring *ring, uint32_t producer) {
    struct shmbus_writer writer;
    shmbus_writer_init(&writer, ring, producer);
    writer.sessions = known;
    writer.session_count = 2;
    return writer;
}

static void publish_along(void) {
    struct rig look = rig_look(&rig, true);
    struct shmbus_writer writer = writer_for(&look.ring, BYSTANDER);
    uint64_t sequence;
    while (!atomic_load(&world->stop)) {
        enum shmbus_result result = rig_publish(&writer, atomic_load(&world->published) + 1, SMALL, &sequence);
        if (result == SHMBUS_SEALED)
            break;
        CHECK(result == SHMBUS_OK || result == SHMBUS_FULL);
        if (result == SHMBUS_FULL)
            sched_yield();
        else
            atomic_fetch_add(&world->published, 1);
        shmbus_bell_ring(&world->bells.data);
    }
}

static void read_along(void) {
    struct rig look = rig_look(&rig, false);
    uint64_t cursor = 1;
    for (;;) {
        bool over = atomic_load(&world->over);
        struct rig_message message;
        enum shmbus_result result = rig_read(&look.ring, cursor, true, &message);
        if (result == SHMBUS_OK) {
            CHECK_EQUAL(message.number, atomic_fetch_add(&world->seen[message.producer], 1) + 1);
            atomic_fetch_add(&world->delivered, 1);
        } else if (result == SHMBUS_STEPPED) {
            atomic_fetch_add(&world->stepped, 1);
        } else {
            CHECK(result == SHMBUS_EMPTY || result == SHMBUS_BUSY || result == SHMBUS_SEALED);
            if (result == SHMBUS_SEALED || (over && result == SHMBUS_EMPTY && cursor == shmbus_tail(&look.ring)))
                break;
            sched_yield();
            continue;
        }
        shmbus_cursor_place(&session.page->cursors[0], ++cursor);
    }
    atomic_store(&world->end, cursor);
}

/* ---- members of a group ---- */

/* What nobody was given yet. */
static bool take_new(const struct shmbus_ring *ring, const struct shmbus_group *lane, struct shmbus_taken *taken, bool *sealed) {
    struct rig_message message;
    *taken = (struct shmbus_taken){shmbus_group_seek(lane, 0), 1};
    enum shmbus_result result = rig_read(ring, taken->sequence, false, &message);
    if (result == SHMBUS_OVERRUN)
        shmbus_group_skip(lane, shmbus_head(ring));
    if (result == SHMBUS_STEPPED)
        shmbus_group_pass(lane, taken->sequence);
    *sealed = result == SHMBUS_SEALED;
    if (result != SHMBUS_OK)
        return false;
    result = lane->producers
                 ? shmbus_group_judge(lane, taken->sequence, message.producer, message.number, shmbus_now_ns())
                 : shmbus_group_claim(lane, taken->sequence, shmbus_now_ns());
    CHECK(result == SHMBUS_OK || result == SHMBUS_PASSED || result == SHMBUS_WINDOW);
    return result == SHMBUS_OK;
}

/* Every eighth message is given back. */
static void done_with(const struct shmbus_group *lane, struct shmbus_taken taken, uint64_t *seed) {
    uint64_t advanced = 0;
    if (check_random(seed) % 8)
        CHECK(shmbus_group_settle(lane, taken, &advanced));
    else {
        atomic_fetch_add(&world->nacked, 1);
        CHECK_EQUAL(shmbus_group_return(lane, taken), SHMBUS_OK);
    }
}

static void read_as_member(uint32_t member) {
    struct rig look = rig_look(&rig, false);
    struct shmbus_group lane = rig_member(&group, 0, member);
    lane.ring = &look.ring;
    struct shmbus_taken held[MOST_HELD];
    uint64_t seed = member, advanced = 0;
    uint32_t count = 0;
    for (;;) {
        bool over = atomic_load(&world->over), sealed = false;
        bool found = shmbus_group_retake(&lane, shmbus_now_ns(), &held[count]) ||
                     take_new(&look.ring, &lane, &held[count], &sealed);
        if (found) {
            CHECK(held[count].sequence < MOST_SEQUENCES);
            atomic_fetch_add(&world->given[held[count++].sequence], 1);
        }
        while (count && (!found || count == MOST_HELD))
            done_with(&lane, held[--count], &seed);
        uint64_t tail = shmbus_tail(&look.ring);
        if (sealed && shmbus_group_settled(&lane, tail, &advanced) && shmbus_group_bridge(&lane, tail, SUCCESSOR))
            break;
        if (shmbus_group_floor(&lane) >= (over ? tail : SUCCESSOR))
            break;
        if (!found)
            sched_yield();
    }
}

static void read_as_other(void) { read_as_member(OTHER_MEMBER); }

/* ---- victims: each goes on until it passes its site ---- */

static void publish_as(uint32_t producer, uint32_t length) {
    struct rig look = rig_look(&rig, true);
    struct shmbus_writer writer = writer_for(&look.ring, producer);
    uint64_t sequence, number = 1;
    for (;;) {
        if (producer == VICTIM)
            atomic_store(&world->attempted, number);
        enum shmbus_result result = rig_publish(&writer, number, length, &sequence);
        CHECK(result == SHMBUS_OK || result == SHMBUS_FULL || result == SHMBUS_REVOKED);
        if (result == SHMBUS_OK && producer == VICTIM)
            atomic_store(&world->returned, number);
        number += result == SHMBUS_OK;
        if (result == SHMBUS_FULL)
            sched_yield();
    }
}

static void publish_small(void) { publish_as(VICTIM, SMALL); }

/* Of every three numbers one, as a durable publisher may. */
static void publish_with_leaps(void) {
    struct rig look = rig_look(&rig, true);
    struct shmbus_writer writer = writer_for(&look.ring, VICTIM);
    uint64_t sequence, number = 1;
    for (;;) {
        atomic_store(&world->attempted, number);
        writer.producer_sequence = 3 * number - 1;
        enum shmbus_result result = rig_publish(&writer, number, SMALL, &sequence);
        CHECK(result == SHMBUS_OK || result == SHMBUS_FULL);
        if (result == SHMBUS_OK)
            atomic_store(&world->returned, number++);
        else
            sched_yield();
    }
}

/* It has left out two numbers for each of its messages, and nothing it did not come to counts. */
static void count_leaps(void) {
    shmbus_repair(&rig.ring, VICTIM);
    uint64_t published = shmbus_numbers_settle(&rig.ring, VICTIM);
    CHECK(published == 3 * atomic_load(&world->returned));
    CHECK_EQUAL(shmbus_numbers_count(&rig.ring, VICTIM), published / 3);
}
static void publish_earlier(void) { publish_as(EARLIER_VICTIM, SMALL); }

static unsigned char *unreadable;

/* The payload is looked at for the first time, so the claim is open: the coordinator calls it overdue. */
static void call_overdue(int unused) {
    (void)unused;
    struct shmbus_claim claims[8];
    for (uint32_t n = shmbus_claims(&rig.ring, claims, 8); n; n--)
        if (claims[n - 1].producer == VICTIM)
            shmbus_skip(&rig.ring, claims[n - 1].sequence, VICTIM);
    if (mprotect(unreadable, 4096, PROT_READ) != 0)
        _exit(1);
}

static void publish_what_is_revoked(void) {
    struct shmbus_writer writer = writer_for(&rig.ring, VICTIM);
    unreadable = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(unreadable != MAP_FAILED);
    signal(SIGSEGV, call_overdue);
    struct shmbus_part part = {unreadable, SMALL};
    struct shmbus_message message = {.parts = &part, .count = 1};
    uint64_t sequence;
    atomic_store(&world->attempted, 1);
    while (shmbus_publish(&writer, &message, &sequence) == SHMBUS_FULL)
        sched_yield();
}

static void read_gated(void) {
    struct rig look = rig_look(&rig, false);
    uint64_t cursor = shmbus_tail(&look.ring);
    shmbus_cursor_place(&session.page->cursors[1], cursor);
    for (;;) {
        struct rig_message message;
        enum shmbus_result result = rig_read(&look.ring, cursor, true, &message);
        if (result == SHMBUS_OK || result == SHMBUS_STEPPED)
            shmbus_cursor_place(&session.page->cursors[1], ++cursor);
        else
            sched_yield();
    }
}

static void wait_again_and_again(void) {
    for (;;)
        sleep_on(&world->bells.data, shmbus_bell_arm(&world->bells.data));
}

static void sleep_for_a_message(void) {
    while (!atomic_load(&world->message)) {
        uint32_t expected = shmbus_bell_arm(&world->quiet.data);
        if (!atomic_load(&world->message))
            sleep_on(&world->quiet.data, expected);
    }
}

static void wake(void) {
    while (!(atomic_load(&world->quiet.data) & 1))
        sched_yield();
    atomic_store(&world->message, 1);
    shmbus_bell_ring(&world->quiet.data);
}

static void attach(void) {
    struct rig look = rig_look(&rig, true);
    struct shmbus_geometry geometry;
    CHECK_EQUAL(shmbus_ring_check(look.memory, shmbus_ring_bytes(&rig.geometry), rig_boot, &geometry), SHMBUS_OK);
}

static void create(void) {
    struct shmbus_ring_setup setup = rig_setup();
    shmbus_ring_init(created.memory, &setup);
}

static void repair_earlier(void) { shmbus_repair(&rig.ring, EARLIER_VICTIM); }

static void skip_earlier(void) {
    struct shmbus_claim claims[4];
    uint32_t count = shmbus_claims(&rig.ring, claims, 4);
    for (uint32_t i = 0; i < count; i++)
        if (claims[i].producer == EARLIER_VICTIM)
            shmbus_skip(&rig.ring, claims[i].sequence, EARLIER_VICTIM);
}

static void seal(void) { shmbus_seal(&rig.ring, 2); }

static void read_in_group(void) { read_as_member(DEAD_MEMBER); }

static uint64_t group_begin;

/* A message that was claimed when the group began, and not committed, is none of its; its next one tells. So there is one. */
static void read_in_group_to_the_seal(void) {
    while (shmbus_tail(&rig.ring) <= group_begin + 1)
        sched_yield();
    atomic_store(&world->sealed, true);
    seal();
    read_in_group();
    struct shmbus_group lane = rig_member(&group, 0, DEAD_MEMBER); /* the other one was faster: a second time, then */
    shmbus_group_bridge(&lane, shmbus_tail(&rig.ring), SUCCESSOR);
}

static void meet_an_overrun(void) {
    struct shmbus_group lane = rig_member(&group, 0, DEAD_MEMBER);
    lane.ring = &rig.ring;
    while (shmbus_head(&rig.ring) < shmbus_group_floor(&lane) + 2 * WINDOW)
        sched_yield();
    shmbus_group_skip(&lane, shmbus_head(&rig.ring));
}

/* What it holds is passed by the floor, and then it gives that back. Again, where the ring was faster than the claims. */
static void give_back_what_is_lost(void) {
    struct shmbus_group lane = rig_member(&group, 0, DEAD_MEMBER);
    lane.ring = &rig.ring;
    for (;;) {
        shmbus_group_skip(&lane, shmbus_tail(&rig.ring));
        uint64_t first = shmbus_group_floor(&lane);
        while (shmbus_tail(&rig.ring) < first + 2)
            sched_yield();
        for (uint32_t i = 0; i < 2; i++)
            CHECK_EQUAL(shmbus_group_claim(&lane, first + i, shmbus_now_ns()), SHMBUS_OK);
        while (shmbus_head(&rig.ring) < first + 2)
            sched_yield();
        shmbus_group_skip(&lane, shmbus_head(&rig.ring));
        for (uint32_t i = 0; i < 2; i++)
            CHECK_EQUAL(shmbus_group_return(&lane, (struct shmbus_taken){first + i, 1}), SHMBUS_OVERRUN);
    }
}

/* ---- before and after ---- */

static pid_t sleeper, other;

static void nothing(void) {}

static void set_gate(void) { CHECK(shmbus_gate_set(&rig.ring, 1, 1, 1, shmbus_head(&rig.ring))); }

static void start_sleeper(void) { sleeper = start(sleep_for_a_message, NULL, 0); }

static void leave_a_claim(void) { await_death(start(publish_earlier, "write.half", 3)); }

static struct shmbus_group as_coordinator(void) {
    struct shmbus_group lane = rig_coordinator(&group, 0);
    lane.ring = &rig.ring;
    return lane;
}

static void place_group(void) {
    struct shmbus_group lane = as_coordinator();
    group_begin = shmbus_tail(&rig.ring);
    shmbus_group_place(&lane, group_begin);
    shmbus_group_begin(&lane);
}

static void hold_for_group(void) { CHECK(shmbus_gate_set(&rig.ring, 2, GROUP, 0, 1)); }

static void place_held_group(void) {
    hold_for_group();
    place_group();
}

static void start_group(void) {
    place_held_group();
    other = start(read_as_other, NULL, 0);
}

static void start_group_without_duplicates(void) { start_group(); }

static void repair(void) { shmbus_repair(&rig.ring, VICTIM); }

static void clear_gate(void) { CHECK(shmbus_gate_set(&rig.ring, 1, 0, 0, 0)); }

static void await_sleeper(void) { reap(sleeper); }

static void reap_member(void) {
    struct shmbus_group lane = as_coordinator();
    CHECK(shmbus_group_reap(&lane, DEAD_MEMBER) <= MOST_HELD);
}

static void join_group_again(void) {
    reap_member();
    hold_for_group();
    other = start(read_as_other, NULL, 0);
}

/* Everything is settled, and was in somebody's hands: once, and again for each that was given back. The ledger says so. */
static void check_group(bool lossy) {
    reap(other);
    struct shmbus_group lane = as_coordinator();
    struct shmbus_entry entry;
    uint64_t tail = shmbus_tail(&rig.ring), once = 0, all = 0;
    CHECK_EQUAL(shmbus_group_floor(&lane), atomic_load(&world->sealed) ? SUCCESSOR : tail);
    for (uint64_t at = group_begin; at < tail; at++) {
        once += atomic_load(&world->given[at]) != 0;
        all += atomic_load(&world->given[at]);
    }
    CHECK(all - once <= atomic_load(&world->nacked) + MOST_HELD);
    CHECK_EQUAL(atomic_load(&lane.lane->duplicates), 0);
    CHECK(shmbus_group_explain(&lane));
    CHECK(shmbus_group_entry(&lane, BYSTANDER, &entry)); /* every sequence is one of its */
    CHECK_EQUAL(entry.base, group_begin - 1);
    CHECK_EQUAL(entry.last, tail - 1);
    CHECK_EQUAL(entry.delivered + entry.overrun, tail - group_begin);
    CHECK(lossy ? entry.overrun >= tail - group_begin - once : entry.overrun == 0);
    CHECK_EQUAL(entry.delivered, once);
}

static enum shmbus_result check_created(void) {
    struct shmbus_geometry geometry;
    return shmbus_ring_check(created.memory, shmbus_ring_bytes(&rig.geometry), rig_boot, &geometry);
}

static void use_created(void) { CHECK_EQUAL(check_created(), SHMBUS_OK); }

static void create_again(void) {
    CHECK_EQUAL(check_created(), SHMBUS_EARLY);
    memset(created.memory, 0, shmbus_ring_bytes(&rig.geometry));
    create();
    use_created();
}

static void repair_again(void) {
    shmbus_repair(&rig.ring, EARLIER_VICTIM);
    struct shmbus_claim claims[4];
    for (uint32_t n = shmbus_claims(&rig.ring, claims, 4); n; n--)
        CHECK(claims[n - 1].producer != EARLIER_VICTIM);
}

static void seal_again(void) {
    uint64_t end = shmbus_seal(&rig.ring, 2);
    CHECK(end > 1);
    CHECK_EQUAL(shmbus_seal(&rig.ring, 2), end);
    atomic_store(&world->sealed, true);
}

/* ---- the table ---- */

#define NOTHING "nothing", 0
#define THE_CALL "the message whose publish had not returned", 1
#define REPAIRER "coordinator: claims of the dead aborted", repair
#define GATE "coordinator: gate cleared", clear_gate
#define NOBODY "nobody has to", nothing
#define MAKER "who creates: made again under a new name", create_again
#define NEXT_REPAIR "the next repair", repair_again
#define NEXT_SEAL "the next coordinator: sealed again", seal_again
#define MEMBER "coordinator: the member reaped", reap_member
#define OTHERS "the next member that comes", join_group_again
#define THE_DROPPED "nothing but what the ring had dropped", 0
#define BOUND "the sleeper, at its own bound", await_sleeper

static const struct row {
    const char *site;
    void (*before)(void), (*victim)(void);
    unsigned count; /* the pass at which it dies */
    const char *lost;
    uint64_t messages;
    const char *repaired_by;
    void (*after)(void);
} rows[] = {
    {"claim.before", nothing, publish_small, 500, THE_CALL, NOBODY},
    {"claim.won", nothing, publish_small, 500, THE_CALL, REPAIRER},
    {"claim.helped", nothing, publish_small, 500, THE_CALL, REPAIRER},
    {"help.before", nothing, publish_small, 500, THE_CALL, REPAIRER},
    {"help.done", nothing, publish_small, 500, THE_CALL, REPAIRER},
    {"write.before", nothing, publish_small, 500, THE_CALL, REPAIRER},
    {"write.half", nothing, publish_small, 501, THE_CALL, REPAIRER},
    {"write.done", nothing, publish_small, 500, THE_CALL, REPAIRER},
    {"commit.done", nothing, publish_small, 500, NOTHING, NOBODY},
    {"leap.counted", nothing, publish_with_leaps, 500, THE_CALL, "nobody has to", count_leaps},
    {"leap.noted", nothing, publish_with_leaps, 500, THE_CALL, "nobody has to", count_leaps},
    {"commit.revoked", nothing, publish_what_is_revoked, 1, THE_CALL, REPAIRER},
    {"retire.scanned", nothing, publish_small, 50, THE_CALL, NOBODY},
    {"retire.advanced", nothing, publish_small, 50, THE_CALL, NOBODY},
    {"read.peeked", set_gate, read_gated, 100, NOTHING, GATE},
    {"read.copied", set_gate, read_gated, 100, NOTHING, GATE},
    {"read.taken", set_gate, read_gated, 100, NOTHING, GATE},
    {"read.placed", set_gate, read_gated, 100, NOTHING, GATE},
    {"wait.armed", nothing, wait_again_and_again, 10, NOTHING, NOBODY},
    {"wait.slept", nothing, wait_again_and_again, 10, NOTHING, NOBODY},
    {"wake.cleared", start_sleeper, wake, 1, NOTHING, BOUND},
    {"wake.woken", start_sleeper, wake, 1, NOTHING, NOBODY},
    {"attach.mapped", nothing, attach, 1, NOTHING, NOBODY},
    {"attach.checked", nothing, attach, 1, NOTHING, NOBODY},
    {"create.unready", nothing, create, 1, NOTHING, MAKER},
    {"create.ready", nothing, create, 1, NOTHING, "nobody has to", use_created},
    {"repair.claimed", leave_a_claim, repair_earlier, 1, NOTHING, NEXT_REPAIR},
    {"repair.aborted", leave_a_claim, repair_earlier, 1, NOTHING, NEXT_REPAIR},
    {"skip.before", leave_a_claim, skip_earlier, 1, NOTHING, NEXT_REPAIR},
    {"skip.done", leave_a_claim, skip_earlier, 1, NOTHING, NEXT_REPAIR},
    {"seal.announced", nothing, seal, 1, NOTHING, NEXT_SEAL},
    {"seal.done", nothing, seal, 1, NOTHING, NEXT_SEAL},
    {"group.claimed", start_group, read_in_group, 50, NOTHING, MEMBER},
    {"group.judged", start_group_without_duplicates, read_in_group, 50, NOTHING, MEMBER},
    {"group.settled", start_group_without_duplicates, read_in_group, 50, NOTHING, MEMBER},
    {"group.advanced", start_group, read_in_group, 50, NOTHING, MEMBER},
    {"group.returned", start_group, read_in_group, 10, NOTHING, MEMBER},
    {"group.retaken", start_group, read_in_group, 10, NOTHING, MEMBER},
    {"group.booked", place_held_group, read_in_group, 1, NOTHING, OTHERS},
    {"group.passed", start_group, read_in_group, 50, NOTHING, MEMBER},
    {"group.abandoned", place_group, give_back_what_is_lost, 1, THE_DROPPED, OTHERS},
    {"group.dropped", place_group, meet_an_overrun, 1, THE_DROPPED, OTHERS},
    {"group.bridged", start_group, read_in_group_to_the_seal, 1, NOTHING, MEMBER},
};
enum { ROWS = sizeof rows / sizeof *rows };

static void begin(const struct row *row) {
    rig = rig_small(64, 1u << 16);
    created = rig_small(64, 1u << 16);
    memset(created.memory, 0, shmbus_ring_bytes(&created.geometry));
    session = rig_session(1, 2);
    uint32_t judged = row->before == start_group_without_duplicates ? VICTIM : 0;
    group = rig_group(GROUP, 1, WINDOW, judged, rig_setup().geometry.producers + 1);
    known[0] = session.ref;
    known[1] = group.ref;
    world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(world != MAP_FAILED);
    CHECK(shmbus_gate_set(&rig.ring, 0, 1, 0, 1));
}

static void end(void) {
    munmap(world, sizeof *world);
    rig_group_close(&group);
    rig_session_close(&session);
    rig_close(&created);
    rig_close(&rig);
}

static void await_progress(void) {
    uint64_t published = atomic_load(&world->published) + 100, delivered = atomic_load(&world->delivered) + 100;
    while (atomic_load(&world->published) < published || atomic_load(&world->delivered) < delivered)
        sched_yield();
}

static void kill_at(const struct row *row) {
    begin(row);
    pid_t publisher = start(publish_along, NULL, 0), reader = start(read_along, NULL, 0);
    await_progress();
    row->before();
    pid_t victim = start(row->victim, row->site, row->count);
    await_death(victim);
    uint64_t died = shmbus_now_ns();
    row->after();
    uint64_t repaired = shmbus_now_ns();
    if (!atomic_load(&world->sealed))
        await_progress();
    if (row->before == start_sleeper && row->after != await_sleeper)
        await_sleeper();
    repair_again(); /* of the one that died earlier, where there is one */
    atomic_store(&world->stop, true);
    reap(publisher);
    atomic_store(&world->over, true);
    reap(reader);
    if (strncmp(row->site, "group.", 6) == 0)
        check_group(row->after == join_group_again);
    uint64_t seen = atomic_load(&world->seen[VICTIM]);
    CHECK_EQUAL(atomic_load(&world->attempted) - seen, row->messages);
    CHECK(seen >= atomic_load(&world->returned));
    CHECK_EQUAL(atomic_load(&world->seen[BYSTANDER]), atomic_load(&world->published));
    CHECK_EQUAL(atomic_load(&world->delivered) + atomic_load(&world->stepped), atomic_load(&world->end) - 1);
    CHECK_EQUAL(atomic_load(&world->end), shmbus_tail(&rig.ring));
    struct shmbus_claim claims[4];
    CHECK_EQUAL(shmbus_claims(&rig.ring, claims, 4), 0);
    printf("%-16s  %-42s  %-41s  %8.1f us\n", row->site, row->lost, row->repaired_by, (double)(repaired - died) / 1000);
    fflush(stdout);
    end();
}

TEST(a_process_killed_at_any_site_loses_what_the_table_says_and_the_rest_goes_on) {
    printf("%-16s  %-42s  %-41s  %s\n", "killed at", "lost", "repaired by", "after its death");
    for (int i = 0; i < ROWS; i++)
        kill_at(&rows[i]);
}

/* ---- the sites in the code, in killpoint.c's list and in the table above are the same ---- */

static char *all_sources(void) {
    static char text[1 << 20];
    size_t used = 0;
    DIR *directory = opendir(CORE_DIRECTORY);
    CHECK(directory != NULL);
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[1024];
        size_t length = strlen(entry->d_name);
        if (length < 2 || strcmp(entry->d_name + length - 2, ".c") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", CORE_DIRECTORY, entry->d_name);
        FILE *file = fopen(path, "r");
        CHECK(file != NULL);
        used += fread(text + used, 1, sizeof text - 1 - used, file);
        fclose(file);
    }
    closedir(directory);
    text[used] = 0;
    return text;
}

TEST(every_site_in_the_code_is_listed_and_in_the_table_and_no_other) {
    static const char use[] = "KILLPOINT(\"";
    char *sources = all_sources();
    for (const char *at = sources; (at = strstr(at, use)); at++) {
        const char *name = at + sizeof use - 1;
        size_t length = strcspn(name, "\""), found = 0;
        for (const char *const *site = shmbus_killpoint_sites; *site; site++)
            found += strlen(*site) == length && strncmp(*site, name, length) == 0;
        CHECK_EQUAL(found, 1);
    }
    size_t count = 0;
    for (const char *const *site = shmbus_killpoint_sites; *site; site++, count++) {
        char wanted[80];
        snprintf(wanted, sizeof wanted, "KILLPOINT(\"%s\")", *site);
        CHECK(strstr(sources, wanted) != NULL);
        size_t found = 0;
        for (int i = 0; i < ROWS; i++)
            found += strcmp(rows[i].site, *site) == 0;
        CHECK_EQUAL(found, 1);
    }
    CHECK_EQUAL(count, ROWS);
}
