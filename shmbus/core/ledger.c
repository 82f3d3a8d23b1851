/* The ledger: what one cursor got, and what it missed and why, of each producer.
 *
 * Only the client writes its rows, and the coordinator frees them when the cursor is nobody's; anybody may read them. What is
 * delivered is the case that matters, so it costs one plain store: `last` moves on by one, and what was delivered is what is
 * left of last - base when the losses are taken away. A client that is killed between two instructions has either counted a
 * message or not. Where more than one number changes, `changing` is odd meanwhile: a reader that finds it so looks again, for
 * as long as a live client could take, and then takes what it finds.
 */
#include <string.h>

#include "layout.h"

enum { LOOKS = 1000 };

/* Rows that get memory at a time: as many as fit into the smallest page. And to look for a free one in vain takes as long as
 * what else is done for a message, for each of so many rows: in the long run it costs no more than that. */
enum { ROWS_AT_A_TIME = 64, ROWS_A_MESSAGE = 8 };

void shmbus_ledger_view(struct shmbus_ledger *ledger, void *memory, size_t size) {
    struct shmbus_session_page *page = memory;
    *ledger = (struct shmbus_ledger){.cursors = 0};
    uint32_t cursors = page->capacity, rows = page->rows;
    size_t bytes = shmbus_ledger_offset(cursors) + (size_t)rows * sizeof *ledger->rows;
    size_t counts = page->counted ? (size_t)rows * sizeof *ledger->before : 0;
    if (!rows || bytes + counts > size)
        return;
    ledger->before = counts ? (void *)((unsigned char *)memory + bytes) : NULL;
    ledger->first = (void *)&page->cursors[cursors];
    ledger->rows = (void *)((unsigned char *)memory + shmbus_ledger_offset(cursors));
    ledger->backed = &page->backed;
    ledger->cursors = cursors;
    ledger->capacity = rows;
}

static void begin_change(struct shmbus_row *row) {
    atomic_store_explicit(&row->changing, atomic_load_explicit(&row->changing, memory_order_relaxed) | 1u, memory_order_relaxed);
    FENCE(memory_order_release); /* pairs with the acquire fence in shmbus_row_read(): who sees a new number sees it odd */
}

static void end_change(struct shmbus_row *row) {
    /* release: pairs with the first load in shmbus_row_read(), who sees it even sees all numbers before it */
    atomic_store_explicit(&row->changing, atomic_load_explicit(&row->changing, memory_order_relaxed) + 1u, memory_order_release);
}

static uint64_t get(const _Atomic uint64_t *number) { return atomic_load_explicit(number, memory_order_relaxed); }
static void set(_Atomic uint64_t *number, uint64_t value) { atomic_store_explicit(number, value, memory_order_relaxed); }
static void grow(_Atomic uint64_t *number, uint64_t by) { set(number, get(number) + by); }
static void grow_small(_Atomic uint32_t *number) {
    atomic_store_explicit(number, atomic_load_explicit(number, memory_order_relaxed) + 1, memory_order_relaxed);
}

_Atomic uint64_t *shmbus_row_before(const struct shmbus_ledger *ledger, const struct shmbus_row *row) {
    return ledger->before ? &ledger->before[row - ledger->rows] : NULL;
}

void shmbus_row_restart(struct shmbus_row *row, uint32_t tag, uint64_t base, _Atomic uint64_t *count, uint64_t before) {
    _Atomic uint64_t *numbers[] = {&row->overrun, &row->expired, &row->filtered};
    begin_change(row);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        set(numbers[i], 0);
    atomic_store_explicit(&row->corrupt, 0, memory_order_relaxed);
    atomic_store_explicit(&row->repeated, 0, memory_order_relaxed);
    set(&row->base, base);
    set(&row->last, base);
    if (count)
        set(count, before);
    atomic_store_explicit(&row->producer, tag, memory_order_relaxed);
    end_change(row);
}

static uint32_t rows_with_memory(const struct shmbus_ledger *ledger) {
    uint32_t backed = atomic_load_explicit(ledger->backed, memory_order_relaxed);
    return backed && backed < ledger->capacity ? backed : ledger->capacity;
}

/* With what stands beside them. Whoever is killed before it is said that the rows have memory leaves rows that have some and are
 * not used. */
static bool back_rows(const struct shmbus_ledger *ledger, uint32_t first, uint32_t count) {
    return ledger->back && ledger->back(&ledger->rows[first], count * sizeof *ledger->rows) &&
           (!ledger->before || ledger->back(&ledger->before[first], count * sizeof *ledger->before));
}

static bool grow_by_some(struct shmbus_ledger *ledger) {
    uint32_t backed = rows_with_memory(ledger), more = ledger->capacity - backed;
    more = more < ROWS_AT_A_TIME ? more : ROWS_AT_A_TIME;
    if (!more || !back_rows(ledger, backed, more))
        return false;
    atomic_store_explicit(ledger->backed, backed + more, memory_order_relaxed);
    ledger->hint = backed;
    return true;
}

static struct shmbus_row *look_for_free_row(struct shmbus_ledger *ledger) {
    for (uint32_t looked = 0, count = rows_with_memory(ledger); looked < count; looked++) {
        struct shmbus_row *row = &ledger->rows[(ledger->hint + looked) % count];
        /* acquire: pairs with shmbus_rows_close(), by the coordinator */
        if (atomic_load_explicit(&row->owner, memory_order_acquire) == 0)
            return row;
    }
    return NULL;
}

