/* The checks of kernels that work on rows, of losses, and of the optimiser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backend/dropout.h"
#include "tests/kernels.h"

/* Rows and columns every kernel over rows is tried with. */
static const struct shape {
    int rows, cols;
} shapes[] = { {0, 5}, {1, 1}, {1, 64}, {3, 7}, {37, 33}, {129, 64},
               {515, 31}, {4098, 64}, {700, 257}, {100003, 1} };
#define EACH_SHAPE \
    for (size_t s = 0, rows, cols, ld; \
         s < sizeof shapes / sizeof *shapes \
         && (rows = (size_t)shapes[s].rows, cols = (size_t)shapes[s].cols, \
             ld = cols + (s % 2 ? 3 : 0), true); s++)

/* -- rows and columns ------------------------------------------------------ */

/* As many as there can be, or fewer. */
static size_t groups_of(size_t rows, size_t how)
{
    size_t groups = 1;
    for (size_t g = 2; g <= 20 && how % 3; g++)
        if (rows > 0 && rows % g == 0 && (how % 3 == 1 || g < 5))
            groups = g;
    return groups;
}

void check_bias_act(void)
{
    EACH_SHAPE
        for (int how = 0; how < 8; how++) {
            const float *x = inputs(rows * ld);
            size_t groups = groups_of(rows, how), each = rows / groups;
            const float *bias = how & 1 ? inputs(groups * cols) : NULL;
            cg_act act = how & 2 ? CG_ACT_RELU : CG_ACT_NONE;
            output y = how & 4 ? output_of(rows * ld, x) : outputs(rows * ld);
            EACH_DEVICE
                cg_k_bias_act(dev[d], (int)groups, (int)rows, (int)cols,
                              AT(how & 4 ? y.on[d] : x), (int)ld, AT(bias),
                              act, AT(y.on[d]), (int)ld);
            for (size_t i = 0; i < rows * cols; i++) {
                size_t r = i / cols, c = i % cols, at = r * ld + c;
                double v = (double)x[at];
                if (bias)
                    v += (double)bias[r / each * cols + c];
                y.want[at] = act == CG_ACT_RELU ? relu(v) : v;
            }
            compare(&y, "bias_act");
        }
}

void check_act_bwd(void)
{
    EACH_SHAPE
        for (int how = 0; how < 4; how++) {
            const float *y = inputs(rows * (ld + 1)), *dy = inputs(rows * ld);
            cg_act act = how & 1 ? CG_ACT_RELU : CG_ACT_NONE;
            output dx = how & 2 ? output_of(rows * ld, dy)
                                : outputs(rows * ld);
            EACH_DEVICE
                cg_k_act_bwd(dev[d], (int)rows, (int)cols, AT(y),
                             (int)ld + 1, act, AT(how & 2 ? dx.on[d] : dy),
                             (int)ld, AT(dx.on[d]), (int)ld);
            for (size_t i = 0; i < rows * cols; i++) {
                size_t r = i / cols, c = i % cols;
                bool on = act == CG_ACT_NONE || y[r * (ld + 1) + c] > 0;
                dx.want[r * ld + c] = on ? (double)dy[r * ld + c] : 0;
            }
            compare(&dx, "act_bwd");
        }
}

static const float betas[] = { 0, 1, -0.5f };

/* Outputs that are multiplied by beta and added to; with 0 not even read. */
static output sums(size_t n, float beta)
{
    output y = outputs(n);
    for (size_t i = 0; i < n; i++) {
        y.want[i] *= (double)beta;
        if (beta == 0)
            EACH_DEVICE
                y.on[d][i] = NAN;
    }
    return y;
}

void check_colsum(void)
{
    EACH_SHAPE
        for (size_t how = 0; how < sizeof betas / sizeof *betas; how++) {
            size_t groups = groups_of(rows, how + s), each = rows / groups;
            /* (sums that cancel would be held to too much) */
            const float *x = randoms(rows * ld, -1, 2);
            output y = sums(groups * cols, betas[how]);
            EACH_DEVICE
                cg_k_colsum(dev[d], (int)groups, (int)rows, (int)cols, AT(x),
                            (int)ld, betas[how], AT(y.on[d]));
            for (size_t i = 0; i < rows * cols; i++) {
                size_t r = i / cols, c = i % cols;
                y.want[r / each * cols + c] += (double)x[r * ld + c];
            }
            compare(&y, "colsum");
        }
}

