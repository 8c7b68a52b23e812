#include "runtime/metrics.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/rng.h"

#define RELEVANCE_MAX 20

typedef struct pair {
    double x, y;
    size_t at; /* where it stood: qsort may swap equals */
} pair;

static int by_x(const void *a, const void *b)
{
    const pair *p = a, *q = b;
    if (p->x != q->x)
        return p->x < q->x ? -1 : 1;
    return (p->at > q->at) - (p->at < q->at);
}

static int by_x_y(const void *a, const void *b)
{
    const pair *p = a, *q = b;
    if (p->x != q->x)
        return p->x < q->x ? -1 : 1;
    return (p->y > q->y) - (p->y < q->y);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static pair *pairs_new(const double *x, const double *y, size_t n)
{
    pair *t = cg_xcalloc(n, sizeof *t);
    for (size_t i = 0; i < n; i++)
        t[i] = (pair){x[i], y[i], i};
    return t;
}

static bool any_nan(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (isnan(x[i]))
            return true;
    return false;
}

static double clip(double r) /* rounding may carry it past the ends */
{
    return r > 1 ? 1 : r < -1 ? -1 : r; /* NAN stays */
}

static bool constant(const double *x, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (x[i] != x[0])
            return false;
    return true;
}

static bool undefined(const double *y, const double *p, size_t n)
{
    return n < 2 || any_nan(y, n) || any_nan(p, n) || constant(y, n);
}

/* The end of the run of equal x that starts at i. */
static size_t run_end(const pair *t, size_t n, size_t i)
{
    size_t end = i + 1;
    while (end < n && t[end].x == t[i].x)
        end++;
    return end;
}

double cg_mae(const double *y, const double *p, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += fabs(y[i] - p[i]);
    return n ? sum / (double)n : NAN;
}

void cg_moments(const double *x, size_t n, double *mean, double *sd)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    *mean = n ? sum / (double)n : NAN;
    for (size_t i = 0; i < n; i++)
        squares += (x[i] - *mean) * (x[i] - *mean);
    *sd = n ? sqrt(squares / (double)n) : NAN;
}

void cg_zscores(const double *x, size_t n, double *z)
{
    double mean, sd;
    cg_moments(x, n, &mean, &sd);
    if (constant(x, n)) /* the mean may be off by a rounding */
        sd = 0;
    for (size_t i = 0; i < n; i++)
        z[i] = sd > 0 ? (x[i] - mean) / sd : NAN;
}

double cg_pearson(const double *y, const double *p, size_t n)
{
    if (undefined(y, p, n) || constant(p, n))
        return NAN;
    double my, mp, sy, sp, sum = 0;
    cg_moments(y, n, &my, &sy);
    cg_moments(p, n, &mp, &sp);
    for (size_t i = 0; i < n; i++)
        sum += (y[i] - my) / sy * ((p[i] - mp) / sp);
    return clip(sum / (double)n);
}

void cg_ranks(const double *x, size_t n, double *rank)
{
    bool nan = any_nan(x, n);
    pair *t = pairs_new(x, x, n);
    if (!nan)
        qsort(t, n, sizeof *t, by_x);
    for (size_t i = 0, end; i < n; i = end) {
        end = nan ? n : run_end(t, n, i);
        for (size_t k = i; k < end; k++)
            rank[t[k].at] = nan ? NAN : (double)(i + 1 + end) / 2;
    }
    cg_xfree(t);
}

double cg_srcc(const double *y, const double *p, size_t n)
{
    double *rank = cg_xcalloc(2 * n, sizeof *rank);
    cg_ranks(y, n, rank);
    cg_ranks(p, n, rank + n);
    double r = cg_pearson(rank, rank + n, n);
    cg_xfree(rank);
    return r;
}

/* Sorts by y, bottom up, and counts the pairs that change places. */
static uint64_t count_exchanges(pair *t, size_t n)
{
    pair *other = cg_xcalloc(n, sizeof *other), *from = t, *to = other;
    uint64_t count = 0;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t low = 0; low < n; low += 2 * width) {
            size_t mid = low + width < n ? low + width : n;
            size_t high = mid + width < n ? mid + width : n;
            for (size_t i = low, j = mid, k = low; k < high; k++) {
                bool right = i == mid || (j < high && from[j].y < from[i].y);
                if (right)
                    count += mid - i;
                to[k] = from[right ? j++ : i++];
            }
        }
        pair *swap = from;
        from = to;
        to = swap;
    }
    for (size_t i = 0; i < n && from != t; i++)
        t[i] = from[i];
    cg_xfree(other);
    return count;
}

static uint64_t count_ties(pair *t, size_t n, uint64_t *joint)
{
    uint64_t ties = 0;
    *joint = 0;
    for (size_t i = 0, end; i < n; i = end) {
        end = run_end(t, n, i);
        ties += (uint64_t)(end - i) * (end - i - 1) / 2;
        for (size_t k = i, same = 0; k + 1 < end; k++) {
            same = t[k + 1].y == t[k].y ? same + 1 : 0;
            *joint += same;
        }
    }
    return ties;
}

