/* What `cgtrain` and `cgtrain finetune` share. */
#ifndef CG_TOOLS_TRAIN_H
#define CG_TOOLS_TRAIN_H

#include "runtime/ensemble.h"
#include "runtime/fit.h"

/* A line of progress on stderr. On a terminal it is written over until `last`
 * ends it; elsewhere only the last one is written. */
void train_progress(const cg_fit_info *i, bool terminal, bool last);

/* Labelled networks of several sets, open until train_data_free. */
typedef struct train_data {
    int n_sets;
    cg_set **sets;
    cg_examples all;
} train_data; /* zeroed is fine to be freed */

/* `label` "": the first column that is named accuracy, as cg_examples_of. */
cg_err train_data_open(train_data *d, char *const *paths, int n,
                       const char *label);
void train_data_free(train_data *d);

/* A table of what the members say of networks, on stdout; weight NULL: without
 * the ensemble. */
void train_report(const cg_opinions *o, const cg_examples *e,
                  const double *weight);

/* cgtrain finetune; argv[0] is "finetune". */
int train_finetune(int argc, char **argv);

#endif
