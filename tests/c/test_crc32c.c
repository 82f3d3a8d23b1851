/* CRC32C against RFC 3720 B.4, and the instruction against the tables. */
#include <string.h>

#include "check.h"
#include "shmbus.h"

static void both_give(const void *data, size_t length, uint32_t wanted) {
    CHECK_EQUAL(shmbus_crc32c(0, data, length), wanted);
    CHECK_EQUAL(shmbus_crc32c_portable(0, data, length), wanted);
}

TEST(crc32c_gives_the_vectors_of_rfc_3720) {
    unsigned char bytes[32];
    both_give("", 0, 0);
    both_give("123456789", 9, 0xe3069283);
    memset(bytes, 0, sizeof bytes);
    both_give(bytes, sizeof bytes, 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    both_give(bytes, sizeof bytes, 0x62a8ab43);
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)i;
    both_give(bytes, sizeof bytes, 0x46dd794e);
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(31 - i);
    both_give(bytes, sizeof bytes, 0x113fdb5c);
    static const unsigned char scsi_read[48] = {
        0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 4, 0,
        0, 0, 0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0,
    };
    both_give(scsi_read, sizeof scsi_read, 0xd9963a56);
}

static unsigned char bytes[4200 + 8];

static void fill(void) {
    uint64_t state = 1;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)check_random(&state);
}

TEST(crc32c_by_instruction_equals_crc32c_by_tables_at_every_length_and_alignment) {
    fill();
    for (size_t length = 0; length <= 4200; length++)
        for (size_t start = 0; start < 8; start++)
            CHECK_EQUAL(shmbus_crc32c(0, bytes + start, length), shmbus_crc32c_portable(0, bytes + start, length));
}

TEST(crc32c_of_parts_goes_on_from_the_part_before) {
    fill();
    uint32_t whole = shmbus_crc32c(0, bytes, 4200);
    for (size_t cut = 0; cut <= 4200; cut += 7) {
        CHECK_EQUAL(shmbus_crc32c(shmbus_crc32c(0, bytes, cut), bytes + cut, 4200 - cut), whole);
        CHECK_EQUAL(shmbus_crc32c_portable(shmbus_crc32c_portable(0, bytes, cut), bytes + cut, 4200 - cut), whole);
    }
}

TEST(crc32c_names_what_computes_it) {
    const char *name = shmbus_crc32c_name();
    CHECK(strcmp(name, "hardware") == 0 || strcmp(name, "slicing-by-8") == 0);
}
