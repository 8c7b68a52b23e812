#include "runtime/finetune.h"

#include "runtime/members.h"

enum { SAMPLE_STREAM = 7 };

typedef struct tuning {
    cg_model *m;
    cg_member *x;
    const cg_embedded *d;
} tuning;

static void forward(void *user, cg_tape *t, const uint32_t *idx, int n)
{
    tuning *s = user;
    cg_member_forward(s->m, s->x, s->d, t, idx, n);
}

/* -- parameters kept and put back ------------------------------------------ */

/* The optimiser as it is before the first step. */
static void forget_moments(cg_params *p)
{
    float *zero = cg_xcalloc(2 * p->n + 1, sizeof *zero);
    cg_dev_upload(p->dev, p->moments, zero, 2 * p->n * sizeof *zero);
    cg_dev_sync(p->dev);
    p->step = 0;
    cg_xfree(zero);
}

static cg_err keep(const cg_params *p, float **values)
{
    *values = cg_xcalloc(p->n + 1, sizeof **values);
    if (p->n > 0) /* FLOPs have none */
        cg_dev_download(p->dev, *values, p->x, p->n * sizeof **values);
    return cg_dev_sync(p->dev);
}

static cg_err put_back(const cg_params *p, float *values)
{
    if (p->n > 0)
        cg_dev_upload(p->dev, p->x, values, p->n * sizeof *values);
    cg_err err = cg_dev_sync(p->dev);
    cg_xfree(values);
    return err;
}

/* -- one member ------------------------------------------------------------ */

cg_err cg_finetune(cg_model *m, cg_member_id id, const cg_embedded *d,
                   uint64_t seed, const cg_fit_hooks *hooks)
{
    cg_member *x = &m->member[id];
    tuning s = {m, x, d};
    cg_fit_opts o = cg_member_fit_opts(m, x);
    o.epochs = m->config.finetune_epochs;
    o.batch = x->info->kind == CG_KIND_RANKER ? 2 : 1;
    o.seed = seed;
    cg_fit_task task = {.user = &s, .name = x->info->line,
                        .n_items = d->e->n, .params = &x->params,
                        .forward = forward};
    if (x->info->kind == CG_KIND_COST)
        return CG_OK;
    CG_TRY(cg_params_learn(&x->params));
    forget_moments(&x->params);
    return cg_fit(m->dev, &task, &o, 0, hooks);
}

/* Tuned on `samples`, asked about them and about `rest`, put back. */
static cg_err try_one(cg_tuned *t, cg_model *m, cg_member_id id,
                      const cg_embedded *samples, const cg_embedded *rest,
                      uint64_t seed)
{
    float *values = NULL;
    const cg_params *p = &m->member[id].params;
    cg_err err = keep(p, &values);
    if (err == CG_OK)
        err = cg_finetune(m, id, samples, seed, NULL);
    if (err == CG_OK)
        err = cg_opinions_ask_one(&t->on_samples, m, id, samples);
    if (err == CG_OK)
        err = cg_opinions_ask_one(&t->on_rest, m, id, rest);
    cg_err back = put_back(p, values);
    return err == CG_OK ? back : err;
}

/* -- all of them ----------------------------------------------------------- */

cg_err cg_finetune_check(uint32_t all, uint32_t n)
{
    return n >= 2 && all >= 2 && n <= all - 2
               ? CG_OK
               : cg_fail(CG_EUSAGE, "%u of %u networks cannot be samples: two "
                         "are needed, and two have to be left", n, all);
}

/* The family in two parts, by the seed. The last two are to be freed. */
static void draw(cg_tuned *t, const cg_embedded *family, uint32_t n,
                 uint64_t seed, cg_embedded *samples, cg_embedded *rest)
{
    uint32_t all = family->e->n;
    uint32_t *order = cg_shuffled(all, seed, SAMPLE_STREAM);
    *t = (cg_tuned){0};
    cg_embedded_pick(family, order, n, &t->samples, samples);
    cg_embedded_pick(family, order + n, all - n, &t->rest, rest);
    cg_xfree(order);
}

cg_err cg_finetune_try(cg_tuned *t, cg_model *m, const cg_embedded *family,
                       uint32_t n, uint64_t seed, int only,
                       void (*told)(void *user, const cg_member_info *info),
                       void *user)
{
    cg_embedded samples, rest;
    *t = (cg_tuned){0};
    CG_TRY(cg_finetune_check(family->e->n, n));
    draw(t, family, n, seed, &samples, &rest);
    cg_err err = CG_OK;
    for (int i = 0; i < CG_MEMBER_COUNT && err == CG_OK; i++) {
        if (!cg_member_speaks(m, (cg_member_id)i) || (only >= 0 && only != i))
            continue;
        err = try_one(t, m, (cg_member_id)i, &samples, &rest, seed);
        if (told && err == CG_OK)
            told(user, m->member[i].info);
    }
    cg_embedded_free(&samples);
    cg_embedded_free(&rest);
    if (err != CG_OK)
        cg_tuned_free(t);
    return err;
}

/* -- for good -------------------------------------------------------------- */

static bool can_be_tuned(const cg_model *m, int id)
{
    return cg_member_speaks(m, (cg_member_id)id) &&
           m->member[id].info->kind != CG_KIND_COST;
}

int cg_finetune_members(const cg_model *m)
{
    int n = 0;
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        n += can_be_tuned(m, i);
    return n;
}

static cg_err tune_all(cg_model *m, const cg_embedded *samples, uint64_t seed,
                       const cg_tune_hooks *hooks)
{
    cg_fit_hooks fit = {.user = hooks->user, .progress = hooks->progress};
    int members = cg_finetune_members(m), at = 0;
    for (int i = 0; i < CG_MEMBER_COUNT; i++) {
        if (!can_be_tuned(m, i))
            continue;
        if (hooks->member)
            hooks->member(hooks->user, ++at, members, m->member[i].info);
        CG_TRY(cg_finetune(m, (cg_member_id)i, samples, seed, &fit));
    }
    return CG_OK;
}

cg_err cg_finetune_model(cg_tuned *t, cg_model *m, const cg_embedded *family,
                         uint32_t n, uint64_t seed,
                         const cg_tune_hooks *hooks)
{
    cg_embedded samples, rest;
    double weight[CG_MEMBER_COUNT];
    *t = (cg_tuned){0};
    if (n < 2 || n > family->e->n)
        return cg_fail(CG_EUSAGE, "%u of %u networks cannot be samples: two "
                       "are needed", n, family->e->n);
    draw(t, family, n, seed, &samples, &rest);
    cg_err err = tune_all(m, &samples, seed, hooks);
    if (err == CG_OK)
        err = cg_opinions_ask(&t->on_samples, m, &samples);
    if (err == CG_OK)
        err = cg_opinions_ask(&t->on_rest, m, &rest);
    if (err == CG_OK)
        err = cg_ensemble_calibrate_on(m, family);
    if (err == CG_OK)
        cg_ensemble_weights(&t->on_samples, t->samples.accuracy, weight);
    for (int i = 0; i < CG_MEMBER_COUNT && err == CG_OK; i++)
        m->member[i].weight = weight[i];
    m->tuned = err == CG_OK;
    cg_embedded_free(&samples);
    cg_embedded_free(&rest);
    if (err != CG_OK)
        cg_tuned_free(t);
    return err;
}

void cg_tuned_free(cg_tuned *t)
{
    cg_examples_free(&t->samples);
    cg_examples_free(&t->rest);
    cg_opinions_free(&t->on_samples);
    cg_opinions_free(&t->on_rest);
}