double cg_kendall(const double *y, const double *p, size_t n)
{
    if (undefined(y, p, n) || constant(p, n))
        return NAN;
    pair *t = pairs_new(y, p, n);
    qsort(t, n, sizeof *t, by_x_y);
    uint64_t joint, none, pairs = (uint64_t)n * (n - 1) / 2;
    uint64_t y_ties = count_ties(t, n, &joint);
    uint64_t discordant = count_exchanges(t, n);
    for (size_t i = 0; i < n; i++)
        t[i].x = t[i].y;
    uint64_t p_ties = count_ties(t, n, &none);
    cg_xfree(t);
    double surplus = (double)(pairs - y_ties - p_ties + joint) -
                     2 * (double)discordant;
    return clip(surplus / sqrt((double)(pairs - y_ties)) /
                sqrt((double)(pairs - p_ties)));
}

/* Sorted by x, largest last, as qsort left it: the discounted gain of the
 * first k places counted from the end. */
static double discounted_gain(const pair *t, size_t n, size_t k)
{
    double sum = 0;
    for (size_t i = n, start; i > 0 && n - i < k; i = start) {
        double gain = 0, discount = 0;
        for (start = i; start > 0 && t[start - 1].x == t[i - 1].x; start--) {
            size_t place = n - start + 1;
            gain += t[start - 1].y;
            discount += place <= k ? 1 / log2((double)place + 1) : 0;
        }
        sum += gain / (double)(i - start) * discount;
    }
    return sum;
}

double cg_ndcg(const double *y, const double *p, size_t n, size_t k)
{
    if (undefined(y, p, n) || k == 0)
        return NAN;
    double low = y[0], high = y[0];
    for (size_t i = 1; i < n; i++) {
        low = fmin(low, y[i]);
        high = fmax(high, y[i]);
    }
    if (isinf(high - low))
        return NAN;
    pair *t = pairs_new(p, y, n);
    for (size_t i = 0; i < n; i++)
        t[i].y = exp2(RELEVANCE_MAX * (y[i] - low) / (high - low)) - 1;
    qsort(t, n, sizeof *t, by_x);
    double gain = discounted_gain(t, n, k);
    for (size_t i = 0; i < n; i++)
        t[i].x = t[i].y;
    qsort(t, n, sizeof *t, by_x);
    double best = discounted_gain(t, n, k);
    cg_xfree(t);
    return gain / best;
}

/* Of sorted x, n > 0, by linear interpolation between the two next to it. */
static double quantile(const double *x, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 < n ? x[i] + (at - (double)i) * (x[i + 1] - x[i]) : x[n - 1];
}

/* The metric of every draw that gives it a meaning; returns how many. */
static size_t draw(const cg_bootstrap *b, const double *y, const double *p,
                   size_t n, double *value)
{
    double *drawn = cg_xcalloc(2 * n, sizeof *drawn);
    size_t len = 0;
    for (size_t s = 0; s < b->resamples; s++) {
        cg_rng r = cg_rng_make(b->seed, s);
        for (size_t i = 0; i < n; i++) {
            uint32_t from = cg_rng_below(&r, (uint32_t)n);
            drawn[i] = y[from];
            drawn[n + i] = p[from];
        }
        double v = b->metric(drawn, drawn + n, n, b->k);
        if (!isnan(v))
            value[len++] = v;
    }
    cg_xfree(drawn);
    return len;
}

cg_interval cg_bootstrap_interval(const cg_bootstrap *b, const double *y,
                                  const double *p, size_t n)
{
    assert(n <= UINT32_MAX && b->level > 0 && b->level < 1);
    cg_interval out = {NAN, NAN};
    double *value = cg_xcalloc(b->resamples, sizeof *value);
    size_t len = n ? draw(b, y, p, n, value) : 0;
    qsort(value, len, sizeof *value, by_value);
    if (len > 0) {
        out.low = quantile(value, len, (1 - b->level) / 2);
        out.high = quantile(value, len, (1 + b->level) / 2);
    }
    cg_xfree(value);
    return out;
}

double cg_metric_mae(const double *y, const double *p, size_t n, size_t k)
{
    (void)k;
    return cg_mae(y, p, n);
}

double cg_metric_srcc(const double *y, const double *p, size_t n, size_t k)
{
    (void)k;
    return cg_srcc(y, p, n);
}

double cg_metric_kendall(const double *y, const double *p, size_t n, size_t k)
{
    (void)k;
    return cg_kendall(y, p, n);
}

const cg_metric_row cg_metrics[] = {
    {"mae", cg_metric_mae},
    {"srcc", cg_metric_srcc},
    {"kt", cg_metric_kendall},
    {"ndcg", cg_ndcg}};
const size_t cg_n_metrics = sizeof cg_metrics / sizeof *cg_metrics;
