/* What a network is taught: a label made from accuracy, standardised, and the
 * way back from what it predicts. Accuracies are in percent here. */
#ifndef CG_RUNTIME_LABEL_H
#define CG_RUNTIME_LABEL_H

#include <stdbool.h>
#include <stddef.h>

typedef enum cg_label_kind {
    CG_LABEL_ACCURACY,  /* accuracy: A */
    CG_LABEL_ERROR_LOG, /* error_log: -log(100.5 - A) */
    CG_LABEL_FLOPS,     /* flops_transform: A / (log10(F + 1) + 1), F in units
                           of 1e9 FLOPs (Eq. 5) */
} cg_label_kind;

typedef struct cg_label {
    cg_label_kind kind;
    double mean, sd; /* of the training labels, before standardising */
} cg_label;

/* Networks below this accuracy are left out of training where the label is
 * FLOPS (the paper's rule): they failed, whatever their cost. */
#define CG_LABEL_FLOPS_LEAST 80

/* From n accuracies (percent) and FLOPs; NAN ones are left out. A spread of 0
 * counts as 1. */
void cg_label_fit(cg_label *l, cg_label_kind kind, size_t n,
                  const double *accuracy, const double *flops);
double cg_label_of(const cg_label *l, double accuracy, double flops);
/* The accuracy that label y stands for, in percent, not clipped. */
double cg_label_accuracy(const cg_label *l, double y, double flops);

#endif
