/* bench_kernels [THREADS [NAME]]: what the kernels of the CPU reach at sizes of
 * the learner: microseconds of a call, GFLOP/s, GB/s of operands read and
 * written (once each; smaller ones stay in the cache). Best of 5 rounds of a
 * tenth of a second; of CPU time with one thread, which other programs disturb
 * less. NAME: only kernels with that in their names. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/backend.h"
#include "base/arena.h"
#include "base/rng.h"

static cg_dev *dev;
static cg_rng rng;
static clockid_t watch = CLOCK_MONOTONIC;

static double now(void)
{
    struct timespec t;
    clock_gettime(watch, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What a case works on; sizes as the case reads them. */
typedef struct job {
    int m, n, k;
    float *a, *b, *c, *d, *e;
    int32_t *start, *row;
    int64_t *square;
    cg_csr s;
} job;

typedef struct bench {
    const char *name;
    int m, n, k;
    void (*prepare)(job *j);
    void (*run)(const job *j);
    double (*flops)(const job *j);
    double (*bytes)(const job *j);
} bench;

static float *numbers(size_t n)
{
    float *x = cg_xcalloc(n + 16, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)cg_rng_uniform(&rng) - 0.5f;
    return x;
}

static size_t mul(int a, int b) { return (size_t)a * (size_t)b; }

/* -- products: a (m, k), b (k, n), c (m, n) -------------------------------- */

static void prepare_product(job *j)
{
    j->a = numbers(mul(j->m, j->k));
    j->b = numbers(mul(j->k, j->n));
    j->c = numbers(mul(j->m, j->n));
}
static double product_flops(const job *j)
{
    return 2.0 * j->m * j->n * j->k;
}
static double product_bytes(const job *j)
{
    return 4.0 * ((double)j->m * j->k + (double)j->k * j->n
                  + (double)j->m * j->n);
}
static void product(const job *j)
{
    cg_k_gemm(dev, CG_PLAIN, CG_PLAIN, j->m, j->n, j->k, 1, j->a, j->k, j->b,
              j->n, 0, j->c, j->n);
}
static void product_bt(const job *j)
{
    cg_k_gemm(dev, CG_PLAIN, CG_TRANSPOSED, j->m, j->n, j->k, 1, j->a, j->k,
              j->b, j->k, 0, j->c, j->n);
}
static void product_at(const job *j)
{
    cg_k_gemm(dev, CG_TRANSPOSED, CG_PLAIN, j->m, j->n, j->k, 1, j->a, j->m,
              j->b, j->n, 1, j->c, j->n);
}

enum { HEADS = 16 };

static void prepare_heads(job *j)
{
    j->a = numbers(HEADS * mul(j->m, j->k));
    j->b = numbers(HEADS * mul(j->k, j->n));
    j->c = numbers(HEADS * mul(j->m, j->n));
}
static double heads_flops(const job *j) { return HEADS * product_flops(j); }
static double heads_bytes(const job *j) { return HEADS * product_bytes(j); }
static void heads(const job *j)
{
    cg_k_gemm_batched(dev, HEADS, CG_PLAIN, CG_PLAIN, j->m, j->n, j->k, 1,
                      j->a, j->k, (ptrdiff_t)j->m * j->k, j->b, j->n,
                      (ptrdiff_t)j->k * j->n, 0, j->c, j->n,
                      (ptrdiff_t)j->m * j->n);
}
static void heads_at(const job *j)
{
    cg_k_gemm_batched(dev, HEADS, CG_TRANSPOSED, CG_PLAIN, j->m, j->n, j->k,
                      1, j->a, j->m, (ptrdiff_t)j->m * j->k, j->b, j->n,
                      (ptrdiff_t)j->k * j->n, 1, j->c, j->n,
                      (ptrdiff_t)j->m * j->n);
}

/* -- rows (m, n) ----------------------------------------------------------- */

