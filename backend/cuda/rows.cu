/* What is done element by element, and sums of columns. */
#include "backend/cuda/threads.cuh"

#include <assert.h>
#include <math.h>

/* -- elements -------------------------------------------------------------- */

/* z = f(x, y) by rows; y NULL: 0. */
struct map {
    size_t rows, cols, ldx, ldy, ldz;
    const float *x, *y;
    float *z; /* may be x or y */
};

/* A thread does V neighbours of a row, or of every so many rows where the grid
 * cannot be as high as the matrix. */
template <int V, class F>
static __global__ void map_rows(struct map m, F f)
{
    size_t c = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * V;
    size_t r = (size_t)blockIdx.y * blockDim.y + threadIdx.y;
    if (c >= m.cols)
        return;
    for (; r < m.rows; r += (size_t)gridDim.y * blockDim.y) {
        float x[V], y[V] = { 0 }, z[V];
        load<V>(m.x + r * m.ldx + c, x);
        if (m.y)
            load<V>(m.y + r * m.ldy + c, y);
        for (int l = 0; l < V; l++)
            z[l] = f(x[l], y[l], r, c + l);
        store<V>(m.z + r * m.ldz + c, z);
    }
}

/* Rows without gaps are one long row, for an f that knows no columns. */
static void flatten(struct map *m)
{
    if (m->ldx != m->cols || m->ldz != m->cols || (m->y && m->ldy != m->cols))
        return;
    m->cols *= m->rows;
    m->rows = m->cols > 0;
}

static bool map_by_four(const struct map *m)
{
    size_t all = m->cols | (m->rows > 1 ? m->ldx | m->ldy | m->ldz : 0);
    return all % 4 == 0 && by_four(m->x) && by_four(m->y) && by_four(m->z);
}

template <class F>
static void run(cg_dev *d, struct map m, F f)
{
    bool fours = map_by_four(&m);
    size_t steps = fours ? m.cols / 4 : m.cols;
    unsigned wide = 1;
    while (wide < BLOCK && wide < steps)
        wide *= 2;
    unsigned high = cuda_blocks(m.rows, BLOCK / wide);
    dim3 block(wide, BLOCK / wide);
    dim3 grid(cuda_blocks(steps, wide), high < 65535 ? high : 65535);
    auto kernel = fours ? map_rows<4, F> : map_rows<1, F>;
    LAUNCH(d, kernel, grid, block, 0, m, f);
}

struct bias_act {
    const float *bias;
    size_t cols;
    unsigned each; /* rows of a group; 0: there is one */
    bool relu;
    __device__ float operator()(float x, float, size_t r, size_t c) const
    {
        size_t row = each ? (unsigned)r / each : 0;
        float v = bias ? x + bias[row * cols + c] : x;
        return relu && v < 0 ? 0 : v;
    }
};

void cuda_bias_act(cg_dev *d, int groups, int rows, int cols, const float *x,
                   int ldx, const float *bias, cg_act act, float *y, int ldy)
{
    struct map m = { (size_t)rows, (size_t)cols, (size_t)ldx, 0, (size_t)ldy,
                     x, NULL, y };
    struct bias_act f = { bias, (size_t)cols,
                          groups > 1 ? (unsigned)(rows / groups) : 0,
                          act == CG_ACT_RELU };
    if (!bias && !f.relu && x == y)
        return;
    if (!bias)
        flatten(&m);
    run(d, m, f);
}

struct relu_bwd {
    __device__ float operator()(float dy, float y, size_t, size_t) const
    {
        return y > 0 ? dy : 0;
    }
};

void cuda_act_bwd(cg_dev *d, int rows, int cols, const float *y, int ldy,
                  cg_act act, const float *dy, int lddy, float *dx, int lddx)
{
    struct map m = { (size_t)rows, (size_t)cols, (size_t)lddy, (size_t)ldy,
                     (size_t)lddx, dy, y, dx };
    struct relu_bwd f;
    if (act == CG_ACT_NONE) {
        cuda_bias_act(d, 1, rows, cols, dy, lddy, NULL, act, dx, lddx);
        return;
    }
    flatten(&m);
    run(d, m, f);
}