void check_axpby(void)
{
    static const float factors[] = { 0, 1, -0.75f };
    EACH_SHAPE
        for (int how = 0; how < 3; how++) {
            const float *x = inputs(rows * ld);
            float b = factors[how];
            output y = outputs(rows * ld);
            for (size_t i = 0; b == 0 && i < rows * cols; i++)
                EACH_DEVICE
                    y.on[d][i / cols * ld + i % cols] = NAN;
            EACH_DEVICE
                cg_k_axpby(dev[d], (int)rows, (int)cols, 1.5f, AT(x),
                           (int)ld, b, AT(y.on[d]), (int)ld);
            for (size_t i = 0; i < rows * cols; i++) {
                size_t at = i / cols * ld + i % cols;
                y.want[at] = 1.5 * (double)x[at] + (double)b * y.want[at];
            }
            compare(&y, "axpby");
        }
}

void check_fill(void)
{
    static const size_t sizes[] = { 0, 1, 17, 200001 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        output y = outputs(sizes[s] + 1);
        EACH_DEVICE
            cg_k_fill(dev[d], sizes[s], 2.5f, AT(y.on[d]));
        for (size_t i = 0; i < sizes[s]; i++)
            y.want[i] = 2.5;
        compare(&y, "fill");
    }
}

/* Mean and 1 / deviation of a row. */
static void moments(size_t n, const float *x, double *mean, double *rstd)
{
    double m = 0, v = 0;
    for (size_t c = 0; c < n; c++)
        m += (double)x[c] / (double)n;
    for (size_t c = 0; c < n; c++)
        v += ((double)x[c] - m) * ((double)x[c] - m) / (double)n;
    *mean = m;
    *rstd = 1 / sqrt(v + 1e-5);
}

void check_layernorm(void)
{
    EACH_SHAPE {
        const float *x = inputs(rows * ld), *gamma = inputs(cols);
        const float *beta = inputs(cols);
        output y = outputs(rows * ld), mean = outputs(rows + 1);
        output rstd = outputs(rows + 1);
        EACH_DEVICE
            cg_k_layernorm(dev[d], (int)rows, (int)cols, AT(x), (int)ld,
                           AT(gamma), AT(beta), AT(y.on[d]), (int)ld,
                           AT(mean.on[d]), AT(rstd.on[d]));
        for (size_t r = 0; r < rows; r++) {
            moments(cols, x + r * ld, mean.want + r, rstd.want + r);
            for (size_t c = 0; c < cols; c++)
                y.want[r * ld + c] = (double)beta[c] + (double)gamma[c]
                    * ((double)x[r * ld + c] - mean.want[r]) * rstd.want[r];
        }
        compare(&y, "layernorm");
        compare(&mean, "layernorm's mean");
        compare(&rstd, "layernorm's rstd");
    }
}

