/* The pages besides the rings: a client's session, and the bus's bells. */
#include <string.h>

#include "killpoint.h"
#include "layout.h"

static size_t bytes_of(uint32_t cursors, uint32_t rows, size_t row) {
    size_t bytes = sizeof(struct shmbus_session_page) + (size_t)cursors * sizeof(struct shmbus_cursor);
    return rows ? shmbus_ledger_offset(cursors) + (size_t)rows * row : bytes;
}

size_t shmbus_session_bytes(uint32_t cursors, uint32_t rows) {
    return bytes_of(cursors, rows, sizeof(struct shmbus_row) + sizeof(uint64_t));
}

void shmbus_session_init(void *memory, const struct shmbus_session_setup *setup) {
    struct shmbus_session_page *page = memory;
    page->layout_version = SHMBUS_SESSION_LAYOUT;
    page->session = setup->session;
    page->capacity = setup->cursors;
    page->bell = setup->bell;
    page->pid = setup->pid;
    page->rows = setup->rows;
    atomic_store_explicit(&page->backed, setup->backed, memory_order_relaxed);
    page->counted = true;
    page->start_time = setup->start_time;
    page->pid_namespace = setup->pid_namespace;
    memcpy(page->boot_id, setup->boot_id, sizeof page->boot_id);
    KILLPOINT("create.unready");
    atomic_store_explicit(&page->magic, SESSION_MAGIC, memory_order_release);
    KILLPOINT("create.ready");
}

static enum shmbus_result check(uint64_t magic, const struct shmbus_layout *layout, uint32_t number, const uint8_t *found_boot,
                                const uint8_t *boot_id, size_t wanted, size_t size) {
    if (magic != layout->magic)
        return magic == 0 ? SHMBUS_EARLY : SHMBUS_FOREIGN;
    if (!shmbus_layout_known(layout, number))
        return SHMBUS_OTHER_LAYOUT;
    if (memcmp(found_boot, boot_id, 16) != 0)
        return SHMBUS_OTHER_BOOT;
    if (wanted > size)
        return SHMBUS_BAD_SIZE;
    KILLPOINT("attach.checked");
    return SHMBUS_OK;
}

enum shmbus_result shmbus_session_check(const void *memory, size_t size, const uint8_t boot_id[16]) {
    struct shmbus_session_page *page = (void *)(uintptr_t)memory;
    if (size < sizeof *page)
        return SHMBUS_BAD_SIZE;
    uint64_t magic = atomic_load_explicit(&page->magic, memory_order_acquire);
    size_t row = sizeof(struct shmbus_row) + (page->counted ? sizeof(uint64_t) : 0);
    return check(magic, &shmbus_session_layout, page->layout_version, page->boot_id, boot_id,
                 bytes_of(page->capacity, page->rows, row), size);
}

bool shmbus_session_beat(struct shmbus_session_page *page, enum shmbus_health health) {
    uint32_t before = atomic_exchange_explicit(&page->health, (uint32_t)health, memory_order_relaxed);
    uint64_t beats = atomic_load_explicit(&page->heartbeat, memory_order_relaxed);
    /* Release pairs with the acquire in shmbus_session_beats(): who sees the beat sees what was said with it. One that has
     * left meanwhile, in another thread, stays so. */
    if (beats != SHMBUS_LEFT)
        atomic_compare_exchange_strong_explicit(&page->heartbeat, &beats, beats + 1, memory_order_release, memory_order_relaxed);
    return before != (uint32_t)health;
}

uint64_t shmbus_session_beats(const struct shmbus_session_page *page, uint32_t *health) {
    uint64_t beats = atomic_load_explicit(&page->heartbeat, memory_order_acquire);
    *health = atomic_load_explicit(&page->health, memory_order_relaxed);
    return beats;
}

enum { REASON_WORDS = SHMBUS_REASON_BYTES / 8, REASON_CHANGE = 1 << 8, REASON_TRIES = 4 };

