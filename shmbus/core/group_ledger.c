/* The ledger of a group: what its members got, together, and what they missed and why, of each producer.
 *
 * A message is booked when the floor passes it, in the row of its producer: the word of a settled message says whose it was and
 * how it ended, so it does not matter who settled it, whether they live, or who moves the floor. What is delivered is the case
 * that matters, so it is not counted: a row has the number of the producer's last message before the floor, and what was
 * delivered is what is left of last - base when the losses are taken away. What was published since is in flight.
 *
 * Floor and rows change together or not at all, whoever is killed or stopped. Each who writes here has a log:
 *
 *   L1  the ticket is not under way: what stands in the rows is whole. Work out what they will say, into one's own log
 *   L2  ticket -> {n + 1, under way, that log}, by compare-and-swap from the ticket of L1: it is decided
 *   L3  carry out the log
 *   L4  ticket -> {n + 1, done}
 *
 * Whoever finds a ticket under way does L3 and L4 in the place of whoever began it. All that a log writes only grows, and is
 * written by compare-and-swap to what it says, or left if it is there already or further: so it may be carried out by any
 * number of helpers, at any time, also by one that was stopped for long. A log is written again only by the one whose it is,
 * after it was done (the coordinator does that for the dead before their place is given away), so a helper that has copied it
 * and finds the ticket unchanged has copied the log of that ticket.
 *
 * Words from the floor on that are settled do not change before the floor has passed them, and that is what the ticket is for:
 * what L1 read of them still holds at L2. (Who bridges to a successor does so from the seal, where no words are settled.)
 *
 * Runs. Nearly always what the floor passes was delivered, and its numbers go on where the row of its producer ends. So that this
 * costs little, a lane says since which floor all was like that and of one producer, its `run`: what that producer had is then
 * its row and as much more as the floor has moved since. As long as it stays so nothing is written but
 *
 *   S1  as L1: the ticket is not under way, and the floor stands where it says. Words and number go on as the run says
 *   S2  ticket -> {n, where the floor goes, no log}, by compare-and-swap from the ticket of S1: it is decided
 *   S3  the floor goes there
 *
 * S3 is done by whoever comes next, if it is not yet. A ticket has the lowest 16 bits of where the floor goes, and no floor goes
 * as far as 2^16 at a time; so where a floor goes that was loaded while that ticket stood is known, and it is moved from there by
 * compare-and-swap. That n is larger each time, whether a log is carried out or not, keeps a ticket from coming back.
 *
 * Any log that moves the floor, or writes the number of a producer's last message, ends the run: it writes what the run had
 * into the row, and that the run begins where the floor goes (or stands), with a producer or with nobody's. A run begins with
 * the second message in turn that a producer has; of producers by turns a run each time would cost more than it saves. All
 * interleavings of this are explored in tests/model/ledger.pml.
 *
 * What the ring has dropped. How many sequences went by unread, `unread`, is booked with the floor; whose loss they are is told
 * by the numbers of the messages that are still there, as for a session, see python/ledger.c: a producer's numbers that are
 * missing before the floor are its losses, as far as they were messages and there are sequences to explain, and else numbers
 * that it did not use. How many were messages its ring tells, see leaps.c: so many were published before there, less those
 * before the group began, which `before` says, less those that are in the row.
 * What somebody holds when the floor passes it counts as delivered, of the producer that was noted when it was claimed, and that
 * is noted with it, by the same commit. If it is let go then, given back or ended otherwise, it is booked over, and that is noted
 * by the same commit as well, so it is done once. Who is killed, or late, between the change of its word and that commit leaves
 * what it takes: the word, which says that and how it ended, and the note, which says that this was not booked. They stay
 * until that is done: who needs the word for a later lap does it first, see put_away(), and the reaper of the dead looks at
 * all words. Until then it is booked as delivered: it was handed out.
 *
 * An id that is given to another producer: every number in a row has 16 bits of which owner of the id it is of. A later owner's
 * are larger, whatever they count, and an earlier owner's count as zero. That is modulo 2^16, and some numbers change rarely, so
 * whoever gives the id away renews what an owner of long ago has left there. What is still held of the one that has gone is
 * noted as nobody's then: if it is let go, that is told without a name, and the row is the next owner's alone.
 */
#include <string.h>

#include "group.h"
#include "killpoint.h"

enum field { LAST, BASE, OVERRUN, EXPIRED, CORRUPT, FILTERED, DEAD, REPEATED, OWED, TOLD };
_Static_assert(TOLD + 1 == GROUP_ROW_WORDS, "a row's words are these");
/* OWED: of those overrun, so many have to be told, and TOLD: so many were. */

/* What a log's entries are about. OVER: what was held has been let go, and is booked over. */
enum { FLOOR, UNREAD, EXPLAINED, HELD, FIRST_ROW, OVER = FIRST_ROW + (SHMBUS_MAX_PRODUCERS + 1) * (int)GROUP_ROW_WORDS, RUN };
/* FLOOR, UNREAD, EXPLAINED, and of a run that ends its producer's number and RUN. */
enum { NOT_OF_A_SUM = 5 };
/* How many producers, and messages that somebody holds, one commit can take. */
enum { SUMS = 6, MOST_HELD = GROUP_LOG_ENTRIES - NOT_OF_A_SUM - SUMS * (int)GROUP_ROW_WORDS, LOOKS = 1000, TRIES = 64 };

#define NUMBER_BITS 48
#define NUMBER_MASK ((1ull << NUMBER_BITS) - 1)
#define WRITER_BITS 7
#define UNDER_WAY (1ull << WRITER_BITS)
#define TICKET_STEP (UNDER_WAY << 1)
#define NO_LOG (UNDER_WAY - 1)
#define MOST_AT_ONCE 0xffffu /* that the floor goes without a log */

/* ---- whose a message is ---------------------------------------------------------------------------------------------- */

static bool change_note(const struct shmbus_group *group, uint64_t sequence, uint32_t from, uint32_t to) {
    uint32_t lap = whose_word(group, sequence, 0), before = lap | from;
    return atomic_compare_exchange_strong_explicit(note_of(group, sequence), &before, lap | to, memory_order_seq_cst,
                                                   memory_order_relaxed);
}

/* What the floor has passed was marked before that, if it was booked as held. Else it was booked as unread, as its claimer had not
 * noted whose it is: it is lost, and told, already. */
uint32_t shmbus_group_whose(const struct shmbus_group *group, uint64_t sequence) {
    bool passed = group->rows && shmbus_group_floor(group) > sequence;
    return !group->rows || (passed && !(noted(group, sequence) & WAS_HELD)) ? 0 : whose(group, sequence);
}

void shmbus_group_note_whose_again(const struct shmbus_group *group, uint64_t sequence, uint64_t made) {
    if (group->rows && !noted(group, sequence))
        note_whose(group, sequence, made);
}

