/* The optimiser, and the weighted sum of an ensemble's heads. */
#include "backend/cuda/threads.cuh"

#include <math.h>

/* -- the length of the gradient -------------------------------------------- */

struct sumsq {
    const float *x;
    float sum;
    template <int V> __device__ void at(size_t i)
    {
        float v[V];
        load<V>(x + i, v);
        for (int l = 0; l < V; l++)
            sum += v[l] * v[l];
    }
};

/* part[block] = the block's share */
static __global__ void sum_squares(struct span s, struct sumsq f, float *part,
                                   unsigned *arrived, float *out)
{
    each_piece(s, f);
    float sum = block_sum(f.sum);
    if (threadIdx.x == 0)
        part[blockIdx.x] = sum;
    if (is_last(gridDim.x, arrived))
        add_total((int)gridDim.x, part, 1, out);
}

void cuda_sumsq(cg_dev *d, size_t n, const float *x, float *out)
{
    struct span s = span_of(n, by_four(x));
    struct sumsq f = { x, 0 };
    unsigned parts = span_blocks(s);
    parts = parts < 512 ? parts : 512;
    float *part = (float *)cuda_scratch(d, parts * sizeof(float));
    unsigned *arrived = cuda_zeros(d, 1);
    LAUNCH(d, sum_squares, parts, BLOCK, 0, s, f, part, arrived, out);
}

/* -- AdamW ----------------------------------------------------------------- */

struct adamw {
    float *w, *m, *v;
    const float *g;
    float scale, keep, b1, b2, step, root, eps;
    template <int V> __device__ void at(size_t i)
    {
        float wi[V], gi[V], mi[V], vi[V];
        load<V>(w + i, wi);
        load<V>(g + i, gi);
        load<V>(m + i, mi);
        load<V>(v + i, vi);
        for (int l = 0; l < V; l++) {
            float e = gi[l] * scale;
            mi[l] = b1 * mi[l] + (1 - b1) * e;
            vi[l] = b2 * vi[l] + (1 - b2) * e * e;
            wi[l] = keep * wi[l]
                - step * mi[l] / (sqrtf(vi[l]) * root + eps);
        }
        store<V>(w + i, wi);
        store<V>(m + i, mi);
        store<V>(v + i, vi);
    }
};

/* The clipping factor is made here: the host need not wait for *sumsq. */
static __global__ void adamw_kernel(struct span s, struct adamw f,
                                    const float *sumsq, float clip)
{
    if (clip > 0) {
        float scale = clip / (sqrtf(*sumsq) + 1e-6f);
        f.scale = scale < 1 ? scale : 1;
    }
    each_piece(s, f);
}

void cuda_adamw(cg_dev *d, size_t n, float *w, const float *g, float *m,
                float *v, const float *sumsq, float clip, float lr, float b1,
                float b2, float eps, float decay, int64_t t)
{
    double c1 = 1 - pow((double)b1, (double)t);
    double c2 = 1 - pow((double)b2, (double)t);
    struct span s = span_of(n, by_four(w) && by_four(g) && by_four(m)
                            && by_four(v));
    struct adamw f = { w, m, v, g, 1, 1 - lr * decay, b1, b2,
                       (float)((double)lr / c1), (float)(1 / sqrt(c2)), eps };
    LAUNCH(d, adamw_kernel, span_blocks(s), BLOCK, 0, s, f, sumsq, clip);
}

/* -- ensembles ------------------------------------------------------------- */

/* f, df (heads, size), size = n cols. */
struct mix {
    size_t size;
    unsigned heads, cols;
    const float *u;
};

static __global__ void mix_kernel(struct mix j, const float *f, float *y)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= j.size)
        return;
    const float *u = j.u + i / j.cols * j.heads;
    float sum = 0;
    for (unsigned h = 0; h < j.heads; h++)
        sum += u[h] * f[h * j.size + i];
    y[i] = sum;
}

static __global__ void mix_bwd_kernel(struct mix j, const float *dy,
                                      float *df)
{
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= j.size)
        return;
    const float *u = j.u + i / j.cols * j.heads;
    float e = dy[i];
    for (unsigned h = 0; h < j.heads; h++)
        df[h * j.size + i] += u[h] * e;
}

void cuda_mix(cg_dev *d, int n, int heads, int cols, const float *u,
              const float *f, float *y)
{
    struct mix j = { (size_t)n * (size_t)cols, (unsigned)heads,
                     (unsigned)cols, u };
    LAUNCH(d, mix_kernel, cuda_blocks(j.size, BLOCK), BLOCK, 0, j, f, y);
}

void cuda_mix_bwd(cg_dev *d, int n, int heads, int cols, const float *u,
                  const float *dy, float *df)
{
    struct mix j = { (size_t)n * (size_t)cols, (unsigned)heads,
                     (unsigned)cols, u };
    LAUNCH(d, mix_bwd_kernel, cuda_blocks(j.size, BLOCK), BLOCK, 0, j, dy, df);
}
