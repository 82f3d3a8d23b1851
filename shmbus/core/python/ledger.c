/* Losses by producer: what one ring of a subscription says of each of those who publish to it, see ../ledger.c.
 *
 * Where a reader was overrun, the numbers of the messages that are still there tell how many of each producer are not; of one
 * that leaves out numbers, how many messages its ring says it had published by there, less those before the reader began, less
 * those that have been accounted for. A sequence that went by unread is at most one message, so no publisher can have more
 * counted as lost than went by.
 */
#include "reader.h"

enum { TRIES = 8 };

static uint32_t ids(const Entry *entry) { return entry->ring->ring.producers + 1; }

static struct row_ref *ref_of(Entry *entry, uint32_t producer) {
    if (producer >= ids(entry))
        return NULL;
    if (producer >= entry->row_count) {
        uint32_t count = producer + 1;
        struct row_ref *grown = PyMem_Realloc(entry->rows, count * sizeof *grown);
        if (!grown)
            return NULL;
        memset(grown + entry->row_count, 0, (count - entry->row_count) * sizeof *grown);
        entry->rows = grown;
        entry->row_count = count;
    }
    return &entry->rows[producer];
}

static uint32_t version_of(const Entry *entry, uint32_t producer) {
    struct shmbus_producer *its = shmbus_producer_entry(&entry->ring->ring, producer);
    return its ? atomic_load_explicit(&its->version, memory_order_acquire) : 0;
}

/* May it leave out numbers, and counts them? */
static bool skips_counted(const Entry *entry, uint32_t producer) {
    return shmbus_may_skip_numbers(&entry->ring->ring, producer) && counts_leaps(&entry->ring->ring);
}

static void set_before(const Entry *entry, uint32_t producer, struct row_ref *ref, uint64_t before) {
    ref->before = before;
    ref->open = before == SHMBUS_UNCOUNTED && skips_counted(entry, producer);
}

static struct shmbus_row *new_row(Entry *entry, uint32_t tag, uint64_t base, uint64_t before) {
    if (entry->session)
        return shmbus_row_open(&entry->session->ledger, entry->place, tag, base, before);
    struct shmbus_row *row = PyMem_Calloc(1, sizeof *row);
    if (row)
        shmbus_row_restart(row, tag, base, NULL, 0);
    return row;
}

void ledger_end(Entry *entry) {
    for (uint32_t i = 0; !entry->session && i < entry->row_count; i++)
        PyMem_Free(entry->rows[i].row);
    PyMem_Free(entry->rows);
    entry->rows = NULL;
    entry->row_count = 0;
}

/* The row of a producer, if there is room for it; a new one begins after the number `base`, up to which it had published
 * `before` messages. `stranger`: the id was another's, of whom nothing more can be told. */
static struct shmbus_row *row_of(Entry *entry, uint32_t producer, uint64_t base, uint64_t before, bool *stranger) {
    struct row_ref *ref = ref_of(entry, producer);
    if (!ref)
        return NULL;
    uint32_t version = version_of(entry, producer);
    if (ref->row && ref->version == version)
        return ref->row;
    uint32_t tag = shmbus_producer_tag(&entry->ring->ring, producer);
    ref->version = version; /* before the tag was loaded: an id gets its next owner's numbers before its next owner's name */
    if (!ref->row) {
        ref->row = new_row(entry, tag, base, before);
        set_before(entry, producer, ref, before);
        entry->crowded |= !ref->row;
    } else if (atomic_load_explicit(&ref->row->producer, memory_order_relaxed) != tag) {
        *stranger = true;
        shmbus_row_restart(ref->row, tag, base, entry->session ? shmbus_row_before(&entry->session->ledger, ref->row) : NULL, before);
        set_before(entry, producer, ref, before);
    }
    return ref->row;
}

/* What to ask shmbus_numbers_before() with: numbers by id, and room for as many counts; or NULL with an exception. */
static uint64_t *numbers_asked(Entry *entry) {
    uint64_t *numbers = PyMem_Malloc(2 * ids(entry) * sizeof *numbers);
    if (!numbers)
        return (uint64_t *)PyErr_NoMemory();
    numbers[0] = SHMBUS_UNASKED;
    for (uint32_t producer = 1; producer < ids(entry); producer++)
        numbers[producer] = shmbus_numbers_used(&entry->ring->ring, producer) ? 0 : SHMBUS_UNASKED;
    return numbers;
}

/* Of one that uses every number, the numbers tell; and of one that was in the middle of a message when we began, the next one does
 * whether it was before. */
