/* What attention and its way back share: a block takes a head of a group, and
 * what it needs of q, k, v in tiles of TILE tokens by DEPTH columns through
 * shared memory. Groups of at most TILE tokens, which is nearly all of them,
 * are one tile. The tiles of larger ones are shared out to WORKERS blocks
 * beside them: the host does not know the sizes of groups, and need not wait
 * for them. */
#ifndef CG_BACKEND_CUDA_ATTENTION_CUH
#define CG_BACKEND_CUDA_ATTENTION_CUH

#include "backend/cuda/threads.cuh"

#include <assert.h>
#include <math.h>

/* A block is SIDE x SIDE threads; PITCH, WIDE: floats from row to row, an odd
 * number of float4, so that neighbours' float4 lie in different banks. */
enum { TILE = 64, DEPTH = 32, PITCH = 36, WIDE = 68, SIDE = 16,
       WORKERS = 256 };

struct attention {
    const int32_t *start, *row;
    const int64_t *square;
    const float *count, *qkv, *dy;
    int groups, heads, dim;
    float scale, keep; /* 1 / sqrt(dim); of what is not dropped */
    uint64_t key;
    uint32_t below;    /* 0: nothing is dropped */
    float *prob, *y, *dqkv;
};

/* One head of one group. */
struct head {
    size_t first, square, h; /* square: index of its P (n, n) */
    int n;
};

struct room {
    alignas(16) float a[TILE][PITCH], b[TILE][PITCH], w[TILE][WIDE];
};

static __device__ inline int tokens_of(const struct attention &j, int g)
{
    return j.start[g + 1] - j.start[g];
}

static __device__ inline struct head head_of(const struct attention &j, int g,
                                             int h)
{
    struct head a;
    a.first = (size_t)j.start[g];
    a.n = tokens_of(j, g);
    a.h = (size_t)h;
    a.square = (size_t)j.heads * (size_t)j.square[g]
        + (size_t)h * (size_t)a.n * (size_t)a.n;
    return a;
}

static __device__ inline int least(int a, int b) { return a < b ? a : b; }

/* -- tiles ----------------------------------------------------------------- */

typedef float (*slab)[PITCH];

/* Rows of a tile up to a multiple of SIDE are filled, with zeros from m on. */
static __device__ inline int filled(int m)
{
    return (m + SIDE - 1) / SIDE * SIDE;
}

/* Columns from c on of m tokens from t on, of q, k and v (NULL: not that one);
 * zeros in the rest of the row. */
static __device__ inline void fetch(const struct attention &j,
                                    const struct head &a, int t, int m, int c,
                                    slab q, slab k, slab v)
{
    const int32_t *row = j.row + a.first + t;
    size_t width = (size_t)j.heads * j.dim;
    int at = threadIdx.x % DEPTH;
    bool in = c + at < j.dim;
    const float *x = j.qkv + a.h * j.dim + c + at;
#pragma unroll 4
    for (int r = threadIdx.x / DEPTH; r < filled(m); r += BLOCK / DEPTH) {
        bool is = in && r < m;
        const float *own = x + (is ? (size_t)row[r] * 3 * width : 0);
        if (q)
            q[r][at] = is ? own[0] : 0;
        if (k)
            k[r][at] = is ? own[width] : 0;
        if (v)
            v[r][at] = is ? own[2 * width] : 0;
    }
}

static __device__ inline void fetch_dy(const struct attention &j,
                                       const struct head &a, int t, int m,
                                       int c, slab to)
{
    size_t width = (size_t)j.heads * j.dim;
    int at = threadIdx.x % DEPTH;
    bool in = c + at < j.dim;
    const float *x = j.dy + (a.first + t) * width + a.h * j.dim + c + at;
#pragma unroll 4
    for (int r = threadIdx.x / DEPTH; r < filled(m); r += BLOCK / DEPTH)
        to[r][at] = in && r < m ? x[r * width] : 0;
}

/* The thread's elements of a tile are (y + SIDE i, x + SIDE k), i, k < N. */
static __device__ inline int tile_x(void) { return threadIdx.x % SIDE; }
static __device__ inline int tile_y(void) { return threadIdx.x / SIDE; }

/* s += a b^T */
template <int N>
static __device__ inline void add_dots(const float (*a)[PITCH],
                                       const float (*b)[PITCH], int depth,
                                       float s[N][N])
{
#pragma unroll 1
    for (int c = 0; c < depth; c += 4) {
        float p[N][4], q[N][4];
        for (int i = 0; i < N; i++) {
            load<4>(&a[tile_y() + SIDE * i][c], p[i]);
            load<4>(&b[tile_x() + SIDE * i][c], q[i]);
        }
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++)
                for (int l = 0; l < 4; l++)
                    s[i][k] += p[i][l] * q[k][l];
    }
}

