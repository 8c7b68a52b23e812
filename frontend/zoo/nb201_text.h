/* NAS-Bench-201's results as text: what its Python package prints
 * (https://github.com/D-X-Y/NAS-Bench-201, nas_201_api, and its successor
 * nats_bench: query_info_str_by_arch and show), an architecture behind the
 * other in one file. Of each these lines matter, all else is skipped:
 *
 *   >>>>>>>>>> 200 epochs >>>>>>>>>>        (of show only)
 *   |nor_conv_3x3~0|+|...|+|...|            (the code)
 *   cifar10        train : [loss = 0.002, top1 = 99.99%], test  : [...]
 */
#ifndef CG_FRONTEND_ZOO_NB201_TEXT_H
#define CG_FRONTEND_ZOO_NB201_TEXT_H

#include "base/err.h"

#define CG_NB201_METRICS 7
/* "cifar10_test", "cifar10_valid", "cifar10_valid_test", "cifar100_test",
 * "cifar100_valid", "imagenet16_test", "imagenet16_valid": accuracies. Those
 * with _valid of CIFAR-10 come from training on half of its images, data set
 * "cifar10-valid". */
extern const char *const cg_nb201_metric_names[CG_NB201_METRICS];

/* One block: an architecture trained for some epochs. */
typedef struct cg_nb201_result {
    char code[256];
    int epochs; /* 0: the text does not say */
    double metric[CG_NB201_METRICS]; /* fractions; NAN: not there */
} cg_nb201_result;

/* Calls `each` for every block, in order, until it returns an error. Lines
 * that should hold a result and do not are errors with their number. */
cg_err cg_nb201_read_text(const char *path,
                          cg_err (*each)(void *user,
                                         const cg_nb201_result *r),
                          void *user);

#endif
