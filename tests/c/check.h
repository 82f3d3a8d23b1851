/* A test is a sentence that runs in a process of its own: TEST(name) { ... CHECK(condition); ... }
 *
 * A failed check says where and what, and ends the process. A test that hangs is ended by its watchdog, which says so:
 * no test asserts how long anything takes.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct check_test {
    const char *name;
    void (*run)(void);
    struct check_test *next;
};

void check_register(struct check_test *test);
_Noreturn void check_failed(const char *file, int line, const char *condition, uint64_t found, uint64_t wanted);
/* SHMBUS_LONG=1 in the environment makes campaigns longer. */
uint64_t check_times(uint64_t count);
/* Random numbers from SHMBUS_SEED or the clock; the seed is printed once. */
uint64_t check_seed(void);
uint64_t check_random(uint64_t *state);

#define TEST(sentence)                                                                                                \
    static void sentence(void);                                                                                       \
    __attribute__((constructor)) static void register_##sentence(void) {                                              \
        static struct check_test test = {#sentence, sentence, NULL};                                                  \
        check_register(&test);                                                                                        \
    }                                                                                                                 \
    static void sentence(void)

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition, 0, 1))
#define CHECK_EQUAL(found, wanted)                                                                                    \
    check_equal(__FILE__, __LINE__, #found " == " #wanted, (uint64_t)(found), (uint64_t)(wanted))

static inline void check_equal(const char *file, int line, const char *text, uint64_t found, uint64_t wanted) {
    if (found != wanted)
        check_failed(file, line, text, found, wanted);
}

#endif