static void mark_held(const struct shmbus_group *group, uint64_t sequence) {
    uint32_t note = noted(group, sequence);
    if (note && !(note & WAS_HELD)) /* else it has been marked, or the word has gone to another lap */
        change_note(group, sequence, note, note | WAS_HELD);
}

static bool is_held(uint32_t note) { return note & WAS_HELD && !(note & LET_GO); }

static void mark_let_go(const struct shmbus_group *group, uint64_t sequence) {
    for (uint32_t note; is_held(note = noted(group, sequence));) /* else it has been marked */
        if (change_note(group, sequence, note, note | LET_GO))
            return;
}

/* What is held of a producer that has gone is nobody's from now on: if it is let go, that is no loss of who has the id then. */
static void disown_held(const struct shmbus_group *group, uint32_t producer) {
    for (uint32_t i = 0; i <= group->mask; i++) {
        uint32_t note = atomic_load_explicit(&group->whose[i], memory_order_relaxed);
        while (is_held(note) && (note & SHMBUS_MAX_PRODUCER_ID) == producer &&
               !atomic_compare_exchange_weak_explicit(&group->whose[i], &note, note & ~(uint32_t)SHMBUS_MAX_PRODUCER_ID,
                                                      memory_order_seq_cst, memory_order_relaxed)) {
        }
    }
}

/* ---- rows ------------------------------------------------------------------------------------------------------------ */

static uint32_t version_in(uint64_t word) { return (uint32_t)(word >> NUMBER_BITS); }
static uint64_t number_in(uint64_t word) { return word & NUMBER_MASK; }
static uint64_t versioned(uint32_t version, uint64_t number) {
    return (uint64_t)(version & 0xffff) << NUMBER_BITS | (number < NUMBER_MASK ? number : NUMBER_MASK);
}
/* Modulo 2^16, as often as an id may be given out unseen. */
static bool is_later(uint32_t version, uint32_t than) { return (int16_t)(uint16_t)(version - than) > 0; }

static uint32_t place_of(uint32_t producer, enum field field) { return producer * GROUP_ROW_WORDS + field; }

static uint64_t load(const struct shmbus_group *group, uint32_t producer, enum field field) {
    return atomic_load_explicit(&group->account[place_of(producer, field)], memory_order_acquire);
}

static uint64_t get(const struct shmbus_group *group, uint32_t producer, enum field field, uint32_t version) {
    uint64_t word = load(group, producer, field);
    return version_in(word) == version ? number_in(word) : 0;
}

static uint64_t load_run(const struct shmbus_group *group) {
    return group->runs ? atomic_load_explicit(&group->lane->run, memory_order_acquire) : 0;
}

/* The number of its last message before the floor, with the owner: what its row says, and what the run has had since. */
static uint64_t last_of(const struct shmbus_group *group, uint32_t producer) {
    uint64_t run = load_run(group), row = load(group, producer, LAST);
    return producer_in(run) == producer ? row + run_length(run, shmbus_group_floor(group)) : row;
}

static uint64_t last_number(const struct shmbus_group *group, uint32_t producer, uint32_t version) {
    uint64_t last = last_of(group, producer);
    return version_in(last) == version ? number_in(last) : 0;
}

static bool has_row(const struct shmbus_group *group, uint32_t producer) { return producer && producer < group->rows; }

/* Whose of the id the row is. */
static uint32_t version_of_row(const struct shmbus_group *group, uint32_t producer) {
    return version_in(load(group, producer, LAST));
}

/* Which owner of the id the group reads now: as its ring says, if that is not the ring before the one we look at. Costs a line
 * that the publisher writes all the time. */
static uint32_t version_of(const struct shmbus_group *group, uint32_t producer) {
    uint64_t last = load(group, producer, LAST);
    if (!group->ring)
        return version_in(last);
    uint32_t version = shmbus_producer_tag(group->ring, producer) >> SHMBUS_PRODUCER_BITS & 0xffff;
    return last == 0 || is_later(version, version_in(last)) ? version : version_in(last);
}

/* How many losses of that owner of the id have to be told yet, and the word that says how many were: looked at first, so where
 * that is a later owner's, the other is no earlier one's. */
static uint64_t owed_to(const struct shmbus_group *group, uint32_t producer, uint32_t version, uint64_t *told) {
    *told = load(group, producer, TOLD);
    uint64_t owed = get(group, producer, OWED, version), before = version_in(*told) == version ? number_in(*told) : 0;
    return owed > before ? owed - before : 0;
}

/* So many are told by us now. */
static uint64_t take_owed(const struct shmbus_group *group, uint32_t producer, uint32_t version) {
    uint64_t told, owed, before;
    while ((owed = owed_to(group, producer, version, &told))) {
        before = version_in(told) == version ? number_in(told) : 0;
        if (atomic_compare_exchange_strong_explicit(&group->account[place_of(producer, TOLD)], &told,
                                                    versioned(version, before + owed), memory_order_seq_cst,
                                                    memory_order_relaxed))
            break;
    }
    return owed;
}

/* What the one who had the id before is owed is told without its name: nobody knows that any more. */
static void disown(const struct shmbus_group *group, uint32_t producer, uint32_t version) {
    uint64_t owed = take_owed(group, producer, version);
    if (owed)
        atomic_fetch_add_explicit(&group->lane->untold, owed, memory_order_seq_cst);
}

/* ---- logs ------------------------------------------------------------------------------------------------------------ */

struct draft {
    const struct shmbus_group *group;
    struct shmbus_group_log *log;
    uint64_t ticket, forward; /* how far the floor goes by it */
    uint32_t count;
};

static void put(struct draft *draft, uint64_t where, uint64_t value) {
    atomic_store_explicit(&draft->log->entries[draft->count].where, where, memory_order_relaxed);
    atomic_store_explicit(&draft->log->entries[draft->count++].value, value, memory_order_relaxed);
}

/* Last: who sees the floor sees the rows. */
static void put_floor(struct draft *draft, uint64_t from, uint64_t to) {
    draft->forward = to - from;
    put(draft, FLOOR, to);
}

static void put_row(struct draft *draft, uint32_t producer, enum field field, uint32_t version, uint64_t number) {
    put(draft, FIRST_ROW + place_of(producer, field), versioned(version, number));
}

static bool is_further(uint64_t where, uint64_t value, uint64_t than) {
    if (where == RUN)
        return (int64_t)(value - than) > 0;
    if (where < FIRST_ROW || than == 0 || version_in(value) == version_in(than))
        return value > than;
    return is_later(version_in(value), version_in(than));
}

static bool raise(_Atomic uint64_t *word, uint64_t where, uint64_t value) {
    uint64_t present = atomic_load_explicit(word, memory_order_seq_cst);
    while (is_further(where, value, present))
        if (atomic_compare_exchange_weak_explicit(word, &present, value, memory_order_seq_cst, memory_order_seq_cst))
            return true;
    return false;
}

