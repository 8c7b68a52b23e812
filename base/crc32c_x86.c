/* SSE 4.2's crc32. Eight bytes take three cycles but one can start every
 * cycle: three thirds of a block are computed side by side and joined by the
 * matrix that appends zeros (M. Adler, "crc32c.c", describes the method). */
#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

#define THIRD 4096 /* bytes */

static uint32_t shift_table[4][256]; /* appends THIRD zero bytes */
static pthread_once_t once = PTHREAD_ONCE_INIT;

bool cg_crc32c_has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2");
}

/* The register after THIRD zero bytes, bit by bit of where it started. */
__attribute__((target("sse4.2"))) static void prepare(void)
{
    uint32_t bit[32];
    for (int i = 0; i < 32; i++) {
        uint64_t c = (uint32_t)1 << i;
        for (int k = 0; k < THIRD / 8; k++)
            c = __builtin_ia32_crc32di(c, 0);
        bit[i] = (uint32_t)c;
    }
    for (int k = 0; k < 4; k++)
        for (uint32_t v = 0; v < 256; v++)
            for (int i = 0; i < 8; i++)
                if (v >> i & 1)
                    shift_table[k][v] ^= bit[8 * k + i];
}

static uint64_t shift(uint64_t c)
{
    return shift_table[0][c & 255] ^ shift_table[1][c >> 8 & 255] ^
           shift_table[2][c >> 16 & 255] ^ shift_table[3][c >> 24 & 255];
}

static uint64_t load(const unsigned char *s)
{
    uint64_t w;
    memcpy(&w, s, sizeof w);
    return w;
}

__attribute__((target("sse4.2")))
uint32_t cg_crc32c_instruction(uint32_t crc, const void *p, size_t n)
{
    const unsigned char *s = p;
    uint64_t a = ~crc;
    a &= UINT32_MAX;
    pthread_once(&once, prepare);
    for (; n >= 3 * THIRD; n -= 3 * THIRD, s += 2 * THIRD) {
        uint64_t b = 0, c = 0;
        for (const unsigned char *end = s + THIRD; s < end; s += 8) {
            a = __builtin_ia32_crc32di(a, load(s));
            b = __builtin_ia32_crc32di(b, load(s + THIRD));
            c = __builtin_ia32_crc32di(c, load(s + 2 * THIRD));
        }
        a = shift(shift(a) ^ b) ^ c;
    }
    for (; n >= 8; n -= 8, s += 8)
        a = __builtin_ia32_crc32di(a, load(s));
    uint32_t tail = (uint32_t)a;
    while (n--)
        tail = __builtin_ia32_crc32qi(tail, *s++);
    return ~tail;
}