struct axpby {
    float a, b;
    __device__ float operator()(float x, float y, size_t, size_t) const
    {
        return a * x + b * y;
    }
};

void cuda_axpby(cg_dev *d, int rows, int cols, float a, const float *x,
                int ldx, float b, float *y, int ldy)
{
    struct map m = { (size_t)rows, (size_t)cols, (size_t)ldx, (size_t)ldy,
                     (size_t)ldy, x, b == 0 ? NULL : y, y };
    struct axpby f = { a, b };
    flatten(&m);
    run(d, m, f);
}

struct dropout {
    float scale, beta;
    uint64_t key;
    uint32_t below, cols;
    __device__ float operator()(float x, float y, size_t r, size_t c) const
    {
        uint32_t i = (uint32_t)r * cols + (uint32_t)c;
        float kept = cg_dropout_bits(key, i) < below ? 0 : x * scale;
        return beta * y + kept;
    }
};

void cuda_dropout(cg_dev *d, int rows, int cols, const float *x, int ldx,
                  float p, uint64_t key, float beta, float *y, int ldy)
{
    struct map m = { (size_t)rows, (size_t)cols, (size_t)ldx, (size_t)ldy,
                     (size_t)ldy, x, beta == 0 ? NULL : y, y };
    struct dropout f = { 1 / (1 - p), beta, key,
                         (uint32_t)ceil((double)p * 0x1p32), (uint32_t)cols };
    assert(p >= 0 && p < 1);
    flatten(&m);
    run(d, m, f);
}

/* -- fill ------------------------------------------------------------------ */

struct fill {
    float *y, value;
    template <int V> __device__ void at(size_t i)
    {
        float v[V];
        for (int l = 0; l < V; l++)
            v[l] = value;
        store<V>(y + i, v);
    }
};

static __global__ void fill_kernel(struct span s, struct fill f)
{
    each_piece(s, f);
}

void cuda_fill(cg_dev *d, size_t n, float value, float *y)
{
    struct span s = span_of(n, by_four(y));
    struct fill f = { y, value };
    LAUNCH(d, fill_kernel, span_blocks(s), BLOCK, 0, s, f);
}

/* -- sums ------------------------------------------------------------------ */

static const size_t PARTS = 128;

/* A block sums `chunk` rows of 32 columns, or of every so many where the grid
 * cannot be as high. Groups are `next` elements of x apart. */
struct columns {
    size_t rows, ldx, chunk, next;
    const float *x;
    struct sums to;
};

static __global__ void sum_rows(struct columns j)
{
    struct sums to = j.to;
    size_t first = blockIdx.x * j.chunk, last = first + j.chunk;
    size_t tiles = (to.cols + WARP - 1) / WARP;
    const float *x = j.x + blockIdx.z * j.next;
    last = last < j.rows ? last : j.rows;
    to.y += blockIdx.z * to.cols;
    to.part += blockIdx.z * to.n * to.cols;
    to.arrived += blockIdx.z * tiles;
    for (size_t b = blockIdx.y; b < tiles; b += gridDim.y) {
        size_t c = b * WARP + threadIdx.x;
        float s = column_sum(x + c, j.ldx, first, last, c < to.cols,
                             threadIdx.y, blockDim.y);
        add_up(to, blockIdx.x, c, s, threadIdx.y, blockDim.y);
    }
}

void cuda_colsum(cg_dev *d, int groups, int rows, int cols, const float *x,
                 int ldx, float beta, float *y)
{
    size_t n = (size_t)(rows / groups), parts = (n + 63) / 64;
    parts = n <= 256 ? 1 : parts < PARTS ? parts : (size_t)PARTS;
    size_t chunk = (n + parts - 1) / parts;
    if (n > 0)
        parts = (n + chunk - 1) / chunk;
    struct columns j = { n, (size_t)ldx, chunk, n * (size_t)ldx, x,
                         sums_of(d, parts, groups, cols, beta, y) };
    unsigned tiles = cuda_blocks((size_t)cols, WARP);
    LAUNCH(d, sum_rows, dim3(parts, tiles < 65535 ? tiles : 65535, groups),
           dim3(WARP, BLOCK / WARP), 0, j);
}
