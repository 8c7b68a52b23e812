/* Attention's way back, from the P that was kept. A group of one tile takes one
 * pass; larger ones take three, since dS needs the sums of whole rows, and no
 * block adds to what is another's. */
#include "backend/cuda/attention.cuh"

/* d = dP, p = P, w = P as it was dropped, of m tokens from i on by n from l
 * on; 0 beyond. */
template <int N>
static __device__ inline void gradients(const struct attention &j,
                                        const struct head &a, int i, int m,
                                        int l, int n, struct room *s,
                                        float d[N][N], float p[N][N])
{
    float dropped[N][N], dot[N][N];
    for (int r = 0; r < N; r++)
        for (int k = 0; k < N; k++)
            d[r][k] = p[r][k] = dropped[r][k] = dot[r][k] = 0;
#pragma unroll 1
    for (int c = 0; c < j.dim; c += DEPTH) {
        __syncthreads(); /* what is there has been read */
        fetch_dy(j, a, i, m, c, s->a);
        fetch(j, a, l, n, c, NULL, NULL, s->b);
        __syncthreads();
        add_dots<N>(s->a, s->b, least(DEPTH, j.dim - c), dot);
    }
    each_kept<N>(a, i, m, l, n, [&](int r, int k, size_t at) {
        float by = factor(j, at);
        p[r][k] = j.prob[at];
        dropped[r][k] = p[r][k] * by;
        d[r][k] = dot[r][k] * by;
    });
    store_tile<N>(dropped, s->w);
}

/* Where dqkv's part of token t of the head begins. */
static __device__ inline float *grad_of(const struct attention &j,
                                        const struct head &a, int part, int t)
{
    size_t width = (size_t)j.heads * j.dim;
    return j.dqkv + (a.first + t) * 3 * width + part * width + a.h * j.dim;
}

static __device__ inline void put(float *to, bool first, float v)
{
    *to = first ? v : *to + v;
}

/* Part 1 or 2 of n tokens from l on, columns from c on, (+)= scale w^T b. */
static __device__ inline void add_turned(const struct attention &j,
                                         const struct head &a, int part,
                                         int l, int n, int m, int c,
                                         float scale, bool first,
                                         const struct room *s)
{
    float out[4][2];
    if (4 * tile_y() >= n)
        return;
    turned_product(s->w, s->a, m, out);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 2; k++) {
            int row = 4 * tile_y() + i, at = c + tile_x() + SIDE * k;
            if (row < n && at < j.dim)
                put(grad_of(j, a, part, l + row) + at, first,
                    scale * out[i][k]);
        }
}

template <int N>
static __device__ inline void add_plain(const struct attention &j,
                                        const struct head &a, int i, int m,
                                        int n, int c, bool first,
                                        const struct room *s)
{
    float out[N][2];
    product<N>(s->w, s->b, n, out);
    for (int r = 0; r < N; r++)
        for (int k = 0; k < 2; k++) {
            int row = tile_y() + SIDE * r, at = c + tile_x() + SIDE * k;
            if (row < m && at < j.dim)
                put(grad_of(j, a, 0, i + row) + at, first,
                    j.scale * out[r][k]);
        }
}

/* A tile of P: dS = P (dP - dot), and from it dq (QUERIES), dk and dv (KEYS)
 * of its tokens. `dot`: a row's sum of P dP, NULL where the tile is all. */
template <int N, bool KEYS, bool QUERIES>
static __device__ inline void back(const struct attention &j,
                                   const struct head &a, int i, int l,
                                   const float *dot, struct room *s)
{
    int m = least(TILE, a.n - i), n = least(TILE, a.n - l);
    float d[N][N], p[N][N];
    gradients<N>(j, a, i, m, l, n, s, d, p);
    for (int r = 0; r < N; r++) {
        float sum = 0;
        for (int k = 0; k < N; k++)
            sum += p[r][k] * d[r][k];
        sum = dot ? dot[r] : near_sum(sum, SIDE);
        for (int k = 0; k < N; k++)
            d[r][k] = p[r][k] * (d[r][k] - sum);
    }
#pragma unroll 1
    for (int c = 0; KEYS && c < j.dim; c += DEPTH) {
        if (j.dim > DEPTH) { /* or all of dy is there */
            __syncthreads();
            fetch_dy(j, a, i, m, c, s->a);
        }
        __syncthreads();
        add_turned(j, a, 2, l, n, m, c, 1, i == 0, s);
    }
    if (KEYS)
        __syncthreads();
    store_tile<N>(d, s->w);
#pragma unroll 1
    for (int c = 0; c < j.dim; c += DEPTH) {
        __syncthreads();
        if (KEYS && QUERIES) { /* i is l */
            fetch(j, a, i, m, c, s->a, s->b, NULL);
        } else if (KEYS) {
            fetch(j, a, i, m, c, s->a, NULL, NULL);
        } else {
            fetch(j, a, l, n, c, NULL, s->b, NULL);
        }
        __syncthreads();
        if (KEYS)
            add_turned(j, a, 1, l, n, m, c, j.scale, i == 0, s);
        if (QUERIES)
            add_plain<N>(j, a, i, m, n, c, l == 0, s);
    }
}

