/* Thousands of passes over the data, so a pass must be cheap. Points carry
 * |x|^2 and a 1 behind them: one product with (-2v, 1, |v|^2) gives a block of
 * squared distances, and one product of U^m with them the sums of (3) together
 * with the weights. With r = d_min^2 / d^2 and w = r^(1/(m-1)), memberships
 * are w / sum w and their m-th powers w r / (sum w)^m: one power an entry and
 * one a point, none that can overflow. Blocks lie (cluster, point), the inner
 * loop over a fixed number of points, so that compilers use vector registers;
 * their sums are added in order. */
#include "runtime/fcm.h"

#include <math.h>
#include <string.h>

#include "backend/linalg.h"
#include "base/arena.h"
#include "base/rng.h"

#define BLOCK 256
/* Below this share of |x|^2 a squared distance from the product has lost too
 * many digits (and may be negative): it is summed directly. */
#define NEAR 1e-4
#define M_MAX 100 /* c^m stays far from overflow */

typedef struct job {
    size_t n, d, c, width; /* width = d + 2 */
    double m;
    double *x;       /* (n, width): x, |x|^2, 1 */
    double *v;       /* (c, width): v, its last two entries unused */
    double *product; /* (c, width): -2v, 1, |v|^2 */
    double *r, *w;   /* (c, BLOCK) */
    double min[BLOCK], sum[BLOCK], power[BLOCK], change[BLOCK];
} job;

/* The powers that cost next to nothing, and all others. */
static void roots(const double *x, double e, double *out)
{
    if (e == 1)
        memcpy(out, x, BLOCK * sizeof *x);
    else if (e == .5)
        for (size_t i = 0; i < BLOCK; i++)
            out[i] = sqrt(x[i]);
    else
        cg_powers(BLOCK, x, e, out);
}

/* Appends |x|^2 and 1 to rows. */
static void widen(const double *x, size_t n, size_t d, double *out)
{
    for (size_t i = 0; i < n; i++) {
        double *to = out + i * (d + 2), squares = 0;
        for (size_t j = 0; j < d; j++) {
            to[j] = x[i * d + j];
            squares += to[j] * to[j];
        }
        to[d] = squares;
        to[d + 1] = 1;
    }
}

static void set_product(job *f)
{
    for (size_t k = 0; k < f->c; k++) {
        double *p = f->product + k * f->width, squares = 0;
        for (size_t j = 0; j < f->d; j++) {
            double v = f->v[k * f->width + j];
            p[j] = -2 * v;
            squares += v * v;
        }
        p[f->d] = 1;
        p[f->d + 1] = squares;
    }
}

static double squared_distance(const double *a, const double *b, size_t d)
{
    double sum = 0;
    for (size_t j = 0; j < d; j++)
        sum += (a[j] - b[j]) * (a[j] - b[j]);
    return sum;
}

/* Point i of the block, too near to a centroid for the product's digits. At
 * distance 0 of some, the others are infinitely far in comparison. */
static void measure(job *f, const double *x, size_t i)
{
    double min = INFINITY;
    for (size_t k = 0; k < f->c; k++) {
        double r = squared_distance(x, f->v + k * f->width, f->d);
        f->r[k * BLOCK + i] = r;
        min = r < min ? r : min;
    }
    f->min[i] = min;
    if (min > 0)
        return;
    f->min[i] = 1;
    for (size_t k = 0; k < f->c; k++)
        f->r[k * BLOCK + i] = f->r[k * BLOCK + i] > 0 ? INFINITY : 1;
}

/* r = squared distances of x (len, width), min = the least of each point.
 * Points behind len are whatever an earlier block left: finite, unused. */
static void distances(job *f, const double *x, size_t len)
{
    cg_dgemm(&(cg_product){.m = f->c, .n = len, .k = f->width, .tb = true,
                           .a = f->product, .lda = f->width, .b = x,
                           .ldb = f->width, .c = f->r, .ldc = BLOCK});
    double *restrict min = f->min;
    memcpy(min, f->r, sizeof f->min);
    for (size_t k = 1; k < f->c; k++) {
        const double *restrict r = f->r + k * BLOCK;
        for (size_t i = 0; i < BLOCK; i++)
            min[i] = r[i] < min[i] ? r[i] : min[i];
    }
    for (size_t i = 0; i < len; i++)
        if (!(min[i] > NEAR * x[i * f->width + f->d]))
            measure(f, x + i * f->width, i);
}

/* r = min / r, w = r^(1/(m-1)), sum = the sum of w over clusters. */
static void shares(job *f)
{
    double *restrict sum = f->sum;
    const double *restrict min = f->min;
    memset(sum, 0, sizeof f->sum);
    for (size_t k = 0; k < f->c; k++) {
        double *restrict r = f->r + k * BLOCK, *restrict w = f->w + k * BLOCK;
        for (size_t i = 0; i < BLOCK; i++)
            r[i] = min[i] / r[i];
        roots(r, 1 / (f->m - 1), w);
        for (size_t i = 0; i < BLOCK; i++)
            sum[i] += w[i];
    }
}

