/* Groups: members that read a topic together, each message going to one of them, and coming again until it is settled.
 *
 * Every sequence from the floor to the floor + window has a word, which moves by compare-and-swap only:
 *
 *   an older lap --claim--> TAKEN(member, tries) --settle--> SETTLED
 *                              |        ^
 *                          return     retake (tries + 1)          return: a nack, a deadline, or a dead member's reaper
 *                              v        |
 *                            RETURNED --'
 *
 * The argument, once.
 *
 * One holder. A word's lap never goes back, because a claim only replaces an older one. So the claim of sequence S succeeds
 * once, for whoever it is, and TAKEN names its holder in the same instant: nobody can die between having it and being
 * known to have it. `tries` grows with every retake, so a holder that comes late finds another word and changes nothing.
 * (At SHMBUS_MAX_TRIES it stays: then only a member that was given the same message twice can settle one for the other.)
 *
 * A lap is 48 bits of sequence / window, so what is older can be told over 2^47 laps, and a compare-and-swap that waits
 * in a stopped process meets its lap again after 2^48. Sequences leap by up to 1.5 * 2^32 from one ring to its successor,
 * and words that nobody needs there keep the lap they had: with the smallest window that takes 2^15 successors in which
 * a word is never used, and twice as many with each window twice as large.
 *
 * No word is claimed for S before S - window is done with: S may be claimed only while S - floor < window, the floor only
 * grows, and it passes SETTLED words only (or what the ring has dropped, see below). A floor that was loaded earlier is
 * lower, and allows less.
 *
 * The floor moves when the words from it on are SETTLED, by anyone. Two members that settle S and S + 1 at the same time
 * both store their word, then look at the floor's (seq_cst): one of them sees both. One that is killed in between leaves it
 * to the next who settles, or looks. Gates name the floor, so publishers keep what is not settled.
 *
 * `next` is where members begin to look, and may be too low, never too high: it is stored by somebody who has seen every
 * word before it claimed. Where duplicates are removed it is exact, and moves one by one, see shmbus_group_judge().
 *
 * Overruns happen only while no gate holds the floor (nobody was there, or the group was demoted). Each message that is not
 * settled then is counted once, by whoever changes its word:
 *
 *   what nobody holds       the one who meets the overrun settles it, moves the floor, and looks once more: what was given
 *                           back between the first look and the floor is there now, and what is given back later finds
 *                           that the floor has passed it (store the word, then look at the floor, against: move the
 *                           floor, then look at the word; seq_cst, so one of the two sees the other)
 *   what somebody holds     stays theirs, behind the floor: they settle it, or give it back and count it
 *   what they still hold    when the word is needed for a later lap: whoever claims that settles it first, and counts it. So is
 *                           counted, too, what somebody gave back who was killed before they looked at the floor
 *
 * Who is killed between the change of a word and the counting of it leaves the word, settled as lost. In a group with a ledger
 * that is enough to book it, see shmbus_group_let_go(): whoever needs the word books first, and the reaper of the dead looks at
 * all words. Without a ledger that count is gone: at most the messages of one call.
 */
#include <string.h>

#include "group.h"
#include "killpoint.h"

#define TIME_SHIFT 20
#define NUMBER_SHIFT 16
#define NS_PER_MS 1000000u

/* How many laps a is ahead of b. */
static int64_t laps_between(uint64_t a, uint64_t b) { return (int64_t)((a - b) << LAP_SHIFT) >> LAP_SHIFT; }
/* Is the word that of an earlier lap, so that nobody was given the sequence yet? */
static bool unclaimed(const struct shmbus_group *group, uint64_t word, uint64_t sequence) {
    return laps_between(lap_in(word), lap_of(group, sequence)) < 0;
}

/* ---- layout -------------------------------------------------------------------------------------------------------- */

static size_t page_up(size_t bytes) { return (bytes + 4095) & ~(size_t)4095; }

static size_t lane_bytes(const struct shmbus_group_setup *setup) {
    size_t row_words = GROUP_ROW_WORDS + (setup->uncounted ? 0 : 1);
    size_t words = 2 * (size_t)setup->window + setup->producers + (size_t)setup->rows * row_words;
    size_t whose = setup->rows ? setup->window * sizeof(uint32_t) : 0;
    return (sizeof(struct shmbus_group_lane) + words * sizeof(uint64_t) + whose + 127) & ~(size_t)127;
}

static size_t page_offset(uint32_t lanes) { return page_up(shmbus_session_bytes(lanes, 0)); }

static size_t logs_offset(uint32_t lanes) { return page_offset(lanes) + page_up(sizeof(struct shmbus_group_page)); }

