/* Stages of a training: graph regressors on labels; the encoder without; its
 * clusters; then heads on frozen embeddings. */
#include "runtime/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/rng.h"
#include "runtime/ensemble.h"
#include "runtime/members.h"
#include "runtime/metrics.h"


enum { FIT_STREAM = 5, CLUSTER_STREAM = 6, KNOWN_STREAM = 8 };

typedef struct stage {
    cg_model *m;
    cg_member *x;
    const cg_embedded *train, *valid;
    const cg_train_hooks *hooks;
    int index;
    uint64_t data;
} stage;

static uint64_t seed_of(const cg_model *m, uint64_t stream, uint64_t k)
{
    cg_rng r = cg_rng_make((uint64_t)m->config.seed, stream << 48 | k);
    return cg_rng_next(&r);
}

/* -- one member ------------------------------------------------------------ */

static void forward(void *user, cg_tape *t, const uint32_t *idx, int n)
{
    stage *s = user;
    cg_member_forward(s->m, s->x, s->train, t, idx, n);
}

static void ahead(void *user, const uint32_t *idx, uint32_t n, int batch)
{
    stage *s = user;
    cg_member_ahead(s->m, s->x, s->train, idx, n, batch);
}

/* Of the families that a member learns, each by itself. */
static double mean_srcc(const cg_model *m, const cg_member *x,
                        const cg_embedded *d, const double *score)
{
    size_t n = d->e->n, families = 0;
    double sum = 0, *y = cg_xcalloc(2 * n + 1, sizeof *y), *p = y + n;
    for (uint32_t f = 0; f < m->families.list.len; f++) {
        size_t k = 0;
        for (size_t i = 0; i < n && cg_member_learns(m, x, f); i++)
            if (d->kin.family[i] == f)
                y[k] = d->e->accuracy[i], p[k++] = score[i];
        double srcc = cg_srcc(y, p, k);
        families += !isnan(srcc);
        sum += isnan(srcc) ? 0 : srcc;
    }
    cg_xfree(y);
    return sum / (double)families; /* NAN for 0 / 0 */
}

static cg_err validate(void *user, double *out)
{
    stage *s = user;
    size_t n = s->valid->e->n;
    double *score = cg_xcalloc(n + 1, sizeof *score);
    cg_member_id id = (cg_member_id)(s->x->info - cg_member_table);
    cg_err err = cg_model_scores(s->m, id, s->valid, score);
    *out = mean_srcc(s->m, s->x, s->valid, score);
    cg_xfree(score);
    return err;
}

static cg_err checkpoint(void *user, int epochs_done)
{
    stage *s = user;
    cg_progress p = {s->index, epochs_done, s->data};
    return s->hooks->checkpoint ? s->hooks->checkpoint(s->hooks->user, &p)
                                : CG_OK;
}

static void progress(void *user, const cg_fit_info *info)
{
    stage *s = user;
    if (s->hooks->progress)
        s->hooks->progress(s->hooks->user, info);
}

static void warning(void *user, const char *text)
{
    stage *s = user;
    if (s->hooks->warning)
        s->hooks->warning(s->hooks->user, text);
}

static void trace(void *user, int64_t step, double loss, const uint32_t *idx,
                  int n)
{
    stage *s = user;
    uint32_t *row = cg_xcalloc((size_t)n + 1, sizeof *row);
    for (int i = 0; i < n; i++)
        row[i] = s->train->e->pick[idx[i]].index;
    s->hooks->trace(s->hooks->user, step, loss, row, n);
    cg_xfree(row);
}

