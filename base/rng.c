#include "base/rng.h"

#include "base/map.h"

cg_rng cg_rng_make(uint64_t seed, uint64_t stream)
{
    return (cg_rng){cg_mix64(seed + 0x9e3779b97f4a7c15u) ^
                        cg_mix64(stream * 0xd1342543de82ef95u + 1), 0};
}

uint64_t cg_rng_next(cg_rng *r)
{
    r->counter += 0x9e3779b97f4a7c15u; /* splitmix64, keyed */
    return cg_mix64(r->counter ^ cg_mix64(r->key + r->counter));
}

uint32_t cg_rng_below(cg_rng *r, uint32_t n)
{
    /* Lemire's method: the high half of a product, rejecting the few low
     * halves that would favour some results. */
    uint32_t reject = (uint32_t)(-n) % n;
    for (;;) {
        uint64_t m = (cg_rng_next(r) >> 32) * n;
        if ((uint32_t)m >= reject)
            return (uint32_t)(m >> 32);
    }
}

double cg_rng_uniform(cg_rng *r)
{
    return (double)(cg_rng_next(r) >> 11) * 0x1p-53;
}