static uint64_t load_ticket(const struct shmbus_group *group) {
    /* seq_cst, as all that decides; acquire: who finds it under way sees the log, who finds it done what that changed */
    return atomic_load_explicit(&group->lane->ticket, memory_order_seq_cst);
}

static bool change_ticket(const struct shmbus_group *group, uint64_t from, uint64_t to) {
    return atomic_compare_exchange_strong_explicit(&group->lane->ticket, &from, to, memory_order_seq_cst, memory_order_relaxed);
}

/* What is left to be done when a log has been carried out. */
struct rest {
    uint64_t moved; /* how far the floor did */
    uint32_t count;
    struct {
        uint64_t sequence, word;
    } let_go[MOST_HELD];
};

/* What was let go after it was seen to be held, and before it is marked so, is to be booked over. The other way round, whoever
 * lets it go finds the mark: change the word, then look for the mark, against: mark it, then look at the word; seq_cst. The word
 * is not another lap's yet: the floor has not passed it. */
static void carry_out_held(const struct shmbus_group *group, uint64_t sequence, struct rest *rest) {
    mark_held(group, sequence);
    uint64_t word = atomic_load_explicit(word_of(group, sequence), memory_order_seq_cst);
    if (lap_in(word) != lap_of(group, sequence) || state_in(word) != SETTLED || ending_in(word) == SHMBUS_ENDED_DELIVERED)
        return;
    if (rest->count == MOST_HELD)
        return; /* not what any of us writes */
    rest->let_go[rest->count].sequence = sequence;
    rest->let_go[rest->count++].word = word;
}

static void carry_out_floor(const struct shmbus_group *group, uint64_t floor, struct rest *rest) {
    uint64_t before = shmbus_group_floor(group);
    /* seq_cst, as the release that lets publishers have the space: see shmbus_cursor_place() */
    rest->moved += raise(&group->cursor->position, FLOOR, floor) ? floor - before : 0;
    KILLPOINT("group.advanced");
}

static void carry_out_one(const struct shmbus_group *group, uint64_t where, uint64_t value, struct rest *rest) {
    uint64_t place = where - FIRST_ROW;
    switch (where) {
    case FLOOR: carry_out_floor(group, value, rest); return;
    case UNREAD: raise(&group->lane->unread, where, value); return;
    case EXPLAINED: raise(&group->lane->explained, where, value); return;
    case HELD: carry_out_held(group, value, rest); return;
    case OVER: mark_let_go(group, value); return;
    case RUN: raise(&group->lane->run, where, value); return;
    default: break;
    }
    if (place >= (uint64_t)group->rows * GROUP_ROW_WORDS)
        return; /* not what any of us writes */
    raise(&group->account[place], where, value);
    /* After it: who looks then, sees it. And by whoever carries this out: who raised it may be stopped before saying so. */
    if (place % GROUP_ROW_WORDS == OWED)
        atomic_fetch_add_explicit(&group->lane->owed, 1, memory_order_seq_cst);
}

static void carry_out(const struct shmbus_group *group, const struct shmbus_group_log *log, uint64_t ticket, uint64_t *moved) {
    struct rest rest;
    rest.moved = rest.count = 0;
    for (uint64_t i = 0, count = atomic_load_explicit(&log->count, memory_order_relaxed); i < count; i++)
        carry_out_one(group, atomic_load_explicit(&log->entries[i].where, memory_order_relaxed),
                      atomic_load_explicit(&log->entries[i].value, memory_order_relaxed), &rest);
    change_ticket(group, ticket, ticket & ~UNDER_WAY);
    *moved += rest.moved;
    for (uint32_t i = 0; i < rest.count; i++)
        shmbus_group_let_go(group, rest.let_go[i].sequence, rest.let_go[i].word);
}

static void copy_log(struct shmbus_group_log *copy, const struct shmbus_group_log *log) {
    uint64_t count = atomic_load_explicit(&log->count, memory_order_relaxed);
    count = count < GROUP_LOG_ENTRIES ? count : GROUP_LOG_ENTRIES;
    atomic_store_explicit(&copy->count, count, memory_order_relaxed);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t where = atomic_load_explicit(&log->entries[i].where, memory_order_relaxed);
        uint64_t value = atomic_load_explicit(&log->entries[i].value, memory_order_relaxed);
        atomic_store_explicit(&copy->entries[i].where, where, memory_order_relaxed);
        atomic_store_explicit(&copy->entries[i].value, value, memory_order_relaxed);
    }
}

/* The log of a ticket that is under way. False: the ticket has changed meanwhile. */
static bool log_of(const struct shmbus_group *group, uint64_t ticket, struct shmbus_group_log *copy) {
    uint64_t writer = ticket & (UNDER_WAY - 1);
    atomic_store_explicit(&copy->count, 0, memory_order_relaxed);
    if (writer <= SHMBUS_MEMBERS) /* else none of us has written that ticket */
        copy_log(copy, &group->logs[writer]);
    /* pairs with the release fence in begin(): who has copied a byte of a later log finds another ticket */
    FENCE(memory_order_acquire);
    return load_ticket(group) == ticket;
}

/* Where a floor goes that was loaded while this ticket stood. */
static uint64_t floor_by(uint64_t ticket, uint64_t floor) {
    bool says = (ticket & (TICKET_STEP - 1)) == NO_LOG;
    return says ? floor + (((ticket / TICKET_STEP) - floor) & MOST_AT_ONCE) : floor;
}

static bool is_finished(const struct shmbus_group *group, uint64_t ticket) {
    uint64_t floor = shmbus_group_floor(group);
    return !(ticket & UNDER_WAY) && floor_by(ticket, floor) == floor;
}

static void swap_floor(const struct shmbus_group *group, uint64_t floor, uint64_t to, uint64_t *moved) {
    /* seq_cst, as the release that lets publishers have the space: see shmbus_cursor_place() */
    if (atomic_compare_exchange_strong_explicit(&group->cursor->position, &floor, to, memory_order_seq_cst, memory_order_relaxed))
        *moved += to - floor;
    KILLPOINT("group.advanced");
}

/* To where the ticket says, unless it has changed. */
static void move_floor(const struct shmbus_group *group, uint64_t ticket, uint64_t *moved) {
    uint64_t floor = shmbus_group_floor(group), to = floor_by(ticket, floor);
    if (to != floor && load_ticket(group) == ticket)
        swap_floor(group, floor, to, moved);
}

/* The ticket, when it is not under way any more, and the floor stands where it says. */
static uint64_t finish(const struct shmbus_group *group, uint64_t *moved) {
    struct shmbus_group_log copy;
    for (;;) {
        uint64_t ticket = load_ticket(group);
        if (is_finished(group, ticket))
            return ticket;
        if (!(ticket & UNDER_WAY))
            move_floor(group, ticket, moved);
        else if (log_of(group, ticket, &copy))
            carry_out(group, &copy, ticket, moved);
    }
}

