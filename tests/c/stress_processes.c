/* Campaigns of processes: writers and readers are killed at random moments, what they left is repaired, and the others
 * go on. Lossless for whoever lives: every message that a publish returned from is seen, intact and in order.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rig.h"

enum { WRITERS = 3, MOST_PRODUCERS = 4000 };

/* What every process of the campaign sees besides the ring. */
struct world {
    _Atomic bool stop, over;                       /* stop publishing; no more will come */
    _Atomic uint64_t returned[MOST_PRODUCERS + 1]; /* publishes that came back, by producer */
    _Atomic uint64_t seen[MOST_PRODUCERS + 1];     /* by the reader that lives */
    _Atomic uint64_t delivered, stepped, cursor;
};

static struct world *world;
static struct rig rig;
static struct rig_session session;

static void begin(uint32_t slots, uint64_t arena_bytes, struct shmbus_ring_setup setup) {
    setup.geometry = (struct shmbus_geometry){slots, MOST_PRODUCERS, 4, arena_bytes};
    rig = rig_open(&setup);
    session = rig_session(1, 4);
    world = mmap(NULL, sizeof *world, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(world != MAP_FAILED);
    atomic_store(&world->cursor, setup.first_sequence);
}

static void end(void) {
    munmap(world, sizeof *world);
    rig_session_close(&session);
    rig_close(&rig);
}

static pid_t start(void (*life)(uint32_t), uint32_t argument) {
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        life(argument);
        _exit(0);
    }
    return pid;
}

static void kill_and_reap(pid_t pid) {
    int status;
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* and not by a failed check of its own */
}