void check_layernorm_bwd(void)
{
    EACH_SHAPE {
        const float *x = inputs(rows * ld), *gamma = inputs(cols);
        const float *dy = inputs(rows * ld);
        float *mean = floats(rows), *rstd = floats(rows);
        float beta = betas[rows % 3], other = betas[cols % 3];
        output dx = outputs(rows * ld), dgamma = sums(cols, beta);
        output dbeta = sums(cols, other);
        for (size_t i = 0; i < rows * ld; i++) {
            dx.want[i] *= i % ld < cols ? (double)other : 1;
            if (other == 0 && i % ld < cols)
                EACH_DEVICE
                    dx.on[d][i] = NAN;
        }
        for (size_t r = 0; r < rows; r++) {
            double m, scale, sum = 0, dot = 0;
            moments(cols, x + r * ld, &m, &scale);
            mean[r] = (float)m, rstd[r] = (float)scale;
            for (size_t c = 0; c < cols; c++) {
                double g = (double)dy[r * ld + c], e = (double)gamma[c] * g;
                double h = ((double)x[r * ld + c] - (double)mean[r])
                    * (double)rstd[r];
                sum += e / (double)cols, dot += e * h / (double)cols;
                dgamma.want[c] += g * h, dbeta.want[c] += g;
            }
            for (size_t c = 0; c < cols; c++)
                dx.want[r * ld + c] += (double)rstd[r]
                    * ((double)gamma[c] * (double)dy[r * ld + c] - sum
                       - ((double)x[r * ld + c] - (double)mean[r])
                       * (double)rstd[r] * dot);
        }
        EACH_DEVICE
            cg_k_layernorm_bwd(dev[d], (int)rows, (int)cols, AT(x), (int)ld,
                               AT(gamma), AT(mean), AT(rstd), AT(dy), (int)ld,
                               other, AT(dx.on[d]), (int)ld, beta,
                               AT(dgamma.on[d]), other, AT(dbeta.on[d]));
        compare(&dx, "layernorm_bwd");
        compare(&dgamma, "layernorm_bwd's dgamma");
        compare(&dbeta, "layernorm_bwd's dbeta");
    }
}

void check_dropout(void)
{
    static const float rates[] = { 0, 0.1f, 0.001f, 0.9f };
    EACH_SHAPE
        for (int how = 0; how < 12; how++) {
            float p = rates[how % 4], beta = how / 4 == 1 ? 1 : 0;
            const float *x = inputs(rows * ld);
            uint64_t key = cg_rng_next(&rng);
            bool same = how / 4 == 2;
            output y = same ? output_of(rows * ld, x) : outputs(rows * ld);
            EACH_DEVICE
                cg_k_dropout(dev[d], (int)rows, (int)cols,
                             AT(same ? y.on[d] : x), (int)ld, p, key, beta,
                             AT(y.on[d]), (int)ld);
            for (size_t i = 0; i < rows * cols; i++) {
                size_t at = i / cols * ld + i % cols;
                y.want[at] = (double)beta * y.want[at]
                    + (double)x[at] * factor(key, i, p);
            }
            compare(&y, "dropout");
        }
}

void check_l2norm(void)
{
    EACH_SHAPE {
        float *x = inputs(rows * ld);
        for (size_t c = 0; rows && c < cols; c++)
            x[c] = 0; /* a row of norm 0 */
        output y = outputs(rows * ld), norm = outputs(rows + 1);
        EACH_DEVICE
            cg_k_l2norm(dev[d], (int)rows, (int)cols, AT(x), (int)ld,
                        AT(y.on[d]), (int)ld, AT(norm.on[d]));
        for (size_t r = 0; r < rows; r++) {
            double sum = 0;
            for (size_t c = 0; c < cols; c++)
                sum += (double)x[r * ld + c] * (double)x[r * ld + c];
            norm.want[r] = fmax(sqrt(sum), 1e-12);
            for (size_t c = 0; c < cols; c++)
                y.want[r * ld + c] = (double)x[r * ld + c] / norm.want[r];
        }
        compare(&y, "l2norm");
        compare(&norm, "l2norm's norm");
    }
}

void check_l2norm_bwd(void)
{
    EACH_SHAPE {
        const float *y = inputs(rows * ld), *dy = inputs(rows * ld);
        const float *norm = randoms(rows, 0.5f, 2);
        output dx = outputs(rows * ld);
        EACH_DEVICE
            cg_k_l2norm_bwd(dev[d], (int)rows, (int)cols, AT(y), (int)ld,
                            AT(norm), AT(dy), (int)ld, AT(dx.on[d]), (int)ld);
        for (size_t r = 0; r < rows; r++) {
            double dot = 0;
            for (size_t c = 0; c < cols; c++)
                dot += (double)y[r * ld + c] * (double)dy[r * ld + c];
            for (size_t c = 0; c < cols; c++)
                dx.want[r * ld + c] += ((double)dy[r * ld + c]
                    - (double)y[r * ld + c] * dot) / (double)norm[r];
        }
        compare(&dx, "l2norm_bwd");
    }
}