static struct shmbus_row *free_row(struct shmbus_ledger *ledger) {
    if (ledger->fruitless) {
        ledger->fruitless--;
        return NULL;
    }
    struct shmbus_row *row = look_for_free_row(ledger);
    if (!row && grow_by_some(ledger))
        row = look_for_free_row(ledger);
    if (!row)
        ledger->fruitless = rows_with_memory(ledger) / ROWS_A_MESSAGE;
    return row;
}

struct shmbus_row *shmbus_row_open(struct shmbus_ledger *ledger, uint32_t cursor, uint32_t tag, uint64_t base, uint64_t before) {
    struct shmbus_row *row = cursor < ledger->cursors ? free_row(ledger) : NULL;
    if (!row)
        return NULL;
    uint32_t at = (uint32_t)(row - ledger->rows);
    ledger->hint = at + 1;
    shmbus_row_restart(row, tag, base, shmbus_row_before(ledger, row), before);
    atomic_store_explicit(&row->next, atomic_load_explicit(&ledger->first[cursor], memory_order_relaxed), memory_order_relaxed);
    atomic_store_explicit(&row->owner, cursor + 1, memory_order_relaxed);
    /* release: who finds the row finds it filled in */
    atomic_store_explicit(&ledger->first[cursor], at + 1, memory_order_release);
    return row;
}

struct shmbus_row *shmbus_row_next(const struct shmbus_ledger *ledger, uint32_t cursor, const struct shmbus_row *row) {
    if (cursor >= ledger->cursors)
        return NULL;
    uint32_t at = atomic_load_explicit(row ? &row->next : &ledger->first[cursor], memory_order_acquire);
    if (at == 0 || at > ledger->capacity)
        return NULL;
    struct shmbus_row *found = &ledger->rows[at - 1];
    return atomic_load_explicit(&found->owner, memory_order_acquire) == cursor + 1 ? found : NULL; /* freed meanwhile */
}

void shmbus_rows_close(const struct shmbus_ledger *ledger, uint32_t cursor) {
    struct shmbus_row *row = shmbus_row_next(ledger, cursor, NULL);
    if (cursor < ledger->cursors)
        atomic_store_explicit(&ledger->first[cursor], 0, memory_order_release);
    while (row) {
        struct shmbus_row *gone = row;
        row = shmbus_row_next(ledger, cursor, gone);
        /* Freed as we go, so a chain that a client bent into a ring ends where it was begun. */
        atomic_store_explicit(&gone->owner, 0, memory_order_release);
    }
}

uint64_t shmbus_row_missing(const struct shmbus_row *row, uint64_t before, uint64_t number, uint64_t count) {
    uint64_t last = get(&row->last), base = get(&row->base), more = number > last ? number - last : 0;
    if (before == SHMBUS_UNCOUNTED || count == SHMBUS_UNCOUNTED)
        return more;
    uint64_t known = before + last - base, missing = count > known ? count - known : 0;
    return missing < more + base ? missing : more + base; /* whatever the ring says, each has a number */
}

void shmbus_row_lose(struct shmbus_row *row, uint64_t number, uint64_t lost) {
    uint64_t last = get(&row->last), more = number > last ? number - last : 0;
    begin_change(row);
    grow(&row->overrun, lost);
    grow(&row->base, more - lost); /* modulo 2^64: down, if more was lost */
    grow(&row->last, more);
    end_change(row);
}

void shmbus_row_account(struct shmbus_row *row, uint64_t number, enum shmbus_outcome outcome) {
    uint64_t last = get(&row->last);
    if (number == last + 1 && outcome == SHMBUS_DELIVERED) {
        set(&row->last, number);
        return;
    }
    if (number <= last) {
        grow_small(&row->repeated);
        return;
    }
    begin_change(row);
    grow(&row->base, number - last - 1);
    set(&row->last, number);
    switch (outcome) {
    case SHMBUS_LOST_EXPIRED: grow(&row->expired, 1); break;
    case SHMBUS_LOST_CORRUPT: grow_small(&row->corrupt); break;
    case SHMBUS_LEFT_FILTERED: grow(&row->filtered, 1); break;
    case SHMBUS_DELIVERED: break;
    }
    end_change(row);
}

struct shmbus_entry shmbus_row_read(const struct shmbus_row *row, const _Atomic uint64_t *before) {
    struct shmbus_entry entry;
    for (unsigned looks = 0;; looks++) {
        uint32_t changing = atomic_load_explicit(&row->changing, memory_order_acquire);
        uint32_t tag = atomic_load_explicit(&row->producer, memory_order_relaxed);
        entry = (struct shmbus_entry){
            .producer = tag & SHMBUS_MAX_PRODUCER_ID,
            .version = tag >> SHMBUS_PRODUCER_BITS,
            .base = get(&row->base),
            .overrun = get(&row->overrun),
            .expired = get(&row->expired),
            .corrupt = atomic_load_explicit(&row->corrupt, memory_order_relaxed),
            .filtered = get(&row->filtered),
            .repeated = atomic_load_explicit(&row->repeated, memory_order_relaxed),
            .last = get(&row->last),
            .before = before ? get(before) : SHMBUS_UNCOUNTED,
        };
        FENCE(memory_order_acquire);
        if (!(changing & 1) && changing == atomic_load_explicit(&row->changing, memory_order_relaxed))
            break;
        if (looks >= LOOKS)
            break;
    }
    uint64_t missed = entry.overrun + entry.expired + entry.corrupt + entry.filtered, all = entry.last - entry.base;
    entry.delivered = all > missed ? all - missed : 0;
    return entry;
}