static void reap(pid_t pid) {
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void pause_up_to(uint64_t *seed, uint64_t ns) {
    struct timespec pause = {.tv_nsec = (long)(check_random(seed) % ns)};
    nanosleep(&pause, NULL);
}

static void publish_until_stopped(uint32_t producer) {
    struct rig look = rig_look(&rig, true);
    struct shmbus_writer writer;
    shmbus_writer_init(&writer, &look.ring, producer);
    writer.sessions = &session.ref;
    writer.session_count = 1;
    uint64_t seed = producer, sequence, number = 1;
    while (!atomic_load(&world->stop)) {
        uint32_t length = RIG_LEAST + (uint32_t)(check_random(&seed) % 900);
        enum shmbus_result result = rig_publish(&writer, number, length, &sequence);
        if (result == SHMBUS_OK)
            atomic_store(&world->returned[producer], number++);
        else if (result == SHMBUS_FULL)
            sched_yield();
        else
            CHECK_EQUAL(result, SHMBUS_REVOKED);
    }
}

/* The reader that is never killed: checks everything, and holds the ring by gate 0. */
static void read_until_stopped(uint32_t unused) {
    (void)unused;
    struct rig look = rig_look(&rig, false);
    uint64_t cursor = atomic_load(&world->cursor);
    for (;;) {
        bool over = atomic_load(&world->over);
        struct rig_message message;
        enum shmbus_result result = rig_read(&look.ring, cursor, true, &message);
        if (result == SHMBUS_OK) {
            CHECK_EQUAL(message.frame.producer_sequence, message.number);
            CHECK_EQUAL(message.number, atomic_load(&world->seen[message.producer]) + 1);
            atomic_store(&world->seen[message.producer], message.number);
            atomic_fetch_add(&world->delivered, 1);
        } else if (result == SHMBUS_STEPPED) {
            atomic_fetch_add(&world->stepped, 1);
        } else {
            CHECK(result == SHMBUS_EMPTY || result == SHMBUS_BUSY);
            if (over && result == SHMBUS_EMPTY && cursor == shmbus_tail(&look.ring))
                break;
            sched_yield();
            continue;
        }
        atomic_store(&world->cursor, ++cursor);
        shmbus_cursor_place(&session.page->cursors[0], cursor);
    }
}

/* A reader that is killed now and then, and holds the ring by gate 1 until somebody clears it. */
static void read_until_killed(uint32_t unused) {
    (void)unused;
    struct rig look = rig_look(&rig, false);
    uint64_t cursor = shmbus_tail(&look.ring);
    shmbus_cursor_place(&session.page->cursors[1], cursor);
    for (;;) {
        struct rig_message message;
        enum shmbus_result result = rig_read(&look.ring, cursor, true, &message);
        CHECK(result == SHMBUS_OK || result == SHMBUS_STEPPED || result == SHMBUS_EMPTY || result == SHMBUS_BUSY);
        if (result == SHMBUS_OK || result == SHMBUS_STEPPED)
            shmbus_cursor_place(&session.page->cursors[1], ++cursor);
        else
            sched_yield();
    }
}

static pid_t start_mortal_reader(void) {
    atomic_store(&session.page->cursors[1].position, 0);
    CHECK(shmbus_gate_set(&rig.ring, 1, 1, 1, shmbus_head(&rig.ring)));
    return start(read_until_killed, 0);
}

static uint32_t campaign(uint64_t deaths, bool readers_too, bool revoking) {
    uint64_t seed = check_seed();
    uint32_t producer = 0, aborted = 0, owner[WRITERS];
    pid_t writers[WRITERS], mortal = 0, reader;
    shmbus_cursor_place(&session.page->cursors[0], atomic_load(&world->cursor));
    CHECK(shmbus_gate_set(&rig.ring, 0, 1, 0, atomic_load(&world->cursor)));
    reader = start(read_until_stopped, 0);
    for (int i = 0; i < WRITERS; i++)
        writers[i] = start(publish_until_stopped, owner[i] = ++producer);
    if (readers_too)
        mortal = start_mortal_reader();
    for (uint64_t i = 0; i < deaths && producer < MOST_PRODUCERS; i++) {
        pause_up_to(&seed, 4000000);
        if (revoking) {
            struct shmbus_claim claims[8];
            for (uint32_t n = shmbus_claims(&rig.ring, claims, 8); n; n--)
                shmbus_skip(&rig.ring, claims[n - 1].sequence, claims[n - 1].producer);
        }
        if (readers_too && i % 3 == 2) {
            kill_and_reap(mortal);
            CHECK(shmbus_gate_set(&rig.ring, 1, 0, 0, 0));
            mortal = start_mortal_reader();
            continue;
        }
        uint32_t victim = (uint32_t)(check_random(&seed) % WRITERS);
        kill_and_reap(writers[victim]);
        aborted += shmbus_repair(&rig.ring, owner[victim]);
        uint64_t before = atomic_load(&world->delivered); /* the rest goes on: the watchdog ends us if it does not */
        while (atomic_load(&world->delivered) < before + 20)
            sched_yield();
        writers[victim] = start(publish_until_stopped, owner[victim] = ++producer);
    }
    atomic_store(&world->stop, true);
    for (int i = 0; i < WRITERS; i++)
        reap(writers[i]);
    atomic_store(&world->over, true);
    if (readers_too)
        kill_and_reap(mortal);
    reap(reader);
    return aborted;
}

static void account(uint64_t first_sequence, uint32_t aborted, bool revoking) {
    uint64_t seen = 0;
    for (uint32_t i = 1; i <= MOST_PRODUCERS; i++) {
        uint64_t got = atomic_load(&world->seen[i]), returned = atomic_load(&world->returned[i]);
        CHECK(got >= returned && got <= returned + 1); /* one more: committed, and killed before it was told */
        seen += got;
    }
    CHECK_EQUAL(seen, atomic_load(&world->delivered));
    CHECK_EQUAL(atomic_load(&world->delivered) + atomic_load(&world->stepped), shmbus_tail(&rig.ring) - first_sequence);
    CHECK(revoking || atomic_load(&world->stepped) == aborted);
    printf("%llu delivered, %llu stepped over, %u repaired\n", (unsigned long long)seen,
           (unsigned long long)atomic_load(&world->stepped), aborted);
}

TEST(writers_killed_at_random_moments_stop_nobody_and_corrupt_nothing) {
    begin(64, 1u << 14, rig_setup());
    account(1, campaign(check_times(250), false, false), false);
    end();
}

TEST(readers_killed_at_random_moments_hold_the_ring_only_until_their_gate_is_cleared) {
    begin(64, 1u << 14, rig_setup());
    account(1, campaign(check_times(150), true, false), false);
    end();
}

TEST(kills_and_revocations_together_stop_nobody_and_corrupt_nothing) {
    begin(16, 1u << 13, rig_setup());
    account(1, campaign(check_times(150), true, true), true);
    end();
}

TEST(kills_near_every_wrap_stop_nobody_and_corrupt_nothing) {
    struct shmbus_ring_setup setup = rig_setup();
    setup.first_sequence = (1ull << 40) - 20000;
    setup.first_position = POSITION_MASK - 100000;
    begin(4, 1u << 13, setup);
    account(setup.first_sequence, campaign(check_times(150), false, false), false);
    end();
}