void shmbus_group_finish(const struct shmbus_group *group) {
    uint64_t moved = 0;
    if (group->rows)
        finish(group, &moved);
}

static inline struct draft begin(const struct shmbus_group *group, uint64_t *moved) {
    struct draft draft = {.group = group, .log = &group->logs[group->writer], .ticket = load_ticket(group)};
    if (!is_finished(group, draft.ticket))
        draft.ticket = finish(group, moved);
    FENCE(memory_order_release); /* see log_of() */
    return draft;
}

/* The same without a log: the floor goes from `floor` to `to`, and that is all. */
static void commit_floor(const struct draft *draft, uint64_t floor, uint64_t to, uint64_t *moved) {
    uint64_t number = draft->ticket / TICKET_STEP, made = (number & ~(uint64_t)MOST_AT_ONCE) | (to & MOST_AT_ONCE);
    if (made <= number)
        made += MOST_AT_ONCE + 1;
    if (!change_ticket(draft->group, draft->ticket, made * TICKET_STEP | NO_LOG))
        return;
    KILLPOINT("group.passed");
    uint64_t by_us = 0;
    swap_floor(draft->group, floor, to, &by_us);
    *moved += to - floor; /* also if another has done it in our place, who may not tell those that wait for it */
}

/* Before a row becomes that owner's of the id, if it is another's. What was read while somebody else wrote says of no owner
 * anything, and is not committed either; acquire: what was read till now was read before the ticket is. */
static void give_row(const struct draft *draft, uint32_t producer, uint32_t version) {
    uint32_t owner = version_of_row(draft->group, producer);
    if (owner != version && load_ticket(draft->group) == draft->ticket)
        disown(draft->group, producer, owner);
}

/* False: somebody else was faster, and what was worked out is old. */
static bool commit(const struct draft *draft, uint64_t *moved) {
    atomic_store_explicit(&draft->log->count, draft->count, memory_order_relaxed);
    uint64_t made = ((draft->ticket | (TICKET_STEP - 1)) + 1) | UNDER_WAY | draft->group->writer;
    if (!change_ticket(draft->group, draft->ticket, made))
        return false;
    KILLPOINT("group.booked");
    uint64_t by_us = 0;
    carry_out(draft->group, draft->log, made, &by_us);
    *moved += draft->forward; /* as in commit_floor() */
    return true;
}

/* The floor goes to `to`, or stands there and a number is written: what the run had till now goes to its producer's row, and
 * `next` has the one that begins; 0: nobody. */
static void put_run(struct draft *draft, uint64_t to, uint32_t next) {
    const struct shmbus_group *group = draft->group;
    uint64_t run = load_run(group);
    uint32_t producer = producer_in(run);
    if (has_row(group, producer) && run_length(run, shmbus_group_floor(group)))
        put(draft, FIRST_ROW + place_of(producer, LAST), last_of(group, producer));
    if (producer || next)
        put(draft, RUN, run_word(to, next));
}

static void put_run_on(struct draft *draft) {
    put_run(draft, shmbus_group_floor(draft->group), producer_in(load_run(draft->group)));
}

/* ---- what the floor passes --------------------------------------------------------------------------------------------- */

/* Of one producer, in what is being passed. */
struct sum {
    uint32_t producer;
    uint64_t messages, at;
    uint64_t uncounted; /* after the message at `at`: their numbers could not be read */
    uint64_t ended[SHMBUS_ENDED_DEAD + 1];
};

struct sums {
    struct sum of[SUMS];
    uint32_t count, last, held_count;
    uint64_t unread, held[MOST_HELD];
};

static void clear(struct sums *sums) {
    sums->count = sums->last = sums->held_count = 0;
    sums->unread = 0;
}

static struct sum *sum_of(struct sums *sums, uint32_t producer) {
    if (sums->count && sums->of[sums->last].producer == producer)
        return &sums->of[sums->last];
    for (uint32_t i = 0; i < sums->count; i++)
        if (sums->of[i].producer == producer)
            return &sums->of[sums->last = i];
    if (sums->count == SUMS)
        return NULL;
    sums->of[sums->last = sums->count++] = (struct sum){.producer = producer};
    return &sums->of[sums->last];
}

/* `count` that ended alike, up to `last`. False: they must wait for the next commit, the log has no room for another producer. */
static bool add(const struct shmbus_group *group, struct sums *sums, uint64_t last, uint64_t count, uint32_t producer,
                enum shmbus_ending ending) {
    if (ending == SHMBUS_ENDED_VOID)
        return true;
    if (!has_row(group, producer)) {
        sums->unread += producer == 0 ? count : 0; /* dropped; or whoever settled it came so late that the ring does not say whose it was */
        return true;
    }
    struct sum *sum = sum_of(sums, producer);
    if (!sum)
        return false;
    sum->ended[ending] += count;
    if (ending == SHMBUS_ENDED_REPEATED)
        return true;
    sum->messages += count;
    sum->uncounted += count;
    if (ending != SHMBUS_ENDED_CORRUPT) {
        sum->at = last;
        sum->uncounted = 0;
    }
    return true;
}

static const enum field field_of[] = {
    [SHMBUS_ENDED_FILTERED] = FILTERED, [SHMBUS_ENDED_REPEATED] = REPEATED, [SHMBUS_ENDED_OVERRUN] = OVERRUN,
    [SHMBUS_ENDED_EXPIRED] = EXPIRED,   [SHMBUS_ENDED_CORRUPT] = CORRUPT,   [SHMBUS_ENDED_DEAD] = DEAD,
};

static uint64_t unexplained(const struct shmbus_group *group) {
    uint64_t unread = atomic_load_explicit(&group->lane->unread, memory_order_relaxed);
    uint64_t explained = atomic_load_explicit(&group->lane->explained, memory_order_relaxed);
    return unread > explained ? unread - explained : 0;
}

/* How many messages it had published before the group began. */
static uint64_t before_in(const struct shmbus_group *group, uint32_t producer, uint32_t version) {
    if (!group->before)
        return SHMBUS_UNCOUNTED;
    uint64_t word = atomic_load_explicit(&group->before[producer], memory_order_relaxed);
    uint64_t before = version_in(word) == version ? number_in(word) : 0; /* who came later has all after it */
    return before == NUMBER_MASK ? SHMBUS_UNCOUNTED : before;
}

/* Of `missing` numbers that were never read, how many were messages, if `count` had been published by then and `more` of those
 * are not in the row yet, but were read. All of them, where nobody has counted. */