/* u (c, BLOCK) becomes (2), f->change its largest change, r the m-th power. */
static void settle(job *f, double *restrict u)
{
    double *restrict change = f->change;
    cg_powers(BLOCK, f->sum, -f->m, f->power);
    for (size_t k = 0; k < f->c; k++, u += BLOCK) {
        double *restrict r = f->r + k * BLOCK;
        const double *restrict w = f->w + k * BLOCK;
        for (size_t i = 0; i < BLOCK; i++) {
            double next = w[i] / f->sum[i], by = fabs(next - u[i]);
            change[i] = by > change[i] ? by : change[i];
            u[i] = next;
            r[i] *= w[i] * f->power[i];
        }
    }
}

static void rest_of_block(job *f, size_t len)
{
    for (size_t k = 0; k < f->c; k++)
        for (size_t i = len; i < BLOCK; i++)
            f->r[k * BLOCK + i] = 1;
}

static size_t block_len(size_t n, size_t first)
{
    return n - first < BLOCK ? n - first : BLOCK;
}

/* One pass: u (blocks, c, BLOCK) by (2), `total` (c, width) the sums of (3)
 * with their weight in the last column. Returns max |dU|. */
static double pass(job *f, double *u, double *part, double *total)
{
    memset(total, 0, f->c * f->width * sizeof *total);
    memset(f->change, 0, sizeof f->change);
    set_product(f);
    for (size_t first = 0; first < f->n; first += BLOCK) {
        const double *x = f->x + first * f->width;
        size_t len = block_len(f->n, first);
        rest_of_block(f, len);
        distances(f, x, len);
        shares(f);
        settle(f, u + first * f->c);
        cg_dgemm(&(cg_product){.m = f->c, .n = f->width, .k = len, .a = f->r,
                               .lda = BLOCK, .b = x, .ldb = f->width,
                               .c = part, .ldc = f->width});
        for (size_t j = 0; j < f->c * f->width; j++)
            total[j] += part[j];
    }
    double change = 0;
    for (size_t i = 0; i < BLOCK; i++)
        change = f->change[i] > change ? f->change[i] : change;
    return change;
}

static void move(job *f, const double *total)
{
    for (size_t k = 0; k < f->c; k++) {
        const double *t = total + k * f->width;
        for (size_t j = 0; j < f->d && t[f->d + 1] > 0; j++)
            f->v[k * f->width + j] = t[j] / t[f->d + 1];
    }
}

static void job_free(job *f)
{
    cg_xfree(f->x);
    cg_xfree(f->v);
    cg_xfree(f->product);
    cg_xfree(f->r);
    cg_xfree(f->w);
    cg_xfree(f);
}

static job *job_new(size_t n, size_t d, size_t c, double m)
{
    job *f = cg_xcalloc(1, sizeof *f);
    *f = (job){.n = n, .d = d, .c = c, .width = d + 2, .m = m};
    f->x = cg_xcalloc(n * f->width, sizeof(double));
    f->v = cg_xcalloc(c * f->width, sizeof(double));
    f->product = cg_xcalloc(c * f->width, sizeof(double));
    f->r = cg_xcalloc(c * BLOCK, sizeof(double));
    f->w = cg_xcalloc(c * BLOCK, sizeof(double));
    return f;
}

/* A point with probability near[i] / sum near; any if all are 0. */
static size_t draw(const double *near, size_t n, cg_rng *rng)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += near[i];
    if (!(sum > 0))
        return cg_rng_below(rng, (uint32_t)n);
    double left = cg_rng_uniform(rng) * sum;
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        if (near[i] > 0) {
            at = i; /* rounding may leave some of `left` at the end */
            left -= near[i];
            if (left < 0)
                break;
        }
    return at;
}

/* k-means++ (Arthur & Vassilvitskii, SODA 2007). */
static void choose_start(job *f, uint64_t seed)
{
    cg_rng rng = cg_rng_make(seed, 0);
    double *near = cg_xcalloc(f->n, sizeof *near);
    for (size_t k = 0; k < f->c; k++) {
        double *v = f->v + k * f->width;
        memcpy(v, f->x + draw(near, f->n, &rng) * f->width,
               f->d * sizeof *v);
        for (size_t i = 0; i < f->n; i++) {
            double r = squared_distance(f->x + i * f->width, v, f->d);
            near[i] = k == 0 || r < near[i] ? r : near[i];
        }
    }
    cg_xfree(near);
}

static void start(job *f, const cg_fcm_options *o)
{
    if (o->start)
        for (size_t k = 0; k < f->c; k++)
            memcpy(f->v + k * f->width, o->start + k * f->d,
                   f->d * sizeof *o->start);
    else
        choose_start(f, o->seed);
}

