/* What ring.c and numbers.c share: slots, and the frames in them. */
#ifndef SHMBUS_RING_H
#define SHMBUS_RING_H

#include "layout.h"

static inline uint32_t lap_of(const struct shmbus_ring *ring, uint64_t sequence) {
    return (uint32_t)(sequence >> ring->lap_shift);
}

static inline struct shmbus_slot *slot_of(const struct shmbus_ring *ring, uint64_t sequence) {
    return &ring->slots[sequence & ring->slot_mask];
}

/* The header of a frame as it stands, unchecked. One that is overwritten meanwhile shows another sequence. */
static inline struct shmbus_frame header_at(const struct shmbus_ring *ring, uint64_t sequence) {
    uint32_t position = atomic_load_explicit(&slot_of(ring, sequence)->position, memory_order_relaxed);
    struct shmbus_frame frame;
    copy_unprotected(&frame, ring->arena + (size_t)(position & (ring->arena_units - 1)) * SHMBUS_UNIT, sizeof frame);
    return frame;
}

/* Head, or what it could be at the least: a ring that somebody scribbled over costs one round at most. */
static inline uint64_t oldest(const struct shmbus_ring *ring, uint64_t tail) {
    uint64_t head = shmbus_head(ring);
    if (tail - head <= ring->slot_mask)
        return head;
    return tail > ring->slot_mask ? tail - ring->slot_mask : 0;
}

#endif
