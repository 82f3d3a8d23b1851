/* The two tables in a ring's header: who publishes, and whose cursor holds retirement back.
 *
 * Only the coordinator writes them. A producer entry (and a member's of a group, which is alike) is guarded by its version (odd while it is rewritten), so a reader
 * that names the producer of a message never mixes two of them.
 */
#include <string.h>

#include "layout.h"

struct shmbus_producer *shmbus_producer_entry(const struct shmbus_ring *ring, uint32_t producer) {
    unsigned char *base = (unsigned char *)ring->header + SHMBUS_HEADER_BYTES;
    return producer <= ring->producers ? (struct shmbus_producer *)(void *)base + producer : NULL;
}

struct shmbus_numbers *shmbus_numbers_entry(const struct shmbus_ring *ring, uint32_t producer) {
    unsigned char *base = (unsigned char *)ring->header + SHMBUS_HEADER_BYTES;
    base += (size_t)(ring->producers + 1) * sizeof(struct shmbus_producer);
    return producer <= ring->producers ? (struct shmbus_numbers *)(void *)base + producer : NULL;
}

struct shmbus_gate *shmbus_gate_entry(const struct shmbus_ring *ring, uint32_t index) {
    unsigned char *base = (unsigned char *)ring->header + SHMBUS_HEADER_BYTES;
    base += (size_t)(ring->producers + 1) * (sizeof(struct shmbus_producer) + sizeof(struct shmbus_numbers));
    return index < ring->gates ? (struct shmbus_gate *)(void *)base + index : NULL;
}

void shmbus_producer_leave(const struct shmbus_ring *ring, uint32_t producer, uint64_t sequence) {
    struct shmbus_numbers *numbers = shmbus_numbers_entry(ring, producer);
    if (numbers && !is_durable(numbers))
        atomic_store_explicit(&numbers->left, sequence, memory_order_release);
}

uint64_t shmbus_producer_left(const struct shmbus_ring *ring, uint32_t producer) {
    struct shmbus_numbers *numbers = shmbus_numbers_entry(ring, producer);
    return numbers ? stands_for(numbers, false) : 0;
}

void shmbus_identity_store(struct shmbus_producer *entry, const struct shmbus_identity *identity) {
    uint32_t version = atomic_load_explicit(&entry->version, memory_order_relaxed) | 1u;
    atomic_store_explicit(&entry->version, version, memory_order_relaxed);
    FENCE(memory_order_release); /* the odd version is seen before any byte of the new entry */
    struct shmbus_identity nobody = {.pid = 0};
    const struct shmbus_identity *who = identity ? identity : &nobody;
    memcpy(entry->name, who->name, sizeof entry->name);
    entry->pid = who->pid;
    entry->session = who->session;
    entry->uid = who->uid;
    entry->start_time = who->start_time;
    entry->pid_namespace = who->pid_namespace;
    atomic_store_explicit(&entry->version, version + 1, memory_order_release);
}

bool shmbus_producer_set(const struct shmbus_ring *ring, uint32_t producer, const struct shmbus_identity *identity) {
    struct shmbus_producer *entry = shmbus_producer_entry(ring, producer);
    if (entry)
        shmbus_identity_store(entry, identity);
    return entry != NULL;
}

bool shmbus_producer_get(const struct shmbus_ring *ring, uint32_t producer, struct shmbus_identity *identity) {
    struct shmbus_producer *entry = shmbus_producer_entry(ring, producer);
    return entry && shmbus_identity_load(entry, identity);
}

bool shmbus_identity_load(struct shmbus_producer *entry, struct shmbus_identity *identity) {
    uint32_t version = atomic_load_explicit(&entry->version, memory_order_acquire);
    struct shmbus_identity found;
    copy_unprotected(found.name, entry->name, sizeof found.name);
    found.name[SHMBUS_NAME_BYTES - 1] = 0;
    copy_unprotected(&found.pid, &entry->pid, sizeof found.pid);
    copy_unprotected(&found.session, &entry->session, sizeof found.session);
    copy_unprotected(&found.uid, &entry->uid, sizeof found.uid);
    copy_unprotected(&found.start_time, &entry->start_time, sizeof found.start_time);
    copy_unprotected(&found.pid_namespace, &entry->pid_namespace, sizeof found.pid_namespace);
    FENCE(memory_order_acquire); /* pairs with the release above */
    *identity = found;
    return !(version & 1u) && atomic_load_explicit(&entry->version, memory_order_relaxed) == version && found.pid != 0;
}

bool shmbus_gate_set(const struct shmbus_ring *ring, uint32_t index, uint32_t session, uint32_t cursor, uint64_t floor) {
    struct shmbus_gate *entry = shmbus_gate_entry(ring, index);
    if (!entry)
        return false;
    if (session == 0) {
        atomic_store_explicit(&entry->owner, 0, memory_order_seq_cst);
        return true;
    }
    atomic_store_explicit(&entry->floor, floor, memory_order_relaxed);
    atomic_store_explicit(&entry->owner, (uint64_t)session << 32 | cursor, memory_order_seq_cst);
    /* seq_cst: from here on a retiring writer either sees the gate or has read its tail before, see shmbus_tail() */
    if (atomic_load_explicit(&ring->header->gates_in_use, memory_order_relaxed) <= index)
        atomic_store_explicit(&ring->header->gates_in_use, index + 1, memory_order_seq_cst);
    return true;
}

bool shmbus_gate_get(const struct shmbus_ring *ring, uint32_t index, uint32_t *session, uint32_t *cursor, uint64_t *floor) {
    struct shmbus_gate *entry = shmbus_gate_entry(ring, index);
    uint64_t owner = entry ? atomic_load_explicit(&entry->owner, memory_order_seq_cst) : 0;
    if (owner == 0)
        return false;
    *session = (uint32_t)(owner >> 32);
    *cursor = (uint32_t)owner;
    *floor = atomic_load_explicit(&entry->floor, memory_order_relaxed);
    return true;
}
