/* Random numbers: a counter hashed with a key, so that a sequence depends on
 * its seed and stream alone, on every machine. */
#ifndef CG_BASE_RNG_H
#define CG_BASE_RNG_H

#include <stdint.h>

typedef struct cg_rng {
    uint64_t key, counter;
} cg_rng;

/* Streams of one seed are independent of each other. */
cg_rng cg_rng_make(uint64_t seed, uint64_t stream);
uint64_t cg_rng_next(cg_rng *r);
/* Uniform in 0 .. n - 1, n > 0, without bias. */
uint32_t cg_rng_below(cg_rng *r, uint32_t n);
double cg_rng_uniform(cg_rng *r); /* [0, 1) */

#endif