/* s = w b over n rows of b, a thread's columns are x and x + SIDE of DEPTH;
 * w and b are zero between n and the next multiple of 4. */
template <int N>
static __device__ inline void product(const float (*w)[WIDE],
                                      const float (*b)[PITCH], int n,
                                      float s[N][2])
{
    for (int i = 0; i < N; i++)
        s[i][0] = s[i][1] = 0;
#pragma unroll 1
    for (int k = 0; k < n; k += 4) {
        float p[N][4];
        for (int i = 0; i < N; i++)
            load<4>(&w[tile_y() + SIDE * i][k], p[i]);
        for (int l = 0; l < 4; l++) {
            float left = b[k + l][tile_x()], right = b[k + l][tile_x() + SIDE];
            for (int i = 0; i < N; i++) {
                s[i][0] += p[i][l] * left;
                s[i][1] += p[i][l] * right;
            }
        }
    }
}

/* s = w^T b over n rows of both; the thread's rows are 4 y .. 4 y + 3. */
static __device__ inline void turned_product(const float (*w)[WIDE],
                                             const float (*b)[PITCH], int n,
                                             float s[4][2])
{
    for (int i = 0; i < 4; i++)
        s[i][0] = s[i][1] = 0;
#pragma unroll 2
    for (int k = 0; k < n; k++) {
        float p[4], left = b[k][tile_x()], right = b[k][tile_x() + SIDE];
        load<4>(&w[k][4 * tile_y()], p);
        for (int i = 0; i < 4; i++) {
            s[i][0] += p[i] * left;
            s[i][1] += p[i] * right;
        }
    }
}

template <int N>
static __device__ inline void store_tile(const float s[N][N],
                                         float (*w)[WIDE])
{
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N; k++)
            w[tile_y() + SIDE * i][tile_x() + SIDE * k] = s[i][k];
}

/* What dropout multiplies an element of P with. */
static __device__ inline float factor(const struct attention &j, size_t index)
{
    if (!j.below)
        return 1;
    return cg_dropout_bits(j.key, (uint32_t)index) < j.below ? 0 : j.keep;
}

/* f(head, tile) for every tile of TILE tokens of every head of the groups of
 * more than TILE; `me` of WORKERS blocks. */
template <class F>
static __device__ inline void large_groups(const struct attention &j,
                                           unsigned me, F f)
{
    float any = 0;
    for (int g = threadIdx.x; g < j.groups; g += BLOCK)
        any = tokens_of(j, g) > TILE ? 1 : any;
    if (block_max(any) == 0)
        return;
    unsigned before = 0; /* tiles, modulo WORKERS */
    for (int g = 0; g < j.groups; g++) {
        int n = tokens_of(j, g);
        if (n <= TILE)
            continue;
        unsigned heads = (unsigned)j.heads;
        unsigned all = heads * (((unsigned)n + TILE - 1) / TILE);
        for (unsigned k = (me + WORKERS - before) % WORKERS; k < all;
             k += WORKERS)
            f(head_of(j, g, (int)(k % heads)), (int)(k / heads));
        before = (before + all) % WORKERS;
    }
}

/* The head that a block after the workers takes; n is 0 where it is large. */
static __device__ inline struct head small_head(const struct attention &j)
{
    unsigned at = blockIdx.x - WORKERS, heads = (unsigned)j.heads;
    struct head a = head_of(j, (int)(at / heads), (int)(at % heads));
    if (a.n > TILE)
        a.n = 0;
    return a;
}

/* f(r, k, index in prob) for the thread's elements that are there. */
template <int N, class F>
static __device__ inline void each_kept(const struct head &a, int i, int m,
                                        int l, int n, F f)
{
#pragma unroll
    for (int r = 0; r < N; r++)
#pragma unroll
        for (int k = 0; k < N; k++) {
            int row = tile_y() + SIDE * r, column = tile_x() + SIDE * k;
            if (row < m && column < n)
                f(r, k, a.square + (size_t)(i + row) * a.n + (l + column));
        }
}

/* For the host. */
static inline struct attention attention_of(int groups, int heads, int dim,
                                            float p, uint64_t key)
{
    struct attention j = {};
    assert(p >= 0 && p < 1);
    j.groups = groups, j.heads = heads, j.dim = dim;
    j.scale = 1 / sqrtf((float)dim);
    j.keep = 1 / (1 - p);
    j.key = key;
    j.below = (uint32_t)ceil((double)p * 0x1p32);
    return j;
}

#endif
