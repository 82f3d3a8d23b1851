/* What attaching refuses, and what mapping gives. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rig.h"

static enum shmbus_result attach(const struct rig *rig, size_t size) {
    struct shmbus_geometry geometry;
    return shmbus_ring_check(rig->memory, size, rig_boot, &geometry);
}

static size_t size_of(const struct rig *rig) { return shmbus_ring_bytes(&rig->geometry); }

TEST(attaching_tells_the_geometry_that_was_created) {
    struct rig rig = rig_small(128, 8192);
    struct shmbus_geometry geometry;
    CHECK_EQUAL(shmbus_ring_check(rig.memory, size_of(&rig), rig_boot, &geometry), SHMBUS_OK);
    CHECK_EQUAL(geometry.slots, 128);
    CHECK_EQUAL(geometry.arena_bytes, 8192);
    CHECK_EQUAL(geometry.producers, 16);
    CHECK_EQUAL(geometry.gates, 8);
    rig_close(&rig);
}

TEST(attaching_to_a_ring_still_being_created_is_told_that_it_is_early) {
    struct rig rig = rig_small(64, 4096);
    atomic_store(&rig.ring.header->magic, 0);
    CHECK_EQUAL(attach(&rig, size_of(&rig)), SHMBUS_EARLY);
    rig_close(&rig);
}

TEST(attaching_refuses_what_is_foreign_of_another_layout_of_another_boot_or_of_another_size) {
    struct rig rig = rig_small(64, 4096);
    struct shmbus_ring_header *header = rig.ring.header;
    CHECK_EQUAL(attach(&rig, size_of(&rig) - 1), SHMBUS_BAD_SIZE);
    CHECK_EQUAL(attach(&rig, size_of(&rig) + 4096), SHMBUS_BAD_SIZE);
    CHECK_EQUAL(attach(&rig, SHMBUS_HEADER_BYTES - 1), SHMBUS_BAD_SIZE);
    CHECK_EQUAL(attach(&rig, 0), SHMBUS_BAD_SIZE);
    header->boot_id[15] ^= 1;
    CHECK_EQUAL(attach(&rig, size_of(&rig)), SHMBUS_OTHER_BOOT);
    header->layout_version++;
    CHECK_EQUAL(attach(&rig, size_of(&rig)), SHMBUS_OTHER_LAYOUT);
    atomic_store(&header->magic, 0x1234);
    CHECK_EQUAL(attach(&rig, size_of(&rig)), SHMBUS_FOREIGN);
    rig_close(&rig);
}

/* Every number of a layout from one below the oldest known to one above the newest: which of them are refused. */
static void check_numbers(uint32_t *number, const struct shmbus_layout *layout, enum shmbus_result (*check)(void *), void *its) {
    CHECK(layout->oldest >= 1 && layout->oldest <= layout->newest);
    CHECK_EQUAL(*number, layout->newest);
    for (uint32_t one = layout->oldest - 1; one <= layout->newest + 1; one++) {
        *number = one;
        CHECK_EQUAL(check(its), one >= layout->oldest && one <= layout->newest ? SHMBUS_OK : SHMBUS_OTHER_LAYOUT);
    }
    *number = layout->newest;
}

static enum shmbus_result attach_ring(void *rig) { return attach(rig, size_of(rig)); }
static _Alignas(4096) unsigned char numbered[64 * 4096];
static size_t numbered_size;
static enum shmbus_result check_session(void *page) { return shmbus_session_check(page, numbered_size, rig_boot); }
static enum shmbus_result check_bells(void *page) { return shmbus_bells_check(page, numbered_size, rig_boot); }
static enum shmbus_result check_group(void *page) {
    struct shmbus_group_setup setup;
    return shmbus_group_check(page, numbered_size, rig_boot, &setup);
}

