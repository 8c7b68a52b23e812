/* The checks of attention. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "tests/kernels.h"

/* A batch of groups, and P as plain loops have it. */
struct batch {
    int groups, heads, dim, n_rows;
    int32_t *start, *row;
    int64_t *square;
    float *count, *qkv, p;
    uint64_t key;
    double *prob;
};

/* q, k, v of a token: part 0, 1, 2, element c of head h. */
static double qkv_at(const struct batch *b, int part, int token, int h, int c)
{
    int width = b->heads * b->dim;
    return (double)b->qkv[(size_t)b->row[token] * 3 * (size_t)width
                          + (size_t)(part * width + h * b->dim + c)];
}

static void fill_prob(const struct batch *b, int g, int h, int i)
{
    int first = b->start[g], n = b->start[g + 1] - first;
    double *prob = b->prob + b->heads * b->square[g]
        + ((ptrdiff_t)h * n + i) * n, sum = 0;
    for (int l = 0; l < n; l++) {
        double s = 0;
        for (int c = 0; c < b->dim; c++)
            s += qkv_at(b, 0, first + i, h, c) * qkv_at(b, 1, first + l, h, c);
        prob[l] = exp(s / sqrt(b->dim)) * (double)b->count[first + l];
        sum += prob[l];
    }
    for (int l = 0; l < n; l++)
        prob[l] /= sum;
}

static struct batch random_batch(int groups, int most, int heads, int dim,
                                 float p)
{
    struct batch b = { groups, heads, dim, .p = p, .key = cg_rng_next(&rng) };
    b.start = ROOM(int32_t, groups + 1);
    b.square = ROOM(int64_t, groups + 1);
    for (int g = 0; g < groups; g++) {
        int n = (int)cg_rng_below(&rng, (uint32_t)most + 1);
        n = g == 0 ? most : n;
        b.start[g + 1] = b.start[g] + n;
        b.square[g + 1] = b.square[g] + (int64_t)n * n;
    }
    int tokens = b.start[groups];
    b.n_rows = tokens / 2 + 1;
    b.row = ROOM(int32_t, tokens + 1);
    b.count = randoms((size_t)tokens, 1, 20);
    for (int t = 0; t < tokens; t++) {
        b.row[t] = (int32_t)cg_rng_below(&rng, (uint32_t)b.n_rows);
        b.count[t] = floorf(b.count[t]);
    }
    b.qkv = randoms((size_t)(b.n_rows * 3 * heads * dim), -2, 2);
    b.prob = cg_arena_array(&arena, double, b.square[groups] * heads + 1);
    for (int g = 0; g < groups; g++)
        for (int h = 0; h < heads; h++)
            for (int i = 0; i < b.start[g + 1] - b.start[g]; i++)
                fill_prob(&b, g, h, i);
    return b;
}

static const struct {
    int groups, most, heads, dim;
    float p;
} batches[] = { {0, 3, 2, 32, 0}, {1, 1, 1, 1, 0}, {3, 7, 3, 5, 0},
                {64, 40, 2, 32, 0.1f}, {40, 60, 2, 32, 0}, {5, 130, 1, 48, 0},
                {2, 70, 2, 20, 0.5f}, {4, 0, 2, 32, 0} };
#define EACH_BATCH \
    for (size_t s = 0; s < sizeof batches / sizeof *batches; s++)