static uint64_t messages_in(const struct shmbus_group *group, uint32_t producer, uint32_t version, uint64_t missing,
                            uint64_t count, uint64_t more) {
    uint64_t before = before_in(group, producer, version);
    if (count == SHMBUS_UNCOUNTED || before == SHMBUS_UNCOUNTED || !shmbus_may_skip_numbers(group->ring, producer))
        return missing; /* all of them, of one that uses every number */
    uint64_t known = before + last_number(group, producer, version) - get(group, producer, BASE, version) + more;
    uint64_t lost = count > known ? count - known : 0;
    return lost < missing ? lost : missing;
}

/* A producer's numbers up to `last`, of which `missing` were never read, and `messages` of them messages: what it lost of them,
 * and what it did not use. `*left`: how many unread sequences may still be somebody's. */
static void put_missing(struct draft *draft, uint32_t producer, uint32_t version, uint64_t missing, uint64_t messages,
                        uint64_t *left, uint64_t more_overrun) {
    const struct shmbus_group *group = draft->group;
    uint64_t lost = messages < *left ? messages : *left;
    *left -= lost;
    if (missing > lost)
        put_row(draft, producer, BASE, version, get(group, producer, BASE, version) + missing - lost);
    if (lost + more_overrun)
        put_row(draft, producer, OVERRUN, version, get(group, producer, OVERRUN, version) + lost + more_overrun);
    if (lost)
        put_row(draft, producer, OWED, version, get(group, producer, OWED, version) + lost);
}

/* It may leave out numbers and was in the middle of a message when the group began. */
static bool is_open(const struct shmbus_group *group, uint32_t producer) {
    return group->before && number_in(atomic_load_explicit(&group->before[producer], memory_order_relaxed)) == NUMBER_MASK &&
           (!group->ring || counts_leaps(group->ring));
}

/* Now that all since then are in the row, or are about to be, it is known how many had been published before. Whoever else finds
 * that out while the ticket is the same finds the same; who is stopped before saying it has nothing to say any more. */
static void find_beginning(const struct draft *draft, const struct sum *sum, uint32_t version) {
    const struct shmbus_group *group = draft->group;
    uint64_t open = atomic_load_explicit(&group->before[sum->producer], memory_order_relaxed);
    uint64_t count = shmbus_count_before(group->ring, sum->at, sum->producer);
    uint64_t since = last_number(group, sum->producer, version) - get(group, sum->producer, BASE, version);
    since += sum->messages - sum->uncounted - 1;
    if (number_in(open) == NUMBER_MASK && count != SHMBUS_UNCOUNTED && count >= since && load_ticket(group) == draft->ticket)
        atomic_compare_exchange_strong_explicit(&group->before[sum->producer], &open, versioned(version, count - since),
                                                memory_order_relaxed, memory_order_relaxed);
}

/* `exact`: the ring has what is passed, so numbers can be looked up. */
static void put_sum(struct draft *draft, const struct sum *sum, bool exact, uint64_t *left) {
    const struct shmbus_group *group = draft->group;
    uint64_t row = last_of(group, sum->producer), number = 0, missing = 0, messages = 0, repeated = 0;
    uint32_t version = version_in(row);
    bool known = exact && sum->at && group->ring && shmbus_number_at(group->ring, sum->at, sum->producer, &number);
    /* Whose numbers go on where the row ends is its owner; nobody else's can, while all that is missing is explained. */
    if (number_in(row) == 0 || *left || !known || number != number_in(row) + sum->messages - sum->uncounted)
        version = version_of(group, sum->producer);
    give_row(draft, sum->producer, version);
    uint64_t before = last_number(group, sum->producer, version), last = before + sum->messages;
    if (known) {
        uint64_t expected = last - sum->uncounted;
        missing = number > expected && number < NUMBER_MASK ? number - expected : 0;
        repeated = number < expected ? expected - (number > before ? number : before) : 0;
    }
    bool skips = known && shmbus_may_skip_numbers(group->ring, sum->producer) && counts_leaps(group->ring);
    if (missing && *left) {
        uint64_t count = skips ? shmbus_count_before(group->ring, sum->at, sum->producer) : SHMBUS_UNCOUNTED;
        if (skips && count == SHMBUS_UNCOUNTED)
            missing = 0; /* the ring was faster: they are missing still when its next message comes, and that tells */
        else
            messages = messages_in(group, sum->producer, version, missing, count, sum->messages - sum->uncounted - 1);
    } else if (known && !repeated && is_open(group, sum->producer)) {
        find_beginning(draft, sum, version);
    }
    last += missing - repeated;
    put_row(draft, sum->producer, LAST, version, last);
    put_missing(draft, sum->producer, version, missing, messages, left, sum->ended[SHMBUS_ENDED_OVERRUN]);
    for (uint32_t ending = SHMBUS_ENDED_FILTERED; ending <= SHMBUS_ENDED_DEAD; ending++) {
        uint64_t count = sum->ended[ending] + (ending == SHMBUS_ENDED_REPEATED ? repeated : 0);
        if (count && ending != SHMBUS_ENDED_OVERRUN)
            put_row(draft, sum->producer, field_of[ending], version,
                    get(group, sum->producer, field_of[ending], version) + count);
    }
}

static void put_sums(struct draft *draft, const struct sums *sums, bool exact, uint64_t floor) {
    const struct shmbus_group *group = draft->group;
    uint64_t unread = unexplained(group) + sums->unread, left = unread; /* what is dropped may stand before what is not */
    for (uint32_t i = 0; i < sums->count; i++)
        put_sum(draft, &sums->of[i], exact, &left);
    if (left < unread)
        put(draft, EXPLAINED, atomic_load_explicit(&group->lane->explained, memory_order_relaxed) + unread - left);
    if (sums->unread)
        put(draft, UNREAD, atomic_load_explicit(&group->lane->unread, memory_order_relaxed) + sums->unread);
    for (uint32_t i = 0; i < sums->held_count; i++)
        put(draft, HELD, sums->held[i]);
    put_run(draft, floor, 0);
    put_floor(draft, shmbus_group_floor(group), floor);
}

/* How many from there on are settled and ended alike, `most` at most; `*word` is that of the first. */
static uint64_t settled_run(const struct shmbus_group *group, uint64_t sequence, uint64_t most, uint64_t *word) {
    uint64_t count = 1;
    *word = atomic_load_explicit(word_of(group, sequence), memory_order_seq_cst);
    if (lap_in(*word) != lap_of(group, sequence) || state_in(*word) != SETTLED)
        return 0;
    for (; count < most; count++) {
        uint64_t alike = lap_of(group, sequence + count) << LAP_SHIFT | (*word & ~(LAP_MASK << LAP_SHIFT));
        if (atomic_load_explicit(word_of(group, sequence + count), memory_order_seq_cst) != alike)
            break;
    }
    return count;
}