static void prepare_rows(job *j)
{
    j->a = numbers(mul(j->m, j->n));
    j->b = numbers(mul(j->m, j->n));
    j->c = numbers(mul(j->m, j->n));
    j->d = numbers((size_t)j->m + (size_t)j->n);
    j->e = numbers((size_t)j->m + (size_t)j->n);
    for (int i = 0; i < j->m + j->n; i++)
        j->e[i] = 1;
}
static double elements(const job *j) { return (double)j->m * j->n; }
static double no_flops(const job *j) { return (void)j, 0; }
static double two(const job *j) { return 8 * elements(j); }
static double three(const job *j) { return 12 * elements(j); }
static double four(const job *j) { return 16 * elements(j); }

static void bias_act(const job *j)
{
    cg_k_bias_act(dev, 1, j->m, j->n, j->a, j->n, j->d, CG_ACT_RELU, j->b, j->n);
}
static void act_bwd(const job *j)
{
    cg_k_act_bwd(dev, j->m, j->n, j->a, j->n, CG_ACT_RELU, j->b, j->n, j->c,
                 j->n);
}
static void colsum(const job *j)
{
    cg_k_colsum(dev, 1, j->m, j->n, j->a, j->n, 1, j->d);
}
static void axpby(const job *j)
{
    cg_k_axpby(dev, j->m, j->n, 1, j->a, j->n, 1, j->b, j->n);
}
static void layernorm(const job *j)
{
    cg_k_layernorm(dev, j->m, j->n, j->a, j->n, j->e, j->e, j->b, j->n, j->d,
                   j->e);
}
static void layernorm_bwd(const job *j)
{
    cg_k_layernorm_bwd(dev, j->m, j->n, j->a, j->n, j->e, j->d, j->e, j->b,
                       j->n, 1, j->c, j->n, 1, j->d, 1, j->d);
}
static void dropout(const job *j)
{
    cg_k_dropout(dev, j->m, j->n, j->a, j->n, 0.1f, 7, 0, j->b, j->n);
}
static void adamw(const job *j)
{
    cg_k_adamw(dev, mul(j->m, j->n), j->a, j->b, j->c, j->c, j->e, 1, 1e-3f,
               0.9f, 0.999f, 1e-8f, 0, 1);
}
static void sumsq(const job *j)
{
    cg_k_sumsq(dev, mul(j->m, j->n), j->a, j->d);
}
static void contrast(const job *j)
{
    cg_k_contrast(dev, j->m, j->a, j->b, 0.05f, 1, j->d, j->c);
}
static void hand_off(const job *j)
{
    cg_k_fill(dev, mul(j->m, j->n), 1, j->a);
}

/* -- sparse: k entries a row ----------------------------------------------- */

static void prepare_sparse(job *j)
{
    int32_t *col = cg_xcalloc(mul(j->m, j->k), sizeof *col);
    j->a = numbers(mul(j->m, j->n));
    j->b = numbers(mul(j->m, j->n));
    j->c = numbers((size_t)j->n);
    j->start = cg_xcalloc((size_t)j->m + 1, sizeof *j->start);
    for (int r = 0; r < j->m; r++)
        j->start[r + 1] = j->start[r] + j->k;
    for (int e = 0; e < j->m * j->k; e++)
        col[e] = (int32_t)cg_rng_below(&rng, (uint32_t)j->m);
    j->s = (cg_csr){ j->m, j->m, j->m * j->k, j->start, col,
                     numbers(mul(j->m, j->k)) };
}
static double sparse_flops(const job *j)
{
    return 2 * elements(j) * j->k;
}
static double sparse_bytes(const job *j)
{
    return elements(j) * 4 * (1 + j->k) + 8.0 * j->m * j->k;
}
static void spmm(const job *j)
{
    cg_k_spmm(dev, &j->s, j->n, j->a, j->n, NULL, CG_ACT_NONE, 0, j->b, j->n);
}

static void spmm_relu(const job *j)
{
    cg_k_spmm(dev, &j->s, j->n, j->a, j->n, j->c, CG_ACT_RELU, 0, j->b,
              j->n);
}

/* -- attention: m groups of n tokens, 2 heads of k ------------------------- */

