/* Members that see graphs: GNN regressors, and the contrastive encoder.
 *
 * The encoder's step shows every graph twice under different dropout. Message
 * passing has no dropout, so its half of the embedding is computed once for
 * both views; in the Transformer half a mask belongs to a token of a graph
 * (docs/learner.md). */
#include <math.h>
#include <string.h>

#include "runtime/members.h"

static cg_batch_opts batch_opts(const cg_model *m, const cg_member *x,
                                int copies, bool train)
{
    return (cg_batch_opts){.message = x->info->message,
                           .rounds = x->gnn.layers, .copies = copies,
                           .residual = x->gnn.residual,
                           .back = train && m->dev->wants_back,
                           .plain = !m->config.share};
}

void cg_model_ahead(cg_model *m, cg_member *x, const cg_pick *pick, uint32_t n,
                    int size, int copies, bool train)
{
    cg_batch_opts o = batch_opts(m, x, copies, train);
    cg_batch_ahead(m->batcher, m->dev, pick, n, size, &o);
}

void cg_member_ahead(cg_model *m, cg_member *x, const cg_embedded *d,
                     const uint32_t *idx, uint32_t n, int size)
{
    int threads = cg_dev_threads(m->dev);
    uint32_t most = (uint32_t)(threads * size);
    int copies = x->info->kind == CG_KIND_ENCODER ? 2 : 0;
    if (threads < 2 || !cg_member_sees_graphs(x))
        return;
    cg_examples e = cg_examples_pick(d->e, idx, n < most ? n : most);
    cg_model_ahead(m, x, e.pick, e.n, size, copies, true);
    cg_examples_free(&e);
}

cg_var *cg_model_batch(cg_model *m, cg_member *x, cg_tape *t,
                       const cg_pick *pick, int n, int copies)
{
    cg_batch *batch = &m->batch;
    cg_batch_opts o = batch_opts(m, x, copies, t->train);
    cg_batch_make(m->batcher, pick, n, &o, batch);
    int width = m->inputs.width, states = batch->n_states[0];
    float *rows = cg_batch_inputs(m->batcher, batch, width);
    for (int k = 0; k < states; k++)
        cg_inputs_fill(&m->inputs, &x->inputs, batch->token[k],
                       rows + (size_t)k * (size_t)width);
    cg_batch_upload(m->batcher, m->dev, batch);
    cg_var *in = cg_tape_input(t, batch->inputs, states, width);
    return cg_tape_linear(t, in, cg_params_var(&x->params, x->embed), NULL,
                          CG_ACT_NONE);
}

/* -- regressors ------------------------------------------------------------ */

void cg_graph_declare(cg_model *m, cg_member *x)
{
    const cg_config *c = &m->config;
    cg_params *p = &x->params;
    x->embed = cg_params_add(p, "embed.weight", m->inputs.width,
                             c->embed_width, CG_INIT_FAN_IN, c->embed_width);
    cg_gnn_declare(&x->gnn, p, "gnn", x->info->message, c->embed_width,
                   c->gnn_width, c->gnn_layers, c->residual, c->norm);
    cg_mlp_declare(&x->head, p, "head", c->gnn_width + x->beside.n,
                   c->regressor_width, c->regressor_layers, 1);
}

/* The mean over the nodes of networks idx[0 .. n), or first .. first + n
 * without idx. */
static cg_var *look(cg_model *m, cg_member *x, const cg_embedded *d,
                    cg_tape *t, const uint32_t *idx, uint32_t first, int n)
{
    cg_examples e = {.pick = d->e->pick + first};
    if (idx)
        e = cg_examples_pick(d->e, idx, (uint32_t)n);
    else
        cg_model_ahead(m, x, e.pick, d->e->n - first, n, 0, false);
    cg_var *h = cg_model_batch(m, x, t, e.pick, n, 0);
    if (idx)
        cg_examples_free(&e);
    return cg_gnn_forward(&x->gnn, &x->params, t, &m->batch, h);
}

/* The label from h, beside the structure of the same networks. */
static cg_var *conclude(cg_model *m, cg_member *x, const cg_embedded *d,
                        cg_tape *t, const uint32_t *idx, uint32_t first, int n,
                        cg_var *h)
{
    const cg_structures *s = &x->beside;
    size_t w = (size_t)s->n;
    float *rows = cg_xcalloc((size_t)n * w + 1, sizeof *rows);
    for (int i = 0; i < n; i++) {
        size_t at = idx ? idx[i] : first + (uint32_t)i;
        for (size_t k = 0; k < w; k++)
            rows[(size_t)i * w + k] = d->s[at * CG_STRUCTURE_COUNT +
                                           (size_t)s->k[k]];
    }
    if (w > 0) {
        float *dev = cg_model_upload(m, rows, (size_t)n * w);
        h = cg_tape_concat(t, h, cg_tape_input(t, dev, n, (int)w));
    }
    cg_xfree(rows);
    return cg_mlp_forward(&x->head, &x->params, t, h);
}

