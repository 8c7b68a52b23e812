/* The training loop. */
#include "runtime/fit.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/rng.h"
#include "runtime/examples.h"

/* As many losses stay on the device before the host waits for them. */
enum { ORDER_STREAM = 1, DROPOUT_STREAM = 2, LOSSES = 256 };

typedef struct fit {
    cg_dev *dev;
    const cg_fit_task *task;
    const cg_fit_opts *o;
    const cg_fit_hooks *hooks;
    cg_tape tape;
    float *losses;     /* device (LOSSES): of the last steps */
    int n_losses;
    float sum;         /* of the epoch's steps, but for those */
    const uint32_t *order; /* of the epoch's items */
    int parts;         /* that a batch is taken in */
    cg_recording *recording; /* of a whole batch */
    int64_t step, first_step, steps;
    int epoch, in_epoch;
    double started, told;
} fit;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t key_of(uint64_t seed, uint64_t stream, uint64_t k)
{
    cg_rng r = cg_rng_make(seed, stream << 48 | k);
    return cg_rng_next(&r);
}

/* Items of the batch that starts at `first`. */
static int batch_at(const fit *f, uint32_t first)
{
    uint32_t left = f->task->n_items - first, batch = (uint32_t)f->o->batch;
    return (int)(left < batch ? left : batch);
}

/* -- losses ---------------------------------------------------------------- */

static cg_err take_loss(fit *f, int k, float loss)
{
    int before = f->n_losses - k; /* steps ago */
    uint32_t first = (uint32_t)(f->in_epoch - before) *
                     (uint32_t)f->o->batch;
    f->sum += loss;
    if (f->hooks->trace)
        f->hooks->trace(f->hooks->user, f->step - before, (double)loss,
                        f->order + first, batch_at(f, first));
    return isfinite(f->sum)
               ? CG_OK
               : cg_fail(CG_EFORMAT, "%s: the loss is no longer finite at "
                         "step %" PRId64 "; a lower lr may help",
                         f->task->name, f->step - before + 1);
}

/* The device is waited for here, and nowhere else in an epoch. */
static cg_err take_losses(fit *f)
{
    float loss[LOSSES];
    size_t n = (size_t)f->n_losses;
    if (n == 0)
        return CG_OK;
    cg_dev_download(f->dev, loss, f->losses, n * sizeof *loss);
    CG_TRY(cg_dev_sync(f->dev));
    for (int k = 0; k < f->n_losses; k++)
        CG_TRY(take_loss(f, k, loss[k]));
    f->n_losses = 0;
    cg_k_fill(f->dev, LOSSES, 0, f->losses);
    return CG_OK;
}

static cg_err tell(fit *f, bool end, double validation)
{
    CG_TRY(take_losses(f));
    if (!f->hooks->progress)
        return CG_OK;
    double t = now() - f->started;
    double done = (double)(f->step - f->first_step);
    cg_fit_info info = {
        .epoch = f->epoch + 1, .epochs = f->o->epochs, .step = f->step,
        .steps = f->steps, .loss = f->sum / fmax(f->in_epoch, 1),
        .validation = validation, .epoch_end = end,
        .items_per_s = done * f->o->batch / t,
        .seconds_left = t / done * (double)(f->steps - f->step)};
    f->hooks->progress(f->hooks->user, &info);
    f->told = now();
    return CG_OK;
}

/* -- steps ----------------------------------------------------------------- */

/* Items of a step that are run at once. */
typedef struct part {
    fit *f;
    const uint32_t *idx;
    int n;
    bool first; /* of its batch */
} part;

static void add_gradients(void *user)
{
    const part *p = user;
    fit *f = p->f;
    if (p->first)
        cg_params_zero_grad(f->task->params);
    f->task->forward(f->task->user, &f->tape, p->idx, p->n);
    cg_tape_backward(&f->tape);
}

/* Adds the gradients of all parts of a batch, and their losses. */
static cg_err run_parts(fit *f, const uint32_t *idx, int n)
{
    float *loss = f->losses + f->n_losses;
    bool whole = n == f->o->batch && f->parts == 1, any = false;
    for (int p = 0; p < f->parts; p++) {
        int first = (int)((int64_t)n * p / f->parts);
        int here = (int)((int64_t)n * (p + 1) / f->parts) - first;
        part run = {f, idx + first, here, !any};
        uint64_t key = key_of(f->o->seed, DROPOUT_STREAM + (uint64_t)p,
                              (uint64_t)f->step);
        if (here == 0)
            continue;
        any = true;
        cg_tape_begin(&f->tape, f->dev, true, key);
        f->tape.weight = (float)here / (float)n;
        if (whole && f->task->repeats)
            cg_dev_repeat(f->dev, &f->recording, add_gradients, &run);
        else
            add_gradients(&run);
        cg_k_axpby(f->dev, 1, 1, 1, f->tape.loss, 1, 1, loss, 1);
    }
    return f->dev->failed ? cg_dev_sync(f->dev) : CG_OK;
}

