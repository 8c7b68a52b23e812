/* The training loop: epochs of shuffled batches, AdamW, progress, a hook at
 * the end of every epoch for checkpoints.
 *
 * Losses stay on the device for some hundred steps, so that the host, which
 * makes the next batch, does not wait for it.
 *
 * A batch for which the device has no memory is taken in two parts, in four and
 * so on, whose gradients add up to the batch's; so are all batches after it.
 *
 * What a step does depends on seed and step number alone, and the order of an
 * epoch on seed and epoch, so that a run that goes on from the state after an
 * epoch ends with the bits of one that was never stopped. */
#ifndef CG_RUNTIME_FIT_H
#define CG_RUNTIME_FIT_H

#include <stdbool.h>

#include "runtime/params.h"
#include "runtime/tape.h"

typedef struct cg_fit_opts {
    int epochs, batch;
    cg_adamw adamw;  /* its lr is the highest one */
    bool cosine;
    int warmup;      /* steps */
    uint64_t seed;
} cg_fit_opts;

/* What is known after a step or an epoch. */
typedef struct cg_fit_info {
    int epoch, epochs;     /* counted from 1 */
    int64_t step, steps;   /* of all */
    double loss;           /* mean of this epoch's steps so far */
    double validation;     /* after an epoch; NAN otherwise */
    double items_per_s, seconds_left;
    bool epoch_end;
} cg_fit_info;

typedef struct cg_fit_task {
    void *user;
    const char *name;      /* for messages */
    uint32_t n_items;
    cg_params *params;
    /* Its losses compare the items of a batch; otherwise they are means over
     * them, and parts of a batch are as good as the whole. */
    bool compares;
    /* Kernels of a step are the same for as many items, whichever they are
     * (cg_dev_repeat): no dropout, no shapes that depend on them. */
    bool repeats;
    /* Runs items idx[0 .. n) forward; losses go onto the tape. */
    void (*forward)(void *user, cg_tape *t, const uint32_t *idx, int n);
    /* Told before a step: n items, those of this step and of all after it in
     * this epoch, `batch` at a time (a part, where batches are taken in parts).
     * NULL: not wanted. */
    void (*ahead)(void *user, const uint32_t *idx, uint32_t n, int batch);
    /* A figure of merit after an epoch, more is better; NULL: none. */
    cg_err (*validate)(void *user, double *out);
} cg_fit_task;

typedef struct cg_fit_hooks {
    void *user;
    /* After an epoch (epoch_end), and now and then between. */
    void (*progress)(void *user, const cg_fit_info *info);
    /* After an epoch: keep parameters, moments and the number of epochs done;
     * an error ends the training. */
    cg_err (*checkpoint)(void *user, int epochs_done);
    /* Batches are taken in parts. */
    void (*warning)(void *user, const char *text);
    /* The loss of every step, with the items it saw, some steps later; NULL:
     * not wanted. */
    void (*trace)(void *user, int64_t step, double loss, const uint32_t *idx,
                  int n);
} cg_fit_hooks;

/* Trains from epoch `done` on. A loss that is not finite is an error that
 * names the step; so is a device with too little
 * memory for one item, or two where they are compared. */
cg_err cg_fit(cg_dev *dev, const cg_fit_task *task, const cg_fit_opts *o,
              int done, const cg_fit_hooks *hooks);

#endif
