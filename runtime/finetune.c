#include "runtime/finetune.h"

#include <math.h>
#include <string.h>

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
static cg_err forget_moments(cg_params *p)
{
    float *zero = cg_xcalloc(2 * p->n + 1, sizeof *zero);
    cg_dev_upload(p->dev, p->moments, zero, 2 * p->n * sizeof *zero);
    cg_err err = cg_dev_sync(p->dev);
    p->step = 0;
    cg_xfree(zero);
    return err;
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
                        .forward = forward,
                        .compares = !cg_member_regresses(x),
                        .repeats = !cg_member_sees_graphs(x)};
    if (x->info->kind == CG_KIND_COST)
        return CG_OK;
    CG_TRY(cg_params_learn(&x->params));
    CG_TRY(forget_moments(&x->params));
    return cg_fit(m->dev, &task, &o, 0, hooks);
}

static cg_err ask_both(cg_tuned *t, cg_model *m, cg_member_id id,
                       const cg_embedded *samples, const cg_embedded *rest)
{
    CG_TRY(cg_opinions_ask_one(&t->on_samples, m, id, samples));
    return cg_opinions_ask_one(&t->on_rest, m, id, rest);
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
        err = ask_both(t, m, id, samples, rest);
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

/* Those with a label first, otherwise in the order they have. */
static void labelled_first(const cg_examples *e, uint32_t *order)
{
    uint32_t *none = cg_xcalloc((size_t)e->n + 1, sizeof *none);
    uint32_t n = 0, left = 0;
    for (uint32_t i = 0; i < e->n; i++)
        if (isnan(e->accuracy[order[i]]))
            none[left++] = order[i];
        else
            order[n++] = order[i];
    memcpy(order + n, none, left * sizeof *none);
    cg_xfree(none);
}

/* The family in two parts, by the seed. The last two are to be freed. */
static void draw(cg_tuned *t, const cg_embedded *family, uint32_t n,
                 uint64_t seed, cg_embedded *samples, cg_embedded *rest)
{
    uint32_t all = family->e->n;
    uint32_t *order = cg_shuffled(all, seed, SAMPLE_STREAM);
    labelled_first(family->e, order);
    *t = (cg_tuned){0};
    cg_embedded_pick(family, order, n, &t->samples, samples);
    cg_embedded_pick(family, order + n, all - n, &t->rest, rest);
    cg_xfree(order);
}

/* -- models of nets -------------------------------------------------------- */

/* What tuning changes of such a model. */
typedef struct before {
    cg_process process;
    cg_families families;
    cg_label label;
    bool trained;
} before;

/* Goes on without it. */
static before set_aside(cg_model *m)
{
    cg_member *x = &m->member[CG_MEMBER_tuned];
    before b = {m->process, m->families, x->label, x->trained};
    m->process = (cg_process){0};
    m->families = cg_families_copy(&b.families);
    cg_families_untune(&m->families);
    x->trained = false;
    return b;
}

static void forget(before *b)
{
    cg_process_free(&b->process);
    cg_families_free(&b->families);
}

static void take_back(cg_model *m, before *b)
{
    cg_member *x = &m->member[CG_MEMBER_tuned];
    before now = {m->process, m->families, x->label, x->trained};
    m->process = b->process;
    m->families = b->families;
    x->label = b->label;
    x->trained = b->trained;
    forget(&now);
}

/* *d is `family` as the model now places it; it borrows the states, which do
 * not depend on that, and the examples. */
static void place(const cg_model *m, const cg_embedded *family, cg_embedded *d)
{
    cg_embedded fresh;
    cg_model_describe(m, family->e, &fresh);
    *d = *family;
    d->s = fresh.s;
    d->kin = fresh.kin;
}

static void free_place(cg_embedded *d)
{
    cg_xfree(d->s);
    cg_kinship_free(&d->kin);
}

/* weight (CG_MEMBER_COUNT): who is heard how much on the family, zero-shot;
 * slope (CG_STRUCTURE_COUNT): what the ridge makes of its structure. */
static cg_err zero_shot(cg_model *m, const cg_embedded *family, double *weight,
                        double *slope)
{
    cg_embedded d;
    cg_opinions o;
    place(m, family, &d);
    cg_err err = cg_linear_slope(m, &d, slope);
    if (err == CG_OK)
        err = cg_opinions_ask(&o, m, &d);
    free_place(&d);
    CG_TRY(err);
    cg_ensemble_weights(&o, NULL, weight);
    cg_ensemble_voices(&o, weight);
    cg_opinions_free(&o);
    return CG_OK;
}

/* The model becomes one of this family, which is then in *d (free_place) and
 * drawn from; its label is the samples'. */
static void adopt(cg_model *m, cg_tuned *t, const cg_embedded *family,
                  const double *slope, uint32_t n, uint64_t seed,
                  cg_embedded *d, cg_embedded *samples, cg_embedded *rest)
{
    cg_label label = {.sd = 1};
    double *x = cg_structures_of(family->e);
    cg_families_tune(&m->families, family->e, x, &label);
    cg_xfree(x);
    place(m, family, d);
    draw(t, d, n, seed, samples, rest);
    const cg_examples *e = &t->samples;
    cg_family *own = &m->families.list.data[m->families.list.len - 1];
    memcpy(own->slope, slope, sizeof own->slope);
    cg_label_fit(&own->label, (cg_label_kind)(m->config.label -
                                              CG_WORD_LABEL_ACCURACY),
                 e->n, e->accuracy, e->flops);
}

/* Of a model whose earlier tuning is set aside. *d, *samples and *rest are to
 * be freed, also after an error. */
static cg_err fit_process(cg_model *m, cg_tuned *t, const cg_embedded *family,
                          uint32_t n, uint64_t seed, cg_embedded *d,
                          cg_embedded *samples, cg_embedded *rest)
{
    double weight[CG_MEMBER_COUNT], slope[CG_STRUCTURE_COUNT];
    CG_TRY(zero_shot(m, family, weight, slope));
    adopt(m, t, family, slope, n, seed, d, samples, rest);
    return cg_process_fit(m, d, samples, weight);
}

static cg_err try_process(cg_tuned *t, cg_model *m, const cg_embedded *family,
                          uint32_t n, uint64_t seed, int only,
                          void (*told)(void *user, const cg_member_info *info),
                          void *user)
{
    cg_embedded d = {0}, samples = {0}, rest = {0};
    before b = set_aside(m);
    cg_err err = fit_process(m, t, family, n, seed, &d, &samples, &rest);
    for (int i = 0; i < CG_MEMBER_COUNT && err == CG_OK; i++) {
        if (!cg_member_speaks(m, (cg_member_id)i) || (only >= 0 && only != i))
            continue;
        err = ask_both(t, m, (cg_member_id)i, &samples, &rest);
        if (told && err == CG_OK)
            told(user, m->member[i].info);
    }
    take_back(m, &b);
    cg_embedded_free(&samples);
    cg_embedded_free(&rest);
    free_place(&d);
    if (err != CG_OK)
        cg_tuned_free(t);
    return err;
}

/* -- tried ----------------------------------------------------------------- */

cg_err cg_finetune_try(cg_tuned *t, cg_model *m, const cg_embedded *family,
                       uint32_t n, uint64_t seed, int only,
                       void (*told)(void *user, const cg_member_info *info),
                       void *user)
{
    cg_embedded samples, rest;
    *t = (cg_tuned){0};
    CG_TRY(cg_finetune_check(family->e->n, n));
    if (cg_process_wanted(m))
        return try_process(t, m, family, n, seed, only, told, user);
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
    if (cg_process_wanted(m))
        return id == CG_MEMBER_tuned;
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

/* What the tuned model says of both parts, and what it keeps of that. */
static cg_err conclude(cg_tuned *t, cg_model *m, const cg_embedded *family,
                       const cg_embedded *samples, const cg_embedded *rest)
{
    double weight[CG_MEMBER_COUNT];
    CG_TRY(cg_opinions_ask(&t->on_samples, m, samples));
    CG_TRY(cg_opinions_ask(&t->on_rest, m, rest));
    CG_TRY(cg_ensemble_calibrate_on(m, family));
    cg_ensemble_weights(&t->on_samples, t->samples.accuracy, weight);
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        m->member[i].weight = weight[i];
    return CG_OK;
}

static cg_err tune_by_process(cg_tuned *t, cg_model *m,
                              const cg_embedded *family, uint32_t n,
                              uint64_t seed, const cg_tune_hooks *hooks)
{
    cg_embedded d = {0}, samples = {0}, rest = {0};
    before b = set_aside(m);
    if (hooks->member)
        hooks->member(hooks->user, 1, 1, m->member[CG_MEMBER_tuned].info);
    cg_err err = fit_process(m, t, family, n, seed, &d, &samples, &rest);
    if (err == CG_OK)
        err = conclude(t, m, &d, &samples, &rest);
    if (err == CG_OK)
        forget(&b);
    else
        take_back(m, &b);
    cg_embedded_free(&samples);
    cg_embedded_free(&rest);
    free_place(&d);
    return err;
}

static cg_err tune_by_steps(cg_tuned *t, cg_model *m,
                            const cg_embedded *family, uint32_t n,
                            uint64_t seed, const cg_tune_hooks *hooks)
{
    cg_embedded samples, rest;
    draw(t, family, n, seed, &samples, &rest);
    cg_err err = tune_all(m, &samples, seed, hooks);
    if (err == CG_OK)
        err = conclude(t, m, family, &samples, &rest);
    cg_embedded_free(&samples);
    cg_embedded_free(&rest);
    return err;
}

cg_err cg_finetune_model(cg_tuned *t, cg_model *m, const cg_embedded *family,
                         uint32_t n, uint64_t seed,
                         const cg_tune_hooks *hooks)
{
    uint32_t labelled = 0;
    *t = (cg_tuned){0};
    for (uint32_t i = 0; i < family->e->n; i++)
        labelled += !isnan(family->e->accuracy[i]);
    if (n < 2 || n > labelled)
        return cg_fail(CG_EUSAGE, "%u of %u networks cannot be samples: two "
                       "are needed", n, labelled);
    cg_err err = cg_process_wanted(m)
                     ? tune_by_process(t, m, family, n, seed, hooks)
                     : tune_by_steps(t, m, family, n, seed, hooks);
    m->tuned |= err == CG_OK;
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
