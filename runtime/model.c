/* Members put together: declared from a table, embedded once for all of them.
 */
#include "runtime/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "runtime/members.h"

enum { PARAM_STREAM = 4 };

const cg_member_info cg_member_table[CG_MEMBER_COUNT] = {
#define CG_MEMBER(id, kind, message, clusters, label, line) \
    {#id, line, CG_KIND_##kind, CG_MESSAGE_##message, CG_CLUSTERS_##clusters, \
     CG_LABEL_IS_##label},
#include "runtime/members.def"
#undef CG_MEMBER
};

int cg_member_find(const char *name)
{
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        if (strcmp(cg_member_table[i].name, name) == 0)
            return i;
    return -1;
}

static const struct kind {
    void (*declare)(cg_model *m, cg_member *x);
    void (*forward)(cg_model *m, cg_member *x, const cg_embedded *d,
                    cg_tape *t, const uint32_t *idx, int n);
    cg_err (*scores)(cg_model *m, cg_member *x, const cg_embedded *d,
                     double *score);
} kinds[] = {
#define KIND(name) {cg_##name##_declare, cg_##name##_forward, \
                    cg_##name##_scores}
    [CG_KIND_GRAPH] = KIND(graph), [CG_KIND_NET] = KIND(net),
    [CG_KIND_ENCODER] = KIND(encoder),
    [CG_KIND_HEAD] = KIND(head),   [CG_KIND_RANKER] = KIND(ranker),
    [CG_KIND_LINEAR] = KIND(linear), [CG_KIND_PROCESS] = KIND(process),
    [CG_KIND_COST] = KIND(cost),
#undef KIND
};

/* Part k of "a|b|c", from the first again behind the last. */
static void part_of(const char *list, int k, char *part, size_t size)
{
    int parts = 1;
    for (const char *s = list; *s; s++)
        parts += *s == '|';
    for (k %= parts; k > 0; list++)
        k -= *list == '|';
    snprintf(part, size, "%.*s", (int)strcspn(list, "|"), list);
}

static cg_err parse_sets(const char *word, cg_net_sets *sets)
{
    static const char *const words[] = {"all", "largest", "several"};
    for (int k = 0; k < CG_NET_SETS; k++)
        if (strcmp(word, words[k]) == 0) {
            *sets = (cg_net_sets)k;
            return CG_OK;
        }
    return cg_fail(CG_EUSAGE, "net_sets: '%.40s' is neither all nor largest "
                   "nor several", word);
}

/* Nets look at networks in different ways, in turn: those that err together
 * say less together. */
static cg_err choose_view(cg_model *m, cg_member *x, int k)
{
    char part[CG_CONFIG_TEXT_MAX];
    part_of(m->config.inputs, k, part, sizeof part);
    CG_TRY(cg_inputs_parse(&x->inputs, part));
    part_of(m->config.net_sets, k, part, sizeof part);
    CG_TRY(parse_sets(part, &x->sets));
    if (x->info->kind != CG_KIND_NET)
        x->sets = CG_NET_ALL;
    part_of(m->config.structure, k, part, sizeof part);
    return cg_structures_parse(&x->beside, part);
}

cg_err cg_model_new(cg_model **out, cg_dev *dev, const cg_config *config)
{
    cg_model *m = cg_xcalloc(1, sizeof *m);
    m->dev = dev;
    m->config = *config;
    m->batcher = cg_batcher_new();
    m->at_once = CG_PREDICT_BATCH;
    m->flops_sd = 1;
    cg_err err = cg_inputs_parse(&m->inputs, config->inputs);
    if (err == CG_OK)
        err = cg_structures_parse(&m->ridge, config->ridge);
    if (err == CG_OK && config->cl_width % config->heads != 0)
        err = cg_fail(CG_EUSAGE, "cl_width = %d is not a multiple of heads = "
                      "%d", config->cl_width, config->heads);
    for (int i = 0, nets = 0; i < CG_MEMBER_COUNT && err == CG_OK; i++) {
        cg_member *x = &m->member[i];
        x->info = &cg_member_table[i];
        x->said_mean = x->said_sd = NAN;
        cg_params_init(&x->params, dev);
        nets += x->info->kind == CG_KIND_NET;
        err = choose_view(m, x, x->info->kind == CG_KIND_NET ? nets - 1 : 0);
        kinds[x->info->kind].declare(m, x);
    }
    if (err != CG_OK) {
        cg_model_free(m);
        return err;
    }
    *out = m;
    return CG_OK;
}

cg_err cg_member_alloc(cg_model *m, cg_member *x)
{
    uint64_t k = (uint64_t)(x->info - cg_member_table);
    cg_rng r = cg_rng_make((uint64_t)m->config.seed,
                           (uint64_t)PARAM_STREAM << 48 | k);
    return x->params.x ? cg_params_learn(&x->params)
                       : cg_params_alloc(&x->params, cg_rng_next(&r));
}

void cg_model_free(cg_model *m)
{
    if (!m)
        return;
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        cg_params_free(&m->member[i].params);
    cg_batcher_free(m->batcher);
    cg_tape_free(&m->tape);
    cg_families_free(&m->families);
    cg_known_free(&m->known);
    cg_process_free(&m->process);
    cg_pca_free(&m->pca);
    for (int i = 0; i < CG_CLUSTERS_NONE; i++)
        cg_fcm_free(&m->fcm[i]);
    cg_xfree(m);
}

float *cg_model_upload(cg_model *m, const float *x, size_t n)
{
    float *dev = cg_dev_work(m->dev, (n + 1) * sizeof *dev);
    cg_dev_upload(m->dev, dev, x, n * sizeof *dev);
    return dev;
}

/* -- what members share ---------------------------------------------------- */

double cg_spectral_distance(cg_pick a, cg_pick b)
{
    const double *x = a.set->spectrum +
        (size_t)a.set->graph[a.index].topology * CG_SPECTRUM_LEN;
    const double *y = b.set->spectrum +
        (size_t)b.set->graph[b.index].topology * CG_SPECTRUM_LEN;
    double sum = 0;
    for (int k = 0; k < CG_SPECTRUM_LEN; k++)
        sum += (x[k] - y[k]) * (x[k] - y[k]);
    return sqrt(sum);
}

/* Of its family, but Eq. 5 has one for all, and who was tuned its samples'. */
static const cg_label *label_of(const cg_model *m, const cg_member *x,
                                const cg_embedded *d, uint32_t i)
{
    return x->label.kind == CG_LABEL_FLOPS || m->families.list.len == 0 ||
           x->info->kind == CG_KIND_PROCESS
               ? &x->label : &m->families.list.data[d->kin.family[i]].label;
}

double cg_member_label(const cg_model *m, const cg_member *x,
                       const cg_embedded *d, uint32_t i)
{
    return cg_label_of(label_of(m, x, d, i), d->e->accuracy[i],
                       d->e->flops[i]);
}

void cg_member_loss(cg_model *m, cg_member *x, cg_tape *t, cg_var *y,
                    const cg_embedded *d, const uint32_t *idx, int n)
{
    const cg_config *c = &m->config;
    float *label = cg_xcalloc((size_t)n + 1, sizeof *label);
    for (int i = 0; i < n; i++)
        label[i] = (float)cg_member_label(m, x, d, idx[i]);
    float *target = cg_model_upload(m, label, (size_t)n);
    cg_xfree(label);
    if (c->loss == CG_WORD_LOSS_HUBER)
        cg_tape_huber(t, y, target, (float)c->huber_delta, 1);
    else
        cg_tape_mse(t, y, target, 1);
}

void cg_member_forward(cg_model *m, cg_member *x, const cg_embedded *d,
                       cg_tape *t, const uint32_t *idx, int n)
{
    kinds[x->info->kind].forward(m, x, d, t, idx, n);
}

cg_err cg_model_run(cg_model *m, cg_member *x, const cg_embedded *d,
                    cg_member_run *forward, size_t cols, float *out)
{
    for (uint32_t i = 0; i < d->e->n;) {
        uint32_t left = d->e->n - i, most = (uint32_t)m->at_once;
        int n = (int)(left < most ? left : most);
        cg_tape_begin(&m->tape, m->dev, false, 0);
        cg_var *y = forward(m, x, d, &m->tape, i, n);
        cg_dev_download(m->dev, out + i * cols, y->x,
                        (size_t)n * cols * sizeof *out);
        cg_err err = m->dev->failed ? cg_dev_sync(m->dev) : CG_OK;
        if (err == CG_ELIMIT && n > 1) {
            while (m->at_once >= n) /* halves of what does not fit */
                m->at_once /= 2;
            continue;
        }
        CG_TRY(err);
        i += (uint32_t)n;
    }
    return cg_dev_sync(m->dev);
}

/* -- embedding ------------------------------------------------------------- */

double cg_flops_score(const cg_model *m, double flops)
{
    return (log10(flops + 1) - m->flops_mean) / m->flops_sd;
}

/* (n, width + 1): [h, standardised log10 FLOPs]; heap. */
static float *with_flops(const cg_model *m, const cg_embedded *d)
{
    size_t n = d->e->n, w = (size_t)d->width + 1;
    float *x = cg_xcalloc(n * w + 1, sizeof *x);
    for (size_t i = 0; i < n; i++) {
        memcpy(x + i * w, d->h + i * (w - 1), (w - 1) * sizeof *x);
        x[i * w + w - 1] = (float)cg_flops_score(m, d->e->flops[i]);
    }
    return x;
}

cg_err cg_model_fit_pca(cg_model *m, const cg_embedded *d)
{
    size_t w = (size_t)d->width + 1, k = (size_t)m->config.pca;
    float *x = with_flops(m, d);
    cg_err err = cg_pca_fit_float(&m->pca, x, d->e->n, w, k < w ? k : w);
    cg_xfree(x);
    return err;
}

cg_err cg_model_components(const cg_model *m, const cg_embedded *d, double *z)
{
    float *x = with_flops(m, d);
    cg_err err = cg_pca_apply_float(&m->pca, x, d->e->n, false, z);
    cg_xfree(x);
    return err;
}

cg_err cg_model_memberships(cg_model *m, cg_embedded *d, cg_clusters which)
{
    const cg_fcm *f = &m->fcm[which];
    size_t n = d->e->n;
    double *z = cg_xcalloc(n * m->pca.k + 1, sizeof *z);
    double *u = cg_xcalloc(n * f->c + 1, sizeof *u);
    cg_err err = cg_model_components(m, d, z);
    if (err == CG_OK)
        err = cg_fcm_memberships(f, z, n, u);
    cg_xfree(d->u[which]);
    d->clusters[which] = f->c;
    d->u[which] = cg_xcalloc(n * f->c + 1, sizeof(float));
    for (size_t i = 0; i < n * f->c && err == CG_OK; i++)
        d->u[which][i] = (float)u[i];
    cg_xfree(u);
    cg_xfree(z);
    return err;
}

cg_err cg_model_check(const cg_model *m, const cg_examples *e)
{
    bool fused = m->config.form == CG_WORD_FORM_FUSED;
    for (uint32_t i = 0; i < e->n; i++)
        if ((e->pick[i].set->form == CG_FORM_FUSED) != fused)
            return cg_fail(CG_EFORMAT, "%s was packed in form %s, the model "
                           "wants %s", e->pick[i].set->path,
                           cg_form_name(e->pick[i].set->form),
                           cg_word_name(m->config.form));
    return CG_OK;
}

void cg_model_describe_by(const cg_model *m, const cg_examples *e, double *x,
                          cg_embedded *d)
{
    size_t size = (size_t)e->n * CG_STRUCTURE_COUNT;
    *d = (cg_embedded){.e = e, .width = 2 * m->config.cl_width};
    d->s = cg_xcalloc(size + 1, sizeof *d->s);
    cg_families_place(&m->families, e, x, &d->kin);
    for (size_t i = 0; i < size; i++)
        d->s[i] = (float)x[i];
}

void cg_model_describe(const cg_model *m, const cg_examples *e, cg_embedded *d)
{
    double *x = cg_structures_of(e);
    cg_model_describe_by(m, e, x, d);
    cg_xfree(x);
}

bool cg_model_has_net(const cg_model *m, int id)
{
    return cg_member_table[id].kind == CG_KIND_NET && m->member[id].trained;
}

bool cg_member_learns(const cg_model *m, const cg_member *x, uint32_t family)
{
    return x->sets != CG_NET_LARGEST ||
           family == cg_families_largest(&m->families);
}

int cg_model_nets(const cg_model *m)
{
    int n = 0;
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        n += cg_model_has_net(m, i);
    return n;
}

/* The states of the nets, of a model without an encoder. */
static cg_err embed_by_nets(cg_model *m, cg_embedded *d)
{
    int width = m->config.gnn_width, first = 0;
    cg_err err = CG_OK;
    d->nets = cg_model_nets(m);
    d->width = d->nets * width;
    if (d->nets == 0)
        return CG_OK;
    d->h = cg_xcalloc((size_t)d->e->n * (size_t)d->width + 1, sizeof *d->h);
    for (int i = 0; i < CG_MEMBER_COUNT && err == CG_OK; i++) {
        if (!cg_model_has_net(m, i))
            continue;
        err = cg_net_embed(m, &m->member[i], d, first);
        first += width;
    }
    if (err != CG_OK)
        cg_embedded_free(d);
    return err;
}

cg_err cg_model_embed(cg_model *m, const cg_examples *e, cg_embedded *d)
{
    *d = (cg_embedded){0};
    CG_TRY(cg_model_check(m, e));
    cg_model_describe(m, e, d);
    return cg_model_complete(m, d);
}

cg_err cg_model_complete(cg_model *m, cg_embedded *d)
{
    cg_member *x = &m->member[CG_MEMBER_encoder];
    if (!x->trained)
        return embed_by_nets(m, d);
    d->h = cg_xcalloc((size_t)d->e->n * (size_t)d->width + 1, sizeof *d->h);
    cg_err err = cg_encoder_embed(m, x, d);
    for (int i = 0; i < CG_CLUSTERS_NONE && err == CG_OK; i++)
        if (m->fcm[i].c > 0)
            err = cg_model_memberships(m, d, (cg_clusters)i);
    if (err != CG_OK)
        cg_embedded_free(d);
    return err;
}

/* Rows index[0 .. n) of x, `bytes` each; NULL of NULL. */
static void *pick_rows(const void *x, const uint32_t *index, uint32_t n,
                       size_t bytes)
{
    unsigned char *to = x ? cg_xcalloc((size_t)n + 1, bytes + 1) : NULL;
    for (uint32_t i = 0; i < n && x; i++)
        memcpy(to + i * bytes, (const unsigned char *)x + index[i] * bytes,
               bytes);
    return to;
}

void cg_embedded_pick(const cg_embedded *d, const uint32_t *index, uint32_t n,
                      cg_examples *e, cg_embedded *out)
{
    *e = cg_examples_pick(d->e, index, n);
    *out = (cg_embedded){
        .e = e, .width = d->width, .nets = d->nets,
        .s = pick_rows(d->s, index, n, CG_STRUCTURE_COUNT * sizeof *d->s),
        .kin = {pick_rows(d->kin.family, index, n, sizeof(uint32_t)),
                pick_rows(d->kin.distance, index, n, sizeof(double)),
                pick_rows(d->kin.strange, index, n, sizeof(double)),
                pick_rows(d->kin.near, index, n, sizeof(double))},
        .h = pick_rows(d->h, index, n, (size_t)d->width * sizeof *d->h)};
    for (int k = 0; k < CG_CLUSTERS_NONE; k++) {
        out->clusters[k] = d->clusters[k];
        out->u[k] = pick_rows(d->u[k], index, n,
                              d->clusters[k] * sizeof *d->u[k]);
    }
}

void cg_embedded_free(cg_embedded *d)
{
    cg_xfree(d->s);
    cg_kinship_free(&d->kin);
    cg_xfree(d->h);
    for (int i = 0; i < CG_CLUSTERS_NONE; i++)
        cg_xfree(d->u[i]);
    *d = (cg_embedded){0};
}

/* -- scores ---------------------------------------------------------------- */

bool cg_member_sees_graphs(const cg_member *x)
{
    return x->info->kind == CG_KIND_GRAPH || x->info->kind == CG_KIND_NET ||
           x->info->kind == CG_KIND_ENCODER;
}

bool cg_member_regresses(const cg_member *x)
{
    cg_member_kind k = x->info->kind;
    return cg_member_sees_graphs(x) ? k != CG_KIND_ENCODER
                                    : k == CG_KIND_HEAD ||
                                      k == CG_KIND_LINEAR ||
                                      k == CG_KIND_PROCESS;
}

cg_err cg_regressor_scores(cg_model *m, cg_member *x, const cg_embedded *d,
                           cg_member_run *forward, double *score)
{
    float *y = cg_xcalloc((size_t)d->e->n + 1, sizeof *y);
    bool by_flops = x->label.kind == CG_LABEL_FLOPS;
    cg_err err = cg_model_run(m, x, d, forward, 1, y);
    for (uint32_t i = 0; i < d->e->n && err == CG_OK; i++)
        score[i] = by_flops
            ? cg_label_accuracy(&x->label, y[i], d->e->flops[i]) : y[i];
    cg_xfree(y);
    return err;
}

cg_err cg_model_scores(cg_model *m, cg_member_id id, const cg_embedded *d,
                       double *score)
{
    cg_member *x = &m->member[id];
    return kinds[x->info->kind].scores(m, x, d, score);
}

void cg_model_accuracy(const cg_model *m, cg_member_id id,
                       const cg_embedded *d, const double *score,
                       double *accuracy)
{
    const cg_member *x = &m->member[id];
    bool regressor = cg_member_regresses(x);
    for (uint32_t i = 0; i < d->e->n; i++) {
        double a = x->label.kind == CG_LABEL_FLOPS ? score[i]
            : cg_label_accuracy(label_of(m, x, d, i), score[i],
                                d->e->flops[i]);
        accuracy[i] = regressor ? fmin(100, fmax(0, a)) : NAN;
    }
}
