/* What goes around cuSPARSE's products: bias and activation behind them, the
 * activation's derivative and the bias' gradient before those of the way
 * back; and the products that are not left to it. */
#include "backend/cuda/threads.cuh"

/* A block has 32 columns and a strip of rows, of which its 8 warps take turns:
 * the order of a column's sum is that of the strips. There are at most 512 of
 * them, as somebody adds up their sums. */
enum { COLS = 32, WARPS = 8 };
static const size_t STRIP = 128, STRIPS = 512;

struct grid {
    size_t rows, cols, strip;
};

static struct grid grid_of(int rows, int cols)
{
    size_t n = (size_t)rows, strip = (n + STRIPS - 1) / STRIPS;
    struct grid g = { n, (size_t)cols, strip > STRIP ? strip : STRIP };
    return g;
}

static dim3 blocks_of(struct grid g)
{
    return dim3(cuda_blocks(g.rows, g.strip), cuda_blocks(g.cols, COLS));
}

/* The rows of a thread: first, first + WARPS, ... before last. */
struct strip {
    size_t first, last, col;
};

static __device__ inline struct strip strip_of(struct grid g)
{
    struct strip s;
    s.first = blockIdx.x * g.strip + threadIdx.y;
    s.last = (blockIdx.x + 1) * g.strip;
    s.last = s.last < g.rows ? s.last : g.rows;
    s.col = (size_t)blockIdx.y * COLS + threadIdx.x;
    return s;
}

static __device__ inline float activate(float v, cg_act act)
{
    return act == CG_ACT_RELU && v < 0 ? 0 : v;
}

/* x and bias may be NULL; y may be x, so neither is __restrict__. */
static __global__ void finish(struct grid g, const float *x, size_t ldx,
                              const float *bias, cg_act act, float beta,
                              float *y, size_t ldy)
{
    struct strip s = strip_of(g);
    if (s.col >= g.cols)
        return;
    float b = bias ? bias[s.col] : 0;
    for (size_t r = s.first; r < s.last; r += WARPS) {
        float *at = y + r * ldy + s.col;
        float v = activate((x ? x[r * ldx + s.col] : 0) + b, act);
        *at = beta != 0 ? v + beta * *at : v;
    }
}

void cuda_spmm_finish(cg_dev *d, int rows, int cols, const float *x, int ldx,
                      const float *bias, cg_act act, float beta, float *y,
                      int ldy)
{
    struct grid g = grid_of(rows, cols);
    LAUNCH(d, finish, blocks_of(g), dim3(COLS, WARPS), 0, g, x, (size_t)ldx,
           bias, act, beta, y, (size_t)ldy);
}

/* dz may be NULL, and so to.y: no sums are wanted. */
static __global__ void start(struct grid g, const float *y, size_t ldy,
                             cg_act act, const float *dy, size_t lddy,
                             float *dz, size_t lddz, struct sums to)
{
    struct strip s = strip_of(g);
    float sum = 0;
    for (size_t r = s.first; r < s.last && s.col < g.cols; r += WARPS) {
        float v = dy[r * lddy + s.col];
        if (act == CG_ACT_RELU && !(y[r * ldy + s.col] > 0))
            v = 0;
        if (dz)
            dz[r * lddz + s.col] = v;
        sum += v;
    }
    if (!to.y)
        return;
    sum = warps_sum(sum, threadIdx.y, WARPS);
    add_up(to, blockIdx.x, s.col, sum, threadIdx.y, WARPS);
}

void cuda_spmm_start(cg_dev *d, int rows, int cols, const float *y, int ldy,
                     cg_act act, const float *dy, int lddy, float *dz,
                     int lddz, float bb, float *dbias)
{
    struct grid g = grid_of(rows, cols);
    dim3 blocks = blocks_of(g);
    struct sums to = { 0, 0, 0, NULL, NULL, 0, NULL, 0, NULL };
    if (rows == 0 && dbias)
        cuda_colsum(d, 1, 0, cols, dy, lddy, bb, dbias);
    if (rows == 0 || (!dz && !dbias))
        return;
    if (dbias)
        to = sums_of(d, blocks.x, 1, cols, bb, dbias);
    LAUNCH(d, start, blocks, dim3(COLS, WARPS), 0, g, y, (size_t)ldy, act, dy,
           (size_t)lddy, dz, (size_t)lddz, to);
}

/* A thread does an element: sums are in the order of the entries. */
static __global__ void multiply(cg_csr s, size_t cols, const float *x,
                                size_t ldx, float beta, float *y, size_t ldy)
{
    size_t c = (size_t)blockIdx.y * COLS + threadIdx.x;
    size_t r = (size_t)blockIdx.x * WARPS + threadIdx.y;
    if (c >= cols || r >= (size_t)s.n_rows)
        return;
    float sum = 0;
    for (int e = s.start[r]; e < s.start[r + 1]; e++)
        sum += (s.val ? s.val[e] : 1) * x[s.col[e] * ldx + c];
    float *at = y + r * ldy + c;
    *at = beta != 0 ? sum + beta * *at : sum;
}

void cuda_spmm_rows(cg_dev *d, const cg_csr *s, int cols, const float *x,
                    int ldx, float beta, float *y, int ldy)
{
    dim3 blocks(cuda_blocks((size_t)s->n_rows, WARPS),
                cuda_blocks((size_t)cols, COLS));
    LAUNCH(d, multiply, blocks, dim3(COLS, WARPS), 0, *s, (size_t)cols, x,
           (size_t)ldx, beta, y, (size_t)ldy);
}

cudaError_t cuda_probe(void)
{
    cudaFuncAttributes a;
    return cudaFuncGetAttributes(&a, finish);
}