static void copy_block(const double *block, size_t c, size_t len, double *u)
{
    for (size_t i = 0; i < len; i++)
        for (size_t k = 0; k < c; k++)
            u[i * c + k] = block[k * BLOCK + i];
}

static void iterate(cg_fcm *out, job *f, const cg_fcm_options *o, double *u)
{
    size_t n_blocks = (f->n + BLOCK - 1) / BLOCK;
    double *blocks = cg_xcalloc(n_blocks * f->c * BLOCK, sizeof *blocks);
    double *part = cg_xcalloc(2 * f->c * f->width, sizeof *part);
    double *total = part + f->c * f->width;
    out->change = pass(f, blocks, part, total);
    while (out->iterations < o->max_iter &&
           !(out->iterations > 0 && out->change <= o->tolerance)) {
        move(f, total);
        out->change = pass(f, blocks, part, total);
        out->iterations++;
    }
    for (size_t k = 0; k < f->c; k++)
        memcpy(out->centroid + k * f->d, f->v + k * f->width,
               f->d * sizeof *f->v);
    for (size_t i = 0; u && i < f->n; i += BLOCK)
        copy_block(blocks + i * f->c, f->c, block_len(f->n, i), u + i * f->c);
    cg_xfree(part);
    cg_xfree(blocks);
}

static cg_err check(const double *x, size_t n, size_t d,
                    const cg_fcm_options *o)
{
    if (o->c < 1 || o->c > n || n > UINT32_MAX)
        return cg_fail(CG_EFORMAT, "%zu clusters of %zu points", o->c, n);
    if (!(o->m > 1 && o->m <= M_MAX))
        return cg_fail(CG_EFORMAT, "fuzziness %g: must be over 1, at most %d",
                       o->m, M_MAX);
    for (size_t i = 0; i < n * d; i++)
        if (!isfinite(x[i]))
            return cg_fail(CG_EFORMAT, "clustering: row %zu, column %zu is %g",
                           i / d, i % d, x[i]);
    for (size_t i = 0; o->start && i < o->c * d; i++)
        if (!isfinite(o->start[i]))
            return cg_fail(CG_EFORMAT, "clustering: first centroid %zu, "
                           "column %zu is %g", i / d, i % d, o->start[i]);
    return CG_OK;
}

cg_err cg_fcm_fit(cg_fcm *f, const double *x, size_t n, size_t d,
                  const cg_fcm_options *o, double *u)
{
    *f = (cg_fcm){0};
    CG_TRY(check(x, n, d, o));
    CG_TRY(cg_products_open());
    *f = (cg_fcm){.c = o->c, .d = d, .m = o->m,
                  .centroid = cg_xcalloc(o->c * d, sizeof(double))};
    job *j = job_new(n, d, o->c, o->m);
    widen(x, n, d, j->x);
    start(j, o);
    iterate(f, j, o, u);
    job_free(j);
    return CG_OK;
}

void cg_fcm_free(cg_fcm *f)
{
    cg_xfree(f->centroid);
    *f = (cg_fcm){0};
}

cg_err cg_fcm_memberships(const cg_fcm *f, const double *x, size_t n,
                          double *u)
{
    CG_TRY(cg_products_open());
    job *j = job_new(BLOCK, f->d, f->c, f->m);
    double *block = cg_xcalloc(f->c * BLOCK, sizeof *block);
    for (size_t k = 0; k < f->c; k++)
        memcpy(j->v + k * j->width, f->centroid + k * f->d,
               f->d * sizeof *j->v);
    set_product(j);
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t len = block_len(n, i);
        widen(x + i * f->d, len, f->d, j->x);
        rest_of_block(j, len);
        distances(j, j->x, len);
        shares(j);
        settle(j, block);
        copy_block(block, f->c, len, u + i * f->c);
    }
    cg_xfree(block);
    job_free(j);
    return CG_OK;
}

double cg_fcm_entropy(const double *u, size_t n, size_t c)
{
    double sum = 0;
    for (size_t i = 0; i < n * c; i++)
        sum -= u[i] > 0 ? u[i] * log(u[i]) : 0;
    if (n == 0)
        return NAN;
    return c > 1 ? sum / (double)n / log((double)c) : 0;
}

size_t cg_fcm_distinct(const cg_fcm *f, double apart)
{
    size_t count = 0;
    size_t *kept = cg_xcalloc(f->c, sizeof *kept);
    for (size_t k = 0; k < f->c; k++) {
        size_t i = 0;
        const double *v = f->centroid + k * f->d;
        while (i < count && sqrt(squared_distance(
                   v, f->centroid + kept[i] * f->d, f->d)) > apart)
            i++;
        if (i == count)
            kept[count++] = k;
    }
    cg_xfree(kept);
    return count;
}
