/* Attention within groups: P stays on the chip but for what the caller keeps.
 * In groups of several tiles the softmax is carried from tile to tile (Milakov
 * & Gimelshein 2018; Dao et al. 2022). */
#include "backend/cuda/attention.cuh"

/* p = q k^T / sqrt(dim) + log count of m tokens from i on and n from l on,
 * -INFINITY beyond; and where dim is no more than DEPTH, v. With ALL i is l. */
template <int N, bool ALL>
static __device__ inline void scores(const struct attention &j,
                                     const struct head &a, int i, int m,
                                     int l, int n, struct room *s, slab v,
                                     float p[N][N])
{
    v = j.dim > DEPTH ? NULL : v;
    for (int r = 0; r < N; r++)
        for (int k = 0; k < N; k++)
            p[r][k] = 0;
#pragma unroll 1
    for (int c = 0; c < j.dim; c += DEPTH) {
        __syncthreads(); /* what is there has been read */
        if (ALL) {
            fetch(j, a, i, m, c, s->a, s->b, v);
        } else {
            fetch(j, a, i, m, c, s->a, NULL, NULL);
            fetch(j, a, l, n, c, NULL, s->b, v);
        }
        __syncthreads();
        add_dots<N>(s->a, s->b, least(DEPTH, j.dim - c), p);
    }
    for (int k = 0; k < N; k++) {
        int column = tile_x() + SIDE * k;
        float bias = column < n ? logf(j.count[a.first + l + column]) : 0;
        for (int r = 0; r < N; r++)
            p[r][k] = column < n ? p[r][k] * j.scale + bias : -INFINITY;
    }
}

/* Row by row: largest score, and sum of e^(score - top), so far. */
template <int N> struct softmax {
    float top[N], sum[N];
};

/* p = e^(p - top), with the top so far; by: what was summed before is to be
 * multiplied with that. */
template <int N>
static __device__ inline void carry(struct softmax<N> *s, float p[N][N],
                                    float by[N])
{
    for (int r = 0; r < N; r++) {
        float top = s->top[r], sum = 0;
        for (int k = 0; k < N; k++)
            top = fmaxf(top, p[r][k]);
        top = near_max(top, SIDE);
        for (int k = 0; k < N; k++)
            sum += p[r][k] = expf(p[r][k] - top);
        by[r] = expf(s->top[r] - top);
        s->sum[r] = s->sum[r] * by[r] + near_sum(sum, SIDE);
        s->top[r] = top;
    }
}

/* y = by y + w v; y = w v at the first tile. */
template <int N>
static __device__ inline void add_values(const struct attention &j,
                                         const struct head &a, int i, int m,
                                         int l, int n, struct room *s, slab v,
                                         const float by[N],
                                         const float last[N])
{
    size_t width = (size_t)j.heads * j.dim;
    float *y = j.y + (a.first + i) * width + a.h * j.dim, out[N][2];
#pragma unroll 1
    for (int c = 0; c < j.dim; c += DEPTH) {
        if (j.dim > DEPTH) { /* or all of v is there */
            __syncthreads();
            fetch(j, a, l, n, c, NULL, NULL, v);
        }
        __syncthreads();
        product<N>(s->w, v, n, out);
        for (int r = 0; r < N; r++)
            for (int k = 0; k < 2; k++) {
                int row = tile_y() + SIDE * r, at = c + tile_x() + SIDE * k;
                if (row >= m || at >= j.dim)
                    continue;
                float *to = y + row * width + at;
                *to = ((l ? *to * by[r] : 0) + out[r][k]) * last[r];
            }
    }
}

/* TILE rows of P and of y; ALL: all there are. */
template <int N, bool ALL>
static __device__ inline void forward(const struct attention &j,
                                      const struct head &a, int tile,
                                      struct room *s, slab v)
{
    int i = tile * TILE, m = least(TILE, a.n - i);
    struct softmax<N> soft;
    float p[N][N], by[N], last[N];
    for (int r = 0; r < N; r++)
        soft.top[r] = -INFINITY, soft.sum[r] = 0, last[r] = 1;
    for (int l = 0; l < a.n; l += TILE) {
        int n = least(TILE, a.n - l);
        scores<N, ALL>(j, a, i, m, l, n, s, v, p);
        if (j.prob && !ALL) /* becomes P when all of the row is known */
            each_kept<N>(a, i, m, l, n, [&](int r, int k, size_t at) {
                j.prob[at] = p[r][k];
            });
        carry<N>(&soft, p, by);
        if (l + TILE >= a.n)
            for (int r = 0; r < N; r++)
                last[r] = 1 / soft.sum[r];
        if (j.prob && ALL)
            each_kept<N>(a, i, m, l, n, [&](int r, int k, size_t at) {
                j.prob[at] = p[r][k] * last[r];
            });
        if (j.below)
            each_kept<N>(a, i, m, l, n, [&](int r, int k, size_t at) {
                p[r][k] *= factor(j, at);
            });
        store_tile<N>(p, s->w);
        add_values<N>(j, a, i, m, l, n, s, v, by, last);
    }
    if (j.prob && !ALL)
        for (int l = 0; l < a.n; l += TILE)
            each_kept<N>(a, i, m, l, least(TILE, a.n - l),
                         [&](int r, int, size_t at) {
                j.prob[at] = expf(j.prob[at] - soft.top[r]) * last[r];
            });
}

static __global__ void __launch_bounds__(BLOCK, 2)
attention_kernel(struct attention j)
{
    __shared__ struct room s;
    __shared__ float v[TILE][PITCH];
    if (blockIdx.x < WORKERS) {
        large_groups(j, blockIdx.x, [&](const struct head &a, int tile) {
            forward<4, false>(j, a, tile, &s, v);
        });
        return;
    }
    struct head a = small_head(j);
    if (a.n > 3 * SIDE)
        forward<4, true>(j, a, 0, &s, v);
    else if (a.n > 2 * SIDE)
        forward<3, true>(j, a, 0, &s, v);
    else if (a.n > SIDE)
        forward<2, true>(j, a, 0, &s, v);
    else if (a.n > 0)
        forward<1, true>(j, a, 0, &s, v);
}

void cuda_attention(cg_dev *d, int groups, const int32_t *start,
                    const int64_t *square, const int32_t *row,
                    const float *count, int heads, int dim, const float *qkv,
                    float p, uint64_t key, float *prob, float *y)
{
    struct attention j = attention_of(groups, heads, dim, p, key);
    unsigned blocks = (unsigned)groups * (unsigned)heads;
    j.start = start, j.square = square, j.row = row;
    j.count = count, j.qkv = qkv, j.prob = prob, j.y = y;
    if (blocks)
        LAUNCH(d, attention_kernel, WORKERS + blocks, BLOCK, 0, j);
}