static uint64_t begins_after(const Entry *entry, uint32_t producer, uint64_t count) {
    bool open = skips_counted(entry, producer) && shmbus_numbers_unfinished(&entry->ring->ring, producer);
    return open ? SHMBUS_UNCOUNTED : count;
}

static enum shmbus_result numbers_before(Entry *entry, uint64_t from, uint64_t *numbers) {
    return shmbus_numbers_before(&entry->ring->ring, from, numbers, numbers + ids(entry), ids(entry) - 1);
}

static bool take_up(Entry *entry) {
    struct shmbus_row *row = NULL;
    bool any = false;
    while (entry->session && (row = shmbus_row_next(&entry->session->ledger, entry->place, row))) {
        uint32_t producer = atomic_load_explicit(&row->producer, memory_order_relaxed) & SHMBUS_MAX_PRODUCER_ID;
        struct row_ref *ref = ref_of(entry, producer);
        if (ref && !ref->row) {
            const _Atomic uint64_t *before = shmbus_row_before(&entry->session->ledger, row);
            *ref = (struct row_ref){.row = row, .version = UINT32_MAX};
            set_before(entry, producer, ref, before ? atomic_load_explicit(before, memory_order_relaxed) : SHMBUS_UNCOUNTED);
        }
        any = true;
    }
    return any;
}

/* Nothing from there on is its: it had left before. */
static bool was_gone(const Entry *entry, uint32_t producer, uint64_t from) {
    uint64_t left = shmbus_producer_left(&entry->ring->ring, producer);
    return left && left <= from;
}

/* Is it somebody's, or nobody says whose, and may have published something from there on? */
static bool may_publish(const Entry *entry, uint32_t producer, uint64_t from) {
    struct shmbus_identity who;
    if (was_gone(entry, producer, from))
        return false;
    return shmbus_producer_get(&entry->ring->ring, producer, &who) ||
           shmbus_producer_tag(&entry->ring->ring, producer) >> SHMBUS_PRODUCER_BITS == 0;
}

/* It gets what was published from the beginning on: all that is missing is lost. */
static void from_the_first(Entry *entry, uint64_t *numbers) {
    bool stranger = false;
    for (uint32_t producer = 1; producer < ids(entry); producer++) {
        struct shmbus_row *row = numbers[producer] == SHMBUS_UNASKED ? NULL : row_of(entry, producer, 0, 0, &stranger);
        if (row && atomic_load_explicit(&row->producer, memory_order_relaxed) >> SHMBUS_PRODUCER_BITS > 1)
            entry->unknown = true; /* the id was another's before */
    }
    PyMem_Free(numbers);
}

bool ledger_begin(Entry *entry) {
    entry->began = entry->position;
    if (entry->position >= shmbus_tail(&entry->ring->ring))
        entry->voids = atomic_load_explicit(&entry->ring->ring.header->aborted, memory_order_relaxed);
    if (entry->source->group || take_up(entry))
        return true; /* the group counts, or this ring is the successor of one that we have rows from */
    uint64_t *numbers = numbers_asked(entry), from = entry->position;
    if (!numbers)
        return false;
    if (entry->ring->generation == 0 && from <= entry->ring->ring.header->first_sequence) {
        from_the_first(entry, numbers);
        return true;
    }
    shmbus_await_claims(&entry->ring->ring, from, SHMBUS_CLAIM_NS);
    for (int tries = 0; numbers_before(entry, from, numbers) != SHMBUS_OK && tries < TRIES; tries++) {
        from = shmbus_head(&entry->ring->ring);
        PyMem_Free(numbers);
        if (!(numbers = numbers_asked(entry)))
            return false;
    }
    entry->unknown = from > entry->position;
    entry->began = from;
    bool stranger = false;
    for (uint32_t producer = 1; producer < ids(entry); producer++)
        if (numbers[producer] != SHMBUS_UNASKED && may_publish(entry, producer, from))
            row_of(entry, producer, numbers[producer], begins_after(entry, producer, numbers[ids(entry) + producer]), &stranger);
    PyMem_Free(numbers);
    return true;
}

/* ---- what comes ---------------------------------------------------------------------------------------------------- */

static bool has_row(const Entry *entry, uint32_t producer) { return producer < entry->row_count && entry->rows[producer].row; }

/* How many messages it had published before a row that begins with one of them: is found out, of one that may leave out numbers. */
static uint64_t begins_late(const Entry *entry, uint32_t producer) {
    return skips_counted(entry, producer) ? SHMBUS_UNCOUNTED : 0;
}

/* How many messages it had published before the one that stands at the position; of one that may leave out numbers. */
static uint64_t count_before(const Entry *entry, uint32_t producer) {
    bool skips = skips_counted(entry, producer);
    return skips ? shmbus_count_before(&entry->ring->ring, entry->position, producer) : SHMBUS_UNCOUNTED;
}

