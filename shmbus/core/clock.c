/* CLOCK_MONOTONIC at the price of reading a counter.
 *
 * Every message is stamped, and asking the kernel's clock is a third of what a publish costs. Between two looks at the real
 * clock, a millisecond apart at most, the time is extrapolated from the processor's time-stamp counter, at the rate that was
 * measured over the last second or so: off by less than a microsecond even while the clock is being slewed. Only where
 * the counter is invariant and the kernel itself keeps time by it; anything odd (a counter that jumps or runs
 * backwards after a migration) fails the range check and asks the real clock. Time never runs backwards within a thread.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "shmbus.h"

static uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>

enum { ANCHOR_NS = 1000000, RATE_NS = 20000000, BASE_NS = 1000000000, UNDISTURBED_TICKS = 1000 };

/* Of one thread: the last look at both clocks, and an older one to measure the rate from. */
struct anchor {
    uint64_t ticks, ns, last_ns;
    uint64_t reach; /* ticks for which the anchor holds; 0: the rate is not known yet */
    uint64_t rate;  /* ns per tick, times 2^32 */
    uint64_t base_ticks, base_ns;
};

static _Thread_local struct anchor anchor;
static bool invariant;

__attribute__((constructor)) static void find_out(void) {
    unsigned a, b, c, d;
    char source[16] = "";
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    if (file) {
        invariant = fgets(source, sizeof source, file) && strcmp(source, "tsc\n") == 0 && __get_cpuid(0x80000007u, &a, &b, &c, &d) &&
                    (d & 1u << 8);
        fclose(file);
    }
}

/* Both clocks at one moment: again, if this thread was interrupted between the two. */
static uint64_t look_at_both(uint64_t *ticks) {
    uint64_t ns, before, after;
    unsigned tries = 0;
    do {
        before = __rdtsc();
        ns = clock_ns();
        after = __rdtsc();
    } while (after - before > UNDISTURBED_TICKS && ++tries < 4);
    *ticks = before + (after - before) / 2;
    return ns;
}

static uint64_t look(struct anchor *at) {
    if (!invariant)
        return clock_ns();
    uint64_t ticks, ns = look_at_both(&ticks);
    uint64_t passed_ns = ns - at->base_ns, passed = ticks - at->base_ticks;
    at->ticks = ticks;
    at->ns = ns;
    if (at->base_ns == 0 || passed_ns > 2 * (uint64_t)BASE_NS || ticks < at->base_ticks) {
        at->base_ticks = ticks; /* first look, or nobody asked for so long that the old rate means little */
        at->base_ns = ns;
        at->reach = 0;
    } else if (passed_ns > RATE_NS && passed) {
        at->rate = (uint64_t)((double)passed_ns * 4294967296.0 / (double)passed);
        at->reach = at->rate ? ((uint64_t)ANCHOR_NS << 32) / at->rate : 0;
        if (passed_ns > BASE_NS) {
            at->base_ticks = ticks;
            at->base_ns = ns;
        }
    }
    return ns;
}

uint64_t shmbus_now_ns(void) {
    struct anchor *at = &anchor;
    uint64_t ticks = __rdtsc(), passed = ticks - at->ticks;
    uint64_t ns = passed < at->reach ? at->ns + (passed * at->rate >> 32) : look(at);
    if (ns < at->last_ns)
        return at->last_ns;
    return at->last_ns = ns;
}

#else

uint64_t shmbus_now_ns(void) {
    return clock_ns();
}

#endif
