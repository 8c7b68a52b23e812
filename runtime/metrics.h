/* How good predictions are, in double precision and in a fixed order.
 *
 * y: true values, p: predictions, both (n). The order of the pairs changes no
 * more than rounding. A metric without a meaning is NAN: fewer than two pairs
 * (cg_mae: none), a NaN among the values, and for the correlations and NDCG a
 * constant y (for the correlations also a constant p). Infinite values have
 * ranks, and so SRCC and KT; in the others they give what arithmetic gives. */
#ifndef CG_RUNTIME_METRICS_H
#define CG_RUNTIME_METRICS_H

#include <stddef.h>
#include <stdint.h>

typedef double cg_metric(const double *y, const double *p, size_t n,
                         size_t k); /* k: cut-off, for those that have one */

/* Mean absolute error, in the unit of y. */
double cg_mae(const double *y, const double *p, size_t n);

/* Pearson's correlation; of average ranks it is Spearman's (SRCC). */
double cg_pearson(const double *y, const double *p, size_t n);
double cg_srcc(const double *y, const double *p, size_t n);

/* Kendall's tau-b: (concordant - discordant) / sqrt((pairs - ties in y)
 * (pairs - ties in p)). Knight, JASA 61 (1966): O(n log n). */
double cg_kendall(const double *y, const double *p, size_t n);

/* NDCG@k of ranking by p, larger first: relevance = y rescaled to [0, 20] over
 * these n, gain 2^relevance - 1, discount log2(rank + 1) with ranks from 1.
 * Equal predictions: the mean over all orders of theirs (McSherry & Najork,
 * ECIR 2008), so that ties earn nothing by luck. k > n is n; k = 0 is NAN. */
double cg_ndcg(const double *y, const double *p, size_t n, size_t k);

/* Ranks 1 .. n, smallest first; equal values share the average of theirs. A
 * NaN makes every rank NAN. rank may be x. */
void cg_ranks(const double *x, size_t n, double *rank);

/* Mean and standard deviation (divisor n). NAN for n = 0. */
void cg_moments(const double *x, size_t n, double *mean, double *sd);
/* (x - mean) / sd of these n values; NAN where sd is 0. z may be x. */
void cg_zscores(const double *x, size_t n, double *z);

/* A bootstrap interval: `metric` over `resamples` draws of n pairs with
 * replacement, and the percentiles that leave (1 - level) / 2 on each side,
 * interpolated linearly. Draw b uses stream b of `seed`. Draws on which the
 * metric has no meaning are left out; with none left both ends are NAN.
 * n < 2^32, 0 < level < 1. */
typedef struct cg_bootstrap {
    cg_metric *metric;
    size_t k;         /* handed to metric */
    size_t resamples; /* 1000 is usual */
    double level;     /* .95 is usual */
    uint64_t seed;
} cg_bootstrap;

typedef struct cg_interval {
    double low, high;
} cg_interval;

cg_interval cg_bootstrap_interval(const cg_bootstrap *b, const double *y,
                                  const double *p, size_t n);

/* The metrics with the signature that cg_bootstrap wants, and by name. */
cg_metric cg_metric_mae, cg_metric_srcc, cg_metric_kendall;
typedef struct cg_metric_row {
    const char *name; /* mae srcc kt ndcg */
    cg_metric *metric;
} cg_metric_row;

extern const cg_metric_row cg_metrics[];
extern const size_t cg_n_metrics;

#endif
