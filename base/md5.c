#include "base/md5.h"

#include <assert.h>
#include <string.h>

/* One 32-bit word of every text: the compiler maps this to what vector
 * registers the machine has, and to plain words if it has none. */
typedef uint32_t lanes __attribute__((vector_size(4 * CG_MD5_LANES)));

typedef struct state {
    lanes a, b, c, d;
} state;

/* floor(2^32 * |sin(i + 1)|), RFC 1321 section 3.4. */
static const uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a,
    0xa8304613, 0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be,
    0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340,
    0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8,
    0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c,
    0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa,
    0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92,
    0xffeff47d, 0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1,
    0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};

/* The registers change places after each step, so that after four they are
 * back. F mixes b, c, d; step i of a round reads word first + i * by. */
#define STEP(F, a, b, c, d, word, sine, s)                                    \
    do {                                                                      \
        a += F(b, c, d) + (word) + (sine);                                    \
        a = b + (a << (s) | a >> (32 - (s)));                                 \
    } while (0)
#define FOUR(F, number, i, first, by, s0, s1, s2, s3)                         \
    STEP(F, a, b, c, d, x[((first) + (i) * (by)) % 16],                       \
         sines[16 * (number) + (i)], s0);                                     \
    STEP(F, d, a, b, c, x[((first) + ((i) + 1) * (by)) % 16],                 \
         sines[16 * (number) + (i) + 1], s1);                                 \
    STEP(F, c, d, a, b, x[((first) + ((i) + 2) * (by)) % 16],                 \
         sines[16 * (number) + (i) + 2], s2);                                 \
    STEP(F, b, c, d, a, x[((first) + ((i) + 3) * (by)) % 16],                 \
         sines[16 * (number) + (i) + 3], s3)
#define ROUND(F, number, first, by, s0, s1, s2, s3)                           \
    FOUR(F, number, 0, first, by, s0, s1, s2, s3);                            \
    FOUR(F, number, 4, first, by, s0, s1, s2, s3);                            \
    FOUR(F, number, 8, first, by, s0, s1, s2, s3);                            \
    FOUR(F, number, 12, first, by, s0, s1, s2, s3)
#define CHOOSE(b, c, d) ((d) ^ ((b) & ((c) ^ (d))))
#define CHOOSE_D(b, c, d) ((c) ^ ((d) & ((b) ^ (c))))
#define PARITY(b, c, d) ((b) ^ (c) ^ (d))
#define MIXED(b, c, d) ((c) ^ ((b) | ~(d)))

static void compress(state *s, const lanes *x)
{
    lanes a = s->a, b = s->b, c = s->c, d = s->d;
    ROUND(CHOOSE, 0, 0, 1, 7, 12, 17, 22);
    ROUND(CHOOSE_D, 1, 1, 5, 5, 9, 14, 20);
    ROUND(PARITY, 2, 5, 3, 4, 11, 16, 23);
    ROUND(MIXED, 3, 0, 7, 6, 10, 15, 21);
    s->a += a;
    s->b += b;
    s->c += c;
    s->d += d;
}

static uint32_t load(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static void store(uint8_t *p, uint32_t w)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(w >> 8 * i);
}

/* A one, zeros, and the length in bits fill up the last block. */
static size_t n_blocks(size_t n) { return (n + 8) / 64 + 1; }

/* Block k of a text: its own bytes, or a copy in `room` with the padding. */
static const uint8_t *block(const cg_md5_text *text, size_t k,
                            uint8_t room[64])
{
    size_t from = 64 * k, have = from < text->n ? text->n - from : 0;
    if (have >= 64)
        return (const uint8_t *)text->p + from;
    memset(room, 0, 64);
    if (have)
        memcpy(room, (const uint8_t *)text->p + from, have);
    if (from <= text->n)
        room[have] = 0x80;
    if (k + 1 == n_blocks(text->n)) {
        uint64_t bits = (uint64_t)text->n * 8;
        store(room + 56, (uint32_t)bits);
        store(room + 60, (uint32_t)(bits >> 32));
    }
    return room;
}

static void put_digest(const state *s, size_t lane, uint8_t out[16])
{
    store(out, s->a[lane]);
    store(out + 4, s->b[lane]);
    store(out + 8, s->c[lane]);
    store(out + 12, s->d[lane]);
}

void cg_md5(const cg_md5_text *text, size_t n, uint8_t (*out)[16])
{
    state s = {.a = (lanes){0} + 0x67452301u, .b = (lanes){0} + 0xefcdab89u,
               .c = (lanes){0} + 0x98badcfeu, .d = (lanes){0} + 0x10325476u};
    size_t left = n;
    assert(n <= CG_MD5_LANES);
    /* Shorter texts are done earlier; their lanes go on with zeros. */
    for (size_t k = 0; left > 0; k++) {
        lanes x[16] = {0};
        for (size_t l = 0; l < n; l++) {
            uint8_t room[64];
            if (k >= n_blocks(text[l].n))
                continue;
            const uint8_t *p = block(&text[l], k, room);
            for (int i = 0; i < 16; i++)
                x[i][l] = load(p + 4 * i);
        }
        compress(&s, x);
        for (size_t l = 0; l < n; l++)
            if (k + 1 == n_blocks(text[l].n)) {
                put_digest(&s, l, out[l]);
                left--;
            }
    }
}

void cg_md5_hex(const uint8_t digest[16], char hex[32])
{
    for (int i = 0; i < 16; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
}