cg_fit_opts cg_member_fit_opts(const cg_model *m, const cg_member *x)
{
    const cg_config *c = &m->config;
    double lr = c->head_lr;
    cg_fit_opts o = {
        .epochs = c->head_epochs, .batch = c->head_batch,
        .cosine = c->schedule == CG_WORD_SCHEDULE_COSINE,
        .warmup = c->warmup,
        .seed = seed_of(m, FIT_STREAM, (uint64_t)(x->info - cg_member_table))};
    if (x->info->kind == CG_KIND_GRAPH || x->info->kind == CG_KIND_NET)
        o.epochs = c->epochs, o.batch = c->batch, lr = c->lr;
    if (x->info->kind == CG_KIND_ENCODER)
        o.epochs = c->cl_epochs, o.batch = c->cl_batch, lr = c->cl_lr;
    o.adamw = (cg_adamw){.lr = (float)lr, .b1 = .9f, .b2 = .999f,
                         .eps = 1e-8f, .clip = (float)c->clip,
                         .decay = (float)c->decay};
    return o;
}

static cg_err fit_member(stage *s, int done)
{
    cg_fit_opts o = cg_member_fit_opts(s->m, s->x);
    cg_fit_task task = {
        .user = s, .name = s->x->info->line, .n_items = s->train->e->n,
        .params = &s->x->params, .forward = forward, .ahead = ahead,
        .compares = !cg_member_regresses(s->x),
        .repeats = !cg_member_sees_graphs(s->x),
        .validate = s->x->info->kind == CG_KIND_ENCODER || !s->valid->e->n
                        ? NULL : validate};
    cg_fit_hooks hooks = {.user = s, .progress = progress,
                          .checkpoint = checkpoint, .warning = warning,
                          .trace = s->hooks->trace ? trace : NULL};
    CG_TRY(cg_member_alloc(s->m, s->x));
    if (s->x->info->kind == CG_KIND_LINEAR)
        return cg_linear_fit(s->m, s->x, s->train);
    return cg_fit(s->m->dev, &task, &o, done, &hooks);
}

/* -- labels ---------------------------------------------------------------- */

static cg_label_kind label_kind(const cg_model *m, const cg_member *x)
{
    if (x->info->flops_label)
        return CG_LABEL_FLOPS;
    return (cg_label_kind)(m->config.label - CG_WORD_LABEL_ACCURACY);
}

/* How often a family of `n` networks is seen in the time that the largest one
 * is seen once. */
static double repeats(size_t n, size_t most, double balance)
{
    return pow((double)most / (double)n, 1 - balance);
}

/* Those networks of d that a member learns from, families by their balance:
 * with Eq. 5 the ones that did not fail. Each network of a family is there
 * `repeats` times, rounded so that their sum is right. *e and *out are the
 * caller's to free. */
static void choose(const cg_model *m, const cg_member *x, const cg_embedded *d,
                   bool flops_label, cg_examples *e, cg_embedded *out)
{
    size_t families = m->families.list.len, most = 0;
    size_t *count = cg_xcalloc(families + 1, sizeof *count);
    double *due = cg_xcalloc(families + 1, sizeof *due);
    CG_ARRAY(uint32_t) keep = {0};
    for (uint32_t i = 0; i < d->e->n; i++)
        if (++count[d->kin.family[i]] > most)
            most = count[d->kin.family[i]];
    for (uint32_t i = 0; i < d->e->n; i++) {
        uint32_t f = d->kin.family[i];
        if ((flops_label && d->e->accuracy[i] < CG_LABEL_FLOPS_LEAST) ||
            !cg_member_learns(m, x, f))
            continue;
        due[f] += repeats(count[f], most, m->config.balance);
        for (; due[f] >= 1 - 1e-9; due[f] -= 1)
            cg_array_push(&keep, i);
    }
    cg_embedded_pick(d, keep.data, (uint32_t)keep.len, e, out);
    cg_array_free(&keep);
    cg_xfree(count);
    cg_xfree(due);
}

static void note(const cg_train_hooks *hooks, const char *text)
{
    if (hooks->note)
        hooks->note(hooks->user, text);
}

/* -- clusters -------------------------------------------------------------- */