static size_t lanes_offset(const struct shmbus_group_setup *setup) {
    size_t logs = setup->rows ? (SHMBUS_MEMBERS + 1) * sizeof(struct shmbus_group_log) : 0;
    return logs_offset(setup->lanes) + page_up(logs);
}

static bool setup_valid(const struct shmbus_group_setup *setup) {
    return setup->lanes >= 1 && setup->lanes <= 1u << 16 && setup->window >= 2 && setup->window <= SHMBUS_MAX_WINDOW &&
           (setup->window & (setup->window - 1)) == 0 && setup->producers <= SHMBUS_MAX_PRODUCERS + 1 &&
           setup->rows <= SHMBUS_MAX_PRODUCERS + 1;
}

size_t shmbus_group_bytes(const struct shmbus_group_setup *setup) {
    return setup_valid(setup) ? lanes_offset(setup) + setup->lanes * lane_bytes(setup) : 0;
}

struct shmbus_group_page *shmbus_group_page(void *memory, uint32_t lanes) {
    return (void *)((unsigned char *)memory + page_offset(lanes));
}

void shmbus_group_init(void *memory, const struct shmbus_session_setup *session, const struct shmbus_group_setup *setup) {
    struct shmbus_group_page *page = shmbus_group_page(memory, setup->lanes);
    page->layout_version = !setup->rows ? SHMBUS_GROUP_OLDEST : setup->uncounted ? GROUP_RUNS_LAYOUT : SHMBUS_GROUP_LAYOUT;
    page->counted = !setup->uncounted;
    page->lanes = setup->lanes;
    page->window = setup->window;
    page->producers = setup->producers;
    page->rows = setup->rows;
    atomic_store_explicit(&page->magic, GROUP_MAGIC, memory_order_relaxed);
    /* the session's magic comes last, with release: pairs with the acquire in shmbus_session_check() */
    struct shmbus_session_setup as_session = *session;
    as_session.cursors = setup->lanes;
    as_session.rows = 0;
    shmbus_session_init(memory, &as_session);
}

static struct shmbus_group_page *checked_page(const void *memory, size_t size, uint32_t lanes) {
    bool fits = lanes > 0 && lanes <= 1u << 16 && size >= logs_offset(lanes);
    return fits ? shmbus_group_page((void *)(uintptr_t)memory, lanes) : NULL;
}

uint32_t shmbus_group_number(const void *memory, size_t size) {
    const struct shmbus_group_page *page = checked_page(memory, size, ((const struct shmbus_session_page *)memory)->capacity);
    return page ? page->layout_version : 0;
}

enum shmbus_result shmbus_group_check(const void *memory, size_t size, const uint8_t boot_id[16],
                                      struct shmbus_group_setup *setup) {
    enum shmbus_result result = shmbus_session_check(memory, size, boot_id);
    if (result != SHMBUS_OK)
        return result;
    uint32_t lanes = ((const struct shmbus_session_page *)memory)->capacity;
    struct shmbus_group_page *page = checked_page(memory, size, lanes);
    if (!page)
        return SHMBUS_FOREIGN; /* an ordinary session's page */
    if (atomic_load_explicit(&page->magic, memory_order_relaxed) != GROUP_MAGIC)
        return SHMBUS_FOREIGN;
    if (!shmbus_layout_known(&shmbus_group_layout, page->layout_version))
        return SHMBUS_OTHER_LAYOUT;
    /* Where an older layout has nothing there is zero. */
    *setup = (struct shmbus_group_setup){page->lanes, page->window, page->producers, page->rows, !page->counted};
    return setup->lanes == lanes && shmbus_group_bytes(setup) == size ? SHMBUS_OK : SHMBUS_BAD_SIZE;
}

bool shmbus_group_view(struct shmbus_group *group, void *memory, const struct shmbus_group_setup *setup, uint32_t lane,
                       uint32_t member) {
    if (lane >= setup->lanes || member >= SHMBUS_MEMBERS)
        return false;
    unsigned char *at = (unsigned char *)memory + lanes_offset(setup) + lane * lane_bytes(setup);
    group->cursor = &((struct shmbus_session_page *)memory)->cursors[lane];
    group->lane = (void *)at;
    group->words = group->lane->words;
    group->times = group->words + setup->window;
    group->judged = group->times + setup->window;
    group->account = group->judged + setup->producers;
    _Atomic uint64_t *behind = group->account + (size_t)setup->rows * GROUP_ROW_WORDS;
    group->before = setup->uncounted ? NULL : behind;
    group->whose = (void *)(setup->uncounted ? behind : behind + setup->rows);
    group->logs = (void *)((unsigned char *)memory + logs_offset(setup->lanes));
    group->ring = NULL;
    group->rows = setup->rows;
    group->runs = setup->rows && shmbus_group_page(memory, setup->lanes)->layout_version >= GROUP_RUNS_LAYOUT;
    group->writer = group->member = member;
    group->mask = setup->window - 1;
    group->shift = (uint32_t)__builtin_ctz(setup->window);
    group->producers = setup->producers;
    return true;
}

