#define _GNU_SOURCE
#include "rig.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const uint8_t rig_boot[16] = "the same boot 1";

struct shmbus_ring_setup rig_setup(void) {
    return (struct shmbus_ring_setup){
        .geometry = {.slots = 64, .producers = 16, .gates = 8, .arena_bytes = 1u << 16},
        .limits = {.max_messages = UINT32_MAX, .max_message_bytes = UINT32_MAX, .max_bytes = UINT64_MAX},
        .topic = "events.test",
        .type_name = "shmbus.v1.ProcessEvent",
        .boot_id = "the same boot 1",
        .topic_id = 7,
        .first_sequence = 1,
    };
}

static void map(struct rig *rig, bool writable) {
    rig->memory = shmbus_map(rig->descriptor, shmbus_ring_bytes(&rig->geometry), rig->geometry.arena_bytes, writable);
    CHECK(rig->memory != NULL);
    shmbus_ring_view(&rig->ring, rig->memory, &rig->geometry);
}

struct rig rig_open(const struct shmbus_ring_setup *setup) {
    struct rig rig = {.descriptor = memfd_create("ring", MFD_CLOEXEC), .owner = true, .geometry = setup->geometry};
    CHECK(rig.descriptor >= 0);
    CHECK(ftruncate(rig.descriptor, (off_t)shmbus_ring_bytes(&setup->geometry)) == 0);
    map(&rig, true);
    shmbus_ring_init(rig.memory, setup);
    return rig;
}

struct rig rig_small(uint32_t slots, uint64_t arena_bytes) {
    struct shmbus_ring_setup setup = rig_setup();
    setup.geometry.slots = slots;
    setup.geometry.arena_bytes = arena_bytes;
    return rig_open(&setup);
}

struct rig rig_look(const struct rig *rig, bool writable) {
    struct rig look = *rig;
    look.owner = false;
    map(&look, writable);
    return look;
}

void rig_close(struct rig *rig) {
    shmbus_unmap(rig->memory, shmbus_ring_bytes(&rig->geometry), rig->geometry.arena_bytes);
    if (rig->owner)
        close(rig->descriptor);
    rig->memory = NULL;
}

static unsigned char byte_of(uint32_t producer, uint64_t number, uint32_t i) {
    return (unsigned char)(number * 31 + producer * 7 + i * 5 + (i >> 8));
}

void rig_fill(void *payload, uint32_t producer, uint64_t number, uint32_t length) {
    unsigned char *bytes = payload;
    memcpy(bytes, &number, sizeof number);
    memcpy(bytes + 8, &producer, sizeof producer);
    for (uint32_t i = RIG_LEAST; i < length; i++)
        bytes[i] = byte_of(producer, number, i);
}

bool rig_genuine(const void *payload, uint32_t length, uint32_t *producer, uint64_t *number) {
    const unsigned char *bytes = payload;
    if (length < RIG_LEAST)
        return false;
    memcpy(number, bytes, sizeof *number);
    memcpy(producer, bytes + 8, sizeof *producer);
    for (uint32_t i = RIG_LEAST; i < length; i++)
        if (bytes[i] != byte_of(*producer, *number, i))
            return false;
    return true;
}

