/* What group.c and group_ledger.c share: the words of a group's window. */
#ifndef SHMBUS_GROUP_H
#define SHMBUS_GROUP_H

#include "layout.h"

enum given { SETTLED = 0, TAKEN = 1, RETURNED = 2, LOST = 3 }; /* LOST: settled, and one of the endings from overrun on */

#define LAP_SHIFT 16
#define LAP_MASK (UINT64_MAX >> LAP_SHIFT)
#define ENDING_SHIFT SHMBUS_PRODUCER_BITS

static inline uint64_t make_word(uint64_t lap, enum given state, uint32_t tries, uint32_t member) {
    return lap << LAP_SHIFT | (uint64_t)state << 14 | (uint64_t)tries << 6 | (uint64_t)member;
}
static inline uint64_t lap_in(uint64_t word) { return word >> LAP_SHIFT; }
static inline enum given state_in(uint64_t word) {
    uint64_t state = word >> 14 & 3;
    return state == LOST ? SETTLED : (enum given)state;
}
static inline uint32_t tries_in(uint64_t word) { return (uint32_t)(word >> 6 & 0xff); }
static inline uint32_t member_in(uint64_t word) { return (uint32_t)(word & 0x3f); }
static inline enum shmbus_ending ending_in(uint64_t word) {
    return (enum shmbus_ending)((word >> 14 & 3) == LOST ? 4 | (word >> ENDING_SHIFT & 3) : word >> ENDING_SHIFT & 3);
}
static inline uint32_t producer_in(uint64_t word) { return (uint32_t)word & SHMBUS_MAX_PRODUCER_ID; }
/* The ring dropped it, and nobody has been told: who finds out that it is missing from what was given to them tells that. */
static inline bool is_untold(uint64_t settled) {
    return ending_in(settled) == SHMBUS_ENDED_OVERRUN && producer_in(settled) == 0;
}

static inline uint64_t lap_of(const struct shmbus_group *group, uint64_t sequence) {
    return sequence >> group->shift & LAP_MASK;
}
static inline _Atomic uint64_t *word_of(const struct shmbus_group *group, uint64_t sequence) {
    return &group->words[sequence & group->mask];
}
/* What a run says: from where on, and whose. */
static inline uint64_t run_word(uint64_t from, uint32_t producer) { return from << SHMBUS_PRODUCER_BITS | producer; }
static inline uint64_t run_length(uint64_t run, uint64_t floor) {
    return (floor - (run >> SHMBUS_PRODUCER_BITS)) & (UINT64_MAX >> SHMBUS_PRODUCER_BITS);
}

/* A group without a ledger writes what its layout always had, which says nothing of endings. */
static inline uint64_t settled_word(const struct shmbus_group *group, uint64_t sequence, enum shmbus_ending ending,
                                    uint32_t producer) {
    if (!group->rows)
        return make_word(lap_of(group, sequence), SETTLED, 0, 0);
    return lap_of(group, sequence) << LAP_SHIFT | (uint64_t)(ending & 4 ? LOST : SETTLED) << 14 |
           (uint64_t)(ending & 3) << ENDING_SHIFT | producer;
}

#define WAS_HELD (1u << SHMBUS_PRODUCER_BITS)
#define LET_GO (WAS_HELD << 1)
#define WHOSE_LAP_SHIFT (SHMBUS_PRODUCER_BITS + 2)

/* What is noted of a message: whose it is; then, that it was booked as delivered because somebody held it; then, that it was let
 * go since: that is noted by the commit that books it. */
static inline uint32_t whose_word(const struct shmbus_group *group, uint64_t sequence, uint32_t producer) {
    return (uint32_t)lap_of(group, sequence) << WHOSE_LAP_SHIFT | producer;
}

static inline _Atomic uint32_t *note_of(const struct shmbus_group *group, uint64_t sequence) {
    return &group->whose[sequence & group->mask];
}

/* Its producer, and the two bits; 0: nothing. */
static inline uint32_t noted(const struct shmbus_group *group, uint64_t sequence) {
    uint32_t found = atomic_load_explicit(note_of(group, sequence), memory_order_seq_cst);
    uint32_t lap = whose_word(group, sequence, 0);
    return found >> WHOSE_LAP_SHIFT == lap >> WHOSE_LAP_SHIFT ? found ^ lap : 0;
}

/* Whose it is; 0: nobody knows. Noted as nobody's, it is of one that has gone, and the ring may still name the id. */
static inline uint32_t whose(const struct shmbus_group *group, uint64_t sequence) {
    uint32_t note = noted(group, sequence);
    return note || !group->ring ? note & SHMBUS_MAX_PRODUCER_ID : owner_of(group->ring, sequence);
}

/* It has been taken, and `made` is its word. A compare-and-swap, made while the word is still that: who is stopped before it for
 * so long that the sequence is another's by then, or its word that of a later lap, would else wipe out what was noted since. The
 * word is looked at after the note, and a claim never stands there twice, so all that is noted later changes the note. What a
 * first holder has noted meanwhile stays. */
static inline void note_owner(const struct shmbus_group *group, uint64_t sequence, uint64_t made, uint32_t producer) {
    _Atomic uint32_t *note = note_of(group, sequence);
    uint32_t mine = whose_word(group, sequence, producer), found = atomic_load_explicit(note, memory_order_acquire);
    do {
        if (atomic_load_explicit(word_of(group, sequence), memory_order_relaxed) != made)
            return;
        if (tries_in(made) > 1 && found >> WHOSE_LAP_SHIFT == mine >> WHOSE_LAP_SHIFT)
            return;
    } while (!atomic_compare_exchange_weak_explicit(note, &found, mine, memory_order_acq_rel, memory_order_acquire));
}

static inline void note_whose(const struct shmbus_group *group, uint64_t sequence, uint64_t made) {
    uint32_t producer = group->rows && group->ring ? owner_of(group->ring, sequence) : 0;
    if (producer) /* else the ring was faster, and who comes later knows no less */
        note_owner(group, sequence, made, producer);
}

/* It has been taken once more: noted already, unless its first holder was killed before that. */
void shmbus_group_note_whose_again(const struct shmbus_group *group, uint64_t sequence, uint64_t made);
/* Carry out what somebody had begun, and book what stands from the floor on and is settled. How far the floor moved by us.
 * `read`: a message of the lane that the caller has read, or NULL. */
uint64_t shmbus_group_book(const struct shmbus_group *group, const struct shmbus_frame *read);
/* Book what stands from the floor on, which is `from`, up to `head`, settled or held. Where the floor stands then; 0: it was
 * another's, or something was given back and has to be dropped first. */
uint64_t shmbus_group_book_past(const struct shmbus_group *group, uint64_t from, uint64_t head);
/* Begin at `sequence`; only while nobody uses the lane. */
void shmbus_group_place_ledger(const struct shmbus_group *group, uint64_t sequence);
/* Go on at `first` if the floor stands at `sealed`. False: it does not. */
bool shmbus_group_book_bridge(const struct shmbus_group *group, uint64_t sealed, uint64_t first);
/* It has been let go, and `settled`, its word, says how it ended. If it was booked as delivered, because somebody held it when
 * the floor passed it, it is booked over: once, however often and by whomever this is called. */
void shmbus_group_let_go(const struct shmbus_group *group, uint64_t sequence, uint64_t settled);
/* The producer's id will be another's. */
void shmbus_group_close_row(const struct shmbus_group *group, uint32_t producer);

#endif