void shmbus_group_place(const struct shmbus_group *group, uint64_t sequence) {
    for (uint32_t i = 0; i <= group->mask; i++) {
        atomic_store_explicit(word_of(group, sequence + i), make_word(lap_of(group, sequence + i) - 1, SETTLED, 0, 0),
                              memory_order_relaxed);
        atomic_store_explicit(&group->times[i], 0, memory_order_relaxed);
        if (group->rows)
            atomic_store_explicit(&group->whose[i], 0, memory_order_relaxed);
    }
    for (size_t i = 0; i < (size_t)group->rows * GROUP_ROW_WORDS; i++)
        atomic_store_explicit(&group->account[i], 0, memory_order_relaxed);
    for (size_t i = 0; group->before && i < group->rows; i++)
        atomic_store_explicit(&group->before[i], 0, memory_order_relaxed);
    atomic_store_explicit(&group->lane->unread, 0, memory_order_relaxed);
    atomic_store_explicit(&group->lane->explained, 0, memory_order_relaxed);
    shmbus_group_place_ledger(group, sequence);
    atomic_store_explicit(&group->lane->seen, atomic_load_explicit(&group->lane->owed, memory_order_relaxed),
                          memory_order_relaxed);
    for (uint32_t i = 0; i < group->producers; i++)
        atomic_store_explicit(&group->judged[i], 0, memory_order_relaxed);
    atomic_store_explicit(&group->lane->verdict, 0, memory_order_relaxed);
    atomic_store_explicit(&group->lane->next, sequence, memory_order_relaxed);
    atomic_store_explicit(&group->cursor->position, sequence, memory_order_seq_cst);
}

/* ---- where things stand ------------------------------------------------------------------------------------------- */

uint64_t shmbus_group_floor(const struct shmbus_group *group) {
    return atomic_load_explicit(&group->cursor->position, memory_order_seq_cst);
}

uint64_t shmbus_group_next(const struct shmbus_group *group) {
    uint64_t next = atomic_load_explicit(&group->lane->next, memory_order_seq_cst), floor = shmbus_group_floor(group);
    if (next >= floor)
        return next;
    /* The ring dropped what was there. Where next is exact it must be seen to move by all. */
    atomic_compare_exchange_strong_explicit(&group->lane->next, &next, floor, memory_order_seq_cst, memory_order_relaxed);
    return floor;
}

uint64_t shmbus_group_seek(const struct shmbus_group *group, uint64_t from) {
    uint64_t next = shmbus_group_next(group), floor = shmbus_group_floor(group);
    if (group->producers)
        return next;
    uint64_t at = from > next ? from : next;
    while (at - floor <= group->mask &&
           lap_in(atomic_load_explicit(word_of(group, at), memory_order_acquire)) == lap_of(group, at))
        at++;
    return at;
}

/* Also of what the floor has passed meanwhile: it is somebody else's, so there is another one to look at. */
static bool below_the_end(const struct shmbus_group *group, uint64_t sequence) {
    return (int64_t)(sequence - shmbus_group_floor(group)) <= (int64_t)group->mask;
}

bool shmbus_group_open(const struct shmbus_group *group, uint64_t sequence) {
    if (below_the_end(group, sequence))
        return true;
    /* seq_cst, both ways: whoever moves the floor on sees the flag, or its floor is seen here. */
    atomic_store_explicit(&group->lane->blocked, 1, memory_order_seq_cst);
    return below_the_end(group, sequence);
}

bool shmbus_group_settled(const struct shmbus_group *group, uint64_t sequence, uint64_t *advanced) {
    *advanced += shmbus_group_advance(group);
    if (shmbus_group_floor(group) >= sequence)
        return true;
    atomic_store_explicit(&group->lane->blocked, 1, memory_order_seq_cst); /* as in shmbus_group_open() */
    return shmbus_group_floor(group) >= sequence;
}

bool shmbus_group_unblock(const struct shmbus_group *group) {
    return atomic_load_explicit(&group->lane->blocked, memory_order_seq_cst) &&
           atomic_exchange_explicit(&group->lane->blocked, 0, memory_order_seq_cst);
}