static unsigned char *buffer(void) {
    static _Thread_local unsigned char *bytes;
    if (!bytes)
        bytes = mmap(NULL, RIG_MOST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(bytes != MAP_FAILED);
    return bytes;
}

enum shmbus_result rig_publish(struct shmbus_writer *writer, uint64_t number, uint32_t length, uint64_t *sequence) {
    CHECK(length >= RIG_LEAST && length <= RIG_MOST);
    unsigned char *bytes = buffer();
    rig_fill(bytes, writer->producer, number, length);
    struct shmbus_part parts[2] = {{bytes, 8}, {bytes + 8, length - 8}};
    struct shmbus_message message = {.parts = parts, .count = 2, .time_ns = shmbus_now_ns(), .kind = SHMBUS_KIND_RAW};
    return shmbus_publish(writer, &message, sequence);
}

uint64_t rig_must_publish(struct shmbus_writer *writer, uint64_t number, uint32_t length) {
    uint64_t sequence = 0;
    CHECK_EQUAL(rig_publish(writer, number, length, &sequence), SHMBUS_OK);
    return sequence;
}

void rig_publish_timed(struct shmbus_writer *writer, uint64_t number, uint64_t time_ns, uint64_t expires_ns) {
    unsigned char bytes[20];
    rig_fill(bytes, writer->producer, number, sizeof bytes);
    struct shmbus_part part = {bytes, sizeof bytes};
    struct shmbus_message out = {.parts = &part, .count = 1, .time_ns = time_ns, .expires_ns = expires_ns};
    uint64_t sequence;
    CHECK_EQUAL(shmbus_publish(writer, &out, &sequence), SHMBUS_OK);
}

enum shmbus_result rig_read(const struct shmbus_ring *ring, uint64_t cursor, bool gated, struct rig_message *message) {
    struct shmbus_view view;
    enum shmbus_result result = shmbus_peek(ring, cursor, &view);
    if (result != SHMBUS_OK)
        return result;
    if (view.length > RIG_MOST)
        return SHMBUS_CORRUPT;
    view.gated = gated;
    unsigned char *bytes = buffer();
    result = shmbus_take(ring, &view, &message->frame, bytes);
    if (result != SHMBUS_OK)
        return result;
    CHECK_EQUAL(message->frame.sequence, cursor);
    CHECK(rig_genuine(bytes, message->frame.length, &message->producer, &message->number));
    CHECK_EQUAL(message->frame.producer, message->producer);
    return SHMBUS_OK;
}

struct rig_session rig_session(uint32_t session, uint32_t cursors) {
    struct shmbus_session_setup setup = {.session = session, .cursors = cursors, .boot_id = "the same boot 1"};
    size_t size = shmbus_session_bytes(cursors, 0);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    shmbus_session_init(memory, &setup);
    CHECK_EQUAL(shmbus_session_check(memory, size, rig_boot), SHMBUS_OK);
    return (struct rig_session){memory, {session, cursors, memory}};
}

void rig_session_close(struct rig_session *session) {
    munmap(session->page, shmbus_session_bytes(session->ref.capacity, 0));
}

static struct rig_group make_group(uint32_t session, struct shmbus_group_setup its) {
    struct rig_group group = {.setup = its};
    struct shmbus_session_setup setup = {.session = session, .boot_id = "the same boot 1"};
    group.size = shmbus_group_bytes(&group.setup);
    CHECK(group.size != 0);
    group.memory = mmap(NULL, group.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(group.memory != MAP_FAILED);
    shmbus_group_init(group.memory, &setup, &group.setup);
    group.ref = (struct shmbus_session_ref){session, its.lanes, group.memory};
    return group;
}

struct rig_group rig_group(uint32_t session, uint32_t lanes, uint32_t window, uint32_t producers, uint32_t rows) {
    return make_group(session, (struct shmbus_group_setup){lanes, window, producers, rows, false});
}

struct rig_group rig_uncounted_group(uint32_t session, uint32_t lanes, uint32_t window, uint32_t producers, uint32_t rows) {
    return make_group(session, (struct shmbus_group_setup){lanes, window, producers, rows, true});
}

struct shmbus_group rig_member(const struct rig_group *group, uint32_t lane, uint32_t member) {
    struct shmbus_group view;
    CHECK(shmbus_group_view(&view, group->memory, &group->setup, lane, member));
    return view;
}

struct shmbus_group rig_coordinator(const struct rig_group *group, uint32_t lane) {
    struct shmbus_group view = rig_member(group, lane, 0);
    view.writer = SHMBUS_MEMBERS;
    return view;
}

void rig_group_close(struct rig_group *group) { munmap(group->memory, group->size); }

struct shmbus_slot *rig_slot(const struct shmbus_ring *ring, uint64_t sequence) {
    return &ring->slots[sequence & ring->slot_mask];
}

uint64_t rig_claim(const struct shmbus_ring *ring, uint32_t producer, uint32_t units, bool help, uint64_t *word) {
    uint64_t sequence = shmbus_tail(ring);
    uint64_t tail = atomic_load(&ring->header->tail);
    uint64_t before = atomic_load(&rig_slot(ring, sequence)->word);
    *word = word_make((uint32_t)(sequence >> ring->lap_shift), CLAIMED, producer, units);
    CHECK(word_final(before) && word_lap(before) == word_lap(*word) - 1);
    CHECK(atomic_compare_exchange_strong(&rig_slot(ring, sequence)->word, &before, *word));
    uint64_t next = pack(sequence + 1, packed_position(tail) + units);
    CHECK(!help || atomic_compare_exchange_strong(&ring->header->tail, &tail, next));
    return sequence;
}

bool rig_commit(const struct shmbus_ring *ring, uint64_t sequence, uint64_t word) {
    return atomic_compare_exchange_strong(&rig_slot(ring, sequence)->word, &word, word_with(word, COMMITTED));
}
