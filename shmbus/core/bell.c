/* The bell: an event count on a futex word {epoch : 31, waiting : 1}.
 *
 * A bit instead of a count of sleepers, because a sleeper may be killed: a count that it never takes back would cost
 * every later publish a system call, for ever; the bit is cleared by the next ring, whoever set it.
 *
 *   waiter                                   ringer
 *   W1 word |= 1          (seq_cst)          R1 slot.word = COMMITTED  (seq_cst, shmbus_publish)
 *   W2 look at the slots  (seq_cst, peek)    R2 load word              (seq_cst)
 *   W3 futex_wait(word == what W1 left)      R3 if bit: word += 1, futex_wake(all)
 *
 * In the single order of the four seq_cst operations either W2 comes after R1, and the waiter sees the message, or W1
 * comes before R2, and the ringer sees the bit. word + 1 clears the bit and moves the epoch, so a waiter that reaches W3
 * late does not sleep (the futex compares). A ringer whose compare-and-swap fails at R3 was overtaken by another ringer,
 * who wakes the same sleepers; a waiter that set the bit again since then did so after R1 and has looked.
 *
 * A ringer killed between clearing the bit and waking leaves its sleepers to their own bound: every sleep has one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "killpoint.h"
#include "layout.h"

#define WAITING 1u
#define ONE_OF_SEVERAL_NS 1000000u

uint32_t shmbus_bell_arm(_Atomic uint32_t *word) {
    uint32_t value = atomic_fetch_or_explicit(word, WAITING, memory_order_seq_cst) | WAITING;
    KILLPOINT("wait.armed");
    return value;
}

void shmbus_bell_ring(_Atomic uint32_t *word) {
    uint32_t value = atomic_load_explicit(word, memory_order_seq_cst);
    if (!(value & WAITING))
        return;
    if (atomic_compare_exchange_strong_explicit(word, &value, value + 1, memory_order_seq_cst, memory_order_relaxed)) {
        KILLPOINT("wake.cleared");
        syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
        KILLPOINT("wake.woken");
    }
}

void shmbus_bell_signal(_Atomic uint32_t *word) {
    uint32_t value = atomic_load_explicit(word, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(word, &value, (value | WAITING) + 1, memory_order_seq_cst,
                                                  memory_order_relaxed)) {
    }
    KILLPOINT("wake.cleared");
    if (value & WAITING)
        syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    KILLPOINT("wake.woken");
}

static struct timespec timespec_of(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
}

static long wait_for_one(_Atomic uint32_t *word, uint32_t expected, uint64_t deadline_ns) {
    struct timespec deadline = timespec_of(deadline_ns);
    return syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
}

static long wait_for_any(_Atomic uint32_t *const words[], const uint32_t expected[], uint32_t count, uint64_t deadline_ns) {
    struct timespec deadline = timespec_of(deadline_ns);
    struct futex_waitv waiters[SHMBUS_MAX_WAIT];
    for (uint32_t i = 0; i < count; i++)
        waiters[i] = (struct futex_waitv){.val = expected[i], .uaddr = (uintptr_t)words[i], .flags = FUTEX_32};
    return syscall(SYS_futex_waitv, waiters, count, 0, &deadline, CLOCK_MONOTONIC);
}

int shmbus_bell_wait(_Atomic uint32_t *const words[], const uint32_t expected[], uint32_t count, uint64_t deadline_ns) {
    static _Atomic bool no_waitv; /* refused by an older container profile, or unknown to the kernel or emulator */
    if (count == 0 || count > SHMBUS_MAX_WAIT)
        return EINVAL;
    long result = -1;
    bool any = count > 1 && !atomic_load_explicit(&no_waitv, memory_order_relaxed);
    if (any) {
        result = wait_for_any(words, expected, count, deadline_ns);
        if (result < 0 && (errno == ENOSYS || errno == EPERM)) {
            atomic_store_explicit(&no_waitv, true, memory_order_relaxed);
            any = false;
        }
    }
    if (!any) { /* on one of several words: for a millisecond at most, then the caller looks at all of them again */
        for (uint32_t i = 0; i < count; i++)
            if (atomic_load_explicit(words[i], memory_order_relaxed) != expected[i])
                return EAGAIN;
        uint64_t bound = shmbus_now_ns() + ONE_OF_SEVERAL_NS;
        result = wait_for_one(words[count - 1], expected[count - 1], count > 1 && bound < deadline_ns ? bound : deadline_ns);
    }
    int error = result < 0 ? errno : 0;
    KILLPOINT("wait.slept");
    return error;
}