/* Without a ledger the floor moves by itself. */
static uint64_t advance_floor(const struct shmbus_group *group) {
    uint64_t total = 0;
    for (;;) {
        uint64_t floor = shmbus_group_floor(group), run = 0;
        while (run <= group->mask) {
            uint64_t word = atomic_load_explicit(word_of(group, floor + run), memory_order_seq_cst);
            if (lap_in(word) != lap_of(group, floor + run) || state_in(word) != SETTLED)
                break;
            run++;
        }
        if (run == 0)
            return total;
        /* seq_cst, as the release that lets publishers have the space: see shmbus_cursor_place() */
        if (atomic_compare_exchange_strong_explicit(&group->cursor->position, &floor, floor + run, memory_order_seq_cst,
                                                    memory_order_relaxed))
            total += run;
        KILLPOINT("group.advanced");
    }
}

uint64_t shmbus_group_advance(const struct shmbus_group *group) {
    if (!group->rows)
        return advance_floor(group);
    return shmbus_group_book(group, NULL);
}

/* The time at which a message was given out is stored after its word, so it says which word it belongs to. */
static uint64_t time_for(uint64_t word, uint64_t now_ns) {
    uint64_t tag = (uint64_t)tries_in(word) << 12 | (lap_in(word) & 0xfff);
    return (now_ns / NS_PER_MS) << TIME_SHIFT | tag;
}

static void note_time(const struct shmbus_group *group, uint64_t sequence, uint64_t word, uint64_t now_ns) {
    atomic_store_explicit(&group->times[sequence & group->mask], time_for(word, now_ns), memory_order_relaxed);
}

/* ---- claim --------------------------------------------------------------------------------------------------------- */

/* `count` words from `sequence` on are claimed. Where duplicates are removed `next` never goes back, or something would be
 * judged twice; elsewhere it may, and a look at a few words more costs less than a compare-and-swap for each message. */
static void move_next(const struct shmbus_group *group, uint64_t sequence, uint32_t count) {
    uint64_t expected = sequence;
    if (group->producers)
        atomic_compare_exchange_strong_explicit(&group->lane->next, &expected, sequence + count, memory_order_seq_cst,
                                                memory_order_relaxed);
    else if (atomic_load_explicit(&group->lane->next, memory_order_relaxed) - sequence < count)
        atomic_store_explicit(&group->lane->next, sequence + count, memory_order_relaxed);
}

/* The 64-bit sequence that a word of this lap stands for, near the floor. */
static uint64_t sequence_at(const struct shmbus_group *group, uint64_t index, uint64_t lap) {
    uint64_t near = (shmbus_group_floor(group) & ~(uint64_t)group->mask) | index;
    return near + ((uint64_t)laps_between(lap, lap_of(group, near)) << group->shift);
}

static bool change(const struct shmbus_group *group, uint64_t sequence, uint64_t from, uint64_t to) {
    return atomic_compare_exchange_strong_explicit(word_of(group, sequence), &from, to, memory_order_seq_cst,
                                                   memory_order_relaxed);
}

/* A message that was dropped while somebody still held it, or had just given it back when the floor passed it. False: it has
 * ended meanwhile, or was given out once more. */
static bool abandon(const struct shmbus_group *group, uint64_t sequence, uint64_t word) {
    uint64_t lost = settled_word(group, sequence, SHMBUS_ENDED_OVERRUN, 0);
    if (!change(group, sequence, word, lost))
        return false;
    if (group->rows)
        shmbus_group_let_go(group, sequence, lost);
    else
        atomic_fetch_add_explicit(&group->lane->untold, 1, memory_order_seq_cst);
    return true;
}

/* A word that is needed for a later lap, and says of an earlier one what may not have been booked: else that would go with
 * whoever is killed in between. False: look at the word again. */
static bool put_away(const struct shmbus_group *group, uint64_t sequence, uint64_t word) {
    if (state_in(word) == SETTLED && ending_in(word) == SHMBUS_ENDED_DELIVERED)
        return true;
    uint64_t earlier = sequence_at(group, sequence & group->mask, lap_in(word));
    if (state_in(word) != SETTLED) {
        abandon(group, earlier, word);
        return false;
    }
    shmbus_group_let_go(group, earlier, word);
    return true;
}

/* From an older lap to `made`, whoever else tries it. */
static enum shmbus_result first_word(const struct shmbus_group *group, uint64_t sequence, uint64_t made) {
    _Atomic uint64_t *at = word_of(group, sequence);
    uint64_t word = atomic_load_explicit(at, memory_order_acquire);
    for (;;) {
        uint64_t floor = shmbus_group_floor(group);
        if (sequence < floor || !unclaimed(group, word, sequence))
            return SHMBUS_PASSED;
        if (sequence - floor > group->mask)
            return SHMBUS_WINDOW;
        if (!put_away(group, sequence, word))
            word = atomic_load_explicit(at, memory_order_acquire);
        else if (atomic_compare_exchange_weak_explicit(at, &word, made, memory_order_seq_cst, memory_order_acquire))
            return SHMBUS_OK;
    }
}

