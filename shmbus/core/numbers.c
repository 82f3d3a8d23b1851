/* Numbers of producers: how far each has come, and what each had published before a sequence.
 *
 * They stand in a line of each producer's own, beside the ring. What a killed one has not counted is counted by whoever retires
 * it, see ring.c; what one leaves out, it counts itself, see leaps.c.
 */
#include <stddef.h>
#include <string.h>

#include "ring.h"

void shmbus_numbers_raise(const struct shmbus_ring *ring, uint32_t producer, uint64_t number) {
    struct shmbus_numbers *numbers = shmbus_numbers_entry(ring, producer);
    uint64_t published = numbers ? atomic_load_explicit(&numbers->published, memory_order_acquire) : UINT64_MAX;
    while (published < number && !atomic_compare_exchange_weak_explicit(&numbers->published, &published, number,
                                                                        memory_order_seq_cst, memory_order_relaxed)) {
    }
}

void shmbus_numbers_begin(const struct shmbus_ring *ring, uint32_t producer, bool durable) {
    struct shmbus_numbers *numbers = shmbus_numbers_entry(ring, producer);
    if (!numbers)
        return;
    atomic_store_explicit(&numbers->published, 0, memory_order_relaxed);
    atomic_store_explicit(&numbers->claiming, 0, memory_order_relaxed);
    atomic_store_explicit(&numbers->left, 0, memory_order_relaxed); /* or what was left out, see stands_for() */
    for (int i = 0; i < 2; i++) {
        atomic_store_explicit(&numbers->leaps[i].first, 0, memory_order_relaxed);
        atomic_store_explicit(&numbers->leaps[i].skipped, 0, memory_order_relaxed);
    }
    atomic_store_explicit(&numbers->durable, durable, memory_order_release); /* whose the word of the two is, now that it is zero */
    uint32_t begun = atomic_load_explicit(&numbers->begun, memory_order_relaxed) + 1;
    /* release: who sees another producer sees its numbers */
    atomic_store_explicit(&numbers->begun, begun ? begun : 1, memory_order_release);
}

void shmbus_numbers_carry(const struct shmbus_ring *ring, const struct shmbus_ring *before) {
    for (uint32_t producer = 1; producer <= ring->producers && producer <= before->producers; producer++) {
        uint32_t begun = atomic_load_explicit(&shmbus_numbers_entry(before, producer)->begun, memory_order_acquire);
        atomic_store_explicit(&shmbus_numbers_entry(ring, producer)->begun, begun, memory_order_release);
    }
}

uint32_t shmbus_producer_tag(const struct shmbus_ring *ring, uint32_t producer) {
    struct shmbus_numbers *numbers = shmbus_numbers_entry(ring, producer);
    uint32_t begun = numbers ? atomic_load_explicit(&numbers->begun, memory_order_acquire) : 0;
    return begun << SHMBUS_PRODUCER_BITS | producer;
}

bool shmbus_numbers_used(const struct shmbus_ring *ring, uint32_t producer) {
    struct shmbus_numbers *numbers = shmbus_numbers_entry(ring, producer);
    return numbers && (atomic_load_explicit(&numbers->begun, memory_order_acquire) ||
                       atomic_load_explicit(&numbers->claiming, memory_order_relaxed) ||
                       atomic_load_explicit(&numbers->published, memory_order_relaxed)); /* by what was before a successor */
}

uint32_t shmbus_owner(const struct shmbus_ring *ring, uint64_t sequence) {
    return owner_of(ring, sequence);
}

bool shmbus_number_at(const struct shmbus_ring *ring, uint64_t sequence, uint32_t producer, uint64_t *number) {
    uint64_t word = atomic_load_explicit(&slot_of(ring, sequence)->word, memory_order_acquire);
    if (word_lap(word) != lap_of(ring, sequence) || word_state(word) != COMMITTED || word_producer(word) != producer)
        return false;
    struct shmbus_frame frame = header_at(ring, sequence);
    *number = frame.producer_sequence;
    /* pairs with the release fence in shmbus_publish(), as in shmbus_take() */
    FENCE(memory_order_acquire);
    uint64_t head = atomic_load_explicit(&ring->header->head, memory_order_acquire);
    return frame.sequence == sequence && frame.producer == producer && sequence_distance(head, pack(sequence, 0)) <= 0;
}

/* ---- what was published before a sequence -------------------------------------------------------------------------- */

/* A producer's messages have growing numbers and growing sequences. So its first message from `from` on tells how many came
 * before it. Where there is none up to the tail, everything that was counted as published before the tail was loaded came
 * before: a commit comes after the tail was moved over its claim, and `published` after the commit (release, acquire).
 *
 * An unfinished claim tells that nothing of its producer stands from there on, so what came before is what it has published:
 * that was stored before the claim (release), and does not change before the claim is finished, so it is what came before this
 * claim if the slot's word is still the same afterwards.
 *
 * Numbers that were left out. All but durable producers use every number, and the number of the message tells. Of a durable one
 * `published` and what it has left out up to there are taken after its first message was found (see leaps.c). If that message
 * stands after the last leap, or is not counted yet, so many were left out before it; else the messages from there to
 * `published` are counted, from the end, as those that are not counted yet stand there: they do not go before `from` does. */
