/* Losses. A value that sums over blocks is left in scratch memory, and one
 * block adds it up: the same order at each call. */
#include "backend/cuda/threads.cuh"

#include <math.h>

enum { MANY = 1024 }; /* threads of a block that is alone */

static __global__ void add_values(int n, const float *value, float scale,
                                  float *loss)
{
    add_total(n, value, scale, loss);
}

/* -- contrast -------------------------------------------------------------- */

struct contrast {
    size_t n;
    const float *s, *alpha;
    float scale, back; /* 1 / tau; what ds is scaled with */
    float *value, *ds; /* value (n): of each row */
};

/* A block takes a row and holds it in N registers of each thread (0: reads it
 * again); its own column is as if it were not there. */
template <int N>
static __global__ void contrast_rows(struct contrast j)
{
    const int M = N ? N : 1;
    unsigned n = (unsigned)j.n, own = blockIdx.x;
    const float *s = j.s + own * j.n, *alpha = j.alpha + own * j.n;
    float *ds = j.ds + own * j.n, z[M], a[M];
    float top = -INFINITY, all = 0, sum = 0, dot = 0;
    each<N>(n, threadIdx.x, BLOCK, [&](int i, unsigned c) {
        z[i] = c == own ? -INFINITY : s[c] * j.scale;
        a[i] = c == own ? 0 : alpha[c];
        top = fmaxf(top, z[i]);
        all += a[i];
    });
    top = block_max(top);
    each<N>(n, threadIdx.x, BLOCK, [&](int i, unsigned c) {
        float e = (N ? z[i] : s[c] * j.scale) - top;
        if (c == own)
            return;
        dot += (N ? a[i] : alpha[c]) * e;
        z[i] = expf(e);
        sum += z[i];
    });
    all = block_sum(all);
    sum = block_sum(sum);
    dot = block_sum(dot);
    float norm = all / sum;
    each<N>(n, threadIdx.x, BLOCK, [&](int i, unsigned c) {
        float e = N ? z[i] : expf(s[c] * j.scale - top);
        float by = N ? a[i] : alpha[c];
        ds[c] = c == own ? 0 : j.back * (e * norm - by);
    });
    if (threadIdx.x == 0)
        j.value[own] = all * logf(sum) - dot;
}

void cuda_contrast(cg_dev *d, int n, const float *s, const float *alpha,
                   float tau, float weight, float *loss, float *ds)
{
    float scale = 1 / tau;
    struct contrast j = { (size_t)n, s, alpha, scale,
                          weight * scale / (float)n, NULL, ds };
    if (n < 2) {
        cuda_fill(d, j.n * j.n, 0, ds);
        return;
    }
    auto kernel = n <= 2 * BLOCK ? contrast_rows<2>
        : n <= 8 * BLOCK ? contrast_rows<8> : contrast_rows<0>;
    j.value = (float *)cuda_scratch(d, j.n * sizeof(float));
    LAUNCH(d, kernel, n, BLOCK, 0, j);
    LAUNCH(d, add_values, 1, MANY, 0, n, j.value, weight / (float)n, loss);
}

/* -- single elements ------------------------------------------------------- */

/* f(y, target, &gradient): an element's loss. A batch has a few hundred: one
 * block. */
template <class F>
static __global__ void element_losses(int n, const float *y,
                                      const float *target, float weight,
                                      float *loss, float *dy, F f)
{
    float sum = 0, w = weight / (float)n;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        float grad;
        sum += f(y[i], target[i], &grad);
        dy[i] += w * grad;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0)
        *loss += w * sum;
}

struct mse {
    __device__ float operator()(float y, float t, float *grad) const
    {
        float e = y - t;
        *grad = 2 * e;
        return e * e;
    }
};

void cuda_mse(cg_dev *d, int n, const float *y, const float *target,
              float weight, float *loss, float *dy)
{
    struct mse f;
    LAUNCH(d, element_losses<mse>, n > 0, MANY, 0, n, y, target, weight, loss,
           dy, f);
}

struct huber {
    float delta;
    __device__ float operator()(float y, float t, float *grad) const
    {
        float e = y - t, size = fabsf(e);
        *grad = size <= delta ? e : copysignf(delta, e);
        return size <= delta ? 0.5f * e * e : delta * (size - 0.5f * delta);
    }
};

void cuda_huber(cg_dev *d, int n, const float *y, const float *target,
                float delta, float weight, float *loss, float *dy)
{
    struct huber f = { delta };
    LAUNCH(d, element_losses<huber>, n > 0, MANY, 0, n, y, target, weight,
           loss, dy, f);
}

struct logistic {
    __device__ float operator()(float y, float t, float *grad) const
    {
        float e = expf(-fabsf(y));
        *grad = (y < 0 ? e : 1) / (1 + e) - t;
        return log1pf(e) + fmaxf(y, 0) - t * y;
    }
};

void cuda_logistic(cg_dev *d, int n, const float *y, const float *target,
                   float weight, float *loss, float *dy)
{
    struct logistic f;
    LAUNCH(d, element_losses<logistic>, n > 0, MANY, 0, n, y, target, weight,
           loss, dy, f);
}