/* What is settled there, and all after it that ended alike. How many; 0: none, or not in this commit. */
static uint64_t add_settled(const struct shmbus_group *group, struct sums *sums, uint64_t sequence, uint64_t most) {
    uint64_t word, count = settled_run(group, sequence, most, &word);
    return count && add(group, sums, sequence + count - 1, count, producer_in(word), ending_in(word)) ? count : 0;
}

/* The number of that message. Who has read it knows that, and need not touch the ring's lines. */
static bool number_of(const struct shmbus_group *group, uint64_t sequence, uint32_t producer, const struct shmbus_frame *read,
                      uint64_t *number) {
    if (!read || read->sequence != sequence || read->producer != producer)
        return group->ring && shmbus_number_at(group->ring, sequence, producer, number);
    *number = read->producer_sequence;
    return true;
}

/* Nearly always all of them were delivered, and their numbers go on where the row ends: then that is all that changes. `word`
 * is that of the first of `count`. */
static bool book_delivered(struct draft *draft, uint64_t floor, uint64_t count, uint64_t word, const struct shmbus_frame *read,
                           uint64_t *moved) {
    const struct shmbus_group *group = draft->group;
    uint32_t producer = producer_in(word);
    if (ending_in(word) != SHMBUS_ENDED_DELIVERED || !has_row(group, producer) || unexplained(group))
        return false;
    uint64_t run = load_run(group), last = load(group, producer, LAST), number;
    bool goes_on = producer_in(run) == producer;
    last += goes_on ? run_length(run, floor) : 0;
    if (number_in(last) == 0 || number_in(last) + count >= NUMBER_MASK ||
        is_open(group, producer) || !number_of(group, floor + count - 1, producer, read, &number) ||
        number != number_in(last) + count)
        return false;
    if (goes_on) {
        commit_floor(draft, floor, floor + count, moved);
        return true;
    }
    bool again = atomic_load_explicit(&group->lane->lately, memory_order_relaxed) == producer;
    if (!again)
        atomic_store_explicit(&group->lane->lately, producer, memory_order_relaxed);
    put(draft, FIRST_ROW + place_of(producer, LAST), last + count);
    put_run(draft, floor + count, group->runs && again ? producer : 0);
    put_floor(draft, floor, floor + count);
    commit(draft, moved);
    return true;
}

static bool book_some(struct draft *draft, uint64_t floor, uint64_t *moved) {
    const struct shmbus_group *group = draft->group;
    uint64_t run = 0, window = (uint64_t)group->mask + 1, more;
    struct sums sums;
    clear(&sums);
    while (run < window && (more = add_settled(group, &sums, floor + run, window - run)))
        run += more;
    if (run == 0)
        return false;
    put_sums(draft, &sums, true, floor + run);
    commit(draft, moved);
    return true;
}

uint64_t shmbus_group_book(const struct shmbus_group *group, const struct shmbus_frame *read) {
    uint64_t moved = 0, word, most = (uint64_t)group->mask + 1;
    for (;;) {
        struct draft draft = begin(group, &moved);
        uint64_t floor = shmbus_group_floor(group), count = settled_run(group, floor, most, &word);
        if (!count)
            return moved;
        /* a floor does not go further without a log, see floor_by(); the window may be larger by one */
        count = count < MOST_AT_ONCE ? count : MOST_AT_ONCE;
        if (!book_delivered(&draft, floor, count, word, read, &moved) && !book_some(&draft, floor, &moved))
            return moved;
    }
}

/* The same for one that somebody may hold. Who has not noted yet whose it is, and never will if killed, holds what is booked as
 * unread: the numbers tell that its producer lost it. */
static bool add_passed(const struct shmbus_group *group, struct sums *sums, uint64_t sequence) {
    uint64_t word = atomic_load_explicit(word_of(group, sequence), memory_order_seq_cst);
    if (lap_in(word) != lap_of(group, sequence) || state_in(word) != TAKEN)
        return add_settled(group, sums, sequence, 1) != 0;
    uint32_t producer = noted(group, sequence) & SHMBUS_MAX_PRODUCER_ID;
    if (producer && sums->held_count == MOST_HELD)
        return false;
    if (!add(group, sums, sequence, 1, producer, producer ? SHMBUS_ENDED_DELIVERED : SHMBUS_ENDED_OVERRUN))
        return false;
    if (producer)
        sums->held[sums->held_count++] = sequence;
    return true;
}

uint64_t shmbus_group_book_past(const struct shmbus_group *group, uint64_t from, uint64_t head) {
    uint64_t moved = 0, window = (uint64_t)group->mask + 1, run = 0;
    struct draft draft = begin(group, &moved);
    struct sums sums;
    clear(&sums);
    if (shmbus_group_floor(group) != from)
        return 0;
    while (run < window && from + run < head && add_passed(group, &sums, from + run))
        run++;
    if (run == 0)
        return 0;
    uint64_t to = from + run;
    if (run == window && to < head) { /* nobody was given anything there */
        sums.unread += head - to;
        to = head;
    }
    put_sums(&draft, &sums, false, to);
    return commit(&draft, &moved) ? to : 0;
}

bool shmbus_group_book_bridge(const struct shmbus_group *group, uint64_t sealed, uint64_t first) {
    uint64_t moved = 0;
    for (;;) {
        struct draft draft = begin(group, &moved);
        if (shmbus_group_floor(group) != sealed)
            return false;
        put_run(&draft, first, 0);
        put_floor(&draft, sealed, first);
        if (commit(&draft, &moved))
            return true;
    }
}

void shmbus_group_place_ledger(const struct shmbus_group *group, uint64_t sequence) {
    uint64_t ticket = load_ticket(group);
    atomic_store_explicit(&group->lane->ticket, (ticket | (TICKET_STEP - 1)) + 1, memory_order_relaxed);
    atomic_store_explicit(&group->lane->run, run_word(sequence, 0), memory_order_relaxed);
    atomic_store_explicit(&group->lane->lately, 0, memory_order_relaxed);
}

/* One commit. False: somebody else was faster. Only a commit notes that it was booked over, so what the note says here still
 * holds when this one is decided. */
static bool book_over(const struct shmbus_group *group, uint64_t sequence, uint64_t settled) {
    uint64_t moved = 0;
    struct draft draft = begin(group, &moved);
    uint32_t note = noted(group, sequence), producer = note & SHMBUS_MAX_PRODUCER_ID;
    if (!is_held(note))
        return true;
    put(&draft, OVER, sequence);
    if (has_row(group, producer)) {
        uint32_t version = version_of_row(group, producer);
        enum field field = field_of[ending_in(settled)];
        put_row(&draft, producer, field, version, get(group, producer, field, version) + 1);
        if (is_untold(settled))
            put_row(&draft, producer, OWED, version, get(group, producer, OWED, version) + 1);
    }
    if (!commit(&draft, &moved))
        return false;
    bool corrupt = ending_in(settled) == SHMBUS_ENDED_CORRUPT && producer_in(settled) == 0; /* whose, its holder could not tell */
    if (!has_row(group, producer) && (corrupt || is_untold(settled)))
        atomic_fetch_add_explicit(&group->lane->untold, 1, memory_order_seq_cst);
    return true;
}