static void warn_of_parts(const fit *f)
{
    char text[200];
    snprintf(text, sizeof text, "%s: %s has no memory for %d networks at a "
             "time: each batch is taken in %d parts%s", f->task->name,
             f->dev->name, f->o->batch, f->parts, f->task->compares
                 ? ", and networks of two parts are not compared: a training "
                   "on another device differs" : "");
    if (f->hooks->warning)
        f->hooks->warning(f->hooks->user, text);
}

/* A batch that does not fit is taken in twice as many parts, and all batches
 * after it: parameters are as they were before it. */
static cg_err run_gradients(fit *f, const uint32_t *idx, int n)
{
    int least = f->task->compares ? 2 : 1, parts = f->parts;
    cg_err err;
    while ((err = run_parts(f, idx, n)) == CG_ELIMIT &&
           n / (2 * f->parts) >= least) {
        cg_dev_reset(f->dev);
        cg_k_fill(f->dev, 1, 0, f->losses + f->n_losses);
        f->parts *= 2;
    }
    if (f->parts != parts && err == CG_OK)
        warn_of_parts(f);
    return err == CG_ELIMIT
               ? cg_fail_in(err, "%s, %d networks at a time", f->task->name,
                            (n + f->parts - 1) / f->parts)
               : err;
}

static cg_err run_step(fit *f, const uint32_t *idx, int n)
{
    cg_adamw a = f->o->adamw;
    CG_TRY(run_gradients(f, idx, n));
    a.lr = cg_schedule(a.lr, f->step, f->steps, f->o->warmup, f->o->cosine);
    cg_params_step(f->task->params, &a);
    if (f->dev->failed) /* in the update, which cannot be done again */
        return cg_dev_sync(f->dev);
    f->step++;
    f->in_epoch++;
    f->n_losses++;
    if (now() - f->told > 0.5)
        CG_TRY(tell(f, false, NAN));
    return f->n_losses < LOSSES ? CG_OK : take_losses(f);
}

static cg_err run_steps(fit *f)
{
    uint32_t n = f->task->n_items, batch = (uint32_t)f->o->batch;
    f->in_epoch = 0;
    f->sum = 0;
    for (uint32_t i = 0; i < n; i += batch) {
        if (f->task->ahead)
            f->task->ahead(f->task->user, f->order + i, n - i,
                           (f->o->batch + f->parts - 1) / f->parts);
        CG_TRY(run_step(f, f->order + i, batch_at(f, i)));
    }
    return take_losses(f);
}

static cg_err run_epoch(fit *f)
{
    double validation = NAN;
    uint32_t *order = cg_shuffled(f->task->n_items,
                                  key_of(f->o->seed, ORDER_STREAM, 0),
                                  (uint64_t)f->epoch);
    f->order = order;
    cg_err err = run_steps(f);
    cg_xfree(order);
    CG_TRY(err);
    if (f->task->validate)
        CG_TRY(f->task->validate(f->task->user, &validation));
    CG_TRY(tell(f, true, validation));
    if (f->hooks->checkpoint)
        CG_TRY(f->hooks->checkpoint(f->hooks->user, f->epoch + 1));
    return CG_OK;
}

cg_err cg_fit(cg_dev *dev, const cg_fit_task *task, const cg_fit_opts *o,
              int done, const cg_fit_hooks *hooks)
{
    static const cg_fit_hooks none;
    int64_t per_epoch = (task->n_items + o->batch - 1) / o->batch;
    fit f = {.dev = dev, .task = task, .o = o, .hooks = hooks ? hooks : &none,
             .step = done * per_epoch, .first_step = done * per_epoch,
             .steps = o->epochs * per_epoch, .parts = 1};
    CG_TRY(cg_dev_alloc(dev, LOSSES * sizeof *f.losses, (void **)&f.losses));
    f.started = f.told = now();
    cg_err err = CG_OK;
    for (f.epoch = done; f.epoch < o->epochs && err == CG_OK; f.epoch++)
        err = run_epoch(&f);
    cg_tape_free(&f.tape);
    cg_dev_forget(dev, f.recording);
    cg_dev_free(dev, f.losses);
    return err;
}
