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