static cg_err cluster(cg_model *m, cg_clusters which, cg_embedded *train,
                      const cg_train_hooks *hooks)
{
    const cg_config *c = &m->config;
    bool ranker = which == CG_CLUSTERS_RANKER;
    cg_fcm_options o = {
        .c = (size_t)(ranker ? c->class_clusters : c->fcm_clusters),
        .m = ranker ? c->class_m : c->fcm_m, .tolerance = 1e-9,
        .max_iter = 10000, .seed = seed_of(m, CLUSTER_STREAM, which)};
    size_t n = train->e->n;
    double *z = cg_xcalloc(n * m->pca.k + 1, sizeof *z);
    double *u = cg_xcalloc(n * o.c + 1, sizeof *u);
    cg_fcm *f = &m->fcm[which];
    cg_err err = cg_model_components(m, train, z);
    if (err == CG_OK)
        err = cg_fcm_fit(f, z, n, m->pca.k, &o, u);
    if (err == CG_OK) {
        char text[160];
        snprintf(text, sizeof text, "fuzzy c-means: C %zu, m %g: %zu "
                 "iterations, entropy %.3f of 1, %zu distinct centroids", o.c,
                 o.m, f->iterations, cg_fcm_entropy(u, n, o.c),
                 cg_fcm_distinct(f, 1e-3));
        note(hooks, text);
    }
    cg_xfree(u);
    cg_xfree(z);
    return err;
}

/* Principal components and clusters of the training set, where they are not
 * there yet. */
static cg_err cluster_all(cg_model *m, cg_embedded *train,
                          const cg_train_hooks *hooks)
{
    if (m->pca.k == 0)
        CG_TRY(cg_model_fit_pca(m, train));
    for (int i = 0; i < CG_CLUSTERS_NONE; i++) {
        if (m->fcm[i].c == 0)
            CG_TRY(cluster(m, (cg_clusters)i, train, hooks));
        CG_TRY(cg_model_memberships(m, train, (cg_clusters)i));
    }
    return CG_OK;
}

/* -- stages ---------------------------------------------------------------- */

static cg_err parse_members(const cg_config *c, cg_member_id *list, int *n)
{
    char name[40];
    *n = 0;
    for (const char *s = c->members; *s; s += *s == ',') {
        size_t len = strcspn(s, ",");
        snprintf(name, sizeof name, "%.*s", (int)(len < 39 ? len : 39), s);
        int id = cg_member_find(name);
        if (id < 0 || cg_member_table[id].kind == CG_KIND_COST ||
            cg_member_table[id].kind == CG_KIND_PROCESS)
            return cg_fail(CG_EUSAGE, "members: there is no member '%s' to be "
                           "trained", name);
        if (*n == CG_MEMBER_COUNT)
            return cg_fail(CG_EUSAGE, "members: too many");
        list[(*n)++] = (cg_member_id)id;
        s += len;
    }
    return CG_OK;
}

/* Without the nets that several sets are for, where there is one. */
static int leave_out(const cg_model *m, cg_member_id *list, int n)
{
    int kept = 0;
    for (int i = 0; i < n; i++)
        if (m->member[list[i]].sets != CG_NET_SEVERAL ||
            m->families.list.len > 1)
            list[kept++] = list[i];
    return kept;
}

static bool reads_embedding(const cg_member *x)
{
    return x->info->kind == CG_KIND_HEAD || x->info->kind == CG_KIND_RANKER;
}

/* Embeddings of both parts, when the first member asks for them. */
static cg_err prepare(cg_model *m, cg_embedded *train, cg_embedded *valid,
                      const cg_train_hooks *hooks)
{
    if (train->h)
        return CG_OK;
    if (!m->member[CG_MEMBER_encoder].trained)
        return cg_fail(CG_EUSAGE, "members: the encoder has to be trained "
                       "before what reads its embedding");
    CG_TRY(cg_model_complete(m, train));
    CG_TRY(cluster_all(m, train, hooks));
    return cg_model_complete(m, valid);
}