struct asking {
    const struct shmbus_ring *ring;
    uint64_t *numbers, *counts;
    uint32_t producers, left, counting;
    uint64_t asked[(SHMBUS_MAX_PRODUCERS + 64) / 64];
    uint64_t among[(SHMBUS_MAX_PRODUCERS + 64) / 64];     /* whose messages have to be counted, */
    uint64_t counted[(SHMBUS_MAX_PRODUCERS + 64) / 64];   /* and which of them have come to one that is */
    uint64_t published[SHMBUS_MAX_PRODUCERS + 1];         /* of those */
};

static bool is_in(const uint64_t *set, uint32_t producer) { return set[producer / 64] >> producer % 64 & 1; }
static void put_in(uint64_t *set, uint32_t producer) { set[producer / 64] |= 1ull << producer % 64; }

static bool is_asked(const struct asking *asking, uint32_t producer) {
    return producer <= asking->producers && is_in(asking->asked, producer);
}

static uint64_t counted_up_to(uint64_t number, uint64_t skipped) { return number > skipped ? number - skipped : 0; }

static void answer(struct asking *asking, uint32_t producer, uint64_t number, uint64_t count) {
    asking->asked[producer / 64] &= ~(1ull << producer % 64);
    asking->left--;
    asking->numbers[producer] = number;
    asking->counts[producer] = count;
}

/* Its first message from there on has that number. False: it leaps faster than we look. */
static bool answer_by_message(struct asking *asking, uint32_t producer, uint64_t number) {
    const struct shmbus_ring *ring = asking->ring;
    struct shmbus_progress now;
    if (!shmbus_may_skip_numbers(ring, producer)) {
        answer(asking, producer, number - 1, number - 1);
    } else if (!counts_leaps(ring)) {
        answer(asking, producer, number - 1, SHMBUS_UNCOUNTED);
    } else if (!shmbus_leaps_read(shmbus_numbers_entry(ring, producer), &now)) {
        return false;
    } else if (number > now.published) {
        answer(asking, producer, number - 1, counted_up_to(now.published, now.skipped));
    } else if (number >= now.since) {
        answer(asking, producer, number - 1, counted_up_to(number - 1, now.skipped));
    } else {
        answer(asking, producer, number - 1, counted_up_to(now.published, now.skipped));
        asking->published[producer] = now.published;
        put_in(asking->among, producer);
        asking->counting++;
    }
    return true;
}

/* False: the sequence has been overwritten, or nobody has claimed it. */
static bool ask_slot(struct asking *asking, uint64_t sequence) {
    const struct shmbus_ring *ring = asking->ring;
    _Atomic uint64_t *at = &slot_of(ring, sequence)->word;
    uint64_t word = atomic_load_explicit(at, memory_order_acquire);
    for (;;) {
        if (word_lap(word) != lap_of(ring, sequence))
            return false;
        uint32_t producer = word_producer(word);
        if (!is_asked(asking, producer) || word_state(word) == ABORTED)
            return true;
        if (word_state(word) == COMMITTED) {
            struct shmbus_frame frame = header_at(ring, sequence);
            FENCE(memory_order_acquire);
            if (frame.sequence == sequence && frame.producer == producer && frame.producer_sequence &&
                !answer_by_message(asking, producer, frame.producer_sequence))
                return false;
            return shmbus_head(ring) <= sequence; /* else it is corrupt, or overwritten */
        }
        struct shmbus_progress before;
        bool known = shmbus_leaps_read(shmbus_numbers_entry(ring, producer), &before);
        uint64_t again = atomic_load_explicit(at, memory_order_acquire);
        if (again == word) {
            uint64_t count = counted_up_to(before.published, before.skipped);
            bool counted = counts_leaps(ring) || !shmbus_may_skip_numbers(ring, producer);
            if (known)
                answer(asking, producer, before.published, counted ? count : SHMBUS_UNCOUNTED);
            return known;
        }
        word = again;
    }
}

/* Those messages from `from` on that are counted were not published before. */
static void count_messages(struct asking *asking, uint64_t from) {
    const struct shmbus_ring *ring = asking->ring;
    for (uint64_t at = shmbus_tail(ring), end = at; at > from && end - at <= ring->slot_mask;) {
        uint64_t word = atomic_load_explicit(&slot_of(ring, --at)->word, memory_order_acquire);
        uint32_t producer = word_producer(word);
        if (word_lap(word) != lap_of(ring, at) || word_state(word) != COMMITTED || producer > asking->producers ||
            !is_in(asking->among, producer))
            continue;
        if (!is_in(asking->counted, producer)) {
            if (header_at(ring, at).producer_sequence > asking->published[producer])
                continue;
            put_in(asking->counted, producer);
        }
        asking->counts[producer] -= asking->counts[producer] > 0;
    }
}