/* As much of a text as fits, but never a part of a character. */
static size_t fitting(const char *text, size_t length) {
    if (length <= SHMBUS_REASON_BYTES)
        return length;
    length = SHMBUS_REASON_BYTES;
    while (length && ((unsigned char)text[length] & 0xC0) == 0x80)
        length--;
    return length;
}

static bool same_reason(const struct shmbus_session_page *page, const uint64_t *words, size_t length) {
    if ((atomic_load_explicit(&page->reason_state, memory_order_relaxed) & (REASON_CHANGE - 1)) != length)
        return false;
    for (size_t i = 0; i < (length + 7) / 8; i++)
        if (atomic_load_explicit(&page->reason[i], memory_order_relaxed) != words[i])
            return false;
    return true;
}

bool shmbus_session_explain(struct shmbus_session_page *page, const char *reason, size_t length) {
    uint64_t words[REASON_WORDS] = {0};
    length = fitting(reason, length);
    if (length)
        memcpy(words, reason, length);
    if (same_reason(page, words, length))
        return false;
    uint32_t changes = atomic_load_explicit(&page->reason_state, memory_order_relaxed) & ~(uint32_t)(REASON_CHANGE - 1);
    atomic_store_explicit(&page->reason_state, changes + REASON_CHANGE, memory_order_relaxed);
    /* pairs with the acquire fence in shmbus_session_reason(): who read a word of this reason sees that it was changing */
    FENCE(memory_order_release);
    for (size_t i = 0; i < REASON_WORDS; i++)
        atomic_store_explicit(&page->reason[i], words[i], memory_order_relaxed);
    /* pairs with the acquire there: who sees that it is whole sees all of it */
    atomic_store_explicit(&page->reason_state, changes + 2 * REASON_CHANGE + (uint32_t)length, memory_order_release);
    return true;
}

size_t shmbus_session_reason(const struct shmbus_session_page *page, char reason[SHMBUS_REASON_BYTES]) {
    for (int tries = 0; tries < REASON_TRIES; tries++) {
        uint64_t words[REASON_WORDS];
        uint32_t before = atomic_load_explicit(&page->reason_state, memory_order_acquire);
        for (size_t i = 0; i < REASON_WORDS; i++)
            words[i] = atomic_load_explicit(&page->reason[i], memory_order_relaxed);
        FENCE(memory_order_acquire);
        size_t length = before & (REASON_CHANGE - 1);
        if (before & REASON_CHANGE || length > SHMBUS_REASON_BYTES ||
            atomic_load_explicit(&page->reason_state, memory_order_relaxed) != before)
            continue;
        memcpy(reason, words, length);
        return length;
    }
    return 0; /* it is changed all the time, its client was stopped or killed in the middle, or has written nonsense */
}

void shmbus_cursor_place(struct shmbus_cursor *cursor, uint64_t position) {
    /* release: pairs with scan_gates(), every copy is done before its space may be used again */
    atomic_store_explicit(&cursor->position, position, memory_order_release);
    KILLPOINT("read.placed");
}

size_t shmbus_bells_bytes(uint32_t bells) {
    return sizeof(struct shmbus_bells_page) + (size_t)bells * sizeof(struct shmbus_bell);
}

void shmbus_bells_init(void *memory, uint32_t bells, const uint8_t boot_id[16]) {
    struct shmbus_bells_page *page = memory;
    page->layout_version = SHMBUS_BELLS_LAYOUT;
    page->capacity = bells;
    memcpy(page->boot_id, boot_id, sizeof page->boot_id);
    KILLPOINT("create.unready");
    atomic_store_explicit(&page->magic, BELLS_MAGIC, memory_order_release);
    KILLPOINT("create.ready");
}

enum shmbus_result shmbus_bells_check(const void *memory, size_t size, const uint8_t boot_id[16]) {
    struct shmbus_bells_page *page = (void *)(uintptr_t)memory;
    if (size < sizeof *page)
        return SHMBUS_BAD_SIZE;
    uint64_t magic = atomic_load_explicit(&page->magic, memory_order_acquire);
    return check(magic, &shmbus_bells_layout, page->layout_version, page->boot_id, boot_id, shmbus_bells_bytes(page->capacity),
                 size);
}
