/* CRC32C (Castagnoli, RFC 3720 appendix B.4), with the processor's instruction where there is one.
 *
 * The instruction takes a step every cycle but answers after three, so long inputs run in three lanes that are joined
 * by shifting a lane's checksum over the bytes of the lanes behind it (multiplication by x^(8 n) modulo the polynomial,
 * four table look-ups). Tables are computed once, before main() or at load.
 */
#include <string.h>

#include "shmbus.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define HARDWARE __attribute__((target("sse4.2")))
#define STEP8(crc, word) ((uint32_t)_mm_crc32_u64(crc, word))
#define STEP1(crc, byte) _mm_crc32_u8(crc, byte)
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#define HARDWARE __attribute__((target("+crc")))
#define STEP8(crc, word) __crc32cd(crc, word)
#define STEP1(crc, byte) __crc32cb(crc, byte)
#endif

#define POLYNOMIAL 0x82f63b78u /* reflected */

enum { SHORT_LANE = 64, LONG_LANE = 1024 };

static uint32_t bytewise[8][256];
static uint32_t shift_short[4][256], shift_long[4][256];

static uint32_t load32(const unsigned char *p) {
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static uint32_t portable(uint32_t crc, const unsigned char *p, size_t length) {
    for (; length >= 8; p += 8, length -= 8) {
        uint32_t low = load32(p) ^ crc, high = load32(p + 4);
        crc = bytewise[7][low & 255] ^ bytewise[6][low >> 8 & 255] ^ bytewise[5][low >> 16 & 255] ^ bytewise[4][low >> 24] ^
              bytewise[3][high & 255] ^ bytewise[2][high >> 8 & 255] ^ bytewise[1][high >> 16 & 255] ^ bytewise[0][high >> 24];
    }
    for (; length; length--)
        crc = crc >> 8 ^ bytewise[0][(crc ^ *p++) & 255];
    return crc;
}

/* What `bytes` zero bytes make of every value of each of a checksum's four bytes. */
static void fill_shift(uint32_t table[4][256], size_t bytes) {
    for (uint32_t lane = 0; lane < 4; lane++)
        for (uint32_t value = 0; value < 256; value++) {
            uint32_t crc = value << (8 * lane);
            for (size_t i = 0; i < bytes; i++)
                crc = crc >> 8 ^ bytewise[0][crc & 255];
            table[lane][value] = crc;
        }
}

#ifdef HARDWARE
static uint32_t shifted(uint32_t table[4][256], uint32_t crc) {
    return table[0][crc & 255] ^ table[1][crc >> 8 & 255] ^ table[2][crc >> 16 & 255] ^ table[3][crc >> 24];
}

static uint64_t load64(const unsigned char *p) {
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

HARDWARE static inline uint32_t three_lanes(uint32_t crc, const unsigned char *p, size_t lane, uint32_t table[4][256]) {
    uint32_t second = 0, third = 0;
    for (size_t i = 0; i < lane; i += 8) {
        crc = STEP8(crc, load64(p + i));
        second = STEP8(second, load64(p + lane + i));
        third = STEP8(third, load64(p + 2 * lane + i));
    }
    return shifted(table, shifted(table, crc) ^ second) ^ third;
}

HARDWARE static uint32_t hardware(uint32_t crc, const unsigned char *p, size_t length) {
    for (; length >= 3 * LONG_LANE; p += 3 * LONG_LANE, length -= 3 * LONG_LANE)
        crc = three_lanes(crc, p, LONG_LANE, shift_long);
    for (; length >= 3 * SHORT_LANE; p += 3 * SHORT_LANE, length -= 3 * SHORT_LANE)
        crc = three_lanes(crc, p, SHORT_LANE, shift_short);
    for (; length >= 8; p += 8, length -= 8)
        crc = STEP8(crc, load64(p));
    for (; length; length--)
        crc = STEP1(crc, *p++);
    return crc;
}
#endif

static uint32_t (*chosen)(uint32_t, const unsigned char *, size_t) = portable;

__attribute__((constructor)) static void choose(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        bytewise[0][i] = crc;
    }
    for (uint32_t k = 1; k < 8; k++)
        for (uint32_t i = 0; i < 256; i++)
            bytewise[k][i] = bytewise[k - 1][i] >> 8 ^ bytewise[0][bytewise[k - 1][i] & 255];
    fill_shift(shift_short, SHORT_LANE);
    fill_shift(shift_long, LONG_LANE);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        chosen = hardware;
#elif defined(__aarch64__)
    if (getauxval(AT_HWCAP) & (1ul << 7)) /* HWCAP_CRC32 */
        chosen = hardware;
#endif
}

uint32_t shmbus_crc32c(uint32_t crc, const void *data, size_t length) {
    return ~chosen(~crc, data, length);
}

uint32_t shmbus_crc32c_portable(uint32_t crc, const void *data, size_t length) {
    return ~portable(~crc, data, length);
}

const char *shmbus_crc32c_name(void) {
    return chosen == portable ? "slicing-by-8" : "hardware";
}