/* Each word is claimed by itself, so whoever is killed in between holds just those that name it. `next` follows after the
 * last: too low until then. That nothing else is done in between is what a run is for: a compare-and-swap waits for all
 * that was written before it, and holds up what is read after it, the messages themselves. */
enum shmbus_result shmbus_group_claim_run(const struct shmbus_group *group, uint64_t sequence, uint32_t *count,
                                          uint64_t now_ns) {
    uint32_t wanted = group->producers ? 1 : *count;
    enum shmbus_result result = SHMBUS_OK;
    for (*count = 0; *count < wanted; ++*count) {
        uint64_t at = sequence + *count, made = make_word(lap_of(group, at), TAKEN, 1, group->member);
        result = first_word(group, at, made);
        KILLPOINT("group.claimed");
        if (result != SHMBUS_OK)
            break;
        note_whose(group, at, made);
        note_time(group, at, made, now_ns);
    }
    if (*count || result == SHMBUS_PASSED)
        move_next(group, sequence, *count ? *count : 1);
    return *count ? SHMBUS_OK : result;
}

enum shmbus_result shmbus_group_claim(const struct shmbus_group *group, uint64_t sequence, uint64_t now_ns) {
    uint32_t one = 1;
    return shmbus_group_claim_run(group, sequence, &one, now_ns);
}

enum shmbus_result shmbus_group_pass(const struct shmbus_group *group, uint64_t sequence) {
    enum shmbus_result result = first_word(group, sequence, settled_word(group, sequence, SHMBUS_ENDED_VOID, 0));
    if (result != SHMBUS_WINDOW)
        move_next(group, sequence, 1);
    return result;
}

/* Duplicates. Messages of one producer come with growing numbers; one whose number is not above all that came before is
 * a duplicate. So messages are judged one by one, in the order of the ring: `next` is the one to be judged, and any
 * number of members may do it together, helping each other over deaths:
 *
 *   J1  verdict           {sequence, is it a duplicate}
 *   J2  judged[producer]  the highest number
 *   J3  the word          SETTLED for a duplicate, else TAKEN by who stores it first
 *   J4  next + 1
 *
 * Whoever finds J1 done for this sequence goes by what stands there. Who stores it has loaded the verdict first, then has
 * seen that `next` is this sequence, and then has loaded the producer's number: all that was judged before is in it. If
 * the verdict is still the one that was loaded, an earlier one, J2 had not been done for this sequence by then; and no
 * verdict stands there twice.
 *
 * J2 only makes the number larger, and only while `next` is this sequence. It comes before J3, so what somebody was given
 * is known from then on. A message that could not be read was claimed without a judgement: nobody was given it, so its
 * number may come once more, or has been stored by a helper that did read it: either way it was told as missing.
 *
 * The count of how often a producer was forgotten keeps a J2 that was prepared for the one before from its successor. */
static uint64_t number_in(uint64_t judged) { return judged >> NUMBER_SHIFT; }
static uint64_t forgotten_in(uint64_t judged) { return judged & ((1u << NUMBER_SHIFT) - 1); }

static bool is_next(const struct shmbus_group *group, uint64_t sequence) {
    return atomic_load_explicit(&group->lane->next, memory_order_seq_cst) == sequence;
}

static bool raise_number(const struct shmbus_group *group, uint64_t sequence, uint32_t producer, uint64_t number) {
    for (;;) {
        uint64_t seen = atomic_load_explicit(&group->judged[producer], memory_order_seq_cst);
        if (!is_next(group, sequence))
            return false;
        if (number <= number_in(seen) ||
            atomic_compare_exchange_strong_explicit(&group->judged[producer], &seen, number << NUMBER_SHIFT | forgotten_in(seen),
                                                    memory_order_seq_cst, memory_order_relaxed))
            return true;
    }
}

