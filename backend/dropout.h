/* Which elements dropout drops: a function of a key and the element's index
 * alone, the same on every device and with any number of threads. */
#ifndef CG_BACKEND_DROPOUT_H
#define CG_BACKEND_DROPOUT_H

#include <stdint.h>

/* Before a function that runs on a device as well; who compiles for one
 * defines it. */
#ifndef CG_DEVICE
#define CG_DEVICE
#endif

/* 32 uniform bits. Two rounds of a 32-bit finaliser (C. Wellons, "lowbias32")
 * keyed before each: cheap in vector units that have no 64-bit multiply. */
CG_DEVICE static inline uint32_t cg_dropout_bits(uint64_t key, uint32_t i)
{
    uint32_t x = i ^ (uint32_t)key;
    x ^= x >> 16;
    x *= 0x21f0aaadu;
    x ^= x >> 15;
    x *= 0xd35a2d97u;
    x ^= x >> 15;
    x += (uint32_t)(key >> 32);
    x ^= x >> 16;
    x *= 0x21f0aaadu;
    x ^= x >> 15;
    x *= 0xd35a2d97u;
    x ^= x >> 15;
    return x;
}

#endif
