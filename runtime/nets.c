/* MLP, message passing, Transformer layer.
 *
 * A GraphConv layer is relu(W1 x_v + W2 sum x_u + b). It is run the other way
 * round from how it is written: first x [W1 | W2] for the states of the round
 * before, which are fewer, then one sparse product that takes the left half of
 * a node itself and the right halves of its in-neighbours (cg_batch.message).
 */
#include "runtime/nets.h"

#include <assert.h>
#include <stdio.h>

static size_t declare(cg_params *p, const char *prefix, const char *name,
                      int rows, int cols, cg_init init, int fan)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    return cg_params_add(p, full, rows, cols, init, fan);
}

static size_t declare_k(cg_params *p, const char *prefix, int k,
                        const char *name, int rows, int cols, int fan)
{
    char numbered[64];
    snprintf(numbered, sizeof numbered, "%d.%s", k, name);
    return declare(p, prefix, numbered, rows, cols, CG_INIT_FAN_IN, fan);
}

/* -- MLP ------------------------------------------------------------------- */

void cg_mlp_declare(cg_mlp *m, cg_params *p, const char *prefix, int in,
                    int hidden, int layers, int out)
{
    assert(layers > 0 && layers <= CG_NET_LAYERS);
    m->layers = layers;
    for (int k = 0; k < layers; k++) {
        int from = k > 0 ? hidden : in, to = k < layers - 1 ? hidden : out;
        m->w[k] = declare_k(p, prefix, k, "weight", from, to, from);
        m->b[k] = declare_k(p, prefix, k, "bias", 1, to, from);
    }
}

cg_var *cg_mlp_forward(const cg_mlp *m, cg_params *p, cg_tape *t, cg_var *x)
{
    for (int k = 0; k < m->layers; k++)
        x = cg_tape_linear(t, x, cg_params_var(p, m->w[k]),
                           cg_params_var(p, m->b[k]),
                           k < m->layers - 1 ? CG_ACT_RELU : CG_ACT_NONE);
    return x;
}

/* -- message passing ------------------------------------------------------- */

static void declare_norm(cg_params *p, const char *prefix, int k, int width,
                         size_t *gamma, size_t *beta)
{
    char name[64];
    snprintf(name, sizeof name, "%d.norm.weight", k);
    *gamma = declare(p, prefix, name, 1, width, CG_INIT_ONE, 0);
    snprintf(name, sizeof name, "%d.norm.bias", k);
    *beta = declare(p, prefix, name, 1, width, CG_INIT_ZERO, 0);
}

void cg_gnn_declare(cg_gnn *g, cg_params *p, const char *prefix,
                    cg_message message, int in, int width, int layers,
                    bool residual, bool norm)
{
    assert(layers > 0 && layers <= CG_NET_LAYERS);
    *g = (cg_gnn){.message = message, .layers = layers,
                  .residual = residual, .norm = norm};
    for (int k = 0; k < layers; k++) {
        int from = k > 0 ? width : in;
        int to = message == CG_MESSAGE_GRAPHCONV ? 2 * width : width;
        g->w[k] = declare_k(p, prefix, k, "weight", from, to, from);
        g->b[k] = declare_k(p, prefix, k, "bias", 1, width, from);
        if (norm)
            declare_norm(p, prefix, k, width, &g->norm_g[k], &g->norm_b[k]);
        if (message != CG_MESSAGE_GIN)
            continue;
        g->w2[k] = declare_k(p, prefix, k, "weight2", width, width, width);
        g->b2[k] = declare_k(p, prefix, k, "bias2", 1, width, width);
    }
}

static cg_var *graphconv(cg_tape *t, const cg_csr *s, cg_var *x, cg_var *w,
                         cg_var *b)
{
    cg_var *z = cg_tape_linear(t, x, w, NULL, CG_ACT_NONE);
    z = cg_tape_reshape(t, z, 2 * z->rows, z->cols / 2);
    return cg_tape_propagate(t, s, z, b, CG_ACT_RELU);
}

static cg_var *gcn(cg_tape *t, const cg_csr *s, cg_var *x, cg_var *w,
                   cg_var *b)
{
    cg_var *z = cg_tape_linear(t, x, w, NULL, CG_ACT_NONE);
    return cg_tape_propagate(t, s, z, b, CG_ACT_RELU);
}

