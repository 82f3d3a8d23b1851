/* CRC32C (Castagnoli, RFC 3720 appendix B.4), with the processor's instruction where there is one.
 *
 * The instruction takes a step every cycle but answers after three, so longer inputs run in three lanes side by side. The
 * lanes are joined by shifting a lane's checksum over the bytes behind it: a carry-less product with x^n modulo the
 * polynomial, reduced by the same instruction (V. Gopal et al., "Fast CRC Computation for iSCSI Polynomial Using CRC32
 * Instruction", Intel, 2011). Tables are computed when the library is loaded.
 */
#include <string.h>

#include "shmbus.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define HARDWARE __attribute__((target("sse4.2,pclmul")))
#define STEP8(crc, word) ((uint32_t)_mm_crc32_u64(crc, word))
#define STEP1(crc, byte) _mm_crc32_u8(crc, byte)
#define PRODUCT(a, b) \
    ((uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(_mm_cvtsi32_si128((int)(a)), _mm_cvtsi32_si128((int)(b)), 0)))
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <arm_neon.h>
#include <sys/auxv.h>
#define HARDWARE __attribute__((target("+crc+crypto")))
#define STEP8(crc, word) __crc32cd(crc, word)
#define STEP1(crc, byte) __crc32cb(crc, byte)
#define PRODUCT(a, b) vgetq_lane_u64(vreinterpretq_u64_p128(vmull_p64((poly64_t)(a), (poly64_t)(b))), 0)
#endif

#define POLYNOMIAL 0x82f63b78u /* reflected */

enum { LANE_WORDS = 64, LANES_FROM = 96 }; /* the longest lane; bytes from which three lanes pay */

static uint32_t bytewise[8][256];

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

#ifdef HARDWARE
/* x^(64 words - 33): a product with it, reduced, shifts a checksum over that many words. */
static uint32_t powers[2 * LANE_WORDS + 1];

static void fill_powers(void) {
    uint32_t power = 0x80000000u; /* x^0, reflected */
    for (uint32_t bit = 0; bit <= 64 * 2 * LANE_WORDS - 33; bit++) {
        if ((bit + 33) % 64 == 0)
            powers[(bit + 33) / 64] = power;
        power = power >> 1 ^ (power & 1 ? POLYNOMIAL : 0);
    }
}

static uint64_t load64(const unsigned char *p) {
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

HARDWARE static uint32_t hardware(uint32_t crc, const unsigned char *p, size_t length) {
    while (length >= LANES_FROM) {
        size_t words = length / 24 < LANE_WORDS ? length / 24 : LANE_WORDS;
        const unsigned char *second = p + 8 * words, *third = second + 8 * words;
        uint32_t b = 0, c = 0;
        for (size_t i = 0; i < 8 * words; i += 8) {
            crc = STEP8(crc, load64(p + i));
            b = STEP8(b, load64(second + i));
            c = STEP8(c, load64(third + i));
        }
        crc = STEP8(0, PRODUCT(crc, powers[2 * words])) ^ STEP8(0, PRODUCT(b, powers[words])) ^ c;
        p += 24 * words;
        length -= 24 * words;
    }
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
#ifdef HARDWARE
    fill_powers();
#if defined(__x86_64__)
    bool able = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
#else
    const unsigned long wanted = 1ul << 7 | 1ul << 4; /* HWCAP_CRC32, HWCAP_PMULL */
    bool able = (getauxval(AT_HWCAP) & wanted) == wanted;
#endif
    if (able)
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
