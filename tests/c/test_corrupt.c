/* Memory that somebody scribbled over: a reader hands out the truth or nothing, stays inside its mapping, and returns; so
 * do publishers and the coordinator. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rig.h"

enum { SLOTS = 8, ARENA = 4096, MESSAGES = 5, LENGTH = 100 };

struct hostile {
    struct rig rig;
    struct shmbus_ring reader; /* read-only, with nothing mapped before and behind */
    unsigned char *memory;
    unsigned char snapshot[4 * 4096];
    size_t bytes;
};

static unsigned char *map_alone(int descriptor, size_t size, size_t mirrored) {
    unsigned char *base = mmap(NULL, size + mirrored + 2 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED);
    CHECK(mmap(base + 4096, size, PROT_READ, MAP_SHARED | MAP_FIXED, descriptor, 0) != MAP_FAILED);
    off_t again = (off_t)(size - mirrored);
    CHECK(mmap(base + 4096 + size, mirrored, PROT_READ, MAP_SHARED | MAP_FIXED, descriptor, again) != MAP_FAILED);
    return base + 4096;
}

static void open_hostile(struct hostile *h) {
    struct shmbus_ring_setup setup = rig_setup();
    setup.geometry = (struct shmbus_geometry){SLOTS, 2, 2, ARENA};
    setup.first_sequence = 20;
    setup.first_position = 60;
    h->rig = rig_open(&setup);
    h->bytes = shmbus_ring_bytes(&setup.geometry);
    CHECK(h->bytes <= sizeof h->snapshot);
    h->memory = map_alone(h->rig.descriptor, h->bytes, ARENA);
    shmbus_ring_view(&h->reader, h->memory, &setup.geometry);
    struct shmbus_writer writer;
    shmbus_writer_init(&writer, &h->rig.ring, 1);
    for (uint64_t n = 0; n < 9 + MESSAGES; n++)
        rig_must_publish(&writer, n, LENGTH);
    memcpy(h->snapshot, h->rig.memory, h->bytes);
}

static void close_hostile(struct hostile *h) {
    munmap(h->memory - 4096, h->bytes + ARENA + 2 * 4096);
    rig_close(&h->rig);
}

static void restore(struct hostile *h) { memcpy(h->rig.memory, h->snapshot, h->bytes); }

/* rig_read() checks what is handed out. */
static bool read_at(struct hostile *h, uint64_t cursor) {
    struct rig_message message;
    switch (rig_read(&h->reader, cursor, false, &message)) {
    case SHMBUS_OK:
        CHECK(message.producer != 1 || message.number == cursor - 20); /* 2 is who publishes into the damage */
        return true;
    case SHMBUS_EMPTY:
    case SHMBUS_BUSY:
    case SHMBUS_STEPPED:
    case SHMBUS_OVERRUN:
    case SHMBUS_CORRUPT:
    case SHMBUS_SEALED:
        return false;
    default:
        CHECK(false);
        return false;
    }
}

static void look_at(struct hostile *h) {
    shmbus_head(&h->reader);
    shmbus_tail(&h->reader);
    shmbus_used_bytes(&h->reader);
    for (uint64_t cursor = 20; cursor < 20 + 9 + MESSAGES + 2; cursor++)
        read_at(h, cursor);
    struct shmbus_identity identity;
    for (uint32_t i = 0; i <= 3; i++)
        shmbus_producer_get(&h->reader, i, &identity);
}

static void use(struct hostile *h) {
    struct shmbus_writer writer;
    shmbus_writer_init(&writer, &h->rig.ring, 2);
    uint64_t sequence;
    for (uint64_t n = 0; n < 3; n++)
        rig_publish(&writer, n, LENGTH, &sequence);
    struct shmbus_claim claims[SLOTS];
    uint32_t count = shmbus_claims(&h->rig.ring, claims, SLOTS);
    CHECK(count <= SLOTS);
    for (uint32_t i = 0; i < count; i++)
        shmbus_skip(&h->rig.ring, claims[i].sequence, claims[i].producer);
    shmbus_repair(&h->rig.ring, 1);
    struct shmbus_blocked blocked;
    shmbus_retire(&h->rig.ring, UINT32_MAX, NULL, 0, &blocked);
    shmbus_retire_expired(&h->rig.ring, 1, NULL, 0);
    shmbus_seal(&h->rig.ring, 2);
}

TEST(a_reader_of_a_ring_with_any_byte_changed_hands_out_the_truth_or_nothing) {
    static struct hostile h;
    open_hostile(&h);
    static const unsigned char changes[] = {0x01, 0x80, 0xff, 0x40};
    unsigned char *memory = h.rig.memory;
    for (size_t at = 0; at < h.bytes; at++)
        for (unsigned i = 0; i < sizeof changes; i++) {
            memory[at] ^= changes[i];
            look_at(&h);
            memory[at] ^= changes[i];
        }
    for (uint64_t n = 9; n < 9 + MESSAGES; n++)
        CHECK(read_at(&h, 20 + n));
    close_hostile(&h);
}

