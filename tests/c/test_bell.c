/* The bell: nobody sleeps through a message, and nobody is woken who does not sleep. */
#include <errno.h>
#include <pthread.h>

#include "rig.h"

static const uint64_t for_ever = UINT64_MAX / 2; /* the watchdog ends what would sleep that long */

TEST(a_bell_that_nobody_waits_on_does_not_move) {
    _Atomic uint32_t word = 4;
    shmbus_bell_ring(&word);
    CHECK_EQUAL(atomic_load(&word), 4);
}

TEST(arming_sets_the_bit_and_ringing_clears_it_and_moves_on) {
    _Atomic uint32_t word = 4;
    CHECK_EQUAL(shmbus_bell_arm(&word), 5);
    CHECK_EQUAL(shmbus_bell_arm(&word), 5);
    shmbus_bell_ring(&word);
    CHECK_EQUAL(atomic_load(&word), 6);
    shmbus_bell_ring(&word);
    CHECK_EQUAL(atomic_load(&word), 6);
}

TEST(signalling_moves_on_whether_anybody_waits_or_not) {
    _Atomic uint32_t word = 4;
    shmbus_bell_signal(&word);
    CHECK_EQUAL(atomic_load(&word), 6);
    shmbus_bell_arm(&word);
    shmbus_bell_signal(&word);
    CHECK_EQUAL(atomic_load(&word), 8);
}

TEST(the_epoch_goes_round) {
    _Atomic uint32_t word = UINT32_MAX - 1;
    CHECK_EQUAL(shmbus_bell_arm(&word), UINT32_MAX);
    shmbus_bell_ring(&word);
    CHECK_EQUAL(atomic_load(&word), 0);
}

TEST(a_wait_on_a_bell_rung_since_it_was_armed_returns_at_once) {
    _Atomic uint32_t word = 0, quiet = 0;
    uint32_t expected[2] = {shmbus_bell_arm(&word), shmbus_bell_arm(&quiet)};
    shmbus_bell_ring(&word);
    _Atomic uint32_t *const words[2] = {&word, &quiet};
    CHECK_EQUAL(shmbus_bell_wait(words, expected, 1, for_ever), EAGAIN);
    CHECK_EQUAL(shmbus_bell_wait(words, expected, 2, for_ever), EAGAIN);
}

TEST(a_wait_that_nobody_ends_ends_at_its_deadline) {
    _Atomic uint32_t word = 0, other = 0;
    uint32_t expected[2] = {shmbus_bell_arm(&word), shmbus_bell_arm(&other)};
    _Atomic uint32_t *const words[2] = {&word, &other};
    for (uint32_t count = 1; count <= 2; count++) {
        uint64_t deadline = shmbus_now_ns() + 1000000;
        CHECK_EQUAL(shmbus_bell_wait(words, expected, count, deadline), ETIMEDOUT);
        CHECK(shmbus_now_ns() >= deadline);
    }
}

TEST(a_wait_on_no_words_or_on_too_many_is_refused) {
    static _Atomic uint32_t word[SHMBUS_MAX_WAIT + 1];
    _Atomic uint32_t *words[SHMBUS_MAX_WAIT + 1];
    uint32_t expected[SHMBUS_MAX_WAIT + 1];
    for (uint32_t i = 0; i <= SHMBUS_MAX_WAIT; i++) {
        words[i] = &word[i];
        expected[i] = shmbus_bell_arm(&word[i]);
    }
    CHECK_EQUAL(shmbus_bell_wait(words, expected, 0, for_ever), EINVAL);
    CHECK_EQUAL(shmbus_bell_wait(words, expected, SHMBUS_MAX_WAIT + 1, for_ever), EINVAL);
    CHECK_EQUAL(shmbus_bell_wait(words, expected, SHMBUS_MAX_WAIT, shmbus_now_ns() + 1000000), ETIMEDOUT);
}

static _Atomic uint32_t bells[3];
static _Atomic uint64_t produced, consumed;
static uint64_t rounds;

/* The message is a counter here, stored as a publisher commits: seq_cst, then the bell. */
static void *produce(void *unused) {
    for (uint64_t n = 1; n <= rounds; n++) {
        atomic_store(&produced, n);
        shmbus_bell_ring(&bells[n % 3]);
        while (n % 7 == 0 && atomic_load(&consumed) < n) { /* let the consumers fall asleep again and again */
            uint32_t expected = shmbus_bell_arm(&bells[1]);
            if (atomic_load(&consumed) >= n)
                break;
            _Atomic uint32_t *const words[1] = {&bells[1]};
            shmbus_bell_wait(words, &expected, 1, for_ever);
        }
    }
    return unused;
}

/* Waits on the bells 0, 1 and 2 at once. */
static void *consume(void *unused) {
    uint64_t seen = 0;
    while (seen < rounds) {
        uint32_t expected[3];
        _Atomic uint32_t *const words[3] = {&bells[0], &bells[1], &bells[2]};
        for (int i = 0; i < 3; i++)
            expected[i] = shmbus_bell_arm(&bells[i]);
        uint64_t now = atomic_load(&produced);
        if (now == seen)
            shmbus_bell_wait(words, expected, 3, for_ever);
        seen = now;
        uint64_t before = atomic_load(&consumed);
        while (before < now && !atomic_compare_exchange_weak(&consumed, &before, now)) {
        }
        shmbus_bell_ring(&bells[1]);
    }
    return unused;
}

TEST(nobody_sleeps_through_a_message_however_often_it_sleeps) {
    rounds = check_times(20000);
    pthread_t threads[3];
    CHECK(pthread_create(&threads[0], NULL, consume, NULL) == 0);
    CHECK(pthread_create(&threads[1], NULL, consume, NULL) == 0);
    CHECK(pthread_create(&threads[2], NULL, produce, NULL) == 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    CHECK(atomic_load(&consumed) == rounds);
}
