/* Rows brought to one scale: a warp for each, which holds it in registers so
 * that memory is read once. Rows of more than WIDEST columns are read again
 * instead. */
#include "backend/cuda/threads.cuh"

#include <math.h>

enum { WARPS = BLOCK / WARP, WIDEST = 16 * WARP, WIDTHS = 6 };

/* Kernels come in WIDTHS versions, of N = 0, 1, 2, 4, 8, 16 registers. */
static int version_of(int cols)
{
    int v = 1, most = WARP;
    while (most < cols)
        most *= 2, v++;
    return cols > WIDEST ? 0 : v;
}

#define VERSIONS(kernel)                                                      \
    { kernel<0>, kernel<1>, kernel<2>, kernel<4>, kernel<8>, kernel<16> }

/* -- LayerNorm ------------------------------------------------------------- */

struct layernorm {
    int rows, cols;
    size_t ldx, ldy;
    const float *x, *gamma, *beta;
    float *y, *mean, *rstd;
};

template <int N>
static __global__ void layernorm_rows(struct layernorm j)
{
    int lane = threadIdx.x % WARP;
    size_t r = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (r >= (size_t)j.rows)
        return;
    const float *x = j.x + r * j.ldx;
    float *y = j.y + r * j.ldy, own[N ? N : 1] = { 0 }, sum = 0, var = 0;
    each<N>(j.cols, lane, WARP, [&](int i, unsigned c) {
        own[i] = x[c];
        sum += own[i];
    });
    float mean = near_sum(sum, WARP) / (float)j.cols;
    each<N>(j.cols, lane, WARP, [&](int i, unsigned c) {
        float e = (N ? own[i] : x[c]) - mean;
        var += e * e;
    });
    float rstd = 1 / sqrtf(near_sum(var, WARP) / (float)j.cols + 1e-5f);
    each<N>(j.cols, lane, WARP, [&](int i, unsigned c) {
        y[c] = ((N ? own[i] : x[c]) - mean) * rstd * j.gamma[c] + j.beta[c];
    });
    if (lane == 0) {
        j.mean[r] = mean;
        j.rstd[r] = rstd;
    }
}

void cuda_layernorm(cg_dev *d, int rows, int cols, const float *x, int ldx,
                    const float *gamma, const float *beta, float *y, int ldy,
                    float *mean, float *rstd)
{
    static void (*const versions[WIDTHS])(struct layernorm)
        = VERSIONS(layernorm_rows);
    struct layernorm j = { rows, cols, (size_t)ldx, (size_t)ldy, x, gamma,
                           beta, y, mean, rstd };
    auto kernel = versions[version_of(cols)];
    LAUNCH(d, kernel, cuda_blocks(rows, WARPS), BLOCK, 0, j);
}

struct layernorm_bwd {
    size_t rows, chunk, ldx, lddy, lddx; /* chunk: rows of a block */
    int cols;
    float bx;
    const float *x, *gamma, *mean, *rstd, *dy;
    float *dx;
    struct sums to; /* (blocks, 2 cols): of dgamma, of dbeta */
};

/* Adds the warps' dgamma and dbeta in their order, to the block's part. */
template <int N>
static __device__ void add_warps(unsigned cols, const float *dgamma,
                                 const float *dbeta, float *part)
{
    __shared__ float sum[2 * WIDEST];
    unsigned lane = threadIdx.x % WARP;
    for (unsigned w = 0; w < WARPS; w++) {
        if (threadIdx.x / WARP == w)
            each<N>(cols, lane, WARP, [&](int i, unsigned c) {
                sum[c] = dgamma[i] + (w ? sum[c] : 0);
                sum[WIDEST + c] = dbeta[i] + (w ? sum[WIDEST + c] : 0);
            });
        __syncthreads();
    }
    for (unsigned c = threadIdx.x; c < cols; c += blockDim.x) {
        part[c] = sum[c];
        part[cols + c] = sum[WIDEST + c];
    }
}

/* With xhat = (x - mean) rstd, g = gamma dy:
 * dx = rstd (g - mean(g) - xhat mean(g xhat)) + bx dx. dgamma and dbeta stay in
 * registers over a warp's rows; for N = 0 there is one warp to a block, which
 * adds to the block's part in memory. */
template <int N>
static __global__ void layernorm_bwd_rows(struct layernorm_bwd j)
{
    const int M = N ? N : 1;
    unsigned lane = threadIdx.x % WARP, cols = j.cols;
    float *part = j.to.part + blockIdx.x * (size_t)cols * 2;
    float hat[M] = { 0 }, own[M] = { 0 }, dgamma[M] = { 0 }, dbeta[M] = { 0 };
    size_t r = blockIdx.x * j.chunk, last = r + j.chunk;
    last = last < j.rows ? last : j.rows;
    if (N == 0)
        each<0>(cols, lane, WARP, [&](int, unsigned c) {
            part[c] = part[cols + c] = 0;
        });
    for (r += threadIdx.x / WARP; r < last; r += blockDim.x / WARP) {
        const float *x = j.x + r * j.ldx, *dy = j.dy + r * j.lddy;
        float *dx = j.dx + r * j.lddx, mean = j.mean[r], rstd = j.rstd[r];
        float sum = 0, dot = 0;
        each<N>(cols, lane, WARP, [&](int i, unsigned c) {
            hat[i] = (x[c] - mean) * rstd;
            own[i] = dy[c];
            sum += own[i] * j.gamma[c];
            dot += own[i] * j.gamma[c] * hat[i];
        });
        sum = near_sum(sum, WARP) / (float)cols;
        dot = near_sum(dot, WARP) / (float)cols;
        each<N>(cols, lane, WARP, [&](int i, unsigned c) {
            float h = N ? hat[i] : (x[c] - mean) * rstd;
            float e = N ? own[i] : dy[c];
            float d = rstd * (e * j.gamma[c] - sum - h * dot);
            dx[c] = j.bx != 0 ? d + j.bx * dx[c] : d;
            (N ? dgamma[i] : part[c]) += e * h;
            (N ? dbeta[i] : part[cols + c]) += e;
        });
    }
    if constexpr (N > 0)
        add_warps<N>(cols, dgamma, dbeta, part);
    if (!is_last(j.to.n, j.to.arrived))
        return;
    for (size_t c = lane; c < j.to.cols + lane; c += WARP) {
        bool inside = c < j.to.cols;
        float s = column_sum(j.to.part + c, j.to.cols, 0, j.to.n, inside,
                             threadIdx.x / WARP, blockDim.x / WARP);
        if (threadIdx.x < WARP && inside)
            write_sum(j.to, c, s);
    }
}

