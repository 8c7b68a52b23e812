/* Labels: transforms of accuracy. */
#include "runtime/label.h"

#include <math.h>


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