/* -- ensembles ------------------------------------------------------------- */

static const int ensembles[][3] = { {0, 3, 4}, {1, 1, 1}, {33, 16, 1},
                                    {50, 3, 17}, {600, 5, 16} };
#define EACH_ENSEMBLE \
    for (size_t s = 0; s < sizeof ensembles / sizeof *ensembles; s++)

void check_mix(void)
{
    EACH_ENSEMBLE {
        const int *e = ensembles[s];
        size_t n = (size_t)e[0], heads = (size_t)e[1], cols = (size_t)e[2];
        const float *u = inputs(n * heads), *f = inputs(heads * n * cols);
        output y = outputs(n * cols);
        EACH_DEVICE
            cg_k_mix(dev[d], e[0], e[1], e[2], AT(u), AT(f), AT(y.on[d]));
        for (size_t i = 0; i < n * cols; i++) {
            y.want[i] = 0;
            for (size_t h = 0; h < heads; h++)
                y.want[i] += (double)u[i / cols * heads + h]
                    * (double)f[h * n * cols + i];
        }
        compare(&y, "mix");
    }
}

void check_mix_bwd(void)
{
    EACH_ENSEMBLE {
        const int *e = ensembles[s];
        size_t n = (size_t)e[0], heads = (size_t)e[1], cols = (size_t)e[2];
        const float *u = inputs(n * heads), *dy = inputs(n * cols);
        output df = outputs(heads * n * cols);
        EACH_DEVICE
            cg_k_mix_bwd(dev[d], e[0], e[1], e[2], AT(u), AT(dy),
                         AT(df.on[d]));
        for (size_t i = 0; i < heads * n * cols; i++) {
            size_t h = i / (n * cols), at = i % (n * cols);
            df.want[i] += (double)u[at / cols * heads + h] * (double)dy[at];
        }
        compare(&df, "mix_bwd");
    }
}

/* -- losses ---------------------------------------------------------------- */

static const int batches[] = { 0, 1, 2, 33, 256, 1001 };
#define EACH_BATCH \
    for (size_t s = 0, n; s < sizeof batches / sizeof *batches \
         && (n = (size_t)batches[s], true); s++)

void check_contrast(void)
{
    EACH_BATCH
        for (int scale = 1; scale < 200; scale *= 14) {
            float tau = 0.05f, weight = 0.7f;
            const float *sim = randoms(n * n, -0.05f * (float)scale,
                                       0.05f * (float)scale);
            const float *alpha = randoms(n * n, 0, 2 / (float)(n + 1));
            output loss = outputs(1), ds = outputs(n * n);
            EACH_DEVICE
                cg_k_contrast(dev[d], (int)n, AT(sim), AT(alpha), tau, weight,
                              AT(loss.on[d]), AT(ds.on[d]));
            double w = (double)weight / (double)n;
            for (size_t i = 0; i < n; i++) {
                const float *z = sim + i * n, *a = alpha + i * n;
                double sum = 0, all = 0;
                for (size_t r = 0; r < n; r++)
                    sum += r == i ? 0 : exp((double)z[r] / (double)tau);
                for (size_t l = 0; l < n; l++) {
                    all += l == i ? 0 : (double)a[l];
                    *loss.want -= l == i ? 0 : w * (double)a[l]
                        * ((double)z[l] / (double)tau - log(sum));
                }
                for (size_t l = 0; l < n; l++)
                    ds.want[i * n + l] = l == i ? 0 : w / (double)tau
                        * (all * (exp((double)z[l] / (double)tau) / sum)
                           - (double)a[l]);
            }
            compare(&loss, "contrast");
            compare(&ds, "contrast's ds");
        }
}

typedef void (*loss_fn)(cg_dev *d, int n, const float *y, const float *target,
                        float weight, float *loss, float *dy);
/* Value, and derivative by y, of one element. */
typedef double (*element_fn)(double y, double t, double *dy);