/* Of those, how many had been published before the row began is known when all since then are in it. */
static void find_beginning(Entry *entry, uint32_t producer) {
    struct row_ref *ref = &entry->rows[producer];
    uint64_t count = entry->unread ? SHMBUS_UNCOUNTED : count_before(entry, producer);
    uint64_t accounted = atomic_load_explicit(&ref->row->last, memory_order_relaxed) -
                         atomic_load_explicit(&ref->row->base, memory_order_relaxed);
    if (count == SHMBUS_UNCOUNTED || count < accounted)
        return;
    set_before(entry, producer, ref, count - accounted);
    _Atomic uint64_t *before = entry->session ? shmbus_row_before(&entry->session->ledger, ref->row) : NULL;
    if (before)
        atomic_store_explicit(before, ref->before, memory_order_relaxed);
}

PyObject *ledger_missing(Entry *entry, const struct shmbus_frame *frame) {
    if (entry->unread == 0)
        return NULL;
    bool stranger = false;
    uint64_t number = frame->producer_sequence - 1, before = entry->crowded ? begins_late(entry, frame->producer) : 0;
    struct shmbus_row *row = row_of(entry, frame->producer, entry->crowded ? number : 0, before, &stranger);
    struct row_ref *ref = row ? &entry->rows[frame->producer] : NULL;
    if (!row || ref->overrun == entry->overruns)
        return NULL;
    uint64_t count = count_before(entry, frame->producer);
    if (count == SHMBUS_UNCOUNTED && skips_counted(entry, frame->producer))
        return NULL; /* the ring was faster: told with its next message rather than as another's */
    uint64_t lost = shmbus_row_missing(row, ref->before, number, count);
    lost = lost < entry->unread ? lost : entry->unread;
    if (!lost) {
        ref->overrun = entry->overruns;
        return NULL;
    }
    PyObject *told = reader_gap(entry, entry->position, lost, "overrun", frame->producer);
    if (told) {
        entry->unread -= lost;
        add_to(&entry->cursor->lost, lost);
        shmbus_row_lose(row, number, lost);
    }
    return told;
}

void ledger_account(Entry *entry, uint32_t producer, uint64_t number, enum shmbus_outcome outcome) {
    if (entry->source->group)
        return;
    bool stranger = false;
    uint64_t before = has_row(entry, producer) ? 0 : begins_late(entry, producer); /* else another one has the id now */
    struct shmbus_row *row = row_of(entry, producer, number - 1, before, &stranger);
    if (!row)
        return;
    if (entry->rows[producer].open)
        find_beginning(entry, producer);
    shmbus_row_account(row, number, outcome);
}

void ledger_account_unread(Entry *entry, uint32_t producer, enum shmbus_outcome outcome) {
    bool stranger = false;
    if (entry->source->group || !producer || producer >= ids(entry))
        return;
    struct shmbus_row *row = row_of(entry, producer, 0, 0, &stranger);
    if (row)
        shmbus_row_account(row, atomic_load_explicit(&row->last, memory_order_relaxed) + 1, outcome);
}

/* ---- what is gone -------------------------------------------------------------------------------------------------- */

/* What the rows know. */
static void ask_rows(Entry *entry, uint64_t *numbers, bool *rowless, bool *stranger) {
    for (uint32_t producer = 1; producer < ids(entry); producer++) {
        if (numbers[producer] == SHMBUS_UNASKED)
            continue;
        bool known = has_row(entry, producer), gone = !known && was_gone(entry, producer, entry->began);
        struct shmbus_row *row = known || !(gone || entry->crowded) ? row_of(entry, producer, 0, 0, stranger) : NULL;
        *rowless |= !row && !gone;
        numbers[producer] = row ? atomic_load_explicit(&row->last, memory_order_relaxed) : SHMBUS_UNASKED;
    }
}

static bool add_gap(Entry *entry, PyObject *gaps, uint64_t first, uint64_t count, uint32_t producer) {
    PyObject *gap = reader_gap(entry, first, count, "overrun", producer);
    bool added = gap && PyList_Append(gaps, gap) == 0;
    Py_XDECREF(gap);
    return added;
}

/* The row of a producer of which something may be missing, if its turn is in this pass: see shmbus_may_skip_numbers(). */
static struct shmbus_row *row_in_turn(const Entry *entry, const uint64_t *numbers, uint32_t producer, bool skips) {
    if (numbers[producer] == SHMBUS_UNASKED || shmbus_may_skip_numbers(&entry->ring->ring, producer) != skips)
        return NULL;
    return entry->rows[producer].row;
}