static void prepare_attention(job *j)
{
    int tokens = j->m * j->n;
    j->start = cg_xcalloc((size_t)j->m + 1, sizeof *j->start);
    j->square = cg_xcalloc((size_t)j->m + 1, sizeof *j->square);
    j->row = cg_xcalloc((size_t)tokens, sizeof *j->row);
    for (int g = 0; g < j->m; g++) {
        j->start[g + 1] = j->start[g] + j->n;
        j->square[g + 1] = j->square[g] + (int64_t)j->n * j->n;
    }
    j->d = numbers((size_t)tokens);
    for (int t = 0; t < tokens; t++) {
        j->row[t] = t;
        j->d[t] = (float)(1 + t % 9);
    }
    j->a = numbers(mul(tokens, 6 * j->k));
    j->b = numbers((size_t)j->square[j->m] * 2);
    j->c = numbers(mul(tokens, 2 * j->k));
    j->e = numbers(mul(tokens, 6 * j->k));
}
static double attention_flops(const job *j)
{
    return 8.0 * j->m * j->n * j->n * j->k;
}
static double attention_bwd_flops(const job *j)
{
    return 2 * attention_flops(j);
}
static double attention_bytes(const job *j)
{
    return 4.0 * j->m * j->n * (8.0 * j->k + 2.0 * j->n);
}
static void attention_at(const job *j, float p)
{
    cg_k_attention(dev, j->m, j->start, j->square, j->row, j->d, 2, j->k,
                   j->a, p, 7, j->b, j->c);
}
static void attention(const job *j) { attention_at(j, 0); }
static void attention_drop(const job *j) { attention_at(j, 0.1f); }
static void attention_bwd_at(const job *j, float p)
{
    cg_k_attention_bwd(dev, j->m, j->start, j->square, j->row, 2, j->k, j->a,
                       p, 7, j->b, j->c, j->e);
}
static void attention_bwd(const job *j) { attention_bwd_at(j, 0); }
static void attention_bwd_drop(const job *j) { attention_bwd_at(j, 0.1f); }

/* -------------------------------------------------------------------------- */