TEST(a_changed_byte_of_a_committed_frame_is_found_by_its_checksum) {
    static struct hostile h;
    open_hostile(&h);
    uint64_t cursor = 20 + 9 + 2;
    uint32_t position = atomic_load(&rig_slot(&h.rig.ring, cursor)->position) & (h.rig.ring.arena_units - 1);
    unsigned char *frame = h.rig.ring.arena + (size_t)position * SHMBUS_UNIT;
    struct rig_message message;
    for (size_t at = 0; at < sizeof(struct shmbus_frame) + LENGTH; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            frame[at] ^= (unsigned char)(1u << bit);
            CHECK_EQUAL(rig_read(&h.reader, cursor, false, &message), SHMBUS_CORRUPT);
            frame[at] ^= (unsigned char)(1u << bit);
        }
    CHECK_EQUAL(rig_read(&h.reader, cursor, false, &message), SHMBUS_OK);
    close_hostile(&h);
}

TEST(publishing_and_repairing_in_a_ring_with_any_byte_changed_returns) {
    static struct hostile h;
    open_hostile(&h);
    size_t fixed = offsetof(struct shmbus_ring_header, max_messages);
    for (size_t at = fixed; at < h.rig.ring.meta_bytes; at++)
        for (unsigned bit = 0; bit < 8; bit += 1 + (at > SHMBUS_HEADER_BYTES)) {
            ((unsigned char *)h.rig.memory)[at] ^= (unsigned char)(1u << bit);
            use(&h);
            look_at(&h);
            restore(&h);
        }
    close_hostile(&h);
}

static uint64_t interesting(uint64_t *seed, const struct shmbus_ring *ring) {
    uint64_t random = check_random(seed), sequence = 20 + random % 24;
    uint32_t lap = (uint32_t)(sequence >> ring->lap_shift);
    switch (random >> 60) {
    case 0: return 0;
    case 1: return UINT64_MAX;
    case 2: return sequence;
    case 3: case 4: return pack(sequence, (uint32_t)(random >> 30));
    case 5: case 6: case 7: case 8: case 9:
        return word_make(lap, (random >> 20) & 3, (random >> 22) & 3, (random >> 30) & 7);
    case 10: return word_make(lap, CLAIMED, SHMBUS_SEALER, 0);
    case 11: return word_make(lap, COMMITTED, 1, SHMBUS_MAX_UNITS);
    default: return random;
    }
}

TEST(random_words_anywhere_harm_nobody_who_looks_or_publishes) {
    static struct hostile h;
    open_hostile(&h);
    uint64_t seed = check_seed();
    size_t words = h.rig.ring.meta_bytes / 8, fixed = offsetof(struct shmbus_ring_header, max_messages) / 8;
    size_t slots = (size_t)((unsigned char *)h.rig.ring.slots - (unsigned char *)h.rig.memory) / 8;
    for (uint64_t round = 0; round < check_times(20000); round++) {
        for (uint64_t changes = check_random(&seed) % 12; changes; changes--) {
            size_t at = check_random(&seed) % 2 ? slots + check_random(&seed) % (2 * SLOTS)
                                                : fixed + check_random(&seed) % (words - fixed);
            uint64_t word = interesting(&seed, &h.rig.ring);
            memcpy((unsigned char *)h.rig.memory + at * 8, &word, 8);
        }
        look_at(&h);
        use(&h);
        look_at(&h);
        restore(&h);
    }
    close_hostile(&h);
}

TEST(a_head_beyond_the_tail_ends_a_publish_as_corrupt) {
    static struct hostile h;
    open_hostile(&h);
    atomic_store(&h.rig.ring.header->head, pack(500, 0));
    struct shmbus_writer writer;
    shmbus_writer_init(&writer, &h.rig.ring, 2);
    uint64_t sequence;
    CHECK_EQUAL(rig_publish(&writer, 1, LENGTH, &sequence), SHMBUS_CORRUPT);
    close_hostile(&h);
}

TEST(a_header_with_any_byte_changed_is_attached_to_only_with_the_geometry_of_its_size) {
    static struct hostile h;
    open_hostile(&h);
    _Alignas(8) unsigned char header[SHMBUS_HEADER_BYTES];
    for (size_t at = 0; at < sizeof header; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(header, h.rig.memory, sizeof header);
            header[at] ^= (unsigned char)(1u << bit);
            struct shmbus_geometry geometry = {0, 0, 0, 0};
            if (shmbus_ring_check(header, h.bytes, rig_boot, &geometry) == SHMBUS_OK)
                CHECK_EQUAL(shmbus_ring_bytes(&geometry), h.bytes);
        }
    close_hostile(&h);
}
