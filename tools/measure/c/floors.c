/* Floors: what two processes on this machine can do at best, without any bus between them.
 *
 * Loaded by the two processes that also run the bus's benchmarks; they share one page and take a side each:
 * side 0 leads, side 1 answers. Values count up from `first`, which both sides know, so that no round can take a word
 * of the round before for its own. All times are CLOCK_MONOTONIC nanoseconds.
 */
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct side {
    _Alignas(128) _Atomic uint32_t word;
};

enum { STAMPS = 256 }; /* the leader does not wait at a pace: an answering side that is late finds its own still there */

struct page {
    struct side side[2];
    _Atomic uint64_t sent_ns[STAMPS];
};

enum { LEADS = 0, ANSWERS = 1 };

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void sleep_until(uint64_t ns) {
    struct timespec at = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) != 0) {
    }
}

/* Without a pause in between: it would be part of the floor. */
static void spin_for(_Atomic uint32_t *word, uint32_t value) {
    while (atomic_load_explicit(word, memory_order_acquire) != value) {
    }
}

static void tell(_Atomic uint32_t *word, uint32_t value) {
    atomic_store_explicit(word, value, memory_order_seq_cst);
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Until the word is at the value, or past it. */
static void sleep_for(_Atomic uint32_t *word, uint32_t value) {
    for (;;) {
        uint32_t seen = atomic_load_explicit(word, memory_order_seq_cst);
        if ((int32_t)(seen - value) >= 0)
            return;
        syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
    }
}

/* A cache line goes back and forth, both sides spinning. `ns[i]`: half a round trip, the mean of `batch` of them (one is
 * too short for the clock). */
void floor_line(struct page *page, int side, uint32_t first, uint32_t samples, uint64_t batch, double *ns) {
    _Atomic uint32_t *mine = &page->side[side].word, *other = &page->side[!side].word;
    for (uint32_t i = 0; i < samples; i++) {
        uint64_t started = now_ns();
        for (uint32_t k = 0; k < batch; k++) {
            uint32_t value = first + i * (uint32_t)batch + k + 1;
            if (side == LEADS)
                atomic_store_explicit(mine, value, memory_order_release);
            spin_for(other, value);
            if (side == ANSWERS)
                atomic_store_explicit(mine, value, memory_order_release);
        }
        ns[i] = (double)(now_ns() - started) / (double)batch / 2;
    }
}

/* The same, but who waits sleeps on a futex. `ns[i]`: half a round trip. */
void floor_futex(struct page *page, int side, uint32_t first, uint32_t samples, uint64_t unused, double *ns) {
    (void)unused;
    _Atomic uint32_t *mine = &page->side[side].word, *other = &page->side[!side].word;
    for (uint32_t i = 0; i < samples; i++) {
        uint32_t value = first + i + 1;
        uint64_t started = now_ns();
        if (side == LEADS)
            tell(mine, value);
        sleep_for(other, value);
        if (side == ANSWERS)
            tell(mine, value);
        ns[i] = (double)(now_ns() - started) / 2;
    }
}

/* One way: every `interval_ns` the leader says the time and wakes the other, who sleeps. `ns[i]`, on the answering side:
 * from the clock before the wake to the clock after it. */
void floor_paced(struct page *page, int side, uint32_t first, uint32_t samples, uint64_t interval_ns, double *ns) {
    uint64_t next = now_ns();
    for (uint32_t i = 0; i < samples; i++) {
        uint32_t value = first + i + 1;
        if (side == LEADS) {
            sleep_until(next += interval_ns);
            atomic_store_explicit(&page->sent_ns[value % STAMPS], now_ns(), memory_order_relaxed);
            tell(&page->side[LEADS].word, value);
        } else {
            sleep_for(&page->side[LEADS].word, value);
            ns[i] = (double)(now_ns() - atomic_load_explicit(&page->sent_ns[value % STAMPS], memory_order_relaxed));
        }
    }
}

/* Nanoseconds a copy of `size` bytes to the next place in a `room` of a ring's size: once in, and that is all. */
double floor_copy(unsigned char *room, uint64_t room_bytes, const void *data, uint64_t size, uint64_t copies) {
    uint64_t at = 0, started = now_ns();
    for (uint64_t i = 0; i < copies; i++) {
        if (at + size > room_bytes)
            at = 0;
        memcpy(room + at, data, size);
        __asm__ volatile("" : : "r"(room) : "memory");
        at += (size + 63) & ~(uint64_t)63;
    }
    return (double)(now_ns() - started) / (double)copies;
}