void cg_graph_forward(cg_model *m, cg_member *x, const cg_embedded *d,
                      cg_tape *t, const uint32_t *idx, int n)
{
    cg_var *h = look(m, x, d, t, idx, 0, n);
    cg_var *y = conclude(m, x, d, t, idx, 0, n, h);
    cg_member_loss(m, x, t, y, d, idx, n);
}

static cg_var *regress_some(cg_model *m, cg_member *x, const cg_embedded *d,
                            cg_tape *t, uint32_t first, int n)
{
    cg_var *h = look(m, x, d, t, NULL, first, n);
    return conclude(m, x, d, t, NULL, first, n, h);
}

cg_err cg_graph_scores(cg_model *m, cg_member *x, const cg_embedded *d,
                       double *score)
{
    return cg_regressor_scores(m, x, d, regress_some, score);
}

/* -- nets: regressors whose states are the embedding ------------------------ */

void cg_net_declare(cg_model *m, cg_member *x)
{
    cg_graph_declare(m, x);
}

void cg_net_forward(cg_model *m, cg_member *x, const cg_embedded *d,
                    cg_tape *t, const uint32_t *idx, int n)
{
    cg_graph_forward(m, x, d, t, idx, n);
}

static cg_var *look_some(cg_model *m, cg_member *x, const cg_embedded *d,
                         cg_tape *t, uint32_t first, int n)
{
    return look(m, x, d, t, NULL, first, n);
}

cg_err cg_net_embed(cg_model *m, cg_member *x, const cg_embedded *d, int first)
{
    size_t w = (size_t)m->config.gnn_width, width = (size_t)d->width;
    float *h = cg_xcalloc((size_t)d->e->n * w + 1, sizeof *h);
    cg_err err = cg_model_run(m, x, d, look_some, w, h);
    for (size_t i = 0; i < d->e->n; i++)
        memcpy(d->h + i * width + (size_t)first, h + i * w, w * sizeof *h);
    cg_xfree(h);
    return err;
}

/* From the state that is in d already. */
static cg_var *conclude_some(cg_model *m, cg_member *x, const cg_embedded *d,
                             cg_tape *t, uint32_t first, int n)
{
    size_t w = (size_t)m->config.gnn_width, width = (size_t)d->width, at = 0;
    for (int i = 0; &m->member[i] < x; i++)
        at += cg_model_has_net(m, i) ? w : 0;
    float *h = cg_xcalloc((size_t)n * w + 1, sizeof *h);
    for (size_t i = 0; i < (size_t)n; i++)
        memcpy(h + i * w, d->h + (first + i) * width + at, w * sizeof *h);
    float *dev = cg_model_upload(m, h, (size_t)n * w);
    cg_xfree(h);
    return conclude(m, x, d, t, NULL, first, n,
                    cg_tape_input(t, dev, n, (int)w));
}

cg_err cg_net_scores(cg_model *m, cg_member *x, const cg_embedded *d,
                     double *score)
{
    return cg_regressor_scores(m, x, d, d->nets > 0 ? conclude_some
                                                    : regress_some, score);
}

/* -- encoder --------------------------------------------------------------- */

void cg_encoder_declare(cg_model *m, cg_member *x)
{
    const cg_config *c = &m->config;
    cg_params *p = &x->params;
    int width = 2 * c->cl_width;
    x->embed = cg_params_add(p, "embed.weight", m->inputs.width,
                             c->embed_width, CG_INIT_FAN_IN, c->embed_width);
    cg_gnn_declare(&x->gnn, p, "gnn", x->info->message, c->embed_width,
                   c->cl_width, c->cl_layers, false, false);
    cg_transformer_declare(&x->transformer, p, "transformer", c->embed_width,
                           c->cl_width, c->heads, c->ffn, (float)c->dropout);
    cg_mlp_declare(&x->project, p, "project", width, width, 2,
                   c->project_width);
    cg_mlp_declare(&x->cost, p, "cost", width, c->cl_width, 2, 1);
}

/* (graphs * copies, 2 cl_width): message passing | Transformer. */
static cg_var *encode(cg_member *x, cg_tape *t, const cg_batch *batch,
                      cg_var *in)
{
    cg_params *p = &x->params;
    cg_var *g = cg_gnn_forward(&x->gnn, p, t, batch, in);
    cg_var *f = cg_transformer_forward(&x->transformer, p, t, batch, in);
    return cg_tape_concat(t, g, f);
}

