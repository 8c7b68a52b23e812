/* A device whose kernels are counted as they run: the bytes that each has to
 * read and write, were every element moved once, and the operations of
 * products. Divided by what a device copies and multiplies at most they are the
 * floors of a step's time.
 *
 * It is a floor of these kernels one after another: fused they would move
 * less, and what stays in a device's cache does not move at the rate of
 * copies. */
#ifndef CG_TESTS_COUNTED_H
#define CG_TESTS_COUNTED_H

#include "backend/backend.h"

/* A step ends with the next cg_dev_reset, or with counted_end; one without a
 * kernel is none. It learns if it updates parameters. */
typedef struct counted {
    int64_t steps, kernels; /* kernels: rows of kernels.def, not launches */
    double bytes, operations; /* 2 for a multiplication with its addition */
    double uploaded;          /* bytes from the host */
} counted;

/* From now on d counts; one device at a time. Attention is waited for, as its
 * groups are read back: measure no time. Batches are uploaded on every device,
 * so that the figures are the same. */
void counted_begin(cg_dev *d);
/* d is as before. Either may be NULL. */
void counted_end(counted *learning, counted *other);

#endif
