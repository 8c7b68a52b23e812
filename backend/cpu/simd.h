/* Vectors of 16 floats, in the compiler's own notation: on narrower machines
 * it takes two or four registers. And exp, log as plain arithmetic, so that
 * loops over them vectorise. */
#ifndef CG_BACKEND_CPU_SIMD_H
#define CG_BACKEND_CPU_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Before a function: compile it for several vector units, take the best at
 * run time. The build defines it (meson.build); nothing is lost but speed. */
#ifndef CG_SIMD
#define CG_SIMD
#endif
/* What such a function calls must be compiled with it. */
#define CG_INLINE static inline __attribute__((always_inline))

/* Unaligned, over plain floats: *(const cg_v16 *)p. */
typedef float cg_v16 __attribute__((vector_size(64), aligned(4), may_alias));

typedef int32_t cg_mask16 __attribute__((vector_size(64)));

enum { CG_LANES = 16 };

static inline size_t cg_lanes(size_t n)
{
    return (n + CG_LANES - 1) / CG_LANES * CG_LANES;
}

/* NaN stays. */
CG_INLINE void cg_relu16(cg_v16 *v)
{
    *v = (cg_v16)((cg_mask16)*v & ~(*v < 0));
}

/* Sum and largest of 16 floats, halves upon halves. */
CG_INLINE float cg_lane_sum(const float *x)
{
    float t[CG_LANES];
    memcpy(t, x, sizeof t);
    for (int l = 0; l < 8; l++)
        t[l] += t[l + 8];
    for (int l = 0; l < 4; l++)
        t[l] += t[l + 4];
    return (t[0] + t[2]) + (t[1] + t[3]);
}

CG_INLINE float cg_lane_max(const float *x)
{
    float t[CG_LANES];
    memcpy(t, x, sizeof t);
    for (int l = 0; l < 8; l++)
        t[l] = t[l] > t[l + 8] ? t[l] : t[l + 8];
    for (int l = 0; l < 4; l++)
        t[l] = t[l] > t[l + 4] ? t[l] : t[l + 4];
    t[0] = t[0] > t[2] ? t[0] : t[2];
    t[1] = t[1] > t[3] ? t[1] : t[3];
    return t[0] > t[1] ? t[0] : t[1];
}

CG_INLINE float cg_from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

CG_INLINE uint32_t cg_to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* e^x for x <= 88, under 2 ulp; below -87.3 it is 0. NaN stays.
 * x = n ln 2 + r, e^r by the polynomial of the Cephes library. */
CG_INLINE float cg_exp(float x)
{
    const float round = 12582912.0f; /* 1.5 2^23: adding it rounds */
    float low = x < -87.3f ? -87.3f : x;
    float t = low * 1.44269504f + round;
    float n = t - round;
    float r = low - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1;
    float y = cg_from_bits(cg_to_bits(p) + (cg_to_bits(t) << 23));
    return x < -87.3f ? 0 : y;
}

/* log x for normal x > 0, under 2 ulp (the polynomial of Sun's fdlibm). */
CG_INLINE float cg_log(float x)
{
    uint32_t u = cg_to_bits(x) - 0x3f3504f3u; /* from sqrt(1/2) */
    float k = (float)((int32_t)u >> 23);
    float f = cg_from_bits((u & 0x7fffffu) + 0x3f3504f3u) - 1;
    float s = f / (2 + f), z = s * s, half = 0.5f * f * f;
    float r = z * (0.66666662693f + z * (0.40000972152f
              + z * (0.28498786688f + z * 0.24279078841f)));
    return k * 6.9313812256e-1f
        - ((half - (s * (half + r) + k * 9.0580006145e-6f)) - f);
}

#endif