/* Has it published anything since? False: it leaps faster than we look. */
static bool ask(struct asking *asking, uint32_t producer) {
    const struct shmbus_numbers *its = shmbus_numbers_entry(asking->ring, producer);
    struct shmbus_progress now;
    if (!shmbus_leaps_read(its, &now))
        return false;
    bool skips = shmbus_may_skip_numbers(asking->ring, producer);
    uint64_t claiming = atomic_load_explicit(&its->claiming, memory_order_acquire);
    uint64_t *number = &asking->numbers[producer], known = *number;
    if (now.published > known)
        *number = now.published; /* unless a message of it is found */
    asking->counts[producer] = !skips ? *number
                               : counts_leaps(asking->ring) ? counted_up_to(now.published, now.skipped) : SHMBUS_UNCOUNTED;
    if ((now.published > claiming ? now.published : claiming) <= known)
        return true; /* nothing */
    put_in(asking->asked, producer);
    asking->left++;
    return true;
}

bool shmbus_numbers_unfinished(const struct shmbus_ring *ring, uint32_t producer) {
    uint64_t published = 0, claiming = 0;
    shmbus_numbers_get(ring, producer, &published, &claiming);
    return claiming > published;
}

static bool some_unfinished(const struct shmbus_ring *ring) {
    for (uint32_t producer = 1; producer <= ring->producers; producer++)
        if (shmbus_numbers_unfinished(ring, producer))
            return true;
    return false;
}

void shmbus_await_claims(const struct shmbus_ring *ring, uint64_t before, uint64_t most_ns) {
    if (!some_unfinished(ring))
        return;
    uint64_t until = shmbus_now_ns() + most_ns;
    for (uint64_t at = oldest(ring, before); at < before; at++) {
        uint64_t word;
        do
            word = atomic_load_explicit(&slot_of(ring, at)->word, memory_order_acquire);
        while (word_lap(word) == lap_of(ring, at) && word_state(word) == CLAIMED && shmbus_now_ns() < until);
    }
}

enum shmbus_result shmbus_numbers_before(const struct shmbus_ring *ring, uint64_t from, uint64_t *numbers, uint64_t *counts,
                                         uint32_t producers) {
    struct asking asking;
    memset(&asking, 0, offsetof(struct asking, published));
    asking.ring = ring;
    asking.numbers = numbers;
    asking.counts = counts;
    asking.producers = producers < ring->producers ? producers : ring->producers;
    for (uint32_t producer = 1; producer <= asking.producers; producer++)
        if (numbers[producer] != SHMBUS_UNASKED && !ask(&asking, producer))
            return SHMBUS_OVERRUN;
    uint64_t tail = shmbus_tail(ring);
    if (shmbus_head(ring) > from)
        return SHMBUS_OVERRUN;
    for (uint64_t at = from; asking.left && at < tail && at - from <= ring->slot_mask; at++)
        if (!ask_slot(&asking, at))
            return SHMBUS_OVERRUN;
    if (!asking.counting)
        return SHMBUS_OK;
    count_messages(&asking, from);
    FENCE(memory_order_acquire);
    return shmbus_head(ring) > from ? SHMBUS_OVERRUN : SHMBUS_OK;
}

uint64_t shmbus_count_before(const struct shmbus_ring *ring, uint64_t sequence, uint32_t producer) {
    uint64_t numbers[SHMBUS_MAX_PRODUCERS + 1], counts[SHMBUS_MAX_PRODUCERS + 1];
    if (producer == 0 || producer > ring->producers)
        return SHMBUS_UNCOUNTED;
    memset(numbers, 0xff, producer * sizeof *numbers); /* SHMBUS_UNASKED */
    numbers[producer] = 0;
    counts[producer] = SHMBUS_UNCOUNTED;
    bool found = shmbus_numbers_before(ring, sequence, numbers, counts, producer) == SHMBUS_OK;
    return found ? counts[producer] : SHMBUS_UNCOUNTED;
}

uint64_t shmbus_numbers_count(const struct shmbus_ring *ring, uint32_t producer) {
    struct shmbus_numbers *numbers = shmbus_numbers_entry(ring, producer);
    struct shmbus_progress now;
    if (!numbers || !shmbus_leaps_read(numbers, &now) || (shmbus_may_skip_numbers(ring, producer) && !counts_leaps(ring)))
        return SHMBUS_UNCOUNTED;
    return counted_up_to(now.published, now.skipped);
}

bool shmbus_numbers_get(const struct shmbus_ring *ring, uint32_t producer, uint64_t *published, uint64_t *claiming) {
    struct shmbus_numbers *numbers = shmbus_numbers_entry(ring, producer);
    if (!numbers)
        return false;
    *published = atomic_load_explicit(&numbers->published, memory_order_acquire);
    *claiming = atomic_load_explicit(&numbers->claiming, memory_order_acquire);
    return shmbus_may_skip_numbers(ring, producer);
}

bool shmbus_may_skip_numbers(const struct shmbus_ring *ring, uint32_t producer) {
    struct shmbus_numbers *numbers = shmbus_numbers_entry(ring, producer);
    return numbers && is_durable(numbers);
}