/* SHMBUS_OK: it is new. SHMBUS_STEPPED: a duplicate. SHMBUS_PASSED: the others are further. */
static enum shmbus_result judgement(const struct shmbus_group *group, uint64_t sequence, uint32_t producer, uint64_t number) {
    for (;;) {
        uint64_t verdict = atomic_load_explicit(&group->lane->verdict, memory_order_seq_cst);
        if (!is_next(group, sequence))
            return SHMBUS_PASSED;
        uint64_t seen = atomic_load_explicit(&group->judged[producer], memory_order_seq_cst);
        uint64_t made = sequence << 1 | (number <= number_in(seen));
        if (verdict >> 1 == sequence)
            made = verdict;
        else if (!atomic_compare_exchange_strong_explicit(&group->lane->verdict, &verdict, made, memory_order_seq_cst,
                                                          memory_order_relaxed))
            continue;
        KILLPOINT("group.judged");
        if (made & 1)
            return SHMBUS_STEPPED;
        return raise_number(group, sequence, producer, number) ? SHMBUS_OK : SHMBUS_PASSED;
    }
}

void shmbus_group_forget(const struct shmbus_group *group, uint32_t producer) {
    if (group->rows)
        shmbus_group_close_row(group, producer);
    if (producer >= group->producers)
        return;
    uint64_t seen = atomic_load_explicit(&group->judged[producer], memory_order_seq_cst);
    while (!atomic_compare_exchange_weak_explicit(&group->judged[producer], &seen, forgotten_in(seen + 1),
                                                  memory_order_seq_cst, memory_order_seq_cst))
        ;
}

enum shmbus_result shmbus_group_judge(const struct shmbus_group *group, uint64_t sequence, uint32_t producer, uint64_t number,
                                      uint64_t now_ns) {
    if (sequence - shmbus_group_floor(group) > group->mask)
        return sequence < shmbus_group_floor(group) ? SHMBUS_PASSED : SHMBUS_WINDOW;
    enum shmbus_result verdict = SHMBUS_OK;
    if (producer < group->producers)
        verdict = judgement(group, sequence, producer, number < SHMBUS_MAX_NUMBER ? number : SHMBUS_MAX_NUMBER);
    if (verdict == SHMBUS_PASSED)
        return verdict;
    bool duplicate = verdict == SHMBUS_STEPPED;
    uint64_t made = duplicate ? settled_word(group, sequence, SHMBUS_ENDED_REPEATED, producer & SHMBUS_MAX_PRODUCER_ID)
                              : make_word(lap_of(group, sequence), TAKEN, 1, group->member);
    enum shmbus_result result = first_word(group, sequence, made);
    KILLPOINT("group.claimed");
    if (result == SHMBUS_WINDOW)
        return result;
    move_next(group, sequence, 1);
    if (result != SHMBUS_OK)
        return result;
    if (duplicate) {
        atomic_fetch_add_explicit(&group->lane->duplicates, 1, memory_order_relaxed);
        return verdict;
    }
    note_whose(group, sequence, made);
    note_time(group, sequence, made, now_ns);
    return verdict;
}

/* ---- settle, return, retake ----------------------------------------------------------------------------------------- */

static uint64_t held(const struct shmbus_group *group, struct shmbus_taken taken, uint32_t member) {
    return make_word(lap_of(group, taken.sequence), TAKEN, taken.tries, member);
}

static bool settle_word(const struct shmbus_group *group, struct shmbus_taken taken, enum shmbus_ending ending) {
    uint32_t producer = group->rows ? whose(group, taken.sequence) : 0;
    uint64_t settled = settled_word(group, taken.sequence, ending, producer);
    bool done = change(group, taken.sequence, held(group, taken, group->member), settled);
    KILLPOINT("group.settled");
    if (done && ending != SHMBUS_ENDED_DELIVERED)
        shmbus_group_let_go(group, taken.sequence, settled);
    return done;
}

bool shmbus_group_settle_quietly(const struct shmbus_group *group, struct shmbus_taken taken) {
    return settle_word(group, taken, SHMBUS_ENDED_DELIVERED);
}

uint32_t shmbus_group_settle_run(const struct shmbus_group *group, struct shmbus_taken first, uint32_t count) {
    uint32_t done = 0;
    for (uint32_t i = 0; i < count; i++)
        done += shmbus_group_settle_quietly(group, (struct shmbus_taken){first.sequence + i, first.tries});
    return done;
}

bool shmbus_group_settle_as(const struct shmbus_group *group, struct shmbus_taken taken, enum shmbus_ending ending,
                            uint64_t *advanced) {
    bool done = settle_word(group, taken, ending);
    *advanced += shmbus_group_advance(group);
    return done;
}

bool shmbus_group_settle_read(const struct shmbus_group *group, struct shmbus_taken taken, const struct shmbus_frame *frame,
                              uint64_t *advanced) {
    bool done = settle_word(group, taken, SHMBUS_ENDED_DELIVERED);
    *advanced += group->rows ? shmbus_group_book(group, frame) : advance_floor(group);
    return done;
}

bool shmbus_group_settle(const struct shmbus_group *group, struct shmbus_taken taken, uint64_t *advanced) {
    return shmbus_group_settle_as(group, taken, SHMBUS_ENDED_DELIVERED, advanced);
}