TEST(each_kind_of_segment_is_known_by_its_own_numbers_of_layout) {
    struct rig rig = rig_small(64, 4096);
    check_numbers(&rig.ring.header->layout_version, &shmbus_ring_layout, attach_ring, &rig);
    rig_close(&rig);

    struct shmbus_session_setup setup = {.session = 5, .cursors = 16, .bell = 2, .pid = 4121, .boot_id = "the same boot 1"};
    numbered_size = shmbus_session_bytes(16, 0);
    shmbus_session_init(numbered, &setup);
    check_numbers(&((struct shmbus_session_page *)numbered)->layout_version, &shmbus_session_layout, check_session, numbered);

    memset(numbered, 0, sizeof numbered);
    numbered_size = shmbus_bells_bytes(4);
    shmbus_bells_init(numbered, 4, rig_boot);
    check_numbers(&((struct shmbus_bells_page *)numbered)->layout_version, &shmbus_bells_layout, check_bells, numbered);

    memset(numbered, 0, sizeof numbered);
    struct shmbus_group_setup group = {1, 8, 4, 4, false};
    numbered_size = shmbus_group_bytes(&group);
    CHECK(numbered_size <= sizeof numbered);
    shmbus_group_init(numbered, &setup, &group);
    struct shmbus_group_page *its = shmbus_group_page(numbered, 1);
    check_numbers(&its->layout_version, &shmbus_group_layout, check_group, numbered);
    /* a group's segment begins as a session's page, so that one's numbers count as well */
    check_numbers(&((struct shmbus_session_page *)numbered)->layout_version, &shmbus_session_layout, check_group, numbered);
    CHECK_EQUAL(shmbus_group_number(numbered, numbered_size), SHMBUS_GROUP_LAYOUT);
    CHECK_EQUAL(shmbus_group_number(numbered, 4096), 0);
}

TEST(attaching_refuses_every_geometry_that_cannot_be) {
    struct rig rig = rig_small(64, 4096);
    struct shmbus_ring_header *header = rig.ring.header;
    static const uint32_t slots[] = {0, 1, 3, 63, SHMBUS_MAX_SLOTS * 2, UINT32_MAX};
    for (unsigned i = 0; i < sizeof slots / sizeof *slots; i++) {
        header->slots = slots[i];
        CHECK_EQUAL(attach(&rig, size_of(&rig)), SHMBUS_BAD_SIZE);
    }
    header->slots = 64;
    static const uint64_t arenas[] = {0, 64, 4095, 6144, SHMBUS_MAX_ARENA_BYTES * 2, UINT64_MAX, 1ull << 63};
    for (unsigned i = 0; i < sizeof arenas / sizeof *arenas; i++) {
        header->arena_bytes = arenas[i];
        CHECK_EQUAL(attach(&rig, size_of(&rig)), SHMBUS_BAD_SIZE);
    }
    header->arena_bytes = 4096;
    header->producers = SHMBUS_MAX_PRODUCERS + 1;
    CHECK_EQUAL(attach(&rig, size_of(&rig)), SHMBUS_BAD_SIZE);
    header->producers = 16;
    header->gates = 4097;
    CHECK_EQUAL(attach(&rig, size_of(&rig)), SHMBUS_BAD_SIZE);
    header->gates = 8;
    CHECK_EQUAL(attach(&rig, size_of(&rig)), SHMBUS_OK);
    rig_close(&rig);
}

TEST(sizes_are_told_only_for_geometries_that_can_be) {
    struct shmbus_geometry geometry = {.slots = 2, .producers = 1, .gates = 1, .arena_bytes = 4096};
    CHECK_EQUAL(shmbus_ring_bytes(&geometry), shmbus_ring_meta_bytes(&geometry) + 4096);
    CHECK_EQUAL(shmbus_ring_meta_bytes(&geometry) % 4096, 0);
    geometry.slots = 48;
    CHECK_EQUAL(shmbus_ring_bytes(&geometry), 0);
    CHECK_EQUAL(shmbus_ring_meta_bytes(&geometry), 0);
}

TEST(the_arena_is_mapped_twice_back_to_back) {
    struct rig rig = rig_small(64, 4096), look = rig_look(&rig, false);
    volatile unsigned char *arena = rig.ring.arena; /* the compiler takes two addresses for two bytes */
    arena[4095] = 17;
    arena[4096] = 23; /* the first byte, by its second address */
    CHECK_EQUAL(arena[0], 23);
    CHECK_EQUAL(look.ring.arena[4095 + 4096], 17);
    CHECK_EQUAL(look.ring.arena[4096], 23);
    rig_close(&look);
    rig_close(&rig);
}

