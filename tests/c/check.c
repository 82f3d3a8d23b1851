#include "check.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { WATCHDOG_SECONDS = 240, WATCHDOG_SECONDS_LONG = 1400 };

static struct check_test *tests;
static const char *running = "nothing";

void check_register(struct check_test *test) {
    test->next = tests;
    tests = test;
}

void check_failed(const char *file, int line, const char *condition, uint64_t found, uint64_t wanted) {
    fprintf(stderr, "%s:%d: %s: %s (found %" PRIu64 ", wanted %" PRIu64 ")\n", file, line, running, condition, found,
            wanted);
    fflush(NULL);
    _exit(1);
}

static bool long_run(void) {
    const char *value = getenv("SHMBUS_LONG");
    return value && strcmp(value, "1") == 0;
}

uint64_t check_times(uint64_t count) { return long_run() ? 20 * count : count; }

uint64_t check_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t check_seed(void) {
    const char *value = getenv("SHMBUS_SEED");
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t seed = value ? strtoull(value, NULL, 10) : (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    printf("SHMBUS_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    return seed;
}

static void watchdog(int signal_number) {
    (void)signal_number;
    static const char text[] = ": no progress, ended by the watchdog\n";
    if (write(STDERR_FILENO, running, strlen(running)) < 0 || write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(3);
    _exit(2);
}

int main(int argc, char **argv) {
    int count = 0;
    signal(SIGALRM, watchdog);
    for (struct check_test *test = tests; test; test = test->next) {
        if (argc > 1 && strcmp(argv[1], test->name) != 0)
            continue;
        running = test->name;
        alarm(long_run() ? WATCHDOG_SECONDS_LONG : WATCHDOG_SECONDS);
        test->run();
        alarm(0);
        printf("ok %s\n", test->name);
        fflush(stdout);
        count++;
    }
    if (count == 0)
        fprintf(stderr, "no test is called %s\n", argc > 1 ? argv[1] : "anything");
    return count == 0;
}
