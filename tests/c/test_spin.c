/* How long to spin is learned from what came of it: histories, without a clock. */
#include "check.h"
#include "shmbus.h"

static struct shmbus_spin spin;

static void begin(bool eager) {
    shmbus_spin_init(&spin);
    spin.eager = eager;
}

static void spun(bool found, int times) {
    while (times--)
        shmbus_spin_ended(&spin, found);
}

/* How many sleeps of that length it takes until a long spin is tried. */
static int sleeps_until_long(uint64_t ns) {
    for (int count = 1; count <= 5000; count++) {
        shmbus_spin_slept(&spin, ns);
        if (shmbus_spin_is_long(&spin))
            return count;
        spun(false, 1);
    }
    return 0;
}

TEST(what_pays_is_done_for_twice_as_long_and_what_does_not_for_half_as_long) {
    begin(false);
    CHECK_EQUAL(spin.budget_ns, 1000);
    spun(true, 1);
    CHECK_EQUAL(spin.budget_ns, 2000);
    spun(true, 20);
    CHECK_EQUAL(spin.budget_ns, 100000);
    spun(false, 1);
    CHECK_EQUAL(spin.budget_ns, 50000);
    spun(false, 20);
    CHECK_EQUAL(spin.budget_ns, 1000);
}

TEST(only_an_eager_reader_tries_a_long_spin_and_only_after_a_short_sleep) {
    begin(false);
    CHECK_EQUAL(sleeps_until_long(1000), 0);
    begin(true);
    CHECK_EQUAL(sleeps_until_long(SHMBUS_SPIN_LONG_NS + 1), 0);
    CHECK_EQUAL(sleeps_until_long(SHMBUS_SPIN_LONG_NS), 1);
    CHECK_EQUAL(spin.budget_ns, SHMBUS_SPIN_LONG_NS);
}

TEST(a_long_spin_goes_on_while_it_pays) {
    begin(true);
    CHECK_EQUAL(sleeps_until_long(1), 1);
    spun(true, 1000);
    CHECK(shmbus_spin_is_long(&spin));
    spun(false, 1);
    CHECK_EQUAL(spin.budget_ns, 1000);
}

TEST(a_long_spin_that_never_pays_is_tried_half_as_often_each_time_down_to_a_bound) {
    begin(true);
    int before = 0;
    for (int expected = 1; expected <= 1024; expected *= 2) {
        before = sleeps_until_long(1);
        CHECK_EQUAL(before, expected);
        spun(false, 1);
    }
    CHECK_EQUAL(sleeps_until_long(1), 1024);
    spun(true, 10);
    spun(false, 1);
    CHECK_EQUAL(sleeps_until_long(1), 2); /* it has paid again */
}