typedef struct likeness {
    const cg_examples *e;
    double scale;
    float *alpha; /* (2n, 2n) */
} likeness;

/* Rows of a share: the first and the last, the second and the last but one,
 * and so on. */
enum { SHARE = 8 };

/* The upper half of a row, and with it a column, of exp(-distance scale). */
static void compare_row(const likeness *j, size_t i)
{
    const size_t n = j->e->n;
    for (size_t k = i; k < n; k++) {
        double a = exp(-j->scale * cg_spectral_distance(j->e->pick[i],
                                                        j->e->pick[k]));
        j->alpha[i * 2 * n + k] = j->alpha[k * 2 * n + i] = (float)a;
    }
}

static void compare_rows(void *job, uint32_t share)
{
    const likeness *j = job;
    const uint32_t n = j->e->n;
    for (uint32_t i = share * SHARE / 2; i < (share + 1) * SHARE / 2; i++) {
        if (2 * i < n)
            compare_row(j, i);
        if (2 * i + 1 < n)
            compare_row(j, n - 1 - i);
    }
}

/* A row as a distribution, for both views. */
static void normalise_rows(void *job, uint32_t share)
{
    const likeness *j = job;
    const size_t n = j->e->n, last = (share + 1) * SHARE;
    for (size_t i = share * SHARE; i < n && i < last; i++) {
        double sum = 0;
        float *row = j->alpha + i * 2 * n, *other = row + 2 * n * n;
        for (size_t k = 0; k < n; k++)
            sum += (k == i ? 1 : 2) * (double)row[k];
        for (size_t k = 0; k < n; k++)
            row[k] = row[n + k] = (float)(row[k] / sum);
        memcpy(other, row, 2 * n * sizeof *row);
        row[i] = other[n + i] = 0; /* not with itself */
    }
}

/* alpha (2n, 2n): softmax over l != i of minus the distance of spectra over
 * the temperature; the two views of a graph are at distance 0. */
static float *similarity(const cg_model *m, const cg_examples *e, float *alpha)
{
    likeness j = {e, 1 / m->config.alpha_temperature, alpha};
    uint32_t shares = (e->n + SHARE - 1) / SHARE;
    cg_dev_share(m->dev, shares, compare_rows, &j);
    cg_dev_share(m->dev, shares, normalise_rows, &j);
    return alpha;
}

void cg_encoder_forward(cg_model *m, cg_member *x, const cg_embedded *d,
                        cg_tape *t, const uint32_t *idx, int n)
{
    const cg_config *c = &m->config;
    cg_examples e = cg_examples_pick(d->e, idx, (uint32_t)n);
    size_t views = 2 * (size_t)n;
    cg_var *h = cg_model_batch(m, x, t, e.pick, n, 2);
    h = encode(x, t, &m->batch, h);
    cg_var *z = cg_mlp_forward(&x->project, &x->params, t, h);
    z = cg_tape_l2norm(t, z);
    float *host = cg_xcalloc(views * views + 1, sizeof *host);
    float *alpha = cg_model_upload(m, similarity(m, &e, host), views * views);
    cg_tape_contrast(t, z, alpha, (float)c->tau, 1);
    for (size_t i = 0; i < views; i++)
        host[i] = (float)cg_flops_score(m, e.flops[i % (size_t)n]);
    float *cost = cg_model_upload(m, host, views);
    cg_var *y = cg_mlp_forward(&x->cost, &x->params, t, h);
    if (c->flops_weight > 0)
        cg_tape_mse(t, y, cost, (float)c->flops_weight);
    cg_xfree(host);
    cg_examples_free(&e);
}

static cg_var *embed_some(cg_model *m, cg_member *x, const cg_embedded *d,
                          cg_tape *t, uint32_t first, int n)
{
    const cg_pick *pick = d->e->pick + first;
    cg_model_ahead(m, x, pick, d->e->n - first, n, 1, false);
    cg_var *in = cg_model_batch(m, x, t, pick, n, 1);
    return encode(x, t, &m->batch, in);
}

cg_err cg_encoder_embed(cg_model *m, cg_member *x, const cg_embedded *d)
{
    return cg_model_run(m, x, d, embed_some, (size_t)d->width, d->h);
}

/* It has an opinion on likeness only. */
cg_err cg_encoder_scores(cg_model *m, cg_member *x, const cg_embedded *d,
                         double *score)
{
    (void)m;
    (void)x;
    for (uint32_t i = 0; i < d->e->n; i++)
        score[i] = NAN;
    return CG_OK;
}