/* Large groups need every row's dot before the first dS. Its place until then
 * is the first float of the row's dq, which is computed last. */
static __device__ inline void large_dots(const struct attention &j,
                                         const struct head &a, int tile,
                                         struct room *s)
{
    int i = tile * TILE, m = least(TILE, a.n - i);
    float d[4][4], p[4][4], dot[4] = { 0 };
    for (int l = 0; l < a.n; l += TILE) {
        gradients<4>(j, a, i, m, l, least(TILE, a.n - l), s, d, p);
        for (int r = 0; r < 4; r++)
            for (int k = 0; k < 4; k++)
                dot[r] += p[r][k] * d[r][k];
    }
    for (int r = 0; r < 4; r++) {
        int row = tile_y() + SIDE * r;
        dot[r] = near_sum(dot[r], SIDE);
        if (tile_x() == 0 && row < m)
            *grad_of(j, a, 0, i + row) = dot[r];
    }
}

static __device__ inline void read_dots(const struct attention &j,
                                        const struct head &a, int i,
                                        float dot[4])
{
    for (int r = 0; r < 4; r++) {
        int row = i + tile_y() + SIDE * r;
        dot[r] = row < a.n ? *grad_of(j, a, 0, row) : 0;
    }
}

static __global__ void __launch_bounds__(BLOCK, 2)
attention_bwd_kernel(struct attention j)
{
    __shared__ struct room s;
    if (blockIdx.x < WORKERS) {
        large_groups(j, blockIdx.x, [&](const struct head &a, int tile) {
            large_dots(j, a, tile, &s);
        });
        return;
    }
    struct head a = small_head(j);
    if (a.n > 3 * SIDE)
        back<4, true, true>(j, a, 0, 0, NULL, &s);
    else if (a.n > 2 * SIDE)
        back<3, true, true>(j, a, 0, 0, NULL, &s);
    else if (a.n > SIDE)
        back<2, true, true>(j, a, 0, 0, NULL, &s);
    else if (a.n > 0)
        back<1, true, true>(j, a, 0, 0, NULL, &s);
}

static __global__ void __launch_bounds__(BLOCK, 2)
attention_bwd_keys(struct attention j)
{
    __shared__ struct room s;
    large_groups(j, blockIdx.x, [&](const struct head &a, int tile) {
        float dot[4];
        for (int i = 0; i < a.n; i += TILE) {
            read_dots(j, a, i, dot);
            back<4, true, false>(j, a, i, tile * TILE, dot, &s);
        }
    });
}

static __global__ void __launch_bounds__(BLOCK, 2)
attention_bwd_queries(struct attention j)
{
    __shared__ struct room s;
    large_groups(j, blockIdx.x, [&](const struct head &a, int tile) {
        float dot[4];
        read_dots(j, a, tile * TILE, dot);
        for (int l = 0; l < a.n; l += TILE)
            back<4, false, true>(j, a, tile * TILE, l, dot, &s);
    });
}

void cuda_attention_bwd(cg_dev *d, int groups, const int32_t *start,
                        const int64_t *square, const int32_t *row, int heads,
                        int dim, const float *qkv, float p, uint64_t key,
                        const float *prob, const float *dy, float *dqkv)
{
    struct attention j = attention_of(groups, heads, dim, p, key);
    unsigned blocks = (unsigned)groups * (unsigned)heads;
    j.start = start, j.square = square, j.row = row;
    j.qkv = qkv, j.prob = (float *)prob, j.dy = dy, j.dqkv = dqkv;
    if (!blocks)
        return;
    LAUNCH(d, attention_bwd_kernel, WORKERS + blocks, BLOCK, 0, j);
    LAUNCH(d, attention_bwd_keys, WORKERS, BLOCK, 0, j);
    LAUNCH(d, attention_bwd_queries, WORKERS, BLOCK, 0, j);
}
