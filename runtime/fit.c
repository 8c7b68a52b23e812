/* The training loop. */
#include "runtime/fit.h"

#include <inttypes.h>
#include <math.h>
#include <time.h>

#include "base/rng.h"
#include "runtime/examples.h"

enum { ORDER_STREAM = 1, DROPOUT_STREAM = 2 };

typedef struct fit {
    cg_dev *dev;
    const cg_fit_task *task;
    const cg_fit_opts *o;
    const cg_fit_hooks *hooks;
    cg_tape tape;
    float *loss;       /* device: sum over the epoch's steps */
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

static cg_err tell(fit *f, bool end, double validation)
{
    float sum;
    cg_dev_download(f->dev, &sum, f->loss, sizeof sum);
    CG_TRY(cg_dev_sync(f->dev));
    if (!isfinite(sum))
        return cg_fail(CG_EFORMAT, "%s: the loss is no longer finite at step "
                       "%" PRId64 "; a lower lr may help", f->task->name,
                       f->step);
    if (!f->hooks->progress)
        return CG_OK;
    double t = now() - f->started;
    double done = (double)(f->step - f->first_step);
    cg_fit_info info = {
        .epoch = f->epoch + 1, .epochs = f->o->epochs, .step = f->step,
        .steps = f->steps, .loss = sum / fmax(f->in_epoch, 1),
        .validation = validation, .epoch_end = end,
        .items_per_s = done * f->o->batch / t,
        .seconds_left = t / done * (double)(f->steps - f->step)};
    f->hooks->progress(f->hooks->user, &info);
    f->told = now();
    return CG_OK;
}

static cg_err trace(fit *f, const uint32_t *idx, int n)
{
    float loss;
    cg_dev_download(f->dev, &loss, f->tape.loss, sizeof loss);
    CG_TRY(cg_dev_sync(f->dev));
    f->hooks->trace(f->hooks->user, f->step, loss, idx, n);
    return CG_OK;
}

static cg_err run_step(fit *f, const uint32_t *idx, int n)
{
    cg_params *p = f->task->params;
    cg_adamw a = f->o->adamw;
    uint64_t key = key_of(f->o->seed, DROPOUT_STREAM, (uint64_t)f->step);
    cg_tape_begin(&f->tape, f->dev, true, key);
    cg_params_zero_grad(p);
    f->task->forward(f->task->user, &f->tape, idx, n);
    cg_tape_backward(&f->tape);
    a.lr = cg_schedule(a.lr, f->step, f->steps, f->o->warmup, f->o->cosine);
    cg_params_step(p, &a);
    cg_k_axpby(f->dev, 1, 1, 1, f->tape.loss, 1, 1, f->loss, 1);
    if (f->hooks->trace)
        CG_TRY(trace(f, idx, n));
    f->step++;
    f->in_epoch++;
    if (now() - f->told > 0.5)
        CG_TRY(tell(f, false, NAN));
    return CG_OK;
}

static cg_err run_steps(fit *f, const uint32_t *order)
{
    uint32_t n = f->task->n_items, batch = (uint32_t)f->o->batch;
    cg_k_fill(f->dev, 1, 0, f->loss);
    f->in_epoch = 0;
    for (uint32_t i = 0; i < n; i += batch) {
        if (f->task->ahead)
            f->task->ahead(f->task->user, order + i, n - i, (int)batch);
        CG_TRY(run_step(f, order + i, (int)(n - i < batch ? n - i : batch)));
    }
    return CG_OK;
}

static cg_err run_epoch(fit *f)
{
    double validation = NAN;
    uint32_t *order = cg_shuffled(f->task->n_items,
                                  key_of(f->o->seed, ORDER_STREAM, 0),
                                  (uint64_t)f->epoch);
    cg_err err = run_steps(f, order);
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
             .steps = o->epochs * per_epoch};
    void *loss;
    CG_TRY(cg_dev_alloc(dev, sizeof(float), &loss));
    f.loss = loss;
    f.started = f.told = now();
    cg_err err = CG_OK;
    for (f.epoch = done; f.epoch < o->epochs && err == CG_OK; f.epoch++)
        err = run_epoch(&f);
    cg_tape_free(&f.tape);
    cg_dev_free(dev, f.loss);
    return err;
}