void cuda_layernorm_bwd(cg_dev *d, int rows, int cols, const float *x, int ldx,
                        const float *gamma, const float *mean,
                        const float *rstd, const float *dy, int lddy, float bx,
                        float *dx, int lddx, float bg, float *dgamma, float bb,
                        float *dbeta)
{
    static void (*const versions[WIDTHS])(struct layernorm_bwd)
        = VERSIONS(layernorm_bwd_rows);
    /* Whole turns of a block's warps; as many parts as are summed in one go. */
    size_t threads = cols > WIDEST ? WARP : BLOCK, warps = threads / WARP;
    size_t chunk = cuda_blocks(cuda_blocks(rows, 256), warps) * warps;
    unsigned parts = rows ? cuda_blocks(rows, chunk) : 0;
    struct sums to = { parts, 2 * (size_t)cols, (size_t)cols,
                       (float *)cuda_scratch(d, parts * 2 * sizeof(float)
                                             * (size_t)cols),
                       cuda_zeros(d, 1), bg, dgamma, bb, dbeta };
    struct layernorm_bwd j = { (size_t)rows, chunk, (size_t)ldx, (size_t)lddy,
                               (size_t)lddx, cols, bx, x, gamma, mean, rstd,
                               dy, dx, to };
    auto kernel = versions[version_of(cols)];
    LAUNCH(d, kernel, parts, (unsigned)threads, 0, j);
    if (rows == 0) { /* sums of nothing */
        cuda_colsum(d, 1, 0, cols, x, ldx, bg, dgamma);
        cuda_colsum(d, 1, 0, cols, x, ldx, bb, dbeta);
    }
}

/* -- unit rows ------------------------------------------------------------- */

struct unit {
    int rows, cols;
    size_t ldx, ldy;
    const float *x;
    float *y, *norm;
};

template <int N>
static __global__ void l2norm_rows(struct unit j)
{
    int lane = threadIdx.x % WARP;
    size_t r = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (r >= (size_t)j.rows)
        return;
    const float *x = j.x + r * j.ldx;
    float *y = j.y + r * j.ldy, own[N ? N : 1] = { 0 }, sum = 0;
    each<N>(j.cols, lane, WARP, [&](int i, unsigned c) {
        own[i] = x[c];
        sum += own[i] * own[i];
    });
    float norm = sqrtf(near_sum(sum, WARP));
    norm = norm < 1e-12f ? 1e-12f : norm;
    float scale = 1 / norm;
    each<N>(j.cols, lane, WARP, [&](int i, unsigned c) {
        y[c] = (N ? own[i] : x[c]) * scale;
    });
    if (lane == 0)
        j.norm[r] = norm;
}

void cuda_l2norm(cg_dev *d, int rows, int cols, const float *x, int ldx,
                 float *y, int ldy, float *norm)
{
    static void (*const versions[WIDTHS])(struct unit)
        = VERSIONS(l2norm_rows);
    struct unit j = { rows, cols, (size_t)ldx, (size_t)ldy, x, y, norm };
    auto kernel = versions[version_of(cols)];
    LAUNCH(d, kernel, cuda_blocks(rows, WARPS), BLOCK, 0, j);
}

struct unit_bwd {
    int rows, cols;
    size_t ldy, lddy, lddx;
    const float *y, *norm, *dy;
    float *dx;
};

template <int N>
static __global__ void l2norm_bwd_rows(struct unit_bwd j)
{
    int lane = threadIdx.x % WARP;
    size_t r = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP;
    if (r >= (size_t)j.rows)
        return;
    const float *y = j.y + r * j.ldy, *dy = j.dy + r * j.lddy;
    float *dx = j.dx + r * j.lddx, own[N ? N : 1] = { 0 };
    float out[N ? N : 1] = { 0 }, dot = 0;
    each<N>(j.cols, lane, WARP, [&](int i, unsigned c) {
        own[i] = y[c];
        out[i] = dy[c];
        dot += own[i] * out[i];
    });
    dot = near_sum(dot, WARP);
    float scale = 1 / j.norm[r];
    each<N>(j.cols, lane, WARP, [&](int i, unsigned c) {
        float e = N ? out[i] : dy[c], u = N ? own[i] : y[c];
        dx[c] += (e - u * dot) * scale;
    });
}

void cuda_l2norm_bwd(cg_dev *d, int rows, int cols, const float *y, int ldy,
                     const float *norm, const float *dy, int lddy, float *dx,
                     int lddx)
{
    static void (*const versions[WIDTHS])(struct unit_bwd)
        = VERSIONS(l2norm_bwd_rows);
    struct unit_bwd j = { rows, cols, (size_t)ldy, (size_t)lddy, (size_t)lddx,
                          y, norm, dy, dx };
    auto kernel = versions[version_of(cols)];
    LAUNCH(d, kernel, cuda_blocks(rows, WARPS), BLOCK, 0, j);
}
