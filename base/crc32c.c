/* Eight tables let eight bytes be folded in at a time ("slicing by 8": M.
 * Kounavis and F. Berry, 2005). */
#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* 0x1edc6f41, bits reversed */

static uint32_t table[8][256];
static bool use_instruction;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
        table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            table[k][i] = table[k - 1][i] >> 8 ^
                          table[0][table[k - 1][i] & 255];
    use_instruction = cg_crc32c_has_instruction();
}

uint32_t cg_crc32c_tables(uint32_t crc, const void *p, size_t n)
{
    const unsigned char *s = p;
    pthread_once(&once, prepare);
    crc = ~crc;
    for (; n >= 8; n -= 8, s += 8) {
        uint32_t c = crc ^ ((uint32_t)s[0] | (uint32_t)s[1] << 8 |
                            (uint32_t)s[2] << 16 | (uint32_t)s[3] << 24);
        crc = table[7][c & 255] ^ table[6][c >> 8 & 255] ^
              table[5][c >> 16 & 255] ^ table[4][c >> 24] ^
              table[3][s[4]] ^ table[2][s[5]] ^ table[1][s[6]] ^
              table[0][s[7]];
    }
    while (n--)
        crc = crc >> 8 ^ table[0][(crc ^ *s++) & 255];
    return ~crc;
}

uint32_t cg_crc32c(uint32_t crc, const void *p, size_t n)
{
    pthread_once(&once, prepare);
    return use_instruction ? cg_crc32c_instruction(crc, p, n)
                           : cg_crc32c_tables(crc, p, n);
}
