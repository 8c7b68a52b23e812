/* Labels: transforms of accuracy. */
#include "runtime/label.h"

#include <math.h>

#include "base/arena.h"

#define LINE_STEPS 30

static double scale(double flops)
{
    return log10(flops / 1e9 + 1) + 1;
}

static double raw(cg_label_kind kind, double accuracy, double flops)
{
    if (kind == CG_LABEL_ERROR_LOG)
        return -log(100.5 - accuracy);
    return kind == CG_LABEL_FLOPS ? accuracy / scale(flops) : accuracy;
}

void cg_label_fit(cg_label *l, cg_label_kind kind, size_t n,
                  const double *accuracy, const double *flops)
{
    double sum = 0, squares = 0;
    size_t known = 0;
    for (size_t i = 0; i < n; i++) {
        double y = raw(kind, accuracy[i], flops[i]);
        sum += isnan(y) ? 0 : y;
        known += !isnan(y);
    }
    double mean = known ? sum / (double)known : 0;
    for (size_t i = 0; i < n; i++) {
        double y = raw(kind, accuracy[i], flops[i]) - mean;
        squares += isnan(y) ? 0 : y * y;
    }
    double sd = known ? sqrt(squares / (double)known) : 0;
    *l = (cg_label){kind, mean, sd > 0 ? sd : 1};
}

double cg_label_of(const cg_label *l, double accuracy, double flops)
{
    return (raw(l->kind, accuracy, flops) - l->mean) / l->sd;
}

double cg_label_accuracy(const cg_label *l, double y, double flops)
{
    double r = y * l->sd + l->mean;
    if (l->kind == CG_LABEL_ERROR_LOG)
        return 100.5 - exp(-r);
    return l->kind == CG_LABEL_FLOPS ? r * scale(flops) : r;
}

/* Least squares with weights w (n). */
static cg_line weighted(const double *y, const double *label, const double *w,
                        size_t n)
{
    double sum = 0, my = 0, ml = 0, yy = 0, yl = 0;
    for (size_t i = 0; i < n; i++)
        sum += w[i], my += w[i] * y[i], ml += w[i] * label[i];
    my /= sum;
    ml /= sum;
    for (size_t i = 0; i < n; i++) {
        yy += w[i] * (y[i] - my) * (y[i] - my);
        yl += w[i] * (y[i] - my) * (label[i] - ml);
    }
    if (!(yy > 1e-12 * sum * (1 + my * my))) /* but for rounding, one y */
        return (cg_line){0, 1};
    return (cg_line){ml - yl / yy * my, yl / yy};
}

/* Least absolute deviations by squares weighed by the inverse of the last
 * deviations (Schlossmacher, JASA 68, 1973). */
cg_line cg_line_fit(const double *y, const double *label, size_t n)
{
    cg_line line = {0, 1};
    double *w = cg_xcalloc(n + 1, sizeof *w);
    for (size_t i = 0; i < n; i++)
        w[i] = 1;
    for (int k = 0; k < LINE_STEPS && n > 1; k++) {
        line = weighted(y, label, w, n);
        for (size_t i = 0; i < n; i++)
            w[i] = 1 / fmax(1e-4, fabs(label[i] - line.at -
                                       line.slope * y[i]));
    }
    cg_xfree(w);
    return line;
}