TEST(a_frame_across_the_end_of_the_arena_is_contiguous_for_every_reader) {
    struct rig rig = rig_small(64, 4096), look = rig_look(&rig, false);
    struct shmbus_writer writer;
    shmbus_writer_init(&writer, &rig.ring, 1);
    bool crossed = false;
    for (uint64_t n = 1; n <= 200; n++) {
        uint64_t sequence = rig_must_publish(&writer, n, 1000 + (uint32_t)n);
        uint32_t unit = atomic_load(&rig_slot(&rig.ring, sequence)->position) % rig.ring.arena_units;
        crossed |= unit * SHMBUS_UNIT + 48 + 1000 > 4096;
        struct rig_message message;
        CHECK_EQUAL(rig_read(&look.ring, sequence, false, &message), SHMBUS_OK);
        CHECK_EQUAL(message.number, n);
    }
    CHECK(crossed);
    rig_close(&look);
    rig_close(&rig);
}

TEST(mapping_what_cannot_be_mapped_fails_and_keeps_the_reason) {
    CHECK(shmbus_map(-1, 4096, 0, true) == NULL);
    int descriptor = memfd_create("short", MFD_CLOEXEC);
    CHECK(ftruncate(descriptor, 4096) == 0);
    int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(shmbus_map(read_only, 4096, 4096, true) == NULL);
    void *memory = shmbus_map(descriptor, 4096, 0, true);
    CHECK(memory != NULL);
    shmbus_unmap(memory, 4096, 0);
    close(read_only);
    close(descriptor);
}

static _Alignas(4096) unsigned char page[3 * 4096];

TEST(a_session_is_checked_like_a_ring) {
    struct shmbus_session_setup setup = {.session = 5, .cursors = 16, .bell = 2, .pid = 4121, .boot_id = "the same boot 1"};
    size_t size = shmbus_session_bytes(16, 0);
    CHECK_EQUAL(shmbus_session_check(page, size, rig_boot), SHMBUS_EARLY);
    shmbus_session_init(page, &setup);
    struct shmbus_session_page *session = (void *)page;
    CHECK_EQUAL(shmbus_session_check(page, size, rig_boot), SHMBUS_OK);
    CHECK_EQUAL(shmbus_session_check(page, size - 1, rig_boot), SHMBUS_BAD_SIZE);
    CHECK_EQUAL(shmbus_session_check(page, 8, rig_boot), SHMBUS_BAD_SIZE);
    session->capacity = UINT32_MAX;
    CHECK_EQUAL(shmbus_session_check(page, size, rig_boot), SHMBUS_BAD_SIZE);
    session->capacity = 16;
    CHECK_EQUAL(shmbus_session_check(page, size, (const uint8_t *)"another boot...."), SHMBUS_OTHER_BOOT);
    session->layout_version++;
    CHECK_EQUAL(shmbus_session_check(page, size, rig_boot), SHMBUS_OTHER_LAYOUT);
    atomic_store(&session->magic, 1);
    CHECK_EQUAL(shmbus_session_check(page, size, rig_boot), SHMBUS_FOREIGN);
}

TEST(bells_are_checked_like_a_ring) {
    size_t size = shmbus_bells_bytes(4);
    CHECK_EQUAL(shmbus_bells_check(page, size, rig_boot), SHMBUS_EARLY);
    shmbus_bells_init(page, 4, rig_boot);
    struct shmbus_bells_page *bells = (void *)page;
    CHECK_EQUAL(shmbus_bells_check(page, size, rig_boot), SHMBUS_OK);
    CHECK_EQUAL(shmbus_bells_check(page, size - 1, rig_boot), SHMBUS_BAD_SIZE);
    CHECK_EQUAL(shmbus_bells_check(page, size, (const uint8_t *)"another boot...."), SHMBUS_OTHER_BOOT);
    bells->capacity = UINT32_MAX;
    CHECK_EQUAL(shmbus_bells_check(page, size, rig_boot), SHMBUS_BAD_SIZE);
    atomic_store(&bells->magic, RING_MAGIC);
    CHECK_EQUAL(shmbus_bells_check(page, size, rig_boot), SHMBUS_FOREIGN);
}