cg_var *cg_gnn_forward(const cg_gnn *g, cg_params *p, cg_tape *t,
                       const cg_batch *batch, cg_var *x)
{
    assert(batch->rounds == g->layers);
    for (int k = 0; k < g->layers; k++) {
        const cg_csr *s = &batch->message[k];
        cg_var *before = x;
        cg_var *w = cg_params_var(p, g->w[k]), *b = cg_params_var(p, g->b[k]);
        if (g->message == CG_MESSAGE_GRAPHCONV) {
            x = graphconv(t, s, x, w, b);
        } else if (g->message == CG_MESSAGE_GCN) {
            x = gcn(t, s, x, w, b);
        } else {
            x = cg_tape_propagate(t, s, x, NULL, CG_ACT_NONE);
            x = cg_tape_linear(t, x, w, b, CG_ACT_RELU);
            x = cg_tape_linear(t, x, cg_params_var(p, g->w2[k]),
                               cg_params_var(p, g->b2[k]), CG_ACT_RELU);
        }
        if (g->residual && before->cols == x->cols)
            x = cg_tape_add(t, x, cg_tape_propagate(t, &batch->self[k], before,
                                                    NULL, CG_ACT_NONE));
        if (g->norm)
            x = cg_tape_layernorm(t, x, cg_params_var(p, g->norm_g[k]),
                                  cg_params_var(p, g->norm_b[k]));
    }
    return cg_tape_propagate(t, &batch->pool, x, NULL, CG_ACT_NONE);
}

/* -- Transformer layer ----------------------------------------------------- */

void cg_transformer_declare(cg_transformer *f, cg_params *p,
                            const char *prefix, int in, int width, int heads,
                            int ffn, float dropout)
{
    const cg_init fan = CG_INIT_FAN_IN, zero = CG_INIT_ZERO,
                  one = CG_INIT_ONE;
    assert(width % heads == 0);
    f->heads = heads;
    f->dropout = dropout;
    f->up_w = declare(p, prefix, "up.weight", in, width, fan, in);
    f->up_b = declare(p, prefix, "up.bias", 1, width, fan, in);
    f->qkv_w = declare(p, prefix, "qkv.weight", width, 3 * width, fan, width);
    f->qkv_b = declare(p, prefix, "qkv.bias", 1, 3 * width, zero, 0);
    f->out_w = declare(p, prefix, "out.weight", width, width, fan, width);
    f->out_b = declare(p, prefix, "out.bias", 1, width, zero, 0);
    f->norm1_g = declare(p, prefix, "norm1.weight", 1, width, one, 0);
    f->norm1_b = declare(p, prefix, "norm1.bias", 1, width, zero, 0);
    f->ff1_w = declare(p, prefix, "ff1.weight", width, ffn, fan, width);
    f->ff1_b = declare(p, prefix, "ff1.bias", 1, ffn, fan, width);
    f->ff2_w = declare(p, prefix, "ff2.weight", ffn, width, fan, ffn);
    f->ff2_b = declare(p, prefix, "ff2.bias", 1, width, fan, ffn);
    f->norm2_g = declare(p, prefix, "norm2.weight", 1, width, one, 0);
    f->norm2_b = declare(p, prefix, "norm2.bias", 1, width, zero, 0);
}

cg_var *cg_transformer_forward(const cg_transformer *f, cg_params *p,
                               cg_tape *t, const cg_batch *b, cg_var *x)
{
#define V(name) cg_params_var(p, f->name)
    const cg_csr *row = &b->token_row;
    /* up to here a row is a token of the batch, from here of one graph */
    x = cg_tape_linear(t, x, V(up_w), V(up_b), CG_ACT_NONE);
    cg_var *qkv = cg_tape_linear(t, x, V(qkv_w), V(qkv_b), CG_ACT_NONE);
    cg_var *y = cg_tape_attention(t, &b->groups, row, qkv, f->heads,
                                  f->dropout);
    y = cg_tape_linear(t, y, V(out_w), V(out_b), CG_ACT_NONE);
    y = cg_tape_dropout(t, y, f->dropout);
    x = cg_tape_propagate(t, row, x, NULL, CG_ACT_NONE);
    x = cg_tape_layernorm(t, cg_tape_add(t, x, y), V(norm1_g), V(norm1_b));
    y = cg_tape_linear(t, x, V(ff1_w), V(ff1_b), CG_ACT_RELU);
    y = cg_tape_dropout(t, y, f->dropout);
    y = cg_tape_linear(t, y, V(ff2_w), V(ff2_b), CG_ACT_NONE);
    y = cg_tape_dropout(t, y, f->dropout);
    x = cg_tape_layernorm(t, cg_tape_add(t, x, y), V(norm2_g), V(norm2_b));
    return cg_tape_propagate(t, &b->token_pool, x, NULL, CG_ACT_NONE);
#undef V
}
