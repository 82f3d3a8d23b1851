/* Leaps: numbers that a producer leaves out, counted by itself, so that whoever missed some of its numbers knows how many of
 * them were messages.
 *
 * A durable producer gives its messages what numbers it likes, as long as they grow. In its line of the ring, beside the number
 * of its last message, `published`, it keeps how many it has left out up to there: in two words, of which the one holds that
 * begins with the largest `first` up to `published`; where there is none, `skipped` does, which is what the rings before this
 * one knew. So a message costs nothing for it that comes right after the one before, and one that leaps writes two words:
 *
 *   L1  leaps[i].skipped = so many with this leap        i: the one that does not hold
 *   L2  leaps[i].first = the number it leaps to
 *   L3  claim, write, commit: see ring.c
 *   L4  published = that number                          by the producer; or, if it is killed before, by who settles or retires
 *
 * All are stored with release. Who is killed between two of them leaves what is true: up to L4 the number is above `published`,
 * so leaps[i] does not hold, whatever it says; and L4 is done if, and only if, L3 was. (Between L1 and L2 the old `first` is
 * below that of the one that holds.) A leap that came to nothing stands above `published`; the next message, or the producer's
 * next life, writes over it before it claims, also if it does not leap: so it never comes to hold by being reached.
 *
 * Whoever reads takes `published`, the one that holds, then the other one again (acquire). That the words it has taken were being
 * written over means that the other one held by then: L1 follows an L4 that made it so. Then its `first` is seen to be above what
 * was taken as `published`, and `published` is seen to have moved on.
 */
#include "killpoint.h"
#include "layout.h"

enum { LOOKS = 64 };

static uint64_t get(const _Atomic uint64_t *word) { return atomic_load_explicit(word, memory_order_acquire); }

/* Which of the two holds for a number; -1: none. */
static int holding(const uint64_t first[2], uint64_t number) {
    bool may[2] = {first[0] && first[0] <= number, first[1] && first[1] <= number};
    if (may[0] && may[1])
        return first[1] > first[0];
    return may[1] ? 1 : may[0] ? 0 : -1;
}

bool shmbus_leaps_read(const struct shmbus_numbers *numbers, struct shmbus_progress *progress) {
    for (unsigned looks = 0; looks < LOOKS; looks++) {
        uint64_t published = get(&numbers->published);
        uint64_t first[2] = {get(&numbers->leaps[0].first), get(&numbers->leaps[1].first)};
        int one = holding(first, published);
        *progress = (struct shmbus_progress){.published = published, .since = one < 0 ? 0 : first[one]};
        progress->skipped = one < 0 ? stands_for(numbers, true) : get(&numbers->leaps[one].skipped);
        bool same = get(&numbers->leaps[0].first) == first[0] && get(&numbers->leaps[1].first) == first[1];
        bool ahead = first[0] > published || first[1] > published;
        if (same && (!ahead || get(&numbers->published) == published))
            return true;
    }
    return false;
}

void shmbus_leap(struct shmbus_writer *writer, uint64_t number) {
    struct shmbus_numbers *numbers = writer->numbers;
    struct shmbus_progress at;
    writer->next = 0; /* until it is a message: looked at again */
    if (!shmbus_leaps_read(numbers, &at) || number <= at.published)
        return; /* scribbled over; or published again */
    uint64_t first[2] = {get(&numbers->leaps[0].first), get(&numbers->leaps[1].first)};
    int other = first[0] > at.published ? 0 : first[1] > at.published ? 1 : holding(first, at.published) == 0;
    if (number == at.published + 1 && first[other] <= at.published)
        return;
    atomic_store_explicit(&numbers->leaps[other].skipped, at.skipped + number - at.published - 1, memory_order_release);
    KILLPOINT("leap.counted");
    atomic_store_explicit(&numbers->leaps[other].first, number, memory_order_release);
    KILLPOINT("leap.noted");
}

/* It only grows, as `published` does: so whoever has looked at the ring before earlier, and stores late, takes nothing back. */
static void raise_skipped(struct shmbus_numbers *numbers, uint64_t skipped) {
    uint64_t present = get(&numbers->skipped);
    while (present < skipped && !atomic_compare_exchange_weak_explicit(&numbers->skipped, &present, skipped, memory_order_release,
                                                                       memory_order_relaxed)) {
    }
}

void shmbus_numbers_follow(const struct shmbus_ring *ring, const struct shmbus_ring *before, uint32_t producer) {
    struct shmbus_numbers *to = shmbus_numbers_entry(ring, producer);
    const struct shmbus_numbers *from = shmbus_numbers_entry(before, producer);
    struct shmbus_progress at;
    if (!to || !from || !shmbus_leaps_read(from, &at))
        return;
    /* Two may do this, its producer and the coordinator. First what holds when the number is there. */
    if (is_durable(to))
        raise_skipped(to, at.skipped);
    shmbus_numbers_raise(ring, producer, at.published);
}