/* What was given back and has been dropped by the ring is nobody's to give out again. */
static bool drop_returned(const struct shmbus_group *group, uint64_t sequence, uint64_t word) {
    if (sequence >= shmbus_group_floor(group))
        return false;
    abandon(group, sequence, word);
    return true;
}

static enum shmbus_result give_back(const struct shmbus_group *group, struct shmbus_taken taken, uint32_t member) {
    uint64_t returned = make_word(lap_of(group, taken.sequence), RETURNED, taken.tries, 0);
    if (!change(group, taken.sequence, held(group, taken, member), returned))
        return SHMBUS_PASSED;
    KILLPOINT("group.returned");
    if (drop_returned(group, taken.sequence, returned))
        return SHMBUS_OVERRUN;
    atomic_fetch_add_explicit(&group->lane->returned, 1, memory_order_seq_cst);
    return SHMBUS_OK;
}

enum shmbus_result shmbus_group_return(const struct shmbus_group *group, struct shmbus_taken taken) {
    return give_back(group, taken, group->member);
}

bool shmbus_group_returned(const struct shmbus_group *group, uint64_t *sequence) {
    uint64_t floor = shmbus_group_floor(group);
    for (uint64_t at = floor; at - floor <= group->mask; at++) {
        uint64_t word = atomic_load_explicit(word_of(group, at), memory_order_seq_cst);
        if (unclaimed(group, word, at))
            return false; /* nobody was given this one yet, nor any after it */
        if (lap_in(word) != lap_of(group, at) || state_in(word) != RETURNED)
            continue;
        *sequence = at;
        return true;
    }
    return false;
}

bool shmbus_group_retake_at(const struct shmbus_group *group, uint64_t sequence, uint64_t now_ns, struct shmbus_taken *taken) {
    uint64_t word = atomic_load_explicit(word_of(group, sequence), memory_order_seq_cst);
    if (lap_in(word) != lap_of(group, sequence) || state_in(word) != RETURNED)
        return false;
    uint32_t tries = tries_in(word) < SHMBUS_MAX_TRIES ? tries_in(word) + 1 : SHMBUS_MAX_TRIES;
    uint64_t made = make_word(lap_in(word), TAKEN, tries, group->member);
    if (!change(group, sequence, word, made))
        return false;
    KILLPOINT("group.retaken");
    shmbus_group_note_whose_again(group, sequence, made);
    note_time(group, sequence, made, now_ns);
    atomic_fetch_add_explicit(&group->lane->redelivered, 1, memory_order_relaxed);
    *taken = (struct shmbus_taken){sequence, tries};
    return true;
}

bool shmbus_group_retake(const struct shmbus_group *group, uint64_t now_ns, struct shmbus_taken *taken) {
    uint64_t sequence;
    while (shmbus_group_returned(group, &sequence))
        if (shmbus_group_retake_at(group, sequence, now_ns, taken))
            return true;
    return false;
}

bool shmbus_group_extend(const struct shmbus_group *group, struct shmbus_taken taken, uint64_t now_ns) {
    uint64_t word = held(group, taken, group->member);
    _Atomic uint64_t *at = word_of(group, taken.sequence);
    if (atomic_load_explicit(at, memory_order_seq_cst) != word)
        return false; /* and the time is another's */
    note_time(group, taken.sequence, word, now_ns);
    return atomic_load_explicit(at, memory_order_seq_cst) == word;
}

/* ---- for those who do not settle themselves ----------------------------------------------------------------------------- */

/* What somebody let go who was killed, or is stopped, before they had counted and booked it. */
static void complete(const struct shmbus_group *group, uint32_t index, uint64_t word) {
    uint64_t sequence = sequence_at(group, index, lap_in(word));
    if (state_in(word) == RETURNED)
        drop_returned(group, sequence, word);
    else if (state_in(word) == SETTLED && ending_in(word) != SHMBUS_ENDED_DELIVERED)
        shmbus_group_let_go(group, sequence, word);
}

void shmbus_group_complete(const struct shmbus_group *group) {
    if (group->rows)
        shmbus_group_finish(group);
    for (uint32_t i = 0; i <= group->mask; i++)
        complete(group, i, atomic_load_explicit(&group->words[i], memory_order_seq_cst));
}