static cg_err run_stage(stage *s, int stages, int done)
{
    cg_examples e;
    cg_embedded chosen;
    const cg_embedded *all = s->train;
    cg_label_kind kind = label_kind(s->m, s->x);
    choose(s->m, s->x, all, kind == CG_LABEL_FLOPS, &e, &chosen);
    cg_err err = CG_OK;
    if (e.n < 2)
        err = cg_fail(CG_EFORMAT, "%s: %u networks to train on are too few",
                      s->x->info->line, e.n);
    if (s->hooks->stage)
        s->hooks->stage(s->hooks->user, s->index + 1, stages, s->x->info, e.n);
    cg_label_fit(&s->x->label, kind, e.n, e.accuracy, e.flops);
    s->train = &chosen;
    if (err == CG_OK)
        err = fit_member(s, done);
    s->train = all;
    s->x->trained = err == CG_OK;
    cg_embedded_free(&chosen);
    cg_examples_free(&e);
    return err;
}

/* Of the networks that are learnt from, in their order, and their labels. */
static uint64_t fingerprint(const cg_examples *e)
{
    uint64_t h = e->n;
    for (uint32_t i = 0; i < e->n; i++) {
        const cg_set_graph *g = &e->pick[i].set->graph[e->pick[i].index];
        uint64_t label;
        memcpy(&label, &e->accuracy[i], sizeof label);
        h = cg_mix64(h ^ g->hash[0]);
        h = cg_mix64(h ^ label);
    }
    return h;
}

/* What the members say of the training set, and some networks of it. */
static cg_err finish(cg_model *m, cg_embedded *train)
{
    if (!train->h)
        CG_TRY(cg_model_complete(m, train));
    CG_TRY(cg_ensemble_calibrate_on(m, train));
    cg_known_draw(&m->known, train->e, train->kin.family,
                  m->families.list.len, train->h,
                  train->h ? (size_t)train->width : 0,
                  seed_of(m, KNOWN_STREAM, 0));
    return CG_OK;
}

/* What is known of the networks before any member is: families from the
 * training part, unless `done` stages have learnt of them already, and how both
 * parts stand to them. */
static void describe(cg_model *m, const cg_split *split, int done,
                     cg_embedded *train, cg_embedded *valid)
{
    uint32_t n = split->train.n;
    double *x = cg_structures_of(&split->train);
    double *log_flops = cg_xcalloc((size_t)n + 1, sizeof *log_flops);
    for (uint32_t i = 0; i < n; i++)
        log_flops[i] = log10(split->train.flops[i] + 1);
    cg_moments(log_flops, n, &m->flops_mean, &m->flops_sd);
    if (!(m->flops_sd > 0))
        m->flops_sd = 1;
    if (done == 0)
        cg_families_fit(&m->families, &split->train, x,
                        (cg_label_kind)(m->config.label -
                                        CG_WORD_LABEL_ACCURACY));
    cg_model_describe_by(m, &split->train, x, train);
    cg_model_describe(m, &split->valid, valid);
    cg_xfree(log_flops);
    cg_xfree(x);
}

cg_err cg_train(cg_model *m, const cg_split *split, const cg_progress *from,
                const cg_train_hooks *hooks)
{
    cg_member_id list[CG_MEMBER_COUNT];
    int stages;
    cg_embedded train = {0}, valid = {0};
    CG_TRY(parse_members(&m->config, list, &stages));
    CG_TRY(cg_model_check(m, &split->train));
    uint64_t data = fingerprint(&split->train);
    if ((from->stage > 0 || from->epochs > 0) && from->data != data)
        return cg_fail(CG_EFORMAT, "the checkpoint was made from other "
                       "networks or labels than these");
    describe(m, split, from->stage, &train, &valid);
    stages = leave_out(m, list, stages);
    cg_err err = CG_OK;
    for (int i = from->stage; i < stages && err == CG_OK; i++) {
        stage s = {m, &m->member[list[i]], &train, &valid, hooks, i, data};
        if (reads_embedding(s.x))
            err = prepare(m, &train, &valid, hooks);
        if (err == CG_OK)
            err = run_stage(&s, stages, i == from->stage ? from->epochs : 0);
        cg_progress done = {i + 1, 0, data};
        if (err == CG_OK && hooks->checkpoint)
            err = hooks->checkpoint(hooks->user, &done);
    }
    if (err == CG_OK)
        err = finish(m, &train);
    cg_embedded_free(&train);
    cg_embedded_free(&valid);
    return err;
}