static uint64_t missing_of(const Entry *entry, const struct shmbus_row *row, const uint64_t *numbers, uint32_t producer) {
    bool skips = shmbus_may_skip_numbers(&entry->ring->ring, producer);
    uint64_t count = skips ? numbers[ids(entry) + producer] : SHMBUS_UNCOUNTED;
    return shmbus_row_missing(row, entry->rows[producer].before, numbers[producer], count);
}

/* Gaps of those who lost something of `*budget` sequences, which loses as much. False with an exception. */
static bool gaps_of(Entry *entry, PyObject *gaps, const uint64_t *numbers, bool skips, uint64_t first, uint64_t *budget) {
    for (uint32_t producer = 1; producer < entry->row_count; producer++) {
        struct shmbus_row *row = row_in_turn(entry, numbers, producer, skips);
        if (!row)
            continue;
        uint64_t lost = missing_of(entry, row, numbers, producer);
        lost = lost < *budget ? lost : *budget;
        *budget -= lost;
        if (lost && !add_gap(entry, gaps, first, lost, producer))
            return false;
    }
    return true;
}

static uint64_t count_lost(Entry *entry, const uint64_t *numbers, bool skips, uint64_t budget) {
    for (uint32_t producer = 1; producer < entry->row_count; producer++) {
        struct shmbus_row *row = row_in_turn(entry, numbers, producer, skips);
        if (!row)
            continue;
        uint64_t lost = missing_of(entry, row, numbers, producer);
        lost = lost < budget ? lost : budget;
        if (lost || numbers[producer] > atomic_load_explicit(&row->last, memory_order_relaxed))
            shmbus_row_lose(row, numbers[producer], lost);
        budget -= lost;
    }
    return budget;
}

/* So many producers may have published a message whose number they have not stored yet: it will be told with their next. */
static uint64_t uncounted(const Entry *entry) {
    uint64_t count = 0, published, claiming;
    for (uint32_t producer = 1; producer < entry->row_count; producer++) {
        published = claiming = 0;
        shmbus_numbers_get(&entry->ring->ring, producer, &published, &claiming);
        count += claiming > published;
    }
    return count;
}

/* So many claims came to nothing, and have not been stepped over or accounted for: what went by unread may have been these. */
static uint64_t aborted(const Entry *entry) {
    uint64_t all = atomic_load_explicit(&entry->ring->ring.header->aborted, memory_order_relaxed);
    return all > entry->voids ? all - entry->voids : 0;
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

PyObject *ledger_overrun(Entry *entry, uint64_t *head) {
    uint64_t at = entry->position, *numbers = numbers_asked(entry);
    PyObject *gaps = numbers ? PyList_New(0) : NULL;
    enum shmbus_result result = SHMBUS_OVERRUN;
    bool rowless = false, stranger = entry->unknown;
    for (int tries = 0; gaps && result != SHMBUS_OK && tries < TRIES; tries++) {
        ask_rows(entry, numbers, &rowless, &stranger);
        /* Publishers that overwrite what is asked for would overwrite what stands there before it could be read, too: so the
         * next time we ask a little further on. */
        uint64_t tail = shmbus_tail(&entry->ring->ring);
        *head = shmbus_head(&entry->ring->ring);
        *head += tail > *head ? (tail - *head) / 16 * (uint64_t)tries : 0;
        result = numbers_before(entry, *head, numbers);
    }
    entry->overruns++;
    uint64_t range = *head - at, all = range + entry->unread, left = all, nobodys = 0, voids = 0;
    if (gaps && result == SHMBUS_OK) {
        bool whole = gaps_of(entry, gaps, numbers, false, at, &left) && gaps_of(entry, gaps, numbers, true, at, &left);
        uint64_t unstored = uncounted(entry);
        voids = least(left, aborted(entry));
        nobodys = rowless || stranger ? left : left - voids > unstored ? left - voids - unstored : 0;
        if (whole && nobodys)
            whole = add_gap(entry, gaps, at, nobodys, 0);
        if (!whole)
            Py_CLEAR(gaps);
    }
    if (gaps && result == SHMBUS_OK) {
        count_lost(entry, numbers, true, count_lost(entry, numbers, false, all));
        add_to(&entry->cursor->lost, all - left + nobodys);
        entry->unread = rowless || stranger ? 0 : left - voids - nobodys;
        entry->voids += voids;
        entry->unknown = false;
    } else if (gaps) { /* publishers are faster than we look: told with the next message of each */
        entry->unread = all;
    }
    PyMem_Free(numbers);
    return gaps;
}