void shmbus_group_let_go(const struct shmbus_group *group, uint64_t sequence, uint64_t settled) {
    if (!group->rows || !is_held(noted(group, sequence)))
        return;
    KILLPOINT("group.abandoned");
    while (!book_over(group, sequence, settled))
        ;
}

/* ---- whose loss it was ------------------------------------------------------------------------------------------------- */

static uint32_t ids(const struct shmbus_group *group) {
    return group->rows <= group->ring->producers ? group->rows : group->ring->producers + 1;
}

/* What the rows say of those who have published, for shmbus_numbers_before(). */
static void ask(const struct shmbus_group *group, uint64_t *numbers) {
    numbers[0] = SHMBUS_UNASKED;
    for (uint32_t producer = 1; producer < ids(group); producer++)
        numbers[producer] = shmbus_numbers_used(group->ring, producer)
                                ? last_number(group, producer, version_of(group, producer))
                                : SHMBUS_UNASKED;
}

/* So many producers may have published a message whose number they have not stored yet: it is told with their next. */
static uint64_t uncounted(const struct shmbus_group *group) {
    uint64_t count = 0;
    for (uint32_t producer = 1; producer <= group->ring->producers; producer++) {
        uint64_t published = 0, claiming = 0;
        shmbus_numbers_get(group->ring, producer, &published, &claiming);
        count += claiming > published;
    }
    return count;
}

/* What is missing before those numbers, of producers that may skip some or of the others: see shmbus_may_skip_numbers(). False:
 * the log has no room for all. */
static bool put_found(struct draft *draft, const uint64_t *numbers, const uint64_t *counts, bool skips, uint64_t *left) {
    const struct shmbus_group *group = draft->group;
    for (uint32_t producer = 1; producer < ids(group); producer++) {
        uint32_t version = version_of(group, producer);
        uint64_t last = last_number(group, producer, version);
        if (numbers[producer] == SHMBUS_UNASKED || numbers[producer] <= last || numbers[producer] > NUMBER_MASK ||
            shmbus_may_skip_numbers(group->ring, producer) != skips)
            continue;
        if (draft->count + 5 + NOT_OF_A_SUM > GROUP_LOG_ENTRIES)
            return false;
        give_row(draft, producer, version);
        put_row(draft, producer, LAST, version, numbers[producer]);
        uint64_t missing = numbers[producer] - last;
        put_missing(draft, producer, version, missing, messages_in(group, producer, version, missing, counts[producer], 0), left, 0);
    }
    return true;
}

/* One commit. `*more`: it had no room for all. */
static bool explain_some(const struct shmbus_group *group, bool *more) {
    uint64_t numbers[SHMBUS_MAX_PRODUCERS + 1], counts[SHMBUS_MAX_PRODUCERS + 1], moved = 0, left;
    *more = false;
    struct draft draft = begin(group, &moved);
    uint64_t unread = unexplained(group), floor = shmbus_group_floor(group);
    if (unread == 0)
        return true;
    if (floor < group->ring->header->first_sequence || floor > shmbus_tail(group->ring))
        return false; /* the others read another ring */
    uint64_t unstored = uncounted(group); /* before the numbers: what is stored meanwhile is counted twice rather than not at all */
    ask(group, numbers);
    if (shmbus_numbers_before(group->ring, floor, numbers, counts, ids(group) - 1) != SHMBUS_OK)
        return false;
    left = unread;
    *more = !put_found(&draft, numbers, counts, false, &left) || !put_found(&draft, numbers, counts, true, &left);
    uint64_t unknown = !*more && left > unstored ? left - unstored : 0;
    uint64_t voids = atomic_load_explicit(&group->ring->header->aborted, memory_order_relaxed);
    bool stranger = unknown && group->ring->producers >= group->rows; /* some of them have no row */
    voids = voids < unknown ? voids : unknown; /* claims that came to nothing */
    left -= stranger ? unknown : voids;
    if (left < unread)
        put(&draft, EXPLAINED, atomic_load_explicit(&group->lane->explained, memory_order_relaxed) + unread - left);
    else if (draft.count == 0)
        return true;
    put_run_on(&draft);
    if (!commit(&draft, &moved))
        *more = true; /* once more, then */
    else if (stranger)
        atomic_fetch_add_explicit(&group->lane->untold, unknown - voids, memory_order_seq_cst);
    return true;
}

bool shmbus_group_explain(const struct shmbus_group *group) {
    bool more = group->rows && group->ring, done = true;
    while (more && done)
        done = explain_some(group, &more);
    return done;
}

static bool is_unfinished(const struct shmbus_group *group, uint32_t producer) {
    return shmbus_may_skip_numbers(group->ring, producer) && shmbus_numbers_unfinished(group->ring, producer);
}

void shmbus_group_begin(const struct shmbus_group *group) {
    uint64_t numbers[SHMBUS_MAX_PRODUCERS + 1], counts[SHMBUS_MAX_PRODUCERS + 1], from = shmbus_group_floor(group);
    if (!group->rows || !group->ring || (group->ring->header->generation == 0 && from <= group->ring->header->first_sequence))
        return; /* it gets what was published from the first on: all that is missing is lost */
    bool known = false;
    shmbus_await_claims(group->ring, from, SHMBUS_CLAIM_NS);
    for (int tries = 0; !known && tries < TRIES; tries++) {
        ask(group, numbers);
        known = shmbus_numbers_before(group->ring, from, numbers, counts, ids(group) - 1) == SHMBUS_OK;
        from = known ? from : shmbus_head(group->ring);
    }
    if (from > shmbus_group_floor(group)) { /* that it wanted to begin with, and nobody knows whose it was */
        uint64_t gone = from - shmbus_group_floor(group);
        shmbus_group_place(group, from);
        atomic_fetch_add_explicit(&group->lane->untold, gone, memory_order_seq_cst);
    }
    for (uint32_t producer = 1; known && producer < ids(group); producer++) {
        if (numbers[producer] == SHMBUS_UNASKED)
            continue;
        uint32_t version = version_of(group, producer);
        uint64_t made = versioned(version, numbers[producer]);
        if (group->before)
            atomic_store_explicit(&group->before[producer], versioned(version, is_unfinished(group, producer) ? NUMBER_MASK : counts[producer]),
                                  memory_order_relaxed);
        atomic_store_explicit(&group->account[place_of(producer, BASE)], made, memory_order_relaxed);
        atomic_store_explicit(&group->account[place_of(producer, LAST)], made, memory_order_release);
    }
}