static void check_elements(loss_fn kernel, element_fn element, float low,
                           const char *what)
{
    EACH_BATCH {
        const float *y = randoms(n, -5, 5), *t = randoms(n, low, 1);
        output loss = outputs(1), dy = outputs(n);
        EACH_DEVICE
            kernel(dev[d], (int)n, AT(y), AT(t), 0.7f, AT(loss.on[d]),
                   AT(dy.on[d]));
        for (size_t i = 0; i < n; i++) {
            double grad, w = (double)0.7f / (double)n;
            *loss.want += w * element((double)y[i], (double)t[i], &grad);
            dy.want[i] += w * grad;
        }
        compare(&loss, what);
        compare(&dy, what);
    }
}

static double square(double y, double t, double *dy)
{
    *dy = 2 * (y - t);
    return (y - t) * (y - t);
}

static void huber_kernel(cg_dev *d, int n, const float *y, const float *target,
                         float weight, float *loss, float *dy)
{
    cg_k_huber(d, n, y, target, 0.75f, weight, loss, dy);
}

static double huber(double y, double t, double *dy)
{
    double e = y - t, size = fabs(e);
    *dy = size <= 0.75 ? e : e > 0 ? 0.75 : -0.75;
    return size <= 0.75 ? e * e / 2 : 0.75 * (size - 0.375);
}

static double logistic(double y, double t, double *dy)
{
    *dy = 1 / (1 + exp(-y)) - t;
    return log(1 + exp(y)) - t * y;
}

void check_mse(void) { check_elements(cg_k_mse, square, -5, "mse"); }
void check_huber(void) { check_elements(huber_kernel, huber, -5, "huber"); }
void check_logistic(void)
{
    check_elements(cg_k_logistic, logistic, 0, "logistic");
}

/* -- learning -------------------------------------------------------------- */

static const size_t lengths[] = { 0, 1, 31, 5000, 300001 };
#define EACH_LENGTH \
    for (size_t s = 0, n; s < sizeof lengths / sizeof *lengths \
         && (n = lengths[s], true); s++)

void check_sumsq(void)
{
    EACH_LENGTH {
        const float *x = inputs(n);
        output sum = outputs(1);
        EACH_DEVICE
            cg_k_sumsq(dev[d], n, AT(x), AT(sum.on[d]));
        for (size_t i = 0; i < n; i++)
            *sum.want += (double)x[i] * (double)x[i];
        compare(&sum, "sumsq");
    }
}

void check_adamw(void)
{
    static const struct {
        float clip, sumsq, decay;
        int64_t t;
    } how[] = { {0, 9, 0, 1}, {1, 9, 0.1f, 3}, {5, 9, 0.01f, 20000} };
    EACH_LENGTH
        for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
            const float *g = inputs(n);
            output w = outputs(n), m = outputs(n);
            output v = output_of(n, randoms(n, 0.1f, 1));
            double scale = how[i].clip > 0
                ? fmin(1, (double)how[i].clip / (3 + 1e-6)) : 1;
            float *sumsq = floats(1);
            double t = (double)how[i].t, lr = (double)1e-2f;
            double b1 = (double)0.9f, b2 = (double)0.999f;
            *sumsq = how[i].sumsq;
            EACH_DEVICE
                cg_k_adamw(dev[d], n, AT(w.on[d]), AT(g), AT(m.on[d]),
                           AT(v.on[d]), AT(sumsq), how[i].clip, 1e-2f, 0.9f,
                           0.999f, 1e-3f, how[i].decay, how[i].t);
            for (size_t e = 0; e < n; e++) {
                double ge = scale * (double)g[e];
                m.want[e] = b1 * m.want[e] + (1 - b1) * ge;
                v.want[e] = b2 * v.want[e] + (1 - b2) * ge * ge;
                w.want[e] -= lr * (double)how[i].decay * w.want[e];
                w.want[e] -= lr * (m.want[e] / (1 - pow(b1, t)))
                    / (sqrt(v.want[e] / (1 - pow(b2, t))) + (double)1e-3f);
            }
            compare(&m, "adamw's m");
            compare(&v, "adamw's v");
            compare(&w, "adamw");
        }
}