#define PRODUCT prepare_product
#define RATE product_flops, product_bytes
#define ROWS(x, bytes) prepare_rows, x, no_flops, bytes
#define ATTENTION(x, flops) prepare_attention, x, flops, attention_bytes
static const bench benches[] = {
    { "gemm", 2048, 2048, 2048, PRODUCT, product, RATE },
    { "gemm", 4096, 32, 32, PRODUCT, product, RATE },
    { "gemm", 4096, 64, 64, PRODUCT, product, RATE },
    { "gemm", 4096, 128, 64, PRODUCT, product, RATE },
    { "gemm", 20000, 64, 64, PRODUCT, product, RATE },
    { "gemm", 20000, 192, 64, PRODUCT, product, RATE },
    { "gemm", 500, 64, 64, PRODUCT, product, RATE },
    { "gemm b^T", 4096, 64, 64, PRODUCT, product_bt, RATE },
    { "gemm b^T", 4096, 64, 192, PRODUCT, product_bt, RATE },
    { "gemm a^T", 64, 64, 4096, PRODUCT, product_at, RATE },
    { "gemm a^T", 64, 192, 4096, PRODUCT, product_at, RATE },
    { "gemm a^T", 32, 32, 4096, PRODUCT, product_at, RATE },
    { "gemm a^T", 64, 64, 20000, PRODUCT, product_at, RATE },
    { "gemm_batched x16", 32, 256, 256, prepare_heads, heads, heads_flops,
      heads_bytes },
    { "gemm_batched x16", 1024, 256, 256, prepare_heads, heads, heads_flops,
      heads_bytes },
    { "gemm_batched a^T x16", 256, 256, 1024, prepare_heads, heads_at,
      heads_flops, heads_bytes },
    { "gemm_batched a^T x16", 256, 256, 32, prepare_heads, heads_at,
      heads_flops, heads_bytes },
    { "spmm", 4096, 64, 2, prepare_sparse, spmm, sparse_flops, sparse_bytes },
    { "spmm", 20000, 64, 2, prepare_sparse, spmm, sparse_flops,
      sparse_bytes },
    { "spmm", 20000, 32, 3, prepare_sparse, spmm, sparse_flops,
      sparse_bytes },
    { "spmm, bias, relu", 4096, 64, 2, prepare_sparse, spmm_relu,
      sparse_flops, sparse_bytes },
    { "attention", 256, 30, 32, ATTENTION(attention, attention_flops) },
    { "attention, dropout", 256, 30, 32,
      ATTENTION(attention_drop, attention_flops) },
    { "attention_bwd", 256, 30, 32,
      ATTENTION(attention_bwd, attention_bwd_flops) },
    { "attention_bwd, drop.", 256, 30, 32,
      ATTENTION(attention_bwd_drop, attention_bwd_flops) },
    { "attention", 256, 12, 32, ATTENTION(attention, attention_flops) },
    { "attention_bwd", 256, 12, 32,
      ATTENTION(attention_bwd, attention_bwd_flops) },
    { "bias_act", 4096, 64, 0, ROWS(bias_act, two) },
    { "bias_act", 20000, 64, 0, ROWS(bias_act, two) },
    { "act_bwd", 20000, 64, 0, ROWS(act_bwd, three) },
    { "colsum", 20000, 64, 0, ROWS(colsum, two) },
    { "axpby", 20000, 64, 0, ROWS(axpby, three) },
    { "layernorm", 7500, 64, 0, ROWS(layernorm, two) },
    { "layernorm_bwd", 7500, 64, 0, ROWS(layernorm_bwd, four) },
    { "layernorm", 7500, 256, 0, ROWS(layernorm, two) },
    { "layernorm_bwd", 7500, 256, 0, ROWS(layernorm_bwd, four) },
    { "dropout", 7500, 64, 0, ROWS(dropout, two) },
    { "contrast", 256, 256, 0, ROWS(contrast, three) },
    { "adamw", 1000, 100, 0, ROWS(adamw, four) },
    { "sumsq", 1000, 100, 0, ROWS(sumsq, two) },
    { "fill, 2 blocks", 4, 32768, 0, ROWS(hand_off, no_flops) },
};

static double best_time(const bench *b, const job *j)
{
    double best = INFINITY;
    b->run(j);
    for (int round = 0; round < 5; round++) {
        double start = now(), t;
        int calls = 0;
        do {
            b->run(j);
            calls++;
            t = now() - start;
        } while (t < 0.1);
        best = fmin(best, t / calls);
    }
    return best;
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    if (threads == 1)
        watch = CLOCK_THREAD_CPUTIME_ID;
    if (cg_dev_open(&dev, "cpu", threads) != CG_OK) {
        fprintf(stderr, "%s\n", cg_error());
        return 1;
    }
    printf("%-22s %6s %5s %5s %9s %8s %7s\n", "kernel", "m", "n", "k", "us",
           "GFLOP/s", "GB/s");
    const char *only = argc > 2 ? argv[2] : "";
    for (size_t i = 0; i < sizeof benches / sizeof *benches; i++) {
        const bench *b = benches + i;
        if (!strstr(b->name, only))
            continue;
        job j = { b->m, b->n, b->k };
        b->prepare(&j);
        double t = best_time(b, &j);
        printf("%-22s %6d %5d %5d %9.1f %8.1f %7.1f\n", b->name, b->m, b->n,
               b->k, 1e6 * t, 1e-9 * b->flops(&j) / t,
               1e-9 * b->bytes(&j) / t);
        float *blocks[] = { j.a, j.b, j.c, j.d, j.e, (float *)j.s.val };
        for (size_t f = 0; f < sizeof blocks / sizeof *blocks; f++)
            cg_xfree(blocks[f]);
        cg_xfree(j.start);
        cg_xfree(j.square);
        cg_xfree(j.row);
        cg_xfree((int32_t *)j.s.col);
    }
    cg_dev_close(dev);
    return 0;
}
