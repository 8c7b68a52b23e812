/* Pass hwc: which axis of each tensor is the channel.
 *
 * Assuming axis 1 is wrong for half of the networks: TensorFlow's are NHWC,
 * tokens are (N, L, C), and exporters permute at will. Operators that know
 * their channel axis (convolutions, pools, norms, matrix products) are seeds;
 * from them the axis flows forward and backward through every operator that
 * keeps it recognisable, until nothing changes. The first seed to reach a
 * value wins, nearest first. What no seed reaches gets the common default.
 *
 * Each value is queued once and each operand visited at most twice, so the
 * pass is linear. How one operator moves an axis is in hwc_flow.c. */
#include "passes/hwc.h"
#include "passes/passes.h"

typedef struct flood {
    cg_graph *g;
    cg_uses uses;
    CG_ARRAY(cg_value *) queue;
    size_t done; /* of the queue */
} flood;

static void set_channel(flood *f, cg_value *v, int axis)
{
    if (!v || v->role == CG_ROLE_CONST || v->type.channel >= 0 || axis < 0 ||
        axis >= v->type.rank)
        return;
    v->type.channel = (int8_t)axis;
    cg_array_push(&f->queue, v);
}

/* An operand seen through a view of another shape has axes of its own. */
static bool plain(const cg_operand *o)
{
    return o->v && (!o->view || o->view->rank == o->v->type.rank);
}

static void seed_node(flood *f, const cg_node *n)
{
    for (uint32_t k = 0; k < n->n_out; k++)
        if (n->out[k])
            set_channel(f, n->out[k], cg_hwc_seed_out(n, k));
    for (uint32_t k = 0; k < n->n_in; k++)
        if (plain(&n->in[k]))
            set_channel(f, n->in[k].v, cg_hwc_seed_in(n, k));
}

/* From operand k to the outputs. */
static void forward(flood *f, const cg_node *n, uint32_t k)
{
    if (!plain(&n->in[k]))
        return;
    int axis = n->in[k].v->type.channel;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] && n->out[i]->type.channel < 0)
            set_channel(f, n->out[i], cg_hwc_forward(f->g, n, k, i, axis));
}

/* From output i to the operands. */
static void backward(flood *f, const cg_node *n, uint32_t i)
{
    int axis = n->out[i]->type.channel;
    for (uint32_t k = 0; k < n->n_in; k++)
        if (plain(&n->in[k]) && n->in[k].v->type.channel < 0)
            set_channel(f, n->in[k].v, cg_hwc_backward(f->g, n, k, i, axis));
}

static void spread(flood *f)
{
    for (; f->done < f->queue.len; f->done++) {
        cg_value *v = f->queue.data[f->done];
        if (v->role == CG_ROLE_NODE)
            backward(f, v->def, v->out);
        for (uint32_t j = f->uses.start[v->id]; j < f->uses.start[v->id + 1];
             j++)
            if (f->uses.list[j].node)
                forward(f, f->uses.list[j].node, f->uses.list[j].index);
    }
}

/* Images by rank 4 and up, tokens by rank 3, features by rank 2. */
static int default_axis(int rank)
{
    if (rank == 4 || rank == 5 || rank == 2)
        return 1;
    return rank - 1;
}

/* What is still open gets the default and passes it on, so that two layouts
 * of one tensor stay consistent. */
static void set_default(flood *f, cg_value *v)
{
    if (!v || v->type.channel >= 0 || v->type.rank <= 0)
        return;
    set_channel(f, v, default_axis(v->type.rank));
    spread(f);
}

static void set_defaults(flood *f, const cg_region *r)
{
    for (size_t i = 0; i < r->inputs.len; i++)
        set_default(f, r->inputs.data[i]);
    for (size_t i = 0; i < r->nodes.len; i++)
        for (uint32_t k = 0; k < r->nodes.data[i]->n_out; k++)
            set_default(f, r->nodes.data[i]->out[k]);
}

static void forget(const cg_region *r)
{
    for (size_t i = 0; i < r->inputs.len; i++)
        r->inputs.data[i]->type.channel = -1;
    for (size_t i = 0; i < r->nodes.len; i++)
        for (uint32_t k = 0; k < r->nodes.data[i]->n_out; k++)
            if (r->nodes.data[i]->out[k])
                r->nodes.data[i]->out[k]->type.channel = -1;
}

cg_err cg_pass_hwc(cg_graph *g)
{
    flood f = {.g = g};
    /* values that are gone may still be views: they keep what they had */
    for (size_t i = 0; i < g->regions.len; i++)
        forget(g->regions.data[i]);
    cg_uses_make(&f.uses, g);
    for (size_t i = 0; i < g->regions.len; i++)
        for (size_t j = 0; j < g->regions.data[i]->nodes.len; j++)
            seed_node(&f, g->regions.data[i]->nodes.data[j]);
    spread(&f);
    for (size_t i = 0; i < g->regions.len; i++)
        set_defaults(&f, g->regions.data[i]);
    cg_uses_free(&f.uses);
    cg_array_free(&f.queue);
    return CG_OK;
}