/* What a row's words say of an owner of long ago counts as zero, and is made zero of the present one, so that it is never so old
 * that it is taken for a later owner's. */
static void renew_row(const struct shmbus_group *group, uint32_t producer) {
    uint32_t version = version_of_row(group, producer);
    for (uint32_t field = BASE; field < GROUP_ROW_WORDS; field++)
        if (load(group, producer, (enum field)field))
            raise(&group->account[place_of(producer, (enum field)field)], FIRST_ROW, versioned(version, 0));
    if (group->before)
        raise(&group->before[producer], FIRST_ROW, versioned(version, 0));
}

void shmbus_group_close_row(const struct shmbus_group *group, uint32_t producer) {
    if (has_row(group, producer))
        renew_row(group, producer);
    if (!has_row(group, producer) || !group->ring || shmbus_group_floor(group) < group->ring->header->first_sequence)
        return; /* the group reads the ring before this one, where the id is its last owner's: see version_of() */
    shmbus_group_skip(group, shmbus_head(group->ring)); /* all of its messages are gone from the ring */
    uint64_t published = 0, claiming = 0, moved = 0;
    shmbus_numbers_get(group->ring, producer, &published, &claiming);
    for (bool done = false; !done;) { /* if it could not be explained as publishers were too fast */
        struct draft draft = begin(group, &moved);
        uint32_t version = version_of(group, producer);
        uint64_t last = last_number(group, producer, version), unread = unexplained(group), left = unread;
        if (published <= last || unread == 0)
            break;
        give_row(&draft, producer, version);
        put_run_on(&draft);
        put_row(&draft, producer, LAST, version, published);
        put_missing(&draft, producer, version, published - last, published - last, &left, 0);
        put(&draft, EXPLAINED, atomic_load_explicit(&group->lane->explained, memory_order_relaxed) + unread - left);
        done = commit(&draft, &moved);
    }
    disown(group, producer, version_of_row(group, producer));
    disown_held(group, producer);
}

/* ---- what is told ------------------------------------------------------------------------------------------------------ */

/* seq_cst: a member looks here after it has set the waiting bit, against whoever counts and then rings */
bool shmbus_group_owes(const struct shmbus_group *group) {
    return atomic_load_explicit(&group->lane->untold, memory_order_seq_cst) ||
           atomic_load_explicit(&group->lane->owed, memory_order_seq_cst) !=
               atomic_load_explicit(&group->lane->seen, memory_order_relaxed);
}

uint64_t shmbus_group_untold(const struct shmbus_group *group) {
    uint64_t untold = atomic_load_explicit(&group->lane->untold, memory_order_relaxed), told;
    for (uint32_t producer = 1; producer < group->rows; producer++)
        untold += owed_to(group, producer, version_of_row(group, producer), &told);
    return untold;
}

void shmbus_group_look(const struct shmbus_group *group) {
    atomic_fetch_add_explicit(&group->lane->owed, 1, memory_order_seq_cst);
}

bool shmbus_group_tell(const struct shmbus_group *group, uint32_t *producer, uint64_t *count) {
    *producer = 0;
    if (atomic_load_explicit(&group->lane->untold, memory_order_relaxed)) {
        *count = atomic_exchange_explicit(&group->lane->untold, 0, memory_order_seq_cst);
        if (*count)
            return true;
    }
    uint64_t owed = atomic_load_explicit(&group->lane->owed, memory_order_seq_cst);
    if (owed == atomic_load_explicit(&group->lane->seen, memory_order_relaxed))
        return false;
    for (*producer = 1; *producer < group->rows; ++*producer)
        if ((*count = take_owed(group, *producer, version_of_row(group, *producer))))
            return true;
    atomic_store_explicit(&group->lane->seen, owed, memory_order_seq_cst);
    return false;
}

void shmbus_group_untell(const struct shmbus_group *group, uint64_t count) {
    atomic_fetch_add_explicit(&group->lane->untold, count, memory_order_seq_cst);
}

/* ---- what the rows say ------------------------------------------------------------------------------------------------- */

/* As it will be when the log is carried out. */
static uint64_t seen_with(const struct shmbus_group_log *log, uint64_t where, uint64_t word) {
    for (uint64_t i = 0; log && i < atomic_load_explicit(&log->count, memory_order_relaxed); i++) {
        uint64_t value = atomic_load_explicit(&log->entries[i].value, memory_order_relaxed);
        if (atomic_load_explicit(&log->entries[i].where, memory_order_relaxed) == where && is_further(where, value, word))
            word = value;
    }
    return word;
}

/* As one ticket says that they are, if it still stands afterwards. */
static void see(const struct shmbus_group *group, uint64_t ticket, const struct shmbus_group_log *log, uint32_t producer,
                uint64_t *words) {
    for (uint32_t field = 0; field < GROUP_ROW_WORDS; field++)
        words[field] = seen_with(log, FIRST_ROW + place_of(producer, (enum field)field), load(group, producer, (enum field)field));
    uint64_t floor = seen_with(log, FLOOR, floor_by(ticket, shmbus_group_floor(group)));
    uint64_t run = seen_with(log, RUN, load_run(group));
    if (producer_in(run) == producer)
        words[LAST] += run_length(run, floor);
}

bool shmbus_group_entry(const struct shmbus_group *group, uint32_t producer, struct shmbus_entry *entry) {
    struct shmbus_group_log copy;
    uint64_t words[GROUP_ROW_WORDS];
    if (!has_row(group, producer))
        return false;
    for (unsigned looks = 0; looks < LOOKS; looks++) {
        uint64_t ticket = load_ticket(group);
        bool under_way = ticket & UNDER_WAY;
        if (under_way && !log_of(group, ticket, &copy))
            continue;
        see(group, ticket, under_way ? &copy : NULL, producer, words);
        FENCE(memory_order_acquire);
        uint64_t again = load_ticket(group);
        if (again == ticket || (under_way && again == (ticket & ~UNDER_WAY)))
            break;
    }
    uint32_t version = version_in(words[LAST]);
    for (uint32_t field = 0; field < GROUP_ROW_WORDS; field++)
        words[field] = version_in(words[field]) == version ? number_in(words[field]) : 0;
    *entry = (struct shmbus_entry){
        .producer = producer, .version = version, .last = words[LAST], .base = words[BASE], .overrun = words[OVERRUN],
        .expired = words[EXPIRED], .corrupt = words[CORRUPT], .filtered = words[FILTERED], .repeated = words[REPEATED],
        .dead = words[DEAD], .before = before_in(group, producer, version),
    };
    uint64_t missed = entry->overrun + entry->expired + entry->corrupt + entry->filtered + entry->dead;
    uint64_t all = entry->last - entry->base;
    entry->delivered = all > missed ? all - missed : 0;
    return words[LAST] != 0 || version != 0;
}