uint32_t shmbus_group_reap(const struct shmbus_group *group, uint32_t member) {
    uint32_t count = 0;
    for (uint32_t i = 0; i <= group->mask; i++) {
        uint64_t word = atomic_load_explicit(&group->words[i], memory_order_seq_cst);
        if (state_in(word) != TAKEN || member_in(word) != member) {
            complete(group, i, word);
            continue;
        }
        struct shmbus_taken taken = {sequence_at(group, i, lap_in(word)), tries_in(word)};
        count += give_back(group, taken, member) != SHMBUS_PASSED;
    }
    shmbus_group_advance(group); /* a member may have died between settling and this */
    return count;
}

uint32_t shmbus_group_expire(const struct shmbus_group *group, uint64_t now_ns, uint64_t limit_ns) {
    uint32_t count = 0;
    for (uint32_t i = 0; i <= group->mask; i++) {
        uint64_t word = atomic_load_explicit(&group->words[i], memory_order_seq_cst);
        if (state_in(word) != TAKEN)
            continue;
        uint64_t time = atomic_load_explicit(&group->times[i], memory_order_relaxed), now = time_for(word, now_ns);
        uint64_t tag = (1ull << TIME_SHIFT) - 1;
        if ((time & tag) != (now & tag)) { /* its holder has not said since when, and may be dead or stopped: from now on */
            atomic_compare_exchange_strong_explicit(&group->times[i], &time, now, memory_order_relaxed, memory_order_relaxed);
            continue;
        }
        if (now > time && (now - time) >> TIME_SHIFT > limit_ns / NS_PER_MS) {
            struct shmbus_taken taken = {sequence_at(group, i, lap_in(word)), tries_in(word)};
            count += give_back(group, taken, member_in(word)) != SHMBUS_PASSED;
        }
    }
    return count;
}

/* Settle what nobody holds of [from, to), which the ring has dropped. */
static uint64_t drop(const struct shmbus_group *group, uint64_t from, uint64_t to) {
    uint64_t lost = 0;
    for (uint64_t at = from; at < to; at++) {
        uint64_t word = atomic_load_explicit(word_of(group, at), memory_order_seq_cst);
        uint64_t settled = settled_word(group, at, SHMBUS_ENDED_OVERRUN, 0);
        while (unclaimed(group, word, at) || (lap_in(word) == lap_of(group, at) && state_in(word) == RETURNED)) {
            if (unclaimed(group, word, at) && !put_away(group, at, word)) {
                word = atomic_load_explicit(word_of(group, at), memory_order_seq_cst);
                continue;
            }
            if (!atomic_compare_exchange_weak_explicit(word_of(group, at), &word, settled, memory_order_seq_cst,
                                                       memory_order_seq_cst))
                continue;
            shmbus_group_let_go(group, at, settled); /* somebody may have held it when the floor passed it */
            lost++;
            break;
        }
    }
    return lost;
}

/* Move the floor on from there to `head`, over what somebody still holds, too. Where it stands then, if we did that: not at
 * `head` yet, if only a part could be booked at a time. 0: we did not. */
static uint64_t pass(const struct shmbus_group *group, uint64_t floor, uint64_t head) {
    if (group->rows)
        return shmbus_group_book_past(group, floor, head);
    return atomic_compare_exchange_strong_explicit(&group->cursor->position, &floor, head, memory_order_seq_cst,
                                                   memory_order_relaxed)
               ? head
               : 0;
}

uint64_t shmbus_group_skip(const struct shmbus_group *group, uint64_t head) {
    uint64_t lost = 0, floor;
    while ((floor = shmbus_group_floor(group)) < head) {
        uint64_t to = head - floor > group->mask ? floor + group->mask + 1 : head;
        lost += drop(group, floor, to);
        KILLPOINT("group.dropped");
        /* Then the second look, see above. Beyond the window nobody was given anything, so whoever moves the floor counts that. */
        uint64_t passed = pass(group, floor, head);
        lost += passed > to ? passed - to : 0;
        lost += drop(group, floor, passed < to ? passed : to);
    }
    shmbus_group_next(group);
    shmbus_group_advance(group); /* what was settled from head on, while what stood before it was held */
    if (group->rows && group->ring)
        shmbus_group_explain(group);
    return lost;
}

static bool move_over(const struct shmbus_group *group, uint64_t sealed, uint64_t first) {
    if (group->rows)
        return shmbus_group_book_bridge(group, sealed, first);
    return atomic_compare_exchange_strong_explicit(&group->cursor->position, &sealed, first, memory_order_seq_cst,
                                                   memory_order_relaxed);
}

bool shmbus_group_bridge(const struct shmbus_group *group, uint64_t sealed, uint64_t first) {
    shmbus_group_advance(group);
    bool moved = sealed < first && move_over(group, sealed, first);
    KILLPOINT("group.bridged");
    shmbus_group_next(group);
    return moved || shmbus_group_floor(group) >= first;
}