void check_attention(void)
{
    EACH_BATCH {
        struct batch b = random_batch(batches[s].groups, batches[s].most,
                                      batches[s].heads, batches[s].dim,
                                      batches[s].p);
        int width = b.heads * b.dim, tokens = b.start[b.groups];
        output y = outputs((size_t)(tokens * width));
        output prob = outputs((size_t)(b.square[b.groups] * b.heads));
        memcpy(prob.want, b.prob, prob.n * sizeof(double));
        EACH_DEVICE
            cg_k_attention(dev[d], b.groups, AT(b.start), AT(b.square),
                           AT(b.row), AT(b.count), b.heads, b.dim, AT(b.qkv),
                           b.p, b.key, AT(prob.on[d]), AT(y.on[d]));
        for (int i = 0; i < tokens * width; i++)
            y.want[i] = 0;
        for (int g = 0; g < b.groups; g++)
            for (int h = 0; h < b.heads; h++) {
                int first = b.start[g], n = b.start[g + 1] - first;
                size_t at = (size_t)(b.heads * b.square[g]
                                     + (ptrdiff_t)h * n * n);
                for (int i = 0; i < n * n; i++, at++)
                    for (int c = 0; c < b.dim; c++)
                        y.want[(first + i / n) * width + h * b.dim + c]
                            += b.prob[at] * factor(b.key, at, b.p)
                            * qkv_at(&b, 2, first + i % n, h, c);
            }
        compare(&prob, "attention's P");
        compare(&y, "attention");
    }
}

/* dqkv's element of part, token, head, c. */
static double *grad_at(const struct batch *b, double *dqkv, int part,
                       int token, int h, int c)
{
    int width = b->heads * b->dim;
    return dqkv + ((size_t)token * 3 + (size_t)part) * (size_t)width
        + h * b->dim + c;
}

/* Row i of one head's P: its part of every gradient. */
static void back_row(const struct batch *b, int g, int h, int i,
                     const float *prob, const float *dy, double *dqkv)
{
    int first = b->start[g], n = b->start[g + 1] - first;
    size_t at = (size_t)(b->heads * b->square[g] + ((ptrdiff_t)h * n + i) * n);
    const float *own = dy + (first + i) * b->heads * b->dim + h * b->dim;
    double *dp = cg_arena_array(&arena, double, n + 1), dot = 0;
    for (int l = 0; l < n; l++) {
        double keep = factor(b->key, at + (size_t)l, b->p);
        for (int c = 0; c < b->dim; c++) {
            dp[l] += keep * (double)own[c] * qkv_at(b, 2, first + l, h, c);
            *grad_at(b, dqkv, 2, first + l, h, c)
                += keep * (double)prob[at + (size_t)l] * (double)own[c];
        }
        dot += dp[l] * (double)prob[at + (size_t)l];
    }
    for (int l = 0; l < n; l++) {
        double ds = (double)prob[at + (size_t)l] * (dp[l] - dot)
            / sqrt(b->dim);
        for (int c = 0; c < b->dim; c++) {
            *grad_at(b, dqkv, 0, first + i, h, c)
                += ds * qkv_at(b, 1, first + l, h, c);
            *grad_at(b, dqkv, 1, first + l, h, c)
                += ds * qkv_at(b, 0, first + i, h, c);
        }
    }
}

void check_attention_bwd(void)
{
    EACH_BATCH {
        struct batch b = random_batch(batches[s].groups, batches[s].most,
                                      batches[s].heads, batches[s].dim,
                                      batches[s].p);
        int width = b.heads * b.dim, tokens = b.start[b.groups];
        size_t n_prob = (size_t)(b.square[b.groups] * b.heads);
        float *prob = floats(n_prob);
        const float *dy = inputs((size_t)(tokens * width));
        output dqkv = outputs((size_t)(tokens * 3 * width));
        for (size_t i = 0; i < n_prob; i++)
            prob[i] = (float)b.prob[i];
        memset(dqkv.want, 0, dqkv.n * sizeof(double));
        for (int g = 0; g < b.groups; g++)
            for (int h = 0; h < b.heads; h++)
                for (int i = 0; i < b.start[g + 1] - b.start[g]; i++)
                    back_row(&b, g, h, i, prob, dy, dqkv.want);
        EACH_DEVICE
            cg_k_attention_bwd(dev[d], b.groups, AT(b.start), AT(b.square),
                               AT(b.row), b.heads, b.dim, AT(b.qkv), b.p,
                               b.key, AT(prob), AT(dy), AT(dqkv.on[d]));
        compare(&dqkv, "attention_bwd");
    }
}
